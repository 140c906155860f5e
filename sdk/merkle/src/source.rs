//! The one method through which proofs read a tree.
//!
//! A source gives perfect subtrees only: their hashes never change once their leaves exist, whatever the size, so a
//! source can be tiles on disk, memory or somebody else's server. The changing right border is computed from them, by
//! the source if it knows a shorter way.

use tally_protocol::hash::NodeHash;
use tally_protocol::id::TreeSize;

use crate::node::border_peaks;
use crate::prove::joined;

/// Gives the hashes of perfect subtrees.
pub trait NodeSource {
    /// Why a node could not be had.
    type Error;

    /// The root of leaves `index << level .. (index + 1) << level`.
    ///
    /// # Errors
    /// When the source does not hold all of these leaves, or cannot read.
    fn node(&self, level: u32, index: u64) -> Result<NodeHash, Self::Error>;

    /// The root of leaves `(size >> level) << level .. size`, the last step of most paths; `None` when there are none. A
    /// source that is asked for one size again and again remembers it.
    ///
    /// # Errors
    /// As [`node`](Self::node).
    fn border(&self, level: u32, size: TreeSize) -> Result<Option<NodeHash>, Self::Error> {
        joined(self, border_peaks(level, size.get()))
    }
}

impl<S: NodeSource + ?Sized> NodeSource for &S {
    type Error = S::Error;

    fn node(&self, level: u32, index: u64) -> Result<NodeHash, Self::Error> {
        (**self).node(level, index)
    }

    fn border(&self, level: u32, size: TreeSize) -> Result<Option<NodeHash>, Self::Error> {
        (**self).border(level, size)
    }
}
