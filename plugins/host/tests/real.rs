//! The committed modules of `counter` and `registry` under the host, on three engines, against the same plugins built
//! natively on the guest's own host in memory: equal codes, writes, emits, effects, state, answers and migrations,
//! wherever instances and ranges are cut. And what they leave stands in an outcome that decodes.

mod common;
#[path = "../../../sdk/plugin/check/tests/common/mod.rs"]
#[allow(dead_code, reason = "the events, not the files")]
mod market;

use std::sync::Arc;

use bytes::Bytes;
use common::host::{State, Trio, program};
use market::{events, listing, order};
use proptest::prelude::*;
use tally_plugin::Plugin;
use tally_plugin::test_host::{LimitKind, Outcome as Native, TestEvent, TestHost, Verdict};
use tally_plugin_host::instance::{AskError, Cuts, Instance};
use tally_plugin_host::limits::Limits;
use tally_plugin_host::manifest::Manifest;
use tally_plugin_host::overlay::Write;
use tally_plugin_host::session::{BindingStep, Event, Grant, LogLine};
use tally_plugin_host::state::StateView;
use tally_protocol::hash::{self, LeafHash, LedgerId, PayloadHash};
use tally_protocol::id::{AgentId, EventId, Index, PluginId, Sequence, StoreId, Stream, TenantId};
use tally_protocol::outcome::{Outcome, OutcomeCode};
use tally_protocol::time::LogTime;

const LEDGER: LedgerId = LedgerId::from_bytes([9; 32]);

fn module(name: &str) -> Vec<u8> {
    let file = format!("{}/../{name}/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&file).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn manifest(wasm: &[u8]) -> Manifest {
    let nothing = Grant::nothing(LEDGER, PluginId::new("unknown").expect("an id"));
    Instance::new(program(wasm, &Limits::default()), nothing).describe().expect("it describes itself")
}

/// A committed module with what it asks for, its instances cut after so many events.
fn trio(name: &str, cut: u64) -> Trio {
    let wasm = module(name);
    let mut grant = Grant::all(LEDGER, &manifest(&wasm));
    grant.limits.events_per_instance = cut;
    Trio::granted(&wasm, grant)
}

/// The events as the log would number them.
fn numbered(events: &[TestEvent]) -> Vec<Event> {
    let number = |(index, event): (u64, &TestEvent)| Event {
        index: Index::new(index),
        sequence: Sequence::new(index + 1),
        sequenced_at: LogTime::from_micros(1_700_000_000_000_000 + index * 1_000),
        stream: Stream::new(TenantId::from_bytes(event.tenant), StoreId::from_bytes(event.store)),
        event_id: EventId::from_bytes(event.event_id),
        agent: AgentId::from_bytes(event.agent),
        payload_hash: PayloadHash::from_bytes(event.payload_hash),
        event_type: event.event_type.clone(),
        entity_type: event.entity_type.clone(),
        entity_id: event.entity_id.clone(),
        depth: u8::from(event.derived),
        calls_before: (0, 0),
        body: Bytes::copy_from_slice(&event.body),
    };
    (0..).zip(events).map(number).collect()
}

fn written(state: &mut State, writes: &[Write]) {
    for (key, value) in writes {
        match value {
            Some(value) => state.insert(key.clone(), value.clone()),
            None => state.remove(key),
        };
    }
}

/// What a native verdict is called in an outcome.
fn code(verdict: &Verdict) -> String {
    let limit = |kind: &LimitKind| match kind {
        LimitKind::EventBytes => "event_bytes",
        LimitKind::KeyBytes => "key_bytes",
        LimitKind::ValueBytes => "value_bytes",
        LimitKind::Writes => "writes",
        LimitKind::WriteBytes => "write_bytes",
        LimitKind::Emits => "emits",
        LimitKind::EmitBytes => "emit_bytes",
        LimitKind::Effects => "effects",
        LimitKind::EffectBytes => "effect_bytes",
        LimitKind::LabelBytes => "label_bytes",
        LimitKind::ReadBytes => "read_bytes",
    };
    match verdict {
        Verdict::Accepted => "accepted".to_owned(),
        Verdict::Rejected(code) => format!("rejected({code})"),
        Verdict::Trapped => "trapped".to_owned(),
        Verdict::Limit(kind) => format!("limit({})", limit(kind)),
        Verdict::BadOutput => "bad_output".to_owned(),
    }
}

fn assert_same(at: usize, native: &Native, step: &BindingStep) {
    assert_eq!(code(&native.verdict), step.code.to_string(), "event {at}");
    let writes: Vec<Write> = native
        .writes
        .iter()
        .map(|(key, value)| (Bytes::copy_from_slice(key), value.as_deref().map(Bytes::copy_from_slice)))
        .collect();
    assert_eq!(writes, step.writes, "event {at}");
    let emits: Vec<_> = native.emits.iter().map(|emit| (&emit.event_type, &emit.body[..])).collect();
    assert_eq!(emits, step.emits.iter().map(|emit| (&emit.event_type, &emit.body[..])).collect::<Vec<_>>());
    let effects: Vec<_> =
        native.effects.iter().map(|effect| (&effect.kind, &effect.suffix, &effect.body[..])).collect();
    let asked: Vec<_> = step.effects.iter().map(|effect| (&effect.kind, &effect.suffix, &effect.body[..])).collect();
    assert_eq!(effects, asked, "event {at}");
    assert_eq!(native.log.len(), step.log.len(), "event {at}");
}

fn view(state: &State) -> Arc<dyn StateView> {
    Arc::new(state.clone())
}

/// Runs both and compares everything, the module's instances cut after `cut` events and its ranges after `range`.
fn compare<P: Plugin>(name: &str, given: &[TestEvent], queries: &[&[u8]], cut: u64, range: usize) {
    let mut native = TestHost::<P>::new();
    native.apply(given.to_vec());
    let trio = trio(name, cut);
    let (mut state, mut steps) = (State::new(), Vec::new());
    for events in numbered(given).chunks(range) {
        let before = state.clone();
        let range = trio.apply(events.to_vec(), &before, Cuts::Live).expect("the host goes on");
        range.iter().for_each(|step| written(&mut state, &step.writes));
        // Replay follows the recorded cuts to the same steps.
        let fresh: Vec<bool> = range.iter().map(|step| step.fresh).collect();
        assert_eq!(trio.apply(events.to_vec(), &before, Cuts::Recorded(&fresh)).expect("replays"), range);
        steps.extend(range);
    }
    assert_eq!(native.host().outcomes.len(), given.len());
    assert_eq!(steps.len(), given.len());
    for (at, (native, step)) in native.host().outcomes.iter().zip(&steps).enumerate() {
        assert_same(at, native, step);
    }
    let left: State =
        native.host().state.iter().map(|(k, v)| (Bytes::copy_from_slice(k), Bytes::copy_from_slice(v))).collect();
    assert_eq!(left, state);
    for query in queries {
        let answer = |found: Result<(Vec<u8>, Vec<LogLine>), AskError>| {
            found.map(|(bytes, _)| bytes).map_err(|error| format!("{error}"))
        };
        let found = trio.each(
            |instance| answer(instance.query(query, view(&state))),
            |instance| answer(instance.query(query, view(&state))),
        );
        assert_eq!(String::from_utf8_lossy(&found.expect("an answer")), String::from_utf8_lossy(&native.query(query)));
    }
}

const REGISTRY_QUERIES: &[&[u8]] = &[
    br#"{"args":{},"route":"stats"}"#,
    br#"{"args":{"sku":"a"},"route":"item"}"#,
    br#"{"args":{"limit":"1"},"route":"items"}"#,
    br#"{"args":{"owner":"01010101-0101-0101-0101-010101010101"},"route":"items"}"#,
    br#"{"args":{"currency":"EUR","price_max":"12","price_min":"11"},"route":"items"}"#,
    br#"{"args":{"id":"o1"},"route":"order"}"#,
    br#"{"args":{"buyer":"03030303-0303-0303-0303-030303030303"},"route":"orders"}"#,
    br#"{"args":{"limit":"100","sku":"b"},"route":"orders"}"#,
    b"no request",
];
const COUNTER_QUERIES: &[&[u8]] = &[br#"{"args":{"id":"a","type":"item"},"route":"count"}"#, b"[]"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn registry_under_the_host_is_registry_built_natively(
        given in prop::collection::vec(events(), 1..40),
        (cut, range) in (1..50_u64, 1..50_usize),
    ) {
        compare::<tally_registry::Registry>("registry", &given, REGISTRY_QUERIES, cut, range);
    }

    #[test]
    fn counter_under_the_host_is_counter_built_natively(
        given in prop::collection::vec(events(), 1..40),
        (cut, range) in (1..50_u64, 1..50_usize),
    ) {
        compare::<tally_counter::Counter>("counter", &given, COUNTER_QUERIES, cut, range);
    }
}

fn market() -> Vec<TestEvent> {
    let items = (0..40_u8).map(|n| listing(n % 5 + 1, &format!("sku-{n}"), "lamp", 100 + u64::from(n), n));
    let orders = (0..360_u64).map(|n| {
        let item = (n * 7 % 40) as u8;
        order(9, &format!("o-{n}"), &format!("sku-{item}"), item % 5 + 1, n % 3 + 1, 100 + u64::from(item), item)
    });
    items.chain(orders).collect()
}

#[test]
fn a_market_stands_in_both_and_costs_less_than_its_limit() {
    compare::<tally_registry::Registry>("registry", &market(), REGISTRY_QUERIES, 100, 150);
    let steps = trio("registry", 4_096).apply(numbered(&market()), &State::new(), Cuts::Live).unwrap();
    assert!(steps.iter().all(|step| step.code == OutcomeCode::Accepted && step.gas > 1_000 && step.gas < 1_000_000));
}

#[test]
fn gas_depends_on_the_recorded_cuts_alone() {
    let given = numbered(&market()[..120]);
    let singly = trio("registry", 1).apply(given.clone(), &State::new(), Cuts::Live).unwrap();
    assert!(singly.iter().all(|step| step.fresh));
    let trio = trio("registry", 4_096);
    let whole = trio.apply(given.clone(), &State::new(), Cuts::Live).unwrap();
    for (one, other) in whole.iter().zip(&singly) {
        // A guest's allocator is another one when it is new, so gas may differ; nothing else may.
        assert_eq!((&one.code, &one.writes), (&other.code, &other.writes), "event {}", one.index);
    }
    assert_eq!(trio.apply(given.clone(), &State::new(), Cuts::Recorded(&[true; 120])).unwrap(), singly);
    // Two ranges, or one that is cut at the same event.
    let mut state = State::new();
    let mut ranges = trio.apply(given[..50].to_vec(), &state, Cuts::Live).unwrap();
    ranges.iter().for_each(|step| written(&mut state, &step.writes));
    ranges.extend(trio.apply(given[50..].to_vec(), &state, Cuts::Live).unwrap());
    let fresh: Vec<bool> = ranges.iter().map(|step| step.fresh).collect();
    assert_eq!(trio.apply(given, &State::new(), Cuts::Recorded(&fresh)).unwrap(), ranges);
}

#[test]
fn a_step_stands_in_an_outcome_that_decodes_and_names_the_module_and_the_profile() {
    let wasm = module("registry");
    let trio = trio("registry", 4_096);
    let steps = trio.apply(numbered(&market()[..3]), &State::new(), Cuts::Live).unwrap();
    let event_leaf = LeafHash::from_bytes([7; 32]);
    for step in &steps {
        let binding = trio.speed.binding(step);
        assert_eq!((binding.module, binding.profile), (hash::module(&wasm), trio.speed.grant().limits.profile()));
        assert_eq!((binding.plugin.as_str(), binding.fresh, binding.gas), ("registry", step.fresh, step.gas));
        let outcome = Outcome { event_leaf, bindings: vec![binding] };
        assert_eq!(Outcome::decode(&outcome.encode(), event_leaf), Ok(outcome));
    }
    // Another write, another outcome.
    let mut other = steps[0].clone();
    other.writes[0].1 = None;
    assert_ne!(trio.speed.binding(&other).writes, trio.speed.binding(&steps[0]).writes);
}

#[test]
fn the_migration_of_registry_is_the_same_under_the_host() {
    let given: Vec<TestEvent> =
        (0..150_u64).map(|n| listing(1, &format!("sku-{n:03}"), "lamp", 100 + n % 7, 0)).collect();
    let trio = trio("registry", 4_096);
    let (mut whole, mut state) = (State::new(), State::new());
    for step in trio.apply(numbered(&given), &State::new(), Cuts::Live).unwrap() {
        written(&mut whole, &step.writes);
    }
    // What state version 1 looked like: no index by price.
    state.extend(whole.iter().filter(|(key, _)| !key.starts_with(b"price/")).map(|(k, v)| (k.clone(), v.clone())));
    assert_eq!(state.len() + 150, whole.len());
    let migrate = |from: u32, state: &State| {
        trio.each(
            |instance| instance.migrate(from, b"{}", view(state)).map_err(|error| format!("{error}")),
            |instance| instance.migrate(from, b"{}", view(state)).map_err(|error| format!("{error}")),
        )
        .expect("the host goes on")
    };
    let mut calls = 0;
    loop {
        let chunk = migrate(1, &state);
        assert_eq!(chunk.code, OutcomeCode::Accepted);
        written(&mut state, &chunk.writes);
        calls += 1;
        if !chunk.again {
            break;
        }
    }
    assert_eq!((calls, &state), (3, &whole));
    let refused = migrate(7, &state);
    assert_eq!((refused.code.to_string().as_str(), refused.writes.len()), ("rejected(no_migration)", 0));
}

#[test]
fn a_manifest_is_what_the_native_plugin_says() {
    for (name, native) in [
        ("registry", tally_plugin::describe::<tally_registry::Registry>()),
        ("counter", tally_plugin::describe::<tally_counter::Counter>()),
    ] {
        assert_eq!(manifest(&module(name)), Manifest::parse(&native).expect("a manifest"), "{name}");
        assert_eq!(manifest(&module(name)).id.as_str(), name);
    }
}
