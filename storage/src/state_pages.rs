//! Pages of the trees over what plugins hold. Derived.
//!
//! Takes pages into the batch of the state they are over, gives them by tree and name. What a page says is `sdk/merkle`'s;
//! whoever walks one checks it against a root.

use std::sync::Arc;

use bytes::Bytes;
use tally_protocol::hash::StateKey;

use crate::batch::{Batch, Engine};
use crate::error::StorageError;
use crate::family::Family;
use crate::follower_rows::delete_all;
use crate::keys::PageKey;

/// The pages.
#[derive(Clone)]
pub struct StatePages {
    engine: Arc<dyn Engine>,
}

impl StatePages {
    /// Over an engine.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine }
    }

    /// Sets a page.
    pub fn put(&self, batch: &mut Batch, key: &PageKey, page: impl Into<Bytes>) {
        batch.put(Family::StatePages, key.encode(), page);
    }

    /// Removes a page, present or not.
    pub fn delete(&self, batch: &mut Batch, key: &PageKey) {
        batch.delete(Family::StatePages, key.encode());
    }

    /// Removes every page of a tree.
    ///
    /// # Errors
    /// As [`Engine::scan`].
    pub fn delete_tree(&self, batch: &mut Batch, tree: Option<&StateKey>) -> Result<(), StorageError> {
        delete_all(self.engine.as_ref(), batch, Family::StatePages, &PageKey::of_tree(tree))
    }

    /// A page.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn get(&self, key: &PageKey) -> Result<Option<Bytes>, StorageError> {
        self.engine.get(Family::StatePages, &key.encode())
    }

    /// Pages, in the order of their keys.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn get_many(&self, keys: &[PageKey]) -> Result<Vec<Option<Bytes>>, StorageError> {
        let keys: Vec<_> = keys.iter().map(PageKey::encode).collect();
        self.engine.multi_get(Family::StatePages, &keys)
    }
}
