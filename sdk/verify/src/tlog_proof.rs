//! `.tlog-proof` files (`c2sp.org/tlog-proof@v1`): one entry's index, path and checkpoint.
//!
//! Takes the file, the entry it is about and the keys one trusts; gives a report. The file does not hold the entry:
//! it comes from the log's entry bundles, from a receipt or from a bundle.

use tally_protocol::entry::Entry;
use tally_protocol::note::VerifierKey;
use tally_protocol::proof::TlogProof;

use crate::ledger::open_checkpoint;
use crate::receipt::check_inclusion;
use crate::report::{Check, CheckFailed, Checklist, Proven, Report};

const CHECKS: &[Check] = &[Check::Leaf, Check::CheckpointSignature, Check::Inclusion];

/// Checks a `.tlog-proof` for an entry's bytes against the keys one trusts (there must be at least one).
#[must_use]
pub fn verify_tlog_proof(file: &str, entry: &[u8], keys: &[VerifierKey]) -> Report {
    let mut list = Checklist::new(CHECKS.iter().copied());
    let result = check(file, entry, keys, &mut list);
    list.close(result)
}

fn check(file: &str, entry: &[u8], keys: &[VerifierKey], list: &mut Checklist) -> Result<Proven, CheckFailed> {
    let entry = Entry::decode(entry).map_err(|error| CheckFailed::new(Check::Leaf, error))?;
    let leaf_hash = entry.leaf_hash();
    list.passed(Check::Leaf, format!("the entry hashes to {leaf_hash}"));
    let proof = TlogProof::parse(file).map_err(|error| CheckFailed::new(Check::Inclusion, error))?;
    let checkpoint = open_checkpoint(&proof.checkpoint, keys)?;
    list.passed(
        Check::CheckpointSignature,
        format!("{} signed size {} with root {}", checkpoint.origin, checkpoint.size, checkpoint.root),
    );
    check_inclusion(&leaf_hash, proof.index, &proof.path, &checkpoint)?;
    list.passed(Check::Inclusion, format!("index {} is in that tree ({} hashes)", proof.index, proof.path.len()));
    Ok(Proven {
        ledger_id: None,
        origin: checkpoint.origin,
        index: proof.index,
        leaf_hash,
        size: checkpoint.size,
        root: checkpoint.root,
        anchors: Vec::new(),
    })
}
