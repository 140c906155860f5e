//! Everything that was kept, against the log as it is stored: no node, no client, no index in between.
//!
//! Takes a data directory that nothing uses, the kept receipts and the seen roots. Reads every run, derives every leaf,
//! grows the tree leaf by leaf, and compares: each kept leaf at its index, each root at its size.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tally_merkle::Frontier;
use tally_protocol::entry::{EventEntry, Genesis};
use tally_protocol::hash::{LeafHash, RootHash};
use tally_protocol::id::Index;
use tally_storage::{Engine, EventLog, MetaStore, RocksConfig, open_rocks_read_only};

use crate::Failure;
use crate::load::Kept;

/// Runs read in one step.
const STEP_RUNS: usize = 64;

/// What was compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compared {
    /// Entries of the log, genesis included.
    pub entries: u64,
    /// Kept receipts that were found at their place.
    pub receipts: u64,
    /// Roots that were derived again.
    pub roots: u64,
}

/// Compares.
///
/// # Errors
/// The log lacks something, holds something else, or cannot be read.
pub fn compare(data: &Path, kept: &mut [Kept], roots: &BTreeMap<u64, RootHash>) -> Result<Compared, Failure> {
    let engine = open_rocks_read_only(&data.join("db"), &RocksConfig::SMALL).map_err(|error| error.to_string())?;
    compare_stored(&engine, kept, roots)
}

/// The same over an open database.
///
/// # Errors
/// As [`compare`].
pub fn compare_stored(
    engine: &Arc<dyn Engine>,
    kept: &mut [Kept],
    roots: &BTreeMap<u64, RootHash>,
) -> Result<Compared, Failure> {
    kept.sort_unstable_by_key(|kept| kept.index);
    let genesis = MetaStore::new(Arc::clone(engine)).genesis().map_err(|error| error.to_string())?;
    let genesis = Genesis::decode(&genesis.ok_or("there is no ledger")?).map_err(|error| error.to_string())?;
    let log = EventLog::new(Arc::clone(engine));
    let mut comparison =
        Comparison { tree: Frontier::new(), kept: kept.iter().peekable(), roots, done: Compared::default() };
    comparison.entry(genesis.leaf_hash(), None)?;
    loop {
        let runs = log.runs_from(Index::new(comparison.done.entries), STEP_RUNS).map_err(|error| error.to_string())?;
        if runs.is_empty() {
            break;
        }
        for record in runs.iter().flat_map(tally_protocol::run::StoredRun::records) {
            if record.index.get() != comparison.done.entries {
                return Err(format!("index {} follows entry {}", record.index, comparison.done.entries));
            }
            let hash = record.frame.signing_hash();
            let entry =
                EventEntry::of_frame(&record.frame, hash, record.sequence, record.public_key, record.sequenced_at);
            comparison.entry(entry.leaf_hash(), Some(&record))?;
        }
    }
    comparison.end()
}

struct Comparison<'a> {
    tree: Frontier,
    kept: std::iter::Peekable<std::slice::Iter<'a, Kept>>,
    roots: &'a BTreeMap<u64, RootHash>,
    done: Compared,
}

impl Comparison<'_> {
    fn entry(&mut self, leaf: LeafHash, record: Option<&tally_protocol::run::Record>) -> Result<(), Failure> {
        let index = self.done.entries;
        // The same event may have been acknowledged more than once; each time it must have been this.
        while let Some(kept) = self.kept.next_if(|kept| kept.index == index) {
            let same = record.is_some_and(|record| {
                record.frame.event_id() == kept.event && record.sequence.get() == kept.sequence && kept.leaf == leaf
            });
            if !same {
                return Err(format!("index {index} was acknowledged as event {}, the log holds another", kept.event));
            }
            self.done.receipts += 1;
        }
        self.tree.append(leaf);
        self.done.entries += 1;
        if let Some(root) = self.roots.get(&self.done.entries) {
            if self.tree.root() != *root {
                return Err(format!("the root signed for size {} is not the log's", self.done.entries));
            }
            self.done.roots += 1;
        }
        Ok(())
    }

    fn end(mut self) -> Result<Compared, Failure> {
        if let Some(lost) = self.kept.next() {
            return Err(format!("index {} was acknowledged; the log ends at size {}", lost.index, self.done.entries));
        }
        if self.done.roots != self.roots.len() as u64 {
            return Err(format!("a size beyond {} was signed", self.done.entries));
        }
        Ok(self.done)
    }
}
