//! Hashes whose rule is somebody else's: no tag of ours, because foreign tools compute them from the same bytes.
//!
//! In scope: HMAC (RFC 2104), requests of AWS, objects named by their SHA-256, flat proofs. What each proves is said where it
//! is used; none of them is a commitment of the log.

use core::fmt;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroize as _;

use super::{ObjectHash, sha256};

/// HMAC-SHA256 (RFC 2104). Compare what it gives with `ct_eq`.
#[must_use]
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&sha256(&[key]));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let pad = |with: u8| block.map(|byte| byte ^ with);
    let inner = sha256(&[&pad(0x36), message]);
    let mac = sha256(&[&pad(0x5c), &inner]);
    block.zeroize();
    mac
}

/// The SHA-256 of a request's body, and of its canonical form (AWS Signature Version 4). Foreign, so without a tag.
#[must_use]
pub fn aws_request(bytes: &[u8]) -> [u8; 32] {
    sha256(&[bytes])
}

/// The SHA-256 of an object's bytes. What others publish and check with stock tools, so without a tag.
#[must_use]
pub fn object(bytes: &[u8]) -> ObjectHash {
    ObjectHash(sha256(&[bytes]))
}

/// [`object`], of bytes that come in pieces.
#[derive(Clone, Default)]
pub struct ObjectHasher(Sha256);

impl fmt::Debug for ObjectHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ObjectHasher")
    }
}

impl ObjectHasher {
    /// The next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all pieces, in their order.
    #[must_use]
    pub fn finish(self) -> ObjectHash {
        ObjectHash(self.0.finalize().into())
    }
}

/// The SHA-256 of a flat proof's message, and of what the message commits to by a digest (docs/formats/settlement.md).
/// Foreign tools compute it from the file alone, so it is without a tag.
#[must_use]
pub fn flat_proof(bytes: &[u8]) -> [u8; 32] {
    sha256(&[bytes])
}
