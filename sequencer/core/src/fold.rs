//! Folding. Takes durable runs, gives them with their place in the tree, moves `folded`. Pure and in memory: what it
//! makes is derived from the log, and recovery calls the same function. Cannot fail.
//!
//! Where runs were cut leaves no trace: leaves are appended one by one, so any cut of the same events gives the same
//! tree and the same tiles.

use std::sync::Arc;

use tally_merkle::Frontier;
use tally_merkle::RunTree;
use tally_merkle::{Edge, FullTile};
use tally_protocol::entry::EventEntry;
use tally_protocol::hash::LeafHash;
use tally_protocol::id::TreeSize;

use crate::append::Durable;
use crate::order::{OrderedEvent, OrderedRun};

/// The tree in memory: its frontier, and the tiles along its right edge.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    pub(crate) frontier: Frontier,
    pub(crate) edge: Edge,
}

/// Runs in the tree, with all that their receipts need.
pub(crate) struct Folded {
    pub(crate) runs: Vec<FoldedRun>,
    /// Nothing, if the runs held no events.
    pub(crate) grown: Option<Grown>,
}

/// A run with its leaves.
pub(crate) struct FoldedRun {
    pub(crate) run: OrderedRun,
    pub(crate) leaves: Vec<LeafHash>,
}

/// What the tree gained.
pub(crate) struct Grown {
    pub(crate) paths: Arc<RunTree>,
    pub(crate) tiles: Vec<FullTile>,
}

/// The leaf of one event.
pub(crate) fn leaf_of(event: &OrderedEvent) -> LeafHash {
    EventEntry {
        stream: event.frame.stream(),
        sequence: event.sequence,
        signing_hash: event.signing_hash,
        signature: event.frame.signature(),
        public_key: event.public_key,
        sequenced_at: event.sequenced_at,
    }
    .leaf_hash()
}

impl Tree {
    /// The tree's size.
    pub(crate) fn size(&self) -> TreeSize {
        self.frontier.size()
    }

    /// Appends leaves: the one way the tree grows, in normal work and in recovery.
    pub(crate) fn grow(&mut self, leaves: &[LeafHash]) -> Grown {
        let paths = RunTree::extend(&mut self.frontier, leaves);
        let tiles = self.edge.append_run(&paths).expect("edge and frontier grow together");
        Grown { paths: Arc::new(paths), tiles }
    }

    /// Folds a group of runs.
    pub(crate) fn fold(&mut self, group: Vec<Durable>) -> Folded {
        let runs: Vec<FoldedRun> = group
            .into_iter()
            .map(Durable::into_run)
            .map(|run| FoldedRun { leaves: run.events.iter().map(leaf_of).collect(), run })
            .collect();
        let leaves: Vec<LeafHash> = runs.iter().flat_map(|run| run.leaves.iter().copied()).collect();
        let grown = (!leaves.is_empty()).then(|| self.grow(&leaves));
        Folded { runs, grown }
    }
}
