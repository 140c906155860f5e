//! The seam to whoever watches the chains: what the door shows of anchors. Implemented by the node.
//!
//! Everything here reads, and nothing here holds a key: anchors are made by a process of their own.

use tally_api::anchor::{AnchorLevel, AnchorProof, AnchorStatus};
use tally_protocol::hash::TransactionHash;
use tally_protocol::id::{Index, TreeSize};
use tokio::sync::watch;

/// A head of the log of events that a chain shows now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenHead {
    /// The chain (EIP-155).
    pub chain_id: u64,
    /// How final its word is.
    pub level: AnchorLevel,
    /// The anchored size.
    pub size: TreeSize,
    /// Which of the log's anchors, from 1.
    pub seq: u64,
    /// The transaction that moved it there.
    pub transaction: TransactionHash,
}

/// Why there are no proofs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnchorPortError {
    /// The chain's head is being read, or its providers do not answer.
    #[error("{0}")]
    Unavailable(String),
    /// The node or its storage failed.
    #[error("{0}")]
    Failed(String),
}

/// The chains that a node watches.
pub trait AnchorPort: Send + Sync {
    /// How far each chain holds the logs, as it was last read.
    fn status(&self) -> AnchorStatus;

    /// The proofs from an event to each chain whose newest known anchor holds it; none if no chain does yet.
    ///
    /// # Errors
    /// See [`AnchorPortError`].
    fn proofs(&self, index: Index) -> Result<Vec<AnchorProof>, AnchorPortError>;

    /// Told when a head of the log of events moves: all heads, by chain and level.
    fn subscribe(&self) -> watch::Receiver<Vec<SeenHead>>;

    /// Measurements in the Prometheus text format, each with the prefix `tally_anchor_`.
    fn metrics(&self) -> String;
}
