//! Full tiles, the most recently used: what proofs are gathered from.
//!
//! Every path passes the few tiles of the upper levels: they are kept with all their nodes, hashed once. Tiles of level
//! 0 are too many to be met again soon: they are kept as they are stored, and of each path its few nodes are hashed. A
//! full tile never changes, so nothing here is ever wrong; what is dropped is read again. The cache is cut into parts
//! with a lock each, and a part drops by second chance: a tile that was asked for since it was last looked at stays.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tally_merkle::{MIDDLE_ROW_BYTES, RowedTile, TILE_BYTES, TileHashes, TileTree};
use tally_protocol::hash::NodeHash;

use crate::shared::lock;

/// A level and a number in it.
type Place = (u8, u64);

/// Parts of the cache; readers of different tiles seldom meet at one lock.
const PARTS: usize = 16;
/// Bytes kept in all. Ten million events have 324 MiB of tiles of level 0, and 2.4 MiB of those above.
const BYTES_MAX: usize = 64 << 20;

/// A full tile as it is kept; clones share it.
#[derive(Debug, Clone)]
pub(crate) enum KeptTile {
    /// With all its nodes.
    Tree(Arc<TileTree>),
    /// As it is stored.
    Rowed { hashes: Bytes, middle_row: Bytes },
}

/// A tile while a request reads it.
pub(crate) enum TileReading {
    Tree(Arc<TileTree>),
    Rowed(RowedTile<Bytes>),
}

impl KeptTile {
    /// Of a tile's hashes and its middle row, where it has one; `None` when it is malformed.
    pub(crate) fn of(level: u8, (hashes, middle_row): (Bytes, Option<Bytes>)) -> Option<Self> {
        match middle_row {
            Some(middle_row) if level == 0 => Some(Self::Rowed { hashes, middle_row }),
            _ => TileTree::new(&hashes).map(Arc::new).map(Self::Tree),
        }
    }

    /// For one request.
    pub(crate) fn reading(&self) -> Option<TileReading> {
        match self {
            Self::Tree(tree) => Some(TileReading::Tree(Arc::clone(tree))),
            Self::Rowed { hashes, middle_row } => {
                RowedTile::new(hashes.clone(), middle_row.clone()).map(TileReading::Rowed)
            }
        }
    }

    const fn bytes_len(&self) -> usize {
        match self {
            Self::Tree(_) => 2 * TILE_BYTES,
            Self::Rowed { .. } => TILE_BYTES + MIDDLE_ROW_BYTES,
        }
    }
}

impl TileHashes for TileReading {
    fn subtree(&self, height: u32, at: usize) -> Option<NodeHash> {
        match self {
            Self::Tree(tree) => tree.subtree(height, at),
            Self::Rowed(tile) => tile.subtree(height, at),
        }
    }
}

#[derive(Default)]
struct Part {
    tiles: HashMap<Place, Kept>,
    /// In the order in which they are looked at when room is needed.
    queue: VecDeque<Place>,
    bytes: usize,
}

struct Kept {
    tile: KeptTile,
    asked: bool,
}

/// The cache.
pub(crate) struct TileCache {
    parts: [Mutex<Part>; PARTS],
    bytes_max: usize,
}

impl Default for TileCache {
    fn default() -> Self {
        Self::of(BYTES_MAX)
    }
}

impl TileCache {
    /// A cache of so many bytes.
    pub(crate) fn of(bytes_max: usize) -> Self {
        Self { parts: Default::default(), bytes_max }
    }

    fn part(&self, (level, index): Place) -> &Mutex<Part> {
        // Neighbours are asked for together: they lie in different parts.
        let at = index.wrapping_add(u64::from(level).wrapping_mul(7)) % PARTS as u64;
        &self.parts[at as usize]
    }

    /// A tile, if it is kept.
    pub(crate) fn get(&self, place: Place) -> Option<KeptTile> {
        let mut part = lock(self.part(place));
        let kept = part.tiles.get_mut(&place)?;
        kept.asked = true;
        Some(kept.tile.clone())
    }

    /// Keeps a tile, in the place of those that nobody asked for.
    pub(crate) fn keep(&self, place: Place, tile: &KeptTile) {
        let mut part = lock(self.part(place));
        let part = &mut *part;
        part.bytes += tile.bytes_len();
        match part.tiles.insert(place, Kept { tile: tile.clone(), asked: false }) {
            None => part.queue.push_back(place),
            Some(before) => part.bytes -= before.tile.bytes_len(),
        }
        while part.bytes > self.bytes_max / PARTS {
            let Some(oldest) = part.queue.pop_front() else { return };
            match part.tiles.get_mut(&oldest) {
                Some(kept) if kept.asked => {
                    kept.asked = false;
                    part.queue.push_back(oldest);
                }
                _ => part.bytes -= part.tiles.remove(&oldest).map_or(0, |kept| kept.tile.bytes_len()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile(level: u8, middle_row: bool) -> KeptTile {
        let row = middle_row.then(|| vec![2; MIDDLE_ROW_BYTES].into());
        KeptTile::of(level, (vec![1; TILE_BYTES].into(), row)).unwrap()
    }

    #[test]
    fn it_holds_no_more_bytes_than_its_bound_and_keeps_what_is_asked_for() {
        let cache = TileCache::default();
        cache.keep((1, 0), &tile(1, true));
        let (rowed, bare) = (tile(0, true), tile(0, false));
        for index in 0..3 * (BYTES_MAX / TILE_BYTES) as u64 {
            cache.keep((0, index), if index % 3 == 0 { &bare } else { &rowed });
            assert!(cache.get((1, 0)).is_some());
        }
        for part in cache.parts.iter().map(|part| lock(part)) {
            let held: usize = part.tiles.values().map(|kept| kept.tile.bytes_len()).sum();
            assert_eq!((part.bytes, part.queue.len()), (held, part.tiles.len()));
            assert!((BYTES_MAX / PARTS - 3 * TILE_BYTES..=BYTES_MAX / PARTS).contains(&held), "{held}");
        }
    }

    #[test]
    fn only_a_tile_of_level_0_with_its_row_is_kept_as_it_is_stored() {
        assert!(matches!(tile(0, true), KeptTile::Rowed { .. }));
        assert!(matches!((tile(0, false), tile(1, true)), (KeptTile::Tree(_), KeptTile::Tree(_))));
        assert!(KeptTile::of(0, (vec![1; 100].into(), None)).is_none());
    }
}
