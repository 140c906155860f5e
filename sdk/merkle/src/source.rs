//! The one method through which proofs read a tree.
//!
//! A source gives perfect subtrees only: their hashes never change once their leaves exist, whatever the size, so a
//! source can be tiles on disk, memory or somebody else's server. The changing right border is computed from them.

use tally_protocol::hash::NodeHash;

/// Gives the hashes of perfect subtrees.
pub trait NodeSource {
    /// Why a node could not be had.
    type Error;

    /// The root of leaves `index << level .. (index + 1) << level`.
    ///
    /// # Errors
    /// When the source does not hold all of these leaves, or cannot read.
    fn node(&self, level: u32, index: u64) -> Result<NodeHash, Self::Error>;
}

impl<S: NodeSource + ?Sized> NodeSource for &S {
    type Error = S::Error;

    fn node(&self, level: u32, index: u64) -> Result<NodeHash, Self::Error> {
        (**self).node(level, index)
    }
}
