//! What the stages and the read side have in common: the stores, the ladder, and the newest certified tree.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use arc_swap::{ArcSwap, ArcSwapOption};
use tally_merkle::{Edge, FullTile};
use tally_protocol::checkpoint::SignedCheckpoint;
use tally_protocol::id::{Sequence, Stream};
use tally_protocol::key::Signer;
use tally_storage::{
    CheckpointStore, CommitmentStore, DerivedIndex, Engine, EventLog, LatestCheckpoint, Outcomes, TileStore,
};

use crate::apply::Applying;
use crate::clock::Clock;
use crate::config::Config;
use crate::control::Control;
use crate::gate::PluginGate;
use crate::metrics::Metrics;
use crate::read::LedgerInfo;
use crate::read::runs::RunCache;
use crate::read::tiles::TileCache;
use crate::verify::Suspects;
use crate::watermarks::{Rung, Watermarks};

/// A tree and the checkpoint that certifies it. Readers hold one while the pipeline makes the next.
#[derive(Debug)]
pub(crate) struct Certified {
    pub(crate) edge: Edge,
    pub(crate) checkpoint: Arc<SignedCheckpoint>,
}

/// Fold's products that wait for the next run's write batch. Losing them loses nothing: recovery re-folds.
#[derive(Debug, Default)]
pub(crate) struct Unwritten {
    pub(crate) tiles: HashMap<(u8, u64), FullTile>,
    /// The newest certified checkpoint's note with its frontier.
    pub(crate) latest: Option<LatestCheckpoint>,
}

/// One log as it is served: what its tree is read from, and what was signed over it. The log of events and the log of
/// outcomes are two of the same kind.
pub(crate) struct ServedLog {
    /// The rung below which it answers.
    pub(crate) rung: Rung,
    pub(crate) tiles: TileStore,
    pub(crate) checkpoints: CheckpointStore,
    pub(crate) certified: ArcSwap<Certified>,
    pub(crate) published: ArcSwapOption<SignedCheckpoint>,
    pub(crate) unwritten: Mutex<Unwritten>,
    pub(crate) kept_tiles: TileCache,
}

/// A flag with a bell, for threads that work at a cadence.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: Mutex<bool>,
    bell: Condvar,
}

impl Bell {
    pub(crate) fn ring(&self) {
        *lock(&self.rung) = true;
        self.bell.notify_all();
    }

    /// Waits for a ring or the time-out, whichever comes first.
    pub(crate) fn wait(&self, timeout: std::time::Duration) {
        let rung = lock(&self.rung);
        let (mut rung, _) =
            self.bell.wait_timeout_while(rung, timeout, |rung| !*rung).unwrap_or_else(PoisonError::into_inner);
        *rung = false;
    }
}

/// Opens once, for good: threads that work at a cadence wait at it.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    open: Mutex<bool>,
    bell: Condvar,
}

impl Gate {
    pub(crate) fn open(&self) {
        *lock(&self.open) = true;
        self.bell.notify_all();
    }

    /// Waits for the gate or the time-out; tells whether the gate is open.
    pub(crate) fn wait(&self, timeout: std::time::Duration) -> bool {
        let open = lock(&self.open);
        *self.bell.wait_timeout_while(open, timeout, |open| !*open).unwrap_or_else(PoisonError::into_inner).0
    }
}

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) ledger: LedgerInfo,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) receipt_signer: Arc<dyn Signer>,
    pub(crate) checkpoint_signer: Arc<dyn Signer>,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) log: EventLog,
    pub(crate) events: ServedLog,
    pub(crate) outcomes: ServedLog,
    pub(crate) outcome_bodies: Outcomes,
    pub(crate) applying: Applying,
    pub(crate) derived: DerivedIndex,
    pub(crate) commitments: CommitmentStore,
    pub(crate) watermarks: Watermarks,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) control: RwLock<Control>,
    /// Heads of the streams under the newest certified checkpoint.
    pub(crate) heads: RwLock<HashMap<Stream, Sequence>>,
    /// Everything below is in the derived indexes.
    pub(crate) index_cursor: AtomicU64,
    /// Rung when the index cursor moved.
    pub(crate) indexed: Bell,
    /// One commitment round at a time, by whoever asks.
    pub(crate) commit_round: Mutex<()>,
    pub(crate) runs: RunCache,
    pub(crate) suspects: Suspects,
    /// Asked before a plugin event is ordered.
    pub(crate) gate: Option<Arc<dyn PluginGate>>,
    /// Opened once: threads that work at a cadence end.
    pub(crate) stopped: Gate,
}

/// Locks; a panic elsewhere does not make the data wrong here, the pipeline is poisoned by its own guard.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Read-locks; see [`lock`].
pub(crate) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Write-locks; see [`lock`].
pub(crate) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
