//! Records about callers, by 32 bytes (the hash of a secret). Not part of the log.
//!
//! Storage does not read them; the gateway's adapter gives them their meaning. Writes are single and synced: a revoked
//! credential stays revoked.

use std::sync::Arc;

use bytes::Bytes;

use crate::batch::{Batch, Durability, Engine, ScanRange};
use crate::error::StorageError;
use crate::family::Family;
use crate::keys::{CredentialKey, Key};

/// The records.
#[derive(Clone)]
pub struct CredentialStore {
    engine: Arc<dyn Engine>,
}

impl CredentialStore {
    /// Over an engine.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine }
    }

    /// Stores a record, in the place of one that was there.
    ///
    /// # Errors
    /// As [`Engine::write`].
    pub fn put(&self, id: &[u8; 32], record: &[u8]) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        batch.put(Family::Credentials, CredentialKey(*id).encode(), Bytes::copy_from_slice(record));
        self.engine.write(batch, Durability::Synced)
    }

    /// A record.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn get(&self, id: &[u8; 32]) -> Result<Option<Bytes>, StorageError> {
        self.engine.get(Family::Credentials, &CredentialKey(*id).encode())
    }

    /// At most `limit` records ordered by id, all behind `after` if given.
    ///
    /// # Errors
    /// The engine failed or a key is damaged.
    pub fn list(&self, after: Option<&[u8; 32]>, limit: usize) -> Result<Vec<([u8; 32], Bytes)>, StorageError> {
        let from = after.map_or(Key::FIRST, |id| CredentialKey(*id).encode().just_after());
        let range = ScanRange { family: Family::Credentials, from, to: None, reverse: false, limit };
        let rows = self.engine.scan(&range)?.into_iter().map(|row| match CredentialKey::decode(&row.key) {
            Some(CredentialKey(id)) => Ok((id, row.value)),
            None => Err(StorageError::bad_value(Family::Credentials, &row.key, "not a credential's key")),
        });
        rows.collect()
    }

    /// Removes a record, present or not.
    ///
    /// # Errors
    /// As [`Engine::write`].
    pub fn delete(&self, id: &[u8; 32]) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        batch.delete(Family::Credentials, CredentialKey(*id).encode());
        self.engine.write(batch, Durability::Synced)
    }
}
