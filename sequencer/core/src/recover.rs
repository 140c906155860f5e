//! Recovery: the only way a sequencer starts (law 10). Takes the stores, the fence and the signers; gives the state
//! that every stage starts from. It calls the functions of normal work and changes nothing that it does not derive.
//!
//! In this order: genesis; the log's tip; the tree, re-folded from the newest stored frontier or from nothing; the
//! newest checkpoints, which the tree must extend; the fence, which the log must reach; the derived indexes; the
//! control state. A log that does not extend what was signed before is served read-only, and says what is missing.

use std::collections::HashMap;

use tally_merkle::Frontier;
use tally_merkle::root_at;
use tally_merkle::{Edge, FullTile, TileNodes, TileTree};
use tally_protocol::checkpoint::SignedCheckpoint;
use tally_protocol::entry::EventEntry;
use tally_protocol::hash::{LeafHash, RootHash, RunHash};
use tally_protocol::id::{Epoch, Index, Sequence, Stream, TreeSize};
use tally_protocol::key::{PublicKey, Signer};
use tally_protocol::note::VerifierKey;
use tally_protocol::run::{Record, StoredRun};
use tally_protocol::time::LogTime;
use tally_storage::{Batch, CheckpointStore, Durability, Engine, EventLog, Family, StorageError, TileStore};

use crate::append;
use crate::control::Control;
use crate::error::StartError;
use crate::failpoint;
use crate::fence::{Fence, FenceRecord};
use crate::fold::Tree;
use crate::index;
use crate::order::{OrderStart, Window};
use crate::read::LedgerInfo;
use crate::shared::Shared;

/// Runs read in one step.
const STEP_RUNS: usize = 8;
/// Tiles of a long fold that are held in memory: 8 MiB, a quarter of a million events.
const TILES_WAITING_MAX: usize = 1024;

/// What recovery knows of the log's end.
pub(crate) struct Tip {
    pub(crate) size: TreeSize,
    pub(crate) epoch: Epoch,
    pub(crate) hash: RunHash,
    pub(crate) last_time: LogTime,
}

/// The log's end, from its newest run; genesis alone if there is none.
pub(crate) fn tip(log: &EventLog, ledger: &LedgerInfo) -> Result<Tip, StartError> {
    let Some(tip) = log.tip()? else {
        return Ok(Tip {
            size: TreeSize::new(1),
            epoch: Epoch::new(0),
            hash: RunHash::ZERO,
            last_time: ledger.genesis.created_at,
        });
    };
    let last = Index::new(tip.first_index.get() + u64::from(tip.count) - 1);
    let run = log.run_containing(last)?.ok_or_else(|| damaged(last, "the newest run cannot be read back"))?;
    if run.header().ledger != ledger.ledger_id {
        return Err(damaged(last, "the newest run belongs to another ledger"));
    }
    let record = run.records().last().ok_or_else(|| damaged(last, "the newest run is empty"))?;
    Ok(Tip { size: last.size_after(), epoch: run.header().epoch, hash: tip.hash, last_time: record.sequenced_at })
}

fn damaged(index: Index, what: &str) -> StartError {
    StartError::Damaged { index, what: what.to_owned() }
}

pub(crate) fn leaf_of(record: &Record) -> LeafHash {
    EventEntry {
        stream: record.frame.stream(),
        sequence: record.sequence,
        signing_hash: record.frame.signing_hash(),
        signature: record.frame.signature(),
        public_key: record.public_key,
        sequenced_at: record.sequenced_at,
    }
    .leaf_hash()
}

/// The tree over the whole log, and the tiles that were completed but not stored yet.
pub(crate) fn fold(
    engine: &dyn Engine,
    (log, tiles, checkpoints): (&EventLog, &TileStore, &CheckpointStore),
    ledger: &LedgerInfo,
    tip: &Tip,
) -> Result<(Tree, Vec<FullTile>), StartError> {
    let mut tree = match stored_tree(log, tiles, checkpoints, ledger, tip)? {
        Some(tree) => tree,
        None => {
            let mut tree = Tree { frontier: Frontier::new(), edge: Edge::new() };
            tree.grow(&[ledger.genesis.leaf_hash()]);
            tree
        }
    };
    let mut completed = Vec::new();
    while tree.size() < tip.size {
        let from = Index::new(tree.size().get());
        let runs = log.runs_from(from, STEP_RUNS)?;
        let leaves = leaves_from(&runs, from)?;
        if leaves.is_empty() {
            return Err(damaged(from, "the log has a gap"));
        }
        completed.extend(tree.grow(&leaves).tiles);
        if completed.len() >= TILES_WAITING_MAX {
            store_tiles(engine, tiles, &mut completed)?;
        }
    }
    failpoint::hit("recover.folded");
    Ok((tree, completed))
}

/// Stores tiles of a long fold: they follow from the log whatever becomes of this start.
fn store_tiles(engine: &dyn Engine, tiles: &TileStore, completed: &mut Vec<FullTile>) -> Result<(), StartError> {
    let mut batch = Batch::new();
    for tile in completed.drain(..) {
        append::put_tile(tiles, &mut batch, &tile);
    }
    Ok(engine.write(batch, Durability::Buffered)?)
}

fn leaves_from(runs: &[StoredRun], from: Index) -> Result<Vec<LeafHash>, StartError> {
    let mut leaves = Vec::new();
    let mut next = from;
    for record in runs.iter().flat_map(StoredRun::records).skip_while(|record| record.index < from) {
        if record.index != next {
            return Err(damaged(next, "the log has a gap"));
        }
        leaves.push(leaf_of(&record));
        next = next.next();
    }
    Ok(leaves)
}

/// The tree as of the newest stored checkpoint, or none if there is no usable one: then everything is re-folded.
fn stored_tree(
    log: &EventLog,
    tiles: &TileStore,
    checkpoints: &CheckpointStore,
    ledger: &LedgerInfo,
    tip: &Tip,
) -> Result<Option<Tree>, StartError> {
    let Some(latest) = checkpoints.latest()? else { return Ok(None) };
    let key = verifier(&ledger.genesis.origin, ledger.genesis.receipt_key)?;
    let opened = SignedCheckpoint::open(&latest.note, &[key]);
    let (Ok(frontier), Ok(signed)) = (Frontier::decode(&latest.frontier), opened) else { return Ok(None) };
    let size = frontier.size();
    if size != signed.checkpoint.size || frontier.root() != signed.checkpoint.root || size > tip.size {
        return Err(StartError::Checkpoint { size: signed.checkpoint.size });
    }
    let tail = tail_leaves(log, ledger, size)?;
    match Edge::restore(size, |level, index| tile_tree(tiles, level, index), &tail) {
        Ok(edge) if edge.root() == frontier.root() => Ok(Some(Tree { frontier, edge })),
        // A tile is missing or wrong: tiles are derived, the log is the truth.
        _ => Ok(None),
    }
}

/// A stored tile with its nodes. Its middle row must be theirs: proofs believe it, and no root shows that it is wrong.
pub(crate) fn tile_tree(tiles: &TileStore, level: u8, index: u64) -> Result<Option<TileTree>, StorageError> {
    let Some(tile) = tiles.get(level, index)? else { return Ok(None) };
    let tree = TileTree::new(&tile.hashes());
    let fits = |tree: &TileTree| tile.middle_row().is_none_or(|row| row == tree.middle_row());
    let bad = || StorageError::BadValue {
        family: Family::Tiles,
        key: format!("{index} of level {level}"),
        reason: "the middle row is not the one of its hashes".to_owned(),
    };
    tree.filter(fits).map(Some).ok_or_else(bad)
}

/// The leaves of the last, partial tile of level 0.
fn tail_leaves(log: &EventLog, ledger: &LedgerInfo, size: TreeSize) -> Result<Vec<LeafHash>, StartError> {
    let first = size.get() / 256 * 256;
    let mut leaves = Vec::new();
    if first == 0 && size.get() > 0 {
        leaves.push(ledger.genesis.leaf_hash());
    }
    let mut next = first.max(1);
    while next < size.get() {
        let Some(run) = log.run_containing(Index::new(next))? else {
            return Err(damaged(Index::new(next), "the log has a gap"));
        };
        for record in run.records() {
            if record.index.get() == next && next < size.get() {
                leaves.push(leaf_of(&record));
                next += 1;
            }
        }
    }
    Ok(leaves)
}

/// Whether this log may be extended and signed.
pub(crate) enum Standing {
    /// It may, in this epoch.
    Newest(Epoch),
    /// It may not.
    ReadOnly {
        /// What is missing.
        why: String,
        /// Whether what was published is still in this log, and may be served.
        usable: bool,
    },
}

/// Every root that this log ever had: the recovered tree, over stored tiles and those not stored yet.
pub(crate) struct Roots<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) tiles: &'a TileStore,
    pub(crate) waiting: &'a [FullTile],
}

impl Roots<'_> {
    fn at(&self, size: TreeSize) -> Result<RootHash, StartError> {
        let fetch = |level: u8, index: u64| -> Result<Option<TileTree>, StorageError> {
            match self.waiting.iter().find(|tile| tile.level == level && tile.index == index) {
                Some(tile) => Ok(TileTree::new(&tile.bytes)),
                None => Ok(self.tiles.get(level, index)?.and_then(|tile| TileTree::new(&tile.hashes()))),
            }
        };
        let nodes = TileNodes::new(&self.tree.edge, fetch);
        root_at(&nodes, size).map_err(|error| damaged(Index::new(0), &error.to_string()))
    }
}

/// Compares the log with everything that is known to have been signed: stored checkpoints and the fence.
///
/// `fresh` says that this very start created the ledger: only then may the fence be empty.
pub(crate) fn stand(
    roots: &Roots,
    published: Option<&SignedCheckpoint>,
    fence: &mut dyn Fence,
    ledger: &LedgerInfo,
    tip: &Tip,
    (fresh, adopt): (bool, bool),
) -> Result<Standing, StartError> {
    let extends = |what: &str, size: TreeSize, expected: RootHash| -> Result<Option<String>, StartError> {
        if size > tip.size {
            let last = size.get() - 1;
            return Ok(Some(format!(
                "the log ends at size {}, but its {what} is at size {size}: entries {} to {last} are missing; \
                 restore a newer copy, or start a new ledger",
                tip.size, tip.size
            )));
        }
        if roots.at(size)? != expected {
            return Ok(Some(format!(
                "the log has another root at size {size} than its {what}: this is a fork; restore the copy that was signed"
            )));
        }
        Ok(None)
    };
    if let Some(published) = published {
        let checkpoint = &published.checkpoint;
        if let Some(why) = extends("newest published checkpoint", checkpoint.size, checkpoint.root)? {
            return Ok(Standing::ReadOnly { why, usable: false });
        }
    }
    let read_only = |why: String| Ok(Standing::ReadOnly { why, usable: true });
    match fence.load()? {
        Some(record) if record.ledger_id != ledger.ledger_id => read_only(format!(
            "the fence belongs to ledger {}, which this log key signed before; one key signs one ledger",
            record.ledger_id
        )),
        Some(record) => match extends("fence", record.size, record.root)? {
            Some(why) => read_only(why),
            None => Ok(Standing::Newest(record.epoch.max(tip.epoch).next())),
        },
        None if fresh || adopt => Ok(Standing::Newest(tip.epoch.next())),
        None => read_only(
            "the fence has no record of this log: it may be a copy or a restored backup; \
             if it is known to be the newest, adopt it explicitly"
                .to_owned(),
        ),
    }
}

/// Takes the epoch: from here on an older incarnation's record is behind.
pub(crate) fn take_epoch(
    fence: &mut dyn Fence,
    ledger: &LedgerInfo,
    tree: &Tree,
    epoch: Epoch,
) -> Result<(), StartError> {
    let (size, root) = (tree.size(), tree.frontier.root());
    fence.store(&FenceRecord { ledger_id: ledger.ledger_id, epoch, size, root })?;
    failpoint::hit("recover.fenced");
    Ok(())
}

/// The newest published checkpoint of the log of this origin, opened with the ledger's own key.
pub(crate) fn published(
    checkpoints: &CheckpointStore,
    origin: &str,
    ledger: &LedgerInfo,
) -> Result<Option<SignedCheckpoint>, StartError> {
    let Some(published) = checkpoints.published_latest()? else { return Ok(None) };
    let key = verifier(origin, ledger.genesis.checkpoint_key)?;
    match SignedCheckpoint::open(&published.note, &[key]) {
        Ok(signed) => Ok(Some(signed)),
        Err(_) => Err(damaged(Index::new(0), "a published checkpoint's signature does not verify")),
    }
}

fn verifier(origin: &str, key: PublicKey) -> Result<VerifierKey, StartError> {
    VerifierKey::new(origin, key).map_err(|_| damaged(Index::new(0), "the origin is not a key name"))
}

/// Brings the derived indexes to the log's end and reads from them what ordering starts with.
pub(crate) fn indexes(shared: &Shared, tip: &Tip) -> Result<OrderStart, StartError> {
    index::catch_up(shared, tip.size.get())?;
    failpoint::hit("recover.indexed");
    let heads: HashMap<Stream, Sequence> = shared.derived.stream_heads()?.into_iter().collect();
    Ok(OrderStart { next: Index::new(tip.size.get()), last_time: tip.last_time, heads, window: Window::default() })
}

/// The control state, from the control events of the log.
pub(crate) fn control(shared: &Shared) -> Result<Control, StartError> {
    let mut control = Control::new(&shared.ledger.genesis);
    for index in shared.derived.control_indexes()? {
        let record = shared.runs.record(&shared.log, index)?;
        let record = record.ok_or_else(|| damaged(index, "a control event is missing"))?;
        let (frame, stream) = (&record.frame, record.frame.stream());
        let checked =
            control.check(&stream, frame.agent_id(), frame.event_type(), frame.payload(), record.sequenced_at);
        match checked {
            Ok(Some(change)) => control.apply(&stream, frame.agent_id(), &change, index, record.sequenced_at),
            Ok(None) => return Err(damaged(index, "the index of control events names another event")),
            Err(reject) => return Err(damaged(index, &format!("a control event does not apply: {reject}"))),
        }
    }
    Ok(control)
}

/// Whether the signers hold the keys that genesis names.
pub(crate) fn check_keys(ledger: &LedgerInfo, receipt: &dyn Signer, checkpoint: &dyn Signer) -> Result<(), StartError> {
    let genesis = &ledger.genesis;
    for (which, expected, found) in [
        ("receipt", genesis.receipt_key, receipt.public_key()),
        ("checkpoint", genesis.checkpoint_key, checkpoint.public_key()),
    ] {
        if expected != found {
            let (expected, found) = (expected.to_string(), found.to_string());
            return Err(StartError::OtherKey { which, expected, found });
        }
    }
    Ok(())
}
