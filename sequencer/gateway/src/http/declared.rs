//! Routes that plugins declare, below `/plugins/{tenant}/{store}/{plugin}/`, and the document that describes them.
//!
//! A query is asked of the plugin, with the parameters of path and query string as text, and answered in the plugin's
//! own JSON. A command is one signed event of the declared type, in the stream of the path: it takes the way of every
//! event (the same checks, the same receipt, the same answer for a duplicate), then waits a bounded time for its
//! outcome. Nothing here decides: a plugin that refuses has refused an event that is in the log.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tally_api::error::ErrorCode;
use tally_api::openapi::with_plugins;
use tally_api::plugin::{APPLIED_HEADER, CommandAnswer, Plugin};
use tally_core::{ApplyState, Receipt};
use tally_protocol::id::{Index, PluginId, Stream, TreeSize};
use tally_protocol::jcs;

use super::call::{Call, decode_segment, query_pairs};
use super::outcomes::outcome_of;
use super::plugins::{ANSWER_BYTES_MAX, Asked, find, no_plugin, shape};
use super::submit::{Checkpoints, Fate, Slots, decide, read_slots};
use super::template::{self, Meant, Missed, PATH_BYTES_MAX};
use super::{Reply, openapi, respond};
use crate::Gateway;
use crate::error::ApiError;
use crate::plugins::{PluginInfo, QueryAnswer};

/// How long a command waits for its outcome; it takes milliseconds, or something is wrong.
pub(super) const APPLY_WAIT_MAX: Duration = Duration::from_secs(5);
/// `/plugins/{tenant}/{store}/{plugin}/`: so many parts come before the plugin's own path.
const PARTS_BEFORE: usize = 5;

/// The segments behind so many parts, as the client wrote them, decoded one by one: a slash that was encoded divides
/// nothing.
pub(super) fn segments(call: &Call, parts_before: usize) -> Result<Vec<String>, ApiError> {
    let malformed = || ApiError::field("path", "has empty, relative or malformed segments");
    if call.path.len() > PATH_BYTES_MAX {
        return Err(ApiError::field("path", &format!("must have at most {PATH_BYTES_MAX} bytes")));
    }
    let decoded = call.path.split('/').skip(parts_before).map(|part| decode_segment(part).ok_or_else(malformed));
    let segments = decoded.collect::<Result<Vec<_>, _>>()?;
    let is_plain = |segment: &String| !matches!(segment.as_str(), "" | "." | "..");
    if segments.iter().all(is_plain) { Ok(segments) } else { Err(malformed()) }
}

fn meant<'a>(plugins: &'a [PluginInfo], id: &PluginId, method: &str, path: &[String]) -> Result<Meant<'a>, ApiError> {
    let plugin = find(plugins, |plugin| plugin.plugin == *id).ok_or_else(no_plugin)?;
    if plugin.status != "running" {
        let message = format!("the plugin does not run: it is {}", plugin.status);
        return Err(ApiError::new(ErrorCode::PluginNotRunning, message));
    }
    template::find(&plugin.routes, method, path).map_err(|missed| match missed {
        Missed::Path => ApiError::new(ErrorCode::PluginNotFound, "the plugin declares no such route"),
        Missed::Method => ApiError::new(ErrorCode::MethodNotAllowed, "the route does not take this method"),
    })
}

/// What the plugin's `query` is given.
#[derive(Serialize)]
struct Request<'a> {
    args: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<&'a Asker>,
    route: &'a str,
}

/// Who asks, where a route is served for a caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Asker {
    pub(super) principal: String,
    pub(super) roles: Vec<&'static str>,
}

/// The parameters of path and query, each once.
pub(super) fn arguments(
    mut args: BTreeMap<String, String>,
    query: Vec<(String, String)>,
) -> Result<BTreeMap<String, String>, ApiError> {
    for (name, value) in query {
        if args.insert(name, value).is_some() {
            return Err(ApiError::field("query", "has a parameter twice, or one that the path has"));
        }
    }
    Ok(args)
}

/// The request of a route, canonical JSON.
pub(super) fn request(
    route: &str,
    args: &BTreeMap<String, String>,
    caller: Option<&Asker>,
) -> Result<Vec<u8>, ApiError> {
    let text = respond::encode(&Request { args, caller, route })?;
    jcs::canonicalize(&text).map_err(|_| ApiError::field("query", "has a character that JSON here does not take"))
}

/// What a plugin's `query` gives: the body of its answer, and a status of HTTP.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PluginReply<'a> {
    #[serde(borrow)]
    pub(super) body: &'a RawValue,
    pub(super) status: u16,
}

impl<'a> PluginReply<'a> {
    /// Reads what a plugin gave; whatever is no answer is a failure of the plugin's.
    pub(super) fn read(answer: &'a QueryAnswer) -> Result<Self, ApiError> {
        if answer.body.len() > ANSWER_BYTES_MAX {
            return Err(failed("the plugin's answer is too long"));
        }
        let given: Self = serde_json::from_slice(&answer.body).map_err(no_answer)?;
        match given.status {
            200..=299 | 400..=499 => Ok(given),
            _ => Err(failed("the plugin's answer has a status that no plugin gives")),
        }
    }

    /// The body of a refusal, for the refusal's details.
    pub(super) fn details(&self) -> Result<serde_json::Value, ApiError> {
        let body: serde_json::Value = serde_json::from_str(self.body.get()).map_err(no_answer)?;
        Ok(serde_json::json!({ "body": body }))
    }
}

fn failed(why: &'static str) -> ApiError {
    ApiError::new(ErrorCode::PluginFailed, why)
}

fn no_answer(_: serde_json::Error) -> ApiError {
    failed("the plugin's answer is not the JSON of a status and a body")
}

/// A plugin's answer over HTTP: what it gives as it is, what it refuses in the one error shape.
fn reply(answer: &QueryAnswer) -> Reply {
    let given = PluginReply::read(answer)?;
    if given.status >= 400 {
        let refused = ApiError::new(ErrorCode::PluginRefused, "the plugin refused the question");
        return Err(refused.with_status(given.status).with(given.details()?));
    }
    let status = StatusCode::from_u16(given.status).unwrap_or(StatusCode::OK);
    let mut response = respond::encoded(status, given.body.get().as_bytes().to_vec())?;
    response.headers_mut().insert(APPLIED_HEADER, HeaderValue::from(answer.applied.get()));
    Ok(response)
}

/// `GET /plugins/{tenant}/{store}/{plugin}/{*path}`
pub(crate) async fn query(call: Call) -> Reply {
    let (stream, id, path) = (call.stream_of_path()?, call.plugin()?, segments(&call, PARTS_BEFORE)?);
    let query = query_pairs(&call.raw_query).ok_or_else(|| ApiError::field("query", "is malformed"))?;
    let answer = call
        .gateway
        .ask_plugins(move |port, _| {
            let (_, plugins) = port.plugins(&stream).asked(ErrorCode::InvalidFieldValue)?;
            let Meant { route, args } = meant(&plugins, &id, "GET", &path)?;
            let request = request(&route.name, &arguments(args, query)?, None)?;
            port.query(&stream, &id, &request).asked(ErrorCode::InvalidFieldValue)
        })
        .await?;
    reply(&answer)
}

/// `POST /plugins/{tenant}/{store}/{plugin}/{*path}`
pub(crate) async fn post(call: Call) -> Reply {
    command(call, "POST").await
}

/// `PUT /plugins/{tenant}/{store}/{plugin}/{*path}`
pub(crate) async fn put(call: Call) -> Reply {
    command(call, "PUT").await
}

/// `DELETE /plugins/{tenant}/{store}/{plugin}/{*path}`
pub(crate) async fn delete(call: Call) -> Reply {
    command(call, "DELETE").await
}

async fn command(mut call: Call, method: &'static str) -> Reply {
    let (stream, id, path) = (call.stream_of_path()?, call.plugin()?, segments(&call, PARTS_BEFORE)?);
    if !call.raw_query.is_empty() {
        return Err(ApiError::new(ErrorCode::UnknownField, "a command has no parameters but its event"));
    }
    let event_type = call
        .gateway
        .ask_plugins(move |port, _| {
            let (_, plugins) = port.plugins(&stream).asked(ErrorCode::InvalidFieldValue)?;
            Ok(meant(&plugins, &id, method, &path)?.route.event.clone().unwrap_or_default())
        })
        .await?;
    let (slots, permit) = read_slots(&mut call).await?;
    if slots.len() > 1 {
        return Err(ApiError::new(ErrorCode::BatchTooLarge, "a command is one event"));
    }
    // Judged before it is given to anybody: an event of another stream or type has its own door.
    if let Some(frame) = slots.iter().flatten().next() {
        call.caller.must_submit([frame].into_iter())?;
        if frame.stream() != stream {
            return Err(ApiError::field("events", "must hold an event of the stream in the path"));
        }
        if frame.event_type() != event_type {
            return Err(ApiError::field("events", "must hold an event of the type that the route declares"));
        }
    }
    let (receipt, duplicate) = sequenced(&call, slots).await?;
    drop(permit);
    answer(&call, receipt, duplicate).await
}

/// Gives the event to the log; its refusal is the command's.
async fn sequenced(call: &Call, slots: Slots) -> Result<(Receipt, bool), ApiError> {
    match decide(call, slots).await?.into_iter().next() {
        Some(Fate::Accepted(receipt)) => Ok((receipt, false)),
        Some(Fate::Duplicate(receipt)) => Ok((receipt, true)),
        Some(Fate::Rejected(_, reject)) => Err(ApiError::event(&reject)),
        None => Err(ApiError::internal(&"the core gave no result")),
    }
}

/// 200 with the outcome, or 202 without it when it does not come in time.
async fn answer(call: &Call, receipt: Receipt, duplicate: bool) -> Reply {
    let index = receipt.index;
    let applied = call.gateway.wait_until_applied(index).await;
    let outcome = match applied {
        true => Some(call.gateway.read(move |reader| outcome_of(reader, &reader.event(index)?)).await?),
        false => None,
    };
    let status = if applied { StatusCode::OK } else { StatusCode::ACCEPTED };
    let mut checkpoints = Checkpoints::default();
    let receipt = checkpoints.receipt(receipt);
    let status_address = format!("/v1/outcomes/{index}");
    let location = HeaderValue::from_str(&status_address).map_err(|error| ApiError::internal(&error))?;
    let answer = CommandAnswer { duplicate, receipt, checkpoints: checkpoints.notes(), outcome, status_address };
    let mut response: Response<Body> = respond::json_with(status, &answer)?;
    if !applied {
        response.headers_mut().insert(header::LOCATION, location);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(1));
    }
    Ok(response)
}

impl Gateway {
    /// Waits a bounded time for an outcome, asleep until the ladder moves; false if it does not come, or cannot.
    pub(super) async fn wait_until_applied(&self, index: Index) -> bool {
        let mut ladder = self.reader.subscribe();
        let holds = |applied: TreeSize| applied.holds(index);
        if holds(self.reader.ladder().applied) {
            return true;
        }
        if self.reader.apply_state() != ApplyState::Following {
            return false;
        }
        let mut draining = self.draining.subscribe();
        let limit = APPLY_WAIT_MAX.min(self.config.limits.receipt_timeout);
        tokio::select! {
            moved = tokio::time::timeout(limit, ladder.wait_for(|ladder| holds(ladder.applied))) => {
                matches!(moved, Ok(Ok(_)))
            }
            _ = draining.wait_for(|draining| *draining) => false,
        }
    }
}

/// `GET /v1/streams/{tenant}/{store}/openapi.json`: the node's document, and the routes of this stream's plugins.
pub(crate) async fn openapi_document(call: Call) -> Reply {
    let stream = call.stream_of_path()?;
    let plugins = running(&call.gateway, stream).await?;
    let document = with_plugins(openapi(), &stream, &plugins);
    respond::json(&super::market::with_routes(&call.gateway, document, &stream, &plugins))
}

/// The plugins of a stream that run, with the routes that are served.
pub(super) async fn running(gateway: &Gateway, stream: Stream) -> Result<Vec<Plugin>, ApiError> {
    let list = gateway.ask_plugins(move |port, _| {
        let (_, plugins) = port.plugins(&stream).asked(ErrorCode::InvalidFieldValue)?;
        let running = plugins.into_iter().filter(|plugin| plugin.status == "running");
        Ok(running
            .map(|mut plugin| {
                plugin.routes.retain(template::is_served);
                shape(&plugin)
            })
            .collect())
    });
    list.await
}
