//! Facts of the payment provider, in any order and any number of times.
//!
//! Takes `payment.fact`, and the facts within an answer; raises ranks and does what follows. A refund or dispute whose
//! payment is not captured yet keeps its row, and counts when it is: that is how a fact is parked. A payment of ours that
//! belongs to no order of ours is set aside; what is not of our account and mode is refused and leaves nothing, because
//! strangers' events must not make our state grow.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use tally_market::Body;
use tally_market::codes::{FOREIGN_ACCOUNT, MALFORMED, OTHER_MODE};
use tally_plugin::json::Json;
use tally_plugin::record::{Reader, Writer};
use tally_plugin::{Event, Key, Read, Reject, Step, Table, crypto};

use crate::aside::{self, Aside, Why};
use crate::case::{self, Case};
use crate::machine::{Input, Known, Means, Object, Then};
use crate::mutation::{self, Mutation};
use crate::order::{self, Asked, Doing};
use crate::payment::{self, Payment, Role};
use crate::refund;
use crate::settings::{self, Settings};

/// Payment, kind, id: refunds and disputes as the provider knows them.
pub(crate) const OBJECTS: Table = Table::new("object/");
/// Payments of which objects are known and that are not captured yet: log time and place of the first.
pub(crate) const PARKED: Table = Table::new("parked/");

const VERSION: u8 = 1;
/// Longest id of a provider: two of them fit a key.
const ID_BYTES_MAX: usize = 96;
/// Objects of one payment that are counted when it is captured, at most.
const PARKED_MAX: u32 = 1_000;
const MEMBERS: [&str; 13] = [
    "account", "amount", "currency", "event", "id", "livemode", "object", "order", "payment", "payout", "provider",
    "refund", "state",
];

/// A fact, read.
pub(crate) struct Fact<'a> {
    object: Object,
    known: Known,
    id: Cow<'a, str>,
    order: Option<[u8; 32]>,
    payment: Option<Cow<'a, str>>,
    refund: Option<[u8; 32]>,
    amount: u64,
    currency: Cow<'a, str>,
}

/// `payment.fact`.
pub(crate) fn on_fact(step: &mut Step, event: &Event) -> Result<(), Reject> {
    let (roles, settings) = settings::load(&mut step.state)?;
    roles.require_connector("payment", event)?;
    let body = Body::of(event, &MEMBERS)?;
    let fact = Fact::read(&body, &settings)?;
    if event.entity_type() != "payment" || fact.id != event.entity_id() {
        return Err(MALFORMED);
    }
    fact.apply(step, event)
}

impl<'a> Fact<'a> {
    /// A fact within an answer.
    pub(crate) fn within(json: Json<'a>, settings: &Settings) -> Result<Self, Reject> {
        Self::read(&Body::within(json, &MEMBERS)?, settings)
    }

    /// Which of an order's wishes it is the answer to.
    pub(crate) fn answers(&self, order: &[u8; 32], asked: &[Asked]) -> Option<usize> {
        let at = |doing: Doing| asked.iter().position(|asked| asked.doing == doing);
        match (self.object, self.refund) {
            (Object::Refund, Some(refund)) => at(Doing::Refund(refund)),
            (Object::Payment, _) if self.known.means() == Means::Failed => {
                let request = crypto::sha256(&case::cancellation(order, &self.id));
                asked.iter().position(|asked| asked.request == request).or_else(|| at(Doing::Create))
            }
            (Object::Payment, _) => at(Doing::Create),
            _ => None,
        }
    }

    fn read(body: &Body<'a>, settings: &Settings) -> Result<Self, Reject> {
        let (provider, account) = (body.text("provider", 64)?, body.text("account", 64)?);
        if (&*provider, &*account) != (&settings.provider, &settings.account) {
            return Err(FOREIGN_ACCOUNT);
        }
        if body.bool("livemode")? != settings.livemode {
            return Err(OTHER_MODE);
        }
        let object = Object::named(&body.text("object", 16)?).ok_or(MALFORMED)?;
        let known = object.fact(&body.text("state", 32)?).ok_or(MALFORMED)?;
        body.optional_text("event", 255)?;
        body.optional_text("payout", 64)?;
        let payment = body.optional_text("payment", ID_BYTES_MAX)?;
        if payment.is_none() && matches!(object, Object::Refund | Object::Dispute) {
            return Err(MALFORMED);
        }
        Ok(Self {
            object,
            known,
            id: body.text("id", ID_BYTES_MAX)?,
            order: body.optional_bytes("order")?,
            payment,
            refund: body.optional_bytes("refund")?,
            amount: body.number("amount")?,
            currency: body.currency("currency")?,
        })
    }

    /// Does what follows of it.
    pub(crate) fn apply(&self, step: &mut Step, event: &Event) -> Result<(), Reject> {
        match (self.object, &self.payment) {
            (Object::Payment, _) => self.on_payment(step, event),
            (Object::Refund | Object::Dispute, Some(payment)) => self.on_object(step, event, payment),
            // Of payouts the plugin that pays them out is told.
            _ => Ok(()),
        }
    }

    fn on_payment(&self, step: &mut Step, event: &Event) -> Result<(), Reject> {
        let mut keys = Vec::from([payment::key(&self.id), PARKED.key().text(&self.id), aside::key(&self.id)]);
        keys.extend(self.order.as_ref().map(order::key));
        let found = step.state.get_many(&keys);
        let row = |at: usize| found.get(at).and_then(Option::as_deref);
        let (old, aside) = (row(0).and_then(Payment::decode), row(2).and_then(Aside::decode));
        let order = match (&old, self.order) {
            (None, None) => return self.set_aside(step, event, Why::NoOrder, aside.as_ref()),
            (Some(old), Some(named)) if old.order != named => {
                return self.set_aside(step, event, Why::OtherOrder, aside.as_ref());
            }
            (_, Some(_)) if row(3).is_none() => return self.set_aside(step, event, Why::UnknownOrder, aside.as_ref()),
            (Some(old), None) => old.order,
            (_, Some(named)) => named,
        };
        if !self.known.is_news(old.as_ref().map(|old| old.known)) {
            return Ok(());
        }
        let mut case = Case::open(step, order)?;
        if !case.add_payment(&self.id) {
            return self.set_aside(case.step, event, Why::TooMany, aside.as_ref());
        }
        aside.iter().for_each(|aside| aside.settle(&mut case.step.state, &self.id));
        let mut new = Payment::new(order, self.known, self.amount, &self.currency);
        if let Some(old) = &old {
            new = Payment { known: new.known, amount: new.amount, currency: new.currency, ..old.clone() };
        }
        self.follow(&mut case, &mut new, row(1).is_some())?;
        case.put(&self.id, old.as_ref(), &new);
        case.close();
        Ok(())
    }

    /// Keeps it for somebody to look at.
    fn set_aside(&self, step: &mut Step, event: &Event, why: Why, old: Option<&Aside>) -> Result<(), Reject> {
        let new = Aside::new(why, self.known, self.amount, &self.currency, self.order, event);
        new.store(&mut step.state, &self.id, old);
        Ok(())
    }

    /// What follows of a payment's new state.
    fn follow(&self, case: &mut Case<'_>, payment: &mut Payment, parked: bool) -> Result<(), Reject> {
        match self.known.means() {
            Means::Live => {
                if case.on(Input::Live)? == Then::Withdraw {
                    case.withdraw(&self.id, payment);
                }
                Ok(())
            }
            Means::Failed => case.on(Input::Fail).map(drop),
            _ => {
                if parked {
                    unpark(case, &self.id, payment)?;
                }
                case.captured(&self.id, payment)
            }
        }
    }

    fn on_object(&self, step: &mut Step, event: &Event, payment_id: &str) -> Result<(), Reject> {
        let (key, parked) = (key(payment_id, self.object, &self.id), PARKED.key().text(payment_id));
        let found = step.state.get_many(&[key.clone(), payment::key(payment_id), parked.clone()]);
        let old = found.first().and_then(Option::as_deref).and_then(Thing::decode);
        let payment = found.get(1).and_then(Option::as_deref).and_then(Payment::decode);
        let is_news = self.known.is_news(old.as_ref().map(|old| old.known));
        let mut new = match &old {
            Some(old) if !is_news => old.clone(),
            _ => Thing { known: self.known, amount: self.amount, currency: String::from(&*self.currency), ours: None },
        };
        new.ours = old.as_ref().and_then(|old| old.ours);
        let Some(payment) = payment.filter(Payment::is_captured) else {
            if is_news && !mutation::is(Mutation::NoParking) {
                step.state.set(&key, new.encode());
                if found.get(2).is_none_or(Option::is_none) {
                    step.state.set(&parked, Parked { at: event.sequenced_at(), index: event.index() }.encode());
                }
            }
            return Ok(());
        };
        let names_ours = self.refund.filter(|_| new.ours.is_none() && self.object == Object::Refund);
        if !is_news && names_ours.is_none() {
            return Ok(());
        }
        let mut case = Case::open(step, payment.order)?;
        let mut after = payment.clone();
        if let Some(refund) = names_ours
            && refund::bind(&mut case, &refund, payment_id, &mut after)
        {
            new.ours = Some(refund);
        }
        new.count(old.as_ref(), &mut after)?;
        // A dispute that was won has brought back money that was captured in vain.
        if after.role == Role::Surplus && is_news && self.object == Object::Dispute {
            refund::give_back(&mut case, payment_id, &mut after)?;
        }
        case.put(payment_id, Some(&payment), &after);
        case.step.state.set(&key, new.encode());
        case.close();
        Ok(())
    }
}

/// Since when something waits for a payment's capture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Parked {
    /// Log time and place of the first such fact.
    pub(crate) at: u64,
    pub(crate) index: u64,
}

impl Parked {
    fn encode(self) -> Vec<u8> {
        Writer::new().u8(VERSION).u64(self.at).u64(self.index).finish()
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let mut row = Reader::new(row);
        row.u8().filter(|version| *version == VERSION)?;
        Some(Self { at: row.u64()?, index: row.u64()? })
    }
}

/// A refund or a dispute as the provider knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Thing {
    pub(crate) known: Known,
    pub(crate) amount: u64,
    pub(crate) currency: String,
    /// Of a refund: which of ours it is.
    pub(crate) ours: Option<[u8; 32]>,
}

fn key(payment: &str, object: Object, id: &str) -> Key {
    OBJECTS.key().text(payment).id(&[object as u8]).text(id)
}

/// The parts of a key that name an object, behind the payment: whether it is a dispute, and its id.
pub(crate) fn read_key(key: &[u8]) -> Option<(bool, String)> {
    let mut parts = OBJECTS.read(key)?;
    parts.bytes()?;
    let [kind] = parts.id::<1>()?;
    Some((kind == Object::Dispute as u8, parts.text()?))
}

/// Counts what was known of a payment before it was captured.
fn unpark(case: &mut Case<'_>, id: &str, payment: &mut Payment) -> Result<(), Reject> {
    let mut things: Vec<Thing> = Vec::new();
    let range = OBJECTS.key().text(id).within();
    case.step.state.scan(&range, PARKED_MAX, |_, row| things.extend(Thing::decode(row)));
    case.step.state.delete(&PARKED.key().text(id));
    things.iter().try_for_each(|thing| thing.count(None, payment))
}

impl Thing {
    /// Takes its part of a payment, instead of what it took before.
    fn count(&self, old: Option<&Self>, payment: &mut Payment) -> Result<(), Reject> {
        let counts = |thing: &Self| thing.currency == payment.currency;
        let before = old.filter(|old| counts(old)).map(|old| (old.known.means(), old.amount));
        let after = if counts(self) { (self.known.means(), self.amount) } else { (Means::Nothing, 0) };
        payment.foreign |= !counts(self);
        payment.count(before, after)
    }

    fn encode(&self) -> Vec<u8> {
        let row = Writer::new().u8(VERSION).u8(self.known.number()).u64(self.amount).text(&self.currency);
        row.bytes(self.ours.as_ref().map_or(&[], |ours| ours)).finish()
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let mut row = Reader::new(row);
        row.u8().filter(|version| *version == VERSION)?;
        let (known, amount, currency) = (Known::read(row.u8()?)?, row.u64()?, row.text()?.into());
        Some(Self { known, amount, currency, ours: row.bytes()?.try_into().ok() })
    }
}
