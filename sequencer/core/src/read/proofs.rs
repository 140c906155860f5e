//! Inclusion and consistency proofs over the log, and inclusion proofs in VES commitments.

use std::sync::Arc;

use bytes::Bytes;
use tally_merkle::NodeSource;
use tally_merkle::TileError;
use tally_merkle::TileNodes;
use tally_merkle::VesTree;
use tally_merkle::{consistency_path, inclusion_path};
use tally_protocol::batch::Commitment;
use tally_protocol::hash::{self, VesLeaf, VesNode};
use tally_protocol::id::{Index, Sequence, Stream, TreeSize};
use tally_protocol::proof::{ConsistencyProof, InclusionProof};

use super::tiles::{KeptTile, TileReading};
use super::{ReadError, Reader};
use crate::shared::{Certified, ServedLog, lock};
use crate::watermarks::Rung;

/// The nodes of a certified tree: full tiles from memory or disk, the right edge from the snapshot.
pub(crate) fn nodes<'a>(
    log: &'a ServedLog,
    certified: &'a Certified,
) -> impl NodeSource<Error = TileError<ReadError>> + use<'a> {
    TileNodes::new(&certified.edge, move |level, index| tile_nodes(log, level, index))
}

/// A full tile for one request, kept for the next.
fn tile_nodes(log: &ServedLog, level: u8, index: u64) -> Result<Option<TileReading>, ReadError> {
    let malformed = ReadError::Damaged { index: Index::new(index), what: "a stored tile is malformed" };
    if let Some(tile) = log.kept_tiles.get((level, index)) {
        return tile.reading().map(Some).ok_or(malformed);
    }
    let Some(tile) = whole_tile(log, level, index)? else { return Ok(None) };
    let Some(tile) = KeptTile::of(level, tile) else { return Err(malformed) };
    log.kept_tiles.keep((level, index), &tile);
    tile.reading().map(Some).ok_or(malformed)
}

/// A full tile's hashes, 8,192 bytes.
pub(crate) fn tile_bytes(log: &ServedLog, level: u8, index: u64) -> Result<Option<Bytes>, ReadError> {
    Ok(whole_tile(log, level, index)?.map(|(hashes, _)| hashes))
}

/// A full tile's hashes and its middle row, if it has been stored with one. Shared where they lie, not copied.
fn whole_tile(log: &ServedLog, level: u8, index: u64) -> Result<Option<(Bytes, Option<Bytes>)>, ReadError> {
    let waiting = lock(&log.unwritten).tiles.get(&(level, index)).cloned();
    if let Some(tile) = waiting {
        return Ok(Some((Bytes::from_owner(tile.bytes), Some(Bytes::from_owner(tile.middle_row)))));
    }
    let stored = log.tiles.get(level, index)?;
    Ok(stored.map(|tile| (tile.hashes(), tile.middle_row())))
}

/// A leaf's place in a VES commitment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VesProof {
    /// Position among the commitment's leaves, from 0.
    pub leaf_index: u32,
    /// The leaf.
    pub leaf: VesLeaf,
    /// Siblings from the leaf up.
    pub path: Vec<VesNode>,
}

impl ServedLog {
    fn certified_at(&self, size: TreeSize) -> Result<Arc<Certified>, ReadError> {
        let certified = self.certified.load_full();
        if size > certified.checkpoint.checkpoint.size {
            return Err(ReadError::NotYet { rung: self.rung });
        }
        Ok(certified)
    }

    /// See [`Reader::inclusion`].
    pub(super) fn inclusion(&self, index: Index, size: TreeSize) -> Result<InclusionProof, ReadError> {
        if !size.holds(index) {
            return Err(ReadError::Invalid("the index lies outside the tree of this size"));
        }
        let certified = self.certified_at(size)?;
        let path = inclusion_path(&nodes(self, &certified), index, size)?;
        Ok(InclusionProof { index, size, path })
    }

    /// See [`Reader::consistency`].
    pub(super) fn consistency(&self, old: TreeSize, new: TreeSize) -> Result<ConsistencyProof, ReadError> {
        if old > new || old.get() == 0 {
            return Err(ReadError::Invalid("sizes must satisfy 0 < old <= new"));
        }
        let certified = self.certified_at(new)?;
        let path = consistency_path(&nodes(self, &certified), old, new)?;
        Ok(ConsistencyProof { old, new, path })
    }
}

impl Reader {
    /// The path from an entry to the root of the tree of a size (RFC 6962 section 2.1.1).
    ///
    /// # Errors
    /// `NotYet` for a size that is not certified; `Invalid` for an index outside it.
    pub fn inclusion(&self, index: Index, size: TreeSize) -> Result<InclusionProof, ReadError> {
        self.shared.events.inclusion(index, size)
    }

    /// The proof that the tree of one size is a prefix of the tree of another (RFC 6962 section 2.1.2).
    ///
    /// # Errors
    /// `NotYet` for a size that is not certified; `Invalid` for sizes that are not in order.
    pub fn consistency(&self, old: TreeSize, new: TreeSize) -> Result<ConsistencyProof, ReadError> {
        self.shared.events.consistency(old, new)
    }

    /// The commitments of a stream, oldest first, after a sequence, at most `limit`.
    ///
    /// # Errors
    /// The database failed.
    pub fn commitments(
        &self,
        stream: Stream,
        after: Option<Sequence>,
        limit: usize,
    ) -> Result<Vec<Commitment>, ReadError> {
        Ok(self.shared.commitments.page(stream, after, limit)?)
    }

    /// A commitment by its id.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn commitment(&self, batch_id: [u8; 16]) -> Result<Commitment, ReadError> {
        self.shared.commitments.by_id(batch_id)?.ok_or(ReadError::NotFound)
    }

    /// The commitment that covers a sequence.
    ///
    /// # Errors
    /// `NotFound` if the sequence is not committed yet.
    pub fn commitment_covering(&self, stream: Stream, sequence: Sequence) -> Result<Commitment, ReadError> {
        self.shared.commitments.covering(stream, sequence)?.ok_or(ReadError::NotFound)
    }

    /// Commits what the stream has uncommitted, now. None if there is nothing.
    ///
    /// # Errors
    /// The database failed.
    pub fn commit_now(&self, stream: Stream) -> Result<Option<Commitment>, ReadError> {
        let Some(head) = self.stream_head(stream) else { return Ok(None) };
        let before = self.shared.commitments.latest(stream)?;
        if before.as_ref().is_some_and(|latest| latest.sequence_end >= head) {
            return Ok(None);
        }
        crate::batch::commit_to(&self.shared, self.shared.watermarks.get(Rung::Signed))?;
        let latest = self.shared.commitments.latest(stream)?;
        Ok(latest.filter(|latest| before.is_none_or(|before| before.sequence_end < latest.sequence_end)))
    }

    /// The proof of one sequence in a commitment.
    ///
    /// # Errors
    /// `Invalid` if the commitment does not cover it; `Damaged` if the log no longer gives the commitment's root.
    pub fn ves_proof(&self, commitment: &Commitment, sequence: Sequence) -> Result<VesProof, ReadError> {
        if sequence < commitment.sequence_start || sequence > commitment.sequence_end {
            return Err(ReadError::Invalid("the commitment does not cover this sequence"));
        }
        let count = commitment.leaf_count as usize;
        let events = self.events_of_stream(commitment.stream, commitment.sequence_start, count)?;
        let leaves: Vec<VesLeaf> = events
            .iter()
            .map(|event| {
                let signing = event.frame.signing_hash();
                hash::ves_leaf(&commitment.stream, event.sequence, &signing, event.frame.signature().as_bytes())
            })
            .collect();
        let damaged = || ReadError::Damaged {
            index: events.first().map_or(Index::new(0), |event| event.index),
            what: "the log does not give the commitment's root",
        };
        let tree = VesTree::new(&leaves);
        if leaves.len() != count || tree.root() != commitment.merkle_root {
            return Err(damaged());
        }
        let at = sequence.get() - commitment.sequence_start.get();
        let leaf_index = u32::try_from(at).map_err(|_| damaged())?;
        let leaf = *leaves.get(leaf_index as usize).ok_or_else(damaged)?;
        let path = tree.path(at).ok_or_else(damaged)?;
        Ok(VesProof { leaf_index, leaf, path })
    }
}
