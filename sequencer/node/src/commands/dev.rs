//! `tally dev`: an embedded node for development on the loopback.
//!
//! Takes a folder; at the first start makes everything in it: keys (0600), ledger, a tenant with an agent, API keys,
//! and a profile that the other commands read. Gives a node that serves until a signal. Every step of the first start
//! may be the last of a process: the next start goes on where it ended. Fails if the address is no loopback, or if
//! another process has the folder or the fence.

mod certificate;
mod setup;

use std::net::SocketAddr;

use serde::Serialize;
use tally_gateway::{Environment, GatewayConfig, Limits, Public, QuicConfig, QuicEndpoint, QuicLimits};

use crate::cli::DevArgs;
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
    let plan_args = (args.data.clone(), args.adopt_fence);
    let opened = tokio::task::spawn_blocking(move || open(&plan_args.0, &keys, plan_args.1, &doors)).await;
    let (rooms, made) = opened.map_err(|error| Failure::failed(format!("opening failed: {error}")))??;
    announce(args, &rooms, &made)?;
    rooms.serve(listener, None, Some(quic), shutdown.asked()).await
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

fn open(data: &std::path::Path, keys: &Keys, adopt_fence: bool, doors: &Doors) -> Result<(Rooms, Made), Failure> {
    let pipeline = tally_core::Config { adopt_fence, ..tally_core::Config::development() };
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
        plugins: Some(PluginBounds::STANDARD),
    };
    let rooms = Rooms::open(plan, Some(setup::genesis(keys)))?;
    let made = setup::complete(&rooms, keys, data, doors)?;
    Ok((rooms, made))
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
}

fn announce(args: &DevArgs, rooms: &Rooms, made: &Made) -> Result<(), Failure> {
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
    };
    let text = || describe(args, made, state, why.as_deref(), reader.ladder().signed.get());
    Output::new(args.json).result(&ready, text)
}

fn describe(args: &DevArgs, made: &Made, state: &str, why: Option<&str>, size: u64) -> String {
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
    let url = &profile.url;
    lines.push(match why {
        None => format!("{state} on {url}"),
        Some(why) => format!("{state} on {url}: {why}"),
    });
    lines.join("\n")
}
