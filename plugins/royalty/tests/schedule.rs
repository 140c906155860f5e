//! Payouts on a schedule: when, how much, by whose leave; and never a cent twice, whatever races with them.

mod common;

use std::collections::BTreeMap;

use common::{Books, CURRENCY, EVERY_S, FROM, Order, SECOND};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A party with this much available.
fn rich(amount: u64) -> Books {
    let mut books = Books::new();
    books.sold(&Order::new(1, &[("payee", amount), ("house", 500)]));
    books
}

fn body_of(effect: &[u8]) -> Value {
    serde_json::from_slice(effect).expect("JSON")
}

#[test]
fn a_schedule_asks_for_all_that_is_available_at_each_multiple_and_once() {
    let mut books = rich(90);
    books.schedule("payee", "payee").expect("a schedule");
    assert!(books.tick().effects.is_empty(), "the first multiple is still to come");
    books.reach_slot();
    books.now -= 1;
    assert!(books.tick().effects.is_empty());
    books.now += 1;
    let outcome = books.tick();
    let sent: Vec<Value> = outcome.effects.iter().map(|effect| body_of(&effect.body)).collect();
    let payout = outcome.effects[0].suffix.clone();
    let expected = json!({
        "account": "acct_1", "amount": 90, "currency": CURRENCY, "op": "transfer.create", "payout": payout,
    });
    assert_eq!(sent, [expected]);
    // The tick that ends this hold is beyond a multiple.
    books.sold(&Order::new(2, &[("payee", 30)]));
    assert_eq!(books.asked_for().len(), 1);
    for _ in 0..3 {
        assert!(books.tick().effects.is_empty(), "a multiple is used once");
    }
    assert_eq!(books.account("avail/payee"), 0);
    // Multiples that no tick saw are one.
    books.money(&Order::new(3, &[("payee", 40)]), [40, 0, 0, 0]);
    books.now += 10 * EVERY_S * SECOND;
    assert_eq!([books.tick().effects.len(), books.tick().effects.len()], [1, 0]);
    assert!(books.replays_equal());
}

#[test]
fn a_scheduled_payout_needs_the_approvals_of_its_amount_and_not_of_who_started_it() {
    let mut books = rich(5_000);
    books.schedule("fin", "payee").expect("a schedule");
    books.reach_slot();
    assert!(books.tick().effects.is_empty());
    let [(id, party, amount)] = books.asked_for().try_into().expect("one payout");
    assert_eq!((party.as_str(), amount), ("payee", 5_000));
    for who in ["fin", "payee", "eve"] {
        assert_eq!(books.approve(who, &id).unwrap_err(), "forbidden", "{who}");
    }
    assert!(books.approve("ann", &id).expect("an approval").effects.is_empty());
    assert_eq!(books.request("payee", "payee", 1).unwrap_err(), "exceeds");
    books.reach_slot();
    assert!(books.tick().effects.is_empty() && books.asked_for().is_empty(), "what is asked for is not asked again");
    let id_is_fresh = books.approve("ann", &id).expect("the first has grown stale").effects.is_empty();
    assert!(id_is_fresh);
    assert_eq!(books.approve("bob", &id).expect("an approval").effects.len(), 1);
}

#[test]
fn a_party_that_is_blocked_or_owes_or_has_too_little_waits_for_the_next_multiple() {
    let mut books = rich(FROM - 1);
    books.schedule("payee", "payee").expect("a schedule");
    books.reach_slot();
    books.tick();
    assert!(books.asked_for().is_empty(), "too little");
    let body = json!({"party": "payee", "reason": "fraud"});
    books.command("root", "royalty.party.blocked", "new", body.clone()).expect("a block");
    books.sold(&Order::new(2, &[("payee", 1)]));
    books.reach_slot();
    books.tick();
    assert!(books.asked_for().is_empty(), "blocked");
    books.command("root", "royalty.party.released", "new", body).expect("a release");
    books.tick();
    assert!(books.asked_for().is_empty(), "its multiple is over");
    books.reach_slot();
    books.tick();
    assert_eq!(books.asked_for().len(), 1);
    // The refund of what was paid out is a debt.
    books.money(&Order::new(2, &[("payee", 1)]), [1, 1, 0, 0]);
    books.reach_slot();
    books.tick();
    assert!(books.asked_for().is_empty(), "owes");
}

#[test]
fn only_the_party_finance_or_an_admin_starts_and_ends_a_schedule() {
    let mut books = rich(90);
    for who in ["eve", "house", "ann"] {
        assert_eq!(books.schedule(who, "payee").unwrap_err(), "forbidden", "{who}");
        assert_eq!(books.unschedule(who, "payee").unwrap_err(), "forbidden", "{who}");
    }
    assert_eq!(books.unschedule("payee", "payee").unwrap_err(), "state");
    for who in ["payee", "fin", "root"] {
        books.schedule(who, "payee").expect("a schedule");
        assert_eq!(books.schedule(who, "payee").unwrap_err(), "state", "one at a time");
        let args = json!({"currency": CURRENCY, "ownerId": "payee"});
        let (status, shown) = books.ask("plan", &args, Some(("payee", "")));
        assert_eq!((status, &shown["initiator"]), (200, &json!(who)));
        assert_eq!(books.ask("plan", &args, Some(("house", ""))).0, 403);
        books.unschedule(who, "payee").expect("an end");
        assert_eq!(books.ask("plan", &args, Some(("payee", ""))).0, 404);
    }
    books.reach_slot();
    books.tick();
    assert!(books.asked_for().is_empty(), "nothing is scheduled any more");
    let dollars = json!({"account": "acct_1", "currency": "USD", "party": "payee"});
    let refused = books.command("payee", "royalty.schedule.started", "new", dollars);
    assert_eq!(refused.unwrap_err(), "state", "no rule for the currency");
}

#[test]
fn a_tick_asks_for_four_payouts_and_the_next_one_for_the_rest() {
    let mut books = Books::new();
    let shares: Vec<(String, u64)> = (0..20).map(|at| (format!("p{at:02}"), 50)).collect();
    books.sold(&Order { id: 1, shares: shares.clone() });
    for (party, _) in &shares {
        books.schedule("fin", party).expect("a schedule");
    }
    books.reach_slot();
    let counts: Vec<usize> = (0..6).map(|_| books.tick().effects.len()).collect();
    assert_eq!(counts, [4, 4, 4, 4, 4, 0]);
}

#[test]
fn a_rule_that_goes_ends_its_schedules_and_a_wrong_one_is_refused() {
    let mut books = rich(90);
    books.schedule("payee", "payee").expect("a schedule");
    let mut config = common::config();
    config["schedule"] = json!([]);
    books.host.init(config.to_string().as_bytes()).expect("a configuration");
    books.reach_slot();
    books.tick();
    assert!(books.asked_for().is_empty());
    books.host.init(common::config().to_string().as_bytes()).expect("a configuration");
    assert_eq!(books.unschedule("payee", "payee").unwrap_err(), "state");
    let rule = |currency: &str, every: u64, from: u64| json!({"currency": currency, "every_s": every, "from": from});
    for wrong in [
        json!({}),
        json!([{}]),
        json!([rule("EUR", 0, 1)]),
        json!([rule("EUR", 1, 0)]),
        json!([rule("EUR", 1_000_000_001, 1)]),
        json!([rule("euro", 1, 1)]),
        json!([rule("EUR", 1, 1), rule("EUR", 2, 1)]),
        json!([rule("USD", 1, 1), rule("EUR", 1, 1)]),
    ] {
        config["schedule"] = wrong.clone();
        assert_eq!(books.host.init(config.to_string().as_bytes()), Err("malformed".into()), "{wrong}");
    }
}

/// Something that races with the schedule.
#[derive(Clone, Debug)]
enum Act {
    Sale(u64),
    /// Seconds.
    Tick(u64),
    Schedule(bool),
    Unschedule,
    /// Per cent of what is available.
    Request(u64),
    /// Which payout, by whom.
    Approve(usize, usize),
    Cancel(usize),
    /// Which payout, what is said of it.
    Fact(usize, usize),
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (1u64..3_000).prop_map(Act::Sale),
        6 => prop_oneof![Just(0u64), Just(EVERY_S), 1u64..150].prop_map(Act::Tick),
        2 => any::<bool>().prop_map(Act::Schedule),
        1 => Just(Act::Unschedule),
        3 => prop_oneof![Just(100u64), 1u64..120].prop_map(Act::Request),
        4 => (0usize..6, 0usize..3).prop_map(|(at, who)| Act::Approve(at, who)),
        1 => (0usize..6).prop_map(Act::Cancel),
        2 => (0usize..6, 0usize..2).prop_map(|(at, state)| Act::Fact(at, state)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: common::cases(1_000), ..ProptestConfig::default() })]

    /// By counting alone: what was sent and did not come back, what waits, and what is left are what was earned.
    #[test]
    fn schedule_trigger_and_races_never_pay_a_cent_twice_and_a_replay_is_equal(
        acts in prop::collection::vec(acts(), 1..60),
    ) {
        let mut books = Books::new();
        let (mut earned, mut orders) = (0, 0u8);
        let mut payouts: BTreeMap<String, u64> = BTreeMap::new();
        let mut sent: BTreeMap<String, u64> = BTreeMap::new();
        let mut slots: BTreeMap<u64, usize> = BTreeMap::new();
        let at = |payouts: &BTreeMap<String, u64>, at: usize| payouts.keys().nth(at % payouts.len().max(1)).cloned();
        for act in acts {
            let outcome = match act {
                Act::Sale(amount) => {
                    orders += 1;
                    earned += amount;
                    Some(books.money(&Order::new(orders, &[("payee", amount)]), [amount, 0, 0, 0]))
                }
                Act::Tick(seconds) => {
                    books.now += seconds * SECOND;
                    Some(books.tick())
                }
                Act::Schedule(by_finance) => books.schedule(if by_finance { "fin" } else { "payee" }, "payee").ok(),
                Act::Unschedule => books.unschedule("payee", "payee").ok(),
                Act::Request(percent) => {
                    let avail = books.account("avail/payee").unsigned_abs();
                    let body = json!({
                        "account": "acct_1", "amount": (avail * percent / 100).max(1), "currency": CURRENCY,
                        "party": "payee",
                    });
                    books.command("payee", "royalty.payout.requested", "new", body).ok()
                }
                Act::Approve(which, who) => {
                    at(&payouts, which).and_then(|id| books.approve(["ann", "bob", "fin"][who], &id).ok())
                }
                Act::Cancel(which) => at(&payouts, which).and_then(|id| books.cancel("payee", &id).ok()),
                Act::Fact(which, state) => at(&payouts, which)
                    .map(|id| books.fact(&id, payouts[&id], ["paid", "failed"][state])),
            };
            let asked = books.asked_for();
            if matches!(act, Act::Tick(_)) && !asked.is_empty() {
                *slots.entry(books.now / (EVERY_S * SECOND)).or_default() += asked.len();
            }
            payouts.extend(asked.into_iter().map(|(id, _, amount)| (id, amount)));
            for effect in outcome.iter().flat_map(|outcome| &outcome.effects).filter(|effect| effect.kind == "payment") {
                let body = body_of(&effect.body);
                prop_assert_eq!(body["amount"].as_u64(), payouts.get(&effect.suffix).copied());
                prop_assert!(sent.insert(effect.suffix.clone(), payouts[&effect.suffix]).is_none(), "sent twice");
            }
        }
        prop_assert!(slots.values().all(|count| *count == 1), "a multiple was used twice");
        let (mut out, mut waiting) = (0, 0);
        for (id, amount) in &payouts {
            let (_, shown) = books.ask("payout", &json!({"id": id}), Some(("x", "finance")));
            match shown["state"].as_str().expect("a state") {
                "requested" => waiting += amount,
                "released" | "transit" | "paid" => {
                    prop_assert!(sent.contains_key(id), "gone without having been sent");
                    out += amount;
                }
                _ => {}
            }
        }
        let left = books.account("held/payee") + books.account("avail/payee");
        prop_assert_eq!(out + waiting + left.unsigned_abs(), earned);
        prop_assert!(books.replays_equal());
    }
}
