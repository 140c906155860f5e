//! Cuts: where a follower began anew, for a range of events at a time. Truth: it depended on restarts and on memory,
//! so it cannot be computed again, and without it the same events may give other outcomes.
//!
//! Takes a range's cuts into the batch of its outcomes, gives them back in order. They are opaque; a range without any
//! has no row. How far they are recorded is a row of its own: below it, no row means no cut.

use std::sync::Arc;

use bytes::Bytes;
use tally_protocol::id::{Index, TreeSize};

use crate::batch::{Batch, Engine, Row, ScanRange};
use crate::error::StorageError;
use crate::family::Family;
use crate::keys::{CutKey, Key, read_u64, split};

/// What was recorded for a range of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedCuts {
    /// The range's first index.
    pub first: Index,
    /// The size of the log whose last event is the range's last.
    pub end: TreeSize,
    /// What the follower said.
    pub cuts: Bytes,
}

/// The cuts.
#[derive(Clone)]
pub struct Cuts {
    engine: Arc<dyn Engine>,
}

impl Cuts {
    /// Over an engine.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine }
    }

    /// Puts what is recorded for a range into the batch, and that everything up to its end is recorded.
    pub fn record(&self, batch: &mut Batch, recorded: &RecordedCuts) {
        batch.put(Family::Cuts, CutKey::End.encode(), recorded.end.get().to_be_bytes().to_vec());
        if !recorded.cuts.is_empty() {
            let value = [&recorded.end.get().to_be_bytes()[..], &recorded.cuts].concat();
            batch.put(Family::Cuts, CutKey::Range(recorded.first).encode(), value);
        }
    }

    /// Everything below is recorded; 0 if nothing is.
    ///
    /// # Errors
    /// The engine failed or the value is damaged.
    pub fn end(&self) -> Result<TreeSize, StorageError> {
        let key = CutKey::End.encode();
        let Some(value) = self.engine.get(Family::Cuts, &key)? else { return Ok(TreeSize::new(0)) };
        let bad = || StorageError::bad_value(Family::Cuts, key.as_slice(), "not a size");
        read_u64(&value).map(TreeSize::new).ok_or_else(bad)
    }

    /// The range that was recorded with cuts and ends behind `index`: the one that holds it, or the first after it.
    ///
    /// # Errors
    /// The engine failed or a row is damaged.
    pub fn next(&self, index: Index) -> Result<Option<RecordedCuts>, StorageError> {
        let from = CutKey::Range(index).encode();
        let before = self.first_row(CutKey::ranges(), Some(from.clone()), true)?;
        if let Some(holding) = before.filter(|range| range.end.holds(index)) {
            return Ok(Some(holding));
        }
        self.first_row(from, CutKey::ranges().prefix_end(), false)
    }

    fn first_row(&self, from: Key, to: Option<Key>, reverse: bool) -> Result<Option<RecordedCuts>, StorageError> {
        let range = ScanRange { family: Family::Cuts, from, to, reverse, limit: 1 };
        self.engine.scan(&range)?.first().map(decode).transpose()
    }
}

fn decode(row: &Row) -> Result<RecordedCuts, StorageError> {
    let bad = |reason| StorageError::bad_value(Family::Cuts, &row.key, reason);
    let Some(CutKey::Range(first)) = CutKey::decode(&row.key) else { return Err(bad("not a range's key")) };
    let (end, cuts) = split::<8>(&row.value).ok_or_else(|| bad("shorter than a size"))?;
    let end = TreeSize::new(u64::from_be_bytes(*end));
    if cuts.is_empty() || !end.holds(first) {
        return Err(bad("not the cuts of a range"));
    }
    Ok(RecordedCuts { first, end, cuts: row.value.slice_ref(cuts) })
}
