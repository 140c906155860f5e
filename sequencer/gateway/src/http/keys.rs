//! Agents' signing keys over REST: register, rotate, revoke, list. Each change is a signed event in the tenant's
//! control stream, made through the [`ControlSigner`](crate::ControlSigner) seam and submitted like any other; when
//! the answer is out, the change is in the log and in force (S-021).

use tally_api::agent_key::{
    AgentKey, AgentKeys, KeyChanged, KeyStatus, RegisterKeyRequest, RevokeKeyRequest, RotateKeyRequest,
};
use tally_api::error::ErrorCode;
use tally_core::{EventResult, KeyRecord, Receipt};
use tally_protocol::control::ControlEvent;
use tally_protocol::error::Reject;
use tally_protocol::id::{AgentId, Index, KeyId, Stream, TenantId};
use tally_protocol::key::{PublicKey, check_registration};
use tally_protocol::limits::REASON_BYTES_MAX;
use tally_protocol::time::LogTime;

use super::call::Call;
use super::{Reply, respond};
use crate::control::ControlSignError;
use crate::envelope::unhex;
use crate::error::ApiError;

/// What became of a control event.
pub(crate) enum Controlled {
    Accepted(Receipt),
    Refused(Reject),
}

/// Signs a control event and submits it.
pub(crate) async fn control(call: &Call, stream: Stream, event: ControlEvent) -> Result<Controlled, ApiError> {
    let no_signer = || {
        let message = "this node holds no root key for this; post the signed control event to /v1/events";
        ApiError::new(ErrorCode::NoControlSigner, message)
    };
    let signer = call.gateway.control.clone().ok_or_else(no_signer)?;
    // A signer may be a device or a service, so it does not run on the async threads.
    let signed = tokio::task::spawn_blocking(move || signer.sign_control(stream, &event));
    let frame = signed.await.map_err(|error| ApiError::internal(&error))?.map_err(|error| match error {
        ControlSignError::NoKey => no_signer(),
        ControlSignError::Failed(why) => {
            tracing::error!(%why, "the control signer failed");
            ApiError::new(ErrorCode::ServiceUnavailable, "the control signer failed").after(1)
        }
    })?;
    let outcome = call.gateway.submitter.submit(call.caller.lane(), vec![frame])?.await?;
    match outcome.into_iter().next() {
        Some(EventResult::Accepted(receipt) | EventResult::Duplicate(receipt)) => Ok(Controlled::Accepted(receipt)),
        Some(EventResult::Rejected(reject)) => {
            call.gateway.metrics.on_reject(reject.code);
            Ok(Controlled::Refused(reject))
        }
        None => Err(ApiError::internal(&"the core gave no result")),
    }
}

/// The credential must reach the tenant and, if it is bound to an agent, be that agent's.
fn check_scope(call: &Call, tenant: TenantId, agent: AgentId) -> Result<(), ApiError> {
    call.caller.must_reach(Stream::control(tenant))?;
    call.caller.must_act_as(agent)
}

/// Reads a key and holds it against the rule for registration.
fn public_key(text: &str) -> Result<PublicKey, ApiError> {
    let rule = |rule: &str| ApiError::of_field(ErrorCode::InvalidPublicKey, "publicKey", rule);
    let key = unhex(text).map(PublicKey::from_bytes).ok_or_else(|| rule("must be 64 hexadecimal digits"))?;
    check_registration(&key).map_err(|error| rule(&format!("cannot be registered: {error}")))?;
    Ok(key)
}

fn time(name: &'static str, text: Option<&str>) -> Result<Option<LogTime>, ApiError> {
    let read = |text| LogTime::parse_rfc3339(text).map_err(|_| ApiError::field(name, "must be an RFC 3339 time"));
    text.map(read).transpose()
}

fn changed(tenant: TenantId, agent: AgentId, key: KeyId, message: &str, at: Option<Index>) -> Reply {
    respond::json(&KeyChanged {
        success: true,
        tenant_id: tenant,
        agent_id: agent,
        key_id: key,
        message: message.to_owned(),
        log_index: at,
    })
}

/// `POST /api/v1/agents/keys`
pub(crate) async fn register(mut call: Call) -> Reply {
    let request: RegisterKeyRequest = call.json().await?;
    let (tenant, agent) = (request.tenant_id, request.agent_id);
    check_scope(&call, tenant, agent)?;
    if !matches!(request.key_algorithm, None | Some(0 | 1)) {
        return Err(ApiError::field("keyAlgorithm", "must be 0 or 1 (Ed25519)"));
    }
    let public_key = public_key(&request.public_key)?;
    let key_id = request.key_id.unwrap_or_else(|| call.gateway.reader.next_key_id(tenant, agent));
    let exists = |key: &KeyRecord| key.key_id == key_id;
    let taken = || ApiError::of_field(ErrorCode::AlreadyExists, "keyId", "is registered already");
    if call.gateway.reader.agent_keys(tenant, agent).iter().any(exists) {
        return Err(taken());
    }
    let event = ControlEvent::AgentKeyRegistered {
        agent_id: agent,
        key_id,
        public_key,
        valid_from: time("validFrom", request.valid_from.as_deref())?,
        valid_to: time("validTo", request.valid_to.as_deref())?,
    };
    match control(&call, Stream::control(tenant), event).await? {
        Controlled::Accepted(receipt) => changed(tenant, agent, key_id, "the key is registered", Some(receipt.index)),
        // Another call was faster.
        Controlled::Refused(_) if call.gateway.reader.agent_keys(tenant, agent).iter().any(exists) => Err(taken()),
        Controlled::Refused(reject) => Err(ApiError::control(&reject)),
    }
}

/// `POST /api/v1/agents/keys/rotate`
pub(crate) async fn rotate(mut call: Call) -> Reply {
    let request: RotateKeyRequest = call.json().await?;
    let (tenant, agent) = (request.tenant_id, request.agent_id);
    check_scope(&call, tenant, agent)?;
    let missing = || ApiError::field("previousValidTo", "is missing");
    let key_id = call.gateway.reader.next_key_id(tenant, agent);
    let event = ControlEvent::AgentKeyRotated {
        agent_id: agent,
        key_id,
        public_key: public_key(&request.public_key)?,
        previous_valid_to: time("previousValidTo", Some(&request.previous_valid_to))?.ok_or_else(missing)?,
        valid_to: time("validTo", request.valid_to.as_deref())?,
    };
    match control(&call, Stream::control(tenant), event).await? {
        Controlled::Accepted(receipt) => changed(
            tenant,
            agent,
            key_id,
            "the new key is registered; the old one is valid until previousValidTo",
            Some(receipt.index),
        ),
        Controlled::Refused(reject) => Err(ApiError::control(&reject)),
    }
}

/// `POST /api/v1/agents/keys/revoke`
pub(crate) async fn revoke(mut call: Call) -> Reply {
    let request: RevokeKeyRequest = call.json().await?;
    let (tenant, agent, key_id) = (request.tenant_id, request.agent_id, request.key_id);
    check_scope(&call, tenant, agent)?;
    if request.reason.is_empty() || request.reason.len() > REASON_BYTES_MAX {
        return Err(ApiError::field("reason", &format!("must have 1 to {REASON_BYTES_MAX} bytes")));
    }
    let record = |call: &Call| {
        let keys = call.gateway.reader.agent_keys(tenant, agent);
        keys.into_iter().find(|key| key.key_id == key_id)
    };
    let already = "the key was revoked before";
    match record(&call) {
        None => return Err(ApiError::new(ErrorCode::AgentKeyNotFound, "the agent has no such key")),
        Some(key) if key.revoked_at.is_some() => return changed(tenant, agent, key_id, already, None),
        Some(_) => {}
    }
    let event = ControlEvent::AgentKeyRevoked { agent_id: agent, key_id, reason: request.reason };
    match control(&call, Stream::control(tenant), event).await? {
        Controlled::Accepted(receipt) => changed(tenant, agent, key_id, "the key is revoked", Some(receipt.index)),
        // Another call was faster.
        Controlled::Refused(_) if record(&call).is_some_and(|key| key.revoked_at.is_some()) => {
            changed(tenant, agent, key_id, already, None)
        }
        Controlled::Refused(reject) => Err(ApiError::control(&reject)),
    }
}

fn shape(key: &KeyRecord, now: LogTime) -> AgentKey {
    let status = if key.revoked_at.is_some() {
        KeyStatus::Revoked
    } else if now < key.valid_from {
        KeyStatus::Pending
    } else if key.invalid_at(now).is_some() {
        KeyStatus::Expired
    } else {
        KeyStatus::Active
    };
    AgentKey {
        key_id: key.key_id,
        algorithm: "ed25519".to_owned(),
        public_key: key.public_key,
        status,
        valid_from: key.valid_from,
        valid_to: key.valid_to,
        revoked_at: key.revoked_at,
        registered_index: key.registered_index,
    }
}

fn listed(call: &Call, tenant: TenantId, agent: AgentId) -> Reply {
    let now = call.gateway.clock.wall();
    let keys = call.gateway.reader.agent_keys(tenant, agent);
    let keys = keys.iter().map(|key| shape(key, now)).collect();
    respond::json(&AgentKeys { tenant_id: tenant, agent_id: agent, keys })
}

/// `GET /api/v1/agents/keys`: the whole history, revoked and expired keys included, because old events need them.
pub(crate) async fn ves_list(call: Call) -> Reply {
    let (tenant, agent) = (call.required_id("tenant_id")?, call.required_id("agent_id")?);
    call.caller.must_reach_tenant(tenant)?;
    listed(&call, tenant, agent)
}

/// `GET /v1/keys/{tenant}/{agent}`
pub(crate) async fn list(call: Call) -> Reply {
    let (tenant, agent) = call.agent_of_path()?;
    listed(&call, tenant, agent)
}

/// `GET /v1/keys/{tenant}/{agent}/{key_id}`
pub(crate) async fn one(call: Call) -> Reply {
    let (tenant, agent) = call.agent_of_path()?;
    let key_id = call.param_number("key_id")?;
    let keys = call.gateway.reader.agent_keys(tenant, agent);
    let found = keys.iter().find(|key| u64::from(key.key_id.get()) == key_id);
    let key = found.ok_or_else(|| ApiError::new(ErrorCode::AgentKeyNotFound, "the agent has no such key"))?;
    respond::json(&shape(key, call.gateway.clock.wall()))
}
