//! rs_merkle as the oracle: another author's tree over the same hashes.
//!
//! A VES tree is a plain tree over leaves padded to a power of two, which is what rs_merkle builds. An RFC 6962 tree
//! is the same only when its size is a power of two; the other sizes are `reference.rs`'s business. The hash calls
//! here are the test's own.

use rs_merkle::{Hasher, MerkleTree};
use sha2::{Digest, Sha256};
use tally_merkle::{Frontier, RunTree, VesTree, verify_ves_path, ves_path, ves_root};
use tally_protocol::hash::{LeafHash, VesLeaf, VesNode};
use tally_protocol::id::Index;

type Hash = [u8; 32];

fn tagged(tag: &[u8], left: &Hash, right: Option<&Hash>) -> Hash {
    // rs_merkle promotes a node without a sibling; in a padded tree that is only the root, past its own level.
    let Some(right) = right else { return *left };
    Sha256::new().chain_update(tag).chain_update(left).chain_update(right).finalize().into()
}

#[derive(Clone)]
struct Ves;

impl Hasher for Ves {
    type Hash = Hash;

    fn hash(data: &[u8]) -> Hash {
        Sha256::digest(data).into()
    }

    fn concat_and_hash(left: &Hash, right: Option<&Hash>) -> Hash {
        tagged(b"VES_NODE_V1", left, right)
    }
}

#[derive(Clone)]
struct Rfc6962;

impl Hasher for Rfc6962 {
    type Hash = Hash;

    fn hash(data: &[u8]) -> Hash {
        Sha256::new().chain_update([0]).chain_update(data).finalize().into()
    }

    fn concat_and_hash(left: &Hash, right: Option<&Hash>) -> Hash {
        tagged(&[1], left, right)
    }
}

fn leaves(count: usize) -> Vec<Hash> {
    (0..count).map(|i| Rfc6962::hash(&i.to_be_bytes())).collect()
}

fn raw(path: &[VesNode]) -> Vec<Hash> {
    path.iter().map(|node| *node.as_bytes()).collect()
}

#[test]
fn the_ves_tree_is_rs_merkles_over_padded_leaves() {
    let pad = Ves::hash(b"VES_PAD_LEAF_V1");
    for count in (1..70).chain([127, 128, 129, 1000, 1023, 1025]) {
        let hashes = leaves(count);
        let ours: Vec<_> = hashes.iter().copied().map(VesLeaf::from_bytes).collect();
        let mut padded = hashes.clone();
        padded.resize(count.next_power_of_two(), pad);
        let theirs = MerkleTree::<Ves>::from_leaves(&padded);
        let tree = VesTree::new(&ours);
        assert_eq!(Some(*tree.root().as_bytes()), theirs.root(), "{count}");
        assert_eq!(tree.padded_leaf_count(), padded.len() as u64);
        assert_eq!(tree.leaf_count(), count as u64);
        assert_eq!(ves_root(&ours), tree.root());
        for (position, leaf) in ours.iter().enumerate() {
            let path = tree.path(position as u64).unwrap();
            assert_eq!(raw(&path), theirs.proof(&[position]).proof_hashes(), "{position} of {count}");
            assert_eq!(path.len(), tree.depth() as usize);
            verify_ves_path(leaf, position as u64, count as u64, &path, &tree.root()).unwrap();
        }
        assert_eq!(tree.path(count as u64), None);
        assert_eq!(tree.path(u64::MAX), None);
        assert_eq!(ves_path(&ours, 0), tree.path(0));
    }
}

#[test]
fn rs_merkle_verifies_our_ves_paths() {
    let pad = Ves::hash(b"VES_PAD_LEAF_V1");
    let hashes = leaves(11);
    let ours: Vec<_> = hashes.iter().copied().map(VesLeaf::from_bytes).collect();
    let tree = VesTree::new(&ours);
    for (position, leaf) in hashes.iter().enumerate() {
        let proof = rs_merkle::MerkleProof::<Ves>::new(raw(&tree.path(position as u64).unwrap()));
        assert!(proof.verify(*tree.root().as_bytes(), &[position], &[*leaf], 16));
        assert!(!proof.verify(*tree.root().as_bytes(), &[position], &[pad], 16));
    }
}

#[test]
fn an_empty_ves_tree_has_the_zero_root_and_no_paths() {
    assert_eq!(ves_root(&[]), VesNode::ZERO);
    assert_eq!(ves_path(&[], 0), None);
    assert_eq!(VesTree::new(&[]).depth(), 0);
}

#[test]
fn the_log_tree_is_rs_merkles_at_powers_of_two() {
    for count in [1usize, 2, 4, 8, 64, 256, 1024] {
        let hashes = leaves(count);
        let theirs = MerkleTree::<Rfc6962>::from_leaves(&hashes);
        let ours: Vec<_> = hashes.iter().copied().map(LeafHash::from_bytes).collect();
        let tree = RunTree::extend(&mut Frontier::new(), &ours);
        assert_eq!(Some(*tree.root().as_bytes()), theirs.root());
        for index in 0..count {
            let path: Vec<_> = tree.path(Index::new(index as u64)).iter().map(|node| *node.as_bytes()).collect();
            assert_eq!(path, theirs.proof(&[index]).proof_hashes(), "{index} of {count}");
        }
    }
}
