//! Refunds that we ask for: by command, or because money was captured in vain.
//!
//! Takes commands; reserves the money in the same step in which the provider is asked for it, so that of two refunds and a
//! dispute no two have the same money. A refusal by the provider gives the reservation back; a fact of the provider about
//! the refund takes its place.

use alloc::string::String;
use alloc::vec::Vec;

use tally_market::codes::{EXCEEDS, FORBIDDEN, MALFORMED, STATE};
use tally_market::money::add;
use tally_plugin::json::Object;
use tally_plugin::record::{Reader, Writer};
use tally_plugin::{Key, Read, Reject, Table};

use crate::case::Case;
use crate::command::Command;
use crate::machine::{Input, Then};
use crate::mutation::{self, Mutation};
use crate::order::Doing;
use crate::payment::{self, Payment, Role};

/// Order, refund: those that we asked for.
pub(crate) const REFUNDS: Table = Table::new("refund/");

/// Effects of an order that wait for their answer, at most; a further refund waits for one of them.
const ASKED_MAX: usize = 64;
const VERSION: u8 = 1;

/// Where a refund that we asked for is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// The provider does not know it yet.
    Asked,
    /// The provider knows it: what it says counts.
    Bound,
    /// The provider has refused to make it.
    Refused,
}

const STAGES: [Stage; 3] = [Stage::Asked, Stage::Bound, Stage::Refused];

/// A refund's row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refund {
    pub(crate) payment: String,
    pub(crate) amount: u64,
    pub(crate) stage: Stage,
}

pub(crate) fn key(order: &[u8; 32], refund: &[u8; 32]) -> Key {
    REFUNDS.key().id(order).id(refund)
}

/// `checkout.refund.requested`: by the buyer, the SKU's owner, an admin or finance.
pub(crate) fn request(command: &mut Command<'_>) -> Result<Vec<u8>, Reject> {
    let order_id = command.order_id()?;
    let amount = command.body.number("amount")?;
    if amount == 0 {
        return Err(MALFORMED);
    }
    command.note(Object::new().number("amount", amount))?;
    let Command { step, principal, roles, .. } = command;
    let mut case = Case::open(step, order_id)?;
    let order = &case.order;
    let party = order.buyer == *principal || order.terms.offer.owner == *principal;
    if !party && !roles.has("admins", principal) && !roles.has("finance", principal) {
        return Err(FORBIDDEN);
    }
    let (payment, old) = source(&mut case, amount)?;
    if case.order.asked.len() >= ASKED_MAX {
        return Err(STATE);
    }
    let mut new = old.clone();
    let refund = ask(&mut case, &payment, &mut new, amount)?;
    case.put(&payment, Some(&old), &new);
    let result = Object::new().number("amount", amount).text("currency", &new.currency).hex("order", &order_id);
    let result = result.hex("refund", &refund).text("state", "pending").finish();
    case.close();
    Ok(result)
}

/// The payment that a refund is taken from. Of an order that is paid: what was captured in vain first. Of another: what was
/// captured in vain, as a whole.
fn source(case: &mut Case<'_>, amount: u64) -> Result<(String, Payment), Reject> {
    let then = case.order.state.on(Input::Refund);
    let mut payments = case.payments();
    match then {
        Then::Allow => {
            payments.retain(|(_, payment)| payment.whole && payment.available() >= amount);
            payments.sort_by_key(|(_, payment)| payment.role == Role::Pays);
        }
        Then::Whole => {
            payments.retain(|(_, payment)| payment.available() > 0);
            if payments.is_empty() {
                return Err(STATE);
            }
            payments.retain(|(_, payment)| payment.available() == amount);
        }
        _ => return Err(STATE),
    }
    payments.into_iter().next().ok_or(EXCEEDS)
}

/// Gives back what is left of a payment that was captured in vain.
pub(crate) fn give_back(case: &mut Case<'_>, id: &str, payment: &mut Payment) -> Result<(), Reject> {
    match payment.available() {
        0 => Ok(()),
        amount => ask(case, id, payment, amount).map(drop),
    }
}

/// Reserves the money and asks the provider.
fn ask(case: &mut Case<'_>, id: &str, payment: &mut Payment, amount: u64) -> Result<[u8; 32], Reject> {
    let refund = case.step.id("refund");
    payment.asked = add(payment.asked, amount)?;
    let row = Refund { payment: String::from(id), amount, stage: Stage::Asked };
    case.step.state.set(&key(&case.id, &refund), row.encode());
    let body = Object::new().number("amount", amount).text("currency", &payment.currency);
    let body = body.text("op", "refund.create").hex("order", &case.id).text("payment", id).hex("refund", &refund);
    case.order.ask(case.step, &case.id, Doing::Refund(refund), &body.finish());
    Ok(refund)
}

/// The provider knows a refund that we asked for: what it says counts instead of the reservation. Gives whether it is ours.
pub(crate) fn bind(case: &mut Case<'_>, refund: &[u8; 32], id: &str, payment: &mut Payment) -> bool {
    let key = key(&case.id, refund);
    let row = case.step.state.get(&key).and_then(|row| Refund::decode(&row)).filter(|row| row.payment == id);
    let Some(row) = row else { return false };
    if row.stage == Stage::Asked {
        payment.asked = payment.asked.saturating_sub(row.amount);
    }
    case.step.state.set(&key, Refund { stage: Stage::Bound, ..row }.encode());
    true
}

/// The provider has refused to make a refund.
pub(crate) fn refused(case: &mut Case<'_>, refund: &[u8; 32]) {
    let key = key(&case.id, refund);
    let asked = case.step.state.get(&key).and_then(|row| Refund::decode(&row)).filter(|row| row.stage == Stage::Asked);
    let Some(row) = asked else { return };
    let found = case.step.state.get(&payment::key(&row.payment)).and_then(|row| Payment::decode(&row));
    let Some(old) = found else { return };
    let mut new = old.clone();
    if !mutation::is(Mutation::RefusalKeepsReservation) {
        new.asked = new.asked.saturating_sub(row.amount);
    }
    case.put(&row.payment, Some(&old), &new);
    case.step.state.set(&key, Refund { stage: Stage::Refused, ..row }.encode());
}

impl Refund {
    fn encode(&self) -> Vec<u8> {
        Writer::new().u8(VERSION).text(&self.payment).u64(self.amount).u8(self.stage as u8).finish()
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let mut row = Reader::new(row);
        row.u8().filter(|version| *version == VERSION)?;
        let (payment, amount) = (row.text()?.into(), row.u64()?);
        Some(Self { payment, amount, stage: *STAGES.get(usize::from(row.u8()?))? })
    }
}
