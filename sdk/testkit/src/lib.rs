//! What tests are made of: deterministic keys, builders, a clock, a workload, the model, and the auditor.
//!
//! *In scope*: values. Everything follows from seeds: the same test makes the same bytes each time.
//! *Out of scope*: I/O, threads, and anything a production crate may depend on.
//!
//! - [`TestLedger`], [`TestTenant`], [`TestAgent`] hold keys and build signed frames;
//! - [`TestChain`] signs what an EVM chain would be sent;
//! - [`ReferenceLog`] is the naive model of the sequencer: submit an event, get what must happen to it;
//! - [`check_log`] is the whole-log audit of `tally-verify` as one call;
//! - [`Workload`] makes seeded streams of events, with duplicates and bad ones mixed in;
//! - [`ManualClock`] and [`TestRng`] are time and chance as values.

pub mod build;
pub mod chain;
pub mod check;
pub mod clock;
pub mod keys;
pub mod reference;
pub mod rng;
pub mod workload;

pub use build::{Event, TestAgent, TestLedger, TestTenant};
pub use chain::{ChainKey, TestChain};
pub use check::{LogUnderTest, check_log};
pub use clock::ManualClock;
pub use keys::{agent_id, event_id, signing_key, store_id, tenant_id};
pub use reference::{Expected, Placement, ReferenceLog, naive_inclusion_path, naive_root};
pub use rng::TestRng;
pub use workload::{Workload, WorkloadConfig};
