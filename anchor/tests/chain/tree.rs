//! Trees of any size without their leaves, and a stream of numbers for random tests.
//!
//! All leaves of a synthetic tree are one leaf but a few: a perfect subtree without one of those is known by its level alone, so
//! that roots and proofs at 2^36 leaves cost some hundred hashes.

use std::convert::Infallible;

use tally_merkle::{ConsistencyProof, InclusionProof, NodeSource, consistency_proof, inclusion_proof, root_at};
use tally_protocol::hash::{LeafHash, NodeHash, RootHash, leaf, node};
use tally_protocol::id::{Index, TreeSize};

/// A tree of every size up to 2^63.
pub(crate) struct Tree {
    /// Leaves that are unlike all others, sorted.
    special: Vec<u64>,
    /// The perfect subtree of each level that holds none of them.
    plain: Vec<NodeHash>,
    seed: u64,
}

impl Tree {
    /// Another seed is another history from leaf 0 on.
    pub(crate) fn new(seed: u64, mut special: Vec<u64>) -> Tree {
        special.sort_unstable();
        special.dedup();
        let mut plain = vec![leaf(&seed.to_be_bytes()).node()];
        for level in 0..63 {
            plain.push(node(&plain[level], &plain[level]));
        }
        Tree { special, plain, seed }
    }

    pub(crate) fn root(&self, size: u64) -> RootHash {
        root_at(self, TreeSize::new(size)).unwrap_or_else(|never| match never {})
    }

    pub(crate) fn leaf(&self, index: u64) -> LeafHash {
        if self.special.binary_search(&index).is_ok() {
            leaf(&[self.seed.to_be_bytes(), index.to_be_bytes()].concat())
        } else {
            leaf(&self.seed.to_be_bytes())
        }
    }

    pub(crate) fn consistency(&self, old: u64, new: u64) -> ConsistencyProof {
        consistency_proof(self, TreeSize::new(old), TreeSize::new(new)).unwrap()
    }

    pub(crate) fn inclusion(&self, index: u64, size: u64) -> InclusionProof {
        inclusion_proof(self, Index::new(index), TreeSize::new(size)).unwrap()
    }
}

impl NodeSource for Tree {
    type Error = Infallible;

    fn node(&self, level: u32, index: u64) -> Result<NodeHash, Infallible> {
        let first = index << level;
        let at = self.special.partition_point(|special| *special < first);
        let holds = self.special.get(at).is_some_and(|special| *special >> level == index);
        if !holds {
            return Ok(self.plain[level as usize]);
        }
        if level == 0 {
            return Ok(self.leaf(index).node());
        }
        Ok(node(&self.node(level - 1, 2 * index)?, &self.node(level - 1, 2 * index + 1)?))
    }
}

/// Numbers from a seed (xorshift64*): the same seed, the same test.
pub(crate) struct Numbers(pub u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// One change to a path: shorter, longer, two swapped, one bit flipped, one repeated. May by chance change nothing.
pub(crate) fn change(path: &mut Vec<NodeHash>, numbers: &mut Numbers) {
    let length = path.len() as u64;
    if length == 0 {
        return path.push(NodeHash::from_bytes([7; 32]));
    }
    let at = numbers.below(length) as usize;
    match numbers.below(5) {
        0 => drop(path.remove(at)),
        1 => path.insert(at, NodeHash::from_bytes([7; 32])),
        2 => path.swap(at, numbers.below(length) as usize),
        3 => {
            let mut bytes = *path[at].as_bytes();
            bytes[numbers.below(32) as usize] ^= 1 << numbers.below(8);
            path[at] = NodeHash::from_bytes(bytes);
        }
        _ => path.push(path[at]),
    }
}
