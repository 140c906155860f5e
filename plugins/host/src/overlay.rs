//! What a segment wrote so far, over a base that never changes, with a savepoint for each event.
//!
//! Takes writes and reads; gives values and ranges as if the writes were in the base. [`Overlay::begin`] opens an event;
//! [`Overlay::commit`] gives its write set in key order, [`Overlay::rollback`] undoes it: the journal holds, for each key
//! the event touched, what the overlay held before, and each row says which event touched it last. Beside it goes how many bytes the space holds, which is a function of
//! its rows: each write is held against the row it replaces. Nothing here fails but reads of the base.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use crate::state::{Row, StateError, StateView};

/// One key's new value; none if it was deleted.
pub type Write = (Bytes, Option<Bytes>);

/// Writes over a base.
pub struct Overlay {
    base: Arc<dyn StateView>,
    written: BTreeMap<Bytes, Slot>,
    /// For each key that the open event touched, in the order of the first writes.
    journal: Vec<Touched>,
    /// Whether the open event wrote a key more than once, so that the journal's values are not the last ones.
    rewrote: bool,
    /// The open event's number.
    event: u64,
    /// Bytes of the base's rows, once somebody asked.
    base_bytes: Option<u64>,
    /// By how much the writes let the space grow, and by how much those before the open event did.
    grown: i64,
    grown_before: i64,
    /// Keys of the base that were read last, and the bytes of their rows: most writes follow a read of their key.
    seen: Vec<(Vec<u8>, u64)>,
    seen_next: usize,
}

/// A key that the open event touched.
struct Touched {
    key: Bytes,
    /// What it wrote there first.
    value: Option<Bytes>,
    /// What was written there before, if anything.
    before: Option<Slot>,
}

/// What was written under a key, and by which event.
struct Slot {
    value: Option<Bytes>,
    event: u64,
}

/// How many rows of the base are remembered by their bytes.
const SEEN_MAX: usize = 16;

impl Overlay {
    /// Nothing written yet.
    #[must_use]
    pub const fn new(base: Arc<dyn StateView>) -> Self {
        Self {
            base,
            written: BTreeMap::new(),
            journal: Vec::new(),
            rewrote: false,
            event: 1,
            base_bytes: None,
            grown: 0,
            grown_before: 0,
            seen: Vec::new(),
            seen_next: 0,
        }
    }

    /// Nothing written yet, over a base of so many bytes.
    #[must_use]
    pub fn sized(base: Arc<dyn StateView>, bytes: u64) -> Self {
        Self { base_bytes: Some(bytes), ..Self::new(base) }
    }

    /// Opens a savepoint; what an event left open is undone.
    pub fn begin(&mut self) {
        self.rollback();
    }

    /// Keeps the open event's writes and gives them: each key once, in order.
    pub fn commit(&mut self) -> Vec<Write> {
        self.grown_before = self.grown;
        if self.journal.is_empty() {
            return Vec::new();
        }
        self.event += 1;
        let mut writes: Vec<Write> = Vec::with_capacity(self.journal.len());
        if core::mem::take(&mut self.rewrote) {
            for Touched { key, .. } in self.journal.drain(..) {
                let value = self.written.get(&key).and_then(|slot| slot.value.clone());
                writes.push((key, value));
            }
        } else {
            writes.extend(self.journal.drain(..).map(|touched| (touched.key, touched.value)));
        }
        writes.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        writes
    }

    /// Undoes the open event's writes.
    pub fn rollback(&mut self) {
        self.grown = self.grown_before;
        if self.journal.is_empty() {
            return;
        }
        self.event += 1;
        self.rewrote = false;
        // The newest first, so that what was there at the savepoint comes back last.
        for Touched { key, before, .. } in self.journal.drain(..).rev() {
            match before {
                Some(slot) => self.written.insert(key, slot),
                None => self.written.remove(&key),
            };
        }
    }

    /// How many keys the open event touched.
    #[must_use]
    pub fn touched(&self) -> usize {
        self.journal.len()
    }

    /// By how many bytes the open event let the space grow.
    #[must_use]
    pub const fn growth(&self) -> i64 {
        self.grown.saturating_sub(self.grown_before)
    }

    /// Bytes of all keys and values, with what was written.
    ///
    /// # Errors
    /// The base could not be read.
    pub fn bytes(&mut self) -> Result<u64, StateError> {
        let base = match self.base_bytes {
            Some(bytes) => bytes,
            None => *self.base_bytes.insert(self.base.bytes()?),
        };
        Ok(base.saturating_add_signed(self.grown))
    }

    /// Writes a key, or deletes it; gives by how many bytes the space grew.
    ///
    /// # Errors
    /// The base could not be read.
    pub fn write(&mut self, key: Bytes, value: Option<Bytes>) -> Result<i64, StateError> {
        let after = row_bytes(&key, value.as_deref());
        let slot = Slot { value: value.clone(), event: self.event };
        let held = match self.written.entry(key) {
            Entry::Occupied(mut entry) => {
                let held = row_bytes(entry.key(), entry.get().value.as_deref());
                let key = entry.key().clone();
                let before = entry.insert(slot);
                if before.event == self.event {
                    self.rewrote = true;
                } else {
                    self.journal.push(Touched { key, value, before: Some(before) });
                }
                held
            }
            Entry::Vacant(entry) => {
                let key = entry.key().clone();
                let held = match newest_first(&self.seen, self.seen_next).find(|(seen, _)| *seen == key[..]) {
                    Some((_, bytes)) => *bytes,
                    None => row_bytes(&key, self.base.get(&key)?.as_deref()),
                };
                entry.insert(slot);
                self.journal.push(Touched { key, value, before: None });
                held
            }
        };
        let grown = after.cast_signed().saturating_sub(held.cast_signed());
        self.grown = self.grown.saturating_add(grown);
        Ok(grown)
    }

    /// Reads a key that may be written soon.
    ///
    /// # Errors
    /// The base could not be read.
    pub fn read(&mut self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        if let Some(slot) = self.written.get(key) {
            return Ok(slot.value.clone());
        }
        let value = self.base.get(key)?;
        let bytes = row_bytes(key, value.as_deref());
        match self.seen.get_mut(self.seen_next) {
            Some((seen, held)) => {
                seen.clear();
                seen.extend_from_slice(key);
                *held = bytes;
            }
            None => self.seen.push((key.to_vec(), bytes)),
        }
        self.seen_next = (self.seen_next + 1) % SEEN_MAX;
        Ok(value)
    }

    /// Writes these keys, which let the space grow by so much.
    pub fn extend(&mut self, writes: &[Write], grown: i64) {
        self.grown = self.grown.saturating_add(grown);
        for (key, value) in writes {
            let slot = Slot { value: value.clone(), event: self.event };
            let before = self.written.insert(key.clone(), slot);
            if before.as_ref().is_some_and(|before| before.event == self.event) {
                self.rewrote = true;
            } else {
                self.journal.push(Touched { key: key.clone(), value: value.clone(), before });
            }
        }
    }

    /// Takes over what was decided elsewhere, past any savepoint.
    pub fn absorb(&mut self, writes: &[Write], grown: i64) {
        self.grown = self.grown.saturating_add(grown);
        self.grown_before = self.grown_before.saturating_add(grown);
        for (key, value) in writes {
            // Of no event.
            self.written.insert(key.clone(), Slot { value: value.clone(), event: 0 });
        }
    }

    /// Everything written, each key once, in order.
    #[must_use]
    pub fn into_written(self) -> Vec<Write> {
        self.written.into_iter().map(|(key, slot)| (key, slot.value)).collect()
    }

    /// Reads a key.
    ///
    /// # Errors
    /// The base could not be read.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        match self.written.get(key) {
            Some(slot) => Ok(slot.value.clone()),
            None => self.base.get(key),
        }
    }

    /// At most `limit` rows of `start..end`, in order or from the end backwards; no `end` is the end of the space.
    ///
    /// # Errors
    /// The base could not be read.
    pub fn range(&self, start: &[u8], end: Option<&[u8]>, limit: usize, reverse: bool) -> Result<Vec<Row>, StateError> {
        if limit == 0 || end.is_some_and(|end| end <= start) {
            return Ok(Vec::new());
        }
        let bounds = (Bound::Included(start), end.map_or(Bound::Unbounded, Bound::Excluded));
        let written = self.written.range::<[u8], _>(bounds);
        let mut written: Box<dyn Iterator<Item = (&Bytes, &Slot)>> =
            if reverse { Box::new(written.rev()) } else { Box::new(written) };
        let mut rows = Vec::new();
        let mut base = BasePages::new(self.base.as_ref(), start, end, reverse, limit);
        let (mut ours, mut theirs) = (written.next(), base.next()?);
        while rows.len() < limit {
            let order = match (&ours, &theirs) {
                (None, None) => break,
                (Some(_), None) => core::cmp::Ordering::Less,
                (None, Some(_)) => core::cmp::Ordering::Greater,
                (Some((our, _)), Some((their, _))) if reverse => their.cmp(our),
                (Some((our, _)), Some((their, _))) => (*our).cmp(their),
            };
            if order.is_le() {
                if let Some((key, Slot { value: Some(value), .. })) = ours {
                    rows.push((key.clone(), value.clone()));
                }
                ours = written.next();
            }
            if order.is_ge() {
                let row = core::mem::replace(&mut theirs, base.next()?);
                if order.is_gt() {
                    rows.extend(row);
                }
            }
        }
        Ok(rows)
    }
}

/// The rows that were read, the last one first.
fn newest_first(seen: &[(Vec<u8>, u64)], next: usize) -> impl Iterator<Item = &(Vec<u8>, u64)> {
    let (before, after) = seen.split_at(next.min(seen.len()));
    before.iter().rev().chain(after.iter().rev())
}

/// Bytes of a row; none if there is no value.
fn row_bytes(key: &[u8], value: Option<&[u8]>) -> u64 {
    value.map_or(0, |value| (key.len() + value.len()) as u64)
}

/// A range in which every session sees what those before it left.
impl StateView for Overlay {
    fn bytes(&self) -> Result<u64, StateError> {
        let base = self.base_bytes.map_or_else(|| self.base.bytes(), Ok)?;
        Ok(base.saturating_add_signed(self.grown))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        Self::get(self, key)
    }

    fn range(&self, start: &[u8], end: Option<&[u8]>, limit: usize, reverse: bool) -> Result<Vec<Row>, StateError> {
        Self::range(self, start, end, limit, reverse)
    }
}

/// The base's rows one by one, read in pages: deleted rows may hide many of them.
struct BasePages<'b> {
    base: &'b dyn StateView,
    start: Bytes,
    end: Option<Bytes>,
    reverse: bool,
    page_rows: usize,
    page: std::vec::IntoIter<Row>,
    last: bool,
}

impl<'b> BasePages<'b> {
    fn new(base: &'b dyn StateView, start: &[u8], end: Option<&[u8]>, reverse: bool, page_rows: usize) -> Self {
        let (start, end) = (Bytes::copy_from_slice(start), end.map(Bytes::copy_from_slice));
        Self { base, start, end, reverse, page_rows, page: Vec::new().into_iter(), last: false }
    }

    fn next(&mut self) -> Result<Option<Row>, StateError> {
        if self.page.len() == 0 && !self.last {
            let rows = self.base.range(&self.start, self.end.as_deref(), self.page_rows, self.reverse)?;
            self.last = rows.len() < self.page_rows;
            if let Some((key, _)) = rows.last() {
                if self.reverse {
                    self.end = Some(key.clone());
                } else {
                    // The next key in order is this one with a zero behind it.
                    self.start = Bytes::from([key, &[0][..]].concat());
                }
            }
            self.page = rows.into_iter();
        }
        Ok(self.page.next())
    }
}

#[cfg(test)]
mod tests;
