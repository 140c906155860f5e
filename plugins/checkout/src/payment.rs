//! A payment: what the provider says of it, what went back of it or is disputed, and what may still go back.
//!
//! Takes facts through [`crate::fact`]; gives the one reservation that refunds and disputes share:
//! asked + pending + succeeded refunds + open + lost disputes ≤ captured.

use alloc::string::String;
use alloc::vec::Vec;

use tally_market::codes::OVERFLOW;
use tally_market::money::add;
use tally_plugin::record::{Reader, Writer};
use tally_plugin::{Key, Reject, Table};

use crate::machine::{Known, Means};
use crate::money::Sums;
use crate::mutation::{self, Mutation};

pub(crate) const PAYMENTS: Table = Table::new("payment/");
/// Order, payment: why somebody must look.
pub(crate) const EXCEPTIONS: Table = Table::new("exception/");

const VERSION: u8 = 1;

/// What a payment is to its order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// Nothing yet.
    Attempt,
    /// It pays it.
    Pays,
    /// It captured another amount or currency, and is kept whole until somebody looks.
    Odd,
    /// It was captured in vain, and goes back.
    Surplus,
}

const ROLES: [Role; 4] = [Role::Attempt, Role::Pays, Role::Odd, Role::Surplus];

/// A payment's row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Payment {
    pub(crate) order: [u8; 32],
    pub(crate) known: Known,
    /// What was captured, once it was.
    pub(crate) amount: u64,
    pub(crate) currency: String,
    /// Whether that is the order's whole amount.
    pub(crate) whole: bool,
    pub(crate) role: Role,
    /// Whether the provider was asked to let go of it.
    pub(crate) withdrawn: bool,
    /// Whether the provider moved another currency for it.
    pub(crate) foreign: bool,
    /// Refunds that were asked for and that the provider does not know yet.
    pub(crate) asked: u64,
    pub(crate) pending: u64,
    pub(crate) refunded: u64,
    pub(crate) open: u64,
    pub(crate) lost: u64,
}

pub(crate) fn key(id: &str) -> Key {
    PAYMENTS.key().text(id)
}

impl Payment {
    pub(crate) fn new(order: [u8; 32], known: Known, amount: u64, currency: &str) -> Self {
        let currency = String::from(currency);
        let role = Role::Attempt;
        let (whole, withdrawn, foreign) = (false, false, false);
        let (asked, pending, refunded, open, lost) = (0, 0, 0, 0, 0);
        Self { order, known, amount, currency, whole, role, withdrawn, foreign, asked, pending, refunded, open, lost }
    }

    pub(crate) fn is_captured(&self) -> bool {
        self.known.means() == Means::Captured
    }

    /// What may still go back.
    pub(crate) fn available(&self) -> u64 {
        if !self.is_captured() {
            return 0;
        }
        let refunds =
            if mutation::is(Mutation::PendingNotReserved) { 0 } else { self.asked.saturating_add(self.pending) };
        let disputes =
            if mutation::is(Mutation::NoSharedReservation) { 0 } else { self.open.saturating_add(self.lost) };
        self.amount.saturating_sub(refunds).saturating_sub(self.refunded).saturating_sub(disputes)
    }

    /// Replaces what an object of the provider takes of it.
    pub(crate) fn count(&mut self, old: Option<(Means, u64)>, new: (Means, u64)) -> Result<(), Reject> {
        if let Some((means, amount)) = old
            && let Some(sum) = self.sum(means)
        {
            *sum = sum.checked_sub(amount).ok_or(OVERFLOW)?;
        }
        if let Some(sum) = self.sum(new.0) {
            *sum = add(*sum, new.1)?;
        }
        Ok(())
    }

    fn sum(&mut self, means: Means) -> Option<&mut u64> {
        match means {
            Means::Pending => Some(&mut self.pending),
            Means::Refunded => Some(&mut self.refunded),
            Means::Open => Some(&mut self.open),
            Means::Lost => Some(&mut self.lost),
            Means::Live | Means::Failed | Means::Captured | Means::Nothing => None,
        }
    }

    /// What it adds to its order's sums.
    pub(crate) fn sums(&self) -> Sums {
        if !self.is_captured() || !self.whole {
            return Sums::default();
        }
        let pending = self.asked.saturating_add(self.pending);
        Sums { captures: 1, pending, refunded: self.refunded, open: self.open, lost: self.lost }
    }

    /// Why somebody must look.
    pub(crate) fn alarm(&self) -> Option<&'static str> {
        let gone = self.refunded.saturating_add(self.open).saturating_add(self.lost);
        match self.role {
            Role::Odd => Some("mismatch"),
            _ if self.foreign => Some("currency"),
            _ if self.is_captured() && gone > self.amount => Some("overdrawn"),
            Role::Surplus if self.available() > 0 => Some("not_returned"),
            _ => None,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let flag = |at: u8, flag: bool| u8::from(flag) << at;
        let flags = flag(0, self.whole) | flag(1, self.withdrawn) | flag(2, self.foreign);
        let row = Writer::new().u8(VERSION).id(&self.order).u8(self.known.number()).u64(self.amount);
        let row = row.text(&self.currency).u8(flags).u8(self.role as u8);
        row.u64(self.asked).u64(self.pending).u64(self.refunded).u64(self.open).u64(self.lost).finish()
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let mut row = Reader::new(row);
        row.u8().filter(|version| *version == VERSION)?;
        let (order, known, amount) = (row.id()?, Known::read(row.u8()?)?, row.u64()?);
        let (currency, flags) = (String::from(row.text()?), row.u8()?);
        Some(Self {
            order,
            known,
            amount,
            currency,
            whole: flags & 1 != 0,
            withdrawn: flags & 2 != 0,
            foreign: flags & 4 != 0,
            role: *ROLES.get(usize::from(row.u8()?))?,
            asked: row.u64()?,
            pending: row.u64()?,
            refunded: row.u64()?,
            open: row.u64()?,
            lost: row.u64()?,
        })
    }
}
