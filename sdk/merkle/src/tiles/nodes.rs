//! Nodes of any level and any size out of tiles.
//!
//! Takes a closure that fetches full tiles and an edge, gives a [`NodeSource`] for every size up to the edge's. A node
//! of a level that is no multiple of eight is hashed from its tile's bytes, at most 127 hashes. A caller that gives
//! [`TileTree`]s pays for a whole tile once and for no path; one that gives [`RowedTile`](super::RowedTile)s pays 28
//! hashes for each path. The last tile of each level is remembered, because a path climbs eight steps in one tile.
//! Lives for one request; not shared between threads.

use std::cell::RefCell;
use std::sync::Arc;

use tally_protocol::hash::NodeHash;
use tally_protocol::id::TreeSize;

use super::edge::Edge;
use super::rows::{extend_rows, hash_at, hashes_of};
use super::{HASH_BYTES, MIDDLE_HEIGHT, TILE_BYTES, TILE_HEIGHT, TILE_LEVELS, TILE_WIDTH, full_tiles};
use crate::error::TileError;
use crate::node::border_peaks;
use crate::prove::joined;
use crate::source::NodeSource;

/// A full tile's content, as bytes or prepared.
pub trait TileHashes {
    /// The root of the subtree of `1 << height` hashes of the tile, `at` counted in such subtrees; height 0 is the
    /// hashes themselves, 8 the tile's root. `None` when this is no full tile or the subtree is outside.
    fn subtree(&self, height: u32, at: usize) -> Option<NodeHash>;
}

impl TileHashes for [u8] {
    fn subtree(&self, height: u32, at: usize) -> Option<NodeHash> {
        if self.len() != TILE_BYTES || height > TILE_HEIGHT {
            return None;
        }
        if height == 0 {
            return hash_at(self, at);
        }
        let from = at.checked_mul(HASH_BYTES << height)?;
        let mut nodes = hashes_of(self.get(from..from.checked_add(HASH_BYTES << height)?)?)?;
        extend_rows(&mut nodes, 1);
        nodes.last().copied()
    }
}

impl TileHashes for Vec<u8> {
    fn subtree(&self, height: u32, at: usize) -> Option<NodeHash> {
        self.as_slice().subtree(height, at)
    }
}

impl<T: TileHashes + ?Sized> TileHashes for Arc<T> {
    fn subtree(&self, height: u32, at: usize) -> Option<NodeHash> {
        (**self).subtree(height, at)
    }
}

impl<T: TileHashes + ?Sized> TileHashes for &T {
    fn subtree(&self, height: u32, at: usize) -> Option<NodeHash> {
        (**self).subtree(height, at)
    }
}

/// A full tile with all its inner nodes, 16 KiB: what a proof server caches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TileTree {
    /// The 256 hashes, then the 128 above them, up to the tile's root.
    nodes: Vec<NodeHash>,
}

impl TileTree {
    /// Hashes a full tile's inner nodes; `None` when these are not 8192 bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut nodes = hashes_of(bytes).filter(|hashes| hashes.len() == TILE_WIDTH)?;
        extend_rows(&mut nodes, 1);
        Some(Self { nodes })
    }

    /// The tile's middle row, as it is stored beside its hashes ([`FullTile::middle_row`](super::FullTile)).
    #[must_use]
    pub fn middle_row(&self) -> Vec<u8> {
        let width = TILE_WIDTH >> MIDDLE_HEIGHT;
        (0..width).filter_map(|at| self.subtree(MIDDLE_HEIGHT, at)).flat_map(|node| *node.as_bytes()).collect()
    }
}

impl TileHashes for TileTree {
    fn subtree(&self, height: u32, at: usize) -> Option<NodeHash> {
        // Level h begins after 256 + 128 + ... (h terms), and has 256 >> h nodes.
        let width = TILE_WIDTH.checked_shr(height)?;
        let begin = 2 * (TILE_WIDTH - width);
        if at < width { self.nodes.get(begin + at).copied() } else { None }
    }
}

/// The nodes of a tiled tree at any size up to the edge's.
pub struct TileNodes<'a, F, T> {
    edge: &'a Edge,
    fetch: F,
    last: RefCell<[Option<(u64, T)>; TILE_LEVELS]>,
}

impl<'a, F, T, E> TileNodes<'a, F, T>
where
    F: Fn(u8, u64) -> Result<Option<T>, E>,
    T: TileHashes,
{
    /// Full tiles come from `fetch(level, index)`, the rest from the edge.
    pub fn new(edge: &'a Edge, fetch: F) -> Self {
        Self { edge, fetch, last: RefCell::default() }
    }

    fn stored(&self, level: u8, index: u64, height: u32, at: usize) -> Result<NodeHash, TileError<E>> {
        let malformed = TileError::Malformed { level, index };
        let mut last = self.last.borrow_mut();
        let Some(slot) = last.get_mut(usize::from(level)) else {
            return Err(TileError::Missing { level, index });
        };
        if let Some((_, tile)) = slot.as_ref().filter(|(held, _)| *held == index) {
            return tile.subtree(height, at).ok_or(malformed);
        }
        let tile = (self.fetch)(level, index).map_err(TileError::Fetch)?;
        let tile = tile.ok_or(TileError::Missing { level, index })?;
        slot.insert((index, tile)).1.subtree(height, at).ok_or(malformed)
    }
}

impl<F, T, E> NodeSource for TileNodes<'_, F, T>
where
    F: Fn(u8, u64) -> Result<Option<T>, E>,
    T: TileHashes,
{
    type Error = TileError<E>;

    fn node(&self, level: u32, index: u64) -> Result<NodeHash, TileError<E>> {
        let size = self.edge.size();
        let beyond = TileError::BeyondEdge { level, index, size };
        if level >= u64::BITS || index >= size.get() >> level {
            return Err(beyond);
        }
        let (tile_level, height) = ((level / TILE_HEIGHT) as usize, level % TILE_HEIGHT);
        // In bounds, so `index << height` is below `size >> (8 * tile_level)`.
        let first = index << height;
        let tile = first / TILE_WIDTH as u64;
        if tile >= full_tiles(tile_level, size.get()) {
            return self.edge.partial_node(level, index).ok_or(beyond);
        }
        let at = (first % TILE_WIDTH as u64) as usize >> height;
        self.stored(tile_level as u8, tile, height, at)
    }

    fn border(&self, level: u32, size: TreeSize) -> Result<Option<NodeHash>, TileError<E>> {
        if size == self.edge.size() {
            Ok(self.edge.border(level))
        } else {
            joined(self, border_peaks(level, size.get()))
        }
    }
}
