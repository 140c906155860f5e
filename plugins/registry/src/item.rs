//! Items: what is offered, by whom, at which price; found by owner, by name and by price.
//!
//! Takes listings and withdrawals. The first who lists an SKU owns it; only the owner lists it anew or withdraws it. A
//! withdrawn item keeps its row and its place under its owner, and leaves the indexes that buyers search.

use alloc::string::String;
use alloc::vec::Vec;

use tally_plugin::json::Object;
use tally_plugin::record::{Reader, Writer};
use tally_plugin::{Event, Key, Read, Reject, State, Table};

use crate::fields::{agent_text, currency, digest, name, number, text};
use crate::{MALFORMED, stats};

pub(crate) const ITEMS: Table = Table::new("item/");
/// Owner, SKU.
pub(crate) const BY_OWNER: Table = Table::new("owner/");
/// Name, SKU.
pub(crate) const BY_NAME: Table = Table::new("name/");
/// Currency, price, SKU.
pub(crate) const BY_PRICE: Table = Table::new("price/");

pub(crate) const TABLES: [Table; 4] = [ITEMS, BY_OWNER, BY_NAME, BY_PRICE];

const NOT_OWNER: Reject = Reject::new("not_owner");
const NO_ITEM: Reject = Reject::new("no_item");

/// The record's version.
const VERSION: u8 = 1;

/// An item's row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Item {
    pub(crate) owner: [u8; 16],
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) sha256: String,
    pub(crate) size_bytes: u64,
    pub(crate) price_cents: u64,
    pub(crate) currency: String,
    pub(crate) listed_at: u64,
    pub(crate) withdrawn: bool,
    pub(crate) sold: u64,
}

pub(crate) fn key(sku: &str) -> Key {
    ITEMS.key().text(sku)
}

impl Item {
    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let mut row = Reader::new(row);
        if row.u8()? != VERSION {
            return None;
        }
        let item = Self {
            owner: row.id()?,
            name: row.text()?.into(),
            version: row.text()?.into(),
            sha256: row.text()?.into(),
            size_bytes: row.u64()?,
            price_cents: row.u64()?,
            currency: row.text()?.into(),
            listed_at: row.u64()?,
            withdrawn: row.u8()? == 1,
            sold: row.u64()?,
        };
        row.is_empty().then_some(item)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let row = Writer::new().u8(VERSION).id(&self.owner).text(&self.name).text(&self.version).text(&self.sha256);
        let row = row.u64(self.size_bytes).u64(self.price_cents).text(&self.currency).u64(self.listed_at);
        row.u8(u8::from(self.withdrawn)).u64(self.sold).finish()
    }

    pub(crate) fn to_json(&self, sku: &str) -> Vec<u8> {
        Object::new()
            .text("sku", sku)
            .text("owner", &agent_text(&self.owner))
            .text("name", &self.name)
            .text("version", &self.version)
            .text("sha256", &self.sha256)
            .number("size_bytes", self.size_bytes)
            .number("price_cents", self.price_cents)
            .text("currency", &self.currency)
            .number("listed_at", self.listed_at)
            .bool("withdrawn", self.withdrawn)
            .number("sold", self.sold)
            .finish()
    }

    fn by_name(&self, sku: &str) -> Option<Key> {
        (!self.withdrawn).then(|| BY_NAME.key().text(&self.name).text(sku))
    }

    fn by_price(&self, sku: &str) -> Option<Key> {
        (!self.withdrawn && !cfg!(feature = "state-1"))
            .then(|| BY_PRICE.key().text(&self.currency).u64(self.price_cents).text(sku))
    }
}

/// Writes the row and moves its entries.
fn put(state: &mut State, sku: &str, old: Option<&Item>, new: &Item) {
    if old.is_none() {
        state.reindex(None, Some(&BY_OWNER.key().id(&new.owner).text(sku)));
    }
    state.reindex(old.and_then(|old| old.by_name(sku)).as_ref(), new.by_name(sku).as_ref());
    state.reindex(old.and_then(|old| old.by_price(sku)).as_ref(), new.by_price(sku).as_ref());
    state.set(&key(sku), new.encode());
}

/// The migration from state version 1: one item's entry by price.
pub(crate) fn index_by_price(state: &mut State, key: &[u8], row: &[u8]) {
    let sku = ITEMS.read(key).and_then(|mut parts| parts.text());
    let (Some(sku), Some(item)) = (sku, Item::decode(row)) else { return };
    state.reindex(None, item.by_price(&sku).as_ref());
}

pub(crate) fn list(state: &mut State, event: &Event) -> Result<(), Reject> {
    let sku = name(event.entity_id())?;
    let body = event.json().map_err(|_| MALFORMED)?;
    let found = state.get_many(&[key(sku), stats::key()]);
    let old = found.first().and_then(Option::as_deref).and_then(Item::decode);
    if old.as_ref().is_some_and(|old| old.owner != event.agent()) {
        return Err(NOT_OWNER);
    }
    let item = Item {
        owner: event.agent(),
        name: name(&text(body, "name")?)?.into(),
        version: name(&text(body, "version")?)?.into(),
        sha256: digest(body)?.into_owned(),
        size_bytes: number(body, "size_bytes")?,
        price_cents: number(body, "price_cents")?,
        currency: currency(body)?.into_owned(),
        listed_at: event.sequenced_at(),
        withdrawn: false,
        sold: old.as_ref().map_or(0, |old| old.sold),
    };
    if old.is_none() {
        stats::on_item(state)?;
    }
    put(state, sku, old.as_ref(), &item);
    Ok(())
}

pub(crate) fn withdraw(state: &mut State, event: &Event) -> Result<(), Reject> {
    let sku = name(event.entity_id())?;
    let old = state.get(&key(sku)).as_deref().and_then(Item::decode).ok_or(NO_ITEM)?;
    if old.owner != event.agent() {
        return Err(NOT_OWNER);
    }
    put(state, sku, Some(&old), &Item { withdrawn: true, ..old.clone() });
    Ok(())
}
