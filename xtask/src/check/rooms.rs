//! One room per outside dependency (law 12): which crate may declare it, and which files may name it.
//!
//! Takes every Cargo.toml and every source; normal dependencies count. A dependency without a row is a finding, so
//! that a new one comes with its room; so is one that is declared and never named.

use super::Finding;
use crate::manifest::Kind;
use crate::source::has_word;
use crate::tree::{Package, Tree};

/// A dependency, the crates that may declare it, and, where the room is smaller than the crate, the files that may
/// name it (prefixes; empty: every file of those crates).
struct Room {
    dependency: &'static str,
    crates: &'static [&'static str],
    files: &'static [&'static str],
}

const fn room(dependency: &'static str, crates: &'static [&'static str], files: &'static [&'static str]) -> Room {
    Room { dependency, crates, files }
}

const GATEWAY: &[&str] = &["tally-gateway"];
const PROTOCOL: &[&str] = &["tally-protocol"];

/// The protocol, and the host in memory that stands in for a node in the tests of plugins.
const BYTES: &[&str] = &["tally-protocol", "tally-plugin"];
const GUEST_CRYPTO: &str = "sdk/plugin/src/test_host/crypto.rs";

const JSON: &[&str] = &[
    "tally-api",
    "tally-gateway",
    "tally-client",
    "tally-verify",
    "tally-plugin-author",
    "tally",
    "tally-bench",
    "tally-fuzz",
    "tally-crash",
];

const ROOMS: &[Room] = &[
    // the bytes
    room("ed25519-zebra", BYTES, &["sdk/protocol/src/key", GUEST_CRYPTO]),
    room("curve25519-dalek", PROTOCOL, &["sdk/protocol/src/key"]),
    room("rand_core", &["tally-protocol", "tally-verify", "tally-core", "tally", "tally-testkit", "tally-bench"], &[]),
    room("sha2", BYTES, &["sdk/protocol/src/hash", GUEST_CRYPTO]),
    room("archmage", PROTOCOL, &["sdk/protocol/src/hash/lanes", "sdk/protocol/src/jcs/text"]),
    room("blake3", BYTES, &["sdk/protocol/src/hash.rs", GUEST_CRYPTO]),
    room("ryu-js", PROTOCOL, &["sdk/protocol/src/jcs"]),
    room(
        "crc32c",
        &["tally-protocol", "tally-merkle", "tally-storage"],
        &["sdk/protocol/src/run", "sdk/merkle/src/sparse/page", "storage/src/wal"],
    ),
    room("subtle", PROTOCOL, &["sdk/protocol/src/key"]),
    room("zeroize", &["tally-protocol", "tally"], &[]),
    room(
        "base64",
        &["tally-protocol", "tally-api", "tally-gateway", "tally-client", "tally-verify", "tally-bench"],
        &[],
    ),
    // the disk
    room("rocksdb", &["tally-storage"], &["storage/src/engine.rs"]),
    // threads and readers
    room("crossbeam-channel", &["tally-core"], &[]),
    room("foldhash", &["tally-core"], &["sequencer/core/src/fast_hash.rs"]),
    room("arc-swap", &["tally-core", "tally-gateway"], &[]),
    room("getrandom", &["tally-core", "tally-gateway", "tally-client", "tally", "tally-bench"], &[]),
    room("tokio", &["tally-core", "tally-gateway", "tally-client", "tally", "tally-bench", "tally-crash"], &[]),
    // guests
    room("wasmtime", &["tally-plugin-host"], &["plugins/host/src/engine.rs"]),
    room(
        "wasmparser",
        &["tally-plugin-host"],
        &[
            "plugins/host/src/validate.rs",
            "plugins/host/src/instrument.rs",
            "plugins/host/src/gas.rs",
            "plugins/host/src/report.rs",
        ],
    ),
    room("wasm-encoder", &["tally-plugin-host"], &["plugins/host/src/instrument.rs"]),
    // the network
    room("axum", GATEWAY, &[]),
    room("hyper", GATEWAY, &[]),
    room("hyper-util", GATEWAY, &[]),
    room("http-body-util", GATEWAY, &[]),
    room("tower", GATEWAY, &[]),
    room("rustls", &["tally-gateway", "tally-client", "tally-bench"], &[]),
    room("tokio-rustls", GATEWAY, &[]),
    room(
        "quinn",
        &["tally-gateway", "tally-client", "tally-bench"],
        &["sequencer/gateway/src/quic", "sdk/client/src/quic", "bench/src/quic.rs"],
    ),
    room("socket2", &["tally-gateway", "tally-client"], &["sequencer/gateway/src/quic", "sdk/client/src/quic"]),
    room("rustls-platform-verifier", &["tally-client"], &["sdk/client/src/tls.rs"]),
    room("reqwest", &["tally-client"], &[]),
    // the binary and its measurements
    room("clap", &["tally", "tally-bench"], &[]),
    room("clap_complete", &["tally"], &[]),
    room("indicatif", &["tally"], &[]),
    room("toml", &["tally"], &[]),
    room("rustix", &["tally"], &[]),
    room("rcgen", &["tally"], &["sequencer/node/src/commands/dev", "sequencer/gateway/tests", "sdk/client/tests"]),
    room("tracing-subscriber", &["tally"], &["sequencer/node/src/telemetry"]),
    room("tracing", &["tally-gateway", "tally-client", "tally"], &[]),
    // shapes, errors and cheap bytes: everywhere above the floor that needs them
    room("serde", &["tally-api", "tally-gateway", "tally-client", "tally-verify", "tally-plugin-author", "tally"], &[]),
    room("serde_json", JSON, &[]),
    room("bytes", &["*"], &[]),
    room("thiserror", &["*"], &[]),
    // the sides
    room("proptest", &["tally-testkit"], &[]),
    room("tempfile", &[], &[]),
    room(
        "wasmi",
        &["tally-plugin-check", "tally-plugin-author"],
        &["plugins/author/src/interpreter.rs", "plugins/host/tests", "sdk/plugin/check"],
    ),
    // tests only: no crate may declare these as a normal dependency
    room("rs_merkle", &[], &["sdk/merkle/"]),
    room("wat", &[], &["plugins/host/tests", "plugins/author/tests"]),
    room("wasm-smith", &[], &["plugins/host/tests"]),
    room("arbitrary", &[], &["plugins/host/tests"]),
    room("criterion", &[], &["bench/benches"]),
    room("signed_note", &[], &[]),
    room("tlog_tiles", &[], &[]),
];

/// Every dependency outside its room.
#[must_use]
pub fn check(tree: &Tree) -> Vec<Finding> {
    let packages = tree.packages();
    let mut findings: Vec<Finding> = packages.iter().flat_map(|package| declared(tree, package)).collect();
    findings.extend(named(tree));
    findings
}

fn is_inside(name: &str) -> bool {
    name == "tally" || name.starts_with("tally-") || name == "xtask"
}

fn declared(tree: &Tree, package: &Package) -> Vec<Finding> {
    let file = format!("{}/Cargo.toml", package.folder);
    let mut findings = Vec::new();
    for dependency in &package.manifest.dependencies {
        let (name, line) = (dependency.name.as_str(), dependency.line);
        if !is_inside(name) {
            let Some(room) = ROOMS.iter().find(|room| room.dependency == name) else {
                findings.push(Finding::new(
                    &file,
                    line,
                    format!("{name} has no room; give it a row in check/rooms.rs"),
                ));
                continue;
            };
            let here = room.crates.contains(&"*") || room.crates.contains(&package.manifest.name.as_str());
            if dependency.kind == Kind::Normal && !here {
                findings.push(Finding::new(&file, line, format!("{name} lives in {}", place(room))));
            }
        }
        if dependency.kind == Kind::Normal && !is_used(tree, package, name) {
            findings.push(Finding::new(&file, line, format!("{name} is declared and never named")));
        }
    }
    findings
}

fn place(room: &Room) -> String {
    if room.crates.is_empty() { "tests only".to_owned() } else { room.crates.join(", ") }
}

fn is_used(tree: &Tree, package: &Package, dependency: &str) -> bool {
    let prefix = format!("{}/", package.folder);
    let word = dependency.replace('-', "_");
    tree.texts()
        .filter(|(name, _)| name.starts_with(&prefix) && name.ends_with(".rs"))
        .any(|(_, text)| has_word(text, &word))
}

/// Files that name a dependency whose room is smaller than its crate.
fn named(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, source) in tree.sources() {
        for room in ROOMS.iter().filter(|room| !room.files.is_empty()) {
            if room.files.iter().any(|prefix| file.starts_with(prefix)) {
                continue;
            }
            let word = format!("{}::", room.dependency.replace('-', "_"));
            for (line, _) in source.production().filter(|(_, line)| has_path(line, &word)) {
                let text = format!("{} is named only in {}", room.dependency, room.files.join(", "));
                findings.push(Finding::new(file, line, text));
            }
        }
    }
    findings
}

/// Whether `word::` starts a path here: no other segment stands before it.
fn has_path(line: &str, word: &str) -> bool {
    line.match_indices(word)
        .any(|(at, _)| !line[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':'))
}
