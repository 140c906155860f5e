//! An order at work in a step: its row is read once and written once, and what changes of its money is told once.
//!
//! Takes what happened to the order or to one of its payments; does what [`crate::machine`] says follows: reservations,
//! deadlines, payments to let go of, and money to give back.

use alloc::string::String;
use alloc::vec::Vec;

use tally_market::codes::NOT_FOUND;
use tally_plugin::json::Object;
use tally_plugin::{Read, Reject, Step};

use crate::machine::{Input, Means, State, Then};
use crate::money::{self, Sums, Totals};
use crate::order::{self, Doing, Order, PAYMENTS_MAX};
use crate::payment::{self, EXCEPTIONS, Payment, Role};
use crate::{refund, reserve};

/// An order at work.
pub(crate) struct Case<'a> {
    pub(crate) step: &'a mut Step,
    pub(crate) id: [u8; 32],
    pub(crate) order: Order,
    before: Totals,
}

impl<'a> Case<'a> {
    /// Takes an order up.
    pub(crate) fn open(step: &'a mut Step, id: [u8; 32]) -> Result<Self, Reject> {
        let order = step.state.get(&order::key(&id)).and_then(|row| Order::decode(&row)).ok_or(NOT_FOUND)?;
        let before = Totals::of(&order);
        Ok(Self { step, id, order, before })
    }

    /// Puts it back, and tells the others what changed of its money.
    pub(crate) fn close(self) {
        self.step.state.set(&order::key(&self.id), self.order.encode());
        money::tell(self.step, &self.id, &self.order, &self.before);
    }

    /// Goes to another state, with what is set aside and the deadline that belong to it.
    pub(crate) fn enter(&mut self, to: State) -> Result<(), Reject> {
        let (from, order) = (self.order.state, &mut self.order);
        match (from.holds(), to.holds()) {
            (false, true) => reserve::take(&mut self.step.state, &order.terms, &order.buyer)?,
            (true, false) => reserve::release(&mut self.step.state, &order.terms, &order.buyer),
            _ => {}
        }
        if from.is_open() && !to.is_open() {
            self.step.state.delete(&order::due_key(order, &self.id));
        }
        order.state = to;
        if order.confirmed {
            self.confirm();
        }
        Ok(())
    }

    /// What follows of a fact that moves no money.
    pub(crate) fn on(&mut self, input: Input) -> Result<Then, Reject> {
        let then = self.order.state.on(input);
        if let Then::Go(to) = then {
            self.enter(to)?;
        }
        Ok(then)
    }

    /// Finance has confirmed: at once if it is paid, else as soon as it is.
    pub(crate) fn confirm(&mut self) {
        self.order.confirmed = true;
        if let Then::Go(to) = self.order.state.on(Input::Confirm) {
            self.order.state = to;
        }
    }

    /// Another payment for this order, unless it has too many.
    pub(crate) fn add_payment(&mut self, id: &str) -> bool {
        let payments = &mut self.order.payments;
        match payments.binary_search_by(|known| known.as_str().cmp(id)) {
            Ok(_) => true,
            Err(_) if payments.len() == PAYMENTS_MAX => false,
            Err(at) => {
                payments.insert(at, String::from(id));
                true
            }
        }
    }

    /// The payments for this order.
    pub(crate) fn payments(&mut self) -> Vec<(String, Payment)> {
        let ids = self.order.payments.clone();
        let rows = self.step.state.get_many(&ids.iter().map(|id| payment::key(id)).collect::<Vec<_>>());
        let found = ids.into_iter().zip(rows);
        found.filter_map(|(id, row)| Some((id, Payment::decode(&row?)?))).collect()
    }

    /// Keeps a payment, with what it adds to the order's sums and whether somebody must look at it.
    pub(crate) fn put(&mut self, id: &str, old: Option<&Payment>, new: &Payment) {
        self.order.sums.replace(old.map_or_else(Sums::default, Payment::sums), new.sums());
        let state = &mut self.step.state;
        let (was, is) = (old.and_then(Payment::alarm), new.alarm());
        if was != is {
            let key = EXCEPTIONS.key().id(&self.id).text(id);
            match is {
                Some(reason) => state.set(&key, reason.as_bytes()),
                None => state.delete(&key),
            }
        }
        state.set(&payment::key(id), new.encode());
    }

    /// Money was captured: it pays the order, or is kept for somebody to look at, or goes back.
    pub(crate) fn captured(&mut self, id: &str, payment: &mut Payment) -> Result<(), Reject> {
        let terms = &self.order.terms;
        payment.whole = payment.amount == terms.amount && payment.currency == terms.offer.currency;
        let input = if payment.whole { Input::Capture } else { Input::Mismatch };
        match self.order.state.on(input) {
            Then::Go(State::Exception) => {
                self.enter(State::Exception)?;
                payment.role = Role::Odd;
            }
            // What was set aside may be another's by now: then this money was captured in vain.
            Then::Go(to) if self.enter(to).is_ok() => {
                payment.role = Role::Pays;
                self.order.paid_by = Some(String::from(id));
                self.tidy(Some(id))?;
            }
            Then::Go(_) | Then::GiveBack => {
                payment.role = Role::Surplus;
                refund::give_back(self, id, payment)?;
            }
            _ => payment.role = Role::Odd,
        }
        Ok(())
    }

    /// What becomes of the other payments in the order's new state.
    pub(crate) fn tidy(&mut self, except: Option<&str>) -> Result<(), Reject> {
        for (id, old) in self.payments() {
            if except == Some(id.as_str()) {
                continue;
            }
            let mut new = old.clone();
            self.withdraw(&id, &mut new);
            if new.role == Role::Odd && self.order.state != State::Exception {
                new.role = Role::Surplus;
                refund::give_back(self, &id, &mut new)?;
            }
            if new != old {
                self.put(&id, Some(&old), &new);
            }
        }
        Ok(())
    }

    /// Asks the provider to let go of a payment that may still succeed, where the order does not want it any more.
    pub(crate) fn withdraw(&mut self, id: &str, payment: &mut Payment) {
        let live = payment.known.means() == Means::Live;
        if !live || payment.withdrawn || self.order.state.on(Input::Live) != Then::Withdraw {
            return;
        }
        payment.withdrawn = true;
        self.order.ask(self.step, &self.id, Doing::Cancel, &cancellation(&self.id, id));
    }
}

/// What asks the provider to let go of a payment.
pub(crate) fn cancellation(order: &[u8; 32], payment: &str) -> Vec<u8> {
    Object::new().text("op", "intent.cancel").hex("order", order).text("payment", payment).finish()
}
