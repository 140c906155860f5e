//! Which entity types a store takes: shown, set and lifted. Each change is a signed event in the tenant's control
//! stream, made through the [`ControlSigner`](crate::ControlSigner) seam as changes of agents' keys are; when the answer
//! is out, the change is in the log and in force.
//!
//! The list is the tenant's, not the store's: a credential must reach the control stream and be bound to no agent but
//! the one that signs. Who signs elsewhere posts the event to `/v1/events`.

use std::collections::BTreeSet;

use tally_api::entity_types::{BroughtEntityType, EntityTypes, EntityTypesChanged, SetEntityTypes};
use tally_protocol::control::{ControlError, ControlEvent};
use tally_protocol::id::Stream;
use tally_protocol::limits::{ENTITY_TYPE_BYTES_MAX, ENTITY_TYPES_MAX};

use super::call::Call;
use super::keys::{Controlled, control};
use super::{Reply, respond};
use crate::error::ApiError;

/// A list of the longest types, each character escaped, with room for what stands around it.
const BODY_BYTES_MAX: usize = ENTITY_TYPES_MAX * (ENTITY_TYPE_BYTES_MAX * 6 + 8) + 1024;

/// `GET /v1/streams/{tenant}/{store}/entity-types`
pub(crate) async fn show(call: Call) -> Reply {
    let stream = call.stream_of_path()?;
    let types = call.gateway.reader.entity_types(stream);
    let brought = types.iter().flat_map(|types| types.brought());
    respond::json(&EntityTypes {
        tenant_id: stream.tenant,
        store_id: stream.store,
        entity_types: types.as_ref().map(|types| types.listed().iter().cloned().collect()),
        set_index: types.as_ref().map(|types| types.set_index()),
        plugins: brought
            .map(|(plugin, entity_type)| BroughtEntityType {
                plugin: plugin.to_string(),
                entity_type: entity_type.clone(),
            })
            .collect(),
    })
}

/// The store in the path, whose list the caller may change.
fn own_store(call: &Call) -> Result<Stream, ApiError> {
    let stream = call.stream_of_path()?;
    call.caller.must_reach(Stream::control(stream.tenant))?;
    call.caller.must_act_as(call.gateway.reader.ledger().genesis.root_agent)?;
    if stream.is_control() {
        return Err(ApiError::field("store", "must not be nil: a control stream has no list"));
    }
    Ok(stream)
}

/// `PUT /v1/streams/{tenant}/{store}/entity-types`
pub(crate) async fn set(mut call: Call) -> Reply {
    let stream = own_store(&call)?;
    let request: SetEntityTypes =
        call.json_up_to(BODY_BYTES_MAX.min(call.gateway.config.limits.body_bytes_max)).await?;
    let entity_types: BTreeSet<String> = request.entity_types.into_iter().collect();
    change(&call, stream, ControlEvent::EntityTypesSet { store_id: stream.store, entity_types }).await
}

/// `DELETE /v1/streams/{tenant}/{store}/entity-types`: also where there is no list.
pub(crate) async fn lift(call: Call) -> Reply {
    let stream = own_store(&call)?;
    change(&call, stream, ControlEvent::EntityTypesLifted { store_id: stream.store }).await
}

async fn change(call: &Call, stream: Stream, event: ControlEvent) -> Reply {
    event.check().map_err(|error| broken(&error))?;
    let entity_types = match &event {
        ControlEvent::EntityTypesSet { entity_types, .. } => Some(entity_types.iter().cloned().collect()),
        _ => None,
    };
    match control(call, Stream::control(stream.tenant), event).await? {
        Controlled::Accepted(receipt) => respond::json(&EntityTypesChanged {
            tenant_id: stream.tenant,
            store_id: stream.store,
            entity_types,
            log_index: receipt.index,
        }),
        Controlled::Refused(reject) => Err(ApiError::control(&reject)),
    }
}

fn broken(error: &ControlError) -> ApiError {
    match error {
        ControlError::Field("store_id") => ApiError::field("store", "must not be nil"),
        _ => {
            let rule = format!("must be at most {ENTITY_TYPES_MAX} texts of 1 to {ENTITY_TYPE_BYTES_MAX} bytes");
            ApiError::field("entity_types", &rule)
        }
    }
}
