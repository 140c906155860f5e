//! Every Keccak-256 of the protocol, and the names that EVM chains make of it.
//!
//! Keccak-256 is the hash of Ethereum (the original padding, not SHA3-256 of FIPS 202). The chain's own preimages have
//! the shapes that its rules give them; the one preimage of ours is the statement of a log's authority, which begins
//! with the hash of its tag. Things of a chain are written as its tools write them: `0x`, then lower-case digits.

use core::fmt;

use sha3::{Digest, Keccak256};

use super::{HashError, hex};

/// What opens the statement that a log's authority signs; its hash is the first word.
pub(super) const TALLY_ANCHOR: &[u8] = b"TALLY_ANCHOR_V1";

macro_rules! chain_type {
    ($($(#[$doc:meta])* $name:ident, $length:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
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

            /// `0x` and lower-case hexadecimal digits.
            #[must_use]
            pub fn to_hex(&self) -> String {
                hex_0x(&self.0)
            }

            /// Reads `0x` and lower-case hexadecimal digits of the exact length.
            ///
            /// # Errors
            /// Anything else, an EIP-55 spelling in mixed case as well.
            pub fn from_hex(text: &str) -> Result<Self, HashError> {
                let bytes = bytes_of_hex_0x(text).ok_or(HashError)?;
                bytes.try_into().map(Self).map_err(|_| HashError)
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
    )*};
}

chain_type! {
    /// An account or a contract: of a key, the last 20 bytes of the Keccak-256 of its point.
    Address, 20;
    /// Keccak-256 of a transaction's raw bytes.
    TransactionHash, 32;
    /// A block's hash, as a chain names it.
    BlockHash, 32;
    /// What a secp256k1 key signs: the hash of a transaction without its signature, or of an authority's statement.
    EcdsaDigest, 32;
}

fn keccak(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Keccak256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// The first word of an authority's statement: the hash of the tag `TALLY_ANCHOR_V1`.
#[must_use]
pub fn anchor_tag() -> [u8; 32] {
    keccak(&[TALLY_ANCHOR])
}

/// The digest of an authority's statement: the tag's hash, then the words of its members (Solidity's `abi.encode`).
#[must_use]
pub fn anchor_statement(words: &[[u8; 32]]) -> EcdsaDigest {
    EcdsaDigest(keccak(&[&anchor_tag(), words.as_flattened()]))
}

/// A transaction's name on chain (EIP-2718): the hash of its raw signed bytes.
#[must_use]
pub fn transaction(raw: &[u8]) -> TransactionHash {
    TransactionHash(keccak(&[raw]))
}

/// What a transaction's sender signs (EIP-1559): the hash of its type and fields without the signature.
#[must_use]
pub fn transaction_signing(unsigned: &[u8]) -> EcdsaDigest {
    EcdsaDigest(keccak(&[unsigned]))
}

/// The address of a public key: x and y of its point, big-endian (yellow paper, appendix F).
#[must_use]
pub fn address(point: &[u8; 64]) -> Address {
    let mut address = [0; 20];
    address.copy_from_slice(&keccak(&[point])[12..]);
    Address(address)
}

/// The hash of a function's or event's signature (Solidity ABI): its first four bytes select a function, all of it is
/// an event's first topic.
#[must_use]
pub fn abi_signature(signature: &str) -> [u8; 32] {
    keccak(&[signature.as_bytes()])
}

/// `0x` and lower-case hexadecimal digits of any bytes.
#[must_use]
pub fn hex_0x(bytes: &[u8]) -> String {
    format!("0x{}", hex(bytes))
}

/// The bytes of a text as [`hex_0x`] writes it; none for any other text.
#[must_use]
pub fn bytes_of_hex_0x(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let digits = text.strip_prefix("0x")?.as_bytes();
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some((digit(*high)? << 4) | digit(*low)?)).collect()
}
