//! Who may vouch for manifests: public keys of owners and of the platform, registered and revoked by admins.
//!
//! Takes `catalog.signer.registered` and `catalog.signer.revoked`; says whether a key signs for an owner. A revoked key
//! stays revoked; what it signed before stays published, and its provenance says so.

use alloc::string::String;

use tally_market::codes::{MALFORMED, NOT_FOUND, STATE};
use tally_market::{audit, is_principal, once};
use tally_plugin::json::Object;
use tally_plugin::record::{Reader, Writer};
use tally_plugin::{Event, Key, Manifest, Method, Read, Reject, State, Step, Table};

use crate::command::{ACTOR, Command, IDEMPOTENCY_KEY, NEW, REASON};
use crate::manifest::is_signed;

pub(crate) const REGISTERED: &str = "catalog.signer.registered";
pub(crate) const REVOKED: &str = "catalog.signer.revoked";

/// Public key.
pub(crate) const SIGNERS: Table = Table::new("signer/");

/// Whom a platform's key signs for: everybody.
const PLATFORM: &str = "platform";

const SIGNER_BYTES_MAX: usize = 64;

/// A signature that only a key of small order has, and has of every message: R the neutral element, S zero.
const UNIVERSAL_SIGNATURE: [u8; 64] = {
    let mut signature = [0; 64];
    signature[0] = 1;
    signature
};

/// The record's version.
const VERSION: u8 = 1;

/// Adds the events and routes.
pub(crate) fn declare(manifest: Manifest) -> Manifest {
    manifest.event(REGISTERED).event(REVOKED).command("register_signer", Method::Post, "/signers", REGISTERED).command(
        "revoke_signer",
        Method::Post,
        "/signers/revoke",
        REVOKED,
    )
}

/// A registered key's row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Signer {
    pub(crate) name: String,
    /// A principal, or `platform`.
    signs_for: String,
    /// Log time in microseconds; 0 while it is good.
    pub(crate) revoked_at: u64,
}

impl Signer {
    fn key(key: &[u8; 32]) -> Key {
        SIGNERS.key().id(key)
    }

    pub(crate) fn load(state: &mut impl Read, key: &[u8; 32]) -> Option<Self> {
        let row = state.get(&Self::key(key))?;
        let mut row = Reader::new(&row);
        if row.u8()? != VERSION {
            return None;
        }
        let signer = Self { name: row.text()?.into(), signs_for: row.text()?.into(), revoked_at: row.u64()? };
        row.is_empty().then_some(signer)
    }

    fn store(&self, state: &mut State, key: &[u8; 32]) {
        let row = Writer::new().u8(VERSION).text(&self.name).text(&self.signs_for).u64(self.revoked_at);
        state.set(&Self::key(key), row.finish());
    }

    /// Its members in a record.
    fn told(&self, key: &[u8; 32]) -> Object {
        Object::new().text("for", &self.signs_for).hex("key", key).text("signer", &self.name)
    }

    /// Whether it may vouch for what an owner publishes now.
    pub(crate) fn signs_for(&self, owner: &str) -> bool {
        self.revoked_at == 0 && (self.signs_for == owner || self.signs_for == PLATFORM)
    }
}

/// `catalog.signer.registered`.
pub(crate) fn register(step: &mut Step, event: &Event) -> Result<(), Reject> {
    const MEMBERS: [&str; 6] = [ACTOR, "for", IDEMPOTENCY_KEY, "key", REASON, "signer"];
    let Some(command) = Command::read(step, event, &MEMBERS, |id| id == NEW)? else { return Ok(()) };
    command.require_admin()?;
    let (reason, key) = (command.reason()?, command.body.bytes::<32>("key")?);
    let signs_for = command.body.member("for", |json| json.text().filter(|text| is_principal(text)))?;
    let name = command.body.text("signer", SIGNER_BYTES_MAX)?;
    if is_signed(&key, &[0; 32], &UNIVERSAL_SIGNATURE) {
        return Err(MALFORMED);
    }
    if Signer::load(&mut step.state, &key).is_some() {
        return Err(STATE);
    }
    let signer = Signer { name: name.into_owned(), signs_for: signs_for.into_owned(), revoked_at: 0 };
    signer.store(&mut step.state, &key);
    audit::record(&mut step.state, event, &command.principal, Some(&reason), signer.told(&key));
    let result = Object::new().text("for", &signer.signs_for).hex("key", &key).text("signer", &signer.name);
    once::leave(&mut step.state, event, &result.finish());
    Ok(())
}

/// `catalog.signer.revoked`.
pub(crate) fn revoke(step: &mut Step, event: &Event) -> Result<(), Reject> {
    const MEMBERS: [&str; 4] = [ACTOR, IDEMPOTENCY_KEY, "key", REASON];
    let Some(command) = Command::read(step, event, &MEMBERS, |id| id == NEW)? else { return Ok(()) };
    command.require_admin()?;
    let (reason, key) = (command.reason()?, command.body.bytes::<32>("key")?);
    let mut signer = Signer::load(&mut step.state, &key).ok_or(NOT_FOUND)?;
    if signer.revoked_at != 0 {
        return Err(STATE);
    }
    signer.revoked_at = event.sequenced_at();
    signer.store(&mut step.state, &key);
    audit::record(&mut step.state, event, &command.principal, Some(&reason), signer.told(&key));
    let result = Object::new().hex("key", &key).number("revoked_at", signer.revoked_at).text("signer", &signer.name);
    once::leave(&mut step.state, event, &result.finish());
    Ok(())
}
