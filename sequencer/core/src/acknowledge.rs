//! Acknowledgement. Takes certified runs, gives receipts to whoever waits, moves `acknowledged`. A client that is gone
//! loses nothing: its events are in the log, and a retry with the same ids brings the same receipts.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crossbeam_channel::Receiver;
use tally_merkle::RunTree;
use tally_protocol::checkpoint::SignedCheckpoint;
use tally_protocol::error::Reject;
use tally_protocol::hash::{LeafHash, NodeHash, SigningHash};
use tally_protocol::id::{EventId, Index, Sequence, Stream};
use tally_protocol::time::LogTime;
use tokio::sync::oneshot;

use crate::failpoint;
use crate::fold::{Folded, FoldedRun};
use crate::order::{Pending, Slot};
use crate::read::receipts::receipt_at;
use crate::shared::{Certified, Shared, write};
use crate::sign::CertifiedRuns;
use crate::watermarks::Rung;

/// The sequencer's answer for one event in the log: its place, and the proof of it.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// The event.
    pub event_id: EventId,
    /// Its stream.
    pub stream: Stream,
    /// Its position in the log.
    pub index: Index,
    /// Its position in the stream.
    pub sequence: Sequence,
    /// Its log time.
    pub sequenced_at: LogTime,
    /// What the agent signed.
    pub signing_hash: SigningHash,
    /// What the log commits.
    pub leaf_hash: LeafHash,
    /// The inclusion path from the leaf to the checkpoint's root (RFC 6962 section 2.1.1).
    pub path: Vec<NodeHash>,
    /// The signed size and root.
    pub checkpoint: Arc<SignedCheckpoint>,
}

/// What became of one submitted event, with its own proof.
#[derive(Debug, Clone)]
pub enum EventResult {
    /// It is in the log.
    Accepted(Receipt),
    /// It was in the log already: the same place, a proof that may be newer.
    Duplicate(Receipt),
    /// It is not in the log.
    Rejected(Reject),
}

/// The place of an event that this submission brought into the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The event.
    pub event_id: EventId,
    /// Its stream.
    pub stream: Stream,
    /// Its position in the log.
    pub index: Index,
    /// Its position in the stream.
    pub sequence: Sequence,
    /// Its log time.
    pub sequenced_at: LogTime,
    /// What the agent signed.
    pub signing_hash: SigningHash,
    /// What the log commits.
    pub leaf_hash: LeafHash,
}

/// What became of one submitted event; the proof of those that are placed is the submission's ([`Outcome`]).
#[derive(Debug, Clone)]
pub enum Fate {
    /// It is in the log now.
    Placed(Placed),
    /// It was in the log already: the same place, a proof that may be newer.
    Duplicate(Receipt),
    /// It is not in the log.
    Rejected(Reject),
}

/// What became of a submission: a fate for each event, and one certificate for all that were placed.
///
/// Proofs are gathered by whoever asks, on the asker's thread.
#[derive(Debug, Clone)]
pub struct Outcome {
    fates: Vec<Fate>,
    /// Present where an event was placed.
    paths: Option<Arc<RunTree>>,
    checkpoint: Arc<SignedCheckpoint>,
}

impl Outcome {
    /// One fate per event, in the order of submission.
    #[must_use]
    pub fn fates(&self) -> &[Fate] {
        &self.fates
    }

    /// The signed size and root that covers every placed event.
    #[must_use]
    pub const fn checkpoint(&self) -> &Arc<SignedCheckpoint> {
        &self.checkpoint
    }

    /// The places of the events that this submission brought into the log; indexes rise strictly.
    pub fn placed(&self) -> impl Iterator<Item = &Placed> {
        self.fates.iter().filter_map(|fate| match fate {
            Fate::Placed(placed) => Some(placed),
            Fate::Duplicate(_) | Fate::Rejected(_) => None,
        })
    }

    /// The nodes of the group of runs that holds the placed events: inclusion paths to the checkpoint without a hash.
    #[must_use]
    pub fn tree(&self) -> Option<&RunTree> {
        self.paths.as_deref()
    }

    /// One result per event, in the order of submission, each with its own proof.
    #[must_use]
    pub fn into_results(self) -> Vec<EventResult> {
        self.into_iter().collect()
    }
}

impl IntoIterator for Outcome {
    type Item = EventResult;
    type IntoIter = Results;

    fn into_iter(self) -> Results {
        Results { fates: self.fates.into_iter(), paths: self.paths, checkpoint: self.checkpoint }
    }
}

/// The results of a submission, in its order.
#[derive(Debug)]
pub struct Results {
    fates: std::vec::IntoIter<Fate>,
    paths: Option<Arc<RunTree>>,
    checkpoint: Arc<SignedCheckpoint>,
}

impl Iterator for Results {
    type Item = EventResult;

    fn next(&mut self) -> Option<EventResult> {
        Some(match self.fates.next()? {
            Fate::Placed(placed) => {
                let Placed { event_id, stream, index, sequence, sequenced_at, signing_hash, leaf_hash } = placed;
                let path = self.paths.as_deref().map(|paths| paths.path(index)).unwrap_or_default();
                let checkpoint = Arc::clone(&self.checkpoint);
                let receipt = Receipt {
                    event_id,
                    stream,
                    index,
                    sequence,
                    sequenced_at,
                    signing_hash,
                    leaf_hash,
                    path,
                    checkpoint,
                };
                EventResult::Accepted(receipt)
            }
            Fate::Duplicate(receipt) => EventResult::Duplicate(receipt),
            Fate::Rejected(reject) => EventResult::Rejected(reject),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.fates.size_hint()
    }
}

impl ExactSizeIterator for Results {}

/// The node stopped before the outcome was known: the events may or may not be in the log. Retry with the same ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sequencer stopped before the outcome was known; retry with the same event ids")]
pub struct OutcomeUnknown;

/// Resolves to the submission's outcome.
#[derive(Debug)]
pub struct Ticket(oneshot::Receiver<Outcome>);

impl Ticket {
    pub(crate) fn new(receiver: oneshot::Receiver<Outcome>) -> Self {
        Self(receiver)
    }

    /// Waits on this thread; not for use inside an async runtime.
    ///
    /// # Errors
    /// The node stopped first.
    pub fn wait(self) -> Result<Outcome, OutcomeUnknown> {
        self.0.blocking_recv().map_err(|_| OutcomeUnknown)
    }
}

impl Future for Ticket {
    type Output = Result<Outcome, OutcomeUnknown>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map_err(|_| OutcomeUnknown)
    }
}

/// The acknowledging thread's life: until certifying is gone.
pub(crate) fn run(
    shared: &Arc<Shared>,
    queue: &Receiver<CertifiedRuns>,
    index: &crossbeam_channel::Sender<Arc<FoldedRun>>,
) {
    while let Ok(CertifiedRuns { folded, certified }) = queue.recv() {
        let Folded { runs, grown } = folded;
        for mut run in runs {
            raise_heads(shared, &run);
            let pending = std::mem::take(&mut run.run.pending);
            failpoint::hit("acknowledge.before");
            for Pending { reply, slots } in pending {
                shared
                    .metrics
                    .receipt_micros
                    .observe(shared.clock.monotonic_micros().saturating_sub(reply.admitted_micros));
                // A receipt that cannot be read back now is not given: the ticket ends as outcome unknown.
                if let Some(fates) = fates(shared, &run, slots, &certified) {
                    let paths = grown.as_ref().map(|grown| Arc::clone(&grown.paths));
                    let checkpoint = Arc::clone(&certified.checkpoint);
                    reply.answer(Outcome { fates, paths, checkpoint });
                }
            }
            failpoint::hit("acknowledge.after");
            if let Some(last) = run.run.events.last() {
                shared.watermarks.raise(Rung::Acknowledged, last.index.size_after());
                // The indexer reads the log where it missed a run, so a full queue costs time, not entries.
                let _ = index.try_send(Arc::new(run));
            }
        }
    }
}

/// `None` if a duplicate's receipt cannot be read.
fn fates(shared: &Shared, run: &FoldedRun, slots: Vec<Slot>, certified: &Certified) -> Option<Vec<Fate>> {
    let fate = |slot| match slot {
        Slot::Rejected(reject) => Some(Fate::Rejected(reject)),
        Slot::Duplicate(index) => receipt_at(shared, certified, index).ok().map(Fate::Duplicate),
        Slot::New(at) => placed(run, at).map(Fate::Placed),
    };
    slots.into_iter().map(fate).collect()
}

fn raise_heads(shared: &Shared, run: &FoldedRun) {
    if run.run.streams.is_empty() {
        return;
    }
    let mut heads = write(&shared.heads);
    for (stream, last) in &run.run.streams {
        heads.insert(*stream, *last);
    }
}

fn placed(run: &FoldedRun, at: usize) -> Option<Placed> {
    let event = run.run.events.get(at)?;
    Some(Placed {
        event_id: event.frame.event_id(),
        stream: event.frame.stream(),
        index: event.index,
        sequence: event.sequence,
        sequenced_at: event.sequenced_at,
        signing_hash: event.signing_hash,
        leaf_hash: *run.leaves.get(at)?,
    })
}
