//! From what the sequencer said over QUIC to what is proven: one outcome, all of its events.
//!
//! Takes the submitted frames, the outcome and the checkpoints it names; derives every leaf again from the caller's own
//! bytes and the claimed places, and follows the one proof that they share to the root of a checkpoint that the pinned
//! keys signed and that fits all seen before. About three short hashes an event. Whatever does not hold is named, and
//! nothing of the outcome is given out. Ordinary receipts, each with a path of its own, follow from it without asking
//! again ([`ProvenSubmission::into_outcomes`]).

use std::collections::HashMap;
use std::sync::Arc;

use tally_api::submit::Rejection;
use tally_protocol::frame::Frame;
use tally_protocol::hash::{LeafHash, NodeHash};
use tally_protocol::id::{Index, Sequence, Stream};
use tally_protocol::quic::{self, Duplicate, Fate};
use tally_verify::{Check, CheckFailed, Ledger, Placed, paths_of, verify_receipt, verify_together};

use crate::client::Client;
use crate::error::ClientError;
use crate::submit::{ProvenReceipt, Rejected, SubmitOutcome};
use crate::watch::SeenCheckpoint;

const DOOR: &str = "the QUIC door";

/// What became of one event of a submission; checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProvenEvent {
    /// It is in the log now.
    Accepted {
        /// Where.
        placed: Placed,
        /// The log's leaf, derived from the event and its place.
        leaf_hash: LeafHash,
    },
    /// It was in the log already, at this place; with a proof of its own.
    Duplicate(Box<ProvenReceipt>),
    /// It is not in the log.
    Rejected(Rejected),
}

/// A submission that was answered, and its answer checked.
#[derive(Debug, Clone)]
pub struct ProvenSubmission {
    frames: Arc<Vec<Frame>>,
    events: Vec<ProvenEvent>,
    proof: Proof,
    ledger: Arc<Ledger>,
}

#[derive(Debug, Clone)]
enum Proof {
    /// Nothing was placed.
    None,
    /// All placed events together.
    Together { hashes: Vec<NodeHash>, checkpoint: Arc<SeenCheckpoint> },
    /// Each placed event by itself, in their order: it came over HTTP.
    Apart(Vec<ProvenReceipt>),
}

impl ProvenSubmission {
    /// The submitted events.
    #[must_use]
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// What became of each, in their order.
    #[must_use]
    pub fn events(&self) -> &[ProvenEvent] {
        &self.events
    }

    /// The checkpoint that covers all accepted events; none if there are none, or if each has its own.
    #[must_use]
    pub const fn checkpoint(&self) -> Option<&Arc<SeenCheckpoint>> {
        match &self.proof {
            Proof::Together { checkpoint, .. } => Some(checkpoint),
            Proof::None | Proof::Apart(_) => None,
        }
    }

    /// One outcome an event, each accepted one with an inclusion path of its own, taken out of the shared proof.
    ///
    /// # Errors
    /// None for a submission that was proven.
    pub fn into_outcomes(self) -> Result<Vec<SubmitOutcome>, ClientError> {
        let receipts = match self.proof {
            Proof::None => Vec::new(),
            Proof::Apart(receipts) => receipts,
            Proof::Together { hashes, checkpoint } => {
                let placed = || {
                    self.frames.iter().zip(&self.events).filter_map(|(frame, event)| match event {
                        ProvenEvent::Accepted { placed, leaf_hash } => Some((frame, *placed, *leaf_hash)),
                        ProvenEvent::Duplicate(_) | ProvenEvent::Rejected(_) => None,
                    })
                };
                let leaves: Vec<_> = placed().map(|(_, placed, leaf)| (placed.index, leaf)).collect();
                let paths = paths_of(&leaves, &hashes, &checkpoint.checkpoint)?;
                placed()
                    .zip(paths)
                    .map(|((frame, placed, leaf_hash), path)| ProvenReceipt {
                        frame: frame.clone(),
                        placed,
                        leaf_hash,
                        path,
                        checkpoint: Arc::clone(&checkpoint),
                        ledger: Arc::clone(&self.ledger),
                    })
                    .collect()
            }
        };
        let mut receipts = receipts.into_iter();
        let mut outcomes = Vec::with_capacity(self.events.len());
        for event in self.events {
            outcomes.push(match event {
                ProvenEvent::Accepted { .. } => {
                    let receipt = receipts.next().ok_or_else(|| ClientError::malformed(DOOR, "a receipt too few"))?;
                    SubmitOutcome::Accepted(receipt)
                }
                ProvenEvent::Duplicate(receipt) => SubmitOutcome::Duplicate(*receipt),
                ProvenEvent::Rejected(rejected) => SubmitOutcome::Rejected(rejected),
            });
        }
        Ok(outcomes)
    }

    /// The same, of a submission that went over HTTP and was checked there.
    pub(crate) fn apart(frames: Arc<Vec<Frame>>, outcomes: Vec<SubmitOutcome>, ledger: Arc<Ledger>) -> Self {
        let mut receipts = Vec::new();
        let events = outcomes.into_iter().map(|outcome| match outcome {
            SubmitOutcome::Accepted(receipt) => {
                let (placed, leaf_hash) = (receipt.placed, receipt.leaf_hash);
                receipts.push(receipt);
                ProvenEvent::Accepted { placed, leaf_hash }
            }
            SubmitOutcome::Duplicate(receipt) => ProvenEvent::Duplicate(Box::new(receipt)),
            SubmitOutcome::Rejected(rejected) => ProvenEvent::Rejected(rejected),
        });
        let events = events.collect();
        Self { frames, events, proof: Proof::Apart(receipts), ledger }
    }
}

impl Client {
    /// Checks an outcome against the events it should be for.
    pub(crate) async fn prove_together(
        &self,
        frames: Arc<Vec<Frame>>,
        outcome: &quic::Outcome,
        checkpoints: &[(u32, Arc<SeenCheckpoint>)],
    ) -> Result<ProvenSubmission, ClientError> {
        let ledger = self.ledger().await?;
        if outcome.events() != frames.len() {
            let why = format!("{} results for {} events", outcome.events(), frames.len());
            return Err(ClientError::malformed(DOOR, why));
        }
        let checkpoint = |id: u32| {
            let found =
                checkpoints.iter().find(|(known, _)| *known == id).map(|(_, checkpoint)| Arc::clone(checkpoint));
            found.ok_or_else(|| ClientError::malformed(DOOR, "an outcome names a checkpoint that is not there"))
        };
        let keys = self.shared.keys.of_frames(&self.shared.http, &frames).await?;
        let mut leaves: Vec<(Index, LeafHash)> = Vec::with_capacity(frames.len());
        let mut turns = Turns::default();
        let mut events = Vec::with_capacity(frames.len());
        for ((frame, fate), public_key) in frames.iter().zip(outcome.fates()).zip(keys) {
            events.push(match fate {
                Fate::Placed { index, sequence, sequenced_at } => {
                    turns.check(frame.stream(), sequence)?;
                    let placed = Placed { index, sequence, sequenced_at, public_key };
                    let leaf_hash = placed.entry_of(frame).leaf_hash();
                    leaves.push((index, leaf_hash));
                    ProvenEvent::Accepted { placed, leaf_hash }
                }
                Fate::Duplicate(Duplicate { index, sequence, sequenced_at, checkpoint: id, path }) => {
                    let (index, sequence, sequenced_at) = (*index, *sequence, *sequenced_at);
                    let placed = Placed { index, sequence, sequenced_at, public_key };
                    let leaf_hash = placed.entry_of(frame).leaf_hash();
                    let (frame, checkpoint, path) = (frame.clone(), checkpoint(*id)?, path.clone());
                    verify_receipt(&frame, &placed, &leaf_hash, &path, &checkpoint.checkpoint)?;
                    let ledger = Arc::clone(&ledger);
                    let receipt = ProvenReceipt { frame, placed, leaf_hash, path, checkpoint, ledger };
                    ProvenEvent::Duplicate(Box::new(receipt))
                }
                Fate::Rejected(rejection) => ProvenEvent::Rejected(Rejected {
                    event_id: frame.event_id(),
                    rejection: Rejection {
                        code: rejection.code.as_str().to_owned(),
                        message: rejection.message().to_owned(),
                        field: rejection.field().map(str::to_owned),
                    },
                }),
            });
        }
        let proof = match outcome.checkpoint() {
            None => Proof::None,
            Some(id) => {
                let (hashes, checkpoint) = (outcome.proof().to_vec(), checkpoint(id)?);
                verify_together(&leaves, &hashes, &checkpoint.checkpoint)?;
                Proof::Together { hashes, checkpoint }
            }
        };
        Ok(ProvenSubmission { frames, events, proof, ledger })
    }
}

/// The events of a stream that a submission brings into the log take rising sequences, in the submission's order.
#[derive(Default)]
struct Turns {
    last: Option<(Stream, Sequence)>,
    others: HashMap<Stream, Sequence>,
}

impl Turns {
    fn check(&mut self, stream: Stream, sequence: Sequence) -> Result<(), ClientError> {
        let before = match self.last {
            Some((last, before)) if last == stream => Some(before),
            Some((last, before)) => {
                self.others.insert(last, before);
                self.others.get(&stream).copied()
            }
            None => None,
        };
        self.last = Some((stream, sequence));
        if before.is_none_or(|before| before < sequence) {
            return Ok(());
        }
        let why = format!("sequence {sequence} of stream {stream} out of turn");
        Err(ClientError::Unproven(CheckFailed { check: Check::Leaf, why }))
    }
}
