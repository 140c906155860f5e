//! Liveness and readiness. Both are anonymous, so they say no more than a load balancer needs.

use serde::{Deserialize, Serialize};

/// The process answers (`GET /health`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Always `ok`.
    pub status: String,
}

/// Whether the node takes work (`GET /ready`): 200 when it does, 503 otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// `running`, `read_only`, `draining` or `poisoned`.
    pub status: String,
    /// Whether events are taken.
    pub writes: bool,
    /// Whether reads are served.
    pub reads: bool,
}
