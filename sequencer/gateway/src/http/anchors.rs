//! Anchors: how far the chains hold the logs, and the proofs from one event to them.

use std::sync::Arc;

use tally_api::anchor::{AnchorLevel, AnchorPolicy, AnchorStatus, EventAnchors};
use tally_api::error::ErrorCode;
use tally_protocol::id::TreeSize;

use super::call::Call;
use super::events::event_at;
use super::{Reply, respond};
use crate::anchors::AnchorPortError;
use crate::error::ApiError;

/// `GET /v1/anchors`
pub(crate) async fn status(call: Call) -> Reply {
    let status = match &call.gateway.anchors {
        Some(port) => port.status(),
        // A node that watches no chain says so by naming none.
        None => AnchorStatus {
            policy: AnchorPolicy { k: 0, n: 0, level: AnchorLevel::Finalized },
            anchored: TreeSize::new(0),
            chains: Vec::new(),
        },
    };
    respond::json(&status)
}

/// `GET /v1/events/{index}/anchor`
pub(crate) async fn of_event(call: Call) -> Reply {
    let event = event_at(&call, call.index()?).await?;
    let (index, leaf_hash) = (event.index, event.leaf_hash());
    let anchors = match &call.gateway.anchors {
        None => Vec::new(),
        Some(port) => {
            let port = Arc::clone(port);
            call.gateway.read(move |_| port.proofs(index).map_err(refused)).await?
        }
    };
    respond::json(&EventAnchors { index, leaf_hash, anchors })
}

fn refused(error: AnchorPortError) -> ApiError {
    match error {
        AnchorPortError::Unavailable(why) => ApiError::new(ErrorCode::ServiceUnavailable, why).after(5),
        AnchorPortError::Failed(why) => ApiError::internal(&why),
    }
}
