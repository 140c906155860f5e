//! Whether a proof proves.
//!
//! Takes what was claimed and the roots one trusts, gives yes or the reason why not. Index and sizes are untrusted
//! and may be any u64; the path's length is fixed by them and checked before a single hash is computed, so neither a
//! shortened nor a padded path passes, and a leaf's place in a tree of known size cannot be moved. A root does not
//! bind its size: believe the two only together, out of one signed checkpoint. Roots are public: comparison is plain.

use tally_protocol::hash::{LeafHash, NodeHash, RootHash, empty_root, node};
use tally_protocol::proof::{ConsistencyProof, InclusionProof};

use crate::error::ProofError;
use crate::node::path_parts;

/// That `leaf` is at the proof's index in the tree of the proof's size whose root is `root` (RFC 9162 section
/// 2.1.3.2).
///
/// # Errors
/// The first reason why it is not shown.
pub fn verify_inclusion(leaf: &LeafHash, proof: &InclusionProof, root: &RootHash) -> Result<(), ProofError> {
    let (index, size) = (proof.index.get(), proof.size.get());
    if index >= size {
        return Err(ProofError::IndexBeyondSize { index, size });
    }
    let (inner, border) = path_parts(index, size);
    let (inner_path, border_path) = split(&proof.path, inner, border)?;
    let hash = climb(leaf.node(), inner_path, index);
    if climb_border(hash, border_path).root() == *root { Ok(()) } else { Err(ProofError::RootMismatch) }
}

/// That the tree of the proof's new size and `new_root` begins with the tree of its old size and `old_root` (RFC 9162
/// section 2.1.4.2). The empty tree begins every tree: with `old` 0 nothing is said about `new_root`.
///
/// # Errors
/// The first reason why it is not shown.
pub fn verify_consistency(
    proof: &ConsistencyProof,
    old_root: &RootHash,
    new_root: &RootHash,
) -> Result<(), ProofError> {
    let (old, new) = (proof.old.get(), proof.new.get());
    if old > new {
        return Err(ProofError::SizesReversed { old, new });
    }
    if old == 0 || old == new {
        return verify_trivial(proof, old_root, new_root);
    }
    // The walk starts at the old tree's smallest peak. When that is the whole old tree, it is not in the path.
    let level = old.trailing_zeros();
    let (inner, border) = path_parts(old - 1, new);
    let inner = inner - level;
    let (start, path) = if old.is_power_of_two() {
        (NodeHash::from_bytes(*old_root.as_bytes()), proof.path.as_slice())
    } else {
        let expected = 1 + (inner + border) as usize;
        let length = ProofError::PathLength { expected, given: proof.path.len() };
        let (first, rest) = proof.path.split_first().ok_or(length)?;
        if proof.path.len() != expected {
            return Err(length);
        }
        (*first, rest)
    };
    let (inner_path, border_path) = split(path, inner, border)?;
    let place = (old - 1) >> level;
    let was = climb_border(climb_left(start, inner_path, place), border_path);
    if was.root() != *old_root {
        return Err(ProofError::OldRootMismatch);
    }
    let is = climb_border(climb(start, inner_path, place), border_path);
    if is.root() == *new_root { Ok(()) } else { Err(ProofError::RootMismatch) }
}

fn verify_trivial(proof: &ConsistencyProof, old_root: &RootHash, new_root: &RootHash) -> Result<(), ProofError> {
    if !proof.path.is_empty() {
        return Err(ProofError::PathLength { expected: 0, given: proof.path.len() });
    }
    if proof.old.get() == 0 && *old_root != empty_root() {
        return Err(ProofError::OldRootMismatch);
    }
    if proof.old == proof.new && old_root != new_root {
        return Err(ProofError::RootMismatch);
    }
    Ok(())
}

fn split(path: &[NodeHash], inner: u32, border: u32) -> Result<(&[NodeHash], &[NodeHash]), ProofError> {
    let expected = (inner + border) as usize;
    if path.len() != expected {
        return Err(ProofError::PathLength { expected, given: path.len() });
    }
    path.split_at_checked(inner as usize).ok_or(ProofError::PathLength { expected, given: path.len() })
}

/// Upwards where siblings stand on either side; the place's bits say which.
fn climb(start: NodeHash, path: &[NodeHash], place: u64) -> NodeHash {
    path.iter().enumerate().fold(start, |hash, (level, sibling)| {
        if place >> level & 1 == 0 { node(&hash, sibling) } else { node(sibling, &hash) }
    })
}

/// The same walk in the tree that ends with `start`: what stands on the right did not exist yet.
fn climb_left(start: NodeHash, path: &[NodeHash], place: u64) -> NodeHash {
    path.iter()
        .enumerate()
        .fold(start, |hash, (level, sibling)| if place >> level & 1 == 0 { hash } else { node(sibling, &hash) })
}

/// Upwards along the right border: all siblings stand on the left.
fn climb_border(start: NodeHash, path: &[NodeHash]) -> NodeHash {
    path.iter().fold(start, |hash, sibling| node(sibling, &hash))
}
