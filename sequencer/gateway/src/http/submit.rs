//! Events in: `POST /v1/events`, as JSON or as binary frames, and the way to the core that both surfaces share.
//!
//! Takes frames and refusals in the order of the request, gives one [`Fate`] per event in the same order. What is
//! outside the credential's tenant, stores or agent refuses the whole request before anything is taken (S-009).

use std::sync::Arc;

use bytes::Bytes;
use tally_api::error::ErrorCode;
use tally_api::receipt as api;
use tally_api::submit::{EventOutcome, Rejection, SubmitAnswer};
use tally_core::{EventResult, Receipt};
use tally_protocol::checkpoint::SignedCheckpoint;
use tally_protocol::error::{Reject, RejectCode};
use tally_protocol::frame::Frame;
use tally_protocol::id::EventId;
use tally_protocol::limits::EVENTS_PER_REQUEST_MAX;

use super::body::Media;
use super::call::Call;
use super::{Reply, respond};
use crate::Gateway;
use crate::envelope::{BodyError, Refusal, Request, Surface};
use crate::error::ApiError;
use crate::limits::BytePermit;

/// Bodies larger than this are read off the async threads.
const INLINE_BYTES_MAX: usize = 512 << 10;

/// Events of a request that passed for events, and those that did not, in its order.
pub(crate) type Slots = Vec<Result<Frame, Refusal>>;

/// What became of one event.
pub(crate) enum Fate {
    Accepted(Receipt),
    Duplicate(Receipt),
    Rejected(Option<EventId>, Reject),
}

/// `POST /v1/events`
pub(crate) async fn submit(mut call: Call) -> Reply {
    let (slots, permit) = read_slots(&mut call).await?;
    let fates = decide(&call, slots).await?;
    let answer = answer(fates);
    drop(permit);
    respond::json(&answer)
}

/// Reads the events of a request. The permit must live as long as they do.
pub(crate) async fn read_slots(call: &mut Call) -> Result<(Slots, BytePermit), ApiError> {
    let media = call.media()?;
    let (body, permit) = call.bytes().await?;
    let slots = off_thread(body, move |body| match media {
        Media::Json => {
            let request = Request::read(&body, Surface::Native).map_err(body_error)?;
            Ok(request.frames(Surface::Native))
        }
        Media::Frames => read_frames(body),
    })
    .await?;
    Ok((slots, permit))
}

/// Runs the reading of a large body where it does not hold up other requests.
pub(crate) async fn off_thread<T: Send + 'static>(
    body: Bytes,
    read: impl FnOnce(Bytes) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    if body.len() <= INLINE_BYTES_MAX {
        return read(body);
    }
    tokio::task::spawn_blocking(move || read(body)).await.map_err(|error| ApiError::internal(&error))?
}

/// Concatenated frames. One that is bad inside its bounds is refused alone; a length that means nothing loses the
/// place of all that follow, and refuses the request.
pub(super) fn read_frames(mut body: Bytes) -> Result<Slots, ApiError> {
    let mut slots = Slots::new();
    while !body.is_empty() {
        if slots.len() == EVENTS_PER_REQUEST_MAX {
            return Err(body_error(BodyError::TooMany));
        }
        let slot = match Frame::decode_prefix(&mut body) {
            Ok(Some(frame)) => Ok(frame),
            Err(error) if !error.loses_framing() => Err(Refusal { event_id: None, reject: error.reject() }),
            Ok(None) | Err(_) => {
                let message = format!("the body is not a sequence of frames: frame {} has no end", slots.len());
                return Err(ApiError::new(ErrorCode::InvalidRequestBody, message));
            }
        };
        slots.push(slot);
    }
    Ok(slots)
}

/// The refusal of a request that cannot be read as a whole.
pub(crate) fn body_error(error: BodyError) -> ApiError {
    match error {
        BodyError::Malformed(malformed) => ApiError::new(ErrorCode::InvalidRequestBody, malformed.to_string()),
        BodyError::Missing(member) => {
            ApiError::of_field(ErrorCode::MissingRequiredField, member, "is missing or has the wrong type")
        }
        BodyError::Duplicate(member) => ApiError::of_field(ErrorCode::InvalidRequestBody, member, "occurs twice"),
        BodyError::Unknown => {
            ApiError::new(ErrorCode::UnknownField, "the request has a member that it should not have")
        }
        BodyError::TooMany => {
            ApiError::new(ErrorCode::BatchTooLarge, format!("a request holds at most {EVENTS_PER_REQUEST_MAX} events"))
        }
    }
}

/// Hands the frames to the core and waits for their fates.
pub(crate) async fn decide(call: &Call, slots: Slots) -> Result<Vec<Fate>, ApiError> {
    if slots.is_empty() {
        return Err(ApiError::new(ErrorCode::EmptyBatch, "the request holds no event"));
    }
    call.caller.must_submit(slots.iter().flatten())?;
    let mut places = Vec::with_capacity(slots.len());
    let mut frames = Vec::with_capacity(slots.len());
    for slot in slots {
        places.push(match slot {
            Ok(frame) => {
                let id = frame.event_id();
                match call.gateway.refuses(&frame) {
                    Some(reject) => Err(Refusal { event_id: Some(id), reject }),
                    None => {
                        frames.push(frame);
                        Ok(id)
                    }
                }
            }
            Err(refusal) => Err(refusal),
        });
    }
    let mut results = ask(call, frames).await?.into_iter();
    let mut fates = Vec::with_capacity(places.len());
    for place in places {
        let fate = match place {
            Err(Refusal { event_id, reject }) => Fate::Rejected(event_id, reject),
            Ok(id) => match results.next() {
                Some(EventResult::Accepted(receipt)) => Fate::Accepted(receipt),
                Some(EventResult::Duplicate(receipt)) => Fate::Duplicate(receipt),
                Some(EventResult::Rejected(reject)) => Fate::Rejected(Some(id), reject),
                None => return Err(ApiError::internal(&"the core answered for fewer events than were submitted")),
            },
        };
        if let Fate::Rejected(_, reject) = &fate {
            call.gateway.metrics.on_reject(reject.code);
        }
        fates.push(fate);
    }
    Ok(fates)
}

/// Gives frames to the core in the caller's lane, and waits a bounded time for what became of each.
pub(super) async fn ask(call: &Call, frames: Vec<Frame>) -> Result<Vec<EventResult>, ApiError> {
    if frames.is_empty() {
        return Ok(Vec::new());
    }
    let ticket = call.gateway.submitter.submit(call.caller.lane(), frames)?;
    match tokio::time::timeout(call.gateway.config.limits.receipt_timeout, ticket).await {
        Ok(outcome) => Ok(outcome?.into_results()),
        Err(_) => {
            let message = "the receipts did not come in time; retry with the same event ids";
            Err(ApiError::new(ErrorCode::OutcomeUnknown, message).after(1))
        }
    }
}

impl Gateway {
    /// What never goes to the log from here: an event of the marketplace that shows a card number (M-047).
    pub(crate) fn refuses(&self, frame: &Frame) -> Option<Reject> {
        let refused = self.market.as_ref().is_some_and(|market| market.has_card(frame));
        let why = "payload holds what looks like a card number";
        refused.then(|| Reject::of_field(RejectCode::SchemaValidation, "payload", why))
    }
}

/// Lists each checkpoint once.
#[derive(Default)]
pub(crate) struct Checkpoints(Vec<Arc<SignedCheckpoint>>);

impl Checkpoints {
    fn place(&mut self, checkpoint: &Arc<SignedCheckpoint>) -> usize {
        // Receipts of one run share theirs, so the last one is nearly always it.
        let found = self.0.iter().rposition(|other| Arc::ptr_eq(other, checkpoint));
        found.unwrap_or_else(|| {
            self.0.push(Arc::clone(checkpoint));
            self.0.len() - 1
        })
    }

    pub(crate) fn receipt(&mut self, receipt: Receipt) -> api::Receipt {
        let checkpoint = self.place(&receipt.checkpoint);
        api::Receipt {
            event_id: receipt.event_id,
            tenant_id: receipt.stream.tenant,
            store_id: receipt.stream.store,
            index: receipt.index,
            sequence: receipt.sequence,
            sequenced_at: receipt.sequenced_at,
            signing_hash: receipt.signing_hash,
            leaf_hash: receipt.leaf_hash,
            path: receipt.path,
            checkpoint,
        }
    }

    pub(crate) fn notes(&self) -> Vec<String> {
        self.0.iter().map(|checkpoint| checkpoint.note.clone()).collect()
    }
}

fn answer(fates: Vec<Fate>) -> SubmitAnswer {
    let mut checkpoints = Checkpoints::default();
    let results = fates
        .into_iter()
        .map(|fate| match fate {
            Fate::Accepted(receipt) => EventOutcome::Accepted { receipt: checkpoints.receipt(receipt) },
            Fate::Duplicate(receipt) => EventOutcome::Duplicate { receipt: checkpoints.receipt(receipt) },
            Fate::Rejected(event_id, reject) => EventOutcome::Rejected {
                event_id,
                reject: Rejection {
                    code: reject.code.as_str().to_owned(),
                    message: reject.message,
                    field: reject.field.map(str::to_owned),
                },
            },
        })
        .collect();
    SubmitAnswer { checkpoints: checkpoints.notes(), results }
}
