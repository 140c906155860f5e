//! The seam to secp256k1 keys: the one that pays gas, and the authority of a log.
//!
//! Takes a 32-byte digest and what it is for; gives a signature in low-s form whose recovered address is the signer's own,
//! checked before it is given out. A signer that fails is an error: there is no fallback to another one.
//! [`config::open`] makes them: keys in files, in PKCS#11 devices, in AWS KMS, behind HTTP. What it gives is always wrapped
//! in [`record::Recorded`], so that no use goes unrecorded.

pub mod config;
pub mod environment;
pub mod file;
mod http;
pub mod kms;
pub mod pkcs11;
mod private_file;
pub mod record;
pub mod remote;
pub mod secp256k1;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tally_protocol::time::LogTime;

/// An address on an EVM chain: the last 20 bytes of the Keccak-256 of the public key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(pub [u8; 20]);

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("0x")?;
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

impl Address {
    /// Reads `0x` and 40 hexadecimal digits of any case; the checksum of EIP-55 is not looked at.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        parse_hex(text).map(Self)
    }
}

impl<'de> serde::Deserialize<'de> for Address {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str> as serde::Deserialize>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("an address is 0x and 40 hexadecimal digits"))
    }
}

/// Reads `0x` and exactly `N` bytes in hexadecimal.
fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.strip_prefix("0x")?.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(*pair.get(at)?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = (digit(0)? << 4) | digit(1)?;
    }
    Some(bytes)
}

/// A recoverable ECDSA signature; `s` is at most half of the group's order (EIP-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// The x coordinate of the nonce's point.
    pub r: [u8; 32],
    /// The proof part, in its lower form.
    pub s: [u8; 32],
    /// Whether the nonce's point has an odd y: the recovery id.
    pub odd_y: bool,
}

/// What a digest is, for the journal of uses (S-123) and for devices that keep such a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A transaction that pays gas.
    Transaction,
    /// The authority's word that a root is its log's.
    Authority,
}

impl Purpose {
    /// As the record of uses and the remote signer's protocol write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::Authority => "authority",
        }
    }
}

/// The wall clock, as an argument: stamps of the record of uses, and of requests that bear their time.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> LogTime + Send + Sync>);

impl Clock {
    /// A clock that asks this function.
    pub fn new(now: impl Fn() -> LogTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> LogTime {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Clock(..)")
    }
}

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// The device or service did not answer; later it may.
    #[error("the signer is unreachable: {0}")]
    Unreachable(String),
    /// The key is disabled, revoked, or this caller may not use it.
    #[error("the signer refused: {0}")]
    Refused(String),
    /// It answered with something that is no signature of this key over this digest.
    #[error("the signer gave a wrong answer: {0}")]
    Wrong(String),
    /// The use could not be recorded, so nothing was asked or nothing is given out (S-123).
    #[error("the use of the key could not be recorded: {0}")]
    Unrecorded(String),
}

/// The answer of a signer.
pub type Signing<'a> = Pin<Box<dyn Future<Output = Result<Signature, SignerError>> + Send + 'a>>;

/// A key that signs digests.
pub trait Signer: Send + Sync + fmt::Debug {
    /// Whose signatures these are.
    fn address(&self) -> Address;

    /// The kind of signer and the name of its key, without a secret: for logs and errors.
    fn describe(&self) -> String;

    /// Signs a digest.
    fn sign(&self, purpose: Purpose, digest: [u8; 32]) -> Signing<'_>;
}

impl<S: Signer + ?Sized> Signer for Box<S> {
    fn address(&self) -> Address {
        (**self).address()
    }

    fn describe(&self) -> String {
        (**self).describe()
    }

    fn sign(&self, purpose: Purpose, digest: [u8; 32]) -> Signing<'_> {
        (**self).sign(purpose, digest)
    }
}
