//! Royalty on a host in memory: events as checkout, gateways and connectors send them, at times of the test's choosing.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tally_market::{agent_text, hex};
use tally_plugin::test_host::{Host, Limits, Mode, Outcome, TestEvent, TestHost, Verdict};
use tally_royalty::Royalty;

pub(crate) const GATEWAY: u8 = 1;
pub(crate) const PAYMENT: u8 = 2;
pub(crate) const FINANCE: u8 = 3;
/// Ours at the provider.
pub(crate) const ACCOUNT: &str = "acct_platform";
pub(crate) const CURRENCY: &str = "EUR";
pub(crate) const HOLD_S: u64 = 100;
pub(crate) const APPROVAL_S: u64 = 50;
/// Of the schedule: how often, and the least that is paid out.
pub(crate) const EVERY_S: u64 = 70;
pub(crate) const FROM: u64 = 10;
pub(crate) const START: u64 = 1_763_762_905_000_000;
pub(crate) const SECOND: u64 = 1_000_000;
/// The effect that answers are to.
pub(crate) const EFFECT: [u8; 32] = [9; 32];

/// How many runs a property has: what `TALLY_CASES` says, or so many.
pub(crate) fn cases(default: u32) -> u32 {
    std::env::var("TALLY_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// One approver from 100 on, two from 1,000 on.
pub(crate) fn config() -> Value {
    let uuid = |agent: u8| agent_text(&[agent; 16]);
    json!({
        "admins": ["root"], "finance": ["fin"], "payout_approvers": ["ann", "bob", "fin", "payee"],
        "gateways": [uuid(GATEWAY)],
        "connectors": {"finance": [uuid(FINANCE)], "payment": [uuid(PAYMENT)]},
        "approvals": [
            {"count": 1, "currency": CURRENCY, "from": 100}, {"count": 2, "currency": CURRENCY, "from": 1_000}
        ],
        "account": ACCOUNT, "approval_s": APPROVAL_S, "hold_s": HOLD_S, "livemode": false, "provider": "test",
        "schedule": [{"currency": CURRENCY, "every_s": EVERY_S, "from": FROM}], "settle": true,
    })
}

fn opened(config: &Value) -> TestHost<Royalty> {
    let mut host = TestHost::with_limits(Limits { writes: 512, ..Limits::default() });
    host.init(config.to_string().as_bytes()).expect("a configuration");
    host
}

/// An order: id, and shares by party.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) id: u8,
    pub(crate) shares: Vec<(String, u64)>,
}

impl Order {
    pub(crate) fn new(id: u8, shares: &[(&str, u64)]) -> Self {
        Self { id, shares: shares.iter().map(|(party, share)| ((*party).into(), *share)).collect() }
    }

    pub(crate) fn hex(&self) -> String {
        hex::encode(&[self.id; 32])
    }

    pub(crate) fn amount(&self) -> u64 {
        self.shares.iter().map(|(_, share)| share).sum()
    }
}

/// Captured, refunded, disputed, lost.
pub(crate) type Totals = [u64; 4];

pub(crate) fn money(order: &Order, [captured, refunded, open, lost]: Totals) -> Value {
    let list = |name: &str| -> Vec<Value> {
        order.shares.iter().map(|(party, share)| json!({"party": party, name: share})).collect()
    };
    json!({
        "captured": captured, "currency": CURRENCY, "dispute_lost": lost, "dispute_open": open, "order": order.hex(),
        "owner": "agent:owner", "parties": list("weight"), "refunded": refunded, "shares": list("amount"),
        "sku": "lamp", "version": 1,
    })
}

pub(crate) struct Books {
    pub(crate) host: TestHost<Royalty>,
    /// Of the next event.
    pub(crate) index: u64,
    /// Log time in microseconds.
    pub(crate) now: u64,
    config: Value,
    log: Vec<TestEvent>,
}

impl Books {
    pub(crate) fn new() -> Self {
        Self::with(&config())
    }

    pub(crate) fn with(config: &Value) -> Self {
        let host = opened(config);
        Self { host, index: 1, now: START, config: config.clone(), log: Vec::new() }
    }

    pub(crate) fn send(&mut self, event: TestEvent) -> Outcome {
        let event = TestEvent { index: self.index, sequence: self.index, sequenced_at: self.now, ..event };
        self.index += 1;
        self.log.push(event.clone());
        self.host.host_mut().push(event.record());
        self.host.run();
        self.host.host().outcomes.last().expect("an outcome").clone()
    }

    /// Whether the same log gives the same outcomes and the same state to a second host.
    pub(crate) fn replays_equal(&self) -> bool {
        let mut host = opened(&self.config);
        for event in &self.log {
            host.host_mut().push(event.record());
            host.run();
        }
        host.host().outcomes == self.host.host().outcomes && host.host().state == self.host.host().state
    }

    /// What checkout emits.
    pub(crate) fn emitted(&mut self, body: &Value) -> Outcome {
        let event = TestEvent::new("checkout.money", "payment", "pi_1", body.to_string());
        self.send(TestEvent { derived: true, ..event })
    }

    pub(crate) fn money(&mut self, order: &Order, totals: Totals) -> Outcome {
        let outcome = self.emitted(&money(order, totals));
        assert_eq!(outcome.verdict, Verdict::Accepted, "{totals:?}");
        outcome
    }

    pub(crate) fn tick(&mut self) -> Outcome {
        self.send(TestEvent::new("market.tick", "market", "tick", *b"{}"))
    }

    /// A capture whose hold has ended: everything is available.
    pub(crate) fn sold(&mut self, order: &Order) {
        self.money(order, [order.amount(), 0, 0, 0]);
        self.now += HOLD_S * SECOND;
        self.tick();
    }

    /// A command of a principal whom the gateway speaks for; each with a key of its own.
    pub(crate) fn command(&mut self, actor: &str, event_type: &str, id: &str, body: Value) -> Result<Outcome, String> {
        let key = format!("key-{}", self.index);
        self.keyed(actor, event_type, id, body, &key)
    }

    pub(crate) fn keyed(
        &mut self,
        actor: &str,
        event_type: &str,
        id: &str,
        mut body: Value,
        key: &str,
    ) -> Result<Outcome, String> {
        body["actor"] = actor.into();
        body["idempotency_key"] = key.into();
        let outcome = self.send(TestEvent::new(event_type, "payout", id, body.to_string()).by(GATEWAY));
        match &outcome.verdict {
            Verdict::Accepted => Ok(outcome),
            Verdict::Rejected(code) => Err(code.clone()),
            other => Err(format!("{other:?}")),
        }
    }

    /// Asks for a payout; gives its id.
    pub(crate) fn request(&mut self, actor: &str, party: &str, amount: u64) -> Result<String, String> {
        let body = json!({"account": "acct_1", "amount": amount, "currency": CURRENCY, "party": party});
        self.command(actor, "royalty.payout.requested", "new", body)?;
        Ok(self.result()["payout"].as_str().expect("an id").into())
    }

    pub(crate) fn approve(&mut self, actor: &str, id: &str) -> Result<Outcome, String> {
        self.command(actor, "royalty.payout.approved", id, json!({}))
    }

    pub(crate) fn cancel(&mut self, actor: &str, id: &str) -> Result<Outcome, String> {
        self.command(actor, "royalty.payout.canceled", id, json!({"reason": "because"}))
    }

    pub(crate) fn schedule(&mut self, actor: &str, party: &str) -> Result<Outcome, String> {
        let body = json!({"account": "acct_1", "currency": CURRENCY, "party": party});
        self.command(actor, "royalty.schedule.started", "new", body)
    }

    /// Proposes a journal; gives the correction's id.
    pub(crate) fn propose(&mut self, actor: &str, lines: &Value) -> Result<String, String> {
        let body = json!({"currency": CURRENCY, "lines": lines, "reason": "a fee of the provider"});
        self.command(actor, "royalty.correction.proposed", "new", body)?;
        Ok(self.result()["correction"].as_str().expect("an id").into())
    }

    pub(crate) fn confirm(&mut self, actor: &str, id: &str) -> Result<Outcome, String> {
        self.command(actor, "royalty.correction.approved", id, json!({}))
    }

    pub(crate) fn withdraw(&mut self, actor: &str, id: &str) -> Result<Outcome, String> {
        self.command(actor, "royalty.correction.canceled", id, json!({"reason": "a mistake"}))
    }

    pub(crate) fn unschedule(&mut self, actor: &str, party: &str) -> Result<Outcome, String> {
        let body = json!({"currency": CURRENCY, "party": party, "reason": "because"});
        self.command(actor, "royalty.schedule.ended", "new", body)
    }

    /// To the next moment at which schedules are due.
    pub(crate) fn reach_slot(&mut self) {
        let every = EVERY_S * SECOND;
        self.now = (self.now / every + 1) * every;
    }

    /// What the event before asked for: payout, party and amount.
    pub(crate) fn asked_for(&mut self) -> Vec<(String, String, u64)> {
        let range = json!({"from": (self.index - 1).to_string(), "to": self.index.to_string()});
        let journals = self.pages("journals", "rows", &range);
        let requests = journals.iter().filter(|journal| journal["kind"] == "payout_requested");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let request = |journal: &Value| {
            let line = &journal["lines"][0];
            let party = text(&line["account"]).strip_prefix("avail/").expect("of a party").to_owned();
            (text(&journal["payout"]), party, line["amount"].as_u64().expect("an amount"))
        };
        requests.map(request).collect()
    }

    /// The result of the last event.
    pub(crate) fn result(&mut self) -> Value {
        let index = (self.index - 1).to_string();
        self.ask("result", &json!({"index": index}), None).1
    }

    pub(crate) fn fact(&mut self, payout: &str, amount: u64, state: &str) -> Outcome {
        let body = payout_fact(payout, amount, state).to_string();
        self.send(TestEvent::new("payment.fact", "payment", "tr_1", body).by(PAYMENT))
    }

    pub(crate) fn answer(&mut self, agent: u8, kind: &str, suffix: &str, status: &str, result: &Value) -> Outcome {
        let effect = hex::encode(&EFFECT);
        let body = json!({
            "effect": effect, "kind": kind, "plugin": "royalty", "result": result, "status": status, "suffix": suffix
        });
        self.send(TestEvent::new("effect.answered", "effect", &effect, body.to_string()).by(agent))
    }

    pub(crate) fn ask(&mut self, route: &str, args: &Value, caller: Option<(&str, &str)>) -> (u64, Value) {
        let mut request = json!({"args": args, "route": route});
        if let Some((principal, role)) = caller {
            let roles: Vec<&str> = Some(role).filter(|role| !role.is_empty()).into_iter().collect();
            request["caller"] = json!({"principal": principal, "roles": roles});
        }
        let answer: Value = serde_json::from_slice(&self.host.query(request.to_string().as_bytes())).expect("JSON");
        (answer["status"].as_u64().expect("a status"), answer["body"].clone())
    }

    /// Every page of a route, as the list `name` of each.
    pub(crate) fn pages(&mut self, route: &str, name: &str, args: &Value) -> Vec<Value> {
        let (mut rows, mut args) = (Vec::new(), args.clone());
        loop {
            let (status, body) = self.ask(route, &args, Some(("auditor", "finance")));
            assert_eq!(status, 200, "{body}");
            rows.extend(body[name].as_array().expect("rows").clone());
            match body.get("after") {
                Some(after) => args["after"] = after.clone(),
                None => return rows,
            }
        }
    }

    /// Every account with something in it: debit balances.
    pub(crate) fn accounts(&mut self) -> BTreeMap<String, i64> {
        let rows = self.pages("books", "accounts", &json!({"currency": CURRENCY, "limit": "100"}));
        let account =
            |row: &Value| (row["account"].as_str().expect("a name").into(), row["balance"].as_i64().expect("a number"));
        rows.iter().map(account).filter(|(_, balance)| *balance != 0).collect()
    }

    pub(crate) fn account(&mut self, name: &str) -> i64 {
        self.accounts().get(name).copied().unwrap_or(0)
    }

    pub(crate) fn journals(&mut self) -> Vec<Value> {
        self.pages("journals", "rows", &json!({"limit": "100"}))
    }

    pub(crate) fn faults(&mut self) -> Vec<String> {
        let rows = self.pages("faults", "rows", &json!({}));
        rows.iter().map(|row| row["code"].as_str().expect("a code").into()).collect()
    }

    /// A statement as its party sees it.
    pub(crate) fn statement(&mut self, party: &str, more: &Value) -> Value {
        let mut args = json!({"currency": CURRENCY, "ownerId": party});
        for (name, value) in more.as_object().expect("members") {
            args[name] = value.clone();
        }
        let (status, body) = self.ask("statement", &args, Some((party, "")));
        assert_eq!(status, 200, "{body}");
        body
    }
}

pub(crate) fn payout_fact(payout: &str, amount: u64, state: &str) -> Value {
    json!({
        "account": ACCOUNT, "amount": amount, "currency": CURRENCY, "id": "tr_1", "livemode": false, "object": "payout",
        "payout": payout, "provider": "test", "state": state,
    })
}

/// A line of a correction.
pub(crate) fn line(side: &str, account: &str, amount: u64) -> Value {
    json!({"account": account, "amount": amount, "side": side})
}

/// SHA-256, as a plugin on a host would compute it.
pub(crate) fn sha256(data: &[u8]) -> [u8; 32] {
    let mut host = Host::new(Limits::default(), Vec::new(), Vec::new());
    host.enter(Mode::Query);
    host.sha256(data).expect("a digest")
}

/// Adds up the lines of journals: debit balances by account.
pub(crate) fn replay(journals: &[Value]) -> BTreeMap<String, i64> {
    let mut balances = BTreeMap::new();
    for journal in journals {
        let lines = journal["lines"].as_array().expect("lines");
        let mut sum = 0;
        for line in lines {
            let amount = line["amount"].as_i64().expect("an integer");
            assert!(amount > 0, "a line is positive: {journal}");
            let signed = if line["side"] == "debit" { amount } else { -amount };
            sum += signed;
            *balances.entry(line["account"].as_str().expect("a name").to_owned()).or_insert(0) += signed;
        }
        assert!(sum == 0 && lines.len() >= 2, "a journal balances: {journal}");
    }
    balances.retain(|_, balance| *balance != 0);
    balances
}
