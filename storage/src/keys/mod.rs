//! The table of the database: how every key is made (`docs/formats/storage-keys.md`).
//!
//! | family | key | value |
//! |---|---|---|
//! | runs | first index u64 | stored run |
//! | positions | stream 32, first sequence in the run u64 | first index of the run u64 |
//! | event_ids, entities | segment u32, part u8, number u32 | a piece of a segment |
//! | streams | stream 32 | newest sequence u64 |
//! | control | `0x00` / `0x01`, index u64 / `0x02`, family u8, segment u32 | cursor u64 / nothing / description |
//! | tiles | size that completes it u64, level u8 | 256 hashes of 32 bytes, 16 nodes of 32 bytes |
//! | checkpoints | `0x00` / `0x01`, size u64 | newest signed / published |
//! | commitments | `0x00`, stream 32, first sequence u64 / `0x01`, batch id 16 | commitment / its other key |
//! | credentials | 32 bytes | opaque |
//! | meta | name | as named |
//! | outcome_tiles | as tiles | as tiles |
//! | outcomes | index of the first u64 | outcomes of neighbouring events |
//! | outcome_checkpoints | as checkpoints | as checkpoints |
//! | cuts | `0x00` / `0x01`, first index u64 | end u64 / end u64, opaque |
//! | plugin_state | stream 32, length of the plugin's id u8, id, key | value |
//! | state_pages | `0x00`, name / `0x01`, place 32, name | page |
//! | state_pages | `0x02` / `0x02`, place 32 / `0x03`, stream 32, id / `0x04`, index u64 | root 32 / root 32 / opaque / nothing |
//! | state_pages | `0x05`, first index u64 | opaque |
//! | outbox, dispatches | index u64, number u32 | opaque |
//! | modules | BLAKE3 of the module 32 | module |
//!
//! Numbers are big-endian, so keys sort as the numbers do. Every key family reads back exactly what it wrote and
//! nothing else.

mod checkpoint;
mod commitment;
mod control;
mod credential;
mod cut;
mod effect;
mod follower;
mod meta;
mod module;
mod outcome;
mod page;
mod plugin_state;
mod position;
mod run;
mod segment;
mod stream;
mod tile;

use core::cmp::Ordering;
use core::fmt;
use std::sync::Arc;

pub use checkpoint::CheckpointKey;
pub use commitment::CommitmentKey;
pub use control::ControlKey;
pub use credential::CredentialKey;
pub use cut::CutKey;
pub use effect::EffectKey;
pub use follower::FollowerKey;
pub use meta::MetaKey;
pub use module::ModuleKey;
pub use outcome::OutcomeKey;
pub use page::{PAGE_NAME_BYTES_MAX, PageKey};
pub use plugin_state::{PLUGIN_KEY_BYTES_MAX, PluginStateKey};
pub use position::PositionKey;
pub use run::RunKey;
pub use segment::{SegmentKey, SegmentPart};
pub use stream::StreamKey;
pub use tile::TileKey;

/// The longest key of any family: a plugin's own key of 1,024 bytes, behind its stream and its id.
pub const KEY_BYTES_MAX: usize = 1_152;

/// Keys up to here need no allocation: those of every family that an event's receipt waits for.
const SHORT_BYTES_MAX: usize = 48;

/// A key's bytes.
#[derive(Clone)]
pub struct Key(Form);

#[derive(Clone)]
enum Form {
    Short { bytes: [u8; SHORT_BYTES_MAX], len: u8 },
    Long(Arc<[u8]>),
}

impl Key {
    /// The smallest key: the beginning of a family.
    pub const FIRST: Self = Self(Form::Short { bytes: [0; SHORT_BYTES_MAX], len: 0 });

    /// The parts one after the other. They are constants' and ids' bytes, [`KEY_BYTES_MAX`] at most in all; what goes
    /// beyond is cut, which the families' round-trip tests would show. A store whose keys are a caller's asks for their
    /// length first.
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        if parts.iter().map(|part| part.len()).sum::<usize>() > SHORT_BYTES_MAX {
            let mut long = parts.concat();
            long.truncate(KEY_BYTES_MAX);
            return Self(Form::Long(long.into()));
        }
        let mut short = [0; SHORT_BYTES_MAX];
        let mut len = 0;
        for (to, from) in short.iter_mut().zip(parts.iter().copied().flatten()) {
            *to = *from;
            len += 1;
        }
        Self(Form::Short { bytes: short, len })
    }

    /// A key from bytes of unknown origin; `None` if they are longer than any key.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        (bytes.len() <= KEY_BYTES_MAX).then(|| Self::of(&[bytes]))
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Form::Short { bytes, len } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Form::Long(bytes) => bytes,
        }
    }

    /// How many bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether it is [`Key::FIRST`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The smallest key that is greater than every key that starts with this one; `None` if there is none.
    #[must_use]
    pub fn prefix_end(&self) -> Option<Self> {
        let keep = self.as_slice().iter().rposition(|byte| *byte != u8::MAX)?;
        let (last, head) = self.as_slice().get(..=keep)?.split_last()?;
        Some(Self::of(&[head, &[last + 1]]))
    }

    /// The smallest key greater than this one, if it is shorter than [`KEY_BYTES_MAX`].
    #[must_use]
    pub fn just_after(&self) -> Self {
        Self::of(&[self.as_slice(), &[0]])
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_slice().cmp(other.as_slice())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&tally_protocol::hash::hex(self.as_slice()))
    }
}

/// A number as a value or as the end of a key.
pub(crate) fn read_u64(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

/// Splits the first `N` bytes off.
pub(crate) fn split<const N: usize>(bytes: &[u8]) -> Option<(&[u8; N], &[u8])> {
    bytes.split_first_chunk::<N>()
}

#[cfg(test)]
pub(crate) mod check {
    use super::Key;

    /// Each key reads back as written; shorter and longer bytes do not read.
    pub(crate) fn round_trip<K: PartialEq + core::fmt::Debug>(
        value: &K,
        encode: impl Fn(&K) -> Key,
        decode: impl Fn(&[u8]) -> Option<K>,
    ) {
        let key = encode(value);
        let bytes = key.as_slice();
        assert_eq!(decode(bytes).as_ref(), Some(value));
        for len in 0..bytes.len() {
            assert_eq!(decode(&bytes[..len]), None, "a key cut to {len} bytes reads as something");
        }
        let longer = [bytes, &[0]].concat();
        assert_eq!(decode(&longer), None, "a longer key reads as something");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_end_of_a_prefix_is_behind_everything_that_starts_with_it(
            prefix in prop::collection::vec(prop_oneof![any::<u8>(), Just(255)], 0..80),
            tail in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let key = Key::from_slice(&prefix).unwrap();
            let inside = [prefix.clone(), tail].concat();
            match key.prefix_end() {
                Some(end) => {
                    prop_assert!(inside.as_slice() < end.as_slice());
                    prop_assert!(!end.as_slice().starts_with(&prefix));
                }
                None => prop_assert!(prefix.iter().all(|byte| *byte == 255)),
            }
        }
    }

    proptest! {
        #[test]
        fn a_key_has_the_bytes_it_was_made_of_and_sorts_as_they_do(
            a in prop::collection::vec(any::<u8>(), 0..120),
            b in prop::collection::vec(any::<u8>(), 0..120),
            at in 0usize..120,
        ) {
            let (head, tail) = a.split_at(at.min(a.len()));
            let key = Key::of(&[head, tail]);
            prop_assert_eq!(key.as_slice(), &a[..]);
            prop_assert_eq!(key.len(), a.len());
            prop_assert_eq!(key == Key::of(&[&b]), a == b);
            let after = key.just_after();
            prop_assert!(key.as_slice() < after.as_slice() && (b <= a || b.as_slice() >= after.as_slice()));
        }
    }

    #[test]
    fn a_key_longer_than_any_is_refused() {
        assert!(Key::from_slice(&[0; KEY_BYTES_MAX]).is_some());
        assert!(Key::from_slice(&[0; KEY_BYTES_MAX + 1]).is_none());
    }
}
