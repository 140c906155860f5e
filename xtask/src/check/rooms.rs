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
const ANCHOR: &[&str] = &["tally-anchor"];

/// The protocol, and the host in memory that stands in for a node in the tests of plugins.
const BYTES: &[&str] = &["tally-protocol", "tally-plugin"];
const GUEST_CRYPTO: &str = "sdk/plugin/src/test_host/crypto.rs";

const JSON: &[&str] = &[
    "tally-api",
    "tally-gateway",
    "tally-client",
    "tally-verify",
    "tally-plugin-author",
    "tally-anchor",
    "tally-connectors",
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
    room("sha3", PROTOCOL, &["sdk/protocol/src/hash/keccak.rs", "anchor/tests/signers"]),
    room(
        "k256",
        &["tally-protocol", "tally-testkit", "tally-anchor"],
        &[
            "sdk/protocol/src/key/secp256k1.rs",
            "sdk/testkit/src/chain.rs",
            "anchor/src/signer/secp256k1",
            "anchor/tests",
        ],
    ),
    room("archmage", PROTOCOL, &["sdk/protocol/src/hash/lanes", "sdk/protocol/src/jcs/text"]),
    room("blake3", BYTES, &["sdk/protocol/src/hash.rs", "sdk/protocol/src/hash/lookup.rs", GUEST_CRYPTO]),
    room("ryu-js", PROTOCOL, &["sdk/protocol/src/jcs"]),
    room(
        "crc32c",
        &["tally-protocol", "tally-merkle", "tally-storage", "tally-anchor"],
        &["sdk/protocol/src/run", "sdk/merkle/src/sparse/page", "storage/src/wal", "anchor/src/ledger"],
    ),
    room("subtle", PROTOCOL, &["sdk/protocol/src/key"]),
    room("zeroize", &["tally-protocol", "tally-anchor", "tally-connectors", "tally"], &[]),
    room(
        "base64",
        &[
            "tally-protocol",
            "tally-api",
            "tally-gateway",
            "tally-client",
            "tally-verify",
            "tally-anchor",
            "tally-connectors",
            "tally-bench",
        ],
        &[],
    ),
    // the disk
    room("rocksdb", &["tally-storage"], &["storage/src/engine.rs"]),
    // threads and readers
    room("crossbeam-channel", &["tally-core"], &[]),
    room("foldhash", &["tally-core"], &["sequencer/core/src/fast_hash.rs"]),
    room("arc-swap", &["tally-core", "tally-gateway"], &[]),
    room("getrandom", &["tally-core", "tally-gateway", "tally-client", "tally", "tally-bench"], &[]),
    room(
        "tokio",
        &[
            "tally-core",
            "tally-gateway",
            "tally-client",
            "tally-anchor",
            "tally-connectors",
            "tally",
            "tally-bench",
            "tally-crash",
        ],
        &[],
    ),
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
    room("rustls", &["tally-gateway", "tally-client", "tally-anchor", "tally-connectors", "tally-bench"], &[]),
    room("tokio-rustls", GATEWAY, &[]),
    room(
        "quinn",
        &["tally-gateway", "tally-client", "tally-bench"],
        &["sequencer/gateway/src/quic", "sdk/client/src/quic", "bench/src/quic.rs"],
    ),
    room("socket2", &["tally-gateway", "tally-client"], &["sequencer/gateway/src/quic", "sdk/client/src/quic"]),
    room(
        "rustls-platform-verifier",
        &["tally-client", "tally-anchor"],
        &["sdk/client/src/tls.rs", "anchor/src/ethereum/rpc.rs"],
    ),
    room("reqwest", &["tally-client", "tally-anchor", "tally-connectors"], &[]),
    // chains, and the keys that sign for them
    room("cryptoki", ANCHOR, &["anchor/src/signer/pkcs11", "anchor/tests/signers"]),
    room("alloy-primitives", ANCHOR, &["anchor/src/ethereum"]),
    room("alloy-rlp", ANCHOR, &["anchor/src/ethereum"]),
    room("alloy-sol-types", ANCHOR, &["anchor/src/ethereum"]),
    // the binary and its measurements
    room("clap", &["tally", "tally-bench"], &[]),
    room("clap_complete", &["tally"], &[]),
    room("indicatif", &["tally"], &[]),
    room("toml", &["tally"], &[]),
    room("mimalloc", &["tally"], &["sequencer/node/src/main.rs"]),
    room("rustix", &["tally", "tally-anchor", "tally-connectors", "tally-storage"], &[]),
    room("rcgen", &["tally"], &["sequencer/node/src/commands/dev", "sequencer/gateway/tests", "sdk/client/tests"]),
    room("tracing-subscriber", &["tally"], &["sequencer/node/src/telemetry"]),
    room("tracing", &["tally-gateway", "tally-client", "tally-anchor", "tally-connectors", "tally"], &[]),
    // shapes, errors and cheap bytes: everywhere above the floor that needs them
    room(
        "serde",
        &[
            "tally-api",
            "tally-gateway",
            "tally-client",
            "tally-verify",
            "tally-plugin-author",
            "tally-anchor",
            "tally-connectors",
            "tally",
        ],
        &[],
    ),
    room("serde_json", JSON, &[]),
    room("bytes", &["*"], &[]),
    room("thiserror", &["*"], &[]),
    // the sides
    room("proptest", &["tally-testkit"], &[]),
    room("tempfile", &[], &[]),
    room(
        "wasmi",
        &["tally-plugin-host", "tally-plugin-check"],
        &["plugins/host/src/interpreter.rs", "sdk/plugin/check"],
    ),
    // tests only: no crate may declare these as a normal dependency
    room("rs_merkle", &[], &["sdk/merkle/"]),
    room("wat", &[], &["plugins/host/tests", "plugins/author/tests", "sequencer/node/tests"]),
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
