//! Facts about the directory: the layout's version and the ledger's genesis entry.
//!
//! Both are written once. A directory of another version is refused before anything else reads it; a directory
//! belongs to one ledger, so a second genesis entry is refused.

use std::sync::Arc;

use bytes::Bytes;

use crate::batch::{Batch, Durability, Engine, ScanRange};
use crate::error::StorageError;
use crate::family::Family;
use crate::keys::{Key, MetaKey};

/// The layout this code writes and reads (`docs/formats/storage-keys.md`).
pub const FORMAT_VERSION: u16 = 1;

/// The facts.
#[derive(Clone)]
pub struct MetaStore {
    engine: Arc<dyn Engine>,
}

impl MetaStore {
    /// Over an engine.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine }
    }

    /// Refuses another layout; marks an empty database with this one (synced) if it may be written.
    ///
    /// # Errors
    /// [`StorageError::UnknownFormat`] for another version, or for a database with content and without version.
    pub fn check_format(&self, writable: bool) -> Result<(), StorageError> {
        if let Some(found) = self.engine.get(Family::Meta, &MetaKey::Format.encode())? {
            let version = <[u8; 2]>::try_from(found.as_ref()).map(u16::from_be_bytes);
            return match version {
                Ok(FORMAT_VERSION) => Ok(()),
                Ok(other) => Err(unknown(other.to_string())),
                Err(_) => Err(unknown(format!("of {} bytes", found.len()))),
            };
        }
        for family in Family::ALL {
            let range = ScanRange { family, from: Key::FIRST, to: None, reverse: false, limit: 1 };
            if !self.engine.scan(&range)?.is_empty() {
                return Err(unknown("without a version".to_owned()));
            }
        }
        if writable {
            let mut batch = Batch::new();
            batch.put(Family::Meta, MetaKey::Format.encode(), FORMAT_VERSION.to_be_bytes().to_vec());
            self.engine.write(batch, Durability::Synced)?;
        }
        Ok(())
    }

    /// The genesis entry's bytes, if the database belongs to a ledger yet.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn genesis(&self) -> Result<Option<Bytes>, StorageError> {
        self.engine.get(Family::Meta, &MetaKey::Genesis.encode())
    }

    /// Puts the genesis entry into the batch. The same entry again is no change.
    ///
    /// # Errors
    /// [`StorageError::GenesisExists`] if there is another one; the engine failed.
    pub fn put_genesis(&self, batch: &mut Batch, entry: &[u8]) -> Result<(), StorageError> {
        match self.genesis()? {
            Some(stored) if stored == entry => Ok(()),
            Some(_) => Err(StorageError::GenesisExists),
            None => {
                batch.put(Family::Meta, MetaKey::Genesis.encode(), Bytes::copy_from_slice(entry));
                Ok(())
            }
        }
    }

    /// Marks a new ledger whose fence is not set yet: a crash before it is, is a first start still.
    pub fn put_fence_pending(&self, batch: &mut Batch) {
        batch.put(Family::Meta, MetaKey::FencePending.encode(), Vec::new());
    }

    /// Takes the mark away.
    pub fn clear_fence_pending(&self, batch: &mut Batch) {
        batch.delete(Family::Meta, MetaKey::FencePending.encode());
    }

    /// Whether the mark is there.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn is_fence_pending(&self) -> Result<bool, StorageError> {
        Ok(self.engine.get(Family::Meta, &MetaKey::FencePending.encode())?.is_some())
    }
}

fn unknown(found: String) -> StorageError {
    StorageError::UnknownFormat { found, known: FORMAT_VERSION }
}
