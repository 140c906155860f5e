//! What the log is looked up by: event ids, entities, heads of streams, control events. Derived, behind a cursor.
//!
//! The writer reads the log behind the appends and adds rows with the new cursor; readers see them at once. They reach
//! the disk in stretches of [`crate::lookup::SEGMENT_ROWS`] events, the cursor that is stored with them: a crash loses
//! rows only together with the cursor that spoke of them, and they are added again. Look-ups below the cursor are
//! complete; above it the caller has its own memory.
//!
//! Event ids and entities are looked up by 16-byte keyed hashes. **A hit is confirmed by the caller** against the
//! event itself: it reads the event at the index and compares its stream and id (or entity). Two ids with one hash
//! are beyond anyone's means to find by chance, and about 2^64 hash calls on purpose; whoever did would only hide an
//! event of their own, because the stream is part of the hash.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tally_protocol::hash::{LedgerId, LookupKey};
use tally_protocol::id::{EventId, Index, Sequence, Stream};

use crate::batch::{Batch, Durability, Engine, Row, ScanRange};
use crate::error::StorageError;
use crate::family::Family;
use crate::keys::{CheckpointKey, ControlKey, Key, StreamKey, read_u64};
use crate::lookup::{Bounds, LookUp};

/// Rows read in one scan when a whole family is wanted.
const ROWS_PER_SCAN: usize = 4096;

/// The look-up indexes of one ledger; clones share them. One writer, any number of readers.
#[derive(Clone)]
pub struct DerivedIndex {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Arc<dyn Engine>,
    lookup: LookupKey,
    /// Everything below is found.
    cursor: AtomicU64,
    event_ids: LookUp,
    entities: LookUp,
    /// Behind the cursor that is stored.
    unstored: Mutex<Unstored>,
    /// The first failure: from then on nobody knows which rows were added.
    failed: OnceLock<StorageError>,
}

#[derive(Default)]
struct Unstored {
    heads: HashMap<Stream, Sequence>,
    control: Vec<Index>,
}

/// Rows of a stretch of the log, in log order.
#[derive(Clone)]
pub struct IndexRows {
    lookup: LookupKey,
    event_ids: Vec<([u8; 16], u64)>,
    entities: Vec<([u8; 16], u64)>,
    heads: HashMap<Stream, Sequence>,
    control: Vec<Index>,
}

impl IndexRows {
    /// Where an event id is.
    pub fn put_event_id(&mut self, stream: &Stream, event: &EventId, index: Index) {
        self.event_ids.push((self.lookup.event(stream, event), index.get()));
    }

    /// An event belongs to an entity.
    pub fn put_entity(&mut self, stream: &Stream, entity_type: &str, entity_id: &str, index: Index) {
        self.entities.push((self.lookup.entity(stream, entity_type, entity_id), index.get()));
    }

    /// A stream's newest sequence.
    pub fn put_stream_head(&mut self, stream: &Stream, head: Sequence) {
        self.heads.insert(*stream, head);
    }

    /// A control event is at this position.
    pub fn put_control(&mut self, index: Index) {
        self.control.push(index);
    }
}

/// Sizes of the look-up indexes, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IndexStats {
    /// Segments in use, of event ids and entities together.
    pub segments: u64,
    /// Rows in them.
    pub rows: u64,
    /// Rows that are in memory only.
    pub recent_rows: u64,
    /// Bytes of filters in memory.
    pub filter_bytes: u64,
}

impl DerivedIndex {
    /// What an engine holds for a ledger. Reads the descriptions and filters of all segments; changes nothing.
    ///
    /// # Errors
    /// The engine failed or a row is damaged.
    pub fn open(engine: Arc<dyn Engine>, ledger: &LedgerId) -> Result<Self, StorageError> {
        Self::open_with(engine, ledger, Bounds::STANDARD)
    }

    /// With segments of so many rows, so that tests see many.
    ///
    /// # Errors
    /// As [`Self::open`].
    #[cfg(feature = "test-util")]
    pub fn open_small(engine: Arc<dyn Engine>, ledger: &LedgerId, segment_rows: u64) -> Result<Self, StorageError> {
        Self::open_with(engine, ledger, Bounds { segment_rows, ..Bounds::STANDARD })
    }

    fn open_with(engine: Arc<dyn Engine>, ledger: &LedgerId, bounds: Bounds) -> Result<Self, StorageError> {
        let key = ControlKey::Cursor.encode();
        let cursor = match engine.get(Family::Control, &key)? {
            None => 0,
            Some(value) => position(Family::Control, key.as_slice(), &value)?.get(),
        };
        let open = |family| LookUp::open(Arc::clone(&engine), family, bounds, cursor);
        let (event_ids, entities) = (open(Family::EventIds)?, open(Family::Entities)?);
        for index in [&event_ids, &entities] {
            if index.sealed_end() > cursor {
                return Err(StorageError::bad_value(Family::Control, key.as_slice(), "a segment ends behind it"));
            }
        }
        let lookup = LookupKey::new(ledger);
        let (cursor, unstored) = (AtomicU64::new(cursor), Mutex::default());
        Ok(Self {
            inner: Arc::new(Inner { engine, lookup, cursor, event_ids, entities, unstored, failed: OnceLock::new() }),
        })
    }

    fn unstored(&self) -> MutexGuard<'_, Unstored> {
        self.inner.unstored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first log position the rows do not cover: everything below is in them. 0 if nothing is.
    #[must_use]
    pub fn cursor(&self) -> Index {
        Index::new(self.inner.cursor.load(Ordering::Acquire))
    }

    /// No rows yet, to be filled and given to [`Self::add`].
    #[must_use]
    pub fn rows(&self) -> IndexRows {
        IndexRows {
            lookup: self.inner.lookup.clone(),
            event_ids: Vec::new(),
            entities: Vec::new(),
            heads: HashMap::new(),
            control: Vec::new(),
        }
    }

    /// Adds the rows of the log from the cursor up to `end`, which becomes the cursor. Rows reach the disk when there are
    /// enough of them; each call also does its part of merging older ones.
    ///
    /// # Errors
    /// The engine failed, or a stored row is damaged. What was added may be found or not, and every further call gives
    /// the same error; open the index again.
    pub fn add(&self, rows: IndexRows, end: Index) -> Result<(), StorageError> {
        self.unless_failed(|| self.add_rows(rows, end))
    }

    fn unless_failed(&self, work: impl FnOnce() -> Result<(), StorageError>) -> Result<(), StorageError> {
        let failed = &self.inner.failed;
        match failed.get() {
            Some(error) => Err(error.clone()),
            None => work().inspect_err(|error| drop(failed.set(error.clone()))),
        }
    }

    fn add_rows(&self, rows: IndexRows, end: Index) -> Result<(), StorageError> {
        let inner = &*self.inner;
        inner.event_ids.put(&rows.event_ids);
        inner.entities.put(&rows.entities);
        {
            let mut unstored = self.unstored();
            unstored.heads.extend(rows.heads);
            unstored.control.extend(rows.control);
        }
        inner.cursor.store(end.get(), Ordering::Release);
        if inner.event_ids.is_due() || inner.entities.is_due() {
            self.flush_rows()?;
        }
        inner.event_ids.merge(rows.event_ids.len())?;
        inner.entities.merge(rows.entities.len())
    }

    /// Brings all rows to the disk (buffered: a crash of the system may still lose them, with the cursor).
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn flush(&self) -> Result<(), StorageError> {
        self.unless_failed(|| self.flush_rows())
    }

    fn flush_rows(&self) -> Result<(), StorageError> {
        let inner = &*self.inner;
        let end = self.cursor();
        let mut batch = Batch::new();
        let event_ids = inner.event_ids.seal(&mut batch, end.get())?;
        let entities = inner.entities.seal(&mut batch, end.get())?;
        if event_ids.is_none() && entities.is_none() {
            return Ok(());
        }
        {
            // Kept until the batch is written: readers find them in one place or the other.
            let unstored = self.unstored();
            for (stream, head) in &unstored.heads {
                batch.put(Family::Streams, StreamKey(*stream).encode(), head.get().to_be_bytes().to_vec());
            }
            for index in &unstored.control {
                batch.put(Family::Control, ControlKey::Event(*index).encode(), Vec::new());
            }
        }
        batch.put(Family::Control, ControlKey::Cursor.encode(), end.get().to_be_bytes().to_vec());
        inner.engine.write(batch, Durability::Buffered)?;
        *self.unstored() = Unstored::default();
        event_ids.into_iter().for_each(|sealed| inner.event_ids.sealed(sealed));
        entities.into_iter().for_each(|sealed| inner.entities.sealed(sealed));
        Ok(())
    }

    /// Where event ids probably are, in the order asked for; the caller confirms each hit against the event. `None`
    /// is certain below the cursor.
    ///
    /// # Errors
    /// The engine failed or a value is damaged.
    pub fn find_event_ids(&self, ids: &[(Stream, EventId)]) -> Result<Vec<Option<Index>>, StorageError> {
        let lookup = &self.inner.lookup;
        let places: Vec<[u8; 16]> = ids.iter().map(|(stream, event)| lookup.event(stream, event)).collect();
        let found = self.inner.event_ids.find(&places)?;
        Ok(found.into_iter().map(|index| index.map(Index::new)).collect())
    }

    /// Where an entity's events probably are, ascending, at most `limit`, all greater than `after` if given; the
    /// caller confirms each against the event.
    ///
    /// # Errors
    /// The engine failed or a value is damaged.
    pub fn entity_page(
        &self,
        stream: &Stream,
        entity_type: &str,
        entity_id: &str,
        after: Option<Index>,
        limit: usize,
    ) -> Result<Vec<Index>, StorageError> {
        let place = self.inner.lookup.entity(stream, entity_type, entity_id);
        let found = self.inner.entities.page(&place, after.map(Index::get), limit)?;
        Ok(found.into_iter().map(Index::new).collect())
    }

    /// All streams with their newest sequence below the cursor, ordered by stream: about 40 bytes of memory each.
    ///
    /// # Errors
    /// The engine failed or a row is damaged.
    pub fn stream_heads(&self) -> Result<Vec<(Stream, Sequence)>, StorageError> {
        let mut heads = Vec::new();
        let mut newer = self.unstored().heads.clone();
        self.each_row(Family::Streams, Key::FIRST, None, |row| {
            let stream = StreamKey::decode(&row.key)
                .ok_or_else(|| StorageError::bad_value(Family::Streams, &row.key, "not a stream's key"))?;
            let head = position(Family::Streams, &row.key, &row.value)?;
            heads.push((stream.0, newer.remove(&stream.0).unwrap_or(Sequence::new(head.get()))));
            Ok(())
        })?;
        if !newer.is_empty() {
            heads.extend(newer);
            heads.sort_unstable_by_key(|(stream, _)| *stream);
        }
        Ok(heads)
    }

    /// Where all control events below the cursor are, ascending.
    ///
    /// # Errors
    /// The engine failed or a row is damaged.
    pub fn control_indexes(&self) -> Result<Vec<Index>, StorageError> {
        let mut indexes = Vec::new();
        let from = ControlKey::events();
        let to = from.prefix_end();
        self.each_row(Family::Control, from, to.as_ref(), |row| match ControlKey::decode(&row.key) {
            Some(ControlKey::Event(index)) => {
                indexes.push(index);
                Ok(())
            }
            _ => Err(StorageError::bad_value(Family::Control, &row.key, "not a control event's key")),
        })?;
        indexes.extend(&self.unstored().control);
        Ok(indexes)
    }

    /// Reads every row of event ids and entities, checks it, and counts them. For auditors: it takes its time.
    ///
    /// # Errors
    /// The engine failed or a row is damaged; the error names the family.
    pub fn count_rows(&self) -> Result<(u64, u64), StorageError> {
        Ok((self.inner.event_ids.count()?, self.inner.entities.count()?))
    }

    /// Sizes, for metrics.
    #[must_use]
    pub fn stats(&self) -> IndexStats {
        let mut stats = IndexStats::default();
        for index in [&self.inner.event_ids, &self.inner.entities] {
            let (segments, rows, filter_bytes) = index.stats();
            stats.segments += segments;
            stats.rows += rows;
            stats.filter_bytes += filter_bytes;
            stats.recent_rows += index.recent_rows();
        }
        stats
    }

    /// Reads a family from a key on, a bounded scan at a time.
    fn each_row(
        &self,
        family: Family,
        from: Key,
        to: Option<&Key>,
        mut take: impl FnMut(&Row) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let mut from = from;
        loop {
            let range = ScanRange { family, from, to: to.cloned(), reverse: false, limit: ROWS_PER_SCAN };
            let rows = self.inner.engine.scan(&range)?;
            rows.iter().try_for_each(&mut take)?;
            let Some(last) = rows.last().filter(|_| rows.len() == ROWS_PER_SCAN) else {
                return Ok(());
            };
            let last = Key::from_slice(&last.key)
                .ok_or_else(|| StorageError::bad_value(family, &last.key, "longer than any key"))?;
            from = last.just_after();
        }
    }
}

/// Deletes everything that is derived: look-up indexes with their cursor, tiles, outcomes, what plugins hold, and the
/// newest signed checkpoints. The next start computes all of it again from the runs and the recorded cuts. Not while
/// anything else has the engine.
///
/// # Errors
/// As [`Engine::write`].
pub fn clear_derived(engine: &dyn Engine) -> Result<(), StorageError> {
    let mut batch = Batch::new();
    let segments = [Family::EventIds, Family::Entities];
    for family in Family::ALL.into_iter().filter(|family| family.is_derived() && !segments.contains(family)) {
        batch.clear(family);
    }
    for family in [Family::Checkpoints, Family::OutcomeCheckpoints] {
        batch.delete(family, CheckpointKey::Latest.encode());
    }
    engine.write(batch, Durability::Synced)?;
    // Nothing names them any more; a crash before this leaves what the next writer sweeps away.
    segments.into_iter().try_for_each(|family| engine.drop_range(family, &Key::FIRST, None))
}

/// Deletes what was computed by applying events: outcomes with their tiles and newest signed checkpoint, and what
/// followers wrote. Whoever applies begins at the log's first event again. Not while anything else writes these.
///
/// # Errors
/// As [`Engine::write`].
pub fn clear_applied(engine: &dyn Engine) -> Result<(), StorageError> {
    let mut batch = Batch::new();
    Family::ALL.into_iter().filter(|family| family.is_of_applying()).for_each(|family| batch.clear(family));
    batch.delete(Family::OutcomeCheckpoints, CheckpointKey::Latest.encode());
    engine.write(batch, Durability::Synced)
}

fn position(family: Family, key: &[u8], value: &[u8]) -> Result<Index, StorageError> {
    read_u64(value).map(Index::new).ok_or_else(|| StorageError::bad_value(family, key, "not 8 bytes"))
}

#[cfg(all(test, feature = "test-util"))]
mod tests {
    use super::*;
    use crate::memory::MemoryEngine;

    #[test]
    fn after_a_failure_nothing_is_added_twice() {
        let engine = Arc::new(MemoryEngine::new());
        let index = DerivedIndex::open_small(engine.clone(), &LedgerId::from_bytes([1; 32]), 2).unwrap();
        let rows = || {
            let mut rows = index.rows();
            for number in 1..=2 {
                rows.put_event_id(&Stream::from_bytes(&[7; 32]), &EventId::from_bytes([number; 16]), Index::new(1));
            }
            rows
        };
        engine.faults().fill_disk_at_write(1);
        let error = index.add(rows(), Index::new(3)).unwrap_err();
        assert!(matches!(error, StorageError::NoSpace(_)));
        let before = index.stats();
        assert_eq!(index.add(rows(), Index::new(3)), Err(error.clone()), "not the engine's, which is poisoned by now");
        assert_eq!(index.flush(), Err(error));
        assert_eq!(index.stats(), before);
    }
}
