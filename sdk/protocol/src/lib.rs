//! Every byte that Tally stores, signs, sends or anchors is defined in this crate.
//!
//! *In scope*: ids, hashes, keys, frames, entries, stored runs, notes, checkpoints, proofs, tiles, receipts, outcomes,
//! releases of plugins and what their events mean, what is anchored on chains, canonical JSON, and the bounds of all of them.
//! *Out of scope*: I/O, clocks, randomness (batch verification takes its random source as an argument), async.
//! Each format has a page in `docs/formats/`.

pub mod anchor;
pub mod batch;
pub mod checkpoint;
pub mod control;
pub mod encrypted;
pub mod entry;
pub mod error;
pub mod frame;
pub mod hash;
pub mod id;
pub mod import;
pub mod jcs;
pub mod key;
pub mod limits;
pub mod note;
pub mod outcome;
pub mod outcome_log;
pub mod plugin_event;
pub mod plugin_life;
pub mod proof;
pub mod quic;
pub mod receipt;
pub mod release;
pub mod run;
pub mod sigv4;
pub mod tile;
pub mod time;
