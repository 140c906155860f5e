//! Effects that plugins asked for, and what became of them.
//!
//! What was asked follows from the log: derived, written in the batch of its outcome. What became of it does not, because
//! the world outside was asked: truth, written alone and synced, so that an effect that was begun is known to have been
//! begun after any crash, and rebuilding what was asked never asks again. Both are opaque here and in the order of the
//! events.

use std::sync::Arc;

use bytes::Bytes;
use tally_protocol::id::TreeSize;

use crate::batch::{Batch, Durability, Engine, ScanRange};
use crate::error::StorageError;
use crate::family::Family;
use crate::keys::{EffectKey, Key, MetaKey};

/// An effect's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectRow {
    /// Which effect.
    pub key: EffectKey,
    /// The record.
    pub record: Bytes,
}

/// Up to where every effect is answered, so that nobody has to read it again to find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DispatchFloor {
    /// The last place of which that is so.
    pub last: EffectKey,
    /// The log held all of the answers at this size; in a shorter one they are missing.
    pub size: TreeSize,
}

/// The effects.
#[derive(Clone)]
pub struct Outbox {
    engine: Arc<dyn Engine>,
}

impl Outbox {
    /// Over an engine.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine }
    }

    /// Puts what was asked into the batch.
    pub fn put(&self, batch: &mut Batch, key: EffectKey, request: impl Into<Bytes>) {
        batch.put(Family::Outbox, key.encode(), request);
    }

    /// What was asked.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn get(&self, key: EffectKey) -> Result<Option<Bytes>, StorageError> {
        self.engine.get(Family::Outbox, &key.encode())
    }

    /// At most `limit` of what was asked in order, all behind `after` if given.
    ///
    /// # Errors
    /// The engine failed or a key is damaged.
    pub fn page(&self, after: Option<EffectKey>, limit: usize) -> Result<Vec<EffectRow>, StorageError> {
        self.rows(Family::Outbox, after, limit)
    }

    /// Stores what became of an effect, in the place of what was stored before.
    ///
    /// # Errors
    /// As [`Engine::write`].
    pub fn put_dispatch(&self, key: EffectKey, record: impl Into<Bytes>) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        batch.put(Family::Dispatches, key.encode(), record);
        self.engine.write(batch, Durability::Synced)
    }

    /// What became of an effect.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn dispatch(&self, key: EffectKey) -> Result<Option<Bytes>, StorageError> {
        self.engine.get(Family::Dispatches, &key.encode())
    }

    /// At most `limit` records of what became of effects in order, all behind `after` if given.
    ///
    /// # Errors
    /// The engine failed or a key is damaged.
    pub fn dispatches(&self, after: Option<EffectKey>, limit: usize) -> Result<Vec<EffectRow>, StorageError> {
        self.rows(Family::Dispatches, after, limit)
    }

    /// Stores the floor, in the place of the one before.
    ///
    /// # Errors
    /// As [`Engine::write`].
    pub fn put_floor(&self, floor: DispatchFloor) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        let value = [floor.last.encode().as_slice(), &floor.size.get().to_be_bytes()].concat();
        batch.put(Family::Meta, MetaKey::DispatchFloor.encode(), value);
        self.engine.write(batch, Durability::Synced)
    }

    /// The floor; none if nothing was ever answered.
    ///
    /// # Errors
    /// The engine failed or the value is damaged.
    pub fn floor(&self) -> Result<Option<DispatchFloor>, StorageError> {
        let key = MetaKey::DispatchFloor.encode();
        let Some(value) = self.engine.get(Family::Meta, &key)? else { return Ok(None) };
        let read = |value: &[u8]| {
            let (last, size) = value.split_last_chunk::<8>()?;
            Some(DispatchFloor { last: EffectKey::decode(last)?, size: TreeSize::new(u64::from_be_bytes(*size)) })
        };
        let damaged = || StorageError::bad_value(Family::Meta, key.as_slice(), "not a dispatch floor");
        read(&value).map(Some).ok_or_else(damaged)
    }

    fn rows(&self, family: Family, after: Option<EffectKey>, limit: usize) -> Result<Vec<EffectRow>, StorageError> {
        let from = after.map_or(Key::FIRST, |key| key.encode().just_after());
        let rows = self.engine.scan(&ScanRange { family, from, to: None, reverse: false, limit })?;
        let rows = rows.into_iter().map(|row| match EffectKey::decode(&row.key) {
            Some(key) => Ok(EffectRow { key, record: row.value }),
            None => Err(StorageError::bad_value(family, &row.key, "not an effect's key")),
        });
        rows.collect()
    }
}
