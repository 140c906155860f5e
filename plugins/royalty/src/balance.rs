//! Rows of balances: one per currency for what is nobody's, one per currency and party.
//!
//! Takes lines of journals; gives new balances, or the refusal of a sum that JSON could not hold. A party's pockets never
//! fall below zero: a line that would take one there is a bug, and stops the step.

use alloc::vec::Vec;

use tally_market::codes::OVERFLOW;
use tally_plugin::json::{INTEGER_MAX, Object};
use tally_plugin::record::{Reader, Writer};
use tally_plugin::{Key, Reject, Table};

use crate::journal::{Pocket, Side};

/// Currency, party.
pub(crate) const PARTIES: Table = Table::new("party/");
/// Currency.
pub(crate) const SYSTEM: Table = Table::new("system/");

const VERSION: u8 = 1;

/// Key of a party's row.
pub(crate) fn party_key(currency: &str, party: &str) -> Key {
    PARTIES.key().text(currency).text(party)
}

/// Key of the row of what is nobody's.
pub(crate) fn system_key(currency: &str) -> Key {
    SYSTEM.key().text(currency)
}

/// A row of ours that exists and does not read is a bug: nothing may be posted on top of it.
pub(crate) fn read<T>(row: Option<&[u8]>, decode: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
    row.map(|row| decode(row).unwrap_or_else(|| panic!("a row of ours does not read")))
}

/// Adds a member that may be negative.
pub(crate) fn signed(object: Object, name: &str, number: i64) -> Object {
    object.raw(name, alloc::format!("{number}").as_bytes())
}

/// A sum that JSON can hold, on either side of zero.
pub(crate) fn sum(a: i64, b: i64) -> Result<i64, Reject> {
    a.checked_add(b).filter(|sum| sum.unsigned_abs() <= INTEGER_MAX).ok_or(OVERFLOW)
}

/// What a party has, and what came of it so far; minor units.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Balance {
    /// Held, released, locked (credit), and owed (debit).
    pub(crate) pockets: [u64; 4],
    /// What lots of holds count on of what is held; at least that.
    pub(crate) parts: u64,
    /// In payouts that were asked for and not paid.
    pub(crate) pending: u64,
    /// In payouts that were paid.
    pub(crate) paid: u64,
    /// Shares of captures.
    pub(crate) sales: u64,
    /// What reversals took (negative), and gave back.
    pub(crate) reversals: i64,
    /// What others had of the same sales, less what they lost by the same reversals.
    pub(crate) fees: i64,
    /// What corrections gave, less what they took.
    pub(crate) corrections: i64,
}

impl Balance {
    pub(crate) fn pocket(&self, pocket: Pocket) -> u64 {
        self.pockets[pocket as usize]
    }

    /// Held and released, less what is owed.
    pub(crate) fn worth(&self) -> i64 {
        let [held, avail, _, owed] = self.pockets.map(u64::cast_signed);
        held + avail - owed
    }

    /// A line on one of the pockets.
    pub(crate) fn line(&mut self, pocket: Pocket, side: Side, amount: u64) -> Result<(), Reject> {
        let slot = &mut self.pockets[pocket as usize];
        if (side == Side::Debit) == (pocket == Pocket::Owed) {
            *slot = tally_market::money::add(*slot, amount)?;
        } else {
            *slot = slot.checked_sub(amount).unwrap_or_else(|| panic!("a pocket falls below zero"));
        }
        Ok(())
    }

    pub(crate) fn encode(&self, row: Writer) -> Writer {
        let row = self.pockets.iter().fold(row, |row, pocket| row.u64(*pocket));
        let row = row.u64(self.parts).u64(self.pending).u64(self.paid).u64(self.sales);
        let row = row.u64(self.reversals.cast_unsigned()).u64(self.fees.cast_unsigned());
        row.u64(self.corrections.cast_unsigned())
    }

    pub(crate) fn decode(row: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            pockets: [row.u64()?, row.u64()?, row.u64()?, row.u64()?],
            parts: row.u64()?,
            pending: row.u64()?,
            paid: row.u64()?,
            sales: row.u64()?,
            reversals: row.u64()?.cast_signed(),
            fees: row.u64()?.cast_signed(),
            corrections: row.u64()?.cast_signed(),
        })
    }

    pub(crate) fn to_row(self) -> Vec<u8> {
        self.encode(Writer::new().u8(VERSION)).finish()
    }

    pub(crate) fn of_row(row: &[u8]) -> Option<Self> {
        let mut row = Reader::new(row);
        let balance = row.u8().filter(|version| *version == VERSION).and_then(|_| Self::decode(&mut row))?;
        row.is_empty().then_some(balance)
    }

    pub(crate) fn to_json(self) -> Vec<u8> {
        let [held, avail, lock, owed] = self.pockets;
        let object = Object::new().number("avail", avail).number("held", held).number("lock", lock);
        signed(object.number("owed", owed), "balance", self.worth()).finish()
    }
}

/// Debit balances of what is nobody's, in the order of [`crate::journal::System`].
pub(crate) fn system_of_row(row: &[u8]) -> Option<[i64; 4]> {
    let mut row = Reader::new(row);
    row.u8().filter(|version| *version == VERSION)?;
    let mut balances = [0; 4];
    for balance in &mut balances {
        *balance = row.u64()?.cast_signed();
    }
    row.is_empty().then_some(balances)
}

/// The row of them.
pub(crate) fn system_to_row(balances: &[i64; 4]) -> Vec<u8> {
    balances.iter().fold(Writer::new().u8(VERSION), |row, balance| row.u64(balance.cast_unsigned())).finish()
}
