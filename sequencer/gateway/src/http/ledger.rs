//! Who the ledger is, and the ladder: what a verifier needs before it can verify anything.

use tally_api::ledger::{Apply, ApplyState as State, Ladder, Ledger, VerifierKey};
use tally_core::ApplyState;
use tally_protocol::hash::{LogKind, log_id};

use super::call::Call;
use super::{Reply, respond};
use crate::error::ApiError;

/// `GET /v1/ledger`
pub(crate) async fn ledger(call: Call) -> Reply {
    let info = call.gateway.reader.ledger();
    let failed = |error| ApiError::internal(&error);
    let keys = [
        ("checkpoint", call.gateway.ledger.checkpoint_key().map_err(failed)?, info.genesis.checkpoint_key),
        ("receipt", call.gateway.ledger.receipt_key().map_err(failed)?, info.genesis.receipt_key),
    ];
    respond::json(&Ledger {
        ledger_id: info.ledger_id,
        origin: info.genesis.origin.clone(),
        profile: info.genesis.profile.clone(),
        created_at: info.genesis.created_at,
        genesis_entry: info.genesis_entry.clone(),
        events_log_id: log_id(&info.ledger_id, LogKind::Events),
        verifier_keys: keys
            .into_iter()
            .map(|(purpose, vkey, public_key)| VerifierKey {
                purpose: purpose.to_owned(),
                vkey: vkey.to_string(),
                public_key,
            })
            .collect(),
        root_agent_id: info.genesis.root_agent,
        root_public_key: info.genesis.root_key,
    })
}

/// Whether events are applied. Why not is a follower's own words about the node: for operators.
fn apply(call: &Call) -> Apply {
    match call.gateway.reader.apply_state() {
        ApplyState::Off => Apply { state: State::Off, why: None },
        ApplyState::Following => Apply { state: State::Following, why: None },
        ApplyState::Halted { why, .. } => {
            Apply { state: State::Halted, why: Some(why).filter(|_| call.caller.is_operator()) }
        }
    }
}

/// `GET /v1/ladder`
pub(crate) async fn ladder(call: Call) -> Reply {
    let ladder = call.gateway.reader.ladder();
    respond::json(&Ladder {
        ordered: ladder.ordered,
        durable: ladder.durable,
        folded: ladder.folded,
        signed: ladder.signed,
        acknowledged: ladder.acknowledged,
        published: ladder.published,
        applied: ladder.applied,
        anchored: ladder.anchored,
        apply: apply(&call),
    })
}
