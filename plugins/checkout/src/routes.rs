//! What can be asked: one order, a buyer's orders, what somebody must look at, and results of commands.
//!
//! Takes requests as the gateway forms them, with the caller; gives canonical JSON. Of an order everybody may see its id and
//! status; the rest is for its buyer, the SKU's owner, and the roles admin, finance and service.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use tally_market::{Caller, audit, hex, once};
use tally_plugin::json::{Array, Object};
use tally_plugin::query::{self, Request, cursor, read_cursor, refuse};
use tally_plugin::{Key, Manifest, Method, Range, Read, Snapshot, Table};

use crate::aside::{self, ASIDE, Aside};
use crate::delivery::{self, Delivery};
use crate::fact::{self, OBJECTS, PARKED, Parked, Thing};
use crate::money::{self, Totals};
use crate::order::{self, BUYERS, OPTIONS, ORDERS, Order};
use crate::payment::{self, EXCEPTIONS, Payment};
use crate::refund::{REFUNDS, Refund, Stage};

/// Rows of a page, if the caller does not say, and at most.
const PAGE_ROWS: u64 = 20;
const PAGE_ROWS_MAX: u64 = 100;
/// Refunds and disputes of one payment that an order shows, the first by their ids.
const SHOWN_MAX: u32 = 256;
/// And those that wait for their payment, of which a page has many.
const PARKED_SHOWN_MAX: u32 = 16;

/// Why an answer is not 200: its status and its code.
type Refusal = (u16, &'static str);
const MALFORMED: Refusal = (400, "malformed");
const FORBIDDEN: Refusal = (403, "forbidden");
const NOT_FOUND: Refusal = (404, "not_found");

/// Adds the routes.
pub(crate) fn declare(manifest: Manifest) -> Manifest {
    manifest
        .query("order", "/order/{id}")
        .query("orders", "/orders")
        .query("exceptions", "/exceptions")
        .query("parked", "/facts/parked")
        .query("unmatched", "/facts/unmatched")
        .command("purchase", Method::Post, "/purchase", "checkout.order.created")
        .command("quote", Method::Post, "/quote", "checkout.quote.requested")
        .command("cancel", Method::Post, "/order/{id}/cancel", "checkout.order.canceled")
        .command("fulfil", Method::Post, "/order/{id}/fulfil", "checkout.order.fulfilled")
        .command("refund", Method::Post, "/refund/{orderId}", "checkout.refund.requested")
        .command("promotion", Method::Post, "/promotions", "checkout.promotion.created")
        .command("promotion_end", Method::Post, "/promotions/end", "checkout.promotion.ended")
}

/// Answers.
pub(crate) fn answer(state: &mut Snapshot, bytes: &[u8]) -> Vec<u8> {
    let Some(request) = Request::parse(bytes) else { return refuse(400, "malformed") };
    let caller = Caller::of(bytes);
    let body = match request.route() {
        "order" => one(state, &request, &caller),
        "orders" => orders(state, &request, &caller),
        "exceptions" => exceptions(state, &request, &caller),
        "parked" => parked(state, &request, &caller),
        "unmatched" => unmatched(state, &request, &caller),
        audit::ROUTE => audit::page(state, &request, &caller),
        "result" => result(state, &request),
        _ => Err((404, "no_route")),
    };
    match body {
        Ok(body) => query::answer(200, &body),
        Err((status, code)) => refuse(status, code),
    }
}

fn result(state: &mut Snapshot, request: &Request<'_>) -> Result<Vec<u8>, Refusal> {
    let index = request.number("index").ok_or(MALFORMED)?.map_err(|_| MALFORMED)?;
    once::result(state, index).ok_or(NOT_FOUND)
}

fn one(state: &mut Snapshot, request: &Request<'_>, caller: &Caller) -> Result<Vec<u8>, Refusal> {
    let id: [u8; 32] = request.arg("id").and_then(|id| hex::decode(&id)).ok_or(NOT_FOUND)?;
    let order = state.get(&order::key(&id)).and_then(|row| Order::decode(&row)).ok_or(NOT_FOUND)?;
    let public = Object::new().hex("order", &id).text("status", money::status(&order));
    if !may_see(caller, &order) {
        return Ok(public.finish());
    }
    let shown = summary(public, &order);
    let found = state.get_many(&[OPTIONS.key().id(&id), delivery::key(&id)]);
    let [options, delivered] = <[_; 2]>::try_from(found).unwrap_or_default();
    let delivered = delivered.and_then(|row| Delivery::decode(&row));
    let shown = delivered.iter().fold(shown, |shown, delivered| shown.raw("delivery", &delivered.show()));
    let shown = options.into_iter().fold(shown, |shown, options| shown.raw("licence_options", &options));
    Ok(with_objects(state, shown, &id, &order).finish())
}

fn may_see(caller: &Caller, order: &Order) -> bool {
    let role = ["admin", "finance", "service"].into_iter().any(|role| caller.has(role));
    role || caller.is(&order.buyer) || caller.is(&order.terms.offer.owner)
}

/// What an order's own row says.
fn summary(object: Object, order: &Order) -> Object {
    let totals = Totals::of(order);
    let told = Object::new()
        .number("captured", totals.captured)
        .number("dispute_lost", totals.dispute_lost)
        .number("dispute_open", totals.dispute_open)
        .number("refund_pending", totals.pending)
        .number("refunded", totals.refunded);
    let object = order.terms.show(object).text("buyer", &order.buyer).text("state", order.state.name());
    let object = object.text("money", totals.view()).raw("totals", &told.finish());
    let object = object.number("created_at", order.created_at).number("expires_at", order.deadline);
    let object = object.number("index", order.index).bool("finance_confirmed", order.confirmed);
    let object = order.quote.iter().fold(object, |object, hash| object.hex("quote_hash", hash));
    order.paid_by.iter().fold(object, |object, payment| object.text("payment", payment))
}

/// What the provider knows of it.
fn with_objects(state: &mut Snapshot, object: Object, id: &[u8; 32], order: &Order) -> Object {
    let rows = state.get_many(&order.payments.iter().map(|id| payment::key(id)).collect::<Vec<_>>());
    let (mut payments, mut refunds, mut disputes) = (Array::new(), Array::new(), Array::new());
    for (payment_id, row) in order.payments.iter().zip(rows) {
        let Some(payment) = row.and_then(|row| Payment::decode(&row)) else { continue };
        payments = payments.raw(&show_payment(payment_id, &payment));
        state.scan(&OBJECTS.key().text(payment_id).within(), SHOWN_MAX, |key, row| {
            let (Some((dispute, id)), Some(thing)) = (fact::read_key(key), Thing::decode(row)) else { return };
            let list = if dispute { &mut disputes } else { &mut refunds };
            *list = core::mem::take(list).raw(&show_thing(payment_id, &id, &thing));
        });
    }
    state.scan(&REFUNDS.key().id(id).within(), SHOWN_MAX, |key, row| {
        let refund = REFUNDS.read(key).and_then(|mut parts| parts.id::<32>().and_then(|_| parts.id::<32>()));
        let (Some(refund), Some(row)) = (refund, Refund::decode(row)) else { return };
        if row.stage != Stage::Bound {
            refunds = core::mem::take(&mut refunds).raw(&show_refund(&refund, &row));
        }
    });
    let object = object.raw("disputes", &disputes.finish()).raw("payments", &payments.finish());
    object.raw("refunds", &refunds.finish())
}

fn show_payment(id: &str, payment: &Payment) -> Vec<u8> {
    let object = Object::new().text("id", id).text("state", payment.known.shown());
    if payment.is_captured() {
        object.number("amount", payment.amount).text("currency", &payment.currency).finish()
    } else {
        object.finish()
    }
}

fn show_thing(payment: &str, id: &str, thing: &Thing) -> Vec<u8> {
    let object = Object::new().number("amount", thing.amount).text("id", id).text("payment", payment);
    let object = thing.ours.iter().fold(object, |object, refund| object.hex("refund", refund));
    object.text("state", thing.known.shown()).finish()
}

fn show_refund(refund: &[u8; 32], row: &Refund) -> Vec<u8> {
    let state = if row.stage == Stage::Refused { "failed" } else { "pending" };
    let object = Object::new().number("amount", row.amount).text("payment", &row.payment).hex("refund", refund);
    object.text("state", state).finish()
}

/// The caller's orders; of an admin: those of the named buyer, or all.
fn orders(state: &mut Snapshot, request: &Request<'_>, caller: &Caller) -> Result<Vec<u8>, Refusal> {
    let (buyer, admin) = (request.arg("buyer"), caller.has("admin"));
    let (range, table): (Range, Table) = match &buyer {
        Some(buyer) if admin || caller.is(buyer) => (BUYERS.key().text(buyer).within(), BUYERS),
        None if admin => (ORDERS.key().within(), ORDERS),
        None if caller.principal().is_some() => {
            (BUYERS.key().text(caller.principal().unwrap_or_default()).within(), BUYERS)
        }
        _ => return Err(FORBIDDEN),
    };
    page(state, request, range, |state, keys| {
        let ids: Vec<[u8; 32]> = keys.iter().filter_map(|key| order_of(key, table)).collect();
        let rows = state.get_many(&ids.iter().map(order::key).collect::<Vec<_>>());
        let shown = ids.iter().zip(rows).filter_map(|(id, row)| {
            let order = Order::decode(&row?)?;
            let public = Object::new().hex("order", id).text("status", money::status(&order));
            Some(summary(public, &order).finish())
        });
        shown.collect()
    })
}

fn order_of(key: &[u8], table: Table) -> Option<[u8; 32]> {
    let mut parts = table.read(key)?;
    if table == BUYERS {
        parts.bytes()?;
        parts.u64()?;
    }
    parts.id()
}

/// What is for those alone who look after the money.
fn require_finance(caller: &Caller) -> Result<(), Refusal> {
    if caller.has("admin") || caller.has("finance") { Ok(()) } else { Err(FORBIDDEN) }
}

/// Payments that somebody must look at.
fn exceptions(state: &mut Snapshot, request: &Request<'_>, caller: &Caller) -> Result<Vec<u8>, Refusal> {
    require_finance(caller)?;
    page(state, request, EXCEPTIONS.key().within(), |state, keys| {
        keys.iter().filter_map(|key| exception(state, key)).collect()
    })
}

fn exception(state: &mut Snapshot, key: &[u8]) -> Option<Vec<u8>> {
    let mut parts = EXCEPTIONS.read(key)?;
    let (id, payment_id) = (parts.id::<32>()?, parts.text()?);
    let rows =
        state.get_many(&[EXCEPTIONS.key().id(&id).text(&payment_id), order::key(&id), payment::key(&payment_id)]);
    let [reason, order, row] = <[_; 3]>::try_from(rows).ok()?;
    let (order, row) = (Order::decode(&order?)?, Payment::decode(&row?)?);
    let object = Object::new().hex("order", &id).text("status", money::status(&order)).text("payment", &payment_id);
    let object = object.text("reason", &String::from_utf8(reason?).ok()?).number("captured", row.amount);
    let object = object.text("currency", &row.currency).number("amount", order.terms.amount);
    Some(object.number("left", row.available()).finish())
}

/// Payments of which refunds or disputes are known and that are not captured, in the order of their ids.
fn parked(state: &mut Snapshot, request: &Request<'_>, caller: &Caller) -> Result<Vec<u8>, Refusal> {
    require_finance(caller)?;
    page(state, request, PARKED.key().within(), |state, keys| {
        let ids: Vec<String> = keys.iter().filter_map(|key| PARKED.read(key)?.text()).collect();
        let rows = state.get_many(&ids.iter().map(|id| PARKED.key().text(id)).collect::<Vec<_>>());
        let payments = state.get_many(&ids.iter().map(|id| payment::key(id)).collect::<Vec<_>>());
        let known = ids.iter().zip(rows).zip(payments);
        let shown = known.filter_map(|((id, row), payment)| {
            let since = Parked::decode(&row?)?;
            let payment = payment.and_then(|row| Payment::decode(&row));
            let object = Object::new().number("at", since.at).number("index", since.index).text("payment", id);
            let object = payment.iter().fold(object, |object, payment| object.hex("order", &payment.order));
            Some(with_parked(state, object, id).finish())
        });
        shown.collect()
    })
}

/// The first of them, and whether there are more.
fn with_parked(state: &mut Snapshot, object: Object, payment_id: &str) -> Object {
    let (mut objects, mut count) = (Array::new(), 0);
    state.scan(&OBJECTS.key().text(payment_id).within(), PARKED_SHOWN_MAX + 1, |key, row| {
        let (Some((dispute, id)), Some(thing)) = (fact::read_key(key), Thing::decode(row)) else { return };
        count += 1;
        if count <= PARKED_SHOWN_MAX {
            let shown = Object::new().number("amount", thing.amount).text("currency", &thing.currency).text("id", &id);
            let shown = shown.text("object", if dispute { "dispute" } else { "refund" });
            objects = core::mem::take(&mut objects).raw(&shown.text("state", thing.known.shown()).finish());
        }
    });
    object.bool("more", count > PARKED_SHOWN_MAX).raw("objects", &objects.finish())
}

/// Payments of our account that belong to no order of ours, in the order of their ids.
fn unmatched(state: &mut Snapshot, request: &Request<'_>, caller: &Caller) -> Result<Vec<u8>, Refusal> {
    require_finance(caller)?;
    page(state, request, ASIDE.key().within(), |state, keys| {
        let ids: Vec<String> = keys.iter().filter_map(|key| ASIDE.read(key)?.text()).collect();
        let rows = state.get_many(&ids.iter().map(|id| aside::key(id)).collect::<Vec<_>>());
        ids.iter().zip(rows).filter_map(|(id, row)| Some(Aside::decode(&row?)?.show(id))).collect()
    })
}

/// A page of keys, shown; `after` is the last of them.
fn page(
    state: &mut Snapshot,
    request: &Request<'_>,
    range: Range,
    show: impl FnOnce(&mut Snapshot, &[Vec<u8>]) -> Vec<Vec<u8>>,
) -> Result<Vec<u8>, Refusal> {
    let limit = request.number("limit").transpose().map_err(|_| MALFORMED)?.unwrap_or(PAGE_ROWS);
    if !(1..=PAGE_ROWS_MAX).contains(&limit) {
        return Err(MALFORMED);
    }
    let range = behind(range, request.arg("after"))?;
    let mut keys: Vec<Vec<u8>> = Vec::new();
    // One more than asked for says whether a page follows.
    state.scan(&range, limit as u32 + 1, |key, _| keys.push(key.into()));
    let more = keys.len() as u64 > limit;
    keys.truncate(limit as usize);
    let rows = show(state, &keys).iter().fold(Array::new(), |array, row| array.raw(row));
    let body = Object::new().raw("rows", &rows.finish());
    Ok(match keys.last().filter(|_| more) {
        Some(last) => body.text("after", &cursor(last)).finish(),
        None => body.finish(),
    })
}

/// A range from behind a cursor, which must be a key of it.
fn behind(range: Range, after: Option<Cow<'_, str>>) -> Result<Range, Refusal> {
    let Some(after) = after else { return Ok(range) };
    let key = read_cursor(&after).filter(|key| range.contains(key) && key.len() <= Key::BYTES_MAX);
    Ok(range.after(&key.ok_or(MALFORMED)?))
}
