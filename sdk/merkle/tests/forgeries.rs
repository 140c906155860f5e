//! What must not verify: every single-bit mutation, every wrong length, every known forgery (S-035, S-131).
//!
//! A tree hash does not bind the tree's size: two sizes of the same shape along one path are told apart only by their
//! roots. In Tally size and root always come together out of one signed checkpoint; the tests treat them so, and
//! say where a size alone would pass.

use tally_merkle::{
    ConsistencyProof, Frontier, InclusionProof, ProofError, RunTree, VesTree, consistency_proof, inclusion_proof,
    verify_consistency, verify_inclusion, verify_ves_path, ves_root,
};
use tally_protocol::hash::{LeafHash, NodeHash, RootHash, VesLeaf, VesNode, empty_root, leaf, node};
use tally_protocol::id::{Index, TreeSize};

struct Log {
    leaves: Vec<LeafHash>,
    tree: RunTree,
    roots: Vec<RootHash>,
}

fn log(count: u64) -> Log {
    let leaves: Vec<_> = (0..count).map(|i| leaf(&i.to_le_bytes())).collect();
    let tree = RunTree::extend(&mut Frontier::new(), &leaves);
    let mut frontier = Frontier::new();
    let mut roots = vec![frontier.root()];
    for leaf in &leaves {
        frontier.append(*leaf);
        roots.push(frontier.root());
    }
    Log { leaves, tree, roots }
}

impl Log {
    fn inclusion(&self, index: u64, size: u64) -> InclusionProof {
        inclusion_proof(&self.tree, Index::new(index), TreeSize::new(size)).expect("the log holds it")
    }

    fn consistency(&self, old: u64, new: u64) -> ConsistencyProof {
        consistency_proof(&self.tree, TreeSize::new(old), TreeSize::new(new)).expect("the log holds it")
    }

    /// The root a signed checkpoint of this size would carry; past the log's end no checkpoint exists.
    fn root(&self, size: u64) -> Option<&RootHash> {
        self.roots.get(usize::try_from(size).ok()?)
    }
}

fn flipped<const N: usize>(bytes: &[u8; N], bit: usize) -> [u8; N] {
    let mut out = *bytes;
    out[bit / 8] ^= 1 << (bit % 8);
    out
}

fn mutated_paths(path: &[NodeHash]) -> Vec<Vec<NodeHash>> {
    let mut out = Vec::new();
    for at in 0..path.len() {
        for bit in 0..256 {
            let mut path = path.to_vec();
            path[at] = NodeHash::from_bytes(flipped(path[at].as_bytes(), bit));
            out.push(path);
        }
        let mut shorter = path.to_vec();
        shorter.remove(at);
        out.push(shorter);
        let mut doubled = path.to_vec();
        doubled.insert(at, path[at]);
        out.push(doubled);
        if at > 0 {
            let mut swapped = path.to_vec();
            swapped.swap(at - 1, at);
            out.push(swapped);
        }
    }
    for extra in [NodeHash::ZERO, path.last().copied().unwrap_or(NodeHash::ZERO)] {
        out.push([path, &[extra]].concat());
        out.push([&[extra], path].concat());
    }
    out
}

#[test]
fn no_mutation_of_an_inclusion_proof_verifies() {
    let log = log(40);
    for size in [1, 2, 3, 7, 8, 21, 32, 40] {
        for index in 0..size {
            let (good, root, leaf) = (log.inclusion(index, size), log.root(size).unwrap(), &log.leaves[index as usize]);
            verify_inclusion(leaf, &good, root).unwrap();
            for path in mutated_paths(&good.path) {
                assert!(verify_inclusion(leaf, &InclusionProof { path, ..good.clone() }, root).is_err());
            }
            for bit in 0..256 {
                let other = LeafHash::from_bytes(flipped(leaf.as_bytes(), bit));
                assert_eq!(verify_inclusion(&other, &good, root), Err(ProofError::RootMismatch));
                let other = RootHash::from_bytes(flipped(root.as_bytes(), bit));
                assert_eq!(verify_inclusion(leaf, &good, &other), Err(ProofError::RootMismatch));
            }
            for bit in 0..64 {
                let moved = InclusionProof { index: Index::new(index ^ 1 << bit), ..good.clone() };
                assert!(verify_inclusion(leaf, &moved, root).is_err(), "leaf {index} of {size} at bit {bit}");
                let resized = TreeSize::new(size ^ 1 << bit);
                let Some(root) = log.root(resized.get()) else { continue };
                let moved = InclusionProof { size: resized, ..good.clone() };
                assert!(verify_inclusion(leaf, &moved, root).is_err(), "leaf {index} of {size} at size bit {bit}");
            }
        }
    }
}

#[test]
fn an_index_is_bound_by_the_path_even_against_all_other_indexes() {
    let log = log(66);
    for size in [5, 31, 32, 33, 66] {
        let root = log.root(size).unwrap();
        for index in 0..size {
            let good = log.inclusion(index, size);
            for other in (0..size + 70).filter(|other| *other != index) {
                let moved = InclusionProof { index: Index::new(other), ..good.clone() };
                assert!(verify_inclusion(&log.leaves[index as usize], &moved, root).is_err());
            }
        }
    }
}

#[test]
fn a_size_passes_with_the_root_of_another_size_only_where_the_shape_is_the_same() {
    let log = log(64);
    for size in 1..=64u64 {
        for index in 0..size {
            let good = log.inclusion(index, size);
            for other in index + 1..=64 {
                let moved = InclusionProof { size: TreeSize::new(other), ..good.clone() };
                let passes = verify_inclusion(&log.leaves[index as usize], &moved, log.root(size).unwrap()).is_ok();
                // The sides of the siblings, from the leaf upwards, are all that a path tells of a size.
                let sides = |size: u64| {
                    let levels = (0..64).take_while(move |level| (size - 1) >> level > 0);
                    levels
                        .filter(move |level| (index >> level) & 1 == 1 || index >> level < (size - 1) >> level)
                        .map(move |level| (index >> level) & 1)
                        .collect::<Vec<_>>()
                };
                assert_eq!(passes, sides(size) == sides(other), "leaf {index} of {size} as of {other}");
            }
        }
    }
}

#[test]
fn no_mutation_of_a_consistency_proof_verifies() {
    let log = log(40);
    for new in [2, 3, 8, 15, 16, 27, 40] {
        for old in 1..=new {
            let (good, was, is) = (log.consistency(old, new), log.root(old).unwrap(), log.root(new).unwrap());
            verify_consistency(&good, was, is).unwrap();
            for path in mutated_paths(&good.path) {
                assert!(verify_consistency(&ConsistencyProof { path, ..good.clone() }, was, is).is_err());
            }
            for bit in 0..256 {
                let other = RootHash::from_bytes(flipped(was.as_bytes(), bit));
                assert!(verify_consistency(&good, &other, is).is_err());
                let other = RootHash::from_bytes(flipped(is.as_bytes(), bit));
                assert!(verify_consistency(&good, was, &other).is_err());
            }
            for bit in 0..64 {
                let other = TreeSize::new(old ^ 1 << bit);
                if let Some(was) = log.root(other.get()).filter(|_| other.get() != 0) {
                    let proof = ConsistencyProof { old: other, ..good.clone() };
                    assert!(verify_consistency(&proof, was, is).is_err(), "{old} to {new}, old bit {bit}");
                }
                let other = TreeSize::new(new ^ 1 << bit);
                if let Some(is) = log.root(other.get()) {
                    let proof = ConsistencyProof { new: other, ..good.clone() };
                    assert!(verify_consistency(&proof, was, is).is_err(), "{old} to {new}, new bit {bit}");
                }
            }
        }
    }
}

#[test]
fn a_rewritten_history_has_no_consistency_proof() {
    let honest = log(30);
    for rewritten in 0..20 {
        let mut leaves = honest.leaves.clone();
        leaves[rewritten] = leaf(b"rewritten");
        let forged = RunTree::extend(&mut Frontier::new(), &leaves);
        for old in rewritten as u64 + 1..=30 {
            let proof = consistency_proof(&forged, TreeSize::new(old), TreeSize::new(30)).unwrap();
            assert!(verify_consistency(&proof, honest.root(old).unwrap(), &forged.root()).is_err());
        }
    }
}

#[test]
fn a_root_is_consistent_with_itself_and_nothing_else() {
    let log = log(9);
    let proof = |old, new| ConsistencyProof { old: TreeSize::new(old), new: TreeSize::new(new), path: Vec::new() };
    assert_eq!(verify_consistency(&proof(9, 9), &log.roots[9], &log.roots[9]), Ok(()));
    assert_eq!(verify_consistency(&proof(9, 9), &log.roots[9], &log.roots[8]), Err(ProofError::RootMismatch));
    assert_eq!(verify_consistency(&proof(0, 9), &empty_root(), &log.roots[9]), Ok(()));
    assert_eq!(verify_consistency(&proof(0, 9), &log.roots[1], &log.roots[9]), Err(ProofError::OldRootMismatch));
    assert_eq!(verify_consistency(&proof(0, 0), &empty_root(), &log.roots[9]), Err(ProofError::RootMismatch));
    let reversed = Err(ProofError::SizesReversed { old: 9, new: 8 });
    assert_eq!(verify_consistency(&proof(9, 8), &log.roots[9], &log.roots[8]), reversed);
    let mut long = proof(9, 9);
    long.path.push(NodeHash::ZERO);
    let refused = Err(ProofError::PathLength { expected: 0, given: 1 });
    assert_eq!(verify_consistency(&long, &log.roots[9], &log.roots[9]), refused);
}

/// S-035: the inner nodes of a tree are the leaves of a smaller "tree" with the same root, unless leaves hash apart.
#[test]
fn an_inner_node_does_not_pass_as_a_leaf() {
    let log = log(8);
    let root = log.root(8).unwrap();
    for index in 0..8u64 {
        let good = log.inclusion(index, 8);
        let parent = if index & 1 == 0 {
            node(&log.leaves[index as usize].node(), &good.path[0])
        } else {
            node(&good.path[0], &log.leaves[index as usize].node())
        };
        let posing = LeafHash::from_bytes(*parent.as_bytes());
        // With the true size, its path is too short wherever it claims to be.
        for at in 0..8 {
            let forged =
                InclusionProof { index: Index::new(at), size: TreeSize::new(8), path: good.path[1..].to_vec() };
            assert_eq!(verify_inclusion(&posing, &forged, root), Err(ProofError::PathLength { expected: 3, given: 2 }));
        }
        // With a smaller size the arithmetic works out, which is why a size is believed only with its signed root...
        let forged =
            InclusionProof { index: Index::new(index / 2), size: TreeSize::new(4), path: good.path[1..].to_vec() };
        assert_eq!(verify_inclusion(&posing, &forged, log.root(4).unwrap()), Err(ProofError::RootMismatch));
        // ... and why leaves are hashed apart: no entry has an inner node as its leaf hash. The entry that tries is
        // the node's own preimage.
        let sides = if index & 1 == 0 { [index, index + 1] } else { [index - 1, index] };
        let pair: Vec<u8> = sides.iter().flat_map(|at| *log.leaves[*at as usize].as_bytes()).collect();
        for entry in [pair.clone(), [&[1], pair.as_slice()].concat()] {
            assert_ne!(leaf(&entry), posing);
            assert!(verify_inclusion(&leaf(&entry), &forged, root).is_err());
        }
    }
}

#[test]
fn any_numbers_and_lengths_are_answered_without_panic() {
    let log = log(3);
    let root = log.root(3).unwrap();
    let numbers = [0, 1, 2, 3, 4, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63, u64::MAX - 1, u64::MAX];
    for first in numbers {
        for second in numbers {
            for len in [0, 1, 2, 3, 62, 63, 64, 65, 66, 1000] {
                let path = vec![NodeHash::ZERO; len];
                let proof =
                    InclusionProof { index: Index::new(first), size: TreeSize::new(second), path: path.clone() };
                assert!(verify_inclusion(&log.leaves[0], &proof, root).is_err());
                let proof = ConsistencyProof { old: TreeSize::new(first), new: TreeSize::new(second), path };
                assert!(verify_consistency(&proof, root, &empty_root()).is_err());
            }
        }
    }
}

fn ves_leaves(count: u8) -> Vec<VesLeaf> {
    (0..count).map(|i| VesLeaf::from_bytes(*leaf(&[i]).as_bytes())).collect()
}

#[test]
fn no_mutation_of_a_ves_path_verifies() {
    for count in [1u8, 2, 3, 5, 8, 9] {
        let leaves = ves_leaves(count);
        let tree = VesTree::new(&leaves);
        let (root, count) = (tree.root(), u64::from(count));
        for (position, leaf) in leaves.iter().enumerate() {
            let position = position as u64;
            let path = tree.path(position).unwrap();
            verify_ves_path(leaf, position, count, &path, &root).unwrap();
            for at in 0..path.len() {
                for bit in 0..256 {
                    let mut other = path.clone();
                    other[at] = VesNode::from_bytes(flipped(path[at].as_bytes(), bit));
                    assert!(verify_ves_path(leaf, position, count, &other, &root).is_err());
                }
                let mut shorter = path.clone();
                shorter.remove(at);
                assert!(verify_ves_path(leaf, position, count, &shorter, &root).is_err());
            }
            for bit in 0..256 {
                let other = VesLeaf::from_bytes(flipped(leaf.as_bytes(), bit));
                assert!(verify_ves_path(&other, position, count, &path, &root).is_err());
                let other = VesNode::from_bytes(flipped(root.as_bytes(), bit));
                assert!(verify_ves_path(leaf, position, count, &path, &other).is_err());
            }
            for other in (0..20).chain([u64::MAX]).filter(|other| *other != position) {
                assert!(verify_ves_path(leaf, other, count, &path, &root).is_err());
            }
            let longer = [path.as_slice(), &[VesNode::ZERO]].concat();
            assert!(verify_ves_path(leaf, position, count, &longer, &root).is_err());
        }
    }
}

/// The reference checks neither depth nor count: there padding and inner nodes pass as leaves.
#[test]
fn neither_padding_nor_an_inner_node_passes_as_a_ves_leaf() {
    let leaves = ves_leaves(5);
    let tree = VesTree::new(&leaves);
    let pad = VesLeaf::from_bytes(*tally_protocol::hash::ves_pad().as_bytes());
    let mut padded = leaves.clone();
    padded.resize(8, pad);
    assert_eq!(ves_root(&padded), tree.root());
    let path = VesTree::new(&padded).path(6).unwrap();
    let refused = Err(ProofError::IndexBeyondSize { index: 6, size: 5 });
    assert_eq!(verify_ves_path(&pad, 6, 5, &path, &tree.root()), refused);
    let path = tree.path(0).unwrap();
    let inner = tally_protocol::hash::ves_node(&leaves[0].node(), &path[0]);
    let posing = VesLeaf::from_bytes(*inner.as_bytes());
    for position in 0..5 {
        assert!(verify_ves_path(&posing, position, 5, &path[1..], &tree.root()).is_err());
    }
}
