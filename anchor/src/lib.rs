//! Anchors Tally's logs on EVM chains.
//!
//! *In scope*: what to anchor and when, the journal of signed transactions, the conversation with a chain, the signers of the
//! keys that pay and that authorise, and the watcher that a node without keys uses.
//! *Out of scope*: where checkpoints and proofs come from (the seam [`source::LogSource`]), serving what was anchored (the
//! node), the offline check (`tally-verify`).
//!
//! [`schedule`] decides, [`chain`] acts, [`ledger`] remembers, [`driver`] joins them. The worker is a process of its own: it
//! holds the keys, the node holds none and only [`watch`]es.

pub mod chain;
pub mod clock;
pub mod config;
pub mod deploy;
pub mod driver;
pub mod error;
pub mod ethereum;
pub mod failpoint;
pub mod fees;
pub mod files;
pub mod ledger;
pub mod metrics;
pub mod policy;
pub mod schedule;
pub mod signer;
pub mod source;
pub mod stateset;
pub mod uses;
pub mod watch;
