//! Orders: what was agreed and where it stands; made and canceled by commands, expired by ticks.
//!
//! Takes commands and `market.tick`; gives rows, the wish to charge, and results. An order is kept before the provider is
//! asked for anything, and it is asked with the amount of the terms.

use alloc::string::String;
use alloc::vec::Vec;

use tally_market::codes::{FORBIDDEN, MALFORMED, STATE};
use tally_market::money::add;
use tally_plugin::json::Object;
use tally_plugin::record::{Reader, Writer};
use tally_plugin::{Event, Key, Range, Read, Reject, Step, Table, crypto};

use crate::case::Case;
use crate::command::Command;
use crate::machine::{Input, State, Then};
use crate::money::{self, Sums};
use crate::terms::{Terms, Wish};
use crate::{quote, reserve};

pub(crate) const ORDERS: Table = Table::new("order/");
/// Buyer, index, order.
pub(crate) const BUYERS: Table = Table::new("buyer/");
/// Deadline, order: of those that wait for their money.
pub(crate) const DUE: Table = Table::new("due/");
/// Order: the licence options, which nobody here reads.
pub(crate) const OPTIONS: Table = Table::new("options/");

/// Orders that one tick expires.
const DUE_MAX: u32 = 32;
/// Payments of one order that are known; the connector makes one.
pub(crate) const PAYMENTS_MAX: usize = 16;
const OPTIONS_BYTES_MAX: usize = 2_000;
const TOKEN_BYTES_MAX: usize = 255;
const VERSION: u8 = 1;

/// What the provider was asked to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Doing {
    Create,
    Cancel,
    Refund([u8; 32]),
}

/// An effect that was asked for and not answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Asked {
    /// SHA-256 of its body, by which an answer names it: no two effects of an order have the same.
    pub(crate) request: [u8; 32],
    pub(crate) doing: Doing,
}

/// An order's row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Order {
    pub(crate) state: State,
    /// Finance has confirmed, whether the payment is known yet or not.
    pub(crate) confirmed: bool,
    pub(crate) buyer: String,
    pub(crate) created_at: u64,
    pub(crate) deadline: u64,
    pub(crate) index: u64,
    /// The hash of the quote it was made from.
    pub(crate) quote: Option<[u8; 32]>,
    /// The provider's payments for it, in the order of their ids.
    pub(crate) payments: Vec<String>,
    /// The one that paid it.
    pub(crate) paid_by: Option<String>,
    pub(crate) sums: Sums,
    /// In the order they were asked for.
    pub(crate) asked: Vec<Asked>,
    pub(crate) terms: Terms,
}

pub(crate) fn key(id: &[u8; 32]) -> Key {
    ORDERS.key().id(id)
}

pub(crate) fn due_key(order: &Order, id: &[u8; 32]) -> Key {
    DUE.key().u64(order.deadline).id(id)
}

/// `checkout.order.created`.
pub(crate) fn create(command: &mut Command<'_>) -> Result<Vec<u8>, Reject> {
    command.require_new()?;
    let body = command.body;
    let wish = Wish::read(&body)?;
    let token = body.text("payment_method", TOKEN_BYTES_MAX)?;
    let options = body.optional("licence_options", |options| {
        Some(options.raw()).filter(|raw| raw.starts_with('{') && raw.len() <= OPTIONS_BYTES_MAX)
    })?;
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(MALFORMED);
    }
    let mut order = draft(command, &wish)?;
    let id = command.step.id("order");
    let step = &mut *command.step;
    reserve::take(&mut step.state, &order.terms, &order.buyer)?;
    step.state.reindex(None, Some(&BUYERS.key().text(&order.buyer).u64(order.index).id(&id)));
    if let Some(options) = options {
        step.state.set(&OPTIONS.key().id(&id), options.as_bytes());
    }
    if order.terms.amount == 0 {
        order.state = State::Paid;
    } else {
        step.state.reindex(None, Some(&due_key(&order, &id)));
        ask_intent(step, &id, &mut order, &token);
    }
    step.state.set(&key(&id), order.encode());
    Ok(result(&id, &order))
}

/// The order as it is agreed, not kept yet.
fn draft(command: &mut Command<'_>, wish: &Wish) -> Result<Order, Reject> {
    let (now, state) = (command.event.sequenced_at(), &mut command.step.state);
    let (terms, quote) = match command.body.optional_bytes::<32>("quote")? {
        None => (wish.price(state, now)?, None),
        Some(id) => {
            let quote = quote::take(state, &id, &command.principal, now)?;
            wish.agrees(state, &quote.terms)?;
            (quote.terms, Some(quote.hash))
        }
    };
    Ok(Order {
        state: State::Created,
        confirmed: false,
        buyer: command.principal.clone(),
        created_at: now,
        deadline: add(now, command.settings.order_us)?,
        index: command.event.index(),
        quote,
        payments: Vec::new(),
        paid_by: None,
        sums: Sums::default(),
        asked: Vec::new(),
        terms,
    })
}

fn ask_intent(step: &mut Step, id: &[u8; 32], order: &mut Order, token: &str) {
    let body = Object::new().number("amount", order.terms.amount).text("currency", &order.terms.offer.currency);
    let body = body.text("op", "intent.create").hex("order", id).text("payment_method", token);
    order.ask(step, id, Doing::Create, &body.finish());
}

fn result(id: &[u8; 32], order: &Order) -> Vec<u8> {
    let object = Object::new().hex("order", id).text("state", order.state.name()).text("status", money::status(order));
    order.terms.show(object).number("expires_at", order.deadline).finish()
}

/// `checkout.order.canceled`: by the buyer, an admin or finance.
pub(crate) fn cancel(command: &mut Command<'_>) -> Result<Vec<u8>, Reject> {
    let id = command.order_id()?;
    command.note(Object::new())?;
    let Command { step, principal, roles, .. } = command;
    let mut case = Case::open(step, id)?;
    let may = case.order.buyer == *principal || roles.has("admins", principal) || roles.has("finance", principal);
    if !may {
        return Err(FORBIDDEN);
    }
    let Then::Go(to) = case.order.state.on(Input::Cancel) else { return Err(STATE) };
    case.enter(to)?;
    case.tidy(None)?;
    let result = Object::new().hex("order", &id).text("state", to.name()).text("status", money::status(&case.order));
    case.close();
    Ok(result.finish())
}

/// `market.tick`: the oldest orders whose deadline is past.
pub(crate) fn tick(step: &mut Step, event: &Event) -> Result<(), Reject> {
    if (event.entity_type(), event.entity_id(), event.body()) != ("market", "tick", b"{}") {
        return Err(MALFORMED);
    }
    let due = Range::between(&DUE.key(), &DUE.key().u64(event.sequenced_at().saturating_add(1)));
    let mut ids: Vec<[u8; 32]> = Vec::new();
    step.state.scan(&due, DUE_MAX, |key, _| {
        let mut parts = DUE.read(key);
        ids.extend(parts.as_mut().and_then(|parts| parts.u64().and_then(|_| parts.id::<32>())));
    });
    step.state.get_many(&ids.iter().map(key).collect::<Vec<_>>());
    for id in ids {
        let mut case = Case::open(step, id)?;
        if let Then::Go(to) = case.order.state.on(Input::Expire) {
            case.enter(to)?;
            case.tidy(None)?;
        }
        case.close();
    }
    Ok(())
}

impl Order {
    /// Asks the provider, and notes that it was asked.
    pub(crate) fn ask(&mut self, step: &mut Step, id: &[u8; 32], doing: Doing, body: &[u8]) {
        self.asked.push(Asked { request: crypto::sha256(body), doing });
        step.effect("payment", &tally_market::hex::encode(id), body);
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let row = Writer::new().u8(VERSION).u8(self.state as u8).u8(u8::from(self.confirmed)).text(&self.buyer);
        let row = row.u64(self.created_at).u64(self.deadline).u64(self.index);
        let row = row.bytes(self.quote.as_ref().map_or(&[], |hash| hash));
        let row = row.text(self.paid_by.as_deref().unwrap_or_default()).u64(self.payments.len() as u64);
        let row = self.payments.iter().fold(row, |row, payment| row.text(payment)).u64(self.asked.len() as u64);
        let row = self.asked.iter().fold(row, |row, asked| match (row.id(&asked.request), asked.doing) {
            (row, Doing::Create) => row.u8(0),
            (row, Doing::Cancel) => row.u8(1),
            (row, Doing::Refund(id)) => row.u8(2).id(&id),
        });
        self.terms.write(self.sums.write(row)).finish()
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let mut row = Reader::new(row);
        row.u8().filter(|version| *version == VERSION)?;
        let (state, confirmed, buyer) = (State::read(row.u8()?)?, row.u8()? == 1, row.text()?.into());
        let (created_at, deadline, index) = (row.u64()?, row.u64()?, row.u64()?);
        let quote = row.bytes()?.try_into().ok();
        let paid_by = Some(row.text()?).filter(|id| !id.is_empty()).map(String::from);
        let payments = (0..row.u64()?).map(|_| row.text().map(String::from)).collect::<Option<_>>()?;
        let mut asked = Vec::new();
        for _ in 0..row.u64()? {
            let request = row.id()?;
            let doing = match row.u8()? {
                0 => Doing::Create,
                1 => Doing::Cancel,
                _ => Doing::Refund(row.id()?),
            };
            asked.push(Asked { request, doing });
        }
        let sums = Sums::decode(&mut row)?;
        let terms = Terms::decode(&mut row)?;
        Some(Self {
            state,
            confirmed,
            buyer,
            created_at,
            deadline,
            index,
            quote,
            payments,
            paid_by,
            sums,
            asked,
            terms,
        })
    }
}
