//! `POST /market/checkout/webhook`: a payment provider's message becomes facts in the log.
//!
//! Takes the raw body and its signature; whoever is behind the seam checks the one against the other and gives facts. Each
//! becomes an event of the connector's agent whose id follows from the fact, so that a message that comes again, and
//! another one that says the same, add nothing. 200 is said when every fact is durable in the log and not before; whatever
//! may go better later is 503, and the provider comes again (M-059).

use axum::http::HeaderMap;
use tally_api::error::ErrorCode;
use tally_api::market::{WEBHOOK_HEADER, WebhookAnswer};
use tally_core::EventResult;
use tally_protocol::error::RejectCode;
use tally_protocol::frame::Frame;
use tally_protocol::hash;
use tally_protocol::id::EventId;
use tally_protocol::jcs;
use tally_protocol::limits::EVENTS_PER_REQUEST_MAX;

use super::command::{stored, stored_soon};
use super::refuse_cards;
use crate::error::ApiError;
use crate::http::call::Call;
use crate::http::submit::ask;
use crate::http::{Reply, respond};
use crate::market::{AgentSigner, FACT_ENTITY, FACT_EVENT, FactEvent, Market, Unsigned, WebhookRefusal};

/// A provider's message: one object and what is in it.
const MESSAGE_BYTES_MAX: usize = 256 << 10;

/// `POST /market/checkout/webhook`
pub(crate) async fn webhook(mut call: Call) -> Reply {
    let market = call.market()?;
    let missing = || ApiError::new(ErrorCode::MarketNotEnabled, "this node takes no messages of a payment provider");
    let port = market.webhook.clone().ok_or_else(missing)?;
    let signature = signature(&call.headers)?;
    let (raw, permit) = call.bytes_up_to(MESSAGE_BYTES_MAX).await?;
    let (now, reader_of) = (call.gateway.clock.wall(), port.clone());
    let facts = call.gateway.read(move |_| reader_of.read(&raw, signature.as_deref(), now).map_err(refused)).await?;
    let count = facts.len();
    if count > EVENTS_PER_REQUEST_MAX {
        return Err(ApiError::new(ErrorCode::BatchTooLarge, "the message holds too many facts"));
    }
    record(&call, &market, port.signer(), &facts).await?;
    drop(permit);
    respond::json(&WebhookAnswer { facts: count, ok: true })
}

/// The header, once: two signatures of two headers are nobody's.
fn signature(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut values = headers.get_all(WEBHOOK_HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match (value.to_str(), values.next()) {
        (Ok(text), None) => Ok(Some(text.to_owned())),
        _ => Err(refused(WebhookRefusal::Signature("the signature's header is malformed"))),
    }
}

fn refused(refusal: WebhookRefusal) -> ApiError {
    let of = |name, why| ApiError::market(ErrorCode::InvalidRequestBody, (name, 400), why);
    match refusal {
        WebhookRefusal::Signature(why) => of("INVALID_SIGNATURE", why),
        WebhookRefusal::Unreadable(why) => of("MALFORMED", why),
        WebhookRefusal::Transient(why) => {
            tracing::warn!(%why, "a provider's message could not be judged");
            later("the message cannot be judged now")
        }
    }
}

fn later(why: &'static str) -> ApiError {
    ApiError::new(ErrorCode::ServiceUnavailable, why).after(1)
}

/// Brings every fact into the log that is not there yet. All or an error: what is in the log already stays, and the
/// provider's next try adds the rest.
async fn record(call: &Call, market: &Market, signer: &AgentSigner, facts: &[FactEvent]) -> Result<(), ApiError> {
    let mut frames = Vec::with_capacity(facts.len());
    let mut ids = Vec::with_capacity(facts.len());
    for fact in facts {
        check(fact)?;
        let id = hash::fact_event(&market.stream, FACT_EVENT, &fact.object, &fact.body);
        let is_known = match stored(call, market, id).await? {
            Some(event) => is_ours(signer, &event.frame, fact)?,
            None => ids.iter().any(|(other, _)| *other == id),
        };
        if !is_known {
            frames.push(signed(call, market, signer, id, fact)?);
            ids.push((id, fact));
        }
    }
    for (result, (id, fact)) in ask(call, frames).await?.into_iter().zip(ids) {
        settled(call, market, signer, result, (id, fact)).await?;
    }
    Ok(())
}

fn check(fact: &FactEvent) -> Result<(), ApiError> {
    refuse_cards([&fact.body[..], fact.object.as_bytes()])?;
    match jcs::canonicalize(&fact.body) {
        Ok(canonical) if canonical == fact.body => Ok(()),
        _ => Err(ApiError::internal(&"a fact is not canonical JSON")),
    }
}

fn signed(
    call: &Call,
    market: &Market,
    signer: &AgentSigner,
    id: EventId,
    fact: &FactEvent,
) -> Result<Frame, ApiError> {
    let event =
        Unsigned { id, event_type: FACT_EVENT, entity_type: FACT_ENTITY, entity_id: &fact.object, payload: &fact.body };
    let gateway = &call.gateway;
    signer.sign(&gateway.reader, gateway.clock.wall(), market.stream, event).map_err(|error| {
        tracing::error!(%error, "the payment connector's agent cannot sign");
        later("the fact cannot be signed now")
    })
}

/// Whether the event under a fact's id is that fact; another one is a matter for the operator, and nothing is lost.
fn is_ours(signer: &AgentSigner, frame: &Frame, fact: &FactEvent) -> Result<bool, ApiError> {
    if frame.agent_id() == signer.agent && frame.event_type() == FACT_EVENT && frame.payload() == fact.body {
        return Ok(true);
    }
    tracing::error!(event_id = %frame.event_id(), "another agent holds the event id of a fact");
    Err(later("the fact cannot be recorded now"))
}

async fn settled(
    call: &Call,
    market: &Market,
    signer: &AgentSigner,
    result: EventResult,
    (id, fact): (EventId, &FactEvent),
) -> Result<(), ApiError> {
    match result {
        EventResult::Accepted(_) | EventResult::Duplicate(_) => Ok(()),
        // The same fact came beside this one.
        EventResult::Rejected(reject) if reject.code == RejectCode::DuplicateEventId => {
            let event = stored_soon(call, market, id).await.map_err(|_| later("the fact is being recorded"))?;
            is_ours(signer, &event.frame, fact).map(drop)
        }
        EventResult::Rejected(reject) => {
            tracing::error!(code = %reject.code, "the log refused a fact");
            Err(later("the fact cannot be recorded now"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_get_better_is_the_senders_fault_and_what_can_is_ours() {
        let status = |refusal| refused(refusal).into_market_response().status().as_u16();
        assert_eq!(status(WebhookRefusal::Signature("wrong")), 400);
        assert_eq!(status(WebhookRefusal::Unreadable("odd")), 400);
        assert_eq!(status(WebhookRefusal::Transient("later".to_owned())), 503);
        assert_eq!(super::super::refusal::card_data().into_market_response().status().as_u16(), 400);
    }
}
