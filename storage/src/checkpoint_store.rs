//! Checkpoints: the newest signed one (derived: recovery folds the tail again and signs the same root), and every
//! published one (truth: the world has seen it).
//!
//! Notes and frontiers are opaque here. The size is kept beside the note so that a look-up does not parse text; the
//! reader of the note checks that both agree.

use std::sync::Arc;

use bytes::Bytes;
use tally_protocol::id::TreeSize;

use crate::batch::{Batch, Engine, ScanRange};
use crate::error::StorageError;
use crate::family::Family;
use crate::keys::CheckpointKey;

/// The newest signed checkpoint with what it was computed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatestCheckpoint {
    /// The tree's size.
    pub size: TreeSize,
    /// The signed note.
    pub note: String,
    /// The frontier of the tree at that size, as `sdk/merkle` encodes it.
    pub frontier: Bytes,
}

/// A published checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedCheckpoint {
    /// The tree's size.
    pub size: TreeSize,
    /// The signed note, with every cosignature known when it was stored.
    pub note: String,
}

/// The checkpoints of one log.
#[derive(Clone)]
pub struct CheckpointStore {
    engine: Arc<dyn Engine>,
    family: Family,
}

impl CheckpointStore {
    /// Those of the log of events, over an engine.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine, family: Family::Checkpoints }
    }

    /// Those of the log of outcomes. Its newest signed one says how far events are applied.
    #[must_use]
    pub fn of_outcomes(engine: Arc<dyn Engine>) -> Self {
        Self { engine, family: Family::OutcomeCheckpoints }
    }

    /// Puts the newest signed checkpoint into the batch, in the place of the one before.
    pub fn put_latest(&self, batch: &mut Batch, latest: &LatestCheckpoint) {
        let mut value = Vec::with_capacity(12 + latest.note.len() + latest.frontier.len());
        value.extend_from_slice(&latest.size.get().to_be_bytes());
        value.extend_from_slice(&(latest.note.len() as u32).to_be_bytes());
        value.extend_from_slice(latest.note.as_bytes());
        value.extend_from_slice(&latest.frontier);
        batch.put(self.family, CheckpointKey::Latest.encode(), value);
    }

    /// The newest signed checkpoint that was stored; the log may be longer.
    ///
    /// # Errors
    /// The engine failed or the value is damaged.
    pub fn latest(&self) -> Result<Option<LatestCheckpoint>, StorageError> {
        let key = CheckpointKey::Latest.encode();
        let Some(value) = self.engine.get(self.family, &key)? else {
            return Ok(None);
        };
        let decoded = decode_latest(&value);
        let bad = || StorageError::bad_value(self.family, key.as_slice(), "not a checkpoint with frontier");
        decoded.ok_or_else(bad).map(Some)
    }

    /// Puts a published checkpoint into the batch. The same size again replaces the note (more cosignatures).
    pub fn put_published(&self, batch: &mut Batch, published: &PublishedCheckpoint) {
        let key = CheckpointKey::Published(published.size).encode();
        batch.put(self.family, key, published.note.clone());
    }

    /// The published checkpoint of the greatest size.
    ///
    /// # Errors
    /// The engine failed or the value is damaged.
    pub fn published_latest(&self) -> Result<Option<PublishedCheckpoint>, StorageError> {
        let from = CheckpointKey::published();
        let range = ScanRange { family: self.family, to: from.prefix_end(), from, reverse: true, limit: 1 };
        let Some(row) = self.engine.scan(&range)?.into_iter().next() else {
            return Ok(None);
        };
        let Some(CheckpointKey::Published(size)) = CheckpointKey::decode(&row.key) else {
            return Err(StorageError::bad_value(self.family, &row.key, "not a published checkpoint's key"));
        };
        Ok(Some(PublishedCheckpoint { size, note: note(self.family, &row.key, &row.value)? }))
    }

    /// The checkpoint published at exactly this size.
    ///
    /// # Errors
    /// The engine failed or the value is damaged.
    pub fn published_at(&self, size: TreeSize) -> Result<Option<PublishedCheckpoint>, StorageError> {
        let key = CheckpointKey::Published(size).encode();
        let Some(value) = self.engine.get(self.family, &key)? else {
            return Ok(None);
        };
        Ok(Some(PublishedCheckpoint { size, note: note(self.family, key.as_slice(), &value)? }))
    }
}

fn note(family: Family, key: &[u8], value: &[u8]) -> Result<String, StorageError> {
    String::from_utf8(value.to_vec()).map_err(|_| StorageError::bad_value(family, key, "note is not UTF-8"))
}

fn decode_latest(value: &Bytes) -> Option<LatestCheckpoint> {
    let (size, rest) = value.split_first_chunk::<8>()?;
    let (note_len, rest) = rest.split_first_chunk::<4>()?;
    let (note, frontier) = rest.split_at_checked(u32::from_be_bytes(*note_len) as usize)?;
    Some(LatestCheckpoint {
        size: TreeSize::new(u64::from_be_bytes(*size)),
        note: core::str::from_utf8(note).ok()?.to_owned(),
        frontier: value.slice_ref(frontier),
    })
}
