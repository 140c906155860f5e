//! Payouts one by one: who may ask and approve, how often money leaves, what comes back, what is netted off.

mod common;

use common::{APPROVAL_S, Books, CURRENCY, GATEWAY, HOLD_S, Order, PAYMENT, SECOND};
use serde_json::json;
use tally_plugin::test_host::{TestEvent, Verdict};

fn rich() -> Books {
    let mut books = Books::new();
    books.sold(&Order::new(1, &[("payee", 10_000), ("house", 500)]));
    books
}

#[test]
fn a_large_payout_needs_two_people_who_are_neither_initiator_nor_payee() {
    let mut books = rich();
    let id = books.request("fin", "payee", 5_000).expect("a payout");
    assert_eq!(books.result()["needed"], 2);
    for who in ["fin", "payee", "eve", "root"] {
        assert_eq!(books.approve(who, &id).unwrap_err(), "forbidden", "{who}");
    }
    assert!(books.approve("ann", &id).expect("an approval").effects.is_empty());
    assert_eq!(books.approve("ann", &id).unwrap_err(), "state");
    let outcome = books.approve("bob", &id).expect("an approval");
    let effect = &outcome.effects[0];
    assert_eq!((effect.kind.as_str(), &effect.suffix), ("payment", &id));
    let body: serde_json::Value = serde_json::from_slice(&effect.body).unwrap();
    let expected = json!({
        "account": "acct_1", "amount": 5_000, "currency": CURRENCY, "op": "transfer.create", "payout": id
    });
    assert_eq!(body, expected);
}

#[test]
fn of_two_last_approvals_one_releases_the_payout() {
    let mut books = rich();
    let id = books.request("payee", "payee", 500).expect("a payout");
    let sent = ["ann", "bob"].map(|who| books.approve(who, &id).map(|outcome| outcome.effects.len()));
    assert_eq!(sent, [Ok(1), Err("state".into())]);
}

#[test]
fn an_approval_grows_stale() {
    let mut books = rich();
    let id = books.request("fin", "payee", 5_000).expect("a payout");
    books.approve("ann", &id).expect("an approval");
    books.now += APPROVAL_S * SECOND + 1;
    assert!(books.approve("bob", &id).expect("an approval").effects.is_empty());
    books.now += APPROVAL_S * SECOND;
    assert_eq!(books.approve("ann", &id).expect("an approval").effects.len(), 1);
}

#[test]
fn a_currency_that_no_rule_names_needs_the_most_approvers() {
    let mut books = rich();
    let mut config = common::config();
    config["approvals"] = json!([{"count": 2, "currency": "USD", "from": 1_000}]);
    books.host.init(config.to_string().as_bytes()).expect("a configuration");
    books.request("payee", "payee", 1).expect("a payout");
    assert_eq!(books.result()["needed"], 2);
    config["approvals"] = json!([]);
    books.host.init(config.to_string().as_bytes()).expect("a configuration");
    books.request("payee", "payee", 9_000).expect("a payout");
    assert_eq!(books.result()["needed"], 0);
}

#[test]
fn only_the_party_finance_or_an_admin_asks_for_its_money() {
    let mut books = rich();
    for (who, end) in
        [("eve", Err("forbidden")), ("house", Err("forbidden")), ("payee", Ok(())), ("fin", Ok(())), ("root", Ok(()))]
    {
        assert_eq!(books.request(who, "payee", 10).map(drop), end.map_err(str::to_owned), "{who}");
    }
    let body = json!({"account": "a", "amount": 10, "currency": CURRENCY, "idempotency_key": "k", "party": "payee"});
    let unsigned = TestEvent::new("royalty.payout.requested", "payout", "new", body.to_string());
    let derived = TestEvent { derived: true, ..unsigned.clone() };
    for event in [unsigned.by(GATEWAY), derived.by(GATEWAY)] {
        assert_eq!(books.send(event).verdict, Verdict::Rejected("forbidden".into()));
    }
}

#[test]
fn two_payouts_never_share_money() {
    let mut books = rich();
    books.request("payee", "payee", 6_000).expect("a payout");
    assert_eq!(books.request("fin", "payee", 4_001).unwrap_err(), "exceeds");
    let before = books.host.host().state.clone();
    assert_eq!(books.request("payee", "payee", 4_001).unwrap_err(), "exceeds");
    assert!(before == books.host.host().state, "a refused command leaves nothing");
    books.request("payee", "payee", 4_000).expect("the rest");
    assert_eq!(books.account("avail/payee"), 0);
}

#[test]
fn what_is_held_is_not_paid_out_and_a_dispute_keeps_it() {
    let mut books = Books::new();
    let order = Order::new(1, &[("payee", 80)]);
    books.money(&order, [80, 0, 0, 0]);
    books.now += HOLD_S * SECOND - 1;
    books.tick();
    assert_eq!(books.request("payee", "payee", 1).unwrap_err(), "exceeds");
    books.money(&order, [80, 0, 30, 0]);
    books.now += 1;
    books.tick();
    assert_eq!((books.account("held/payee"), books.account("lock/payee")), (-50, -30));
    books.money(&order, [80, 0, 0, 0]);
    books.tick();
    assert_eq!(books.account("avail/payee"), -80);
}

#[test]
fn a_hold_never_releases_what_another_sale_holds() {
    let mut books = Books::new();
    let [first, second, third] = [1, 2, 3].map(|id| Order::new(id, &[("p", 10)]));
    books.sold(&first);
    books.money(&second, [10, 0, 0, 0]);
    // The refund of what is released draws on what the second sale holds.
    books.money(&first, [10, 10, 0, 0]);
    books.now += SECOND;
    books.money(&third, [10, 0, 0, 0]);
    books.now += (HOLD_S - 1) * SECOND;
    books.tick();
    assert_eq!((books.account("held/p"), books.account("avail/p")), (-10, -10));
    books.now += SECOND;
    books.tick();
    assert_eq!((books.account("held/p"), books.account("avail/p")), (0, -20));
}

#[test]
fn a_refund_after_a_payout_is_a_debt_that_later_sales_repay_first() {
    let mut books = Books::new();
    let order = Order::new(1, &[("p", 90), ("house", 10)]);
    books.sold(&order);
    let id = books.request("p", "p", 90).expect("a payout");
    books.fact(&id, 90, "paid");
    books.money(&order, [100, 100, 0, 0]);
    assert_eq!((books.account("owed/p"), books.account("psp")), (90, -90));
    assert_eq!(books.request("p", "p", 1).unwrap_err(), "owes");
    books.money(&Order::new(2, &[("p", 100)]), [100, 0, 0, 0]);
    assert_eq!((books.account("owed/p"), books.account("held/p")), (0, -10));
    let statement = books.statement("p", &json!({}));
    let amounts: Vec<i64> =
        statement["rows"].as_array().unwrap().iter().map(|row| row["amount"].as_i64().unwrap()).collect();
    assert_eq!(amounts, [90, 0, -90, 0, -90, 100]);
    assert_eq!(statement["totals"], json!({"corrections": 0, "fees": 0, "paid": 90, "reversals": -90, "sales": 190}));
}

#[test]
fn a_payout_of_who_owes_by_now_is_not_released_and_its_cancelling_repays() {
    let mut books = Books::new();
    let order = Order::new(1, &[("p", 500)]);
    books.sold(&order);
    let id = books.request("p", "p", 500).expect("a payout");
    books.money(&order, [500, 200, 0, 0]);
    assert_eq!(books.approve("ann", &id).unwrap_err(), "owes");
    assert_eq!(books.cancel("eve", &id).unwrap_err(), "forbidden");
    books.cancel("p", &id).expect("an end");
    assert_eq!(books.cancel("p", &id).unwrap_err(), "state");
    assert_eq!((books.account("owed/p"), books.account("held/p")), (0, -300));
    books.tick();
    assert_eq!(books.account("avail/p"), -300);
}

#[test]
fn a_blocked_party_earns_and_is_not_paid() {
    let mut books = rich();
    let blocked = |books: &mut Books, who: &str, verb: &str| {
        let body = json!({"party": "payee", "reason": "fraud"});
        books.command(who, &format!("royalty.party.{verb}"), "new", body).map(drop)
    };
    let id = books.request("payee", "payee", 500).expect("a payout");
    assert_eq!(blocked(&mut books, "fin", "blocked"), Err("forbidden".into()));
    assert_eq!(blocked(&mut books, "root", "blocked"), Ok(()));
    assert_eq!(blocked(&mut books, "root", "blocked"), Err("state".into()));
    assert_eq!(books.request("payee", "payee", 10).unwrap_err(), "state");
    assert_eq!(books.approve("ann", &id).unwrap_err(), "state");
    books.money(&Order::new(2, &[("payee", 70)]), [70, 0, 0, 0]);
    assert_eq!(books.account("held/payee"), -70);
    assert_eq!(blocked(&mut books, "root", "released"), Ok(()));
    assert_eq!(books.approve("ann", &id).expect("an approval").effects.len(), 1);
}

#[test]
fn a_request_that_comes_again_is_the_first_one_and_another_under_its_key_is_none() {
    let mut books = rich();
    let body = json!({"account": "a", "amount": 10, "currency": CURRENCY, "party": "payee"});
    let send = |books: &mut Books, body: &serde_json::Value| {
        books
            .keyed("payee", "royalty.payout.requested", "new", body.clone(), "once")
            .map(|outcome| outcome.effects.len())
    };
    assert_eq!(send(&mut books, &body), Ok(1));
    let first = books.index - 1;
    assert_eq!(send(&mut books, &body), Ok(0));
    assert_eq!(books.result(), json!({"repeats": first}));
    let other = json!({"account": "a", "amount": 11, "currency": CURRENCY, "party": "payee"});
    assert_eq!(send(&mut books, &other), Err("idempotency_conflict".into()));
    assert_eq!(books.account("avail/payee"), -9_990);
}

#[test]
fn facts_are_taken_from_the_connector_alone_and_must_match() {
    let mut books = rich();
    let id = books.request("payee", "payee", 50).expect("a payout");
    let body = common::payout_fact(&id, 50, "paid").to_string();
    for agent in [GATEWAY, common::FINANCE, 9] {
        let event = TestEvent::new("payment.fact", "payment", "tr_1", body.clone()).by(agent);
        assert_eq!(books.send(event).verdict, Verdict::Rejected("forbidden".into()));
    }
    let before = books.accounts();
    books.fact(&id, 51, "paid");
    books.fact(&"0".repeat(64), 50, "paid");
    let waiting = books.request("payee", "payee", 500).expect("a payout");
    let reserved = books.accounts();
    books.fact(&waiting, 500, "paid");
    assert_eq!(books.accounts(), reserved);
    assert_eq!(books.faults(), ["payout_mismatch", "payout_unknown", "payout_not_asked"]);
    assert_eq!(before["psp"], reserved["psp"]);
}

#[test]
fn a_fact_of_another_provider_account_or_mode_is_refused_and_pays_nothing() {
    let mut books = rich();
    let id = books.request("payee", "payee", 50).expect("a payout");
    let before = books.accounts();
    let good = common::payout_fact(&id, 50, "paid");
    for (name, wrong, code) in [
        ("provider", json!("another"), "forbidden"),
        ("account", json!("acct_1"), "forbidden"),
        ("livemode", json!(true), "forbidden"),
        ("provider", json!(null), "malformed"),
        ("account", json!(7), "malformed"),
        ("livemode", json!("false"), "malformed"),
    ] {
        let mut fact = good.clone();
        fact[name] = wrong;
        let event = TestEvent::new("payment.fact", "payment", "tr_1", fact.to_string()).by(PAYMENT);
        assert_eq!(books.send(event).verdict, Verdict::Rejected(code.into()), "{name}");
        // One such fact spoils the whole answer.
        let answer = json!({"facts": [good, fact]});
        let verdict = books.answer(PAYMENT, "payment", &id, "done", &answer).verdict;
        assert_eq!(verdict, Verdict::Rejected(code.into()), "{name}");
    }
    assert_eq!((books.accounts(), books.faults().len()), (before, 0));
    books.fact(&id, 50, "paid");
    assert_eq!(books.account("psp"), 10_450);
}

#[test]
fn a_configuration_without_its_source_of_facts_is_refused() {
    for name in ["account", "livemode", "provider"] {
        for wrong in [json!(null), json!(""), json!("x".repeat(65))] {
            let mut config = common::config();
            config[name] = wrong;
            let end = Books::new().host.init(config.to_string().as_bytes());
            assert_eq!(end, Err("malformed".into()), "{name}");
        }
        let mut config = common::config();
        config.as_object_mut().expect("members").remove(name);
        assert_eq!(Books::new().host.init(config.to_string().as_bytes()), Err("malformed".into()), "{name}");
    }
}

#[test]
fn the_providers_refusal_gives_the_money_back_and_its_answer_holds_facts() {
    let mut books = rich();
    let [first, second] = [50, 60].map(|amount| books.request("payee", "payee", amount).expect("a payout"));
    let refused = json!({"code": "no_account"});
    for _ in 0..2 {
        let outcome = books.answer(PAYMENT, "payment", &first, "failed", &refused);
        assert_eq!(outcome.verdict, Verdict::Accepted);
    }
    let facts =
        json!({"facts": [common::payout_fact(&second, 60, "transit"), common::payout_fact(&second, 60, "paid")]});
    assert_eq!(books.answer(PAYMENT, "payment", &second, "done", &facts).verdict, Verdict::Accepted);
    books.tick();
    assert_eq!((books.account("avail/payee"), books.account("psp")), (-9_940, 10_440));
    let stranger = books.answer(9, "payment", &second, "failed", &refused);
    assert_eq!(stranger.verdict, Verdict::Rejected("forbidden".into()));
}

#[test]
fn a_tick_does_the_oldest_32_and_the_next_one_the_rest() {
    let mut books = Books::new();
    let parties: Vec<(String, u64)> = (0..10).map(|at| (format!("p{at}"), 7)).collect();
    for id in 1..=40 {
        books.now += 1;
        let shares = if id == 1 { parties.clone() } else { vec![("p".into(), 7)] };
        books.money(&Order { id, shares }, [if id == 1 { 70 } else { 7 }, 0, 0, 0]);
    }
    books.now += HOLD_S * SECOND;
    assert_eq!(books.tick().verdict, Verdict::Accepted);
    assert_eq!((books.account("avail/p"), books.account("avail/p9")), (-7 * 31, -7));
    books.tick();
    assert_eq!((books.account("avail/p"), books.account("held/p")), (-7 * 39, 0));
}
