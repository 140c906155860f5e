//! Modules: put by their bytes, fetched by their hash; and the report on a release of one.
//!
//! Whoever installs plugins puts modules; an operator fetches any of them, a tenant those that run in its own streams,
//! stand in its own registry, or are approved in the ledger's. So what a neighbour has uploaded and nobody has approved
//! is seen by nobody else, even by who knows its hash.

use axum::http::StatusCode;
use tally_api::error::ErrorCode;
use tally_api::plugin::{ModuleStored, ReleaseReport, WASM};
use tally_protocol::hash::ModuleHash;
use tally_protocol::id::{StoreId, Stream, TenantId};
use tally_protocol::jcs;
use tally_protocol::plugin_event::decode_release;

use super::call::Call;
use super::plugins::{Asked, Sight, names_module};
use super::{Reply, respond};
use crate::error::ApiError;

/// A module: several times what any host takes, so that the host says what is wrong with a large one.
const MODULE_BYTES_MAX: usize = 4 << 20;

/// A release, with every schema and limit that it may name.
const RELEASE_BYTES_MAX: usize = 256 << 10;

/// `POST /v1/reports`: what this node's host has to say about a release, before it is reviewed.
pub(crate) async fn report(mut call: Call) -> Reply {
    let bytes_max = RELEASE_BYTES_MAX.min(call.gateway.config.limits.body_bytes_max);
    let (body, permit) = call.bytes_up_to(bytes_max).await?;
    let body = jcs::parse(&body).map_err(|error| ApiError::new(ErrorCode::InvalidRequestBody, error.to_string()))?;
    let release = decode_release(&jcs::to_canonical(&body));
    let release = release.map_err(|error| ApiError::new(ErrorCode::InvalidRequestBody, error.to_string()))?;
    let info = call
        .gateway
        .ask_plugins(move |port, _| {
            let info = port.report(&release).asked(ErrorCode::ModuleRefused);
            drop(permit);
            info
        })
        .await?;
    respond::json(&ReleaseReport { report_hash: info.hash, blocking: info.blocking, report: info.report })
}

/// `POST /v1/modules`: 201, also for a module that is there already.
pub(crate) async fn put(mut call: Call) -> Reply {
    if call.content_type().as_deref() != Some(WASM) {
        return Err(ApiError::new(ErrorCode::UnsupportedMediaType, "the route takes application/wasm"));
    }
    let bytes_max = MODULE_BYTES_MAX.min(call.gateway.config.limits.body_bytes_max);
    let (wasm, permit) = call.bytes_up_to(bytes_max).await?;
    if wasm.is_empty() {
        return Err(ApiError::new(ErrorCode::InvalidRequestBody, "the body is empty"));
    }
    let bytes = wasm.len() as u64;
    let module = call
        .gateway
        .ask_plugins(move |port, _| {
            let module = port.put_module(wasm).asked(ErrorCode::ModuleRefused);
            drop(permit);
            module
        })
        .await?;
    respond::json_with(StatusCode::CREATED, &ModuleStored { module, bytes })
}

/// The stream that a caller says to have the module from: needed from everybody but operators.
fn claimed(call: &Call) -> Result<Option<Sight>, ApiError> {
    let (tenant, store): (Option<TenantId>, Option<StoreId>) = (call.query_id("tenant")?, call.query_id("store")?);
    match (tenant, store) {
        (Some(tenant), Some(store)) => Ok(Some(Sight::of(&call.caller, Stream::new(tenant, store))?)),
        (None, None) if call.caller.is_operator() => Ok(None),
        (None, None) => Err(ApiError::field("tenant", "and store must name a stream or registry that has the module")),
        _ => Err(ApiError::field("tenant", "and store are given together")),
    }
}

/// `GET /v1/modules/{module}[?tenant&store]`
pub(crate) async fn get(call: Call) -> Reply {
    let hash = ModuleHash::from_hex(call.param("module")?);
    let hash = hash.map_err(|_| ApiError::field("module", "must be 64 lower-case hexadecimal digits"))?;
    let sight = claimed(&call)?;
    let wasm = call
        .gateway
        .ask_plugins(move |port, _| {
            let not_found = || ApiError::new(ErrorCode::ResourceNotFound, "no such module in reach of this credential");
            if let Some(sight) = sight {
                let (_, plugins) = sight.plugins(port)?;
                if !plugins.iter().any(|plugin| names_module(plugin, hash)) {
                    return Err(not_found());
                }
            }
            match port.module(hash) {
                Err(crate::PluginPortError::NotFound(_)) => Err(not_found()),
                other => other.asked(ErrorCode::InvalidFieldValue),
            }
        })
        .await?;
    Ok(respond::cached(respond::content(WASM, wasm), true, false))
}
