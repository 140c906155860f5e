//! API keys: create (the key is shown this once), list, revoke. An administrator of a tenant manages the tenant's
//! keys, an operator all; nobody can create a key that may do more than the one that asks.

use axum::http::StatusCode;
use tally_api::api_key::{ApiKeyCreated, ApiKeyList, CreateApiKey};
use tally_api::error::ErrorCode;
use tally_protocol::hash::ApiKeyHash;

use super::call::Call;
use super::{Reply, respond};
use crate::credential::{ApiKey, Credential, Scope};
use crate::error::ApiError;

const LABEL_BYTES_MAX: usize = 128;
/// Stores that one key may list: it is read with every request.
const STORES_MAX: usize = 256;

/// `POST /v1/api-keys`
pub(crate) async fn create(mut call: Call) -> Reply {
    let request: CreateApiKey = call.json().await?;
    if request.roles.is_empty() {
        return Err(ApiError::field("roles", "must name at least one role"));
    }
    if request.label.len() > LABEL_BYTES_MAX {
        return Err(ApiError::field("label", &format!("must have at most {LABEL_BYTES_MAX} bytes")));
    }
    if request.store_ids.as_ref().is_some_and(|stores| stores.0.is_empty() || stores.0.len() > STORES_MAX) {
        return Err(ApiError::field("store_ids", &format!("must name 1 to {STORES_MAX} stores, or be null for all")));
    }
    let now = call.gateway.clock.wall();
    if request.expires_at.is_some_and(|end| end <= now) {
        return Err(ApiError::field("expires_at", "must be in the future"));
    }
    let mut roles = request.roles;
    roles.sort_unstable();
    roles.dedup();
    let scope = Scope { tenant: request.tenant_id, stores: request.store_ids, agent: request.agent_id, roles };
    if !scope.is_within(&call.caller.credential()?.scope) {
        let message = "a key cannot be bound wider than the credential that creates it";
        return Err(ApiError::new(ErrorCode::OutOfScope, message));
    }
    let key = ApiKey::generate(call.gateway.config.environment)?;
    let mut credential = Credential::new(&key, &call.gateway.credential_key, scope, &request.label, now);
    credential.expires_at = request.expires_at;
    let info = credential.info();
    let gateway = std::sync::Arc::clone(&call.gateway);
    call.gateway.read(move |_| Ok(gateway.credentials.put(&credential)?)).await?;
    respond::json_with(StatusCode::CREATED, &ApiKeyCreated { api_key: key.reveal(), info })
}

/// `GET /v1/api-keys`
pub(crate) async fn list(call: Call) -> Reply {
    let scope = call.caller.credential()?.scope.clone();
    let gateway = std::sync::Arc::clone(&call.gateway);
    let all = call.gateway.read(move |_| Ok(gateway.credentials.list()?)).await?;
    let keys = all.iter().filter(|credential| credential.is_visible_to(&scope)).map(Credential::info).collect();
    respond::json(&ApiKeyList { keys })
}

/// `DELETE /v1/api-keys/{id}`: effective when the answer is out. Idempotent; the first time stands.
pub(crate) async fn revoke(call: Call) -> Reply {
    let not_found = || ApiError::new(ErrorCode::ResourceNotFound, "no such API key in reach of this credential");
    let hash = ApiKeyHash::from_hex(call.param("id")?).map_err(|_| not_found())?;
    let scope = call.caller.credential()?.scope.clone();
    let gateway = std::sync::Arc::clone(&call.gateway);
    let now = call.gateway.clock.wall();
    let revoked = call
        .gateway
        .read(move |_| {
            let found = gateway.credentials.find(&hash)?;
            found.filter(|credential| credential.is_visible_to(&scope)).ok_or_else(not_found)?;
            gateway.credentials.revoke(&hash, now)?.ok_or_else(not_found)
        })
        .await?;
    // Sessions look their credential up again before they take anything more.
    call.gateway.credentials_changed();
    respond::json(&revoked.info())
}
