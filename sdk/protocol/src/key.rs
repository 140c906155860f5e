//! Ed25519 keys and signatures, and the one rule for accepting a signature (design D5).
//!
//! The rule is ZIP-215 with one thing added: `R` must be a canonical encoding. So: `S < L`; `R` canonical and on the
//! curve; `A` on the curve, in any encoding; `[8][S]B = [8]R + [8][k]A`. The cofactor makes a batch and a single
//! check agree on every input, which replay needs. What verifiers elsewhere refuse and this rule accepts (mixed-order
//! `R`, small-order or non-canonical `A`) cannot come from a registered key: [`check_registration`] refuses such keys.
//! Seeds and random sources are arguments; this crate draws nothing. Private keys are wiped when dropped.

mod batch;
pub mod secp256k1;

use core::fmt;

use curve25519_dalek::edwards::CompressedEdwardsY;
use ed25519_zebra as zebra;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::hash::hex;

pub use batch::{PreparedItem, PreparedKey, VerifyItem, verify_batch, verify_prepared};

/// L, the order of the prime-order subgroup, little-endian (RFC 8032 section 5.1).
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// A text that is not a key or signature: lower-case hexadecimal digits of the exact length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not {0} lower-case hexadecimal digits")]
pub struct KeyTextError(usize);

/// Why a public key cannot be registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The bytes encode no point of the curve.
    #[error("public key is not a point of the curve")]
    NotAPoint,
    /// The point has another encoding, which is the canonical one.
    #[error("public key is not canonically encoded")]
    NonCanonical,
    /// The point's order divides 8: anybody could sign for it.
    #[error("public key has small order")]
    SmallOrder,
    /// The point lies outside the prime-order subgroup.
    #[error("public key has mixed order")]
    MixedOrder,
}

/// Why a signer gave no signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignerError {
    /// It cannot be reached now; the same request may succeed later.
    #[error("signer unavailable: {0}")]
    Unavailable(String),
    /// It will not sign this; asking again is useless.
    #[error("signer refused: {0}")]
    Refused(String),
}

fn from_hex<const N: usize>(text: &str) -> Result<[u8; N], KeyTextError> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let error = KeyTextError(N * 2);
    if text.len() != N * 2 {
        return Err(error);
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let (high, low) = (digit(pair[0]).ok_or(error)?, digit(pair[1]).ok_or(error)?);
        *byte = (high << 4) | low;
    }
    Ok(out)
}

macro_rules! bytes_type {
    ($(#[$doc:meta])* $name:ident, $length:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $length]);

        impl $name {
            /// From the raw bytes; nothing is checked.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $length]) -> Self {
                Self(bytes)
            }

            /// The raw bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }

            /// Lower-case hexadecimal digits.
            #[must_use]
            pub fn to_hex(&self) -> String {
                hex(&self.0)
            }

            /// Reads lower-case hexadecimal digits of the exact length.
            ///
            /// # Errors
            /// Anything else.
            pub fn from_hex(text: &str) -> Result<Self, KeyTextError> {
                from_hex(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_hex())
            }
        }
    };
}

bytes_type! {
    /// An Ed25519 public key as 32 bytes. Being one says nothing about the point; see [`check_registration`].
    PublicKey, 32
}

bytes_type! {
    /// An Ed25519 signature: `R`, then `S`.
    Signature, 64
}

impl Signature {
    fn r(&self) -> &[u8; 32] {
        self.0.first_chunk().expect("half of 64")
    }

    fn s(&self) -> &[u8; 32] {
        self.0.last_chunk().expect("half of 64")
    }
}

/// An Ed25519 private key. Wiped when dropped; its debug text shows the public key only.
#[derive(Clone)]
pub struct SigningKey {
    // Boxed, so that moving the key leaves no copies behind.
    inner: Box<zebra::SigningKey>,
}

impl SigningKey {
    /// The key of a seed (RFC 8032 section 5.1.5). The caller draws the seed and wipes its own copy.
    #[must_use]
    pub fn from_seed(mut seed: [u8; 32]) -> Self {
        let key = Self { inner: Box::new(zebra::SigningKey::from(seed)) };
        seed.zeroize();
        key
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(zebra::VerificationKeyBytes::from(&*self.inner).into())
    }

    /// Signs. The same message always gets the same bytes (RFC 8032: no randomness).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.inner.sign(message).to_bytes())
    }
}

impl Drop for SigningKey {
    fn drop(&mut self) {
        self.inner.zeroize();
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(public {})", self.public_key())
    }
}

/// Something that signs for one public key: a key in memory, a file, an HSM, a KMS.
pub trait Signer: Send + Sync {
    /// The key it signs for.
    fn public_key(&self) -> PublicKey;

    /// Signs; may block on a device or a network.
    ///
    /// # Errors
    /// The signer cannot or will not sign.
    fn sign(&self, message: &[u8]) -> Result<Signature, SignerError>;
}

impl Signer for SigningKey {
    fn public_key(&self) -> PublicKey {
        Self::public_key(self)
    }

    fn sign(&self, message: &[u8]) -> Result<Signature, SignerError> {
        Ok(Self::sign(self, message))
    }
}

/// Compares digests, MACs and other secrets in a time that depends on the lengths only (S-040).
#[must_use]
pub fn ct_eq(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}

/// Whether a public key may be registered: canonically encoded, on the curve, in the prime-order subgroup, not the
/// identity.
///
/// # Errors
/// Which of these it is not.
pub fn check_registration(key: &PublicKey) -> Result<(), KeyError> {
    let point = CompressedEdwardsY(key.0).decompress().ok_or(KeyError::NotAPoint)?;
    if !is_canonical_point(&key.0) {
        return Err(KeyError::NonCanonical);
    }
    if point.is_small_order() {
        return Err(KeyError::SmallOrder);
    }
    if !point.is_torsion_free() {
        return Err(KeyError::MixedOrder);
    }
    Ok(())
}

/// Whether the signature is the key's over the message, by the one rule (see the head of this file).
#[must_use]
pub fn verify(key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    has_canonical_form(signature)
        && zebra::VerificationKey::try_from(key.0)
            .is_ok_and(|key| key.verify(&zebra::Signature::from_bytes(&signature.0), message).is_ok())
}

/// `R` canonically encoded and `S < L`: what can be said without touching the curve.
fn has_canonical_form(signature: &Signature) -> bool {
    is_canonical_point(signature.r()) && is_below(signature.s(), &ORDER)
}

/// Whether these bytes, if they encode a point, are its canonical encoding (RFC 8032 section 5.1.3): `y < p`, and no
/// sign on the two points with `x = 0` (`y = 1` and `y = -1`).
fn is_canonical_point(bytes: &[u8; 32]) -> bool {
    const P: [u8; 32] = field_prime_minus(0);
    const MINUS_ONE: [u8; 32] = field_prime_minus(1);
    const ONE: [u8; 32] = {
        let mut one = [0; 32];
        one[0] = 1;
        one
    };
    let mut y = *bytes;
    y[31] &= 0x7f;
    let signed = bytes[31] >> 7 == 1;
    is_below(&y, &P) && !(signed && (y == ONE || y == MINUS_ONE))
}

/// 2^255 - 19 - `by`, little-endian, for `by` up to 0xed.
const fn field_prime_minus(by: u8) -> [u8; 32] {
    let mut p = [0xff; 32];
    p[0] = 0xed - by;
    p[31] = 0x7f;
    p
}

/// Whether one little-endian number is below another. Not constant time: its inputs are public.
fn is_below(value: &[u8; 32], bound: &[u8; 32]) -> bool {
    value.iter().rev().lt(bound.iter().rev())
}

#[cfg(test)]
mod tests;
