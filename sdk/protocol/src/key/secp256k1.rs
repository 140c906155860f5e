//! ECDSA over secp256k1, as EVM chains use it: a signature names its signer.
//!
//! Takes a digest and a signature, gives the address whose key made it. Only the lower of the two values of `s` is a
//! signature (EIP-2); the recovery id is one bit, as in EIP-1559 and in the precompile `ecrecover`. The compact form has
//! that bit in the free top bit of `s` (EIP-2098). Nothing here signs: keys of chains live in the anchor's signers.

use k256::ecdsa;

use crate::hash::{self, Address, EcdsaDigest};

/// n, the order of the group, big-endian (SEC 2, section 2.4.1).
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xba, 0xae, 0xdc,
    0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
];

/// Half of n, rounded down: the largest `s` (EIP-2).
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x5d, 0x57, 0x6e,
    0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
];

/// Why two numbers and a bit are no signature, or a signature nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// `r` or `s` is zero or not below the group's order.
    #[error("r or s of a signature is out of range")]
    Range,
    /// `s` is the higher of its two values: anybody can make it from the lower one.
    #[error("s of a signature is the higher of its two values")]
    HighS,
    /// `r` is the x of no point, or no key signs this digest so.
    #[error("signature is of no key")]
    NoKey,
}

/// A recoverable signature; its numbers are in range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecoverableSignature {
    r: [u8; 32],
    s: [u8; 32],
    odd_y: bool,
}

impl RecoverableSignature {
    /// A signature of these numbers, big-endian. `odd_y`: whether the nonce's point has an odd y.
    ///
    /// # Errors
    /// [`SignatureError::Range`] or [`SignatureError::HighS`].
    pub fn new(r: [u8; 32], s: [u8; 32], odd_y: bool) -> Result<Self, SignatureError> {
        let in_range = |number: &[u8; 32]| *number != [0; 32] && *number < ORDER;
        if !in_range(&r) || !in_range(&s) {
            return Err(SignatureError::Range);
        }
        if s > HALF_ORDER { Err(SignatureError::HighS) } else { Ok(Self { r, s, odd_y }) }
    }

    /// Reads the compact form (EIP-2098): `r`, then the parity of y above `s`.
    ///
    /// # Errors
    /// As [`RecoverableSignature::new`].
    pub fn from_compact(r: [u8; 32], vs: [u8; 32]) -> Result<Self, SignatureError> {
        let (mut s, odd_y) = (vs, vs[0] >> 7 == 1);
        s[0] &= 0x7f;
        Self::new(r, s, odd_y)
    }

    /// The compact form (EIP-2098): `r` and `vs`.
    #[must_use]
    pub const fn to_compact(&self) -> ([u8; 32], [u8; 32]) {
        let mut vs = self.s;
        if self.odd_y {
            vs[0] |= 0x80;
        }
        (self.r, vs)
    }

    /// The x of the nonce's point, big-endian.
    #[must_use]
    pub const fn r(&self) -> &[u8; 32] {
        &self.r
    }

    /// The proof part, big-endian, at most half of the group's order.
    #[must_use]
    pub const fn s(&self) -> &[u8; 32] {
        &self.s
    }

    /// Whether the nonce's point has an odd y.
    #[must_use]
    pub const fn odd_y(&self) -> bool {
        self.odd_y
    }

    /// The address whose key signed the digest. Some address results from nearly every signature; it says nothing
    /// until it is compared with the one that should have signed.
    ///
    /// # Errors
    /// [`SignatureError::NoKey`].
    pub fn signer(&self, digest: &EcdsaDigest) -> Result<Address, SignatureError> {
        let signature = ecdsa::Signature::from_scalars(self.r, self.s).map_err(|_| SignatureError::Range)?;
        let id = ecdsa::RecoveryId::new(self.odd_y, false);
        let key = ecdsa::VerifyingKey::recover_from_prehash(digest.as_bytes(), &signature, id)
            .map_err(|_| SignatureError::NoKey)?;
        let point = key.to_encoded_point(false);
        let coordinates = point.as_bytes().last_chunk::<64>().ok_or(SignatureError::NoKey)?;
        Ok(hash::address(coordinates))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_order_is_half_of_the_order() {
        let doubled = HALF_ORDER.iter().rev().fold((Vec::new(), 0u16), |(mut out, carry), byte| {
            let sum = 2 * u16::from(*byte) + carry;
            out.insert(0, (sum & 0xff) as u8);
            (out, sum >> 8)
        });
        let mut one_less = ORDER;
        one_less[31] -= 1;
        assert_eq!(doubled, (one_less.to_vec(), 0));
    }
}
