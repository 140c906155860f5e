//! The disk under the core: the memory engine with its faults, reads that fail, syncs that take simulated time.
//!
//! What a crash leaves is the memory engine's business (`storage/src/memory`): batches are atomic, what was not synced
//! may be gone from some batch on. Planted bugs of a disk are here too: one that says "synced" too early, one that
//! forgets where event ids are.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tally_protocol::hash::{self, RunHash};
use tally_protocol::id::TreeSize;
use tally_storage::keys::Key;
use tally_storage::memory::{Crash, MemoryEngine};
use tally_storage::{
    Batch, Change, CheckpointStore, Durability, Engine, EngineStats, EventLog, Family, Row, ScanRange, StorageError,
};
use tally_testkit::TestRng;

use crate::rim::{Excuses, SimClock};

/// What is wrong with the disk for good (planted bugs).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Defects {
    /// Says "synced" before it is.
    pub lies_about_sync: bool,
    /// Gives another page where one of the event ids' index is asked for.
    pub forgets_ids: bool,
}

#[derive(Debug)]
struct Switches {
    rng: TestRng,
    /// A sync takes up to so many microseconds.
    sync_micros_max: u64,
    /// The read that fails, counted from now.
    failing_read: Option<u64>,
}

/// What the look-up indexes did, over all crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Segments {
    /// Segments written, by sealing and by merging.
    pub written: u64,
    /// Segments dropped: merged into others, or swept because no batch that names them survived.
    pub dropped: u64,
}

/// A disk that outlives nodes; what a crash leaves is a new one.
pub struct SimDisk {
    inner: Arc<MemoryEngine>,
    clock: Arc<SimClock>,
    excuses: Excuses,
    defects: Defects,
    switches: Mutex<Switches>,
    segments: Arc<Mutex<Segments>>,
}

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new(clock: Arc<SimClock>, excuses: Excuses, defects: Defects, seed: u64) -> Self {
        let switches = Switches { rng: TestRng::new(seed), sync_micros_max: 2_000, failing_read: None };
        let (inner, switches) = (Arc::new(MemoryEngine::new()), Mutex::new(switches));
        Self { inner, clock, excuses, defects, switches, segments: Arc::default() }
    }

    /// What a restart finds after a crash.
    #[must_use]
    pub fn crash(&self, crash: Crash) -> Self {
        let rng = self.locked().rng.clone();
        let switches = Switches { rng, sync_micros_max: 2_000, failing_read: None };
        Self {
            inner: Arc::new(self.inner.crash(crash)),
            clock: Arc::clone(&self.clock),
            excuses: self.excuses.clone(),
            defects: self.defects,
            switches: Mutex::new(switches),
            segments: Arc::clone(&self.segments),
        }
    }

    /// What the look-up indexes did.
    #[must_use]
    pub fn segments(&self) -> Segments {
        *self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The `nth` sync from now on fails.
    pub fn fail_sync(&self, nth: u64) {
        self.inner.faults().fail_sync(nth);
    }

    /// The `nth` write from now on finds the disk full.
    pub fn fill_at_write(&self, nth: u64) {
        self.inner.faults().fill_disk_at_write(nth);
    }

    /// The `nth` read from now on fails (0 is the next one).
    pub fn fail_read(&self, nth: u64) {
        self.locked().failing_read = Some(nth);
    }

    /// Whether a read that fails is still to come.
    #[must_use]
    pub fn awaits_failing_read(&self) -> bool {
        self.locked().failing_read.is_some()
    }

    /// From now on a sync takes up to so long.
    pub fn slow_down(&self, sync_micros_max: u64) {
        self.locked().sync_micros_max = sync_micros_max;
    }

    /// Batches written and not synced.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.inner.unsynced()
    }

    /// The engine below the faults: for auditors.
    #[must_use]
    pub fn beneath(&self) -> Arc<dyn Engine> {
        Arc::clone(&self.inner) as Arc<dyn Engine>
    }

    /// The log below the faults.
    #[must_use]
    pub fn log(&self) -> EventLog {
        EventLog::new(self.beneath())
    }

    /// The checkpoints below the faults.
    #[must_use]
    pub fn checkpoints(&self) -> CheckpointStore {
        CheckpointStore::new(self.beneath())
    }

    /// How far the log reaches, genesis included.
    ///
    /// # Errors
    /// A stored run is damaged.
    pub fn log_size(&self) -> Result<TreeSize, StorageError> {
        Ok(self.log().tip()?.map_or(TreeSize::new(1), |tip| TreeSize::new(tip.next_index().get())))
    }

    /// What is left if the power fails now.
    #[must_use]
    pub fn after_power_cut(&self) -> Self {
        self.crash(Crash::System)
    }

    /// A hash over every stored byte.
    ///
    /// # Errors
    /// The engine cannot be read.
    pub fn fingerprint(&self) -> Result<RunHash, StorageError> {
        let mut bytes = Vec::new();
        for family in Family::ALL {
            let range = ScanRange { family, from: Key::FIRST, to: None, reverse: false, limit: usize::MAX };
            for Row { key, value } in self.inner.scan(&range)? {
                bytes.push(family as u8);
                for part in [key, value] {
                    bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
                    bytes.extend_from_slice(&part);
                }
            }
        }
        Ok(hash::run(&bytes))
    }

    fn locked(&self) -> MutexGuard<'_, Switches> {
        self.switches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> Result<(), StorageError> {
        let mut switches = self.locked();
        match switches.failing_read {
            Some(0) => {
                switches.failing_read = None;
                self.excuses.add();
                Err(StorageError::Io { doing: "read", message: "injected failure".to_owned() })
            }
            Some(nth) => {
                switches.failing_read = Some(nth - 1);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn or_excuse<T>(&self, result: Result<T, StorageError>) -> Result<T, StorageError> {
        if result.is_err() {
            self.excuses.add();
        }
        result
    }
}

impl Engine for SimDisk {
    fn get(&self, family: Family, key: &Key) -> Result<Option<Bytes>, StorageError> {
        self.read()?;
        self.inner.get(family, key)
    }

    fn multi_get(&self, family: Family, keys: &[Key]) -> Result<Vec<Option<Bytes>>, StorageError> {
        self.read()?;
        if self.defects.forgets_ids && family == Family::EventIds {
            // Well-formed, with one row: of a place that no id has.
            return Ok(vec![Some(Bytes::from_static(&[0xff; 20])); keys.len()]);
        }
        self.inner.multi_get(family, keys)
    }

    fn scan(&self, range: &ScanRange) -> Result<Vec<Row>, StorageError> {
        self.read()?;
        self.inner.scan(range)
    }

    fn write(&self, batch: Batch, durability: Durability) -> Result<(), StorageError> {
        let durability = if self.defects.lies_about_sync { Durability::Buffered } else { durability };
        if durability == Durability::Synced {
            let mut switches = self.locked();
            let max = switches.sync_micros_max;
            self.clock.advance_micros(20 + switches.rng.below(max));
        }
        self.or_excuse(self.inner.write(batch, durability))
    }

    fn load(&self, family: Family, rows: Vec<(Key, Bytes)>) -> Result<(), StorageError> {
        let keys: Vec<Key> = rows.iter().map(|(key, _)| key.clone()).collect();
        assert!(keys.is_sorted_by(|left, right| left.as_slice() < right.as_slice()), "rows are loaded out of order");
        let there = self.inner.multi_get(family, &keys)?;
        assert!(there.iter().all(Option::is_none), "rows are loaded over others");
        self.or_excuse(self.inner.load(family, rows))?;
        self.segments.lock().unwrap_or_else(PoisonError::into_inner).written += 1;
        Ok(())
    }

    fn replace(&self, family: Family, rows: Vec<Change>) -> Result<(), StorageError> {
        let mut pairs = rows.iter().zip(rows.iter().skip(1));
        let sorted = pairs.all(|((left, _), (right, _))| left.as_slice() < right.as_slice());
        assert!(sorted, "rows are replaced out of order");
        self.or_excuse(self.inner.replace(family, rows))
    }

    fn drop_range(&self, family: Family, from: &Key, to: Option<&Key>) -> Result<(), StorageError> {
        self.or_excuse(self.inner.drop_range(family, from, to))?;
        self.segments.lock().unwrap_or_else(PoisonError::into_inner).dropped += 1;
        Ok(())
    }

    fn flush(&self) -> Result<(), StorageError> {
        self.or_excuse(self.inner.flush())
    }

    fn stats(&self) -> EngineStats {
        self.inner.stats()
    }
}
