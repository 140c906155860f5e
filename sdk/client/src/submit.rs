//! Submission: events in, proven receipts out.
//!
//! Takes signed frames; sends them within the server's bounds, over QUIC all at once ([`Pipeline`]) or over HTTP in
//! requests, each retried under the same event ids; gives one outcome per event, in order. A receipt is handed out only after its leaf, path, checkpoint signature and
//! the checkpoint's place in the seen history were checked. An error leaves unknown which events are in the log:
//! submit the same frames again, those that are in come back as duplicates with their first place.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tally_api::error::ErrorCode;
use tally_api::event::EventEnvelope;
use tally_api::receipt::Receipt;
use tally_api::submit::{EventOutcome, FRAMES, Rejection, SubmitAnswer, SubmitRequest};
use tally_protocol::frame::Frame;
use tally_protocol::hash::{LeafHash, NodeHash};
use tally_protocol::id::EventId;
use tally_protocol::limits::{BODY_BYTES_MAX, EVENTS_PER_REQUEST_MAX};
use tally_verify::{Bundle, Ledger, Placed, verify_receipt};

use crate::client::{Client, Wire};
use crate::error::ClientError;
use crate::quic::{Pending, Pipeline, PipelineBounds};
use crate::transport::Request;
use crate::watch::SeenCheckpoint;

const PATH: &str = "/v1/events";

/// Base64 and envelopes make an event up to twice as long in JSON.
const JSON_FRAME_BYTES_MAX: usize = BODY_BYTES_MAX / 2;

/// A receipt that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenReceipt {
    /// The event.
    pub frame: Frame,
    /// Its place in the log.
    pub placed: Placed,
    /// The log's leaf.
    pub leaf_hash: LeafHash,
    /// From the leaf to the checkpoint's root.
    pub path: Vec<NodeHash>,
    /// The signed checkpoint.
    pub checkpoint: Arc<SeenCheckpoint>,
    pub(crate) ledger: Arc<Ledger>,
}

impl ProvenReceipt {
    /// The receipt as a file that anybody can check offline.
    #[must_use]
    pub fn bundle(&self) -> Bundle {
        Bundle::assemble(&self.ledger, &self.frame, &self.placed, self.path.clone(), self.checkpoint.note.clone())
    }
}

/// An event that is not in the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event {event_id} was rejected ({}): {}", .rejection.code, .rejection.message)]
pub struct Rejected {
    /// The event.
    pub event_id: EventId,
    /// Why.
    pub rejection: Rejection,
}

/// What became of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubmitOutcome {
    /// It is in the log now.
    Accepted(ProvenReceipt),
    /// It was in the log already (an earlier attempt of this or another client): same place as the first time.
    Duplicate(ProvenReceipt),
    /// It is not in the log.
    Rejected(Rejected),
}

impl SubmitOutcome {
    /// The receipt, if the event is in the log.
    #[must_use]
    pub const fn receipt(&self) -> Option<&ProvenReceipt> {
        match self {
            Self::Accepted(receipt) | Self::Duplicate(receipt) => Some(receipt),
            Self::Rejected(_) => None,
        }
    }

    /// The receipt, however the event came into the log.
    ///
    /// # Errors
    /// The event is not in the log.
    pub fn into_receipt(self) -> Result<ProvenReceipt, Rejected> {
        match self {
            Self::Accepted(receipt) | Self::Duplicate(receipt) => Ok(receipt),
            Self::Rejected(rejected) => Err(rejected),
        }
    }
}

/// A pipeline of a client: many submissions in flight, each with its own answer.
#[derive(Debug, Clone)]
pub struct SubmitPipeline {
    client: Client,
    pipeline: Pipeline,
}

impl SubmitPipeline {
    /// Sends a submission of 1 to 1000 events and at most 10 MiB as soon as there is room for it. The server takes
    /// submissions in this order, except those that it refused for now or that had to go over HTTP.
    ///
    /// # Errors
    /// [`ClientError::Config`]: too few events, or too many.
    pub async fn submit(&self, events: Vec<Frame>) -> Result<Pending, ClientError> {
        self.pipeline.send(&self.client, events).await
    }
}

impl Client {
    /// Submits events and awaits their receipts, each with an inclusion path of its own. More than a request takes are
    /// sent in several: over QUIC together, over HTTP one after the other. For streams of events see
    /// [`Client::pipeline`].
    ///
    /// # Errors
    /// See [`ClientError::class`]. Whether some of the events are in the log is then unknown: submit them again.
    pub async fn submit(&self, events: &[Frame]) -> Result<Vec<SubmitOutcome>, ClientError> {
        let Some(door) = self.shared.door.as_ref().filter(|_| self.shared.wire == Wire::Frames) else {
            return self.submit_over_http(events).await;
        };
        let bounds = PipelineBounds::STANDARD;
        let pipeline = self
            .shared
            .pipeline
            .get_or_init(|| Pipeline::new(Some(Arc::clone(door)), self.shared.http.retry(), bounds));
        let mut pending = Vec::new();
        for part in parts(events, EVENTS_PER_REQUEST_MAX, BODY_BYTES_MAX) {
            pending.push(pipeline.send(self, part.to_vec()).await?);
        }
        let mut outcomes = Vec::with_capacity(events.len());
        for pending in pending {
            outcomes.extend(pending.proven().await?.into_outcomes()?);
        }
        Ok(outcomes)
    }

    /// A way into the log for many submissions at once: they are in flight together, within the bounds, and each
    /// has its own answer ([`Pending::proven`](crate::Pending::proven)).
    #[must_use]
    pub fn pipeline(&self, bounds: PipelineBounds) -> SubmitPipeline {
        let pipeline = Pipeline::new(self.shared.door.clone(), self.shared.http.retry(), bounds);
        SubmitPipeline { client: self.clone(), pipeline }
    }

    /// A pipeline's submission that QUIC does not take; a few at a time, so that a wide window does not become as
    /// many connections.
    pub(crate) async fn submit_as_fallback(&self, events: &[Frame]) -> Result<Vec<SubmitOutcome>, ClientError> {
        let _lane = self.shared.fallback_lanes.acquire().await;
        self.submit_over_http(events).await
    }

    async fn submit_over_http(&self, events: &[Frame]) -> Result<Vec<SubmitOutcome>, ClientError> {
        let mut outcomes = Vec::with_capacity(events.len());
        let bytes_max = match self.shared.wire {
            Wire::Frames => BODY_BYTES_MAX,
            Wire::Json => JSON_FRAME_BYTES_MAX,
        };
        for part in parts(events, EVENTS_PER_REQUEST_MAX, bytes_max) {
            outcomes.extend(self.submit_part(part).await?);
        }
        Ok(outcomes)
    }

    /// Submits one event and awaits its receipt.
    ///
    /// # Errors
    /// As [`Client::submit`].
    pub async fn submit_one(&self, event: &Frame) -> Result<SubmitOutcome, ClientError> {
        let outcome = self.submit(core::slice::from_ref(event)).await?.pop();
        outcome.ok_or_else(|| ClientError::malformed(PATH, "no result for the event"))
    }

    async fn submit_part(&self, events: &[Frame]) -> Result<Vec<SubmitOutcome>, ClientError> {
        let ledger = self.ledger().await?;
        let request = match self.shared.wire {
            Wire::Frames => Request::post(PATH, FRAMES, join(events)),
            Wire::Json => Request::post_json(PATH, &envelopes(events)?)?,
        };
        let answer: SubmitAnswer = self.shared.http.json(&request).await?;
        if answer.results.len() != events.len() {
            let why = format!("{} results for {} events", answer.results.len(), events.len());
            return Err(ClientError::malformed(PATH, why));
        }
        let mut checkpoints = Vec::with_capacity(answer.checkpoints.len());
        for note in &answer.checkpoints {
            checkpoints.push(self.shared.watch.take(&self.shared.http, &ledger, note).await?);
        }
        let mut outcomes = Vec::with_capacity(events.len());
        for (frame, result) in events.iter().zip(answer.results) {
            outcomes.push(match result {
                EventOutcome::Accepted { receipt } => {
                    SubmitOutcome::Accepted(self.prove(&ledger, frame, receipt, &checkpoints).await?)
                }
                EventOutcome::Duplicate { receipt } => {
                    SubmitOutcome::Duplicate(self.prove(&ledger, frame, receipt, &checkpoints).await?)
                }
                EventOutcome::Rejected { reject, .. } => {
                    SubmitOutcome::Rejected(Rejected { event_id: frame.event_id(), rejection: reject })
                }
            });
        }
        Ok(outcomes)
    }

    /// Checks a receipt against the event it should be for.
    pub(crate) async fn prove(
        &self,
        ledger: &Arc<Ledger>,
        frame: &Frame,
        receipt: Receipt,
        checkpoints: &[Arc<SeenCheckpoint>],
    ) -> Result<ProvenReceipt, ClientError> {
        let Some(checkpoint) = checkpoints.get(receipt.checkpoint) else {
            return Err(ClientError::malformed(PATH, "a receipt names a checkpoint that is not there"));
        };
        if receipt.event_id != frame.event_id() || receipt.signing_hash != frame.signing_hash() {
            return Err(ClientError::malformed(PATH, "a receipt is for another event"));
        }
        let placed = Placed {
            index: receipt.index,
            sequence: receipt.sequence,
            sequenced_at: receipt.sequenced_at,
            public_key: self.shared.keys.of_frame(&self.shared.http, frame).await?,
        };
        verify_receipt(frame, &placed, &receipt.leaf_hash, &receipt.path, &checkpoint.checkpoint)?;
        Ok(ProvenReceipt {
            frame: frame.clone(),
            placed,
            leaf_hash: receipt.leaf_hash,
            path: receipt.path,
            checkpoint: Arc::clone(checkpoint),
            ledger: Arc::clone(ledger),
        })
    }
}

/// Cuts events into requests of at most so many events and bytes; an event that is too long alone travels alone (and
/// is refused).
fn parts(events: &[Frame], events_max: usize, bytes_max: usize) -> Vec<&[Frame]> {
    let mut parts = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, event) in events.iter().enumerate() {
        let length = event.bytes().len();
        if at > start && (at - start == events_max || bytes + length > bytes_max) {
            parts.push(&events[start..at]);
            (start, bytes) = (at, 0);
        }
        bytes += length;
    }
    if start < events.len() {
        parts.push(&events[start..]);
    }
    parts
}

fn join(events: &[Frame]) -> Bytes {
    let mut body = BytesMut::with_capacity(events.iter().map(|event| event.bytes().len()).sum());
    for event in events {
        body.extend_from_slice(event.bytes());
    }
    body.freeze()
}

fn envelopes(events: &[Frame]) -> Result<SubmitRequest, ClientError> {
    let events = events.iter().map(EventEnvelope::from_frame).collect::<Result<_, _>>();
    Ok(SubmitRequest { events: events.map_err(|error| ClientError::malformed(PATH, error))? })
}

/// Whether a refusal means that the thing asked for does not exist, or does not exist yet.
pub(crate) fn is_absent(error: &ClientError) -> bool {
    let absent = |code| matches!(code, ErrorCode::EventNotFound | ErrorCode::ResourceNotFound | ErrorCode::NotYet);
    matches!(error, ClientError::Refused(refusal) if refusal.code.is_some_and(absent))
}

#[cfg(test)]
mod tests {
    use tally_testkit::{TestTenant, event_id};

    use super::*;

    #[test]
    fn events_are_cut_by_number_and_bytes_and_none_is_lost() {
        let tenant = TestTenant::new(1);
        let agent = tenant.agent(1);
        let events: Vec<Frame> = (0..25).map(|n| agent.event(tenant.stream(1), event_id(n)).sign()).collect();
        let length = events[0].bytes().len();
        for (events_max, bytes_max, expected) in
            [(10, usize::MAX, vec![10, 10, 5]), (100, length * 7, vec![7, 7, 7, 4]), (100, 1, vec![1; 25])]
        {
            let parts = parts(&events, events_max, bytes_max);
            assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), expected);
            assert_eq!(parts.concat(), events);
        }
        assert!(parts(&[], 10, 10).is_empty());
    }
}
