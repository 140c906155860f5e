//! The pipeline without its threads: each stage takes what waits for it when the caller says so.
//!
//! For simulation (`fuzz/sim`), where the order of everything must follow from a seed. It starts by the same recovery
//! and calls the same stage functions as [`crate::pipeline`]; what it replaces is who calls them, and when. A stage
//! that fails ends here as its thread would: it poisons the node, what waits before it is dropped (those tickets end
//! as outcome unknown), what is behind it can still be finished. Dropping a [`Stepped`] is a crash: nothing is written.
//!
//! Only with the feature `stepped`.

use std::collections::VecDeque;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use tally_storage::{Batch, DerivedIndex, Durability, StorageError};

use crate::acknowledge;
use crate::admit::{Door, Lane, Submitter};
use crate::append::{self, Appender, Durable};
use crate::config::Config;
use crate::error::StartError;
use crate::fold::FoldedRun;
use crate::metrics::Metrics;
use crate::order::{OrderedRun, Orderer};
use crate::pipeline::{Parts, Prepared, prepare};
use crate::read::Reader;
use crate::recover::Standing;
use crate::shared::Shared;
use crate::sign::{self, CertifiedRuns, Certifier};
use crate::verify::{self, Verified};
use crate::watermarks::{NodeState, Rung};
use crate::{batch, index, publish};

/// Runs that may wait for the index; what finds no room is read back from the log, as in the pipeline.
const INDEX_QUEUE_RUNS: usize = 4;

/// How much waits before each stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waiting {
    /// Submissions inside the door, of callers in good standing.
    pub good: usize,
    /// Submissions inside the door, of callers whose signatures failed lately.
    pub suspect: usize,
    /// Submissions whose signatures are checked.
    pub verified: usize,
    /// Submissions in the run that fills.
    pub ordered: usize,
    /// Runs that are durable and not folded.
    pub durable: usize,
    /// Groups of runs under a checkpoint whose receipts were not given out.
    pub certified: usize,
    /// Runs that are not in the indexes.
    pub unindexed: usize,
}

/// A sequencer that moves only when it is told to.
pub struct Stepped {
    shared: Arc<Shared>,
    submitter: Submitter,
    door: Arc<ArcSwapOption<Door>>,
    admitted: Option<verify::Queues>,
    verified: VecDeque<Verified>,
    run: OrderedRun,
    orderer: Option<Orderer>,
    appender: Option<Appender>,
    durable: VecDeque<Durable>,
    certifier: Option<Certifier>,
    certified: VecDeque<CertifiedRuns>,
    to_index: Sender<Arc<FoldedRun>>,
    unindexed: Option<Receiver<Arc<FoldedRun>>>,
}

impl Stepped {
    /// Recovers and opens the door, by the code that [`crate::Sequencer::start`] runs. Look-up segments hold so many rows,
    /// so that few events make many of them.
    ///
    /// # Errors
    /// As [`crate::Sequencer::start`].
    pub fn start(config: Config, parts: Parts, segment_rows: u64) -> Result<Self, StartError> {
        let Prepared { shared, standing, tree, fence, tip, start } =
            prepare(config, parts, &|engine, ledger| DerivedIndex::open_small(engine, ledger, segment_rows))?;
        let door = Arc::new(ArcSwapOption::empty());
        let submitter = Submitter::new(Arc::clone(&shared), Arc::clone(&door));
        let (to_index, unindexed) = bounded(INDEX_QUEUE_RUNS);
        let mut this = Self {
            shared: Arc::clone(&shared),
            submitter,
            door,
            admitted: None,
            verified: VecDeque::new(),
            run: OrderedRun::default(),
            orderer: None,
            appender: None,
            durable: VecDeque::new(),
            certifier: None,
            certified: VecDeque::new(),
            to_index,
            unindexed: Some(unindexed),
        };
        match standing {
            Standing::ReadOnly { why, .. } => shared.watermarks.enter(NodeState::ReadOnly(why)),
            Standing::Newest(epoch) => {
                let orderer = Orderer::new(Arc::clone(&shared), start);
                this.run = orderer.new_run();
                this.orderer = Some(orderer);
                this.appender = Some(Appender::new(Arc::clone(&shared), epoch, tip.hash));
                this.certifier = Some(Certifier::new(Arc::clone(&shared), tree, fence, epoch));
                let (good, good_admitted) = bounded(1024);
                let (suspect, suspect_admitted) = bounded(256);
                this.admitted = Some(verify::Queues::new(good_admitted, suspect_admitted));
                this.door.store(Some(Arc::new(Door { good, suspect })));
            }
        }
        Ok(this)
    }

    /// The write door.
    #[must_use]
    pub fn submitter(&self) -> Submitter {
        self.submitter.clone()
    }

    /// The read door.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.shared))
    }

    /// What the pipeline measures.
    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.shared.metrics)
    }

    /// How much waits before each stage.
    #[must_use]
    pub fn waiting(&self) -> Waiting {
        Waiting {
            good: self.admitted.as_ref().map_or(0, |queues| queues.good().len()),
            suspect: self.admitted.as_ref().map_or(0, |queues| queues.suspect().len()),
            verified: self.verified.len(),
            ordered: self.run.submissions(),
            durable: self.durable.len(),
            certified: self.certified.len(),
            unindexed: self.unindexed.as_ref().map_or(0, Receiver::len),
        }
    }

    /// Whether a caller's submissions are verified apart.
    #[must_use]
    pub fn suspects(&self, lane: Lane) -> bool {
        self.shared.suspects.holds(lane)
    }

    /// One verify worker gathers at most so many submissions, of callers in good standing or of suspects. Gives how
    /// many it checked.
    pub fn verify(&mut self, suspects: bool, submissions: usize) -> usize {
        let Some(queues) = &self.admitted else { return 0 };
        let (sender, gathered) = unbounded();
        let queue = if suspects { queues.suspect() } else { queues.good() };
        for submission in queue.try_iter().take(submissions) {
            let _ = sender.send(submission);
        }
        drop(sender);
        let (_, empty) = bounded(0);
        let queues = match suspects {
            true => verify::Queues::new(empty, gathered),
            false => verify::Queues::new(gathered, empty),
        };
        let (sender, checked) = unbounded();
        verify::run(&self.shared, &queues, &sender);
        drop(sender);
        let before = self.verified.len();
        self.verified.extend(checked);
        self.verified.len() - before
    }

    /// Orders the next submission into the run that fills. Gives whether it was ordered: not if none waits, the run has
    /// no room, the indexes lag too far behind (the thread would wait), or ordering ended.
    pub fn order(&mut self) -> bool {
        let Some(orderer) = &mut self.orderer else { return false };
        if !self.run.has_room() || orderer.must_wait() {
            return false;
        }
        let Some(verified) = self.verified.pop_front() else { return false };
        let ordered = orderer.order(&mut self.run, verified);
        if !ordered {
            self.end_ordering();
        }
        ordered
    }

    /// Writes the run that fills, and syncs it. Gives whether there was one.
    pub fn append(&mut self) -> bool {
        let (Some(orderer), Some(appender)) = (&self.orderer, &mut self.appender) else { return false };
        if self.run.is_empty() {
            return false;
        }
        let (sender, ordered) = unbounded();
        let _ = sender.send(std::mem::replace(&mut self.run, orderer.new_run()));
        drop(sender);
        let (sender, durable) = unbounded();
        append::run(appender, &ordered, &sender);
        drop(sender);
        self.durable.extend(durable);
        if self.durable.is_empty() || self.certifier.is_none() {
            // Its write failed, or nobody takes what it made.
            self.durable.clear();
            self.appender = None;
            self.end_ordering();
        }
        true
    }

    /// Folds and signs at most so many durable runs as one group. Gives how many.
    pub fn certify(&mut self, runs: usize) -> usize {
        let Some(certifier) = &mut self.certifier else { return 0 };
        let runs = runs.min(self.durable.len()).min(sign::GROUP_RUNS_MAX);
        if runs == 0 {
            return 0;
        }
        let (sender, group) = unbounded();
        for run in self.durable.drain(..runs) {
            let _ = sender.send(run);
        }
        drop(sender);
        let (sender, certified) = unbounded();
        sign::run(certifier, &group, &sender);
        drop(sender);
        let before = self.certified.len();
        self.certified.extend(certified);
        if self.certified.len() == before {
            self.certifier = None;
            self.durable.clear();
        }
        runs
    }

    /// Gives out the receipts of the next certified group. Gives whether there was one.
    pub fn acknowledge(&mut self) -> bool {
        let Some(group) = self.certified.pop_front() else { return false };
        let (sender, certified) = unbounded();
        let _ = sender.send(group);
        drop(sender);
        acknowledge::run(&self.shared, &certified, &self.to_index);
        true
    }

    /// Puts the next acknowledged run into the derived indexes. Gives whether there was one.
    pub fn index(&mut self) -> bool {
        let Some(run) = self.unindexed.as_ref().and_then(|unindexed| unindexed.try_recv().ok()) else { return false };
        let done = index::take(&self.shared, &run);
        self.or_end_indexing(done);
        true
    }

    /// One beat of publishing.
    pub fn publish(&self) {
        publish::beat(&self.shared);
    }

    /// One round of VES commitments, if the node may work.
    pub fn commit(&self) {
        if !self.shared.watermarks.may_work() {
            return;
        }
        if let Err(error) = batch::commit_to(&self.shared, self.shared.watermarks.get(Rung::Signed)) {
            self.shared.watermarks.poison(&format!("failed to write a commitment: {error}"));
        }
    }

    /// Takes nothing more: what is inside can be finished by further steps, then [`Self::finish`] ends it.
    pub fn close(&mut self) {
        if self.shared.watermarks.state() == NodeState::Running {
            self.shared.watermarks.enter(NodeState::Draining);
        }
        self.door.store(None);
    }

    /// The end of a drain: indexes to the log's end, a last beat of publishing, and what the next run's write would
    /// have carried.
    ///
    /// # Errors
    /// The last write failed; the next start derives it again.
    pub fn finish(mut self) -> Result<(), StorageError> {
        if self.unindexed.is_some() {
            let end = self.shared.watermarks.get(Rung::Durable).get();
            let done = index::catch_up(&self.shared, end).and_then(|()| self.shared.derived.flush());
            self.or_end_indexing(done);
        }
        if !self.shared.watermarks.may_work() {
            return Ok(());
        }
        publish::beat(&self.shared);
        let mut batch = Batch::new();
        let written = append::add_unwritten(&self.shared, &mut batch);
        self.shared.engine.write(batch, Durability::Synced)?;
        append::forget_written(&self.shared, &written);
        Ok(())
    }

    /// A planted bug: the window of event ids forgets what the derived index does not hold yet.
    pub fn plant_forgotten_window(&mut self) {
        if let Some(orderer) = &mut self.orderer {
            orderer.plant_forgotten_window();
        }
    }

    fn or_end_indexing(&mut self, done: Result<(), StorageError>) {
        if let Err(error) = done {
            self.shared.watermarks.poison(&format!("failed to write an index: {error}"));
            self.unindexed = None;
        }
    }

    /// Ordering is gone: the door and everything before it with it.
    fn end_ordering(&mut self) {
        self.orderer = None;
        self.run = OrderedRun::default();
        self.verified.clear();
        self.admitted = None;
    }
}
