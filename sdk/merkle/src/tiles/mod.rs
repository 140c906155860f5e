//! The tree as C2SP tlog-tiles: 256 hashes of every eighth level to a tile.
//!
//! Tile n of level l holds nodes `n * 256 .. (n + 1) * 256` of tree level `8 * l`. A full tile never changes and is
//! stored once; the partial tiles at the right edge (at most one per level) live in memory as the [`Edge`]. A partial
//! tile is a prefix of the full one, so any older width is served from either. [`TileNodes`] reads any node of any
//! size up to the edge's out of both. Fails when a stored tile is missing or has the wrong length.

mod edge;
mod nodes;
mod rowed;
mod rows;

pub use edge::{Edge, FullTile};
pub use nodes::{TileHashes, TileNodes, TileTree};
pub use rowed::RowedTile;

/// Hashes in a full tile.
pub const TILE_WIDTH: usize = tally_protocol::limits::TILE_WIDTH as usize;

/// Bytes of a full tile.
pub const TILE_BYTES: usize = TILE_WIDTH * HASH_BYTES;

/// Bytes of a full tile's middle row: its 16 nodes of height 4, each the root of 16 of its hashes.
pub const MIDDLE_ROW_BYTES: usize = HASH_BYTES * (TILE_WIDTH >> MIDDLE_HEIGHT);

/// Where the middle row lies: as many levels of the tile below it as above it.
const MIDDLE_HEIGHT: u32 = TILE_HEIGHT / 2;

/// Bytes of a hash.
const HASH_BYTES: usize = 32;

/// Tree levels in a tile.
const TILE_HEIGHT: u32 = 8;

/// Levels of tiles: enough for 2^64 leaves.
const TILE_LEVELS: usize = 8;

/// The position, in units of a full tile of tile level `level`, where the partial tile begins at `size`; `None` above
/// the last level.
const fn full_tiles(level: usize, size: u64) -> u64 {
    let shift = TILE_HEIGHT * (level as u32 + 1);
    if shift >= u64::BITS { 0 } else { size >> shift }
}

/// How many hashes the partial tile of a level has at `size`.
const fn partial_width(level: usize, size: u64) -> usize {
    (size >> (TILE_HEIGHT * level as u32)) as usize % TILE_WIDTH
}
