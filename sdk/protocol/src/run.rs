//! The stored run: events committed together, as one value of the database (`docs/formats/stored-run.md`).
//!
//! Takes ordered frames, gives bytes with a CRC-32C, chained to the run before by BLAKE3; reads them back strictly:
//! whatever decodes encodes to the same bytes, everything else is a [`RunError`]. Where a run ends is a storage
//! detail: no log hash, sequence or root depends on it.
//!
//! The seal slot (mode, vault key, nonce) is part of every record from the first byte on. Sealing itself is not
//! built yet: a record with seal mode 1 is refused as [`RunError::Sealed`].
//!
//! All integers are big-endian. Bounds are checked before anything is read or copied.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::frame::{Frame, FrameError};
use crate::hash::{self, LedgerId, RunHash};
use crate::id::{Epoch, Index, Sequence};
use crate::key::PublicKey;
use crate::limits::{FRAME_BYTES_MAX, FRAME_FIXED_BYTES, RUN_BYTES_MAX, RUN_EVENTS_MAX};
use crate::time::LogTime;

mod view;

pub use view::RunView;

/// The first four bytes of a stored run.
pub const RUN_MAGIC: [u8; 4] = *b"TRUN";
/// The format version this code writes and reads.
pub const RUN_VERSION: u16 = 1;
/// Bytes of a run before its first record.
pub const RUN_HEADER_BYTES: usize = 112;
/// Bytes of a record before its frame.
pub const RECORD_HEADER_BYTES: usize = 32;

const CRC_AT: usize = 108;
const KEY_BYTES: usize = 32;
const SEAL_PLAIN: u8 = 0;
const SEAL_SEALED: u8 = 1;

const _: () = {
    assert!(CRC_AT + 4 == RUN_HEADER_BYTES, "the checksum ends the header");
    assert!(
        RUN_HEADER_BYTES + RECORD_HEADER_BYTES + FRAME_BYTES_MAX + KEY_BYTES <= RUN_BYTES_MAX,
        "the longest frame fits a run of its own"
    );
    assert!(RUN_BYTES_MAX <= u32::MAX as usize, "lengths and offsets are 32 bits");
    assert!(RUN_EVENTS_MAX <= u16::MAX as usize, "key slots are 16 bits, one per record at most");
};

/// Why bytes are not a stored run, or a record does not belong into one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Fewer bytes than a header, or than the header announces; or more.
    #[error("run has {found} bytes, not the {expected} it announces")]
    Length {
        /// Bytes announced (or the least a run has).
        expected: usize,
        /// Bytes there.
        found: usize,
    },
    /// More bytes or records than a run may have.
    #[error("run is larger than {RUN_EVENTS_MAX} events or {RUN_BYTES_MAX} bytes")]
    TooLarge,
    /// Not the bytes of a run at all.
    #[error("run does not start with its magic")]
    Magic,
    /// Written by a version this code does not know.
    #[error("run has format version {0}, known is {RUN_VERSION}")]
    Version(u16),
    /// The bytes are not those that were written.
    #[error("run fails its checksum (stored {stored:08x}, computed {computed:08x})")]
    Checksum {
        /// From the header.
        stored: u32,
        /// Over the bytes there.
        computed: u32,
    },
    /// A run holds at least one event.
    #[error("run has no events")]
    Empty,
    /// Reserved bytes, and the seal slot of a plain record, are zero.
    #[error("reserved bytes at offset {0} are not zero")]
    Reserved(usize),
    /// A record ends beyond the records' part, or the part goes on behind the last record.
    #[error("record {0} does not end where it should")]
    RecordBounds(u32),
    /// The payload is sealed, which this version cannot open.
    #[error("record {0} is sealed; sealing is not built in this version")]
    Sealed(u32),
    /// A seal mode nobody writes.
    #[error("record {0} has unknown seal mode {1}")]
    SealMode(u32, u8),
    /// A key slot outside the table, or the table is not in the order of first use without repetition.
    #[error("key table does not match the records (at record {0})")]
    KeyTable(u32),
    /// Log time fell within the run, or left the range of its offset (71 minutes).
    #[error("log time of record {0} falls or is out of range")]
    Time(u32),
    /// A sequence starts at 1, an index ends below 2^64.
    #[error("position of record {0} is out of range")]
    Position(u32),
    /// The frame of a record is malformed.
    #[error("record {0}: {1}")]
    Frame(u32, FrameError),
}

/// The fields of a run's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunHeader {
    /// The ledger it belongs to.
    pub ledger: LedgerId,
    /// The writer's incarnation.
    pub epoch: Epoch,
    /// Log position of the first record; the others follow without gap.
    pub first_index: Index,
    /// Hash of the run before; zero for the first.
    pub previous: RunHash,
    /// What the records' time offsets count from.
    pub base_time: LogTime,
    /// How many records.
    pub count: u32,
}

impl RunHeader {
    /// Log position of the last record.
    #[must_use]
    pub const fn last_index(&self) -> Index {
        Index::new(self.first_index.get() + self.count as u64 - 1)
    }

    /// Log position behind the last record: where the next run starts.
    #[must_use]
    pub const fn next_index(&self) -> Index {
        Index::new(self.first_index.get() + self.count as u64)
    }

    /// Whether the entry at `index` is one of the records.
    #[must_use]
    pub const fn holds(&self, index: Index) -> bool {
        index.get() >= self.first_index.get() && index.get() - self.first_index.get() < self.count as u64
    }
}

/// One ordered event on its way into a run.
#[derive(Debug, Clone, Copy)]
pub struct RecordIn<'a> {
    /// Position in its stream, from 1.
    pub sequence: Sequence,
    /// Log time; never falls within a run.
    pub sequenced_at: LogTime,
    /// The key the signature was accepted under.
    pub public_key: PublicKey,
    /// The event as it came.
    pub frame: &'a Frame,
}

/// One event of a stored run.
#[derive(Debug, Clone)]
pub struct Record {
    /// Position in the log.
    pub index: Index,
    /// Position in its stream.
    pub sequence: Sequence,
    /// Log time.
    pub sequenced_at: LogTime,
    /// The key the signature was accepted under.
    pub public_key: PublicKey,
    /// The event; shares the run's bytes.
    pub frame: Frame,
}

/// A finished run.
#[derive(Debug, Clone)]
pub struct EncodedRun {
    /// The bytes to store.
    pub bytes: Bytes,
    /// Their BLAKE3: what the next run names as its predecessor.
    pub hash: RunHash,
    /// Log position of the first record.
    pub first_index: Index,
    /// How many records, at least 1.
    pub count: u32,
}

/// Fills one run.
#[derive(Debug)]
pub struct RunBuilder {
    header: RunHeader,
    bytes: Vec<u8>,
    keys: Vec<PublicKey>,
    slots: BTreeMap<PublicKey, u16>,
    last_key: Option<(PublicKey, u16)>,
    last_time: LogTime,
}

impl RunBuilder {
    /// An empty run that starts at `first_index`, behind the run with hash `previous` ([`RunHash::ZERO`] if there is
    /// none). No record's time may be before `base_time`.
    #[must_use]
    pub fn new(ledger: LedgerId, epoch: Epoch, first_index: Index, previous: RunHash, base_time: LogTime) -> Self {
        Self {
            header: RunHeader { ledger, epoch, first_index, previous, base_time, count: 0 },
            bytes: vec![0; RUN_HEADER_BYTES],
            keys: Vec::new(),
            slots: BTreeMap::new(),
            last_key: None,
            last_time: base_time,
        }
    }

    /// How many records it holds.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.header.count
    }

    /// How many bytes the run would have if it were finished now.
    #[must_use]
    pub fn bytes_len(&self) -> usize {
        self.bytes.len() + self.keys.len() * KEY_BYTES
    }

    /// Whether one more record with a frame of this many bytes certainly fits.
    #[must_use]
    pub fn fits(&self, frame_bytes: usize) -> bool {
        (self.header.count as usize) < RUN_EVENTS_MAX
            && self.bytes_len() + RECORD_HEADER_BYTES + frame_bytes + KEY_BYTES <= RUN_BYTES_MAX
    }

    /// Adds a record and gives its log position.
    ///
    /// # Errors
    /// [`RunError::TooLarge`] if it does not fit ([`RunBuilder::fits`]), [`RunError::Time`] if its time falls or lies
    /// more than 2^32 µs behind the base, [`RunError::Position`] for sequence 0. The run is unchanged then.
    pub fn push(&mut self, record: RecordIn<'_>) -> Result<Index, RunError> {
        let at = self.header.count;
        if !self.fits(record.frame.bytes().len()) {
            return Err(RunError::TooLarge);
        }
        let index = self.header.first_index.get().checked_add(u64::from(at)).ok_or(RunError::Position(at))?;
        if record.sequence.get() == 0 || index == u64::MAX {
            return Err(RunError::Position(at));
        }
        if record.sequenced_at < self.last_time {
            return Err(RunError::Time(at));
        }
        let offset = record.sequenced_at.micros() - self.header.base_time.micros();
        let offset = u32::try_from(offset).map_err(|_| RunError::Time(at))?;
        let slot = self.slot(record.public_key);

        self.bytes.extend_from_slice(&record.sequence.get().to_be_bytes());
        self.bytes.extend_from_slice(&offset.to_be_bytes());
        self.bytes.extend_from_slice(&slot.to_be_bytes());
        self.bytes.extend_from_slice(&[SEAL_PLAIN, 0]);
        self.bytes.extend_from_slice(&[0; 16]);
        self.bytes.extend_from_slice(record.frame.bytes());
        self.last_time = record.sequenced_at;
        self.header.count += 1;
        Ok(Index::new(index))
    }

    /// The key's slot, a new one at its first use. Runs are often one agent's, so the last key is tried first.
    fn slot(&mut self, key: PublicKey) -> u16 {
        if let Some((last, slot)) = self.last_key
            && last == key
        {
            return slot;
        }
        let next = u16::try_from(self.keys.len()).unwrap_or(u16::MAX);
        let slot = *self.slots.entry(key).or_insert(next);
        if slot == next {
            self.keys.push(key);
        }
        self.last_key = Some((key, slot));
        slot
    }

    /// Writes key table, header and checksum.
    ///
    /// # Errors
    /// [`RunError::Empty`] without a record.
    pub fn finish(self) -> Result<EncodedRun, RunError> {
        if self.header.count == 0 {
            return Err(RunError::Empty);
        }
        let mut bytes = self.bytes;
        let records_len = (bytes.len() - RUN_HEADER_BYTES) as u32;
        for key in &self.keys {
            bytes.extend_from_slice(key.as_bytes());
        }
        let header = encode_header(&self.header, records_len, self.keys.len() as u16);
        let (head, body) = bytes.split_at_mut(RUN_HEADER_BYTES);
        head[..CRC_AT].copy_from_slice(&header);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&header), body);
        head[CRC_AT..].copy_from_slice(&crc.to_be_bytes());
        let hash = hash::run(&bytes);
        Ok(EncodedRun { bytes: bytes.into(), hash, first_index: self.header.first_index, count: self.header.count })
    }
}

fn encode_header(header: &RunHeader, records_len: u32, key_count: u16) -> [u8; CRC_AT] {
    let mut out = [0; CRC_AT];
    out[0..4].copy_from_slice(&RUN_MAGIC);
    out[4..6].copy_from_slice(&RUN_VERSION.to_be_bytes());
    out[8..40].copy_from_slice(header.ledger.as_bytes());
    out[40..48].copy_from_slice(&header.epoch.get().to_be_bytes());
    out[48..56].copy_from_slice(&header.first_index.get().to_be_bytes());
    out[56..88].copy_from_slice(header.previous.as_bytes());
    out[88..96].copy_from_slice(&header.base_time.micros().to_be_bytes());
    out[96..100].copy_from_slice(&header.count.to_be_bytes());
    out[100..104].copy_from_slice(&records_len.to_be_bytes());
    out[104..106].copy_from_slice(&key_count.to_be_bytes());
    out
}

/// A run read back: checksum, header, key table and every frame have been checked.
#[derive(Debug, Clone)]
pub struct StoredRun {
    bytes: Bytes,
    header: RunHeader,
    /// Where each record starts.
    offsets: Vec<u32>,
    keys_at: usize,
}

impl StoredRun {
    /// Reads a run. The bytes are shared, not copied.
    ///
    /// # Errors
    /// [`RunError`] for anything [`RunBuilder`] does not write.
    pub fn decode(bytes: Bytes) -> Result<Self, RunError> {
        if bytes.len() > RUN_BYTES_MAX {
            return Err(RunError::TooLarge);
        }
        let lengths = check_envelope(&bytes)?;
        let header = decode_header(&bytes, lengths.count)?;
        let keys_at = RUN_HEADER_BYTES + lengths.records;
        let offsets = walk(&bytes, &header, keys_at, lengths.keys)?;
        Ok(Self { bytes, header, offsets, keys_at })
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &RunHeader {
        &self.header
    }

    /// The bytes as stored.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// BLAKE3 of the bytes (computed): what the next run names.
    #[must_use]
    pub fn hash(&self) -> RunHash {
        hash::run(&self.bytes)
    }

    /// How many records.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.header.count
    }

    /// The record at a log position.
    #[must_use]
    pub fn record(&self, index: Index) -> Option<Record> {
        if !self.header.holds(index) {
            return None;
        }
        self.nth((index.get() - self.header.first_index.get()) as usize)
    }

    /// All records in log order.
    pub fn records(&self) -> impl ExactSizeIterator<Item = Record> + '_ {
        (0..self.offsets.len()).map(|at| self.nth(at).expect("every record was read once by decode"))
    }

    fn nth(&self, at: usize) -> Option<Record> {
        read_record(&self.bytes, &self.header, &self.offsets, self.keys_at, at)
    }
}

/// A record, from where its run says it starts.
fn read_record(bytes: &Bytes, header: &RunHeader, offsets: &[u32], keys_at: usize, at: usize) -> Option<Record> {
    let start = *offsets.get(at)? as usize;
    let end = offsets.get(at + 1).map_or(keys_at, |next| *next as usize);
    let head = RecordHead::read(bytes.get(start..)?)?;
    if head.seal_mode != SEAL_PLAIN {
        return None;
    }
    let key_at = keys_at + usize::from(head.key_slot) * KEY_BYTES;
    Some(Record {
        index: Index::new(header.first_index.get() + at as u64),
        sequence: Sequence::new(head.sequence),
        sequenced_at: LogTime::from_micros(header.base_time.micros().checked_add(u64::from(head.time_offset))?),
        public_key: PublicKey::from_bytes(array(bytes, key_at)?),
        frame: Frame::decode(bytes.slice(start + RECORD_HEADER_BYTES..end)).ok()?,
    })
}

struct Lengths {
    count: u32,
    records: usize,
    keys: u16,
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

/// Magic, version, lengths, reserved bytes, checksum.
fn check_envelope(bytes: &[u8]) -> Result<Lengths, RunError> {
    let short = RunError::Length { expected: RUN_HEADER_BYTES, found: bytes.len() };
    let head = bytes.first_chunk::<RUN_HEADER_BYTES>().ok_or_else(|| short.clone())?;
    if !head.starts_with(&RUN_MAGIC) {
        return Err(RunError::Magic);
    }
    let u16_at = |at| array::<2>(head, at).map(u16::from_be_bytes).ok_or_else(|| short.clone());
    let u32_at = |at| array::<4>(head, at).map(u32::from_be_bytes).ok_or_else(|| short.clone());
    let version = u16_at(4)?;
    if version != RUN_VERSION {
        return Err(RunError::Version(version));
    }
    let (count, records, keys) = (u32_at(96)?, u32_at(100)? as usize, u16_at(104)?);
    let expected = RUN_HEADER_BYTES.saturating_add(records).saturating_add(usize::from(keys) * KEY_BYTES);
    if expected != bytes.len() {
        return Err(RunError::Length { expected, found: bytes.len() });
    }
    let (stored, body) = (u32_at(CRC_AT)?, bytes.get(RUN_HEADER_BYTES..).unwrap_or_default());
    let computed = crc32c::crc32c_append(crc32c::crc32c(head.get(..CRC_AT).unwrap_or_default()), body);
    if stored != computed {
        return Err(RunError::Checksum { stored, computed });
    }
    for at in [6, 106] {
        if u16_at(at)? != 0 {
            return Err(RunError::Reserved(at));
        }
    }
    if count == 0 {
        return Err(RunError::Empty);
    }
    if count as usize > RUN_EVENTS_MAX {
        return Err(RunError::TooLarge);
    }
    Ok(Lengths { count, records, keys })
}

fn decode_header(bytes: &[u8], count: u32) -> Result<RunHeader, RunError> {
    let short = || RunError::Length { expected: RUN_HEADER_BYTES, found: bytes.len() };
    let u64_at = |at| array::<8>(bytes, at).map(u64::from_be_bytes).ok_or_else(short);
    let hash_at = |at| array::<32>(bytes, at).ok_or_else(short);
    let first_index = u64_at(48)?;
    // The position behind the last record must exist too.
    if first_index.checked_add(u64::from(count)).is_none() {
        return Err(RunError::Position(0));
    }
    Ok(RunHeader {
        ledger: LedgerId::from_bytes(hash_at(8)?),
        epoch: Epoch::new(u64_at(40)?),
        first_index: Index::new(first_index),
        previous: RunHash::from_bytes(hash_at(56)?),
        base_time: LogTime::from_micros(u64_at(88)?),
        count,
    })
}

struct RecordHead {
    sequence: u64,
    time_offset: u32,
    key_slot: u16,
    seal_mode: u8,
    /// Reserved byte, vault key id and nonce are all zero.
    slot_is_zero: bool,
}

impl RecordHead {
    fn read(bytes: &[u8]) -> Option<Self> {
        let head = bytes.first_chunk::<RECORD_HEADER_BYTES>()?;
        Some(Self {
            sequence: u64::from_be_bytes(array(head, 0)?),
            time_offset: u32::from_be_bytes(array(head, 8)?),
            key_slot: u16::from_be_bytes(array(head, 12)?),
            seal_mode: *head.get(14)?,
            slot_is_zero: head.get(15..)?.iter().all(|byte| *byte == 0),
        })
    }
}

/// Reads every record once; gives where each starts.
fn walk(bytes: &Bytes, header: &RunHeader, keys_at: usize, key_count: u16) -> Result<Vec<u32>, RunError> {
    // Counts are bounded by what the bytes can hold before anything is allocated.
    let least = RECORD_HEADER_BYTES + FRAME_FIXED_BYTES;
    if (header.count as usize).saturating_mul(least) > keys_at - RUN_HEADER_BYTES {
        return Err(RunError::RecordBounds(header.count));
    }
    let mut offsets = Vec::with_capacity(header.count as usize);
    let (mut start, mut keys_seen, mut last_time) = (RUN_HEADER_BYTES, 0u16, 0u32);
    for at in 0..header.count {
        let rest = bytes.get(start..keys_at).ok_or(RunError::RecordBounds(at))?;
        let head = RecordHead::read(rest).ok_or(RunError::RecordBounds(at))?;
        check_record(at, start, &head, last_time, header)?;
        // Slots are numbered in the order of first use.
        if head.key_slot > keys_seen || head.key_slot >= key_count {
            return Err(RunError::KeyTable(at));
        }
        keys_seen = keys_seen.max(head.key_slot + 1);
        last_time = head.time_offset;
        let frame_at = start + RECORD_HEADER_BYTES;
        let length = array::<4>(bytes, frame_at).map(u32::from_be_bytes).ok_or(RunError::RecordBounds(at))? as usize;
        let end = frame_at.saturating_add(4).saturating_add(length);
        if end > keys_at {
            return Err(RunError::RecordBounds(at));
        }
        Frame::decode(bytes.slice(frame_at..end)).map_err(|error| RunError::Frame(at, error))?;
        offsets.push(start as u32);
        start = end;
    }
    if start != keys_at {
        return Err(RunError::RecordBounds(header.count));
    }
    if keys_seen != key_count || repeats(bytes.get(keys_at..).unwrap_or_default()) {
        return Err(RunError::KeyTable(header.count));
    }
    Ok(offsets)
}

fn check_record(at: u32, start: usize, head: &RecordHead, last_time: u32, run: &RunHeader) -> Result<(), RunError> {
    match head.seal_mode {
        SEAL_PLAIN if head.slot_is_zero => {}
        SEAL_PLAIN => return Err(RunError::Reserved(start + 15)),
        SEAL_SEALED => return Err(RunError::Sealed(at)),
        other => return Err(RunError::SealMode(at, other)),
    }
    if head.sequence == 0 {
        return Err(RunError::Position(at));
    }
    let in_range = run.base_time.micros().checked_add(u64::from(head.time_offset)).is_some();
    if head.time_offset < last_time || !in_range {
        return Err(RunError::Time(at));
    }
    Ok(())
}

/// Whether a key is in the table twice.
fn repeats(table: &[u8]) -> bool {
    let mut keys: Vec<&[u8]> = table.chunks_exact(KEY_BYTES).collect();
    keys.sort_unstable();
    keys.windows(2).any(|pair| pair.first() == pair.last())
}

#[cfg(test)]
mod tests;
