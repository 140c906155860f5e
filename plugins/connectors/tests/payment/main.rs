//! The connector of kind `payment` against servers: localstripe (PyPI) for what it has, and a small one of our own for what
//! it lacks: idempotency keys, Connect, search, and faults.
//!
//! localstripe is found by `TALLY_LOCALSTRIPE` (the path of its executable) or on PATH; without it its tests fail and say so.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod faults;
mod localstripe;
mod provider;
#[path = "../server/mod.rs"]
mod server;

use bytes::Bytes;
use serde_json::{Value, json};
use tally_connectors::payment::{Payment, PaymentConfig};
use tally_connectors::{Request, Secret};
use tally_protocol::hash::EffectId;
use tally_protocol::id::{Index, PluginId, Stream};

const ORDER: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const REFUND: &str = "2222222222222222222222222222222222222222222222222222222222222222";
const PAYOUT: &str = "3333333333333333333333333333333333333333333333333333333333333333";
const KEY: &str = "sk_test_4eC39HqLyjWDarjtT1zdp7dc";

fn config(url: &str) -> PaymentConfig {
    let settings = json!({
        "url": url, "account": "acct_1", "livemode": false, "development": true, "timeout_ms": 5_000,
    });
    serde_json::from_value(settings).unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned().into()).unwrap()
}

fn payment(config: PaymentConfig) -> Payment {
    Payment::open(config, secret(KEY)).unwrap()
}

/// An effect with this body; `id` is the byte of its id.
fn effect(id: u8, body: &Value) -> Request {
    let suffix = body.get("order").or_else(|| body.get("payout")).and_then(Value::as_str).unwrap();
    Request {
        id: EffectId::from_bytes([id; 32]),
        index: Index::new(1),
        stream: Stream::from_bytes(&[1; 32]),
        plugin: PluginId::new("checkout").unwrap(),
        kind: "payment".to_owned(),
        suffix: suffix.to_owned(),
        body: Bytes::from(body.to_string()),
    }
}

fn pay(id: u8, method: &str) -> Request {
    let op = "intent.create";
    effect(id, &json!({ "amount": 1999, "currency": "USD", "op": op, "order": ORDER, "payment_method": method }))
}

fn refund(id: u8, of: &str, amount: u64) -> Request {
    let op = "refund.create";
    let body =
        json!({ "amount": amount, "currency": "USD", "op": op, "order": ORDER, "payment": of, "refund": REFUND });
    effect(id, &body)
}

fn cancel(id: u8, of: &str) -> Request {
    effect(id, &json!({ "op": "intent.cancel", "order": ORDER, "payment": of }))
}

fn transfer(id: u8) -> Request {
    let op = "transfer.create";
    effect(id, &json!({ "account": "acct_9", "amount": 700, "currency": "EUR", "op": op, "payout": PAYOUT }))
}

/// The one fact of an answer.
fn fact(answer: &tally_connectors::Answer) -> Value {
    let facts = answer.result["facts"].as_array().unwrap();
    assert_eq!(facts.len(), 1);
    facts[0].clone()
}
