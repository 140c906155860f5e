//! The only place where rooms meet. Opens them in floor order (fence and storage, core, gateway) and closes them in
//! reverse: the door first, then the pipeline, then the database.
//!
//! Takes a [`Plan`] in which everything is decided; gives a running node. A failure opens nothing that stays open.
//! A log that may not be extended opens all the same, read-only, and says what is missing.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tally_core::{
    ApplyState, Clock, Fence, FenceError, FileFence, GenesisSource, NodeState, Parts, Reader, Sequencer, StartError,
    SystemClock,
};
use tally_gateway::{
    ControlSigner, CredentialKey, CredentialStore, EffectPort, Gateway, GatewayConfig, GatewayParts, Market,
    PluginPort, QuicConfig, QuicEndpoint, QuicError,
};
use tally_protocol::entry::Genesis;
use tally_protocol::key::SigningKey;
use tally_storage::{CredentialStore as Records, Engine, MetaStore, RocksConfig, StorageError, open_rocks};
use tokio::net::TcpListener;
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::adapters::control::RootSigner;
use crate::adapters::credentials::StoredCredentials;
use crate::anchoring::{self, ChainFence, Port as AnchorsPort, WatchPlan, WatchedChain, Watching};
use crate::effects::{self, Connected, Dispatcher};
use crate::exit::{Exit, Failure};
use crate::layout;
use crate::plugins::{NoPlugins, PluginBounds, Plugins};

/// How long the pipeline may take to finish what it holds, after the door is closed.
const PIPELINE_DRAIN_MAX: Duration = Duration::from_secs(20);

/// Everything that is decided before a room opens.
pub struct Plan {
    /// The data directory.
    pub data: PathBuf,
    /// The fence file, outside of it.
    pub fence: PathBuf,
    /// The pipeline's bounds.
    pub pipeline: tally_core::Config,
    /// Signs receipts' checkpoints and VES receipts.
    pub receipt: SigningKey,
    /// Signs published checkpoints.
    pub checkpoint: SigningKey,
    /// The ledger's root agent, if this node holds it.
    pub root: Option<SigningKey>,
    /// The secret under which API keys are hashed.
    pub credential_key: [u8; 32],
    /// The door.
    pub gateway: GatewayConfig,
    /// What plugins may take; none if this node runs none.
    pub plugins: Option<PluginBounds>,
    /// Who does effects, and what dispatching may take.
    pub effects: (effects::Bounds, Vec<Connected>),
    /// The chains to watch, and the runtime that asks them at the start; none if this node watches none.
    pub anchors: Option<(WatchPlan, tokio::runtime::Handle)>,
    /// The marketplace; none if this node serves none.
    pub market: Option<Market>,
}

/// The rooms below the door: storage, core, adapters.
pub struct Rooms {
    // Declared in the order in which they close.
    sequencer: Sequencer,
    engine: Arc<dyn Engine>,
    /// API keys.
    pub credentials: Arc<dyn CredentialStore>,
    /// The secret under which they are hashed.
    pub credential_key: CredentialKey,
    /// Signs control events, if this node holds the root key.
    pub control: Option<Arc<dyn ControlSigner>>,
    /// The node's clocks.
    pub clock: Arc<dyn Clock>,
    gateway: GatewayConfig,
    /// The marketplace, if this node serves one; whoever reads a payment provider's messages is put in before it serves.
    pub market: Option<Market>,
    /// The plugins, if this node runs any.
    pub plugins: Option<Arc<dyn PluginPort>>,
    /// Dispatches effects, if this node runs plugins.
    effects: Option<(Dispatcher, Arc<dyn EffectPort>)>,
    /// The watched chains, if there are any.
    anchors: Option<(Arc<Watching>, Vec<WatchedChain>)>,
}

impl Rooms {
    /// Opens fence and storage, then the core.
    ///
    /// `genesis` makes the ledger if the database holds none; without it there must be one.
    ///
    /// # Errors
    /// Another process holds data or fence (exit code 6), the log is damaged (3), keys are not the ledger's (2).
    pub fn open(
        plan: Plan,
        genesis: Option<impl FnOnce(&dyn Clock) -> Result<Genesis, Failure>>,
    ) -> Result<Self, Failure> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        create_folder(&plan.data)?;
        if let Some(folder) = plan.fence.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            create_folder(folder)?;
        }
        if let Some((anchors, runtime)) = &plan.anchors {
            let check = |chain: &WatchedChain| runtime.block_on(chain.check_identity()).map_err(Failure::usage);
            anchors.chains.iter().try_for_each(check)?;
        }
        // The fence first: whoever holds it is the one node that may sign, whatever directory it has.
        let file = FileFence::open(&plan.fence).map_err(|error| fence_failure(&error))?;
        let engine = open_rocks(&layout::database(&plan.data), &RocksConfig::STANDARD)
            .map_err(|error| storage_failure(&error))?;
        let stored = MetaStore::new(Arc::clone(&engine)).genesis().map_err(|error| storage_failure(&error))?;
        let ledger = stored.as_ref().and_then(|entry| Genesis::decode(entry).ok()).map(|genesis| genesis.ledger_id());
        let fence: Box<dyn Fence> = match &plan.anchors {
            Some((anchors, runtime)) => {
                let chains = anchors.chains.iter().map(|it| (it.name.clone(), Arc::clone(&it.chain))).collect();
                Box::new(ChainFence::new(file, ledger, chains, runtime.clone()))
            }
            None => Box::new(file),
        };
        let genesis = match genesis {
            Some(make) if stored.is_none() => GenesisSource::Create(make(clock.as_ref())?),
            _ => GenesisSource::Existing,
        };
        let parts = Parts {
            engine: Arc::clone(&engine),
            clock: Arc::clone(&clock),
            receipt_signer: Arc::new(plan.receipt),
            checkpoint_signer: Arc::new(plan.checkpoint),
            fence,
            genesis,
            // A node that runs no plugins could apply no event about them, nor could it later if it takes them unseen.
            gate: Some(Arc::new(NoPlugins)),
        };
        // The compiling process is this program.
        let compiler =
            || std::env::current_exe().map_err(|error| Failure::failed(format!("failed to find itself: {error}")));
        let plugins = plan.plugins.map(|bounds| Plugins::new(&engine, bounds, Some(compiler()?))).transpose()?;
        let (sequencer, plugins) = match plugins {
            Some(Plugins { follower, gate, port }) => {
                let parts = Parts { gate: Some(gate), ..parts };
                (Sequencer::start_followed(plan.pipeline, parts, follower), Some(port))
            }
            None => (Sequencer::start(plan.pipeline, parts), None),
        };
        let sequencer = sequencer.map_err(|error| start_failure(&error))?;
        if let Some((anchors, runtime)) = &plan.anchors
            && let Some(why) = runtime.block_on(anchoring::contradiction(&anchors.chains, &sequencer.reader()))
        {
            sequencer.stop_extending(&why);
        }
        let control = plan.root.map(|key| RootSigner::new(sequencer.reader(), Arc::clone(&clock), key)).transpose()?;
        let effects = plugins.is_some().then(|| {
            let (bounds, connected) = plan.effects;
            let (reader, submitter) = (sequencer.reader(), sequencer.submitter());
            let (engine, clock) = (Arc::clone(&engine), Arc::clone(&clock));
            Dispatcher::new(effects::Parts { engine, reader, submitter, clock, bounds, connected })
        });
        let effects = effects.transpose()?;
        let credentials = Arc::new(StoredCredentials::new(Records::new(Arc::clone(&engine))));
        let mut rooms = Self {
            sequencer,
            engine,
            credentials,
            credential_key: CredentialKey::new(plan.credential_key),
            control: control.map(|signer| Arc::new(signer) as Arc<dyn ControlSigner>),
            clock,
            gateway: plan.gateway,
            market: plan.market,
            plugins,
            effects,
            anchors: None,
        };
        if let Some((anchors, _)) = plan.anchors {
            rooms.watch(anchors)?;
        }
        Ok(rooms)
    }

    /// Watches these chains once the node serves.
    ///
    /// # Errors
    /// More chains are needed than there are.
    pub fn watch(&mut self, plan: WatchPlan) -> Result<(), Failure> {
        let (reader, mark) = (self.sequencer.reader(), self.sequencer.anchored());
        let watching = Watching::new(plan, reader, Arc::clone(&self.clock), mark);
        self.anchors = Some(watching.map_err(|error| Failure::usage(error.to_string()))?);
        Ok(())
    }

    /// The read door.
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.sequencer.reader()
    }

    /// The write door.
    #[must_use]
    pub fn submitter(&self) -> tally_core::Submitter {
        self.sequencer.submitter()
    }

    /// Serves until `shutdown` resolves, then closes every room.
    ///
    /// # Errors
    /// TLS files are wrong, the listener failed, or the pipeline did not drain.
    pub async fn serve(
        self,
        listener: TcpListener,
        tls: Option<(PathBuf, PathBuf)>,
        quic: Option<QuicEndpoint>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), Failure> {
        let tls = match tls {
            Some((certificate, key)) => {
                let (certificate, key) = read_tls(&certificate, &key)?;
                let config = tally_gateway::server_config(&certificate, &key);
                Some(config.map_err(|error| Failure::usage(error.to_string()))?)
            }
            None => None,
        };
        let (dispatcher, effects) = self.effects.unzip();
        let parts = GatewayParts {
            submitter: self.sequencer.submitter(),
            reader: self.sequencer.reader(),
            core_metrics: self.sequencer.metrics(),
            clock: Arc::clone(&self.clock),
            credentials: Arc::clone(&self.credentials),
            credential_key: self.credential_key,
            control: self.control,
            plugins: self.plugins,
            anchors: self.anchors.as_ref().map(|(watching, _)| Arc::new(AnchorsPort::new(Arc::clone(watching))) as _),
            effects,
            market: self.market,
            config: self.gateway,
        };
        if let Some(market) = &parts.market
            && let Err(why) = market.signer.key_id(&parts.reader, parts.clock.wall(), market.stream.tenant)
        {
            tracing::warn!(%why, agent = %market.signer.agent, "the marketplace's agent cannot sign yet");
        }
        let gateway = Gateway::new(parts).map_err(|error| Failure::failed(error.to_string()))?;
        let served = tokio::select! {
            served = serve_doors(listener, tls, quic, gateway, shutdown) => served,
            // Never end by themselves.
            () = watch_applying(&self.sequencer) => Ok(()),
            () = watch_chains(self.anchors) => Ok(()),
            () = dispatch_effects(dispatcher) => Ok(()),
        };
        let (sequencer, engine) = (self.sequencer, self.engine);
        let closed = tokio::task::spawn_blocking(move || close(sequencer, engine.as_ref())).await;
        served.map_err(|error| Failure::failed(format!("the listener failed: {error}")))?;
        closed.map_err(|error| Failure::failed(format!("closing failed: {error}")))?
    }

    /// Closes every room without having served.
    ///
    /// # Errors
    /// The pipeline did not drain.
    pub fn close(self) -> Result<(), Failure> {
        let Self { sequencer, engine, .. } = self;
        close(sequencer, engine.as_ref())
    }
}

/// Watches the chains for as long as the node serves.
async fn watch_chains(anchors: Option<(Arc<Watching>, Vec<WatchedChain>)>) {
    match anchors {
        Some((watching, chains)) => watching.run(chains).await,
        None => std::future::pending().await,
    }
}

/// Dispatches effects for as long as the node serves.
async fn dispatch_effects(dispatcher: Option<Dispatcher>) {
    match dispatcher {
        Some(dispatcher) => dispatcher.run().await,
        None => std::future::pending().await,
    }
}

/// How often it is looked whether applying has halted.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Says when applying halts and when it goes on, and lets it try again when somebody sends SIGUSR1.
async fn watch_applying(sequencer: &Sequencer) {
    let reader = sequencer.reader();
    let mut signal = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::user_defined1()).ok();
    let mut halted = false;
    loop {
        let asked = async {
            match &mut signal {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = asked => {
                tracing::info!("applying tries again if it has halted");
                sequencer.retry_apply();
            }
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        match reader.apply_state() {
            ApplyState::Halted { at, why } if !halted => {
                tracing::error!(%at, why, "applying has halted; the log goes on (SIGUSR1 lets it try again)");
                halted = true;
            }
            ApplyState::Following if halted => {
                tracing::info!("applying goes on");
                halted = false;
            }
            _ => {}
        }
    }
}

/// Both doors side by side. They close together: at the shutdown, or when HTTP fails.
async fn serve_doors(
    listener: TcpListener,
    tls: Option<Arc<tally_gateway::TlsConfig>>,
    quic: Option<QuicEndpoint>,
    gateway: Arc<Gateway>,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let (stop, stopped) = watch::channel(false);
    // An error would mean that the sender is gone; it lives until all of them are done.
    let wait = |mut stopped: watch::Receiver<bool>| async move {
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    let asked = async {
        tokio::select! {
            () = shutdown => {}
            () = wait(stopped.clone()) => {}
        }
        stop.send_replace(true);
    };
    let http = async {
        let served = tally_gateway::serve(listener, tls, Arc::clone(&gateway), wait(stopped.clone())).await;
        stop.send_replace(true);
        served
    };
    let quic = async {
        if let Some(endpoint) = quic {
            tally_gateway::serve_quic(endpoint, Arc::clone(&gateway), wait(stopped.clone())).await;
        }
    };
    let ((), served, ()) = tokio::join!(asked, http, quic);
    served
}

/// Binds the QUIC address, a UDP port. Port 0 takes a free one; [`QuicEndpoint::local_addr`] says which.
///
/// # Errors
/// The address is in use (exit code 6) or cannot be bound, or the certificates are none.
pub fn bind_quic(address: SocketAddr, config: &QuicConfig) -> Result<QuicEndpoint, Failure> {
    QuicEndpoint::bind(address, config).map_err(|error| match error {
        QuicError::Socket(error) => {
            let exit = if error.kind() == std::io::ErrorKind::AddrInUse { Exit::InUse } else { Exit::Failed };
            Failure::new(exit, format!("failed to listen on {address} for QUIC (UDP): {error}"))
        }
        other => Failure::usage(other.to_string()),
    })
}

/// Drains the pipeline, then flushes, so that the next start has nothing to replay.
fn close(sequencer: Sequencer, engine: &dyn Engine) -> Result<(), Failure> {
    let size = sequencer.reader().ladder().acknowledged;
    sequencer.drain(PIPELINE_DRAIN_MAX).map_err(|error| Failure::failed(error.to_string()))?;
    engine.flush().map_err(|error| storage_failure(&error))?;
    tracing::info!(%size, "closed");
    Ok(())
}

/// Binds the address. Port 0 takes a free one; [`TcpListener::local_addr`] says which.
///
/// # Errors
/// The address is in use (exit code 6) or cannot be bound.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let exit = if error.kind() == std::io::ErrorKind::AddrInUse { Exit::InUse } else { Exit::Failed };
        Failure::new(exit, format!("failed to listen on {address}: {error}"))
    })
}

/// The node's state in a word, and what is missing if it does not take events.
#[must_use]
pub fn describe(state: &NodeState) -> (&'static str, Option<String>) {
    match state {
        NodeState::Running => ("running", None),
        NodeState::ReadOnly(why) => ("read_only", Some(why.clone())),
        NodeState::Poisoned(why) => ("poisoned", Some(why.clone())),
        NodeState::Draining => ("draining", None),
    }
}

/// A folder that only its owner can enter; one that exists is left as it is.
fn create_folder(path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| Failure::file("create", path, &error))
}

/// Reads a certificate and its key.
///
/// # Errors
/// One of the files cannot be read.
pub fn read_tls(certificate: &Path, key: &Path) -> Result<(Vec<u8>, Zeroizing<Vec<u8>>), Failure> {
    let read = |path: &Path| std::fs::read(path).map_err(|error| Failure::file("read", path, &error));
    Ok((read(certificate)?, Zeroizing::new(read(key)?)))
}

/// What a storage error means for the process.
#[must_use]
pub fn storage_failure(error: &StorageError) -> Failure {
    let exit = match error {
        StorageError::InUse(_) => Exit::InUse,
        StorageError::Missing(_) => Exit::Usage,
        StorageError::Corrupt(_) | StorageError::BadValue { .. } | StorageError::WalDamaged { .. } => Exit::Invalid,
        _ => Exit::Failed,
    };
    let failure = Failure::new(exit, error.to_string());
    match error {
        StorageError::InUse(_) => failure.hint("one process serves one data directory; stop the other one first"),
        StorageError::NoSpace(_) => failure.hint("make room and start again; nothing acknowledged is lost"),
        _ => failure,
    }
}

/// What a fence error means for the process.
#[must_use]
pub fn fence_failure(error: &FenceError) -> Failure {
    let exit = match error {
        FenceError::Held(_) => Exit::InUse,
        FenceError::Damaged(_) => Exit::Invalid,
        FenceError::Io { .. } => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}

fn start_failure(error: &StartError) -> Failure {
    match error {
        StartError::Storage(error) => storage_failure(error),
        StartError::Fence(error) => fence_failure(error),
        StartError::NoLedger => Failure::usage(error.to_string()).hint("tally init --config FILE makes one"),
        StartError::OtherLedger { .. } | StartError::OtherKey { .. } => Failure::usage(error.to_string()),
        StartError::Damaged { .. } | StartError::Checkpoint { .. } => {
            Failure::invalid(error.to_string()).hint("tally fsck DIR says what is wrong; restore a good copy")
        }
        StartError::Signer(_) | StartError::Thread(_) => Failure::failed(error.to_string()),
    }
}
