//! Full hash tiles: 256 hashes of one level, immutable once complete. Derived.
//!
//! Takes and gives a tile's bytes, and its middle row behind them; what they mean is `sdk/merkle`'s. A tile that was
//! stored without a row is a tile too. Partial tiles are not stored: the right edge is in memory and computed again at
//! start. Fails when a value has another length.

use std::sync::Arc;

use bytes::Bytes;

use crate::batch::{Batch, Engine};
use crate::error::StorageError;
use crate::family::Family;
use crate::keys::TileKey;

/// Bytes of a full tile: 256 hashes of 32 bytes.
pub const TILE_BYTES: usize = 8192;

/// Bytes of a full tile's middle row: 16 hashes.
pub const MIDDLE_ROW_BYTES: usize = 512;

/// Bytes of a tile with its row.
const WHOLE_BYTES: usize = TILE_BYTES + MIDDLE_ROW_BYTES;

/// A full tile as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTile {
    value: Bytes,
}

impl StoredTile {
    /// The tile itself, [`TILE_BYTES`] bytes.
    #[must_use]
    pub fn hashes(&self) -> Bytes {
        self.value.slice(..TILE_BYTES)
    }

    /// The nodes that are stored behind it, [`MIDDLE_ROW_BYTES`] bytes; `None` if it was stored without.
    #[must_use]
    pub fn middle_row(&self) -> Option<Bytes> {
        (self.value.len() == WHOLE_BYTES).then(|| self.value.slice(TILE_BYTES..))
    }

    /// Both, as they lie in the database: what an auditor compares.
    #[must_use]
    pub const fn value(&self) -> &Bytes {
        &self.value
    }
}

/// The tiles of one log.
#[derive(Clone)]
pub struct TileStore {
    engine: Arc<dyn Engine>,
    family: Family,
}

impl TileStore {
    /// Those of the log of events, over an engine.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine, family: Family::Tiles }
    }

    /// Those of the log of outcomes.
    #[must_use]
    pub fn of_outcomes(engine: Arc<dyn Engine>) -> Self {
        Self { engine, family: Family::OutcomeTiles }
    }

    /// Puts a full tile and its middle row into the batch.
    pub fn put(
        &self,
        batch: &mut Batch,
        (level, index): (u8, u64),
        hashes: &[u8; TILE_BYTES],
        middle_row: &[u8; MIDDLE_ROW_BYTES],
    ) {
        let mut value = Vec::with_capacity(WHOLE_BYTES);
        value.extend_from_slice(hashes);
        value.extend_from_slice(middle_row);
        batch.put(self.family, TileKey { level, index }.encode(), value);
    }

    /// A full tile; `None` if it is not stored (yet).
    ///
    /// # Errors
    /// The engine failed, or what is stored has another length.
    pub fn get(&self, level: u8, index: u64) -> Result<Option<StoredTile>, StorageError> {
        let key = TileKey { level, index }.encode();
        let Some(value) = self.engine.get(self.family, &key)? else { return Ok(None) };
        let bad = || StorageError::bad_value(self.family, key.as_slice(), "neither 8192 nor 8704 bytes");
        if value.len() == TILE_BYTES || value.len() == WHOLE_BYTES {
            Ok(Some(StoredTile { value }))
        } else {
            Err(bad())
        }
    }
}
