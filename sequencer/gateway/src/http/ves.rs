//! VES ingest: `POST /api/v1/ves/events/ingest`, as the public VES reference speaks it.
//!
//! What fails the whole request: a body that is no JSON (400) or lacks its wrapper (422), no event or events of more
//! than one stream (400), more than 1000 events (413), an event of another agent than `agentId` (400), anything
//! outside the credential (403). Everything else is one event's own rejection, and the answer is 200.

use tally_api::error::ErrorCode;
use tally_api::ves::{VesIngestAnswer, VesReceipt, VesRejection};
use tally_core::{Reader, Receipt};
use tally_protocol::error::{Reject, RejectCode};
use tally_protocol::id::{AgentId, Sequence, Stream};

use super::body::Media;
use super::call::Call;
use super::submit::{Fate, Slots, body_error, decide, off_thread};
use super::{Reply, respond};
use crate::envelope::{Request, Surface};
use crate::error::ApiError;

/// Receipts signed in place; more are signed off the async threads (a signature costs some 15 µs).
const INLINE_SIGNATURES_MAX: usize = 16;

/// `POST /api/v1/ves/events/ingest`
pub(crate) async fn ingest(mut call: Call) -> Reply {
    if call.media()? != Media::Json {
        return Err(ApiError::new(ErrorCode::UnsupportedMediaType, "the route takes application/json"));
    }
    let (body, permit) = call.bytes().await?;
    let (agent, slots) = off_thread(body, |body| {
        let request = Request::read(&body, Surface::Ves).map_err(body_error)?;
        let agent = request.agent_id().ok_or_else(|| {
            ApiError::of_field(ErrorCode::MissingRequiredField, "agentId", "is missing or not a hyphenated UUID")
        })?;
        if request.len() == 0 {
            return Err(ApiError::new(ErrorCode::EmptyBatch, "the request holds no event"));
        }
        Ok((agent, request.frames(Surface::Ves)))
    })
    .await?;
    let stream = check_request(&call, agent, &slots)?;
    let fates = decide(&call, slots).await?;
    drop(permit);
    let reader = call.gateway.reader.clone();
    let signatures = fates.iter().filter(|fate| !matches!(fate, Fate::Rejected(..))).count();
    let answer = if signatures <= INLINE_SIGNATURES_MAX {
        answer(&reader, stream, fates)?
    } else {
        let signed = tokio::task::spawn_blocking(move || answer(&reader, stream, fates));
        signed.await.map_err(|error| ApiError::internal(&error))??
    };
    respond::json(&answer)
}

/// The checks that refuse the request as a whole; gives the one stream, if any event could be read.
fn check_request(call: &Call, agent: AgentId, slots: &Slots) -> Result<Option<Stream>, ApiError> {
    call.caller.must_act_as(agent)?;
    for frame in slots.iter().flatten() {
        call.caller.must_reach(frame.stream())?;
        call.caller.must_act_as(frame.agent_id())?;
    }
    let mut frames = slots.iter().flatten();
    let Some(first) = frames.next() else { return Ok(None) };
    let stream = first.stream();
    if frames.any(|frame| frame.stream() != stream) {
        let message = "all events of a request must have the same tenant_id and store_id";
        return Err(ApiError::new(ErrorCode::InvalidFieldValue, message));
    }
    if slots.iter().flatten().any(|frame| frame.agent_id() != agent) {
        return Err(ApiError::field("source_agent_id", "must equal agentId"));
    }
    Ok(Some(stream))
}

/// The reference's `reason` strings.
fn reason(reject: &Reject) -> String {
    match (reject.code, reject.field) {
        (RejectCode::SchemaValidation, Some(field)) => format!("{}: {field}", reject.code),
        (RejectCode::AgentKeyInvalid, _) => format!("{}: {}", reject.code, reject.message),
        (code, _) => code.to_string(),
    }
}

fn answer(reader: &Reader, stream: Option<Stream>, fates: Vec<Fate>) -> Result<VesIngestAnswer, ApiError> {
    let mut batch_id = [0; 16];
    getrandom::fill(&mut batch_id).map_err(|error| ApiError::internal(&error))?;
    // A random UUID says so (version 4, variant 1).
    batch_id[6] = batch_id[6] & 0x0f | 0x40;
    batch_id[8] = batch_id[8] & 0x3f | 0x80;
    let mut answer = VesIngestAnswer {
        batch_id,
        events_accepted: 0,
        events_rejected: 0,
        sequence_start: None,
        sequence_end: None,
        head_sequence: 0,
        rejections: Vec::new(),
        receipts: Vec::new(),
    };
    let sequencer_id = sequencer_id(reader);
    for (index, fate) in fates.into_iter().enumerate() {
        match fate {
            Fate::Accepted(of) => {
                answer.events_accepted += 1;
                answer.sequence_start = answer.sequence_start.map_or(Some(of.sequence), |at| Some(at.min(of.sequence)));
                answer.sequence_end = answer.sequence_end.max(Some(of.sequence));
                answer.receipts.push(receipt(reader, sequencer_id, &of)?);
            }
            Fate::Duplicate(of) => answer.receipts.push(receipt(reader, sequencer_id, &of)?),
            Fate::Rejected(event_id, reject) => {
                answer.events_rejected += 1;
                let reason = reason(&reject);
                answer.rejections.push(VesRejection { event_id, reason, message: reject.message, index });
            }
        }
    }
    answer.head_sequence = stream.and_then(|stream| reader.stream_head(stream)).map_or(0, Sequence::get);
    Ok(answer)
}

/// A VES receipt names its sequencer by a UUID: the ledger id, shortened.
fn sequencer_id(reader: &Reader) -> [u8; 16] {
    let mut id = [0; 16];
    id.copy_from_slice(&reader.ledger().ledger_id.as_bytes()[..16]);
    id
}

fn receipt(reader: &Reader, sequencer_id: [u8; 16], of: &Receipt) -> Result<VesReceipt, ApiError> {
    let signed = reader.ves_receipt(of).map_err(|error| {
        tracing::error!(%error, "the receipt signer failed");
        let message =
            "the events are in the log, but their receipts could not be signed; retry with the same event ids";
        ApiError::new(ErrorCode::ServiceUnavailable, message).after(1)
    })?;
    Ok(VesReceipt {
        sequencer_id,
        event_id: of.event_id,
        sequence_number: of.sequence,
        sequenced_at: of.sequenced_at,
        receipt_hash: signed.receipt_hash,
        signature_alg: "ed25519".to_owned(),
        sequencer_signature: signed.signature,
        sequencer_key_version: 0,
        log_index: of.index,
    })
}
