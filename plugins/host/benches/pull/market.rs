//! A marketplace's log as its three plugins take it, beside what `checkout` costs without a host.
//!
//! Takes an engine; gives four phases of as many events as one range has, each played behind those before it: SKUs drafted
//! and published, orders, the payment connector's answers, Finance's. What is answered is what the phase before asked for.
//! Writes docs/benchmarks/market.{md,json}; what stands there from "Where the time goes" on is kept, it is written by hand.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use tally_checkout::Checkout;
use tally_plugin::test_host::{Limits, TestEvent, TestHost, Verdict};
use tally_plugin_host::apply::{RangeCuts, apply};
use tally_plugin_host::engine::Engine;
use tally_plugin_host::memory::Memory;
use tally_plugin_host::registry::Registry;
use tally_plugin_host::session::{Effect, Event};
use tally_protocol::hash::{flat_proof, hex, object};
use tally_protocol::id::AgentId;
use tally_protocol::jcs;
use tally_protocol::key::SigningKey;
use tally_protocol::outcome::OutcomeCode;
use tally_protocol::plugin_event::PluginEvent;
use tally_protocol::plugin_life::PluginRegister;

use super::common::ledger::{Known, LEDGER, World, stream};
use super::{EVENTS, Sample, black_box, module, timed};

const ADMIN: u8 = 4;
const OWNER: u8 = 3;
const CONNECTOR: u8 = 7;
const FINANCE: u8 = 8;
const GATEWAY: u8 = 9;
/// How many different buyers, and different things that they buy.
const BUYERS: u64 = 100;
const SOLD: u64 = 256;
/// What a marketplace is to take each second on one core.
const TARGET: f64 = 50_000.0;
const BY_HAND: &str = "\n## Where the time goes\n";

fn uuid(agent: u8) -> String {
    AgentId::from_bytes([agent; 16]).to_string()
}

fn canonical(text: &str) -> Vec<u8> {
    jcs::canonicalize(text.as_bytes()).unwrap()
}

/// The plugins with their configurations.
fn plugins() -> [(&'static str, String); 3] {
    let (admin, gateway) = (format!(r#"["agent:{}"]"#, uuid(ADMIN)), format!(r#"["{}"]"#, uuid(GATEWAY)));
    let connectors = format!(r#"{{"finance":["{}"],"payment":["{}"]}}"#, uuid(FINANCE), uuid(CONNECTOR));
    [
        ("catalog", format!(r#"{{"admins":{admin},"gateways":{gateway}}}"#)),
        (
            "checkout",
            format!(
                r#"{{"account":"acct_1","admins":{admin},"connectors":{connectors},"finance":{admin},"gateways":{gateway},"livemode":false,"order_s":3600,"provider":"stripe","quote_s":900}}"#
            ),
        ),
        (
            "royalty",
            format!(
                r#"{{"account":"acct_1","admins":{admin},"approval_s":86400,"approvals":[],"connectors":{connectors},"finance":{admin},"gateways":{gateway},"hold_s":86400,"livemode":false,"payout_approvers":[],"provider":"stripe","schedule":[],"settle":true}}"#
            ),
        ),
    ]
}

/// The owner's key registered, then each SKU drafted and published: as many events as a range has.
fn published() -> Vec<TestEvent> {
    let key = SigningKey::from_seed([OWNER; 32]);
    let (owner, hex_key) = (format!("agent:{}", uuid(OWNER)), key.public_key().to_hex());
    let body =
        format!(r#"{{"for":"{owner}","idempotency_key":"k","key":"{hex_key}","reason":"shown","signer":"owner"}}"#);
    let mut events = vec![TestEvent::new("catalog.signer.registered", "sku", "new", canonical(&body)).by(ADMIN)];
    for n in 0..EVENTS / 2 {
        let (sku, hash) = (format!("sku-{n}"), hex(object(&n.to_be_bytes()).as_bytes()));
        let members = format!(
            r#""amount":{},"artifacts":[{{"media_type":"application/gzip","name":"a.crate","sha256":"{hash}","size":1000}}],"category":"crate","currency":"EUR","description":"A thing that is sold often.","free":false,"licence_policy":"per-seat","name":"thing {n}","preview":"none","split":{{"base":"net","parties":[{{"bps":8000,"party":"{owner}","role":"owner"}},{{"bps":1000,"party":"platform","role":"platform"}},{{"bps":1000,"party":"agent:upstream","role":"third"}}]}},"tags":["rust"]"#,
            1_000 + n
        );
        let draft = canonical(&format!(r#"{{"idempotency_key":"d-{n}",{members}}}"#));
        events.push(TestEvent::new("catalog.sku.drafted", "sku", &sku, draft).by(OWNER));
        let manifest = format!(r#"{{"manifest":{{{members}}},"owner":"{owner}","sku":"{sku}","version":1}}"#);
        let digest = object(&canonical(&manifest));
        let signature = key.sign(&[b"TALLY_SKU_MANIFEST_V1", &digest.as_bytes()[..]].concat());
        let body = format!(
            r#"{{"idempotency_key":"p-{n}","key":"{hex_key}","manifest_sha256":"{digest}","signature":"{}","version":1}}"#,
            hex(signature.as_bytes())
        );
        events.push(TestEvent::new("catalog.sku.published", "sku", &sku, canonical(&body)).by(OWNER));
    }
    events.truncate(usize::try_from(EVENTS).unwrap());
    events
}

/// Orders by the gateway for its callers.
fn ordered() -> Vec<TestEvent> {
    let one = |n: u64| {
        let (buyer, sku) = (n % BUYERS, n * 7 % SOLD);
        let body = format!(
            r#"{{"actor":"key:buyer-{buyer}","idempotency_key":"o-{n}","payment_method":"pm_{n}","quantity":1,"sku":"sku-{sku}"}}"#
        );
        TestEvent::new("checkout.order.created", "order", "new", canonical(&body)).by(GATEWAY)
    };
    (0..EVENTS).map(one).collect()
}

fn text<'j>(body: &'j jcs::Value, name: &str) -> &'j str {
    body.get(name).and_then(jcs::Value::as_str).unwrap()
}

fn answered(effect: &Effect, plugin: &str, result: &str, agent: u8) -> TestEvent {
    let (id, kind, order) = (effect.id.to_hex(), &effect.kind, &effect.suffix);
    let body = format!(
        r#"{{"effect":"{id}","kind":"{kind}","plugin":"{plugin}","result":{result},"status":"done","suffix":"{order}"}}"#
    );
    TestEvent::new("effect.answered", "effect", &id, canonical(&body)).by(agent)
}

/// Each payment succeeds.
fn paid(effects: &[Effect]) -> Vec<TestEvent> {
    let one = |(n, effect): (usize, &Effect)| {
        let asked = jcs::parse(&effect.body).unwrap();
        let amount = asked.get("amount").and_then(jcs::Value::as_u64).unwrap();
        let (currency, order) = (text(&asked, "currency"), text(&asked, "order"));
        let result = format!(
            r#"{{"facts":[{{"account":"acct_1","amount":{amount},"currency":"{currency}","id":"pi_{n:024}","livemode":false,"object":"payment","order":"{order}","provider":"stripe","state":"succeeded"}}]}}"#
        );
        answered(effect, "checkout", &result, CONNECTOR)
    };
    effects.iter().enumerate().map(one).collect()
}

/// Each settlement is confirmed.
fn settled(effects: &[Effect]) -> Vec<TestEvent> {
    let one = |effect: &Effect| {
        let asked = jcs::parse(&effect.body).unwrap();
        let amount = asked.get("amount").and_then(jcs::Value::as_u64).unwrap();
        let [currency, journal, order, content] =
            ["currency", "journal", "order", "proof_sha256"].map(|name| text(&asked, name));
        let (id, whole, ts) = (effect.id.to_hex(), hex(&flat_proof(&effect.body)), "2025-01-01T00:00:00Z");
        let message = format!(
            r#"{{"amount":{amount},"currency":"{currency}","effect":"{id}","journal":"{journal}","order":"{order}","proof_sha256":"{content}","settlement_sha256":"{whole}","signer_kid":"ed25519-1","ts":"{ts}"}}"#
        );
        let (message, signature) = (message.replace('"', r#"\""#), format!("{}==", "A".repeat(86)));
        let result = format!(
            r#"{{"amount":{amount},"currency":"{currency}","journal":"{journal}","order":"{order}","proof":{{"canonical_message":"{message}","signature":"{signature}","signer_kid":"ed25519-1","ts":"{ts}"}}}}"#
        );
        answered(effect, "royalty", &result, FINANCE)
    };
    effects.iter().map(one).collect()
}

/// One kind of event.
struct Phase {
    name: &'static str,
    entries: Range<usize>,
    /// Of an event, by plugin.
    gas: BTreeMap<String, f64>,
}

/// What playing the log up to a phase gave of that phase.
struct Played {
    outcomes: Sample,
    with_trees: Sample,
    effects: Vec<Effect>,
    gas: BTreeMap<String, f64>,
}

/// The log and its phases.
pub(crate) struct Trade {
    world: World,
    phases: Vec<Phase>,
    registry: RefCell<Registry<Engine>>,
    native: Vec<TestEvent>,
}

impl Trade {
    pub(crate) fn new(engine: &Engine) -> Self {
        let mut world = World::new();
        for (name, config) in plugins() {
            let release = world.publish(&module(name));
            let binding = world.binding(stream(1), &release, &config);
            world.control(&PluginEvent::Installed(binding));
        }
        let modules = Box::new(world.modules.clone());
        let registry = RefCell::new(Registry::new(LEDGER, engine.clone(), modules, 4));
        let begun = Phase { name: "installed", entries: 0..world.log.len(), gas: BTreeMap::new() };
        let mut trade = Self { world, phases: vec![begun], registry, native: ordered() };
        trade.add("SKUs drafted and published", &published());
        let asked = trade.add("orders", &ordered());
        let asked = trade.add("payments answered", &paid(&asked));
        trade.add("settlements answered", &settled(&asked));
        trade
    }

    /// Adds a phase; gives what effects it asks for.
    fn add(&mut self, name: &'static str, events: &[TestEvent]) -> Vec<Effect> {
        let begin = self.world.log.len();
        for event in events {
            let about = (event.entity_type.as_str(), event.entity_id.as_str());
            self.world.push_about(stream(1), &event.event_type, about, &event.body);
            let logged = self.world.log.last_mut().unwrap();
            let agent = AgentId::from_bytes(event.agent);
            logged.event = Some(Arc::new(Event { agent, ..Event::clone(logged.event.as_ref().unwrap()) }));
        }
        self.phases.push(Phase { name, entries: begin..self.world.log.len(), gas: BTreeMap::new() });
        let played = self.play(self.phases.len() - 1);
        self.phases.last_mut().unwrap().gas = played.gas;
        played.effects
    }

    /// Everything up to and with a phase, from nothing.
    fn play(&self, last: usize) -> Played {
        let mut registry = self.registry.borrow_mut();
        registry.rewind(PluginRegister::new(LEDGER), []).unwrap();
        let mut memory = Memory::new();
        let mut played = None;
        for phase in &self.phases[..=last] {
            let entries = &self.world.log[phase.entries.clone()];
            let mut applied = None;
            let outcomes = timed(entries.len(), || {
                applied = Some(apply(&mut registry, entries, &mut Known, &memory, RangeCuts::Live).unwrap());
            });
            let applied = applied.unwrap();
            let trees = timed(entries.len(), || {
                let states = applied.delta.trees(&memory).unwrap();
                memory.take(&applied.delta, &states);
            });
            let mut gas: BTreeMap<String, f64> = BTreeMap::new();
            for binding in applied.outcomes.iter().flat_map(|outcome| &outcome.bindings) {
                assert_eq!(binding.code, OutcomeCode::Accepted, "{} in {}", binding.plugin, phase.name);
                *gas.entry(binding.plugin.to_string()).or_default() += binding.gas as f64 / entries.len() as f64;
            }
            let effects = applied.delta.effects.into_iter().map(|asked| asked.effect).collect();
            played = Some(Played { outcomes, with_trees: outcomes.plus(trees), effects, gas });
        }
        played.unwrap()
    }

    /// Lines of the page, and what measures them.
    pub(crate) fn works(&self) -> Vec<(String, Box<dyn Fn() -> Sample + '_>)> {
        let mut works: Vec<(String, Box<dyn Fn() -> Sample + '_>)> = Vec::new();
        for (at, phase) in self.phases.iter().enumerate().skip(1) {
            works.push((format!("{}, apply", phase.name), Box::new(move || self.play(at).outcomes)));
            works.push((format!("{}, apply and trees", phase.name), Box::new(move || self.play(at).with_trees)));
        }
        works.push(("orders, checkout natively".to_owned(), Box::new(|| self.natively())));
        works
    }

    /// The same orders by checkout's own code on the SDK's test host.
    fn natively(&self) -> Sample {
        let mut host = TestHost::<Checkout>::with_limits(Limits { effects: 64, emits: 64, ..Limits::default() });
        let (_, config) = &plugins()[1];
        host.init(config.as_bytes()).unwrap();
        for n in 0..SOLD {
            let owner = format!("agent:{}", uuid(OWNER));
            let offer = format!(
                r#"{{"amount":{},"artifacts_sha256":"{hash}","base":"net","category":"crate","currency":"EUR","licence_policy":"per-seat","manifest_sha256":"{hash}","manifest_signature_id":"{hash}","owner":"{owner}","parties":[{{"party":"{owner}","weight":8000}},{{"party":"agent:upstream","weight":1000}},{{"party":"platform","weight":1000}}],"sku":"sku-{n}","status":"published","version":1}}"#,
                1_000 + n,
                hash = "a1".repeat(32)
            );
            let mut event = TestEvent::new("catalog.offer", "sku", &format!("sku-{n}"), canonical(&offer));
            event.derived = true;
            assert_eq!(host.apply_one(event).verdict, Verdict::Accepted);
        }
        let given = self.native.clone();
        timed(given.len(), || {
            let outcomes = host.apply(given);
            assert!(outcomes.iter().all(|outcome| outcome.verdict == Verdict::Accepted));
            black_box(outcomes);
        })
    }

    /// The page, with what stands by hand in the one before it.
    pub(crate) fn page(&self, lines: &[(String, f64, f64)], rounds: usize, before: Option<&str>) -> String {
        let mut page = String::from(
            "# The market's plugins\n\nWritten by `cargo xtask bench plugins --write`: `catalog`, `checkout` and `royalty` on one stream, one core, state in memory, 4,096 events of a kind in one range.\n",
        );
        page +=
            &format!("{rounds} rounds that take turns: the mean on the processor, and the fastest pass by the wall.\n");
        page += "*Apply* is everything that the host does for an event, with those that plugins emit to each other for it; *trees* are the state trees' hashes and pages.\n";
        page += "*Natively* is the same code in Rust on the test host of the SDK, without a host.\n\n";
        page += "| | ns/event, mean | fastest | events/s, fastest |\n|---|---|---|---|\n";
        for (name, mean, fastest) in lines {
            writeln!(page, "| {name} | {mean:.0} | {fastest:.0} | {:.0} |", 1e9 / fastest).unwrap();
        }
        page += "\n| gas of an event | catalog | checkout | royalty |\n|---|---|---|---|\n";
        for phase in &self.phases[1..] {
            let gas =
                ["catalog", "checkout", "royalty"].map(|plugin| phase.gas.get(plugin).copied().unwrap_or_default());
            writeln!(page, "| {} | {:.0} | {:.0} | {:.0} |", phase.name, gas[0], gas[1], gas[2]).unwrap();
        }
        page += &format!("\nTarget: {TARGET:.0} catalogue and order events a second on one core.\n");
        for phase in ["SKUs drafted and published", "orders"] {
            let found = lines.iter().find(|(name, ..)| *name == format!("{phase}, apply"));
            if let Some((_, _, fastest)) = found {
                let (rate, part) = (1e9 / fastest, 1e9 / fastest / TARGET);
                let verdict = if part >= 1.0 { "met" } else { "missed" };
                writeln!(page, "{verdict} by {phase}: {rate:.0}, {part:.2} of it.").unwrap();
            }
        }
        page + before.and_then(|page| page.find(BY_HAND).map(|at| &page[at..])).unwrap_or_default()
    }
}
