//! A real node behind a real socket: the core on a memory engine, the gateway on 127.0.0.1, two tenants with agents.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::{Client, Method, Response, StatusCode};
use serde_json::Value;
use tally_api::api_key::{Role, StoreIds};
use tally_api::event::EventEnvelope;
use tally_core::{
    Clock, Config, EventResult, Fence, FenceError, FenceRecord, GenesisSource, Lane, Parts, Reader, Sequencer,
};
use tally_gateway::{
    AnchorPort, ApiKey, ControlSignError, ControlSigner, Credential, CredentialKey, CredentialStore, EffectPort,
    Environment, Gateway, GatewayConfig, GatewayParts, Limits, Market, MemoryCredentials, PluginPort, Public, Scope,
};
use tally_protocol::control::ControlEvent;
use tally_protocol::frame::Frame;
use tally_protocol::id::{AgentId, EventId, StoreId, Stream, TenantId};
use tally_protocol::time::LogTime;
use tally_storage::Engine;
use tally_storage::memory::MemoryEngine;
use tally_testkit::ManualClock;
use tally_testkit::event_id;
use tally_testkit::{TestAgent, TestLedger, TestTenant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

// Here and not in the root of each test: others than the tests of HTTP use this file too.
#[path = "follower.rs"]
pub mod follower;

use follower::{Counting, CountingFollower};

/// 2026-01-01T00:00:00Z.
pub const START: LogTime = LogTime::from_micros(1_767_225_600_000_000);

/// The testkit's clock, as the core asks for it.
pub struct TestClock(pub ManualClock);

impl Clock for TestClock {
    fn wall(&self) -> LogTime {
        self.0.wall()
    }

    fn monotonic_micros(&self) -> u64 {
        self.0.monotonic_micros()
    }
}

#[derive(Default)]
struct TestFence(Option<FenceRecord>);

impl Fence for TestFence {
    fn load(&mut self) -> Result<Option<FenceRecord>, FenceError> {
        Ok(self.0)
    }

    fn store(&mut self, record: &FenceRecord) -> Result<(), FenceError> {
        self.0 = Some(*record);
        Ok(())
    }
}

/// Holds the ledger's root key; signs for the ledger and for tenants it manages.
struct RootSigner {
    root: TestAgent,
    next: AtomicU64,
    clock: Arc<TestClock>,
}

impl ControlSigner for RootSigner {
    fn sign_control(&self, stream: Stream, event: &ControlEvent) -> Result<Frame, ControlSignError> {
        let id = event_id(0xffff_0000_0000 + self.next.fetch_add(1, Ordering::SeqCst));
        Ok(self.root.control(stream, event, id, self.clock.wall()))
    }
}

/// What a test may change about the node.
pub struct Setup {
    pub config: GatewayConfig,
    pub core: Config,
    pub control: bool,
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Applies events; none by default.
    pub follower: Option<Arc<Counting>>,
    pub plugins: Option<Arc<dyn PluginPort>>,
    pub anchors: Option<Arc<dyn AnchorPort>>,
    pub effects: Option<Arc<dyn EffectPort>>,
    /// None by default.
    pub market: Option<Market>,
}

impl Setup {
    pub fn new() -> Self {
        let mut core = Config::development();
        core.publish_interval = Duration::from_millis(10);
        core.commit_interval = Duration::from_secs(3600);
        let config = GatewayConfig { environment: Environment::Live, public: Public::NONE, limits: Limits::standard() };
        Self {
            config,
            core,
            control: true,
            tls: None,
            follower: None,
            plugins: None,
            anchors: None,
            effects: None,
            market: None,
        }
    }

    /// Nothing is synced but what the test submits, so that a failing sync is that one.
    pub fn without_publishing(mut self) -> Self {
        self.core.publish_interval = Duration::from_secs(3600);
        self
    }

    /// With outcomes, made by this follower.
    pub fn followed_by(mut self, counting: &Arc<Counting>) -> Self {
        self.follower = Some(Arc::clone(counting));
        self
    }

    pub async fn start(self) -> TestServer {
        TestServer::start(self).await
    }
}

/// A node, its address, and everything a test needs to talk to it.
pub struct TestServer {
    pub address: SocketAddr,
    pub clock: Arc<TestClock>,
    pub engine: Arc<MemoryEngine>,
    pub ledger: TestLedger,
    pub tenants: [TestTenant; 2],
    pub credentials: Arc<MemoryCredentials>,
    pub gateway: Arc<Gateway>,
    pub http: Client,
    pub sequencer: Option<Sequencer>,
    environment: Environment,
    next_event: AtomicU64,
    stop: Mutex<Option<oneshot::Sender<()>>>,
    served: Mutex<Option<JoinHandle<std::io::Result<()>>>>,
}

pub const CREDENTIAL_KEY: [u8; 32] = [42; 32];

impl TestServer {
    pub async fn new() -> Self {
        Setup::new().start().await
    }

    async fn start(setup: Setup) -> Self {
        // The Rust client's reqwest has TLS without a provider of its own, and features add up: any client needs one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let clock = Arc::new(TestClock(ManualClock::new(START)));
        let engine = Arc::new(MemoryEngine::new());
        let ledger = TestLedger::new("tally.test/log", START);
        let parts = Parts {
            engine: Arc::clone(&engine) as Arc<dyn Engine>,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            receipt_signer: Arc::new(ledger.receipt_key.clone()),
            checkpoint_signer: Arc::new(ledger.checkpoint_key.clone()),
            fence: Box::new(TestFence::default()),
            genesis: GenesisSource::Create(ledger.genesis.clone()),
            gate: None,
        };
        let sequencer = match &setup.follower {
            Some(counting) => Sequencer::start_followed(setup.core, parts, CountingFollower::new(counting)),
            None => Sequencer::start(setup.core, parts),
        };
        let sequencer = sequencer.unwrap();
        let credentials = Arc::new(MemoryCredentials::default());
        let signer = RootSigner { root: ledger.root.clone(), next: AtomicU64::new(0), clock: Arc::clone(&clock) };
        let environment = setup.config.environment;
        let gateway = Gateway::new(GatewayParts {
            submitter: sequencer.submitter(),
            reader: sequencer.reader(),
            core_metrics: sequencer.metrics(),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            credentials: Arc::clone(&credentials) as Arc<dyn CredentialStore>,
            credential_key: CredentialKey::new(CREDENTIAL_KEY),
            control: setup.control.then(|| Arc::new(signer) as Arc<dyn ControlSigner>),
            plugins: setup.plugins,
            market: setup.market,
            anchors: setup.anchors,
            effects: setup.effects,
            config: setup.config,
        })
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tally_gateway::serve(listener, setup.tls, Arc::clone(&gateway), async {
            let _ = stopped.await;
        });
        let this = Self {
            address,
            clock,
            engine,
            ledger,
            tenants: [TestTenant::operator_managed(1), TestTenant::operator_managed(2)],
            credentials,
            gateway,
            // A connection a request: one that the server is closing, behind a body that it refused, is never used again.
            http: Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap(),
            environment,
            next_event: AtomicU64::new(1),
            stop: Mutex::new(Some(stop)),
            served: Mutex::new(Some(tokio::spawn(serving))),
            sequencer: Some(sequencer),
        };
        this.populate().await;
        this
    }

    /// A second gateway over the same log, which knows nothing of the first.
    pub fn another_gateway(&self, market: Option<Market>, plugins: Arc<dyn PluginPort>) -> Arc<Gateway> {
        let sequencer = self.sequencer.as_ref().unwrap();
        Gateway::new(GatewayParts {
            submitter: sequencer.submitter(),
            reader: sequencer.reader(),
            core_metrics: sequencer.metrics(),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            credentials: Arc::clone(&self.credentials) as Arc<dyn CredentialStore>,
            credential_key: CredentialKey::new(CREDENTIAL_KEY),
            control: None,
            plugins: Some(plugins),
            anchors: None,
            effects: None,
            market,
            config: Setup::new().config,
        })
        .unwrap()
    }

    /// Both tenants, each with agents 1 and 2.
    async fn populate(&self) {
        for tenant in &self.tenants {
            self.accept(self.ledger.create(tenant, self.event_id(), START)).await;
            for agent in [1, 2] {
                self.accept(tenant.register(&tenant.agent(agent), self.event_id(), START)).await;
            }
        }
    }

    /// Past the gateway, straight into the core.
    pub async fn accept(&self, frame: Frame) {
        let submitter = self.sequencer.as_ref().unwrap().submitter();
        let results = submitter.submit(Lane(0), vec![frame]).unwrap().await.unwrap().into_results();
        assert!(matches!(results[0], EventResult::Accepted(_)), "{results:?}");
    }

    pub fn event_id(&self) -> EventId {
        event_id(self.next_event.fetch_add(1, Ordering::SeqCst))
    }

    /// An event of an agent of a tenant in one of its stores.
    pub fn event_of(&self, tenant: &TestTenant, store: u64, agent: u64, payload: &str) -> Frame {
        let agent = tenant.agent(agent);
        agent
            .event(tenant.stream(store), self.event_id())
            .created_at(self.clock.wall())
            .payload(payload.as_bytes())
            .sign()
    }

    /// An event of agent 1 of tenant 1 in store 1.
    pub fn event(&self, payload: &str) -> Frame {
        self.event_of(&self.tenants[0], 1, 1, payload)
    }

    /// A new API key.
    pub fn key(&self, scope: Scope) -> String {
        self.key_with(scope, self.environment, |_| {})
    }

    pub fn key_with(&self, scope: Scope, environment: Environment, change: impl FnOnce(&mut Credential)) -> String {
        let key = ApiKey::generate(environment).unwrap();
        let under = CredentialKey::new(CREDENTIAL_KEY);
        let mut credential = Credential::new(&key, &under, scope, "test", self.clock.wall());
        change(&mut credential);
        self.credentials.put(&credential).unwrap();
        key.reveal()
    }

    pub fn operator(&self) -> String {
        self.key(Scope::operator())
    }

    /// A key of tenant 1 with some roles, for all stores and agents.
    pub fn tenant_key(&self, roles: &[Role]) -> String {
        self.key(scope(Some(self.tenants[0].id), None, None, roles))
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub async fn get(&self, key: &str, path: &str) -> Answer {
        self.send(Method::GET, key, path, None).await
    }

    pub async fn post(&self, key: &str, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, key, path, Some(body.to_string().into_bytes())).await
    }

    pub async fn post_bytes(&self, key: &str, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        self.send(Method::POST, key, path, Some(body.into())).await
    }

    pub async fn send(&self, method: Method, key: &str, path: &str, body: Option<Vec<u8>>) -> Answer {
        let name = method.to_string();
        let mut request = self.http.request(method, self.url(path));
        if !key.is_empty() {
            request = request.bearer_auth(key);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let answer = Answer::read(request.send().await.unwrap()).await;
        crate::schema::check_answer(&name, path, answer.status.as_u16(), &answer.json);
        answer
    }

    /// Frames in binary form.
    pub async fn submit(&self, key: &str, frames: &[Frame]) -> Answer {
        let body: Vec<u8> = frames.iter().flat_map(|frame| frame.bytes().to_vec()).collect();
        let request = self.http.post(self.url("/v1/events")).bearer_auth(key);
        let request = request.header("content-type", tally_api::submit::FRAMES).body(body);
        let answer = Answer::read(request.send().await.unwrap()).await;
        crate::schema::check_answer("POST", "/v1/events", answer.status.as_u16(), &answer.json);
        answer
    }

    /// One frame in, which must be taken; gives its index.
    pub async fn submit_ok(&self, key: &str, frame: &Frame) -> u64 {
        let answer = self.submit(key, std::slice::from_ref(frame)).await;
        assert_eq!(answer.json["results"][0]["status"], "accepted", "{answer:?}");
        answer.json["results"][0]["receipt"]["index"].as_u64().unwrap()
    }

    /// A raw connection.
    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends raw bytes and reads until the server closes.
    pub async fn raw(&self, bytes: &[u8]) -> String {
        let mut socket = self.connect().await;
        let _ = socket.write_all(bytes).await;
        read_to_close(&mut socket).await
    }

    /// Waits until the published checkpoint holds everything that is signed.
    pub async fn published(&self) {
        let reader = self.sequencer.as_ref().unwrap().reader();
        let mut ladder = reader.subscribe();
        ladder.wait_for(|ladder| ladder.published == ladder.signed).await.unwrap();
    }

    pub fn reader(&self) -> Reader {
        self.sequencer.as_ref().unwrap().reader()
    }

    /// Waits until everything that is signed is applied.
    pub async fn applied(&self) {
        let mut ladder = self.reader().subscribe();
        let caught_up = ladder.wait_for(|ladder| ladder.applied == ladder.signed);
        tokio::time::timeout(Duration::from_secs(20), caught_up).await.expect("events are applied").unwrap();
    }

    /// How many entries the core has ordered.
    pub fn gateway_size(&self) -> u64 {
        self.sequencer.as_ref().unwrap().reader().ladder().ordered.get()
    }

    /// Stops the door as a shutdown would.
    pub fn stop_serving(&self) -> JoinHandle<std::io::Result<()>> {
        drop(self.stop.lock().unwrap().take());
        self.served.lock().unwrap().take().unwrap()
    }
}

pub async fn read_to_close(socket: &mut TcpStream) -> String {
    let mut out = Vec::new();
    let read = async {
        let mut buffer = [0; 16384];
        while let Ok(n) = socket.read(&mut buffer).await {
            if n == 0 {
                break;
            }
            out.extend_from_slice(&buffer[..n]);
        }
    };
    tokio::time::timeout(Duration::from_secs(20), read).await.expect("the server closes the connection");
    String::from_utf8_lossy(&out).into_owned()
}

pub fn scope(tenant: Option<TenantId>, stores: Option<Vec<StoreId>>, agent: Option<AgentId>, roles: &[Role]) -> Scope {
    Scope { tenant, stores: stores.map(StoreIds), agent, roles: roles.to_vec() }
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub bytes: Vec<u8>,
    pub json: Value,
}

impl Answer {
    pub async fn read(response: Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await.unwrap().to_vec();
        let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Self { status, headers, bytes, json }
    }

    /// Asserts the one error shape, and gives the code.
    pub fn error(&self) -> &str {
        let error = &self.json["error"];
        assert!(!error["message"].as_str().unwrap().is_empty(), "{self:?}");
        let id = error["request_id"].as_str().unwrap();
        assert_eq!(self.headers["x-request-id"].to_str().unwrap(), id);
        assert!(error["numeric_code"].is_u64());
        error["code"].as_str().unwrap()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// The envelope of a frame as JSON.
pub fn envelope(frame: &Frame) -> Value {
    serde_json::to_value(EventEnvelope::from_frame(frame).unwrap()).unwrap()
}

/// A VES ingest request.
pub fn ingest(agent: AgentId, events: &[Value]) -> Value {
    serde_json::json!({ "agentId": agent.to_string(), "events": events })
}
