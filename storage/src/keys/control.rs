//! `control`: how far the derived families reach, and where control events are.
//!
//! The cursor lives with the rows it speaks about: whoever deletes the derived families deletes it with them.

use tally_protocol::id::Index;

use super::{Key, read_u64};

const CURSOR: u8 = 0;
const EVENT: u8 = 1;

/// Key in the control family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlKey {
    /// The first log position the derived families do not cover yet.
    Cursor,
    /// A control event.
    Event(Index),
}

impl ControlKey {
    /// 1 or 9 bytes.
    #[must_use]
    pub fn encode(&self) -> Key {
        match self {
            Self::Cursor => Key::of(&[&[CURSOR]]),
            Self::Event(index) => Key::of(&[&[EVENT], &index.get().to_be_bytes()]),
        }
    }

    /// Reads 1 or 9 bytes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (&CURSOR, []) => Some(Self::Cursor),
            (&EVENT, index) => Some(Self::Event(Index::new(read_u64(index)?))),
            _ => None,
        }
    }

    /// What all control events start with.
    #[must_use]
    pub fn events() -> Key {
        Key::of(&[&[EVENT]])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_cursor_key_reads_back_as_written() {
        crate::keys::check::round_trip(&ControlKey::Cursor, ControlKey::encode, ControlKey::decode);
    }

    proptest! {
        #[test]
        fn a_control_key_reads_back_as_written(index: u64) {
            let key = ControlKey::Event(Index::new(index));
            prop_assert!(key.encode().as_slice().starts_with(ControlKey::events().as_slice()));
            crate::keys::check::round_trip(&key, ControlKey::encode, ControlKey::decode);
        }
    }
}
