//! The table of targets: every decoder of the protocol, and the shapes the server reads.
//!
//! One file a family; each check takes bytes, gives a shape, and panics when a law of strict decoding breaks.

use crate::Target;

mod anchors;
mod api;
mod json;
mod log;
mod multiproof;
mod names;
mod offline;
mod plugins;
mod proofs;
mod quic;
mod records;
mod state;
mod wire;

/// Every target.
pub const TARGETS: &[Target] = &[
    wire::FRAME,
    wire::FRAMES,
    wire::ENCRYPTED,
    api::ENVELOPE,
    api::SHAPES,
    quic::TO_SERVER,
    quic::TO_CLIENT,
    json::JCS,
    json::CONTROL,
    records::ENTRY,
    records::COMMITMENT,
    records::RUN,
    records::RUN_VIEW,
    records::FRONTIER,
    log::NOTE,
    log::VERIFIER_KEY,
    log::TLOG_PROOF,
    log::TILES,
    log::BUNDLE,
    proofs::PROOF,
    multiproof::MULTIPROOF,
    state::PROOF,
    state::PAGE,
    offline::EVENT_BUNDLE,
    offline::PROOF_FILE,
    plugins::OUTCOME,
    plugins::PLUGIN_EVENT,
    anchors::CALL,
    anchors::EVENT,
    anchors::TRANSACTION,
    names::NAMES,
    names::TIMES,
];
