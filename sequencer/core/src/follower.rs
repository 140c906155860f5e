//! The seam to whoever follows the log: takes ranges of events in order, gives an outcome for each and changes of its own
//! state. The core folds, signs and stores them ([`crate::apply`]) and reads nothing of what they say.
//!
//! A follower is a function of the events, of what it stored, and of its cuts: where it began anew with memory it had
//! lost or given up. Cuts are recorded, because they depend on restarts; given back, they make it do the same again.
//! It cannot delay, reorder or change the log (law 8): it is called on a thread of its own, behind the receipts.

use bytes::Bytes;
use tally_protocol::hash::StatesRoot;
use tally_protocol::id::{Index, TreeSize};
use tally_storage::{Batch, Change, StorageError};

use crate::read::{LedgerInfo, StoredEvent};

/// Why a follower does not go on. Nothing of the range is stored; it is asked again when somebody says so.
#[derive(Debug, thiserror::Error)]
pub enum FollowerError {
    /// It cannot do what the events ask for, here or now: a profile it lacks, a guard that fired, a module that is not
    /// there. In its own words; they may be shown to an operator.
    #[error("{0}")]
    Stopped(String),
    /// It could not read its own state.
    #[error("failed to read its state: {0}")]
    Storage(#[from] StorageError),
}

/// Events to apply, in the order of the log and without gap.
#[derive(Debug, Clone, Copy)]
pub struct FollowerRange<'a> {
    /// Which ledger.
    pub ledger: &'a LedgerInfo,
    /// The events; never none.
    pub events: &'a [StoredEvent],
    /// What was recorded when these events were applied before; to be followed exactly. `None`: they never were.
    pub recorded_cuts: Option<&'a [u8]>,
}

/// What a range of events came to.
#[derive(Debug, Clone, Default)]
pub struct Applied {
    /// The outcome of each event: the bytes that the log of outcomes commits.
    pub outcomes: Vec<Bytes>,
    /// Changes to the follower's own state, in the families that are a follower's
    /// ([`tally_storage::Family::is_followers`]).
    pub batch: Batch,
    /// Rows of [`tally_storage::Family::StatePages`] that follow from what was stored before and from this batch: sorted,
    /// each key once, keys that no batch writes. They are written past the write-ahead log some time after the batch is on
    /// the disk, in the order of the ranges ([`Follower::pages_written`]). A crash before that leaves the batch without
    /// them: the batches say how to make them again.
    pub pages: Vec<Change>,
    /// Where it began anew within the range; nothing if it did not. Of a range that was applied before, what was
    /// recorded then.
    pub cuts: Bytes,
    /// The root over its state after the range, to stand in the checkpoint.
    pub state_root: Option<StatesRoot>,
}

/// Applies the events of a log.
pub trait Follower: Send {
    /// Forgets what it holds in memory: the next range begins at `next`, over the state that is stored. Called before
    /// the first range, and before the next one after any failure.
    ///
    /// # Errors
    /// Applying halts.
    fn reset(&mut self, next: Index) -> Result<(), FollowerError>;

    /// Applies a range. It writes nothing itself: what it gives is stored together with the outcomes, or not at all; pages
    /// later.
    ///
    /// # Errors
    /// Applying halts. The log goes on.
    fn apply(&mut self, range: FollowerRange<'_>) -> Result<Applied, FollowerError>;

    /// Everything below `upto` is stored: what it kept in memory for this may go.
    fn committed(&mut self, upto: TreeSize) {
        let _ = upto;
    }

    /// The pages that a committed range gave are on the disk: what stood for them may go with the next batch.
    fn pages_written(&mut self) {}
}
