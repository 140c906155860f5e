//! What can be asked: one item, one order, pages of both by each index, and the sums.
//!
//! Takes requests as the gateway forms them; gives canonical JSON. A page holds at most 100 rows and a cursor, which is
//! the index's own key, so that the next page begins exactly behind it whatever was written in between.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use tally_plugin::json::{Array, Object};
use tally_plugin::query::{self, Request, cursor, read_cursor, refuse};
use tally_plugin::{Key, Manifest, Range, Read, Snapshot, Table};

use crate::fields::{is_currency, read_agent};
use crate::item::{self, BY_NAME, BY_OWNER, BY_PRICE, ITEMS, Item};
use crate::order::{self, BY_BUYER, BY_ITEM, ORDERS, Order};
use crate::stats;

/// Rows of a page, if the caller does not say, and at most.
const PAGE_ROWS: u64 = 20;
const PAGE_ROWS_MAX: u64 = 100;

/// Numbers that end the scan of a price: one past the largest price.
const PRICE_END: u64 = u64::MAX;

/// Why an answer is not 200: its status and its code.
type Refusal = (u16, &'static str);

/// Adds the routes.
pub(crate) fn declare(manifest: Manifest) -> Manifest {
    manifest
        .query("item", "/items/{sku}")
        .query("items", "/items")
        .query("order", "/orders/{id}")
        .query("orders", "/orders")
        .query("stats", "/stats")
}

/// Answers.
pub(crate) fn answer(state: &mut Snapshot, request: &[u8]) -> Vec<u8> {
    let Some(request) = Request::parse(request) else { return refuse(400, "malformed") };
    let body = match request.route() {
        "item" => one(state, &request, "sku", item::key, |row, sku| Some(Item::decode(row)?.to_json(sku))),
        "order" => one(state, &request, "id", order::key, |row, id| Some(Order::decode(row)?.to_json(id))),
        "items" => items(state, &request),
        "orders" => orders(state, &request),
        "stats" => Ok(stats::to_json(state)),
        _ => Err((404, "no_route")),
    };
    match body {
        Ok(body) => query::answer(200, &body),
        Err((status, code)) => refuse(status, code),
    }
}

fn one(
    state: &mut Snapshot,
    request: &Request<'_>,
    arg: &str,
    key: fn(&str) -> Key,
    show: fn(&[u8], &str) -> Option<Vec<u8>>,
) -> Result<Vec<u8>, Refusal> {
    let id = request.arg(arg).ok_or((400, "malformed"))?;
    let key = key(&id);
    let row = if key.fits() { state.get(&key) } else { None };
    row.and_then(|row| show(&row, &id)).ok_or((404, "not_found"))
}

/// Which index a request asks, its range, and what stands before the primary key's text in its keys.
struct Search {
    index: Table,
    range: Range,
    front: fn(&[u8], Table) -> Option<String>,
}

fn items(state: &mut Snapshot, request: &Request<'_>) -> Result<Vec<u8>, Refusal> {
    let search = if let Some(owner) = agent(request, "owner")? {
        let range = BY_OWNER.key().id(&owner).within();
        Search { index: BY_OWNER, range, front: after_agent }
    } else if let Some(name) = request.arg("name") {
        Search { index: BY_NAME, range: BY_NAME.key().text(&name).within(), front: after_text }
    } else if let Some(currency) = request.arg("currency").filter(|_| !cfg!(feature = "state-1")) {
        Search { index: BY_PRICE, range: prices(request, &currency)?, front: after_price }
    } else {
        Search { index: ITEMS, range: ITEMS.key().within(), front: primary }
    };
    page(state, request, search, item::key, |row, sku| Some(Item::decode(row)?.to_json(sku)))
}

fn orders(state: &mut Snapshot, request: &Request<'_>) -> Result<Vec<u8>, Refusal> {
    let search = if let Some(buyer) = agent(request, "buyer")? {
        Search { index: BY_BUYER, range: BY_BUYER.key().id(&buyer).within(), front: after_agent }
    } else if let Some(sku) = request.arg("sku") {
        Search { index: BY_ITEM, range: BY_ITEM.key().text(&sku).within(), front: after_text }
    } else {
        Search { index: ORDERS, range: ORDERS.key().within(), front: primary }
    };
    page(state, request, search, order::key, |row, id| Some(Order::decode(row)?.to_json(id)))
}

fn prices(request: &Request<'_>, currency: &str) -> Result<Range, Refusal> {
    let bound = |name: &str| request.number(name).transpose().map_err(|_| (400, "malformed"));
    let (from, to) = (bound("price_min")?.unwrap_or(0), bound("price_max")?.unwrap_or(PRICE_END - 1));
    if !is_currency(currency) {
        return Err((400, "malformed"));
    }
    let at = |price: u64| BY_PRICE.key().text(currency).u64(price);
    Ok(Range::between(&at(from), &at(to.saturating_add(1))))
}

fn agent(request: &Request<'_>, name: &str) -> Result<Option<[u8; 16]>, Refusal> {
    request.arg(name).map(|text| read_agent(&text).ok_or((400, "malformed"))).transpose()
}

fn primary(key: &[u8], table: Table) -> Option<String> {
    table.read(key)?.text()
}

fn after_agent(key: &[u8], table: Table) -> Option<String> {
    let mut parts = table.read(key)?;
    parts.id::<16>()?;
    parts.text()
}

fn after_text(key: &[u8], table: Table) -> Option<String> {
    let mut parts = table.read(key)?;
    parts.bytes()?;
    parts.text()
}

fn after_price(key: &[u8], table: Table) -> Option<String> {
    let mut parts = table.read(key)?;
    parts.bytes()?;
    parts.u64()?;
    parts.text()
}

fn page(
    state: &mut Snapshot,
    request: &Request<'_>,
    search: Search,
    key: fn(&str) -> Key,
    show: fn(&[u8], &str) -> Option<Vec<u8>>,
) -> Result<Vec<u8>, Refusal> {
    let limit = request.number("limit").transpose().map_err(|_| (400, "malformed"))?.unwrap_or(PAGE_ROWS);
    if !(1..=PAGE_ROWS_MAX).contains(&limit) {
        return Err((400, "malformed"));
    }
    let range = behind(search.range, request.arg("after"))?;
    let mut found: Vec<Vec<u8>> = Vec::new();
    // One more than asked for says whether a page follows.
    state.scan(&range, limit as u32 + 1, |key, _| found.push(key.into()));
    let more = found.len() as u64 > limit;
    found.truncate(limit as usize);
    let ids: Vec<String> = found.iter().filter_map(|key| (search.front)(key, search.index)).collect();
    let rows = state.get_many(&ids.iter().map(|id| key(id)).collect::<Vec<_>>());
    let shown = ids.iter().zip(&rows).filter_map(|(id, row)| show(row.as_deref()?, id));
    let body = Object::new().raw("rows", &shown.fold(Array::new(), |array, row| array.raw(&row)).finish());
    Ok(match found.last().filter(|_| more) {
        Some(last) => body.text("after", &cursor(last)).finish(),
        None => body.finish(),
    })
}

/// A range from behind a cursor, which must be a key of it.
fn behind(range: Range, after: Option<Cow<'_, str>>) -> Result<Range, Refusal> {
    let Some(after) = after else { return Ok(range) };
    let key = read_cursor(&after).filter(|key| range.contains(key) && key.len() <= Key::BYTES_MAX);
    Ok(range.after(&key.ok_or((400, "malformed"))?))
}
