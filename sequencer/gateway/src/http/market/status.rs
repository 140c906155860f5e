//! The answer of a command, when it is given and whenever it is asked for again: `GET /market/commands/{index}`.
//!
//! Takes the position of its event; gives what was decided and what the plugin left as its result, or where that will be.
//! Everything in it follows from the log, so that it is the same bytes each time.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::value::RawValue;
use tally_api::api_key::Role;
use tally_api::error::ErrorCode;
use tally_api::market::{CommandDone, CommandOutcome, CommandPending, CommandReceipt, REPLAYED_HEADER};
use tally_api::outcome::OutcomeAnswer;
use tally_core::StoredEvent;
use tally_protocol::id::{Index, PluginId};
use tally_protocol::jcs;

use super::command::{NEW, Target};
use super::{RESULT, principal, refusal};
use crate::error::ApiError;
use crate::http::call::Call;
use crate::http::declared::{Asker, PluginReply, request};
use crate::http::outcomes::outcome_of;
use crate::http::plugins::Asked;
use crate::http::{Reply, respond};
use crate::market::Market;
use crate::plugins::{PluginPort, PluginPortError};

/// A repetition points at the first of its kind, which points at nothing.
const REPEATS_MAX: usize = 4;

/// `GET /market/commands/{index}`
pub(crate) async fn command_answer(call: Call) -> Reply {
    let (market, index) = (call.market()?, call.index()?);
    call.caller.must_reach(market.stream)?;
    let missing = || ApiError::new(ErrorCode::ResourceNotFound, "no such command of this caller");
    let event = call.gateway.read(move |reader| reader.event(index).map_err(|_| missing())).await?;
    if !is_of_caller(&call, &market, &event)? {
        return Err(missing());
    }
    answer(&call, &market, index, false).await
}

/// Whether a command is the caller's own; admins see all. What is no command is nobody's.
fn is_of_caller(call: &Call, market: &Market, event: &StoredEvent) -> Result<bool, ApiError> {
    let asks = call.caller.credential()?;
    let is_command = event.frame.stream() == market.stream && Target::entity_type(event.frame.event_type()).is_some();
    let sees = principal(asks) == actor(market, event) || asks.scope.roles.contains(&Role::Admin);
    Ok(is_command && sees)
}

/// Who gave a command: whom the gateway names, or the signer.
fn actor(market: &Market, event: &StoredEvent) -> String {
    let named = || jcs::parse(event.frame.payload()).ok()?.get("actor")?.as_str().map(str::to_owned);
    let agent = event.frame.agent_id();
    let named = if agent == market.signer.agent { named() } else { None };
    named.unwrap_or_else(|| format!("agent:{agent}"))
}

/// Waits a bounded time for what is decided at a position, and gives it; 202 if it does not come.
pub(super) async fn answer(call: &Call, market: &Arc<Market>, index: Index, replayed: bool) -> Reply {
    let decided =
        if call.gateway.wait_until_applied(index).await { decided(call, market, index).await } else { Ok(None) };
    let decided = match decided {
        Ok(Some(decided)) => Ok(decided),
        Ok(None) => pending(call, index).await,
        // The command is done all the same; who comes again gets its answer.
        Err(error) if error.code == ErrorCode::RateLimitExceeded => pending(call, index).await,
        Err(error) => Err(error),
    };
    let mut response = decided.unwrap_or_else(|error| {
        call.gateway.metrics.on_error(error.code);
        error.into_market_response()
    });
    if replayed {
        response.headers_mut().insert(REPLAYED_HEADER, HeaderValue::from_static("true"));
    }
    Ok(response)
}

fn receipt(event: &StoredEvent) -> CommandReceipt {
    let stream = event.frame.stream();
    CommandReceipt {
        event_id: event.frame.event_id(),
        tenant_id: stream.tenant,
        store_id: stream.store,
        index: event.index,
        sequence: event.sequence,
        sequenced_at: event.sequenced_at,
        signing_hash: event.frame.signing_hash(),
        leaf_hash: event.leaf_hash(),
        bundle_address: format!("/v1/bundle/{}", event.index),
    }
}

/// 202: it is in the log, and the answer will be at an address.
async fn pending(call: &Call, index: Index) -> Reply {
    let event = call.gateway.read(move |reader| Ok(reader.event(index)?)).await?;
    let status_address = format!("/market/commands/{index}");
    let location = HeaderValue::from_str(&status_address).map_err(|error| ApiError::internal(&error))?;
    let answer = CommandPending { ok: true, pending: true, receipt: receipt(&event), status_address };
    let mut response = respond::json_with(StatusCode::ACCEPTED, &answer)?;
    response.headers_mut().insert(header::LOCATION, location);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(1));
    Ok(response)
}

/// What was decided at a position that is applied; none if the plugin is too busy to say what it left.
async fn decided(
    call: &Call,
    market: &Arc<Market>,
    index: Index,
) -> Result<Option<axum::http::Response<axum::body::Body>>, ApiError> {
    let market = Arc::clone(market);
    let decided = call.gateway.ask_plugins(move |port, reader| {
        let event = reader.event(index)?;
        let outcome = outcome_of(reader, &event)?;
        let judged = judge(&market, &event, &outcome)
            .and_then(|plugin| result(port, &market, &plugin, &event))
            .map_err(|error| error.with(serde_json::json!({ "outcome": shown(&outcome) })).at(receipt(&event)));
        let Some(result) = judged? else { return Ok(None) };
        let status = if event.frame.entity_id() == NEW { StatusCode::CREATED } else { StatusCode::OK };
        let done = CommandDone { ok: true, outcome: shown(&outcome), receipt: receipt(&event), result };
        Ok(Some((status, respond::encode(&done)?)))
    });
    match decided.await? {
        Some((status, body)) => respond::encoded(status, body).map(Some),
        None => Ok(None),
    }
}

fn shown(outcome: &OutcomeAnswer) -> CommandOutcome {
    CommandOutcome {
        bindings: outcome.bindings.clone(),
        body: outcome.body.clone(),
        leaf_hash: outcome.leaf_hash,
        proof_address: format!("/v1/outcomes/{}", outcome.index),
    }
}

/// The plugin that accepted a command: the first of the marketplace's that decided about it. Otherwise its refusal.
fn judge(market: &Market, event: &StoredEvent, outcome: &OutcomeAnswer) -> Result<PluginId, ApiError> {
    let binding =
        |id: &PluginId| Some((id.clone(), outcome.bindings.iter().find(|binding| binding.plugin == id.as_str())?));
    let failed = |why| Err(ApiError::new(ErrorCode::PluginFailed, why));
    let Some((plugin, binding)) = market.plugins.iter().find_map(binding) else {
        return failed("no plugin of the marketplace took the command");
    };
    match (binding.code.as_str(), &binding.reason) {
        ("accepted", _) => Ok(plugin),
        ("rejected", Some(reason)) => {
            let scope = refusal::Scope::of_event(event.frame.event_type());
            Err(refusal::of_code(reason, scope, None))
        }
        ("dependency_rejected", _) => Err(refusal::of_code("dependency_rejected", refusal::Scope::Other, None)),
        _ => failed("the plugin failed at the command"),
    }
}

/// A result that points at another one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Repeats {
    repeats: u64,
}

/// What the plugin left as the result of a command, null if it left nothing; none if it cannot be asked just now.
fn result(
    port: &dyn PluginPort,
    market: &Market,
    plugin: &PluginId,
    event: &StoredEvent,
) -> Result<Option<Box<RawValue>>, ApiError> {
    let failed = || ApiError::new(ErrorCode::PluginFailed, "the plugin does not say what it left as the result");
    let asker = Asker { principal: actor(market, event), roles: Vec::new() };
    let mut index = event.index.get();
    for _ in 0..REPEATS_MAX {
        let args = BTreeMap::from([("index".to_owned(), index.to_string())]);
        let answer = match port.query(&market.stream, plugin, &request(RESULT, &args, Some(&asker))?) {
            Err(PluginPortError::Busy) => return Ok(None),
            answer => answer.asked(ErrorCode::PluginFailed).map_err(|_| failed())?,
        };
        let given = PluginReply::read(&answer)?;
        match (given.status, serde_json::from_str::<Repeats>(given.body.get())) {
            (404, _) => return Ok(Some(RawValue::NULL.to_owned())),
            (400.., _) => return Err(failed()),
            (_, Ok(Repeats { repeats })) if repeats < index => index = repeats,
            (_, Ok(_)) => return Err(failed()),
            (_, Err(_)) => return Ok(Some(given.body.to_owned())),
        }
    }
    Err(failed())
}
