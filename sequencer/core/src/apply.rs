//! Applying. Takes signed events by its own cursor, asks a [`Follower`] for their outcomes, gives a second log of them:
//! folded, signed and stored by the code that does it for events. Moves `applied`.
//!
//! One thread, no queue: it reads the log, a bounded range at a time, and receipts never wait for it. Outcomes, tiles,
//! tree, cursor, cuts and the follower's own changes are one atomic write, so a crash leaves a range as a whole or not
//! at all, and the next start goes on behind it. The newest stored checkpoint of outcomes is the cursor. A follower's
//! pages are written behind that by a thread beside this one (`write`), past the write-ahead log that receipts wait for:
//! they follow from what the batches say.
//!
//! A follower that fails, panics or gives what it may not halts applying, with the reason for whoever asks; the log goes
//! on. Only a failed write poisons the node, as everywhere (law 9). Deleted outcomes are made again from the log and the
//! recorded cuts; if they do not lead to the checkpoint that the world has seen, applying halts instead of signing.

mod desk;
mod stored;
pub(crate) mod write;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tally_merkle::FullTile;
use tally_protocol::checkpoint::SignedCheckpoint;
use tally_protocol::hash::{self, LeafHash, StatesRoot};
use tally_protocol::id::{Index, TreeSize};
use tally_protocol::limits::ENTRY_BYTES_MAX;
use tally_protocol::outcome_log;
use tally_storage::{Batch, Cuts, Durability, Family, LatestCheckpoint, RecordedCuts, StorageError, background};

use crate::append::put_tile;
use crate::failpoint;
use crate::fold::Tree;
use crate::follower::{Applied, Follower, FollowerError, FollowerRange};
use crate::read::{ReadError, Reader, StoredEvent};
use crate::shared::{Certified, Shared};
use crate::watermarks::Rung;

pub use desk::ApplyState;
pub(crate) use desk::Applying;
use write::{BatchDesk, PageDesk};

/// Events of a range at the most: bounds what a crash repeats, what a follower holds until it is stored, and the batch that
/// is synced on the log that receipts wait for. A follower's pages cost the less for each event the more there are.
const RANGE_EVENTS_MAX: u64 = 4096;
/// No event is added to a range behind so many bytes of frames: bounds its memory.
const RANGE_BYTES_MAX: usize = 8 << 20;
/// Ranges that could still grow are so far apart: each costs a sync, and the log's own syncs come first. Behind a range of
/// at least [`BUSY_EVENTS`] the next waits longer: while much comes, fewer and larger ranges cost less in all.
const RANGE_INTERVAL: Duration = Duration::from_millis(10);
const BUSY_INTERVAL: Duration = Duration::from_millis(40);
const BUSY_EVENTS: u64 = 128;
/// How long a bell that was missed may go unnoticed.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Why applying halts.
#[derive(Debug, thiserror::Error)]
enum ApplyError {
    #[error("the follower: {0}")]
    Follower(#[from] FollowerError),
    #[error("the follower panicked")]
    Panicked,
    #[error("the follower gave {given} outcomes for {events} events")]
    Count { events: usize, given: usize },
    #[error("the follower gave an outcome of {0} bytes")]
    Long(usize),
    #[error("the follower changed {}, which is not its own", .0.name())]
    Foreign(Family),
    #[error("the follower gave pages out of order")]
    Unsorted,
    #[error("the follower did not follow the recorded cuts")]
    Cuts,
    #[error("the outcomes do not lead to the checkpoint that was published at size {0}")]
    Diverged(TreeSize),
    #[error("the recorded cuts do not fit the log at index {0}")]
    Recorded(Index),
    #[error("failed to sign a checkpoint: {0}")]
    Signer(String),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("failed to read: {0}")]
    Storage(#[from] StorageError),
    #[error("failed to write outcomes: {0}")]
    Write(StorageError),
}

/// What to apply next.
struct Plan {
    first: Index,
    end: TreeSize,
    /// What was recorded for exactly this range, or for none of it; `None` if it is applied for the first time.
    recorded: Option<Bytes>,
    /// Whether its end may come sooner.
    divisible: bool,
}

/// Owns the follower and the cursor.
pub(crate) struct Applier {
    shared: Arc<Shared>,
    follower: Box<dyn Follower>,
    cuts: Cuts,
    batches: BatchDesk,
    pages: PageDesk,
    tree: Tree,
    /// Everything below was applied before, with recorded cuts.
    recorded_end: TreeSize,
}

/// The applying thread's life: until the pipeline stops or a write fails.
pub(crate) fn run(applier: &mut Applier) {
    let shared = Arc::clone(&applier.shared);
    // Receipts do not wait for it.
    background::enter();
    while let Err(error) = applier.follow() {
        if matches!(error, ApplyError::Write(_)) {
            shared.watermarks.poison(&error.to_string());
        }
        shared.metrics.apply_halts.add(1);
        shared.metrics.apply_halted.set(1);
        shared.applying.halt(applier.tree.size(), error.to_string());
        while !shared.applying.take_retry() {
            applier.measure_lag();
            if !applier.may_go_on() {
                return;
            }
            shared.applying.wait(LOOK_EVERY);
        }
        shared.metrics.apply_halted.set(0);
    }
}

/// Shows readers what is stored, before anything is applied.
pub(crate) fn show_stored(shared: &Shared) -> Result<(), StorageError> {
    if let Some((tree, checkpoint)) = stored::tree(shared)? {
        show(shared, &tree, checkpoint);
    }
    Ok(())
}

fn show(shared: &Shared, tree: &Tree, checkpoint: SignedCheckpoint) {
    let certified = Certified { edge: tree.edge.clone(), checkpoint: Arc::new(checkpoint) };
    shared.outcomes.certified.store(Arc::new(certified));
    // Behind a failure that took the stored outcomes the cursor starts anew; the rung waits until it is passed.
    if tree.size() > shared.watermarks.get(Rung::Applied) {
        shared.watermarks.raise(Rung::Applied, tree.size());
    }
}

impl Applier {
    pub(crate) fn new(
        shared: Arc<Shared>,
        follower: Box<dyn Follower>,
        (batches, pages): (BatchDesk, PageDesk),
    ) -> Self {
        let cuts = Cuts::new(Arc::clone(&shared.engine));
        let tree = stored::genesis_tree();
        shared.applying.follow();
        Self { shared, follower, cuts, batches, pages, tree, recorded_end: TreeSize::new(0) }
    }

    /// Goes on from what is stored until the pipeline stops. The same at a start and behind a failure (law 10).
    fn follow(&mut self) -> Result<(), ApplyError> {
        self.open()?;
        self.shared.applying.follow();
        while self.wait_for_events() {
            let start = self.shared.clock.monotonic_micros();
            let before = self.tree.size().get();
            let hurry = self.step()?;
            let metrics = &self.shared.metrics;
            metrics.apply_micros.observe(self.shared.clock.monotonic_micros().saturating_sub(start));
            let applied = self.tree.size().get().saturating_sub(before);
            metrics.events_applied.add(applied);
            self.measure_lag();
            let pause = if applied < BUSY_EVENTS { RANGE_INTERVAL } else { BUSY_INTERVAL };
            if !hurry && self.shared.stopped.wait(pause) {
                break;
            }
        }
        Ok(())
    }

    /// Brings the tree to what is stored, and the follower with it.
    fn open(&mut self) -> Result<(), ApplyError> {
        // From before a failure: what is opened is not changed meanwhile.
        self.pages.wait().map_err(ApplyError::Write)?;
        match stored::tree(&self.shared)? {
            Some((tree, checkpoint)) => {
                self.check_published(&checkpoint)?;
                self.tree = tree;
                show(&self.shared, &self.tree, checkpoint);
            }
            None => {
                tally_storage::clear_applied(self.shared.engine.as_ref()).map_err(ApplyError::Write)?;
                failpoint::hit("apply.cleared");
                self.tree = stored::genesis_tree();
            }
        }
        self.recorded_end = self.cuts.end()?;
        let next = Index::new(self.tree.size().get());
        guarded(&mut self.follower, |follower| follower.reset(next))?;
        failpoint::hit("apply.opened");
        Ok(())
    }

    /// Whether there are events to apply; waits for them. `false`: the pipeline stops.
    fn wait_for_events(&self) -> bool {
        while self.may_go_on() {
            if self.shared.watermarks.get(Rung::Signed) > self.tree.size() {
                return true;
            }
            self.shared.applying.wait(LOOK_EVERY);
        }
        false
    }

    fn may_go_on(&self) -> bool {
        self.shared.watermarks.may_work() && !self.shared.stopped.wait(Duration::ZERO)
    }

    fn measure_lag(&self) {
        let signed = self.shared.watermarks.get(Rung::Signed).get();
        self.shared.metrics.applied_lag_events.set(signed.saturating_sub(self.tree.size().get()));
    }

    /// Applies the next range. Gives whether the next one need not wait to become larger.
    fn step(&mut self) -> Result<bool, ApplyError> {
        if self.pages.is_done().map_err(ApplyError::Write)? {
            self.tell_written()?;
        }
        let plan = self.plan()?;
        let events = self.read(&plan)?;
        failpoint::hit("apply.before_follower");
        let range =
            FollowerRange { ledger: &self.shared.ledger, events: &events, recorded_cuts: plan.recorded.as_deref() };
        let applied = guarded(&mut self.follower, |follower| follower.apply(range))?;
        failpoint::hit("apply.after_follower");
        check(&events, plan.recorded.as_deref(), &applied)?;
        let replayed = plan.recorded.is_some();
        self.commit(&plan, applied)?;
        let left = self.shared.watermarks.get(Rung::Signed).get().saturating_sub(self.tree.size().get());
        Ok(replayed || left >= RANGE_EVENTS_MAX)
    }

    /// The next range: of events that were applied before, the range that was recorded or a part of one without cuts;
    /// else what is signed.
    fn plan(&self) -> Result<Plan, ApplyError> {
        let first = Index::new(self.tree.size().get());
        let signed = self.shared.watermarks.get(Rung::Signed);
        let bound = signed.min(TreeSize::new(first.get() + RANGE_EVENTS_MAX));
        if !self.recorded_end.holds(first) {
            return Ok(Plan { first, end: bound, recorded: None, divisible: true });
        }
        if self.recorded_end > signed {
            return Err(ApplyError::Recorded(first));
        }
        match self.cuts.next(first)? {
            Some(range) if range.first == first && range.end <= self.recorded_end => {
                Ok(Plan { first, end: range.end, recorded: Some(range.cuts), divisible: false })
            }
            Some(range) if range.first <= first => Err(ApplyError::Recorded(first)),
            next => {
                let without = next.map_or(self.recorded_end, |range| TreeSize::new(range.first.get()));
                // Sizes that were published are met exactly, to be compared.
                let published = self.published_size().filter(|size| size.holds(first)).unwrap_or(without);
                let end = bound.min(without).min(published);
                Ok(Plan { first, end, recorded: Some(Bytes::new()), divisible: true })
            }
        }
    }

    fn published_size(&self) -> Option<TreeSize> {
        self.shared.outcomes.published.load().as_ref().map(|published| published.checkpoint.size)
    }

    /// The events of a plan, fewer if they are long.
    fn read(&self, plan: &Plan) -> Result<Vec<StoredEvent>, ApplyError> {
        let reader = Reader::new(Arc::clone(&self.shared));
        let mut events = Vec::new();
        let mut bytes = 0;
        for event in reader.events_between(plan.first.get(), plan.end.get()) {
            let event = event?;
            bytes += event.frame.bytes().len();
            events.push(event);
            if plan.divisible && bytes >= RANGE_BYTES_MAX {
                break;
            }
        }
        Ok(events)
    }

    /// Folds, signs and stores what a range came to: all of it, or nothing.
    fn commit(&mut self, plan: &Plan, applied: Applied) -> Result<(), ApplyError> {
        let Applied { outcomes, mut batch, pages, cuts, state_root } = applied;
        let leaves: Vec<LeafHash> = hash::leaf_many(outcomes.iter().map(|body| &body[..]));
        // A copy grows: if nothing comes of it, the tree is what is stored.
        let mut tree = self.tree.clone();
        let tiles = tree.grow(&leaves).tiles;
        let checkpoint = self.sign(&tree, state_root)?;
        self.check_published(&checkpoint)?;
        failpoint::hit("apply.signed");
        self.shared.outcome_bodies.append(&mut batch, plan.first, &outcomes);
        self.add_tree(&mut batch, &tree, &tiles, &checkpoint);
        if plan.recorded.is_none() {
            self.cuts.record(&mut batch, &RecordedCuts { first: plan.first, end: tree.size(), cuts });
        }
        if !pages.is_empty() && self.pages.wait().map_err(ApplyError::Write)? {
            self.tell_written()?;
        }
        failpoint::hit("apply.before_write");
        // What follows from truth that is there need not be synced. Cuts are truth, and whoever has seen the checkpoint
        // relies on them; pages outlive a crash that takes what they follow from.
        let is_relied_on = plan.recorded.is_none() || !pages.is_empty();
        let durability = if is_relied_on { Durability::Synced } else { Durability::Buffered };
        self.batches.write(batch, durability).map_err(ApplyError::Write)?;
        failpoint::hit("apply.after_write");
        if !pages.is_empty() {
            self.pages.give(pages).map_err(ApplyError::Write)?;
        }
        self.tree = tree;
        let size = self.tree.size();
        // Before the rung moves: whoever waited for it finds what the follower shows.
        guarded(&mut self.follower, |follower| {
            follower.committed(size);
            Ok(())
        })?;
        failpoint::hit("apply.committed");
        show(&self.shared, &self.tree, checkpoint);
        Ok(())
    }

    fn tell_written(&mut self) -> Result<(), ApplyError> {
        guarded(&mut self.follower, |follower| {
            follower.pages_written();
            Ok(())
        })?;
        failpoint::hit("apply.pages_written");
        Ok(())
    }

    fn sign(&self, tree: &Tree, state_root: Option<StatesRoot>) -> Result<SignedCheckpoint, ApplyError> {
        let origin = &self.shared.ledger.genesis.origin;
        let checkpoint = outcome_log::checkpoint(origin, tree.size(), tree.frontier.root(), state_root);
        SignedCheckpoint::sign(checkpoint, &[self.shared.receipt_signer.as_ref()])
            .map_err(|error| ApplyError::Signer(error.to_string()))
    }

    /// Never two roots for one size: what the world has seen at this size is what is signed at it.
    fn check_published(&self, signed: &SignedCheckpoint) -> Result<(), ApplyError> {
        let published = self.shared.outcomes.published.load_full();
        match published.filter(|published| published.checkpoint.size == signed.checkpoint.size) {
            Some(published) if published.checkpoint != signed.checkpoint => {
                Err(ApplyError::Diverged(signed.checkpoint.size))
            }
            _ => Ok(()),
        }
    }

    fn add_tree(&self, batch: &mut Batch, tree: &Tree, tiles: &[FullTile], checkpoint: &SignedCheckpoint) {
        let log = &self.shared.outcomes;
        tiles.iter().for_each(|tile| put_tile(&log.tiles, batch, tile));
        let latest = LatestCheckpoint {
            size: tree.size(),
            note: checkpoint.note.clone(),
            frontier: tree.frontier.encode().into(),
        };
        log.checkpoints.put_latest(batch, &latest);
    }
}

/// Calls a follower: whatever becomes of it, this thread goes on.
fn guarded<T>(
    follower: &mut Box<dyn Follower>,
    call: impl FnOnce(&mut dyn Follower) -> Result<T, FollowerError>,
) -> Result<T, ApplyError> {
    // What a panic left in the follower is forgotten by its reset before it is called again.
    match catch_unwind(AssertUnwindSafe(|| call(follower.as_mut()))) {
        Ok(result) => Ok(result?),
        Err(_) => Err(ApplyError::Panicked),
    }
}

/// Whether a follower gave what may be stored.
fn check(events: &[StoredEvent], recorded: Option<&[u8]>, applied: &Applied) -> Result<(), ApplyError> {
    if applied.outcomes.len() != events.len() {
        return Err(ApplyError::Count { events: events.len(), given: applied.outcomes.len() });
    }
    if let Some(long) = applied.outcomes.iter().find(|body| body.len() > ENTRY_BYTES_MAX) {
        return Err(ApplyError::Long(long.len()));
    }
    if let Some(family) = applied.batch.families().find(|family| !family.is_followers()) {
        return Err(ApplyError::Foreign(family));
    }
    let mut pairs = applied.pages.iter().zip(applied.pages.iter().skip(1));
    if !pairs.all(|((left, _), (right, _))| left < right) {
        return Err(ApplyError::Unsorted);
    }
    if recorded.is_some_and(|recorded| recorded != applied.cuts.as_ref()) {
        return Err(ApplyError::Cuts);
    }
    Ok(())
}
