//! Signed checkpoints that the entries must meet.
//!
//! Takes notes before the audit reaches their size, holds 40 bytes of each, and gives the sizes at which the tree's
//! root must be compared.

use std::collections::BTreeMap;

use tally_protocol::checkpoint::Checkpoint;
use tally_protocol::hash::RootHash;
use tally_protocol::id::{Index, TreeSize};

use super::finding::{Findings, Place, Rule};
use crate::ledger::{Ledger, Log};

/// Which key must have signed a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signed {
    /// Any of the ledger's keys.
    ByAny,
    /// The online key: a receipt's checkpoint.
    ForReceipts,
    /// The checkpoint key: published.
    ForThePublic,
}

#[derive(Debug)]
pub(super) struct Expected {
    log: Log,
    roots: BTreeMap<TreeSize, RootHash>,
    met: Option<TreeSize>,
    met_count: u64,
}

impl Expected {
    pub(super) const fn of(log: Log) -> Self {
        Self { log, roots: BTreeMap::new(), met: None, met_count: 0 }
    }

    /// Notes a checkpoint and gives it. A bad signature or a second root for one size is a finding.
    pub(super) fn add(
        &mut self,
        ledger: &Ledger,
        note: &str,
        signed: Signed,
        reached: TreeSize,
        findings: &mut Findings,
    ) -> Option<Checkpoint> {
        let genesis = ledger.genesis();
        let keys = match signed {
            Signed::ByAny => vec![genesis.receipt_key, genesis.checkpoint_key],
            Signed::ForReceipts => vec![genesis.receipt_key],
            Signed::ForThePublic => vec![genesis.checkpoint_key],
        };
        match ledger.open_checkpoint_of(self.log, note, &keys) {
            Ok(checkpoint) => {
                self.note(checkpoint.size, checkpoint.root, reached, findings);
                Some(checkpoint)
            }
            Err(failed) => {
                let size = claimed_size(note);
                let place = Place::Range(Index::new(0), Index::new(size.unwrap_or(u64::MAX)));
                findings.add(place, Rule::CheckpointSignature, failed.why);
                None
            }
        }
    }

    fn note(&mut self, size: TreeSize, root: RootHash, reached: TreeSize, findings: &mut Findings) {
        if size.get() == 0 {
            findings.add(Place::Entry(Index::new(0)), Rule::CheckpointRoot, "a checkpoint of size 0 denies genesis");
            return;
        }
        if size < reached {
            let why = format!(
                "the checkpoint of size {size} was given after the audit passed it: its root was not re-derived"
            );
            findings.add(Place::Range(Index::new(0), Index::new(size.get())), Rule::CheckpointRoot, why);
            return;
        }
        if self.roots.get(&size).is_some_and(|known| *known != root) {
            let place = Place::Range(Index::new(0), Index::new(size.get()));
            findings.add(place, Rule::TwoRoots, format!("two roots were signed for size {size}"));
            return;
        }
        self.roots.insert(size, root);
    }

    /// The next size whose root must be compared.
    pub(super) fn next(&self) -> Option<TreeSize> {
        self.roots.first_key_value().map(|(size, _)| *size)
    }

    /// The tree has reached `size` with `root`: compares what was signed for it, if anything was.
    pub(super) fn reach(&mut self, size: TreeSize, root: RootHash, findings: &mut Findings) {
        let Some(signed) = self.roots.remove(&size) else {
            return;
        };
        if signed == root {
            self.met = Some(size);
            self.met_count += 1;
            findings.entries_proven_below(size);
            return;
        }
        let from = self.met.map_or(0, TreeSize::get);
        let why = format!("these entries give root {root} at size {size}, signed is {signed}");
        findings.add(Place::Range(Index::new(from), Index::new(size.get())), Rule::CheckpointRoot, why);
    }

    /// The log ends at `size`: everything still expected speaks of entries that are not there.
    pub(super) fn end(&self, size: TreeSize, findings: &mut Findings) {
        if let Some((signed, _)) = self.roots.range(size.next()..).next_back() {
            let why =
                format!("the log ends at size {size}, but size {signed} was signed: entries are missing from here");
            findings.add(Place::Entry(Index::new(size.get())), Rule::Truncated, why);
        }
    }

    /// The largest size whose root was met, and how many were.
    pub(super) const fn met(&self) -> (Option<TreeSize>, u64) {
        (self.met, self.met_count)
    }
}

/// The size that an unopened note claims, to say which entries it leaves unproven.
fn claimed_size(note: &str) -> Option<u64> {
    note.lines().nth(1)?.parse().ok()
}
