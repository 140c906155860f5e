//! VES commitments: a range of a stream under one padded Merkle root, chained by state roots.
//!
//! ```text
//! "TCOM" | u16 version = 1 | batch id[16] | tenant[16] | store[16] | u8 tree depth | u32 leaf count
//! | u32 padded leaf count | merkle root[32] | previous state root[32] | new state root[32]
//! | u64 first sequence | u64 last sequence | u64 committed at (µs)                               183 bytes
//! ```
//! Takes a range and its root (computed in `tally-merkle`), gives the commitment; encodes and decodes it strictly:
//! depth, padded count, range and new state root must follow from the other fields. The batch id is derived, so that
//! the same range always gets the same commitment.

use crate::hash::{LedgerId, StateRoot, VesNode, derived_id, ves_state_root, ves_stream};
use crate::id::{Sequence, Stream};
use crate::limits::COMMITMENT_LEAVES_MAX;
use crate::time::LogTime;

/// Bytes of an encoded commitment.
pub const COMMITMENT_BYTES: usize = 183;

const MAGIC: &[u8; 4] = b"TCOM";
const VERSION: u16 = 1;
/// Tells a commitment's id from every other derived id: as the first eight bytes of an index it would be beyond 2^62.
const ID_KIND: &[u8] = b"commitment";

/// Why a commitment cannot be, or bytes are not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommitmentError {
    /// Another number of bytes than a commitment has.
    #[error("commitment has {0} bytes, not {COMMITMENT_BYTES}")]
    Length(usize),
    /// Not the bytes of a commitment.
    #[error("not a commitment")]
    Magic,
    /// Written by a version this code does not know.
    #[error("commitment has format version {0}, known is {VERSION}")]
    Version(u16),
    /// No leaves, or more than a commitment may have.
    #[error("commitment has {0} leaves, allowed are 1 to {COMMITMENT_LEAVES_MAX}")]
    LeafCount(u64),
    /// The range starts at 0, ends beyond 64 bits, or is not as long as the leaf count.
    #[error("commitment's range does not match its leaf count")]
    Range,
    /// Depth or padded count do not follow from the leaf count.
    #[error("commitment's tree shape does not follow from its leaf count")]
    Shape,
    /// The new state root does not follow from the other fields.
    #[error("commitment's state root does not follow from its other fields")]
    StateRoot,
    /// The batch id is not an RFC 9562 UUID of version 8.
    #[error("commitment's batch id is not a version 8 UUID")]
    BatchId,
    /// A time later than 9999.
    #[error("commitment's time is outside 1970 to 9999")]
    Time,
}

/// A committed range of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Commitment {
    /// Its name: a version 8 UUID derived from ledger and new state root.
    pub batch_id: [u8; 16],
    /// Tenant and store.
    pub stream: Stream,
    /// Depth of the padded tree: 0 for one leaf.
    pub tree_depth: u8,
    /// How many events.
    pub leaf_count: u32,
    /// The next power of two.
    pub padded_leaf_count: u32,
    /// Root of the padded tree.
    pub merkle_root: VesNode,
    /// State root before; zero for the stream's first commitment.
    pub prev_state_root: StateRoot,
    /// State root after.
    pub new_state_root: StateRoot,
    /// First sequence, inclusive.
    pub sequence_start: Sequence,
    /// Last sequence, inclusive.
    pub sequence_end: Sequence,
    /// When it was cut, in log time.
    pub committed_at: LogTime,
}

impl Commitment {
    /// The commitment of `leaves` events of a stream from `first` on, whose padded tree has this root.
    ///
    /// # Errors
    /// `LeafCount`, `Range` or `Time`.
    pub fn new(
        ledger: &LedgerId,
        stream: Stream,
        first: Sequence,
        leaves: usize,
        merkle_root: VesNode,
        prev_state_root: StateRoot,
        committed_at: LogTime,
    ) -> Result<Self, CommitmentError> {
        let leaves = u64::try_from(leaves).unwrap_or(u64::MAX);
        let leaf_count = checked_count(leaves)?;
        let last = first.get().checked_add(leaves - 1).ok_or(CommitmentError::Range)?;
        let (tree_depth, padded_leaf_count) = shape(leaf_count);
        let mut commitment = Self {
            batch_id: [0; 16],
            stream,
            tree_depth,
            leaf_count,
            padded_leaf_count,
            merkle_root,
            prev_state_root,
            new_state_root: StateRoot::ZERO,
            sequence_start: first,
            sequence_end: Sequence::new(last),
            committed_at,
        };
        commitment.new_state_root = commitment.state_root();
        commitment.batch_id = batch_id(ledger, &commitment.new_state_root);
        commitment.check()?;
        Ok(commitment)
    }

    /// Whether the batch id is the one this ledger gives to this commitment.
    #[must_use]
    pub fn is_named_by(&self, ledger: &LedgerId) -> bool {
        self.batch_id == batch_id(ledger, &self.new_state_root)
    }

    /// Whether this commitment directly follows another one of the same stream.
    #[must_use]
    pub fn follows(&self, previous: &Self) -> bool {
        self.stream == previous.stream
            && self.prev_state_root == previous.new_state_root
            && previous.sequence_end.get().checked_add(1) == Some(self.sequence_start.get())
    }

    /// Whether every field that follows from others does so.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self) -> Result<(), CommitmentError> {
        let (first, last) = (self.sequence_start.get(), self.sequence_end.get());
        checked_count(u64::from(self.leaf_count))?;
        if first == 0 || first.checked_add(u64::from(self.leaf_count) - 1) != Some(last) {
            return Err(CommitmentError::Range);
        }
        if shape(self.leaf_count) != (self.tree_depth, self.padded_leaf_count) {
            return Err(CommitmentError::Shape);
        }
        if self.new_state_root != self.state_root() {
            return Err(CommitmentError::StateRoot);
        }
        if self.batch_id != as_uuid(self.batch_id) {
            return Err(CommitmentError::BatchId);
        }
        if self.committed_at > LogTime::MAX { Err(CommitmentError::Time) } else { Ok(()) }
    }

    fn state_root(&self) -> StateRoot {
        ves_state_root(
            &ves_stream(&self.stream),
            &self.prev_state_root,
            &self.merkle_root,
            self.sequence_start,
            self.sequence_end,
            self.leaf_count,
        )
    }

    /// The commitment's 183 bytes. Only a commitment that passes [`Commitment::check`] decodes again.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(COMMITMENT_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_be_bytes());
        out.extend_from_slice(&self.batch_id);
        out.extend_from_slice(&self.stream.to_bytes());
        out.push(self.tree_depth);
        out.extend_from_slice(&self.leaf_count.to_be_bytes());
        out.extend_from_slice(&self.padded_leaf_count.to_be_bytes());
        out.extend_from_slice(self.merkle_root.as_bytes());
        out.extend_from_slice(self.prev_state_root.as_bytes());
        out.extend_from_slice(self.new_state_root.as_bytes());
        out.extend_from_slice(&self.sequence_start.get().to_be_bytes());
        out.extend_from_slice(&self.sequence_end.get().to_be_bytes());
        out.extend_from_slice(&self.committed_at.micros().to_be_bytes());
        out
    }

    /// Decodes a commitment.
    ///
    /// # Errors
    /// The bytes are anything but what [`Commitment::encode`] writes for a commitment that passes
    /// [`Commitment::check`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CommitmentError> {
        let bytes: &[u8; COMMITMENT_BYTES] = bytes.try_into().map_err(|_| CommitmentError::Length(bytes.len()))?;
        let mut reader = Reader(bytes);
        if &reader.array::<4>()? != MAGIC {
            return Err(CommitmentError::Magic);
        }
        let version = u16::from_be_bytes(reader.array()?);
        if version != VERSION {
            return Err(CommitmentError::Version(version));
        }
        let commitment = Self {
            batch_id: reader.array()?,
            stream: Stream::from_bytes(&reader.array()?),
            tree_depth: u8::from_be_bytes(reader.array()?),
            leaf_count: u32::from_be_bytes(reader.array()?),
            padded_leaf_count: u32::from_be_bytes(reader.array()?),
            merkle_root: VesNode::from_bytes(reader.array()?),
            prev_state_root: StateRoot::from_bytes(reader.array()?),
            new_state_root: StateRoot::from_bytes(reader.array()?),
            sequence_start: Sequence::new(u64::from_be_bytes(reader.array()?)),
            sequence_end: Sequence::new(u64::from_be_bytes(reader.array()?)),
            committed_at: LogTime::from_micros(u64::from_be_bytes(reader.array()?)),
        };
        commitment.check()?;
        Ok(commitment)
    }
}

fn checked_count(leaves: u64) -> Result<u32, CommitmentError> {
    let count = u32::try_from(leaves).ok().filter(|count| (1..=COMMITMENT_LEAVES_MAX).contains(count));
    count.ok_or(CommitmentError::LeafCount(leaves))
}

/// Depth and padded count of the tree over this many leaves (1 to [`COMMITMENT_LEAVES_MAX`]).
fn shape(leaf_count: u32) -> (u8, u32) {
    let padded = leaf_count.next_power_of_two();
    (u8::try_from(padded.trailing_zeros()).unwrap_or(u8::MAX), padded)
}

/// SHA-256("TALLY_ID_V1" | ledger id | "commitment" | new state root), cut to a UUID.
fn batch_id(ledger: &LedgerId, new_state_root: &StateRoot) -> [u8; 16] {
    let hash = derived_id(&[ledger.as_bytes(), ID_KIND, new_state_root.as_bytes()]);
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    as_uuid(id)
}

/// With the version and variant bits of RFC 9562 section 5.8 (version 8: custom).
const fn as_uuid(mut id: [u8; 16]) -> [u8; 16] {
    id[6] = (id[6] & 0x0f) | 0x80;
    id[8] = (id[8] & 0x3f) | 0x80;
    id
}

/// What is still to be read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], CommitmentError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(CommitmentError::Length(COMMITMENT_BYTES))?;
        self.0 = rest;
        Ok(*taken)
    }
}

#[cfg(test)]
mod tests;
