//! Pages of events: filled by count and by bytes, so that a page of large events costs no more memory than one of
//! small ones.

use tally_api::event::{EventEnvelope, EventRecord};
use tally_core::{ReadError, StoredEvent};

use crate::error::ApiError;

/// Events are fetched in growing steps, because their size is known only when they are there.
const FIRST_STEP: usize = 16;
const STEP_MAX: usize = 256;

/// When a page is full.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageBounds {
    pub(crate) events_max: usize,
    pub(crate) bytes_max: usize,
}

/// Fills a page. `fetch` gets the last event so far and how many to bring at most. The second value says whether the
/// page ended because it was full (there may be more) or because there was nothing more.
pub(crate) fn fill(
    bounds: PageBounds,
    mut fetch: impl FnMut(Option<&StoredEvent>, usize) -> Result<Vec<StoredEvent>, ReadError>,
) -> Result<(Vec<StoredEvent>, bool), ReadError> {
    let mut events: Vec<StoredEvent> = Vec::new();
    let mut bytes = 0;
    let mut step = FIRST_STEP;
    loop {
        let wanted = step.min(bounds.events_max - events.len());
        let more = fetch(events.last(), wanted)?;
        let is_last = more.len() < wanted;
        for event in more {
            if bytes >= bounds.bytes_max {
                return Ok((events, true));
            }
            bytes += event.frame.bytes().len();
            events.push(event);
        }
        if is_last {
            return Ok((events, false));
        }
        if events.len() >= bounds.events_max || bytes >= bounds.bytes_max {
            return Ok((events, true));
        }
        step = (2 * step).min(STEP_MAX);
    }
}

/// An event as the native surface gives it.
pub(crate) fn record(event: &StoredEvent) -> Result<EventRecord, ApiError> {
    let entry = event.entry();
    Ok(EventRecord {
        index: event.index,
        sequence: event.sequence,
        sequenced_at: event.sequenced_at,
        public_key: event.public_key,
        signing_hash: entry.signing_hash,
        leaf_hash: entry.leaf_hash(),
        frame: event.frame.bytes().to_vec(),
        event: envelope_of(event)?,
    })
}

fn envelope_of(event: &StoredEvent) -> Result<EventEnvelope, ApiError> {
    EventEnvelope::from_frame(&event.frame).map_err(|error| ApiError::internal(&error))
}

/// An event as the VES surface gives it.
pub(crate) fn envelope(event: &StoredEvent) -> Result<EventEnvelope, ApiError> {
    let mut envelope = envelope_of(event)?;
    envelope.sequence_number = Some(event.sequence);
    envelope.sequenced_at = Some(event.sequenced_at);
    Ok(envelope)
}
