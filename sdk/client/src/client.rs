//! The client's handle: what it is made of, and what it pins.

use std::sync::Arc;
use std::time::Duration;

use tally_protocol::hash::LedgerId;
use tally_protocol::id::{AgentId, KeyId, TenantId};
use tally_protocol::key::PublicKey;
use tally_verify::{Ledger, TrustRoot};
use tokio::sync::OnceCell;

use crate::agent::Agent;
use crate::error::ClientError;
use crate::keys::KeyBook;
use crate::retry::RetryPolicy;
use crate::transport::{ApiKey, Http, Request, TransportConfig};
use crate::watch::{SeenCheckpoint, Watch};

/// Whom to believe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Whatever ledger answers first, and from then on no other. Keep [`Client::ledger`]'s id for the next time.
    FirstUse,
    /// This ledger (and the keys its genesis names), or this key.
    Given(TrustRoot),
}

/// How events travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// As binary frames: half the bytes and no parsing.
    Frames,
    /// As JSON envelopes.
    Json,
}

/// A client of one ledger. Cheap to clone; clones share connections and what was seen.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) http: Http,
    pub(crate) wire: Wire,
    pub(crate) keys: KeyBook,
    pub(crate) watch: Watch,
    trust: Trust,
    seen: Option<String>,
    ledger: OnceCell<Arc<Ledger>>,
}

/// Makes a [`Client`].
#[derive(Debug, Clone)]
pub struct ClientBuilder {
    transport: TransportConfig,
    wire: Wire,
    trust: Trust,
    seen: Option<String>,
}

impl ClientBuilder {
    /// Calls with this API key.
    #[must_use]
    pub fn api_key(mut self, key: ApiKey) -> Self {
        self.transport.api_key = Some(key);
        self
    }

    /// Whom to believe; on first use by default.
    #[must_use]
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// The newest checkpoint note of an earlier run ([`Client::seen`]): the log must extend it.
    #[must_use]
    pub fn seen(mut self, note: impl Into<String>) -> Self {
        self.seen = Some(note.into());
        self
    }

    /// How events travel; as frames by default.
    #[must_use]
    pub const fn wire(mut self, wire: Wire) -> Self {
        self.wire = wire;
        self
    }

    /// Bounds of retrying; [`RetryPolicy::STANDARD`] by default.
    #[must_use]
    pub const fn retry(mut self, policy: RetryPolicy) -> Self {
        self.transport.retry = policy;
        self
    }

    /// How long one attempt may take, answer included; 30 s by default.
    #[must_use]
    pub const fn request_timeout(mut self, timeout: Duration) -> Self {
        self.transport.request_timeout = timeout;
        self
    }

    /// How long an open feed may be silent, heartbeats included, before the client connects anew; 90 s by default.
    #[must_use]
    pub const fn feed_idle_timeout(mut self, timeout: Duration) -> Self {
        self.transport.feed_idle_timeout = timeout;
        self
    }

    /// Believes only TLS certificates under these roots (PEM), instead of the platform's.
    #[must_use]
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.transport.root_certificates_pem.push(pem.into());
        self
    }

    /// Makes the client. Nothing is sent yet.
    ///
    /// # Errors
    /// The URL, key or certificates cannot be used.
    pub fn build(self) -> Result<Client, ClientError> {
        let http = Http::new(&self.transport)?;
        let shared = Shared {
            http,
            wire: self.wire,
            keys: KeyBook::default(),
            watch: Watch::default(),
            trust: self.trust,
            seen: self.seen,
            ledger: OnceCell::new(),
        };
        Ok(Client { shared: Arc::new(shared) })
    }
}

impl Client {
    /// A client with the standard settings: trust on first use, binary frames, eight attempts.
    ///
    /// # Errors
    /// The URL or key cannot be used.
    pub fn new(base_url: &str, api_key: &str) -> Result<Self, ClientError> {
        Self::builder(base_url).api_key(ApiKey::new(api_key)).build()
    }

    /// Starts a client of the server at this URL.
    #[must_use]
    pub fn builder(base_url: &str) -> ClientBuilder {
        ClientBuilder {
            transport: TransportConfig {
                base_url: base_url.to_owned(),
                api_key: None,
                request_timeout: Duration::from_secs(30),
                connect_timeout: Duration::from_secs(5),
                feed_idle_timeout: Duration::from_secs(90),
                root_certificates_pem: Vec::new(),
                retry: RetryPolicy::STANDARD,
            },
            wire: Wire::Frames,
            trust: Trust::FirstUse,
            seen: None,
        }
    }

    /// The ledger, pinned: fetched once, checked against what is trusted, and never exchanged afterwards.
    ///
    /// # Errors
    /// No answer; a genesis that is none; another ledger than the trusted one.
    pub async fn ledger(&self) -> Result<Arc<Ledger>, ClientError> {
        self.shared.ledger.get_or_try_init(|| self.pin()).await.cloned()
    }

    /// Tells the client an agent of its own, so that it need not ask the server for the agent's key.
    pub fn know_agent(&self, agent: &Agent) {
        self.know_key(agent.tenant(), agent.id(), agent.key_id(), agent.public_key());
    }

    /// Tells the client a key.
    pub fn know_key(&self, tenant: TenantId, agent: AgentId, key_id: KeyId, public_key: PublicKey) {
        self.shared.keys.know(tenant, agent, key_id, public_key);
    }

    /// The newest checkpoint this client has seen and checked. Keep its note for the next run
    /// ([`ClientBuilder::seen`]): that is what detects a fork or rollback between two runs.
    pub async fn seen(&self) -> Option<Arc<SeenCheckpoint>> {
        self.shared.watch.newest().await
    }

    /// Opens a checkpoint note of this ledger and joins it to all seen before.
    ///
    /// # Errors
    /// The signature does not hold, or the checkpoint does not fit those seen: [`ClientError::Fork`].
    pub async fn take_checkpoint(&self, note: &str) -> Result<Arc<SeenCheckpoint>, ClientError> {
        let ledger = self.ledger().await?;
        self.shared.watch.take(&self.shared.http, &ledger, note).await
    }

    async fn pin(&self) -> Result<Arc<Ledger>, ClientError> {
        const PATH: &str = "/v1/ledger";
        let told: tally_api::ledger::Ledger = self.shared.http.json(&Request::get(PATH)).await?;
        let ledger = Ledger::from_genesis(&told.genesis_entry)?;
        if told.ledger_id != ledger.id() {
            return Err(ClientError::malformed(PATH, "the ledger id is not that of the genesis entry"));
        }
        if let Trust::Given(root) = &self.shared.trust {
            other_ledger(root.ledger_id, &ledger)?;
            ledger.check_trust(root)?;
        }
        if let Some(note) = &self.shared.seen {
            self.shared
                .watch
                .start(SeenCheckpoint { checkpoint: ledger.open_checkpoint(note)?, note: note.clone() })
                .await;
        }
        Ok(Arc::new(ledger))
    }
}

fn other_ledger(trusted: Option<LedgerId>, ledger: &Ledger) -> Result<(), ClientError> {
    match trusted {
        Some(trusted) if trusted != ledger.id() => Err(ClientError::OtherLedger { trusted, found: ledger.id() }),
        _ => Ok(()),
    }
}
