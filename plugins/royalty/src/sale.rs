//! The money of an order: shares at capture, positions ever after.
//!
//! Takes `checkout.money`, emitted by checkout with all totals of an order; posts the difference between what the totals say
//! and what was posted, and nothing else, so that totals may come in any order and again. Never refuses a derived event:
//! one that makes no sense (another currency, other shares, a sum beyond 2^53 − 1) is a fault, and posts nothing.

use alloc::string::String;
use alloc::vec::Vec;

use tally_market::Body;
use tally_market::codes::{FORBIDDEN, MALFORMED};
use tally_plugin::json::Json;
use tally_plugin::record::{Reader, Writer};
use tally_plugin::{Event, Key, Read, Reject, State, Step, Table};

use crate::balance::read;
use crate::journal::{Account, Journal, Kind, Pocket, Side, System};
use crate::ledger::Ledger;
use crate::mutation::{self, Mutation};
use crate::parties::is_party;
use crate::position::{Standing, Totals};
use crate::settings::Settings;
use crate::{faults, holds, settings, settle};

/// Order.
pub(crate) const SALES: Table = Table::new("sale/");

const VERSION: u8 = 1;
/// Most parties of one sale.
const PARTIES_MAX: usize = 32;
const TEXT_BYTES_MAX: usize = 96;

/// What a party has of a sale.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Share {
    pub(crate) party: String,
    /// Of the split rule, pinned in the order.
    pub(crate) weight: u64,
    /// Of the whole amount.
    pub(crate) share: u64,
    /// As posted last.
    pub(crate) position: u64,
    /// In a dispute, as posted last.
    pub(crate) lock: u64,
    /// Held because of this sale, and not yet released.
    pub(crate) part: u64,
}

/// What was posted for an order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Sale {
    pub(crate) currency: String,
    owner: String,
    sku: String,
    version: u64,
    pub(crate) totals: Totals,
    /// When what is held may be released, in log time; known from the capture on.
    due: u64,
    /// Where it stands among the holds; 0 if it does not.
    pub(crate) queued: u64,
    pub(crate) settlement: Option<settle::Asked>,
    pub(crate) shares: Vec<Share>,
}

/// Key of a sale.
pub(crate) fn key(order: &[u8; 32]) -> Key {
    SALES.key().id(order)
}

/// `checkout.money`.
pub(crate) fn on_money(step: &mut Step, event: &Event) -> Result<(), Reject> {
    if !event.is_derived() {
        return Err(FORBIDDEN);
    }
    if let Err(why) = follow(step, event) {
        faults::note(&mut step.state, event, why.code());
    }
    Ok(())
}

/// Nothing is written before everything that can fail is done.
fn follow(step: &mut Step, event: &Event) -> Result<(), Reject> {
    let (order, told) = read_money(event)?;
    step.state.get_many(&[settings::key(), key(&order)]);
    let settings = Settings::load(&mut step.state);
    let mut sale = Sale::load(&mut step.state, &order).unwrap_or_else(|| told.before());
    if !sale.is_same(&told) {
        return Err(MALFORMED);
    }
    if sale.totals == told.totals {
        return Ok(());
    }
    let parties = sale.shares.iter().map(|share| share.party.as_str());
    let mut ledger = Ledger::load(&mut step.state, &sale.currency, parties);
    let mut standing = sale.totals.standing();
    let captures = sale.totals.captured == 0 && told.totals.captured > 0;
    let mut capture = None;
    if captures {
        let journal = sale.capture(&order, &ledger);
        standing.psp += told.totals.captured.cast_signed();
        sale.due = event.sequenced_at().saturating_add(settings.hold);
        ledger.post(journal.clone())?;
        capture = Some(journal);
    }
    let journal = sale.adjust(&order, &ledger, standing, told.totals);
    ledger.post(journal)?;
    let ids = ledger.commit(step, event);
    sale.requeue(&mut step.state, &order, event.sequenced_at());
    if let Some((journal, id)) = capture.zip(ids.first()).filter(|_| settings.settle && sale.settlement.is_none()) {
        let asked = settle::ask(step, &order, id, &sale.currency, told.totals.captured, &journal);
        sale.settlement = Some(asked);
    }
    step.state.set(&key(&order), sale.encode());
    Ok(())
}

impl Sale {
    pub(crate) fn load(state: &mut impl Read, order: &[u8; 32]) -> Option<Self> {
        read(state.get(&key(order)).as_deref(), Self::decode)
    }

    pub(crate) fn amount(&self) -> u64 {
        self.shares.iter().map(|share| share.share).sum()
    }

    /// The same sale before anything happened.
    fn before(&self) -> Self {
        Self { totals: Totals::default(), ..self.clone() }
    }

    /// Whether what is pinned is the same, and the capture is nothing or the whole.
    fn is_same(&self, told: &Self) -> bool {
        let pinned = |share: &Share| (share.share, share.weight);
        let shares = self.shares.iter().zip(&told.shares).all(|(a, b)| a.party == b.party && pinned(a) == pinned(b));
        let whole = told.totals.captured == 0 || told.totals.captured == told.amount();
        shares && whole && self.shares.len() == told.shares.len() && self.currency == told.currency
    }

    /// The journal of the capture: the whole comes in, each beneficiary has its share.
    fn capture(&mut self, order: &[u8; 32], ledger: &Ledger) -> Journal {
        let mut journal = Journal::new(Kind::Sale, order);
        let amount = self.amount();
        journal.gross = amount.cast_signed();
        journal.line(Side::Debit, Account::System(System::Psp), amount);
        for share in &mut self.shares {
            share.part += ledger.rise(&mut journal, &share.party, share.share, share.weight);
            share.position = share.share;
        }
        journal
    }

    /// The journal that leads from what is posted to what the totals say.
    fn adjust(&mut self, order: &[u8; 32], ledger: &Ledger, from: Standing, told: Totals) -> Journal {
        let to = told.standing();
        let mut journal = Journal::new(kind_of(&self.totals, &told), order);
        journal.by(Account::System(System::Psp), to.psp - from.psp);
        journal.by(Account::System(System::Disp), to.disp - from.disp);
        journal.by(Account::System(System::Loss), to.loss - from.loss);
        let shares: Vec<u64> = self.shares.iter().map(|share| share.share).collect();
        let (positions, locks) = self.target(&told, &shares);
        for ((share, position), lock) in self.shares.iter_mut().zip(positions).zip(locks) {
            journal.gross += position.cast_signed() - share.position.cast_signed();
            if position >= share.position {
                share.part += ledger.rise(&mut journal, &share.party, position - share.position, 0);
            } else {
                share.part -= ledger.fall(&mut journal, &share.party, share.position - position, share.part);
            }
            let locked = Account::Party(Pocket::Lock, share.party.clone());
            // A lock is a credit balance.
            journal.by(locked, share.lock.cast_signed() - lock.cast_signed());
            (share.position, share.lock) = (position, lock);
        }
        self.totals = told;
        journal
    }

    fn target(&self, told: &Totals, shares: &[u64]) -> (Vec<u64>, Vec<u64>) {
        let fallen = self.totals.dispute_open.saturating_sub(told.dispute_open);
        let won = fallen.saturating_sub(told.dispute_lost.saturating_sub(self.totals.dispute_lost));
        if mutation::is(Mutation::WonIsLost) && won > 0 {
            return Totals { dispute_lost: told.dispute_lost + won, ..*told }.divide(shares);
        }
        if mutation::is(Mutation::SequentialReversal) && told.captured > 0 {
            let (sum, goal) = told.divide(shares);
            let left: Vec<u64> = self.shares.iter().map(|share| share.position).collect();
            let total = sum.iter().sum::<u64>();
            if total <= left.iter().sum() {
                return (tally_market::money::divide(total, &left), goal);
            }
        }
        told.divide(shares)
    }

    /// Among the holds exactly while something is held and nothing is disputed.
    fn requeue(&mut self, state: &mut State, order: &[u8; 32], now: u64) {
        let disputed = self.totals.dispute_open > 0 && !mutation::is(Mutation::ReleaseUnderDispute);
        let waits = !disputed && self.shares.iter().any(|share| share.part > 0);
        if waits && self.queued == 0 {
            self.queued = self.due.max(now);
            holds::put(state, self.queued, order, holds::Lot::Sale);
        } else if !waits && self.queued > 0 {
            state.delete(&holds::key(self.queued, order));
            self.queued = 0;
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let Totals { captured, refunded, dispute_open, dispute_lost } = self.totals;
        let row = Writer::new().u8(VERSION).text(&self.currency).text(&self.owner).text(&self.sku).u64(self.version);
        let row = row.u64(captured).u64(refunded).u64(dispute_open).u64(dispute_lost).u64(self.due).u64(self.queued);
        let row = match &self.settlement {
            Some(asked) => row.u8(1).id(&asked.journal).id(&asked.content).id(&asked.body),
            None => row.u8(0),
        };
        let shares = self.shares.iter().fold(row, |row, share| {
            let row = row.text(&share.party).u64(share.weight).u64(share.share);
            row.u64(share.position).u64(share.lock).u64(share.part)
        });
        shares.finish()
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let mut row = Reader::new(row);
        row.u8().filter(|version| *version == VERSION)?;
        let (currency, owner, sku, version) = (row.text()?.into(), row.text()?.into(), row.text()?.into(), row.u64()?);
        let totals =
            Totals { captured: row.u64()?, refunded: row.u64()?, dispute_open: row.u64()?, dispute_lost: row.u64()? };
        let (due, queued) = (row.u64()?, row.u64()?);
        let settlement = match row.u8()? {
            1 => Some(settle::Asked { journal: row.id()?, content: row.id()?, body: row.id()? }),
            _ => None,
        };
        let mut shares = Vec::new();
        while !row.is_empty() {
            let (party, weight, share) = (row.text()?.into(), row.u64()?, row.u64()?);
            shares.push(Share { party, weight, share, position: row.u64()?, lock: row.u64()?, part: row.u64()? });
        }
        Some(Self { currency, owner, sku, version, totals, due, queued, settlement, shares })
    }
}

/// What happened, by what changed; where several things did, an adjustment.
fn kind_of(from: &Totals, to: &Totals) -> Kind {
    use core::cmp::Ordering::{Equal, Greater, Less};
    let change = |total: fn(&Totals) -> u64| total(to).cmp(&total(from));
    let changes =
        (change(|totals| totals.refunded), change(|totals| totals.dispute_open), change(|totals| totals.dispute_lost));
    match changes {
        (Greater, Equal, Equal) => Kind::Refund,
        (Less, Equal, Equal) => Kind::RefundFailed,
        (Equal, Greater, Equal) => Kind::DisputeOpened,
        (Equal, Less, Equal) => Kind::DisputeWon,
        (Equal, _, Greater) => Kind::DisputeLost,
        _ => Kind::Adjusted,
    }
}

const MEMBERS: [&str; 11] = [
    "captured",
    "currency",
    "dispute_lost",
    "dispute_open",
    "order",
    "owner",
    "parties",
    "refunded",
    "shares",
    "sku",
    "version",
];

/// The order, and the sale as the event tells it.
fn read_money(event: &Event) -> Result<([u8; 32], Sale), Reject> {
    let body = Body::within(event.json().map_err(|_| MALFORMED)?, &MEMBERS)?;
    let totals = Totals {
        captured: body.number("captured")?,
        refunded: body.number("refunded")?,
        dispute_open: body.number("dispute_open")?,
        dispute_lost: body.number("dispute_lost")?,
    };
    let sale = Sale {
        currency: body.currency("currency")?.into_owned(),
        owner: body.text("owner", TEXT_BYTES_MAX)?.into_owned(),
        sku: body.text("sku", TEXT_BYTES_MAX)?.into_owned(),
        version: body.number("version")?,
        totals,
        due: 0,
        queued: 0,
        settlement: None,
        shares: read_shares(&body)?,
    };
    Ok((body.bytes("order")?, sale))
}

fn read_shares(body: &Body<'_>) -> Result<Vec<Share>, Reject> {
    let weights = pairs(body, "parties", "weight")?;
    let mut shares: Vec<Share> = Vec::new();
    let mut sum = 0;
    for (party, share) in pairs(body, "shares", "amount")? {
        if shares.len() == PARTIES_MAX || !is_party(&party) || shares.iter().any(|other| other.party == party) {
            return Err(MALFORMED);
        }
        sum = tally_market::money::add(sum, share)?;
        let weight = weights.iter().find(|(other, _)| *other == party).map_or(0, |(_, weight)| *weight);
        shares.push(Share { party, weight, share, position: 0, lock: 0, part: 0 });
    }
    Ok(shares)
}

fn pairs(body: &Body<'_>, list: &str, number: &str) -> Result<Vec<(String, u64)>, Reject> {
    let list = body.member(list, |list| list.raw().starts_with('[').then_some(list))?;
    let pair = |item: Json<'_>| {
        let item = Body::within(item, &[number, "party"])?;
        Ok((item.text("party", TEXT_BYTES_MAX)?.into_owned(), item.number(number)?))
    };
    list.items().map(pair).collect()
}
