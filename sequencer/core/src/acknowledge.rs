//! Acknowledgement. Takes certified runs, gives receipts to whoever waits, moves `acknowledged`. A client that is gone
//! loses nothing: its events are in the log, and a retry with the same ids brings the same receipts.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crossbeam_channel::Receiver;
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

/// What became of one submitted event.
#[derive(Debug, Clone)]
pub enum EventResult {
    /// It is in the log.
    Accepted(Receipt),
    /// It was in the log already: the same place, a proof that may be newer.
    Duplicate(Receipt),
    /// It is not in the log.
    Rejected(Reject),
}

/// The node stopped before the outcome was known: the events may or may not be in the log. Retry with the same ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sequencer stopped before the outcome was known; retry with the same event ids")]
pub struct OutcomeUnknown;

/// Resolves to one result per event, in the order of submission.
#[derive(Debug)]
pub struct Ticket(oneshot::Receiver<Vec<EventResult>>);

impl Ticket {
    pub(crate) fn new(receiver: oneshot::Receiver<Vec<EventResult>>) -> Self {
        Self(receiver)
    }

    /// Waits on this thread; not for use inside an async runtime.
    ///
    /// # Errors
    /// The node stopped first.
    pub fn wait(self) -> Result<Vec<EventResult>, OutcomeUnknown> {
        self.0.blocking_recv().map_err(|_| OutcomeUnknown)
    }
}

impl Future for Ticket {
    type Output = Result<Vec<EventResult>, OutcomeUnknown>;

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
                let results = slots
                    .into_iter()
                    .map(|slot| match slot {
                        Slot::Rejected(reject) => Some(EventResult::Rejected(reject)),
                        Slot::Duplicate(index) => {
                            receipt_at(shared, &certified, index).ok().map(EventResult::Duplicate)
                        }
                        Slot::New(at) => {
                            let paths = &grown.as_ref()?.paths;
                            let event = run.run.events.get(at)?;
                            Some(EventResult::Accepted(receipt(&run, at, paths.path(event.index), &certified)))
                        }
                    })
                    .collect::<Option<Vec<_>>>();
                shared
                    .metrics
                    .receipt_micros
                    .observe(shared.clock.monotonic_micros().saturating_sub(reply.admitted_micros));
                // A receipt that cannot be read back now is not given: the ticket ends as outcome unknown.
                if let Some(results) = results {
                    let _ = reply.sender.send(results);
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

fn raise_heads(shared: &Shared, run: &FoldedRun) {
    if run.run.streams.is_empty() {
        return;
    }
    let mut heads = write(&shared.heads);
    for (stream, last) in &run.run.streams {
        heads.insert(*stream, *last);
    }
}

fn receipt(run: &FoldedRun, at: usize, path: Vec<NodeHash>, certified: &Certified) -> Receipt {
    let event = &run.run.events[at];
    Receipt {
        event_id: event.frame.event_id(),
        stream: event.frame.stream(),
        index: event.index,
        sequence: event.sequence,
        sequenced_at: event.sequenced_at,
        signing_hash: event.signing_hash,
        leaf_hash: run.leaves[at],
        path,
        checkpoint: Arc::clone(&certified.checkpoint),
    }
}
