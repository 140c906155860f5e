//! Outcomes by the index of their event. Derived.
//!
//! Takes the bodies of neighbouring events into a batch, gives them one by one or in order. A few neighbours share a
//! row, because most outcomes are shorter than what a row of its own would cost. What a body says is not read here.
//! Fails when a row does not decode.

use std::sync::Arc;

use bytes::Bytes;
use tally_protocol::id::Index;

use crate::batch::{Batch, Engine, Row, ScanRange};
use crate::error::StorageError;
use crate::family::Family;
use crate::keys::{Key, OutcomeKey};

/// Outcomes of a row at the most: one is found by passing those before it.
const ROW_OUTCOMES_MAX: usize = 256;
/// A row is not begun another outcome for behind so many bytes: what one look-up reads is bounded, by this and the
/// longest outcome.
const ROW_BYTES_MAX: usize = 32 << 10;
/// Bytes of a body's length.
const LENGTH_BYTES: usize = 4;

/// The outcomes.
#[derive(Clone)]
pub struct Outcomes {
    engine: Arc<dyn Engine>,
}

impl Outcomes {
    /// Over an engine.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine }
    }

    /// Puts the outcomes of neighbouring events into the batch, from the one of `first` on.
    pub fn append(&self, batch: &mut Batch, first: Index, bodies: &[Bytes]) {
        let (mut at, mut rest) = (first, bodies);
        while !rest.is_empty() {
            let (row, taken) = encode_row(rest);
            batch.put(Family::Outcomes, OutcomeKey(at).encode(), row);
            (at, rest) = (Index::new(at.get() + taken as u64), &rest[taken..]);
        }
    }

    /// The outcome of the event at `index`; `None` if it is not stored (yet).
    ///
    /// # Errors
    /// The engine failed or the row is damaged.
    pub fn get(&self, index: Index) -> Result<Option<Bytes>, StorageError> {
        let Some((first, bodies)) = self.row_of(index)? else { return Ok(None) };
        let at = usize::try_from(index.get() - first.get()).ok();
        Ok(at.and_then(|at| bodies.into_iter().nth(at)))
    }

    /// The outcomes from an index on, at most `limit`, until one is missing.
    ///
    /// # Errors
    /// The engine failed or a row is damaged.
    pub fn from(&self, index: Index, limit: usize) -> Result<Vec<Bytes>, StorageError> {
        let mut found = Vec::new();
        while found.len() < limit {
            let next = Index::new(index.get() + found.len() as u64);
            let Some((first, bodies)) = self.row_of(next)? else { break };
            let skip = usize::try_from(next.get() - first.get()).unwrap_or(usize::MAX);
            let before = found.len();
            found.extend(bodies.into_iter().skip(skip).take(limit - before));
            if found.len() == before {
                break;
            }
        }
        Ok(found)
    }

    /// The row that would hold an outcome.
    fn row_of(&self, index: Index) -> Result<Option<(Index, Vec<Bytes>)>, StorageError> {
        let to = index.get().checked_add(1).map(|next| OutcomeKey(Index::new(next)).encode());
        let range = ScanRange { family: Family::Outcomes, from: Key::FIRST, to, reverse: true, limit: 1 };
        self.engine.scan(&range)?.first().map(decode_row).transpose()
    }
}

/// As many bodies as a row takes: each behind its length.
fn encode_row(bodies: &[Bytes]) -> (Vec<u8>, usize) {
    let mut row = Vec::new();
    let mut taken = 0;
    for body in bodies.iter().take(ROW_OUTCOMES_MAX) {
        if taken > 0 && row.len() + body.len() > ROW_BYTES_MAX {
            break;
        }
        row.extend_from_slice(&(body.len() as u32).to_be_bytes());
        row.extend_from_slice(body);
        taken += 1;
    }
    (row, taken)
}

fn decode_row(row: &Row) -> Result<(Index, Vec<Bytes>), StorageError> {
    let bad = |reason| StorageError::bad_value(Family::Outcomes, &row.key, reason);
    let OutcomeKey(first) = OutcomeKey::decode(&row.key).ok_or_else(|| bad("not an outcome's key"))?;
    let mut bodies = Vec::new();
    let mut rest = row.value.clone();
    while !rest.is_empty() {
        let body = split_body(&mut rest).ok_or_else(|| bad("a length does not fit"))?;
        bodies.push(body);
    }
    Ok((first, bodies))
}

fn split_body(rest: &mut Bytes) -> Option<Bytes> {
    let length = u32::from_be_bytes(*rest.first_chunk::<LENGTH_BYTES>()?) as usize;
    let end = LENGTH_BYTES.checked_add(length).filter(|end| *end <= rest.len())?;
    Some(rest.split_to(end).split_off(LENGTH_BYTES))
}
