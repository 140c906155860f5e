//! What can be asked: one SKU, its versions, where a version comes from, results of commands; `search.rs` answers the pages.
//!
//! Takes requests, with a caller where the gateway knows one; gives canonical JSON. Drafts, private parts and who acted are
//! for the owner and for admins; for everybody else an SKU without a published version is not there.

use alloc::string::String;
use alloc::vec::Vec;

use tally_market::{Caller, audit, once};
use tally_plugin::json::{Array, Json, Object};
use tally_plugin::query::{self, Request, refuse};
use tally_plugin::{Manifest, Read, Snapshot};

use crate::manifest::{self, PRIVATE};
use crate::search;
use crate::signer::Signer;
use crate::sku::{self, Said, Sku, VERSIONS, Version};

/// Why an answer is not 200: its status and its code.
pub(crate) type Refusal = (u16, &'static str);

pub(crate) const MALFORMED: Refusal = (400, "malformed");
const NOT_FOUND: Refusal = (404, "not_found");

/// Rows of a page, if the caller does not say, and at most.
const PAGE_ROWS: u64 = 20;
const PAGE_ROWS_MAX: u64 = 100;

/// Adds the routes.
pub(crate) fn declare(manifest: Manifest) -> Manifest {
    manifest
        .query("skus", "/sku")
        .query("sku", "/sku/{id}")
        .query("versions", "/sku/{id}/versions")
        .query("provenance", "/sku/{id}/versions/{version}")
}

/// Answers.
pub(crate) fn answer(state: &mut Snapshot, bytes: &[u8]) -> Vec<u8> {
    let Some(request) = Request::parse(bytes) else { return refuse(MALFORMED.0, MALFORMED.1) };
    let body = match request.route() {
        "skus" => search::answer(state, &request),
        "sku" => Asked::read(state, &request, bytes).and_then(|asked| asked.sku(state)),
        "versions" => Asked::read(state, &request, bytes).and_then(|asked| asked.versions(state, &request)),
        "provenance" => Asked::read(state, &request, bytes).and_then(|asked| asked.provenance(state, &request)),
        audit::ROUTE => audit::page(state, &request, &Caller::of(bytes)),
        "result" => number(&request, "index").and_then(|index| once::result(state, index).ok_or(NOT_FOUND)),
        _ => Err((404, "no_route")),
    };
    match body {
        Ok(body) => query::answer(200, &body),
        Err((status, code)) => refuse(status, code),
    }
}

/// Rows that a page may have.
pub(crate) fn limit(request: &Request<'_>) -> Result<usize, Refusal> {
    let limit = request.number("limit").transpose().map_err(|_| MALFORMED)?.unwrap_or(PAGE_ROWS);
    let limit = Some(limit).filter(|limit| (1..=PAGE_ROWS_MAX).contains(limit));
    limit.and_then(|limit| usize::try_from(limit).ok()).ok_or(MALFORMED)
}

/// A number in the path; what is none names nothing.
fn number(request: &Request<'_>, name: &str) -> Result<u64, Refusal> {
    request.number(name).and_then(Result::ok).ok_or(NOT_FOUND)
}

/// An SKU that is there for whoever asks.
struct Asked {
    id: String,
    sku: Sku,
    /// Whether the caller is the owner or an admin.
    is_privileged: bool,
}

impl Asked {
    fn read(state: &mut Snapshot, request: &Request<'_>, bytes: &[u8]) -> Result<Self, Refusal> {
        let id = request.arg("id").filter(|id| sku::is_id(id)).ok_or(NOT_FOUND)?.into_owned();
        let sku = Sku::load(state, &id).ok_or(NOT_FOUND)?;
        let caller = Caller::of(bytes);
        let is_privileged = caller.is(&sku.owner) || caller.has("admin");
        if sku.published > 0 || is_privileged { Ok(Self { id, sku, is_privileged }) } else { Err(NOT_FOUND) }
    }

    /// The newest version, or what is going to be the first.
    fn sku(&self, state: &mut Snapshot) -> Result<Vec<u8>, Refusal> {
        let number = self.sku.published.max(1);
        let said = Said::load(state, &self.id, number).ok_or(NOT_FOUND)?;
        let manifest = said.json().ok_or(NOT_FOUND)?;
        let body = manifest.entries().fold(Object::new(), |body, (name, json)| body.raw(&name, json.raw().as_bytes()));
        let body = body.text("owner", &self.sku.owner).text("sku", &self.id).text("status", self.sku.status());
        let body = body.number("created_at", self.sku.created_at).number("version", number);
        let body = match Version::load(state, &self.id, number) {
            Some(version) => self.with_signature(state, body, &version),
            None => body,
        };
        let body = self.with_private(body, &said);
        Ok(self.with_draft(state, self.with_retirement(body)).finish())
    }

    fn versions(&self, state: &mut Snapshot, request: &Request<'_>) -> Result<Vec<u8>, Refusal> {
        let limit = limit(request)?;
        let after = request.number("after").transpose().map_err(|_| MALFORMED)?.unwrap_or(0);
        let range = VERSIONS.key().text(&self.id).within().after(Version::key(&self.id, after).as_bytes());
        let mut rows: Vec<(u64, Version)> = Vec::new();
        let read = |key: &[u8], row: &[u8]| {
            let mut parts = VERSIONS.read(key)?;
            parts.text()?;
            Some((parts.u64()?, Version::decode(row)?))
        };
        // One more than asked for says whether a page follows.
        state.scan(&range, limit as u32 + 1, |key, row| rows.extend(read(key, row)));
        let more = rows.len() > limit;
        rows.truncate(limit);
        let shown = rows.iter().fold(Array::new(), |array, (number, version)| array.raw(&show(*number, version)));
        let body = Object::new().raw("rows", &shown.finish()).text("sku", &self.id).text("status", self.sku.status());
        Ok(match rows.last().filter(|_| more) {
            Some((last, _)) => body.number("after", *last).finish(),
            None => body.finish(),
        })
    }

    /// All that somebody needs to check a version's signature without asking anybody.
    fn provenance(&self, state: &mut Snapshot, request: &Request<'_>) -> Result<Vec<u8>, Refusal> {
        let number = number(request, "version")?;
        let version = Version::load(state, &self.id, number).ok_or(NOT_FOUND)?;
        let said = Said::load(state, &self.id, number).ok_or(NOT_FOUND)?;
        let artifacts = said.json().and_then(|json| json.get("artifacts")).map_or("[]", Json::raw);
        let body = Object::new()
            .raw("artifacts", artifacts.as_bytes())
            .raw("manifest", &manifest::canonical(&said.manifest, &self.sku.owner, &self.id, number))
            .text("sku", &self.id)
            .text("status", self.sku.status())
            .number("version", number);
        let body = self.with_private(self.with_signature(state, body, &version), &said);
        Ok(if self.is_privileged { body.text("published_by", &version.published_by).finish() } else { body.finish() })
    }

    fn with_signature(&self, state: &mut Snapshot, body: Object, version: &Version) -> Object {
        let body = body
            .hex("key", &version.key)
            .hex("manifest_sha256", &version.manifest_sha256)
            .hex("manifest_signature_id", &version.signature_id)
            .number("published_at", version.published_at)
            .hex("signature", &version.signature)
            .text("signer", &version.signer);
        match Signer::load(state, &version.key) {
            Some(signer) if signer.revoked_at > 0 => body.number("key_revoked_at", signer.revoked_at),
            _ => body,
        }
    }

    fn with_private(&self, body: Object, said: &Said) -> Object {
        if self.is_privileged && !said.private.is_empty() { body.raw(PRIVATE, &said.private) } else { body }
    }

    fn with_retirement(&self, body: Object) -> Object {
        let Some(end) = &self.sku.retirement else { return body };
        let shown = Object::new().number("at", end.at).text("reason", &end.reason);
        let shown = if self.is_privileged { shown.text("by", &end.by) } else { shown };
        body.raw("retired", &shown.finish())
    }

    /// The draft of the version after the one that is shown.
    fn with_draft(&self, state: &mut Snapshot, body: Object) -> Object {
        let number = self.sku.next_version();
        if !self.is_privileged || !self.sku.has_draft || number == 1 {
            return body;
        }
        let Some(said) = Said::load(state, &self.id, number) else { return body };
        let draft = Object::new().raw("manifest", &said.manifest).number("version", number);
        body.raw("draft", &self.with_private(draft, &said).finish())
    }
}

/// One row of the list of versions.
fn show(number: u64, version: &Version) -> Vec<u8> {
    Object::new()
        .number("amount", version.amount)
        .text("currency", &version.currency)
        .hex("manifest_sha256", &version.manifest_sha256)
        .hex("manifest_signature_id", &version.signature_id)
        .number("published_at", version.published_at)
        .text("signer", &version.signer)
        .number("version", number)
        .finish()
}
