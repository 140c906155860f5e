//! What an operator may set about the HTTP door. There is no `Default`: the node states each choice.

use crate::credential::Environment;
use crate::limits::Limits;

/// What is served without a credential, beyond `/health` and `/ready`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Public {
    /// Checkpoints, hash tiles, proofs about them and `/v1/ledger`: what witnesses need. They show sizes and hashes.
    pub log: bool,
    /// Entry bundles. They show tenants, volumes and signatures.
    pub entries: bool,
    /// `/metrics`.
    pub metrics: bool,
    /// `/openapi.json` and `/docs`.
    pub docs: bool,
}

impl Public {
    /// Nothing.
    pub const NONE: Self = Self { log: false, entries: false, metrics: false, docs: false };
}

/// Configuration of the HTTP door.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Which API keys this node takes.
    pub environment: Environment,
    /// What is served without a credential.
    pub public: Public,
    /// Bounds.
    pub limits: Limits,
}
