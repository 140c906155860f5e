//! The offline verifier: bundles, receipts, proofs, and the audit of a whole log.
//!
//! *In scope*: checking what a ledger claims with nothing but its bytes and what the caller trusts (a ledger id or a
//! key). *Out of scope*: fetching anything, clocks, randomness (the audit takes its random source as an argument),
//! server crates. It shares only `tally-protocol` and `tally-merkle` with the server (law 11) and builds for
//! `wasm32-unknown-unknown`.
//!
//! - one event: [`Bundle::decode`], then [`Bundle::verify`] gives a [`Report`] of every check in words, anchors on chains
//!   among them: [`BundleAnchor`];
//! - one receipt: [`Ledger::open_checkpoint`], then [`verify_receipt`];
//! - two checkpoints: [`verify_extension`];
//! - a `.tlog-proof` file: [`verify_tlog_proof`];
//! - one outcome of the plugins: [`verify_outcome`];
//! - a key of a plugin's state, present or absent: [`verify_state_value`], [`verify_state_absent`];
//! - a whole log: [`audit::LogAudit`], and its outcomes beside it: [`audit::OutcomeAudit`].

mod anchor;
pub mod audit;
mod bundle;
mod consistency;
mod ledger;
mod members;
mod outcome;
mod receipt;
mod report;
mod state;
mod submission;
mod tlog_proof;

pub use anchor::{AnchorBlock, AnchoredLeaf, AnchoredOutcome, BundleAnchor, ProvenAnchor, TrustedChain};
pub use audit::{Directory, Finding, LogAudit, OutcomeAudit, OutcomeVerdict, Place, Rule, Signed, Tally, Verdict};
pub use bundle::{BUNDLE_BYTES_MAX, BUNDLE_FORMAT, Bundle, BundleError};
pub use consistency::{ExtensionError, verify_extension};
pub use ledger::{Ledger, TrustRoot, open_checkpoint};
pub use outcome::{OutcomeEvidence, ProvenOutcome, open_outcome_checkpoint, verify_outcome};
pub use receipt::{Placed, verify_receipt, verify_receipt_of_stranger};
pub use report::{Check, CheckFailed, Line, Outcome, Proven, Report};
pub use state::{StateAt, verify_state_absent, verify_state_value};
pub use submission::{paths_of, verify_together};
pub use tlog_proof::verify_tlog_proof;

pub use tally_merkle::sparse::{StateAnswer, StateProofError, StatesRoot};
