//! `cuts`: how far they are recorded, and what was recorded for a range of events.

use tally_protocol::id::Index;

use super::{Key, read_u64};

const END: u8 = 0;
const RANGE: u8 = 1;

/// Key in the family of cuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutKey {
    /// The first index that nothing is recorded about.
    End,
    /// A range, by its first index.
    Range(Index),
}

impl CutKey {
    /// 1 or 9 bytes.
    #[must_use]
    pub fn encode(&self) -> Key {
        match self {
            Self::End => Key::of(&[&[END]]),
            Self::Range(first) => Key::of(&[&[RANGE], &first.get().to_be_bytes()]),
        }
    }

    /// Reads 1 or 9 bytes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (&END, []) => Some(Self::End),
            (&RANGE, first) => Some(Self::Range(Index::new(read_u64(first)?))),
            _ => None,
        }
    }

    /// What all ranges start with.
    #[must_use]
    pub fn ranges() -> Key {
        Key::of(&[&[RANGE]])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cut_key_reads_back_as_written(first: u64) {
            let key = CutKey::Range(Index::new(first));
            prop_assert!(key.encode().as_slice().starts_with(CutKey::ranges().as_slice()));
            crate::keys::check::round_trip(&key, CutKey::encode, CutKey::decode);
        }
    }

    #[test]
    fn the_end_reads_back_as_written() {
        crate::keys::check::round_trip(&CutKey::End, CutKey::encode, CutKey::decode);
    }
}
