//! Randomness comes from the operating system and from nowhere else (S-015): `getrandom` is the only source.
//!
//! Takes production code and the normal dependencies. Generators that can be seeded make keys that can be guessed;
//! tests seed what they like. The benches and the fuzzer make repeatable input and hold no key that guards anything.

use super::Finding;
use crate::manifest::Kind;
use crate::source::has_word;
use crate::tree::Tree;

const WORDS: &[&str] = &[
    "rand",
    "StdRng",
    "SmallRng",
    "ThreadRng",
    "thread_rng",
    "SeedableRng",
    "seed_from_u64",
    "ChaCha8Rng",
    "ChaCha12Rng",
    "ChaCha20Rng",
    "Xoshiro256PlusPlus",
    "Pcg64",
    "XorShiftRng",
    "fastrand",
    "oorandom",
    "RandomState",
];

const PACKAGES: &[&str] =
    &["rand", "rand_chacha", "rand_pcg", "rand_xoshiro", "fastrand", "oorandom", "nanorand", "uuid"];

/// Folders that ship nothing.
const SIDES: &[&str] = &["xtask/", "fuzz/", "bench/", "sdk/testkit/"];

/// Every other source of randomness.
#[must_use]
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in tree.packages() {
        for dependency in package.manifest.of_kind(Kind::Normal).filter(|d| PACKAGES.contains(&d.name.as_str())) {
            let text = format!("{} can be seeded: take bytes from `getrandom`", dependency.name);
            findings.push(Finding::new(format!("{}/Cargo.toml", package.folder), dependency.line, text));
        }
    }
    for (file, source) in tree.sources().filter(|(file, _)| !SIDES.iter().any(|side| file.starts_with(side))) {
        for (line, code) in source.production() {
            if let Some(word) = WORDS.iter().find(|word| has_word(code, word)) {
                findings.push(Finding::new(file, line, format!("`{word}` can be seeded: take bytes from `getrandom`")));
            }
        }
    }
    findings
}
