//! The seam to where pages are kept, and a store in memory.

use std::collections::BTreeMap;
use std::convert::Infallible;

use super::place::PageId;
use super::update::StateUpdate;

/// Gives the stored pages of one tree.
pub trait PageStore {
    /// A page's bytes, as the store has them.
    type Bytes: AsRef<[u8]>;
    /// Why reading failed.
    type Error;

    /// These pages, in this order, `None` for one that is not there; at most 256 at once.
    ///
    /// # Errors
    /// The store's own.
    fn pages(&self, ids: &[PageId]) -> Result<Vec<Option<Self::Bytes>>, Self::Error>;
}

/// Pages in memory: for tests, and for who rebuilds a tree to compare its root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryPages {
    /// By name.
    pub pages: BTreeMap<PageId, Vec<u8>>,
}

impl MemoryPages {
    /// Without pages: the empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes over what an update changed.
    pub fn apply(&mut self, update: StateUpdate) {
        for (id, page) in update.pages {
            match page {
                Some(bytes) => self.pages.insert(id, bytes),
                None => self.pages.remove(&id),
            };
        }
    }
}

impl PageStore for MemoryPages {
    type Bytes = Vec<u8>;
    type Error = Infallible;

    fn pages(&self, ids: &[PageId]) -> Result<Vec<Option<Vec<u8>>>, Infallible> {
        Ok(ids.iter().map(|id| self.pages.get(id).cloned()).collect())
    }
}
