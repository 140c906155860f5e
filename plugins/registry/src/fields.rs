//! Reading members of a body, each with the bound that keeps keys and sums within theirs.
//!
//! Takes canonical JSON; gives checked values or [`MALFORMED`].

use alloc::borrow::Cow;
use alloc::string::String;

use tally_plugin::Reject;
use tally_plugin::json::{INTEGER_MAX, Json};

use crate::MALFORMED;

/// Longest SKU, order id or item name in bytes: two of them and their closing bytes fit a key of 256.
pub(crate) const NAME_BYTES_MAX: usize = 112;

/// An agent as ids of the log are written: `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
pub(crate) fn agent_text(agent: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in agent.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.extend([byte >> 4, byte & 15].into_iter().filter_map(|digit| char::from_digit(u32::from(digit), 16)));
    }
    text
}

/// The agent that a text names; only the form of [`agent_text`].
pub(crate) fn read_agent(text: &str) -> Option<[u8; 16]> {
    let mut agent = [0; 16];
    let mut digits = text.chars().filter(|c| *c != '-').map(|c| c.to_digit(16));
    for byte in &mut agent {
        let (high, low) = (digits.next()??, digits.next()??);
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    (agent_text(&agent) == text).then_some(agent)
}

/// A name that goes into keys. A zero byte would be escaped there, and two of the longest names no longer fit.
pub(crate) fn name(text: &str) -> Result<&str, Reject> {
    let fits = (1..=NAME_BYTES_MAX).contains(&text.len()) && !text.contains('\0');
    if fits { Ok(text) } else { Err(MALFORMED) }
}

pub(crate) fn text<'a>(body: Json<'a>, name: &str) -> Result<Cow<'a, str>, Reject> {
    body.get(name).and_then(Json::text).ok_or(MALFORMED)
}

pub(crate) fn number(body: Json<'_>, name: &str) -> Result<u64, Reject> {
    body.get(name).and_then(Json::u64).filter(|number| *number <= INTEGER_MAX).ok_or(MALFORMED)
}

/// Three capital letters.
pub(crate) fn currency<'a>(body: Json<'a>) -> Result<Cow<'a, str>, Reject> {
    let text = text(body, "currency")?;
    if is_currency(&text) { Ok(text) } else { Err(MALFORMED) }
}

pub(crate) fn is_currency(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// A SHA-256 in lower-case hexadecimal.
pub(crate) fn digest<'a>(body: Json<'a>) -> Result<Cow<'a, str>, Reject> {
    let text = text(body, "sha256")?;
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() == 64 && text.bytes().all(hex) { Ok(text) } else { Err(MALFORMED) }
}

/// A sum that JSON can still hold.
pub(crate) fn add(a: u64, b: u64) -> Result<u64, Reject> {
    const OVERFLOW: Reject = Reject::new("overflow");
    a.checked_add(b).filter(|sum| *sum <= INTEGER_MAX).ok_or(OVERFLOW)
}
