//! A market of one checkout: events as agents, the connector and the catalogue send them, and what is shown of it.
//!
//! Takes short calls; gives outcomes and JSON. Time and index go on by themselves, and can be pushed ahead.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::needless_pass_by_value,
    reason = "each test file uses its part, with literals"
)]

use serde_json::{Value, json};
use tally_checkout::Checkout;
use tally_plugin::json::{Array, Object};
use tally_plugin::test_host::{Host, Limits, Mode, Outcome, TestEvent, TestHost, Verdict};

pub const GATEWAY: u8 = 9;
pub const CONNECTOR: u8 = 7;
pub const FINANCE: u8 = 8;
pub const BUYER: u8 = 1;
pub const OTHER: u8 = 2;
pub const OWNER: u8 = 3;
pub const ADMIN: u8 = 4;
pub const CASHIER: u8 = 5;
pub const DELIVERER: u8 = 6;

pub const SKU: &str = "lamp";
/// How long an order may stay unpaid, in microseconds.
pub const ORDER_US: u64 = 600_000_000;
/// How long a quote holds, in microseconds.
pub const QUOTE_US: u64 = 60_000_000;

pub fn uuid(agent: u8) -> String {
    tally_market::agent_text(&[agent; 16])
}

pub fn principal(agent: u8) -> String {
    format!("agent:{}", uuid(agent))
}

/// Canonical JSON of a value, whatever the order of its map.
pub fn canonical(value: &Value) -> Vec<u8> {
    match value {
        Value::Object(map) => {
            map.iter().fold(Object::new(), |object, (name, item)| object.raw(name, &canonical(item))).finish()
        }
        Value::Array(items) => items.iter().fold(Array::new(), |array, item| array.raw(&canonical(item))).finish(),
        Value::String(text) => {
            let array = Array::new().text(text).finish();
            array[1..array.len() - 1].to_vec()
        }
        other => other.to_string().into_bytes(),
    }
}

pub fn config() -> Value {
    json!({
        "account": "acct_1", "admins": [principal(ADMIN)], "finance": [principal(CASHIER)], "gateways": [uuid(GATEWAY)],
        "connectors": {"delivery": [uuid(DELIVERER)], "finance": [uuid(FINANCE)], "payment": [uuid(CONNECTOR)]},
        "livemode": false,
        "order_s": ORDER_US / 1_000_000, "provider": "stripe", "quote_s": QUOTE_US / 1_000_000,
    })
}

pub fn offer(amount: u64) -> Value {
    json!({
        "amount": amount, "artifacts_sha256": "a1".repeat(32), "base": "net", "currency": "EUR", "licence_policy": "standard",
        "manifest_sha256": "b2".repeat(32), "manifest_signature_id": "c3".repeat(32), "owner": principal(OWNER),
        "parties": [{"party": principal(OWNER), "weight": 7_000}, {"party": "platform", "weight": 2_000},
                    {"party": "upstream", "weight": 1_000}],
        "sku": SKU, "status": "published", "version": 1,
    })
}

/// A value with some members replaced; null takes one out.
pub fn with(mut value: Value, changes: Value) -> Value {
    for (name, change) in changes.as_object().expect("an object") {
        if change.is_null() {
            value.as_object_mut().expect("an object").remove(name);
        } else {
            value[name] = change.clone();
        }
    }
    value
}

pub struct Market {
    pub host: TestHost<Checkout>,
    pub index: u64,
    pub now: u64,
    keys: u64,
    /// Bodies of all effects: suffix and body.
    asked: Vec<(String, Vec<u8>)>,
}

impl Market {
    /// With a lamp for so much, and so many of it.
    pub fn new(amount: u64, stock: Option<u64>) -> Self {
        let mut market = Self::empty();
        market.offers(&with(offer(amount), json!({"stock": stock})));
        market
    }

    pub fn empty() -> Self {
        let mut host = TestHost::with_limits(Limits { effects: 64, emits: 64, ..Limits::default() });
        host.init(&canonical(&config())).expect("a configuration");
        Self { host, index: 0, now: 1_700_000_000_000_000, keys: 0, asked: Vec::new() }
    }

    pub fn offers(&mut self, offer: &Value) {
        let mut event = TestEvent::new("catalog.offer", "sku", SKU, canonical(offer));
        event.derived = true;
        let outcome = self.send(event);
        assert_eq!(outcome.verdict, Verdict::Accepted);
    }

    pub fn send(&mut self, mut event: TestEvent) -> Outcome {
        (event.index, event.sequence, event.sequenced_at) = (self.index, self.index + 1, self.now);
        self.index += 1;
        self.now += 1_000;
        self.host.host_mut().push(event.record());
        self.host.run();
        let outcome = self.host.host().outcomes.last().expect("an outcome").clone();
        self.asked.extend(outcome.effects.iter().map(|effect| (effect.suffix.clone(), effect.body.clone())));
        outcome
    }

    /// The provider refuses what it was asked for an order, counted from 0.
    pub fn declined(&self, number: u64, order: &str, nth: usize) -> Value {
        let mut asked = self.asked.iter().filter(|(suffix, _)| suffix == order);
        declined(number, order, &asked.nth(nth).expect("as many effects").1)
    }

    /// A key that nobody used.
    pub fn key(&mut self) -> String {
        self.keys += 1;
        format!("key-{}", self.keys)
    }

    pub fn command(&mut self, agent: u8, event_type: &str, entity: &str, body: &Value) -> Outcome {
        self.send(TestEvent::new(event_type, "order", entity, canonical(body)).by(agent))
    }

    /// A command with a fresh key.
    pub fn fresh(&mut self, agent: u8, event_type: &str, entity: &str, body: Value) -> Outcome {
        let body = with(body, json!({"idempotency_key": self.key()}));
        self.command(agent, event_type, entity, &body)
    }

    pub fn wish() -> Value {
        json!({"payment_method": "pm_1", "quantity": 1, "sku": SKU})
    }

    pub fn try_buy(&mut self, agent: u8, changes: Value) -> Outcome {
        self.fresh(agent, "checkout.order.created", "new", with(Self::wish(), changes))
    }

    /// An order of one lamp; its id.
    pub fn buy(&mut self, agent: u8) -> String {
        self.buy_with(agent, json!({}))
    }

    pub fn buy_with(&mut self, agent: u8, changes: Value) -> String {
        accepted(&self.try_buy(agent, changes));
        self.result()["order"].as_str().expect("an id").to_owned()
    }

    /// The result of the last event.
    pub fn result(&mut self) -> Value {
        self.result_at(self.index - 1)
    }

    pub fn result_at(&mut self, index: u64) -> Value {
        let (status, body) = self.ask("result", &[("index", &index.to_string())], None, &[]);
        assert_eq!(status, 200, "{body}");
        body
    }

    pub fn cancel(&mut self, agent: u8, order: &str) -> Outcome {
        self.fresh(agent, "checkout.order.canceled", order, json!({"reason": "no more"}))
    }

    pub fn refund(&mut self, agent: u8, order: &str, amount: u64) -> Outcome {
        self.fresh(agent, "checkout.refund.requested", order, json!({"amount": amount, "reason": "broken"}))
    }

    pub fn deliver(&mut self, agent: u8, order: &str) -> Outcome {
        self.fresh(agent, "checkout.order.fulfilled", order, json!({"proof_sha256": "e5".repeat(32)}))
    }

    pub fn tick(&mut self) -> Outcome {
        self.send(TestEvent::new("market.tick", "market", "tick", *b"{}").by(OTHER))
    }

    pub fn fact(&mut self, fact: &Value) -> Outcome {
        self.fact_by(CONNECTOR, fact)
    }

    pub fn fact_by(&mut self, agent: u8, fact: &Value) -> Outcome {
        let id = fact["id"].as_str().expect("an id");
        self.send(TestEvent::new("payment.fact", "payment", id, canonical(fact)).by(agent))
    }

    /// An order that is paid by `pi_1` in full.
    pub fn paid(&mut self, agent: u8) -> String {
        let order = self.buy(agent);
        let amount = self.order(&order)["amount"].as_u64().expect("an amount");
        accepted(&self.fact(&payment("pi_1", &order, "succeeded", amount)));
        order
    }

    pub fn answer(&mut self, agent: u8, answer: &Value) -> Outcome {
        let effect = answer["effect"].as_str().expect("an id");
        self.send(TestEvent::new("effect.answered", "effect", effect, canonical(answer)).by(agent))
    }

    pub fn confirm(&mut self, order: &str, amount: u64) -> Outcome {
        let answer = confirmation(order, amount);
        self.answer(FINANCE, &answer)
    }

    pub fn ask(&mut self, route: &str, args: &[(&str, &str)], who: Option<u8>, roles: &[&str]) -> (u64, Value) {
        let args: Value = args
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let mut request = json!({"args": args, "route": route});
        if who.is_some() || !roles.is_empty() {
            let who = who.map_or_else(|| "service".to_owned(), principal);
            request["caller"] = json!({"principal": who, "roles": roles});
        }
        let answer: Value = serde_json::from_slice(&self.host.query(&canonical(&request))).expect("JSON");
        (answer["status"].as_u64().expect("a status"), answer["body"].clone())
    }

    /// All that is shown of an order.
    pub fn order(&mut self, id: &str) -> Value {
        let (status, body) = self.ask("order", &[("id", id)], None, &["admin"]);
        assert_eq!(status, 200, "{body}");
        body
    }

    pub fn status(&mut self, id: &str) -> String {
        self.order(id)["status"].as_str().expect("a status").to_owned()
    }

    pub fn state(&mut self, id: &str) -> String {
        self.order(id)["state"].as_str().expect("a state").to_owned()
    }

    pub fn exceptions(&mut self) -> Vec<Value> {
        let (status, body) = self.ask("exceptions", &[("limit", "100")], None, &["finance"]);
        assert_eq!(status, 200, "{body}");
        body["rows"].as_array().expect("rows").clone()
    }
}

pub fn payment(id: &str, order: &str, state: &str, amount: u64) -> Value {
    json!({
        "account": "acct_1", "amount": amount, "currency": "EUR", "id": id, "livemode": false, "object": "payment",
        "order": order, "provider": "stripe", "state": state,
    })
}

pub fn thing(object: &str, id: &str, payment: &str, state: &str, amount: u64) -> Value {
    json!({
        "account": "acct_1", "amount": amount, "currency": "EUR", "id": id, "livemode": false, "object": object,
        "payment": payment, "provider": "stripe", "state": state,
    })
}

pub fn effect_id(number: u64) -> String {
    format!("{number:064x}")
}

pub fn confirmation(order: &str, amount: u64) -> Value {
    json!({
        "effect": effect_id(u64::MAX), "kind": "finance", "plugin": "royalty", "status": "done", "suffix": order,
        "result": {
            "amount": amount, "currency": "EUR", "journal": "d4".repeat(32), "order": order,
            "proof": {"canonical_message": "{}", "signature": "c2ln", "signer_kid": "finance-1", "ts": "2026-11-21T00:00:00Z"},
        },
    })
}

/// An answer of the payment connector with facts.
pub fn answered(number: u64, order: &str, facts: Value) -> Value {
    answer(number, order, "done", json!({"facts": facts}))
}

/// Its refusal of an effect with this body.
pub fn declined(number: u64, order: &str, body: &[u8]) -> Value {
    answer(number, order, "failed", json!({"code": "refused", "request_sha256": sha256(body)}))
}

fn answer(number: u64, order: &str, status: &str, result: Value) -> Value {
    json!({"effect": effect_id(number), "kind": "payment", "plugin": "checkout", "result": result, "status": status, "suffix": order})
}

pub fn sha256(bytes: &[u8]) -> String {
    let mut host = Host::new(Limits::default(), Vec::new(), Vec::new());
    host.enter(Mode::Query);
    tally_market::hex::encode(&host.sha256(bytes).expect("a query may hash"))
}

pub fn effects(outcome: &Outcome) -> Vec<Value> {
    let read = |effect: &tally_plugin::test_host::Effect| serde_json::from_slice(&effect.body).expect("JSON");
    outcome.effects.iter().map(read).collect()
}

pub fn moneys(outcome: &Outcome) -> Vec<Value> {
    let read = |emit: &tally_plugin::test_host::Emit| {
        assert_eq!(emit.event_type, "checkout.money");
        serde_json::from_slice(&emit.body).expect("JSON")
    };
    outcome.emits.iter().map(read).collect()
}

pub fn accepted(outcome: &Outcome) {
    assert_eq!(outcome.verdict, Verdict::Accepted);
}

pub fn refused(outcome: &Outcome, code: &str) {
    assert_eq!(outcome.verdict, Verdict::Rejected(code.into()));
}

/// What is random: splitmix64.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, usize::try_from(self.roll(at as u64 + 1)).expect("as it is drawn"));
        }
    }

    /// One of them.
    pub fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[usize::try_from(self.roll(items.len() as u64)).expect("as it is drawn")].clone()
    }

    /// Some of the states, in their order, and at least one.
    pub fn chain(&mut self, states: &[&'static str]) -> Vec<&'static str> {
        let kept: Vec<&str> = states.iter().copied().filter(|_| self.roll(2) == 0).collect();
        if kept.is_empty() {
            vec![states[usize::try_from(self.roll(states.len() as u64)).expect("as it is drawn")]]
        } else {
            kept
        }
    }
}
