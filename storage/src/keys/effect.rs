//! `outbox` and `dispatches`: the event that asked for an effect, and the effect's number among all that this event
//! asked for.

use tally_protocol::id::Index;

use super::{Key, read_u64, split};

/// Key of an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EffectKey {
    /// The event's index.
    pub index: Index,
    /// From 0, over all plugins that ran at the event.
    pub number: u32,
}

impl EffectKey {
    /// 12 bytes.
    #[must_use]
    pub fn encode(&self) -> Key {
        Key::of(&[&self.index.get().to_be_bytes(), &self.number.to_be_bytes()])
    }

    /// Reads 12 bytes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (index, number) = split::<8>(bytes)?;
        let number = u32::from_be_bytes(number.try_into().ok()?);
        Some(Self { index: Index::new(read_u64(index)?), number })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_effect_key_reads_back_as_written(index: u64, number: u32) {
            let key = EffectKey { index: Index::new(index), number };
            crate::keys::check::round_trip(&key, EffectKey::encode, EffectKey::decode);
        }

        #[test]
        fn effect_keys_sort_as_their_numbers(a in (0u64..3, 0u32..300), b in (0u64..3, 0u32..300)) {
            let key = |(index, number)| EffectKey { index: Index::new(index), number }.encode().as_slice().to_vec();
            prop_assert_eq!(key(a).cmp(&key(b)), a.cmp(&b));
        }
    }
}
