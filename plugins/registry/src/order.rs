//! Orders: who bought what, checked against what was offered at that moment; found by buyer and by item.
//!
//! Takes orders. An order names the item's bytes, its seller and the whole price; each must be as the item is listed now,
//! so that nobody buys what was changed in between.

use alloc::string::String;
use alloc::vec::Vec;

use tally_plugin::json::Object;
use tally_plugin::record::{Reader, Writer};
use tally_plugin::{Event, Key, Read, Reject, State, Table};

use crate::fields::{add, agent_text, currency, digest, name, number, text};
use crate::item::{self, Item};
use crate::{MALFORMED, stats};

pub(crate) const ORDERS: Table = Table::new("order/");
/// Buyer, order.
pub(crate) const BY_BUYER: Table = Table::new("buyer/");
/// SKU, order.
pub(crate) const BY_ITEM: Table = Table::new("sold/");

pub(crate) const TABLES: [Table; 3] = [ORDERS, BY_BUYER, BY_ITEM];

const ORDER_EXISTS: Reject = Reject::new("order_exists");
const NO_ITEM: Reject = Reject::new("no_item");
const WITHDRAWN: Reject = Reject::new("withdrawn");
const OTHER_SELLER: Reject = Reject::new("other_seller");
const OTHER_BYTES: Reject = Reject::new("other_bytes");
const OTHER_PRICE: Reject = Reject::new("other_price");

/// The record's version.
const VERSION: u8 = 1;

/// An order's row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Order {
    pub(crate) buyer: [u8; 16],
    pub(crate) sku: String,
    pub(crate) quantity: u64,
    pub(crate) total_cents: u64,
    pub(crate) currency: String,
    pub(crate) placed_at: u64,
    pub(crate) index: u64,
}

pub(crate) fn key(id: &str) -> Key {
    ORDERS.key().text(id)
}

impl Order {
    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let mut row = Reader::new(row);
        if row.u8()? != VERSION {
            return None;
        }
        let order = Self {
            buyer: row.id()?,
            sku: row.text()?.into(),
            quantity: row.u64()?,
            total_cents: row.u64()?,
            currency: row.text()?.into(),
            placed_at: row.u64()?,
            index: row.u64()?,
        };
        row.is_empty().then_some(order)
    }

    fn encode(&self) -> Vec<u8> {
        let row = Writer::new().u8(VERSION).id(&self.buyer).text(&self.sku).u64(self.quantity).u64(self.total_cents);
        row.text(&self.currency).u64(self.placed_at).u64(self.index).finish()
    }

    pub(crate) fn to_json(&self, id: &str) -> Vec<u8> {
        Object::new()
            .text("id", id)
            .text("buyer", &agent_text(&self.buyer))
            .text("sku", &self.sku)
            .number("quantity", self.quantity)
            .number("total_cents", self.total_cents)
            .text("currency", &self.currency)
            .number("placed_at", self.placed_at)
            .number("index", self.index)
            .finish()
    }
}

pub(crate) fn place(state: &mut State, event: &Event) -> Result<(), Reject> {
    let id = name(event.entity_id())?;
    let body = event.json().map_err(|_| MALFORMED)?;
    let sku = text(body, "sku")?;
    let sku = name(&sku)?;
    // One call of the host instead of three.
    let found = state.get_many(&[key(id), item::key(sku), stats::key()]);
    if found.first().is_some_and(Option::is_some) {
        return Err(ORDER_EXISTS);
    }
    let mut item = found.get(1).and_then(Option::as_deref).and_then(Item::decode).ok_or(NO_ITEM)?;
    let (quantity, total_cents) = (number(body, "quantity")?, number(body, "total_cents")?);
    let currency = currency(body)?;
    if item.withdrawn {
        return Err(WITHDRAWN);
    }
    if text(body, "seller")? != agent_text(&item.owner).as_str() {
        return Err(OTHER_SELLER);
    }
    if digest(body)? != item.sha256.as_str() {
        return Err(OTHER_BYTES);
    }
    if quantity == 0
        || quantity.checked_mul(item.price_cents) != Some(total_cents)
        || currency != item.currency.as_str()
    {
        return Err(OTHER_PRICE);
    }
    stats::on_order(state, &currency, quantity, total_cents)?;
    item.sold = add(item.sold, quantity)?;
    state.set(&item::key(sku), item.encode());
    let buyer = event.agent();
    state.reindex(None, Some(&BY_BUYER.key().id(&buyer).text(id)));
    state.reindex(None, Some(&BY_ITEM.key().text(sku).text(id)));
    let order = Order {
        buyer,
        sku: sku.into(),
        quantity,
        total_cents,
        currency: currency.into_owned(),
        placed_at: event.sequenced_at(),
        index: event.index(),
    };
    state.set(&key(id), order.encode());
    Ok(())
}
