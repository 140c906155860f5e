//! One outcome, offline: what the plugins decided about one event, and that the ledger stands by it.
//!
//! Takes the ledger, the outcome's bytes, the path and the note of a checkpoint of its log of outcomes, and the leaf
//! hash of the event, which [`verify_receipt`](crate::verify_receipt) or a [`Bundle`](crate::Bundle) proves; gives the
//! decoded outcome with what it is proven under, or the check that fails.

use tally_merkle::{InclusionProof, verify_inclusion};
use tally_protocol::checkpoint::Checkpoint;
use tally_protocol::hash::{self, LeafHash, NodeHash, StatesRoot};
use tally_protocol::id::Index;
use tally_protocol::outcome::Outcome;
use tally_protocol::outcome_log;

use crate::ledger::{Ledger, Log};
use crate::report::{Check, CheckFailed};

/// An outcome with everything that proves it.
#[derive(Debug, Clone, Copy)]
pub struct OutcomeEvidence<'a> {
    /// The event's place, which is the outcome's.
    pub index: Index,
    /// The event's leaf hash.
    pub event: LeafHash,
    /// The outcome's bytes.
    pub body: &'a [u8],
    /// From its leaf to the root of the checkpoint.
    pub path: &'a [NodeHash],
    /// The signed checkpoint of the log of outcomes.
    pub note: &'a str,
}

/// A proven outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenOutcome {
    /// What the plugins decided.
    pub outcome: Outcome,
    /// The checkpoint of the log of outcomes that it is under.
    pub checkpoint: Checkpoint,
    /// The root over all that plugins hold there, for proofs of state; none if the checkpoint says nothing of it.
    pub states: Option<StatesRoot>,
}

/// Opens a checkpoint of the ledger's log of outcomes, with the root over all that it claims.
///
/// # Errors
/// Check `checkpoint_signature` or `state_root`.
pub fn open_outcome_checkpoint(ledger: &Ledger, note: &str) -> Result<(Checkpoint, Option<StatesRoot>), CheckFailed> {
    let genesis = ledger.genesis();
    let keys = [genesis.receipt_key, genesis.checkpoint_key];
    let checkpoint = ledger.open_checkpoint_of(Log::Outcomes, note, &keys)?;
    let states = outcome_log::states_root(&checkpoint).map_err(|error| CheckFailed::new(Check::StateRoot, error))?;
    Ok((checkpoint, states))
}

/// Verifies one outcome.
///
/// # Errors
/// The first of the checks `checkpoint_signature`, `state_root`, `outcome` and `inclusion` that does not hold.
pub fn verify_outcome(ledger: &Ledger, evidence: &OutcomeEvidence<'_>) -> Result<ProvenOutcome, CheckFailed> {
    let (checkpoint, states) = open_outcome_checkpoint(ledger, evidence.note)?;
    let outcome =
        Outcome::decode(evidence.body, evidence.event).map_err(|error| CheckFailed::new(Check::Outcome, error))?;
    let proof = InclusionProof { index: evidence.index, size: checkpoint.size, path: evidence.path.to_vec() };
    verify_inclusion(&hash::leaf(evidence.body), &proof, &checkpoint.root)
        .map_err(|error| CheckFailed::new(Check::Inclusion, error))?;
    Ok(ProvenOutcome { outcome, checkpoint, states })
}
