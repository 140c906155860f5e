//! What the log is looked up by: event ids, entities, heads of streams, control events. Derived, behind a cursor.
//!
//! The writer reads the log behind the appends, puts rows and the new cursor into one batch and writes it buffered:
//! a crash loses rows only together with the cursor that spoke of them, and they are written again. Look-ups below
//! the cursor are complete; above it the caller has its own memory.
//!
//! Event ids and entities are looked up by 16-byte keyed hashes. **A hit is confirmed by the caller** against the
//! event itself: it reads the event at the index and compares its stream and id (or entity). Two ids with one hash
//! are beyond anyone's means to find by chance, and about 2^64 hash calls on purpose; whoever did would only hide an
//! event of their own, because the stream is part of the hash.

use std::sync::Arc;

use tally_protocol::hash::{LedgerId, LookupKey};
use tally_protocol::id::{EventId, Index, Sequence, Stream};

use crate::batch::{Batch, Durability, Engine, Row, ScanRange};
use crate::error::StorageError;
use crate::family::Family;
use crate::keys::{CheckpointKey, ControlKey, EntityKey, EventIdKey, Key, StreamKey, read_u64};

/// Rows read in one scan when a whole family is wanted.
const ROWS_PER_SCAN: usize = 4096;

/// The look-up indexes of one ledger.
#[derive(Clone)]
pub struct DerivedIndex {
    engine: Arc<dyn Engine>,
    lookup: LookupKey,
}

impl DerivedIndex {
    /// Over an engine, for a ledger.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>, ledger: &LedgerId) -> Self {
        Self { engine, lookup: LookupKey::new(ledger) }
    }

    /// The first log position the rows do not cover: everything below is in them. 0 if nothing is.
    ///
    /// # Errors
    /// The engine failed or the value is damaged.
    pub fn cursor(&self) -> Result<Index, StorageError> {
        let key = ControlKey::Cursor.encode();
        match self.engine.get(Family::Control, &key)? {
            None => Ok(Index::new(0)),
            Some(value) => position(Family::Control, key.as_slice(), &value),
        }
    }

    /// Moves the cursor, in the batch that holds the rows up to it.
    pub fn set_cursor(&self, batch: &mut Batch, cursor: Index) {
        batch.put(Family::Control, ControlKey::Cursor.encode(), cursor.get().to_be_bytes().to_vec());
    }

    /// Where an event id is.
    pub fn put_event_id(&self, batch: &mut Batch, stream: &Stream, event: &EventId, index: Index) {
        let key = EventIdKey::new(&self.lookup, stream, event).encode();
        batch.put(Family::EventIds, key, index.get().to_be_bytes().to_vec());
    }

    /// Where event ids probably are, in the order asked for; the caller confirms each hit against the event. `None`
    /// is certain below the cursor.
    ///
    /// # Errors
    /// The engine failed or a value is damaged.
    pub fn find_event_ids(&self, ids: &[(Stream, EventId)]) -> Result<Vec<Option<Index>>, StorageError> {
        let keys: Vec<Key> =
            ids.iter().map(|(stream, event)| EventIdKey::new(&self.lookup, stream, event).encode()).collect();
        let values = self.engine.multi_get(Family::EventIds, &keys)?;
        let found = keys
            .iter()
            .zip(values)
            .map(|(key, value)| value.map(|value| position(Family::EventIds, key.as_slice(), &value)).transpose());
        found.collect()
    }

    /// An event belongs to an entity.
    pub fn put_entity(&self, batch: &mut Batch, stream: &Stream, entity_type: &str, entity_id: &str, index: Index) {
        let place = EntityKey::place(&self.lookup, stream, entity_type, entity_id);
        batch.put(Family::Entities, EntityKey { place, index }.encode(), Vec::new());
    }

    /// Where an entity's events probably are, ascending, at most `limit`, all greater than `after` if given; the
    /// caller confirms each against the event.
    ///
    /// # Errors
    /// The engine failed or a key is damaged.
    pub fn entity_page(
        &self,
        stream: &Stream,
        entity_type: &str,
        entity_id: &str,
        after: Option<Index>,
        limit: usize,
    ) -> Result<Vec<Index>, StorageError> {
        let place = EntityKey::place(&self.lookup, stream, entity_type, entity_id);
        let prefix = EntityKey::prefix(&place);
        let from = after.map_or(prefix, |index| EntityKey { place, index }.encode().just_after());
        let range = ScanRange { family: Family::Entities, from, to: prefix.prefix_end(), reverse: false, limit };
        let rows = self.engine.scan(&range)?;
        let bad = |row: &Row| StorageError::bad_value(Family::Entities, &row.key, "not an entity's key");
        rows.iter().map(|row| EntityKey::decode(&row.key).map(|key| key.index).ok_or_else(|| bad(row))).collect()
    }

    /// A stream's newest sequence.
    pub fn put_stream_head(&self, batch: &mut Batch, stream: &Stream, head: Sequence) {
        batch.put(Family::Streams, StreamKey(*stream).encode(), head.get().to_be_bytes().to_vec());
    }

    /// All streams with their newest sequence below the cursor, ordered by stream: about 40 bytes of memory each.
    ///
    /// # Errors
    /// The engine failed or a row is damaged.
    pub fn stream_heads(&self) -> Result<Vec<(Stream, Sequence)>, StorageError> {
        let mut heads = Vec::new();
        self.each_row(Family::Streams, Key::FIRST, |row| {
            let stream = StreamKey::decode(&row.key)
                .ok_or_else(|| StorageError::bad_value(Family::Streams, &row.key, "not a stream's key"))?;
            let head = position(Family::Streams, &row.key, &row.value)?;
            heads.push((stream.0, Sequence::new(head.get())));
            Ok(())
        })?;
        Ok(heads)
    }

    /// A control event is at this position.
    pub fn put_control(&self, batch: &mut Batch, index: Index) {
        batch.put(Family::Control, ControlKey::Event(index).encode(), Vec::new());
    }

    /// Where all control events below the cursor are, ascending.
    ///
    /// # Errors
    /// The engine failed or a row is damaged.
    pub fn control_indexes(&self) -> Result<Vec<Index>, StorageError> {
        let mut indexes = Vec::new();
        self.each_row(Family::Control, ControlKey::events(), |row| match ControlKey::decode(&row.key) {
            Some(ControlKey::Event(index)) => {
                indexes.push(index);
                Ok(())
            }
            _ => Err(StorageError::bad_value(Family::Control, &row.key, "not a control event's key")),
        })?;
        Ok(indexes)
    }

    /// Reads a family from a key on, a bounded scan at a time.
    fn each_row(
        &self,
        family: Family,
        from: Key,
        mut take: impl FnMut(&Row) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let mut from = from;
        loop {
            let range = ScanRange { family, from, to: None, reverse: false, limit: ROWS_PER_SCAN };
            let rows = self.engine.scan(&range)?;
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

/// Deletes everything that is derived, in one synced write: look-up indexes with their cursor, tiles, and the newest
/// signed checkpoint. The next start computes all of it again from the runs.
///
/// # Errors
/// As [`Engine::write`].
pub fn clear_derived(engine: &dyn Engine) -> Result<(), StorageError> {
    let mut batch = Batch::new();
    for family in Family::ALL.into_iter().filter(|family| family.is_derived()) {
        batch.clear(family);
    }
    batch.delete(Family::Checkpoints, CheckpointKey::Latest.encode());
    engine.write(batch, Durability::Synced)
}

fn position(family: Family, key: &[u8], value: &[u8]) -> Result<Index, StorageError> {
    read_u64(value).map(Index::new).ok_or_else(|| StorageError::bad_value(family, key, "not 8 bytes"))
}
