//! Commands: one event of the type that a route declares, signed by the caller or for it.
//!
//! Takes a request with a credential; gives the place of its event in the log, then the answer. The id of an event that is
//! signed here follows from caller, type, entity and key, so that a retry is the same event: one that is in the log
//! already is read back and compared, because the time that was signed first is not known to a second try.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::HeaderMap;
use bytes::Bytes;
use tally_api::error::ErrorCode;
use tally_api::market::KEY_HEADER;
use tally_core::{EventResult, StoredEvent};
use tally_protocol::error::{Reject, RejectCode};
use tally_protocol::frame::{Frame, PayloadKind};
use tally_protocol::hash;
use tally_protocol::id::{EventId, Index};
use tally_protocol::jcs;

use super::{Found, PARTS_BEFORE, body, meant, principal, refusal, refuse_cards, status};
use crate::envelope::{Request, Surface};
use crate::error::ApiError;
use crate::http::Reply;
use crate::http::body::Media;
use crate::http::call::Call;
use crate::http::declared::{APPLY_WAIT_MAX, segments};
use crate::http::plugins::Asked;
use crate::http::submit::{Slots, ask, body_error, read_frames};
use crate::market::{AgentSignError, Market, Unsigned};

/// A command's body, signed or not.
const BODY_BYTES_MAX: usize = 64 << 10;
/// Longest idempotency key.
const KEY_BYTES_MAX: usize = 255;
/// The entity id of a command that makes something.
pub(super) const NEW: &str = "new";
/// The one command that names nobody and may be given any number of times.
const TICK: &str = "market.tick";

/// What an event is about (docs/formats/market.md).
pub(super) struct Target {
    event_type: String,
    entity_type: &'static str,
    entity_id: String,
}

impl Target {
    /// The kind of entity of a command; none if events of this type are no commands of a marketplace.
    pub(super) fn entity_type(event_type: &str) -> Option<&'static str> {
        let kinds = [("catalog.", "sku"), ("checkout.", "order"), ("royalty.", "payout"), (TICK, "market")];
        kinds.into_iter().find_map(|(start, kind)| event_type.starts_with(start).then_some(kind))
    }

    fn of(event_type: &str, args: BTreeMap<String, String>) -> Result<Self, ApiError> {
        let undeclared = || ApiError::new(ErrorCode::ResourceNotFound, "no command of a marketplace");
        let entity_type = Self::entity_type(event_type).ok_or_else(undeclared)?;
        let default = if event_type == TICK { "tick" } else { NEW };
        let entity_id = args.into_values().next().unwrap_or_else(|| default.to_owned());
        Ok(Self { event_type: event_type.to_owned(), entity_type, entity_id })
    }

    fn is_of(&self, frame: &Frame) -> bool {
        frame.event_type() == self.event_type
            && frame.entity_type() == self.entity_type
            && frame.entity_id() == self.entity_id
    }
}

/// Where a command's event is.
struct Placed {
    index: Index,
    /// It was there before.
    replayed: bool,
}

/// `POST /market/{*path}`
pub(crate) async fn post(call: Call) -> Reply {
    command(call, "POST").await
}

/// `PUT /market/{*path}`
pub(crate) async fn put(call: Call) -> Reply {
    command(call, "PUT").await
}

/// `DELETE /market/{*path}`
pub(crate) async fn delete(call: Call) -> Reply {
    command(call, "DELETE").await
}

async fn command(mut call: Call, method: &'static str) -> Reply {
    let market = call.market()?;
    call.caller.must_reach(market.stream)?;
    let path = segments(&call, PARTS_BEFORE)?;
    if !call.raw_query.is_empty() {
        return Err(ApiError::new(ErrorCode::UnknownField, "a command has no parameters but its body"));
    }
    refuse_cards(path.iter().map(String::as_bytes))?;
    let target = declared(&call, &market, method, path).await?;
    let media = call.media()?;
    let (bytes, permit) = call.bytes_up_to(BODY_BYTES_MAX).await?;
    let placed = match media {
        Media::Frames => signed(&call, &market, &target, read_frames(bytes)?).await?,
        Media::Json => of_json(&call, &market, &target, bytes).await?,
    };
    drop(permit);
    status::answer(&call, &market, placed.index, placed.replayed).await
}

/// What the plugins declare for a path.
async fn declared(
    call: &Call,
    market: &Arc<Market>,
    method: &'static str,
    path: Vec<String>,
) -> Result<Target, ApiError> {
    let market = Arc::clone(market);
    let found = call.gateway.ask_plugins(move |port, _| {
        let (_, plugins) = port.plugins(&market.stream).asked(ErrorCode::InvalidFieldValue)?;
        meant(&market, &plugins, method, &path)
    });
    let Found { route, args, .. } = found.await?;
    Target::of(route.event.as_deref().unwrap_or_default(), args)
}

/// JSON is a list of one signed event, or the command's members.
async fn of_json(call: &Call, market: &Market, target: &Target, text: Bytes) -> Result<Placed, ApiError> {
    let text = if text.is_empty() { Bytes::from_static(b"{}") } else { text };
    let value = body::parse(&text)?;
    if value.get("events").is_none() {
        return built(call, market, target, value).await;
    }
    let slots = Request::read(&text, Surface::Native).map_err(body_error)?.frames(Surface::Native);
    signed(call, market, target, slots).await
}

/// An event that the caller signed itself goes to the log as it is.
async fn signed(call: &Call, market: &Market, target: &Target, slots: Slots) -> Result<Placed, ApiError> {
    let mut slots = slots.into_iter();
    let (Some(slot), None) = (slots.next(), slots.next()) else {
        return Err(refusal::malformed("a command is one event"));
    };
    let frame = slot.map_err(|refused| refused_event(&refused.reject))?;
    call.caller.must_submit([&frame].into_iter())?;
    if frame.stream() != market.stream || !target.is_of(&frame) {
        let rule = "must hold an event of the marketplace's stream, and of the type and entity of the route";
        return Err(ApiError::field("events", rule));
    }
    if frame.payload_kind() != PayloadKind::Plain {
        return Err(refusal::malformed("a command's payload is not encrypted"));
    }
    if market.has_card(&frame) {
        return Err(refusal::card_data());
    }
    if body::has_other_numbers(frame.payload()) {
        return Err(refusal::malformed("a number must be an integer"));
    }
    match submitted(call, frame).await? {
        EventResult::Accepted(receipt) => Ok(Placed { index: receipt.index, replayed: false }),
        EventResult::Duplicate(receipt) => Ok(Placed { index: receipt.index, replayed: true }),
        EventResult::Rejected(reject) => Err(refused_event(&reject)),
    }
}

async fn submitted(call: &Call, frame: Frame) -> Result<EventResult, ApiError> {
    let result = ask(call, vec![frame]).await?.into_iter().next();
    result.ok_or_else(|| ApiError::internal(&"the core gave no result"))
}

/// The log's refusal of an event: of its form 400, of its place 409.
fn refused_event(reject: &Reject) -> ApiError {
    let of_form = matches!(
        reject.code,
        RejectCode::SchemaValidation | RejectCode::PayloadNotCanonical | RejectCode::UnsupportedVersion
    );
    let error = ApiError::event(reject);
    if of_form { error.with_status(400) } else { error }
}

/// The header, once.
fn idempotency_key(headers: &HeaderMap) -> Result<&str, ApiError> {
    let mut values = headers.get_all(KEY_HEADER).iter();
    let key = values.next().ok_or_else(refusal::key_required)?;
    let text = key.to_str().ok().filter(|key| key.bytes().all(|byte| byte.is_ascii_graphic()));
    let text = text.filter(|key| (1..=KEY_BYTES_MAX).contains(&key.len()));
    match (text, values.next()) {
        (Some(text), None) => Ok(text),
        _ => Err(refusal::malformed("Idempotency-Key must be 1 to 255 visible ASCII characters, once")),
    }
}

/// An event that this gateway signs for the caller.
async fn built(call: &Call, market: &Market, target: &Target, value: jcs::Value) -> Result<Placed, ApiError> {
    let caller = principal(call.caller.credential()?);
    let key = if target.event_type == TICK { None } else { Some(idempotency_key(&call.headers)?) };
    let payload = body::payload(value, &target.event_type, &caller, key)?;
    refuse_cards([&payload[..], target.entity_id.as_bytes(), key.unwrap_or_default().as_bytes()])?;
    let id = match key {
        Some(key) => hash::command_event(&market.stream, &caller, &target.event_type, &target.entity_id, key),
        None => random_id()?,
    };
    if let Some(first) = stored(call, market, id).await? {
        return replayed(market, target, &payload, &first);
    }
    let event = Unsigned {
        id,
        event_type: &target.event_type,
        entity_type: target.entity_type,
        entity_id: &target.entity_id,
        payload: &payload,
    };
    let gateway = &call.gateway;
    let frame = market.signer.sign(&gateway.reader, gateway.clock.wall(), market.stream, event);
    match submitted(call, frame.map_err(not_signed)?).await? {
        EventResult::Accepted(receipt) => Ok(Placed { index: receipt.index, replayed: false }),
        EventResult::Duplicate(receipt) => Ok(Placed { index: receipt.index, replayed: true }),
        // Somebody was faster with the same key, since it was looked up.
        EventResult::Rejected(reject) if reject.code == RejectCode::DuplicateEventId => {
            replayed(market, target, &payload, &stored_soon(call, market, id).await?)
        }
        EventResult::Rejected(reject) => Err(refused_event(&reject)),
    }
}

/// The first event of a key counts if it says the same, and if it is ours: an id can be taken by whoever guesses the key.
fn replayed(market: &Market, target: &Target, payload: &[u8], first: &StoredEvent) -> Result<Placed, ApiError> {
    let frame = &first.frame;
    let is_same = frame.agent_id() == market.signer.agent && target.is_of(frame) && frame.payload() == payload;
    if is_same { Ok(Placed { index: first.index, replayed: true }) } else { Err(refusal::conflict()) }
}

/// Why this gateway signs nothing: a matter for its operator, or a bound that the caller broke.
pub(super) fn not_signed(error: AgentSignError) -> ApiError {
    match error {
        AgentSignError::Event(why) => refusal::malformed(why),
        AgentSignError::NotRegistered | AgentSignError::Invalid(_) => {
            tracing::error!(%error, "the marketplace's agent cannot sign");
            ApiError::new(ErrorCode::ServiceUnavailable, "the marketplace's agent cannot sign").after(30)
        }
    }
}

fn random_id() -> Result<EventId, ApiError> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|_| ApiError::internal(&"the operating system gave no random bytes"))?;
    Ok(EventId::from_bytes(id))
}

/// The event of the marketplace's stream with an id, if it is in the log.
pub(super) async fn stored(call: &Call, market: &Market, id: EventId) -> Result<Option<StoredEvent>, ApiError> {
    let stream = market.stream;
    let found = call.gateway.read(move |reader| match reader.event_by_id(stream, id) {
        Ok(event) => Ok(Some(event)),
        Err(tally_core::ReadError::NotFound) => Ok(None),
        Err(other) => Err(other.into()),
    });
    found.await
}

/// The same for one that is ordered: it can be read when it is signed, asleep until the ladder moves.
pub(super) async fn stored_soon(call: &Call, market: &Market, id: EventId) -> Result<StoredEvent, ApiError> {
    let mut ladder = call.gateway.reader.subscribe();
    let limit = tokio::time::sleep(APPLY_WAIT_MAX.min(call.gateway.config.limits.receipt_timeout));
    tokio::pin!(limit);
    loop {
        ladder.mark_unchanged();
        if let Some(event) = stored(call, market, id).await? {
            return Ok(event);
        }
        tokio::select! {
            moved = ladder.changed() => moved.map_err(|_| refusal::in_flight())?,
            () = &mut limit => return Err(refusal::in_flight()),
        }
    }
}
