//! Modules of plugins by their hash. Truth, not part of the log: the log names modules, it does not hold them.
//!
//! Takes a module's bytes, gives them back, checked against the hash they are asked for by.

use std::sync::Arc;

use bytes::Bytes;
use tally_protocol::hash::{ModuleHash, module};

use crate::batch::{Batch, Durability, Engine, ScanRange};
use crate::error::StorageError;
use crate::family::Family;
use crate::keys::{Key, ModuleKey};

/// The modules.
#[derive(Clone)]
pub struct Modules {
    engine: Arc<dyn Engine>,
}

impl Modules {
    /// Over an engine.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine }
    }

    /// Stores a module, synced: an event that names it may follow. Stored twice it is there once.
    ///
    /// # Errors
    /// As [`Engine::write`].
    pub fn put(&self, bytes: impl Into<Bytes>) -> Result<ModuleHash, StorageError> {
        let bytes = bytes.into();
        let hash = module(&bytes);
        let mut batch = Batch::new();
        batch.put(Family::Modules, ModuleKey(hash).encode(), bytes);
        self.engine.write(batch, Durability::Synced)?;
        Ok(hash)
    }

    /// A module.
    ///
    /// # Errors
    /// The engine failed, or the bytes are not the ones of this hash.
    pub fn get(&self, hash: ModuleHash) -> Result<Option<Bytes>, StorageError> {
        let key = ModuleKey(hash).encode();
        match self.engine.get(Family::Modules, &key)? {
            Some(bytes) if module(&bytes) != hash => {
                Err(StorageError::bad_value(Family::Modules, key.as_slice(), "not the module of this hash"))
            }
            found => Ok(found),
        }
    }

    /// Whether a module is stored.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn holds(&self, hash: ModuleHash) -> Result<bool, StorageError> {
        let from = ModuleKey(hash).encode();
        let to = Some(from.just_after());
        let range = ScanRange { family: Family::Modules, from, to, reverse: false, limit: 1 };
        Ok(!self.engine.scan(&range)?.is_empty())
    }

    /// At most `limit` hashes of stored modules in order, all behind `after` if given.
    ///
    /// # Errors
    /// The engine failed or a key is damaged.
    pub fn list(&self, after: Option<ModuleHash>, limit: usize) -> Result<Vec<ModuleHash>, StorageError> {
        let from = after.map_or(Key::FIRST, |hash| ModuleKey(hash).encode().just_after());
        let range = ScanRange { family: Family::Modules, from, to: None, reverse: false, limit };
        let hashes = self.engine.scan(&range)?.into_iter().map(|row| match ModuleKey::decode(&row.key) {
            Some(ModuleKey(hash)) => Ok(hash),
            None => Err(StorageError::bad_value(Family::Modules, &row.key, "not a module's key")),
        });
        hashes.collect()
    }
}
