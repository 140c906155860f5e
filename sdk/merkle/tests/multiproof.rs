//! The proof of many leaves: the same hashes as the naive reading of its definition, the same paths as one by one,
//! and no mutation of leaves, indexes, size or hashes passes (S-035, S-131).

use proptest::prelude::*;
use tally_merkle::{
    Edge, Frontier, InclusionProof, ProofError, RunTree, TileNodes, TreeError, inclusion_path, multiproof,
    paths_of_multiproof, root_of_multiproof, verify_inclusion,
};
use tally_protocol::hash::{LeafHash, NodeHash, RootHash, leaf};
use tally_protocol::id::{Index, TreeSize};

#[allow(dead_code, reason = "each test file uses its part of the oracle")]
mod reference;

use reference::Hash;

/// "No asked leaf inside: MTH. One leaf, asked: nothing. Else split and go left, then right."
fn naive(from: usize, leaves: &[Hash], asked: &[usize]) -> Vec<Hash> {
    let asked: Vec<usize> = asked.iter().copied().filter(|at| (from..from + leaves.len()).contains(at)).collect();
    if asked.is_empty() {
        return vec![reference::mth(leaves)];
    }
    if leaves.len() == 1 {
        return Vec::new();
    }
    let mut k = 1;
    while k * 2 < leaves.len() {
        k *= 2;
    }
    [naive(from, &leaves[..k], &asked), naive(from + k, &leaves[k..], &asked)].concat()
}

fn some_leaves(count: usize) -> Vec<LeafHash> {
    reference::some_leaves(count).into_iter().map(LeafHash::from_bytes).collect()
}

fn raw(hashes: &[NodeHash]) -> Vec<Hash> {
    hashes.iter().map(|hash| *hash.as_bytes()).collect()
}

fn indexes(asked: &[usize]) -> Vec<Index> {
    asked.iter().map(|at| Index::new(*at as u64)).collect()
}

fn claims(leaves: &[LeafHash], asked: &[usize]) -> Vec<(Index, LeafHash)> {
    asked.iter().map(|at| (Index::new(*at as u64), leaves[*at])).collect()
}

fn size(n: usize) -> TreeSize {
    TreeSize::new(n as u64)
}

fn root(leaves: &[LeafHash]) -> RootHash {
    RunTree::extend(&mut Frontier::new(), leaves).root()
}

/// Everything that must hold for one set of leaves at one size of a tree.
fn check(tree: &RunTree, leaves: &[LeafHash], asked: &[usize], n: usize) -> Vec<NodeHash> {
    let proof = multiproof(tree, &indexes(asked), size(n)).unwrap();
    let hashes: Vec<Hash> = leaves[..n].iter().map(|leaf| *leaf.as_bytes()).collect();
    assert_eq!(raw(&proof), naive(0, &hashes, asked), "{asked:?} of {n}");
    let claims = claims(leaves, asked);
    assert_eq!(root_of_multiproof(&claims, size(n), &proof).unwrap(), root(&leaves[..n]), "{asked:?} of {n}");
    let paths = paths_of_multiproof(&claims, size(n), &proof).unwrap();
    assert_eq!(paths.len(), asked.len());
    for (at, path) in asked.iter().zip(paths) {
        assert_eq!(path, inclusion_path(tree, Index::new(*at as u64), size(n)).unwrap(), "leaf {at} of {n}");
    }
    proof
}

#[test]
fn every_set_of_leaves_of_every_small_tree_is_proven() {
    let leaves = some_leaves(9);
    let tree = RunTree::extend(&mut Frontier::new(), &leaves);
    for n in 1..=9usize {
        for set in 1..1u32 << n {
            let asked: Vec<usize> = (0..n).filter(|at| set >> at & 1 == 1).collect();
            check(&tree, &leaves, &asked, n);
        }
    }
}

#[test]
fn one_leaf_has_the_hashes_of_its_inclusion_path() {
    let leaves = some_leaves(70);
    let tree = RunTree::extend(&mut Frontier::new(), &leaves);
    for n in 1..=70 {
        for at in 0..n {
            let mut proof = check(&tree, &leaves, &[at], n);
            let mut path = inclusion_path(&tree, Index::new(at as u64), size(n)).unwrap();
            proof.sort();
            path.sort();
            assert_eq!(proof, path);
        }
    }
}

#[test]
fn neighbours_cost_at_most_two_paths_and_all_leaves_nothing() {
    let leaves = some_leaves(1000);
    let tree = RunTree::extend(&mut Frontier::new(), &leaves);
    for (from, to) in [(0, 1000), (0, 1), (1, 999), (500, 756), (999, 1000), (333, 700)] {
        let proof = check(&tree, &leaves, &(from..to).collect::<Vec<_>>(), 1000);
        assert!(proof.len() <= 20, "{from}..{to}");
        assert_eq!(proof.is_empty(), to - from == 1000);
    }
}

#[test]
fn the_runs_own_tree_gives_the_same_proof_as_the_whole_one() {
    let leaves = some_leaves(80);
    let whole = RunTree::extend(&mut Frontier::new(), &leaves);
    for start in 0..80 {
        let mut frontier = Frontier::new();
        leaves[..start].iter().for_each(|leaf| frontier.append(*leaf));
        let run = RunTree::extend(&mut frontier, &leaves[start..]);
        for step in 1..6 {
            let asked: Vec<usize> = (start..80).step_by(step).collect();
            assert_eq!(run.multiproof(&indexes(&asked)), check(&whole, &leaves, &asked, 80), "{start} by {step}");
        }
        assert!(run.multiproof(&[]).is_empty());
    }
}

#[test]
#[should_panic(expected = "asked before the run")]
fn a_run_does_not_answer_for_the_leaves_before_it() {
    let leaves = some_leaves(9);
    let mut frontier = Frontier::new();
    leaves[..8].iter().for_each(|leaf| frontier.append(*leaf));
    let run = RunTree::extend(&mut frontier, &leaves[8..]);
    let _ = run.multiproof(&indexes(&[7, 8]));
}

#[test]
fn tiles_give_the_same_proof() {
    let leaves = some_leaves(1000);
    let tree = RunTree::extend(&mut Frontier::new(), &leaves);
    let mut edge = Edge::new();
    let tiles = edge.append(&leaves);
    let read = |level: u8, index: u64| {
        let tile = tiles.iter().find(|tile| (tile.level, tile.index) == (level, index));
        Ok::<_, core::convert::Infallible>(tile.map(|tile| tile.bytes.clone()))
    };
    let asked = indexes(&[3, 4, 5, 255, 256, 700, 999]);
    let source = TileNodes::new(&edge, read);
    assert_eq!(multiproof(&source, &asked, size(1000)), Ok(multiproof(&tree, &asked, size(1000)).unwrap()));
}

#[test]
fn questions_without_an_answer_are_refused() {
    let tree = RunTree::extend(&mut Frontier::new(), &some_leaves(9));
    let ask = |asked: &[usize], n| multiproof(&tree, &indexes(asked), size(n));
    assert_eq!(ask(&[], 9), Ok(Vec::new()));
    assert!(matches!(ask(&[2, 2], 9), Err(TreeError::IndexesUnordered { index }) if index.get() == 2));
    assert!(matches!(ask(&[3, 1], 9), Err(TreeError::IndexesUnordered { .. })));
    assert!(matches!(ask(&[1, 9], 9), Err(TreeError::IndexBeyondSize { .. })));
    assert!(matches!(ask(&[1], 0), Err(TreeError::IndexBeyondSize { .. })));
    assert!(matches!(ask(&[1], 12), Err(TreeError::Source(_))));
}

#[test]
fn claims_that_no_tree_has_are_refused_before_hashing() {
    let leaves = some_leaves(9);
    let tree = RunTree::extend(&mut Frontier::new(), &leaves);
    let good = claims(&leaves, &[2, 5, 6]);
    let proof = multiproof(&tree, &indexes(&[2, 5, 6]), size(9)).unwrap();
    let both = |claims: &[(Index, LeafHash)], n: u64, proof: &[NodeHash]| {
        let root = root_of_multiproof(claims, TreeSize::new(n), proof).unwrap_err();
        assert_eq!(paths_of_multiproof(claims, TreeSize::new(n), proof), Err(root));
        root
    };
    assert_eq!(both(&[], 9, &[root(&leaves).into_node()]), ProofError::NoLeaves);
    assert_eq!(both(&[], 0, &[]), ProofError::NoLeaves);
    assert_eq!(both(&[good[1], good[0], good[2]], 9, &proof), ProofError::IndexesUnordered { index: 2 });
    assert_eq!(both(&[good[0], good[0], good[2]], 9, &proof), ProofError::IndexesUnordered { index: 2 });
    assert_eq!(both(&good, 6, &proof), ProofError::IndexBeyondSize { index: 6, size: 6 });
    let (expected, given) = (proof.len(), proof.len() - 1);
    assert_eq!(both(&good, 9, &proof[1..]), ProofError::PathLength { expected, given });
    // The largest numbers there are.
    let last = [(Index::new(u64::MAX - 1), leaves[0])];
    assert_eq!(both(&last, u64::MAX, &[]), ProofError::PathLength { expected: 63, given: 0 });
    assert!(root_of_multiproof(&last, TreeSize::new(u64::MAX), &[NodeHash::ZERO; 63]).is_ok());
    let ends = [(Index::new(0), leaves[0]), (Index::new(u64::MAX - 1), leaves[1])];
    assert_eq!(both(&ends, u64::MAX, &[]), ProofError::PathLength { expected: 125, given: 0 });
}

trait IntoNode {
    fn into_node(self) -> NodeHash;
}

impl IntoNode for RootHash {
    fn into_node(self) -> NodeHash {
        NodeHash::from_bytes(*self.as_bytes())
    }
}

fn flipped(bytes: &[u8; 32], bit: usize) -> [u8; 32] {
    let mut out = *bytes;
    out[bit / 8] ^= 1 << (bit % 8);
    out
}

#[test]
fn no_mutation_of_the_hashes_verifies() {
    let leaves = some_leaves(40);
    let tree = RunTree::extend(&mut Frontier::new(), &leaves);
    for (n, asked) in [(2, vec![1]), (7, vec![0, 6]), (8, vec![3, 4]), (21, vec![2, 3, 4, 5, 20]), (40, vec![0, 9, 39])]
    {
        let (claims, root) = (claims(&leaves, &asked), root(&leaves[..n]));
        let proof = check(&tree, &leaves, &asked, n);
        let holds =
            |claims: &[(Index, LeafHash)], proof: &[NodeHash]| root_of_multiproof(claims, size(n), proof) == Ok(root);
        for at in 0..proof.len() {
            for bit in 0..256 {
                let mut other = proof.clone();
                other[at] = NodeHash::from_bytes(flipped(proof[at].as_bytes(), bit));
                assert!(!holds(&claims, &other));
            }
            let mut other = proof.clone();
            other.remove(at);
            assert!(!holds(&claims, &other));
            other = proof.clone();
            other.insert(at, proof[at]);
            assert!(!holds(&claims, &other));
            if at > 0 {
                other = proof.clone();
                other.swap(at - 1, at);
                assert!(!holds(&claims, &other));
            }
        }
        assert!(!holds(&claims, &[&proof[..], &[NodeHash::ZERO]].concat()));
        for at in 0..claims.len() {
            for bit in 0..256 {
                let mut other = claims.clone();
                other[at].1 = LeafHash::from_bytes(flipped(claims[at].1.as_bytes(), bit));
                assert!(!holds(&other, &proof));
            }
        }
    }
}

#[test]
fn no_leaf_can_be_moved_dropped_added_or_exchanged() {
    let leaves = some_leaves(33);
    let tree = RunTree::extend(&mut Frontier::new(), &leaves);
    for n in [1, 5, 8, 16, 31, 32, 33] {
        for asked in [vec![0], vec![n - 1], vec![0, n / 2], (n / 3..n).collect::<Vec<_>>()] {
            let mut asked: Vec<usize> = asked;
            asked.dedup();
            let (good, root) = (claims(&leaves, &asked), root(&leaves[..n]));
            let proof = check(&tree, &leaves, &asked, n);
            let refused = |other: &[(Index, LeafHash)]| root_of_multiproof(other, size(n), &proof) != Ok(root);
            for at in 0..good.len() {
                for place in (0..n as u64 + 70).chain((0..64).map(|bit| good[at].0.get() ^ 1 << bit)) {
                    let mut other = good.clone();
                    other[at].0 = Index::new(place);
                    assert!(other == good || refused(&other), "{at} of {asked:?} of {n} moved to {place}");
                }
                let mut other = good.clone();
                other.remove(at);
                assert!(refused(&other));
                if at > 0 {
                    let mut other = good.clone();
                    (other[at].1, other[at - 1].1) = (good[at - 1].1, good[at].1);
                    assert!(refused(&other));
                }
            }
            for place in (0..n).filter(|place| !asked.contains(place)) {
                let mut other = good.clone();
                other.push((Index::new(place as u64), leaves[place]));
                other.sort_by_key(|leaf| leaf.0);
                assert!(refused(&other), "the proof of {asked:?} of {n} is none of {place}");
            }
        }
    }
}

#[test]
fn a_node_does_not_pose_as_a_leaf_nor_the_root_of_nothing_as_a_proof() {
    let leaves = some_leaves(8);
    let tree = RunTree::extend(&mut Frontier::new(), &leaves);
    let proof = multiproof(&tree, &indexes(&[2, 3]), size(8)).unwrap();
    // The pair's parent, said to be leaf 1 of a tree of 4 pairs, has the same hashes: the sizes differ.
    let parent = tally_protocol::hash::node(&leaves[2].node(), &leaves[3].node());
    let posing = [(Index::new(1), LeafHash::from_bytes(*parent.as_bytes()))];
    assert_eq!(root_of_multiproof(&posing, size(4), &proof), Ok(tree.root()), "of a tree of 4, not of 8");
    assert_ne!(root_of_multiproof(&posing, size(8), &proof), Ok(tree.root()));
    assert_ne!(leaf(parent.as_bytes()).node(), parent);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_sets_of_random_trees_are_proven_and_their_paths_verify(
        n in 1usize..3000,
        picks in proptest::collection::btree_set(any::<u32>(), 1..40),
        stretch in 0usize..60,
    ) {
        let leaves = some_leaves(n);
        let tree = RunTree::extend(&mut Frontier::new(), &leaves);
        let mut asked: Vec<usize> = picks.iter().map(|pick| *pick as usize % n).collect();
        let from = asked[0];
        asked.extend((from..from + stretch).filter(|at| *at < n));
        asked.sort_unstable();
        asked.dedup();
        let proof = check(&tree, &leaves, &asked, n);
        let claims = claims(&leaves, &asked);
        let paths = paths_of_multiproof(&claims, size(n), &proof).unwrap();
        for ((index, leaf), path) in claims.into_iter().zip(paths) {
            let proof = InclusionProof { index, size: size(n), path };
            prop_assert_eq!(verify_inclusion(&leaf, &proof, &tree.root()), Ok(()));
        }
    }
}
