//! The identity of a log on chain: of a ledger, and never of a key.

use super::{LedgerId, LogId, TALLY_LOG, sha256};

/// Which of a ledger's two logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogKind {
    /// The events.
    Events,
    /// What the plugins decided about them.
    Outcomes,
}

impl LogKind {
    /// The name that goes into the log's identity.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Outcomes => "outcomes",
        }
    }
}

/// A log's identity on chain: tag, ledger, "events" or "outcomes". Never a key: keys rotate.
#[must_use]
pub fn log_id(ledger: &LedgerId, kind: LogKind) -> LogId {
    LogId(sha256(&[TALLY_LOG, &ledger.0, kind.as_str().as_bytes()]))
}
