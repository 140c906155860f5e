//! Decoded runs, the few most recently read: neighbours in the log are mostly asked for together.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tally_protocol::id::Index;
use tally_protocol::run::{Record, StoredRun};
use tally_storage::{EventLog, StorageError};

use crate::shared::lock;

/// Runs kept; with [`BYTES_MAX`] the bound of this cache.
const RUNS_MAX: usize = 64;
/// Bytes kept.
const BYTES_MAX: usize = 64 << 20;

/// A run, decoded once.
#[derive(Debug)]
pub(crate) struct DecodedRun {
    pub(crate) records: Vec<Record>,
    bytes: usize,
}

impl DecodedRun {
    fn new(run: &StoredRun) -> Self {
        let records: Vec<Record> = run.records().collect();
        let bytes = records.iter().map(|record| record.frame.bytes().len() + 256).sum();
        Self { records, bytes }
    }

    fn first(&self) -> u64 {
        self.records.first().map_or(0, |record| record.index.get())
    }

    /// The record at a global index, if it is in this run.
    pub(crate) fn at(&self, index: Index) -> Option<&Record> {
        let at = usize::try_from(index.get().checked_sub(self.first())?).ok()?;
        self.records.get(at)
    }
}

/// The cache; most recently used last.
#[derive(Debug, Default)]
pub(crate) struct RunCache {
    runs: Mutex<(VecDeque<Arc<DecodedRun>>, usize)>,
}

impl RunCache {
    /// The run that holds an index.
    pub(crate) fn containing(&self, log: &EventLog, index: Index) -> Result<Option<Arc<DecodedRun>>, StorageError> {
        if let Some(run) = self.cached(index) {
            return Ok(Some(run));
        }
        let Some(stored) = log.run_containing(index)? else { return Ok(None) };
        let run = Arc::new(DecodedRun::new(&stored));
        if run.at(index).is_none() {
            return Ok(None);
        }
        self.keep(&run);
        Ok(Some(run))
    }

    /// The record at an index.
    pub(crate) fn record(&self, log: &EventLog, index: Index) -> Result<Option<Record>, StorageError> {
        Ok(self.containing(log, index)?.and_then(|run| run.at(index).cloned()))
    }

    fn cached(&self, index: Index) -> Option<Arc<DecodedRun>> {
        let mut cache = lock(&self.runs);
        let at = cache.0.iter().rposition(|run| run.at(index).is_some())?;
        let run = cache.0.remove(at)?;
        cache.0.push_back(Arc::clone(&run));
        Some(run)
    }

    fn keep(&self, run: &Arc<DecodedRun>) {
        let mut cache = lock(&self.runs);
        cache.1 += run.bytes;
        cache.0.push_back(Arc::clone(run));
        while cache.0.len() > RUNS_MAX || (cache.1 > BYTES_MAX && cache.0.len() > 1) {
            let Some(dropped) = cache.0.pop_front() else { break };
            cache.1 -= dropped.bytes;
        }
    }
}
