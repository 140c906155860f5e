//! The accounts that one step touches: read at once, changed by journals alone, written at once.
//!
//! Takes journals; gives balances, ids and rows. A sum beyond 2^53 − 1 refuses the journal before anything is written; a
//! journal that does not balance is a bug, and stops the step.

use alloc::string::String;
use alloc::vec::Vec;

use tally_market::codes::OVERFLOW;
use tally_plugin::json::INTEGER_MAX;
use tally_plugin::record::Writer;
use tally_plugin::{Event, Key, Read, Reject, Step, Table};

use crate::balance::{Balance, party_key, read, sum, system_key, system_of_row, system_to_row};
use crate::chain::Head;
use crate::journal::{self, Account, Entry, Journal, Kind, Pocket, Side};
use crate::moves::{Move, front};
use crate::mutation::{self, Mutation};

/// Currency, payout: what is on its way out.
pub(crate) const CLEARING: Table = Table::new("clr/");

/// Accounts of one currency.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    currency: String,
    system: [i64; 4],
    /// By party.
    parties: Vec<(String, Balance)>,
    /// What each payout has on its way from now on.
    clearing: Vec<([u8; 32], u64)>,
    posted: Vec<Posted>,
}

/// A journal, and the parties that it moved, each with what it had after it.
#[derive(Clone, Debug)]
struct Posted {
    journal: Journal,
    moved: Vec<(usize, Balance)>,
}

impl Ledger {
    /// The accounts of a currency that are nobody's, and those of some parties.
    pub(crate) fn load<'a>(state: &mut impl Read, currency: &str, parties: impl IntoIterator<Item = &'a str>) -> Self {
        let mut names: Vec<&str> = parties.into_iter().collect();
        names.sort_unstable();
        names.dedup();
        let mut keys: Vec<Key> = names.iter().map(|party| party_key(currency, party)).collect();
        keys.push(system_key(currency));
        let mut rows = state.get_many(&keys);
        let system = read(rows.pop().flatten().as_deref(), system_of_row).unwrap_or_default();
        let balances = rows.iter().map(|row| read(row.as_deref(), Balance::of_row).unwrap_or_default());
        let parties = names.iter().map(|party| String::from(*party)).zip(balances).collect();
        Self { currency: currency.into(), system, parties, clearing: Vec::new(), posted: Vec::new() }
    }

    fn place(&self, party: &str) -> usize {
        let found = self.parties.binary_search_by(|(other, _)| other.as_str().cmp(party));
        found.unwrap_or_else(|_| panic!("an account that was not read"))
    }

    /// What a party has.
    pub(crate) fn balance(&self, party: &str) -> Balance {
        self.parties[self.place(party)].1
    }

    /// Lines that give a party more: what is owed first, the rest is held. Gives what is held of it.
    pub(crate) fn rise(&self, journal: &mut Journal, party: &str, amount: u64, weight: u64) -> u64 {
        let owed = self.balance(party).pocket(Pocket::Owed);
        let repaid = if mutation::is(Mutation::RiseForgetsDebt) { 0 } else { amount.min(owed) };
        journal.weighted(Side::Credit, Account::Party(Pocket::Owed, party.into()), repaid, weight);
        journal.weighted(Side::Credit, Account::Party(Pocket::Held, party.into()), amount - repaid, weight);
        let held = amount - repaid;
        journal.parts.push((party.into(), held.cast_signed()));
        held
    }

    /// Lines that take from a party: what is held, then what is available, then it owes. Gives by how much that lessens
    /// what a lot still counts on.
    pub(crate) fn fall(&self, journal: &mut Journal, party: &str, amount: u64, part: u64) -> u64 {
        let balance = self.balance(party);
        let held = amount.min(balance.pocket(Pocket::Held));
        let held = if mutation::is(Mutation::WaterfallSkipsHeld) { 0 } else { held };
        let avail = (amount - held).min(balance.pocket(Pocket::Avail));
        journal.line(Side::Debit, Account::Party(Pocket::Held, party.into()), held);
        journal.line(Side::Debit, Account::Party(Pocket::Avail, party.into()), avail);
        journal.line(Side::Debit, Account::Party(Pocket::Owed, party.into()), amount - held - avail);
        let lessened = amount.min(part);
        journal.parts.push((party.into(), -lessened.cast_signed()));
        lessened
    }

    /// The end of a lot's hold: what it counts on, less what is missing of what all lots count on.
    pub(crate) fn release(&self, journal: &mut Journal, party: &str, part: u64) -> u64 {
        let balance = self.balance(party);
        let held = balance.pocket(Pocket::Held);
        journal.parts.push((party.into(), -part.cast_signed()));
        if mutation::is(Mutation::ReleaseAnothers) {
            return part.min(held);
        }
        part.saturating_sub(balance.parts.saturating_sub(held)).min(held)
    }

    /// Posts a journal, unless it has no lines.
    ///
    /// # Errors
    /// A sum beyond 2^53 − 1; these accounts are worth nothing then.
    pub(crate) fn post(&mut self, journal: Journal) -> Result<(), Reject> {
        if journal.lines.is_empty() {
            return self.count_parts(&journal);
        }
        assert!(journal.is_balanced(), "LEDGER_IMBALANCE");
        let before: Vec<Balance> = self.parties.iter().map(|(_, balance)| *balance).collect();
        for line in &journal.lines {
            self.line(&line.account, line.side, line.amount)?;
        }
        if let Some(payee) = &journal.payee {
            let at = self.place(&payee.party);
            let balance = &mut self.parties[at].1;
            balance.pending = changed(balance.pending, payee.pending)?;
            balance.paid = changed(balance.paid, payee.paid)?;
        }
        let mut moved = Vec::new();
        for ((at, (_, balance)), before) in self.parties.iter_mut().enumerate().zip(before) {
            if *balance != before {
                account_for(balance, balance.worth() - before.worth(), &journal)?;
                moved.push((at, *balance));
            }
        }
        self.count_parts(&journal)?;
        self.posted.push(Posted { journal, moved });
        Ok(())
    }

    fn count_parts(&mut self, journal: &Journal) -> Result<(), Reject> {
        for (party, change) in &journal.parts {
            let at = self.place(party);
            self.parties[at].1.parts = changed(self.parties[at].1.parts, *change)?;
        }
        Ok(())
    }

    fn line(&mut self, account: &Account, side: Side, amount: u64) -> Result<(), Reject> {
        match account {
            Account::System(system) => {
                let signed = amount.cast_signed();
                let balance = &mut self.system[*system as usize];
                *balance = sum(*balance, if side == Side::Debit { signed } else { -signed })?;
            }
            // The whole of a payout goes in, and out.
            Account::Clearing(payout) => {
                self.clearing.push((*payout, if side == Side::Credit { amount } else { 0 }));
            }
            Account::Party(pocket, party) => {
                let at = self.place(party);
                self.parties[at].1.line(*pocket, side, amount)?;
            }
        }
        Ok(())
    }

    /// Writes everything; gives the journals' ids, in order.
    pub(crate) fn commit(self, step: &mut Step, event: &Event) -> Vec<[u8; 32]> {
        for (party, balance) in &self.parties {
            step.state.set(&party_key(&self.currency, party), balance.to_row());
        }
        if self.posted.is_empty() {
            return Vec::new();
        }
        let mut head = Head::load(&mut step.state);
        let mut ids = Vec::new();
        for posted in &self.posted {
            ids.push(self.write(step, event, posted, &mut head));
        }
        head.store(&mut step.state);
        step.state.set(&system_key(&self.currency), system_to_row(&self.system));
        for (payout, amount) in &self.clearing {
            let key = CLEARING.key().text(&self.currency).id(payout);
            match amount {
                0 => step.state.delete(&key),
                amount => step.state.set(&key, Writer::new().u64(*amount).finish()),
            }
        }
        ids
    }

    fn write(&self, step: &mut Step, event: &Event, posted: &Posted, head: &mut Head) -> [u8; 32] {
        let id = step.id("journal");
        let (index, at, number) = (event.index(), event.sequenced_at(), head.count);
        let journal = &posted.journal;
        let entry = Entry { id, currency: &self.currency, at, index, head: *head };
        let (rows, after) = journal::rows(journal, &entry);
        for (key, row) in rows {
            step.state.set(&key, row);
        }
        *head = after;
        for (place, balance) in &posted.moved {
            let key = front(&self.parties[*place].0, &self.currency).u64(index).u64(number);
            let (kind, subject, gross) = (journal.kind, journal.subject, journal.gross);
            step.state.set(&key, Move { journal: id, kind, subject, at, gross, balance: *balance }.encode());
        }
        id
    }
}

fn changed(amount: u64, change: i64) -> Result<u64, Reject> {
    let changed = amount.checked_add_signed(change).unwrap_or_else(|| panic!("a sum of payouts falls below zero"));
    if changed <= INTEGER_MAX { Ok(changed) } else { Err(OVERFLOW) }
}

/// Counts a movement where statements total it.
fn account_for(balance: &mut Balance, amount: i64, journal: &Journal) -> Result<(), Reject> {
    if journal.kind == Kind::Corrected {
        balance.corrections = sum(balance.corrections, amount)?;
    }
    if !journal.kind.is_of_order() {
        return Ok(());
    }
    if journal.kind == Kind::Sale {
        balance.sales = changed(balance.sales, amount)?;
    } else {
        balance.reversals = sum(balance.reversals, amount)?;
    }
    balance.fees = sum(balance.fees, journal.gross - amount)?;
    Ok(())
}
