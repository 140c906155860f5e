//! V8 as another engine: the instrumented modules of golden segments run in Node under a host that is written a second
//! time, in JavaScript (`v8/run.mjs`), and every event comes to the same code, gas, writes, emits, effects and ids; and
//! the counted stack ends at the same depth.
//!
//! Node must be on the machine; it needs no packages.

mod common;
#[path = "../../../sdk/plugin/check/tests/common/mod.rs"]
#[allow(dead_code, reason = "the events, not the files")]
mod market;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use common::host::{State, at_second, event, events, grant, guest, looped, program};
use common::{generated, prepared};
use market::{listing, order, withdrawal};
use tally_plugin::test_host::TestEvent;
use tally_plugin_host::instance::{Cuts, Instance};
use tally_plugin_host::limits::Limits;
use tally_plugin_host::manifest::Capability;
use tally_plugin_host::session::{BindingStep, Event, Grant};
use tally_plugin_host::state::StateView;
use tally_protocol::hash::{LedgerId, PayloadHash};
use tally_protocol::id::{AgentId, EventId, Index, PluginId, Sequence, StoreId, Stream, TenantId};
use tally_protocol::jcs::{self, Value};
use tally_protocol::key::SigningKey;
use tally_protocol::time::LogTime;

/// A module, what it may do, and what it is given.
struct Segment {
    name: String,
    wasm: Vec<u8>,
    grant: Grant,
    state: State,
    events: Vec<Event>,
}

fn segment(name: &str, wasm: Vec<u8>, events: Vec<Event>) -> Segment {
    Segment { name: name.to_owned(), wasm, grant: grant(Limits::default()), state: State::new(), events }
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn number(number: u64) -> Value {
    Value::integer(number).expect("small")
}

fn hex(bytes: &[u8]) -> Value {
    Value::String(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn list(items: impl IntoIterator<Item = Value>) -> Value {
    Value::Array(items.into_iter().collect())
}

impl Segment {
    /// What the script is given.
    fn to_json(&self) -> Value {
        let Grant { ledger, plugin, limits, prefixes, capabilities } = &self.grant;
        let kinds = capabilities.iter().filter_map(|capability| match capability {
            Capability::Effect(kind) => Some(text(kind)),
            Capability::Emit | Capability::EntityType(_) => None,
        });
        Value::object([
            ("name", text(&self.name)),
            ("wasm", hex(&prepared(&self.wasm, limits))),
            ("ledger", hex(ledger.as_bytes())),
            ("plugin", text(plugin.as_str())),
            ("limits", Value::object(limits.entries().into_iter().map(|(name, value)| (name, number(value))))),
            ("prefixes", list(prefixes.iter().map(|prefix| text(prefix)))),
            ("emits", Value::Bool(capabilities.contains(&Capability::Emit))),
            ("effects", list(kinds)),
            ("state", list(self.state.iter().map(|(key, value)| list([hex(key), hex(value)])))),
            ("events", list(self.events.iter().map(event_json))),
        ])
    }

    /// What the script must print: the host's own steps.
    fn expected(&self) -> String {
        let instance = Instance::new(program(&self.wasm, &self.grant.limits), self.grant.clone());
        let state: Arc<dyn StateView> = Arc::new(self.state.clone());
        let steps = instance.apply(self.events.clone(), state, Cuts::Live).expect("the host goes on");
        let value = Value::object([("name", text(&self.name)), ("steps", list(steps.iter().map(step_json)))]);
        String::from_utf8(jcs::to_canonical(&value)).expect("JSON is text")
    }
}

fn event_json(event: &Event) -> Value {
    let (ids, effects) = event.calls_before;
    Value::object([
        ("index", number(event.index.get())),
        ("sequence", number(event.sequence.get())),
        ("sequenced_at", number(event.sequenced_at.micros())),
        ("tenant", hex(event.stream.tenant.as_bytes())),
        ("store", hex(event.stream.store.as_bytes())),
        ("event_id", hex(event.event_id.as_bytes())),
        ("agent", hex(event.agent.as_bytes())),
        ("payload_hash", hex(event.payload_hash.as_bytes())),
        ("type", text(&event.event_type)),
        ("entity_type", text(&event.entity_type)),
        ("entity_id", text(&event.entity_id)),
        ("depth", number(event.depth.into())),
        ("calls_before", list([number(ids.into()), number(effects.into())])),
        ("body", hex(&event.body)),
    ])
}

fn step_json(step: &BindingStep) -> Value {
    let write = |(key, value): &(Bytes, Option<Bytes>)| {
        list([hex(key), value.as_ref().map_or(Value::Null, |value| hex(value))])
    };
    let effects = step.effects.iter().map(|effect| {
        let call = number(effect.call.into());
        list([hex(effect.id.as_bytes()), call, text(&effect.kind), text(&effect.suffix), hex(&effect.body)])
    });
    let (ids, calls) = step.calls;
    Value::object([
        ("calls", list([number(ids.into()), number(calls.into())])),
        ("code", text(&step.code.to_string())),
        ("effects", list(effects)),
        ("emits", list(step.emits.iter().map(|emit| list([text(&emit.event_type), hex(&emit.body)])))),
        ("fresh", Value::Bool(step.fresh)),
        ("gas", number(step.gas)),
        ("index", number(step.index.get())),
        ("writes", list(step.writes.iter().map(write))),
    ])
}

/// Runs the segments on V8; each must come to what the host comes to.
fn agree(segments: &[Segment]) {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("v8-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a folder");
    let file = dir.join(format!("{:?}.json", std::thread::current().id()).replace(['(', ')'], ""));
    let given = list(segments.iter().map(Segment::to_json));
    std::fs::write(&file, jcs::to_canonical(&given)).expect("written");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/v8/run.mjs");
    let output = Command::new("node").arg(&script).arg(&file).output().unwrap_or_else(|error| {
        panic!("this test runs modules on V8 and needs Node.js 20 or newer as `node` in the path: {error}")
    });
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "node failed: {err}");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), segments.len(), "{err}");
    for (segment, line) in segments.iter().zip(lines) {
        let said = jcs::canonicalize(line.as_bytes()).expect("the script prints JSON");
        assert_eq!(String::from_utf8_lossy(&said), segment.expected(), "{}", segment.name);
    }
    std::fs::remove_file(&file).expect("it is there");
}

/// What a step may do that the host has a hand in, and every way to be stopped.
const WORKS: &[(&str, &str)] = &[
    ("nothing", ""),
    ("kv_get_many", "(i32.store (i32.const 3000) (i32.const 7)) (memory.copy (i32.const 3004) (i32.const 1024) (i32.const 7))
        (call $kv_get_many (i32.const 3000) (i32.const 11) (i32.const 32))"),
    ("kv_get_many, malformed", "(call $kv_get_many (i32.const 1024) (i32.const 7) (i32.const 32))"),
    ("kv_delete", "(call $kv_delete (i32.const 1024) (i32.const 7))"),
    ("kv_range", "(call $kv_set (i32.const 1104) (i32.const 4) (i32.const 1024) (i32.const 3))
        (call $kv_range (i32.const 2048) (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 10) (i32.const 0) (i32.const 32))
        (call $kv_set (i32.const 1024) (i32.const 7) (i32.load (i32.const 36)) (i32.load (i32.const 40)))"),
    ("kv_range, reverse", "(call $kv_set (i32.const 1104) (i32.const 4) (i32.const 1024) (i32.const 3))
        (call $kv_range (i32.const 2048) (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1) (i32.const 32))
        (call $kv_set (i32.const 1024) (i32.const 7) (i32.load (i32.const 36)) (i32.load (i32.const 40)))"),
    ("emit", "(call $emit (i32.const 1048) (i32.const 10) (i32.const 1040) (i32.const 2))"),
    ("emit, no JSON", "(call $emit (i32.const 1048) (i32.const 10) (i32.const 1048) (i32.const 10))"),
    ("emit, without a type", "(call $emit (i32.const 1048) (i32.const 0) (i32.const 1040) (i32.const 2))"),
    ("effect", "(call $effect (i32.const 1064) (i32.const 4) (i32.const 1024) (i32.const 1) (i32.const 1040) (i32.const 2))
        (call $effect (i32.const 1064) (i32.const 4) (i32.const 1024) (i32.const 0) (i32.const 1040) (i32.const 2))"),
    ("effect of a kind that was not granted", "(call $effect (i32.const 1048) (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 1040) (i32.const 2))"),
    ("sha256", "(call $sha256 (i32.const 1024) (i32.const 300) (i32.const 4000)) (call $kv_set (i32.const 1024) (i32.const 7) (i32.const 4000) (i32.const 32))"),
    ("blake3", "(call $blake3 (i32.const 1024) (i32.const 7) (i32.const 4000)) (call $kv_set (i32.const 1024) (i32.const 7) (i32.const 4000) (i32.const 32))"),
    ("blake3 of three chunks and a byte", "(call $blake3 (i32.const 1024) (i32.const 3073) (i32.const 8000)) (call $kv_set (i32.const 1024) (i32.const 7) (i32.const 8000) (i32.const 32))"),
    ("id", "(call $id (i32.const 1064) (i32.const 4) (i32.const 4000)) (call $id (i32.const 1064) (i32.const 4) (i32.const 4032))
        (call $kv_set (i32.const 1024) (i32.const 7) (i32.const 4000) (i32.const 64))"),
    ("id, label too long", "(call $id (i32.const 1024) (i32.const 65) (i32.const 4000))"),
    ("log", "(call $log (i32.const 2) (i32.const 1024) (i32.const 7))"),
    ("log, no such level", "(call $log (i32.const 4) (i32.const 1024) (i32.const 7))"),
    ("rejected", "(call $done (i32.const 0) (i32.const 1072) (i32.const 8)) (br $next_event)"),
    ("a verdict twice", "(call $accept)"),
    ("a verdict that is none", "(call $done (i32.const 2) (i32.const 0) (i32.const 0))"),
    ("a write behind the verdict", "(call $accept) (call $kv_delete (i32.const 1024) (i32.const 7)) (br $next_event)"),
    ("a key without a name", "(call $kv_set (i32.const 1024) (i32.const 0) (i32.const 0) (i32.const 0))"),
    ("another's key", "(call $kv_set (i32.const 1088) (i32.const 7) (i32.const 0) (i32.const 0))"),
    ("a pointer outside", "(call $kv_set (i32.const -1) (i32.const 7) (i32.const 0) (i32.const 0))"),
    ("an answer outside", "(call $kv_get (i32.const 1024) (i32.const 7) (i32.const -4))"),
    ("unreachable", "unreachable"),
    ("a division by zero", "(drop (i32.div_u (i32.const 1) (i32.sub (local.get $i) (local.get $i))))"),
    ("a load outside", "(drop (i32.load (i32.const -8)))"),
    ("a loop without end", "(loop $on (br $on))"),
    ("a recursion without end", "(call $recurse (i32.const 10000000))"),
    ("memory that grows", "(drop (memory.grow (i32.const 1))) (i32.store (i32.const 262144) (i32.const 7))"),
    ("memory that grows without end", "(loop $on (drop (memory.grow (i32.const 16))) (br $on))"),
    ("bulk memory", "(memory.fill (i32.const 5000) (i32.const 7) (i32.const 20000)) (memory.copy (i32.const 40000) (i32.const 5000) (i32.const 20000))
        (call $kv_set (i32.const 1024) (i32.const 7) (i32.const 59990) (i32.const 10))"),
];

#[test]
fn every_host_function_and_every_end_is_the_same_on_v8() {
    let works = WORKS.iter().map(|(name, work)| segment(name, at_second(work), events(3)));
    let asks_not = segment("a guest that returns at once", guest("(func (export \"run\"))"), events(3));
    let many = (0..40).map(|_| "(call $emit (i32.const 1048) (i32.const 10) (i32.const 1040) (i32.const 2))");
    let emits = segment("too many emits", at_second(&many.collect::<String>()), events(3));
    agree(&works.chain([asks_not, emits]).collect::<Vec<_>>());
}

#[test]
fn signatures_states_cuts_and_long_bodies_are_the_same_on_v8() {
    let key = SigningKey::from_seed([7; 32]);
    let signature = key.sign(b"k/count");
    let data = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\{byte:02x}")).collect::<String>();
    let checks = |message: u32| {
        format!(
            "(data (i32.const 6000) \"{}\") (data (i32.const 6100) \"{}\")
             (func (export \"run\")
               (loop $next_event (call $next (i32.const 16))
                 (if (i32.load (i32.const 16)) (then
                   (i32.store (i32.const 48) (call $verify (i32.const 6000) (i32.const {message}) (i32.const 7) (i32.const 6100)))
                   (call $kv_set (i32.const 1024) (i32.const 7) (i32.const 48) (i32.const 4))
                   (call $accept) (br $next_event)))))",
            data(key.public_key().as_bytes()),
            data(signature.as_bytes())
        )
    };
    let mut segments = vec![
        segment("a good signature", guest(&checks(1_024)), events(2)),
        segment("a bad signature", guest(&checks(1_025)), events(2)),
    ];
    let mut cut = segment("instances of two events", looped("(call $add_to_count)"), events(7));
    cut.grant.limits.events_per_instance = 2;
    cut.state = State::from([(Bytes::from_static(b"k/count"), Bytes::from_static(&[5, 0, 0, 0, 0, 0, 0, 0]))]);
    segments.push(cut);
    let mut long = segment("a body over the limit", looped("(call $add_to_count)"), events(3));
    long.grant.limits.body_bytes = 100;
    long.events[1] = event(2, &[b'1'; 101]);
    segments.push(long);
    // Limits that no step of the others comes near.
    let log = "(call $log (i32.const 2) (i32.const 1024) (i32.const 1))";
    for calls in [7, 8] {
        let mut counted = segment(&format!("{calls} host calls"), at_second(&log.repeat(5)), events(3));
        counted.grant.limits.host_calls = calls;
        segments.push(counted);
    }
    for bytes in [18, 19] {
        let mut full = segment(
            &format!("{bytes} bytes of state"),
            at_second("(call $kv_set (i32.const 1104) (i32.const 4) (i32.const 1024) (i32.const 0))"),
            events(3),
        );
        full.grant.limits.state_bytes = bytes;
        segments.push(full);
    }
    agree(&segments);
}

#[test]
fn the_counted_stack_ends_at_the_same_depth_on_v8() {
    // The deepest recursion that the host accepts, found by halving.
    let accepted = |depth: u32| {
        let wasm = looped(&format!("(call $recurse (i32.const {depth}))"));
        let instance = Instance::new(program(&wasm, &Limits::default()), grant(Limits::default()));
        let nothing: Arc<dyn StateView> = Arc::new(State::new());
        instance.apply(events(1), nothing, Cuts::Live).expect("the host goes on")[0].code.is_accepted()
    };
    let (mut low, mut high) = (0, 1_000_000);
    while high - low > 1 {
        let middle = u32::midpoint(low, high);
        if accepted(middle) { low = middle } else { high = middle }
    }
    assert!(low > 100 && accepted(low) && !accepted(low + 1), "{low}");
    let at = |depth: u32| {
        let wasm = looped(&format!("(call $recurse (i32.const {depth}))"));
        segment(&format!("recursion to {depth}"), wasm, events(2))
    };
    agree(&[at(low - 1), at(low), at(low + 1), at(low + 2)]);
}

#[test]
fn generated_modules_come_to_the_same_on_v8() {
    let limits = Limits { gas: 200_000, ..Limits::default() };
    let modules = (0..400).filter_map(|seed| generated(seed, &limits).map(|wasm| (seed, wasm)));
    let segments: Vec<Segment> = modules
        .take(60)
        .map(|(seed, wasm)| Segment { grant: grant(limits), ..segment(&format!("seed {seed}"), wasm, events(2)) })
        .collect();
    assert_eq!(segments.len(), 60);
    agree(&segments);
}

fn committed(name: &str, given: &[TestEvent]) -> Segment {
    let file = format!("{}/../{name}/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
    let wasm = std::fs::read(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let ledger = LedgerId::from_bytes([9; 32]);
    let nothing = Grant::nothing(ledger, PluginId::new("unknown").expect("an id"));
    let manifest = Instance::new(program(&wasm, &Limits::default()), nothing).describe().expect("it describes itself");
    let events = given.iter().enumerate().map(|(at, event)| numbered(at as u64, event)).collect();
    Segment { name: name.to_owned(), wasm, grant: Grant::all(ledger, &manifest), state: State::new(), events }
}

fn numbered(index: u64, event: &TestEvent) -> Event {
    Event {
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
        depth: 0,
        calls_before: (0, 0),
        body: Bytes::copy_from_slice(&event.body),
    }
}

#[test]
fn the_committed_modules_come_to_the_same_on_v8() {
    let mut given = Vec::new();
    for n in 0..200_u64 {
        let (agent, sku) = (1 + (n % 2) as u8, ["a", "b", "c"][(n % 3) as usize]);
        given.push(match n % 5 {
            0 | 1 => listing(agent, sku, &format!("thing {n} \u{e9}"), 10 + n % 4, 1),
            4 if n % 3 == 0 => withdrawal(agent, sku),
            _ => order(3, &format!("o{n}"), sku, 1 + (n % 3) as u8 % 2, n % 4, 10 + n % 4, 1),
        });
    }
    given.push(TestEvent::new("order.placed", "order", "o1", *b"{}"));
    given.push(TestEvent::new("order.placed", "order", "o2", *b"no json"));
    agree(&[committed("counter", &given), committed("registry", &given)]);
}
