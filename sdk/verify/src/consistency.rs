//! Whether a newer checkpoint extends an older one, and what it means if not.
//!
//! Takes two opened checkpoints of one ledger and a path, gives nothing or why not. Two signed checkpoints that do not
//! extend each other are evidence against the operator: keep both notes.

use tally_merkle::{ConsistencyProof, ProofError, verify_consistency};
use tally_protocol::checkpoint::Checkpoint;
use tally_protocol::hash::NodeHash;
use tally_protocol::id::TreeSize;

/// Why a checkpoint does not extend another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExtensionError {
    /// They are checkpoints of different logs.
    #[error("the checkpoints are of different origins")]
    OtherOrigin,
    /// The supposedly newer one is smaller: the log was rolled back, or an old checkpoint was served.
    #[error("size {newer} is below size {older}, which was signed before")]
    Shrunk {
        /// The size seen before.
        older: TreeSize,
        /// The size seen now.
        newer: TreeSize,
    },
    /// Two signed roots for one size: the log was forked. Both notes together prove it.
    #[error("two roots for size {0}: the log was forked")]
    TwoRoots(TreeSize),
    /// The path does not show that one extends the other. With an honest path impossible: the log was forked, or the
    /// path is wrong.
    #[error("size {newer} is not shown to extend size {older}: {error}")]
    NotShown {
        /// The size seen before.
        older: TreeSize,
        /// The size seen now.
        newer: TreeSize,
        /// What the proof lacks.
        error: ProofError,
    },
}

/// Checks that `newer` extends `older` (both opened, of one ledger). For equal sizes the path is empty.
///
/// # Errors
/// See [`ExtensionError`].
pub fn verify_extension(older: &Checkpoint, newer: &Checkpoint, path: &[NodeHash]) -> Result<(), ExtensionError> {
    if older.origin != newer.origin {
        return Err(ExtensionError::OtherOrigin);
    }
    if newer.size < older.size {
        return Err(ExtensionError::Shrunk { older: older.size, newer: newer.size });
    }
    if newer.size == older.size && newer.root != older.root {
        return Err(ExtensionError::TwoRoots(newer.size));
    }
    let proof = ConsistencyProof { old: older.size, new: newer.size, path: path.to_vec() };
    verify_consistency(&proof, &older.root, &newer.root).map_err(|error| ExtensionError::NotShown {
        older: older.size,
        newer: newer.size,
        error,
    })
}
