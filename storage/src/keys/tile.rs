//! `tiles`: the size of the tree that completes a full hash tile, and the tile's level → its 256 hashes
//! and its middle row.
//!
//! Keys grow as tiles are completed, whatever their level, so the database never sorts them again: by level and number,
//! each file would hold some of every level and overlap with all files before it.

use super::{Key, read_u64, split};

/// Key of a full tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TileKey {
    /// The tile's level, 0 at the leaves.
    pub level: u8,
    /// The tile's number in its level.
    pub index: u64,
}

impl TileKey {
    /// 9 bytes. A tile that no tree of 64-bit size completes has the key of none.
    #[must_use]
    pub fn encode(&self) -> Key {
        let size = self.index.checked_add(1).and_then(|end| shifted(end, self.level)).unwrap_or(u64::MAX);
        Key::of(&[&size.to_be_bytes(), &[self.level]])
    }

    /// Reads 9 bytes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (size, level) = split::<8>(bytes)?;
        let (size, level) = (read_u64(size)?, u8::from_be_bytes(level.try_into().ok()?));
        let end = size.checked_shr(height(level))?;
        (shifted(end, level) == Some(size)).then_some(Self { level, index: end.checked_sub(1)? })
    }
}

/// Tree levels up to and including a tile's root.
const fn height(level: u8) -> u32 {
    8 * (level as u32 + 1)
}

fn shifted(end: u64, level: u8) -> Option<u64> {
    let size = end.checked_shl(height(level))?;
    (size >> height(level) == end).then_some(size)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_tile_key_reads_back_as_written(level in 0u8..7, index: u64) {
            let index = index % ((1 << (64 - height(level))) - 1);
            crate::keys::check::round_trip(&TileKey { level, index }, TileKey::encode, TileKey::decode);
        }

        #[test]
        fn tiles_sort_in_the_order_of_their_completion(a in (0u8..4, 0u64..1 << 20), b in (0u8..4, 0u64..1 << 20)) {
            let size = |(level, index): (u8, u64)| (index + 1) << (8 * (u32::from(level) + 1));
            let key = |(level, index)| TileKey { level, index }.encode().as_slice().to_vec();
            prop_assert_eq!(key(a).cmp(&key(b)), (size(a), a.0).cmp(&(size(b), b.0)));
        }
    }

    #[test]
    fn a_tile_that_cannot_be_has_the_key_of_none() {
        for (level, index) in [(7, 0), (7, u64::MAX), (6, 256), (0, u64::MAX), (u8::MAX, 0)] {
            assert_eq!(TileKey::decode(TileKey { level, index }.encode().as_slice()), None, "level {level} {index}");
        }
    }
}
