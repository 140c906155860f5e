//! The description of the marketplace's routes: `GET /market/openapi.json`, and in the document of its stream.
//!
//! Takes the route table and what the running plugins declare; gives OpenAPI. A route is described exactly if it is served.

use serde_json::Value;
use tally_api::openapi::{self, RouteDoc, with_market};
use tally_api::plugin::Plugin;
use tally_protocol::id::Stream;

use super::is_mounted;
use crate::Gateway;
use crate::http::call::Call;
use crate::http::declared::running;
use crate::http::{ROUTES, Reply, Route, respond};
use crate::market::Market;

/// `GET /market/openapi.json`
pub(crate) async fn document(call: Call) -> Reply {
    let market = call.market()?;
    call.caller.must_reach(market.stream)?;
    let plugins = running(&call.gateway, market.stream).await?;
    let docs: Vec<RouteDoc> =
        ROUTES.iter().filter(|route| route.path.starts_with("/market/")).map(Route::doc).collect();
    let document = openapi::document(env!("CARGO_PKG_VERSION"), &docs);
    respond::json(&with_own(&market, document, &plugins))
}

/// A stream's document, with the marketplace's routes if it is the marketplace's.
pub(in crate::http) fn with_routes(gateway: &Gateway, document: Value, stream: &Stream, plugins: &[Plugin]) -> Value {
    match gateway.market.as_ref().filter(|market| market.stream == *stream) {
        Some(market) => with_own(market, document, plugins),
        None => document,
    }
}

fn with_own(market: &Market, document: Value, plugins: &[Plugin]) -> Value {
    let of = |id: &tally_protocol::id::PluginId| plugins.iter().find(|plugin| plugin.plugin == id.as_str()).cloned();
    let mut own: Vec<Plugin> = market.plugins.iter().filter_map(of).collect();
    for plugin in &mut own {
        plugin.routes.retain(|route| is_mounted(&route.path, &route.name, route.event.as_deref()));
    }
    with_market(document, &own, |route| route.event.is_none() && market.public.contains(&route.name))
}
