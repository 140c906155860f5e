//! For operators and machines: liveness, readiness, metrics, the API's description.
//!
//! Liveness and readiness are anonymous and say no more than a load balancer needs; why a node is not ready is in its
//! log and its metrics.

use axum::http::StatusCode;
use tally_api::health::{Health, Ready};
use tally_core::NodeState;

use super::call::Call;
use super::{ROUTES, Reply, openapi, respond, route_list};
use crate::metrics::{Text, state_name};

/// `GET /health`
pub(crate) async fn health(_: Call) -> Reply {
    respond::json(&Health { status: "ok".to_owned() })
}

/// `GET /ready`
pub(crate) async fn ready(call: Call) -> Reply {
    let state = call.gateway.reader.state();
    let writes = state == NodeState::Running;
    let status = if writes { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    respond::json_with(status, &Ready { status: state_name(&state).to_owned(), writes, reads: true })
}

/// `GET /metrics`
pub(crate) async fn metrics(call: Call) -> Reply {
    let gateway = &call.gateway;
    let mut text = Text::default();
    text.ladder(&gateway.reader.ladder(), &gateway.reader.state(), &gateway.reader.apply_state());
    text.core(gateway.core_metrics.read());
    let storage = gateway.read(|reader| Ok(reader.storage())).await?;
    text.storage(&storage);
    let names: Vec<_> = ROUTES.iter().map(|route| (route.method.name(), route.path)).collect();
    text.gateway(&gateway.metrics, &names);
    let bodies = gateway.bodies.used() as u64;
    text.single("http_body_bytes_in_flight", "gauge", "Bytes of request bodies held now.", bodies);
    let mut text = text.into_string();
    if let Some(port) = &gateway.anchors {
        text.push_str(&port.metrics());
    }
    if let Some(port) = &gateway.effects {
        text.push_str(&port.metrics());
    }
    Ok(respond::content("text/plain; version=0.0.4; charset=utf-8", text))
}

/// `GET /openapi.json`
pub(crate) async fn openapi_document(_: Call) -> Reply {
    respond::json(&openapi())
}

/// `GET /docs`: the route table as a page.
pub(crate) async fn docs(_: Call) -> Reply {
    let mut page = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Tally API</title>\
         <style>body{font:16px/1.5 system-ui;margin:2rem;max-width:80rem}td,th{text-align:left;padding:.2rem .8rem;\
         vertical-align:top}code{white-space:nowrap}</style><h1>Tally API</h1>\
         <p>The machine-readable description is <a href=\"/openapi.json\">/openapi.json</a>. Credentials: \
         <code>authorization: Bearer &lt;API key&gt;</code>.</p>\
         <table><tr><th>Route<th>What it does<th>Who may call it</tr>",
    );
    for (route, (method, path, access)) in ROUTES.iter().zip(route_list()) {
        // Everything here is our own constant text without markup.
        page += &format!("<tr><td><code>{method} {path}</code><td>{}<td>{access}</tr>", route.summary);
    }
    page += "</table></html>";
    Ok(respond::content("text/html; charset=utf-8", page))
}
