//! Events out: by position, by stream, by id and by entity, with their exact signed bytes; both surfaces.
//!
//! What the caller may not see does not exist: a position held by another tenant's event answers like one that holds
//! none. A stream or tenant named in the request and not in the credential is a 403, whether it exists or not.

use axum::http::StatusCode;
use tally_api::error::ErrorCode;
use tally_api::page::{EntityPage, StreamHead, StreamPage, VesEntityPage, VesEventPage, VesHead};
use tally_core::{ReadError, StoredEvent};
use tally_protocol::id::{EventId, Index, Sequence, Stream};
use tally_protocol::limits::{ENTITY_ID_BYTES_MAX, ENTITY_TYPE_BYTES_MAX};

use super::call::Call;
use super::page::{self, PageBounds};
use super::{Reply, respond};
use crate::error::ApiError;

fn not_found() -> ApiError {
    ApiError::new(ErrorCode::EventNotFound, "no such event in reach of this credential")
}

/// The reader's answer for one event, with the words of events.
fn found(result: Result<StoredEvent, ReadError>) -> Result<StoredEvent, ApiError> {
    result.map_err(|error| match error {
        ReadError::NotFound => not_found(),
        other => other.into(),
    })
}

/// An event at a position, if the caller may see it.
pub(crate) async fn event_at(call: &Call, index: Index) -> Result<StoredEvent, ApiError> {
    let event = call.gateway.read(move |reader| found(reader.event(index))).await?;
    if call.caller.sees(event.frame.stream()) { Ok(event) } else { Err(not_found()) }
}

/// `GET /v1/events/{index}`
pub(crate) async fn by_index(call: Call) -> Reply {
    let event = event_at(&call, call.index()?).await?;
    respond::json(&page::record(&event)?)
}

/// `GET /v1/streams/{tenant}/{store}/events/{sequence}`
pub(crate) async fn by_sequence(call: Call) -> Reply {
    let stream = call.stream_of_path()?;
    let sequence = Sequence::new(call.param_number("sequence")?);
    if sequence.get() == 0 {
        return Err(ApiError::field("sequence", "starts at 1"));
    }
    let event = call.gateway.read(move |reader| found(reader.event_in_stream(stream, sequence))).await?;
    respond::json(&page::record(&event)?)
}

/// `GET /v1/streams/{tenant}/{store}/by-id/{event_id}`
pub(crate) async fn by_id(call: Call) -> Reply {
    let stream = call.stream_of_path()?;
    let id: EventId = call.param_id("event_id")?;
    let event = call.gateway.read(move |reader| found(reader.event_by_id(stream, id))).await?;
    respond::json(&page::record(&event)?)
}

fn bounds(call: &Call) -> Result<PageBounds, ApiError> {
    Ok(PageBounds { events_max: call.limit()?, bytes_max: call.gateway.config.limits.page_bytes_max })
}

/// A page of a stream and the stream's head.
type StreamEvents = (Vec<StoredEvent>, Option<Sequence>);

fn stream_events(
    reader: &tally_core::Reader,
    stream: Stream,
    from: Sequence,
    bounds: PageBounds,
) -> Result<StreamEvents, ApiError> {
    let head = reader.stream_head(stream);
    let (events, _) = page::fill(bounds, |last, limit| {
        reader.events_of_stream(stream, last.map_or(from, |last| last.sequence.next()), limit)
    })?;
    Ok((events, head))
}

/// `GET /v1/streams/{tenant}/{store}/events`
pub(crate) async fn of_stream(call: Call) -> Reply {
    let stream = call.stream_of_path()?;
    let (from, bounds) = (call.first_sequence()?, bounds(&call)?);
    let body = call
        .gateway
        .read(move |reader| {
            let (events, head_sequence) = stream_events(reader, stream, from, bounds)?;
            let next = events.last().map(|last| last.sequence.next());
            respond::encode(&StreamPage {
                tenant_id: stream.tenant,
                store_id: stream.store,
                events: events.iter().map(page::record).collect::<Result<_, _>>()?,
                next_sequence: next.filter(|next| head_sequence.is_some_and(|head| *next <= head)),
                head_sequence,
            })
        })
        .await?;
    respond::encoded(StatusCode::OK, body)
}

/// `GET /v1/streams/{tenant}/{store}/head`
pub(crate) async fn head(call: Call) -> Reply {
    let stream = call.stream_of_path()?;
    let head_sequence = call.gateway.reader.stream_head(stream);
    respond::json(&StreamHead { tenant_id: stream.tenant, store_id: stream.store, head_sequence })
}

struct Entity {
    stream: Stream,
    entity_type: String,
    entity_id: String,
    after: Option<Index>,
}

fn entity(call: &Call, stream: Stream) -> Result<Entity, ApiError> {
    let bounded = |name: &'static str, bytes_max: usize| {
        let text = call.param(name)?;
        if text.is_empty() || text.len() > bytes_max {
            return Err(ApiError::field(name, &format!("must have 1 to {bytes_max} bytes")));
        }
        Ok(text.to_owned())
    };
    Ok(Entity {
        stream,
        entity_type: bounded("entity_type", ENTITY_TYPE_BYTES_MAX)?,
        entity_id: bounded("entity_id", ENTITY_ID_BYTES_MAX)?,
        after: call.query_number("after")?.map(Index::new),
    })
}

fn entity_events(
    reader: &tally_core::Reader,
    entity: &Entity,
    bounds: PageBounds,
) -> Result<(Vec<StoredEvent>, bool), ApiError> {
    Ok(page::fill(bounds, |last, limit| {
        let after = last.map(|last| last.index).or(entity.after);
        reader.events_of_entity(entity.stream, &entity.entity_type, &entity.entity_id, after, limit)
    })?)
}

/// `GET /v1/streams/{tenant}/{store}/entities/{entity_type}/{entity_id}`
pub(crate) async fn of_entity(call: Call) -> Reply {
    let entity = entity(&call, call.stream_of_path()?)?;
    let bounds = bounds(&call)?;
    let body = call
        .gateway
        .read(move |reader| {
            let (events, is_full) = entity_events(reader, &entity, bounds)?;
            respond::encode(&EntityPage {
                next_after: events.last().filter(|_| is_full).map(|last| last.index),
                events: events.iter().map(page::record).collect::<Result<_, _>>()?,
            })
        })
        .await?;
    respond::encoded(StatusCode::OK, body)
}

/// `GET /api/v1/ves/events`
pub(crate) async fn ves_of_stream(call: Call) -> Reply {
    let stream = call.stream_of_query()?;
    let (from, bounds) = (call.first_sequence()?, bounds(&call)?);
    let body = call
        .gateway
        .read(move |reader| {
            let (events, head) = stream_events(reader, stream, from, bounds)?;
            let next = events.last().map_or(from, |last| last.sequence.next());
            respond::encode(&VesEventPage {
                events: events.iter().map(page::envelope).collect::<Result<_, _>>()?,
                count: events.len(),
                next_sequence: next.get(),
                head_sequence: head.map_or(0, Sequence::get),
                has_more: head.is_some_and(|head| next <= head),
            })
        })
        .await?;
    respond::encoded(StatusCode::OK, body)
}

/// `GET /api/v1/head` and `GET /api/v1/ves/head`
pub(crate) async fn ves_head(call: Call) -> Reply {
    let head = call.gateway.reader.stream_head(call.stream_of_query()?);
    respond::json(&VesHead { head_sequence: head.map_or(0, Sequence::get) })
}

/// `GET /api/v1/ves/entities/{entity_type}/{entity_id}`
pub(crate) async fn ves_of_entity(call: Call) -> Reply {
    let entity = entity(&call, call.stream_of_query()?)?;
    let bounds = bounds(&call)?;
    let body = call
        .gateway
        .read(move |reader| {
            let (events, has_more) = entity_events(reader, &entity, bounds)?;
            respond::encode(&VesEntityPage {
                events: events.iter().map(page::envelope).collect::<Result<_, _>>()?,
                count: events.len(),
                has_more,
                next_after: events.last().filter(|_| has_more).map(|last| last.index),
                entity_type: entity.entity_type,
                entity_id: entity.entity_id,
            })
        })
        .await?;
    respond::encoded(StatusCode::OK, body)
}
