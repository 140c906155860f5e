//! The guest side of plugins: what an author of a plugin writes against.
//!
//! *In scope*: one trait ([`Plugin`]), one macro ([`export!`]) that exports it, and what a plugin needs inside: the
//! [`Event`] as a view over its record, [`State`] as a cache that is written once, ordered [`key`]s with secondary
//! indexes, [`record`]s for values, canonical [`json`] without a tree, [`Reject`] codes, [`Step`] for emits, effects and
//! ids, [`crypto`] and [`log`]. The contract is `tally:plugin@1`, drawn in `wit/v1/` beside this crate.
//! *Out of scope*: the host. Nothing here knows a node; the crate depends on nothing but `alloc`.
//!
//! A plugin must give the same verdicts wherever its instance is cut: keep everything in [`State`], nothing in statics,
//! and use ordered maps only (`BTreeMap`): what iterates by address or by chance differs between instances.
//!
//! With the feature `test-host` the same plugin runs natively against a host in memory (`test_host`), so that
//! `cargo test` needs no WebAssembly at all.

#![no_std]

extern crate alloc;
#[cfg(any(test, feature = "test-host"))]
extern crate std;

#[doc(hidden)]
pub mod abi;
pub mod arena;
pub mod crypto;
mod event;
mod guest;
pub mod json;
pub mod key;
pub mod log;
mod manifest;
pub mod query;
pub mod record;
mod reject;
mod rows;
mod state;
mod step;
#[cfg(feature = "test-host")]
pub mod test_host;

pub use event::{Event, HEADER_BYTES};
pub use guest::{Plugin, Progress};
#[doc(hidden)]
pub use guest::{describe, init, migrate, query, run};
pub use key::{Key, KeyReader, Range, Table};
pub use manifest::{Manifest, Method};
pub use reject::Reject;
pub use rows::Rows;
pub use state::{Read, Snapshot, State};
pub use step::Step;
