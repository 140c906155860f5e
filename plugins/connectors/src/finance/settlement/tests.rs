use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;
use tally_protocol::id::{Index, PluginId, Stream};

use super::*;

fn request(body: &Value) -> Request {
    Request {
        id: EffectId::from_bytes([7; 32]),
        index: Index::new(5),
        stream: Stream::from_bytes(&[1; 32]),
        plugin: PluginId::new("royalty").unwrap(),
        kind: "finance".to_owned(),
        suffix: "11".repeat(32),
        body: Bytes::from(body.to_string()),
    }
}

fn body(lines: &Value) -> Value {
    json!({
        "amount": 100, "currency": "USD", "journal": "22".repeat(32), "lines": lines, "op": "settle",
        "order": "11".repeat(32), "proof_sha256": "33".repeat(32),
    })
}

fn line(side: &str, amount: u64) -> Value {
    json!({ "account": "psp", "amount": amount, "side": side })
}

fn is_sent(body: &Value) -> bool {
    Settlement::of(&request(body)).is_ok()
}

#[test]
fn only_what_is_drawn_and_canonical_is_sent() {
    let good =
        body(&json!([line("debit", 100), { "account": "held/a", "amount": 100, "side": "credit", "weight": 10_000 }]));
    assert!(is_sent(&good));
    for (member, value) in [
        ("amount", json!(0)),
        ("amount", json!(1.5)),
        ("currency", json!("usd")),
        ("journal", json!("22")),
        ("order", json!("44".repeat(32))),
        ("proof_sha256", json!(null)),
        ("op", json!("pay")),
        ("more", json!(1)),
        ("lines", json!([line("debit", 100)])),
        ("lines", json!([line("debit", 100), line("credit", 99)])),
        ("lines", json!([line("debit", 0), line("credit", 0)])),
        ("lines", json!([line("up", 100), line("credit", 100)])),
    ] {
        let mut wrong = good.clone();
        wrong[member] = value.clone();
        assert!(!is_sent(&wrong), "{member} {value}");
    }
    let mut spaced = request(&good);
    spaced.body = Bytes::from(good.to_string().replace(':', ": "));
    assert!(Settlement::of(&spaced).is_err());
}

proptest! {
    #[test]
    fn a_settlement_is_sent_exactly_if_its_sides_are_equal(
        debits in proptest::collection::vec(1_u64..5, 0..4), credits in proptest::collection::vec(1_u64..5, 0..4),
    ) {
        let lines: Vec<Value> = debits.iter().map(|amount| line("debit", *amount))
            .chain(credits.iter().map(|amount| line("credit", *amount))).collect();
        let equal = debits.iter().sum::<u64>() == credits.iter().sum::<u64>() && lines.len() >= 2;
        prop_assert_eq!(is_sent(&body(&Value::from(lines))), equal);
    }
}
