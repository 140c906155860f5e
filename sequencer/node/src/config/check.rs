//! What a production node refuses to start with. Each rule has its reason; all findings are told at once.
//!
//! Takes a configuration that was read; gives the keys it names. Fails with every rule that is broken. Nothing is
//! created here: what does not exist yet is checked by who creates it.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tally_protocol::key::SigningKey;
use zeroize::Zeroizing;

use super::Config;
use crate::exit::Failure;
use crate::keyfile::{self, KeyFile, Purpose, SecretFile};

/// The keys of a node.
#[derive(Debug, Clone)]
pub struct NodeKeys {
    /// Signs receipts' checkpoints and VES receipts.
    pub receipt: SigningKey,
    /// Signs published checkpoints.
    pub checkpoint: SigningKey,
    /// The ledger's root agent, if this node holds it.
    pub root: Option<SigningKey>,
    /// Signs for callers of the marketplace, if this node serves one.
    pub market: Option<SigningKey>,
    /// The secret under which API keys are hashed.
    pub credentials: Zeroizing<[u8; 32]>,
    /// What signs connectors' answers, by kind.
    pub connectors: BTreeMap<String, SigningKey>,
}

/// Checks everything that can be known before a room opens, and reads the keys.
///
/// # Errors
/// One failure that lists every rule that is broken.
pub fn check(config: &Config) -> Result<NodeKeys, Failure> {
    let mut findings = Vec::new();
    check_places(config, &mut findings);
    check_listener(config, &mut findings);
    check_bounds(config, &mut findings);
    super::quic::check(config, &mut findings);
    let keys = check_keys(config, &mut findings);
    match keys {
        Some(keys) if findings.is_empty() => Ok(keys),
        _ => Err(Failure::usage(format!("the configuration is refused:\n  - {}", findings.join("\n  - ")))),
    }
}

fn check_places(config: &Config, findings: &mut Vec<String>) {
    let data = resolve(&config.data.directory);
    if resolve(&config.data.fence).starts_with(&data) {
        findings.push(
            "data.fence lies inside data.directory: a copied or restored directory would bring its own fence".into(),
        );
    }
    for (name, path) in key_paths(config) {
        if resolve(path).starts_with(&data) {
            findings.push(format!("{name} lies inside data.directory: a copy of the data would hold the key"));
        }
    }
    if let Ok(metadata) = std::fs::metadata(&config.data.directory)
        && metadata.mode() & 0o022 != 0
    {
        findings.push(format!("data.directory can be written by others (mode {:04o})", metadata.mode() & 0o7777));
    }
}

fn key_paths(config: &Config) -> Vec<(&'static str, &Path)> {
    let mut paths = vec![("keys.receipt", &*config.keys.receipt), ("keys.checkpoint", &*config.keys.checkpoint)];
    paths.push(("keys.credentials", &config.keys.credentials));
    paths.extend(config.keys.root.as_deref().map(|path| ("keys.root", path)));
    paths.extend(config.connectors.values().map(|section| ("a connector's key", &*section.key)));
    paths.extend(config.market.as_ref().map(|market| ("market.signing_key", &*market.signing_key)));
    paths.extend(config.listen.tls.as_ref().map(|tls| ("listen.tls.key", &*tls.key)));
    paths
}

/// The real path as far as it exists, so that `..` and links do not hide where a file lies.
fn resolve(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut missing = Vec::new();
    let mut known = absolute.as_path();
    loop {
        if let Ok(real) = known.canonicalize() {
            return missing.iter().rev().fold(real, |path: PathBuf, part| path.join(part));
        }
        match (known.parent(), known.file_name()) {
            (Some(parent), Some(name)) => {
                missing.push(name.to_owned());
                known = parent;
            }
            _ => return absolute,
        }
    }
}

fn check_listener(config: &Config, findings: &mut Vec<String>) {
    let listen = &config.listen;
    match &listen.tls {
        None if !listen.address.ip().is_loopback() => {
            findings.push(format!("listen.address {} is no loopback and has no listen.tls", listen.address));
        }
        None => {}
        Some(tls) => {
            if let Err(error) = std::fs::metadata(&tls.certificate) {
                findings.push(format!("listen.tls.certificate {}: {error}", tls.certificate.display()));
            }
            if let Err(failure) = keyfile::check_private_path(&tls.key) {
                findings.push(format!("listen.tls.key: {}", failure.message));
            }
        }
    }
}

fn check_bounds(config: &Config, findings: &mut Vec<String>) {
    let pipeline = &config.pipeline;
    let limits = &config.limits;
    let mut range = |name: &str, value: u64, low: u64, high: u64| {
        if !(low..=high).contains(&value) {
            findings.push(format!("{name} is {value}; it must be {low} to {high}"));
        }
    };
    // A caller must be able to send one full request: body and frames of it.
    let request = tally_protocol::limits::BODY_BYTES_MAX as u64;
    let inflight = pipeline.inflight_bytes_max as u64;
    range("pipeline.verify_workers", pipeline.verify_workers as u64, 1, 256);
    range("pipeline.verify_batch_max", pipeline.verify_batch_max as u64, 1, 65_536);
    range("pipeline.inflight_bytes_max", inflight, request, 16 << 30);
    let caller = pipeline.inflight_bytes_per_caller_max as u64;
    range("pipeline.inflight_bytes_per_caller_max", caller, request, inflight.max(request));
    range("pipeline.publish_interval_ms", pipeline.publish_interval_ms, 10, 3_600_000);
    range("pipeline.commit_interval_ms", pipeline.commit_interval_ms, 10, 86_400_000);
    range("pipeline.commit_events_max", pipeline.commit_events_max as u64, 1, 1 << 24);
    range("pipeline.index_lag_events_max", pipeline.index_lag_events_max, 1000, 1 << 32);
    range("limits.connections_max", limits.connections_max as u64, 1, 1 << 20);
    range("limits.body_bytes_max", limits.body_bytes_max as u64, 1 << 16, request);
    range("limits.bodies_bytes_max", limits.bodies_bytes_max as u64, limits.body_bytes_max as u64, 16 << 30);
    range("limits.header_seconds_max", limits.header_seconds_max, 1, 3600);
    range("limits.body_seconds_max", limits.body_seconds_max, 1, 3600);
    range("limits.idle_seconds_max", limits.idle_seconds_max, 3, 3600);
    range("limits.write_seconds_max", limits.write_seconds_max, 1, 3600);
    range("limits.reads_max", limits.reads_max as u64, 1, 65_536);
    range("limits.feeds_max", limits.feeds_max as u64, 1, 65_536);
    range("limits.page_events_max", limits.page_events_max as u64, 1, 10_000);
    range("limits.page_bytes_max", limits.page_bytes_max as u64, 1 << 16, 64 << 20);
    range("limits.feed_heartbeat_seconds", limits.feed_heartbeat_seconds, 1, limits.idle_seconds_max.max(1));
    range("limits.http2_streams_max", u64::from(limits.http2_streams_max), 1, 1024);
    range("limits.receipt_seconds_max", limits.receipt_seconds_max, 1, 3600);
    range("limits.drain_seconds_max", limits.drain_seconds_max, 1, 3600);
    let plugins = &config.plugins;
    range("plugins.queries_max", u64::from(plugins.queries_max), 1, 256);
    range("plugins.programs_max", plugins.programs_max as u64, 1, 4096);
    range("plugins.log_lines_max", plugins.log_lines_max as u64, 0, 100_000);
    range("plugins.state_page_bytes_max", plugins.state_page_bytes_max as u64, 1 << 20, 64 << 30);
    let effects = &config.effects;
    range("effects.in_flight_max", effects.in_flight_max as u64, 1, 1024);
    range("effects.held_max", effects.held_max as u64, 1, 1 << 20);
    range("effects.tries_max", u64::from(effects.tries_max), 1, 10_000);
    range("effects.backoff_first_ms", effects.backoff_first_ms, 1, 3_600_000);
    range("effects.backoff_max_ms", effects.backoff_max_ms, effects.backoff_first_ms, 86_400_000);
    range("effects.settle_ms", effects.settle_ms, 0, 3_600_000);
    range("effects.call_ms_max", effects.call_ms_max, 100, 600_000);
    check_connectors(config, findings);
    if config.ledger.origin.is_empty() || config.ledger.origin.contains(|c: char| c.is_whitespace() || c == '+') {
        findings.push("ledger.origin is empty or holds spaces or plus signs".into());
    }
}

fn check_connectors(config: &Config, findings: &mut Vec<String>) {
    if !config.plugins.enabled && !config.connectors.is_empty() {
        findings.push("connectors are configured, and plugins.enabled is false: nothing asks for effects".into());
    }
    // The words that a plugin's manifest may name as a kind; they are labels of measurements too.
    let letter = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-');
    for kind in config.connectors.keys().filter(|kind| kind.len() > 64 || !kind.bytes().all(letter)) {
        findings.push(format!("connectors.{kind} is no kind of effect: 1 to 64 of a-z, 0-9, _ . -"));
    }
}

fn check_keys(config: &Config, findings: &mut Vec<String>) -> Option<NodeKeys> {
    let credentials = SecretFile::load(&config.keys.credentials)
        .map_err(|failure| findings.push(format!("keys.credentials: {}", failure.message)))
        .ok()
        .filter(|file| is_for_production("keys.credentials", &config.keys.credentials, file.purpose, findings));
    let mut load = |name: &str, path: &Path| match KeyFile::load(path) {
        Ok(file) => is_for_production(name, path, file.purpose, findings).then_some(file.key),
        Err(failure) => {
            findings.push(format!("{name}: {}", failure.message));
            None
        }
    };
    let receipt = load("keys.receipt", &config.keys.receipt);
    let checkpoint = load("keys.checkpoint", &config.keys.checkpoint);
    let root = config.keys.root.as_deref().map(|path| load("keys.root", path));
    let connectors = config.connectors.iter();
    let connectors: Vec<_> = connectors
        .map(|(kind, section)| Some((kind.clone(), load(&format!("connectors.{kind}.key"), &section.key)?)))
        .collect();
    let market = config.market.as_ref().map(|market| load("market.signing_key", &market.signing_key));
    let keys = NodeKeys {
        receipt: receipt?,
        checkpoint: checkpoint?,
        root: root.map_or(Some(None), |key| key.map(Some))?,
        market: market.map_or(Some(None), |key| key.map(Some))?,
        credentials: credentials?.secret,
        connectors: connectors.into_iter().collect::<Option<_>>()?,
    };
    if let (Some(section), Some(key)) = (&config.market, &keys.market)
        && let Err(why) = section.market(key.clone(), None)
    {
        findings.push(why);
    }
    if config.market.is_some() && !config.plugins.enabled {
        findings.push("market is served by plugins, and plugins.enabled is false".into());
    }
    let all = [Some(&keys.receipt), Some(&keys.checkpoint), keys.root.as_ref(), keys.market.as_ref()];
    let mut public: Vec<_> =
        all.into_iter().flatten().chain(keys.connectors.values()).map(SigningKey::public_key).collect();
    public.sort_unstable();
    let count = public.len();
    public.dedup();
    if public.len() < count {
        findings.push("two of the keys are the same: a key has one purpose".into());
    }
    Some(keys)
}

fn is_for_production(name: &str, path: &Path, purpose: Purpose, findings: &mut Vec<String>) -> bool {
    if purpose == Purpose::Development {
        findings.push(format!("{name} {} was made for development; a production node makes its own", path.display()));
    }
    purpose == Purpose::Production
}
