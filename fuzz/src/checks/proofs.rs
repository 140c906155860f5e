//! Proofs against their verifiers: whatever is accepted, a naive reading of RFC 6962 accepts too, and nothing else.
//!
//! The second opinion recurses as section 2.1 writes its trees down; it shares the hash function with the verifier
//! and nothing more. Input: kind u8, two numbers u64, two hashes, then the path.

use tally_merkle::{
    Frontier, RunTree, VesTree, consistency_path, inclusion_path, verify_consistency, verify_inclusion, verify_ves_path,
};
use tally_protocol::hash::{LeafHash, NodeHash, RootHash, VesLeaf, VesNode, empty_root, node, ves_node};
use tally_protocol::id::{Index, TreeSize};
use tally_protocol::proof::{ConsistencyProof, InclusionProof};

use crate::{Shape, Target, shape_of};

pub(super) const PROOF: Target = Target {
    name: "proof",
    about: "inclusion, consistency and VES paths; the first byte chooses which",
    files: &["sdk/merkle/src/verify.rs", "sdk/merkle/src/batch.rs"],
    words: &[
        b"\0\0\0\0\0\0\0\0",
        b"\0\0\0\0\0\0\0\x01",
        b"\0\0\0\0\0\0\0\x08",
        b"\0\0\0\0\0\0\0\x0b",
        b"\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"\x80\0\0\0\0\0\0\0",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        &[0; 32],
    ],
    seeds,
    check,
};

const LEAVES: u64 = 11;

struct Claim {
    kind: u8,
    numbers: (u64, u64),
    hashes: ([u8; 32], [u8; 32]),
    path: Vec<[u8; 32]>,
}

fn read(input: &[u8]) -> Option<Claim> {
    let (&kind, rest) = input.split_first()?;
    let (first, rest) = rest.split_first_chunk()?;
    let (second, rest) = rest.split_first_chunk()?;
    let (one, rest) = rest.split_first_chunk()?;
    let (two, rest) = rest.split_first_chunk()?;
    let numbers = (u64::from_be_bytes(*first), u64::from_be_bytes(*second));
    Some(Claim { kind: kind % 3, numbers, hashes: (*one, *two), path: rest.as_chunks().0.to_vec() })
}

fn write(kind: u8, numbers: (u64, u64), one: &[u8; 32], two: &[u8; 32], path: &[[u8; 32]]) -> Vec<u8> {
    let (first, second) = (numbers.0.to_be_bytes(), numbers.1.to_be_bytes());
    [&[kind], &first[..], &second, one, two, path.as_flattened()].concat()
}

fn seeds() -> Vec<Vec<u8>> {
    let leaves: Vec<LeafHash> = (0..LEAVES).map(|i| tally_protocol::hash::leaf(&i.to_be_bytes())).collect();
    let tree = RunTree::extend(&mut Frontier::new(), &leaves);
    let roots: Vec<RootHash> =
        (0..=leaves.len()).map(|n| RunTree::extend(&mut Frontier::new(), &leaves[..n]).root()).collect();
    let root = tree.root();
    let raw = |path: &[NodeHash]| path.iter().map(|hash| *hash.as_bytes()).collect::<Vec<_>>();
    let mut seeds = vec![write(1, (0, LEAVES), empty_root().as_bytes(), root.as_bytes(), &[])];
    for (at, leaf) in (0..).zip(&leaves) {
        let path = inclusion_path(&tree, Index::new(at), tree.size()).expect("the tree holds it");
        seeds.push(write(0, (at, LEAVES), leaf.as_bytes(), root.as_bytes(), &raw(&path)));
        let path = consistency_path(&tree, TreeSize::new(at + 1), tree.size()).expect("the tree holds it");
        seeds.push(write(1, (at + 1, LEAVES), roots[at as usize + 1].as_bytes(), root.as_bytes(), &raw(&path)));
    }
    let leaves: Vec<VesLeaf> = leaves.iter().map(|leaf| VesLeaf::from_bytes(*leaf.as_bytes())).collect();
    let tree = VesTree::new(&leaves);
    for at in [0, 6, LEAVES - 1] {
        let path: Vec<_> = tree.path(at).unwrap_or_default().iter().map(|hash| *hash.as_bytes()).collect();
        seeds.push(write(2, (at, LEAVES), leaves[at as usize].as_bytes(), tree.root().as_bytes(), &path));
    }
    seeds
}

fn check(input: &[u8]) -> Shape {
    let Some(claim) = read(input) else { return "short".to_owned() };
    let (verdict, naive) = match claim.kind {
        0 => (inclusion(&claim), naive_inclusion(&claim)),
        1 => (consistency(&claim), naive_consistency(&claim)),
        _ => (ves(&claim), naive_ves(&claim)),
    };
    assert_eq!(verdict.is_ok(), naive, "the verifier and the naive reading disagree");
    let verdict = verdict.map_or_else(|error| error, |()| "accepted".to_owned());
    format!("{} {verdict} {}", claim.kind, claim.path.len().min(6))
}

fn nodes(claim: &Claim) -> Vec<NodeHash> {
    claim.path.iter().copied().map(NodeHash::from_bytes).collect()
}

fn inclusion(claim: &Claim) -> Result<(), Shape> {
    let (index, size) = (Index::new(claim.numbers.0), TreeSize::new(claim.numbers.1));
    let proof = InclusionProof { index, size, path: nodes(claim) };
    let (leaf, root) = (LeafHash::from_bytes(claim.hashes.0), RootHash::from_bytes(claim.hashes.1));
    verify_inclusion(&leaf, &proof, &root).map_err(|error| shape_of(&error))
}

fn consistency(claim: &Claim) -> Result<(), Shape> {
    let (old, new) = (TreeSize::new(claim.numbers.0), TreeSize::new(claim.numbers.1));
    let proof = ConsistencyProof { old, new, path: nodes(claim) };
    let (was, is) = (RootHash::from_bytes(claim.hashes.0), RootHash::from_bytes(claim.hashes.1));
    verify_consistency(&proof, &was, &is).map_err(|error| shape_of(&error))
}

fn ves(claim: &Claim) -> Result<(), Shape> {
    let path: Vec<_> = claim.path.iter().copied().map(VesNode::from_bytes).collect();
    let (leaf, root) = (VesLeaf::from_bytes(claim.hashes.0), VesNode::from_bytes(claim.hashes.1));
    verify_ves_path(&leaf, claim.numbers.0, claim.numbers.1, &path, &root).map_err(|error| shape_of(&error))
}

/// "Let k be the largest power of two smaller than n."
fn split_point(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}

fn naive_inclusion(claim: &Claim) -> bool {
    let (m, n) = claim.numbers;
    m < n && root_of_path(m, n, claim.hashes.0, &claim.path) == Some(claim.hashes.1)
}

fn hash(left: [u8; 32], right: [u8; 32]) -> [u8; 32] {
    *node(&NodeHash::from_bytes(left), &NodeHash::from_bytes(right)).as_bytes()
}

fn root_of_path(m: u64, n: u64, leaf: [u8; 32], path: &[[u8; 32]]) -> Option<[u8; 32]> {
    if n == 1 {
        return path.is_empty().then_some(leaf);
    }
    let (&sibling, below) = path.split_last()?;
    let k = split_point(n);
    if m < k {
        Some(hash(root_of_path(m, k, leaf, below)?, sibling))
    } else {
        Some(hash(sibling, root_of_path(m - k, n - k, leaf, below)?))
    }
}

fn naive_consistency(claim: &Claim) -> bool {
    let ((m, n), (was, is)) = (claim.numbers, claim.hashes);
    if m == 0 {
        // Not in the RFC: the empty tree begins every tree, and the proof of it is empty.
        return claim.path.is_empty() && was == *empty_root().as_bytes() && (n > 0 || was == is);
    }
    m <= n && ends(m, n, &claim.path, Some(was)) == Some((was, is))
}

/// The roots of the old and the new end of a subtree, as `SUBPROOF` builds them; `known` is the old root while the
/// old tree may still be this whole subtree.
fn ends(m: u64, n: u64, path: &[[u8; 32]], known: Option<[u8; 32]>) -> Option<([u8; 32], [u8; 32])> {
    if m == n {
        return match (known, path) {
            (Some(root), []) | (None, &[root]) => Some((root, root)),
            _ => None,
        };
    }
    let (&sibling, below) = path.split_last()?;
    let k = split_point(n);
    if m <= k {
        let (was, is) = ends(m, k, below, known)?;
        Some((was, hash(is, sibling)))
    } else {
        let (was, is) = ends(m - k, n - k, below, None)?;
        Some((hash(sibling, was), hash(sibling, is)))
    }
}

fn naive_ves(claim: &Claim) -> bool {
    let (position, count) = claim.numbers;
    let Some(padded) = count.checked_next_power_of_two() else { return false };
    position < count && ves_root_of_path(position, padded, claim.hashes.0, &claim.path) == Some(claim.hashes.1)
}

fn ves_root_of_path(position: u64, width: u64, leaf: [u8; 32], path: &[[u8; 32]]) -> Option<[u8; 32]> {
    if width == 1 {
        return path.is_empty().then_some(leaf);
    }
    let (&sibling, below) = path.split_last()?;
    let (half, sibling) = (width / 2, VesNode::from_bytes(sibling));
    let root = if position < half {
        ves_node(&VesNode::from_bytes(ves_root_of_path(position, half, leaf, below)?), &sibling)
    } else {
        ves_node(&sibling, &VesNode::from_bytes(ves_root_of_path(position - half, half, leaf, below)?))
    };
    Some(*root.as_bytes())
}
