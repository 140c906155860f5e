//! What the host computes for a guest, by the crates the host itself uses.

use ed25519_zebra::{Signature, VerificationKey};
use sha2::{Digest, Sha256};

pub(super) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut state = Sha256::new();
    parts.iter().for_each(|part| state.update(part));
    state.finalize().into()
}

pub(super) fn blake3(data: &[u8]) -> [u8; 32] {
    *blake3::hash(data).as_bytes()
}

pub(super) fn ed25519_verify(public_key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    let Ok(key) = VerificationKey::try_from(*public_key) else { return false };
    key.verify(&Signature::from(*signature), message).is_ok()
}
