//! Parties that get nothing paid out for now: money still accrues for them.
//!
//! Takes `royalty.party.blocked` and `royalty.party.released` of admins, with a reason that the log keeps; refuses to
//! block who is blocked, or to release who is not (`state`).

use tally_market::codes::{MALFORMED, STATE};
use tally_market::{Body, Roles, once};
use tally_plugin::json::Object;
use tally_plugin::record::Writer;
use tally_plugin::{Event, Key, Read, Reject, Step, Table};

use crate::settings::ROLES;

/// Party.
pub(crate) const BLOCKED: Table = Table::new("blocked/");

/// Longest party: a principal's length.
const PARTY_BYTES_MAX: usize = 96;
const REASON_BYTES_MAX: usize = 200;

fn key(party: &str) -> Key {
    BLOCKED.key().text(party)
}

/// Whether nothing is paid out to a party.
pub(crate) fn is_blocked(state: &mut impl Read, party: &str) -> bool {
    state.get(&key(party)).is_some()
}

/// A party as keys and journals take it: visible ASCII, as long as a principal.
pub(crate) fn is_party(text: &str) -> bool {
    (1..=PARTY_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// `royalty.party.blocked`.
pub(crate) fn block(step: &mut Step, event: &Event) -> Result<(), Reject> {
    change(step, event, true)
}

/// `royalty.party.released`.
pub(crate) fn release(step: &mut Step, event: &Event) -> Result<(), Reject> {
    change(step, event, false)
}

fn change(step: &mut Step, event: &Event, blocks: bool) -> Result<(), Reject> {
    let body = Body::of(event, &["actor", "idempotency_key", "party", "reason"])?;
    if (event.entity_type(), event.entity_id()) != ("payout", "new") {
        return Err(MALFORMED);
    }
    let (party, reason) = (body.text("party", PARTY_BYTES_MAX)?, body.text("reason", REASON_BYTES_MAX)?);
    if !is_party(&party) {
        return Err(MALFORMED);
    }
    let state = &mut step.state;
    let roles = Roles::load(state, ROLES);
    let principal = roles.principal(event, &body)?;
    roles.require("admins", &principal)?;
    if once::begin(state, event, &principal, &body)? != once::Once::First {
        return Ok(());
    }
    if is_blocked(state, &party) == blocks {
        return Err(STATE);
    }
    if blocks {
        state.set(&key(&party), Writer::new().u64(event.index()).text(&principal).text(&reason).finish());
    } else {
        state.delete(&key(&party));
    }
    once::leave(state, event, &Object::new().bool("blocked", blocks).text("party", &party).finish());
    Ok(())
}
