//! Full hash tiles: 256 hashes of one level, immutable once complete. Derived.
//!
//! Takes and gives a tile's bytes; what they mean is `sdk/merkle`'s. Partial tiles are not stored: the right edge is
//! in memory and computed again at start.

use std::sync::Arc;

use bytes::Bytes;

use crate::batch::{Batch, Engine};
use crate::error::StorageError;
use crate::family::Family;
use crate::keys::TileKey;

/// Bytes of a full tile: 256 hashes of 32 bytes.
pub const TILE_BYTES: usize = 8192;

/// The tiles.
#[derive(Clone)]
pub struct TileStore {
    engine: Arc<dyn Engine>,
}

impl TileStore {
    /// Over an engine.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine }
    }

    /// Puts a full tile into the batch.
    pub fn put(&self, batch: &mut Batch, level: u8, index: u64, tile: &[u8; TILE_BYTES]) {
        batch.put(Family::Tiles, TileKey { level, index }.encode(), Bytes::copy_from_slice(tile));
    }

    /// A full tile's bytes, [`TILE_BYTES`] of them; `None` if it is not stored (yet).
    ///
    /// # Errors
    /// The engine failed, or what is stored has another length.
    pub fn get(&self, level: u8, index: u64) -> Result<Option<Bytes>, StorageError> {
        let key = TileKey { level, index }.encode();
        let tile = self.engine.get(Family::Tiles, &key)?;
        match tile {
            Some(tile) if tile.len() != TILE_BYTES => {
                Err(StorageError::bad_value(Family::Tiles, key.as_slice(), "not 8192 bytes"))
            }
            tile => Ok(tile),
        }
    }
}
