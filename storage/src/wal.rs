//! Reads RocksDB's write-ahead log before RocksDB does, and cuts a torn tail: the only thing recovery may lose.
//!
//! Takes a database directory nobody has open, gives the torn tail if there is one ([`inspect`]), and removes it
//! ([`TornTail::cut`]). Everything that is neither whole nor a torn tail is [`StorageError::WalDamaged`]; the crate's
//! head says which damage counts as which, and why.
//!
//! The format is RocksDB's (`db/log_format.h`): blocks of 32 KiB hold fragments of `masked CRC-32C u32 | length u16 |
//! type u8 | data`, little-endian; type 1 is a whole record, 2, 3, 4 are its first, middle and last fragment; a
//! fragment never crosses a block, and fewer than 7 bytes at a block's end are padding. A record starts with a
//! write batch's header: sequence number u64, count u32. Recycling, compression and the other record types are off.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::error::StorageError;

const BLOCK_BYTES: usize = 32 << 10;
const HEADER_BYTES: usize = 7;
const BATCH_HEADER_BYTES: usize = 12;
const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

/// The beginning of a record that a crash kept from becoming whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The file it ends.
    pub file: PathBuf,
    /// The end of the last whole record.
    pub offset: u64,
    /// How many bytes there are behind it.
    pub bytes: u64,
}

impl TornTail {
    /// Ends the file behind its last whole record, and syncs it.
    ///
    /// # Errors
    /// The file system failed.
    pub fn cut(&self) -> Result<(), StorageError> {
        let cut = || {
            let file = OpenOptions::new().write(true).open(&self.file)?;
            file.set_len(self.offset)?;
            file.sync_all()
        };
        cut().map_err(|error| failed("cut a torn write-ahead log", &self.file, &error))
    }
}

/// Reads every write-ahead file of a directory.
///
/// # Errors
/// [`StorageError::WalDamaged`] for anything but whole records and one torn tail behind all of them; the file system
/// failed.
pub fn inspect(directory: &Path) -> Result<Option<TornTail>, StorageError> {
    let mut torn: Option<TornTail> = None;
    for path in files(directory)? {
        let scanned = scan(&path)?;
        if let Some(torn) = &torn
            && scanned.bytes > 0
        {
            let reason = "it ends within a record, but a later file has content";
            return Err(StorageError::WalDamaged { file: torn.file.clone(), offset: torn.offset, reason });
        }
        if scanned.whole_end < scanned.bytes {
            let bytes = scanned.bytes - scanned.whole_end;
            torn = Some(TornTail { file: path, offset: scanned.whole_end, bytes });
        }
    }
    Ok(torn)
}

fn failed(doing: &'static str, path: &Path, error: &io::Error) -> StorageError {
    StorageError::Io { doing, message: format!("{}: {error}", path.display()) }
}

/// The write-ahead files in the order they were written: `<number>.log`.
fn files(directory: &Path) -> Result<Vec<PathBuf>, StorageError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("list the database directory", directory, &error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| failed("list the database directory", directory, &error))?.path();
        let is_log = path.extension().is_some_and(|extension| extension == "log");
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
        if let (true, Some(number)) = (is_log, number) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

struct Scanned {
    /// Bytes of the file.
    bytes: u64,
    /// Where the last whole record ends; everything behind is a torn tail.
    whole_end: u64,
}

/// Where reading stands.
struct Reader {
    /// Where the last whole record ends.
    whole_end: u64,
    /// Whether a first fragment has been read and its last has not.
    within_record: bool,
}

/// What was found where a fragment should be.
enum Found {
    /// A fragment that ends here, counted from the block's start.
    Fragment(usize),
    /// Less than a fragment, up to the end of the file.
    Torn,
    /// Zero bytes; torn if the rest of the file is.
    Zeros,
}

fn scan(path: &Path) -> Result<Scanned, StorageError> {
    let io_failed = |error: io::Error| failed("read the write-ahead log", path, &error);
    let damaged = |offset, reason| StorageError::WalDamaged { file: path.to_owned(), offset, reason };
    let mut file = File::open(path).map_err(io_failed)?;
    let bytes = file.metadata().map_err(io_failed)?.len();
    let mut reader = Reader { whole_end: 0, within_record: false };
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    let mut block_at = 0u64;
    loop {
        block.clear();
        file.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut block).map_err(io_failed)?;
        if block.is_empty() {
            break;
        }
        let mut at = 0;
        while block.len() - at >= HEADER_BYTES {
            let offset = block_at + at as u64;
            match reader.fragment(&block, at).map_err(|reason| damaged(offset, reason))? {
                Found::Fragment(end) => at = end,
                Found::Torn => return Ok(Scanned { bytes, whole_end: reader.whole_end }),
                Found::Zeros if rest_is_zero(&block[at..], &mut file).map_err(io_failed)? => {
                    return Ok(Scanned { bytes, whole_end: reader.whole_end });
                }
                Found::Zeros => return Err(damaged(offset, "zero bytes within the file")),
            }
            if !reader.within_record {
                reader.whole_end = block_at + at as u64;
            }
        }
        block_at += block.len() as u64;
        if block.len() == BLOCK_BYTES && !reader.within_record {
            // The block's padding belongs to what is before it.
            reader.whole_end = block_at;
        }
    }
    Ok(Scanned { bytes, whole_end: reader.whole_end })
}

impl Reader {
    /// Reads one fragment at `at`, where at least a header's bytes are left in the block.
    fn fragment(&mut self, block: &[u8], at: usize) -> Result<Found, &'static str> {
        let rest = block.get(at..).unwrap_or_default();
        let Some(header) = Header::read(rest) else {
            return Err("no header");
        };
        if header.is_zero() {
            return Ok(Found::Zeros);
        }
        let end = at + HEADER_BYTES + header.length;
        if end > BLOCK_BYTES {
            return Err("a length leads out of its block");
        }
        if end > block.len() {
            // Only the last block is shorter than its full length.
            return check_short(&header, rest).map(|()| Found::Torn);
        }
        if !header.matches(block.get(at + HEADER_BYTES..end).unwrap_or_default()) {
            return Err("a checksum does not match");
        }
        self.within_record = match (header.kind, self.within_record) {
            (FULL, false) | (LAST, true) => false,
            (FIRST, false) | (MIDDLE, true) => true,
            (FULL..=LAST, _) => return Err("fragments are out of order"),
            _ => return Err("a record's type is unknown"),
        };
        Ok(Found::Fragment(end))
    }
}

/// The file ends before the fragment does. Was it never whole, or does only its length say so?
fn check_short(header: &Header, rest: &[u8]) -> Result<(), &'static str> {
    let data = rest.get(HEADER_BYTES..).unwrap_or_default();
    let mut crc = crc32c::crc32c(&[header.kind]);
    for byte in data {
        if crc == header.crc {
            return Err("a length is damaged: the record is whole under another");
        }
        crc = crc32c::crc32c_append(crc, core::slice::from_ref(byte));
    }
    if crc == header.crc {
        return Err("a length is damaged: the record is whole under another");
    }
    if (1..rest.len()).any(|at| rest.get(at..).is_some_and(starts_whole_record)) {
        return Err("a length is damaged: a whole record follows");
    }
    Ok(())
}

/// Whether a record starts here. Its first bytes are a sequence number below 2^56, so the eighth is zero; the texts of
/// a client's event hold no zero byte, so they cannot pass for a record and keep a node from starting.
fn starts_whole_record(bytes: &[u8]) -> bool {
    let Some(header) = Header::read(bytes) else {
        return false;
    };
    let Some(data) = bytes.get(HEADER_BYTES..HEADER_BYTES + header.length) else {
        return false;
    };
    matches!(header.kind, FULL | FIRST)
        && data.len() >= BATCH_HEADER_BYTES
        && data.get(7) == Some(&0)
        && header.matches(data)
}

fn rest_is_zero(block: &[u8], file: &mut File) -> io::Result<bool> {
    if block.iter().any(|byte| *byte != 0) {
        return Ok(false);
    }
    let mut buffer = vec![0; BLOCK_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(true),
            read if buffer.iter().take(read).any(|byte| *byte != 0) => return Ok(false),
            _ => {}
        }
    }
}

struct Header {
    crc: u32,
    length: usize,
    kind: u8,
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, d, e, f, kind] = *bytes.first_chunk::<HEADER_BYTES>()?;
        let masked = u32::from_le_bytes([a, b, c, d]);
        Some(Self { crc: unmask(masked), length: usize::from(u16::from_le_bytes([e, f])), kind })
    }

    /// All seven bytes are zero.
    fn is_zero(&self) -> bool {
        self.crc == unmask(0) && self.length == 0 && self.kind == 0
    }

    fn matches(&self, data: &[u8]) -> bool {
        crc32c::crc32c_append(crc32c::crc32c(&[self.kind]), data) == self.crc
    }
}

/// RocksDB stores checksums rotated and shifted (`util/crc32c.h`).
const fn unmask(masked: u32) -> u32 {
    masked.wrapping_sub(0xa282_ead8).rotate_left(15)
}

#[cfg(test)]
mod tests;
