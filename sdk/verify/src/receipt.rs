//! Receipts: whether what the sequencer answered proves that the event is in the log.
//!
//! Takes the event's own frame, the place the receipt claims for it and an opened checkpoint; re-derives entry and
//! leaf and follows the path. Opening the checkpoint's signature is apart ([`crate::Ledger::open_checkpoint`]), because
//! all receipts of a run share one checkpoint.

use tally_merkle::{InclusionProof, verify_inclusion};
use tally_protocol::checkpoint::Checkpoint;
use tally_protocol::entry::EventEntry;
use tally_protocol::frame::Frame;
use tally_protocol::hash::{LeafHash, NodeHash};
use tally_protocol::id::{Index, Sequence};
use tally_protocol::key::{self, PublicKey};
use tally_protocol::time::LogTime;

use crate::report::{Check, CheckFailed};

/// An event's place in the log: what the sequencer adds to a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Position in the log.
    pub index: Index,
    /// Position in the stream, from 1.
    pub sequence: Sequence,
    /// Log time.
    pub sequenced_at: LogTime,
    /// The agent key the signature was checked with.
    pub public_key: PublicKey,
}

impl Placed {
    /// The log's entry for this frame at this place.
    #[must_use]
    pub fn entry_of(&self, frame: &Frame) -> EventEntry {
        EventEntry::of_frame(frame, frame.signing_hash(), self.sequence, self.public_key, self.sequenced_at)
    }
}

/// Checks a receipt against the event it is for: leaf, then inclusion in the checkpoint's tree. The agent's own
/// signature is not checked, since the holder of a receipt made it; [`verify_receipt_of_stranger`] does that too.
///
/// # Errors
/// Check `leaf` or `inclusion`.
pub fn verify_receipt(
    frame: &Frame,
    placed: &Placed,
    leaf: &LeafHash,
    path: &[NodeHash],
    checkpoint: &Checkpoint,
) -> Result<(), CheckFailed> {
    let leaf = check_leaf(frame, placed, leaf)?;
    check_inclusion(&leaf, placed.index, path, checkpoint)
}

/// The same for an event that somebody else signed: payload hash and agent signature are checked first.
///
/// # Errors
/// Check `payload_hash`, `agent_signature`, `leaf` or `inclusion`.
pub fn verify_receipt_of_stranger(
    frame: &Frame,
    placed: &Placed,
    leaf: &LeafHash,
    path: &[NodeHash],
    checkpoint: &Checkpoint,
) -> Result<(), CheckFailed> {
    frame.check_payload().map_err(|error| CheckFailed::new(Check::PayloadHash, error))?;
    if !key::verify(&placed.public_key, frame.signing_hash().as_bytes(), &frame.signature()) {
        return Err(CheckFailed::new(Check::AgentSignature, "the signature is not this key's over this event"));
    }
    verify_receipt(frame, placed, leaf, path, checkpoint)
}

pub(crate) fn check_leaf(frame: &Frame, placed: &Placed, stated: &LeafHash) -> Result<LeafHash, CheckFailed> {
    if placed.sequence.get() == 0 {
        return Err(CheckFailed::new(Check::Leaf, "sequences start at 1"));
    }
    let leaf = placed.entry_of(frame).leaf_hash();
    if leaf == *stated {
        return Ok(leaf);
    }
    Err(CheckFailed::new(Check::Leaf, format!("event and place give leaf {leaf}, stated is {stated}")))
}

pub(crate) fn check_inclusion(
    leaf: &LeafHash,
    index: Index,
    path: &[NodeHash],
    checkpoint: &Checkpoint,
) -> Result<(), CheckFailed> {
    let proof = InclusionProof { index, size: checkpoint.size, path: path.to_vec() };
    verify_inclusion(leaf, &proof, &checkpoint.root).map_err(|error| CheckFailed::new(Check::Inclusion, error))
}
