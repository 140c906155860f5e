//! The anchor worker against a real chain: anvil, the committed contract, processes that are killed, providers that lie.
//!
//! Groups 2 to 8 of the design's list of proofs for anchoring. Each test has a chain of its own.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod anchoring;
mod anvil;
mod crash;
mod deploy;
mod diverged;
mod identity;
mod keys;
mod lag;
mod log;
mod proxy;
mod reorg;
mod rpc;
mod stateset;
mod stuck;
mod two;
mod watch;
mod world;
