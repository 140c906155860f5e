//! Submissions: whether one answer proves all of its events at once.
//!
//! Takes the leaves that the caller derived from its own events and their claimed places, the proof they share, and an
//! opened checkpoint ([`crate::Ledger::open_checkpoint`]). One event's receipt is [`crate::verify_receipt`].

use tally_merkle::{paths_of_multiproof, root_of_multiproof};
use tally_protocol::checkpoint::Checkpoint;
use tally_protocol::hash::{LeafHash, NodeHash};
use tally_protocol::id::Index;

use crate::report::{Check, CheckFailed};

/// Checks that every leaf is in the checkpoint's tree at its index; indexes rise strictly. One hash a leaf, and about
/// two paths beside them where the leaves are neighbours.
///
/// # Errors
/// Check `inclusion`.
pub fn verify_together(
    leaves: &[(Index, LeafHash)],
    proof: &[NodeHash],
    checkpoint: &Checkpoint,
) -> Result<(), CheckFailed> {
    let root = root_of_multiproof(leaves, checkpoint.size, proof);
    let root = root.map_err(|error| CheckFailed::new(Check::Inclusion, error))?;
    if root == checkpoint.root {
        return Ok(());
    }
    Err(CheckFailed::new(Check::Inclusion, "the events lead to another root than the checkpoint's"))
}

/// The inclusion path of each leaf, out of a proof that [`verify_together`] accepted.
///
/// # Errors
/// Check `inclusion`.
pub fn paths_of(
    leaves: &[(Index, LeafHash)],
    proof: &[NodeHash],
    checkpoint: &Checkpoint,
) -> Result<Vec<Vec<NodeHash>>, CheckFailed> {
    let paths = paths_of_multiproof(leaves, checkpoint.size, proof);
    paths.map_err(|error| CheckFailed::new(Check::Inclusion, error))
}
