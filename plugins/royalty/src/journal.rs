//! Journals: what was posted, why and by which rule. Written once, never changed.
//!
//! Takes amounts for accounts; gives lines that are positive, at least two, and balanced ([`Journal::is_balanced`]). The
//! chart of accounts, per currency: `psp`, `disp`, `psp_fees` and `loss` are nobody's; `clr/` and a payout is money on its
//! way out; `held/`, `avail/`, `lock/` and `owed/` and a party are the party's.

use alloc::string::String;
use alloc::vec::Vec;

use tally_market::hex;
use tally_plugin::json::{Array, Object};
use tally_plugin::record::{Reader, Writer};
use tally_plugin::{Key, Read, Table};

use crate::balance::{read, signed};
use crate::chain::Head;

/// Log index, number of the journal.
pub(crate) const JOURNALS: Table = Table::new("journal/");
/// A journal's id to its key.
pub(crate) const PLACES: Table = Table::new("place/");

const VERSION: u8 = 1;

/// Accounts that are nobody's; debit balances.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum System {
    /// What the provider holds for us.
    Psp,
    /// What a dispute holds.
    Disp,
    /// What the provider keeps; corrections say so.
    PspFees,
    /// What the provider moved beyond the capture.
    Loss,
}

impl System {
    pub(crate) const ALL: [Self; 4] = [Self::Psp, Self::Disp, Self::PspFees, Self::Loss];

    pub(crate) const fn name(self) -> &'static str {
        ["psp", "disp", "psp_fees", "loss"][self as usize]
    }
}

/// Accounts of a party; credit balances, but for what is owed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Pocket {
    Held,
    Avail,
    Lock,
    Owed,
}

impl Pocket {
    pub(crate) const ALL: [Self; 4] = [Self::Held, Self::Avail, Self::Lock, Self::Owed];

    pub(crate) const fn name(self) -> &'static str {
        ["held/", "avail/", "lock/", "owed/"][self as usize]
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Account {
    System(System),
    Clearing([u8; 32]),
    Party(Pocket, String),
}

impl Account {
    /// As it is written.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::System(system) => system.name().into(),
            Self::Clearing(payout) => String::from("clr/") + &hex::encode(payout),
            Self::Party(pocket, party) => String::from(pocket.name()) + party,
        }
    }

    fn encode(&self, row: Writer) -> Writer {
        match self {
            Self::System(system) => row.u8(*system as u8),
            Self::Clearing(payout) => row.u8(4).id(payout),
            Self::Party(pocket, party) => row.u8(5 + *pocket as u8).text(party),
        }
    }

    fn decode(row: &mut Reader<'_>) -> Option<Self> {
        match row.u8()? {
            code @ 0..4 => Some(Self::System(System::ALL[usize::from(code)])),
            4 => Some(Self::Clearing(row.id()?)),
            code @ 5..9 => Some(Self::Party(Pocket::ALL[usize::from(code - 5)], row.text()?.into())),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Debit,
    Credit,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Line {
    pub(crate) account: Account,
    pub(crate) side: Side,
    pub(crate) amount: u64,
    /// Of the split rule; 0 where there is none.
    pub(crate) weight: u64,
}

impl Line {
    pub(crate) fn encode(&self, row: Writer) -> Writer {
        let row = self.account.encode(row.u8(u8::from(self.side == Side::Credit)));
        row.u64(self.amount).u64(self.weight)
    }

    pub(crate) fn decode(row: &mut Reader<'_>) -> Option<Self> {
        let side = if row.u8()? == 0 { Side::Debit } else { Side::Credit };
        Some(Self { account: Account::decode(row)?, side, amount: row.u64()?, weight: row.u64()? })
    }

    fn to_json(&self) -> Vec<u8> {
        let side = if self.side == Side::Debit { "debit" } else { "credit" };
        let object = Object::new().text("account", &self.account.text()).number("amount", self.amount);
        let object = object.text("side", side);
        if self.weight == 0 { object.finish() } else { object.number("weight", self.weight).finish() }
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $subject:literal, $rule:expr;)+) => {
        /// Why something is posted.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum Kind { $($(#[$doc])* $name,)+ }

        impl Kind {
            const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// As it is written.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// What its subject is.
            pub(crate) const fn subject(self) -> &'static str {
                match self { $(Self::$name => $subject,)+ }
            }

            /// The id of the rule that its amounts follow.
            pub(crate) const fn rule(self) -> &'static str {
                match self { $(Self::$name => $rule,)+ }
            }

            pub(crate) fn of_code(code: u8) -> Option<Self> {
                Self::ALL.get(usize::from(code)).copied()
            }
        }
    };
}

kinds! {
    Sale = "sale", "order", tally_market::money::SPLIT_RULE;
    Refund = "refund", "order", crate::cascade::REVERSE_RULE;
    RefundFailed = "refund_failed", "order", crate::cascade::REVERSE_RULE;
    DisputeOpened = "dispute_opened", "order", crate::cascade::REVERSE_RULE;
    DisputeWon = "dispute_won", "order", crate::cascade::REVERSE_RULE;
    DisputeLost = "dispute_lost", "order", crate::cascade::REVERSE_RULE;
    /// Several of the above at once.
    Adjusted = "adjusted", "order", crate::cascade::REVERSE_RULE;
    /// Held, and now available.
    Released = "released", "order", "hold/time-1";
    PayoutRequested = "payout_requested", "payout", "payout/avail-1";
    PayoutPaid = "payout_paid", "payout", "payout/avail-1";
    /// Canceled, or failed: what is owed first, the rest is held.
    PayoutReturned = "payout_returned", "payout", "return/owed-1";
    /// What came back is available again.
    ReturnReleased = "return_released", "payout", "hold/time-1";
    /// Made by people.
    Corrected = "corrected", "correction", "correct/admin-1";
}

impl Kind {
    /// Whether it changes what a party has of an order.
    pub(crate) fn is_of_order(self) -> bool {
        self.subject() == "order" && self != Self::Released
    }
}

/// What a payout's journal changes beside accounts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Payee {
    pub(crate) party: String,
    pub(crate) pending: i64,
    pub(crate) paid: i64,
}

/// One journal, of one currency.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Journal {
    pub(crate) kind: Kind,
    /// The id of an order, a payout or a correction.
    pub(crate) subject: [u8; 32],
    /// By how much the free part of the order changes, of all parties together.
    pub(crate) gross: i64,
    pub(crate) payee: Option<Payee>,
    /// By how much the parts of holds change, by party.
    pub(crate) parts: Vec<(String, i64)>,
    pub(crate) lines: Vec<Line>,
}

impl Journal {
    pub(crate) fn new(kind: Kind, subject: &[u8; 32]) -> Self {
        Self { kind, subject: *subject, gross: 0, payee: None, parts: Vec::new(), lines: Vec::new() }
    }

    /// A line, unless the amount is nothing.
    pub(crate) fn line(&mut self, side: Side, account: Account, amount: u64) {
        self.weighted(side, account, amount, 0);
    }

    /// The same, with the weight that the amount follows from.
    pub(crate) fn weighted(&mut self, side: Side, account: Account, amount: u64, weight: u64) {
        if amount > 0 {
            self.lines.push(Line { account, side, amount, weight });
        }
    }

    /// A line that changes a debit balance by this much.
    pub(crate) fn by(&mut self, account: Account, change: i64) {
        let side = if change < 0 { Side::Credit } else { Side::Debit };
        self.line(side, account, change.unsigned_abs());
    }

    /// Whether debits equal credits, in at least two lines.
    pub(crate) fn is_balanced(&self) -> bool {
        let of = |side: Side| {
            let lines = self.lines.iter().filter(move |line| line.side == side);
            lines.map(|line| u128::from(line.amount)).sum::<u128>()
        };
        self.lines.len() >= 2 && of(Side::Debit) == of(Side::Credit)
    }

    /// Its lines as canonical JSON.
    pub(crate) fn lines_json(&self) -> Vec<u8> {
        self.lines.iter().fold(Array::new(), |array, line| array.raw(&line.to_json())).finish()
    }

    /// The row that it leaves, but for what is in front of it.
    fn encode(&self, entry: &Entry<'_>) -> Vec<u8> {
        let row = Writer::new().id(&entry.id).u8(self.kind as u8).id(&self.subject).text(entry.currency);
        let row = row.u64(entry.at).u64(self.gross.cast_unsigned());
        self.lines.iter().fold(row, |row, line| line.encode(row)).finish()
    }
}

/// What a journal gets where it is posted.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) id: [u8; 32],
    pub(crate) currency: &'a str,
    /// Log time in microseconds.
    pub(crate) at: u64,
    /// The log index.
    pub(crate) index: u64,
    /// Where the chain ended before it.
    pub(crate) head: Head,
}

/// The rows that a posted journal leaves, and where the chain ends with it.
pub(crate) fn rows(journal: &Journal, entry: &Entry<'_>) -> ([(Key, Vec<u8>); 2], Head) {
    let Entry { id, index, head, .. } = entry;
    let key = JOURNALS.key().u64(*index).u64(head.count);
    let place = Writer::new().u64(*index).u64(head.count).finish();
    let row = journal.encode(entry);
    let shown = shown((*index, head.count), &mut Reader::new(&row), |_, object| object).unwrap_or_default();
    let after = head.after(&shown);
    let mut whole = Writer::new().u8(VERSION).id(&after.root).finish();
    whole.extend_from_slice(&row);
    ([(key, whole), (PLACES.key().id(id), place)], after)
}

/// The root of the chain after a journal, from its row.
pub(crate) fn root(row: &[u8]) -> Option<[u8; 32]> {
    read(Some(row), front)
}

/// What is in front of a row.
fn front(row: &[u8]) -> Option<[u8; 32]> {
    let mut row = Reader::new(row);
    row.u8().filter(|version| *version == VERSION)?;
    row.id()
}

/// The key of a journal, by its id.
pub(crate) fn find(state: &mut impl Read, id: &[u8; 32]) -> Option<Key> {
    let place = state.get(&PLACES.key().id(id))?;
    let mut place = Reader::new(&place);
    Some(JOURNALS.key().u64(place.u64()?).u64(place.u64()?))
}

/// A row as canonical JSON, with what else is known of it.
pub(crate) fn to_json(key: &[u8], row: &[u8], more: impl FnOnce(&[u8; 32], Object) -> Object) -> Vec<u8> {
    let of_row = |row: &[u8]| {
        let mut parts = JOURNALS.read(key)?;
        let place = (parts.u64()?, parts.u64()?);
        let mut row = Reader::new(row);
        row.u8().filter(|version| *version == VERSION)?;
        row.id::<32>()?;
        shown(place, &mut row, more)
    };
    read(Some(row), of_row).unwrap_or_default()
}

fn shown(
    (index, number): (u64, u64),
    row: &mut Reader<'_>,
    more: impl FnOnce(&[u8; 32], Object) -> Object,
) -> Option<Vec<u8>> {
    let (id, kind, subject) = (row.id::<32>()?, Kind::of_code(row.u8()?)?, row.id::<32>()?);
    let object = Object::new().text("currency", row.text()?).number("at", row.u64()?);
    let object = signed(object, "gross", row.u64()?.cast_signed()).hex("id", &id);
    let object = object.number("index", index).text("kind", kind.name());
    let object = object.raw("lines", &lines_of(row)?).number("number", number);
    Some(more(&id, object.hex(kind.subject(), &subject).text("rule", kind.rule())).finish())
}

fn lines_of(row: &mut Reader<'_>) -> Option<Vec<u8>> {
    let mut lines = Array::new();
    while !row.is_empty() {
        lines = lines.raw(&Line::decode(row)?.to_json());
    }
    Some(lines.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_two_positive_lines_that_are_equal() {
        let mut journal = Journal::new(Kind::Refund, &[1; 32]);
        assert!(!journal.is_balanced());
        journal.by(Account::System(System::Psp), -5);
        journal.line(Side::Debit, Account::Party(Pocket::Held, "a".into()), 4);
        assert!(!journal.is_balanced());
        journal.line(Side::Debit, Account::Party(Pocket::Held, "b".into()), 1);
        journal.line(Side::Debit, Account::Party(Pocket::Held, "c".into()), 0);
        assert!(journal.is_balanced() && journal.lines.len() == 3);
        let alone = Journal { lines: journal.lines[..1].to_vec(), ..journal };
        assert!(!alone.is_balanced());
    }
}
