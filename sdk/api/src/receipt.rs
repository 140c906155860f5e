//! A proven receipt: where an event is in the log, and the path from its leaf to a signed checkpoint.
//!
//! Given after the event is durable, folded and covered by a signed checkpoint, never before. To check one offline:
//! recompute the leaf from the event's own bytes, follow `path` to the checkpoint's root, and open the checkpoint's
//! note with the ledger's verifier keys (`tally-verify` does all of it).

use serde::{Deserialize, Serialize};
use tally_protocol::hash::{LeafHash, NodeHash, SigningHash};
use tally_protocol::id::{EventId, Index, Sequence, StoreId, TenantId};
use tally_protocol::time::LogTime;

use crate::text;

/// Where an event is in the log, and its proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The event.
    #[serde(with = "text::uuid")]
    pub event_id: EventId,
    /// The tenant of its stream.
    #[serde(with = "text::uuid")]
    pub tenant_id: TenantId,
    /// The store of its stream.
    #[serde(with = "text::uuid")]
    pub store_id: StoreId,
    /// Position in the log.
    #[serde(with = "text::number")]
    pub index: Index,
    /// Position in its stream.
    #[serde(with = "text::number")]
    pub sequence: Sequence,
    /// When it was sequenced.
    #[serde(with = "text::time")]
    pub sequenced_at: LogTime,
    /// What the agent signed.
    #[serde(with = "text::hex")]
    pub signing_hash: SigningHash,
    /// What the log commits.
    #[serde(with = "text::hex")]
    pub leaf_hash: LeafHash,
    /// RFC 6962 inclusion path, from the leaf upward.
    #[serde(with = "text::hex_list")]
    pub path: Vec<NodeHash>,
    /// Which of the answer's `checkpoints` the path leads to.
    pub checkpoint: usize,
}

/// One receipt with its checkpoint, for `GET /v1/receipts/{index}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptAnswer {
    /// The receipt; its `checkpoint` is 0.
    pub receipt: Receipt,
    /// The signed note, verbatim, in a list of one.
    pub checkpoints: Vec<String>,
}
