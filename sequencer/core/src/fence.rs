//! The fence: a record kept outside the data directory that says how far this log has been signed.
//!
//! A data directory can be copied, and a backup can be restored; both then hold an older state of the log together
//! with the key that signs it. If such a node went on, it would sign a second root for a size that was signed before.
//! The fence stops it: before a checkpoint is signed, its size and root are stored here and synced. At start a node
//! must hold a log that reaches the fence and has the same root there, else it serves read-only (design section 10).
//!
//! Takes: size and root of the tree about to be signed. Gives: the right to sign it. Fails: closed, nothing is signed.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tally_protocol::hash::{LedgerId, RootHash};
use tally_protocol::id::{Epoch, TreeSize};

/// What the fence remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FenceRecord {
    /// The ledger whose log was signed.
    pub ledger_id: LedgerId,
    /// The incarnation that signed it; each start takes the next.
    pub epoch: Epoch,
    /// The largest size that may have been signed.
    pub size: TreeSize,
    /// The root at that size.
    pub root: RootHash,
}

/// Why a fence did not answer.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// Another process holds it: another node runs with this log key.
    #[error("the fence {0} is held by another process: another node runs with this log's key")]
    Held(String),
    /// The record cannot be read back.
    #[error("the fence {0} is damaged: no slot has a valid checksum")]
    Damaged(String),
    /// The file system failed.
    #[error("failed to use the fence {path}: {source}")]
    Io {
        /// The fence's file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A place outside the data directory that remembers the newest signed size.
pub trait Fence: Send {
    /// The newest record, or none if this log key never signed.
    ///
    /// # Errors
    /// The place cannot be read: the caller must not sign.
    fn load(&mut self) -> Result<Option<FenceRecord>, FenceError>;

    /// Replaces the record. On return it is durable.
    ///
    /// # Errors
    /// The caller must not sign, and must stop: nobody knows what the place holds.
    fn store(&mut self, record: &FenceRecord) -> Result<(), FenceError>;
}

const SLOT_BYTES: usize = 512;
const MAGIC: &[u8; 8] = b"TALLYFN1";
const RECORD_BYTES: usize = 8 + 8 + 32 + 8 + 8 + 32;
const USED_BYTES: usize = RECORD_BYTES + 32;

/// A fence in a file: two slots of 512 bytes, written in turn and synced.
///
/// A slot is `magic[8] | count u64 | ledger_id[32] | epoch u64 | size u64 | root[32] | BLAKE3 of all that[32]`,
/// big-endian. The valid slot with the higher count is the record; a torn write leaves the other one. The file is
/// locked as long as the fence lives.
#[derive(Debug)]
pub struct FileFence {
    file: File,
    path: PathBuf,
    count: u64,
}

impl FileFence {
    /// Opens or creates the fence and takes its lock.
    ///
    /// # Errors
    /// [`FenceError::Held`] if another process has it; [`FenceError::Io`] otherwise.
    pub fn open(path: &Path) -> Result<Self, FenceError> {
        let io = |source| FenceError::Io { path: path.display().to_string(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(FenceError::Held(path.display().to_string())),
            Err(std::fs::TryLockError::Error(source)) => return Err(io(source)),
        }
        sync_directory(path).map_err(io)?;
        Ok(Self { file, path: path.to_owned(), count: 0 })
    }

    fn io(&self, source: std::io::Error) -> FenceError {
        FenceError::Io { path: self.path.display().to_string(), source }
    }

    fn write_slot(&mut self, count: u64, record: &FenceRecord) -> std::io::Result<()> {
        let at = (count % 2) * SLOT_BYTES as u64;
        self.file.seek(SeekFrom::Start(at))?;
        self.file.write_all(&encode_slot(count, record))?;
        self.file.sync_data()
    }
}

/// A file that was created is only found again if its directory was synced.
fn sync_directory(path: &Path) -> std::io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

fn encode_slot(count: u64, record: &FenceRecord) -> [u8; SLOT_BYTES] {
    let mut out = Vec::with_capacity(SLOT_BYTES);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&count.to_be_bytes());
    out.extend_from_slice(record.ledger_id.as_bytes());
    out.extend_from_slice(&record.epoch.get().to_be_bytes());
    out.extend_from_slice(&record.size.get().to_be_bytes());
    out.extend_from_slice(record.root.as_bytes());
    let sum = tally_protocol::hash::run(&out);
    out.extend_from_slice(sum.as_bytes());
    let mut slot = [0; SLOT_BYTES];
    slot[..out.len()].copy_from_slice(&out);
    slot
}

fn decode_slot(slot: &[u8]) -> Option<(u64, FenceRecord)> {
    let used = slot.get(..USED_BYTES)?;
    let (body, sum) = used.split_at(RECORD_BYTES);
    if !body.starts_with(MAGIC) || tally_protocol::hash::run(body).as_bytes() != sum {
        return None;
    }
    let number = |at: usize| Some(u64::from_be_bytes(body.get(at..at + 8)?.try_into().ok()?));
    let bytes = |at: usize| -> Option<[u8; 32]> { body.get(at..at + 32)?.try_into().ok() };
    Some((
        number(8)?,
        FenceRecord {
            ledger_id: LedgerId::from_bytes(bytes(16)?),
            epoch: Epoch::new(number(48)?),
            size: TreeSize::new(number(56)?),
            root: RootHash::from_bytes(bytes(64)?),
        },
    ))
}

impl Fence for FileFence {
    fn load(&mut self) -> Result<Option<FenceRecord>, FenceError> {
        let mut bytes = Vec::new();
        self.file
            .seek(SeekFrom::Start(0))
            .and_then(|_| (&self.file).take(4 * SLOT_BYTES as u64).read_to_end(&mut bytes))
            .map_err(|source| self.io(source))?;
        let newest = bytes.chunks(SLOT_BYTES).take(2).filter_map(decode_slot).max_by_key(|(count, _)| *count);
        match newest {
            Some((count, record)) => {
                self.count = count;
                Ok(Some(record))
            }
            // A first store that was torn leaves an invalid slot 1 behind a slot 0 of zeros: nothing was signed yet.
            None if bytes.iter().take(SLOT_BYTES).all(|byte| *byte == 0) => Ok(None),
            None => Err(FenceError::Damaged(self.path.display().to_string())),
        }
    }

    fn store(&mut self, record: &FenceRecord) -> Result<(), FenceError> {
        let count = self.count + 1;
        self.write_slot(count, record).map_err(|source| self.io(source))?;
        self.count = count;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(size: u64) -> FenceRecord {
        FenceRecord {
            ledger_id: LedgerId::from_bytes([7; 32]),
            epoch: Epoch::new(3),
            size: TreeSize::new(size),
            root: RootHash::from_bytes([9; 32]),
        }
    }

    #[test]
    fn the_newest_record_reads_back_and_a_torn_write_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.fence");
        let mut fence = FileFence::open(&path).unwrap();
        assert_eq!(fence.load().unwrap(), None);
        for size in 1..=5 {
            fence.store(&record(size)).unwrap();
        }
        drop(fence);
        assert_eq!(FileFence::open(&path).unwrap().load().unwrap(), Some(record(5)));

        // Count 5 went to slot 1: tear it.
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[SLOT_BYTES + 60] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(FileFence::open(&path).unwrap().load().unwrap(), Some(record(4)));

        bytes[60] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(matches!(FileFence::open(&path).unwrap().load(), Err(FenceError::Damaged(_))));
    }

    #[test]
    fn a_fence_has_one_holder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.fence");
        let held = FileFence::open(&path).unwrap();
        assert!(matches!(FileFence::open(&path), Err(FenceError::Held(_))));
        drop(held);
        assert!(FileFence::open(&path).is_ok());
    }
}
