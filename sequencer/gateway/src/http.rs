//! The router, made from the one route table.
//!
//! Takes a request, finds its [`Route`], admits the caller by the route's rule, runs the handler, gives the answer or
//! the one error shape. Every answer carries a request id; none is cached unless its handler says so. There is no
//! route without a rule: the table's type asks for one, and the router is made from the table alone.

mod anchors;
mod api_keys;
mod body;
mod call;
mod declared;
mod effects;
mod entity_types;
mod events;
mod feed;
mod keys;
mod ledger;
mod log;
mod market;
mod modules;
mod ops;
mod outcomes;
mod page;
mod plugins;
mod proofs;
mod respond;
mod submit;
mod table;
mod template;
mod tenants;
mod ves;
mod ves_proofs;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts as _, RawPathParams, Request, State};
use axum::http::{HeaderValue, Response, header};
use axum::routing::{MethodFilter, on};
use serde_json::Value;
use tally_api::error::ErrorCode;
use tally_api::openapi::{self, Answer, Content, Parameter, RouteDoc};

use crate::Gateway;
use crate::auth::Rule;
use crate::error::ApiError;
use call::{Call, Query};

pub(crate) use table::ROUTES;

pub(crate) type Reply = Result<Response<Body>, ApiError>;
type Handler = fn(Call) -> Pin<Box<dyn Future<Output = Reply> + Send>>;

/// The methods there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
    Put,
    Delete,
}

impl Method {
    const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }

    const fn filter(self) -> MethodFilter {
        match self {
            // axum answers HEAD with a GET route too.
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Put => MethodFilter::PUT,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

/// One row of the route table.
pub(crate) struct Route {
    method: Method,
    path: &'static str,
    /// The operation's unique name.
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
    rule: Rule,
    parameters: &'static [Parameter],
    request: &'static [Content],
    answers: &'static [Answer],
    handler: Handler,
}

impl Route {
    /// The VES surface ignores what it does not know; ours refuses it, but where a plugin has parameters of its own.
    fn is_lenient(&self) -> bool {
        ["/api/", "/plugins/", "/market/{*"].iter().any(|start| self.path.starts_with(start))
    }

    fn doc(&self) -> RouteDoc {
        RouteDoc {
            method: self.method.name(),
            path: doc_path(self.path),
            id: self.id,
            tag: self.tag,
            summary: self.summary,
            access: self.rule.describe(),
            authenticated: self.rule.anonymous != crate::auth::Anonymous::Always,
            parameters: self.parameters,
            request: self.request,
            answers: self.answers,
        }
    }
}

/// OpenAPI has no name for "the rest of the path".
fn doc_path(path: &'static str) -> &'static str {
    match path {
        "/log/tile/{*path}" => "/log/tile/{path}",
        "/log/tile/entries/{*path}" => "/log/tile/entries/{path}",
        "/outcomes/tile/{*path}" => "/outcomes/tile/{path}",
        "/outcomes/tile/entries/{*path}" => "/outcomes/tile/entries/{path}",
        "/plugins/{tenant}/{store}/{plugin}/{*path}" => "/plugins/{tenant}/{store}/{plugin}/{path}",
        "/market/{*path}" => "/market/{path}",
        other => other,
    }
}

/// The OpenAPI document of all routes.
#[must_use]
pub fn openapi() -> Value {
    let docs: Vec<RouteDoc> = ROUTES.iter().map(Route::doc).collect();
    openapi::document(env!("CARGO_PKG_VERSION"), &docs)
}

/// Method and path of every route, as the router knows them, with the rule in words.
#[must_use]
pub fn route_list() -> Vec<(&'static str, &'static str, String)> {
    ROUTES.iter().map(|route| (route.method.name(), route.path, route.rule.describe())).collect()
}

/// Whether the connection under a request is TLS.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Secure(pub(crate) bool);

/// The router of all surfaces.
pub fn router(gateway: Arc<Gateway>) -> Router {
    let mut router = Router::new();
    for (at, route) in ROUTES.iter().enumerate() {
        let handle = move |State(gateway): State<Arc<Gateway>>, request: Request| dispatch(gateway, at, request);
        router = router.route(route.path, on(route.method.filter(), handle));
    }
    router.fallback(not_found).method_not_allowed_fallback(method_not_allowed).with_state(gateway)
}

async fn not_found(State(gateway): State<Arc<Gateway>>, request: Request) -> Response<Body> {
    let error = ApiError::new(ErrorCode::ResourceNotFound, "no such route");
    finish(&gateway, &Asked::of(&request, None), Err(error))
}

async fn method_not_allowed(State(gateway): State<Arc<Gateway>>, request: Request) -> Response<Body> {
    let error = ApiError::new(ErrorCode::MethodNotAllowed, "the route does not take this method");
    finish(&gateway, &Asked::of(&request, None), Err(error))
}

async fn dispatch(gateway: Arc<Gateway>, at: usize, request: Request) -> Response<Body> {
    let asked = Asked::of(&request, Some((at, gateway.clock.monotonic_micros())));
    let reply = match ROUTES.get(at) {
        Some(route) => run(&gateway, route, request).await,
        None => Err(ApiError::new(ErrorCode::ResourceNotFound, "no such route")),
    };
    finish(&gateway, &asked, reply)
}

async fn run(gateway: &Arc<Gateway>, route: &'static Route, request: Request) -> Reply {
    let (mut parts, body) = request.into_parts();
    let caller = gateway.door().admit(&route.rule, &parts.headers)?;
    let params = RawPathParams::from_request_parts(&mut parts, &())
        .await
        .map_err(|_| ApiError::new(ErrorCode::InvalidFieldValue, "the path is not UTF-8"))?;
    let params = params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let raw_query = parts.uri.query().unwrap_or_default().to_owned();
    let query = Query::read(&raw_query, route.parameters, route.is_lenient())?;
    let path = parts.uri.path().to_owned();
    let call = Call {
        gateway: Arc::clone(gateway),
        caller,
        params,
        query,
        raw_query,
        path,
        headers: parts.headers,
        body: Mutex::new(body),
    };
    (route.handler)(call).await
}

const HSTS: HeaderValue = HeaderValue::from_static("max-age=63072000");

/// What the end of a request needs of its beginning.
struct Asked {
    /// The row of the table, and when the request began, in microseconds; none if no row fits.
    route: Option<(usize, u64)>,
    secure: Option<Secure>,
    /// Whether refusals have the marketplace's shape.
    is_market: bool,
}

impl Asked {
    fn of(request: &Request, route: Option<(usize, u64)>) -> Self {
        let is_market = request.uri().path().starts_with("/market/");
        Self { route, secure: request.extensions().get().copied(), is_market }
    }
}

/// What every answer has, whatever it is an answer to.
fn finish(gateway: &Gateway, asked: &Asked, reply: Reply) -> Response<Body> {
    let request_id = gateway.next_request_id();
    let mut response = reply.unwrap_or_else(|error| {
        gateway.metrics.on_error(error.code);
        if asked.is_market { error.into_market_response() } else { error.into_response(&request_id) }
    });
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        headers.insert("x-request-id", value);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if asked.secure.is_some_and(|Secure(secure)| secure) {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
    }
    let status = response.status().as_u16();
    let micros = asked.route.map(|(at, started)| {
        let micros = gateway.clock.monotonic_micros().saturating_sub(started);
        gateway.metrics.on_response(at, status, micros);
        micros
    });
    // The route's pattern, never the path: paths hold what clients write.
    let pattern = asked.route.and_then(|(at, _)| ROUTES.get(at)).map(|route| (route.method.name(), route.path));
    tracing::debug!(request_id, ?pattern, status, ?micros, "answered");
    response
}
