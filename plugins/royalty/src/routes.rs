//! What can be asked, and by whom.
//!
//! Takes requests as the gateway forms them, with the caller it has authenticated; gives canonical JSON, in pages of at
//! most 100 rows. A statement or a schedule is shown to the party whose name the caller has as principal, and to the
//! roles `admin`, `finance` and `service`; the books and journals to those roles alone. Everybody else gets 403,
//! whether there is something or not.

use alloc::vec::Vec;

use tally_market::{Caller, hex, once};
use tally_plugin::json::{Array, Object};
use tally_plugin::query::{self, Request, cursor, read_cursor, refuse};
use tally_plugin::{Key, Manifest, Range, Read, Snapshot};

use crate::chain::Head;
use crate::correction::Correction;
use crate::journal::JOURNALS;
use crate::payout::Payout;
use crate::plans::Plan;
use crate::{books, faults, journal, settle, statement};

/// Rows of a page, if the caller does not say, and at most.
const PAGE_ROWS: u64 = 50;
const PAGE_ROWS_MAX: u64 = 100;

/// Why an answer is not 200: its status and its code.
pub(crate) type Refusal = (u16, &'static str);

pub(crate) const MALFORMED: Refusal = (400, "malformed");
const FORBIDDEN: Refusal = (403, "forbidden");
const NOT_FOUND: Refusal = (404, "not_found");

/// Adds the routes.
pub(crate) fn declare(manifest: Manifest) -> Manifest {
    manifest
        .query("books", "/books")
        .query("correction", "/correction/{id}")
        .query("faults", "/faults")
        .query("journal", "/journal/{id}")
        .query("journals", "/journals")
        .query("ledger", "/ledger")
        .query("payout", "/payout/{id}")
        .query("plan", "/owner/{ownerId}/schedule")
        .query("statement", "/owner/{ownerId}/sales")
}

/// Answers.
pub(crate) fn answer(state: &mut Snapshot, request: &[u8]) -> Vec<u8> {
    let caller = Caller::of(request);
    let Some(request) = Request::parse(request) else { return refuse(400, "malformed") };
    let privileged = ["admin", "finance", "service"].iter().any(|role| caller.has(role));
    let body = match request.route() {
        "result" => result(state, &request),
        "plan" | "statement" => owner(state, &request, &caller, privileged),
        "payout" => payout(state, &request, &caller, privileged),
        "books" | "correction" | "faults" | "journal" | "journals" | "ledger" if !privileged => Err(FORBIDDEN),
        "books" => books::answer(state, &request),
        "faults" => list(state, &request, faults::FAULTS.key().within(), faults::to_json),
        "journal" => one_journal(state, &request),
        "journals" => journals(state, &request),
        "correction" => correction(state, &request),
        "ledger" => Ok(ledger(state)),
        _ => Err((404, "no_route")),
    };
    match body {
        Ok(body) => query::answer(200, &body),
        Err((status, code)) => refuse(status, code),
    }
}

/// A parameter that is a number, if it is there.
pub(crate) fn number(request: &Request<'_>, name: &str) -> Result<Option<u64>, Refusal> {
    request.number(name).transpose().map_err(|_| MALFORMED)
}

fn id(request: &Request<'_>) -> Result<[u8; 32], Refusal> {
    request.arg("id").and_then(|id| hex::decode(&id)).ok_or(MALFORMED)
}

fn result(state: &mut Snapshot, request: &Request<'_>) -> Result<Vec<u8>, Refusal> {
    let index = number(request, "index")?.ok_or(MALFORMED)?;
    once::result(state, index).ok_or(NOT_FOUND)
}

fn owner(state: &mut Snapshot, request: &Request<'_>, caller: &Caller, privileged: bool) -> Result<Vec<u8>, Refusal> {
    let owner = request.arg("ownerId").ok_or(MALFORMED)?;
    if !privileged && !caller.is(&owner) {
        return Err(FORBIDDEN);
    }
    if !crate::parties::is_party(&owner) {
        return Err(MALFORMED);
    }
    if request.route() == "statement" {
        return statement::answer(state, request, &owner);
    }
    let currency = request.arg("currency").filter(|text| statement::is_currency(text)).ok_or(MALFORMED)?;
    Plan::load(state, &owner, &currency).map(|plan| plan.to_json()).ok_or(NOT_FOUND)
}

fn payout(state: &mut Snapshot, request: &Request<'_>, caller: &Caller, privileged: bool) -> Result<Vec<u8>, Refusal> {
    let id = id(request)?;
    match Payout::load(state, &id) {
        Some(payout) if privileged || caller.is(&payout.party) || caller.is(&payout.initiator) => {
            Ok(payout.to_json(&id))
        }
        None if privileged => Err(NOT_FOUND),
        _ => Err(FORBIDDEN),
    }
}

fn one_journal(state: &mut Snapshot, request: &Request<'_>) -> Result<Vec<u8>, Refusal> {
    let id = id(request)?;
    let key = journal::find(state, &id).ok_or(NOT_FOUND)?;
    let row = state.get(&key).ok_or(NOT_FOUND)?;
    let root = journal::root(&row).unwrap_or_default();
    Ok(journal::to_json(key.as_bytes(), &row, |id, object| {
        let object = object.hex("root", &root);
        match state.get(&settle::key(id)) {
            Some(proof) => object.raw("proof", &proof),
            None => object,
        }
    }))
}

fn correction(state: &mut Snapshot, request: &Request<'_>) -> Result<Vec<u8>, Refusal> {
    let id = id(request)?;
    Correction::load(state, &id).map(|correction| correction.to_json(&id)).ok_or(NOT_FOUND)
}

/// Where the chain of journals ends.
fn ledger(state: &mut Snapshot) -> Vec<u8> {
    let head = Head::load(state);
    Object::new().number("count", head.count).hex("root", &head.root).finish()
}

/// In the order of the log, from `from` up to, but without, `to`; with the roots of the chain on both sides of the page.
fn journals(state: &mut Snapshot, request: &Request<'_>) -> Result<Vec<u8>, Refusal> {
    let (from, to) = (number(request, "from")?.unwrap_or(0), number(request, "to")?.unwrap_or(u64::MAX));
    if from > to {
        return Err(MALFORMED);
    }
    let range = Range::between(&JOURNALS.key().u64(from), &JOURNALS.key().u64(to));
    let page = Page::of(state, request, range)?;
    // Of a page without rows: what follows the cursor.
    let first = page.rows.first().map(|(key, _)| key.clone());
    let first = first.or_else(|| page.after.as_ref().map(|key| [key.as_slice(), &[0]].concat()));
    let first = first.unwrap_or_else(|| JOURNALS.key().u64(from).as_bytes().into());
    let before = root_before(state, &first);
    let root = page.rows.last().and_then(|(_, row)| journal::root(row)).unwrap_or(before);
    let shown = page.rows.iter().map(|(key, row)| journal::to_json(key, row, |_, object| object));
    let rows = shown.fold(Array::new(), |array, row| array.raw(&row)).finish();
    Ok(page.close(Object::new().hex("before", &before).hex("root", &root).raw("rows", &rows)))
}

/// The root after the last journal before a key.
fn root_before(state: &mut impl Read, key: &[u8]) -> [u8; 32] {
    let range = JOURNALS.key().within().reversed().after(key);
    let last = state.page(&range, 1);
    last.iter().next().and_then(|(_, row)| journal::root(row)).unwrap_or_default()
}

fn list(
    state: &mut Snapshot,
    request: &Request<'_>,
    range: Range,
    show: impl Fn(&[u8], &[u8]) -> Option<Vec<u8>>,
) -> Result<Vec<u8>, Refusal> {
    let page = Page::of(state, request, range)?;
    let shown = page.rows.iter().filter_map(|(key, row)| show(key, row));
    let rows = shown.fold(Array::new(), |array, row| array.raw(&row)).finish();
    Ok(page.close(Object::new().raw("rows", &rows)))
}

/// Rows between two cursors.
pub(crate) struct Page {
    pub(crate) rows: Vec<(Vec<u8>, Vec<u8>)>,
    /// The key that the page comes after.
    pub(crate) after: Option<Vec<u8>>,
    /// The last key, if more follow.
    pub(crate) next: Option<Vec<u8>>,
}

impl Page {
    /// As a request asks: `limit` rows of a range, after a cursor.
    pub(crate) fn of(state: &mut impl Read, request: &Request<'_>, range: Range) -> Result<Self, Refusal> {
        let (limit, after) = Self::asked(request)?;
        let range = match &after {
            Some(key) if !range.contains(key) => return Err(MALFORMED),
            Some(key) => range.after(key),
            None => range,
        };
        Ok(Self::fill(state, &[range], limit, after))
    }

    /// The same of two ranges, of which the first comes first.
    pub(crate) fn of_two(state: &mut impl Read, request: &Request<'_>, ranges: [Range; 2]) -> Result<Self, Refusal> {
        let (limit, after) = Self::asked(request)?;
        let ranges = match &after {
            Some(key) if ranges[0].contains(key) => {
                let [first, second] = ranges;
                Vec::from([first.after(key), second])
            }
            Some(key) if ranges[1].contains(key) => {
                let [_, second] = ranges;
                Vec::from([second.after(key)])
            }
            Some(_) => return Err(MALFORMED),
            None => Vec::from(ranges),
        };
        Ok(Self::fill(state, &ranges, limit, after))
    }

    fn asked(request: &Request<'_>) -> Result<(usize, Option<Vec<u8>>), Refusal> {
        let limit = number(request, "limit")?.unwrap_or(PAGE_ROWS);
        let limit = usize::try_from(limit).ok().filter(|_| (1..=PAGE_ROWS_MAX).contains(&limit)).ok_or(MALFORMED)?;
        let Some(after) = request.arg("after") else { return Ok((limit, None)) };
        let key = read_cursor(&after).filter(|key| key.len() <= Key::BYTES_MAX).ok_or(MALFORMED)?;
        Ok((limit, Some(key)))
    }

    fn fill(state: &mut impl Read, ranges: &[Range], limit: usize, after: Option<Vec<u8>>) -> Self {
        let mut rows: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        for range in ranges {
            // One more than asked for says whether a page follows.
            let wanted = u32::try_from(limit + 1 - rows.len()).unwrap_or(0);
            state.scan(range, wanted, |key, row| rows.push((key.into(), row.into())));
        }
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|(key, _)| key.clone());
        Self { rows, after, next }
    }

    /// The body, with the cursor of the next page if there is one.
    pub(crate) fn close(&self, body: Object) -> Vec<u8> {
        match &self.next {
            Some(next) => body.text("after", &cursor(next)).finish(),
            None => body.finish(),
        }
    }
}
