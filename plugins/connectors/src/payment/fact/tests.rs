use proptest::prelude::*;
use serde_json::json;

use super::*;

const ID: &str = "1111111111111111111111111111111111111111111111111111111111111111";

fn reader(event: &'static str) -> Reader<'static> {
    Reader { account: "acct_1", livemode: true, event: Some(("evt_1", event)) }
}

fn object(kind: FactObject, status: &str) -> Value {
    match kind {
        FactObject::Payment => json!({
            "object": "payment_intent", "id": "pi_1", "amount": 100, "amount_received": 60, "currency": "usd",
            "livemode": false, "status": status, "metadata": { "order": ID },
        }),
        FactObject::Refund => json!({
            "object": "refund", "id": "re_1", "amount": 30, "currency": "usd", "payment_intent": "pi_1",
            "status": status, "metadata": { "refund": ID },
        }),
        FactObject::Dispute => json!({
            "object": "dispute", "id": "dp_1", "amount": 100, "currency": "usd", "payment_intent": "pi_1",
            "livemode": true, "status": status,
        }),
        FactObject::Payout => json!({
            "object": "payout", "id": "po_1", "amount": 100, "currency": "usd", "livemode": true, "status": status,
            "metadata": { "payout": ID },
        }),
    }
}

fn state(kind: FactObject, status: &str, event: &'static str) -> Option<FactState> {
    reader(event).read(kind, &object(kind, status)).ok().flatten().map(|fact| fact.state)
}

#[test]
fn each_documented_status_is_one_state_and_no_other_is_any() {
    use FactObject::{Dispute, Payment, Payout, Refund};
    let table = [
        (Payment, "requires_payment_method", FactState::Created),
        (Payment, "requires_confirmation", FactState::Created),
        (Payment, "requires_action", FactState::RequiresAction),
        (Payment, "processing", FactState::Processing),
        (Payment, "requires_capture", FactState::Processing),
        (Payment, "canceled", FactState::Canceled),
        (Payment, "succeeded", FactState::Succeeded),
        (Refund, "pending", FactState::Pending),
        (Refund, "requires_action", FactState::Pending),
        (Refund, "succeeded", FactState::Succeeded),
        (Refund, "failed", FactState::Failed),
        (Refund, "canceled", FactState::Canceled),
        (Dispute, "warning_needs_response", FactState::Warning),
        (Dispute, "warning_under_review", FactState::Warning),
        (Dispute, "warning_closed", FactState::Warning),
        (Dispute, "prevented", FactState::Warning),
        (Dispute, "needs_response", FactState::Open),
        (Dispute, "under_review", FactState::Open),
        (Dispute, "won", FactState::Won),
        (Dispute, "lost", FactState::Lost),
        (Payout, "pending", FactState::Transit),
        (Payout, "in_transit", FactState::Transit),
        (Payout, "paid", FactState::Paid),
        (Payout, "failed", FactState::Failed),
        (Payout, "canceled", FactState::Failed),
    ];
    for (kind, status, expected) in table {
        assert_eq!(state(kind, status, ""), Some(expected), "{kind:?} {status}");
    }
    for kind in [Payment, Refund, Dispute, Payout] {
        assert_eq!(state(kind, "brand_new", ""), None, "{kind:?}");
    }
    let failed = state(Payment, "requires_payment_method", "payment_intent.payment_failed");
    assert_eq!(failed, Some(FactState::Failed));
}

#[test]
fn a_dispute_is_won_when_the_money_is_back_and_not_before() {
    let with = |amounts: &[i64], event| {
        let mut dispute = object(FactObject::Dispute, "won");
        dispute["balance_transactions"] = amounts.iter().map(|amount| json!({ "amount": amount })).collect();
        reader(event).read(FactObject::Dispute, &dispute).unwrap().unwrap().state
    };
    assert_eq!(with(&[-100], "charge.dispute.closed"), FactState::Open);
    assert_eq!(with(&[-100, 100], "charge.dispute.closed"), FactState::Won);
    assert_eq!(with(&[-100, 60], "charge.dispute.funds_reinstated"), FactState::Won);
    assert_eq!(with(&[], "charge.dispute.closed"), FactState::Won);
}

#[test]
fn a_fact_says_what_was_captured_in_capitals_and_whose() {
    let fact = reader("x").read(FactObject::Payment, &object(FactObject::Payment, "succeeded")).unwrap().unwrap();
    let expected = json!({
        "account": "acct_1", "amount": 60, "currency": "USD", "event": "evt_1", "id": "pi_1", "livemode": false,
        "object": "payment", "order": ID, "provider": "stripe", "state": "succeeded",
    });
    assert_eq!(fact.to_json(), expected);
    // A refund does not say its mode, so the message does.
    let fact = reader("x").read(FactObject::Refund, &object(FactObject::Refund, "succeeded")).unwrap().unwrap();
    assert!(fact.livemode);
    assert_eq!((fact.payment.as_deref(), fact.refund.as_deref()), (Some("pi_1"), Some(ID)));
}

#[test]
fn metadata_that_is_no_id_of_ours_names_nothing() {
    let mut refund = object(FactObject::Refund, "succeeded");
    refund["metadata"]["refund"] = json!("dashboard");
    assert_eq!(reader("x").read(FactObject::Refund, &refund).unwrap().unwrap().refund, None);
    let mut payout = object(FactObject::Payout, "paid");
    payout["metadata"] = json!({});
    assert_eq!(reader("x").read(FactObject::Payout, &payout), Ok(None));
}

#[test]
fn what_is_out_of_its_form_is_an_error_and_never_guessed() {
    let kind = FactObject::Payment;
    for (member, value) in [
        ("amount", json!(1.5)),
        ("amount", json!(-1)),
        ("amount", json!(1_u64 << 53)),
        ("amount_received", json!("60")),
        ("currency", json!("dollars")),
        ("currency", json!(null)),
        ("id", json!("")),
        ("id", json!("a b")),
        ("livemode", json!("no")),
        ("object", json!("charge")),
        ("status", json!(1)),
    ] {
        let mut intent = object(kind, "succeeded");
        intent[member] = value.clone();
        assert!(reader("x").read(kind, &intent).is_err(), "{member} {value}");
        intent.as_object_mut().unwrap().remove(member);
        let may_lack = ["livemode", "amount_received"].contains(&member);
        assert_eq!(reader("x").read(kind, &intent).is_ok(), may_lack, "{member}");
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z_]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-z_]{1,8}", inner, 0..4)
                .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

proptest! {
    #[test]
    fn reading_any_member_as_anything_never_panics(
        kind in prop_oneof![
            Just(FactObject::Payment), Just(FactObject::Refund), Just(FactObject::Dispute), Just(FactObject::Payout)
        ],
        member in prop_oneof![
            Just("amount"), Just("metadata"), Just("status"), Just("payment_intent"), Just("balance_transactions"),
            Just("last_payment_error"), Just("livemode"), Just("id"), Just("object")
        ],
        value in json_value(),
    ) {
        let mut object = object(kind, "won");
        object[member] = value;
        let _ = reader("charge.dispute.closed").read(kind, &object);
    }
}
