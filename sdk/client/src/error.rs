//! What can go wrong with a call, and what to do about it.

use std::time::Duration;

use tally_api::error::ErrorCode;
use tally_protocol::frame::FrameError;
use tally_protocol::hash::LedgerId;
use tally_protocol::id::{AgentId, KeyId};
use tally_verify::{BundleError, CheckFailed, ExtensionError, StateProofError};

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The request is at fault: the same one will fail again.
    Reject,
    /// The same request (the same event ids) may succeed later. The client has retried as often as it was told to.
    Retry,
    /// What the server answered does not hold, or cannot be understood. Trust nothing more of it.
    Fatal,
}

/// A request that the server refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server refused with status {status}: {message}")]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// The stable name, if the answer was the server's own error shape.
    pub code: Option<ErrorCode>,
    /// In words.
    pub message: String,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// More for machines, as the server gave it.
    pub details: Option<serde_json::Value>,
    /// Names the request in the server's log.
    pub request_id: Option<String>,
}

impl Refusal {
    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.code.map_or(matches!(self.status, 408 | 429 | 500 | 502 | 503 | 504), ErrorCode::is_retryable)
    }

    /// Whether it is certain that nothing was done, so that even a request that must not be done twice may be repeated.
    #[must_use]
    pub const fn took_nothing(&self) -> bool {
        matches!(self.code, Some(ErrorCode::RateLimitExceeded | ErrorCode::Draining | ErrorCode::ReadOnly))
    }
}

impl From<Refusal> for ClientError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

/// Two signed checkpoints of which neither is shown to extend the other: proof against the operator. Keep it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForkEvidence {
    /// The checkpoint seen first, a signed note.
    pub first: String,
    /// The one that does not fit it, a signed note.
    pub second: String,
    /// What does not fit.
    pub why: ExtensionError,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The client cannot be made of this configuration.
    #[error("bad configuration: {0}")]
    Config(String),
    /// An event cannot be built or sent.
    #[error("bad event: {0}")]
    Event(#[from] FrameError),
    /// No answer: no connection, a timeout, or the connection broke.
    #[error("no answer from {path}")]
    NoAnswer {
        /// What was asked.
        path: String,
        /// What happened.
        #[source]
        source: reqwest::Error,
    },
    /// No QUIC connection, or it was lost, for as long as the retry policy tries.
    #[error("no QUIC connection to {address}: {why}")]
    NoConnection {
        /// Where to.
        address: String,
        /// What happened last.
        why: String,
    },
    /// The server's certificate is not one that the client believes.
    #[error("the certificate of {address} does not hold: {why}")]
    Certificate {
        /// Where.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// The server refused.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// The answer is not what the interface says.
    #[error("malformed answer from {path}: {why}")]
    Malformed {
        /// What was asked.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// What a plugin is said to hold is not what the ledger signed.
    #[error("the server's answer about state is not proven: {0}")]
    State(#[from] StateProofError),
    /// The bundle is not one.
    #[error("malformed bundle: {0}")]
    Bundle(#[from] BundleError),
    /// A proof or signature in the answer does not hold.
    #[error("the server's answer is not proven: {0}")]
    Unproven(#[from] CheckFailed),
    /// Another ledger answers than the one trusted.
    #[error("this is ledger {found}, the trusted one is {trusted}")]
    OtherLedger {
        /// The one that is trusted.
        trusted: LedgerId,
        /// The one that answered.
        found: LedgerId,
    },
    /// Two checkpoints do not extend each other.
    #[error("the log was forked or rolled back: {}", .0.why)]
    Fork(Box<ForkEvidence>),
    /// The key that an event names is not known, so its receipt cannot be checked.
    #[error("the public key {key_id} of agent {agent} is not known")]
    UnknownKey {
        /// The agent.
        agent: AgentId,
        /// The key.
        key_id: KeyId,
    },
    /// The feed left something out, or sent something twice or out of order.
    #[error("the feed is not gap-free: {0}")]
    FeedGap(String),
    /// The operating system gave no random bytes.
    #[error("failed to draw random bytes")]
    Random,
}

impl ClientError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Config(_) | Self::Event(_) | Self::UnknownKey { .. } => Class::Reject,
            Self::NoAnswer { .. } | Self::NoConnection { .. } | Self::Random => Class::Retry,
            Self::Refused(refusal) if refusal.is_retryable() => Class::Retry,
            Self::Refused(_) => Class::Reject,
            Self::Malformed { .. }
            | Self::Certificate { .. }
            | Self::Bundle(_)
            | Self::Unproven(_)
            | Self::State(_)
            | Self::OtherLedger { .. }
            | Self::Fork(_)
            | Self::FeedGap(_) => Class::Fatal,
        }
    }

    /// The same error once more: a lost connection is the end of many calls.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::NoConnection { address, why } => Self::NoConnection { address: address.clone(), why: why.clone() },
            Self::Certificate { address, why } => Self::Certificate { address: address.clone(), why: why.clone() },
            Self::Refused(refusal) => Self::Refused(refusal.clone()),
            Self::OtherLedger { trusted, found } => Self::OtherLedger { trusted: *trusted, found: *found },
            Self::Unproven(failed) => Self::Unproven(failed.clone()),
            Self::Config(what) => Self::Config(what.clone()),
            Self::Malformed { path, why } => Self::malformed(path, why),
            other => Self::malformed("the QUIC door", other),
        }
    }

    pub(crate) fn malformed(path: &str, why: impl core::fmt::Display) -> Self {
        Self::Malformed { path: path.to_owned(), why: why.to_string() }
    }
}
