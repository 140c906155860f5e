//! Every transition of the tables, walked through real events.

mod common;

use common::*;
use serde_json::{Value, json};
use tally_checkout::machine::{FACTS, Input, Known, Means, ORDER, Object, State, Then};
use tally_plugin::test_host::{Outcome, Verdict};

const PRICE: u64 = 1_000;

/// A market with an order in a state that events can reach.
fn in_state(state: State) -> Option<(Market, String)> {
    let mut market = Market::new(PRICE, Some(5));
    let order = market.buy(BUYER);
    let outcome = match state {
        State::Created => return Some((market, order)),
        State::AwaitingPayment => market.fact(&payment("pi_1", &order, "created", PRICE)),
        State::Paid => market.fact(&payment("pi_1", &order, "succeeded", PRICE)),
        State::FinanceConfirmed => {
            accepted(&market.fact(&payment("pi_1", &order, "succeeded", PRICE)));
            market.confirm(&order, PRICE)
        }
        // Delivery comes with licences.
        State::Fulfilled => return None,
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
    Some((market, order))
}

/// The event that is an input.
fn happens(market: &mut Market, order: &str, input: Input) -> Option<Outcome> {
    Some(match input {
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
        Input::Fulfil => return None,
    })
}

#[test]
fn every_transition_of_an_order_is_what_the_table_says() {
    let mut walked = 0;
    for (state, row) in ORDER {
        for (input, then) in Input::ALL.into_iter().zip(row) {
            let Some((mut market, order)) = in_state(state) else { continue };
            let Some(outcome) = happens(&mut market, &order, input) else { continue };
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
    assert_eq!(walked, 8 * 8, "all states but fulfilled, all inputs but the one that no event says");
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
