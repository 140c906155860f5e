//! The host's hashes and its one signature rule: many times faster than the same code in a guest, and charged by length.

use crate::abi;

/// SHA-256.
#[must_use]
pub fn sha256(data: &[u8]) -> [u8; 32] {
    abi::sha256(data)
}

/// BLAKE3.
#[must_use]
pub fn blake3(data: &[u8]) -> [u8; 32] {
    abi::blake3(data)
}

/// Ed25519 by the ZIP-215 rule, as the log itself verifies.
#[must_use]
pub fn ed25519_verify(public_key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    abi::ed25519_verify(public_key, message, signature)
}
