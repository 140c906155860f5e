//! Names and keys by number: `tenant_id(1)` is the same tenant in every test.
//!
//! Ids are version 8 UUIDs that show what they are and their number in plain hex, so that a failing test reads well.

use tally_protocol::hash;
use tally_protocol::id::{AgentId, EventId, StoreId, TenantId};
use tally_protocol::key::SigningKey;

const fn id(kind: u8, number: u64) -> [u8; 16] {
    let n = number.to_be_bytes();
    [kind, kind, kind, kind, 0, 0, 0x80, 0, 0x80, 0, n[2], n[3], n[4], n[5], n[6], n[7]]
}

/// Tenant number `n` (below 2^48).
#[must_use]
pub const fn tenant_id(n: u64) -> TenantId {
    TenantId::from_bytes(id(0x7e, n))
}

/// Store number `n`.
#[must_use]
pub const fn store_id(n: u64) -> StoreId {
    StoreId::from_bytes(id(0x57, n))
}

/// Agent number `n`.
#[must_use]
pub const fn agent_id(n: u64) -> AgentId {
    AgentId::from_bytes(id(0xa9, n))
}

/// Event number `n`.
#[must_use]
pub const fn event_id(n: u64) -> EventId {
    EventId::from_bytes(id(0xe7, n))
}

/// The private key that belongs to a name. Everybody can compute it: for tests only.
#[must_use]
pub fn signing_key(name: &str) -> SigningKey {
    SigningKey::from_seed(*hash::leaf(format!("tally-testkit key {name}").as_bytes()).as_bytes())
}
