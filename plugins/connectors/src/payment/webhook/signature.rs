//! The header `Stripe-Signature`: `t=SECONDS,v1=HEX[,v1=HEX]…`, an HMAC-SHA256 over `SECONDS.BODY`.
//!
//! Any `v1` by any current secret is enough, so both sides may rotate. Stricter than the provider's libraries: a time ahead
//! is refused as one behind is, and `t` counts in the very digits that were signed. Schemes that are not `v1` are not read.
//! Every pair of secret and signature is compared, in constant time, whichever matches.

use tally_protocol::hash::{hex, hmac_sha256};
use tally_protocol::key::ct_eq;

use crate::Secret;

/// How far the time of a signature may be from now, either way, in seconds.
pub const TOLERANCE_S: u64 = 300;

/// Longer than the header of a provider that rotates.
const HEADER_BYTES_MAX: usize = 4_096;
/// How many `v1` are compared.
const SIGNATURES_MAX: usize = 16;
/// The digits of a time until the year 5138.
const SECONDS_DIGITS_MAX: usize = 11;

/// Why a message is not shown to be the provider's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No secret is configured, so nothing can be shown.
    #[error("no webhook secret is configured")]
    NoSecret,
    /// The header is empty, too long, or not a list of `name=value`.
    #[error("the signature header is malformed")]
    Header,
    /// The header's first `t` is missing or no number of seconds.
    #[error("the signature header has no valid time")]
    NoTime,
    /// The header has no `v1`, or more than 16.
    #[error("the signature header has no v1 signature, or too many")]
    NoSignature,
    /// No `v1` is over this body and time by a current secret.
    #[error("no signature matches the body with a current secret")]
    Mismatch,
    /// Signed, but too long ago.
    #[error("the signature is too old")]
    Old,
    /// Signed, but for a time too far ahead.
    #[error("the signature's time lies in the future")]
    Ahead,
}

/// What a header says.
struct Header<'a> {
    time: &'a [u8],
    seconds: u64,
    signatures: Vec<&'a [u8]>,
}

/// Whether the provider signed exactly these bytes, within `tolerance_s` seconds of `now_s` (seconds since 1970).
///
/// # Errors
/// [`SignatureError`]; the time is judged only where the signature holds.
pub fn verify(
    raw_body: &[u8],
    header: &[u8],
    secrets: &[Secret],
    now_s: u64,
    tolerance_s: u64,
) -> Result<(), SignatureError> {
    if secrets.is_empty() {
        return Err(SignatureError::NoSecret);
    }
    let header = Header::parse(header)?;
    let signed = [header.time, b".", raw_body].concat();
    let mut matches = false;
    for secret in secrets {
        let expected = hex(&hmac_sha256(secret.as_bytes(), &signed));
        for signature in &header.signatures {
            matches |= ct_eq(expected.as_bytes(), signature);
        }
    }
    if !matches {
        return Err(SignatureError::Mismatch);
    }
    match header.seconds {
        then if then < now_s.saturating_sub(tolerance_s) => Err(SignatureError::Old),
        then if then > now_s.saturating_add(tolerance_s) => Err(SignatureError::Ahead),
        _ => Ok(()),
    }
}

impl<'a> Header<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, SignatureError> {
        if bytes.is_empty() || bytes.len() > HEADER_BYTES_MAX {
            return Err(SignatureError::Header);
        }
        let mut time = None;
        let mut signatures = Vec::new();
        for item in bytes.split(|byte| *byte == b',') {
            let at = item.iter().position(|byte| *byte == b'=').ok_or(SignatureError::Header)?;
            let (name, value) = (&item[..at], &item[at + 1..]);
            match name {
                b"t" => time = time.or(Some(value)),
                b"v1" => signatures.push(value),
                _ => {}
            }
        }
        let time = time.ok_or(SignatureError::NoTime)?;
        let seconds = seconds(time).ok_or(SignatureError::NoTime)?;
        if signatures.is_empty() || signatures.len() > SIGNATURES_MAX {
            return Err(SignatureError::NoSignature);
        }
        Ok(Self { time, seconds, signatures })
    }
}

fn seconds(digits: &[u8]) -> Option<u64> {
    let bounded = (1..=SECONDS_DIGITS_MAX).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    if bounded { core::str::from_utf8(digits).ok()?.parse().ok() } else { None }
}
