//! `entities`: a short keyed hash of stream, entity type and entity id, then the event's index → nothing.
//!
//! A row per event, so the entity's name (up to 640 bytes) is not in it. A hit says where to look; whoever asked
//! compares the entity of the event found there with what was asked for.

use tally_protocol::hash::LookupKey;
use tally_protocol::id::{Index, Stream};

use super::{Key, read_u64, split};

/// Key of one event of an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntityKey {
    /// The entity's place ([`EntityKey::place`]).
    pub place: [u8; 16],
    /// The event's log position.
    pub index: Index,
}

impl EntityKey {
    /// The place of an entity of a stream.
    #[must_use]
    pub fn place(lookup: &LookupKey, stream: &Stream, entity_type: &str, entity_id: &str) -> [u8; 16] {
        lookup.entity(stream, entity_type, entity_id)
    }

    /// 24 bytes.
    #[must_use]
    pub fn encode(&self) -> Key {
        Key::of(&[&self.place, &self.index.get().to_be_bytes()])
    }

    /// Reads 24 bytes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (place, index) = split::<16>(bytes)?;
        Some(Self { place: *place, index: Index::new(read_u64(index)?) })
    }

    /// What all rows of an entity start with.
    #[must_use]
    pub fn prefix(place: &[u8; 16]) -> Key {
        Key::of(&[place])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tally_protocol::hash::LedgerId;

    use super::*;

    proptest! {
        #[test]
        fn an_entity_key_reads_back_as_written(place: [u8; 16], index: u64) {
            let key = EntityKey { place, index: Index::new(index) };
            prop_assert!(key.encode().as_slice().starts_with(EntityKey::prefix(&place).as_slice()));
            crate::keys::check::round_trip(&key, EntityKey::encode, EntityKey::decode);
        }

        #[test]
        fn where_type_ends_and_id_begins_moves_the_key(text in "[a-z]{2,20}", at in 0usize..20, other in 0usize..20) {
            let (at, other) = (at.min(text.len()), other.min(text.len()));
            prop_assume!(at != other);
            let lookup = LookupKey::new(&LedgerId::ZERO);
            let place = |at: usize| EntityKey::place(&lookup, &Stream::LEDGER, &text[..at], &text[at..]);
            prop_assert_ne!(place(at), place(other));
        }
    }
}
