//! One proof for many leaves: what a submission's events share is sent and hashed once.
//!
//! The proof of a set of leaves is the roots of the maximal RFC 6962 subtrees that hold none of them, depth first and
//! left to right (`docs/formats/multiproof.md`). A run of neighbours costs about 2 log2(size) hashes, whatever their
//! number; its verifier hashes once a leaf. Makers take a [`NodeSource`] or the run's own tree; the verifier takes leaves it
//! derived itself, gives the root they lead to, and [`paths_of_multiproof`] turns the proof back into an ordinary
//! inclusion path a leaf. Indexes and size are untrusted and may be any u64: they fix the proof's length, which is
//! checked before a single hash is computed. As everywhere, a size is believed only together with its root.

use core::slice;

use tally_protocol::hash::{LeafHash, NodeHash, RootHash, node, node_many};
use tally_protocol::id::{Index, TreeSize};

use crate::error::{ProofError, TreeError};
use crate::node::{bit_length, border_peaks};
use crate::prove::joined;
use crate::run_tree::RunTree;
use crate::source::NodeSource;

/// The proof that the leaves at `asked`, which rise strictly, are in the tree of `size`. Nothing asked: an empty proof.
///
/// # Errors
/// [`TreeError::IndexBeyondSize`], [`TreeError::IndexesUnordered`], or the source's own.
pub fn multiproof<S: NodeSource>(
    source: &S,
    asked: &[Index],
    size: TreeSize,
) -> Result<Vec<NodeHash>, TreeError<S::Error>> {
    if let Some(index) = unordered(asked) {
        return Err(TreeError::IndexesUnordered { index });
    }
    let Some(last) = asked.last() else {
        return Ok(Vec::new());
    };
    if !size.holds(*last) {
        return Err(TreeError::IndexBeyondSize { index: *last, size });
    }
    let mut proof = Vec::with_capacity(64);
    gather(source, &mut proof, Span::whole(size), asked)?;
    Ok(proof)
}

impl RunTree {
    /// [`multiproof`] of appended indexes, which rise strictly, at the new size. Hashes only to join the right border.
    ///
    /// # Panics
    /// When an index is not in `start()..size()` or not above the one before: the caller's bug.
    #[must_use]
    pub fn multiproof(&self, asked: &[Index]) -> Vec<NodeHash> {
        assert!(asked.first().is_none_or(|first| *first >= Index::new(self.start().get())), "asked before the run");
        match multiproof(self, asked, self.size()) {
            Ok(proof) => proof,
            Err(error) => panic!("a run's tree proves every rising set of its own indexes: {error}"),
        }
    }
}

/// The root to which these leaves and the proof lead. Whoever knows the root of `size` compares; equal means that
/// every leaf is in that tree at its index.
///
/// # Errors
/// [`ProofError::NoLeaves`], [`ProofError::IndexesUnordered`], [`ProofError::IndexBeyondSize`] or
/// [`ProofError::PathLength`], all before the first hash.
pub fn root_of_multiproof(
    leaves: &[(Index, LeafHash)],
    size: TreeSize,
    proof: &[NodeHash],
) -> Result<RootHash, ProofError> {
    let mut rest = checked(leaves, size, proof)?;
    Ok(climb(&mut rest, Span::whole(size), leaves)?.root())
}

/// The inclusion path of every leaf, in their order, as [`crate::inclusion_path`] gives it. Paths are as true as the
/// proof: compare [`root_of_multiproof`] first.
///
/// # Errors
/// As [`root_of_multiproof`].
pub fn paths_of_multiproof(
    leaves: &[(Index, LeafHash)],
    size: TreeSize,
    proof: &[NodeHash],
) -> Result<Vec<Vec<NodeHash>>, ProofError> {
    let mut rest = checked(leaves, size, proof)?;
    let depth = bit_length(size.get() - 1) as usize;
    let mut paths: Vec<_> = leaves.iter().map(|_| Vec::with_capacity(depth)).collect();
    spread(&mut rest, Span::whole(size), leaves, &mut paths)?;
    Ok(paths)
}

/// The leaves `start..end` of a tree, as RFC 6962 splits it: a perfect subtree, or everything right of one.
#[derive(Clone, Copy)]
struct Span {
    start: u64,
    end: u64,
}

impl Span {
    const fn whole(size: TreeSize) -> Self {
        Self { start: 0, end: size.get() }
    }

    const fn len(self) -> u64 {
        self.end - self.start
    }

    /// The level of the lowest node that spans it.
    const fn level(self) -> u32 {
        bit_length(self.len().saturating_sub(1))
    }

    /// The index at which the right half begins; for more than one leaf.
    const fn middle(self) -> u64 {
        self.start + (1 << (self.level() - 1))
    }

    const fn left(self) -> Self {
        Self { start: self.start, end: self.middle() }
    }

    const fn right(self) -> Self {
        Self { start: self.middle(), end: self.end }
    }

    /// Whether all of its leaves are asked for: no proof goes below it.
    const fn is_full(self, asked: usize) -> bool {
        asked as u64 == self.len()
    }

    /// How many of these rising indexes lie left of the middle.
    fn split<T>(self, asked: &[T], index: impl Fn(&T) -> Index) -> usize {
        let middle = self.middle();
        asked.partition_point(|one| index(one).get() < middle)
    }
}

fn unordered(asked: &[Index]) -> Option<Index> {
    asked.windows(2).find_map(|pair| (pair[0] >= pair[1]).then_some(pair[1]))
}

fn gather<S: NodeSource>(source: &S, proof: &mut Vec<NodeHash>, span: Span, asked: &[Index]) -> Result<(), S::Error> {
    if asked.is_empty() {
        proof.extend(root_of(source, span)?);
        return Ok(());
    }
    if span.is_full(asked.len()) {
        return Ok(());
    }
    let (left, right) = asked.split_at(span.split(asked, |index| *index));
    gather(source, proof, span.left(), left)?;
    gather(source, proof, span.right(), right)
}

/// The root of a span; one that is not a perfect subtree reaches to the tree's end.
fn root_of<S: NodeSource>(source: &S, span: Span) -> Result<Option<NodeHash>, S::Error> {
    let level = span.level();
    if span.len().is_power_of_two() {
        return source.node(level, span.start >> level).map(Some);
    }
    joined(source, border_peaks(level, span.end))
}

/// The proof's hashes, once their number is known to be right.
fn checked<'a>(
    leaves: &[(Index, LeafHash)],
    size: TreeSize,
    proof: &'a [NodeHash],
) -> Result<slice::Iter<'a, NodeHash>, ProofError> {
    let Some((last, _)) = leaves.last() else {
        return Err(ProofError::NoLeaves);
    };
    if let Some(pair) = leaves.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
        return Err(ProofError::IndexesUnordered { index: pair[1].0.get() });
    }
    if !size.holds(*last) {
        return Err(ProofError::IndexBeyondSize { index: last.get(), size: size.get() });
    }
    let (expected, given) = (hashes_in(Span::whole(size), leaves), proof.len());
    if expected == given { Ok(proof.iter()) } else { Err(ProofError::PathLength { expected, given }) }
}

/// How many hashes the proof of these leaves has.
fn hashes_in(span: Span, leaves: &[(Index, LeafHash)]) -> usize {
    if leaves.is_empty() {
        return 1;
    }
    if span.is_full(leaves.len()) {
        return 0;
    }
    let (left, right) = leaves.split_at(span.split(leaves, |leaf| leaf.0));
    hashes_in(span.left(), left) + hashes_in(span.right(), right)
}

fn take(rest: &mut slice::Iter<'_, NodeHash>) -> Result<NodeHash, ProofError> {
    // The length was checked; a proof that is short all the same proves nothing.
    rest.next().copied().ok_or(ProofError::RootMismatch)
}

/// The root of a span.
fn climb(
    rest: &mut slice::Iter<'_, NodeHash>,
    span: Span,
    leaves: &[(Index, LeafHash)],
) -> Result<NodeHash, ProofError> {
    if leaves.is_empty() {
        return take(rest);
    }
    if let [(_, leaf)] = leaves
        && span.is_full(1)
    {
        return Ok(leaf.node());
    }
    if span.is_full(leaves.len()) && span.len().is_power_of_two() {
        return Ok(perfect(leaves));
    }
    let (left, right) = leaves.split_at(span.split(leaves, |leaf| leaf.0));
    let left = climb(rest, span.left(), left)?;
    let right = climb(rest, span.right(), right)?;
    Ok(node(&left, &right))
}

/// The root of a perfect subtree, level by level.
fn perfect(leaves: &[(Index, LeafHash)]) -> NodeHash {
    let mut level: Vec<NodeHash> = leaves.iter().map(|(_, leaf)| leaf.node()).collect();
    while level.len() > 1 {
        level = node_many(level.as_chunks().0.iter().map(|[left, right]| (left, right)));
    }
    level[0]
}

/// As [`climb`], and every leaf's path grows by the root of the half where it is not.
fn spread(
    rest: &mut slice::Iter<'_, NodeHash>,
    span: Span,
    leaves: &[(Index, LeafHash)],
    paths: &mut [Vec<NodeHash>],
) -> Result<NodeHash, ProofError> {
    if leaves.is_empty() {
        return take(rest);
    }
    if let [(_, leaf)] = leaves
        && span.is_full(1)
    {
        return Ok(leaf.node());
    }
    let at = span.split(leaves, |leaf| leaf.0);
    let ((left, right), (left_paths, right_paths)) = (leaves.split_at(at), paths.split_at_mut(at));
    let left = spread(rest, span.left(), left, left_paths)?;
    let right = spread(rest, span.right(), right, right_paths)?;
    left_paths.iter_mut().for_each(|path| path.push(right));
    right_paths.iter_mut().for_each(|path| path.push(left));
    Ok(node(&left, &right))
}
