//! The marketplace's answers (docs/formats/market-api.md): `{"ok":true,…}`, or `{"ok":false,"error":{…}}`.
//!
//! The answer of a command holds only what never changes, so that a repetition is answered byte for byte: where the event
//! is and what was decided. Proofs grow with the log and have addresses of their own. What a plugin says is JSON of its own.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tally_protocol::hash::{LeafHash, SigningHash};
use tally_protocol::id::{EventId, Index, Sequence, StoreId, TenantId, TreeSize};
use tally_protocol::time::LogTime;

use crate::outcome::Binding;
use crate::text;

/// Header of a command: the caller's key, 1 to 255 visible ASCII characters.
pub const KEY_HEADER: &str = "idempotency-key";
/// Header of an answer that was given before: `true`.
pub const REPLAYED_HEADER: &str = "idempotent-replayed";
/// Header of a payment provider's message: the signature over its raw body.
pub const WEBHOOK_HEADER: &str = "stripe-signature";

/// What a plugin answered to a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarketAnswer<R> {
    /// Everything below is in the state that was read.
    #[serde(with = "text::number")]
    pub applied: TreeSize,
    /// True.
    pub ok: bool,
    /// The plugin's JSON.
    pub result: R,
}

/// Where a command's event is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandReceipt {
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
    /// Where everything is that proves it: an offline bundle.
    pub bundle_address: String,
}

/// What the plugins decided about a command's event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandOutcome {
    /// What each plugin did, in install order.
    pub bindings: Vec<Binding>,
    /// The outcome's bytes, base64.
    #[serde(with = "text::base64_bytes")]
    pub body: Vec<u8>,
    /// What the log of outcomes commits.
    #[serde(with = "text::hex")]
    pub leaf_hash: LeafHash,
    /// Where its proof is.
    pub proof_address: String,
}

/// A command that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandDone<R> {
    /// True.
    pub ok: bool,
    /// What was decided.
    pub outcome: CommandOutcome,
    /// Where the event is.
    pub receipt: CommandReceipt,
    /// What the plugin left as the command's result; null if it left none.
    pub result: R,
}

/// A command that is in the log and not decided yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandPending {
    /// True.
    pub ok: bool,
    /// True.
    pub pending: bool,
    /// Where the event is.
    pub receipt: CommandReceipt,
    /// Where the answer will be.
    pub status_address: String,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarketErrorBody {
    /// Why.
    pub error: MarketErrorDetail,
    /// False.
    pub ok: bool,
    /// Of a command that is in the log: where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<CommandReceipt>,
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarketErrorDetail {
    /// The stable name: of a plugin's refusal its code in capitals, else one of [`crate::error::ErrorCode`].
    pub code: String,
    /// For people; never what was sent.
    pub message: String,
    /// More for machines: `field`, `rule`, the `outcome` of a refused command, the `body` of a refused question.
    pub details: Value,
}

/// A payment provider's message was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookAnswer {
    /// How many facts it held, all of them in the log now.
    pub facts: usize,
    /// True.
    pub ok: bool,
}
