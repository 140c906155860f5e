//! The VES v1 REST surface: ingest, receipts, commitments. Member names and shapes are the public VES reference's.
//!
//! The wrapper and the receipts are camelCase, events, rejections and commitments snake_case; hex in answers has no
//! `0x`. Members that are ours alone (`index`, `receiptIndex`) come last and may be ignored by VES clients.

use serde::{Deserialize, Serialize};
use tally_protocol::hash::{ReceiptHash, StateRoot, VesNode};
use tally_protocol::id::{AgentId, EventId, Index, Sequence, StoreId, TenantId};
use tally_protocol::key::Signature;
use tally_protocol::time::LogTime;

use crate::event::EventEnvelope;
use crate::text;

/// Events to ingest. Unknown members are ignored.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VesIngestRequest {
    /// The agent; every event's `source_agent_id` must be the same.
    #[serde(with = "text::uuid")]
    pub agent_id: AgentId,
    /// 1 to 1000 events of one stream.
    pub events: Vec<EventEnvelope>,
}

/// What happened to the events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VesIngestAnswer {
    /// A random name of this answer; it has nothing to do with a commitment's `batch_id`.
    #[serde(with = "text::uuid")]
    pub batch_id: [u8; 16],
    /// Events that are newly in the log; a replay is not counted.
    pub events_accepted: usize,
    /// Events that were refused.
    pub events_rejected: usize,
    /// First new sequence.
    #[serde(with = "text::number_option")]
    pub sequence_start: Option<Sequence>,
    /// Last new sequence.
    #[serde(with = "text::number_option")]
    pub sequence_end: Option<Sequence>,
    /// The stream's newest sequence; 0 for an empty stream.
    pub head_sequence: u64,
    /// One per refused event.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejections: Vec<VesRejection>,
    /// One per event that is in the log, new or replayed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub receipts: Vec<VesReceipt>,
}

/// Why one event was refused (snake_case, as the reference writes it).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VesRejection {
    /// The event's id; null if it could not be read.
    #[serde(with = "text::uuid_option")]
    pub event_id: Option<EventId>,
    /// `duplicate_event_id`, `invalid_signature`, `schema_validation: <field>`, `agent_key_invalid: <text>`, ...
    pub reason: String,
    /// For people; never repeats what was sent.
    pub message: String,
    /// The event's position in the request, from 0.
    pub index: usize,
}

/// The VES receipt of one event, signed by the sequencer's receipt key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VesReceipt {
    /// Who sequenced: the first 16 bytes of the ledger id.
    #[serde(with = "text::uuid")]
    pub sequencer_id: [u8; 16],
    /// The event.
    #[serde(with = "text::uuid")]
    pub event_id: EventId,
    /// Position in its stream.
    #[serde(with = "text::number")]
    pub sequence_number: Sequence,
    /// When it was sequenced.
    #[serde(with = "text::time")]
    pub sequenced_at: LogTime,
    /// What the sequencer signed.
    #[serde(with = "text::hex")]
    pub receipt_hash: ReceiptHash,
    /// Always `ed25519`.
    pub signature_alg: String,
    /// Over the 32 bytes of `receiptHash`.
    #[serde(with = "text::hex")]
    pub sequencer_signature: Signature,
    /// Which of the served receipt keys signed, from 0.
    pub sequencer_key_version: u32,
    /// Position in the log, for `GET /v1/receipts/{index}`.
    #[serde(with = "text::number")]
    pub log_index: Index,
}

/// A commitment of a stream's range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commitment {
    /// Its name.
    #[serde(with = "text::uuid")]
    pub batch_id: [u8; 16],
    /// The tenant.
    #[serde(with = "text::uuid")]
    pub tenant_id: TenantId,
    /// The store.
    #[serde(with = "text::uuid")]
    pub store_id: StoreId,
    /// Always 1.
    pub ves_version: u32,
    /// Depth of the padded tree.
    pub tree_depth: u32,
    /// How many events.
    pub leaf_count: u32,
    /// The next power of two.
    pub padded_leaf_count: u32,
    /// Root of the padded tree.
    #[serde(with = "text::hex")]
    pub merkle_root: VesNode,
    /// State root before; zero for a stream's first commitment.
    #[serde(with = "text::hex")]
    pub prev_state_root: StateRoot,
    /// State root after.
    #[serde(with = "text::hex")]
    pub new_state_root: StateRoot,
    /// First sequence, inclusive.
    #[serde(with = "text::number")]
    pub sequence_start: Sequence,
    /// Last sequence, inclusive.
    #[serde(with = "text::number")]
    pub sequence_end: Sequence,
    /// When it was cut.
    #[serde(with = "text::time")]
    pub committed_at: LogTime,
    /// Whether it is anchored on chain; anchoring is not part of this version.
    pub is_anchored: bool,
}

/// A page of a stream's commitments, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitmentPage {
    /// The commitments.
    pub commitments: Vec<Commitment>,
    /// How many.
    pub count: usize,
    /// Ask for `after` this sequence next; null at the end.
    #[serde(with = "text::number_option")]
    pub next_after: Option<Sequence>,
}

/// Asks to commit a stream's uncommitted events now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitRequest {
    /// The tenant.
    #[serde(with = "text::uuid")]
    pub tenant_id: TenantId,
    /// The store.
    #[serde(with = "text::uuid")]
    pub store_id: StoreId,
    /// If given, must be where the uncommitted range starts (or name an existing commitment's range).
    #[serde(default, skip_serializing_if = "Option::is_none", with = "text::number_option")]
    pub sequence_start: Option<Sequence>,
    /// If given, must be where the cut ends.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "text::number_option")]
    pub sequence_end: Option<Sequence>,
}
