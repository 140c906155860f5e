//! The padded tree of a VES commitment.
//!
//! Takes the VES leaves of a range of one stream, gives its root and paths, and checks such paths. Leaves are filled
//! up to the next power of two with the constant pad leaf; a path is bottom-up, and bit d of the leaf's position says
//! on which side the sibling of depth d stands. Unlike the reference, checking demands the exact depth and a position
//! below the leaf count, so neither an inner node nor padding passes as a leaf. The tests compare with rs_merkle.

use tally_protocol::hash::{VesLeaf, VesNode, ves_node, ves_node_many, ves_pad};

use crate::error::ProofError;
use crate::node::bit_length;

/// A commitment's tree with all its nodes; padding is not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VesTree {
    /// From the leaves up to the root. Only what covers at least one leaf.
    levels: Vec<Vec<VesNode>>,
    /// The root of a subtree of padding alone, by level.
    pads: Vec<VesNode>,
    count: u64,
}

impl VesTree {
    /// Hashes the tree: one hash per leaf and one per level for the padding.
    #[must_use]
    pub fn new(leaves: &[VesLeaf]) -> Self {
        let count = leaves.len() as u64;
        let mut levels = vec![leaves.iter().map(|leaf| leaf.node()).collect::<Vec<_>>()];
        let mut pads = vec![ves_pad()];
        for level in 0..depth(count) as usize {
            let pad = pads[level];
            let pairs = levels[level].chunks(2).map(|pair| (&pair[0], pair.get(1).unwrap_or(&pad)));
            levels.push(ves_node_many(pairs));
            pads.push(ves_node(&pad, &pad));
        }
        Self { levels, pads, count }
    }

    /// How many leaves were given.
    #[must_use]
    pub const fn leaf_count(&self) -> u64 {
        self.count
    }

    /// How many leaves the tree has with its padding: the next power of two, and 1 for none.
    #[must_use]
    pub const fn padded_leaf_count(&self) -> u64 {
        1 << depth(self.count)
    }

    /// The length of every path.
    #[must_use]
    pub const fn depth(&self) -> u32 {
        depth(self.count)
    }

    /// The root; of one leaf the leaf itself, of none 32 zero bytes (which is never committed).
    #[must_use]
    pub fn root(&self) -> VesNode {
        self.levels.last().and_then(|level| level.first()).copied().unwrap_or(VesNode::ZERO)
    }

    /// The path of the leaf at `position`, from 0; `None` when there is no such leaf.
    #[must_use]
    pub fn path(&self, position: u64) -> Option<Vec<VesNode>> {
        if position >= self.count {
            return None;
        }
        let below_root = self.levels.iter().zip(&self.pads).take(self.depth() as usize).enumerate();
        let sibling = |(level, (nodes, pad)): (usize, (&Vec<VesNode>, &VesNode))| {
            let sibling = usize::try_from((position >> level) ^ 1).unwrap_or(usize::MAX);
            nodes.get(sibling).copied().unwrap_or(*pad)
        };
        Some(below_root.map(sibling).collect())
    }
}

/// The root of [`VesTree`]: of one leaf the leaf itself, of none 32 zero bytes.
#[must_use]
pub fn ves_root(leaves: &[VesLeaf]) -> VesNode {
    VesTree::new(leaves).root()
}

/// One path of [`VesTree`]; for many, keep the tree.
#[must_use]
pub fn ves_path(leaves: &[VesLeaf], position: u64) -> Option<Vec<VesNode>> {
    VesTree::new(leaves).path(position)
}

/// That `leaf` is at `position` (from 0) among the `leaf_count` leaves of the commitment with this root. Take the two
/// from one commitment: the root alone does not tell leaves from padding, the commitment's state root does.
///
/// # Errors
/// The first reason why it is not shown: a position in the padding or beyond, a path of another length than
/// `leaf_count` has, another root.
pub fn verify_ves_path(
    leaf: &VesLeaf,
    position: u64,
    leaf_count: u64,
    path: &[VesNode],
    root: &VesNode,
) -> Result<(), ProofError> {
    if position >= leaf_count {
        return Err(ProofError::IndexBeyondSize { index: position, size: leaf_count });
    }
    let expected = depth(leaf_count) as usize;
    if path.len() != expected {
        return Err(ProofError::PathLength { expected, given: path.len() });
    }
    let computed = path.iter().enumerate().fold(leaf.node(), |hash, (level, sibling)| {
        if position >> level & 1 == 0 { ves_node(&hash, sibling) } else { ves_node(sibling, &hash) }
    });
    if computed == *root { Ok(()) } else { Err(ProofError::RootMismatch) }
}

/// log2 of the next power of two.
const fn depth(count: u64) -> u32 {
    bit_length(count.saturating_sub(1))
}
