//! Sums over everything: items, orders, and what was sold per currency.
//!
//! Takes one call per item and order; one row holds them all, so that an event reads and writes it once.

use alloc::string::String;
use alloc::vec::Vec;

use tally_plugin::json::Object;
use tally_plugin::record::{Reader, Writer};
use tally_plugin::{Key, Read, Reject, State, Table};

use crate::fields::add;

pub(crate) const STATS: Table = Table::new("stats/");

pub(crate) fn key() -> Key {
    STATS.key()
}

/// Currencies that are summed up; orders in a further one are refused, because the row would grow without a bound.
const CURRENCIES_MAX: usize = 200;

#[derive(Default)]
struct Stats {
    items: u64,
    orders: u64,
    pieces: u64,
    /// By currency.
    cents: Vec<(String, u64)>,
}

fn load(state: &mut impl Read) -> Stats {
    let mut stats = Stats::default();
    let Some(row) = state.get(&key()) else { return stats };
    let mut row = Reader::new(&row);
    for field in [&mut stats.items, &mut stats.orders, &mut stats.pieces] {
        *field = row.u64().unwrap_or(0);
    }
    while let (Some(currency), Some(cents)) = (row.text(), row.u64()) {
        stats.cents.push((currency.into(), cents));
    }
    stats
}

fn store(state: &mut State, stats: &Stats) {
    let row = Writer::new().u64(stats.items).u64(stats.orders).u64(stats.pieces);
    let row = stats.cents.iter().fold(row, |row, (currency, cents)| row.text(currency).u64(*cents));
    state.set(&key(), row.finish());
}

pub(crate) fn on_item(state: &mut State) -> Result<(), Reject> {
    let mut stats = load(state);
    stats.items = add(stats.items, 1)?;
    store(state, &stats);
    Ok(())
}

pub(crate) fn on_order(state: &mut State, currency: &str, quantity: u64, cents: u64) -> Result<(), Reject> {
    const CURRENCIES: Reject = Reject::new("too_many_currencies");
    let mut stats = load(state);
    stats.orders = add(stats.orders, 1)?;
    stats.pieces = add(stats.pieces, quantity)?;
    match stats.cents.binary_search_by(|(other, _)| other.as_str().cmp(currency)) {
        Ok(at) => stats.cents[at].1 = add(stats.cents[at].1, cents)?,
        Err(at) => stats.cents.insert(at, (currency.into(), cents)),
    }
    if stats.cents.len() > CURRENCIES_MAX {
        return Err(CURRENCIES);
    }
    store(state, &stats);
    Ok(())
}

pub(crate) fn to_json(state: &mut impl Read) -> Vec<u8> {
    let stats = load(state);
    let cents = stats.cents.iter().fold(Object::new(), |cents, (currency, sum)| cents.number(currency, *sum));
    let object = Object::new().number("items", stats.items).number("orders", stats.orders);
    object.number("pieces", stats.pieces).raw("cents", &cents.finish()).finish()
}
