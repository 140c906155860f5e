//! Commands: who may, what is refused with which code, what is pinned, and limits under hurry.

mod common;

use common::*;
use serde_json::{Value, json};
use tally_plugin::test_host::{TestEvent, TestHost, Verdict};

const PRICE: u64 = 1_000;

fn promotion(market: &mut Market, name: &str, rule: Value) {
    let (from, until) = (market.now, market.now + ORDER_US);
    let rule = with(json!({"from": from, "until": until}), rule);
    let body = json!({"promotion": name, "reason": "spring", "rule": rule});
    accepted(&market.fresh(ADMIN, "checkout.promotion.created", "new", body));
}

#[test]
fn one_command_makes_exactly_one_pending_order_and_asks_the_provider_for_its_price() {
    let mut market = Market::new(PRICE, None);
    let outcome = market.try_buy(BUYER, json!({"quantity": 3}));
    accepted(&outcome);
    let result = market.result();
    let order = result["order"].as_str().unwrap().to_owned();
    assert_eq!((&result["amount"], &result["status"]), (&json!(3_000), &json!("pending")));
    let effect =
        json!({"amount": 3_000, "currency": "EUR", "op": "intent.create", "order": order, "payment_method": "pm_1"});
    assert_eq!(effects(&outcome), [effect]);
    assert_eq!((outcome.effects[0].kind.as_str(), outcome.effects[0].suffix.as_str()), ("payment", order.as_str()));
    assert!(outcome.emits.is_empty(), "no money is told before it is there");
    let (_, body) = market.ask("orders", &[], Some(BUYER), &[]);
    assert_eq!(body["rows"].as_array().unwrap().len(), 1);
    // The token is the provider's and stays in the effect.
    assert!(!market.host.host().state.values().any(|row| row.windows(4).any(|part| part == b"pm_1")));
}

#[test]
fn the_same_key_and_body_counts_once_another_body_conflicts_and_another_caller_is_alone() {
    let mut market = Market::new(PRICE, None);
    let body = with(Market::wish(), json!({"idempotency_key": "k"}));
    let first = market.command(BUYER, "checkout.order.created", "new", &body);
    accepted(&first);
    let (index, result) = (market.index - 1, market.result());
    let before = market.host.host().state.len();
    let again = market.command(BUYER, "checkout.order.created", "new", &body);
    accepted(&again);
    assert!(again.effects.is_empty() && again.emits.is_empty());
    assert_eq!(market.host.host().state.len(), before + 1, "nothing but the result of the repetition");
    assert_eq!(market.result(), json!({"repeats": index}));
    assert_eq!(market.result_at(index), result);
    let other = with(body.clone(), json!({"quantity": 2}));
    refused(&market.command(BUYER, "checkout.order.created", "new", &other), "idempotency_conflict");
    accepted(&market.command(OTHER, "checkout.order.created", "new", &other));
    // A refused command leaves nothing: its key may be used again.
    let unknown = with(body, json!({"idempotency_key": "l", "sku": "none"}));
    refused(&market.command(BUYER, "checkout.order.created", "new", &unknown), "not_found");
    accepted(&market.command(BUYER, "checkout.order.created", "new", &with(unknown, json!({"sku": SKU}))));
}

#[test]
fn every_body_that_is_not_as_drawn_is_refused() {
    let mut market = Market::new(PRICE, None);
    for (changes, code) in [
        (json!({"amount": 1}), "malformed"),
        (json!({"quantity": 0}), "malformed"),
        (json!({"quantity": 1_001}), "malformed"),
        (json!({"quantity": "1"}), "malformed"),
        (json!({"payment_method": null}), "malformed"),
        (json!({"payment_method": "a b"}), "malformed"),
        (json!({"licence_options": []}), "malformed"),
        (json!({"licence_options": {"a": "x".repeat(2_000)}}), "malformed"),
        (json!({"sku": "a b"}), "malformed"),
        (json!({"quote": "12"}), "malformed"),
        (json!({"sku": "none"}), "not_found"),
        (json!({"version": 2}), "other_price"),
        (json!({"promotion": "none"}), "not_found"),
        (json!({"quote": "00".repeat(32)}), "not_found"),
        (json!({"actor": "user:1"}), "forbidden"),
        (json!({"payment_method": "4242424242424242"}), "card_data"),
        (json!({"licence_options": {"note": ["4242 4242 4242 4242"]}}), "card_data"),
    ] {
        refused(&market.try_buy(BUYER, changes), code);
    }
    refused(&market.command(BUYER, "checkout.order.created", "new", &Market::wish()), "idempotency_key_required");
    refused(&market.fresh(BUYER, "checkout.order.created", "old", Market::wish()), "malformed");
    refused(&market.fresh(BUYER, "checkout.money", "new", json!({})), "malformed");
    assert!(market.host.host().outcomes.iter().all(|outcome| outcome.log.is_empty()), "nothing of it is logged");
}

#[test]
fn a_gateway_speaks_for_its_actor_and_only_a_gateway() {
    let mut market = Market::new(PRICE, None);
    accepted(&market.try_buy(GATEWAY, json!({"actor": "user:1"})));
    let order = market.result()["order"].as_str().unwrap().to_owned();
    assert_eq!(market.order(&order)["buyer"], "user:1");
    refused(&market.try_buy(GATEWAY, json!({})), "forbidden");
    refused(&market.try_buy(BUYER, json!({"actor": principal(OTHER)})), "forbidden");
}

#[test]
fn what_was_agreed_stays_whatever_becomes_of_the_sku() {
    let mut market = Market::new(PRICE, None);
    let order = market.buy(BUYER);
    let before = market.order(&order);
    market.offers(&with(
        offer(2 * PRICE),
        json!({"version": 2, "base": "gross", "licence_policy": "other", "manifest_sha256": "ff".repeat(32)}),
    ));
    assert_eq!(market.order(&order), before);
    market.offers(&with(offer(2 * PRICE), json!({"version": 2, "status": "retired"})));
    assert_eq!(market.order(&order), before);
    refused(&market.try_buy(BUYER, json!({})), "not_for_sale");
    accepted(&market.fact(&payment("pi_1", &order, "succeeded", PRICE)));
    assert_eq!(market.status(&order), "paid");
}

#[test]
fn a_free_sku_is_paid_at_once_and_no_provider_is_asked() {
    let mut market = Market::new(0, None);
    let outcome = market.try_buy(BUYER, json!({}));
    accepted(&outcome);
    assert!(outcome.effects.is_empty() && outcome.emits.is_empty());
    assert_eq!(market.result()["status"], "paid");
    let order = market.result()["order"].as_str().unwrap().to_owned();
    refused(&market.refund(BUYER, &order, 1), "exceeds");
}

#[test]
fn a_quote_holds_its_price_until_it_expires_and_is_named_by_its_hash() {
    let mut market = Market::new(PRICE, None);
    let ask = json!({"quantity": 2, "sku": SKU});
    accepted(&market.fresh(BUYER, "checkout.quote.requested", "new", ask.clone()));
    let result = market.result();
    let quote = result["quote"]["quote"].as_str().unwrap().to_owned();
    assert_eq!(result["quote"]["amount"], 2 * PRICE);
    assert_eq!(result["hash"].as_str().unwrap().len(), 64);
    market.offers(&with(offer(9 * PRICE), json!({"version": 2})));
    refused(&market.try_buy(OTHER, json!({"quantity": 2, "quote": quote})), "forbidden");
    refused(&market.try_buy(BUYER, json!({"quantity": 3, "quote": quote})), "other_price");
    refused(&market.try_buy(BUYER, json!({"quantity": 2, "quote": quote, "version": 2})), "other_price");
    refused(&market.try_buy(BUYER, json!({"quantity": 2, "quote": quote, "promotion": "p"})), "other_price");
    let order = market.buy_with(BUYER, json!({"quantity": 2, "quote": quote}));
    assert_eq!(market.order(&order)["amount"], 2 * PRICE);
    assert_eq!(market.order(&order)["quote_hash"], result["hash"]);
    market.now += QUOTE_US;
    refused(&market.try_buy(BUYER, json!({"quantity": 2, "quote": quote})), "expired");
}

#[test]
fn a_promotion_is_for_its_time_its_scope_and_its_currency() {
    let mut market = Market::new(PRICE, None);
    promotion(&mut market, "all", json!({"kind": "percent", "bps": 3_333}));
    promotion(&mut market, "lamp", json!({"kind": "amount", "amount": 5_000, "currency": "EUR", "sku": SKU}));
    promotion(&mut market, "other", json!({"kind": "percent", "bps": 1, "sku": "other"}));
    promotion(&mut market, "light", json!({"kind": "percent", "bps": 10_000, "category": "light"}));
    promotion(&mut market, "usd", json!({"kind": "amount", "amount": 1, "currency": "USD"}));
    let later = market.now + ORDER_US;
    promotion(&mut market, "later", json!({"kind": "percent", "bps": 1, "from": later, "until": later + 1}));
    let order = market.buy_with(BUYER, json!({"promotion": "all"}));
    let shown = market.order(&order);
    assert_eq!((&shown["amount"], &shown["discount"]), (&json!(667), &json!(333)), "floor(1000 * 3333 / 10000)");
    assert_eq!(
        (shown["promotion"].as_str(), shown["promotion_rule_sha256"].as_str().map(str::len)),
        (Some("all"), Some(64))
    );
    // Never more than the total: what is free is paid.
    accepted(&market.try_buy(BUYER, json!({"promotion": "lamp"})));
    assert_eq!((&market.result()["amount"], &market.result()["status"]), (&json!(0), &json!("paid")));
    for (name, code) in [("other", "not_found"), ("light", "not_found"), ("usd", "not_found"), ("later", "expired")] {
        refused(&market.try_buy(BUYER, json!({"promotion": name})), code);
    }
    market.offers(&with(offer(PRICE), json!({"category": "light"})));
    accepted(&market.try_buy(BUYER, json!({"promotion": "light"})));
    let end = json!({"promotion": "all", "reason": "enough"});
    refused(&market.fresh(BUYER, "checkout.promotion.ended", "new", end.clone()), "forbidden");
    accepted(&market.fresh(ADMIN, "checkout.promotion.ended", "new", end.clone()));
    refused(&market.fresh(ADMIN, "checkout.promotion.ended", "new", end), "state");
    refused(&market.try_buy(BUYER, json!({"promotion": "all"})), "expired");
    market.now += ORDER_US;
    refused(&market.try_buy(BUYER, json!({"promotion": "lamp"})), "expired");
}

#[test]
fn a_promotions_limits_hold_however_many_hurry_and_come_back_with_orders_that_end() {
    let mut market = Market::new(PRICE, None);
    promotion(&mut market, "p", json!({"kind": "percent", "bps": 100, "uses_max": 3, "uses_per_buyer_max": 2}));
    let wish = || json!({"promotion": "p"});
    let first = market.buy_with(BUYER, wish());
    let second = market.buy_with(BUYER, wish());
    refused(&market.try_buy(BUYER, wish()), "used_up");
    let third = market.buy_with(OTHER, wish());
    refused(&market.try_buy(OWNER, wish()), "used_up");
    accepted(&market.cancel(OTHER, &third));
    refused(&market.try_buy(BUYER, wish()), "used_up");
    accepted(&market.fact(&payment("pi_1", &first, "failed", 0)));
    accepted(&market.try_buy(BUYER, wish()));
    accepted(&market.try_buy(OWNER, wish()));
    refused(&market.try_buy(OTHER, wish()), "used_up");
    // What was given to others is gone: the late money goes back.
    let late = market.fact(&payment("pi_1", &first, "succeeded", 990));
    accepted(&late);
    assert_eq!(effects(&late)[0]["op"], "refund.create");
    assert_eq!((market.status(&first), market.status(&second)), ("failed".to_owned(), "pending".to_owned()));
}

#[test]
fn only_admins_make_promotions_and_only_sound_ones() {
    let mut market = Market::new(PRICE, None);
    let good = json!({"kind": "percent", "bps": 1, "from": 1, "until": 2});
    let body = |rule: &Value| json!({"promotion": "p", "reason": "r", "rule": rule});
    refused(&market.fresh(BUYER, "checkout.promotion.created", "new", body(&good)), "forbidden");
    for changes in [
        json!({"bps": 10_001}),
        json!({"bps": null}),
        json!({"kind": "gift"}),
        json!({"amount": 1}),
        json!({"currency": "EUR"}),
        json!({"until": 1}),
        json!({"sku": "a", "category": "b"}),
        json!({"stack": true}),
        json!({"uses_max": "1"}),
    ] {
        refused(
            &market.fresh(ADMIN, "checkout.promotion.created", "new", body(&with(good.clone(), changes))),
            "malformed",
        );
    }
    accepted(&market.fresh(ADMIN, "checkout.promotion.created", "new", body(&good)));
    refused(&market.fresh(ADMIN, "checkout.promotion.created", "new", body(&good)), "state");
    refused(
        &market.fresh(ADMIN, "checkout.promotion.ended", "new", json!({"promotion": "q", "reason": "r"})),
        "not_found",
    );
}

#[test]
fn the_base_of_the_split_says_who_bears_the_discount() {
    let shares = |base: &str, bps: u64| -> Vec<u64> {
        let mut market = Market::empty();
        market.offers(&with(offer(PRICE), json!({"base": base})));
        promotion(&mut market, "p", json!({"kind": "percent", "bps": bps}));
        let order = market.buy_with(BUYER, json!({"promotion": "p"}));
        let order = market.order(&order);
        let shares: Vec<u64> =
            order["shares"].as_array().unwrap().iter().map(|share| share["amount"].as_u64().unwrap()).collect();
        assert_eq!(shares.iter().sum::<u64>(), order["amount"].as_u64().unwrap());
        shares
    };
    // Owner 7000, platform 2000, upstream 1000.
    assert_eq!(shares("net", 1_000), [630, 180, 90]);
    assert_eq!(shares("gross", 1_000), [700, 100, 100]);
    assert_eq!(shares("gross", 2_000), [700, 0, 100]);
    assert_eq!(shares("gross", 6_000), [350, 0, 50]);
    assert_eq!(shares("net", 6_000), [280, 80, 40]);
}

#[test]
fn stock_is_set_aside_and_comes_back_at_expiry_cancellation_and_failure() {
    let mut market = Market::new(PRICE, Some(2));
    refused(&market.try_buy(BUYER, json!({"quantity": 3})), "not_for_sale");
    for end in ["expiry", "cancellation", "failure"] {
        let order = market.buy_with(BUYER, json!({"quantity": 2}));
        refused(&market.try_buy(OTHER, json!({})), "not_for_sale");
        let outcome = match end {
            "expiry" => {
                market.now += ORDER_US - 10_000;
                accepted(&market.tick());
                assert_eq!(market.status(&order), "pending", "it is not due yet");
                market.now += 10_000;
                market.tick()
            }
            "cancellation" => market.cancel(BUYER, &order),
            _ => {
                let refusal = market.declined(1, &order, 0);
                market.answer(CONNECTOR, &refusal)
            }
        };
        accepted(&outcome);
        assert!(outcome.emits.is_empty(), "{end}: no money was moved");
    }
    accepted(&market.try_buy(OTHER, json!({"quantity": 2})));
}

#[test]
fn a_tick_expires_the_oldest_first_and_leaves_the_rest_for_the_next() {
    let mut market = Market::new(PRICE, None);
    let orders: Vec<String> = (0..40).map(|_| market.buy(BUYER)).collect();
    accepted(&market.fact(&payment("pi_1", &orders[0], "processing", PRICE)));
    accepted(&market.fact(&payment("pi_2", &orders[1], "succeeded", PRICE)));
    market.now += ORDER_US;
    let outcome = market.tick();
    accepted(&outcome);
    assert_eq!(effects(&outcome), [json!({"op": "intent.cancel", "order": orders[0], "payment": "pi_1"})]);
    let expired =
        |market: &mut Market| -> Vec<bool> { orders.iter().map(|order| market.status(order) == "expired").collect() };
    let first: Vec<bool> = (0..40).map(|at| at != 1 && at < 33).collect();
    assert_eq!(expired(&mut market), first);
    accepted(&market.tick());
    assert_eq!(expired(&mut market).iter().filter(|expired| **expired).count(), 39);
    refused(&market.send(TestEvent::new("market.tick", "market", "tock", *b"{}")), "malformed");
}

#[test]
fn refunds_are_for_the_buyer_the_owner_admins_and_finance_and_never_more_than_is_left() {
    let mut market = Market::new(PRICE, None);
    let order = market.paid(BUYER);
    refused(&market.refund(OTHER, &order, 1), "forbidden");
    refused(&market.refund(BUYER, &order, 0), "malformed");
    refused(&market.refund(BUYER, &"00".repeat(32), 1), "not_found");
    for who in [BUYER, OWNER, ADMIN, CASHIER] {
        let outcome = market.refund(who, &order, 200);
        accepted(&outcome);
        let result = market.result();
        assert_eq!((&result["state"], &effects(&outcome)[0]["refund"]), (&json!("pending"), &result["refund"]));
        assert_eq!(effects(&outcome)[0]["payment"], "pi_1");
    }
    assert_eq!(market.status(&order), "refund_pending");
    refused(&market.refund(BUYER, &order, 201), "exceeds");
    accepted(&market.refund(BUYER, &order, 200));
    refused(&market.refund(BUYER, &order, 1), "exceeds");
}

#[test]
fn only_the_buyer_admins_and_finance_cancel() {
    let mut market = Market::new(PRICE, None);
    let order = market.buy(BUYER);
    refused(&market.cancel(OTHER, &order), "forbidden");
    refused(&market.cancel(OWNER, &order), "forbidden");
    refused(&market.cancel(BUYER, &"00".repeat(32)), "not_found");
    accepted(&market.cancel(ADMIN, &order));
    refused(&market.cancel(BUYER, &order), "state");
    assert_eq!(market.status(&order), "cancelled");
}

#[test]
fn a_configuration_is_whole_or_refused() {
    for name in ["account", "admins", "connectors", "finance", "gateways", "livemode", "order_s", "provider", "quote_s"]
    {
        let mut host = TestHost::<tally_checkout::Checkout>::new();
        let without = with(config(), json!({name: null}));
        assert_eq!(host.init(&canonical(&without)), Err("malformed".into()), "{name}");
        assert_eq!(host.init(&canonical(&with(config(), json!({"more": 1})))), Err("malformed".into()));
        // Without a configuration nobody may anything.
        let event = TestEvent::new("checkout.order.created", "order", "new", canonical(&Market::wish()));
        assert_eq!(host.apply_one(event).verdict, Verdict::Rejected("malformed".into()));
    }
}

#[test]
fn promotions_cancellations_and_refunds_are_listed_with_actor_and_reason_for_admins() {
    let mut market = Market::new(PRICE, None);
    let rule = json!({"bps": 1, "from": 1, "kind": "percent", "until": 2});
    let paid = market.paid(BUYER);
    let second = market.buy(BUYER);
    let mut expected = Vec::new();
    for (who, kind, entity, body, shown) in [
        (
            ADMIN,
            "checkout.promotion.created",
            "new",
            json!({"promotion": "p", "rule": rule}),
            json!({"promotion": "p", "rule": rule}),
        ),
        (ADMIN, "checkout.promotion.ended", "new", json!({"promotion": "p"}), json!({"promotion": "p"})),
        (CASHIER, "checkout.order.canceled", &second, json!({}), json!({})),
        (ADMIN, "checkout.refund.requested", &paid, json!({"amount": 10}), json!({"amount": 10})),
    ] {
        for reason in [Value::Null, json!(""), json!("x".repeat(201))] {
            refused(&market.fresh(who, kind, entity, with(body.clone(), json!({"reason": reason}))), "malformed");
        }
        // What is refused for another reason is not listed either.
        if who == ADMIN && kind != "checkout.refund.requested" {
            refused(&market.fresh(BUYER, kind, entity, with(body.clone(), json!({"reason": "mine"}))), "forbidden");
        }
        let (at, index) = (market.now, market.index);
        accepted(&market.fresh(who, kind, entity, with(body, json!({"reason": "asked by phone"}))));
        let told = json!({
            "action": kind, "actor": principal(who), "at": at, "entity": entity, "index": index, "reason": "asked by phone",
        });
        expected.push(with(told, shown));
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let mut args = vec![("limit", "3".to_owned())];
        args.extend(after.take().map(|after: u64| ("after", after.to_string())));
        let args: Vec<(&str, &str)> = args.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (status, body) = market.ask("audit", &args, None, &["admin"]);
        assert_eq!(status, 200, "{body}");
        seen.extend(body["rows"].as_array().expect("rows").iter().cloned());
        after = body["after"].as_u64();
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, expected);
    assert_eq!(market.ask("audit", &[], Some(CASHIER), &["finance"]).0, 403);
}
