//! The doors, HTTP and QUIC: translate, limit, answer. No decision about the log is taken here.
//!
//! Takes requests over HTTP/1.1 and HTTP/2 (TLS optional), gives the VES v1 surface (`/api/v1`), the native surface
//! (`/v1`), the log as C2SP tlog-tiles (`/log`), health, metrics and OpenAPI. One table (`http`) names every route
//! with its rule, its parameters and its bodies; router, authorisation, metrics and OpenAPI are made from it.
//! QUIC ([`quic`]) carries what is fast: streams of submissions, proven receipts, the feed, as framed bytes.
//! Events go to the core through its [`Submitter`], questions through its [`Reader`].
//! What fails: every refusal has one shape and one table of statuses (`tally_api::error`); every queue, body, page,
//! connection and wait is bounded ([`limits`]).

pub mod anchors;
pub mod config;
pub mod control;
pub mod credential;
pub mod effects;
pub mod limits;
pub mod market;
pub mod plugins;
pub mod quic;
pub mod server;
pub mod tls;

mod auth;
mod card;
mod envelope;
mod error;
mod http;
mod io;
mod json;
mod metrics;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tally_core::{Clock, Metrics, Reader, Submitter};
use tally_verify::Ledger;
use tokio::sync::{Semaphore, watch};

pub use anchors::{AnchorPort, AnchorPortError, SeenHead};
pub use config::{GatewayConfig, Public};
pub use control::{ControlSignError, ControlSigner};
pub use credential::{
    ApiKey, Credential, CredentialError, CredentialKey, CredentialStore, Environment, MemoryCredentials, Permission,
    Scope,
};
pub use effects::{EffectAction, EffectPort, EffectPortError};
pub use http::{openapi, route_list, router};
pub use limits::Limits;
pub use market::{AgentSigner, FactEvent, Market, MarketRoles, WebhookPort, WebhookRefusal};
pub use plugins::{PluginPort, PluginPortError};
pub use quic::{ClientCertificates, QuicConfig, QuicEndpoint, QuicError, QuicLimits, serve_quic};
/// TLS of the HTTP door, as [`server_config`] makes it.
pub use rustls::ServerConfig as TlsConfig;
pub use server::serve;
pub use tls::{TlsError, server_config};

use auth::Door;
use limits::ByteBudget;
use metrics::GatewayMetrics;

/// What the gateway is made of. The node joins them.
pub struct GatewayParts {
    /// The core's write door.
    pub submitter: Submitter,
    /// The core's read door.
    pub reader: Reader,
    /// The core's counts.
    pub core_metrics: Arc<Metrics>,
    /// The node's clock.
    pub clock: Arc<dyn Clock>,
    /// Where API keys' hashes are kept.
    pub credentials: Arc<dyn CredentialStore>,
    /// The secret under which they are hashed.
    pub credential_key: CredentialKey,
    /// Who signs control events for REST calls; none if this node holds no root key.
    pub control: Option<Arc<dyn ControlSigner>>,
    /// Who runs plugins; none if this node runs none.
    pub plugins: Option<Arc<dyn PluginPort>>,
    /// Who watches the chains; none if this node watches none.
    pub anchors: Option<Arc<dyn AnchorPort>>,
    /// Who dispatches effects; none if this node runs no plugins.
    pub effects: Option<Arc<dyn EffectPort>>,
    /// The marketplace; none if this node serves none.
    pub market: Option<Market>,
    /// What the operator set.
    pub config: GatewayConfig,
}

/// Why there is no gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GatewayError {
    /// The operating system gave no random bytes.
    Random,
    /// The ledger's genesis entry names no usable keys.
    Genesis(String),
}

impl core::fmt::Display for GatewayError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Random => f.write_str("the operating system gave no random bytes"),
            Self::Genesis(why) => write!(f, "failed to read the genesis entry: {why}"),
        }
    }
}

impl core::error::Error for GatewayError {}

/// The state that all requests share.
pub struct Gateway {
    submitter: Submitter,
    reader: Reader,
    core_metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    credentials: Arc<dyn CredentialStore>,
    credential_key: CredentialKey,
    control: Option<Arc<dyn ControlSigner>>,
    plugins: Option<Arc<dyn PluginPort>>,
    anchors: Option<Arc<dyn AnchorPort>>,
    effects: Option<Arc<dyn EffectPort>>,
    market: Option<Arc<Market>>,
    config: GatewayConfig,
    metrics: Arc<GatewayMetrics>,
    bodies: Arc<ByteBudget>,
    reads: Arc<Semaphore>,
    /// The reads among them that run a guest's code.
    plugin_calls: Arc<Semaphore>,
    feeds: Arc<Semaphore>,
    connections: AtomicUsize,
    draining: watch::Sender<bool>,
    credentials_generation: AtomicU64,
    ledger: Ledger,
    request_prefix: u32,
    requests: AtomicU64,
}

impl Gateway {
    /// Joins the parts.
    ///
    /// # Errors
    /// See [`GatewayError`].
    pub fn new(parts: GatewayParts) -> Result<Arc<Self>, GatewayError> {
        let mut prefix = [0; 4];
        getrandom::fill(&mut prefix).map_err(|_| GatewayError::Random)?;
        let GatewayParts {
            submitter,
            reader,
            core_metrics,
            clock,
            credentials,
            credential_key,
            control,
            plugins,
            anchors,
            effects,
            market,
            config,
        } = parts;
        let ledger = Ledger::from_genesis(&reader.ledger().genesis_entry)
            .map_err(|error| GatewayError::Genesis(error.to_string()))?;
        Ok(Arc::new(Self {
            ledger,
            submitter,
            reader,
            core_metrics,
            clock,
            credentials,
            credential_key,
            control,
            plugins,
            anchors,
            effects,
            market: market.map(Arc::new),
            metrics: Arc::new(GatewayMetrics::new(http::ROUTES.len())),
            bodies: ByteBudget::new(config.limits.bodies_bytes_max),
            reads: Arc::new(Semaphore::new(config.limits.reads_max)),
            plugin_calls: Arc::new(Semaphore::new((config.limits.reads_max / 2).max(1))),
            feeds: Arc::new(Semaphore::new(config.limits.feeds_max)),
            config,
            connections: AtomicUsize::new(0),
            draining: watch::Sender::new(false),
            credentials_generation: AtomicU64::new(0),
            request_prefix: u32::from_be_bytes(prefix),
            requests: AtomicU64::new(0),
        }))
    }

    /// Tells live feeds to end. Requests in flight are finished by [`serve`].
    pub fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// A credential was revoked: sessions look theirs up again.
    pub(crate) fn credentials_changed(&self) {
        self.credentials_generation.fetch_add(1, Ordering::Release);
    }

    fn door(&self) -> Door<'_> {
        Door {
            config: &self.config,
            market: self.market.as_deref(),
            store: self.credentials.as_ref(),
            key: &self.credential_key,
            clock: self.clock.as_ref(),
        }
    }

    /// Unique in this process, and across restarts but for a chance of one in four thousand million.
    fn next_request_id(&self) -> String {
        format!("req_{:08x}{:012x}", self.request_prefix, self.requests.fetch_add(1, Ordering::Relaxed))
    }

    fn count_connection(&self, opened: bool) {
        let now = if opened {
            self.connections.fetch_add(1, Ordering::Relaxed) + 1
        } else {
            self.connections.fetch_sub(1, Ordering::Relaxed) - 1
        };
        self.metrics.connections.set(now as u64);
    }
}
