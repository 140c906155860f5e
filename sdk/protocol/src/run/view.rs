//! A stored run of which only some records are wanted: checksum, header and the records' lengths are checked when it is
//! opened, a record's frame when it is asked for. Opening costs a few ns per record instead of decoding every frame.
//!
//! Takes the bytes a database gave back; gives records equal to [`StoredRun`](super::StoredRun)'s. Who must know that a
//! run is right in every part (recovery, auditors) decodes it.

use bytes::Bytes;

use super::{
    KEY_BYTES, RECORD_HEADER_BYTES, RUN_BYTES_MAX, RUN_HEADER_BYTES, Record, RecordHead, RunError, RunHeader, array,
    check_envelope, decode_header, read_record,
};
use crate::id::{Index, Sequence};
use crate::limits::FRAME_FIXED_BYTES;

/// Bytes of a frame's length.
const FRAME_LENGTH_BYTES: usize = 4;

/// A run, read as far as needed.
#[derive(Debug, Clone)]
pub struct RunView {
    bytes: Bytes,
    header: RunHeader,
    offsets: Vec<u32>,
    keys_at: usize,
}

impl RunView {
    /// Opens a run. The bytes are shared, not copied.
    ///
    /// # Errors
    /// [`RunError`] where the run as a whole is not what a builder writes.
    pub fn open(bytes: Bytes) -> Result<Self, RunError> {
        if bytes.len() > RUN_BYTES_MAX {
            return Err(RunError::TooLarge);
        }
        let lengths = check_envelope(&bytes)?;
        let header = decode_header(&bytes, lengths.count)?;
        let keys_at = RUN_HEADER_BYTES + lengths.records;
        if (lengths.count as usize).saturating_mul(RECORD_HEADER_BYTES + FRAME_FIXED_BYTES) > lengths.records {
            return Err(RunError::RecordBounds(lengths.count));
        }
        let mut offsets = Vec::with_capacity(lengths.count as usize);
        let mut start = RUN_HEADER_BYTES;
        for at in 0..lengths.count {
            let head = bytes.get(start..keys_at).and_then(RecordHead::read).ok_or(RunError::RecordBounds(at))?;
            if head.key_slot >= lengths.keys {
                return Err(RunError::KeyTable(at));
            }
            let frame_at = start + RECORD_HEADER_BYTES;
            let length = array::<FRAME_LENGTH_BYTES>(&bytes, frame_at).map(u32::from_be_bytes);
            let length = length.ok_or(RunError::RecordBounds(at))? as usize;
            offsets.push(start as u32);
            start = frame_at.saturating_add(FRAME_LENGTH_BYTES).saturating_add(length);
        }
        if start != keys_at || bytes.len() != keys_at + usize::from(lengths.keys) * KEY_BYTES {
            return Err(RunError::RecordBounds(lengths.count));
        }
        Ok(Self { bytes, header, offsets, keys_at })
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &RunHeader {
        &self.header
    }

    /// Bytes it holds in memory, about.
    #[must_use]
    pub fn bytes_len(&self) -> usize {
        self.bytes.len() + self.offsets.len() * 4
    }

    /// The record at a log position; `None` if the run does not hold it.
    ///
    /// # Errors
    /// The record is malformed.
    pub fn record(&self, index: Index) -> Result<Option<Record>, RunError> {
        if !self.header.holds(index) {
            return Ok(None);
        }
        let at = (index.get() - self.header.first_index.get()) as u32;
        let record = read_record(&self.bytes, &self.header, &self.offsets, self.keys_at, at as usize);
        record.map(Some).ok_or(RunError::RecordBounds(at))
    }

    /// The sequence of the record at a log position, without reading its frame.
    #[must_use]
    pub fn sequence(&self, index: Index) -> Option<Sequence> {
        let at = index.get().checked_sub(self.header.first_index.get())?;
        let start = *self.offsets.get(usize::try_from(at).ok()?)? as usize;
        RecordHead::read(self.bytes.get(start..)?).map(|head| Sequence::new(head.sequence))
    }

    /// The records from a log position on.
    pub fn records_from(&self, index: Index) -> impl Iterator<Item = Result<Record, RunError>> + '_ {
        let first = self.header.first_index.get();
        let from = index.get().saturating_sub(first);
        (from..u64::from(self.header.count)).filter_map(move |at| self.record(Index::new(first + at)).transpose())
    }
}
