//! Outcomes: what plugins decided about an event, believed only when it is proven.
//!
//! Takes the leaf of an event that the caller knows (from its receipt, or an event read back); gives the outcome of this
//! very event, in a log whose checkpoints the ledger's keys signed and that all fit each other. The log of outcomes has
//! a name of its own, so a note of one log is never taken for one of the other.

use std::sync::Arc;

use tally_api::outcome::OutcomeAnswer;
use tally_protocol::checkpoint::Checkpoint;
use tally_protocol::hash::{self, LeafHash, NodeHash, StatesRoot};
use tally_protocol::id::{Index, TreeSize};
use tally_protocol::note::VerifierKey;
use tally_protocol::outcome::Outcome;
use tally_protocol::outcome_log;
use tally_verify::{Check, CheckFailed, Ledger, open_checkpoint, verify_together};

use crate::client::Client;
use crate::error::ClientError;
use crate::transport::Request;
use crate::watch::SeenCheckpoint;

/// An outcome that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenOutcome {
    /// Position of the event, and of its outcome.
    pub index: Index,
    /// What each plugin did; its `event_leaf` is the event's.
    pub outcome: Outcome,
    /// Its bytes, as the log of outcomes commits them.
    pub body: Vec<u8>,
    /// The log's leaf.
    pub leaf_hash: LeafHash,
    /// From the leaf to the checkpoint's root.
    pub path: Vec<NodeHash>,
    /// The signed checkpoint of the log of outcomes.
    pub checkpoint: Arc<SeenCheckpoint>,
}

fn failed(check: Check, why: impl core::fmt::Display) -> ClientError {
    ClientError::Unproven(CheckFailed { check, why: why.to_string() })
}

/// Opens a checkpoint of a ledger's log of outcomes: one of the ledger's keys signed it under that log's name.
pub(crate) fn open(ledger: &Ledger, note: &str) -> Result<Checkpoint, ClientError> {
    let genesis = ledger.genesis();
    let origin = outcome_log::origin(&genesis.origin);
    let key = |key| VerifierKey::new(&origin, key).map_err(|error| failed(Check::Genesis, error));
    let mut keys = vec![key(genesis.receipt_key)?];
    if genesis.checkpoint_key != genesis.receipt_key {
        keys.push(key(genesis.checkpoint_key)?);
    }
    let checkpoint = open_checkpoint(note, &keys)?;
    if checkpoint.origin != origin {
        return Err(failed(Check::CheckpointSignature, "the checkpoint is of another origin"));
    }
    outcome_log::states_root(&checkpoint).map_err(|error| failed(Check::CheckpointSignature, error))?;
    Ok(checkpoint)
}

/// An inclusion path in the order in which a proof of this one leaf has it: what stands left of the leaf from the top
/// down, then what stands right of it from the bottom up. `None` for a path of another length than the place asks for.
fn as_proof(index: Index, size: TreeSize, path: &[NodeHash]) -> Option<Vec<NodeHash>> {
    if !size.holds(index) {
        return None;
    }
    let (mut node, mut last) = (index.get(), size.get() - 1);
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for hash in path {
        if last == 0 {
            return None;
        }
        if node & 1 == 1 || node == last {
            left.push(*hash);
            // The last node of a level may have no sibling for a while.
            let lonely = node.trailing_zeros();
            (node, last) = (node >> lonely, last >> lonely);
        } else {
            right.push(*hash);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    left.reverse();
    left.extend(right);
    (last == 0).then_some(left)
}

/// Checks that a leaf is in a checkpoint's tree.
fn check_inclusion(
    leaf: LeafHash,
    index: Index,
    path: &[NodeHash],
    checkpoint: &Checkpoint,
) -> Result<(), ClientError> {
    let proof = as_proof(index, checkpoint.size, path);
    let proof = proof.ok_or_else(|| failed(Check::Inclusion, "the path has not the length that its place asks for"))?;
    Ok(verify_together(&[(index, leaf)], &proof, checkpoint)?)
}

impl Client {
    /// What was decided about the event at a position, for the event that has this leaf. Waits, within the bounds of
    /// retrying, for an event that is not applied yet.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn outcome(&self, index: Index, event_leaf: LeafHash) -> Result<ProvenOutcome, ClientError> {
        let path = format!("/v1/outcomes/{index}");
        let answer: OutcomeAnswer = self.shared.http.json(&Request::get(&path)).await?;
        self.prove_outcome(answer, index, event_leaf, &path).await
    }

    /// Checks an outcome against the event that it should be of.
    pub(crate) async fn prove_outcome(
        &self,
        answer: OutcomeAnswer,
        index: Index,
        event_leaf: LeafHash,
        asked: &str,
    ) -> Result<ProvenOutcome, ClientError> {
        if answer.index != index {
            return Err(ClientError::malformed(asked, "the outcome is of another event"));
        }
        let outcome = Outcome::decode(&answer.body, event_leaf).map_err(|error| failed(Check::Leaf, error))?;
        let leaf_hash = hash::leaf(&answer.body);
        let checkpoint = self.take_outcomes_checkpoint(&answer.checkpoint).await?;
        check_inclusion(leaf_hash, index, &answer.path, &checkpoint.checkpoint)?;
        Ok(ProvenOutcome { index, outcome, body: answer.body, leaf_hash, path: answer.path, checkpoint })
    }

    /// The newest published checkpoint of the log of outcomes, opened and joined to all of that log seen before.
    ///
    /// # Errors
    /// See [`ClientError::class`].
    pub async fn outcomes_checkpoint(&self) -> Result<Arc<SeenCheckpoint>, ClientError> {
        const PATH: &str = "/outcomes/checkpoint";
        let note = self.shared.http.bytes(&Request::get(PATH)).await?;
        let note = core::str::from_utf8(&note).map_err(|error| ClientError::malformed(PATH, error))?;
        self.take_outcomes_checkpoint(note).await
    }

    /// Opens a checkpoint note of the ledger's log of outcomes and joins it to all of that log seen before.
    ///
    /// # Errors
    /// The signature does not hold, or the checkpoint does not fit those seen: [`ClientError::Fork`].
    pub async fn take_outcomes_checkpoint(&self, note: &str) -> Result<Arc<SeenCheckpoint>, ClientError> {
        let ledger = self.ledger().await?;
        self.shared.outcomes.take(&self.shared.http, &ledger, note).await
    }
}

impl SeenCheckpoint {
    /// The root over what all plugins hold, if this is a checkpoint of the log of outcomes that commits one.
    #[must_use]
    pub fn states_root(&self) -> Option<StatesRoot> {
        outcome_log::states_root(&self.checkpoint).ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use tally_protocol::key::SigningKey;
    use tally_protocol::time::LogTime;
    use tally_testkit::{TestLedger, naive_inclusion_path, naive_root};

    use super::*;

    #[test]
    fn an_inclusion_path_holds_for_its_leaf_place_and_tree_and_for_nothing_else() {
        let leaves: Vec<LeafHash> = (0..40u8).map(|n| hash::leaf(&[n])).collect();
        for size in 1..=leaves.len() {
            let tree = &leaves[..size];
            let checkpoint = Checkpoint::new("log", TreeSize::new(size as u64), naive_root(tree));
            for at in 0..size {
                let index = Index::new(at as u64);
                let path = naive_inclusion_path(at, tree);
                check_inclusion(tree[at], index, &path, &checkpoint).unwrap();
                assert!(check_inclusion(hash::leaf(b"x"), index, &path, &checkpoint).is_err());
                let longer = [&path[..], &[tree[0].node()]].concat();
                assert!(check_inclusion(tree[at], index, &longer, &checkpoint).is_err());
                if let Some((_, shorter)) = path.split_last() {
                    assert!(check_inclusion(tree[at], index, shorter, &checkpoint).is_err());
                    let other = Index::new(if at == 0 { 1 } else { at as u64 - 1 });
                    assert!(check_inclusion(tree[at], other, &path, &checkpoint).is_err());
                    let mut bent = path.clone();
                    bent[0] = tree[at].node();
                    assert!(check_inclusion(tree[at], index, &bent, &checkpoint).is_err());
                }
                let beyond = Index::new(size as u64);
                assert!(check_inclusion(tree[at], beyond, &path, &checkpoint).is_err());
            }
        }
    }

    #[test]
    fn a_checkpoint_is_opened_under_the_name_of_its_own_log_only() {
        let world = TestLedger::new("tally.test/log", LogTime::from_micros(1));
        let ledger = Ledger::from_genesis(&world.genesis.encode()).unwrap();
        let sign = |checkpoint: Checkpoint, key: &SigningKey| {
            tally_protocol::checkpoint::SignedCheckpoint::sign(checkpoint, &[key]).unwrap().note
        };
        let head = |origin: &str| Checkpoint::new(origin, TreeSize::new(1), naive_root(&[hash::leaf(b"x")]));
        for key in [&world.receipt_key, &world.checkpoint_key] {
            assert!(open(&ledger, &sign(head("tally.test/log/outcomes"), key)).is_ok());
            assert!(open(&ledger, &sign(head("tally.test/log"), key)).is_err());
            assert!(ledger.open_checkpoint(&sign(head("tally.test/log/outcomes"), key)).is_err());
        }
        let strange = SigningKey::from_seed([9; 32]);
        assert!(open(&ledger, &sign(head("tally.test/log/outcomes"), &strange)).is_err());
        let mut extended = head("tally.test/log/outcomes");
        extended.extensions.push("other".to_owned());
        assert!(open(&ledger, &sign(extended, &world.receipt_key)).is_err());
    }
}
