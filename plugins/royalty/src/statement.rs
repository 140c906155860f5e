//! A party's statement: opening, every movement, closing, debt carried, what is on its way out; over a range of the log.
//!
//! Takes a party, a currency and a half-open range of log indices; gives JSON or CSV from the same rows. Each movement's row
//! holds the balance after it, so opening, closing and totals are exact whatever the page, and a statement of a range that
//! is over never changes.

use alloc::string::String;
use alloc::vec::Vec;

use tally_market::hex;
use tally_plugin::json::{Array, INTEGER_MAX, Object};
use tally_plugin::query::Request;
use tally_plugin::{Range, Read};

use crate::balance::{Balance, read, signed};
use crate::csv::Line;
use crate::journal::Pocket;
use crate::moves::{MOVES, Move, front};
use crate::payout::{BY_PARTY, Payout, key};
use crate::routes::{MALFORMED, Page, Refusal, number};

/// Newest payouts among which those on their way are listed; their sum is exact in any case.
const PAYOUTS_MAX: u32 = 100;

/// A movement, and what was before it.
struct Row {
    index: u64,
    it: Move,
    before: Balance,
}

/// What is asked for.
struct Asked<'a> {
    owner: &'a str,
    currency: &'a str,
    from: u64,
    to: u64,
    csv: bool,
}

/// Answers.
pub(crate) fn answer(state: &mut impl Read, request: &Request<'_>, owner: &str) -> Result<Vec<u8>, Refusal> {
    let currency = request.arg("currency").filter(|text| is_currency(text)).ok_or(MALFORMED)?;
    let csv = match request.arg("format").as_deref() {
        None | Some("json") => false,
        Some("csv" | "csv-rows") => true,
        Some(_) => return Err(MALFORMED),
    };
    let bound = |name: &str, default| Ok(number(request, name)?.unwrap_or(default).min(INTEGER_MAX));
    let asked = Asked { owner, currency: &currency, from: bound("from", 0)?, to: bound("to", INTEGER_MAX)?, csv };
    if asked.from > asked.to {
        return Err(MALFORMED);
    }
    let opening = balance_before(state, &asked, asked.from);
    let closing = balance_before(state, &asked, asked.to);
    let at = |index: u64| front(owner, &currency).u64(index);
    let page = Page::of(state, request, Range::between(&at(asked.from), &at(asked.to)))?;
    let before = page.after.as_ref().and_then(|key| balance_of(state.page(&only(key), 1).iter().next()?.1));
    let rows = rows(&page, before.unwrap_or(opening));
    let body = shown(&asked, &opening, &closing, &rows, &page);
    let pending = pending(state, &asked, closing.pending);
    Ok(page.close(body.raw("pending", &pending)))
}

pub(crate) fn is_currency(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// The range of one key.
fn only(key: &[u8]) -> Range {
    // From behind the key backwards: the key's own row comes first.
    MOVES.key().within().reversed().after(&[key, &[0]].concat())
}

fn balance_of(row: &[u8]) -> Option<Balance> {
    read(Some(row), Move::decode).map(|movement| movement.balance)
}

/// What the party had before a place in the log.
fn balance_before(state: &mut impl Read, asked: &Asked<'_>, index: u64) -> Balance {
    let front = front(asked.owner, asked.currency);
    let range = Range::between(&front, &front.clone().u64(index)).reversed();
    state.page(&range, 1).iter().next().and_then(|(_, row)| balance_of(row)).unwrap_or_default()
}

fn rows(page: &Page, mut before: Balance) -> Vec<Row> {
    let mut rows = Vec::new();
    for (key, row) in &page.rows {
        let mut parts = MOVES.read(key);
        let index = parts.as_mut().and_then(|parts| {
            parts.bytes()?;
            parts.bytes()?;
            parts.u64()
        });
        let (Some(index), Some(it)) = (index, read(Some(row), Move::decode)) else { continue };
        let after = it.balance;
        rows.push(Row { index, it, before });
        before = after;
    }
    rows
}

fn shown(asked: &Asked<'_>, opening: &Balance, closing: &Balance, rows: &[Row], page: &Page) -> Object {
    let count = |number: u64| number.cast_signed();
    let totals = signed(Object::new(), "corrections", closing.corrections - opening.corrections);
    let totals = signed(totals, "fees", closing.fees - opening.fees);
    let totals = signed(totals, "paid", count(closing.paid) - count(opening.paid));
    let totals = signed(totals, "reversals", closing.reversals - opening.reversals);
    let totals = signed(totals, "sales", count(closing.sales) - count(opening.sales));
    let body = Object::new()
        .raw("closing", &closing.to_json())
        .text("currency", asked.currency)
        .number("debt", closing.pocket(Pocket::Owed))
        .number("from", asked.from)
        .raw("opening", &opening.to_json())
        .text("owner", asked.owner)
        .number("to", asked.to)
        .raw("totals", &totals.finish());
    if asked.csv {
        return body.text("csv", &as_csv(asked, opening, closing, rows, page));
    }
    body.raw("rows", &rows.iter().fold(Array::new(), |array, row| array.raw(&row.to_json())).finish())
}

impl Row {
    fn amount(&self) -> i64 {
        self.it.balance.worth() - self.before.worth()
    }

    fn change(&self, pocket: Pocket) -> i64 {
        self.it.balance.pocket(pocket).cast_signed() - self.before.pocket(pocket).cast_signed()
    }

    fn to_json(&self) -> Vec<u8> {
        let kind = self.it.kind;
        let object = signed(Object::new(), "amount", self.amount()).number("at", self.it.at);
        let object = signed(object, "avail", self.change(Pocket::Avail));
        let object = signed(object, "balance", self.it.balance.worth());
        let object = signed(signed(object, "gross", self.it.gross), "held", self.change(Pocket::Held));
        let object = object.number("index", self.index).hex("journal", &self.it.journal).text("kind", kind.name());
        let object = signed(object, "lock", self.change(Pocket::Lock)).hex(kind.subject(), &self.it.subject);
        signed(object, "owed", self.change(Pocket::Owed)).text("rule", kind.rule()).finish()
    }

    fn to_csv(&self, asked: &Asked<'_>) -> String {
        let kind = self.it.kind;
        let line = Line::default().number(self.index.cast_signed()).number(self.it.at.cast_signed()).text(kind.name());
        let line = line.text(&hex::encode(&self.it.subject)).text(&hex::encode(&self.it.journal)).text(kind.rule());
        let line = line.text(asked.owner).text(asked.currency).number(self.it.gross).number(self.amount());
        let line = Pocket::ALL.iter().fold(line, |line, pocket| line.number(self.change(*pocket)));
        line.number(self.it.balance.worth()).finish()
    }
}

/// The first page begins with the opening, the last ends with the closing and what is on its way.
fn as_csv(asked: &Asked<'_>, opening: &Balance, closing: &Balance, rows: &[Row], page: &Page) -> String {
    let mut text = String::new();
    if page.after.is_none() {
        text.push_str(
            "index,at,kind,subject,journal,rule,owner,currency,gross,amount,held,avail,lock,owed,balance\r\n",
        );
        text.push_str(&edge(asked, "opening", asked.from, opening));
    }
    rows.iter().for_each(|row| text.push_str(&row.to_csv(asked)));
    if page.next.is_none() {
        text.push_str(&edge(asked, "closing", asked.to, closing));
        let line = Line::default().number(asked.to.cast_signed()).text("").text("pending_payouts");
        let line = line.text("").text("").text("").text(asked.owner).text(asked.currency).text("");
        let line = line.number(closing.pending.cast_signed()).text("").text("").text("").text("").text("");
        text.push_str(&line.finish());
    }
    text
}

/// A line of balances instead of changes.
fn edge(asked: &Asked<'_>, kind: &str, index: u64, balance: &Balance) -> String {
    let line = Line::default().number(index.cast_signed()).text("").text(kind).text("").text("").text("");
    let line = line.text(asked.owner).text(asked.currency).text("").text("");
    let line = Pocket::ALL.iter().fold(line, |line, pocket| line.number(balance.pocket(*pocket).cast_signed()));
    line.number(balance.worth()).finish()
}

/// What was asked for and not paid at the end of the range.
fn pending(state: &mut impl Read, asked: &Asked<'_>, amount: u64) -> Vec<u8> {
    let front = BY_PARTY.key().text(asked.owner).text(asked.currency);
    let range = Range::between(&front, &front.clone().u64(asked.to)).reversed();
    let mut ids: Vec<[u8; 32]> = Vec::new();
    state.scan(&range, PAYOUTS_MAX, |key, _| ids.extend(key.last_chunk::<32>()));
    let rows = state.get_many(&ids.iter().map(key).collect::<Vec<_>>());
    let open = ids.iter().zip(rows).filter_map(|(id, row)| {
        let payout = read(row.as_deref(), Payout::decode).filter(|payout| payout.is_pending_at(asked.to))?;
        Some(Object::new().number("amount", payout.amount).number("index", payout.requested).hex("payout", id).finish())
    });
    let list = open.fold(Array::new(), |array, payout| array.raw(&payout)).finish();
    Object::new().number("amount", amount).raw("payouts", &list).finish()
}
