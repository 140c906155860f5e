//! Movements: what each journal did to one party, with what the party had after it. The rows of statements.
//!
//! Takes a party's balance after a journal; gives rows in the order of the log. As each holds the balance, a statement of
//! any range needs its own rows and the one before, and nothing else.

use alloc::vec::Vec;

use tally_plugin::record::{Reader, Writer};
use tally_plugin::{Key, Table};

use crate::balance::Balance;
use crate::journal::Kind;

/// Party, currency, log index, number of the journal.
pub(crate) const MOVES: Table = Table::new("move/");

const VERSION: u8 = 1;

/// The front of a party's movements of a currency.
pub(crate) fn front(party: &str, currency: &str) -> Key {
    MOVES.key().text(party).text(currency)
}

/// One movement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Move {
    pub(crate) journal: [u8; 32],
    pub(crate) kind: Kind,
    pub(crate) subject: [u8; 32],
    /// Log time in microseconds.
    pub(crate) at: u64,
    /// Of all parties of the order together.
    pub(crate) gross: i64,
    /// After it.
    pub(crate) balance: Balance,
}

impl Move {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let row = Writer::new().u8(VERSION).id(&self.journal).u8(self.kind as u8).id(&self.subject);
        self.balance.encode(row.u64(self.at).u64(self.gross.cast_unsigned())).finish()
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let mut row = Reader::new(row);
        row.u8().filter(|version| *version == VERSION)?;
        Some(Self {
            journal: row.id()?,
            kind: Kind::of_code(row.u8()?)?,
            subject: row.id()?,
            at: row.u64()?,
            gross: row.u64()?.cast_signed(),
            balance: Balance::decode(&mut row)?,
        })
    }
}
