//! Markets for the tests: events as the demo signs them, with everything that can be wrong about them.

use proptest::prelude::*;
use tally_plugin::json::Object;
use tally_plugin::test_host::TestEvent;

/// A committed module.
pub(crate) fn module(name: &str) -> Vec<u8> {
    let file = format!("{}/../../../plugins/{name}/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&file).unwrap_or_else(|error| panic!("{file}: {error}; `cargo xtask plugins build` makes it"))
}

pub(crate) fn agent_text(agent: u8) -> String {
    let hex = format!("{agent:02x}").repeat(16);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

pub(crate) fn listing(agent: u8, sku: &str, name: &str, price: u64, bytes: u8) -> TestEvent {
    let body = Object::new()
        .text("name", name)
        .text("version", "1.0.0")
        .text("sha256", &format!("{bytes:02x}").repeat(32))
        .number("size_bytes", 1_000)
        .number("price_cents", price)
        .text("currency", if price.is_multiple_of(2) { "EUR" } else { "USD" });
    TestEvent::new("catalog.item.listed", "item", sku, body.finish()).by(agent)
}

pub(crate) fn withdrawal(agent: u8, sku: &str) -> TestEvent {
    TestEvent::new("catalog.item.withdrawn", "item", sku, *b"{}").by(agent)
}

pub(crate) fn order(buyer: u8, id: &str, sku: &str, seller: u8, quantity: u64, price: u64, bytes: u8) -> TestEvent {
    let body = Object::new()
        .text("sku", sku)
        .text("sha256", &format!("{bytes:02x}").repeat(32))
        .text("seller", &agent_text(seller))
        .number("quantity", quantity)
        .number("total_cents", quantity * price)
        .text("currency", if price.is_multiple_of(2) { "EUR" } else { "USD" });
    TestEvent::new("order.placed", "order", id, body.finish()).by(buyer)
}

/// Events over a handful of items, agents and prices, so that most rules are met and broken often.
pub(crate) fn events() -> impl Strategy<Value = TestEvent> {
    let (agent, sku, price, bytes) = (1..3_u8, "[ab]", 10..13_u64, 0..2_u8);
    let listings = (agent.clone(), sku, "[xy]", price.clone(), bytes.clone())
        .prop_map(|(agent, sku, name, price, bytes)| listing(agent, &sku, &name, price, bytes));
    let orders = ((1..4_u8, "o[0-9]"), sku, agent.clone(), 0..4_u64, price, bytes).prop_map(
        |((buyer, id), sku, seller, quantity, price, bytes)| order(buyer, &id, &sku, seller, quantity, price, bytes),
    );
    let withdrawals = (agent, sku).prop_map(|(agent, sku)| withdrawal(agent, &sku));
    let broken = prop_oneof![
        Just(TestEvent::new("order.placed", "order", "o1", *b"{}")),
        Just(TestEvent::new("order.placed", "order", "o1", *b"no json")),
        Just(TestEvent::new("catalog.item.listed", "item", "", *b"{\"name\":7}")),
        Just(TestEvent::new("order.placed", "order", &"o".repeat(300), vec![b'['; 200])),
        Just(TestEvent::new("something.else", "thing", &"\u{0}".repeat(500), vec![0xff; 70_000])),
    ];
    prop_oneof![4 => listings, 6 => orders, 1 => withdrawals, 1 => broken]
}
