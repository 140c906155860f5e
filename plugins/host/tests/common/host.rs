//! Guests under the whole host, on three engines at once, and the events they are given.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use tally_plugin_host::engine::{Engine, Optimisation, Program};
use tally_plugin_host::error::HostError;
use tally_plugin_host::instance::{Cuts, Instance};
use tally_plugin_host::interpreter::{Interpreted, Interpreter};
use tally_plugin_host::limits::Limits;
use tally_plugin_host::manifest::Capability;
use tally_plugin_host::registry::Loader;
use tally_plugin_host::session::{BindingStep, Event, Grant};
use tally_plugin_host::state::StateView;
use tally_protocol::hash::{LedgerId, PayloadHash};
use tally_protocol::id::{AgentId, EventId, Index, PluginId, Sequence, StoreId, Stream, TenantId};
use tally_protocol::outcome::OutcomeCode;
use tally_protocol::time::LogTime;

use super::wat;

/// A program as a node would run it.
pub(crate) fn program(wasm: &[u8], limits: &Limits) -> Program {
    SPEED.load(wasm, limits).expect("loads")
}

static SPEED: LazyLock<Engine> = LazyLock::new(|| Engine::new(16, Optimisation::Speed).expect("a pool"));
static INTERPRETER: LazyLock<Interpreter> = LazyLock::new(|| Interpreter::new().expect("links"));
static NONE: LazyLock<Engine> = LazyLock::new(|| Engine::new(16, Optimisation::None).expect("a pool"));

pub(crate) type State = BTreeMap<Bytes, Bytes>;

/// All host functions, a recursion, and four pages of memory. Sequence of the open event: `$sequence`.
const PRELUDE: &str = r#"
  (import "tally:plugin/host@1" "next" (func $next (param i32)))
  (import "tally:plugin/host@1" "done" (func $done (param i32 i32 i32)))
  (import "tally:plugin/host@1" "kv_get" (func $kv_get (param i32 i32 i32)))
  (import "tally:plugin/host@1" "kv_get_many" (func $kv_get_many (param i32 i32 i32)))
  (import "tally:plugin/host@1" "kv_set" (func $kv_set (param i32 i32 i32 i32)))
  (import "tally:plugin/host@1" "kv_delete" (func $kv_delete (param i32 i32)))
  (import "tally:plugin/host@1" "kv_range" (func $kv_range (param i32 i32 i32 i32 i32 i32 i32)))
  (import "tally:plugin/host@1" "emit" (func $emit (param i32 i32 i32 i32)))
  (import "tally:plugin/host@1" "effect" (func $effect (param i32 i32 i32 i32 i32 i32)))
  (import "tally:plugin/host@1" "sha256" (func $sha256 (param i32 i32 i32)))
  (import "tally:plugin/host@1" "blake3" (func $blake3 (param i32 i32 i32)))
  (import "tally:plugin/host@1" "ed25519_verify" (func $verify (param i32 i32 i32 i32) (result i32)))
  (import "tally:plugin/host@1" "id" (func $id (param i32 i32 i32)))
  (import "tally:plugin/host@1" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 4)
  (data (i32.const 1024) "k/count")
  (data (i32.const 1040) "{}")
  (data (i32.const 1048) "thing.done")
  (data (i32.const 1064) "mail")
  (data (i32.const 1072) "no-stock")
  (data (i32.const 1088) "x/other")
  (data (i32.const 1104) "k/\00\ff")
  (data (i32.const 2048) "k/")
  (func $recurse (param i32) (if (local.get 0) (then (call $recurse (i32.sub (local.get 0) (i32.const 1))))))
  (func $accept (call $done (i32.const 1) (i32.const 0) (i32.const 0)))
  (func $sequence (result i32) (i32.load offset=8 (i32.load (i32.const 20))))
  (func $add_to_count (local $n i64)
    (call $kv_get (i32.const 1024) (i32.const 7) (i32.const 32))
    (if (i32.load (i32.const 32)) (then (local.set $n (i64.load (i32.load (i32.const 36))))))
    (i64.store (i32.const 48) (i64.add (local.get $n) (i64.const 1)))
    (call $kv_set (i32.const 1024) (i32.const 7) (i32.const 48) (i32.const 8)))
"#;

/// A guest with everything at hand and a `run` of its own.
pub(crate) fn guest(rest: &str) -> Vec<u8> {
    wat(&format!("{PRELUDE} {rest}"))
}

/// A guest that counts, and at the second event does this before it accepts.
pub(crate) fn at_second(work: &str) -> Vec<u8> {
    looped(&format!("(call $add_to_count) (if (i32.eq (call $sequence) (i32.const 2)) (then {work}))"))
}

/// A guest that does this at each event, then accepts.
pub(crate) fn looped(work: &str) -> Vec<u8> {
    guest(&format!(
        "(func (export \"run\") (local $i i32)
           (loop $next_event
             (call $next (i32.const 16))
             (if (i32.load (i32.const 16)) (then {work} (call $accept) (br $next_event)))))"
    ))
}

pub(crate) fn event(sequence: u64, body: &[u8]) -> Event {
    Event {
        index: Index::new(100 + sequence),
        sequence: Sequence::new(sequence),
        sequenced_at: LogTime::from_micros(1_700_000_000_000_000 + sequence),
        stream: Stream::new(TenantId::from_bytes([1; 16]), StoreId::from_bytes([2; 16])),
        event_id: EventId::from_bytes([3; 16]),
        agent: AgentId::from_bytes([4; 16]),
        payload_hash: PayloadHash::from_bytes([5; 32]),
        event_type: "order.placed".to_owned(),
        entity_type: "order".to_owned(),
        entity_id: format!("order-{sequence}"),
        depth: 0,
        calls_before: (0, 0),
        body: Bytes::copy_from_slice(body),
    }
}

pub(crate) fn events(count: u64) -> Vec<Event> {
    (1..=count).map(|sequence| event(sequence, br#"{"n":1}"#)).collect()
}

pub(crate) fn grant(limits: Limits) -> Grant {
    Grant {
        ledger: LedgerId::from_bytes([9; 32]),
        plugin: PluginId::new("test").expect("an id"),
        limits,
        prefixes: vec!["k/".to_owned()],
        capabilities: vec![Capability::Effect("mail".to_owned()), Capability::Emit],
    }
}

/// One guest on three engines.
pub(crate) struct Trio {
    pub(crate) speed: Instance<Program>,
    none: Instance<Program>,
    second: Instance<Interpreted>,
}

impl Trio {
    pub(crate) fn new(wasm: &[u8], limits: Limits) -> Self {
        Self::granted(wasm, grant(limits))
    }

    pub(crate) fn granted(wasm: &[u8], grant: Grant) -> Self {
        let limits = grant.limits;
        Self {
            speed: Instance::new(SPEED.load(wasm, &limits).expect("loads"), grant.clone()),
            none: Instance::new(NONE.load(wasm, &limits).expect("loads"), grant.clone()),
            second: Instance::new(INTERPRETER.load(wasm, &limits).expect("loads"), grant),
        }
    }

    /// The steps, equal on all three in every field.
    pub(crate) fn apply(
        &self,
        events: Vec<Event>,
        state: &State,
        cuts: Cuts<'_>,
    ) -> Result<Vec<BindingStep>, HostError> {
        let state: Arc<dyn StateView> = Arc::new(state.clone());
        let speed = self.speed.apply(events.clone(), Arc::clone(&state), cuts);
        let none = self.none.apply(events.clone(), Arc::clone(&state), cuts);
        let second = self.second.apply(events, state, cuts);
        assert_eq!(format!("{speed:?}"), format!("{none:?}"), "optimised and not");
        assert_eq!(format!("{speed:?}"), format!("{second:?}"), "compiled and interpreted");
        speed
    }

    /// Any other entry, equal on all three.
    pub(crate) fn each<R: core::fmt::Debug>(
        &self,
        speed: impl Fn(&Instance<Program>) -> R,
        second: impl Fn(&Instance<Interpreted>) -> R,
    ) -> R {
        let result = speed(&self.speed);
        assert_eq!(format!("{result:?}"), format!("{:?}", speed(&self.none)), "optimised and not");
        assert_eq!(format!("{result:?}"), format!("{:?}", second(&self.second)), "compiled and interpreted");
        result
    }
}

/// What a guest does with so many events from an empty state, equal on three engines.
pub(crate) fn steps_of(wasm: &[u8], count: u64) -> Vec<BindingStep> {
    let trio = Trio::new(wasm, Limits::default());
    trio.apply(events(count), &State::new(), Cuts::Live).expect("the host goes on")
}

pub(crate) fn codes(steps: &[BindingStep]) -> Vec<String> {
    steps.iter().map(|step| step.code.to_string()).collect()
}

pub(crate) fn fresh(steps: &[BindingStep]) -> Vec<bool> {
    steps.iter().map(|step| step.fresh).collect()
}

/// The count that a step wrote.
pub(crate) fn count(step: &BindingStep) -> u64 {
    let (_, value) = step.writes.iter().find(|(key, _)| key == &b"k/count"[..]).expect("counted");
    u64::from_le_bytes(value.as_deref().expect("set").try_into().expect("eight bytes"))
}

/// The laws of a failure at the second of three events: its own code, the full charge, nothing kept, the neighbours
/// untouched, a fresh instance behind it.
pub(crate) fn fails_alone(work: &str, code: &str) {
    let steps = steps_of(&at_second(work), 3);
    assert_eq!(codes(&steps), ["accepted", code, "accepted"], "{work}");
    assert_eq!(fresh(&steps), [true, false, true], "{work}");
    let failed = &steps[1];
    assert_eq!(failed.gas, Limits::default().gas, "{work}");
    assert!(failed.writes.is_empty() && failed.emits.is_empty() && failed.effects.is_empty(), "{work}");
    assert_eq!((count(&steps[0]), count(&steps[2])), (1, 2), "{work}");
}

/// The second of three events passes, in the same instance.
pub(crate) fn passes(work: &str) -> BindingStep {
    let mut steps = steps_of(&at_second(work), 3);
    assert_eq!(codes(&steps), ["accepted", "accepted", "accepted"], "{work}");
    assert_eq!(fresh(&steps), [true, false, false], "{work}");
    assert_eq!(count(&steps[2]), 3, "{work}");
    assert!(steps.iter().all(|step| step.code == OutcomeCode::Accepted && step.gas < Limits::default().gas));
    steps.remove(1)
}
