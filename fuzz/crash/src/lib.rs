//! The real node under load from outside: killed again and again ([`kills`]), and left alone for long ([`soak`]).
//!
//! *In scope*: the `tally` binary as a child process ([`node`]), client threads that submit, keep what was acknowledged
//! and believe nothing ([`load`]), and the check of everything kept against the stored log ([`against_log`]).
//! *Out of scope*: what a power cut does to a disk (`storage/tests/crash.rs`), chosen moments inside the pipeline (the
//! fail points of `sequencer/node/tests/crash.rs`), faults that no real disk gives on demand (`fuzz/sim`).

pub mod against_log;
pub mod kills;
pub mod load;
pub mod node;
pub mod soak;

/// What ended a run: a broken law or a machine that does not play along, in words.
pub type Failure = String;
