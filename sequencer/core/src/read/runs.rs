//! Stored runs, the most recently read: neighbours in the log are mostly asked for together, and so is one event by its
//! duplicate, its receipt and its proof.
//!
//! A run is kept as its bytes with the records' offsets; a record is decoded when it is asked for, so a single one costs
//! no more than itself once its run is here. What is dropped is what nobody asked for since it was last looked at.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use tally_protocol::id::Index;
use tally_protocol::run::{Record, RunError, RunView};
use tally_storage::{EventLog, Family, StorageError};

use crate::shared::lock;

/// Bytes kept.
const BYTES_MAX: usize = 64 << 20;

struct Kept {
    run: Arc<RunView>,
    asked: bool,
}

#[derive(Default)]
struct Runs {
    /// By first index.
    runs: BTreeMap<u64, Kept>,
    /// In the order in which they are looked at when room is needed.
    queue: VecDeque<u64>,
    bytes: usize,
}

/// The cache.
#[derive(Default)]
pub(crate) struct RunCache {
    runs: Mutex<Runs>,
}

impl RunCache {
    /// The run that holds an index.
    pub(crate) fn containing(&self, log: &EventLog, index: Index) -> Result<Option<Arc<RunView>>, StorageError> {
        if let Some(run) = lock(&self.runs).get(index) {
            return Ok(Some(run));
        }
        let Some(run) = log.view_containing(index)?.map(Arc::new) else { return Ok(None) };
        lock(&self.runs).keep(&run);
        Ok(Some(run))
    }

    /// The record at an index.
    pub(crate) fn record(&self, log: &EventLog, index: Index) -> Result<Option<Record>, StorageError> {
        let Some(run) = self.containing(log, index)? else { return Ok(None) };
        run.record(index).map_err(|error| damaged(&run, &error))
    }
}

/// A record that does not decode.
pub(crate) fn damaged(run: &RunView, error: &RunError) -> StorageError {
    StorageError::BadValue {
        family: Family::Runs,
        key: run.header().first_index.to_string(),
        reason: error.to_string(),
    }
}

impl Runs {
    fn get(&mut self, index: Index) -> Option<Arc<RunView>> {
        let (_, kept) = self.runs.range_mut(..=index.get()).next_back()?;
        if !kept.run.header().holds(index) {
            return None;
        }
        kept.asked = true;
        Some(Arc::clone(&kept.run))
    }

    fn keep(&mut self, run: &Arc<RunView>) {
        let first = run.header().first_index.get();
        if self.runs.insert(first, Kept { run: Arc::clone(run), asked: false }).is_none() {
            self.queue.push_back(first);
            self.bytes += run.bytes_len();
        }
        while self.bytes > BYTES_MAX && self.runs.len() > 1 {
            let Some(oldest) = self.queue.pop_front() else { return };
            match self.runs.get_mut(&oldest) {
                Some(kept) if kept.asked => {
                    kept.asked = false;
                    self.queue.push_back(oldest);
                }
                _ => self.bytes -= self.runs.remove(&oldest).map_or(0, |kept| kept.run.bytes_len()),
            }
        }
    }
}
