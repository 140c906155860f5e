//! `tally.toml`: what an operator states about a node.
//!
//! Every field must be there and unknown ones are errors, so that a file says what a node does, without knowing this
//! program. Relative paths are relative to the file. [`check`] then refuses what is unsafe in production, all findings
//! at once. The template that `tally init` writes is the reference: [`template`].

mod anchor;
pub mod check;
mod dev;
pub mod effects;
mod market;
mod quic;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tally_gateway::{Environment, GatewayConfig, Limits, Public};

use crate::exit::{Exit, Failure};
use crate::plugins::PluginBounds;

pub use anchor::{AnchorSection, WatchSection};
pub use dev::DevSections;
pub use effects::{ConnectorSection, EffectsSection};
pub use market::{MarketRolesSection, MarketSection};
pub use quic::{QuicClientsSection, QuicSection};

/// The whole file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Which log.
    pub ledger: LedgerSection,
    /// Where it is stored.
    pub data: DataSection,
    /// What signs.
    pub keys: KeysSection,
    /// Where it is served.
    pub listen: ListenSection,
    /// Where QUIC is served; left out: nowhere.
    pub quic: Option<QuicSection>,
    /// Who may see what without a credential.
    pub public: PublicSection,
    /// Bounds of the surface.
    pub limits: LimitsSection,
    /// Bounds and cadences of the pipeline.
    pub pipeline: PipelineSection,
    /// Whether plugins run, and what they may take; left out: they do, with the standard bounds.
    #[serde(default)]
    pub plugins: PluginsSection,
    /// What dispatching effects may take; left out: the standard bounds.
    #[serde(default)]
    pub effects: EffectsSection,
    /// Who does effects, by their kind; left out: nobody, and effects wait.
    #[serde(default)]
    pub connectors: BTreeMap<String, ConnectorSection>,
    /// The chains that are watched; left out: none.
    pub anchor: Option<AnchorSection>,
    /// The marketplace; left out: none.
    pub market: Option<MarketSection>,
}

/// `[ledger]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerSection {
    /// Origin of the checkpoints; the one that genesis holds.
    pub origin: String,
}

/// `[data]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSection {
    /// The database's folder.
    pub directory: PathBuf,
    /// The fence file, outside of it.
    pub fence: PathBuf,
}

/// `[keys]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysSection {
    /// Signs receipts' checkpoints and VES receipts.
    pub receipt: PathBuf,
    /// Signs published checkpoints.
    pub checkpoint: PathBuf,
    /// The secret under which API keys are hashed.
    pub credentials: PathBuf,
    /// The ledger's root agent; only on nodes that sign control events for operator-managed tenants.
    pub root: Option<PathBuf>,
}

/// `[listen]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenSection {
    /// Address and port.
    pub address: SocketAddr,
    /// Certificate and key; needed off the loopback.
    pub tls: Option<TlsSection>,
}

/// `[listen.tls]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSection {
    /// The certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// `[public]`: what is served without a credential, beyond `/health` and `/ready`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicSection {
    /// Checkpoints, hash tiles, proofs about them, the ledger's identity.
    pub log: bool,
    /// Entry bundles; they show tenants, volumes and signatures.
    pub entries: bool,
    /// `/metrics`.
    pub metrics: bool,
    /// The API's description.
    pub docs: bool,
}

/// `[limits]`; see [`tally_gateway::Limits`] for what each bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsSection {
    /// Open connections.
    pub connections_max: usize,
    /// Bytes of one request's body.
    pub body_bytes_max: usize,
    /// Bytes of all bodies together.
    pub bodies_bytes_max: usize,
    /// Seconds for a header to arrive.
    pub header_seconds_max: u64,
    /// Seconds for a body to arrive.
    pub body_seconds_max: u64,
    /// Seconds without a byte in either direction.
    pub idle_seconds_max: u64,
    /// Seconds a client may refuse to take bytes.
    pub write_seconds_max: u64,
    /// Reads at once.
    pub reads_max: usize,
    /// Live feeds at once.
    pub feeds_max: usize,
    /// Events of one page.
    pub page_events_max: usize,
    /// Bytes of one page.
    pub page_bytes_max: usize,
    /// Seconds between signs of life of a quiet feed.
    pub feed_heartbeat_seconds: u64,
    /// Streams of one HTTP/2 connection.
    pub http2_streams_max: u32,
    /// Seconds a request waits for its receipts before its outcome is called unknown.
    pub receipt_seconds_max: u64,
    /// Seconds a drain may take before the node ends anyway.
    pub drain_seconds_max: u64,
}

/// `[pipeline]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipelineSection {
    /// Threads that check signatures.
    pub verify_workers: usize,
    /// Signatures checked together.
    pub verify_batch_max: usize,
    /// Bytes of events in flight, over all callers.
    pub inflight_bytes_max: usize,
    /// Bytes of events in flight of one caller.
    pub inflight_bytes_per_caller_max: usize,
    /// Milliseconds between published checkpoints.
    pub publish_interval_ms: u64,
    /// Milliseconds between VES commitments.
    pub commit_interval_ms: u64,
    /// Events in one round of VES commitments.
    pub commit_events_max: usize,
    /// Events that derived indexes may lag behind.
    pub index_lag_events_max: u64,
}

/// `[plugins]`; each field may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PluginsSection {
    /// Whether this node runs plugins.
    pub enabled: bool,
    /// Queries that run at once.
    pub queries_max: u32,
    /// Compiled modules that are kept.
    pub programs_max: usize,
    /// Log lines that are kept in memory of a plugin in a store.
    pub log_lines_max: usize,
    /// Bytes of changed pages of state trees in memory, until they are written.
    pub state_page_bytes_max: usize,
}

impl Default for PluginsSection {
    fn default() -> Self {
        let PluginBounds { queries_max, programs_max, log_lines_max, state_page_bytes_max, .. } =
            PluginBounds::STANDARD;
        Self { enabled: true, queries_max, programs_max, log_lines_max, state_page_bytes_max }
    }
}

impl PluginsSection {
    /// The bounds; none if this node runs no plugins.
    #[must_use]
    pub fn bounds(&self) -> Option<PluginBounds> {
        let Self { enabled, queries_max, programs_max, log_lines_max, state_page_bytes_max } = *self;
        let bounds =
            PluginBounds { queries_max, programs_max, log_lines_max, state_page_bytes_max, ..PluginBounds::STANDARD };
        enabled.then_some(bounds)
    }
}

impl Config {
    /// Reads the file and resolves its paths. Nothing is checked yet but its form.
    ///
    /// # Errors
    /// The file cannot be read, a field is missing, unknown or of the wrong type.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::Usage } else { Exit::Failed };
            Failure::new(exit, format!("failed to read {}: {error}", path.display()))
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, folder)
            .map_err(|error| Failure::usage(format!("{} is refused: {}", path.display(), error.to_string().trim_end())))
    }

    fn parse(text: &str, folder: &Path) -> Result<Self, toml::de::Error> {
        let mut config: Self = toml::from_str(text)?;
        let tls = config.listen.tls.iter_mut().flat_map(|tls| [&mut tls.certificate, &mut tls.key]);
        let keys = [&mut config.keys.receipt, &mut config.keys.checkpoint, &mut config.keys.credentials];
        let data = [&mut config.data.directory, &mut config.data.fence];
        let clients = config.quic.iter_mut().flat_map(|quic| &mut quic.clients);
        let clients = clients.map(|clients| &mut clients.authorities);
        config.connectors.values_mut().for_each(|section| folder.clone_into(&mut section.folder));
        let connectors = config.connectors.values_mut().map(|section| &mut section.key);
        let market = config.market.iter_mut().map(|market| &mut market.signing_key);
        let keys = keys.into_iter().chain(config.keys.root.as_mut()).chain(connectors).chain(market);
        for path in data.into_iter().chain(keys).chain(tls).chain(clients) {
            *path = folder.join(&path);
        }
        Ok(config)
    }

    /// The pipeline's part, as the core takes it.
    #[must_use]
    pub fn pipeline(&self, adopt_fence: bool) -> tally_core::Config {
        let pipeline = &self.pipeline;
        tally_core::Config {
            verify_workers: pipeline.verify_workers,
            inflight_bytes_max: pipeline.inflight_bytes_max,
            inflight_bytes_per_lane_max: pipeline.inflight_bytes_per_caller_max,
            verify_batch_max: pipeline.verify_batch_max,
            publish_interval: Duration::from_millis(pipeline.publish_interval_ms),
            commit_interval: Duration::from_millis(pipeline.commit_interval_ms),
            commit_events_max: pipeline.commit_events_max,
            index_lag_events_max: pipeline.index_lag_events_max,
            adopt_fence,
        }
    }

    /// The gateway's part.
    #[must_use]
    pub fn gateway(&self) -> GatewayConfig {
        let (public, limits) = (&self.public, &self.limits);
        GatewayConfig {
            environment: Environment::Live,
            public: Public { log: public.log, entries: public.entries, metrics: public.metrics, docs: public.docs },
            limits: Limits {
                connections_max: limits.connections_max,
                body_bytes_max: limits.body_bytes_max,
                bodies_bytes_max: limits.bodies_bytes_max,
                header_timeout: Duration::from_secs(limits.header_seconds_max),
                body_timeout: Duration::from_secs(limits.body_seconds_max),
                idle_timeout: Duration::from_secs(limits.idle_seconds_max),
                write_timeout: Duration::from_secs(limits.write_seconds_max),
                reads_max: limits.reads_max,
                feeds_max: limits.feeds_max,
                page_events_max: limits.page_events_max,
                page_bytes_max: limits.page_bytes_max,
                feed_heartbeat: Duration::from_secs(limits.feed_heartbeat_seconds),
                http2_streams_max: limits.http2_streams_max,
                receipt_timeout: Duration::from_secs(limits.receipt_seconds_max),
                drain_timeout: Duration::from_secs(limits.drain_seconds_max),
            },
        }
    }
}

/// What a new file is made from.
#[derive(Debug, Clone)]
pub struct NewConfig<'a> {
    /// See [`LedgerSection::origin`].
    pub origin: &'a str,
    /// See [`DataSection::directory`].
    pub data: &'a Path,
    /// See [`DataSection::fence`].
    pub fence: &'a Path,
    /// Folder of the key files.
    pub keys: &'a Path,
    /// See [`ListenSection::address`].
    pub listen: SocketAddr,
}

/// A complete file with every field stated and explained.
#[must_use]
pub fn template(new: &NewConfig<'_>) -> String {
    let quoted = |path: &Path| toml::Value::from(path.to_string_lossy().into_owned()).to_string();
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    format!(
        "\
# A tally node. Every field is stated; unknown ones are errors. Relative paths are relative to this file.

[ledger]
# Name of the log, in each of its checkpoints. Fixed by genesis.
origin = {origin}

[data]
# The database. Group and others must not be able to write to it.
directory = {data}
# Says how far this log was signed; must lie outside the data, best on another disk: it is what keeps a restored
# backup or a copied directory from signing a second history.
fence = {fence}

[keys]
# Files of mode 0600, outside the data. One key per purpose.
receipt = {receipt}
checkpoint = {checkpoint}
# The secret under which API keys are hashed in the database.
credentials = {credentials}
# The ledger's root agent creates tenants. Remove the line where the root key is kept elsewhere.
root = {root}

[listen]
address = \"{listen}\"
# Needed unless the address is a loopback:
# tls = {{ certificate = \"tls/chain.pem\", key = \"tls/key.pem\" }}

{quic}
[public]
# What is served without a credential, beyond /health and /ready.
# Checkpoints, hash tiles and proofs about them: what witnesses and verifiers need.
log = true
# Entry bundles; they show tenants, volumes and signatures.
entries = false
metrics = false
docs = false

[limits]
connections_max = 1024
# 10 MiB in one body, 256 MiB in all of them.
body_bytes_max = 10485760
bodies_bytes_max = 268435456
header_seconds_max = 10
body_seconds_max = 30
idle_seconds_max = 75
write_seconds_max = 30
reads_max = 64
feeds_max = 128
page_events_max = 1000
page_bytes_max = 2097152
feed_heartbeat_seconds = 10
http2_streams_max = 64
receipt_seconds_max = 30
drain_seconds_max = 30

[pipeline]
# One per core is what pays.
verify_workers = {workers}
verify_batch_max = 2048
# 64 MiB in flight, half of it for one caller.
inflight_bytes_max = 67108864
inflight_bytes_per_caller_max = 33554432
publish_interval_ms = 1000
commit_interval_ms = 10000
commit_events_max = 65536
index_lag_events_max = 500000

[plugins]
# A node that runs none applies nothing: it has no outcomes, and takes no plugin events.
enabled = true
queries_max = 8
programs_max = 64
log_lines_max = 1000

# Who does what plugins ask of the world outside, by kind, and who signs the answers. Without a section effects of the
# kind wait. Bounds: a section [effects].
# [connectors.payment]
# agent = \"...\"
# key = \"...\"

# A marketplace below /market. The agent signs for callers with an API key; register its key in the tenant.
# [market]
# tenant = \"…\"
# store = \"…\"
# plugins = [\"catalog\", \"checkout\", \"royalty\"]
# agent = \"…\"
# signing_key = \"keys/market.key\"
# public = [\"skus\", \"sku\"]

# Chains that hold this log. The node only reads there; `tally anchor deploy` prints a section, and `tally anchor run`,
# a process of its own with the keys, makes the anchors.
# [anchor]
# chains_needed = 1
# level = \"finalized\"
",
        origin = toml::Value::from(new.origin),
        data = quoted(new.data),
        fence = quoted(new.fence),
        receipt = quoted(&new.keys.join("receipt.key")),
        checkpoint = quoted(&new.keys.join("checkpoint.key")),
        credentials = quoted(&new.keys.join("credentials.secret")),
        root = quoted(&new.keys.join("root.key")),
        listen = new.listen,
        quic = quic::template(new.listen),
    )
}

#[cfg(test)]
mod tests;
