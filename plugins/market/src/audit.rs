//! What was done by command, by whom and why: a list that is only ever added to.
//!
//! Takes a command that was accepted, with its principal and the reason; keeps one record under the event's index, canonical
//! JSON. Its route gives them to admins in the order of the log, page by page: a record is on one page, whatever comes after.

use alloc::vec::Vec;

use tally_plugin::json::{Array, Object};
use tally_plugin::query::Request;
use tally_plugin::{Event, Manifest, Read, State, Table};

use crate::Caller;

/// Longest reason in bytes.
pub const REASON_BYTES_MAX: usize = 200;

/// Index: what was done there.
const AUDIT: Table = Table::new("audit/");

/// The route's name.
pub const ROUTE: &str = "audit";

/// Rows of a page, if the caller does not say, and at most.
const PAGE_ROWS: u64 = 20;
const PAGE_ROWS_MAX: u64 = 100;

/// Adds the table and the route, under a path of the plugin's own.
#[must_use]
pub fn declare(manifest: Manifest, path: &str) -> Manifest {
    manifest.table(AUDIT).query(ROUTE, path)
}

/// Keeps what was done. `what` has its members; the event's type, entity, place and time stand beside them.
pub fn record(state: &mut State, event: &Event, principal: &str, reason: Option<&str>, what: Object) {
    let record = what.text("action", event.event_type()).text("actor", principal).text("entity", event.entity_id());
    let record = record.number("at", event.sequenced_at()).number("index", event.index());
    let record = reason.into_iter().fold(record, |record, reason| record.text("reason", reason));
    state.set(&AUDIT.key().u64(event.index()), record.finish());
}

/// A page of records for an admin: `limit` of them behind the index `after`.
///
/// # Errors
/// Status and code: 403 `forbidden`, 400 `malformed`.
pub fn page(state: &mut impl Read, request: &Request<'_>, caller: &Caller) -> Result<Vec<u8>, (u16, &'static str)> {
    const MALFORMED: (u16, &str) = (400, "malformed");
    if !caller.has("admin") {
        return Err((403, "forbidden"));
    }
    let limit = request.number("limit").transpose().map_err(|_| MALFORMED)?.unwrap_or(PAGE_ROWS);
    let limit = u32::try_from(limit).ok().filter(|limit| (1..=PAGE_ROWS_MAX).contains(&u64::from(*limit)));
    let limit = limit.ok_or(MALFORMED)?;
    let after = request.number("after").transpose().map_err(|_| MALFORMED)?;
    let all = AUDIT.key().within();
    let range = match after {
        Some(after) => all.after(AUDIT.key().u64(after).as_bytes()),
        None => all,
    };
    let mut rows: Vec<(u64, Vec<u8>)> = Vec::new();
    // One more than asked for says whether a page follows.
    state.scan(&range, limit + 1, |key, row| {
        let index = AUDIT.read(key).and_then(|mut parts| parts.u64());
        rows.extend(index.map(|index| (index, row.into())));
    });
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let shown = rows.iter().fold(Array::new(), |array, (_, row)| array.raw(row)).finish();
    let body = Object::new().raw("rows", &shown);
    Ok(match rows.last().filter(|_| more) {
        Some((last, _)) => body.number("after", *last).finish(),
        None => body.finish(),
    })
}
