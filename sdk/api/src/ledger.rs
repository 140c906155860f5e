//! What a verifier must know of a ledger, and the keys it serves.

use serde::{Deserialize, Serialize};
use tally_protocol::hash::{LedgerId, LogId};
use tally_protocol::id::{AgentId, TreeSize};
use tally_protocol::key::PublicKey;
use tally_protocol::time::LogTime;

use crate::text;

/// The ledger's identity, parameters and first keys (`GET /v1/ledger`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Leaf hash of the genesis entry.
    #[serde(with = "text::hex")]
    pub ledger_id: LedgerId,
    /// Origin line of its checkpoints.
    pub origin: String,
    /// Its rules.
    pub profile: String,
    /// When it began.
    #[serde(with = "text::time")]
    pub created_at: LogTime,
    /// The genesis entry, base64.
    #[serde(with = "text::base64_bytes")]
    pub genesis_entry: Vec<u8>,
    /// Identity of the event log on chain.
    #[serde(with = "text::hex")]
    pub events_log_id: LogId,
    /// Signed-note verifier keys of checkpoints, newest first: those of published and of receipts' checkpoints.
    pub verifier_keys: Vec<VerifierKey>,
    /// Who owns the ledger's control stream.
    #[serde(with = "text::uuid")]
    pub root_agent_id: AgentId,
    /// That agent's first key.
    #[serde(with = "text::hex")]
    pub root_public_key: PublicKey,
}

/// A key that signs checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifierKey {
    /// What it signs: `checkpoint` (published) or `receipt` (receipts' checkpoints and VES receipts).
    pub purpose: String,
    /// The key as a signed-note verifier key, `name+id+base64`.
    pub vkey: String,
    /// The bare Ed25519 key.
    #[serde(with = "text::hex")]
    pub public_key: PublicKey,
}

/// Whether events are applied: given to the plugins, and their outcomes signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApplyState {
    /// This node runs no plugins, or serves reads only.
    #[default]
    Off,
    /// They are, as they are signed.
    Following,
    /// They are not, until an operator acts. The log goes on.
    Halted,
}

/// Whether events are applied, and if not, why.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Apply {
    /// Whether they are.
    pub state: ApplyState,
    /// Of halted: what is wrong, in words for an operator and shown to nobody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The ladder of watermarks: how far each stage is, as tree sizes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ladder {
    /// Index and sequence given.
    #[serde(with = "text::number")]
    pub ordered: TreeSize,
    /// On disk, synced.
    #[serde(with = "text::number")]
    pub durable: TreeSize,
    /// In the Merkle tree.
    #[serde(with = "text::number")]
    pub folded: TreeSize,
    /// Covered by a signed checkpoint.
    #[serde(with = "text::number")]
    pub signed: TreeSize,
    /// Receipts given.
    #[serde(with = "text::number")]
    pub acknowledged: TreeSize,
    /// Covered by a published checkpoint.
    #[serde(with = "text::number")]
    pub published: TreeSize,
    /// Covered by a signed checkpoint of the log of outcomes; 0 without plugins.
    #[serde(default, with = "text::number")]
    pub applied: TreeSize,
    /// Entries under a checkpoint that chains hold for good; 0 on a node that watches none.
    #[serde(default, with = "text::number")]
    pub anchored: TreeSize,
    /// Whether events are applied.
    #[serde(default)]
    pub apply: Apply,
}
