//! The committed modules against the same plugins built natively: equal outcomes, state, answers, wherever instances
//! are cut.

mod common;

use common::{events, listing, module, order};
use proptest::prelude::*;
use tally_plugin::Plugin;
use tally_plugin::test_host::{Limits, TestEvent, TestHost, Verdict};
use tally_plugin_check::ModuleHost;

fn numbered(events: &[TestEvent]) -> Vec<Vec<u8>> {
    let number = |(index, event): (u64, &TestEvent)| {
        let sequenced_at = 1_700_000_000_000_000 + index * 1_000;
        TestEvent { index, sequence: index + 1, sequenced_at, ..event.clone() }.record()
    };
    (0..).zip(events).map(number).collect()
}

/// Runs both and compares everything.
fn compare<P: Plugin>(name: &str, events: &[TestEvent], queries: &[&[u8]], cut: usize) -> Result<(), TestCaseError> {
    let mut native = TestHost::<P>::new();
    let mut wasm = ModuleHost::load(&module(name), Limits::default()).expect("the module loads").cut_after(cut);
    let manifest = tally_plugin::describe::<P>();
    prop_assert_eq!(String::from_utf8_lossy(wasm.manifest()), String::from_utf8_lossy(&manifest));
    native.apply(events.to_vec());
    wasm.apply(&numbered(events)).expect("the module can be instantiated");
    prop_assert_eq!(native.host().outcomes.len(), events.len());
    for (at, (a, b)) in native.host().outcomes.iter().zip(&wasm.host().outcomes).enumerate() {
        prop_assert_eq!(a, b, "event {}", at);
    }
    prop_assert_eq!(native.host().outcomes.len(), wasm.host().outcomes.len());
    prop_assert_eq!(&native.host().state, &wasm.host().state);
    for query in queries {
        let (a, b) = (native.query(query), wasm.query(query).expect("a query does not trap"));
        prop_assert_eq!(String::from_utf8_lossy(&a), String::from_utf8_lossy(&b));
    }
    Ok(())
}

const REGISTRY_QUERIES: &[&[u8]] = &[
    br#"{"args":{},"route":"stats"}"#,
    br#"{"args":{"sku":"a"},"route":"item"}"#,
    br#"{"args":{"limit":"1"},"route":"items"}"#,
    br#"{"args":{"owner":"01010101-0101-0101-0101-010101010101"},"route":"items"}"#,
    br#"{"args":{"name":"x"},"route":"items"}"#,
    br#"{"args":{"currency":"EUR","price_max":"12","price_min":"11"},"route":"items"}"#,
    br#"{"args":{"id":"o1"},"route":"order"}"#,
    br#"{"args":{"buyer":"03030303-0303-0303-0303-030303030303"},"route":"orders"}"#,
    br#"{"args":{"after":"zz","sku":"a"},"route":"orders"}"#,
    br#"{"args":{"limit":"100","sku":"b"},"route":"orders"}"#,
    b"no request",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn registry_as_a_module_is_registry_built_natively(events in prop::collection::vec(events(), 0..60), cut in 1..70_usize) {
        compare::<tally_registry::Registry>("registry", &events, REGISTRY_QUERIES, cut)?;
    }

    #[test]
    fn counter_as_a_module_is_counter_built_natively(events in prop::collection::vec(events(), 0..60), cut in 1..70_usize) {
        let queries: &[&[u8]] = &[br#"{"args":{"id":"a","type":"item"},"route":"count"}"#, b"[]"];
        compare::<tally_counter::Counter>("counter", &events, queries, cut)?;
    }
}

#[test]
fn a_thousand_events_of_a_market_stand_in_both() {
    let items = (0..40_u8).map(|n| listing(n % 5 + 1, &format!("sku-{n}"), "lamp", 100 + u64::from(n), n));
    let orders = (0..960_u64).map(|n| {
        let item = (n * 7 % 40) as u8;
        order(9, &format!("o-{n}"), &format!("sku-{item}"), item % 5 + 1, n % 3 + 1, 100 + u64::from(item), item)
    });
    let events: Vec<TestEvent> = items.chain(orders).collect();
    compare::<tally_registry::Registry>("registry", &events, REGISTRY_QUERIES, 100).expect("equal");
    let mut wasm = ModuleHost::load(&module("registry"), Limits::default()).expect("the module loads");
    wasm.apply(&numbered(&events)).expect("it runs");
    assert!(wasm.host().outcomes.iter().all(|outcome| outcome.verdict == Verdict::Accepted));
}

#[test]
fn the_migration_of_registry_is_the_same_in_both() {
    let events: Vec<TestEvent> =
        (0..150_u64).map(|n| listing(1, &format!("sku-{n:03}"), "lamp", 100 + n % 7, 0)).collect();
    let mut native = TestHost::<tally_registry::Registry>::new();
    native.apply(events.clone());
    let whole = native.host().state.clone();
    // What state version 1 looked like: no index by price.
    native.host_mut().state.retain(|key, _| !key.starts_with(b"price/"));
    assert_eq!(native.host().state.len() + 150, whole.len());
    let mut wasm = ModuleHost::load(&module("registry"), Limits::default()).expect("the module loads");
    wasm.host_mut().state = native.host().state.clone();
    assert_eq!(native.migrate(1, b"{}"), Ok(3));
    assert_eq!(wasm.migrate(1, b"{}").expect("it runs"), Ok(3));
    assert_eq!(native.host().state, whole);
    assert_eq!(wasm.host().state, whole);
    assert_eq!(native.migrate(7, b"{}"), Err("no_migration".into()));
    assert_eq!(wasm.migrate(7, b"{}").expect("it runs"), Err("no_migration".into()));
    assert_eq!(wasm.host().state, whole);
}

#[test]
fn a_damaged_module_is_not_the_plugin() {
    let good = module("counter");
    // Somewhere in the code: either it does not load, or it does something else, or the byte did not matter.
    let mut noticed = 0;
    for at in (8..good.len()).step_by(good.len() / 97) {
        let mut bad = good.clone();
        bad[at] ^= 0x15;
        let loaded = ModuleHost::load(&bad, Limits::default());
        noticed += usize::from(loaded.is_err());
    }
    assert!(noticed > 20, "{noticed}");
}
