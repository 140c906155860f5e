//! Facts and answers: who may say them, what does not match, what comes late or twice, and who sees what of it.

mod common;

use common::*;
use serde_json::{Value, json};
use tally_plugin::test_host::{TestEvent, Verdict};

const PRICE: u64 = 1_000;

fn ops(outcome: &tally_plugin::test_host::Outcome) -> Vec<Value> {
    effects(outcome).iter().map(|effect| json!([effect["op"], effect["payment"], effect["amount"]])).collect()
}

#[test]
fn only_the_connectors_facts_count_and_only_of_our_account_and_mode() {
    let mut market = Market::new(PRICE, None);
    let order = market.buy(BUYER);
    let fact = payment("pi_1", &order, "succeeded", PRICE);
    for who in [BUYER, ADMIN, FINANCE, GATEWAY] {
        refused(&market.fact_by(who, &fact), "forbidden");
    }
    let mut derived = TestEvent::new("payment.fact", "payment", "pi_1", canonical(&fact)).by(CONNECTOR);
    derived.derived = true;
    refused(&market.send(derived), "forbidden");
    let before = market.host.host().state.clone();
    for (changes, code) in [
        (json!({"account": "acct_2"}), "foreign_account"),
        (json!({"provider": "other"}), "foreign_account"),
        (json!({"livemode": true}), "other_mode"),
        (json!({"state": "paid"}), "malformed"),
        (json!({"object": "charge"}), "malformed"),
        (json!({"object": "refund"}), "malformed"),
        (json!({"amount": -1}), "malformed"),
        (json!({"currency": "eur"}), "malformed"),
        (json!({"note": "x"}), "malformed"),
        (json!({"event": "4242424242424242"}), "card_data"),
    ] {
        refused(&market.fact(&with(fact.clone(), changes)), code);
    }
    assert_eq!(market.host.host().state, before);
    assert_eq!(market.status(&order), "pending");
    accepted(&market.fact(&fact));
    assert_eq!(market.status(&order), "paid");
}

/// Ids and reasons of what belongs to no order.
fn unmatched(market: &mut Market) -> Vec<(String, String)> {
    let rows = pages(market, "unmatched", 2, |_| {});
    let text = |row: &Value, name: &str| row[name].as_str().expect("a text").to_owned();
    rows.iter().map(|row| (text(row, "payment"), text(row, "reason"))).collect()
}

/// All rows of a route, page by page; `between` happens after each of them.
fn pages(market: &mut Market, route: &str, limit: u64, mut between: impl FnMut(&mut Market)) -> Vec<Value> {
    let (mut rows, mut after, limit): (_, Option<String>, _) = (Vec::new(), None, limit.to_string());
    loop {
        let mut args = vec![("limit", limit.as_str())];
        args.extend(after.as_deref().map(|after| ("after", after)));
        let (status, body) = market.ask(route, &args, None, &["finance"]);
        assert_eq!(status, 200, "{body}");
        let page = body["rows"].as_array().expect("rows");
        assert!(page.len() as u64 <= limit.parse().expect("a number"));
        rows.extend(page.iter().cloned());
        between(market);
        match body["after"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => return rows,
        }
    }
}

#[test]
fn a_payment_of_no_order_of_ours_counts_for_nothing_and_is_reported() {
    let mut market = Market::new(PRICE, None);
    let (order, nobodys) = (market.paid(BUYER), "00".repeat(32));
    let before = market.order(&order);
    let second = market.buy(BUYER);
    let (unpaid, from) = (market.order(&second), market.index);
    for fact in [
        payment("pi_2", &nobodys, "succeeded", PRICE),
        with(payment("pi_3", &nobodys, "succeeded", PRICE), json!({"order": null})),
        payment("pi_1", &second, "succeeded", PRICE),
    ] {
        let outcome = market.fact(&fact);
        accepted(&outcome);
        assert!(outcome.emits.is_empty() && outcome.effects.is_empty() && outcome.writes.len() == 1, "{fact}");
        // Said once more it changes nothing.
        assert!(market.fact(&fact).writes.is_empty(), "{fact}");
    }
    assert_eq!((market.order(&order), market.order(&second)), (before, unpaid));
    let reasons = [("pi_1", "other_order"), ("pi_2", "unknown_order"), ("pi_3", "no_order")];
    assert_eq!(unmatched(&mut market), reasons.map(|(id, reason)| (id.to_owned(), reason.to_owned())));
    let (_, body) = market.ask("unmatched", &[("limit", "1")], None, &["admin"]);
    let row = &body["rows"][0];
    assert_eq!((&row["amount"], &row["currency"], &row["state"]), (&json!(PRICE), &json!("EUR"), &json!("succeeded")));
    assert_eq!((&row["order"], &row["index"]), (&json!(second), &json!(from + 4)), "the first of two");
    // With an order of ours it counts, and what was told of two orders stays to be looked at.
    accepted(&market.fact(&payment("pi_3", &second, "succeeded", PRICE)));
    accepted(&market.fact(&thing("dispute", "dp_1", "pi_1", "open", 1)));
    assert_eq!(market.status(&second), "paid");
    assert_eq!(unmatched(&mut market).len(), 2);
    assert_eq!(market.ask("unmatched", &[], Some(BUYER), &[]).0, 403);
    assert_eq!(market.ask("unmatched", &[("after", "00")], None, &["admin"]).0, 400);
}

#[test]
fn a_payment_too_many_of_one_order_is_reported_and_not_lost() {
    let mut market = Market::new(PRICE, None);
    let order = market.buy(BUYER);
    for number in 0..17 {
        accepted(&market.fact(&payment(&format!("pi_{number:02}"), &order, "succeeded", PRICE)));
    }
    assert_eq!(market.order(&order)["payments"].as_array().expect("payments").len(), 16);
    assert_eq!(unmatched(&mut market), [("pi_16".to_owned(), "too_many".to_owned())]);
}

#[test]
fn what_waits_for_its_payment_is_reported_until_it_counts() {
    let mut market = Market::new(PRICE, None);
    let order = market.buy(BUYER);
    accepted(&market.fact(&payment("pi_2", &order, "processing", PRICE)));
    for payment in ["pi_1", "pi_2", "pi_3"] {
        accepted(&market.fact(&thing("refund", "re_1", payment, "succeeded", 100)));
    }
    let since = market.index - 3;
    for number in 0..20 {
        accepted(&market.fact(&thing("dispute", &format!("dp_{number}"), "pi_3", "open", 1)));
    }
    let rows = pages(&mut market, "parked", 2, |_| {});
    assert_eq!(rows.iter().map(|row| row["payment"].clone()).collect::<Vec<_>>(), ["pi_1", "pi_2", "pi_3"]);
    let refund = json!({"amount": 100, "currency": "EUR", "id": "re_1", "object": "refund", "state": "succeeded"});
    assert_eq!(
        (&rows[0]["objects"], &rows[0]["more"], &rows[0]["index"]),
        (&json!([refund]), &json!(false), &json!(since))
    );
    assert_eq!((rows[0].get("order"), &rows[1]["order"]), (None, &json!(order)));
    assert_eq!((rows[2]["objects"].as_array().map(Vec::len), &rows[2]["more"]), (Some(16), &json!(true)));
    accepted(&market.fact(&payment("pi_2", &order, "succeeded", PRICE)));
    assert_eq!(market.order(&order)["totals"]["refunded"], json!(100));
    let left: Vec<Value> = pages(&mut market, "parked", 1, |_| {}).iter().map(|row| row["payment"].clone()).collect();
    assert_eq!(left, ["pi_1", "pi_3"]);
    assert_eq!(market.ask("parked", &[], Some(BUYER), &[]).0, 403);
}

#[test]
fn what_is_reported_all_the_time_is_on_one_page_whatever_comes_between() {
    let mut market = Market::new(PRICE, None);
    let nobodys = "00".repeat(32);
    let stays: Vec<String> = (0..25).map(|number| format!("pi_{:02}", 2 * number)).collect();
    for id in &stays {
        accepted(&market.fact(&payment(id, &nobodys, "succeeded", PRICE)));
        accepted(&market.fact(&thing("refund", "re_1", &format!("x{id}"), "succeeded", 100)));
    }
    for (route, prefix) in [("unmatched", ""), ("parked", "x")] {
        let mut number = 49;
        let rows = pages(&mut market, route, 3, |market| {
            // From behind: some are on a page to come, some on one that was seen.
            number -= 4;
            accepted(&market.fact(&payment(&format!("pi_{number:02}"), &nobodys, "succeeded", PRICE)));
            accepted(&market.fact(&thing("refund", "re_1", &format!("xpi_{number:02}"), "succeeded", 100)));
        });
        let seen: Vec<&str> = rows.iter().map(|row| row["payment"].as_str().expect("an id")).collect();
        assert!(seen.is_sorted_by(|before, after| before < after), "{seen:?}");
        let kept = seen.iter().filter(|id| stays.iter().any(|stays| **id == format!("{prefix}{stays}"))).count();
        assert_eq!(kept, stays.len());
    }
}

#[test]
fn a_fact_that_comes_again_under_any_message_changes_nothing() {
    let mut market = Market::new(PRICE, None);
    let order = market.paid(BUYER);
    let before = market.host.host().state.clone();
    for event in ["evt_1", "evt_1", "evt_2"] {
        let fact = with(payment("pi_1", &order, "succeeded", PRICE), json!({"event": event}));
        let outcome = market.fact(&fact);
        accepted(&outcome);
        assert!(outcome.writes.is_empty() && outcome.emits.is_empty() && outcome.effects.is_empty());
    }
    assert_eq!(market.host.host().state, before);
}

#[test]
fn money_is_told_with_all_totals_whenever_one_changes() {
    let mut market = Market::new(PRICE, None);
    let order = market.buy(BUYER);
    let outcome = market.fact(&payment("pi_1", &order, "succeeded", PRICE));
    let told = json!({
        "captured": 1_000, "currency": "EUR", "dispute_lost": 0, "dispute_open": 0, "order": order, "owner": principal(OWNER),
        "parties": offer(PRICE)["parties"], "refunded": 0,
        "shares": [{"amount": 700, "party": principal(OWNER)}, {"amount": 200, "party": "platform"}, {"amount": 100, "party": "upstream"}],
        "sku": SKU, "version": 1,
    });
    assert_eq!(moneys(&outcome), vec![told.clone()]);
    for (fact, changes, status) in [
        (thing("refund", "re_1", "pi_1", "pending", 100), None, "refund_pending"),
        (thing("refund", "re_1", "pi_1", "succeeded", 100), Some(json!({"refunded": 100})), "partially_refunded"),
        (thing("dispute", "dp_1", "pi_1", "warning", 300), None, "partially_refunded"),
        (
            thing("dispute", "dp_1", "pi_1", "open", 300),
            Some(json!({"refunded": 100, "dispute_open": 300})),
            "disputed",
        ),
        (thing("dispute", "dp_1", "pi_1", "won", 300), Some(json!({"refunded": 100})), "partially_refunded"),
        (thing("refund", "re_1", "pi_1", "failed", 100), Some(json!({})), "paid"),
        (thing("refund", "re_2", "pi_1", "succeeded", 1_000), Some(json!({"refunded": 1_000})), "refunded"),
        (thing("refund", "re_2", "pi_1", "canceled", 1_000), Some(json!({})), "paid"),
        (thing("dispute", "dp_2", "pi_1", "lost", 1_000), Some(json!({"dispute_lost": 1_000})), "charged_back"),
    ] {
        let outcome = market.fact(&fact);
        accepted(&outcome);
        let expected: Vec<Value> = changes.into_iter().map(|changes| with(told.clone(), changes)).collect();
        assert_eq!(moneys(&outcome), expected, "{fact}");
        assert_eq!(market.status(&order), status, "{fact}");
    }
}

#[test]
fn another_amount_or_currency_never_pays_and_opens_an_exception_that_keeps_the_money_whole() {
    for changes in [json!({"amount": PRICE - 1}), json!({"amount": PRICE + 1}), json!({"currency": "USD"})] {
        let mut market = Market::new(PRICE, None);
        let order = market.buy(BUYER);
        let fact = with(payment("pi_1", &order, "succeeded", PRICE), changes);
        let outcome = market.fact(&fact);
        accepted(&outcome);
        assert!(outcome.emits.is_empty() && outcome.effects.is_empty());
        assert_eq!(market.status(&order), "exception");
        let rows = market.exceptions();
        assert_eq!((rows.len(), &rows[0]["reason"], &rows[0]["left"]), (1, &json!("mismatch"), &fact["amount"]));
        let whole = fact["amount"].as_u64().unwrap();
        refused(&market.refund(CASHIER, &order, whole - 1), "exceeds");
        let outcome = market.refund(CASHIER, &order, whole);
        accepted(&outcome);
        assert_eq!(
            (&effects(&outcome)[0]["amount"], &effects(&outcome)[0]["currency"]),
            (&fact["amount"], &fact["currency"])
        );
        refused(&market.refund(CASHIER, &order, whole), "state");
    }
}

#[test]
fn the_right_money_after_the_wrong_pays_and_the_wrong_goes_back() {
    let mut market = Market::new(PRICE, None);
    let order = market.buy(BUYER);
    accepted(&market.fact(&payment("pi_1", &order, "succeeded", 7)));
    let outcome = market.fact(&payment("pi_2", &order, "succeeded", PRICE));
    assert_eq!(ops(&outcome), [json!(["refund.create", "pi_1", 7])]);
    assert_eq!(market.status(&order), "paid");
    assert!(market.exceptions().is_empty());
}

#[test]
fn money_that_comes_late_or_twice_goes_back_in_the_same_step() {
    for way in ["canceled", "expired", "twice"] {
        let mut market = Market::new(PRICE, None);
        let order = market.buy(BUYER);
        match way {
            "canceled" => accepted(&market.cancel(BUYER, &order)),
            "expired" => {
                market.now += ORDER_US;
                accepted(&market.tick());
            }
            _ => accepted(&market.fact(&payment("pi_0", &order, "succeeded", PRICE))),
        }
        let status = market.status(&order);
        let outcome = market.fact(&payment("pi_1", &order, "succeeded", PRICE));
        accepted(&outcome);
        assert_eq!(ops(&outcome), [json!(["refund.create", "pi_1", PRICE])], "{way}");
        assert!(outcome.emits.is_empty(), "{way}: the order's money is as before");
        let refund = effects(&outcome)[0]["refund"].as_str().unwrap().to_owned();
        // The provider refuses: somebody must look, and may ask again.
        accepted(&market.answer(CONNECTOR, &declined(1, &order, &outcome.effects[0].body)));
        assert_eq!(market.exceptions()[0]["reason"], "not_returned", "{way}");
        let again = market.refund(CASHIER, &order, PRICE);
        assert_eq!(ops(&again), [json!(["refund.create", "pi_1", PRICE])], "{way}");
        let second = effects(&again)[0]["refund"].as_str().unwrap().to_owned();
        assert_ne!(refund, second);
        let fact = with(thing("refund", "re_1", "pi_1", "succeeded", PRICE), json!({"refund": second}));
        accepted(&market.answer(CONNECTOR, &answered(3, &order, json!([fact]))));
        assert!(market.exceptions().is_empty(), "{way}");
        assert_eq!(market.status(&order), status, "{way}");
    }
}

#[test]
fn a_failed_payment_fails_the_order_and_a_later_success_of_it_pays_as_in_the_other_order() {
    for states in [["failed", "succeeded"], ["succeeded", "failed"]] {
        let mut market = Market::new(PRICE, Some(1));
        let order = market.buy(BUYER);
        for state in states {
            accepted(&market.fact(&payment("pi_1", &order, state, PRICE)));
        }
        assert_eq!(market.status(&order), "paid");
        refused(&market.try_buy(OTHER, json!({})), "not_for_sale");
    }
}

#[test]
fn what_the_provider_refuses_releases_what_was_reserved_and_an_answer_counts_once() {
    let mut market = Market::new(PRICE, None);
    let order = market.paid(BUYER);
    accepted(&market.refund(BUYER, &order, 600));
    accepted(&market.refund(BUYER, &order, 400));
    refused(&market.refund(BUYER, &order, 1), "exceeds");
    let first = answered(1, &order, json!([payment("pi_1", &order, "succeeded", PRICE)]));
    accepted(&market.answer(CONNECTOR, &first));
    for _ in 0..2 {
        // What was asked for the order: a payment, then both refunds.
        let refusal = market.declined(2, &order, 1);
        accepted(&market.answer(CONNECTOR, &refusal));
        refused(&market.refund(BUYER, &order, 601), "exceeds");
    }
    accepted(&market.refund(BUYER, &order, 600));
    let shown = market.order(&order);
    let states: Vec<&Value> = shown["refunds"].as_array().unwrap().iter().map(|refund| &refund["state"]).collect();
    assert_eq!(states.iter().filter(|state| **state == "failed").count(), 1);
    assert_eq!(states.iter().filter(|state| **state == "pending").count(), 2);
}

#[test]
fn answers_of_others_are_ignored_and_nobody_else_answers() {
    let mut market = Market::new(PRICE, None);
    let order = market.buy(BUYER);
    let answer = market.declined(1, &order, 0);
    refused(&market.answer(BUYER, &answer), "forbidden");
    refused(&market.answer(FINANCE, &answer), "forbidden");
    for changes in [json!({"plugin": "royalty"}), json!({"kind": "objects"})] {
        let outcome = market.answer(CONNECTOR, &with(answer.clone(), changes));
        accepted(&outcome);
        assert!(outcome.writes.is_empty());
    }
    assert_eq!(market.status(&order), "pending");
    refused(&market.answer(CONNECTOR, &with(answer.clone(), json!({"status": "maybe"}))), "malformed");
    refused(&market.answer(CONNECTOR, &with(answer.clone(), json!({"suffix": "00".repeat(32)}))), "not_found");
    accepted(&market.answer(CONNECTOR, &answer));
    assert_eq!(market.status(&order), "failed");
}

#[test]
fn finance_confirms_only_with_a_signed_proof_of_the_whole_amount_and_the_order_stays_paid_else() {
    let mut market = Market::new(PRICE, None);
    let order = market.paid(BUYER);
    let good = confirmation(&order, PRICE);
    let changed = |path: &str, value: Value| {
        let mut answer = good.clone();
        *answer.pointer_mut(path).unwrap() = value;
        answer
    };
    refused(&market.answer(CONNECTOR, &good), "forbidden");
    for (answer, verdict) in [
        (changed("/result/proof", json!({"canonical_message": "{}", "signer_kid": "k", "ts": "t"})), "malformed"),
        (changed("/result/proof/signature", json!("")), "malformed"),
        (changed("/result/order", json!("00".repeat(32))), "not_found"),
        (changed("/result/amount", json!(PRICE - 1)), ""),
        (changed("/result/currency", json!("USD")), ""),
        (changed("/status", json!("failed")), ""),
    ] {
        let expected = if verdict.is_empty() { Verdict::Accepted } else { Verdict::Rejected(verdict.into()) };
        assert_eq!(market.answer(FINANCE, &answer).verdict, expected, "{answer}");
        assert_eq!(market.status(&order), "paid");
    }
    accepted(&market.answer(FINANCE, &good));
    assert_eq!((market.status(&order), market.state(&order)), ("settled".to_owned(), "finance_confirmed".to_owned()));
}

#[test]
fn what_is_known_of_a_payment_before_it_is_captured_is_parked_and_counts_then() {
    let mut market = Market::new(PRICE, None);
    let order = market.buy(BUYER);
    for fact in [
        thing("refund", "re_1", "pi_1", "succeeded", 100),
        thing("dispute", "dp_1", "pi_1", "open", 200),
        payment("pi_1", &order, "processing", 0),
        thing("dispute", "dp_1", "pi_1", "lost", 200),
    ] {
        let outcome = market.fact(&fact);
        accepted(&outcome);
        assert!(outcome.emits.is_empty());
    }
    let outcome = market.fact(&payment("pi_1", &order, "succeeded", PRICE));
    let money = &moneys(&outcome)[0];
    assert_eq!(
        (&money["captured"], &money["refunded"], &money["dispute_lost"]),
        (&json!(PRICE), &json!(100), &json!(200))
    );
}

#[test]
fn more_than_was_captured_and_another_currency_are_for_somebody_to_look_at() {
    let mut market = Market::new(PRICE, None);
    market.paid(BUYER);
    accepted(&market.fact(&thing("refund", "re_1", "pi_1", "succeeded", PRICE)));
    accepted(&market.fact(&thing("dispute", "dp_1", "pi_1", "open", 1)));
    assert_eq!(market.exceptions()[0]["reason"], "overdrawn");
    accepted(&market.fact(&thing("dispute", "dp_1", "pi_1", "won", 1)));
    assert!(market.exceptions().is_empty());
    accepted(&market.fact(&with(thing("refund", "re_2", "pi_1", "succeeded", 1), json!({"currency": "USD"}))));
    assert_eq!(market.exceptions()[0]["reason"], "currency");
}

#[test]
fn everybody_sees_the_status_and_only_those_it_concerns_the_rest() {
    let mut market = Market::new(PRICE, None);
    let order = market.paid(BUYER);
    let public = json!({"order": order, "status": "paid"});
    let args = [("id", order.as_str())];
    assert_eq!(market.ask("order", &args, None, &[]), (200, public.clone()));
    assert_eq!(market.ask("order", &args, Some(OTHER), &[]), (200, public));
    for (who, roles) in
        [(Some(BUYER), &[][..]), (Some(OWNER), &[]), (None, &["admin"]), (None, &["finance"]), (None, &["service"])]
    {
        let (status, body) = market.ask("order", &args, who, roles);
        assert_eq!((status, &body["amount"], &body["payment"]), (200, &json!(PRICE), &json!("pi_1")));
    }
    assert_eq!(market.ask("order", &[("id", "x")], None, &[]).0, 404);
    assert_eq!(market.ask("orders", &[], None, &[]).0, 403);
    assert_eq!(market.ask("orders", &[("buyer", &principal(BUYER))], Some(OTHER), &[]).0, 403);
    assert_eq!(market.ask("exceptions", &[], Some(BUYER), &[]).0, 403);
    assert_eq!(market.ask("nothing", &[], None, &[]).0, 404);
    for _ in 0..4 {
        market.buy(BUYER);
    }
    market.buy(OTHER);
    for (who, args, count) in [
        (Some(BUYER), vec![], 5),
        (Some(OTHER), vec![], 1),
        (None, vec![("buyer", principal(BUYER))], 5),
        (None, vec![], 6),
    ] {
        let roles: &[&str] = if who.is_none() { &["admin"] } else { &[] };
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let mut args: Vec<(&str, &str)> =
                args.iter().map(|(name, value): &(&str, String)| (*name, value.as_str())).collect();
            args.push(("limit", "2"));
            args.extend(after.as_deref().map(|after| ("after", after)));
            let (status, body) = market.ask("orders", &args, who, roles);
            assert_eq!(status, 200);
            seen.extend(body["rows"].as_array().unwrap().iter().map(|row| row["order"].as_str().unwrap().to_owned()));
            let Some(next) = body["after"].as_str() else { break };
            after = Some(next.to_owned());
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }
    assert_eq!(market.ask("orders", &[("limit", "0")], Some(BUYER), &[]).0, 400);
    assert_eq!(market.ask("orders", &[("after", "00")], Some(BUYER), &[]).0, 400);
}

#[test]
fn a_refusal_is_of_what_it_names_whatever_became_of_other_answers() {
    let mut market = Market::new(PRICE, None);
    let order = market.paid(BUYER);
    for amount in [600, 300, 100] {
        accepted(&market.refund(BUYER, &order, amount));
    }
    let pending = |market: &mut Market| market.order(&order)["totals"]["refund_pending"].clone();
    // The payment's answer never came, and the second refund's comes first.
    let second = market.declined(1, &order, 2);
    accepted(&market.answer(CONNECTOR, &second));
    assert_eq!((pending(&mut market), market.status(&order)), (json!(700), "refund_pending".to_owned()));
    // What names nothing that was asked changes nothing, and what names nothing at all is refused.
    accepted(&market.answer(CONNECTOR, &declined(2, &order, b"{}")));
    let mut unnamed = declined(3, &order, b"{}");
    unnamed["result"] = json!({"code": "refused"});
    refused(&market.answer(CONNECTOR, &unnamed), "malformed");
    assert_eq!(pending(&mut market), json!(700));
    // A refusal of the payment that is there already fails nothing.
    let payment = market.declined(4, &order, 0);
    accepted(&market.answer(CONNECTOR, &payment));
    assert_eq!((pending(&mut market), market.order(&order)["totals"]["captured"].clone()), (json!(700), json!(PRICE)));
    let first = market.declined(5, &order, 1);
    accepted(&market.answer(CONNECTOR, &first));
    assert_eq!(pending(&mut market), json!(100));
    refused(&market.refund(BUYER, &order, 901), "exceeds");
    accepted(&market.refund(BUYER, &order, 900));
}
