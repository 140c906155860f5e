//! What a plugin costs its host, on one core, beside the same plugin built natively, in the same run.
//!
//! ```text
//! cargo xtask bench plugins [--rounds N] [--only NAME] [--write]      into docs/benchmarks/{plugins,market}.{md,json}
//! ```
//! Rounds alternate between the engines and the native build, so that a machine that gets slower meanwhile does not decide
//! a ratio; means and fastest passes are given. `--only market` measures the market's plugins alone, `--only 'market: NAME'`
//! one of their lines. Fails when an event is not accepted.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement ends where it fails, and prints")]

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "pull/market.rs"]
mod market;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use common::ledger::{Known, World, stream};
use tally_plugin::test_host::{TestEvent, TestHost, Verdict};
use tally_plugin_host::apply::{Applied, Logged, RangeCuts, apply};
use tally_plugin_host::engine::{Engine, Optimisation};
use tally_plugin_host::instance::{Cuts, Instance, Machine};
use tally_plugin_host::interpreter::Interpreter;
use tally_plugin_host::limits::Limits;
use tally_plugin_host::memory::Memory;
use tally_plugin_host::registry::{Loader as _, Registry};
use tally_plugin_host::session::{Event, Grant};
use tally_plugin_host::state::StateView;
use tally_protocol::id::AgentId;
use tally_protocol::outcome::OutcomeCode;
use tally_protocol::plugin_life::PluginRegister;

/// Events of one range: just under what a live host takes at most.
const EVENTS: u64 = 4_096;

fn module(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../{name}/{name}.wasm", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Canonical JSON of so many bytes.
fn body(bytes: usize) -> Vec<u8> {
    let text = "x".repeat(bytes - br#"{"text":""}"#.len());
    format!(r#"{{"text":"{text}"}}"#).into_bytes()
}

fn events(bytes: usize) -> Vec<Arc<Event>> {
    let body = body(bytes);
    (1..=EVENTS).map(|sequence| Arc::new(common::host::event(sequence, &body))).collect()
}

/// What one pass took for each event, in nanoseconds.
#[derive(Clone, Copy)]
struct Sample {
    /// Of this thread on the processor: what others run meanwhile does not count. The system says it in steps of some
    /// milliseconds, so only the sum of many passes means something.
    processor: f64,
    /// Of the clock on the wall.
    wall: f64,
}

impl Sample {
    fn plus(self, other: Self) -> Self {
        Self { processor: self.processor + other.processor, wall: self.wall + other.wall }
    }
}

fn timed(count: usize, work: impl FnOnce()) -> Sample {
    let (start, before) = (Instant::now(), on_processor());
    work();
    let wall = start.elapsed().as_nanos() as f64 / count as f64;
    let nanos = before.zip(on_processor()).map(|(before, after)| (after - before) as f64 / count as f64);
    Sample { processor: nanos.unwrap_or(wall), wall }
}

/// Nanoseconds that this thread has run.
fn on_processor() -> Option<u64> {
    std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split_whitespace().next()?.parse().ok()
}

/// A range through an instance, as apply has it run; every event is accepted.
fn pull<M: Machine>(instance: &Instance<M>, given: &[Arc<Event>]) -> Sample {
    let (given, state): (_, Arc<dyn StateView>) = (given.to_vec(), Arc::new(BTreeMap::<Bytes, Bytes>::new()));
    timed(given.len(), || {
        let steps = instance.apply_shared(given, state, Cuts::Live).unwrap();
        assert!(steps.iter().all(|step| step.code == OutcomeCode::Accepted));
        black_box(steps);
    })
}

/// The loop and nothing else: what the contract itself costs.
fn idle() -> Vec<u8> {
    common::host::guest(
        r#"(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 131072))
           (func (export "run")
             (loop $next_event
               (call $next (i32.const 16))
               (if (i32.load (i32.const 16)) (then (call $accept) (br $next_event)))))"#,
    )
}

/// The same natively: the record is made and looked at, and there is a verdict.
fn idle_native(given: &[Arc<Event>]) -> Sample {
    timed(given.len(), || {
        let (mut record, mut verdicts) = (Vec::new(), Vec::new());
        for event in given {
            record.clear();
            record.extend_from_slice(&event.index.get().to_le_bytes());
            record.extend_from_slice(&event.sequence.get().to_le_bytes());
            record.extend_from_slice(event.stream.tenant.as_bytes());
            record.extend_from_slice(event.stream.store.as_bytes());
            record.extend_from_slice(event.payload_hash.as_bytes());
            record.extend_from_slice(event.event_type.as_bytes());
            record.extend_from_slice(event.entity_id.as_bytes());
            record.extend_from_slice(&event.body);
            verdicts.push(black_box(&record).len() > 1);
        }
        assert!(black_box(verdicts).iter().all(|accepted| *accepted));
    })
}

/// Counts each entity's events in a map: what `counter` does.
fn counter_native(given: &[Arc<Event>]) -> Sample {
    timed(given.len(), || {
        let (mut state, mut steps) = (BTreeMap::<Vec<u8>, Vec<u8>>::new(), Vec::new());
        for event in given {
            let key = [b"count/", event.entity_type.as_bytes(), b"\0", event.entity_id.as_bytes()].concat();
            let count = state.get(&key).map_or(0, |value| u64::from_le_bytes(value[..].try_into().unwrap()));
            let value = (count + 1).to_le_bytes().to_vec();
            state.insert(key.clone(), value.clone());
            steps.push((key, value));
        }
        black_box((state, steps));
    })
}

fn currency(price: u64) -> &'static str {
    if price.is_multiple_of(2) { "EUR" } else { "USD" }
}

fn listing(agent: u8, sku: &str, price: u64, bytes: u8) -> TestEvent {
    let (currency, hash) = (currency(price), format!("{bytes:02x}").repeat(32));
    let body = format!(
        r#"{{"currency":"{currency}","name":"lamp","price_cents":{price},"sha256":"{hash}","size_bytes":1000,"version":"1.0.0"}}"#
    );
    TestEvent::new("catalog.item.listed", "item", sku, body.into_bytes()).by(agent)
}

fn order(id: &str, sku: &str, seller: u8, price: u64, bytes: u8) -> TestEvent {
    let (currency, hash) = (currency(price), format!("{bytes:02x}").repeat(32));
    let hex = format!("{seller:02x}").repeat(16);
    let seller = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
    let body = format!(
        r#"{{"currency":"{currency}","quantity":1,"seller":"{seller}","sha256":"{hash}","sku":"{sku}","total_cents":{price}}}"#
    );
    TestEvent::new("order.placed", "order", id, body.into_bytes()).by(9)
}

/// Items and seven orders of each, all of which are accepted.
fn listed_and_ordered() -> Vec<TestEvent> {
    let one = |n: u64| {
        let (seller, sku) = (u8::try_from(n % 5 + 1).unwrap(), format!("sku-{n}"));
        let (price, bytes) = (100 + n % 40, u8::try_from(n % 200).unwrap());
        let item = listing(seller, &sku, price, bytes);
        let orders = (0..7).map(move |at| order(&format!("o-{n}-{at}"), &sku, seller, price, bytes));
        std::iter::once(item).chain(orders)
    };
    (0..EVENTS / 8).flat_map(one).collect()
}

/// A log in which a plugin is installed, and events for it.
struct Log {
    world: World,
    events: Vec<Logged>,
    registry: RefCell<Registry<Engine>>,
}

impl Log {
    fn new(engine: &Engine, wasm: &[u8], given: &[TestEvent]) -> Self {
        let mut world = World::new();
        let release = world.publish(wasm);
        world.install(stream(1), &release);
        let before = world.log.len();
        for event in given {
            let about = (event.entity_type.as_str(), event.entity_id.as_str());
            world.push_about(stream(1), &event.event_type, about, &event.body);
            let logged = world.log.last_mut().unwrap();
            let agent = AgentId::from_bytes(event.agent);
            let event = Event { agent, ..Event::clone(logged.event.as_ref().unwrap()) };
            logged.event = Some(Arc::new(event));
        }
        let events = world.log.split_off(before);
        let modules = Box::new(world.modules.clone());
        let registry = RefCell::new(Registry::new(common::ledger::LEDGER, engine.clone(), modules, 4));
        Self { world, events, registry }
    }

    /// An event with everything that apply makes of it, and with the state trees too.
    fn applied(&self) -> (Sample, Sample) {
        let mut registry = self.registry.borrow_mut();
        registry.rewind(PluginRegister::new(common::ledger::LEDGER), []).unwrap();
        let mut memory = Memory::new();
        let mut range = |entries: &[Logged]| -> (Sample, Sample) {
            let mut applied = None;
            let outcomes = timed(entries.len(), || {
                applied = Some(apply(&mut registry, entries, &mut Known, &memory, RangeCuts::Live).unwrap());
            });
            let Applied { outcomes: made, delta } = applied.unwrap();
            assert!(made.iter().flat_map(|outcome| &outcome.bindings).all(|b| b.code == OutcomeCode::Accepted));
            let trees = timed(entries.len(), || {
                let states = delta.trees(&memory).unwrap();
                memory.take(&delta, &states);
            });
            (outcomes, outcomes.plus(trees))
        };
        range(&self.world.log);
        range(&self.events)
    }
}

fn market_native(given: &[TestEvent]) -> Sample {
    let (mut native, given) = (TestHost::<tally_registry::Registry>::new(), given.to_vec());
    timed(given.len(), || {
        let outcomes = native.apply(given);
        assert!(outcomes.iter().all(|outcome| outcome.verdict == Verdict::Accepted));
        black_box(outcomes);
    })
}

/// A line of the page.
struct Line {
    name: String,
    passes: Vec<Sample>,
}

impl Line {
    /// The mean on the processor.
    fn mean(&self) -> f64 {
        self.passes.iter().map(|pass| pass.processor).sum::<f64>() / self.passes.len() as f64
    }

    /// The fastest pass.
    fn fastest(&self) -> f64 {
        self.passes.iter().map(|pass| pass.wall).fold(f64::MAX, f64::min)
    }
}

/// Which lines are compared: what, with what.
const PAIRS: [(&str, &str); 4] = [
    ("pull loop, optimised", "pull loop, native"),
    ("counter, optimised", "counter, native"),
    ("counter, apply", "counter, native"),
    ("registry, apply", "registry, native"),
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value =
        |name: &str| arguments.iter().position(|argument| argument == name).and_then(|at| arguments.get(at + 1));
    let rounds = value("--rounds").and_then(|rounds| rounds.parse().ok()).unwrap_or(15);
    let (only, writes) = (value("--only").map(String::as_str), arguments.iter().any(|argument| argument == "--write"));
    let folder = format!("{}/../../docs/benchmarks", env!("CARGO_MANIFEST_DIR"));
    let write = |name: &str, page: &str, figures: String| {
        println!("{page}");
        if writes {
            std::fs::write(format!("{folder}/{name}.md"), page).unwrap();
            std::fs::write(format!("{folder}/{name}.json"), figures).unwrap();
        }
    };
    if only.is_none_or(|only| only != "market" && !only.starts_with("market: ")) {
        let lines = measure(rounds, only);
        write("plugins", &page(&lines, rounds), figures(&lines));
    }
    if only.is_none_or(|only| only == "market" || only.starts_with("market: ")) {
        let trade = market::Trade::new(&Engine::new(4, Optimisation::Speed).unwrap());
        let only = only.and_then(|only| only.strip_prefix("market: "));
        let lines = in_turns(rounds, trade.works(), only);
        let rows: Vec<_> = lines.iter().map(|line| (line.name.clone(), line.mean(), line.fastest())).collect();
        let before = std::fs::read_to_string(format!("{folder}/market.md")).ok();
        write("market", &trade.page(&rows, rounds, before.as_deref()), figures(&lines));
    }
}

type Work<'w> = Box<dyn Fn() -> Sample + 'w>;

fn measure(rounds: usize, only: Option<&str>) -> Vec<Line> {
    let (speed, none) = (Engine::new(4, Optimisation::Speed).unwrap(), Engine::new(4, Optimisation::None).unwrap());
    let (given, limits) = (events(500), Limits::default());
    let grant = common::host::grant(limits);
    let (loop_wasm, counter) = (idle(), module("counter"));
    let looped = |engine: &Engine| Instance::new(engine.load(&loop_wasm, &limits).unwrap(), grant.clone());
    let (loop_speed, loop_none) = (looped(&speed), looped(&none));
    let interpreted = Interpreter::new().expect("an interpreter").load(&loop_wasm, &limits).expect("loads");
    let loop_second = Instance::new(interpreted, grant.clone());
    let counting = Grant { prefixes: vec!["count/".to_owned()], capabilities: Vec::new(), ..grant.clone() };
    let counts = |engine: &Engine| Instance::new(engine.load(&counter, &limits).unwrap(), counting.clone());
    let (counter_speed, counter_none) = (counts(&speed), counts(&none));
    let traded = listed_and_ordered();
    let log = Log::new(&speed, &module("registry"), &traded);
    let entity = |n: u64| TestEvent::new("order.placed", "order", &format!("order-{n}"), body(500));
    let counted = Log::new(&speed, &counter, &(0..EVENTS).map(entity).collect::<Vec<_>>());
    let works: Vec<(&'static str, Work<'_>)> = vec![
        ("pull loop, native", Box::new(|| idle_native(&given))),
        ("pull loop, optimised", Box::new(|| pull(&loop_speed, &given))),
        ("pull loop, unoptimised", Box::new(|| pull(&loop_none, &given))),
        ("pull loop, interpreter", Box::new(|| pull(&loop_second, &given))),
        ("counter, native", Box::new(|| counter_native(&given))),
        ("counter, optimised", Box::new(|| pull(&counter_speed, &given))),
        ("counter, unoptimised", Box::new(|| pull(&counter_none, &given))),
        ("counter, apply", Box::new(|| counted.applied().0)),
        ("registry, native", Box::new(|| market_native(&traded))),
        ("registry, apply", Box::new(|| log.applied().0)),
        ("registry, apply and trees", Box::new(|| log.applied().1)),
    ];
    in_turns(rounds, works.into_iter().map(|(name, work)| (name.to_owned(), work)).collect(), only)
}

/// Each work in each round.
fn in_turns(rounds: usize, works: Vec<(String, Work<'_>)>, only: Option<&str>) -> Vec<Line> {
    let works = works.into_iter().filter(|(name, _)| only.is_none_or(|only| name == only));
    let mut works: Vec<_> = works.map(|(name, work)| (Line { name, passes: Vec::new() }, work)).collect();
    for round in 0..=rounds {
        for (line, work) in &mut works {
            // Passes of some milliseconds in all, so that the short ones are seen too; the first round warms up.
            let first = work();
            let passes = (20e6 / (first.wall * EVENTS as f64)).clamp(1.0, 40.0);
            let more = (1..passes as usize).map(|_| work());
            let all: Vec<Sample> = std::iter::once(first).chain(more).collect();
            if round > 0 {
                line.passes.extend(all);
            }
        }
    }
    works.into_iter().map(|(line, _)| line).collect()
}

fn of<'l>(lines: &'l [Line], name: &str) -> Option<&'l Line> {
    lines.iter().find(|line| line.name == name)
}

fn page(lines: &[Line], rounds: usize) -> String {
    let mut page = String::from(
        "# Plugins\n\nWritten by `cargo xtask bench plugins --write`: one core, one stream, ranges of 4,096 events, state in memory.\n",
    );
    page += &format!("{rounds} rounds that take turns: the mean on the processor, and the fastest pass by the wall.\n");
    page += "The pull loop and `counter` are given bodies of 500 bytes; `registry` is given one listing for seven orders.\n";
    page += "*Native* is the same plugin in Rust without a host: for `registry` its own code on the test host of the SDK, for the others the same work on a map.\n";
    page += "*Apply* adds everything behind the loop: records of outcomes with their hashes, the delta.\n\n";
    page += "| | ns/event, mean | fastest | events/s, fastest |\n|---|---|---|---|\n";
    for line in lines {
        let (mean, fastest) = (line.mean(), line.fastest());
        page += &format!("| {} | {mean:.0} | {fastest:.0} | {:.0} |\n", line.name, 1e9 / fastest);
    }
    page += "\n| | overhead, ns/event, mean | fastest | ratio, fastest |\n|---|---|---|---|\n";
    for (name, native) in PAIRS {
        if let (Some(host), Some(own)) = (of(lines, name), of(lines, native)) {
            let (mean, fastest) = (host.mean() - own.mean(), host.fastest() - own.fastest());
            page += &format!(
                "| {name}, against native | {mean:.0} | {fastest:.0} | {:.1} |\n",
                host.fastest() / own.fastest()
            );
        }
    }
    page
}

fn figures(lines: &[Line]) -> String {
    let line = |line: &Line| {
        format!("    \"{}\": {{\"mean\": {:.1}, \"fastest\": {:.1}}}", line.name, line.mean(), line.fastest())
    };
    format!("{{\n  \"ns_per_event\": {{\n{}\n  }}\n}}\n", lines.iter().map(line).collect::<Vec<_>>().join(",\n"))
}
