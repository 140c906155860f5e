//! Quotes: terms that hold for a while, named by their hash.
//!
//! Takes a wish; keeps its terms for the one who asked. An order that names a quote is at its terms, or not at all.

use alloc::string::String;
use alloc::vec::Vec;

use tally_market::codes::{EXPIRED, FORBIDDEN, NOT_FOUND};
use tally_market::money::add;
use tally_plugin::json::Object;
use tally_plugin::record::{Reader, Writer};
use tally_plugin::{Read, Reject, Table, crypto};

use crate::command::Command;
use crate::terms::{Terms, Wish};

pub(crate) const QUOTES: Table = Table::new("quote/");

const VERSION: u8 = 1;

/// A quote's row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Quote {
    buyer: String,
    expires_at: u64,
    pub(crate) hash: [u8; 32],
    pub(crate) terms: Terms,
}

/// `checkout.quote.requested`.
pub(crate) fn request(command: &mut Command<'_>) -> Result<Vec<u8>, Reject> {
    command.require_new()?;
    let wish = Wish::read(&command.body)?;
    let now = command.event.sequenced_at();
    let terms = wish.price(&mut command.step.state, now)?;
    let expires_at = add(now, command.settings.quote_us)?;
    let id = command.step.id("quote");
    let shown = terms.show(Object::new().text("buyer", &command.principal).number("expires_at", expires_at));
    let shown = shown.hex("quote", &id).finish();
    let hash = crypto::sha256(&shown);
    let quote = Quote { buyer: command.principal.clone(), expires_at, hash, terms };
    command.step.state.set(&QUOTES.key().id(&id), quote.encode());
    Ok(Object::new().hex("hash", &hash).raw("quote", &shown).finish())
}

/// The quote that an order names, if its buyer may still take it.
pub(crate) fn take(state: &mut impl Read, id: &[u8; 32], buyer: &str, now: u64) -> Result<Quote, Reject> {
    let quote = state.get(&QUOTES.key().id(id)).and_then(|row| Quote::decode(&row)).ok_or(NOT_FOUND)?;
    if quote.buyer != buyer {
        return Err(FORBIDDEN);
    }
    if now > quote.expires_at { Err(EXPIRED) } else { Ok(quote) }
}

impl Quote {
    fn encode(&self) -> Vec<u8> {
        let row = Writer::new().u8(VERSION).text(&self.buyer).u64(self.expires_at).id(&self.hash);
        self.terms.write(row).finish()
    }

    fn decode(row: &[u8]) -> Option<Self> {
        let mut row = Reader::new(row);
        row.u8().filter(|version| *version == VERSION)?;
        let (buyer, expires_at, hash) = (row.text()?.into(), row.u64()?, row.id()?);
        Some(Self { buyer, expires_at, hash, terms: Terms::decode(&mut row)? })
    }
}
