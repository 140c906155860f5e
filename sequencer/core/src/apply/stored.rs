//! What is stored of the log of outcomes, as the tree that applying goes on with.
//!
//! It is derived: if anything of it is missing or wrong there is no tree, and applying begins at the log's first event.

use bytes::Bytes;
use tally_merkle::{Edge, Frontier};
use tally_protocol::checkpoint::SignedCheckpoint;
use tally_protocol::hash::{self, LeafHash};
use tally_protocol::id::{Index, TreeSize};
use tally_protocol::note::VerifierKey;
use tally_protocol::tile::TILE_WIDTH;
use tally_protocol::{outcome, outcome_log};
use tally_storage::{Outcomes, StorageError};

use crate::fold::Tree;
use crate::recover::tile_tree;
use crate::shared::Shared;

/// The tree before any event: genesis decides nothing.
pub(super) fn genesis_tree() -> Tree {
    let mut tree = Tree { frontier: Frontier::new(), edge: Edge::new() };
    tree.grow(&[outcome::empty_leaf()]);
    tree
}

/// The tree as of the newest stored checkpoint, which the receipt key signed.
pub(super) fn tree(shared: &Shared) -> Result<Option<(Tree, SignedCheckpoint)>, StorageError> {
    let log = &shared.outcomes;
    let Some(latest) = log.checkpoints.latest()? else { return Ok(None) };
    let Some(signed) = opened(shared, &latest.note) else { return Ok(None) };
    let Ok(frontier) = Frontier::decode(&latest.frontier) else { return Ok(None) };
    let size = frontier.size();
    if (size, frontier.root()) != (signed.checkpoint.size, signed.checkpoint.root) {
        return Ok(None);
    }
    let Ok(tail) = tail_leaves(&shared.outcome_bodies, size) else { return Ok(None) };
    match Edge::restore(size, |level, index| tile_tree(&log.tiles, level, index), &tail) {
        Ok(edge) if edge.root() == frontier.root() => Ok(Some((Tree { frontier, edge }, signed))),
        _ => Ok(None),
    }
}

fn opened(shared: &Shared, note: &str) -> Option<SignedCheckpoint> {
    let genesis = &shared.ledger.genesis;
    let key = VerifierKey::new(&outcome_log::origin(&genesis.origin), genesis.receipt_key).ok()?;
    SignedCheckpoint::open(note, &[key]).ok()
}

/// The leaves of the last, partial tile of level 0; fewer if outcomes are missing.
fn tail_leaves(outcomes: &Outcomes, size: TreeSize) -> Result<Vec<LeafHash>, StorageError> {
    let first = size.get() / u64::from(TILE_WIDTH) * u64::from(TILE_WIDTH);
    let genesis = (first == 0 && size.get() > 0).then(outcome::empty_leaf);
    let from = first.max(1);
    // Below 256.
    let wanted = size.get().saturating_sub(from) as usize;
    let bodies: Vec<Bytes> = outcomes.from(Index::new(from), wanted)?;
    Ok(genesis.into_iter().chain(bodies.iter().map(|body| hash::leaf(body))).collect())
}
