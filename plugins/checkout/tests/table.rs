//! Every transition of the tables, walked through real events.

mod common;

use common::*;
use serde_json::{Value, json};
use tally_checkout::machine::{FACTS, Input, Known, Means, ORDER, Object, State, Then};
use tally_plugin::test_host::{Outcome, Verdict};

const PRICE: u64 = 1_000;

/// A market with an order in a state, by events.
fn in_state(state: State) -> (Market, String) {
    let mut market = Market::new(PRICE, Some(5));
    let order = market.buy(BUYER);
    let outcome = match state {
        State::Created => return (market, order),
        State::AwaitingPayment => market.fact(&payment("pi_1", &order, "created", PRICE)),
        State::Paid => market.fact(&payment("pi_1", &order, "succeeded", PRICE)),
        State::FinanceConfirmed => {
            accepted(&market.fact(&payment("pi_1", &order, "succeeded", PRICE)));
            market.confirm(&order, PRICE)
        }
        State::Fulfilled => {
            accepted(&market.fact(&payment("pi_1", &order, "succeeded", PRICE)));
            accepted(&market.confirm(&order, PRICE));
            market.deliver(DELIVERER, &order)
        }
        State::Failed => market.fact(&payment("pi_1", &order, "failed", PRICE)),
        State::Canceled => market.cancel(BUYER, &order),
        State::Expired => {
            market.now += ORDER_US;
            market.tick()
        }
        State::Exception => market.fact(&payment("pi_1", &order, "succeeded", PRICE - 1)),
    };
    accepted(&outcome);
    assert_eq!(market.state(&order), state.name());
    (market, order)
}

/// The event that is an input.
fn happens(market: &mut Market, order: &str, input: Input) -> Outcome {
    match input {
        Input::Live => market.fact(&payment("pi_2", order, "processing", PRICE)),
        Input::Fail => market.fact(&payment("pi_2", order, "canceled", PRICE)),
        Input::Capture => market.fact(&payment("pi_2", order, "succeeded", PRICE)),
        Input::Mismatch => market.fact(&payment("pi_2", order, "succeeded", PRICE + 1)),
        Input::Confirm => market.confirm(order, PRICE),
        Input::Expire => {
            market.now += 2 * ORDER_US;
            market.tick()
        }
        Input::Cancel => market.cancel(BUYER, order),
        Input::Refund => market.refund(BUYER, order, 1),
        Input::Fulfil => market.deliver(DELIVERER, order),
    }
}

#[test]
fn every_transition_of_an_order_is_what_the_table_says() {
    let mut walked = 0;
    for (state, row) in ORDER {
        for (input, then) in Input::ALL.into_iter().zip(row) {
            let (mut market, order) = in_state(state);
            let outcome = happens(&mut market, &order, input);
            walked += 1;
            let what = format!("{state:?} {input:?} {then:?}");
            let expected = if let Then::Go(to) = then { to } else { state };
            assert_eq!(market.state(&order), expected.name(), "{what}");
            let ops: Vec<Value> = effects(&outcome).iter().map(|effect| effect["op"].clone()).collect();
            match then {
                Then::Refuse => assert_eq!(outcome.verdict, Verdict::Rejected("state".into()), "{what}"),
                // Nothing was captured in vain, or not this amount.
                Then::Whole => {
                    let code = if state == State::Exception { "exceeds" } else { "state" };
                    assert_eq!(outcome.verdict, Verdict::Rejected(code.into()), "{what}");
                }
                Then::GiveBack | Then::Allow => assert_eq!(ops, ["refund.create"], "{what}"),
                Then::Withdraw => assert_eq!(ops, ["intent.cancel"], "{what}"),
                // The money that was held for somebody to look at goes back.
                Then::Go(_) if state == State::Exception => assert_eq!(ops, ["refund.create"], "{what}"),
                // The payment that was known is let go of.
                Then::Go(State::Canceled | State::Expired) if state == State::AwaitingPayment => {
                    assert_eq!(ops, ["intent.cancel"], "{what}");
                }
                Then::Go(_) | Then::Stay => assert!(ops.is_empty(), "{what}"),
            }
            if then != Then::Refuse && then != Then::Whole {
                accepted(&outcome);
            }
        }
    }
    assert_eq!(walked, 9 * 9, "all states, all inputs");
}

#[test]
fn every_status_of_an_order_is_what_events_lead_to() {
    let told = |facts: &[Value]| {
        let (mut market, order) = in_state(State::Paid);
        facts.iter().for_each(|fact| accepted(&market.fact(fact)));
        market.status(&order)
    };
    let refund = |state: &str, amount| thing("refund", "re_1", "pi_1", state, amount);
    let dispute = |state: &str| thing("dispute", "dp_1", "pi_1", state, PRICE);
    let mut seen: Vec<String> = State::ALL
        .into_iter()
        .map(|state| {
            let (mut market, order) = in_state(state);
            market.status(&order)
        })
        .collect();
    seen.extend([
        told(&[refund("pending", PRICE)]),
        told(&[refund("succeeded", 1)]),
        told(&[refund("succeeded", PRICE)]),
        told(&[dispute("open")]),
        told(&[dispute("open"), dispute("lost")]),
    ]);
    let expected = [
        "pending",
        "pending",
        "paid",
        "settled",
        "finalized",
        "failed",
        "cancelled",
        "expired",
        "exception",
        "refund_pending",
        "partially_refunded",
        "refunded",
        "disputed",
        "charged_back",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn only_a_registered_deliverer_fulfils_and_only_once_and_it_is_recorded() {
    let (mut market, order) = in_state(State::FinanceConfirmed);
    for who in [BUYER, OWNER, ADMIN, CASHIER, CONNECTOR, FINANCE] {
        refused(&market.deliver(who, &order), "forbidden");
    }
    let by_gateway = json!({"actor": principal(DELIVERER), "proof_sha256": "e5".repeat(32)});
    refused(&market.fresh(GATEWAY, "checkout.order.fulfilled", &order, by_gateway), "forbidden");
    refused(&market.fresh(DELIVERER, "checkout.order.fulfilled", &order, json!({})), "malformed");
    refused(&market.deliver(DELIVERER, &"00".repeat(32)), "not_found");
    assert_eq!(market.status(&order), "settled");
    let (at, index) = (market.now, market.index);
    let outcome = market.deliver(DELIVERER, &order);
    accepted(&outcome);
    assert!(outcome.emits.is_empty() && outcome.effects.is_empty(), "no money is moved");
    let shown = market.order(&order);
    assert_eq!(shown["delivery"], json!({"at": at, "index": index, "proof_sha256": "e5".repeat(32)}));
    refused(&market.deliver(DELIVERER, &order), "state");
    let (_, audit) = market.ask("audit", &[], None, &["admin"]);
    let record = json!({
        "action": "checkout.order.fulfilled", "actor": principal(DELIVERER), "at": at, "entity": order, "index": index,
        "proof_sha256": "e5".repeat(32),
    });
    assert_eq!(audit["rows"], json!([record]));
}

#[test]
fn the_table_has_each_state_and_input_once_and_facts_never_refuse() {
    for (at, (state, row)) in ORDER.into_iter().enumerate() {
        assert_eq!(state as usize, at);
        assert_eq!(State::read(state as u8), Some(state));
        assert!(Input::ALL.into_iter().enumerate().all(|(at, input)| input as usize == at));
        for (input, then) in Input::ALL.into_iter().zip(row) {
            let fact = matches!(
                input,
                Input::Live | Input::Fail | Input::Capture | Input::Mismatch | Input::Confirm | Input::Expire
            );
            assert!(!(fact && matches!(then, Then::Refuse | Then::Allow | Then::Whole)), "{state:?} {input:?}");
            // Nothing that has ended comes back, but by money that is there.
            if matches!(state, State::Canceled | State::Expired) {
                assert!(!matches!(then, Then::Go(_)), "{state:?} {input:?}");
            }
        }
    }
}

#[test]
fn what_facts_mean_is_what_the_format_says() {
    let ranks = |object: Object| -> Vec<(&str, u8)> {
        FACTS.into_iter().filter(|(of, ..)| *of == object).map(|(_, state, rank, _)| (state, rank)).collect()
    };
    let payment =
        [("created", 0), ("requires_action", 1), ("processing", 1), ("failed", 2), ("canceled", 2), ("succeeded", 3)];
    assert_eq!(ranks(Object::Payment), payment);
    assert_eq!(ranks(Object::Refund), [("pending", 0), ("succeeded", 1), ("failed", 2), ("canceled", 2)]);
    assert_eq!(ranks(Object::Dispute), [("warning", 0), ("open", 1), ("won", 2), ("lost", 2)]);
    assert_eq!(ranks(Object::Payout), [("transit", 0), ("paid", 1), ("failed", 2)]);
    assert!(FACTS.iter().all(|(object, state, ..)| object.fact(state).is_some()));
    assert_eq!(Object::Refund.fact("paid"), None);
    assert_eq!(Object::named("charge"), None);
    assert_eq!(Known::read(17), None);
}

/// What an object in a state takes of a payment.
fn taken(object: Object, state: &str) -> Value {
    let known = object.fact(state).expect("a state");
    let amount = |means| if known.means() == means { 300 } else { 0 };
    json!([amount(Means::Pending), amount(Means::Refunded), amount(Means::Open), amount(Means::Lost)])
}

#[test]
fn of_two_facts_about_one_object_the_higher_rank_stands_and_of_equals_the_first() {
    let mut pairs = 0;
    for (object, first, first_rank, _) in FACTS {
        for (_, second, second_rank, _) in FACTS.into_iter().filter(|(of, ..)| *of == object) {
            if matches!(object, Object::Payment | Object::Payout) {
                continue;
            }
            pairs += 1;
            let mut market = Market::new(PRICE, None);
            let order = market.paid(BUYER);
            accepted(&market.fact(&thing(object.name(), "x_1", "pi_1", first, 300)));
            accepted(&market.fact(&thing(object.name(), "x_1", "pi_1", second, 300)));
            let last = if second_rank > first_rank { second } else { first };
            let totals = &market.order(&order)["totals"];
            let shown = ["refund_pending", "refunded", "dispute_open", "dispute_lost"].map(|name| totals[name].clone());
            assert_eq!(json!(shown), taken(object, last), "{object:?} {first} {second}");
        }
    }
    assert_eq!(pairs, 32);
}

#[test]
fn of_two_facts_about_one_payment_the_higher_rank_stands() {
    let payments = || FACTS.into_iter().filter(|(object, ..)| *object == Object::Payment);
    for (_, first, first_rank, first_means) in payments() {
        for (_, second, second_rank, second_means) in payments() {
            let mut market = Market::new(PRICE, None);
            let order = market.buy(BUYER);
            accepted(&market.fact(&payment("pi_1", &order, first, PRICE)));
            accepted(&market.fact(&payment("pi_1", &order, second, PRICE)));
            let last = if second_rank > first_rank { second_means } else { first_means };
            let expected = match last {
                Means::Live => "pending",
                Means::Failed => "failed",
                _ => "paid",
            };
            assert_eq!(market.status(&order), expected, "{first} {second}");
        }
    }
}
