//! Frames of a market with plugins, signed by real keys, and a node in this process to send them to.
//!
//! The market keeps a register of its own, as a publisher's or an operator's tools do: it says what the next event's
//! `previous` is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tally::plugins::{PluginBounds, Plugins};
use tally_core::{
    ApplyState, Clock, Config as CoreConfig, EventResult, FileFence, GenesisSource, Lane, Parts, Reader, Receipt,
    Sequencer, SystemClock,
};
use tally_gateway::PluginPort;
use tally_plugin_author::package::{self, Terms};
use tally_plugin_host::engine::{Engine as Host, Optimisation};
use tally_plugin_host::instance::Instance;
use tally_plugin_host::limits::Limits;
use tally_plugin_host::report::{Report, report};
use tally_plugin_host::session::Grant;
use tally_protocol::control::ControlEvent;
use tally_protocol::entry::{Genesis, PROFILE};
use tally_protocol::error::Reject;
use tally_protocol::frame::{EventFields, Frame};
use tally_protocol::hash::{self, LedgerId, RootHash, StatesRoot};
use tally_protocol::id::{AgentId, Index, KeyId, PluginId, StoreId, Stream, TenantId, TreeSize};
use tally_protocol::key::{PublicKey, SigningKey};
use tally_protocol::outcome::{BindingOutcome, Outcome};
use tally_protocol::outcome_log;
use tally_protocol::plugin_event::{Binding, Config, PluginEvent, Registry, Submission};
use tally_protocol::plugin_life::{Agents, LifeRefusal, Moment, PluginRegister};
use tally_protocol::release::{Decision, Price, PricePer, Release, Review, Signed, attest};
use tally_protocol::time::LogTime;
use tally_storage::{Durability, Engine, RocksConfig, open_rocks};

pub const TENANT: TenantId = TenantId::from_bytes([1; 16]);
pub const STORE: StoreId = StoreId::from_bytes([2; 16]);
pub const STREAM: Stream = Stream::new(TENANT, STORE);
pub const OPERATOR: AgentId = AgentId::from_bytes([100; 16]);
pub const ROOT: AgentId = AgentId::from_bytes([101; 16]);
pub const PUBLISHER: AgentId = AgentId::from_bytes([102; 16]);
pub const REVIEWER: AgentId = AgentId::from_bytes([103; 16]);
pub const AGENT: AgentId = AgentId::from_bytes([104; 16]);

/// An agent's only key.
pub fn key(agent: AgentId) -> SigningKey {
    SigningKey::from_seed([agent.as_bytes()[0]; 32])
}

pub fn id(name: &str) -> PluginId {
    PluginId::new(name).unwrap()
}

/// A committed module.
pub fn module(name: &str) -> Bytes {
    let file = format!("{}/../../plugins/{name}/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&file).unwrap_or_else(|error| panic!("{file}: {error}")).into()
}

/// Everybody's key is good, and the operator is root, as the node's own control state says.
struct Known;

impl Agents for Known {
    fn valid_key(&self, _: &Stream, agent: AgentId, _: KeyId, _: LogTime) -> Option<PublicKey> {
        Some(key(agent).public_key())
    }

    fn is_root(&self, _: &Stream, agent: AgentId) -> bool {
        agent == OPERATOR || agent == ROOT
    }
}

/// Who signs what of one ledger's plugins.
pub struct Market {
    pub ledger: LedgerId,
    pub register: PluginRegister,
    tenant: TenantId,
    /// Signs control events.
    signer: (AgentId, SigningKey),
    count: AtomicU64,
}

impl Market {
    pub fn new(ledger: LedgerId) -> Self {
        Self::of(ledger, TENANT, (ROOT, key(ROOT)))
    }

    pub fn of(ledger: LedgerId, tenant: TenantId, signer: (AgentId, SigningKey)) -> Self {
        Self { ledger, register: PluginRegister::new(ledger), tenant, signer, count: AtomicU64::new(0) }
    }

    pub fn registry(&self) -> Stream {
        Stream::control(self.tenant)
    }

    pub fn now(&self) -> LogTime {
        SystemClock::new().wall()
    }

    fn frame(
        &self,
        stream: Stream,
        (agent, key): (AgentId, &SigningKey),
        entity: (&str, &str),
        event_type: &str,
        payload: &[u8],
    ) -> Frame {
        self.count.fetch_add(1, Ordering::Relaxed);
        let event_id = tally::random::event_id().unwrap();
        let at = self.now().to_rfc3339();
        let fields = EventFields::plain(stream, event_id, (agent, KeyId::new(1)), entity, event_type, &at, payload);
        Frame::build(&fields, payload, |hash| key.sign(hash.as_bytes())).unwrap()
    }

    /// A control event of the tenant.
    pub fn control(&self, event: &ControlEvent) -> Frame {
        let (entity_type, entity_id) = event.entity();
        let (agent, key) = (self.signer.0, &self.signer.1);
        self.frame(self.registry(), (agent, key), (entity_type, &entity_id), event.event_type(), &event.payload())
    }

    pub fn key_registered(&self, agent: AgentId) -> Frame {
        self.control(&ControlEvent::AgentKeyRegistered {
            agent_id: agent,
            key_id: KeyId::new(1),
            public_key: key(agent).public_key(),
            valid_from: None,
            valid_to: None,
        })
    }

    /// A plugin event as it is, whatever the register says of it.
    pub fn plugin_frame(&self, event: &PluginEvent) -> Frame {
        self.plugin_payload(event.event_type(), event.plugin().as_str(), &event.payload())
    }

    /// Any bytes under a plugin event's type.
    pub fn plugin_payload(&self, event_type: &str, plugin: &str, payload: &[u8]) -> Frame {
        let signer = (self.signer.0, &self.signer.1);
        self.frame(self.registry(), signer, ("tally.plugin", plugin), event_type, payload)
    }

    /// Notes an event that the node took.
    pub fn took(&mut self, event: &PluginEvent) -> Result<(), LifeRefusal> {
        let (stream, actor, now) = (self.registry(), self.signer.0, self.now());
        let index = Index::new(self.count.load(Ordering::Relaxed));
        self.register.apply(&Moment { stream, actor, index, now }, event, &Known)
    }

    /// The frame of an event that will be taken.
    pub fn lawful(&mut self, event: &PluginEvent) -> Frame {
        self.took(event).unwrap();
        self.plugin_frame(event)
    }

    /// An event of the store.
    pub fn event(&self, event_type: &str, entity: (&str, &str), payload: &str) -> Frame {
        self.frame(STREAM, (AGENT, &key(AGENT)), entity, event_type, payload.as_bytes())
    }

    pub fn submission(&self, release: &Release) -> PluginEvent {
        self.submission_by(release, PUBLISHER, self.now())
    }

    pub fn submission_by(&self, release: &Release, publisher: AgentId, at: LogTime) -> PluginEvent {
        let release_hash = release.hash();
        let publisher = attest(&release_hash, publisher, KeyId::new(1), at, &key(publisher)).unwrap();
        let previous = self.register.head(&self.registry(), &release.plugin);
        PluginEvent::Submitted(Submission { release: release.clone(), release_hash, publisher, previous })
    }

    pub fn review(&self, release: &Release, decision: Decision) -> PluginEvent {
        self.review_by(release, decision, REVIEWER)
    }

    pub fn review_by(&self, release: &Release, decision: Decision, by: AgentId) -> PluginEvent {
        let report = report_of(release);
        let review = Review {
            plugin: release.plugin.clone(),
            version: release.version,
            release: release.hash(),
            decision,
            overrides: false,
            report: report.hash(),
            blocking: report.blocking(),
            reason: "read it".to_owned(),
            previous: self.register.head(&self.registry(), &release.plugin),
        };
        self.signed_review(review, by)
    }

    pub fn signed_review(&self, review: Review, by: AgentId) -> PluginEvent {
        let reviewer: Signed = review.sign(by, KeyId::new(1), self.now(), &key(by)).unwrap();
        PluginEvent::Reviewed { review, reviewer }
    }

    /// What installs or upgrades to a release in the store, everything granted.
    pub fn binding(&self, store: StoreId, release: &Release, config: &str) -> Binding {
        let mut limits = Limits::default();
        for (name, value) in &release.limits {
            limits.set(name, *value).unwrap();
        }
        let stream = Stream::new(self.tenant, store);
        let history = self.register.history(&stream, &release.plugin);
        Binding {
            store_id: store,
            plugin: release.plugin.clone(),
            registry: Registry::Tenant,
            version: release.version,
            release: release.hash(),
            module: release.module,
            profile: limits.profile(),
            state_version: release.state_version,
            granted: release.permissions.clone(),
            limits: release.limits.clone(),
            config: Config::new(config.as_bytes()).unwrap(),
            rollback: history.last().is_some_and(|last| release.version < last.version),
            previous: self.register.head(&stream, &release.plugin),
        }
    }

    pub fn installed(&self, store: StoreId, release: &Release) -> PluginEvent {
        PluginEvent::Installed(self.binding(store, release, "{}"))
    }

    /// Everything from the submission to the installation.
    pub fn life(&mut self, store: StoreId, release: &Release) -> Vec<Frame> {
        let submitted = self.submission(release);
        let mut frames = vec![self.lawful(&submitted)];
        let reviewed = self.review(release, Decision::Approved);
        frames.push(self.lawful(&reviewed));
        let installed = self.installed(store, release);
        frames.push(self.lawful(&installed));
        frames
    }
}

/// What a module says about itself.
pub fn manifest(wasm: &[u8]) -> Vec<u8> {
    let host = Host::new(2, Optimisation::None).unwrap();
    let program = host.load(wasm, &Limits::default()).unwrap();
    Instance::new(program, Grant::nothing(LedgerId::ZERO, id("unknown"))).describe_bytes().unwrap()
}

/// The modules that releases were made of here, with their manifests: what a reviewer would fetch.
static MODULES: Mutex<BTreeMap<hash::ModuleHash, ModuleAndManifest>> = Mutex::new(BTreeMap::new());
type ModuleAndManifest = (Vec<u8>, Vec<u8>);
/// The releases that were looked at here, which nodes are asked about before they get a review.
static REVIEWED: Mutex<BTreeMap<hash::ReleaseHash, Release>> = Mutex::new(BTreeMap::new());

/// What a reviewer sees of a release.
fn report_of(release: &Release) -> Report {
    REVIEWED.lock().unwrap().insert(release.hash(), release.clone());
    let modules = MODULES.lock().unwrap();
    let (wasm, manifest) = modules.get(&release.module).map_or((&[][..], None), |(wasm, it)| (wasm, Some(&it[..])));
    report(release, wasm, manifest)
}

/// A release that claims what a module says about itself.
pub fn release_of(wasm: &[u8]) -> Release {
    let manifest = manifest(wasm);
    MODULES.lock().unwrap().insert(hash::module(wasm), (wasm.to_vec(), manifest.clone()));
    let price = Price { amount: 0, currency: *b"EUR", per: PricePer::Month };
    package::release_of(&manifest, wasm, Terms { price, schemas: BTreeMap::new() }).unwrap()
}

/// A data directory with its keys, for nodes in this process.
pub struct Place {
    dir: PathBuf,
    /// Gone at the end; none if another process owns it.
    owned: Option<tempfile::TempDir>,
    pub genesis: Genesis,
    pub bounds: PluginBounds,
    /// What compiles apart; none: this process alone.
    pub compiler: Option<PathBuf>,
}

impl Place {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut place = Self::at(dir.path());
        place.owned = Some(dir);
        place
    }

    /// A place that another process made.
    pub fn at(dir: &Path) -> Self {
        let genesis = Genesis {
            origin: "tally.test/log".to_owned(),
            profile: PROFILE.to_owned(),
            created_at: LogTime::from_micros(1_767_225_600_000_000),
            nonce: [7; 16],
            checkpoint_key: SigningKey::from_seed([2; 32]).public_key(),
            receipt_key: SigningKey::from_seed([1; 32]).public_key(),
            root_agent: OPERATOR,
            root_key: key(OPERATOR).public_key(),
        };
        Self { dir: dir.to_owned(), owned: None, genesis, bounds: PluginBounds::STANDARD, compiler: None }
    }

    pub fn database(&self) -> PathBuf {
        self.dir.join("db")
    }

    pub fn path(&self) -> &Path {
        &self.dir
    }

    pub fn open(&self) -> Arc<dyn Engine> {
        open_rocks(&self.database(), &RocksConfig::STANDARD).unwrap()
    }

    fn parts(&self, engine: &Arc<dyn Engine>) -> Parts {
        Parts {
            engine: Arc::clone(engine),
            clock: Arc::new(SystemClock::new()),
            receipt_signer: Arc::new(SigningKey::from_seed([1; 32])),
            checkpoint_signer: Arc::new(SigningKey::from_seed([2; 32])),
            fence: Box::new(FileFence::open(&self.dir.join("fence")).unwrap()),
            genesis: GenesisSource::Create(self.genesis.clone()),
            gate: None,
        }
    }

    /// A node that runs plugins.
    pub fn start(&self) -> Node {
        let engine = self.open();
        let plugins = Plugins::new(&engine, self.bounds, self.compiler.clone()).unwrap();
        let config = CoreConfig { publish_interval: Duration::from_millis(20), ..CoreConfig::development() };
        let parts = Parts { gate: Some(plugins.gate), ..self.parts(&engine) };
        let sequencer = Sequencer::start_followed(config, parts, plugins.follower).unwrap();
        Node { reader: sequencer.reader(), sequencer, port: plugins.port, engine }
    }

    /// The same with a tenant and its agents.
    pub fn start_ready(&self) -> (Node, Market) {
        let node = self.start();
        let market = Market::new(self.genesis.ledger_id());
        let operator = Market::of(market.ledger, TenantId::NIL, (OPERATOR, key(OPERATOR)));
        node.accept(vec![operator.control(&ControlEvent::TenantCreated {
            tenant_id: TENANT,
            root_agent_id: ROOT,
            root_public_key: key(ROOT).public_key(),
            operator_managed: true,
        })]);
        node.accept([PUBLISHER, REVIEWER, AGENT].map(|agent| market.key_registered(agent)).into());
        (node, market)
    }
}

/// A running node in this process.
pub struct Node {
    pub sequencer: Sequencer,
    pub reader: Reader,
    pub port: Arc<dyn PluginPort>,
    pub engine: Arc<dyn Engine>,
}

/// What a node decided, and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roots {
    pub size: TreeSize,
    pub outcomes: RootHash,
    pub states: StatesRoot,
}

impl Node {
    pub fn submit(&self, frames: Vec<Frame>) -> Vec<EventResult> {
        frames.iter().for_each(|frame| self.ask_for_report(frame));
        self.submit_unasked(frames)
    }

    /// A reviewer's tool asks the node for its report before it sends the review.
    fn ask_for_report(&self, frame: &Frame) {
        let event = PluginEvent::decode(frame.event_type(), frame.payload());
        let Ok(PluginEvent::Reviewed { review, .. }) = event else { return };
        let release = REVIEWED.lock().unwrap().get(&review.release).cloned();
        // Where it makes none, the review is refused.
        let _ = release.map(|release| self.port.report(&release));
    }

    pub fn submit_unasked(&self, frames: Vec<Frame>) -> Vec<EventResult> {
        self.sequencer.submitter().submit(Lane(1), frames).unwrap().wait().unwrap().into_results()
    }

    pub fn accept(&self, frames: Vec<Frame>) -> Vec<Receipt> {
        let accepted = |result| match result {
            EventResult::Accepted(receipt) => receipt,
            other => panic!("not accepted: {other:?}"),
        };
        self.submit(frames).into_iter().map(accepted).collect()
    }

    pub fn refuse(&self, frame: Frame) -> Reject {
        match self.submit(vec![frame]).pop().unwrap() {
            EventResult::Rejected(reject) => reject,
            other => panic!("not refused: {other:?}"),
        }
    }

    /// Waits until everything signed is applied.
    pub fn caught_up(&self) -> Roots {
        until("applied", || {
            if let ApplyState::Halted { why, at } = self.reader.apply_state() {
                panic!("halted at {at}: {why}");
            }
            // What is stored is shown before modules are loaded.
            self.reader.ladder().applied == self.reader.ladder().signed && self.port.plugins(&STREAM).is_ok()
        });
        self.roots()
    }

    pub fn roots(&self) -> Roots {
        let checkpoint = self.reader.outcome_checkpoint().unwrap().checkpoint.clone();
        let states = outcome_log::states_root(&checkpoint).unwrap().unwrap();
        Roots { size: checkpoint.size, outcomes: checkpoint.root, states }
    }

    pub fn why_halted(&self) -> String {
        until("halted", || matches!(self.reader.apply_state(), ApplyState::Halted { .. }));
        let ApplyState::Halted { why, .. } = self.reader.apply_state() else { panic!("it goes on") };
        why
    }

    /// What was decided about an event.
    pub fn outcome(&self, index: Index) -> Vec<BindingOutcome> {
        let leaf = self.reader.event(index).unwrap().leaf_hash();
        Outcome::decode(&self.reader.outcome(index).unwrap(), leaf).unwrap().bindings
    }

    /// The same in words: plugin and code.
    pub fn codes(&self, index: Index) -> Vec<String> {
        self.outcome(index).iter().map(|binding| format!("{} {}", binding.plugin, binding.code)).collect()
    }

    pub fn stop(self) {
        let Self { sequencer, engine, reader, port } = self;
        drop((reader, port));
        sequencer.drain(Duration::from_secs(20)).unwrap();
        engine.flush().unwrap();
    }
}

pub fn until(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(60), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Deletes a module, as somebody with the disk could.
pub fn forget_module(engine: &Arc<dyn Engine>, hash: &hash::ModuleHash) {
    let mut batch = tally_storage::Batch::new();
    batch.delete(tally_storage::Family::Modules, tally_storage::keys::ModuleKey(*hash).encode());
    engine.write(batch, Durability::Synced).unwrap();
}

/// Puts bytes under a module's hash, as somebody with the disk could.
pub fn swap_module(engine: &Arc<dyn Engine>, hash: &hash::ModuleHash, bytes: Bytes) {
    use tally_storage::keys::ModuleKey;
    let mut batch = tally_storage::Batch::new();
    batch.put(tally_storage::Family::Modules, ModuleKey(*hash).encode(), bytes);
    engine.write(batch, Durability::Synced).unwrap();
}
