//! The engine in memory, for tests: the same contract as RocksDB's, with faults at will.
//!
//! Takes batches, keeps families as ordered maps. Beside what readers see it keeps what a disk would hold: synced
//! batches are durable, buffered ones wait for the next sync, bulk loads and dropped ranges are durable past those that
//! wait. [`MemoryEngine::crash`] gives the engine that a restart would find. [`Faults`] makes syncs fail, be slow, or
//! wait.
//!
//! A batch is atomic here as it is on the disk: a crash tears *between* batches, never through one. Tearing through
//! bytes is `tests/power_cut.rs`'s, on real files.

mod faults;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::batch::{Batch, Change, Durability, Engine, EngineStats, FamilyStats, Op, Row, ScanRange};
use crate::error::StorageError;
use crate::family::Family;
use crate::keys::Key;
use faults::Fate;
pub use faults::Faults;

type Map = BTreeMap<Vec<u8>, Bytes>;

/// What a crash leaves of the batches that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// The process died: the operating system has all of them.
    Process,
    /// The system died: none of them reached the disk.
    System,
    /// The system died: the first so many of them reached the disk. Loads and dropped ranges always have.
    SystemKeeping(usize),
}

#[derive(Debug, Clone, Default)]
struct Families {
    maps: [Map; Family::ALL.len()],
}

impl Families {
    fn map(&self, family: Family) -> &Map {
        &self.maps[family.slot()]
    }

    fn apply(&mut self, batch: &Batch) {
        for op in &batch.ops {
            match op {
                Op::Put { family, key, value } => {
                    self.maps[family.slot()].insert(key.as_slice().to_vec(), value.clone());
                }
                Op::Delete { family, key } => {
                    self.maps[family.slot()].remove(key.as_slice());
                }
                Op::Clear { family } => self.maps[family.slot()].clear(),
            }
        }
    }
}

/// What is not synced.
#[derive(Debug)]
struct Waiting {
    batch: Batch,
    /// It went past the write-ahead log and is on the disk, whatever becomes of the batches before it.
    past_log: bool,
}

#[derive(Debug, Default)]
struct State {
    /// What readers see.
    seen: Families,
    /// What a sync has confirmed.
    durable: Families,
    /// Written behind the last sync, oldest first.
    waiting: VecDeque<Waiting>,
    poison: Option<String>,
    stats: EngineStats,
}

/// An engine in memory.
#[derive(Debug, Default)]
pub struct MemoryEngine {
    state: Mutex<State>,
    /// Writers take turns, as at a disk; readers do not wait for a slow sync.
    writing: Mutex<()>,
    faults: Arc<Faults>,
}

impl MemoryEngine {
    /// An empty engine without faults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The switches of its faults; shared, so they work while the engine is in use.
    #[must_use]
    pub fn faults(&self) -> Arc<Faults> {
        Arc::clone(&self.faults)
    }

    /// How many batches have been written since the last sync.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.locked().waiting.iter().filter(|waiting| !waiting.past_log).count()
    }

    /// What a restart finds: a new engine without faults. This one stays as it is.
    #[must_use]
    pub fn crash(&self, crash: Crash) -> Self {
        let state = self.locked();
        let mut keep = match crash {
            Crash::Process => usize::MAX,
            Crash::System => 0,
            Crash::SystemKeeping(keep) => keep,
        };
        let mut durable = state.durable.clone();
        for Waiting { batch, past_log } in &state.waiting {
            if *past_log || keep > 0 {
                durable.apply(batch);
            }
            keep = keep.saturating_sub(usize::from(!past_log));
        }
        let found = State { seen: durable.clone(), durable, ..State::default() };
        Self { state: Mutex::new(found), ..Self::default() }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_poison(&self) -> Result<(), StorageError> {
        self.locked().poison.clone().map_or(Ok(()), |reason| Err(StorageError::Poisoned(reason)))
    }

    fn fail(&self, error: StorageError) -> StorageError {
        self.locked().poison.get_or_insert(error.to_string());
        error
    }

    fn write_past_log(&self, batch: Batch) -> Result<(), StorageError> {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_poison()?;
        if batch.is_empty() {
            return Ok(());
        }
        if let Fate::Fail(error) = self.faults.write_fate() {
            return Err(self.fail(error));
        }
        let mut state = self.locked();
        state.seen.apply(&batch);
        state.waiting.push_back(Waiting { batch, past_log: true });
        Ok(())
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.faults.before_sync();
        if let Fate::Fail(error) = self.faults.sync_fate() {
            return Err(self.fail(error));
        }
        let mut state = self.locked();
        let state = &mut *state;
        for waiting in state.waiting.drain(..) {
            state.durable.apply(&waiting.batch);
        }
        Ok(())
    }
}

impl Engine for MemoryEngine {
    fn get(&self, family: Family, key: &Key) -> Result<Option<Bytes>, StorageError> {
        Ok(self.locked().seen.map(family).get(key.as_slice()).cloned())
    }

    fn multi_get(&self, family: Family, keys: &[Key]) -> Result<Vec<Option<Bytes>>, StorageError> {
        let state = self.locked();
        let map = state.seen.map(family);
        Ok(keys.iter().map(|key| map.get(key.as_slice()).cloned()).collect())
    }

    fn scan(&self, range: &ScanRange) -> Result<Vec<Row>, StorageError> {
        let from = range.from.as_slice();
        let to = range.to.as_ref().map(Key::as_slice);
        if to.is_some_and(|to| to <= from) {
            return Ok(Vec::new());
        }
        let bounds = (Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded));
        let state = self.locked();
        let rows = state.seen.map(range.family).range::<[u8], _>(bounds);
        let row = |(key, value): (&Vec<u8>, &Bytes)| Row { key: key.clone().into(), value: value.clone() };
        if range.reverse {
            Ok(rows.rev().take(range.limit).map(row).collect())
        } else {
            Ok(rows.take(range.limit).map(row).collect())
        }
    }

    fn write(&self, batch: Batch, durability: Durability) -> Result<(), StorageError> {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_poison()?;
        if let Fate::Fail(error) = self.faults.write_fate() {
            return Err(self.fail(error));
        }
        let bytes = batch.bytes() as u64;
        // On the disk's way before it is synced: a failed sync may still have brought it there.
        self.locked().waiting.push_back(Waiting { batch: batch.clone(), past_log: false });
        if durability == Durability::Synced {
            self.sync()?;
        }
        let mut state = self.locked();
        state.seen.apply(&batch);
        state.stats.written_bytes += bytes;
        match durability {
            Durability::Synced => state.stats.synced_writes += 1,
            Durability::Buffered => state.stats.buffered_writes += 1,
        }
        Ok(())
    }

    fn load(&self, family: Family, rows: Vec<(Key, Bytes)>) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        rows.into_iter().for_each(|(key, value)| batch.put(family, key, value));
        self.write_past_log(batch)
    }

    fn replace(&self, family: Family, rows: Vec<Change>) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        for (key, value) in rows {
            match value {
                Some(value) => batch.put(family, key, value),
                None => batch.delete(family, key),
            }
        }
        self.write_past_log(batch)
    }

    fn drop_range(&self, family: Family, from: &Key, to: Option<&Key>) -> Result<(), StorageError> {
        let range = ScanRange { family, from: from.clone(), to: to.cloned(), reverse: false, limit: usize::MAX };
        let mut batch = Batch::new();
        self.scan(&range)?.iter().for_each(|row| batch.delete(family, Key::of(&[&row.key])));
        self.write_past_log(batch)
    }

    fn flush(&self) -> Result<(), StorageError> {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_poison()?;
        self.sync()
    }

    fn stats(&self) -> EngineStats {
        let state = self.locked();
        let families = Family::ALL.into_iter().map(|family| {
            let map = state.seen.map(family);
            let bytes: usize = map.iter().map(|(key, value)| key.len() + value.len()).sum();
            FamilyStats { family, keys: map.len() as u64, disk_bytes: 0, memory_bytes: bytes as u64 }
        });
        EngineStats { families: families.collect(), ..state.stats.clone() }
    }
}

#[cfg(test)]
mod tests;
