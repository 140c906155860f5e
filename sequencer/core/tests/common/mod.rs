//! A small world to run the pipeline in: a memory engine, a clock that is moved by hand, a fence in memory, one
//! tenant with agents.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(unreachable_pub, reason = "shared by test files")]
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tally_core::{
    Clock, Config, EventResult, Fence, FenceError, FenceRecord, Follower, GenesisSource, Lane, Parts, Reader, Receipt,
    Sequencer, StartError, Submitter,
};
use tally_merkle::verify_inclusion;
use tally_protocol::control::ControlEvent;
use tally_protocol::entry::Genesis;
use tally_protocol::error::{Reject, RejectCode};
use tally_protocol::frame::{EventFields, Frame};
use tally_protocol::id::{AgentId, EventId, KeyId, StoreId, Stream, TenantId};
use tally_protocol::key::SigningKey;
use tally_protocol::note::VerifierKey;
use tally_protocol::proof::InclusionProof;
use tally_protocol::time::LogTime;
use tally_storage::Engine;
use tally_storage::memory::MemoryEngine;

/// 2026-01-01T00:00:00Z.
pub const START_MICROS: u64 = 1_767_225_600_000_000;

/// Both clocks, moved by hand.
#[derive(Debug)]
pub struct TestClock {
    wall: AtomicU64,
    monotonic: AtomicU64,
}

impl TestClock {
    fn new() -> Self {
        Self { wall: AtomicU64::new(START_MICROS), monotonic: AtomicU64::new(0) }
    }

    /// Time passes.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_micros()).unwrap();
        self.wall.fetch_add(by, Ordering::SeqCst);
        self.monotonic.fetch_add(by, Ordering::SeqCst);
    }

    /// Somebody sets the wall clock.
    pub fn step_wall(&self, by_micros: i64) {
        self.wall.fetch_add(by_micros as u64, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn wall(&self) -> LogTime {
        LogTime::from_micros(self.wall.load(Ordering::SeqCst))
    }

    fn monotonic_micros(&self) -> u64 {
        self.monotonic.load(Ordering::SeqCst)
    }
}

/// A fence that outlives nodes, in memory.
#[derive(Debug, Clone, Default)]
pub struct TestFence {
    pub record: Arc<Mutex<Option<FenceRecord>>>,
    pub fail: Arc<std::sync::atomic::AtomicBool>,
}

impl Fence for TestFence {
    fn load(&mut self) -> Result<Option<FenceRecord>, FenceError> {
        Ok(*self.record.lock().unwrap())
    }

    fn store(&mut self, record: &FenceRecord) -> Result<(), FenceError> {
        if self.fail.load(Ordering::SeqCst) {
            return Err(FenceError::Damaged("the test's fence".to_owned()));
        }
        *self.record.lock().unwrap() = Some(*record);
        Ok(())
    }
}

/// Everything that outlives a node.
pub struct World {
    pub engine: Arc<MemoryEngine>,
    pub clock: Arc<TestClock>,
    pub fence: TestFence,
    pub genesis: Genesis,
    pub config: Config,
    next_event: AtomicU64,
}

pub const TENANT: TenantId = TenantId::from_bytes([1; 16]);
pub const STORE: StoreId = StoreId::from_bytes([2; 16]);
pub const STREAM: Stream = Stream::new(TENANT, STORE);
pub const OPERATOR: AgentId = AgentId::from_bytes([0xEE; 16]);
pub const TENANT_ROOT: AgentId = AgentId::from_bytes([0xAA; 16]);
pub const AGENT: AgentId = AgentId::from_bytes([3; 16]);

/// A key from a number.
pub fn key(number: u8) -> SigningKey {
    SigningKey::from_seed([number; 32])
}

pub const OPERATOR_KEY: u8 = 100;
pub const TENANT_KEY: u8 = 101;
pub const AGENT_KEY: u8 = 102;

impl World {
    pub fn new() -> Self {
        let genesis = Genesis {
            origin: "tally.test/log".to_owned(),
            profile: tally_protocol::entry::PROFILE.to_owned(),
            created_at: LogTime::from_micros(START_MICROS),
            nonce: [7; 16],
            checkpoint_key: key(2).public_key(),
            receipt_key: key(1).public_key(),
            root_agent: OPERATOR,
            root_key: key(OPERATOR_KEY).public_key(),
        };
        let mut config = Config::development();
        config.publish_interval = Duration::from_millis(5);
        config.commit_interval = Duration::from_secs(3600);
        Self {
            engine: Arc::new(MemoryEngine::new()),
            clock: Arc::new(TestClock::new()),
            fence: TestFence::default(),
            genesis,
            config,
            next_event: AtomicU64::new(1),
        }
    }

    pub fn parts(&self) -> Parts {
        Parts {
            engine: Arc::clone(&self.engine) as Arc<dyn Engine>,
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            receipt_signer: Arc::new(key(1)),
            checkpoint_signer: Arc::new(key(2)),
            fence: Box::new(self.fence.clone()),
            genesis: GenesisSource::Create(self.genesis.clone()),
            gate: None,
        }
    }

    /// What a restart finds behind a crash: this engine and fence, and otherwise the same world.
    pub fn after(&self, engine: MemoryEngine, fence: TestFence) -> Self {
        Self {
            engine: Arc::new(engine),
            clock: Arc::clone(&self.clock),
            fence,
            genesis: self.genesis.clone(),
            config: self.config.clone(),
            next_event: AtomicU64::new(self.next_event.load(Ordering::SeqCst) + 1_000_000),
        }
    }

    pub fn start_followed(&self, follower: Box<dyn Follower>) -> Node {
        Node::of(Sequencer::start_followed(self.config.clone(), self.parts(), follower).unwrap())
    }

    pub fn try_start(&self) -> Result<Node, StartError> {
        Ok(Node::of(Sequencer::start(self.config.clone(), self.parts())?))
    }

    pub fn start(&self) -> Node {
        self.try_start().unwrap()
    }

    /// A node with the tenant and one agent.
    pub fn start_ready(&self) -> Node {
        let node = self.start();
        // One after the other: a key is known once its registration is ordered.
        node.accept_one(self.tenant_created(TENANT, true));
        node.accept_one(self.key_registered(AGENT, 1, AGENT_KEY));
        node
    }

    pub fn event_id(&self) -> EventId {
        let mut bytes = [9; 16];
        bytes[8..].copy_from_slice(&self.next_event.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        EventId::from_bytes(bytes)
    }

    pub fn created_at(&self) -> String {
        self.clock.wall().to_rfc3339()
    }

    /// An event of the agent, signed with its first key.
    pub fn event(&self, payload: &str) -> Frame {
        self.event_of(STREAM, (AGENT, 1, AGENT_KEY), self.event_id(), payload)
    }

    pub fn event_of(
        &self,
        stream: Stream,
        (agent, key_id, seed): (AgentId, u32, u8),
        id: EventId,
        payload: &str,
    ) -> Frame {
        let fields = EventFields::plain(
            stream,
            id,
            (agent, KeyId::new(key_id)),
            ("order", "o-1"),
            "order.created",
            &self.created_at(),
            payload.as_bytes(),
        );
        sign(&fields, payload.as_bytes(), seed)
    }

    pub fn control(&self, stream: Stream, (agent, key_id, seed): (AgentId, u32, u8), event: &ControlEvent) -> Frame {
        let payload = event.payload();
        let (entity_type, entity_id) = event.entity();
        let fields = EventFields::plain(
            stream,
            self.event_id(),
            (agent, KeyId::new(key_id)),
            (entity_type, &entity_id),
            event.event_type(),
            &self.created_at(),
            &payload,
        );
        sign(&fields, &payload, seed)
    }

    pub fn tenant_created(&self, tenant: TenantId, operator_managed: bool) -> Frame {
        let event = ControlEvent::TenantCreated {
            tenant_id: tenant,
            root_agent_id: TENANT_ROOT,
            root_public_key: key(TENANT_KEY).public_key(),
            operator_managed,
        };
        self.control(Stream::LEDGER, (OPERATOR, 1, OPERATOR_KEY), &event)
    }

    /// A control event of the tenant, signed by its root agent.
    pub fn tenant_control(&self, event: &ControlEvent) -> Frame {
        self.control(Stream::control(TENANT), (TENANT_ROOT, 1, TENANT_KEY), event)
    }

    pub fn key_registered(&self, agent: AgentId, key_id: u32, seed: u8) -> Frame {
        self.tenant_control(&ControlEvent::AgentKeyRegistered {
            agent_id: agent,
            key_id: KeyId::new(key_id),
            public_key: key(seed).public_key(),
            valid_from: None,
            valid_to: None,
        })
    }

    pub fn key_revoked(&self, agent: AgentId, key_id: u32) -> Frame {
        self.tenant_control(&ControlEvent::AgentKeyRevoked {
            agent_id: agent,
            key_id: KeyId::new(key_id),
            reason: "test".to_owned(),
        })
    }

    pub fn receipt_key(&self) -> VerifierKey {
        VerifierKey::new(&self.genesis.origin, self.genesis.receipt_key).unwrap()
    }
}

pub fn sign(fields: &EventFields, payload: &[u8], seed: u8) -> Frame {
    Frame::build(fields, payload, |hash| key(seed).sign(hash.as_bytes())).unwrap()
}

/// A running node.
pub struct Node {
    pub sequencer: Sequencer,
    pub submitter: Submitter,
    pub reader: Reader,
}

impl Node {
    pub fn of(sequencer: Sequencer) -> Self {
        let (submitter, reader) = (sequencer.submitter(), sequencer.reader());
        Self { sequencer, submitter, reader }
    }

    pub fn submit(&self, frames: Vec<Frame>) -> Vec<EventResult> {
        self.submitter.submit(Lane(1), frames).unwrap().wait().unwrap().into_results()
    }

    pub fn submit_one(&self, frame: Frame) -> EventResult {
        self.submit(vec![frame]).pop().unwrap()
    }

    /// All must be accepted.
    pub fn accept(&self, frames: Vec<Frame>) -> Vec<Receipt> {
        self.submit(frames).into_iter().map(accepted).collect()
    }

    pub fn accept_one(&self, frame: Frame) -> Receipt {
        accepted(self.submit_one(frame))
    }

    /// Must be refused.
    pub fn refuse(&self, frame: Frame) -> Reject {
        match self.submit_one(frame) {
            EventResult::Rejected(reject) => reject,
            other => panic!("not refused: {other:?}"),
        }
    }

    pub fn refuse_code(&self, frame: Frame) -> RejectCode {
        self.refuse(frame).code
    }

    pub fn stop(self) {
        drop((self.submitter, self.reader));
        self.sequencer.drain(Duration::from_secs(20)).unwrap();
    }
}

pub fn accepted(result: EventResult) -> Receipt {
    match result {
        EventResult::Accepted(receipt) => receipt,
        other => panic!("not accepted: {other:?}"),
    }
}

pub fn duplicate(result: EventResult) -> Receipt {
    match result {
        EventResult::Duplicate(receipt) => receipt,
        other => panic!("not a duplicate: {other:?}"),
    }
}

/// The receipt proves what it says, under the ledger's own key.
pub fn check_receipt(world: &World, receipt: &Receipt) {
    let note = &receipt.checkpoint.note;
    let opened = tally_protocol::checkpoint::SignedCheckpoint::open(note, &[world.receipt_key()]).unwrap();
    let checkpoint = opened.checkpoint;
    assert_eq!(checkpoint.origin, world.genesis.origin);
    let proof = InclusionProof { index: receipt.index, size: checkpoint.size, path: receipt.path.clone() };
    verify_inclusion(&receipt.leaf_hash, &proof, &checkpoint.root).unwrap();
}
