//! The log: runs of events, and which run holds which position of a stream.
//!
//! Takes encoded runs into a batch, gives decoded runs. Run and positions ride in one batch, which the caller writes
//! synced: that is the moment the events are durable. A stored run that does not decode, or does not belong where it
//! is, is [`StorageError::BadValue`]; whether runs follow each other without gap and hash chain is the caller's
//! question (recovery and fsck ask it with [`tally_protocol::run::RunHeader`]).

use std::sync::Arc;

use tally_protocol::hash::RunHash;
use tally_protocol::id::{Index, Sequence, Stream};
use tally_protocol::run::{EncodedRun, RunView, StoredRun};

use crate::batch::{Batch, Engine, Row, ScanRange};
use crate::error::StorageError;
use crate::family::Family;
use crate::keys::{Key, PositionKey, RunKey, read_u64};

/// The newest run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunTip {
    /// Log position of its first event.
    pub first_index: Index,
    /// How many events.
    pub count: u32,
    /// Its hash: what the next run names.
    pub hash: RunHash,
}

impl RunTip {
    /// Where the next run starts.
    #[must_use]
    pub const fn next_index(&self) -> Index {
        Index::new(self.first_index.get() + self.count as u64)
    }
}

/// The runs and their positions.
#[derive(Clone)]
pub struct EventLog {
    engine: Arc<dyn Engine>,
}

impl EventLog {
    /// Over an engine.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine }
    }

    /// Puts a run into the batch, with each stream's first sequence in it (one pair per stream of the run).
    pub fn append(&self, batch: &mut Batch, run: &EncodedRun, positions: &[(Stream, Sequence)]) {
        batch.put(Family::Runs, RunKey(run.first_index).encode(), run.bytes.clone());
        let first_index = run.first_index.get().to_be_bytes();
        for (stream, first) in positions {
            let key = PositionKey { stream: *stream, first: *first };
            batch.put(Family::Positions, key.encode(), first_index.to_vec());
        }
    }

    /// The newest run, or `None` in an empty log.
    ///
    /// # Errors
    /// The engine failed or the run is damaged.
    pub fn tip(&self) -> Result<Option<RunTip>, StorageError> {
        let Some(run) = self.last_run_before(None)? else {
            return Ok(None);
        };
        Ok(Some(RunTip { first_index: run.header().first_index, count: run.count(), hash: run.hash() }))
    }

    /// The run that holds the event at `index`.
    ///
    /// # Errors
    /// The engine failed or the run is damaged.
    pub fn run_containing(&self, index: Index) -> Result<Option<StoredRun>, StorageError> {
        let behind = index.get().checked_add(1).map(|next| RunKey(Index::new(next)).encode());
        Ok(self.last_run_before(behind)?.filter(|run| run.header().holds(index)))
    }

    /// The same for who wants some of its records only: frames are decoded when they are asked for.
    ///
    /// # Errors
    /// The engine failed or the run is damaged.
    pub fn view_containing(&self, index: Index) -> Result<Option<RunView>, StorageError> {
        let to = index.get().checked_add(1).map(|next| RunKey(Index::new(next)).encode());
        let range = ScanRange { family: Family::Runs, from: Key::FIRST, to, reverse: true, limit: 1 };
        let Some(row) = self.engine.scan(&range)?.pop() else { return Ok(None) };
        let view = RunView::open(row.value)
            .map_err(|error| StorageError::bad_value(Family::Runs, &row.key, &error.to_string()))?;
        if RunKey::decode(&row.key) != Some(RunKey(view.header().first_index)) {
            return Err(StorageError::bad_value(Family::Runs, &row.key, "run starts at another position"));
        }
        Ok(Some(view).filter(|view| view.header().holds(index)))
    }

    /// At most `max_runs` runs in log order, from the one that holds `index` on, or from the first behind it.
    ///
    /// # Errors
    /// The engine failed or a run is damaged.
    pub fn runs_from(&self, index: Index, max_runs: usize) -> Result<Vec<StoredRun>, StorageError> {
        let mut runs = Vec::new();
        if max_runs == 0 {
            return Ok(runs);
        }
        let mut from = index;
        if let Some(run) = self.run_containing(index)? {
            from = run.header().next_index();
            runs.push(run);
        }
        let limit = max_runs - runs.len();
        let range = ScanRange { family: Family::Runs, from: RunKey(from).encode(), to: None, reverse: false, limit };
        for row in self.engine.scan(&range)? {
            runs.push(decode_run(row)?);
        }
        Ok(runs)
    }

    /// The run that would hold a sequence of a stream: the last one in which the stream has a first sequence of at
    /// most this. Whether the sequence has been given out at all is visible only in the run.
    ///
    /// # Errors
    /// The engine failed, the run is damaged or missing.
    pub fn run_of(&self, stream: Stream, sequence: Sequence) -> Result<Option<StoredRun>, StorageError> {
        let Some(first) = self.first_of(stream, sequence)? else { return Ok(None) };
        let key = RunKey(first).encode();
        let Some(value) = self.engine.get(Family::Runs, &key)? else {
            return Err(StorageError::bad_value(
                Family::Positions,
                &stream.to_bytes(),
                "names a run that is not there",
            ));
        };
        decode_run(Row { key: key.as_slice().to_vec().into(), value }).map(Some)
    }

    /// Where the run of [`Self::run_of`] begins, without reading it.
    ///
    /// # Errors
    /// The engine failed or the value is damaged.
    pub fn first_of(&self, stream: Stream, sequence: Sequence) -> Result<Option<Index>, StorageError> {
        let range = ScanRange {
            family: Family::Positions,
            from: PositionKey::prefix(&stream),
            to: Some(PositionKey { stream, first: sequence }.encode().just_after()),
            reverse: true,
            limit: 1,
        };
        let Some(row) = self.engine.scan(&range)?.into_iter().next() else {
            return Ok(None);
        };
        let bad = || StorageError::bad_value(Family::Positions, &row.key, "not a log position");
        read_u64(&row.value).map(|first| Some(Index::new(first))).ok_or_else(bad)
    }

    fn last_run_before(&self, to: Option<Key>) -> Result<Option<StoredRun>, StorageError> {
        let range = ScanRange { family: Family::Runs, from: Key::FIRST, to, reverse: true, limit: 1 };
        self.engine.scan(&range)?.into_iter().next().map(decode_run).transpose()
    }
}

fn decode_run(row: Row) -> Result<StoredRun, StorageError> {
    let bad = |reason: &str| StorageError::bad_value(Family::Runs, &row.key, reason);
    let key = RunKey::decode(&row.key).ok_or_else(|| bad("not a run's key"))?;
    let run = StoredRun::decode(row.value).map_err(|error| bad(&error.to_string()))?;
    if run.header().first_index != key.0 {
        return Err(bad(&format!("run starts at position {}", run.header().first_index)));
    }
    Ok(run)
}
