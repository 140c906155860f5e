//! What every command has in common: who speaks, and whether it is the first time.
//!
//! Takes an event and the members it may have; gives a [`Command`], nothing where it was accepted before, or a refusal.

use alloc::borrow::Cow;
use alloc::string::String;

use tally_market::audit::REASON_BYTES_MAX;
use tally_market::codes::{FORBIDDEN, MALFORMED};
use tally_market::once::{self, Once};
use tally_market::{Body, Roles};
use tally_plugin::{Event, Reject, Step};

use crate::CONFIG;

/// What every event of the catalogue is about.
pub(crate) const ENTITY_TYPE: &str = "sku";
/// The entity id of what is about no SKU.
pub(crate) const NEW: &str = "new";

/// Members that every command has.
pub(crate) const ACTOR: &str = "actor";
pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency_key";
pub(crate) const REASON: &str = "reason";

/// A command that is to be done.
pub(crate) struct Command<'a> {
    pub(crate) body: Body<'a>,
    /// Who commands.
    pub(crate) principal: String,
    roles: Roles,
}

impl<'a> Command<'a> {
    /// Reads a command about a thing whose id has a form; nothing if it was accepted before.
    ///
    /// # Errors
    /// `card_data`, `malformed`, `forbidden`, `idempotency_key_required`, `idempotency_conflict`.
    pub(crate) fn read(
        step: &mut Step,
        event: &'a Event,
        members: &[&str],
        is_id: fn(&str) -> bool,
    ) -> Result<Option<Self>, Reject> {
        let body = Body::of(event, members)?;
        let roles = Roles::load(&mut step.state, CONFIG);
        let principal = roles.principal(event, &body)?;
        if event.entity_type() != ENTITY_TYPE || !is_id(event.entity_id()) {
            return Err(MALFORMED);
        }
        let once = once::begin(&mut step.state, event, &principal, &body)?;
        Ok((once == Once::First).then_some(Self { body, principal, roles }))
    }

    /// Refuses who is no admin.
    ///
    /// # Errors
    /// `forbidden`.
    pub(crate) fn require_admin(&self) -> Result<(), Reject> {
        self.roles.require("admins", &self.principal)
    }

    /// Refuses who is neither the owner nor an admin.
    ///
    /// # Errors
    /// `forbidden`.
    pub(crate) fn require_owner(&self, owner: &str) -> Result<(), Reject> {
        if self.principal == owner || self.roles.has("admins", &self.principal) { Ok(()) } else { Err(FORBIDDEN) }
    }

    /// Why it is commanded.
    ///
    /// # Errors
    /// `malformed`: none, or no text.
    pub(crate) fn reason(&self) -> Result<Cow<'a, str>, Reject> {
        self.body.text(REASON, REASON_BYTES_MAX)
    }

    /// Why, of what an owner may do without saying; whoever acts for the owner says it.
    ///
    /// # Errors
    /// `malformed`: no text, or none from somebody else.
    pub(crate) fn reason_of(&self, owner: &str) -> Result<Option<Cow<'a, str>>, Reject> {
        if self.principal == owner {
            self.body.optional_text(REASON, REASON_BYTES_MAX)
        } else {
            self.reason().map(Some)
        }
    }
}
