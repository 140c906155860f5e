//! The signers, over real devices and a real chain: anvil, SoftHSM2, and a server of the KMS protocol, each a process of
//! its own. What they sign is verified by the chain, which shares no code with them.
//!
//! Needs `TALLY_ANVIL`, `TALLY_MINISTACK` and `TALLY_SOFTHSM`, or the tools on the path; a test without its tool fails.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod anvil;
mod file;
mod kms;
mod ministack;
mod pkcs11;
mod process;
mod remote;
mod softhsm;
mod suite;
