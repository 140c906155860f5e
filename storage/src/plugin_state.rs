//! What plugins hold: a value for each key of a plugin in a stream. Derived.
//!
//! Takes changes into the batch of the outcomes they belong to, gives values by key and by range. Keys and values are
//! the plugin's bytes; an empty value is a value. Fails for a key that is longer than any may be.

use std::sync::Arc;

use bytes::Bytes;
use tally_protocol::id::{PluginId, Stream};

use crate::batch::{Batch, Engine, Row, ScanRange};
use crate::error::StorageError;
use crate::family::Family;
use crate::follower_rows::delete_all;
use crate::keys::{Key, PluginStateKey};

/// A plugin's key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateRow {
    /// The plugin's own key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
}

/// Which of a plugin's keys are asked for: `from <= key < to`.
#[derive(Debug, Clone, Copy)]
pub struct StateRange<'a> {
    /// The first key that may be returned.
    pub from: &'a [u8],
    /// The first key behind the range; `None` is the end of the plugin's keys.
    pub to: Option<&'a [u8]>,
    /// From the greatest key down instead of from the smallest up.
    pub reverse: bool,
    /// How many rows at most.
    pub limit: usize,
}

/// The state of all plugins.
#[derive(Clone)]
pub struct PluginState {
    engine: Arc<dyn Engine>,
}

impl PluginState {
    /// Over an engine.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine }
    }

    /// Sets a key's value.
    ///
    /// # Errors
    /// [`StorageError::KeyTooLong`]; the batch is as it was.
    pub fn put(
        &self,
        batch: &mut Batch,
        (stream, plugin): (Stream, &PluginId),
        key: &[u8],
        value: impl Into<Bytes>,
    ) -> Result<(), StorageError> {
        batch.put(Family::PluginState, key_of(stream, plugin, key)?, value);
        Ok(())
    }

    /// Removes a key, present or not.
    ///
    /// # Errors
    /// [`StorageError::KeyTooLong`]; the batch is as it was.
    pub fn delete(
        &self,
        batch: &mut Batch,
        (stream, plugin): (Stream, &PluginId),
        key: &[u8],
    ) -> Result<(), StorageError> {
        batch.delete(Family::PluginState, key_of(stream, plugin, key)?);
        Ok(())
    }

    /// Removes every key of a plugin in a stream.
    ///
    /// # Errors
    /// As [`Engine::scan`].
    pub fn delete_space(&self, batch: &mut Batch, (stream, plugin): (Stream, &PluginId)) -> Result<(), StorageError> {
        let prefix = PluginStateKey::of_plugin(stream, plugin);
        delete_all(self.engine.as_ref(), batch, Family::PluginState, &prefix)
    }

    /// A key's value.
    ///
    /// # Errors
    /// The engine failed, or the key is longer than any may be.
    pub fn get(&self, (stream, plugin): (Stream, &PluginId), key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.engine.get(Family::PluginState, &key_of(stream, plugin, key)?)
    }

    /// The values of keys, in their order.
    ///
    /// # Errors
    /// As [`PluginState::get`].
    pub fn get_many(
        &self,
        (stream, plugin): (Stream, &PluginId),
        keys: &[&[u8]],
    ) -> Result<Vec<Option<Bytes>>, StorageError> {
        let keys: Vec<Key> = keys.iter().map(|key| key_of(stream, plugin, key)).collect::<Result<_, _>>()?;
        self.engine.multi_get(Family::PluginState, &keys)
    }

    /// The rows of a range in the order of their keys, as of one moment. A bound that is longer than any key bounds as
    /// its bytes say.
    ///
    /// # Errors
    /// The engine failed or a row is damaged.
    pub fn range(
        &self,
        (stream, plugin): (Stream, &PluginId),
        range: StateRange<'_>,
    ) -> Result<Vec<StateRow>, StorageError> {
        let prefix = PluginStateKey::of_plugin(stream, plugin);
        let to = match range.to {
            Some(to) => Some(Key::of(&[prefix.as_slice(), to])),
            None => prefix.prefix_end(),
        };
        let from = Key::of(&[prefix.as_slice(), range.from]);
        let (reverse, limit) = (range.reverse, range.limit);
        let rows = self.engine.scan(&ScanRange { family: Family::PluginState, from, to, reverse, limit })?;
        rows.into_iter().map(|row| decode(&prefix, row)).collect()
    }
}

fn key_of(stream: Stream, plugin: &PluginId, key: &[u8]) -> Result<Key, StorageError> {
    PluginStateKey::make(stream, plugin, key).ok_or(StorageError::KeyTooLong(key.len()))
}

fn decode(prefix: &Key, row: Row) -> Result<StateRow, StorageError> {
    let key = row.key.strip_prefix(prefix.as_slice()).map(|key| row.key.slice_ref(key));
    let bad = || StorageError::bad_value(Family::PluginState, &row.key, "lies outside its plugin");
    Ok(StateRow { key: key.ok_or_else(bad)?, value: row.value })
}
