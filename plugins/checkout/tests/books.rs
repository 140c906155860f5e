//! Checkout and the ledger driven together, as one stream drives them: what a failed payment leaves in both (M-069).
//!
//! Takes facts, answers and deadlines; every event goes to both plugins, and what checkout emits goes to the ledger. After
//! every event the books balance and hold exactly what the provider has.

mod common;

use std::collections::BTreeMap;

use common::*;
use serde_json::{Value, json};
use tally_plugin::test_host::{Limits, Outcome, TestEvent, TestHost, Verdict};
use tally_royalty::Royalty;

const PRICE: u64 = 1_000;

struct Both {
    market: Market,
    books: TestHost<Royalty>,
    /// Events of checkout that were given to the ledger too.
    given: usize,
}

impl Both {
    fn new(stock: u64) -> Self {
        let mut books = TestHost::with_limits(Limits { writes: 512, ..Limits::default() });
        let config = json!({
            "account": "acct_1", "admins": [], "approval_s": 60, "approvals": [], "finance": [principal(CASHIER)], "gateways": [uuid(GATEWAY)],
            "connectors": {"finance": [uuid(FINANCE)], "payment": [uuid(CONNECTOR)]}, "hold_s": 60, "payout_approvers": [],
            "livemode": false, "provider": "stripe", "schedule": [], "settle": true,
        });
        books.init(&canonical(&config)).expect("a configuration");
        Self { market: Market::new(PRICE, Some(stock)), books, given: 0 }
    }

    /// What the ledger hears of an event that checkout had: its emits, derived.
    fn pass_on(&mut self, outcome: &Outcome) {
        for money in moneys(outcome) {
            let mut event = TestEvent::new("checkout.money", "order", "new", canonical(&money));
            event.derived = true;
            (event.index, event.sequence, event.sequenced_at) =
                (self.market.index - 1, self.market.index, self.market.now);
            self.books.host_mut().push(event.record());
            self.books.run();
            assert_eq!(self.books.host().outcomes.last().map(|outcome| &outcome.verdict), Some(&Verdict::Accepted));
            self.given += 1;
        }
    }

    fn fact(&mut self, fact: &Value) -> Outcome {
        let outcome = self.market.fact(fact);
        self.pass_on(&outcome);
        outcome
    }

    fn balances(&mut self) -> BTreeMap<String, i64> {
        let request = json!({
            "args": {"currency": "EUR", "limit": "100"}, "caller": {"principal": principal(CASHIER), "roles": ["finance"]},
            "route": "books",
        });
        let answer: Value = serde_json::from_slice(&self.books.query(&canonical(&request))).expect("JSON");
        assert_eq!(answer["status"], 200, "{answer}");
        let accounts = answer["body"]["accounts"].as_array().expect("accounts");
        let read = |row: &Value| {
            (row["account"].as_str().expect("a name").to_owned(), row["balance"].as_i64().expect("a balance"))
        };
        accounts.iter().map(read).collect()
    }

    /// That the books balance, and say that the provider has so much.
    fn check(&mut self, at_provider: i64) {
        let balances = self.balances();
        assert_eq!(balances.values().sum::<i64>(), 0, "{balances:?}");
        assert_eq!(balances["psp"], at_provider, "{balances:?}");
        assert!(at_provider != 0 || balances.values().all(|balance| *balance == 0), "{balances:?}");
    }

    /// That nothing was issued and nothing is set aside: nobody was told of money, and the only piece can be sold again.
    fn check_nothing_is_left(&mut self, order: &str, status: &str) {
        assert_eq!(self.market.status(order), status);
        let totals = self.market.order(order)["totals"].clone();
        assert!(totals.as_object().expect("totals").values().all(|total| *total == json!(0)), "{totals}");
        assert_eq!(self.given, 0, "whoever issues and delivers hears of money by this event alone");
        self.check(0);
        assert!(self.market.exceptions().is_empty());
        accepted(&self.market.try_buy(OTHER, json!({})));
    }
}

#[test]
fn a_failed_payment_leaves_no_entitlement_no_reservation_and_balanced_books() {
    type Failure = fn(&mut Both, &str) -> Outcome;
    let failures: [(&str, Failure); 5] = [
        ("failed", |both, order| {
            both.fact(&payment("pi_1", order, "processing", PRICE));
            both.fact(&payment("pi_1", order, "failed", PRICE))
        }),
        ("failed", |both, order| both.fact(&payment("pi_1", order, "canceled", PRICE))),
        ("failed", |both, order| {
            let refusal = both.market.declined(1, order, 0);
            both.market.answer(CONNECTOR, &refusal)
        }),
        ("expired", |both, _| {
            both.market.now += ORDER_US;
            both.market.tick()
        }),
        ("cancelled", |both, order| both.market.cancel(BUYER, order)),
    ];
    for (status, fail) in failures {
        let mut both = Both::new(1);
        let order = both.market.buy(BUYER);
        refused(&both.market.try_buy(OTHER, json!({})), "not_for_sale");
        let outcome = fail(&mut both, &order);
        accepted(&outcome);
        both.pass_on(&outcome);
        both.check_nothing_is_left(&order, status);
    }
}

#[test]
fn money_that_comes_after_the_failure_is_in_the_books_exactly_if_the_order_has_it() {
    for sold_meanwhile in [false, true] {
        let mut both = Both::new(1);
        let order = both.market.buy(BUYER);
        both.fact(&payment("pi_1", &order, "failed", PRICE));
        if sold_meanwhile {
            both.market.buy(OTHER);
        }
        let outcome = both.fact(&payment("pi_1", &order, "succeeded", PRICE));
        let asked_back = effects(&outcome).iter().any(|effect| effect["op"] == "refund.create");
        assert_eq!(
            (both.market.status(&order), asked_back),
            if sold_meanwhile { ("failed".into(), true) } else { ("paid".into(), false) }
        );
        let expected = if sold_meanwhile { 0 } else { i64::try_from(PRICE).expect("as it is drawn") };
        both.check(expected);
    }
}

/// Payments of three orders that fail, succeed and go back in any order: the ledger is what the provider has of ours.
#[test]
fn whatever_fails_and_succeeds_the_books_balance_and_are_the_providers() {
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let mut both = Both::new(2);
        let orders: Vec<String> = (0..2).map(|_| both.market.buy(BUYER)).collect();
        for _ in 0..25 {
            let at = usize::try_from(dice.roll(2)).expect("as it is drawn");
            let payment_id = format!("pi_{at}");
            let fact = match dice.roll(6) {
                0 => thing(
                    "refund",
                    &format!("re_{at}_{}", dice.roll(2)),
                    &payment_id,
                    dice.pick(&["pending", "succeeded", "failed"]),
                    300,
                ),
                1 => thing("dispute", &format!("dp_{at}"), &payment_id, dice.pick(&["open", "won", "lost"]), 200),
                _ => payment(
                    &payment_id,
                    &orders[at],
                    dice.pick(&["created", "processing", "failed", "canceled", "succeeded"]),
                    PRICE,
                ),
            };
            both.fact(&fact);
            let mut held = 0;
            for order in &orders {
                let totals = both.market.order(order)["totals"].clone();
                let total = |name: &str| totals[name].as_i64().expect("a total");
                held += total("captured") - total("refunded") - total("dispute_open") - total("dispute_lost");
                let failed = both.market.status(order) == "failed";
                assert!(!failed || total("captured") == 0, "{totals}");
            }
            let balances = both.balances();
            assert_eq!(balances.values().sum::<i64>(), 0, "{seed}: {balances:?}");
            assert_eq!(balances["psp"], held, "{seed}: {balances:?}");
        }
    }
}
