//! Proofs as values, until `tally_protocol::proof` lands with the same shape.

use tally_protocol::hash::NodeHash;
use tally_protocol::id::{Index, TreeSize};

/// That an entry is in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InclusionProof {
    /// The entry's position.
    pub index: Index,
    /// The tree's size.
    pub size: TreeSize,
    /// Siblings from the leaf upwards.
    pub path: Vec<NodeHash>,
}

/// That a tree extends an older one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsistencyProof {
    /// The older size.
    pub old: TreeSize,
    /// The newer size.
    pub new: TreeSize,
    /// The nodes of RFC 6962 section 2.1.2.
    pub path: Vec<NodeHash>,
}
