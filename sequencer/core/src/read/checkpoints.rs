//! Checkpoints and tiles, as C2SP tlog-tiles serves them.

use std::sync::Arc;

use tally_protocol::checkpoint::SignedCheckpoint;
use tally_protocol::id::{Index, TreeSize};
use tally_protocol::tile::{EntryBundleId, TILE_WIDTH, TileId, encode_bundle};

use super::proofs::tile_bytes;
use super::{ReadError, Reader, StoredEvent};
use crate::shared::ServedLog;
use crate::watermarks::Rung;

const HASH_BYTES: usize = 32;

impl ServedLog {
    /// A tile's hashes; see [`Reader::tile`].
    pub(super) fn tile(&self, id: TileId) -> Result<Vec<u8>, ReadError> {
        let certified = self.certified.load_full();
        let bytes_wanted = usize::from(id.width) * HASH_BYTES;
        if let Some(bytes) = tile_bytes(self, id.level, id.index)? {
            return Ok(bytes.get(..bytes_wanted).unwrap_or(&bytes).to_vec());
        }
        let size = certified.checkpoint.checkpoint.size.get();
        let hashes = size.checked_shr(8 * u32::from(id.level)).unwrap_or(0);
        let partial = certified.edge.partial(id.level);
        if hashes / u64::from(TILE_WIDTH) != id.index || partial.len() < usize::from(id.width) {
            return Err(ReadError::NotFound);
        }
        Ok(partial.iter().take(usize::from(id.width)).flat_map(|node| *node.as_bytes()).collect())
    }
}

impl Reader {
    /// The newest certified checkpoint, signed by the receipt key.
    #[must_use]
    pub fn checkpoint(&self) -> Arc<SignedCheckpoint> {
        Arc::clone(&self.shared.events.certified.load().checkpoint)
    }

    /// The newest published checkpoint, signed by the log's key and the receipt key.
    #[must_use]
    pub fn published(&self) -> Option<Arc<SignedCheckpoint>> {
        self.shared.events.published.load_full()
    }

    /// The published checkpoint of exactly this size.
    ///
    /// # Errors
    /// `NotFound` if none was published at this size.
    pub fn published_at(&self, size: TreeSize) -> Result<String, ReadError> {
        self.shared.events.checkpoints.published_at(size)?.map(|published| published.note).ok_or(ReadError::NotFound)
    }

    /// A tile's hashes. A partial tile is a prefix of the full one, so any width up to the tree's edge is answered.
    ///
    /// # Errors
    /// `NotFound` above the certified tree.
    pub fn tile(&self, id: TileId) -> Result<Vec<u8>, ReadError> {
        self.shared.events.tile(id)
    }

    /// A bundle of entries, each behind its length.
    ///
    /// # Errors
    /// `NotFound` above the certified tree.
    pub fn entries(&self, id: EntryBundleId) -> Result<Vec<u8>, ReadError> {
        let first = id.index.checked_mul(u64::from(TILE_WIDTH)).ok_or(ReadError::NotFound)?;
        let end = first.checked_add(u64::from(id.width)).ok_or(ReadError::NotFound)?;
        if end > self.shared.watermarks.get(Rung::Signed).get() {
            return Err(ReadError::NotFound);
        }
        let mut entries = Vec::with_capacity(usize::from(id.width));
        if first == 0 {
            entries.push(self.shared.ledger.genesis_entry.clone());
        }
        let events = self.events_of_log(Index::new(first), usize::try_from(end - first.max(1)).unwrap_or(0))?;
        entries.extend(events.iter().map(StoredEvent::entry).map(|entry| entry.encode().to_vec()));
        encode_bundle(&entries).map_err(|_| ReadError::Invalid("an entry is too long for a bundle"))
    }
}
