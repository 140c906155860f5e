//! `control`: how far the derived families reach, where control events are, and which segments are in use.
//!
//! The cursor lives with the rows it speaks about: whoever deletes the derived families deletes it with them.

use tally_protocol::id::Index;

use super::{Key, read_u64, split};
use crate::family::Family;

const CURSOR: u8 = 0;
const EVENT: u8 = 1;
const SEGMENT: u8 = 2;
const EVENT_IDS: u8 = 0;
const ENTITIES: u8 = 1;

/// Key in the control family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlKey {
    /// The first log position the derived families do not cover yet.
    Cursor,
    /// A control event.
    Event(Index),
    /// A segment of [`Family::EventIds`] or [`Family::Entities`].
    Segment(Family, u32),
}

impl ControlKey {
    /// 1, 9 or 6 bytes.
    #[must_use]
    pub fn encode(&self) -> Key {
        match self {
            Self::Cursor => Key::of(&[&[CURSOR]]),
            Self::Event(index) => Key::of(&[&[EVENT], &index.get().to_be_bytes()]),
            Self::Segment(family, id) => Key::of(&[&[SEGMENT, number_of(*family)], &id.to_be_bytes()]),
        }
    }

    /// Reads 1, 9 or 6 bytes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (&CURSOR, []) => Some(Self::Cursor),
            (&EVENT, index) => Some(Self::Event(Index::new(read_u64(index)?))),
            (&SEGMENT, rest) => {
                let ([family], id) = split::<1>(rest)?;
                let family = match *family {
                    EVENT_IDS => Family::EventIds,
                    ENTITIES => Family::Entities,
                    _ => return None,
                };
                Some(Self::Segment(family, u32::from_be_bytes(id.try_into().ok()?)))
            }
            _ => None,
        }
    }

    /// What all segments of a family start with.
    #[must_use]
    pub fn segments(family: Family) -> Key {
        Key::of(&[&[SEGMENT, number_of(family)]])
    }

    /// What all control events start with.
    #[must_use]
    pub fn events() -> Key {
        Key::of(&[&[EVENT]])
    }
}

/// Only two families have segments.
const fn number_of(family: Family) -> u8 {
    match family {
        Family::Entities => ENTITIES,
        _ => EVENT_IDS,
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
        fn a_segment_key_reads_back_as_written(id: u32, entities: bool) {
            let family = if entities { Family::Entities } else { Family::EventIds };
            let key = ControlKey::Segment(family, id);
            prop_assert!(key.encode().as_slice().starts_with(ControlKey::segments(family).as_slice()));
            crate::keys::check::round_trip(&key, ControlKey::encode, ControlKey::decode);
        }

        #[test]
        fn a_control_key_reads_back_as_written(index: u64) {
            let key = ControlKey::Event(Index::new(index));
            prop_assert!(key.encode().as_slice().starts_with(ControlKey::events().as_slice()));
            crate::keys::check::round_trip(&key, ControlKey::encode, ControlKey::decode);
        }
    }
}
