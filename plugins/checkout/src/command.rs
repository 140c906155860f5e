//! A command: who says it, what it says, and that it counts once.
//!
//! Takes an event and the members its body may have; leaves the result that the command gives.

use alloc::string::String;
use alloc::vec::Vec;

use tally_market::audit::{self, REASON_BYTES_MAX};
use tally_market::codes::MALFORMED;
use tally_market::once::{self, Once};
use tally_market::{Body, Roles, hex};
use tally_plugin::json::Object;
use tally_plugin::{Event, Reject, Step};

use crate::settings::{self, Settings};

/// What its entity is.
const ENTITY: &str = "order";
/// The entity id of a command that makes something new.
const NEW: &str = "new";

/// A command that is done for the first time.
pub(crate) struct Command<'a> {
    pub(crate) step: &'a mut Step,
    pub(crate) event: &'a Event,
    pub(crate) body: Body<'a>,
    pub(crate) principal: String,
    pub(crate) roles: Roles,
    pub(crate) settings: Settings,
}

/// Does a command, unless it was done before.
pub(crate) fn run(
    step: &mut Step,
    event: &Event,
    members: &[&str],
    act: fn(&mut Command<'_>) -> Result<Vec<u8>, Reject>,
) -> Result<(), Reject> {
    let (roles, settings) = settings::load(&mut step.state)?;
    let body = Body::of(event, members)?;
    let principal = roles.principal(event, &body)?;
    if event.entity_type() != ENTITY {
        return Err(MALFORMED);
    }
    if let Once::Again(_) = once::begin(&mut step.state, event, &principal, &body)? {
        return Ok(());
    }
    let mut command = Command { step, event, body, principal, roles, settings };
    let result = act(&mut command)?;
    once::leave(&mut command.step.state, event, &result);
    Ok(())
}

impl Command<'_> {
    /// That it makes something new.
    pub(crate) fn require_new(&self) -> Result<(), Reject> {
        if self.event.entity_id() == NEW { Ok(()) } else { Err(MALFORMED) }
    }

    /// Notes what was done, and why.
    ///
    /// # Errors
    /// `malformed`: no reason is given.
    pub(crate) fn note(&mut self, what: Object) -> Result<(), Reject> {
        let reason = self.body.text("reason", REASON_BYTES_MAX)?;
        audit::record(&mut self.step.state, self.event, &self.principal, Some(&reason), what);
        Ok(())
    }

    /// The order it is about.
    pub(crate) fn order_id(&self) -> Result<[u8; 32], Reject> {
        hex::decode(self.event.entity_id()).ok_or(MALFORMED)
    }
}
