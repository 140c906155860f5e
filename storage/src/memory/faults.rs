//! The switches of the memory engine's faults.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::StorageError;

/// Whether an operation happens.
pub(super) enum Fate {
    Happen,
    Fail(StorageError),
}

#[derive(Debug, Default)]
struct Switches {
    syncs: u64,
    writes: u64,
    failing_sync: Option<u64>,
    full_at_write: Option<u64>,
    sync_takes: Duration,
    held: bool,
}

/// Faults of a [`super::MemoryEngine`]. All are off at first; a failure poisons the engine like a real one.
#[derive(Debug, Default)]
pub struct Faults {
    switches: Mutex<Switches>,
    released: Condvar,
}

impl Faults {
    /// The `nth` sync from now on fails (1 is the next one). Whether its batch reached the disk is the crash's choice.
    pub fn fail_sync(&self, nth: u64) {
        let mut switches = self.locked();
        switches.failing_sync = Some(switches.syncs + nth);
    }

    /// The `nth` write from now on finds the disk full (1 is the next one).
    pub fn fill_disk_at_write(&self, nth: u64) {
        let mut switches = self.locked();
        switches.full_at_write = Some(switches.writes + nth);
    }

    /// Every sync takes this long.
    pub fn slow_sync(&self, takes: Duration) {
        self.locked().sync_takes = takes;
    }

    /// Syncs wait until [`Faults::release_syncs`].
    pub fn hold_syncs(&self) {
        self.locked().held = true;
    }

    /// Lets held syncs go on.
    pub fn release_syncs(&self) {
        self.locked().held = false;
        self.released.notify_all();
    }

    /// How many syncs have begun.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.locked().syncs
    }

    fn locked(&self) -> MutexGuard<'_, Switches> {
        self.switches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write_fate(&self) -> Fate {
        let mut switches = self.locked();
        switches.writes += 1;
        if switches.full_at_write == Some(switches.writes) {
            return Fate::Fail(StorageError::NoSpace("injected".to_owned()));
        }
        Fate::Happen
    }

    /// Waits as told.
    pub(super) fn before_sync(&self) {
        let mut switches = self.locked();
        switches.syncs += 1;
        while switches.held {
            switches = self.released.wait(switches).unwrap_or_else(PoisonError::into_inner);
        }
        let takes = switches.sync_takes;
        drop(switches);
        if !takes.is_zero() {
            std::thread::sleep(takes);
        }
    }

    pub(super) fn sync_fate(&self) -> Fate {
        let switches = self.locked();
        if switches.failing_sync == Some(switches.syncs) {
            let message = "injected failure".to_owned();
            return Fate::Fail(StorageError::Io { doing: "sync the write-ahead log", message });
        }
        Fate::Happen
    }
}
