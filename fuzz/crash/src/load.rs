//! Client threads: each signs, submits, keeps what was acknowledged, and sends again what nobody knows.
//!
//! A thread goes on while the node dies and comes back. After every lost answer it first asks for old receipts again:
//! they must be the same. The client below checks each receipt's proof and joins every checkpoint to the ones before.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tally_client::api::agent_key::RegisterKeyRequest;
use tally_client::api::api_key::{CreateApiKey, Role};
use tally_client::verify::TrustRoot;
use tally_client::{
    Agent, ApiKey, Class, Client, Door as Way, EventDraft, ProvenReceipt, RetryPolicy, SubmitOutcome, Trust,
};
use tally_protocol::frame::Frame;
use tally_protocol::hash::{LeafHash, LedgerId, RootHash};
use tally_protocol::id::{EventId, Index, KeyId, StoreId, TenantId};
use tally_testkit::{TestRng, agent_id, signing_key};
use tokio::runtime::Runtime;

use crate::Failure;

/// What is kept of an acknowledged event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Its place in the log.
    pub index: u64,
    /// Its place in its stream.
    pub sequence: u64,
    /// Its leaf.
    pub leaf: LeafHash,
    /// The event.
    pub event: EventId,
}

/// Counts that others may read while threads run.
#[derive(Debug, Default)]
pub struct Counts {
    /// Events acknowledged for the first time.
    pub acknowledged: AtomicU64,
    /// Submissions whose answer was lost.
    pub lost: AtomicU64,
    /// Events sent again after a lost answer that were in the log already.
    pub found: AtomicU64,
    /// Events sent again that were not.
    pub resent: AtomicU64,
    /// Old receipts that were asked for again.
    pub asked: AtomicU64,
}

/// What all threads share.
pub struct Shared {
    /// Ends every thread.
    pub stop: AtomicBool,
    /// Counts.
    pub counts: Counts,
    /// Every size with its root, from every receipt of every thread.
    pub roots: Mutex<BTreeMap<u64, RootHash>>,
    /// The first broken law.
    pub broken: Mutex<Option<Failure>>,
    /// Milliseconds of each submission since the last look.
    pub latencies: Mutex<Vec<f32>>,
    /// Pause between submissions of one thread, in microseconds; 0 is full load.
    pub every_micros: AtomicU64,
}

impl Shared {
    /// Full load.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            stop: AtomicBool::new(false),
            counts: Counts::default(),
            roots: Mutex::default(),
            broken: Mutex::default(),
            latencies: Mutex::default(),
            every_micros: AtomicU64::new(0),
        })
    }

    /// A law broke: the first one is told, everybody stops.
    pub fn break_law(&self, what: Failure) {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(what);
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Whether a law broke.
    ///
    /// # Errors
    /// It did.
    pub fn holds(&self) -> Result<(), Failure> {
        match &*self.broken.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(what) => Err(what.clone()),
            None => Ok(()),
        }
    }
}

/// Whom the threads talk to and as whom.
#[derive(Debug, Clone)]
pub struct Door {
    url: String,
    /// Host and port of the QUIC door, and the certificate it shows.
    quic: (String, Vec<u8>),
    ledger: LedgerId,
    tenant: TenantId,
    store: StoreId,
    api_key: String,
}

impl Door {
    /// From what the node said at its first start; registers the threads' agents.
    ///
    /// # Errors
    /// The node refuses.
    pub fn open(ready: &Value, threads: u64) -> Result<Self, Failure> {
        let text = |name: &str| ready[name].as_str().ok_or_else(|| format!("the node does not say its {name}"));
        let wrong = |what: &dyn std::fmt::Display| format!("the node says something else: {what}");
        let mut door = Self {
            url: text("url")?.to_owned(),
            quic: (
                text("quic")?.to_owned(),
                std::fs::read(text("quic_certificate_file")?).map_err(|error| error.to_string())?,
            ),
            ledger: LedgerId::from_hex(text("ledger_id")?).map_err(|error| wrong(&error))?,
            tenant: text("tenant_id")?.parse().map_err(|error| wrong(&error))?,
            store: text("store_id")?.parse().map_err(|error| wrong(&error))?,
            api_key: std::fs::read_to_string(text("operator_api_key_file")?).map_err(|error| error.to_string())?,
        };
        let (operator, runtime) = (door.client(RetryPolicy::STANDARD, Way::Http)?, runtime()?);
        let made = runtime.block_on(operator.create_api_key(&CreateApiKey {
            tenant_id: Some(door.tenant),
            store_ids: None,
            agent_id: None,
            roles: vec![Role::Admin],
            label: "load".to_owned(),
            expires_at: None,
        }));
        door.api_key = made.map_err(|error| error.to_string())?.api_key;
        for thread in 0..threads {
            let agent = door.agent(thread);
            let request = RegisterKeyRequest {
                tenant_id: door.tenant,
                agent_id: agent.id(),
                key_id: Some(KeyId::new(1)),
                public_key: agent.public_key().to_hex(),
                valid_from: None,
                valid_to: None,
                key_algorithm: None,
            };
            runtime.block_on(operator.register_key(&request)).map_err(|error| error.to_string())?;
        }
        Ok(door)
    }

    fn agent(&self, thread: u64) -> Agent {
        Agent::new(self.tenant, agent_id(0x00c0_0000 + thread), 1, signing_key(&format!("load thread {thread}")))
    }

    fn client(&self, retry: RetryPolicy, way: Way) -> Result<Client, Failure> {
        let client = Client::builder(&self.url).door(way);
        let client = match way {
            Way::Http => client,
            _ => client.quic(&self.quic.0).pinned_certificate(&*self.quic.1),
        };
        let client = client
            .api_key(ApiKey::new(self.api_key.trim_end()))
            .trust(Trust::Given(TrustRoot::ledger(self.ledger)))
            .retry(retry)
            .request_timeout(Duration::from_secs(20))
            .build();
        client.map_err(|error| error.to_string())
    }
}

fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())
}

/// One client thread.
pub struct Worker {
    number: u64,
    agent: Agent,
    store: StoreId,
    client: Client,
    runtime: Runtime,
    shared: Arc<Shared>,
    batch: usize,
    rng: TestRng,
    made: u64,
    /// Keep one receipt in so many.
    keep_one_in: u64,
    /// What was acknowledged.
    pub kept: Vec<Kept>,
    recent: VecDeque<(Frame, Kept)>,
    unknown: VecDeque<Vec<Frame>>,
}

/// Old receipts that are asked for again after a lost answer.
const RECENT: usize = 24;

impl Worker {
    /// Thread number `number`.
    ///
    /// # Errors
    /// No client can be made.
    pub fn new(
        door: &Door,
        number: u64,
        batch: usize,
        keep_one_in: u64,
        shared: &Arc<Shared>,
    ) -> Result<Self, Failure> {
        let agent = door.agent(number);
        // Every second pair of threads goes through the QUIC door and no other.
        let way = if number % 4 < 2 { Way::Http } else { Way::Quic };
        let client = door.client(RetryPolicy::NEVER, way)?;
        client.know_agent(&agent);
        let mut store = *door.store.as_bytes();
        // Half of the threads share one stream, the others have their own.
        store[15] ^= u8::try_from(if number.is_multiple_of(2) { 0 } else { number }).unwrap_or(0);
        Ok(Self {
            number,
            agent,
            store: StoreId::from_bytes(store),
            client,
            runtime: runtime()?,
            shared: Arc::clone(shared),
            batch,
            rng: TestRng::new(number),
            made: 0,
            keep_one_in,
            kept: Vec::new(),
            recent: VecDeque::new(),
            unknown: VecDeque::new(),
        })
    }

    /// Submits until told to stop, and then until nothing is unknown or the node is gone for good.
    #[must_use]
    pub fn work(mut self) -> Self {
        let mut last_answer = Instant::now();
        let mut next = Instant::now();
        loop {
            let stopping = self.shared.stop.load(Ordering::SeqCst);
            if stopping && (self.unknown.is_empty() || self.shared.holds().is_err()) {
                return self;
            }
            if stopping && last_answer.elapsed() > Duration::from_secs(30) {
                self.shared.break_law("the node does not answer any more".to_owned());
            }
            let again = self.unknown.pop_front();
            let is_again = again.is_some();
            if !is_again {
                self.wait(&mut next);
            }
            let frames = match again {
                Some(frames) => frames,
                None => self.fresh(),
            };
            let began = Instant::now();
            match self.runtime.block_on(self.client.submit(&frames)) {
                Ok(outcomes) => {
                    last_answer = Instant::now();
                    let took = began.elapsed().as_secs_f32() * 1000.0;
                    self.shared.latencies.lock().unwrap_or_else(PoisonError::into_inner).push(took);
                    if let Err(what) = self.take(outcomes, is_again) {
                        self.shared.break_law(what);
                    }
                }
                Err(error) if error.class() == Class::Retry => {
                    self.shared.counts.lost.fetch_add(1, Ordering::Relaxed);
                    self.unknown.push_back(frames);
                    std::thread::sleep(Duration::from_millis(5));
                    if let Err(what) = self.ask_again() {
                        self.shared.break_law(what);
                    }
                }
                Err(error) => self.shared.break_law(format!("thread {}: {error}", self.number)),
            }
        }
    }

    fn wait(&self, next: &mut Instant) {
        let every = self.shared.every_micros.load(Ordering::Relaxed);
        if every > 0 {
            *next = (*next + Duration::from_micros(every)).max(Instant::now());
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }

    fn fresh(&mut self) -> Vec<Frame> {
        (0..self.batch)
            .filter_map(|_| {
                self.made += 1;
                let mut id = [0xc7; 16];
                id[0] = u8::try_from(self.number).unwrap_or(0xff);
                id[8..].copy_from_slice(&self.made.to_be_bytes());
                let draft = EventDraft {
                    store: self.store,
                    event_id: EventId::from_bytes(id),
                    entity_type: "order".to_owned(),
                    entity_id: format!("order-{}", self.made % 997),
                    event_type: "order.placed".to_owned(),
                    created_at: "2026-01-01T00:00:00Z".to_owned(),
                    payload: format!("{{\"fill\":\"{}\",\"n\":{}}}", "x".repeat(200), self.made).into_bytes(),
                };
                self.agent.sign(&draft).ok()
            })
            .collect()
    }

    /// Keeps receipts; the client has verified them.
    fn take(&mut self, outcomes: Vec<SubmitOutcome>, is_again: bool) -> Result<(), Failure> {
        let counts = &self.shared.counts;
        for outcome in outcomes {
            let found = matches!(outcome, SubmitOutcome::Duplicate(_));
            if found && !is_again {
                return Err("a new event was called a duplicate".to_owned());
            }
            let receipt = outcome.into_receipt().map_err(|error| error.to_string())?;
            counts.acknowledged.fetch_add(1, Ordering::Relaxed);
            if is_again {
                if found { &counts.found } else { &counts.resent }.fetch_add(1, Ordering::Relaxed);
            }
            note_root(&self.shared, &receipt)?;
            let kept = kept(&receipt);
            if self.rng.one_in(self.keep_one_in) {
                self.kept.push(kept);
            }
            if self.rng.one_in(40) || self.recent.is_empty() {
                self.recent.push_back((receipt.frame, kept));
                if self.recent.len() > RECENT {
                    self.recent.pop_front();
                }
            }
        }
        Ok(())
    }

    /// Receipts of before, again: the same place each, as the answer to a retry and as a read with a fresh proof.
    fn ask_again(&self) -> Result<(), Failure> {
        let frames: Vec<Frame> = self.recent.iter().map(|(frame, _)| frame.clone()).collect();
        let Ok(outcomes) = self.runtime.block_on(self.client.submit(&frames)) else { return Ok(()) };
        for ((_, before), outcome) in self.recent.iter().zip(outcomes) {
            let SubmitOutcome::Duplicate(now) = outcome else {
                return Err(format!("index {} was acknowledged, asked again it is {outcome:?}", before.index));
            };
            if kept(&now) != *before {
                return Err(format!("the receipt of index {} changed to {:?}", before.index, now.placed));
            }
            note_root(&self.shared, &now)?;
            self.shared.counts.asked.fetch_add(1, Ordering::Relaxed);
        }
        if let Some((frame, before)) = self.recent.front()
            && let Ok(now) = self.runtime.block_on(self.client.receipt(frame, Index::new(before.index)))
            && kept(&now) != *before
        {
            return Err(format!("read anew, index {} is {:?}", before.index, now.placed));
        }
        Ok(())
    }
}

fn kept(receipt: &ProvenReceipt) -> Kept {
    Kept {
        index: receipt.placed.index.get(),
        sequence: receipt.placed.sequence.get(),
        leaf: receipt.leaf_hash,
        event: receipt.frame.event_id(),
    }
}

fn note_root(shared: &Shared, receipt: &ProvenReceipt) -> Result<(), Failure> {
    let checkpoint = &receipt.checkpoint.checkpoint;
    let mut roots = shared.roots.lock().unwrap_or_else(PoisonError::into_inner);
    let known = roots.entry(checkpoint.size.get()).or_insert(checkpoint.root);
    if *known == checkpoint.root { Ok(()) } else { Err(format!("two roots for size {}", checkpoint.size)) }
}
