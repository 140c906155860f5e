//! Full tiles with their inner nodes, the most recently used: what proofs are gathered from without hashing.
//!
//! A full tile never changes, so nothing here is ever wrong; what is dropped is read and hashed again. The cache is cut
//! into parts with a lock each, and a part drops by second chance: a tile that was asked for since it was last looked
//! at stays. Every path passes the few tiles of the upper levels, so those are never dropped.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use tally_merkle::TileTree;

use crate::shared::lock;

/// A level and a number in it.
type Place = (u8, u64);

/// Parts of the cache; readers of different tiles seldom meet at one lock.
const PARTS: usize = 16;
/// Tiles kept: 16 KiB each, 64 MiB in all. A million events have 3,906 tiles of level 0.
const TILES_MAX: usize = 4096;

#[derive(Default)]
struct Part {
    tiles: HashMap<Place, Kept>,
    /// In the order in which they are looked at when room is needed.
    queue: VecDeque<Place>,
}

struct Kept {
    tree: Arc<TileTree>,
    asked: bool,
}

/// The cache.
#[derive(Default)]
pub(crate) struct TileCache {
    parts: [Mutex<Part>; PARTS],
}

impl TileCache {
    fn part(&self, (level, index): Place) -> &Mutex<Part> {
        // Neighbours are asked for together: they lie in different parts.
        let at = index.wrapping_add(u64::from(level).wrapping_mul(7)) % PARTS as u64;
        &self.parts[at as usize]
    }

    /// A tile, if it is kept.
    pub(crate) fn get(&self, place: Place) -> Option<Arc<TileTree>> {
        let mut part = lock(self.part(place));
        let kept = part.tiles.get_mut(&place)?;
        kept.asked = true;
        Some(Arc::clone(&kept.tree))
    }

    /// Keeps a tile, in the place of one that nobody asked for.
    pub(crate) fn keep(&self, place: Place, tree: &Arc<TileTree>) {
        let mut part = lock(self.part(place));
        let part = &mut *part;
        if part.tiles.insert(place, Kept { tree: Arc::clone(tree), asked: false }).is_none() {
            part.queue.push_back(place);
        }
        while part.tiles.len() > TILES_MAX / PARTS {
            let Some(oldest) = part.queue.pop_front() else { return };
            match part.tiles.get_mut(&oldest) {
                Some(kept) if kept.asked => {
                    kept.asked = false;
                    part.queue.push_back(oldest);
                }
                _ => {
                    part.tiles.remove(&oldest);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(number: u64) -> Arc<TileTree> {
        let mut bytes = vec![0; tally_merkle::TILE_BYTES];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        Arc::new(TileTree::new(&bytes).unwrap())
    }

    #[test]
    fn it_holds_no_more_than_its_bound_and_keeps_what_is_asked_for() {
        let cache = TileCache::default();
        let root = tree(0);
        cache.keep((1, 0), &root);
        let one = tree(1);
        for index in 0..3 * TILES_MAX as u64 {
            cache.keep((0, index), &one);
            assert_eq!(cache.get((1, 0)), Some(Arc::clone(&root)));
        }
        let kept: usize = cache.parts.iter().map(|part| lock(part).tiles.len()).sum();
        let queued: usize = cache.parts.iter().map(|part| lock(part).queue.len()).sum();
        assert_eq!((kept, queued), (TILES_MAX, TILES_MAX));
    }
}
