//! Why a sequencer does not start.

use tally_protocol::id::{Index, TreeSize};
use tally_storage::StorageError;

use crate::fence::FenceError;

/// A start that was refused. Nothing was signed and nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database failed.
    #[error("failed to read the database: {0}")]
    Storage(#[from] StorageError),
    /// The fence failed or is held by another process.
    #[error(transparent)]
    Fence(#[from] FenceError),
    /// The database holds no ledger and none was to be created.
    #[error("the data directory holds no ledger; create one first")]
    NoLedger,
    /// The database holds another ledger than the given one.
    #[error("the data directory holds ledger {found}, not {expected}")]
    OtherLedger {
        /// What was expected.
        expected: String,
        /// What the database holds.
        found: String,
    },
    /// A signer's key is not the one that genesis names.
    #[error("the {which} key is {found}, but genesis names {expected}")]
    OtherKey {
        /// Which of the keys.
        which: &'static str,
        /// What genesis names.
        expected: String,
        /// What the signer has.
        found: String,
    },
    /// A stored byte is not what it must be.
    #[error("the log is damaged at index {index}: {what}")]
    Damaged {
        /// Where.
        index: Index,
        /// What is wrong.
        what: String,
    },
    /// The stored frontier and the log disagree.
    #[error("the stored checkpoint at size {size} does not match the log")]
    Checkpoint {
        /// The checkpoint's size.
        size: TreeSize,
    },
    /// A signer refused.
    #[error("failed to sign: {0}")]
    Signer(String),
    /// A thread could not be started.
    #[error("failed to start a thread: {0}")]
    Thread(std::io::Error),
}
