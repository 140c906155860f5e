//! Proofs out of a tree's nodes.
//!
//! Takes a [`NodeSource`] that holds the tree, gives RFC 6962 paths (sections 2.1.1 and 2.1.2) and roots at any size
//! the source covers. Reads about log2(size) nodes; hashes only to join the right border. Fails when the question has
//! no answer or the source fails; it does not check that the source tells the truth, the verifier does.

use tally_protocol::hash::{NodeHash, RootHash, empty_root};
use tally_protocol::id::{Index, TreeSize};
use tally_protocol::proof::{ConsistencyProof, InclusionProof};

use crate::error::TreeError;
use crate::frontier::join;
use crate::node::{Sibling, peaks, siblings};
use crate::source::NodeSource;

/// The path of the leaf at `index` to the root at `size`, from the leaf upwards.
///
/// # Errors
/// [`TreeError::IndexBeyondSize`], or the source's own.
pub fn inclusion_path<S: NodeSource>(
    source: &S,
    index: Index,
    size: TreeSize,
) -> Result<Vec<NodeHash>, TreeError<S::Error>> {
    if !size.holds(index) {
        return Err(TreeError::IndexBeyondSize { index, size });
    }
    let mut path = Vec::with_capacity(64);
    gather(source, &mut path, 0, index.get(), size.get())?;
    Ok(path)
}

/// [`inclusion_path`] with the numbers it belongs to.
///
/// # Errors
/// As [`inclusion_path`].
pub fn inclusion_proof<S: NodeSource>(
    source: &S,
    index: Index,
    size: TreeSize,
) -> Result<InclusionProof, TreeError<S::Error>> {
    Ok(InclusionProof { index, size, path: inclusion_path(source, index, size)? })
}

/// The nodes that show the tree of size `new` to extend the tree of size `old`. Empty when `old` is 0 or `new`.
///
/// # Errors
/// [`TreeError::SizesReversed`], or the source's own.
pub fn consistency_path<S: NodeSource>(
    source: &S,
    old: TreeSize,
    new: TreeSize,
) -> Result<Vec<NodeHash>, TreeError<S::Error>> {
    if old > new {
        return Err(TreeError::SizesReversed { old, new });
    }
    let (Some(last), true) = (old.last(), old < new) else {
        return Ok(Vec::new());
    };
    // The old tree's smallest peak is where the two trees still agree; the verifier knows it already when it is the
    // whole old tree.
    let level = old.get().trailing_zeros();
    let mut path = Vec::with_capacity(64);
    if !old.get().is_power_of_two() {
        path.push(source.node(level, last.get() >> level)?);
    }
    gather(source, &mut path, level, last.get(), new.get())?;
    Ok(path)
}

/// [`consistency_path`] with the numbers it belongs to.
///
/// # Errors
/// As [`consistency_path`].
pub fn consistency_proof<S: NodeSource>(
    source: &S,
    old: TreeSize,
    new: TreeSize,
) -> Result<ConsistencyProof, TreeError<S::Error>> {
    Ok(ConsistencyProof { old, new, path: consistency_path(source, old, new)? })
}

/// The root the tree had at `size`.
///
/// # Errors
/// The source's own.
pub fn root_at<S: NodeSource>(source: &S, size: TreeSize) -> Result<RootHash, S::Error> {
    let root = joined(source, peaks(size.get()))?;
    Ok(root.map_or_else(empty_root, NodeHash::root))
}

fn gather<S: NodeSource>(
    source: &S,
    path: &mut Vec<NodeHash>,
    from: u32,
    index: u64,
    size: u64,
) -> Result<(), S::Error> {
    for sibling in siblings(from, index, size) {
        match sibling {
            Sibling::Perfect { level, index } => path.push(source.node(level, index)?),
            Sibling::Border { level } => path.extend(source.border(level, TreeSize::new(size))?),
        }
    }
    Ok(())
}

/// The root of the leaves under these peaks, largest first; `None` when there are none.
pub(crate) fn joined<S: NodeSource + ?Sized>(
    source: &S,
    peaks: impl Iterator<Item = (u32, u64)>,
) -> Result<Option<NodeHash>, S::Error> {
    let hashes = peaks.map(|(level, index)| source.node(level, index)).collect::<Result<Vec<_>, _>>()?;
    Ok(join(hashes.into_iter()))
}
