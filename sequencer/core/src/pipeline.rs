//! Threads, queues, drain and poison: nothing else in the core spawns.
//!
//! ```text
//! submitters ─▶ verify ×n ─▶ order ─▶ append ─▶ certify ─▶ acknowledge ─▶ index
//!   (permits)   (bounded)   (1 run)  (4 runs)  (4 groups)  (16 runs)
//!                                        publish, commit: at a cadence; apply: by the log, behind `signed`
//! ```
//!
//! Closing the door drains the rest in order: each stage ends when the one before it is gone. A stage that panics or
//! leaves early poisons the node; whoever waits for a receipt learns that the outcome is unknown.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, RwLock};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use crossbeam_channel::bounded;
use tally_merkle::Edge;
use tally_protocol::checkpoint::{Checkpoint, SignedCheckpoint};
use tally_protocol::entry::Genesis;
use tally_protocol::hash::{LedgerId, empty_root};
use tally_protocol::id::{Index, TreeSize};
use tally_protocol::key::Signer;
use tally_protocol::outcome_log;
use tally_storage::{
    Batch, CheckpointStore, CommitmentStore, DerivedIndex, Durability, Engine, EventLog, MetaStore, Outcomes,
    StorageError, TileStore,
};

use crate::admit::{Door, Submitter};
use crate::anchored::AnchoredMark;
use crate::append::{self, Appender};
use crate::apply::{self, Applier, Applying};
use crate::clock::Clock;
use crate::config::Config;
use crate::control::Control;
use crate::error::StartError;
use crate::fence::Fence;
use crate::follower::Follower;
use crate::gate::PluginGate;
use crate::metrics::Metrics;
use crate::order::{self, OrderStart, Orderer};
use crate::read::runs::RunCache;
use crate::read::tiles::TileCache;
use crate::read::{LedgerInfo, Reader};
use crate::recover::{self, Standing};
use crate::shared::{Bell, Certified, Gate, ServedLog, Shared, Unwritten, write};
use crate::sign::{self, Certifier};
use crate::verify::{self, Suspects};
use crate::watermarks::{NodeState, Rung, Watermarks};
use crate::{acknowledge, batch, index, publish};

/// Bytes of kept tiles of the log of outcomes: a quarter of what events have, as it is asked less.
const OUTCOME_TILES_BYTES_MAX: usize = 16 << 20;

/// Where genesis comes from.
#[derive(Debug, Clone)]
pub enum GenesisSource {
    /// The database must hold a ledger; any will do.
    Existing,
    /// Create the ledger if the database is empty; else the database must hold this one.
    Create(Genesis),
}

/// What a sequencer is made of.
pub struct Parts {
    /// The database.
    pub engine: Arc<dyn Engine>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The online key: receipts' checkpoints and VES receipts.
    pub receipt_signer: Arc<dyn Signer>,
    /// The log's key: published checkpoints.
    pub checkpoint_signer: Arc<dyn Signer>,
    /// The record outside the data directory.
    pub fence: Box<dyn Fence>,
    /// Which ledger.
    pub genesis: GenesisSource,
    /// Who is asked before a plugin event is ordered; none: the state of plugin events alone decides.
    pub gate: Option<Arc<dyn PluginGate>>,
}

/// A drain that did not finish.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DrainError {
    /// A stage did not end in time.
    #[error("the pipeline did not drain in time")]
    TimedOut,
    /// The node was poisoned.
    #[error("the sequencer stopped: {0}")]
    Poisoned(String),
    /// The last derived write failed; the next start derives it again.
    #[error("failed to write the last derived state: {0}")]
    Storage(String),
}

/// A running sequencer. Owns the threads; dropping it closes the door and waits for them.
pub struct Sequencer {
    shared: Arc<Shared>,
    door: Arc<ArcSwapOption<Door>>,
    submitter: Submitter,
    stages: Vec<JoinHandle<()>>,
}

impl Sequencer {
    /// Recovers and starts.
    ///
    /// A log that may not be extended starts read-only (see [`NodeState::ReadOnly`]): it serves what it has.
    ///
    /// # Errors
    /// The database is damaged or another's, a key is not genesis's, or the fence is held by another process.
    pub fn start(config: Config, parts: Parts) -> Result<Self, StartError> {
        Self::start_with(config, parts, None)
    }

    /// The same with a follower, which applies the events behind their receipts.
    ///
    /// # Errors
    /// As [`Sequencer::start`]. A follower that fails keeps nothing from starting: see [`crate::ApplyState::Halted`].
    pub fn start_followed(config: Config, parts: Parts, follower: Box<dyn Follower>) -> Result<Self, StartError> {
        Self::start_with(config, parts, Some(follower))
    }

    fn start_with(config: Config, parts: Parts, follower: Option<Box<dyn Follower>>) -> Result<Self, StartError> {
        let Prepared { shared, standing, tree, fence, tip, start } = prepare(config, parts, &DerivedIndex::open)?;
        let door = Arc::new(ArcSwapOption::empty());
        let submitter = Submitter::new(Arc::clone(&shared), Arc::clone(&door));
        let mut this = Self { shared: Arc::clone(&shared), door, submitter, stages: Vec::new() };
        match standing {
            Standing::ReadOnly { why, usable } => {
                shared.watermarks.enter(NodeState::ReadOnly(why));
                if usable && follower.is_some() {
                    apply::show_stored(&shared)?;
                }
            }
            Standing::Newest(epoch) => {
                let appender = Appender::new(Arc::clone(&shared), epoch, tip.hash);
                let certifier = Certifier::new(Arc::clone(&shared), tree, fence, epoch);
                this.spawn_all(Orderer::new(Arc::clone(&shared), start), appender, certifier)?;
                if let Some(follower) = follower {
                    // Before anybody can ask: whoever has seen this log must not find a shorter one.
                    apply::show_stored(&shared)?;
                    let (batches, batch_writer) = apply::write::batch_desk(Arc::clone(&shared.engine));
                    let (pages, page_writer) = apply::write::page_desk(Arc::clone(&shared.engine));
                    let mut applier = Applier::new(Arc::clone(&shared), follower, (batches, pages));
                    this.stages.push(spawn("batches", &shared, move || apply::write::store(&batch_writer))?);
                    this.stages.push(spawn("pages", &shared, move || apply::write::run(&page_writer))?);
                    this.stages.push(spawn("apply", &shared, move || apply::run(&mut applier))?);
                }
            }
        }
        Ok(this)
    }

    fn spawn_all(
        &mut self,
        orderer: Orderer,
        mut appender: Appender,
        mut certifier: Certifier,
    ) -> Result<(), StartError> {
        let shared = &self.shared;
        let workers = shared.config.verify_workers.max(1);
        let (good, good_admitted) = bounded(1024);
        let (suspect, suspect_admitted) = bounded(256);
        let queues = verify::Queues::new(good_admitted, suspect_admitted);
        let (to_order, verified) = bounded(256);
        // A rendezvous: while the append stage is busy, the run in `order` grows instead of queueing.
        let (to_append, ordered) = bounded(0);
        let (to_certify, durable) = bounded(4);
        let (to_acknowledge, certified) = bounded(4);
        let (to_index, folded) = bounded(16);
        let mut stages = Vec::new();
        for worker in 0..workers {
            let (shared, queues, to_order) = (Arc::clone(shared), queues.clone(), to_order.clone());
            stages.push(spawn(&format!("verify-{worker}"), &self.shared, move || {
                verify::run(&shared, &queues, &to_order);
            })?);
        }
        drop((queues, to_order));
        stages.push(spawn("order", shared, move || order::run(orderer, &verified, &to_append))?);
        stages.push(spawn("append", shared, move || append::run(&mut appender, &ordered, &to_certify))?);
        stages.push(spawn("certify", shared, move || sign::run(&mut certifier, &durable, &to_acknowledge))?);
        let of = Arc::clone(shared);
        stages.push(spawn("acknowledge", shared, move || acknowledge::run(&of, &certified, &to_index))?);
        let of = Arc::clone(shared);
        stages.push(spawn("index", shared, move || index::run(&of, &folded))?);
        let of = Arc::clone(shared);
        stages.push(spawn("publish", shared, move || publish::run(&of))?);
        let of = Arc::clone(shared);
        stages.push(spawn("commit", shared, move || batch::run(&of))?);
        self.stages = stages;
        self.door.store(Some(Arc::new(Door { good, suspect })));
        Ok(())
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

    /// Lets a follower that halted try again, from what is stored. Nothing happens if it follows.
    pub fn retry_apply(&self) {
        self.shared.applying.ask_for_retry();
    }

    /// Somebody who remembers contradicts this log: it is served, and extended no more. For whoever opens the node, before
    /// its doors are open.
    pub fn stop_extending(&self, why: &str) {
        self.shared.watermarks.enter(NodeState::ReadOnly(why.to_owned()));
    }

    /// The owner of the rung `anchored`, for whoever watches the chains.
    #[must_use]
    pub fn anchored(&self) -> AnchoredMark {
        AnchoredMark(Arc::clone(&self.shared))
    }

    /// What the pipeline measures.
    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.shared.metrics)
    }

    /// Takes nothing more, finishes what is inside, publishes once more, and stops.
    ///
    /// # Errors
    /// See [`DrainError`]; what was acknowledged is durable in any case.
    pub fn drain(mut self, timeout: Duration) -> Result<(), DrainError> {
        let deadline = Instant::now() + timeout;
        self.close();
        for stage in &self.stages {
            while !stage.is_finished() {
                if Instant::now() >= deadline {
                    // The threads are left behind; whoever drains ends the process.
                    self.stages.clear();
                    return Err(DrainError::TimedOut);
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        self.join();
        match self.shared.watermarks.state() {
            NodeState::Poisoned(why) => Err(DrainError::Poisoned(why)),
            NodeState::ReadOnly(_) => Ok(()),
            _ => self.finish().map_err(|error| DrainError::Storage(error.to_string())),
        }
    }

    fn close(&mut self) {
        if self.shared.watermarks.state() == NodeState::Running {
            self.shared.watermarks.enter(NodeState::Draining);
        }
        self.door.store(None);
        self.shared.stopped.open();
        self.shared.applying.ring();
    }

    fn join(&mut self) {
        for stage in self.stages.drain(..) {
            let _ = stage.join();
        }
    }

    /// Publishes the last certified checkpoint, and writes what the next run's batch would have carried.
    fn finish(&self) -> Result<(), StorageError> {
        publish::beat(&self.shared);
        let mut batch = Batch::new();
        let written = append::add_unwritten(&self.shared, &mut batch);
        self.shared.engine.write(batch, Durability::Synced)?;
        append::forget_written(&self.shared, &written);
        Ok(())
    }
}

impl Drop for Sequencer {
    fn drop(&mut self) {
        self.close();
        self.join();
    }
}

/// Runs a stage; one that panics poisons the node.
fn spawn(
    name: &str,
    shared: &Arc<Shared>,
    stage: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, StartError> {
    struct Guard(Arc<Shared>, String);
    impl Drop for Guard {
        fn drop(&mut self) {
            if std::thread::panicking() {
                self.0.watermarks.poison(&format!("stage {} panicked", self.1));
            }
        }
    }
    let guard = Guard(Arc::clone(shared), name.to_owned());
    Builder::new()
        .name(format!("tally-{name}"))
        .spawn(move || {
            let _guard = guard;
            stage();
        })
        .map_err(StartError::Thread)
}

/// What recovery gives to the stages.
pub(crate) struct Prepared {
    pub(crate) shared: Arc<Shared>,
    pub(crate) standing: Standing,
    pub(crate) tree: crate::fold::Tree,
    pub(crate) fence: Box<dyn Fence>,
    pub(crate) tip: recover::Tip,
    pub(crate) start: OrderStart,
}

/// How the look-up indexes of a ledger are opened: [`DerivedIndex::open`], or with small segments in simulation.
type OpenIndex<'a> = &'a dyn Fn(Arc<dyn Engine>, &LedgerId) -> Result<DerivedIndex, StorageError>;

/// Recovers: everything that a start does before its stages run.
pub(crate) fn prepare(config: Config, parts: Parts, open_index: OpenIndex<'_>) -> Result<Prepared, StartError> {
    let (shared, standing, tree, fence, tip) = open(config, parts, open_index)?;
    let shared = Arc::new(shared);
    let start = recover::indexes(&shared, &tip)?;
    *write(&shared.control) = recover::control(&shared)?;
    *write(&shared.heads) = start.heads.clone();
    Ok(Prepared { shared, standing, tree, fence, tip, start })
}

type Opened = (Shared, Standing, crate::fold::Tree, Box<dyn Fence>, recover::Tip);

/// Opens every store and brings the tree to the log's end.
fn open(config: Config, parts: Parts, open_index: OpenIndex<'_>) -> Result<Opened, StartError> {
    let Parts { engine, clock, receipt_signer, checkpoint_signer, mut fence, genesis, gate } = parts;
    let (ledger, fresh) = open_ledger(&engine, genesis)?;
    recover::check_keys(&ledger, receipt_signer.as_ref(), checkpoint_signer.as_ref())?;
    let log = EventLog::new(Arc::clone(&engine));
    let tiles = TileStore::new(Arc::clone(&engine));
    let checkpoints = CheckpointStore::new(Arc::clone(&engine));
    let derived = open_index(Arc::clone(&engine), &ledger.ledger_id)?;
    let commitments = CommitmentStore::new(Arc::clone(&engine));
    let tip = recover::tip(&log, &ledger)?;
    let (tree, waiting) = recover::fold(engine.as_ref(), (&log, &tiles, &checkpoints), &ledger, &tip)?;
    let published = recover::published(&checkpoints, &ledger.genesis.origin, &ledger)?;
    let outcomes = open_outcomes(&engine, &ledger)?;
    let flags = (fresh, config.adopt_fence);
    let roots = recover::Roots { tree: &tree, tiles: &tiles, waiting: &waiting };
    let standing = recover::stand(&roots, published.as_ref(), fence.as_mut(), &ledger, &tip, flags)?;
    let checkpoint = match &standing {
        Standing::Newest(epoch) => {
            recover::take_epoch(fence.as_mut(), &ledger, &tree, *epoch)?;
            if fresh {
                fence_is_set(&engine)?;
            }
            sign_root(&ledger, &tree, receipt_signer.as_ref())?
        }
        // Nothing is signed here: what was published is served, if the log still has it.
        Standing::ReadOnly { usable: true, .. } => {
            published.clone().unwrap_or_else(|| nothing_signed(&ledger.genesis.origin))
        }
        Standing::ReadOnly { usable: false, .. } => nothing_signed(&ledger.genesis.origin),
    };
    let signed_size = checkpoint.checkpoint.size;
    let published_size = published.as_ref().map_or(TreeSize::new(0), |at| at.checkpoint.size).min(signed_size);
    let certified = Certified { edge: tree.edge.clone(), checkpoint: Arc::new(checkpoint) };
    let unwritten =
        Unwritten { tiles: waiting.into_iter().map(|tile| ((tile.level, tile.index), tile)).collect(), latest: None };
    let cursor = derived.cursor().max(Index::new(1)).get();
    let shared = Shared {
        config,
        control: RwLock::new(Control::new(&ledger.genesis)),
        ledger,
        clock,
        receipt_signer,
        checkpoint_signer,
        outcome_bodies: Outcomes::new(Arc::clone(&engine)),
        engine,
        log,
        events: ServedLog {
            rung: Rung::Signed,
            tiles,
            checkpoints,
            certified: ArcSwap::from_pointee(certified),
            published: ArcSwapOption::from_pointee(published),
            unwritten: Mutex::new(unwritten),
            kept_tiles: TileCache::default(),
        },
        outcomes,
        applying: Applying::default(),
        derived,
        commitments,
        watermarks: Watermarks::new(tip.size, signed_size, published_size),
        metrics: Arc::new(Metrics::default()),
        heads: RwLock::default(),
        index_cursor: AtomicU64::new(cursor),
        indexed: Bell::default(),
        commit_round: Mutex::new(()),
        runs: RunCache::default(),
        suspects: Suspects::default(),
        gate,
        stopped: Gate::default(),
    };
    Ok((shared, standing, tree, fence, tip))
}

/// The log of outcomes before anything of it is read: only its newest published checkpoint, which applying must meet.
fn open_outcomes(engine: &Arc<dyn Engine>, ledger: &LedgerInfo) -> Result<ServedLog, StartError> {
    let origin = outcome_log::origin(&ledger.genesis.origin);
    let checkpoints = CheckpointStore::of_outcomes(Arc::clone(engine));
    let published = recover::published(&checkpoints, &origin, ledger)?;
    let certified = Certified { edge: Edge::new(), checkpoint: Arc::new(nothing_signed(&origin)) };
    Ok(ServedLog {
        rung: Rung::Applied,
        tiles: TileStore::of_outcomes(Arc::clone(engine)),
        checkpoints,
        certified: ArcSwap::from_pointee(certified),
        published: ArcSwapOption::from_pointee(published),
        unwritten: Mutex::default(),
        kept_tiles: TileCache::of(OUTCOME_TILES_BYTES_MAX),
    })
}

fn fence_is_set(engine: &Arc<dyn Engine>) -> Result<(), StorageError> {
    let mut batch = Batch::new();
    MetaStore::new(Arc::clone(engine)).clear_fence_pending(&mut batch);
    engine.write(batch, Durability::Synced)
}

fn nothing_signed(origin: &str) -> SignedCheckpoint {
    let checkpoint = Checkpoint::new(origin, TreeSize::new(0), empty_root());
    let note = checkpoint.encode();
    SignedCheckpoint { checkpoint, note }
}

fn open_ledger(engine: &Arc<dyn Engine>, source: GenesisSource) -> Result<(LedgerInfo, bool), StartError> {
    let meta = MetaStore::new(Arc::clone(engine));
    match (meta.genesis()?, source) {
        (Some(entry), source) => {
            let genesis = Genesis::decode(&entry).map_err(|error| damaged_genesis(&error.to_string()))?;
            let ledger = LedgerInfo::new(genesis);
            if let GenesisSource::Create(wanted) = source
                && wanted.ledger_id() != ledger.ledger_id
            {
                let (expected, found) = (wanted.ledger_id().to_hex(), ledger.ledger_id.to_hex());
                return Err(StartError::OtherLedger { expected, found });
            }
            Ok((ledger, meta.is_fence_pending()?))
        }
        (None, GenesisSource::Existing) => Err(StartError::NoLedger),
        (None, GenesisSource::Create(genesis)) => {
            let ledger = LedgerInfo::new(genesis);
            let mut batch = Batch::new();
            meta.put_genesis(&mut batch, &ledger.genesis_entry)?;
            meta.put_fence_pending(&mut batch);
            engine.write(batch, Durability::Synced)?;
            Ok((ledger, true))
        }
    }
}

fn damaged_genesis(what: &str) -> StartError {
    StartError::Damaged { index: Index::new(0), what: what.to_owned() }
}

fn checkpoint_of(ledger: &LedgerInfo, tree: &crate::fold::Tree) -> Checkpoint {
    Checkpoint::new(&ledger.genesis.origin, tree.size(), tree.frontier.root())
}

fn sign_root(
    ledger: &LedgerInfo,
    tree: &crate::fold::Tree,
    signer: &dyn Signer,
) -> Result<SignedCheckpoint, StartError> {
    SignedCheckpoint::sign(checkpoint_of(ledger, tree), &[signer])
        .map_err(|error| StartError::Signer(error.to_string()))
}
