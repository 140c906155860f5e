//! Weak algorithms are absent (S-041): from Cargo.lock, and from the code by name.
//!
//! Takes the lock file and production code. The list names broken hashes, broken ciphers, and cipher modes without
//! authentication; RSA is on it because nothing here may start to need it unnoticed.

use super::Finding;
use super::sql::locked;
use crate::source::has_word;
use crate::tree::Tree;

const PACKAGES: &[&str] = &[
    "md-5",
    "md5",
    "md4",
    "md2",
    "sha1",
    "sha-1",
    "sha1_smol",
    "ripemd",
    "des",
    "rc2",
    "rc4",
    "blowfish",
    "cast5",
    "idea",
    "cbc",
    "ecb",
    "ctr",
    "cfb-mode",
    "ofb",
    "block-modes",
    "openssl",
    "openssl-sys",
    "native-tls",
    "rsa",
    "dsa",
    "crypt",
    "pwhash",
];

const WORDS: &[&str] = &[
    "Md5",
    "MD5",
    "md5",
    "Sha1",
    "SHA1",
    "sha1",
    "SHA_1",
    "Ripemd160",
    "Des",
    "TripleDes",
    "Rc4",
    "RC4",
    "Ecb",
    "AES_128_CBC",
    "Aes256Cbc",
    "Aes128Cbc",
    "HMAC_SHA1_FOR_LEGACY_USE_ONLY",
    "SHA1_FOR_LEGACY_USE_ONLY",
];

/// Every weak algorithm.
#[must_use]
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = locked(tree, PACKAGES, "is weak, or pulls in what is (S-041)");
    for (file, source) in tree.sources().filter(|(file, _)| !file.starts_with("xtask/")) {
        for (line, code) in source.production() {
            if let Some(word) = WORDS.iter().find(|word| has_word(code, word)) {
                findings.push(Finding::new(file, line, format!("`{word}` is a weak algorithm (S-041)")));
            }
        }
    }
    findings
}
