//! The client's handle: what it is made of, and what it pins.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tally_protocol::id::{AgentId, KeyId, TenantId};
use tally_protocol::key::PublicKey;
use tally_verify::{Ledger, TrustRoot};
use tokio::sync::Semaphore;

use crate::agent::Agent;
use crate::error::ClientError;
use crate::keys::KeyBook;
use crate::pin::Pin;
use crate::quic::{Door, DoorCounts, Pipeline, QuicConfig, QuicDoor};
use crate::retry::RetryPolicy;
use crate::tls::{Identity, TlsConfig};
use crate::transport::{ApiKey, Http, Request, TransportConfig};
use crate::watch::{Log, SeenCheckpoint, Watch};

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
    pub(crate) watch: Arc<Watch>,
    /// The same for the log of outcomes.
    pub(crate) outcomes: Watch,
    pub(crate) pin: Arc<Pin>,
    /// Where QUIC is used.
    pub(crate) door: Option<Arc<QuicDoor>>,
    /// What [`Client::submit`] goes through.
    pub(crate) pipeline: OnceLock<Pipeline>,
    pub(crate) fallback_lanes: Semaphore,
}

/// Requests at once, of submissions that could not go over QUIC.
const FALLBACK_LANES: usize = 4;

/// Makes a [`Client`].
#[derive(Debug, Clone)]
pub struct ClientBuilder {
    transport: TransportConfig,
    door: Door,
    quic_address: Option<String>,
    quic_timeout: Duration,
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
        self.transport.tls.roots_pem.push(pem.into());
        self
    }

    /// Believes this one TLS certificate (PEM) and no other. Over QUIC it is compared whole, whatever name and dates
    /// it has: for development, and for nodes reached by address.
    #[must_use]
    pub fn pinned_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.transport.tls.pinned_pem = Some(pem.into());
        self
    }

    /// Shows this certificate (chain and key, PEM) to a server that asks who calls.
    #[must_use]
    pub fn client_certificate(mut self, chain_pem: impl Into<Vec<u8>>, key_pem: impl Into<Vec<u8>>) -> Self {
        self.transport.tls.identity_pem = Some(Identity { chain_pem: chain_pem.into(), key_pem: key_pem.into() });
        self
    }

    /// Where the QUIC door is (`host:port`). Without this an `https://` URL is tried at its own host and port, and an
    /// `http://` URL has none.
    #[must_use]
    pub fn quic(mut self, address: impl Into<String>) -> Self {
        self.quic_address = Some(address.into());
        self
    }

    /// Which door to go through; [`Door::Either`] by default.
    #[must_use]
    pub const fn door(mut self, door: Door) -> Self {
        self.door = door;
        self
    }

    /// How long a QUIC connection may take to be welcomed before HTTP serves instead; 2 s by default.
    #[must_use]
    pub const fn quic_timeout(mut self, timeout: Duration) -> Self {
        self.quic_timeout = timeout;
        self
    }

    /// Makes the client. Nothing is sent yet.
    ///
    /// # Errors
    /// The URL, key, QUIC address or certificates cannot be used.
    pub fn build(self) -> Result<Client, ClientError> {
        let http = Http::new(&self.transport)?;
        let watch = Arc::new(Watch::default());
        let quic = self.quic_config()?;
        let pin = Arc::new(Pin::new(self.trust, self.seen, Arc::clone(&watch)));
        let door = match quic {
            Some(config) => Some(Arc::new(QuicDoor::new(config, Arc::clone(&pin))?)),
            None => None,
        };
        let shared = Shared {
            http,
            wire: self.wire,
            keys: KeyBook::default(),
            watch,
            outcomes: Watch::of(Log::Outcomes),
            pin,
            door,
            pipeline: OnceLock::new(),
            fallback_lanes: Semaphore::new(FALLBACK_LANES),
        };
        Ok(Client { shared: Arc::new(shared) })
    }

    fn quic_config(&self) -> Result<Option<QuicConfig>, ClientError> {
        let transport = &self.transport;
        let address = match (&self.door, &self.quic_address) {
            (Door::Http, _) => return Ok(None),
            (_, Some(address)) => address.clone(),
            (Door::Either, None) => match https_address(&transport.base_url) {
                Some(address) => address,
                None => return Ok(None),
            },
            (Door::Quic, None) => match https_address(&transport.base_url) {
                Some(address) => address,
                None => return Err(ClientError::Config("there is no QUIC address".to_owned())),
            },
        };
        crate::quic::check_address(&address)?;
        Ok(Some(QuicConfig {
            address,
            api_key: transport.api_key.clone(),
            tls: transport.tls.clone(),
            connect_timeout: self.quic_timeout,
            silence_max: transport.request_timeout,
            may_fall_back: self.door == Door::Either,
            fallback_is_secure: transport.base_url.starts_with("https://"),
        }))
    }
}

/// `host:port` of an `https://` URL.
fn https_address(url: &str) -> Option<String> {
    let authority = url.strip_prefix("https://")?.split(['/', '?', '#']).next()?;
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Some(if has_port { authority.to_owned() } else { format!("{authority}:443") })
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
                tls: TlsConfig::default(),
                retry: RetryPolicy::STANDARD,
            },
            door: Door::Either,
            quic_address: None,
            quic_timeout: Duration::from_secs(2),
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
        match self.shared.pin.get() {
            Some(ledger) => Ok(ledger),
            None => self.pin().await,
        }
    }

    /// How submissions travelled so far, and how QUIC connections fared; zeros where only HTTP is used.
    #[must_use]
    pub fn door_counts(&self) -> DoorCounts {
        self.shared.door.as_ref().map(|door| door.counters.read()).unwrap_or_default()
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
        let ledger = self.shared.pin.take(&told.genesis_entry).await?;
        if told.ledger_id != ledger.id() {
            return Err(ClientError::malformed(PATH, "the ledger id is not that of the genesis entry"));
        }
        Ok(ledger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_door_follows_from_url_and_address() {
        let quic = |builder: ClientBuilder| builder.quic_config().unwrap().map(|config| config.address);
        assert_eq!(quic(Client::builder("http://log.example:8080")), None);
        assert_eq!(
            quic(Client::builder("http://log.example:8080").quic("log.example:4433")).unwrap(),
            "log.example:4433"
        );
        assert_eq!(quic(Client::builder("https://log.example")).unwrap(), "log.example:443");
        assert_eq!(quic(Client::builder("https://log.example:8443/x")).unwrap(), "log.example:8443");
        assert_eq!(quic(Client::builder("https://[::1]")).unwrap(), "[::1]:443");
        assert_eq!(quic(Client::builder("https://log.example").door(Door::Http)), None);
        assert!(Client::builder("http://log.example").door(Door::Quic).quic_config().is_err());
        assert!(Client::builder("http://log.example").quic("log.example").quic_config().is_err());
    }
}
