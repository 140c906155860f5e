//! The log of outcomes: what was decided about each event, with proofs as for the events themselves.
//!
//! Everything answers below `applied`, which has its own checkpoint; above it the answer names that rung.

use std::sync::Arc;

use bytes::Bytes;
use tally_protocol::checkpoint::SignedCheckpoint;
use tally_protocol::id::{Index, TreeSize};
use tally_protocol::outcome::EMPTY_BODY;
use tally_protocol::proof::{ConsistencyProof, InclusionProof};
use tally_protocol::tile::{EntryBundleId, TILE_WIDTH, TileId, encode_bundle};

use super::{ReadError, Reader};
use crate::apply::ApplyState;
use crate::watermarks::Rung;

impl Reader {
    /// What was decided about the event at a position, byte for byte: the leaf of the log of outcomes at this position.
    ///
    /// # Errors
    /// `NotYet` above `applied`.
    pub fn outcome(&self, index: Index) -> Result<Bytes, ReadError> {
        if !self.applied().holds(index) {
            return Err(ReadError::NotYet { rung: Rung::Applied });
        }
        if index.get() == 0 {
            return Ok(Bytes::from_static(EMPTY_BODY));
        }
        let missing = ReadError::Damaged { index, what: "a signed outcome is missing" };
        self.shared.outcome_bodies.get(index)?.ok_or(missing)
    }

    /// The newest certified checkpoint of the log of outcomes, signed by the receipt key; none before the first.
    #[must_use]
    pub fn outcome_checkpoint(&self) -> Option<Arc<SignedCheckpoint>> {
        let certified = self.shared.outcomes.certified.load();
        (certified.checkpoint.checkpoint.size.get() > 0).then(|| Arc::clone(&certified.checkpoint))
    }

    /// The newest published checkpoint of the log of outcomes, signed by the log's key and the receipt key.
    #[must_use]
    pub fn outcomes_published(&self) -> Option<Arc<SignedCheckpoint>> {
        self.shared.outcomes.published.load_full()
    }

    /// The checkpoint of the log of outcomes that was published at exactly this size.
    ///
    /// # Errors
    /// `NotFound` if none was published at this size.
    pub fn outcomes_published_at(&self, size: TreeSize) -> Result<String, ReadError> {
        let published = self.shared.outcomes.checkpoints.published_at(size)?;
        published.map(|published| published.note).ok_or(ReadError::NotFound)
    }

    /// The path from an outcome to the root of the log of outcomes of a size.
    ///
    /// # Errors
    /// `NotYet` for a size that is not applied; `Invalid` for an index outside it.
    pub fn outcome_inclusion(&self, index: Index, size: TreeSize) -> Result<InclusionProof, ReadError> {
        self.shared.outcomes.inclusion(index, size)
    }

    /// The proof that the log of outcomes of one size is a prefix of that of another.
    ///
    /// # Errors
    /// `NotYet` for a size that is not applied; `Invalid` for sizes that are not in order.
    pub fn outcome_consistency(&self, old: TreeSize, new: TreeSize) -> Result<ConsistencyProof, ReadError> {
        self.shared.outcomes.consistency(old, new)
    }

    /// A tile's hashes, as [`Reader::tile`] gives those of events.
    ///
    /// # Errors
    /// `NotFound` above the certified tree.
    pub fn outcome_tile(&self, id: TileId) -> Result<Vec<u8>, ReadError> {
        self.shared.outcomes.tile(id)
    }

    /// A bundle of outcomes, each behind its length.
    ///
    /// # Errors
    /// `NotFound` above the certified tree.
    pub fn outcome_entries(&self, id: EntryBundleId) -> Result<Vec<u8>, ReadError> {
        let first = id.index.checked_mul(u64::from(TILE_WIDTH)).ok_or(ReadError::NotFound)?;
        let end = first.checked_add(u64::from(id.width)).ok_or(ReadError::NotFound)?;
        if end > self.applied().get() {
            return Err(ReadError::NotFound);
        }
        let mut entries = Vec::with_capacity(usize::from(id.width));
        if first == 0 {
            entries.push(Bytes::from_static(EMPTY_BODY));
        }
        let left = usize::from(id.width) - entries.len();
        entries.extend(self.shared.outcome_bodies.from(Index::new(first.max(1)), left)?);
        if entries.len() != usize::from(id.width) {
            let index = Index::new(first + entries.len() as u64);
            return Err(ReadError::Damaged { index, what: "a signed outcome is missing" });
        }
        encode_bundle(&entries).map_err(|_| ReadError::Invalid("an outcome is too long for a bundle"))
    }

    /// Whether events are applied, and if not, why.
    #[must_use]
    pub fn apply_state(&self) -> ApplyState {
        self.shared.applying.state()
    }

    /// The size below which there are outcomes: that of the newest checkpoint over them.
    fn applied(&self) -> TreeSize {
        self.shared.outcomes.certified.load().checkpoint.checkpoint.size
    }
}
