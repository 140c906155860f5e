//! What is set aside for an order as long as it may be or is paid: pieces of a stock, and one use of its promotion.
//!
//! Takes an order's terms; counts them in, or refuses and counts nothing. What the first order of the log takes the second
//! does not find, so limits hold whoever hurries.

use tally_market::codes::{NOT_FOR_SALE, OVERFLOW};
use tally_plugin::record::{Reader, Writer};
use tally_plugin::{Key, Read, Reject, State, Table};

use crate::mutation::{self, Mutation};
use crate::promotion;
use crate::terms::Terms;

/// SKU, version: how many pieces are taken. Only where the version has a stock.
pub(crate) const STOCK: Table = Table::new("stock/");

fn key(terms: &Terms) -> Key {
    STOCK.key().text(&terms.offer.sku).u64(terms.offer.version)
}

fn taken(state: &mut impl Read, terms: &Terms) -> u64 {
    state.get(&key(terms)).and_then(|row| Reader::new(&row).u64()).unwrap_or(0)
}

/// Sets aside; nothing is counted if it is refused.
pub(crate) fn take(state: &mut State, terms: &Terms, buyer: &str) -> Result<(), Reject> {
    let pieces = match terms.offer.stock {
        None => None,
        Some(stock) => {
            let pieces = taken(state, terms).checked_add(terms.quantity).ok_or(OVERFLOW)?;
            if pieces > stock {
                return Err(NOT_FOR_SALE);
            }
            Some(pieces)
        }
    };
    if let Some((name, _)) = &terms.promotion {
        let one = promotion::may_use(state, name, buyer)?;
        promotion::count(state, name, buyer, one);
    }
    if let Some(pieces) = pieces {
        state.set(&key(terms), Writer::new().u64(pieces).finish());
    }
    Ok(())
}

/// Gives back.
pub(crate) fn release(state: &mut State, terms: &Terms, buyer: &str) {
    if mutation::is(Mutation::StockNotReleased) {
        return;
    }
    if terms.offer.stock.is_some() {
        let pieces = taken(state, terms).saturating_sub(terms.quantity);
        state.set(&key(terms), Writer::new().u64(pieces).finish());
    }
    if let Some((name, _)) = &terms.promotion {
        promotion::uncount(state, name, buyer);
    }
}
