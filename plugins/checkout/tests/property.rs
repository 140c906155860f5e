//! Facts in any order and commands at any place, against an independent truth; and the same with each rule broken.
//!
//! Two shapes (`TALLY_CASES` runs of each, 5,000 if it does not say): facts of random payments, refunds and disputes,
//! delivered twice in two shuffles with duplicates; and races of refunds and disputes against a provider of its own. The
//! truth knows no rows, no ranks and no deltas: it looks at all facts that were delivered so far, after every event.

mod common;

use std::collections::BTreeMap;

use common::*;
use serde_json::{Value, json};
use tally_checkout::mutation::{Mutation, choose};
use tally_plugin::test_host::Verdict;

/// What is delivered.
#[derive(Clone, Debug, PartialEq)]
enum Event {
    Payment { id: String, state: &'static str, amount: u64 },
    Refund { id: String, payment: String, state: &'static str, amount: u64 },
    Dispute { id: String, payment: String, state: &'static str, amount: u64 },
    Confirm,
    Cancel,
    Deadline,
}

/// All facts that were delivered, and where a command has ended the order.
#[derive(Clone, Default, Debug)]
struct Truth {
    price: u64,
    facts: Vec<Event>,
    closed: Option<&'static str>,
}

#[derive(Debug, PartialEq)]
struct Shown {
    state: String,
    captured: u64,
    refunded: u64,
    open: u64,
    lost: u64,
}

impl Truth {
    /// Payments that have captured: id to amount.
    fn captures(&self) -> BTreeMap<&str, u64> {
        let mut captures = BTreeMap::new();
        for event in &self.facts {
            if let Event::Payment { id, state: "succeeded", amount } = event {
                captures.insert(id.as_str(), *amount);
            }
        }
        captures
    }

    fn state(&self) -> &'static str {
        if let Some(closed) = self.closed {
            return closed;
        }
        let of = |states: &[&str]| {
            self.facts.iter().any(|event| matches!(event, Event::Payment { state, .. } if states.contains(state)))
        };
        let captures = self.captures();
        if captures.values().any(|amount| *amount == self.price) {
            return if self.facts.contains(&Event::Confirm) { "finance_confirmed" } else { "paid" };
        }
        match () {
            () if !captures.is_empty() => "exception",
            () if of(&["failed", "canceled"]) => "failed",
            () if of(&["created", "processing"]) => "awaiting_payment",
            () => "created",
        }
    }

    /// The last word about each refund or dispute of payments that captured the whole price.
    fn sum(&self, word: &'static str) -> u64 {
        let mut last: BTreeMap<&str, (u64, &str, u64)> = BTreeMap::new();
        let captures = self.captures();
        for event in &self.facts {
            let (Event::Refund { id, payment, state, amount } | Event::Dispute { id, payment, state, amount }) = event
            else {
                continue;
            };
            if captures.get(payment.as_str()) != Some(&self.price) {
                continue;
            }
            let loudness = match *state {
                "pending" | "warning" => 1,
                "succeeded" | "open" => 2,
                _ => 3,
            };
            let known = last.entry(id).or_insert((0, "", 0));
            if loudness > known.0 {
                *known = (loudness, state, *amount);
            }
        }
        last.values().filter(|(_, state, _)| *state == word).map(|(.., amount)| amount).sum()
    }

    fn shown(&self) -> Shown {
        let state = self.state();
        let captured = if matches!(state, "paid" | "finance_confirmed") { self.price } else { 0 };
        let whole = self.captures().values().filter(|amount| **amount == self.price).count() as u64;
        let excess = whole * self.price - captured;
        // Money beyond the order's goes back first, then is lost, then is disputed.
        let (refunded, lost, open) = (self.sum("succeeded"), self.sum("lost"), self.sum("open"));
        let covered = |upto: u64| upto.saturating_sub(excess);
        Shown {
            state: state.to_owned(),
            captured,
            refunded: covered(refunded),
            lost: covered(refunded + lost) - covered(refunded),
            open: covered(refunded + lost + open) - covered(refunded + lost),
        }
    }
}

/// What a provider may say of one order, in no order.
fn facts(dice: &mut Dice, price: u64) -> Vec<Event> {
    let mut events = Vec::new();
    for number in 0..=dice.roll(2) {
        let id = format!("pi_{number}");
        let amount = if dice.roll(6) == 0 { price + 1 } else { price };
        let ends = [
            &["created", "processing", "failed", "succeeded"][..],
            &["created", "processing", "canceled"],
            &["processing", "succeeded"],
        ];
        let way = usize::try_from(dice.roll(3)).expect("as it is drawn");
        let states = dice.chain(ends[way]);
        events.extend(states.into_iter().map(|state| Event::Payment { id: id.clone(), state, amount }));
        let mut left = amount;
        for at in 0..dice.roll(4) {
            if left == 0 {
                break;
            }
            let amount = 1 + dice.roll(left);
            left -= amount;
            let (object, payment) = (format!("o_{number}_{at}"), id.clone());
            if dice.roll(2) == 0 {
                let states = dice.chain(&["pending", "succeeded", "failed"]);
                events.extend(states.into_iter().map(|state| Event::Refund {
                    id: object.clone(),
                    payment: payment.clone(),
                    state,
                    amount,
                }));
            } else {
                let end = if dice.roll(2) == 0 { "won" } else { "lost" };
                let states = dice.chain(&["warning", "open", end]);
                events.extend(states.into_iter().map(|state| Event::Dispute {
                    id: object.clone(),
                    payment: payment.clone(),
                    state,
                    amount,
                }));
            }
        }
    }
    if dice.roll(2) == 0 {
        events.push(Event::Confirm);
    }
    events
}

/// A delivery: every fact at least once, in any order; perhaps with a command that ends the order first.
fn delivery(dice: &mut Dice, facts: &[Event]) -> Vec<Event> {
    let mut events = facts.to_vec();
    for _ in 0..dice.roll(4) {
        let again = facts[usize::try_from(dice.roll(facts.len() as u64)).expect("as it is drawn")].clone();
        events.push(again);
    }
    dice.shuffle(&mut events);
    events
}

struct Run {
    market: Market,
    order: String,
    truth: Truth,
    told: Value,
    asked: BTreeMap<String, u64>,
}

impl Run {
    fn new(price: u64) -> Self {
        let mut market = Market::new(price, Some(1));
        let order = market.buy(BUYER);
        let told = json!({"captured": 0, "dispute_lost": 0, "dispute_open": 0, "refunded": 0});
        Self { market, order, truth: Truth { price, ..Truth::default() }, told, asked: BTreeMap::new() }
    }

    fn deliver(&mut self, event: &Event) -> Result<(), String> {
        let before = self.truth.state();
        let market = &mut self.market;
        let outcome = match event {
            Event::Payment { id, state, amount } => market.fact(&payment(id, &self.order, state, *amount)),
            Event::Refund { id, payment, state, amount } => market.fact(&thing("refund", id, payment, state, *amount)),
            Event::Dispute { id, payment, state, amount } => {
                market.fact(&thing("dispute", id, payment, state, *amount))
            }
            Event::Confirm => market.confirm(&self.order, self.truth.price),
            Event::Cancel => market.cancel(BUYER, &self.order),
            Event::Deadline => {
                market.now += ORDER_US;
                market.tick()
            }
        };
        let open = matches!(before, "created" | "awaiting_payment");
        let expected = match event {
            Event::Cancel if !open && before != "exception" => Verdict::Rejected("state".into()),
            _ => Verdict::Accepted,
        };
        if outcome.verdict != expected {
            return Err(format!("{event:?} in {before}: {:?}", outcome.verdict));
        }
        match event {
            Event::Cancel if expected == Verdict::Accepted => self.truth.closed = Some("canceled"),
            Event::Deadline if open => self.truth.closed = Some("expired"),
            Event::Cancel | Event::Deadline => {}
            fact => self.truth.facts.push(fact.clone()),
        }
        for money in moneys(&outcome) {
            self.told = money;
        }
        for effect in effects(&outcome).iter().filter(|effect| effect["op"] == "refund.create") {
            *self.asked.entry(effect["payment"].as_str().expect("as it is drawn").to_owned()).or_default() +=
                effect["amount"].as_u64().expect("as it is drawn");
        }
        self.check()
    }

    /// That all that is shown and told is the truth, at this prefix.
    fn check(&mut self) -> Result<(), String> {
        let order = self.market.order(&self.order);
        let truth = self.truth.shown();
        let total = |of: &Value, name: &str| of[name].as_u64().unwrap_or(u64::MAX);
        let read = |of: &Value| Shown {
            state: order["state"].as_str().unwrap_or_default().to_owned(),
            captured: total(of, "captured"),
            refunded: total(of, "refunded"),
            open: total(of, "dispute_open"),
            lost: total(of, "dispute_lost"),
        };
        for (what, shown) in [("shown", read(&order["totals"])), ("told", read(&self.told))] {
            if shown != truth {
                return Err(format!("{what} {shown:?}, true is {truth:?}"));
            }
        }
        let odd = self.market.exceptions().iter().any(|row| row["reason"] == "mismatch");
        if odd != (truth.state == "exception") {
            return Err(format!("mismatch {odd} in {}", truth.state));
        }
        self.check_surplus(&order)
    }

    /// What was captured in vain, and is not gone already, was asked back.
    fn check_surplus(&self, order: &Value) -> Result<(), String> {
        for (id, amount) in self.truth.captures() {
            let gone = |event: &&Event| matches!(event, Event::Refund { payment, .. } | Event::Dispute { payment, .. } if payment == id);
            let kept = order["payment"] == json!(id) || order["state"] == "exception";
            let asked = self.asked.get(id).copied().unwrap_or(0);
            let untouched = !self.truth.facts.iter().any(|event| gone(&event));
            if (kept && asked > 0) || (!kept && untouched && asked != amount) {
                return Err(format!("{id}: {asked} of {amount} asked back, kept {kept}"));
            }
        }
        Ok(())
    }

    /// That the only lamp is set aside exactly if the order may be or is paid.
    fn check_stock(&mut self) -> Result<(), String> {
        let holds = !matches!(self.truth.state(), "canceled" | "expired" | "failed" | "exception");
        let sold = self.market.try_buy(OTHER, json!({})).verdict;
        let expected = if holds { Verdict::Rejected("not_for_sale".into()) } else { Verdict::Accepted };
        if sold == expected { Ok(()) } else { Err(format!("stock: {sold:?} where it holds: {holds}")) }
    }
}

/// Whether how an order is shown hangs on when facts came: which of two whole payments was first, or how much of what was
/// captured in vain was still there to be asked back.
fn decided(order: &Value) -> bool {
    let asked =
        order["refunds"].as_array().is_some_and(|refunds| refunds.iter().any(|refund| refund.get("refund").is_some()));
    asked || order["payments"].as_array().is_some_and(|payments| payments.len() > 1)
}

/// What of it hangs on facts alone.
fn of_facts(order: &Value) -> Value {
    let mut order = order.clone();
    order["refunds"].as_array_mut().expect("as it is drawn").retain(|refund| refund.get("refund").is_none());
    order.as_object_mut().expect("as it is drawn").retain(|name, _| name != "payment" && name != "status");
    order["totals"].as_object_mut().expect("as it is drawn").remove("refund_pending");
    order
}

/// That two ends of one set of facts are one.
fn equal(first: &Value, second: &Value) -> bool {
    if decided(first) || decided(second) { of_facts(first) == of_facts(second) } else { first == second }
}

/// Two deliveries of one set of facts end in one state, which is the truth after every event.
fn deliveries(seed: u64) -> Result<(), String> {
    let mut dice = Dice(seed);
    let price = 1 + dice.roll(9);
    let facts = facts(&mut dice, price);
    let command = [None, None, Some(Event::Cancel), Some(Event::Deadline)]
        [usize::try_from(dice.roll(4)).expect("as it is drawn")]
    .clone();
    let first = dice.roll(2) == 0;
    let mut ends = Vec::new();
    for _ in 0..2 {
        let mut run = Run::new(price);
        let mut events = delivery(&mut dice, &facts);
        if let Some(command) = &command {
            let at = if first { 0 } else { dice.roll(events.len() as u64 + 1) };
            events.insert(usize::try_from(at).expect("as it is drawn"), command.clone());
        }
        for (at, event) in events.iter().enumerate() {
            run.deliver(event).map_err(|why| format!("{why}\nafter {:?}", &events[..=at]))?;
        }
        ends.push((run.truth.closed, run.market.order(&run.order)));
        run.check_stock()?;
    }
    // A command counts at its place: where it ended the order in both or in neither, the ends are equal.
    if ends[0].0 == ends[1].0 && (command.is_none() || first) && !equal(&ends[0].1, &ends[1].1) {
        return Err(format!("{}\nand\n{}", ends[0].1, ends[1].1));
    }
    Ok(())
}

/// A provider with its own books of one payment, which does not let more go than it has.
#[derive(Default)]
struct Provider {
    /// Effects that wait: refund, amount and body.
    waiting: Vec<(String, u64, Vec<u8>)>,
    refunds: Vec<(String, String, u64, &'static str)>,
    disputes: Vec<(String, u64, &'static str)>,
    answers: u64,
    /// Of refusals that nobody heard: it stays reserved, and nobody else's reservation goes instead.
    forgotten: u64,
}

impl Provider {
    fn gone(&self) -> u64 {
        let refunds: u64 =
            self.refunds.iter().filter(|(.., state)| *state != "failed").map(|(.., amount, _)| amount).sum();
        refunds + self.disputes.iter().filter(|(.., state)| *state != "won").map(|(_, amount, _)| amount).sum::<u64>()
    }
}

struct Race {
    market: Market,
    order: String,
    price: u64,
    provider: Provider,
    /// Every fact that was sent, to be sent again.
    sent: Vec<Value>,
    /// What we have heard: each object's amount that is reserved or gone.
    heard: BTreeMap<String, u64>,
}

impl Race {
    fn new(price: u64) -> Self {
        let mut market = Market::new(price, None);
        let order = market.buy(BUYER);
        accepted(&market.answer(CONNECTOR, &answered(0, &order, json!([payment("pi_1", &order, "succeeded", price)]))));
        Self {
            market,
            order,
            price,
            provider: Provider { answers: 1, ..Provider::default() },
            sent: Vec::new(),
            heard: BTreeMap::new(),
        }
    }

    fn send(&mut self, fact: Value) -> Result<(), String> {
        let verdict = self.market.fact(&fact).verdict;
        self.sent.push(fact);
        if verdict == Verdict::Accepted { Ok(()) } else { Err(format!("{verdict:?}")) }
    }

    /// Asks for a refund: it is accepted exactly if it leaves room for all that is reserved or gone.
    fn ask(&mut self, dice: &mut Dice) -> Result<(), String> {
        let amount = 1 + dice.roll(self.price);
        let outcome = self.market.refund(BUYER, &self.order, amount);
        let taken: u64 = self.heard.values().sum();
        let expected =
            if taken + amount <= self.price { Verdict::Accepted } else { Verdict::Rejected("exceeds".into()) };
        if outcome.verdict != expected {
            return Err(format!("{amount} beside {taken} of {}: {:?}", self.price, outcome.verdict));
        }
        for (effect, asked) in effects(&outcome).iter().zip(&outcome.effects) {
            let refund = effect["refund"].as_str().expect("as it is drawn").to_owned();
            self.heard.insert(refund.clone(), amount);
            self.provider.waiting.push((refund, amount, asked.body.clone()));
        }
        Ok(())
    }

    /// The provider does a wish, mostly the oldest, or refuses it, and answers; one in eight answers never comes, as where
    /// the plugin was away. An answer is about its own wish whatever became of the others.
    fn perform(&mut self, dice: &mut Dice) -> Result<(), String> {
        if self.provider.waiting.is_empty() {
            return Ok(());
        }
        let at = if dice.roll(3) == 0 { dice.roll(self.provider.waiting.len() as u64) } else { 0 };
        let (refund, amount, body) = self.provider.waiting.remove(usize::try_from(at).expect("as it is drawn"));
        let is_lost = dice.roll(8) == 0;
        let number = self.provider.answers;
        self.provider.answers += 1;
        let answer = if self.provider.gone() + amount > self.price || dice.roll(5) == 0 {
            if is_lost {
                self.provider.forgotten += amount;
                return Ok(());
            }
            self.heard.remove(&refund);
            declined(number, &self.order, &body)
        } else {
            let id = format!("re_{number}");
            let state = if dice.roll(2) == 0 { "pending" } else { "succeeded" };
            self.provider.refunds.push((id.clone(), refund.clone(), amount, state));
            let fact = with(thing("refund", &id, "pi_1", state, amount), json!({"refund": refund}));
            if is_lost {
                return self.send(fact);
            }
            self.sent.push(fact.clone());
            answered(number, &self.order, json!([fact]))
        };
        for _ in 0..=dice.roll(2) {
            let verdict = self.market.answer(CONNECTOR, &answer).verdict;
            if verdict != Verdict::Accepted {
                return Err(format!("answer: {verdict:?}"));
            }
        }
        Ok(())
    }

    /// A refund goes on: it succeeds, or fails even after it has succeeded.
    fn refund_goes_on(&mut self, dice: &mut Dice) -> Result<(), String> {
        let open: Vec<usize> =
            (0..self.provider.refunds.len()).filter(|at| self.provider.refunds[*at].3 != "failed").collect();
        if open.is_empty() {
            return Ok(());
        }
        let at = open[usize::try_from(dice.roll(open.len() as u64)).expect("as it is drawn")];
        let (id, refund, amount, state) = self.provider.refunds[at].clone();
        let next = if state == "pending" && dice.roll(2) == 0 { "succeeded" } else { "failed" };
        self.provider.refunds[at].3 = next;
        if next == "failed" {
            self.heard.remove(&refund);
        }
        self.send(with(thing("refund", &id, "pi_1", next, amount), json!({"refund": refund})))
    }

    fn dispute(&mut self, dice: &mut Dice) -> Result<(), String> {
        let open: Vec<usize> =
            (0..self.provider.disputes.len()).filter(|at| self.provider.disputes[*at].2 == "open").collect();
        let room = self.price - self.provider.gone();
        let (id, amount, state) = if dice.roll(2) == 0 && room > 0 {
            let id = format!("dp_{}", self.provider.disputes.len());
            let amount = 1 + dice.roll(room);
            self.provider.disputes.push((id.clone(), amount, "open"));
            (id, amount, "open")
        } else if let Some(at) = open.first() {
            self.provider.disputes[*at].2 = if dice.roll(2) == 0 { "won" } else { "lost" };
            self.provider.disputes[*at].clone()
        } else {
            return Ok(());
        };
        self.heard.insert(id.clone(), if state == "won" { 0 } else { amount });
        self.send(thing("dispute", &id, "pi_1", state, amount))
    }

    fn again(&mut self, dice: &mut Dice) -> Result<(), String> {
        if self.sent.is_empty() {
            return Ok(());
        }
        let fact = self.sent[usize::try_from(dice.roll(self.sent.len() as u64)).expect("as it is drawn")].clone();
        self.send(fact)
    }

    /// Our books are the provider's.
    fn check(&mut self) -> Result<(), String> {
        let totals = self.market.order(&self.order)["totals"].clone();
        let refunds = |word: &str| -> u64 {
            self.provider.refunds.iter().filter(|(.., state)| *state == word).map(|(.., amount, _)| amount).sum()
        };
        let disputes = |word: &str| -> u64 {
            self.provider.disputes.iter().filter(|(.., state)| *state == word).map(|(_, amount, _)| amount).sum()
        };
        let waiting = self.provider.waiting.iter().map(|(_, amount, _)| amount).sum::<u64>() + self.provider.forgotten;
        let truth = json!({
            "captured": self.price, "dispute_lost": disputes("lost"), "dispute_open": disputes("open"),
            "refund_pending": refunds("pending") + waiting, "refunded": refunds("succeeded"),
        });
        if totals != truth {
            return Err(format!("shown {totals}, true is {truth}"));
        }
        let gone = refunds("succeeded") + refunds("pending") + disputes("open") + disputes("lost");
        if gone > self.price || !self.market.exceptions().is_empty() {
            return Err(format!("{gone} of {} is gone", self.price));
        }
        Ok(())
    }
}

/// Refunds by command, their answers and failures, and disputes, in any interleaving.
fn race(seed: u64) -> Result<(), String> {
    let mut dice = Dice(seed);
    let mut race = Race::new(2 + dice.roll(20));
    for _ in 0..8 + dice.roll(12) {
        match dice.roll(6) {
            0 | 1 => race.ask(&mut dice)?,
            2 => race.perform(&mut dice)?,
            3 => race.refund_goes_on(&mut dice)?,
            4 => race.dispute(&mut dice)?,
            _ => race.again(&mut dice)?,
        }
        race.check()?;
    }
    Ok(())
}

/// The first run that breaks a law.
fn broken(mutation: Option<Mutation>, runs: u64, law: fn(u64) -> Result<(), String>) -> Option<(u64, String)> {
    choose(mutation);
    let found = (0..runs).find_map(|seed| law(seed).err().map(|why| (seed, why)));
    choose(None);
    found
}

fn cases() -> u64 {
    std::env::var("TALLY_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(5_000)
}

#[test]
fn any_order_and_duplication_of_facts_ends_in_the_truth_at_every_prefix() {
    assert_eq!(broken(None, cases(), deliveries), None);
}

#[test]
fn refunds_and_disputes_never_take_the_same_money_and_our_books_are_the_providers() {
    assert_eq!(broken(None, cases(), race), None);
}

#[test]
fn every_rule_that_is_broken_on_purpose_is_noticed() {
    for mutation in Mutation::ALL {
        let noticed = broken(Some(mutation), 2_000, deliveries).or_else(|| broken(Some(mutation), 2_000, race));
        assert!(noticed.is_some(), "{mutation:?} was not noticed");
    }
}
