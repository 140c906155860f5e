//! `outcomes`: the index of the first of a few neighbouring outcomes → all of them.

use tally_protocol::id::Index;

use super::{Key, read_u64};

/// Key of neighbouring outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutcomeKey(
    /// The first one's index.
    pub Index,
);

impl OutcomeKey {
    /// 8 bytes.
    #[must_use]
    pub fn encode(&self) -> Key {
        Key::of(&[&self.0.get().to_be_bytes()])
    }

    /// Reads 8 bytes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        read_u64(bytes).map(|index| Self(Index::new(index)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_outcome_key_reads_back_as_written(index: u64) {
            crate::keys::check::round_trip(&OutcomeKey(Index::new(index)), OutcomeKey::encode, OutcomeKey::decode);
        }
    }
}
