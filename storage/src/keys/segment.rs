//! `event_ids` and `entities`: a segment's pages, then its fence, then its filter, each numbered from 0.
//!
//! Segments are numbered in the order in which they were begun and never changed, so keys only grow and what is put
//! into these families is never sorted again by the database.

use super::{Key, split};

const PAGE: u8 = 0;
const FENCE: u8 = 1;
const FILTER: u8 = 2;

/// What of a segment a row holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SegmentPart {
    /// Sorted rows.
    Page,
    /// The first place of each page.
    Fence,
    /// Which places it does not hold.
    Filter,
}

/// Key of a piece of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentKey {
    /// The segment.
    pub segment: u32,
    /// What of it.
    pub part: SegmentPart,
    /// Which piece.
    pub number: u32,
}

impl SegmentKey {
    /// 9 bytes.
    #[must_use]
    pub fn encode(&self) -> Key {
        let part = match self.part {
            SegmentPart::Page => PAGE,
            SegmentPart::Fence => FENCE,
            SegmentPart::Filter => FILTER,
        };
        Key::of(&[&self.segment.to_be_bytes(), &[part], &self.number.to_be_bytes()])
    }

    /// Reads 9 bytes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (segment, rest) = split::<4>(bytes)?;
        let (part, number) = rest.split_first()?;
        let part = match *part {
            PAGE => SegmentPart::Page,
            FENCE => SegmentPart::Fence,
            FILTER => SegmentPart::Filter,
            _ => return None,
        };
        let number = u32::from_be_bytes(number.try_into().ok()?);
        Some(Self { segment: u32::from_be_bytes(*segment), part, number })
    }

    /// What all pieces of a segment start with.
    #[must_use]
    pub fn of_segment(segment: u32) -> Key {
        Key::of(&[&segment.to_be_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_segment_key_reads_back_as_written(segment: u32, part in 0..3usize, number: u32) {
            let part = [SegmentPart::Page, SegmentPart::Fence, SegmentPart::Filter][part];
            let key = SegmentKey { segment, part, number };
            prop_assert!(key.encode().as_slice().starts_with(SegmentKey::of_segment(segment).as_slice()));
            crate::keys::check::round_trip(&key, SegmentKey::encode, SegmentKey::decode);
        }

        #[test]
        fn segment_keys_sort_by_segment_then_part_then_number(a: (u32, u8, u32), b: (u32, u8, u32)) {
            let parts = [SegmentPart::Page, SegmentPart::Fence, SegmentPart::Filter];
            let key = |(segment, part, number): (u32, u8, u32)| SegmentKey { segment, part: parts[part as usize % 3], number };
            let order = |key: &SegmentKey| (key.segment, key.part, key.number);
            let (a, b) = (key(a), key(b));
            prop_assert_eq!(a.encode().as_slice().cmp(b.encode().as_slice()), order(&a).cmp(&order(&b)));
        }
    }
}
