//! An event in JSON: the VES envelope, and the record that reading events back gives.
//!
//! [`EventEnvelope`] is the VES v1 envelope (snake_case, hex with `0x`), as agents submit it and as the VES surface
//! returns it. [`EventRecord`] is what the native surface returns: the exact signed bytes (`frame`, base64) with
//! their place in the log, and the envelope decoded from them. The payload is embedded as its canonical text.
//! Out of scope: reading an envelope from a client, which the gateway does strictly and event by event.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tally_protocol::frame::{Frame, PayloadKind};
use tally_protocol::hash::{self, LeafHash, SigningHash};
use tally_protocol::id::{AgentId, EventId, Index, KeyId, Sequence, StoreId, TenantId};
use tally_protocol::key::PublicKey;
use tally_protocol::time::LogTime;

use crate::text;

/// The VES v1 event envelope.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventEnvelope {
    /// Always 1.
    pub ves_version: u32,
    /// The event's id, unique in its stream.
    #[serde(with = "text::uuid")]
    pub event_id: EventId,
    /// With the store, the stream.
    #[serde(with = "text::uuid")]
    pub tenant_id: TenantId,
    /// With the tenant, the stream.
    #[serde(with = "text::uuid")]
    pub store_id: StoreId,
    /// The signing agent.
    #[serde(with = "text::uuid")]
    pub source_agent_id: AgentId,
    /// Which of the agent's keys signed.
    #[serde(with = "text::number")]
    pub agent_key_id: KeyId,
    /// Kind of the entity, 1..=128 bytes.
    pub entity_type: String,
    /// The entity, 1..=512 bytes.
    pub entity_id: String,
    /// What happened, 1..=256 bytes.
    pub event_type: String,
    /// The agent's time, RFC 3339, exactly as signed.
    pub created_at: String,
    /// 0 plain, 1 encrypted.
    pub payload_kind: u32,
    /// The payload, for kind 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<RawValue>>,
    /// The VES-ENC-1 envelope, for kind 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_encrypted: Option<Box<RawValue>>,
    /// `0x` and 64 hex digits.
    pub payload_plain_hash: String,
    /// `0x` and 64 hex digits; zero for kind 0.
    pub payload_cipher_hash: String,
    /// `0x` and 128 hex digits.
    pub agent_signature: String,
    /// Position in the stream; only in answers.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "text::number_option")]
    pub sequence_number: Option<Sequence>,
    /// When it was sequenced; only in answers.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "text::time_option")]
    pub sequenced_at: Option<LogTime>,
}

/// `0x` and lower-case hex, as VES envelopes write bytes.
#[must_use]
pub fn hex_0x(bytes: &[u8]) -> String {
    format!("0x{}", hash::hex(bytes))
}

impl EventEnvelope {
    /// The envelope of a frame.
    ///
    /// # Errors
    /// A payload slot that does not hold JSON, which no accepted event has.
    pub fn from_frame(frame: &Frame) -> Result<Self, serde_json::Error> {
        let text = String::from_utf8_lossy(frame.payload()).into_owned();
        let body = Some(RawValue::from_string(text)?);
        let kind = frame.payload_kind();
        let (payload, payload_encrypted) = match kind {
            PayloadKind::Plain => (body, None),
            PayloadKind::Encrypted => (None, body),
        };
        Ok(Self {
            ves_version: 1,
            event_id: frame.event_id(),
            tenant_id: frame.tenant_id(),
            store_id: frame.store_id(),
            source_agent_id: frame.agent_id(),
            agent_key_id: frame.key_id(),
            entity_type: frame.entity_type().to_owned(),
            entity_id: frame.entity_id().to_owned(),
            event_type: frame.event_type().to_owned(),
            created_at: frame.created_at().to_owned(),
            payload_kind: match kind {
                PayloadKind::Plain => 0,
                PayloadKind::Encrypted => 1,
            },
            payload,
            payload_encrypted,
            payload_plain_hash: hex_0x(frame.payload_plain_hash().as_bytes()),
            payload_cipher_hash: hex_0x(frame.payload_cipher_hash().as_bytes()),
            agent_signature: hex_0x(frame.signature().as_bytes()),
            sequence_number: None,
            sequenced_at: None,
        })
    }
}

/// One event of the log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventRecord {
    /// Position in the log, from 1 (0 is the genesis entry).
    #[serde(with = "text::number")]
    pub index: Index,
    /// Position in its stream, from 1.
    #[serde(with = "text::number")]
    pub sequence: Sequence,
    /// When it was sequenced.
    #[serde(with = "text::time")]
    pub sequenced_at: LogTime,
    /// The key that its signature was verified with.
    #[serde(with = "text::hex")]
    pub public_key: PublicKey,
    /// What the agent signed.
    #[serde(with = "text::hex")]
    pub signing_hash: SigningHash,
    /// What the log commits.
    #[serde(with = "text::hex")]
    pub leaf_hash: LeafHash,
    /// The exact signed bytes, base64.
    #[serde(with = "text::base64_bytes")]
    pub frame: Vec<u8>,
    /// The same, decoded.
    pub event: EventEnvelope,
}
