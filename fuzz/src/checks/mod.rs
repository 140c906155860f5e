//! The table of targets: every decoder of the protocol, and the shapes the server reads.
//!
//! One file a family; each check takes bytes, gives a shape, and panics when a law of strict decoding breaks.

use crate::Target;

mod json;
mod log;
mod names;
mod offline;
mod records;
mod wire;

/// Every target.
pub const TARGETS: &[Target] = &[
    wire::FRAME,
    wire::FRAMES,
    wire::ENCRYPTED,
    json::JCS,
    json::CONTROL,
    records::ENTRY,
    records::COMMITMENT,
    records::RUN,
    records::FRONTIER,
    log::NOTE,
    log::VERIFIER_KEY,
    log::TLOG_PROOF,
    log::TILES,
    log::BUNDLE,
    names::NAMES,
    names::TIMES,
    offline::OFFLINE_BUNDLE,
];
