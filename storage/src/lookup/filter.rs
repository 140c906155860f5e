//! Which places a segment certainly does not hold: the answer for almost every id that is asked for, without a read.
//!
//! A Bloom filter cut into blocks of one cache line each: a question costs one access to memory. 16 bits for each row
//! and seven probes let about one absent place in a thousand pass. Blocks follow the places' order, so a filter is
//! filled from front to back while sorted rows go by.

use super::row::Place;

/// Bytes of memory and disk for each row.
pub(super) const FILTER_BYTES_PER_ROW: u64 = 2;
const WORDS: usize = 8;
const BLOCK_BYTES: usize = WORDS * 8;
const ROWS_PER_BLOCK: u64 = BLOCK_BYTES as u64 / FILTER_BYTES_PER_ROW;
const PROBES: u32 = 7;
/// Bits that choose one of a block's 512.
const PROBE_BITS: u32 = 9;

/// One cache line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(align(64))]
struct Block([u64; WORDS]);

/// The filter of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter {
    blocks: Vec<Block>,
}

impl Filter {
    /// How many bytes the filter of so many rows has.
    pub(super) const fn bytes_for(rows: u64) -> usize {
        (rows / ROWS_PER_BLOCK + 1) as usize * BLOCK_BYTES
    }

    /// An empty filter for so many rows.
    pub(super) fn for_rows(rows: u64) -> Self {
        Self { blocks: vec![Block::default(); Self::bytes_for(rows) / BLOCK_BYTES] }
    }

    pub(super) fn bytes(&self) -> usize {
        self.blocks.len() * BLOCK_BYTES
    }

    fn block_of(&self, place: Place) -> usize {
        (((place.high >> 32) * self.blocks.len() as u64) >> 32) as usize
    }

    pub(super) fn insert(&mut self, place: Place) {
        let at = self.block_of(place);
        if let Some(Block(words)) = self.blocks.get_mut(at) {
            for probe in 0..PROBES {
                let bit = place.low >> (probe * PROBE_BITS);
                words[(bit >> 6) as usize % WORDS] |= 1 << (bit % 64);
            }
        }
    }

    /// `false` is certain.
    pub(super) fn may_hold(&self, place: Place) -> bool {
        let Some(Block(words)) = self.blocks.get(self.block_of(place)) else { return true };
        (0..PROBES).all(|probe| {
            let bit = place.low >> (probe * PROBE_BITS);
            words[(bit >> 6) as usize % WORDS] >> (bit % 64) & 1 == 1
        })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        self.blocks.iter().flat_map(|block| block.0).flat_map(u64::to_be_bytes).collect()
    }

    /// The filter of so many rows; `None` if it has not the length of one.
    pub(super) fn decode(bytes: &[u8], rows: u64) -> Option<Self> {
        if bytes.len() != Self::bytes_for(rows) {
            return None;
        }
        let (words, _) = bytes.as_chunks::<8>();
        let (blocks, _) = words.as_chunks::<WORDS>();
        Some(Self { blocks: blocks.iter().map(|block| Block(block.map(u64::from_be_bytes))).collect() })
    }
}

#[cfg(test)]
mod tests {
    use tally_protocol::hash::{LedgerId, LookupKey};
    use tally_protocol::id::{EventId, Stream};

    use super::*;

    fn places(from: u64, count: u64) -> Vec<Place> {
        let lookup = LookupKey::new(&LedgerId::ZERO);
        let place = |number: u64| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&number.to_be_bytes());
            Place::of(&lookup.event(&Stream::LEDGER, &EventId::from_bytes(id)))
        };
        (from..from + count).map(place).collect()
    }

    #[test]
    fn what_was_put_passes_and_hardly_anything_else() {
        const ROWS: u64 = 50_000;
        let mut filter = Filter::for_rows(ROWS);
        let inside = places(0, ROWS);
        inside.iter().for_each(|place| filter.insert(*place));
        assert!(inside.iter().all(|place| filter.may_hold(*place)));
        let passed = places(ROWS, 200_000).into_iter().filter(|place| filter.may_hold(*place)).count();
        assert!(passed < 600, "{passed} of 200,000 absent places pass");
        assert_eq!(filter.bytes(), Filter::bytes_for(ROWS));
        assert_eq!(Filter::decode(&filter.encode(), ROWS), Some(filter.clone()));
        assert_eq!(Filter::decode(&filter.encode()[8..], ROWS), None);
    }
}
