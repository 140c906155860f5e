//! `tiles`: level and number of a full hash tile → its 256 hashes.

use super::{Key, read_u64};

/// Key of a full tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TileKey {
    /// The tile's level, 0 at the leaves.
    pub level: u8,
    /// The tile's number in its level.
    pub index: u64,
}

impl TileKey {
    /// 9 bytes.
    #[must_use]
    pub fn encode(&self) -> Key {
        Key::of(&[&[self.level], &self.index.to_be_bytes()])
    }

    /// Reads 9 bytes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (level, index) = bytes.split_first()?;
        Some(Self { level: *level, index: read_u64(index)? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_tile_key_reads_back_as_written(level: u8, index: u64) {
            crate::keys::check::round_trip(&TileKey { level, index }, TileKey::encode, TileKey::decode);
        }
    }
}
