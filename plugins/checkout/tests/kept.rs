//! No command edits or deletes an order or a record: random commands, of admins above all, on orders in every state.
//!
//! `TALLY_CASES` runs, and at least 300. After every event all rows and all orders are held against those before it:
//! facts and deadlines may move what the table of transitions moves, commands much less, and nobody what was agreed.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::*;
use serde_json::{Value, json};
use tally_checkout::Checkout;
use tally_checkout::machine::{Input, State, Then};
use tally_plugin::Plugin;
use tally_plugin::test_host::{TestEvent, Verdict};

const PRICE: u64 = 100;
const RUNS_MIN: u64 = 300;
const COMMANDS: [&str; 7] = [
    "checkout.order.canceled",
    "checkout.order.created",
    "checkout.order.fulfilled",
    "checkout.promotion.created",
    "checkout.promotion.ended",
    "checkout.quote.requested",
    "checkout.refund.requested",
];
/// What somebody may wish there were.
const FORGED: [&str; 6] = [
    "checkout.audit.deleted",
    "checkout.money",
    "checkout.order.deleted",
    "checkout.order.edited",
    "checkout.promotion.deleted",
    "checkout.refund.deleted",
];
/// Members of an order that move with its payments; all others are what was agreed.
const MOVING: [&str; 10] = [
    "delivery",
    "disputes",
    "finance_confirmed",
    "money",
    "payment",
    "payments",
    "refunds",
    "state",
    "status",
    "totals",
];

struct World {
    market: Market,
    dice: Dice,
    orders: Vec<String>,
    /// Accepted commands of admins by type, and the states of orders in which they came.
    done: BTreeSet<String>,
    states: BTreeSet<String>,
}

/// A command that was sent: the order that it may move, and whether it was accepted.
struct Done {
    moves: Option<(String, Input)>,
    is_accepted: bool,
}

/// What was there before an event.
struct Before {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    orders: BTreeMap<String, Value>,
}

impl World {
    fn new(seed: u64) -> Self {
        let (done, states) = (BTreeSet::new(), BTreeSet::new());
        Self { market: Market::new(PRICE, Some(4)), dice: Dice(seed), orders: Vec::new(), done, states }
    }

    fn before(&mut self) -> Before {
        let orders = self.orders.iter().map(|id| (id.clone(), self.market.order(id))).collect();
        Before { rows: self.market.host.host().state.clone(), orders }
    }

    fn any_order(&mut self) -> String {
        if self.orders.is_empty() || self.dice.roll(20) == 0 { "00".repeat(32) } else { self.dice.pick(&self.orders) }
    }

    fn turn(&mut self) {
        match self.dice.roll(10) {
            0 | 1 => self.buy(),
            2..=5 => self.fact(),
            _ => self.command(),
        }
    }

    fn buy(&mut self) {
        let before = self.before();
        let promotion = if self.dice.roll(3) == 0 { json!("p0") } else { Value::Null };
        let outcome = self.market.try_buy(BUYER, json!({"promotion": promotion, "licence_options": {"seats": 1}}));
        if outcome.verdict == Verdict::Accepted {
            let order = self.market.result()["order"].as_str().expect("an id").to_owned();
            self.orders.push(order);
        }
        self.check(&before, None);
    }

    /// Something that moves an order.
    fn fact(&mut self) {
        let (before, order) = (self.before(), self.any_order());
        let payment_id = format!("pi_{}_{}", &order[..8], self.dice.roll(2));
        let amount = if self.dice.roll(6) == 0 { PRICE + 1 } else { PRICE };
        match self.dice.roll(8) {
            0 => {
                self.market.now += ORDER_US;
                self.market.tick();
            }
            1 => drop(self.market.confirm(&order, PRICE)),
            2 | 3 => {
                let object = self.dice.pick(&["refund", "dispute"]);
                let states: [&str; 3] =
                    if object == "refund" { ["pending", "succeeded", "failed"] } else { ["open", "won", "lost"] };
                let (state, part) = (self.dice.pick(&states), 1 + self.dice.roll(PRICE));
                self.market.fact(&thing(object, &format!("o_{}", self.dice.roll(3)), &payment_id, state, part));
            }
            _ => {
                let state = self.dice.pick(&["created", "failed", "succeeded", "succeeded"]);
                self.market.fact(&payment(&payment_id, &order, state, amount));
            }
        }
        self.check(&before, None);
    }

    fn command(&mut self) {
        let by = self.dice.pick(&[ADMIN, ADMIN, ADMIN, CASHIER, BUYER, OTHER, OWNER, DELIVERER, DELIVERER]);
        let forged = self.dice.roll(6) == 0;
        let kind = if forged { self.dice.pick(&FORGED) } else { self.dice.pick(&COMMANDS) };
        let order = self.any_order();
        let name = format!("p{}", self.dice.roll(3));
        let amount = 1 + self.dice.roll(PRICE);
        let (entity, body) = match kind {
            "checkout.order.created" => ("new", Market::wish()),
            "checkout.quote.requested" => ("new", with(Market::wish(), json!({"payment_method": null}))),
            "checkout.promotion.created" => {
                let rule =
                    json!({"bps": self.dice.roll(10_001), "from": 0, "kind": "percent", "until": self.market.now * 2});
                ("new", json!({"promotion": name, "reason": "asked", "rule": rule}))
            }
            "checkout.order.fulfilled" => (order.as_str(), json!({"proof_sha256": "e5".repeat(32)})),
            "checkout.promotion.ended" => ("new", json!({"promotion": name, "reason": "asked"})),
            "checkout.refund.requested" => (order.as_str(), json!({"amount": amount, "reason": "asked"})),
            _ => (order.as_str(), json!({"reason": "asked"})),
        };
        let before = self.before();
        let state = before.orders.get(&order).map(|order| order["state"].as_str().expect("a state").to_owned());
        let outcome = self.market.fresh(by, kind, entity, body);
        assert!(!forged || outcome.verdict == Verdict::Rejected("malformed".into()), "{kind}: {:?}", outcome.verdict);
        if outcome.verdict == Verdict::Accepted && kind == "checkout.order.created" {
            let order = self.market.result()["order"].as_str().expect("an id").to_owned();
            self.orders.push(order);
        }
        // Not even an admin says that something was delivered.
        let may = if kind == "checkout.order.fulfilled" { DELIVERER } else { ADMIN };
        if by == may && outcome.verdict == Verdict::Accepted {
            self.done.insert(kind.to_owned());
        }
        if by == ADMIN && kind == "checkout.order.canceled" {
            self.states.extend(state);
        }
        let input = match kind {
            "checkout.order.canceled" => Some(Input::Cancel),
            "checkout.order.fulfilled" => Some(Input::Fulfil),
            _ => None,
        };
        let moves = input.filter(|_| outcome.verdict == Verdict::Accepted).map(|input| (order, input));
        self.check(&before, Some(&Done { moves, is_accepted: outcome.verdict == Verdict::Accepted }));
    }

    /// That nothing is gone or edited; of a command, that nothing moved but what it may move.
    fn check(&mut self, before: &Before, command: Option<&Done>) {
        let after = kept(&self.market.host.host().state);
        for (key, row) in kept(&before.rows) {
            assert_eq!(after.get(&key), Some(&row), "{}", String::from_utf8_lossy(&key));
        }
        for (id, was) in &before.orders {
            let is = self.market.order(id);
            assert_eq!(without(&is, &MOVING), without(was, &MOVING), "{id}");
            let Some(Done { moves, is_accepted }) = command else { continue };
            if !is_accepted {
                assert_eq!(is, *was);
            }
            let facts = ["delivery", "money", "refunds", "state", "status", "totals"];
            assert_eq!(without(&is, &facts), without(was, &facts), "what the provider said is not a command's to move");
            assert_eq!(
                without(&is["totals"], &["refund_pending"]),
                without(&was["totals"], &["refund_pending"]),
                "{id}"
            );
            let refunds = |order: &Value| order["refunds"].as_array().expect("refunds").clone();
            assert!(refunds(was).iter().all(|refund| refunds(&is).contains(refund)), "{id}");
            let by = moves.iter().find(|(order, _)| order == id).map(|(_, input)| *input);
            let moved = is["state"] != was["state"];
            assert!(!moved || by.is_some_and(|input| is_in_the_table(was, input, &is)), "{was} to {is}");
        }
    }
}

fn is_in_the_table(was: &Value, input: Input, is: &Value) -> bool {
    let from = State::ALL.into_iter().find(|state| was["state"] == state.name()).expect("a state");
    matches!(from.on(input), Then::Go(to) if is["state"] == to.name())
}

fn without(value: &Value, names: &[&str]) -> Value {
    let mut value = value.clone();
    value.as_object_mut().expect("an object").retain(|name, _| !names.contains(&name.as_str()));
    value
}

/// What may never change again, of all rows.
fn kept(state: &BTreeMap<Vec<u8>, Vec<u8>>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut kept = BTreeMap::new();
    for (key, row) in state {
        let front = key.iter().position(|byte| *byte == b'/').map_or(key.as_slice(), |at| &key[..=at]);
        let kept_of_row = match front {
            b"answered/" | b"audit/" | b"buyer/" | b"delivery/" | b"once/" | b"options/" | b"result/" => row.clone(),
            // How far it is stands last.
            b"refund/" => row[..row.len() - 1].to_vec(),
            // Whether it has ended and how often it was used stand last.
            b"promotion/" => row[..row.len() - 9].to_vec(),
            // That they are there; what they show is looked at as it is shown.
            b"object/" | b"order/" | b"payment/" => Vec::new(),
            _ => continue,
        };
        kept.insert(key.clone(), kept_of_row);
    }
    kept
}

#[test]
fn no_command_edits_or_deletes_an_order_or_a_record() {
    let wished = std::env::var("TALLY_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(0);
    // Fewer would not lead to every state.
    let runs: u64 = RUNS_MIN.max(wished);
    let (mut done, mut states) = (BTreeSet::new(), BTreeSet::new());
    for seed in 0..runs {
        let mut world = World::new(seed);
        for _ in 0..30 {
            world.turn();
        }
        done.append(&mut world.done);
        states.append(&mut world.states);
    }
    assert!(done.iter().map(String::as_str).eq(COMMANDS), "each of them was done: {done:?}");
    let all: BTreeSet<String> = State::ALL.into_iter().map(|state| state.name().to_owned()).collect();
    assert_eq!(states, all, "an admin tried to cancel in every state");
}

#[test]
fn the_random_runs_have_every_command_and_no_other_event_type_is_one() {
    let manifest: Value = serde_json::from_slice(&Checkout::describe().to_json()).expect("JSON");
    let routes = manifest["routes"].as_array().expect("routes");
    let commands: BTreeSet<&str> = routes.iter().filter_map(|route| route["event"].as_str()).collect();
    assert!(commands.into_iter().eq(COMMANDS));
    let mut market = Market::new(PRICE, None);
    let order = market.paid(BUYER);
    let before = market.host.host().state.clone();
    for kind in FORGED {
        let event =
            TestEvent::new(kind, "order", &order, canonical(&json!({"idempotency_key": "k", "reason": "asked"})));
        refused(&market.send(event.by(ADMIN)), "malformed");
    }
    assert_eq!(market.host.host().state, before);
}
