//! `tally dev`: an embedded node for development on the loopback.
//!
//! Takes a folder; at the first start makes everything in it: keys (0600), ledger, a tenant with an agent, API keys,
//! and a profile that the other commands read. Gives a node that serves until a signal. Every step of the first start
//! may be the last of a process: the next start goes on where it ended. Fails if the address is no loopback, or if
//! another process has the folder or the fence.

mod certificate;
mod setup;

use std::net::SocketAddr;
use std::process::Stdio;

use serde::Serialize;
use tally_gateway::{Environment, GatewayConfig, Limits, Public, QuicConfig, QuicEndpoint, QuicLimits};

use tokio::runtime::Handle;

use crate::anchoring::WatchPlan;
use crate::anchoring::development::{self, DevAnchors, DevChain};
use crate::cli::DevArgs;
use crate::config::{AnchorSection, DevSections};
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::plugins::PluginBounds;
use crate::profile::{Profile, QuicDoor};
use crate::shutdown::Shutdown;
use crate::wire::{self, Plan, Rooms};
use crate::{commands, layout};

use certificate::Certificate;
use setup::{Doors, Keys, Made};

/// Runs the command.
///
/// # Errors
/// See the head of this file.
pub fn run(args: &DevArgs) -> Result<(), Failure> {
    if !args.listen.ip().is_loopback() {
        let what = format!("tally dev listens on the loopback only, not on {}", args.listen);
        return Err(Failure::usage(what).hint("tally serve runs a node for others"));
    }
    commands::runtime()?.block_on(serve(args))
}

async fn serve(args: &DevArgs) -> Result<(), Failure> {
    let shutdown = Shutdown::on_signals()?;
    let listener = wire::bind(args.listen).await?;
    let address = listener.local_addr().map_err(|error| Failure::failed(format!("failed to listen: {error}")))?;
    let keys = Keys::load_or_create(&args.data)?;
    let (quic, door) = open_quic(args, address)?;
    let doors = Doors { url: format!("http://{address}"), quic: door };
    let taken = args.clone();
    let opened = tokio::task::spawn_blocking(move || open(&taken, &keys, &doors)).await;
    let (mut rooms, made) = opened.map_err(|error| Failure::failed(format!("opening failed: {error}")))??;
    let chain = if args.chain { Some(Chain::start(args, &mut rooms, &made.profile).await?) } else { None };
    announce(args, &rooms, &made, chain.as_ref())?;
    let served = rooms.serve(listener, None, Some(quic), shutdown.asked()).await;
    drop(chain);
    served
}

/// A development chain, and the worker that anchors on it. Both end with this.
struct Chain {
    worker: std::process::Child,
    chain: DevChain,
    anchors: DevAnchors,
}

impl Drop for Chain {
    fn drop(&mut self) {
        let _ = self.worker.kill();
        let _ = self.worker.wait();
    }
}

impl Chain {
    async fn start(args: &DevArgs, rooms: &mut Rooms, profile: &Profile) -> Result<Self, Failure> {
        let binary =
            std::env::current_exe().map_err(|error| Failure::failed(format!("failed to find itself: {error}")))?;
        let (folder, url, ledger) = (layout::dev_chain(&args.data), profile.url.clone(), profile.ledger_id);
        let started = tokio::task::spawn_blocking(move || {
            let chain = DevChain::start(&folder)?;
            let anchors = chain.deploy(&binary, &url, ledger)?;
            let log = folder.join("worker.log");
            let log = std::fs::File::create(&log).map_err(|error| Failure::file("create", &log, &error))?;
            // It waits until this node serves.
            let worker = anchors.worker(&binary).stdout(Stdio::null()).stderr(log).spawn();
            let worker = worker.map_err(|error| Failure::failed(format!("failed to start the worker: {error}")))?;
            Ok(Self { worker, chain, anchors })
        });
        let started = started.await.map_err(|error| Failure::failed(format!("starting a chain failed: {error}")))?;
        let started: Self = started?;
        rooms.watch(started.anchors.watch.plan()?)?;
        Ok(started)
    }
}

/// QUIC on the port of HTTP, under the development certificate.
fn open_quic(args: &DevArgs, address: SocketAddr) -> Result<(QuicEndpoint, QuicDoor), Failure> {
    let certificate = Certificate::load_or_create(&args.data)?;
    let config = QuicConfig {
        certificate: certificate.pem.clone(),
        key: certificate.key.to_vec(),
        clients: None,
        limits: QuicLimits::standard(),
    };
    let bound = match wire::bind_quic(address, &config) {
        // Any free port will do, and the one that is free for TCP need not be for UDP.
        Err(failure) if args.listen.port() == 0 && failure.exit == Exit::InUse => wire::bind_quic(args.listen, &config),
        other => other,
    };
    let endpoint = bound?;
    let address = endpoint.local_addr().map_err(|error| Failure::failed(format!("failed to listen: {error}")))?;
    Ok((endpoint, QuicDoor { address, certificate_file: certificate.file }))
}

fn open(args: &DevArgs, keys: &Keys, doors: &Doors) -> Result<(Rooms, Made), Failure> {
    let data = args.data.as_path();
    let pipeline = tally_core::Config { adopt_fence: args.adopt_fence, ..tally_core::Config::development() };
    // Without a file nothing outside is pretended: what plugins ask for waits.
    let with = args.with.as_deref().map(DevSections::load).transpose()?.unwrap_or_default();
    let (connected, market) = with.parts()?;
    let plan = Plan {
        data: data.to_owned(),
        fence: layout::fence_beside(data),
        pipeline,
        receipt: keys.receipt.clone(),
        checkpoint: keys.checkpoint.clone(),
        root: Some(keys.root.clone()),
        credential_key: *keys.credentials,
        gateway: GatewayConfig {
            environment: Environment::Test,
            public: Public { log: true, entries: true, metrics: true, docs: true },
            limits: Limits::standard(),
        },
        plugins: (!args.no_plugins).then_some(PluginBounds::STANDARD),
        effects: (with.effects.bounds(), connected),
        anchors: watch_plan(args)?,
        market,
    };
    let rooms = Rooms::open(plan, Some(setup::genesis(keys)))?;
    let made = setup::complete(&rooms, keys, data, doors)?;
    Ok((rooms, made))
}

/// The chains of a file, and the runtime that asks them.
fn watch_plan(args: &DevArgs) -> Result<Option<(WatchPlan, Handle)>, Failure> {
    let Some(file) = &args.watch_chains else { return Ok(None) };
    let text = std::fs::read_to_string(file).map_err(|error| Failure::file("read", file, &error))?;
    let section: AnchorSection = toml::from_str(&text)
        .map_err(|error| Failure::usage(format!("{} is refused: {}", file.display(), error.to_string().trim_end())))?;
    Ok(Some((section.plan()?, Handle::current())))
}

/// What a script needs to talk to the node.
#[derive(Serialize)]
struct Ready<'a> {
    event: &'static str,
    url: &'a str,
    /// Address and UDP port of the QUIC door.
    quic: String,
    /// The certificate that it shows.
    quic_certificate_file: String,
    state: &'static str,
    why: Option<String>,
    /// Whether it runs plugins.
    plugins: bool,
    first_start: bool,
    size: u64,
    ledger_id: String,
    origin: &'a str,
    tenant_id: String,
    store_id: String,
    agent_id: String,
    key_id: u32,
    key_file: String,
    api_key_file: String,
    operator_api_key_file: String,
    profile: String,
    data: String,
    fence: String,
    /// The development chain, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    chain: Option<ReadyChain>,
}

/// The development chain, for scripts.
#[derive(Serialize)]
struct ReadyChain {
    rpc: String,
    chain_id: u64,
    contract: String,
    authority: String,
    config: String,
}

fn announce(args: &DevArgs, rooms: &Rooms, made: &Made, chain: Option<&Chain>) -> Result<(), Failure> {
    let reader = rooms.reader();
    let (state, why) = wire::describe(&reader.state());
    let profile = &made.profile;
    let (quic, quic_certificate_file) = match &profile.quic {
        Some(door) => (door.address.to_string(), door.certificate_file.display().to_string()),
        None => (String::new(), String::new()),
    };
    let ready = Ready {
        event: "ready",
        url: &profile.url,
        quic,
        quic_certificate_file,
        state,
        why: why.clone(),
        plugins: rooms.plugins.is_some(),
        first_start: made.first_start,
        size: reader.ladder().signed.get(),
        ledger_id: profile.ledger_id.to_hex(),
        origin: &profile.origin,
        tenant_id: profile.tenant_id.to_string(),
        store_id: profile.store_id.to_string(),
        agent_id: profile.agent_id.to_string(),
        key_id: profile.key_id.get(),
        key_file: profile.key_file.display().to_string(),
        api_key_file: profile.api_key_file.display().to_string(),
        operator_api_key_file: profile.operator_api_key_file.display().to_string(),
        profile: layout::dev_profile(&args.data).display().to_string(),
        data: args.data.display().to_string(),
        fence: layout::fence_beside(&args.data).display().to_string(),
        chain: chain.map(|chain| ReadyChain {
            rpc: chain.chain.rpc(),
            chain_id: development::CHAIN_ID,
            contract: chain.anchors.contract.clone(),
            authority: chain.anchors.authority.clone(),
            config: chain.anchors.config.display().to_string(),
        }),
    };
    let text = || describe(args, made, &ready, why.as_deref(), reader.ladder().signed.get());
    Output::new(args.json).result(&ready, text)
}

fn describe(args: &DevArgs, made: &Made, ready: &Ready<'_>, why: Option<&str>, size: u64) -> String {
    let state = ready.state;
    let Profile { ledger_id, origin, tenant_id, store_id, agent_id, key_id, .. } = &made.profile;
    let profile = &made.profile;
    let what = if made.first_start { "a new ledger" } else { "the ledger" };
    let secret = |key: &Option<zeroize::Zeroizing<String>>, path: &std::path::Path| match key {
        Some(key) => format!("{}  (shown once; kept in {})", key.as_str(), path.display()),
        None => format!("in {}", path.display()),
    };
    let mut lines = vec![
        format!("tally dev: {what} in {}, {size} entries", args.data.display()),
        format!("  ledger    {ledger_id}"),
        format!("  origin    {origin}"),
        format!("  tenant    {tenant_id}"),
        format!("  store     {store_id}"),
        format!("  agent     {agent_id}, key {key_id} in {}", profile.key_file.display()),
        format!("  API key   {}", secret(&made.api_key, &profile.api_key_file)),
        format!("  operator  {}", secret(&made.operator_api_key, &profile.operator_api_key_file)),
        format!("  fence     {}", layout::fence_beside(&args.data).display()),
    ];
    if let Some(door) = &profile.quic {
        lines.push(format!("  QUIC      {} (UDP), certificate {}", door.address, door.certificate_file.display()));
    }
    if let Some(ReadyChain { rpc, chain_id, contract, authority, config }) = &ready.chain {
        lines.push(format!("  chain     {chain_id} at {rpc}, contract {contract}"));
        lines.push(format!("            authority {authority}, worker by {config}"));
    }
    let url = &profile.url;
    lines.push(match why {
        None => format!("{state} on {url}"),
        Some(why) => format!("{state} on {url}: {why}"),
    });
    lines.join("\n")
}
