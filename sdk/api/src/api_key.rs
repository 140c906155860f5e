//! API keys: who calls over HTTP. The key itself is shown once, at creation; the node keeps only a keyed hash of it.

use serde::{Deserialize, Serialize};
use tally_protocol::id::{AgentId, StoreId, TenantId};
use tally_protocol::time::LogTime;

use crate::text;

/// What a credential may do; the seed's table of roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Writes and reads events.
    Agent,
    /// Reads events and commitments.
    Reader,
    /// Everything.
    Admin,
    /// Everything about commitments and anchors, nothing else.
    Anchor,
    /// Reads the log as a whole: tiles and entry bundles (auditors and mirrors).
    Auditor,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 5] = [Self::Agent, Self::Reader, Self::Admin, Self::Anchor, Self::Auditor];

    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Reader => "reader",
            Self::Admin => "admin",
            Self::Anchor => "anchor",
            Self::Auditor => "auditor",
        }
    }
}

/// Creates a key (`POST /v1/api-keys`). It can do no more than the credential that creates it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateApiKey {
    /// The tenant it is bound to; null for an operator's key, which only an operator can create.
    #[serde(default, with = "text::uuid_option")]
    pub tenant_id: Option<TenantId>,
    /// The stores it is bound to; null for all of the tenant.
    #[serde(default)]
    pub store_ids: Option<StoreIds>,
    /// The agent it is bound to; null for any of the tenant.
    #[serde(default, with = "text::uuid_option")]
    pub agent_id: Option<AgentId>,
    /// At least one.
    pub roles: Vec<Role>,
    /// Up to 128 bytes, for people.
    #[serde(default)]
    pub label: String,
    /// Until when it is good; null for good.
    #[serde(default, with = "text::time_option")]
    pub expires_at: Option<LogTime>,
}

/// A list of stores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StoreIds(#[serde(with = "text::uuid_list")] pub Vec<StoreId>);

/// A key as it is listed: everything but the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKeyInfo {
    /// Names it in `DELETE /v1/api-keys/{id}`.
    pub id: String,
    /// The first characters of the key, to recognise it by.
    pub prefix: String,
    /// The tenant it is bound to; null for an operator's key.
    #[serde(with = "text::uuid_option")]
    pub tenant_id: Option<TenantId>,
    /// The stores it is bound to; null for all.
    pub store_ids: Option<StoreIds>,
    /// The agent it is bound to; null for any.
    #[serde(with = "text::uuid_option")]
    pub agent_id: Option<AgentId>,
    /// What it may do.
    pub roles: Vec<Role>,
    /// For people.
    pub label: String,
    /// When it was created.
    #[serde(with = "text::time")]
    pub created_at: LogTime,
    /// Until when it is good.
    #[serde(with = "text::time_option")]
    pub expires_at: Option<LogTime>,
    /// When it was revoked.
    #[serde(with = "text::time_option")]
    pub revoked_at: Option<LogTime>,
}

/// The answer to a creation: the only time the key is shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKeyCreated {
    /// The key itself. It cannot be shown again.
    pub api_key: String,
    /// What is kept.
    pub info: ApiKeyInfo,
}

impl core::fmt::Debug for ApiKeyCreated {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ApiKeyCreated").field("info", &self.info).finish_non_exhaustive()
    }
}

/// All keys that the caller may list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKeyList {
    /// Oldest first.
    pub keys: Vec<ApiKeyInfo>,
}
