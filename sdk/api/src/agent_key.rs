//! Agents' signing keys: registered, rotated and revoked by signed events in the tenant's control stream.
//!
//! The REST calls here let the node sign those events where it holds the tenant's root key; whoever holds the root
//! key elsewhere posts the signed event itself. Wrappers are camelCase, as in the public VES reference.

use serde::{Deserialize, Serialize};
use tally_protocol::id::{AgentId, Index, KeyId, TenantId};
use tally_protocol::key::PublicKey;
use tally_protocol::time::LogTime;

use crate::text;

/// Registers a key (`POST /api/v1/agents/keys`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisterKeyRequest {
    /// The agent's tenant.
    #[serde(with = "text::uuid")]
    pub tenant_id: TenantId,
    /// The agent.
    #[serde(with = "text::uuid")]
    pub agent_id: AgentId,
    /// The agent's last key id plus one; left out, the next is taken.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "text::number_option")]
    pub key_id: Option<KeyId>,
    /// Ed25519, 64 hex digits, with or without `0x`.
    pub public_key: String,
    /// From when it is valid; left out, from registration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<String>,
    /// Until when it is valid; left out, for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<String>,
    /// 0 or 1: Ed25519. Nothing else is supported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_algorithm: Option<u32>,
}

/// Registers the successor of the newest key, which stays valid until `previousValidTo`
/// (`POST /api/v1/agents/keys/rotate`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RotateKeyRequest {
    /// The agent's tenant.
    #[serde(with = "text::uuid")]
    pub tenant_id: TenantId,
    /// The agent.
    #[serde(with = "text::uuid")]
    pub agent_id: AgentId,
    /// The new key: Ed25519, 64 hex digits, with or without `0x`.
    pub public_key: String,
    /// Until when the old key stays valid (the overlap).
    pub previous_valid_to: String,
    /// Until when the new key is valid; left out, for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<String>,
}

/// Revokes a key (`POST /api/v1/agents/keys/revoke`). Idempotent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevokeKeyRequest {
    /// The agent's tenant.
    #[serde(with = "text::uuid")]
    pub tenant_id: TenantId,
    /// The agent.
    #[serde(with = "text::uuid")]
    pub agent_id: AgentId,
    /// The key.
    #[serde(with = "text::number")]
    pub key_id: KeyId,
    /// Why; it is stored in the log.
    pub reason: String,
}

/// Whether a key is good now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyStatus {
    /// Valid now.
    Active,
    /// Not valid yet.
    Pending,
    /// Its time is over.
    Expired,
    /// Revoked.
    Revoked,
}

/// One key of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentKey {
    /// Its number, from 1.
    #[serde(with = "text::number")]
    pub key_id: KeyId,
    /// Always `ed25519`.
    pub algorithm: String,
    /// The key.
    #[serde(with = "text::hex")]
    pub public_key: PublicKey,
    /// Whether it is good now.
    pub status: KeyStatus,
    /// From when it is valid.
    #[serde(with = "text::time")]
    pub valid_from: LogTime,
    /// Until when, if bounded.
    #[serde(with = "text::time_option")]
    pub valid_to: Option<LogTime>,
    /// When it was revoked.
    #[serde(with = "text::time_option")]
    pub revoked_at: Option<LogTime>,
    /// The control event that registered it, as a position in the log.
    #[serde(with = "text::number")]
    pub registered_index: Index,
}

/// An agent's whole key history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentKeys {
    /// The agent's tenant.
    #[serde(with = "text::uuid")]
    pub tenant_id: TenantId,
    /// The agent.
    #[serde(with = "text::uuid")]
    pub agent_id: AgentId,
    /// Oldest first.
    pub keys: Vec<AgentKey>,
}

/// The answer to a change of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyChanged {
    /// Always true; a failure is an error body.
    pub success: bool,
    /// The agent's tenant.
    #[serde(with = "text::uuid")]
    pub tenant_id: TenantId,
    /// The agent.
    #[serde(with = "text::uuid")]
    pub agent_id: AgentId,
    /// The key.
    #[serde(with = "text::number")]
    pub key_id: KeyId,
    /// For people.
    pub message: String,
    /// The control event, as a position in the log; null when nothing had to be done.
    #[serde(with = "text::number_option")]
    pub log_index: Option<Index>,
}
