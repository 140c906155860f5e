//! Draft, published, retired: the only way an SKU goes.
//!
//! Takes the three commands of owner and admins; gives versions that never change, and says to the others what is for
//! sale. A version is published only with a signature over its manifest by a key that may vouch for the owner then.

use alloc::vec::Vec;

use tally_market::codes::{IMMUTABLE, INVALID_MANIFEST, MALFORMED, NOT_FOUND, STATE};
use tally_market::{Body, audit, once};
use tally_plugin::json::{Json, Object};
use tally_plugin::{Event, Manifest as Declared, Method, Reject, State, Step, crypto};

use crate::command::{ACTOR, Command, IDEMPOTENCY_KEY, REASON};
use crate::index;
use crate::manifest::{self, MEMBERS, Manifest, PRIVATE};
use crate::offer::Offer;
use crate::signer::Signer;
use crate::sku::{self, Retirement, Said, Sku, Version};
use crate::split::Flat;

pub(crate) const DRAFTED: &str = "catalog.sku.drafted";
pub(crate) const PUBLISHED: &str = "catalog.sku.published";
pub(crate) const RETIRED: &str = "catalog.sku.retired";

/// Label of the id that a version's signature gets.
const SIGNATURE_LABEL: &str = "manifest_signature";

/// Adds the events and routes.
pub(crate) fn declare(manifest: Declared) -> Declared {
    manifest
        .event(DRAFTED)
        .event(PUBLISHED)
        .event(RETIRED)
        .command("draft", Method::Post, "/sku/{id}", DRAFTED)
        .command("publish", Method::Post, "/sku/{id}/publish", PUBLISHED)
        .command("retire", Method::Post, "/sku/{id}/retire", RETIRED)
}

/// `catalog.sku.drafted`.
pub(crate) fn draft(step: &mut Step, event: &Event) -> Result<(), Reject> {
    let members: Vec<&str> = MEMBERS.into_iter().chain([ACTOR, IDEMPOTENCY_KEY, PRIVATE, REASON]).collect();
    let Some(command) = Command::read(step, event, &members, sku::is_id)? else { return Ok(()) };
    let id = event.entity_id();
    let mut sku = match Sku::load(&mut step.state, id) {
        Some(sku) => sku,
        None => Sku {
            owner: command.principal.clone(),
            created_at: event.sequenced_at(),
            published: 0,
            has_draft: false,
            retirement: None,
        },
    };
    command.require_owner(&sku.owner)?;
    let reason = command.reason_of(&sku.owner)?;
    if sku.retirement.is_some() {
        return Err(STATE);
    }
    let price = price(Object::new(), &Manifest::read(&command.body)?);
    let private = command.body.optional(PRIVATE, |json| json.is_object().then_some(json.raw()))?;
    let said = Said {
        manifest: manifest::signed_members(&command.body),
        private: private.map_or_else(Vec::new, |private| private.as_bytes().to_vec()),
    };
    let version = sku.next_version();
    said.store(&mut step.state, id, version);
    sku.has_draft = true;
    sku.store(&mut step.state, id);
    let digest = crypto::sha256(&manifest::canonical(&said.manifest, &sku.owner, id, version));
    let what = price.hex("manifest_sha256", &digest).number("version", version);
    audit::record(&mut step.state, event, &command.principal, reason.as_deref(), what);
    let result = Object::new().hex("manifest_sha256", &digest).text("owner", &sku.owner).text("sku", id);
    once::leave(&mut step.state, event, &result.text("status", sku.status()).number("version", version).finish());
    Ok(())
}

/// `catalog.sku.published`.
pub(crate) fn publish(step: &mut Step, event: &Event) -> Result<(), Reject> {
    const NAMES: [&str; 7] = [ACTOR, IDEMPOTENCY_KEY, "key", "manifest_sha256", REASON, "signature", "version"];
    let Some(command) = Command::read(step, event, &NAMES, sku::is_id)? else { return Ok(()) };
    let vouched = Vouched::read(&command.body)?;
    let id = event.entity_id();
    let mut sku = Sku::load(&mut step.state, id).ok_or(NOT_FOUND)?;
    command.require_owner(&sku.owner)?;
    let reason = command.reason_of(&sku.owner)?;
    check_is_next(&sku, vouched.version)?;
    let said = Said::load(&mut step.state, id, vouched.version).ok_or(STATE)?;
    let signer = vouched.check(&mut step.state, &said, &sku.owner, id)?;
    let manifest = read_back(&said)?;
    let flat = manifest.split.resolve(&mut step.state, id)?;
    let version = Version {
        published_at: event.sequenced_at(),
        published_by: command.principal.clone(),
        manifest_sha256: vouched.manifest,
        signer: signer.name,
        key: vouched.key,
        signature: vouched.signature,
        signature_id: step.id(SIGNATURE_LABEL),
        amount: manifest.amount,
        currency: manifest.currency.clone().into_owned(),
    };
    let what = with_price_before(&mut step.state, price(Object::new(), &manifest), id, sku.published);
    let what = what.hex("manifest_sha256", &version.manifest_sha256).number("version", vouched.version);
    audit::record(&mut step.state, event, &command.principal, reason.as_deref(), what);
    sku.published = vouched.version;
    sku.has_draft = false;
    sku.store(&mut step.state, id);
    version.store(&mut step.state, id, vouched.version);
    flat.store(&mut step.state, id, vouched.version);
    index::list(&mut step.state, id, &sku, &manifest, &version);
    Offer { id, sku: &sku, manifest: &manifest, version: &version, flat: &flat }.emit(step);
    leave_published(&mut step.state, event, &sku, &version);
    Ok(())
}

/// `catalog.sku.retired`.
pub(crate) fn retire(step: &mut Step, event: &Event) -> Result<(), Reject> {
    let Some(command) = Command::read(step, event, &[ACTOR, IDEMPOTENCY_KEY, REASON], sku::is_id)? else {
        return Ok(());
    };
    let reason = command.reason()?.into_owned();
    let id = event.entity_id();
    let mut sku = Sku::load(&mut step.state, id).ok_or(NOT_FOUND)?;
    command.require_owner(&sku.owner)?;
    if !sku.is_for_sale() {
        return Err(STATE);
    }
    let what = Object::new().number("version", sku.published);
    audit::record(&mut step.state, event, &command.principal, Some(&reason), what);
    sku.retirement = Some(Retirement { at: event.sequenced_at(), by: command.principal.clone(), reason });
    sku.store(&mut step.state, id);
    index::unlist(&mut step.state, id);
    let said = Said::load(&mut step.state, id, sku.published).ok_or(STATE)?;
    let version = Version::load(&mut step.state, id, sku.published).ok_or(STATE)?;
    let flat = Flat::load(&mut step.state, id, sku.published).ok_or(STATE)?;
    Offer { id, sku: &sku, manifest: &read_back(&said)?, version: &version, flat: &flat }.emit(step);
    let result = Object::new().text("sku", id).text("status", sku.status()).number("version", sku.published);
    once::leave(&mut step.state, event, &result.finish());
    Ok(())
}

/// What a version costs, in a record.
fn price(what: Object, manifest: &Manifest<'_>) -> Object {
    what.number("amount", manifest.amount).text("currency", &manifest.currency)
}

/// And what the version before costs, if there is one.
fn with_price_before(state: &mut State, what: Object, id: &str, published: u64) -> Object {
    match Version::load(state, id, published) {
        Some(before) => what.number("amount_before", before.amount).text("currency_before", &before.currency),
        None => what,
    }
}

/// What was said when it was drafted, and was checked then.
fn read_back(said: &Said) -> Result<Manifest<'_>, Reject> {
    let json = Json::parse(&said.manifest).map_err(|_| INVALID_MANIFEST)?;
    Manifest::read(&Body::within(json, &MEMBERS)?)
}

fn check_is_next(sku: &Sku, version: u64) -> Result<(), Reject> {
    if version == 0 {
        return Err(MALFORMED);
    }
    if version <= sku.published {
        return Err(IMMUTABLE);
    }
    let is_next = sku.retirement.is_none() && sku.has_draft && version == sku.next_version();
    if is_next { Ok(()) } else { Err(STATE) }
}

/// A version, and the signature that vouches for its manifest.
struct Vouched {
    version: u64,
    /// Its SHA-256, which is public.
    manifest: [u8; 32],
    key: [u8; 32],
    signature: [u8; 64],
}

impl Vouched {
    fn read(body: &Body<'_>) -> Result<Self, Reject> {
        Ok(Self {
            version: body.number("version")?,
            manifest: body.bytes("manifest_sha256")?,
            key: body.bytes("key")?,
            signature: body.bytes("signature")?,
        })
    }

    /// Holds it against what was drafted; gives who signed.
    fn check(&self, state: &mut State, said: &Said, owner: &str, sku: &str) -> Result<Signer, Reject> {
        let drafted = crypto::sha256(&manifest::canonical(&said.manifest, owner, sku, self.version));
        let signer = Signer::load(state, &self.key).filter(|signer| signer.signs_for(owner));
        let holds = drafted == self.manifest && manifest::is_signed(&self.key, &drafted, &self.signature);
        signer.filter(|_| holds).ok_or(INVALID_MANIFEST)
    }
}

fn leave_published(state: &mut State, event: &Event, sku: &Sku, version: &Version) {
    let result = Object::new()
        .hex("manifest_sha256", &version.manifest_sha256)
        .hex("manifest_signature_id", &version.signature_id)
        .text("sku", event.entity_id())
        .text("status", sku.status())
        .number("version", sku.published);
    once::leave(state, event, &result.finish());
}
