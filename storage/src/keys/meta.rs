//! `meta`: facts about the directory, by name.

use super::Key;

const FORMAT: &[u8] = b"format";
const GENESIS: &[u8] = b"genesis";
const FENCE_PENDING: &[u8] = b"fence_pending";
const COMMIT_CURSOR: &[u8] = b"commit_cursor";

/// Key of a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetaKey {
    /// The layout's version, u16.
    Format,
    /// The genesis entry's bytes.
    Genesis,
    /// There while the fence outside the directory does not know this ledger yet.
    FencePending,
    /// Everything below is in a commitment, u64.
    CommitCursor,
}

impl MetaKey {
    /// The name in ASCII.
    #[must_use]
    pub fn encode(&self) -> Key {
        Key::of(&[match self {
            Self::Format => FORMAT,
            Self::Genesis => GENESIS,
            Self::FencePending => FENCE_PENDING,
            Self::CommitCursor => COMMIT_CURSOR,
        }])
    }

    /// Reads a name.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes {
            FORMAT => Some(Self::Format),
            GENESIS => Some(Self::Genesis),
            FENCE_PENDING => Some(Self::FencePending),
            COMMIT_CURSOR => Some(Self::CommitCursor),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meta_key_reads_back_as_written() {
        for key in [MetaKey::Format, MetaKey::Genesis, MetaKey::FencePending, MetaKey::CommitCursor] {
            crate::keys::check::round_trip(&key, MetaKey::encode, MetaKey::decode);
        }
    }
}
