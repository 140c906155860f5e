//! The oracle of the state tree: the definition's own recursion over a sorted list of leaves, hashing with `sha2`.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

pub(crate) type Hash = [u8; 32];

/// Path to value hash.
pub(crate) type Leaves = BTreeMap<Hash, Hash>;

pub(crate) fn sha(parts: &[&[u8]]) -> Hash {
    Sha256::digest(parts.concat()).into()
}

pub(crate) fn key(key: &[u8]) -> Hash {
    sha(&[b"TALLY_STATE_KEY_V1", key])
}

pub(crate) fn value(value: &[u8]) -> Hash {
    sha(&[b"TALLY_STATE_VALUE_V1", value])
}

pub(crate) fn empty() -> Hash {
    sha(&[b"TALLY_STATE_EMPTY_V1"])
}

pub(crate) fn leaf(key: &Hash, value: &Hash) -> Hash {
    sha(&[b"TALLY_STATE_LEAF_V1", key, value])
}

pub(crate) fn node(left: &Hash, right: &Hash) -> Hash {
    sha(&[b"TALLY_STATE_NODE_V1", left, right])
}

pub(crate) fn bit(key: &Hash, depth: usize) -> bool {
    key[depth / 8] >> (7 - depth % 8) & 1 == 1
}

/// "Nothing: the constant. One leaf: that leaf. More: the hash of the halves."
pub(crate) fn root(leaves: &Leaves) -> Hash {
    root_below(&leaves.iter().map(|(key, value)| (*key, *value)).collect::<Vec<_>>(), 0)
}

fn root_below(leaves: &[(Hash, Hash)], depth: usize) -> Hash {
    match leaves {
        [] => empty(),
        [(key, value)] => leaf(key, value),
        _ => {
            let (left, right): (Vec<_>, Vec<_>) = leaves.iter().copied().partition(|(key, _)| !bit(key, depth));
            node(&root_below(&left, depth + 1), &root_below(&right, depth + 1))
        }
    }
}

/// The siblings on the way to a key, the root's child first, and the leaf that stands where the way ends.
pub(crate) fn way(leaves: &Leaves, key: &Hash) -> (Vec<Hash>, Option<(Hash, Hash)>) {
    let mut here: Vec<(Hash, Hash)> = leaves.iter().map(|(key, value)| (*key, *value)).collect();
    let mut siblings = Vec::new();
    while here.len() > 1 {
        let depth = siblings.len();
        let (same, other): (Vec<_>, Vec<_>) = here.into_iter().partition(|(at, _)| bit(at, depth) == bit(key, depth));
        siblings.push(root_below(&other, depth + 1));
        here = same;
    }
    (siblings, here.first().copied())
}

#[test]
fn the_oracle_tells_small_trees_apart() {
    let one = Leaves::from([([0; 32], [1; 32])]);
    let two = Leaves::from([([0; 32], [1; 32]), ([255; 32], [1; 32])]);
    assert_eq!(root(&Leaves::new()), empty());
    assert_eq!(root(&one), leaf(&[0; 32], &[1; 32]));
    assert_eq!(root(&two), node(&leaf(&[0; 32], &[1; 32]), &leaf(&[255; 32], &[1; 32])));
    assert_eq!(way(&two, &[0; 32]), (vec![leaf(&[255; 32], &[1; 32])], Some(([0; 32], [1; 32]))));
}
