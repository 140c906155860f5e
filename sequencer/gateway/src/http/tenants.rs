//! Tenants: `POST /v1/tenants`. A tenant is created by a signed event in the ledger's control stream; operators only.

use axum::http::StatusCode;
use tally_api::error::ErrorCode;
use tally_api::tenant::{CreateTenant, Tenant};
use tally_protocol::control::ControlEvent;
use tally_protocol::id::Stream;
use tally_protocol::key::check_registration;

use super::call::Call;
use super::keys::{Controlled, control};
use super::{Reply, respond};
use crate::error::ApiError;

/// `POST /v1/tenants`
pub(crate) async fn create(mut call: Call) -> Reply {
    let request: CreateTenant = call.json().await?;
    let tenant_id = request.tenant_id;
    if tenant_id.is_nil() {
        return Err(ApiError::field("tenant_id", "must not be nil"));
    }
    check_registration(&request.root_public_key).map_err(|error| {
        ApiError::of_field(ErrorCode::InvalidPublicKey, "root_public_key", &format!("cannot be registered: {error}"))
    })?;
    let exists = || ApiError::of_field(ErrorCode::AlreadyExists, "tenant_id", "is taken");
    if call.gateway.reader.tenant(tenant_id).is_some() {
        return Err(exists());
    }
    let event = ControlEvent::TenantCreated {
        tenant_id,
        root_agent_id: request.root_agent_id,
        root_public_key: request.root_public_key,
        operator_managed: request.operator_managed,
    };
    match control(&call, Stream::LEDGER, event).await? {
        Controlled::Accepted(receipt) => {
            respond::json_with(StatusCode::CREATED, &Tenant { tenant_id, created_index: receipt.index })
        }
        Controlled::Refused(_) if call.gateway.reader.tenant(tenant_id).is_some() => Err(exists()),
        Controlled::Refused(reject) => Err(ApiError::control(&reject)),
    }
}
