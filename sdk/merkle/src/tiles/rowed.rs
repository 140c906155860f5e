//! A path through a full tile that was just read, without hashing the whole tile.
//!
//! Takes a tile's 256 hashes and its middle row (the 16 nodes of height 4), gives the same nodes as the hashes alone.
//! Below the middle a path stays within one group of 16 hashes, above it within the row: both are hashed together, 28
//! nodes in three steps instead of 255 in eight. The row is believed: who stores it compares it with the hashes where
//! stored tiles are compared (recovery, fsck). Fails when the lengths are wrong. Lives for one request.

use std::cell::RefCell;

use tally_protocol::hash::{NodeHash, node};

use super::nodes::TileHashes;
use super::rows::{extend_rows, hash_at, hashes_of};
use super::{HASH_BYTES, MIDDLE_HEIGHT, MIDDLE_ROW_BYTES, TILE_BYTES, TILE_HEIGHT, TILE_WIDTH};

/// Hashes below one node of the middle row.
const GROUP_WIDTH: usize = 1 << MIDDLE_HEIGHT;
/// Bytes of them.
const GROUP_BYTES: usize = GROUP_WIDTH * HASH_BYTES;

/// A full tile with its middle row.
#[derive(Debug)]
pub struct RowedTile<B> {
    hashes: B,
    row: B,
    /// What the path asked for last was hashed with.
    climbed: RefCell<Option<Climb>>,
}

impl<B: AsRef<[u8]>> RowedTile<B> {
    /// Of a tile's bytes and its middle row's; `None` when these are not 8192 and 512 bytes. No hashing.
    #[must_use]
    pub fn new(hashes: B, row: B) -> Option<Self> {
        let whole = hashes.as_ref().len() == TILE_BYTES && row.as_ref().len() == MIDDLE_ROW_BYTES;
        whole.then_some(Self { hashes, row, climbed: RefCell::new(None) })
    }

    /// A node that is neither stored as a hash nor in the row. A path asks for one group only; who asks for another
    /// one's nodes pays again.
    fn climbed(&self, group: Option<usize>, node: impl Fn(&Climb) -> Option<NodeHash>) -> Option<NodeHash> {
        let mut climbed = self.climbed.borrow_mut();
        if let Some(climb) = climbed.as_ref().filter(|climb| group.is_none_or(|group| group == climb.group)) {
            return node(climb);
        }
        node(climbed.insert(Climb::of(self.hashes.as_ref(), self.row.as_ref(), group.unwrap_or(0))?))
    }
}

impl<B: AsRef<[u8]>> TileHashes for RowedTile<B> {
    fn subtree(&self, height: u32, at: usize) -> Option<NodeHash> {
        if at >= TILE_WIDTH.checked_shr(height)? {
            return None;
        }
        match height {
            0 => hash_at(self.hashes.as_ref(), at),
            MIDDLE_HEIGHT => hash_at(self.row.as_ref(), at),
            TILE_HEIGHT => Some(node(&self.subtree(height - 1, 0)?, &self.subtree(height - 1, 1)?)),
            _ if height < MIDDLE_HEIGHT => {
                let width = GROUP_WIDTH >> height;
                self.climbed(Some(at / width), |climb| climb.below(height, at % width))
            }
            _ => self.climbed(None, |climb| climb.above(height - MIDDLE_HEIGHT, at)),
        }
    }
}

/// The nodes between one group of hashes and the middle row, and between the row and the tile's root.
#[derive(Debug)]
struct Climb {
    group: usize,
    /// The group, then the row; above each pair of them its node; up to four nodes.
    nodes: Vec<NodeHash>,
}

impl Climb {
    fn of(hashes: &[u8], row: &[u8], group: usize) -> Option<Self> {
        let mut both = [0; GROUP_BYTES + MIDDLE_ROW_BYTES];
        let (below, above) = both.split_at_mut(GROUP_BYTES);
        below.copy_from_slice(hashes.get(group * GROUP_BYTES..)?.get(..GROUP_BYTES)?);
        above.copy_from_slice(row.get(..MIDDLE_ROW_BYTES)?);
        let mut nodes = hashes_of(&both)?;
        extend_rows(&mut nodes, 4);
        Some(Self { group, nodes })
    }

    /// A node of `height` above the group's hashes.
    fn below(&self, height: u32, at: usize) -> Option<NodeHash> {
        self.nodes.get(Self::begin(height) + at).copied()
    }

    /// A node of `height` above the middle row.
    fn above(&self, height: u32, at: usize) -> Option<NodeHash> {
        self.nodes.get(Self::begin(height) + (GROUP_WIDTH >> height) + at).copied()
    }

    /// Row h begins after 32 + 16 + ... (h terms).
    const fn begin(height: u32) -> usize {
        4 * GROUP_WIDTH - ((4 * GROUP_WIDTH) >> height)
    }
}
