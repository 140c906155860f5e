//! `meta`: facts about the directory, by name.

use super::Key;

const FORMAT: &[u8] = b"format";
const GENESIS: &[u8] = b"genesis";

/// Key of a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetaKey {
    /// The layout's version, u16.
    Format,
    /// The genesis entry's bytes.
    Genesis,
}

impl MetaKey {
    /// The name in ASCII.
    #[must_use]
    pub fn encode(&self) -> Key {
        Key::of(&[match self {
            Self::Format => FORMAT,
            Self::Genesis => GENESIS,
        }])
    }

    /// Reads a name.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes {
            FORMAT => Some(Self::Format),
            GENESIS => Some(Self::Genesis),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meta_key_reads_back_as_written() {
        for key in [MetaKey::Format, MetaKey::Genesis] {
            crate::keys::check::round_trip(key, MetaKey::encode, MetaKey::decode);
        }
    }
}
