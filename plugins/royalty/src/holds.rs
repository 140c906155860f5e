//! Holds: money of a capture is held until its time has come and nothing of the order is disputed.
//!
//! Takes `market.tick`; moves what is due by log time from held to available, oldest first, of 32 orders and 64
//! parties at most. What is left waits for the next tick. An order with an open dispute is not among the holds, and
//! comes back when the dispute ends. What came back from a payout is a lot of its own. After that, schedules are looked
//! at.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use tally_market::Body;
use tally_market::codes::MALFORMED;
use tally_plugin::{Event, Key, Range, Read, Reject, State, Step, Table};

use crate::balance::read;
use crate::journal::{Account, Journal, Kind, Pocket, Side};
use crate::ledger::Ledger;
use crate::payout::{self, Payout};
use crate::plans;
use crate::sale::{self, Sale};

/// Log time, order or payout; says which.
pub(crate) const HOLDS: Table = Table::new("hold/");

/// Most that one tick does.
const LOTS_MAX: u32 = 32;
const PARTIES_MAX: usize = 64;

/// What waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lot {
    /// What a sale left held.
    Sale,
    /// What came back from a payout.
    Return,
}

/// Key of a hold.
pub(crate) fn key(due: u64, subject: &[u8; 32]) -> Key {
    HOLDS.key().u64(due).id(subject)
}

/// Adds a hold.
pub(crate) fn put(state: &mut State, due: u64, subject: &[u8; 32], lot: Lot) {
    state.set(&key(due, subject), [u8::from(lot == Lot::Return)]);
}

/// What is to be released: parts by party.
struct Due {
    at: u64,
    subject: [u8; 32],
    lot: Lot,
    currency: String,
    parts: Vec<(String, u64)>,
}

/// `market.tick`.
pub(crate) fn on_tick(step: &mut Step, event: &Event) -> Result<(), Reject> {
    Body::of(event, &[])?;
    if (event.entity_type(), event.entity_id()) != ("market", "tick") {
        return Err(MALFORMED);
    }
    let due = due(&mut step.state, event.sequenced_at());
    let mut parties: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for lot in &due {
        parties.entry(&lot.currency).or_default().extend(lot.parts.iter().map(|(party, _)| party.as_str()));
    }
    let load = |(currency, parties)| (currency, Ledger::load(&mut step.state, currency, parties));
    let mut ledgers: BTreeMap<&str, Ledger> = parties.into_iter().map(load).collect();
    for lot in &due {
        let ledger = ledgers.get_mut(lot.currency.as_str()).ok_or(MALFORMED)?;
        ledger.post(release(lot, ledger))?;
        close(&mut step.state, lot);
    }
    for ledger in ledgers.into_values() {
        ledger.commit(step, event);
    }
    plans::run(step, event)
}

/// What is due now, as much as one tick does.
fn due(state: &mut State, now: u64) -> Vec<Due> {
    let range = Range::between(&HOLDS.key().u64(0), &HOLDS.key().u64(now.saturating_add(1)));
    let mut found: Vec<(u64, [u8; 32], Lot)> = Vec::new();
    state.scan(&range, LOTS_MAX, |key, value| {
        let mut parts = HOLDS.read(key);
        let lot = if value == [1] { Lot::Return } else { Lot::Sale };
        if let Some((at, subject)) = parts.as_mut().and_then(|parts| Some((parts.u64()?, parts.id()?))) {
            found.push((at, subject, lot));
        }
    });
    let row_key = |(_, subject, lot): &(u64, [u8; 32], Lot)| match lot {
        Lot::Sale => sale::key(subject),
        Lot::Return => payout::key(subject),
    };
    let rows = state.get_many(&found.iter().map(row_key).collect::<Vec<_>>());
    let mut due = Vec::new();
    let mut count = 0;
    for ((at, subject, lot), row) in found.into_iter().zip(rows) {
        let Some((currency, parts)) = parts_of(lot, row.as_deref()) else { continue };
        count += parts.len();
        if count > PARTIES_MAX && !due.is_empty() {
            break;
        }
        due.push(Due { at, subject, lot, currency, parts });
    }
    due
}

fn parts_of(lot: Lot, row: Option<&[u8]>) -> Option<(String, Vec<(String, u64)>)> {
    match lot {
        Lot::Sale => {
            let sale = read(row, Sale::decode)?;
            let shares = sale.shares.into_iter().filter(|share| share.part > 0);
            Some((sale.currency, shares.map(|share| (share.party, share.part)).collect()))
        }
        Lot::Return => {
            let payout = read(row, Payout::decode)?;
            Some((payout.currency, Vec::from([(payout.party, payout.part)])))
        }
    }
}

/// Held to available; less what falls of other orders have drawn on it: the oldest lot stands for that, and what younger
/// ones hold stays held.
fn release(lot: &Due, ledger: &Ledger) -> Journal {
    let kind = if lot.lot == Lot::Sale { Kind::Released } else { Kind::ReturnReleased };
    let mut journal = Journal::new(kind, &lot.subject);
    for (party, part) in &lot.parts {
        let amount = ledger.release(&mut journal, party, *part);
        journal.line(Side::Debit, Account::Party(Pocket::Held, party.clone()), amount);
        journal.line(Side::Credit, Account::Party(Pocket::Avail, party.clone()), amount);
    }
    journal
}

/// The lot holds nothing any more.
fn close(state: &mut State, lot: &Due) {
    state.delete(&key(lot.at, &lot.subject));
    match lot.lot {
        Lot::Sale => {
            if let Some(mut sale) = Sale::load(state, &lot.subject) {
                sale.queued = 0;
                sale.shares.iter_mut().for_each(|share| share.part = 0);
                state.set(&sale::key(&lot.subject), sale.encode());
            }
        }
        Lot::Return => {
            if let Some(payout) = Payout::load(state, &lot.subject) {
                Payout { part: 0, ..payout }.store(state, &lot.subject);
            }
        }
    }
}
