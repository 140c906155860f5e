//! Hash calls stand only in `sdk/protocol/src/hash.rs`, each with its domain tag (S-033 rests on it).
//!
//! Takes production code; tests may hash with foreign code as an oracle. A second place that hashes is a second place
//! that can forget its tag.

use super::Finding;
use crate::source::has_word;
use crate::tree::Tree;

const ROOM: &str = "sdk/protocol/src/hash.rs";
/// Its lanes: the same hash of many messages at once.
const LANES: &str = "sdk/protocol/src/hash/";

/// The guest side names the host's hashes and computes none; its host in memory computes them for tests of plugins.
const GUEST: &str = "sdk/plugin/";

const WORDS: &[&str] =
    &["sha2", "Sha256", "Sha512", "Sha384", "blake3", "Blake2b", "Keccak256", "Hasher256", "ring::digest"];

/// Every hash call outside its room.
#[must_use]
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let elsewhere = |file: &str| ![ROOM, LANES, GUEST, "xtask/"].iter().any(|room| file.starts_with(room));
    for (file, source) in tree.sources().filter(|(file, _)| elsewhere(file)) {
        for (line, code) in source.production() {
            if let Some(word) = WORDS.iter().find(|word| has_word(code, word)) {
                findings.push(Finding::new(
                    file,
                    line,
                    format!("`{word}` outside {ROOM}: add a tagged function there"),
                ));
            }
        }
    }
    findings
}
