//! A log with plugin events in it, made by the rules of the register, and ranges of it applied.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use tally_plugin_host::apply::{Applied, FreshList, Keys, Logged, RangeCuts, apply};
use tally_plugin_host::engine::{Engine, Optimisation};
use tally_plugin_host::error::HostError;
use tally_plugin_host::instance::Instance;
use tally_plugin_host::limits::Limits;
use tally_plugin_host::memory::Memory;
use tally_plugin_host::registry::Registry;
use tally_plugin_host::session::{Event, Grant};
use tally_protocol::hash::{self, LeafHash, LedgerId, ModuleHash, PayloadHash, ReportHash};
use tally_protocol::id::{AgentId, EventId, Index, KeyId, PluginId, Sequence, StoreId, Stream, TenantId};
use tally_protocol::jcs::{self, Value};
use tally_protocol::key::{PublicKey, SigningKey};
use tally_protocol::outcome::Outcome;
use tally_protocol::plugin_event::{Binding, Config, PluginEvent, Registry as Which, Submission};
use tally_protocol::plugin_life::{Agents, LifeRefusal, Moment, PluginRegister};
use tally_protocol::release::{Decision, Price, PricePer, Release, Review, Version, attest};
use tally_protocol::time::LogTime;

use super::host::{guest, program};

pub(crate) const LEDGER: LedgerId = LedgerId::from_bytes([9; 32]);
pub(crate) const TENANT: TenantId = TenantId::from_bytes([1; 16]);
const PUBLISHER: AgentId = AgentId::from_bytes([2; 16]);
const REVIEWER: AgentId = AgentId::from_bytes([3; 16]);

pub(crate) fn stream(number: u8) -> Stream {
    Stream::new(TENANT, StoreId::from_bytes([number; 16]))
}

pub(crate) fn id(name: &str) -> PluginId {
    PluginId::new(name).expect("an id")
}

fn key(agent: AgentId) -> SigningKey {
    SigningKey::from_seed([agent.as_bytes()[0]; 32])
}

/// Publisher and reviewer have their key; the log changes nothing of it.
#[derive(Clone, Copy)]
pub(crate) struct Known;

impl Agents for Known {
    fn valid_key(&self, _: &Stream, agent: AgentId, key_id: KeyId, _: LogTime) -> Option<PublicKey> {
        ([PUBLISHER, REVIEWER].contains(&agent) && key_id.get() == 1).then(|| key(agent).public_key())
    }

    fn is_root(&self, _: &Stream, _: AgentId) -> bool {
        false
    }
}

impl Keys for Known {
    fn follow(&mut self, _: &Event) {}
}

/// A guest with a manifest. Its allocator gives the same places to the same lengths, so that it is pure: nothing of an
/// instance's past shows, not even in gas.
pub(crate) fn plugin(manifest: &str, rest: &str) -> Vec<u8> {
    let text: String = manifest.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    guest(&format!(
        "(data (i32.const 8192) \"{text}\")
         (func (export \"describe\") (param i32)
           (i32.store (local.get 0) (i32.const 8192))
           (i32.store offset=4 (local.get 0) (i32.const {})))
         (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32)
           (if (i32.gt_u (local.get 3) (i32.const 60000)) (then unreachable))
           (if (result i32) (i32.lt_u (local.get 3) (i32.const 100))
             (then (i32.const 16384)) (else (i32.const 131072))))
         {rest}",
        manifest.len()
    ))
}

pub(crate) fn manifest(name: &str, version: &str, state_version: u32, events: &[&str], limits: &str) -> String {
    let events: Vec<String> = events.iter().map(|event| format!("\"{event}\"")).collect();
    format!(
        r#"{{"abi":1,"capabilities":["effect:mail","emit"],"events":[{}],"id":"{name}","limits":{limits},"prefixes":["k/"],"routes":[],"state_version":{state_version},"version":"{version}"}}"#,
        events.join(",")
    )
}

static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new(16, Optimisation::Speed).expect("a pool"));

/// A log, and what is needed to go on with it.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) log: Vec<Logged>,
    pub(crate) modules: BTreeMap<ModuleHash, Bytes>,
    pub(crate) register: PluginRegister,
    sequences: BTreeMap<Stream, u64>,
}

impl World {
    /// The genesis entry.
    pub(crate) fn new() -> Self {
        let genesis = Logged { index: Index::new(0), leaf: LeafHash::from_bytes([7; 32]), event: None };
        let (modules, register) = (BTreeMap::new(), PluginRegister::new(LEDGER));
        Self { log: vec![genesis], modules, register, sequences: BTreeMap::new() }
    }

    pub(crate) fn next_index(&self) -> Index {
        Index::new(self.log.len() as u64)
    }

    fn now(&self) -> LogTime {
        LogTime::from_micros(1_735_689_600_000_000 + self.log.len() as u64)
    }

    /// An event.
    pub(crate) fn push(&mut self, stream: Stream, event_type: &str, body: &[u8]) -> Index {
        self.push_about(stream, event_type, ("thing", "one"), body)
    }

    pub(crate) fn push_about(
        &mut self,
        stream: Stream,
        event_type: &str,
        (entity_type, entity_id): (&str, &str),
        body: &[u8],
    ) -> Index {
        let (index, now) = (self.next_index(), self.now());
        let sequence = self.sequences.entry(stream).or_default();
        *sequence += 1;
        let event = Event {
            index,
            sequence: Sequence::new(*sequence),
            sequenced_at: now,
            stream,
            event_id: EventId::from_bytes([3; 16]),
            agent: AgentId::from_bytes([1; 16]),
            payload_hash: PayloadHash::from_bytes([5; 32]),
            event_type: event_type.to_owned(),
            entity_type: entity_type.to_owned(),
            entity_id: entity_id.to_owned(),
            depth: 0,
            calls_before: (0, 0),
            body: Bytes::copy_from_slice(body),
        };
        let leaf = hash::leaf(&index.get().to_be_bytes());
        self.log.push(Logged { index, leaf, event: Some(Arc::new(event)) });
        index
    }

    /// A plugin event that the register allows.
    pub(crate) fn control(&mut self, event: &PluginEvent) -> Index {
        let own = matches!(event, PluginEvent::Submitted(_) | PluginEvent::Reviewed { .. });
        let stream = if own { Stream::LEDGER } else { Stream::control(TENANT) };
        let at = Moment { stream, actor: AgentId::from_bytes([1; 16]), index: self.next_index(), now: self.now() };
        self.register.apply(&at, event, &Known).unwrap_or_else(|refusal| panic!("{refusal}"));
        self.push(stream, event.event_type(), &event.payload())
    }

    /// Submits and approves a module by what it says about itself.
    pub(crate) fn publish(&mut self, wasm: &[u8]) -> Release {
        let nothing = Grant::nothing(LEDGER, id("unknown"));
        let bytes = Instance::new(program(wasm, &Limits::default()), nothing).describe_bytes().expect("a manifest");
        self.publish_as(wasm, release(wasm, &bytes))
    }

    pub(crate) fn publish_as(&mut self, wasm: &[u8], release: Release) -> Release {
        let release = self.submit(wasm, release);
        self.review(&release, Decision::Approved);
        release
    }

    pub(crate) fn submit(&mut self, wasm: &[u8], release: Release) -> Release {
        self.modules.insert(hash::module(wasm), Bytes::copy_from_slice(wasm));
        let release_hash = release.hash();
        let publisher = attest(&release_hash, PUBLISHER, KeyId::new(1), self.now(), &key(PUBLISHER)).expect("signs");
        let previous = self.register.head(&Stream::LEDGER, &release.plugin);
        self.control(&PluginEvent::Submitted(Submission {
            release: release.clone(),
            release_hash,
            publisher,
            previous,
        }));
        release
    }

    pub(crate) fn review(&mut self, release: &Release, decision: Decision) -> Index {
        let event = self.reviewed(release, decision, ReportHash::from_bytes([4; 32]), 0);
        self.control(&event)
    }

    /// A review that names this report.
    pub(crate) fn reviewed(
        &self,
        release: &Release,
        decision: Decision,
        report: ReportHash,
        blocking: u32,
    ) -> PluginEvent {
        let review = Review {
            plugin: release.plugin.clone(),
            version: release.version,
            release: release.hash(),
            decision,
            overrides: false,
            report,
            blocking,
            reason: "read it".to_owned(),
            previous: self.register.head(&Stream::LEDGER, &release.plugin),
        };
        let reviewer = review.sign(REVIEWER, KeyId::new(1), self.now(), &key(REVIEWER)).expect("signs");
        PluginEvent::Reviewed { review, reviewer }
    }

    /// What the state says of an event of the ledger's control stream.
    pub(crate) fn judge(&self, event: &PluginEvent) -> Result<(), LifeRefusal> {
        let actor = AgentId::from_bytes([1; 16]);
        let at = Moment { stream: Stream::LEDGER, actor, index: self.next_index(), now: self.now() };
        self.register.check(&at, event, &Known)
    }

    /// What installs or upgrades to a release, everything granted.
    pub(crate) fn binding(&self, stream: Stream, release: &Release, config: &str) -> Binding {
        let mut limits = Limits::default();
        for (name, value) in &release.limits {
            limits.set(name, *value).expect("a limit");
        }
        let history = self.register.history(&stream, &release.plugin);
        Binding {
            store_id: stream.store,
            plugin: release.plugin.clone(),
            registry: Which::Ledger,
            version: release.version,
            release: release.hash(),
            module: release.module,
            profile: limits.profile(),
            state_version: release.state_version,
            granted: release.permissions.clone(),
            limits: release.limits.clone(),
            config: Config::new(config.as_bytes()).expect("an object"),
            rollback: history.last().is_some_and(|last| release.version < last.version),
            previous: self.register.head(&stream, &release.plugin),
        }
    }

    pub(crate) fn install(&mut self, stream: Stream, release: &Release) -> Index {
        let binding = self.binding(stream, release, "{}");
        self.control(&PluginEvent::Installed(binding))
    }

    pub(crate) fn upgrade(&mut self, stream: Stream, release: &Release) -> Index {
        let binding = self.binding(stream, release, "{}");
        self.control(&PluginEvent::Upgraded(binding))
    }

    pub(crate) fn configure(&mut self, stream: Stream, name: &str, config: &str, resume: bool) -> Index {
        let config = Config::new(config.as_bytes()).expect("an object");
        let previous = self.register.head(&stream, &id(name));
        let store_id = stream.store;
        self.control(&PluginEvent::Configured { store_id, plugin: id(name), config, resume, previous })
    }

    pub(crate) fn stop(&mut self, stream: Stream, name: &str, remove: bool) -> Index {
        let (store_id, plugin, reason) = (stream.store, id(name), "enough".to_owned());
        let previous = self.register.head(&stream, &plugin);
        self.control(&if remove {
            PluginEvent::Removed { store_id, plugin, reason, previous }
        } else {
            PluginEvent::Quarantined { store_id, plugin, reason, previous }
        })
    }

    /// An empty registry with the world's modules.
    pub(crate) fn registry(&self) -> Registry<Engine> {
        Registry::new(LEDGER, ENGINE.clone(), Box::new(self.modules.clone()), 8)
    }

    /// The log applied in ranges of these lengths, over and over.
    pub(crate) fn run(&self, lengths: &[usize]) -> Run {
        let mut run = Run { memory: Memory::new(), ranges: Vec::new(), registry: self.registry() };
        let (mut rest, mut lengths) = (self.log.as_slice(), lengths.iter().cycle());
        while !rest.is_empty() {
            let length = lengths.next().copied().unwrap_or(usize::MAX).clamp(1, rest.len());
            let (range, after) = rest.split_at(length);
            run.range(range, RangeCuts::Live).expect("the host goes on");
            rest = after;
        }
        run
    }

    /// The whole log at once.
    pub(crate) fn run_whole(&self) -> Run {
        self.run(&[usize::MAX])
    }
}

/// A release that claims what a manifest says.
pub(crate) fn release(wasm: &[u8], manifest: &[u8]) -> Release {
    let value = jcs::parse(manifest).expect("JSON");
    let text = |name: &str| value.get(name).and_then(Value::as_str).expect("a text").to_owned();
    let number = |name: &str| value.get(name).and_then(Value::as_u64).expect("a number");
    let texts = value.get("capabilities").and_then(Value::as_array).expect("a list");
    let limits = value.get("limits").and_then(Value::as_object).expect("an object");
    Release {
        plugin: id(&text("id")),
        version: Version::parse(&text("version")).expect("a version"),
        module: hash::module(wasm),
        manifest: hash::manifest(manifest),
        abi: u32::try_from(number("abi")).expect("small"),
        state_version: u32::try_from(number("state_version")).expect("small"),
        permissions: texts.iter().map(|text| text.as_str().expect("a text").to_owned()).collect(),
        limits: limits.iter().map(|(name, value)| (name.clone(), value.as_u64().expect("a number"))).collect(),
        price: Price { amount: 0, currency: *b"EUR", per: PricePer::Month },
        schemas: BTreeMap::new(),
    }
}

/// A log as far as it is applied.
pub(crate) struct Run {
    pub(crate) memory: Memory,
    pub(crate) ranges: Vec<Applied>,
    pub(crate) registry: Registry<Engine>,
}

impl Run {
    pub(crate) fn range(&mut self, entries: &[Logged], cuts: RangeCuts<'_>) -> Result<(), HostError> {
        let applied = apply(&mut self.registry, entries, &mut Known, &self.memory, cuts)?;
        let states = applied.delta.trees(&self.memory)?;
        self.memory.take(&applied.delta, &states);
        assert_eq!(self.memory.states_root(), states.root);
        for (stream, standing) in self.memory.standings() {
            let space = self.memory.space(&stream, &standing.binding.plugin);
            let bytes: usize = space.iter().map(|(key, value)| key.len() + value.len()).sum();
            assert_eq!(standing.state_bytes, bytes as u64, "a standing counts the bytes of its state");
        }
        self.ranges.push(applied);
        Ok(())
    }

    pub(crate) fn outcomes(&self) -> Vec<Outcome> {
        self.ranges.iter().flat_map(|applied| applied.outcomes.clone()).collect()
    }

    /// The outcomes, as if nothing were said of cuts.
    pub(crate) fn uncut(&self) -> Vec<Outcome> {
        let mut outcomes = self.outcomes();
        outcomes.iter_mut().flat_map(|outcome| &mut outcome.bindings).for_each(|binding| binding.fresh = false);
        outcomes
    }

    /// What the outcome of an entry says: plugin and code, in their order.
    pub(crate) fn codes(&self, index: Index) -> Vec<String> {
        let outcomes = self.outcomes();
        let outcome = &outcomes[usize::try_from(index.get()).expect("small")];
        outcome.bindings.iter().map(|binding| format!("{} {}", binding.plugin, binding.code)).collect()
    }

    pub(crate) fn fresh_list(&self, log: &[Logged]) -> FreshList {
        let outcomes = self.outcomes();
        FreshList::of(log.iter().map(|entry| entry.index).zip(&outcomes))
    }

    /// The count that a guest keeps under `k/count`.
    pub(crate) fn count(&self, stream: Stream, name: &str) -> u64 {
        let space = self.memory.space(&stream, &id(name));
        space.get(&b"k/count"[..]).map_or(0, |value| u64::from_le_bytes(value[..].try_into().expect("eight bytes")))
    }
}
