//! What a segment wrote so far, over a base that never changes, with a savepoint for each event.
//!
//! Takes writes and reads; gives values and ranges as if the writes were in the base. [`Overlay::begin`] opens an event;
//! [`Overlay::commit`] gives its write set in key order, [`Overlay::rollback`] undoes it: the journal holds, for each key
//! the event touched, what the overlay held before. Nothing here fails but reads of the base.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use crate::state::{Row, StateError, StateView};

/// One key's new value; none if it was deleted.
pub type Write = (Bytes, Option<Bytes>);

/// Writes over a base.
pub struct Overlay {
    base: Arc<dyn StateView>,
    written: BTreeMap<Bytes, Option<Bytes>>,
    /// For each key that the open event touched: what was written before, if anything was.
    journal: BTreeMap<Bytes, Option<Option<Bytes>>>,
}

impl Overlay {
    /// Nothing written yet.
    #[must_use]
    pub fn new(base: Arc<dyn StateView>) -> Self {
        Self { base, written: BTreeMap::new(), journal: BTreeMap::new() }
    }

    /// Opens a savepoint; what an event left open is undone.
    pub fn begin(&mut self) {
        self.rollback();
    }

    /// Keeps the open event's writes and gives them: each key once, in order.
    pub fn commit(&mut self) -> Vec<Write> {
        let touched = core::mem::take(&mut self.journal);
        touched
            .into_keys()
            .map(|key| {
                let value = self.written.get(&key).cloned().flatten();
                (key, value)
            })
            .collect()
    }

    /// Undoes the open event's writes.
    pub fn rollback(&mut self) {
        for (key, before) in core::mem::take(&mut self.journal) {
            match before {
                Some(value) => self.written.insert(key, value),
                None => self.written.remove(&key),
            };
        }
    }

    /// How many keys the open event touched.
    #[must_use]
    pub fn touched(&self) -> usize {
        self.journal.len()
    }

    /// Whether the open event touched this key.
    #[must_use]
    pub fn has_touched(&self, key: &[u8]) -> bool {
        self.journal.contains_key(key)
    }

    /// Writes a key, or deletes it.
    pub fn write(&mut self, key: Bytes, value: Option<Bytes>) {
        let before = self.written.insert(key.clone(), value);
        self.journal.entry(key).or_insert(before);
    }

    /// Writes these keys.
    pub fn extend(&mut self, writes: &[Write]) {
        for (key, value) in writes {
            self.write(key.clone(), value.clone());
        }
    }

    /// Takes over what was decided elsewhere, past any savepoint.
    pub fn absorb(&mut self, writes: &[Write]) {
        for (key, value) in writes {
            self.written.insert(key.clone(), value.clone());
        }
    }

    /// Everything written, each key once, in order.
    #[must_use]
    pub fn into_written(self) -> Vec<Write> {
        self.written.into_iter().collect()
    }

    /// Reads a key.
    ///
    /// # Errors
    /// The base could not be read.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        match self.written.get(key) {
            Some(value) => Ok(value.clone()),
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
        let mut written: Box<dyn Iterator<Item = (&Bytes, &Option<Bytes>)>> =
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
                if let Some((key, Some(value))) = ours {
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

/// A range in which every session sees what those before it left.
impl StateView for Overlay {
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
