//! `checkpoints`: the newest signed checkpoint, and every published one by its size.

use tally_protocol::id::TreeSize;

use super::{Key, read_u64};

const LATEST: u8 = 0;
const PUBLISHED: u8 = 1;

/// Key of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointKey {
    /// The newest signed one, with the frontier it was computed from.
    Latest,
    /// One that was published.
    Published(TreeSize),
}

impl CheckpointKey {
    /// 1 or 9 bytes.
    #[must_use]
    pub fn encode(&self) -> Key {
        match self {
            Self::Latest => Key::of(&[&[LATEST]]),
            Self::Published(size) => Key::of(&[&[PUBLISHED], &size.get().to_be_bytes()]),
        }
    }

    /// Reads 1 or 9 bytes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (&LATEST, []) => Some(Self::Latest),
            (&PUBLISHED, size) => Some(Self::Published(TreeSize::new(read_u64(size)?))),
            _ => None,
        }
    }

    /// What all published ones start with.
    #[must_use]
    pub fn published() -> Key {
        Key::of(&[&[PUBLISHED]])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_latest_key_reads_back_as_written() {
        crate::keys::check::round_trip(&CheckpointKey::Latest, CheckpointKey::encode, CheckpointKey::decode);
    }

    proptest! {
        #[test]
        fn a_published_key_reads_back_as_written(size: u64) {
            let key = CheckpointKey::Published(TreeSize::new(size));
            prop_assert!(key.encode().as_slice().starts_with(CheckpointKey::published().as_slice()));
            crate::keys::check::round_trip(&key, CheckpointKey::encode, CheckpointKey::decode);
        }
    }
}
