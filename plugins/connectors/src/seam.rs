//! One effect, and the two things that can be asked of whoever does it.
//!
//! Takes a request as a plugin wrote it; gives an answer that is final, or a failure that says whether the world outside may
//! have been changed. A connector keeps nothing: whatever must survive is in the dispatch journal or at the provider.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use tally_protocol::hash::EffectId;
use tally_protocol::id::{Index, PluginId, Stream};

/// An effect as it was asked for (docs/formats/market.md, "Effects and answers").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its id, which is the idempotency key at the provider.
    pub id: EffectId,
    /// The event that asked for it.
    pub index: Index,
    /// Where that event is.
    pub stream: Stream,
    /// Who asked.
    pub plugin: PluginId,
    /// What kind of connector is meant.
    pub kind: String,
    /// Effects of one kind and suffix are done one after the other.
    pub suffix: String,
    /// Canonical JSON.
    pub body: Bytes,
}

/// Whether it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It was.
    Done,
    /// It was refused, for good; nothing outside was changed.
    Failed,
}

/// What came of an effect, for good. Becomes the event `effect.answered`.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Whether it was done.
    pub status: Status,
    /// The member `result` of the event. Integers only, within ±(2^53 − 1); never a secret.
    pub result: serde_json::Value,
}

/// Why there is no answer yet. The text says why, for operators, and holds no secret and nothing a client sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Nothing outside was changed (no connection, told to come later): do it again, with backoff.
    #[error("not done: {0}")]
    NotDone(String),
    /// It may have been done (a time-out, a connection that broke, an answer nobody can read): look it up before anything else.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// It was not done and never will be as things are (no such operation, a body that makes no sense, credentials that are
    /// refused): an operator must look.
    #[error("cannot be done: {0}")]
    Impossible(String),
}

/// The end of [`Connector::perform`].
pub type Doing<'a> = Pin<Box<dyn Future<Output = Result<Answer, Failure>> + Send + 'a>>;

/// The end of [`Connector::look_up`].
pub type Looking<'a> = Pin<Box<dyn Future<Output = Result<Option<Answer>, Failure>> + Send + 'a>>;

/// Whoever does effects of one kind.
pub trait Connector: Send + Sync {
    /// The kind.
    fn kind(&self) -> &str;

    /// Does it. May be called again with the same request after [`Failure::NotDone`], never beside itself.
    fn perform<'a>(&'a self, request: &'a Request) -> Doing<'a>;

    /// Asks the provider what came of it, by the effect's id in what the provider keeps; changes nothing outside.
    /// Nothing means that it was not done, and may be.
    fn look_up<'a>(&'a self, request: &'a Request) -> Looking<'a>;
}
