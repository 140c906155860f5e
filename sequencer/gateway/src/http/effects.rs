//! What an operator says about dead letters. Every such word is in the node's log, with the credential that said it.

use tally_api::error::ErrorCode;
use tally_api::plugin::EffectActed;

use super::call::Call;
use super::events::event_at;
use super::{Reply, respond};
use crate::effects::{EffectAction, EffectPortError};
use crate::error::ApiError;

/// `POST /v1/effects/{index}/{number}/retry`
pub(crate) async fn retry(call: Call) -> Reply {
    act(call, EffectAction::Retry).await
}

/// `POST /v1/effects/{index}/{number}/fail`
pub(crate) async fn fail(call: Call) -> Reply {
    act(call, EffectAction::Fail).await
}

async fn act(call: Call, action: EffectAction) -> Reply {
    let number = u32::try_from(call.param_number("number")?);
    let number = number.map_err(|_| ApiError::field("number", "must be below 2^32"))?;
    // Whose event it is decides who may see its effects, and so who may say something about them.
    let index = event_at(&call, call.index()?).await?.index;
    let port = call.gateway.effects.clone().ok_or_else(ApiError::no_plugins)?;
    let by = call.caller.credential()?.prefix.clone();
    tracing::warn!(%index, number, action = action.as_str(), by, "an operator speaks about an effect");
    let state = call.gateway.read(move |_| port.act(index, number, action).map_err(|error| refused(&error))).await?;
    respond::json(&EffectActed { index, number, state: state.to_owned() })
}

fn refused(error: &EffectPortError) -> ApiError {
    let code = match error {
        EffectPortError::NotFound => ErrorCode::ResourceNotFound,
        EffectPortError::NotDead(_) => ErrorCode::EffectNotDead,
        EffectPortError::Unavailable(_) => ErrorCode::ServiceUnavailable,
    };
    ApiError::new(code, error.to_string())
}
