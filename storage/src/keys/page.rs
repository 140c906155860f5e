//! `state_pages`: a tree of state, and the name of a page in it → the page.
//!
//! A name is the bytes of the path above the page, so a tree's pages lie together, each above those below it.

use tally_protocol::hash::StateKey;

use super::{Key, split};

/// The longest name of a page.
pub const PAGE_NAME_BYTES_MAX: usize = 31;

const OVER_ALL: u8 = 0;
const OF_PLUGIN: u8 = 1;

/// Key of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageKey {
    /// Whose tree: the place of a plugin in a stream, or the tree over all.
    pub tree: Option<StateKey>,
    /// The page's name.
    pub name: Vec<u8>,
}

impl PageKey {
    /// 1 to 64 bytes.
    #[must_use]
    pub fn encode(&self) -> Key {
        Key::of(&[Self::of_tree(self.tree.as_ref()).as_slice(), &self.name])
    }

    /// Reads 1 to 64 bytes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (tree, name) = match bytes.split_first()? {
            (&OVER_ALL, name) => (None, name),
            (&OF_PLUGIN, rest) => {
                let (place, name) = split::<32>(rest)?;
                (Some(StateKey::from_bytes(*place)), name)
            }
            _ => return None,
        };
        (name.len() <= PAGE_NAME_BYTES_MAX).then(|| Self { tree, name: name.to_vec() })
    }

    /// What all pages of a tree start with.
    #[must_use]
    pub fn of_tree(tree: Option<&StateKey>) -> Key {
        match tree {
            None => Key::of(&[&[OVER_ALL]]),
            Some(place) => Key::of(&[&[OF_PLUGIN], place.as_bytes()]),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_page_key_reads_back_as_written(
            tree in prop::option::of(any::<[u8; 32]>()),
            name in prop::collection::vec(any::<u8>(), 0..=31),
        ) {
            let key = PageKey { tree: tree.map(StateKey::from_bytes), name };
            let encoded = key.encode();
            prop_assert!(encoded.as_slice().starts_with(PageKey::of_tree(key.tree.as_ref()).as_slice()));
            prop_assert_eq!(PageKey::decode(encoded.as_slice()), Some(key));
        }
    }

    #[test]
    fn what_is_no_page_key_does_not_read() {
        for bytes in [&[][..], &[2], &[1, 7], &[0; 33], &[1; 65]] {
            assert_eq!(PageKey::decode(bytes), None, "{bytes:?}");
        }
    }
}
