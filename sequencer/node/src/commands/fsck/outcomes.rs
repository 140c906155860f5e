//! The stored outcomes against the log: each is of its event, and they give the tiles and roots that were signed.
//!
//! Takes the leaf of every entry in order, as the audit of events derives it, up to the newest stored checkpoint of
//! outcomes. Outcomes are derived: with no such checkpoint there is nothing to check, and the node makes them again.
//! Whether they are what the plugins decide, `tally replay` shows.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tally_merkle::{Edge, FullTile};
use tally_protocol::hash::{self, LeafHash};
use tally_protocol::id::{Index, TreeSize};
use tally_protocol::outcome;
use tally_storage::keys::CheckpointKey;
use tally_storage::{CheckpointStore, Engine, Family, Outcomes, StorageError, TileStore};
use tally_verify::{Ledger, OutcomeAudit, Rule, Signed};

use super::expectations::each_row;
use super::report::Problem;
use crate::exit::Failure;
use crate::wire::storage_failure;

/// Outcomes read, and leaves folded, at once.
const OUTCOMES_AT_ONCE: usize = 256;

pub(super) struct OutcomeCheck {
    store: Outcomes,
    tiles: TileStore,
    audit: OutcomeAudit,
    edge: Edge,
    /// The size that the newest stored checkpoint signs.
    end: TreeSize,
    read: VecDeque<Bytes>,
    leaves: Vec<LeafHash>,
}

impl OutcomeCheck {
    pub(super) fn start(
        engine: &Arc<dyn Engine>,
        ledger: &Ledger,
        problems: &mut Vec<Problem>,
    ) -> Result<Self, Failure> {
        let mut audit = OutcomeAudit::new(ledger.clone());
        let end = match CheckpointStore::of_outcomes(Arc::clone(engine)).latest() {
            Ok(None) => TreeSize::new(0),
            Ok(Some(latest)) => {
                audit.expect_checkpoint(&latest.note, Signed::ForReceipts);
                latest.size
            }
            Err(error @ StorageError::BadValue { .. }) => {
                problems.push(Problem::stored("outcome_checkpoint_latest", &error.to_string()));
                TreeSize::new(0)
            }
            Err(error) => return Err(storage_failure(&error)),
        };
        each_row(engine, Family::OutcomeCheckpoints, CheckpointKey::published(), |row| {
            match (CheckpointKey::decode(&row.key), core::str::from_utf8(&row.value)) {
                // One beyond what is stored is met when the node has made the outcomes again.
                (Some(CheckpointKey::Published(size)), Ok(_)) if size > end => {}
                (Some(CheckpointKey::Published(_)), Ok(note)) => {
                    audit.expect_checkpoint(note, Signed::ForThePublic);
                }
                _ => problems.push(Problem::stored("outcome_checkpoint_published", "one is not a checkpoint")),
            }
        })?;
        let (store, tiles) = (Outcomes::new(Arc::clone(engine)), TileStore::of_outcomes(Arc::clone(engine)));
        let (edge, read, leaves) = (Edge::new(), VecDeque::new(), Vec::new());
        let mut this = Self { store, tiles, audit, edge, end, read, leaves };
        if end.get() > 0 {
            this.push(ledger.genesis().leaf_hash(), outcome::EMPTY_BODY, problems)?;
        }
        Ok(this)
    }

    /// The next event's leaf.
    pub(super) fn take(&mut self, event: LeafHash, problems: &mut Vec<Problem>) -> Result<(), Failure> {
        let index = Index::new(self.audit.size().get());
        if !self.end.holds(index) {
            return Ok(());
        }
        if self.read.is_empty() {
            match self.store.from(index, OUTCOMES_AT_ONCE) {
                Ok(bodies) => self.read.extend(bodies),
                Err(StorageError::BadValue { .. }) => {}
                Err(error) => return Err(storage_failure(&error)),
            }
        }
        let Some(body) = self.read.pop_front() else {
            let why = format!("the outcome is missing or its row damaged, but size {} was signed", self.end);
            problems.push(Problem::at(index, "outcome_missing", &why));
            // Nothing behind it can be placed.
            self.end = TreeSize::new(0);
            return Ok(());
        };
        self.push(event, &body, problems)
    }

    fn push(&mut self, event: LeafHash, body: &[u8], problems: &mut Vec<Problem>) -> Result<(), Failure> {
        self.audit.push(event, body);
        self.leaves.push(hash::leaf(body));
        if self.leaves.len() < OUTCOMES_AT_ONCE { Ok(()) } else { self.fold(problems) }
    }

    fn fold(&mut self, problems: &mut Vec<Problem>) -> Result<(), Failure> {
        let tiles = self.edge.append(&core::mem::take(&mut self.leaves));
        tiles.iter().try_for_each(|tile| self.check_tile(tile, problems))
    }

    fn check_tile(&self, tile: &FullTile, problems: &mut Vec<Problem>) -> Result<(), Failure> {
        let stored = match self.tiles.get(tile.level, tile.index) {
            Ok(stored) => stored,
            Err(StorageError::BadValue { .. }) => None,
            Err(error) => return Err(storage_failure(&error)),
        };
        if stored.is_none_or(|stored| stored.hashes()[..] != tile.bytes[..]) {
            let span = 1u64 << (8 * (u32::from(tile.level) + 1)).min(63);
            let (from, to) = (tile.index.saturating_mul(span), (tile.index + 1).saturating_mul(span));
            let why = format!("tile {} of level {} of the outcomes is missing or damaged", tile.index, tile.level);
            problems.push(Problem::range(Index::new(from), Index::new(to), "outcome_tile", &why));
        }
        Ok(())
    }

    /// Ends the check; gives how many outcomes there are, that of genesis included.
    pub(super) fn finish(mut self, problems: &mut Vec<Problem>) -> Result<u64, Failure> {
        self.fold(problems)?;
        let was_cut = self.end.get() == 0;
        let verdict = self.audit.finish();
        // Of outcomes that are missing, that is said already.
        let findings = verdict.findings().iter().filter(|finding| !was_cut || finding.rule != Rule::Truncated);
        problems.extend(findings.map(Problem::of_outcome));
        Ok(verdict.size().get())
    }
}
