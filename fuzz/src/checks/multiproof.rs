//! Proofs of many leaves against their verifier: what is accepted, a naive reading of the definition accepts too, and
//! nothing else; an accepted proof gives inclusion paths that verify one by one.
//!
//! Input: size u64, root, count u8, so many times index u64 and leaf hash, then the proof's hashes.

use tally_merkle::{
    Frontier, InclusionProof, RunTree, multiproof, paths_of_multiproof, root_of_multiproof, verify_inclusion,
};
use tally_protocol::hash::{LeafHash, NodeHash, RootHash, node};
use tally_protocol::id::{Index, TreeSize};

use crate::{Shape, Target, shape_of};

pub(super) const MULTIPROOF: Target = Target {
    name: "multiproof",
    about: "the proof of many leaves of the log's tree",
    files: &["sdk/merkle/src/multiproof.rs"],
    words: &[
        b"\0\0\0\0\0\0\0\0",
        b"\0\0\0\0\0\0\0\x01",
        b"\0\0\0\0\0\0\0\x0b",
        b"\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        &[0; 32],
    ],
    seeds,
    check,
};

const LEAVES: u64 = 11;

struct Claim {
    size: u64,
    root: [u8; 32],
    leaves: Vec<(u64, [u8; 32])>,
    proof: Vec<[u8; 32]>,
}

fn read(input: &[u8]) -> Option<Claim> {
    let (size, rest) = input.split_first_chunk()?;
    let (root, rest) = rest.split_first_chunk()?;
    let (&count, mut rest) = rest.split_first()?;
    let mut leaves = Vec::new();
    for _ in 0..count {
        let (index, more) = rest.split_first_chunk()?;
        let (leaf, more) = more.split_first_chunk()?;
        leaves.push((u64::from_be_bytes(*index), *leaf));
        rest = more;
    }
    Some(Claim { size: u64::from_be_bytes(*size), root: *root, leaves, proof: rest.as_chunks().0.to_vec() })
}

fn seeds() -> Vec<Vec<u8>> {
    let leaves: Vec<LeafHash> = (0..LEAVES).map(|i| tally_protocol::hash::leaf(&i.to_be_bytes())).collect();
    let tree = RunTree::extend(&mut Frontier::new(), &leaves);
    let sets: [&[u64]; 7] = [&[0], &[10], &[4, 5, 6, 7], &[0, 1, 2, 3, 4], &[1, 9], &[0, 2, 4, 6, 8, 10], &[8, 9, 10]];
    let mut seeds = Vec::new();
    for set in sets {
        let asked: Vec<Index> = set.iter().copied().map(Index::new).collect();
        let proof = multiproof(&tree, &asked, tree.size()).expect("the tree holds them");
        let mut seed = [&LEAVES.to_be_bytes()[..], tree.root().as_bytes(), &[set.len() as u8]].concat();
        for at in set {
            seed.extend_from_slice(&at.to_be_bytes());
            seed.extend_from_slice(leaves[*at as usize].as_bytes());
        }
        proof.iter().for_each(|hash| seed.extend_from_slice(hash.as_bytes()));
        seeds.push(seed);
    }
    seeds
}

fn check(input: &[u8]) -> Shape {
    let Some(claim) = read(input) else { return "short".to_owned() };
    let (size, root) = (TreeSize::new(claim.size), RootHash::from_bytes(claim.root));
    let leaves: Vec<_> = claim.leaves.iter().map(|(at, leaf)| (Index::new(*at), LeafHash::from_bytes(*leaf))).collect();
    let proof: Vec<_> = claim.proof.iter().copied().map(NodeHash::from_bytes).collect();
    let found = root_of_multiproof(&leaves, size, &proof);
    assert_eq!(found.ok().map(|root| *root.as_bytes()), naive(&claim), "the verifier and the naive reading disagree");
    let paths = paths_of_multiproof(&leaves, size, &proof);
    assert_eq!(paths.as_ref().err(), found.as_ref().err(), "root and paths are refused alike");
    let shape = format!("{} {}", claim.leaves.len().min(4), claim.proof.len().min(6));
    match found {
        Err(error) => format!("{} {shape}", shape_of(&error)),
        Ok(found) if found != root => format!("other root {shape}"),
        Ok(_) => {
            for ((index, leaf), path) in leaves.iter().zip(paths.expect("not refused")) {
                let proof = InclusionProof { index: *index, size, path };
                assert_eq!(verify_inclusion(leaf, &proof, &root), Ok(()), "a path out of a good proof");
            }
            format!("accepted {shape}")
        }
    }
}

/// The root these leaves and hashes lead to, by the definition's own recursion.
fn naive(claim: &Claim) -> Option<[u8; 32]> {
    let rising = claim.leaves.windows(2).all(|pair| pair[0].0 < pair[1].0);
    let (last, _) = claim.leaves.last()?;
    if !rising || *last >= claim.size {
        return None;
    }
    let (root, rest) = naive_root(0, claim.size, &claim.leaves, &claim.proof)?;
    rest.is_empty().then_some(root)
}

type Rest<'a> = &'a [[u8; 32]];

fn naive_root<'a>(from: u64, to: u64, leaves: &[(u64, [u8; 32])], proof: Rest<'a>) -> Option<([u8; 32], Rest<'a>)> {
    let inside = |leaf: &&(u64, [u8; 32])| leaf.0 >= from && leaf.0 < to;
    let Some((_, leaf)) = leaves.iter().find(inside) else {
        return proof.split_first().map(|(hash, rest)| (*hash, rest));
    };
    if to - from == 1 {
        return Some((*leaf, proof));
    }
    let middle = from + (1 << (to - from - 1).ilog2());
    let (left, rest) = naive_root(from, middle, leaves, proof)?;
    let (right, rest) = naive_root(middle, to, leaves, rest)?;
    Some((*node(&NodeHash::from_bytes(left), &NodeHash::from_bytes(right)).as_bytes(), rest))
}
