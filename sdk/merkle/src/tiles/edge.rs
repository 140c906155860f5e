//! The right edge of the tiled tree, in memory.
//!
//! Takes leaf hashes or a run's nodes, gives the tiles they complete. A partial tile is kept with its inner nodes, so
//! that nothing at the edge is hashed twice and proofs over it hash nothing. One writer appends while readers hold
//! clones: a clone is eight reference counts, and the next append copies at most the tile it writes to, 16 KiB per
//! level. After a restart it comes back from the stored full tiles below and the leaves of the last partial one.

use std::sync::{Arc, OnceLock};

use tally_protocol::hash::{LeafHash, NodeHash, RootHash, node};
use tally_protocol::id::TreeSize;
use tally_protocol::tile::TileId;

use super::nodes::TileHashes;
use super::{HASH_BYTES, MIDDLE_HEIGHT, TILE_HEIGHT, TILE_LEVELS, TILE_WIDTH, full_tiles, partial_width};
use crate::error::{OutOfStep, TileError};
use crate::frontier::Frontier;
use crate::node::{bit_length, peaks};
use crate::run_tree::RunTree;
use crate::source::NodeSource;

/// A tile that will never change again; cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct FullTile {
    /// The tile's level: its hashes are nodes of eight times this level.
    pub level: u8,
    /// The tile's position in its level.
    pub index: u64,
    /// 256 hashes, 8192 bytes.
    pub bytes: Arc<[u8]>,
    /// The middle row, 512 bytes: stored beside the hashes, so that a path can be read without hashing them all
    /// ([`RowedTile`](super::RowedTile)). It follows from them and is no part of the tile that is served.
    pub middle_row: Arc<[u8]>,
}

impl FullTile {
    /// The tile's name.
    #[must_use]
    pub const fn id(&self) -> TileId {
        TileId { level: self.level, index: self.index, width: TILE_WIDTH as u16 }
    }
}

impl core::fmt::Debug for FullTile {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("FullTile").field("level", &self.level).field("index", &self.index).finish_non_exhaustive()
    }
}

/// A tile that is not full: row 0 its hashes, fewer than 256; row h the perfect subtrees of `1 << h` of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Partial {
    rows: [Vec<NodeHash>; TILE_HEIGHT as usize],
}

/// The partial tiles of a tree of some size.
#[derive(Debug, Clone, Default)]
pub struct Edge {
    size: u64,
    /// By tile level.
    levels: [Arc<Partial>; TILE_LEVELS],
    /// The joined peaks below each tree level, once somebody asked: they belong to the size.
    borders: OnceLock<Vec<Option<NodeHash>>>,
}

/// What was asked for does not count.
impl PartialEq for Edge {
    fn eq(&self, other: &Self) -> bool {
        (self.size, &self.levels) == (other.size, &other.levels)
    }
}

impl Eq for Edge {}

impl Edge {
    /// The edge of the empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The tree's size.
    #[must_use]
    pub const fn size(&self) -> TreeSize {
        TreeSize::new(self.size)
    }

    /// The hashes of the partial tile of a level, fewer than 256; none above the highest level.
    #[must_use]
    pub fn partial(&self, level: u8) -> &[NodeHash] {
        self.levels.get(usize::from(level)).map_or(&[], |partial| partial.rows[0].as_slice())
    }

    /// Adds leaves and gives the tiles they complete, lowest level first: one hash per leaf amortised. Where a
    /// [`RunTree`] exists already, [`append_run`](Self::append_run) hashes nothing.
    pub fn append(&mut self, leaves: &[LeafHash]) -> Vec<FullTile> {
        let mut full = Vec::new();
        let mut hashes: Vec<NodeHash> = leaves.iter().map(|leaf| leaf.node()).collect();
        for level in 0..TILE_LEVELS {
            hashes = self.fill(level, &hashes, &mut full, |_, _| None);
            if hashes.is_empty() {
                break;
            }
        }
        self.set_size(self.size + leaves.len() as u64);
        full
    }

    /// Adds a run whose nodes are known already, and gives the tiles it completes, lowest level first.
    ///
    /// # Errors
    /// [`OutOfStep`] when the run does not start where the edge ends; nothing has changed then.
    pub fn append_run(&mut self, run: &RunTree) -> Result<Vec<FullTile>, OutOfStep> {
        if run.start() != self.size() {
            return Err(OutOfStep { edge: self.size(), run: run.start() });
        }
        let mut full = Vec::new();
        for level in 0..TILE_LEVELS {
            let known = |level, index| run.node(level, index).ok();
            self.fill(level, run.completed(TILE_HEIGHT * level as u32), &mut full, known);
        }
        self.set_size(run.size().get());
        Ok(full)
    }

    /// The root at the edge's size, from the partial tiles alone.
    #[must_use]
    pub fn root(&self) -> RootHash {
        self.frontier().root()
    }

    /// The frontier at the edge's size. No hashing.
    #[must_use]
    pub fn frontier(&self) -> Frontier {
        let peaks = peaks(self.size).filter_map(|(level, index)| self.partial_node(level, index)).collect();
        Frontier::from_peaks(self.size, peaks)
    }

    /// The edge of a tree of `size`, from its full tiles and the leaves after the last full tile of level 0.
    ///
    /// `fetch(level, index)` gives a full tile; it is called for at most 255 tiles per level. The tiles are
    /// believed: compare [`root`](Self::root) with a signed one.
    ///
    /// # Errors
    /// [`TileError`] when a tile is missing, malformed or cannot be fetched, or `tail` has not exactly the leaves
    /// `size / 256 * 256 .. size`.
    pub fn restore<T: TileHashes, E>(
        size: TreeSize,
        mut fetch: impl FnMut(u8, u64) -> Result<Option<T>, E>,
        tail: &[LeafHash],
    ) -> Result<Self, TileError<E>> {
        let size = size.get();
        let expected = partial_width(0, size);
        if tail.len() != expected {
            return Err(TileError::Tail { expected, given: tail.len() });
        }
        let tail: Vec<NodeHash> = tail.iter().map(|leaf| leaf.node()).collect();
        let mut edge = Self { size, ..Self::default() };
        edge.levels[0] = Arc::new(Partial::of(&tail));
        for level in 1..TILE_LEVELS {
            let below = level as u8 - 1;
            let end = full_tiles(level - 1, size);
            let roots = (end - partial_width(level, size) as u64..end).map(|index| {
                let tile = fetch(below, index).map_err(TileError::Fetch)?;
                let tile = tile.ok_or(TileError::Missing { level: below, index })?;
                tile.subtree(TILE_HEIGHT, 0).ok_or(TileError::Malformed { level: below, index })
            });
            edge.levels[level] = Arc::new(Partial::of(&roots.collect::<Result<Vec<_>, _>>()?));
        }
        Ok(edge)
    }

    /// The root of a perfect subtree that lies in a partial tile; `None` when it does not.
    pub(super) fn partial_node(&self, level: u32, index: u64) -> Option<NodeHash> {
        let (tile_level, height) = ((level / TILE_HEIGHT) as usize, level % TILE_HEIGHT);
        let row = self.levels.get(tile_level)?.rows.get(height as usize)?;
        let first = full_tiles(tile_level, self.size) << (TILE_HEIGHT - height);
        row.get(usize::try_from(index.checked_sub(first)?).ok()?).copied()
    }

    /// The joined peaks below a tree level: hashed once for a size, however many paths end in them.
    pub(super) fn border(&self, level: u32) -> Option<NodeHash> {
        let borders = self.borders.get_or_init(|| self.join_borders());
        borders.get(level as usize).copied().flatten()
    }

    fn join_borders(&self) -> Vec<Option<NodeHash>> {
        let mut joined: Option<NodeHash> = None;
        let mut borders = vec![joined];
        for level in 0..bit_length(self.size) {
            if self.size >> level & 1 == 1 {
                joined = match (self.partial_node(level, (self.size >> level) - 1), joined) {
                    (Some(left), Some(right)) => Some(node(&left, &right)),
                    (left, right) => left.or(right),
                };
            }
            borders.push(joined);
        }
        borders
    }

    fn set_size(&mut self, size: u64) {
        self.size = size;
        self.borders = OnceLock::new();
    }

    /// Adds nodes to the partial tile of a level, cutting it into full tiles, and gives the full ones' roots. Inner
    /// nodes come from `known(tree level, index)` where it has them. `self.size` is still the old one.
    fn fill(
        &mut self,
        level: usize,
        mut hashes: &[NodeHash],
        full: &mut Vec<FullTile>,
        known: impl Fn(u32, u64) -> Option<NodeHash>,
    ) -> Vec<NodeHash> {
        let mut roots = Vec::new();
        let mut index = full_tiles(level, self.size);
        while !hashes.is_empty() {
            let partial = Arc::make_mut(&mut self.levels[level]);
            let (now, later) = hashes.split_at(hashes.len().min(TILE_WIDTH - partial.rows[0].len()));
            hashes = later;
            partial.extend(now, |height, at| {
                known(TILE_HEIGHT * level as u32 + height, (index << (TILE_HEIGHT - height)) + at)
            });
            if let [left, right] = partial.rows[7][..] {
                roots.push(known(TILE_HEIGHT * (level as u32 + 1), index).unwrap_or_else(|| node(&left, &right)));
                full.push(partial.full_tile(level as u8, index));
                index += 1;
                partial.clear();
            }
        }
        roots
    }
}

impl Partial {
    fn of(hashes: &[NodeHash]) -> Self {
        let mut partial = Self::default();
        partial.extend(hashes, |_, _| None);
        partial
    }

    /// Adds hashes, at most up to a full tile, and the inner nodes they complete: `known(height, position in the
    /// row)`, or hashed from the row below.
    fn extend(&mut self, hashes: &[NodeHash], known: impl Fn(u32, u64) -> Option<NodeHash>) {
        self.rows[0].reserve_exact(TILE_WIDTH - self.rows[0].len());
        self.rows[0].extend_from_slice(hashes);
        for height in 1..self.rows.len() {
            let (below, above) = self.rows.split_at_mut(height);
            let (Some(below), Some(above)) = (below.last(), above.first_mut()) else { return };
            above.reserve_exact((TILE_WIDTH >> height) - above.len());
            for at in above.len()..below.len() / 2 {
                let hash = known(height as u32, at as u64);
                above.push(hash.unwrap_or_else(|| node(&below[at * 2], &below[at * 2 + 1])));
            }
        }
    }

    /// Itself, when it has all its hashes.
    fn full_tile(&self, level: u8, index: u64) -> FullTile {
        let [bytes, middle_row] = [0, MIDDLE_HEIGHT as usize].map(|height| concat(&self.rows[height]));
        FullTile { level, index, bytes, middle_row }
    }

    fn clear(&mut self) {
        self.rows.iter_mut().for_each(Vec::clear);
    }
}

fn concat(hashes: &[NodeHash]) -> Arc<[u8]> {
    let mut bytes = Vec::with_capacity(hashes.len() * HASH_BYTES);
    for hash in hashes {
        bytes.extend_from_slice(hash.as_bytes());
    }
    bytes.into()
}
