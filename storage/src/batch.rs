//! The seam to the database: a batch of changes, a range to read, and the engine that does both.
//!
//! A [`Batch`] is one atomic write over all families. [`Engine`] is implemented by RocksDB (`engine.rs`) and by memory
//! (`memory`, tests); both pass `contract.rs`. Everything here is synchronous: a caller that must not block has its
//! own thread.

use bytes::Bytes;

use crate::error::StorageError;
use crate::family::Family;
use crate::keys::Key;

/// A key with its new value; none removes it.
pub type Change = (Key, Option<Bytes>);

/// How far a write has gone when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// On the disk, with everything before it.
    Synced,
    /// In the operating system's hands: survives the process, not the system.
    Buffered,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    Put { family: Family, key: Key, value: Bytes },
    Delete { family: Family, key: Key },
    Clear { family: Family },
}

/// Changes that happen together or not at all, in the order they were added.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub(crate) ops: Vec<Op>,
    bytes: usize,
}

impl Batch {
    /// No changes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key's value.
    pub fn put(&mut self, family: Family, key: Key, value: impl Into<Bytes>) {
        let value = value.into();
        self.bytes += key.len() + value.len();
        self.ops.push(Op::Put { family, key, value });
    }

    /// Removes a key, present or not.
    pub fn delete(&mut self, family: Family, key: Key) {
        self.bytes += key.len();
        self.ops.push(Op::Delete { family, key });
    }

    /// Removes every key of a family.
    pub fn clear(&mut self, family: Family) {
        self.ops.push(Op::Clear { family });
    }

    /// The families that it changes; one may be named more than once.
    pub fn families(&self) -> impl Iterator<Item = Family> + '_ {
        self.ops.iter().map(|op| match op {
            Op::Put { family, .. } | Op::Delete { family, .. } | Op::Clear { family } => *family,
        })
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// How many changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Bytes of all keys and values.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The key's bytes.
    pub key: Bytes,
    /// The value's bytes.
    pub value: Bytes,
}

/// A half-open range of one family's keys: `from <= key < to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanRange {
    /// Which family.
    pub family: Family,
    /// The first key that may be returned.
    pub from: Key,
    /// The first key behind the range; `None` is the family's end.
    pub to: Option<Key>,
    /// From the greatest key down instead of from the smallest up.
    pub reverse: bool,
    /// How many rows at most: every read is bounded.
    pub limit: usize,
}

/// What one family takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FamilyStats {
    /// Which.
    pub family: Family,
    /// About how many keys.
    pub keys: u64,
    /// Bytes of its table files.
    pub disk_bytes: u64,
    /// Bytes of its write buffers.
    pub memory_bytes: u64,
}

/// Counters and gauges of an engine, for metrics.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EngineStats {
    /// Per family.
    pub families: Vec<FamilyStats>,
    /// Synced writes since the engine was opened.
    pub synced_writes: u64,
    /// Buffered writes since the engine was opened.
    pub buffered_writes: u64,
    /// Bytes of keys and values in both.
    pub written_bytes: u64,
    /// Bytes of keys and values loaded in bulk.
    pub loaded_bytes: u64,
    /// Bytes that went into the write-ahead log.
    pub wal_bytes: u64,
    /// Bytes of table files made from write buffers.
    pub flushed_bytes: u64,
    /// Bytes that compactions read.
    pub compaction_read_bytes: u64,
    /// Bytes that compactions wrote.
    pub compaction_written_bytes: u64,
    /// Microseconds that writers were held up because background work was behind.
    pub stall_micros: u64,
    /// Blocks found in the cache.
    pub cache_hits: u64,
    /// Blocks read from files.
    pub cache_misses: u64,
    /// Bytes of the block cache in use.
    pub cache_bytes: u64,
    /// Bytes that compaction still has to move.
    pub compaction_pending_bytes: u64,
    /// Background failures the database counted since it was opened; any is an alarm.
    pub background_errors: u64,
    /// Whether writes are held up now because background work is behind.
    pub writes_stopped: bool,
    /// Bytes of a torn tail that were cut when the engine was opened: a write a crash interrupted, never acknowledged.
    pub torn_tail_bytes: u64,
}

/// A database of ordered byte keys.
pub trait Engine: Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// The disk failed, or the stored block fails its checksum.
    fn get(&self, family: Family, key: &Key) -> Result<Option<Bytes>, StorageError>;

    /// The values of keys of one family, in the keys' order.
    ///
    /// # Errors
    /// As [`Engine::get`].
    fn multi_get(&self, family: Family, keys: &[Key]) -> Result<Vec<Option<Bytes>>, StorageError>;

    /// The rows of a range, at most its limit, as of one moment.
    ///
    /// # Errors
    /// As [`Engine::get`].
    fn scan(&self, range: &ScanRange) -> Result<Vec<Row>, StorageError>;

    /// Makes all changes of the batch at once. See the crate's head for what `Ok` promises.
    ///
    /// # Errors
    /// Any error is fatal for the caller: nobody knows what the disk holds, and every later write is
    /// [`StorageError::Poisoned`]. [`StorageError::NoSpace`] if the cause was a full disk.
    fn write(&self, batch: Batch, durability: Durability) -> Result<(), StorageError>;

    /// Puts rows in bulk, past the write-ahead log and the write buffers: sorted by key, none of them in the family yet.
    /// They are on the disk when it returns, but alone: whoever loads rows makes a later batch speak of them.
    ///
    /// # Errors
    /// As [`Engine::write`].
    fn load(&self, family: Family, rows: Vec<(Key, Bytes)>) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        for (key, value) in rows {
            batch.put(family, key, value);
        }
        self.write(batch, Durability::Buffered)
    }

    /// Sets and removes rows in bulk, past the write-ahead log and the write buffers: sorted by key, each once, and keys
    /// that no batch writes. All of them or none, and on the disk when it returns, also if batches before it are not:
    /// who relies on both syncs those first.
    ///
    /// # Errors
    /// As [`Engine::write`].
    fn replace(&self, family: Family, rows: Vec<Change>) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        for (key, value) in rows {
            match value {
                Some(value) => batch.put(family, key, value),
                None => batch.delete(family, key),
            }
        }
        self.write(batch, Durability::Synced)
    }

    /// Removes every row from `from` on, up to but not including `to` if given, to make room: rows that no batch
    /// speaks of any more. After a crash some of them may be there still.
    ///
    /// # Errors
    /// As [`Engine::write`].
    fn drop_range(&self, family: Family, from: &Key, to: Option<&Key>) -> Result<(), StorageError> {
        let range = ScanRange { family, from: from.clone(), to: to.cloned(), reverse: false, limit: 4096 };
        loop {
            let mut batch = Batch::new();
            for row in self.scan(&range)? {
                batch.delete(family, Key::of(&[&row.key]));
            }
            if batch.is_empty() {
                return Ok(());
            }
            self.write(batch, Durability::Buffered)?;
        }
    }

    /// Brings everything written so far into table files, so that the next start has nothing to replay; implies a
    /// sync.
    ///
    /// # Errors
    /// As [`Engine::write`].
    fn flush(&self) -> Result<(), StorageError>;

    /// Counters and gauges; those that cannot be read are 0.
    fn stats(&self) -> EngineStats;
}
