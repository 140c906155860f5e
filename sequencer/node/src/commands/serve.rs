//! `tally serve`: a node from a configuration file.
//!
//! Takes `tally.toml`; checks all of it before a room opens, then serves until a signal and drains. Fails with every
//! setting that is unsafe, if another process has the data, or if there is no ledger yet (`tally init` makes one).

use std::net::SocketAddr;

use serde::Serialize;
use tally_core::Clock;
use tally_gateway::QuicEndpoint;
use tally_protocol::entry::Genesis;

use crate::cli::ServeArgs;
use crate::commands;
use crate::config::check::{NodeKeys, check};
use crate::config::{AnchorSection, Config};
use crate::effects;
use crate::exit::Failure;
use crate::output::Output;
use crate::shutdown::Shutdown;
use crate::wire::{self, Plan, Rooms};

/// Runs the command.
///
/// # Errors
/// See the head of this file.
pub fn run(args: &ServeArgs) -> Result<(), Failure> {
    let config = Config::load(&args.config)?;
    let keys = check(&config)?;
    if args.check {
        return Output::new(args.json)
            .result(&serde_json::json!({ "ok": true }), || "the configuration is good".to_owned());
    }
    commands::runtime()?.block_on(serve(args, config, keys))
}

/// Joins configuration and keys.
///
/// # Errors
/// The section about chains, or that about the marketplace, contradicts itself.
pub fn plan(config: &Config, keys: NodeKeys, adopt_fence: bool) -> Result<Plan, Failure> {
    let anchors = config.anchor.as_ref().map(AnchorSection::plan).transpose()?;
    let connected = effects::connected(&config.connectors, &keys.connectors)?;
    let webhook = effects::webhook_of(&config.connectors, &keys.connectors)?;
    let market = config.market.as_ref().zip(keys.market).map(|(section, key)| section.market(key, webhook));
    // Outside of a runtime there is nobody to ask: whoever only looks at the data needs no chain.
    let runtime = tokio::runtime::Handle::try_current().ok();
    Ok(Plan {
        data: config.data.directory.clone(),
        fence: config.data.fence.clone(),
        pipeline: config.pipeline(adopt_fence),
        receipt: keys.receipt,
        checkpoint: keys.checkpoint,
        root: keys.root,
        credential_key: *keys.credentials,
        gateway: config.gateway(),
        plugins: config.plugins.bounds(),
        effects: (config.effects.bounds(), connected),
        anchors: anchors.zip(runtime),
        market: market.transpose().map_err(Failure::usage)?,
    })
}

/// What a script learns when the node serves.
#[derive(Serialize)]
struct Ready {
    event: &'static str,
    url: String,
    /// Address and UDP port of the QUIC door, if there is one.
    quic: Option<SocketAddr>,
    state: &'static str,
    why: Option<String>,
    /// Whether it runs plugins.
    plugins: bool,
    size: u64,
    ledger_id: String,
    origin: String,
}

async fn serve(args: &ServeArgs, config: Config, keys: NodeKeys) -> Result<(), Failure> {
    let shutdown = Shutdown::on_signals()?;
    let listener = wire::bind(config.listen.address).await?;
    let address = listener.local_addr().map_err(|error| Failure::failed(format!("failed to listen: {error}")))?;
    let quic = match config.quic()? {
        Some((address, quic)) => Some(wire::bind_quic(address, &quic)?),
        None => None,
    };
    let quic_address = quic.as_ref().map(QuicEndpoint::local_addr).transpose();
    let quic_address = quic_address.map_err(|error| Failure::failed(format!("failed to listen: {error}")))?;
    let (plan, origin) = (plan(&config, keys, args.adopt_fence)?, config.ledger.origin.clone());
    let opened =
        tokio::task::spawn_blocking(move || Rooms::open(plan, None::<fn(&dyn Clock) -> Result<Genesis, Failure>>));
    let rooms = opened.await.map_err(|error| Failure::failed(format!("opening failed: {error}")))??;
    let ledger = rooms.reader().ledger().clone();
    if ledger.genesis.origin != origin {
        let what = format!("ledger.origin is {origin}, but genesis says {}", ledger.genesis.origin);
        return Err(Failure::usage(what));
    }
    let (state, why) = wire::describe(&rooms.reader().state());
    let scheme = if config.listen.tls.is_some() { "https" } else { "http" };
    let ready = Ready {
        event: "ready",
        url: format!("{scheme}://{address}"),
        quic: quic_address,
        state,
        why,
        plugins: rooms.plugins.is_some(),
        size: rooms.reader().ladder().signed.get(),
        ledger_id: ledger.ledger_id.to_hex(),
        origin,
    };
    match &ready.why {
        None => tracing::info!(url = ready.url, size = ready.size, ledger = ready.ledger_id, "serving"),
        Some(why) => tracing::error!(url = ready.url, size = ready.size, why, "serving, but not taking events"),
    }
    if !ready.plugins {
        tracing::info!("this node runs no plugins");
    }
    if args.json {
        Output::new(true).result(&ready, String::new)?;
    }
    let tls = config.listen.tls.map(|tls| (tls.certificate, tls.key));
    rooms.serve(listener, tls, quic, shutdown.asked()).await
}
