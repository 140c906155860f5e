//! The oracle: RFC 6962 section 2.1 as its text says it, with no cleverness.
//!
//! Recursive, quadratic, and with hash calls of its own, so that it shares nothing with the crate it checks. Other
//! test files use it as a module; its own tests hold it against the properties the RFC states.

use sha2::{Digest, Sha256};

/// A hash as the oracle knows it.
pub(crate) type Hash = [u8; 32];

/// SHA-256 of the concatenation.
pub(crate) fn sha256(parts: &[&[u8]]) -> Hash {
    parts.iter().fold(Sha256::new(), Sha256::chain_update).finalize().into()
}

/// `MTH({d(0)}) = SHA-256(0x00 || d(0))`.
pub(crate) fn leaf_hash(entry: &[u8]) -> Hash {
    sha256(&[&[0x00], entry])
}

/// "Let k be the largest power of two smaller than n (i.e., k < n <= 2k)."
fn split_point(n: usize) -> usize {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}

/// `MTH(D[n]) = SHA-256(0x01 || MTH(D[0:k]) || MTH(D[k:n]))`, over leaf hashes.
pub(crate) fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => sha256(&[]),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split_point(leaves.len()));
            sha256(&[&[0x01], &mth(left), &mth(right)])
        }
    }
}

/// `PATH(m, D[n])`, section 2.1.1.
pub(crate) fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = split_point(leaves.len());
    let (left, right) = leaves.split_at(k);
    if m < k { [path(m, left), vec![mth(right)]].concat() } else { [path(m - k, right), vec![mth(left)]].concat() }
}

/// `PROOF(m, D[n]) = SUBPROOF(m, D[n], true)`, section 2.1.2, for 0 < m.
pub(crate) fn proof(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    subproof(m, leaves, true)
}

fn subproof(m: usize, leaves: &[Hash], known: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if known { Vec::new() } else { vec![mth(leaves)] };
    }
    let k = split_point(leaves.len());
    let (left, right) = leaves.split_at(k);
    if m <= k {
        [subproof(m, left, known), vec![mth(right)]].concat()
    } else {
        [subproof(m - k, right, false), vec![mth(left)]].concat()
    }
}

/// The root a path leads to, found by the same recursion; `None` when the path is too short or too long.
pub(crate) fn root_from_path(m: usize, n: usize, leaf: Hash, path: &[Hash]) -> Option<Hash> {
    if n == 1 {
        return path.is_empty().then_some(leaf);
    }
    let k = split_point(n);
    let (sibling, below) = path.split_last()?;
    if m < k {
        Some(sha256(&[&[0x01], &root_from_path(m, k, leaf, below)?, sibling]))
    } else {
        Some(sha256(&[&[0x01], sibling, &root_from_path(m - k, n - k, leaf, below)?]))
    }
}

/// `count` different leaf hashes.
pub(crate) fn some_leaves(count: usize) -> Vec<Hash> {
    (0..count as u64).map(|i| leaf_hash(&i.to_be_bytes())).collect()
}

#[test]
fn the_oracle_splits_at_the_largest_smaller_power_of_two() {
    for (n, k) in [(2, 1), (3, 2), (4, 2), (5, 4), (6, 4), (7, 4), (8, 4), (9, 8), (1000, 512)] {
        assert_eq!(split_point(n), k, "{n}");
    }
}

#[test]
fn the_oracle_proves_to_itself() {
    for n in 1..40 {
        let leaves = some_leaves(n);
        for m in 0..n {
            assert_eq!(root_from_path(m, n, leaves[m], &path(m, &leaves)), Some(mth(&leaves)));
        }
    }
}

#[test]
fn the_rfc_example_of_seven_leaves_has_its_paths_and_proofs() {
    // Section 2.1.3 draws the tree of seven leaves and names its nodes a..l.
    let leaves = some_leaves(7);
    let [a, b, c, d, e, f, j]: [Hash; 7] = leaves.clone().try_into().unwrap();
    let node = |left: &Hash, right: &Hash| sha256(&[&[0x01], left, right]);
    let (g, h, i) = (node(&a, &b), node(&c, &d), node(&e, &f));
    let (k, l) = (node(&g, &h), node(&i, &j));
    assert_eq!(mth(&leaves), node(&k, &l));
    assert_eq!(path(0, &leaves), [b, h, l]);
    assert_eq!(path(3, &leaves), [c, g, l]);
    assert_eq!(path(4, &leaves), [f, j, k]);
    assert_eq!(path(6, &leaves), [i, k]);
    assert_eq!(proof(3, &leaves), [c, d, g, l]);
    assert_eq!(proof(4, &leaves), [l]);
    assert_eq!(proof(6, &leaves), [i, j, k]);
}
