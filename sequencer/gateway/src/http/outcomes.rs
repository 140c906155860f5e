//! What was decided about an event, with its proof: `GET /v1/outcomes/{index}`. Who may see the event may see it.

use tally_api::outcome::{Binding, OutcomeAnswer};
use tally_core::watermarks::Rung;
use tally_core::{ReadError, Reader, StoredEvent};
use tally_protocol::hash;
use tally_protocol::outcome::Outcome;

use super::call::Call;
use super::events::event_at;
use super::log::Log;
use super::{Reply, respond};
use crate::error::ApiError;

/// The outcome of an event, proven against the newest signed checkpoint.
pub(crate) fn outcome_of(reader: &Reader, event: &StoredEvent) -> Result<OutcomeAnswer, ApiError> {
    let newest = Log::Outcomes.newest(reader)?;
    let (index, size) = (event.index, newest.checkpoint.size);
    if !size.holds(index) {
        return Err(ReadError::NotYet { rung: Rung::Applied }.into());
    }
    let body = reader.outcome(index)?;
    let event_leaf = event.leaf_hash();
    let outcome = Outcome::decode(&body, event_leaf).map_err(|error| ApiError::internal(&error))?;
    Ok(OutcomeAnswer {
        index,
        event_leaf,
        bindings: outcome.bindings.iter().map(Binding::from).collect(),
        leaf_hash: hash::leaf(&body),
        body: body.to_vec(),
        size,
        path: reader.outcome_inclusion(index, size)?.path,
        checkpoint: newest.note.clone(),
    })
}

/// `GET /v1/outcomes/{index}`
pub(crate) async fn by_index(call: Call) -> Reply {
    let event = event_at(&call, call.index()?).await?;
    let answer = call.gateway.read(move |reader| outcome_of(reader, &event)).await?;
    respond::json(&answer)
}
