//! `meta`: facts about the directory, by name.

use super::Key;

const FORMAT: &[u8] = b"format";
const GENESIS: &[u8] = b"genesis";
const FENCE_PENDING: &[u8] = b"fence_pending";
const COMMIT_CURSOR: &[u8] = b"commit_cursor";
const DISPATCH_FLOOR: &[u8] = b"dispatch_floor";

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
    /// Every effect up to here is answered: its key, and the log's size then, u64.
    DispatchFloor,
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
            Self::DispatchFloor => DISPATCH_FLOOR,
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
            DISPATCH_FLOOR => Some(Self::DispatchFloor),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meta_key_reads_back_as_written() {
        let cursors = [MetaKey::CommitCursor, MetaKey::DispatchFloor];
        for key in [MetaKey::Format, MetaKey::Genesis, MetaKey::FencePending].into_iter().chain(cursors) {
            crate::keys::check::round_trip(&key, MetaKey::encode, MetaKey::decode);
        }
    }
}
