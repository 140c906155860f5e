//! The append-only compact range: a whole tree in at most 64 hashes.
//!
//! Takes leaf hashes, gives size and root at any moment, and carries on after a restart from its encoded bytes. It
//! holds the peaks (one perfect subtree per bit set in the size, largest first) and forgets everything below them, so
//! it cannot prove; [`crate::RunTree`] and tiles do that. Appending cannot fail; only foreign bytes can.

use tally_protocol::hash::{LeafHash, NodeHash, RootHash, empty_root, node};
use tally_protocol::id::TreeSize;

use crate::error::FrontierError;
use crate::node::peaks;

/// Foreign readers of checkpoints hold sizes in signed 64 bits; no log gets near.
pub(crate) const SIZE_MAX: u64 = i64::MAX as u64;

const HASH_BYTES: usize = 32;

/// The right border of an append-only RFC 6962 tree.
///
/// ```
/// use tally_merkle::Frontier;
/// use tally_protocol::hash::leaf;
///
/// let mut frontier = Frontier::new();
/// frontier.append(leaf(b"genesis"));
/// assert_eq!(frontier.root(), leaf(b"genesis").node().root());
/// assert_eq!(Frontier::decode(&frontier.encode()).unwrap(), frontier);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    peaks: Vec<NodeHash>,
}

impl Frontier {
    /// The empty tree.
    #[must_use]
    pub const fn new() -> Self {
        Self { size: 0, peaks: Vec::new() }
    }

    /// Adds one leaf: one hash amortised, at most 63.
    pub fn append(&mut self, leaf: LeafHash) {
        let mut hash = leaf.node();
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// How many leaves were appended.
    #[must_use]
    pub const fn size(&self) -> TreeSize {
        TreeSize::new(self.size)
    }

    /// The RFC 6962 root of all leaves so far; of none, the hash of nothing.
    #[must_use]
    pub fn root(&self) -> RootHash {
        join(self.peaks.iter().copied()).map_or_else(empty_root, NodeHash::root)
    }

    /// The peaks, largest first: one perfect subtree per bit set in the size.
    #[must_use]
    pub fn peaks(&self) -> &[NodeHash] {
        &self.peaks
    }

    /// `size u64 BE | peak[32] per bit set in the size, largest first`: 8 to 2,024 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + self.peaks.len() * HASH_BYTES);
        out.extend_from_slice(&self.size.to_be_bytes());
        for peak in &self.peaks {
            out.extend_from_slice(peak.as_bytes());
        }
        out
    }

    /// Reads [`encode`](Self::encode)'s bytes. Whether the peaks are the log's only its signed root can tell.
    ///
    /// # Errors
    /// [`FrontierError`] when the bytes are not exactly one encoding, or the size is beyond 2^63 - 1.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrontierError> {
        let (size, hashes) = bytes.split_first_chunk::<8>().ok_or(FrontierError::Short)?;
        let size = u64::from_be_bytes(*size);
        if size > SIZE_MAX {
            return Err(FrontierError::Size { size });
        }
        let (chunks, rest) = hashes.as_chunks::<HASH_BYTES>();
        let expected = size.count_ones() as usize;
        if chunks.len() != expected || !rest.is_empty() {
            return Err(FrontierError::Length { expected: 8 + expected * HASH_BYTES, given: bytes.len() });
        }
        Ok(Self { size, peaks: chunks.iter().copied().map(NodeHash::from_bytes).collect() })
    }

    /// From a size and its peaks, largest first, which the caller vouches for.
    pub(crate) fn from_peaks(size: u64, peaks: Vec<NodeHash>) -> Self {
        debug_assert_eq!(peaks.len(), size.count_ones() as usize, "one peak per bit");
        Self { size, peaks }
    }

    /// The peak of each level, `None` where the size has no bit.
    pub(crate) fn peaks_by_level(&self) -> [Option<NodeHash>; 64] {
        let mut out = [None; 64];
        for ((level, _), peak) in peaks(self.size).zip(&self.peaks) {
            out[level as usize] = Some(*peak);
        }
        out
    }
}

/// Joins peaks, largest first, into the root of the leaves they cover: from the right, as RFC 6962 splits.
pub(crate) fn join(peaks: impl DoubleEndedIterator<Item = NodeHash>) -> Option<NodeHash> {
    peaks.rev().reduce(|right, left| node(&left, &right))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frontier_of(count: u8) -> Frontier {
        let mut frontier = Frontier::new();
        for i in 0..count {
            frontier.append(tally_protocol::hash::leaf(&[i]));
        }
        frontier
    }

    #[test]
    fn encoding_and_decoding_are_identities() {
        for count in 0..=70 {
            let frontier = frontier_of(count);
            let bytes = frontier.encode();
            let back = Frontier::decode(&bytes).unwrap();
            assert_eq!(back, frontier);
            assert_eq!(back.encode(), bytes);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let bytes = frontier_of(7).encode();
        for len in 0..bytes.len() {
            assert!(Frontier::decode(&bytes[..len]).is_err(), "{len}");
        }
        let mut long = bytes.clone();
        long.push(0);
        assert_eq!(Frontier::decode(&long), Err(FrontierError::Length { expected: 104, given: 105 }));
        let mut other = bytes;
        other[7] = 8;
        assert_eq!(Frontier::decode(&other), Err(FrontierError::Length { expected: 40, given: 104 }));
        assert_eq!(Frontier::decode(&[0xff; 8]), Err(FrontierError::Size { size: u64::MAX }));
        assert_eq!(Frontier::decode(&[]), Err(FrontierError::Short));
    }
}
