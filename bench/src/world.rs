//! The core in this process, without a network: what the pipeline itself can do, and where its CPU goes.
//!
//! Takes an engine (RocksDB in a folder, or memory) and the agents to know; gives a running sequencer with one tenant.
//! The fence is a synced file, as in the node, or memory. Fails when the core does not start.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tally_core::{
    Clock, Config, EventResult, Fence, FenceError, FenceRecord, FileFence, GenesisSource, Lane, Parts, Sequencer,
    SystemClock,
};
use tally_protocol::control::ControlEvent;
use tally_protocol::entry::{Genesis, PROFILE};
use tally_protocol::frame::{EventFields, Frame};
use tally_protocol::hash;
use tally_protocol::id::{AgentId, EventId, KeyId, Stream, TenantId};
use tally_protocol::key::SigningKey;
use tally_storage::memory::MemoryEngine;
use tally_storage::{Engine, RocksConfig, open_rocks};
use tally_verify::Ledger;

use crate::Failure;
use crate::events::Agent;

/// The tenant of every event here.
pub const TENANT: TenantId = TenantId::from_bytes([0x7e; 16]);
const OPERATOR: AgentId = AgentId::from_bytes([0xee; 16]);
const TENANT_ROOT: AgentId = AgentId::from_bytes([0xaa; 16]);
/// The lane of the set-up.
const SETUP: Lane = Lane(0);

/// Where the log is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// RocksDB below this folder, with the fence beside it: synced, as in the node.
    Rocks(PathBuf),
    /// Nowhere: no disk at all.
    Memory,
}

/// A running core.
pub struct World {
    /// The pipeline.
    pub sequencer: Sequencer,
    /// Its database.
    pub engine: Arc<dyn Engine>,
    /// Checks its receipts.
    pub ledger: Ledger,
}

/// A fence that remembers nothing longer than the process: only for a log that lives no longer either.
struct MemoryFence(Option<FenceRecord>);

impl Fence for MemoryFence {
    fn load(&mut self) -> Result<Option<FenceRecord>, FenceError> {
        Ok(self.0)
    }

    fn store(&mut self, record: &FenceRecord) -> Result<(), FenceError> {
        self.0 = Some(*record);
        Ok(())
    }
}

/// A key of the ledger itself; everybody can compute it.
fn key(name: &str) -> SigningKey {
    SigningKey::from_seed(*hash::leaf(format!("tally-bench key {name}").as_bytes()).as_bytes())
}

impl World {
    /// Starts the core. A folder that holds a log of an earlier start goes on with it.
    ///
    /// # Errors
    /// If the database, the fence or the core does not open.
    pub fn start(store: &Store, config: Config) -> Result<Self, Failure> {
        let (engine, fence): (Arc<dyn Engine>, Box<dyn Fence>) = match store {
            Store::Memory => (Arc::new(MemoryEngine::new()), Box::new(MemoryFence(None))),
            Store::Rocks(folder) => (open(folder)?, Box::new(open_fence(folder)?)),
        };
        let clock = Arc::new(SystemClock::new());
        let genesis = Genesis {
            origin: "localhost/tally-bench".to_owned(),
            profile: PROFILE.to_owned(),
            created_at: tally_protocol::time::LogTime::from_micros(1_767_225_600_000_000),
            nonce: [7; 16],
            checkpoint_key: key("checkpoint").public_key(),
            receipt_key: key("receipt").public_key(),
            root_agent: OPERATOR,
            root_key: key("operator").public_key(),
        };
        let ledger = Ledger::from_genesis(&genesis.encode()).map_err(|error| format!("no genesis: {error}"))?;
        let parts = Parts {
            engine: Arc::clone(&engine),
            clock,
            receipt_signer: Arc::new(key("receipt")),
            checkpoint_signer: Arc::new(key("checkpoint")),
            fence,
            genesis: GenesisSource::Create(genesis),
            gate: None,
        };
        let sequencer = Sequencer::start(config, parts).map_err(|error| format!("the core did not start: {error}"))?;
        Ok(Self { sequencer, engine, ledger })
    }

    /// Creates the tenant and registers every agent's first key; what exists already stays.
    ///
    /// # Errors
    /// If a control event is refused.
    pub fn register(&self, agents: &[Agent]) -> Result<(), Failure> {
        let reader = self.sequencer.reader();
        if reader.tenant(TENANT).is_none() {
            let event = ControlEvent::TenantCreated {
                tenant_id: TENANT,
                root_agent_id: TENANT_ROOT,
                root_public_key: key("tenant").public_key(),
                operator_managed: true,
            };
            self.control(vec![control(Stream::LEDGER, (OPERATOR, "operator"), &event)?])?;
        }
        let unknown = agents.iter().filter(|agent| reader.agent_keys(TENANT, agent.id).is_empty());
        let events = unknown.map(|agent| ControlEvent::AgentKeyRegistered {
            agent_id: agent.id,
            key_id: KeyId::new(1),
            public_key: agent.key.public_key(),
            valid_from: None,
            valid_to: None,
        });
        let frames = events.map(|event| control(Stream::control(TENANT), (TENANT_ROOT, "tenant"), &event));
        let frames: Vec<Frame> = frames.collect::<Result<_, _>>()?;
        frames.chunks(500).try_for_each(|chunk| self.control(chunk.to_vec()))
    }

    fn control(&self, frames: Vec<Frame>) -> Result<(), Failure> {
        let ticket = self.sequencer.submitter().submit(SETUP, frames).map_err(|refused| refused.to_string())?;
        for result in ticket.wait().map_err(|error| error.to_string())? {
            if let EventResult::Rejected(reject) = result {
                return Err(format!("a control event was refused: {}", reject.message));
            }
        }
        Ok(())
    }

    /// Stops the core, and brings what it wrote into table files.
    ///
    /// # Errors
    /// If it does not drain within a minute.
    pub fn stop(self) -> Result<(), Failure> {
        self.sequencer.drain(Duration::from_secs(60)).map_err(|error| error.to_string())?;
        self.engine.flush().map_err(|error| error.to_string())
    }
}

fn open(folder: &Path) -> Result<Arc<dyn Engine>, Failure> {
    open_rocks(&folder.join("db"), &RocksConfig::STANDARD).map_err(|error| format!("failed to open: {error}"))
}

fn open_fence(folder: &Path) -> Result<FileFence, Failure> {
    FileFence::open(&folder.join("log.fence")).map_err(|error| format!("failed to open the fence: {error}"))
}

fn control(stream: Stream, (agent, name): (AgentId, &str), event: &ControlEvent) -> Result<Frame, Failure> {
    let payload = event.payload();
    let (entity_type, entity_id) = event.entity();
    // The id follows from the content, so that a second start asks for the same event.
    let id = hash::leaf(&[event.event_type().as_bytes(), entity_id.as_bytes()].concat());
    let mut event_id = [0; 16];
    event_id.copy_from_slice(&id.as_bytes()[..16]);
    let fields = EventFields::plain(
        stream,
        EventId::from_bytes(event_id),
        (agent, KeyId::new(1)),
        (entity_type, &entity_id),
        event.event_type(),
        &SystemClock::new().wall().to_rfc3339(),
        &payload,
    );
    let built = Frame::build(&fields, &payload, |hash| key(name).sign(hash.as_bytes()));
    built.map_err(|error| format!("failed to build a control event: {error}"))
}
