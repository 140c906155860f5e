//! A ledger with plugins, in the hands of the test: every key, every event signed, every outcome made by the host.
//!
//! It stands for a node: events get their places from the reference log, outcomes from [`apply`] in ranges as a node
//! makes them, both are folded and signed, and the export is written by the code of `tally export`.
#![allow(unreachable_pub, reason = "one file of one test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tally::export::ExportWriter;
use tally_merkle::Frontier;
use tally_plugin_author::package::{self, Terms};
use tally_plugin_host::apply::{Keys, Logged, RangeCuts, apply};
use tally_plugin_host::engine::{Engine, Optimisation};
use tally_plugin_host::instance::Instance;
use tally_plugin_host::limits::Limits;
use tally_plugin_host::memory::Memory;
use tally_plugin_host::registry::Registry;
use tally_plugin_host::session::{Event, Grant};
use tally_protocol::checkpoint::SignedCheckpoint;
use tally_protocol::control::ControlEvent;
use tally_protocol::frame::Frame;
use tally_protocol::hash::{LedgerId, ModuleHash, ReportHash, RootHash, StatesRoot};
use tally_protocol::id::{AgentId, Index, KeyId, PluginId, Stream, TreeSize};
use tally_protocol::key::PublicKey;
use tally_protocol::outcome::Outcome;
use tally_protocol::outcome_log;
use tally_protocol::plugin_event::{Binding, Config, PluginEvent, Registry as Which, Submission};
use tally_protocol::plugin_life::{Agents, Moment, PluginRegister};
use tally_protocol::release::{Decision, Price, PricePer, Release, Review, attest};
use tally_protocol::run::Record;
use tally_protocol::time::LogTime;
use tally_testkit::{ReferenceLog, TestAgent, TestLedger, TestTenant, event_id};
use tally_verify::Directory;

const START: u64 = 1_767_225_600_000_000;

pub fn plugin_id(name: &str) -> PluginId {
    PluginId::new(name).unwrap()
}

/// A module that is committed with the sources.
pub fn committed(name: &str) -> Vec<u8> {
    let file = format!("{}/../../plugins/{name}/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&file).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The node's table of keys, in this test the auditor's own.
#[derive(Clone)]
struct Known(Directory);

impl Agents for Known {
    fn valid_key(&self, stream: &Stream, agent: AgentId, key_id: KeyId, now: LogTime) -> Option<PublicKey> {
        self.0.valid_key(stream, agent, key_id, now)
    }

    fn is_root(&self, stream: &Stream, agent: AgentId) -> bool {
        self.0.is_root(stream, agent)
    }
}

impl Keys for Known {
    fn follow(&mut self, event: &Event) {
        let _ = self.0.follow(&event.stream, &event.event_type, &event.body, event.sequenced_at);
    }
}

#[derive(Clone)]
pub struct World {
    pub ledger: TestLedger,
    pub tenant: TestTenant,
    pub seller: TestAgent,
    publisher: TestAgent,
    reviewer: TestAgent,
    model: ReferenceLog,
    known: Known,
    register: PluginRegister,
    pub modules: BTreeMap<ModuleHash, Bytes>,
    events: u64,
}

impl World {
    /// A tenant with a seller, a publisher and a reviewer.
    pub fn new() -> Self {
        let ledger = TestLedger::new("log.example/replay", LogTime::from_micros(START));
        let tenant = TestTenant::new(1);
        let (seller, publisher, reviewer) = (tenant.agent(1), tenant.agent(2), tenant.agent(3));
        let mut world = Self {
            model: ReferenceLog::new(ledger.genesis.clone()),
            known: Known(Directory::new(&ledger.genesis)),
            register: PluginRegister::new(ledger.id()),
            modules: BTreeMap::new(),
            events: 0,
            seller,
            publisher,
            reviewer,
            tenant,
            ledger,
        };
        let created = world.ledger.create(&world.tenant, event_id(1), world.now());
        world.take(&created, world.ledger.root.public_key());
        for (n, agent) in [world.seller.clone(), world.publisher.clone(), world.reviewer.clone()].iter().enumerate() {
            let registered = world.tenant.register(agent, event_id(10 + n as u64), world.now());
            world.take(&registered, world.tenant.root.public_key());
        }
        world
    }

    pub fn id(&self) -> LedgerId {
        self.ledger.id()
    }

    pub fn stream(&self) -> Stream {
        self.tenant.stream(1)
    }

    fn now(&self) -> LogTime {
        LogTime::from_micros(START + self.model.size() as u64 * 1_000)
    }

    fn take(&mut self, frame: &Frame, key: PublicKey) -> Index {
        let now = self.now();
        let place = self.model.append_unjudged(frame, key, now);
        if frame.stream().is_control() {
            let _ = self.known.0.follow(&frame.stream(), frame.event_type(), frame.payload(), place.sequenced_at);
        }
        place.index
    }

    /// An event of the seller.
    pub fn push(&mut self, event_type: &str, about: (&str, &str), payload: &str) -> Index {
        self.push_to(self.stream(), event_type, about, payload)
    }

    /// The same in another store.
    pub fn push_to(&mut self, stream: Stream, event_type: &str, about: (&str, &str), payload: &str) -> Index {
        self.events += 1;
        let draft = self.seller.event(stream, event_id(10_000 + self.events)).of_type(event_type);
        let frame = draft.about(about.0, about.1).created_at(self.now()).payload(payload.as_bytes()).sign();
        self.take(&frame, self.seller.public_key())
    }

    /// A control event of the tenant.
    pub fn control(&mut self, event: &ControlEvent) -> Index {
        self.events += 1;
        let frame = self.tenant.control(event, event_id(10_000 + self.events), self.now());
        self.take(&frame, self.tenant.root.public_key())
    }

    /// A plugin event that the register allows, in the tenant's control stream.
    pub fn plugin(&mut self, event: &PluginEvent) -> Index {
        let (stream, actor, now) = (Stream::control(self.tenant.id), self.tenant.root.id, self.now());
        let at = Moment { stream, actor, index: Index::new(self.model.size() as u64), now };
        self.register.apply(&at, event, &self.known).unwrap_or_else(|refusal| panic!("{refusal}"));
        self.plugin_unjudged(event)
    }

    /// A plugin event, whatever the register says: what a dishonest node would write.
    pub fn plugin_unjudged(&mut self, event: &PluginEvent) -> Index {
        self.events += 1;
        let (kind, id) = event.entity();
        let root = self.tenant.root.clone();
        let draft = root.event(Stream::control(self.tenant.id), event_id(10_000 + self.events));
        let draft = draft.of_type(event.event_type()).about(kind, &id).created_at(self.now());
        self.take(&draft.payload(&event.payload()).sign(), root.public_key())
    }

    /// Submits and approves a module by what it says about itself.
    pub fn publish(&mut self, wasm: &[u8]) -> Release {
        let registry = Stream::control(self.tenant.id);
        let release = release_of(self.id(), wasm);
        self.modules.insert(release.module, Bytes::copy_from_slice(wasm));
        let (release_hash, now) = (release.hash(), self.now());
        let publisher = attest(&release_hash, self.publisher.id, KeyId::new(1), now, &self.publisher.key).unwrap();
        let previous = self.register.head(&registry, &release.plugin);
        self.plugin(&PluginEvent::Submitted(Submission {
            release: release.clone(),
            release_hash,
            publisher,
            previous,
        }));
        let review = Review {
            plugin: release.plugin.clone(),
            version: release.version,
            release: release_hash,
            decision: Decision::Approved,
            overrides: false,
            report: ReportHash::from_bytes([4; 32]),
            blocking: 0,
            reason: "read it".to_owned(),
            previous: self.register.head(&registry, &release.plugin),
        };
        let reviewer = review.sign(self.reviewer.id, KeyId::new(1), self.now(), &self.reviewer.key).unwrap();
        self.plugin(&PluginEvent::Reviewed { review, reviewer });
        release
    }

    pub fn install(&mut self, stream: Stream, release: &Release) -> Index {
        self.plugin(&PluginEvent::Installed(self.binding(stream, release)))
    }

    pub fn binding(&self, stream: Stream, release: &Release) -> Binding {
        let mut limits = Limits::default();
        release.limits.iter().for_each(|(name, value)| limits.set(name, *value).unwrap());
        Binding {
            store_id: stream.store,
            plugin: release.plugin.clone(),
            registry: Which::Tenant,
            version: release.version,
            release: release.hash(),
            module: release.module,
            profile: limits.profile(),
            state_version: release.state_version,
            granted: release.permissions.clone(),
            limits: release.limits.clone(),
            config: Config::empty(),
            rollback: false,
            previous: self.register.head(&stream, &release.plugin),
        }
    }

    /// Configures again, which starts anew; ends a quarantine if told so.
    pub fn configure(&mut self, stream: Stream, name: &str, resume: bool) -> Index {
        let (store_id, plugin) = (stream.store, plugin_id(name));
        let previous = self.register.head(&stream, &plugin);
        self.plugin(&PluginEvent::Configured { store_id, plugin, config: Config::empty(), resume, previous })
    }

    pub fn quarantine(&mut self, stream: Stream, name: &str) -> Index {
        let (store_id, plugin, reason) = (stream.store, plugin_id(name), "enough".to_owned());
        let previous = self.register.head(&stream, &plugin);
        self.plugin(&PluginEvent::Quarantined { store_id, plugin, reason, previous })
    }

    pub fn records(&self) -> Vec<Record> {
        let record = |(frame, public_key, place): (&Frame, PublicKey, tally_testkit::Placement)| Record {
            index: place.index,
            sequence: place.sequence,
            sequenced_at: place.sequenced_at,
            public_key,
            frame: frame.clone(),
        };
        self.model.events().map(record).collect()
    }

    fn entries(&self) -> Vec<Logged> {
        let genesis = Logged { index: Index::new(0), leaf: self.ledger.genesis.leaf_hash(), event: None };
        let leaves = self.model.leaves();
        let entry = |record: Record| {
            let event = Event::logged(record.index, record.sequence, record.sequenced_at, &record.frame);
            let leaf = leaves[usize::try_from(record.index.get()).unwrap()];
            Logged { index: record.index, leaf, event: Some(Arc::new(event)) }
        };
        std::iter::once(genesis).chain(self.records().into_iter().map(entry)).collect()
    }

    /// Applies the log in ranges of these lengths, over and over.
    pub fn run(&self, lengths: &[usize]) -> Claim {
        let engine = Engine::new(16, Optimisation::Speed).unwrap();
        let mut registry = Registry::new(self.id(), engine, Box::new(self.modules.clone()), 8);
        let mut keys = Known(Directory::new(&self.ledger.genesis));
        let (mut memory, mut outcomes) = (Memory::new(), Vec::new());
        let entries = self.entries();
        let (mut rest, mut lengths) = (entries.as_slice(), lengths.iter().cycle());
        while !rest.is_empty() {
            let (range, after) = rest.split_at((*lengths.next().unwrap()).min(rest.len()));
            let applied = apply(&mut registry, range, &mut keys, &memory, RangeCuts::Live).unwrap();
            let states = applied.delta.trees(&memory).unwrap();
            memory.take(&applied.delta, &states);
            outcomes.extend(applied.outcomes);
            rest = after;
        }
        Claim { outcomes, states: memory.states_root(), keys: memory.keys() }
    }

    /// Signs a claim about the whole log and writes the export.
    pub fn export(&self, claim: &Claim, out: &Path) {
        let leaves = self.model.leaves();
        let mut writer = ExportWriter::create(out, &self.ledger.genesis.encode()).unwrap();
        self.records().iter().for_each(|record| writer.push_event(record).unwrap());
        claim.outcomes.iter().for_each(|outcome| writer.push_outcome(&outcome.encode()).unwrap());
        for module in writer.named_modules().clone() {
            writer.put_module(&self.modules[&module]).unwrap();
        }
        let note = self.ledger.sign(&leaves, leaves.len() as u64, true);
        writer.finish(&note, Some(&self.sign(claim))).unwrap();
    }

    /// The checkpoint of outcomes that the ledger signs for a claim, true or not.
    pub fn sign(&self, claim: &Claim) -> String {
        let size = TreeSize::new(claim.outcomes.len() as u64);
        let origin = &self.ledger.genesis.origin;
        let checkpoint = outcome_log::checkpoint(origin, size, claim.root(), Some(claim.states));
        SignedCheckpoint::sign(checkpoint, &[&self.ledger.receipt_key]).unwrap().note
    }
}

/// What a node claims its plugins decided.
#[derive(Clone)]
pub struct Claim {
    pub outcomes: Vec<Outcome>,
    pub states: StatesRoot,
    pub keys: usize,
}

impl Claim {
    pub fn root(&self) -> RootHash {
        let mut frontier = Frontier::new();
        self.outcomes.iter().for_each(|outcome| frontier.append(outcome.leaf_hash()));
        frontier.root()
    }
}

/// A release that claims what the module's manifest says.
fn release_of(ledger: LedgerId, wasm: &[u8]) -> Release {
    let program = Engine::new(4, Optimisation::None).unwrap().load(wasm, &Limits::default()).unwrap();
    let manifest = Instance::new(program, Grant::nothing(ledger, plugin_id("unknown"))).describe_bytes().unwrap();
    let price = Price { amount: 0, currency: *b"EUR", per: PricePer::Month };
    package::release_of(&manifest, wasm, Terms { price, schemas: BTreeMap::new() }).unwrap()
}
