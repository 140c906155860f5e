//! Known answers: the eight-leaf tree that Certificate Transparency implementations share, and the VES values of
//! the reference sequencer. None of the hexadecimal below was computed by this crate.

use tally_merkle::{
    ConsistencyProof, Frontier, InclusionProof, RunTree, consistency_path, root_at, verify_consistency,
    verify_inclusion, verify_ves_path, ves_root,
};
use tally_protocol::hash::{LeafHash, NodeHash, RootHash, VesLeaf, VesNode, empty_root, leaf};
use tally_protocol::id::{Index, TreeSize};

const ENTRIES: [&[u8]; 8] = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    b"\x50\x51\x52\x53\x54\x55\x56\x57",
    b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
];

/// By size, from 0.
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

/// (index, size, path).
const INCLUSION: [(u64, u64, &[&str]); 5] = [
    (0, 1, &[]),
    (
        0,
        8,
        &[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        &[
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (2, 3, &["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        1,
        5,
        &[
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
];

/// (old, new, path).
const CONSISTENCY: [(u64, u64, &[&str]); 4] = [
    (1, 1, &[]),
    (
        1,
        8,
        &[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        &[
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        5,
        &[
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
];

fn leaves() -> Vec<LeafHash> {
    ENTRIES.iter().map(|entry| leaf(entry)).collect()
}

fn root(size: u64) -> RootHash {
    RootHash::from_hex(ROOTS[size as usize]).expect("a known root is hexadecimal")
}

fn path(hex: &[&str]) -> Vec<NodeHash> {
    hex.iter().map(|hex| NodeHash::from_hex(hex).expect("a known node is hexadecimal")).collect()
}

#[test]
fn the_known_roots_at_every_size() {
    let mut frontier = Frontier::new();
    assert_eq!(empty_root(), root(0));
    assert_eq!(frontier.root(), root(0));
    for leaf in leaves() {
        frontier.append(leaf);
        assert_eq!(frontier.root(), root(frontier.size().get()));
    }
    let tree = RunTree::extend(&mut Frontier::new(), &leaves());
    for size in 0..=8 {
        assert_eq!(root_at(&tree, TreeSize::new(size)).unwrap(), root(size));
    }
}

#[test]
fn the_known_inclusion_paths_are_made_and_verify() {
    let leaves = leaves();
    for (index, size, hex) in INCLUSION {
        let run = RunTree::extend(&mut Frontier::new(), &leaves[..size as usize]);
        let (index, path) = (Index::new(index), path(hex));
        assert_eq!(run.path(index), path);
        let proof = InclusionProof { index, size: TreeSize::new(size), path };
        verify_inclusion(&leaves[index.get() as usize], &proof, &root(size)).unwrap();
    }
}

#[test]
fn the_known_consistency_proofs_are_made_and_verify() {
    let tree = RunTree::extend(&mut Frontier::new(), &leaves());
    for (old, new, hex) in CONSISTENCY {
        let path = path(hex);
        assert_eq!(consistency_path(&tree, TreeSize::new(old), TreeSize::new(new)).unwrap(), path);
        let proof = ConsistencyProof { old: TreeSize::new(old), new: TreeSize::new(new), path };
        verify_consistency(&proof, &root(old), &root(new)).unwrap();
    }
}

/// The leaf at sequence 1 of the documented chain, the pad leaf, and their node.
#[test]
fn the_known_ves_node_of_a_leaf_and_padding() {
    let hex = |hex| VesLeaf::from_hex(hex).unwrap();
    let leaf = hex("c052fa751455e5b36e85c2cae15b143bcce91f9db9c2c30aaf7397fddef8d53b");
    let pad = hex("d9dd0e003ba5370a698013c48ed69c6c41d9ebc1236d44b280c52ceacfdad524");
    let node = VesNode::from_hex("87e6b04682c41da36b3cb20bf50031d6b1ea354f30144edd5ce6e82bd4476196").unwrap();
    assert_eq!(ves_root(&[leaf]), leaf.node());
    assert_eq!(ves_root(&[leaf, pad]), node);
    verify_ves_path(&leaf, 0, 2, &[pad.node()], &node).unwrap();
    verify_ves_path(&pad, 1, 2, &[leaf.node()], &node).unwrap();
    assert_eq!(ves_root(&[leaf, pad, leaf]), tally_protocol::hash::ves_node(&node, &node));
}
