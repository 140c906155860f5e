//! `state_pages`, behind the pages: the trees' roots, where bindings stand, where control events are, and notes of what
//! the pages do not show yet.
//!
//! They lie in the pages' family because they are deleted with them, and behind all pages, because those are written past
//! the write-ahead log ([`crate::Engine::replace`]): no file of pages overlaps what these rows have in a write buffer.

use tally_protocol::hash::StateKey;
use tally_protocol::id::{Index, PluginId, Stream};

use super::{Key, read_u64, split};

const ROOT: u8 = 2;
const STANDING: u8 = 3;
const CONTROL: u8 = 4;
const NOTE: u8 = 5;

/// Key of a row of a follower that is no page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowerKey {
    /// A tree's root: of a plugin's place in a stream, or of the tree over all.
    Root(Option<StateKey>),
    /// Where a plugin in a stream stands.
    Standing(Stream, PluginId),
    /// A control event below the cursor.
    Control(Index),
    /// What the range that begins here changed.
    Note(Index),
}

impl FollowerKey {
    /// 1 to 97 bytes.
    #[must_use]
    pub fn encode(&self) -> Key {
        match self {
            Self::Root(None) => Key::of(&[&[ROOT]]),
            Self::Root(Some(place)) => Key::of(&[&[ROOT], place.as_bytes()]),
            Self::Standing(stream, plugin) => Key::of(&[&[STANDING], &stream.to_bytes(), plugin.as_str().as_bytes()]),
            Self::Control(index) => Key::of(&[&[CONTROL], &index.get().to_be_bytes()]),
            Self::Note(first) => Key::of(&[&[NOTE], &first.get().to_be_bytes()]),
        }
    }

    /// Reads 1 to 97 bytes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (&ROOT, []) => Some(Self::Root(None)),
            (&ROOT, place) => Some(Self::Root(Some(StateKey::from_bytes(place.try_into().ok()?)))),
            (&STANDING, rest) => {
                let (stream, plugin) = split::<32>(rest)?;
                let plugin = PluginId::new(core::str::from_utf8(plugin).ok()?).ok()?;
                Some(Self::Standing(Stream::from_bytes(stream), plugin))
            }
            (&CONTROL, index) => Some(Self::Control(Index::new(read_u64(index)?))),
            (&NOTE, first) => Some(Self::Note(Index::new(read_u64(first)?))),
            _ => None,
        }
    }

    /// What all standings start with.
    #[must_use]
    pub fn standings() -> Key {
        Key::of(&[&[STANDING]])
    }

    /// What all control events start with.
    #[must_use]
    pub fn controls() -> Key {
        Key::of(&[&[CONTROL]])
    }

    /// What all notes start with.
    #[must_use]
    pub fn notes() -> Key {
        Key::of(&[&[NOTE]])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keys::PageKey;

    proptest! {
        #[test]
        fn a_follower_key_reads_back_as_written_and_is_no_page(
            place: [u8; 32], stream: [u8; 32], plugin in "[a-z0-9-]{1,64}", index: u64,
        ) {
            let plugin = PluginId::new(&plugin).unwrap();
            for key in [
                FollowerKey::Root(None),
                FollowerKey::Root(Some(StateKey::from_bytes(place))),
                FollowerKey::Standing(Stream::from_bytes(&stream), plugin.clone()),
                FollowerKey::Control(Index::new(index)),
                FollowerKey::Note(Index::new(index)),
            ] {
                let encoded = key.encode();
                prop_assert_eq!(PageKey::decode(encoded.as_slice()), None);
                prop_assert_eq!(FollowerKey::decode(encoded.as_slice()), Some(key));
            }
        }
    }

    #[test]
    fn what_is_no_follower_key_does_not_read() {
        for bytes in [&[][..], &[0], &[1], &[2, 7], &[3; 33], &[4; 8], &[4; 10], &[5], &[5; 8], &[5; 10], &[6]] {
            assert_eq!(FollowerKey::decode(bytes), None, "{bytes:?}");
        }
    }
}
