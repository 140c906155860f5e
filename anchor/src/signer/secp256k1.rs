//! secp256k1: the one room of signing with it; addresses are hashed by the protocol.
//!
//! Takes digests, public keys and what devices call a signature (DER, or r and s side by side); gives recoverable
//! signatures in low-s form (EIP-2) that recover to the address they were asked for, and addresses. Devices know neither
//! low-s nor recovery ids: s is brought to its lower form and the id is searched here. Parsing is strict: one form per
//! value, nothing behind it. Sources: SEC 1 sections 2.3.3 and 4.1.6, RFC 5480 (SPKI), RFC 3279 (Ecdsa-Sig-Value).

use k256::ecdsa::signature::hazmat::PrehashSigner as _;
use k256::ecdsa::{RecoveryId, SigningKey, VerifyingKey};
use tally_protocol::hash;

use super::{Address, Signature, SignerError};

/// What stands before the 65 bytes of an uncompressed point in a SubjectPublicKeyInfo of secp256k1: two SEQUENCEs, the
/// object identifiers id-ecPublicKey and secp256k1, and the head of a BIT STRING.
const SPKI_HEAD: [u8; 23] = [
    0x30, 0x56, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00,
    0x0a, 0x03, 0x42, 0x00,
];

/// The object identifier of secp256k1 (1.3.132.0.10) in DER, as `CKA_EC_PARAMS` holds it.
pub const CURVE_OID_DER: [u8; 7] = [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a];

/// A private key in this process's memory, wiped when dropped: development only.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// From 32 big-endian bytes; `None` for zero and for what is not below the group's order.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        SigningKey::from_slice(bytes).ok().map(Self)
    }

    /// The address of its public key.
    #[must_use]
    pub fn address(&self) -> Address {
        address_of_key(self.0.verifying_key())
    }

    /// Signs a digest with the nonce of RFC 6979.
    ///
    /// # Errors
    /// [`SignerError::Wrong`] where the arithmetic gives no signature (never seen).
    pub fn sign(&self, digest: &[u8; 32]) -> Result<Signature, SignerError> {
        let made: Result<k256::ecdsa::Signature, _> = self.0.sign_prehash(digest);
        let made = made.map_err(|_| wrong("no signature came out"))?;
        complete(self.address(), digest, &made.to_bytes().into())
    }
}

/// The address of a public key given as an uncompressed point: `04`, x, y (SEC 1 section 2.3.3); `None` for any other
/// form and for points that are not on the curve.
#[must_use]
pub fn address_of_point(point: &[u8]) -> Option<Address> {
    if point.len() != 65 || point.first() != Some(&4) {
        return None;
    }
    VerifyingKey::from_sec1_bytes(point).ok().as_ref().map(address_of_key)
}

/// The address of a public key given as SubjectPublicKeyInfo in DER; `None` for other curves and forms.
#[must_use]
pub fn address_of_spki(der: &[u8]) -> Option<Address> {
    address_of_point(der.strip_prefix(&SPKI_HEAD)?)
}

/// The address of a public key given as `CKA_EC_POINT`: the point as a DER OCTET STRING, or, from devices that leave
/// that away, as it is.
#[must_use]
pub fn address_of_ec_point(attribute: &[u8]) -> Option<Address> {
    address_of_point(attribute.strip_prefix(&[0x04, 0x41]).filter(|point| point.len() == 65).unwrap_or(attribute))
}

fn address_of_key(key: &VerifyingKey) -> Address {
    let point = key.to_encoded_point(false);
    let mut coordinates = [0; 64];
    // Behind the form's byte stand x and y.
    point.as_bytes().iter().skip(1).zip(&mut coordinates).for_each(|(from, to)| *to = *from);
    Address(*hash::address(&coordinates).as_bytes())
}

/// Reads r and s side by side, as PKCS#11 gives them (`CKM_ECDSA`); both must be from 1 to below the group's order.
#[must_use]
pub fn parse_raw(bytes: &[u8]) -> Option<[u8; 64]> {
    k256::ecdsa::Signature::from_slice(bytes).ok().map(|signature| signature.to_bytes().into())
}

/// Reads a DER Ecdsa-Sig-Value (RFC 3279 section 2.2.3), as KMS gives it; see [`parse_raw`].
#[must_use]
pub fn parse_der(bytes: &[u8]) -> Option<[u8; 64]> {
    k256::ecdsa::Signature::from_der(bytes).ok().map(|signature| signature.to_bytes().into())
}

/// Makes a device's r and s (side by side) a signature for the chain: low s, and the recovery id that leads to `address`.
///
/// # Errors
/// [`SignerError::Wrong`] if it is not this address's signature over this digest.
pub fn complete(address: Address, digest: &[u8; 32], r_and_s: &[u8; 64]) -> Result<Signature, SignerError> {
    let parsed = k256::ecdsa::Signature::from_slice(r_and_s).map_err(|_| wrong("r or s is out of range"))?;
    let low: [u8; 64] = parsed.normalize_s().unwrap_or(parsed).to_bytes().into();
    let found = [false, true].into_iter().map(|odd_y| split(&low, odd_y));
    let mut found = found.filter(|signature| recover(digest, signature) == Some(address));
    found.next().ok_or_else(|| wrong("it does not recover to the pinned address"))
}

/// Checks a signature that claims to be ready for the chain: nothing is mended.
///
/// # Errors
/// [`SignerError::Wrong`] if s is high, or if it is not this address's signature over this digest.
pub fn check(address: Address, digest: &[u8; 32], signature: Signature) -> Result<Signature, SignerError> {
    let parsed = k256::ecdsa::Signature::from_scalars(signature.r, signature.s);
    let parsed = parsed.map_err(|_| wrong("r or s is out of range"))?;
    if parsed.normalize_s().is_some() {
        return Err(wrong("s is in its higher form"));
    }
    if recover(digest, &signature) != Some(address) {
        return Err(wrong("it does not recover to the pinned address"));
    }
    Ok(signature)
}

/// Whose signature this is (SEC 1 section 4.1.6); `None` if it is nobody's, or its s is high.
///
/// An r whose point has an x at or above the group's order cannot be named by a parity alone; such a signature (one in
/// 2^127) counts as wrong.
#[must_use]
pub fn recover(digest: &[u8; 32], signature: &Signature) -> Option<Address> {
    let parsed = k256::ecdsa::Signature::from_scalars(signature.r, signature.s).ok()?;
    if parsed.normalize_s().is_some() {
        return None;
    }
    let id = RecoveryId::new(signature.odd_y, false);
    VerifyingKey::recover_from_prehash(digest, &parsed, id).ok().as_ref().map(address_of_key)
}

fn split(r_and_s: &[u8; 64], odd_y: bool) -> Signature {
    let (mut r, mut s) = ([0; 32], [0; 32]);
    r.copy_from_slice(&r_and_s[..32]);
    s.copy_from_slice(&r_and_s[32..]);
    Signature { r, s, odd_y }
}

fn wrong(what: &str) -> SignerError {
    SignerError::Wrong(what.to_owned())
}

#[cfg(test)]
#[path = "secp256k1/tests.rs"]
mod tests;
