//! `/market`: the routes that the marketplace's plugins declare, for callers who need to know neither streams nor plugins.
//!
//! A question goes to the plugin with who asks. A command is an event: one that the caller signed itself, or members that
//! the gateway's own agent signs for it; then its outcome is awaited. Takes credentials, never a name in a body; gives
//! `{"ok":true,…}` or `{"ok":false,"error":{…}}`. What fails: a plugin's refusal has its own code and status, and what looks
//! like a card number is refused before anything is kept of it (docs/formats/market-api.md).

mod body;
mod command;
mod document;
mod refusal;
mod status;
mod webhook;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode};
use tally_api::api_key::Role;
use tally_api::error::ErrorCode;
use tally_api::market::MarketAnswer;
use tally_api::plugin::APPLIED_HEADER;
use tally_protocol::id::PluginId;

use super::call::{Call, query_pairs};
use super::declared::{Asker, PluginReply, arguments, request, segments};
use super::plugins::{Asked, find};
use super::template::{self, Meant, Missed};
use super::{Reply, respond};
use crate::auth::Rule;
use crate::card;
use crate::credential::{Credential, Permission};
use crate::error::ApiError;
use crate::market::Market;
use crate::plugins::{PluginInfo, PluginRoute, QueryAnswer};

pub(crate) use command::{delete, post, put};
pub(crate) use document::document;
pub(super) use document::with_routes;
pub(crate) use status::command_answer;
pub(crate) use webhook::webhook;

/// `/market/`: so many parts come before a plugin's own path.
const PARTS_BEFORE: usize = 2;
/// The query route under which plugins keep what commands left; it is asked by the door alone.
const RESULT: &str = "result";
const READ: Rule = Rule::needs(&[Permission::EventsRead]);

impl Call {
    /// The marketplace of this node.
    fn market(&self) -> Result<Arc<Market>, ApiError> {
        let missing = || ApiError::new(ErrorCode::MarketNotEnabled, "this node serves no marketplace");
        self.gateway.market.clone().ok_or_else(missing)
    }
}

/// Who acts, as plugins know it: the agent that the credential is bound to, or the credential itself.
fn principal(credential: &Credential) -> String {
    match credential.scope.agent {
        Some(agent) => format!("agent:{agent}"),
        None => format!("key:{}", credential.prefix),
    }
}

/// Who asks; nobody without a credential. One of another tenant or store is refused, here as everywhere.
fn asker(call: &Call, market: &Market) -> Result<Option<Asker>, ApiError> {
    let Ok(credential) = call.caller.credential() else { return Ok(None) };
    call.caller.must_reach(market.stream)?;
    let principal = principal(credential);
    let is_admin = credential.scope.roles.contains(&Role::Admin) || market.roles.admin.contains(&principal);
    let roles = [
        ("admin", is_admin),
        ("finance", market.roles.finance.contains(&principal)),
        ("service", market.roles.service.contains(&principal)),
    ];
    let roles = roles.into_iter().filter_map(|(role, has)| has.then_some(role)).collect();
    Ok(Some(Asker { principal, roles }))
}

/// Whether `/market` serves a route: not what is the door's own business, and a command of a known kind of thing that
/// names one thing at most.
fn is_mounted(path: &str, name: &str, event: Option<&str>) -> bool {
    let parameters = path.split('/').filter(|part| tally_api::openapi::parameter_of(part).is_some()).count();
    let is_command = |event| parameters <= 1 && command::Target::entity_type(event).is_some();
    name != RESULT && event.is_none_or(is_command)
}

/// A route of one of the marketplace's plugins, and what its parameters stand for.
struct Found {
    plugin: PluginId,
    route: PluginRoute,
    args: BTreeMap<String, String>,
}

/// The route that a request means: of the first plugin, in the configured order, that declares one.
fn meant(market: &Market, plugins: &[PluginInfo], method: &str, path: &[String]) -> Result<Found, ApiError> {
    let (mut missed, mut is_whole) = (Missed::Path, true);
    for id in &market.plugins {
        let running = find(plugins, |plugin| plugin.plugin == *id && plugin.status == "running");
        let Some(plugin) = running else {
            is_whole = false;
            continue;
        };
        let mounted = |route: &&PluginRoute| is_mounted(&route.path, &route.name, route.event.as_deref());
        let routes: Vec<PluginRoute> = plugin.routes.iter().filter(mounted).cloned().collect();
        match template::find(&routes, method, path) {
            Ok(Meant { route, args }) => return Ok(Found { plugin: id.clone(), route: route.clone(), args }),
            Err(Missed::Method) => missed = Missed::Method,
            Err(Missed::Path) => {}
        }
    }
    Err(match missed {
        Missed::Method => ApiError::new(ErrorCode::MethodNotAllowed, "the route does not take this method"),
        Missed::Path if is_whole => ApiError::new(ErrorCode::ResourceNotFound, "no such route"),
        Missed::Path => ApiError::new(ErrorCode::PluginNotRunning, "a plugin of the marketplace does not run")
            .with_status(503)
            .after(1),
    })
}

/// Refuses what looks like a card number, before anybody else sees it.
fn refuse_cards<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Result<(), ApiError> {
    if texts.into_iter().any(card::is_in) { Err(refusal::card_data()) } else { Ok(()) }
}

/// `GET /market/{*path}`
pub(crate) async fn query(call: Call) -> Reply {
    let (market, path) = (call.market()?, segments(&call, PARTS_BEFORE)?);
    let pairs = query_pairs(&call.raw_query).ok_or_else(|| ApiError::field("query", "is malformed"))?;
    let texts = path.iter().chain(pairs.iter().flat_map(|(name, value)| [name, value]));
    refuse_cards(texts.map(String::as_bytes))?;
    let asker = asker(&call, &market)?;
    let may_ask_all = call.caller.must_pass(&READ);
    let (scope, answer) = call
        .gateway
        .ask_plugins(move |port, _| {
            let (_, plugins) = port.plugins(&market.stream).asked(ErrorCode::InvalidFieldValue)?;
            let Found { plugin, route, args } = meant(&market, &plugins, "GET", &path)?;
            if !market.public.contains(&route.name) {
                may_ask_all?;
            }
            let request = request(&route.name, &arguments(args, pairs)?, asker.as_ref())?;
            let answer = port.query(&market.stream, &plugin, &request).asked(ErrorCode::InvalidFieldValue)?;
            Ok((refusal::Scope::of_path(&route.path), answer))
        })
        .await?;
    reply(&answer, scope)
}

/// A plugin's answer, in the marketplace's shape.
fn reply(answer: &QueryAnswer, scope: refusal::Scope) -> Reply {
    let given = PluginReply::read(answer)?;
    if given.status >= 400 {
        return Err(refusal::of_question(&given, scope)?);
    }
    let status = StatusCode::from_u16(given.status).unwrap_or(StatusCode::OK);
    let whole = MarketAnswer { applied: answer.applied, ok: true, result: given.body };
    let mut response = respond::json_with(status, &whole)?;
    response.headers_mut().insert(APPLIED_HEADER, HeaderValue::from(answer.applied.get()));
    Ok(response)
}
