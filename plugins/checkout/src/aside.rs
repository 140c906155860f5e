//! Facts that belong to no order of ours: kept with the reason, so that money which the provider moved is not in the log
//! only, and for somebody to look at (M-058).
//!
//! Takes a fact and why it does not count; keeps one row an object, of the newest state. Nothing else follows of it. If the
//! object is told once more with an order that is ours, it counts and leaves.

use alloc::string::String;
use alloc::vec::Vec;

use tally_plugin::json::Object as Json;
use tally_plugin::record::{Reader, Writer};
use tally_plugin::{Event, Key, State, Table};

use crate::machine::Known;

/// The provider's id of a payment.
pub(crate) const ASIDE: Table = Table::new("aside/");

const VERSION: u8 = 1;

/// Why a fact does not count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Why {
    /// It names an order that is not there.
    UnknownOrder,
    /// It names none, and is about a payment that nobody told us of.
    NoOrder,
    /// It names another order than before.
    OtherOrder,
    /// The order has as many payments as it may have.
    TooMany,
}

const WHYS: [Why; 4] = [Why::UnknownOrder, Why::NoOrder, Why::OtherOrder, Why::TooMany];

impl Why {
    const fn name(self) -> &'static str {
        match self {
            Self::UnknownOrder => "unknown_order",
            Self::NoOrder => "no_order",
            Self::OtherOrder => "other_order",
            Self::TooMany => "too_many",
        }
    }
}

/// A payment's row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Aside {
    pub(crate) why: Why,
    pub(crate) known: Known,
    pub(crate) amount: u64,
    pub(crate) currency: String,
    /// The order that it names.
    pub(crate) order: Option<[u8; 32]>,
    /// Log time and place of the first such fact.
    at: u64,
    index: u64,
}

pub(crate) fn key(id: &str) -> Key {
    ASIDE.key().text(id)
}

impl Aside {
    /// Of a fact that is here now.
    pub(crate) fn new(
        why: Why,
        known: Known,
        amount: u64,
        currency: &str,
        order: Option<[u8; 32]>,
        event: &Event,
    ) -> Self {
        Self { why, known, amount, currency: currency.into(), order, at: event.sequenced_at(), index: event.index() }
    }

    /// Keeps it, unless it says no more than what is kept.
    pub(crate) fn store(self, state: &mut State, id: &str, old: Option<&Self>) {
        let new = match old {
            Some(old) if old.why == self.why && old.order == self.order && !self.known.is_news(Some(old.known)) => {
                return;
            }
            Some(old) => Self { at: old.at, index: old.index, ..self },
            None => self,
        };
        state.set(&key(id), new.encode());
    }

    /// It counts now; that it was said of another order too is still to be looked at.
    pub(crate) fn settle(&self, state: &mut State, id: &str) {
        if self.why != Why::OtherOrder {
            state.delete(&key(id));
        }
    }

    /// As it is shown.
    pub(crate) fn show(&self, id: &str) -> Vec<u8> {
        let object = Json::new().number("amount", self.amount).number("at", self.at).text("currency", &self.currency);
        let object = object.number("index", self.index).text("payment", id).text("reason", self.why.name());
        let object = object.text("state", self.known.shown());
        self.order.iter().fold(object, |object, order| object.hex("order", order)).finish()
    }

    fn encode(&self) -> Vec<u8> {
        let row = Writer::new().u8(VERSION).u8(self.why as u8).u8(self.known.number()).u64(self.amount);
        let row = row.text(&self.currency).bytes(self.order.as_ref().map_or(&[], |order| order));
        row.u64(self.at).u64(self.index).finish()
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let mut row = Reader::new(row);
        row.u8().filter(|version| *version == VERSION)?;
        let (why, known) = (*WHYS.get(usize::from(row.u8()?))?, Known::read(row.u8()?)?);
        let (amount, currency, order) = (row.u64()?, row.text()?.into(), row.bytes()?.try_into().ok());
        Some(Self { why, known, amount, currency, order, at: row.u64()?, index: row.u64()? })
    }
}
