//! Tenants: created by a signed event in the ledger's control stream.

use serde::{Deserialize, Serialize};
use tally_protocol::id::{AgentId, Index, TenantId};
use tally_protocol::key::PublicKey;

use crate::text;

/// Creates a tenant (`POST /v1/tenants`, operators only).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateTenant {
    /// The tenant's id, chosen by the operator.
    #[serde(with = "text::uuid")]
    pub tenant_id: TenantId,
    /// The agent that owns the tenant's control stream.
    #[serde(with = "text::uuid")]
    pub root_agent_id: AgentId,
    /// That agent's first key.
    #[serde(with = "text::hex")]
    pub root_public_key: PublicKey,
    /// Whether the ledger's root agent may also change the tenant's keys.
    #[serde(default)]
    pub operator_managed: bool,
}

/// A tenant of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// The tenant.
    #[serde(with = "text::uuid")]
    pub tenant_id: TenantId,
    /// The control event that created it, as a position in the log.
    #[serde(with = "text::number")]
    pub created_index: Index,
}
