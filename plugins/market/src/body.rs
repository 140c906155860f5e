//! A body, read strictly: an object with the members that a page of the formats draws, and no other.
//!
//! Takes an event and the names it may have; gives checked values or `malformed`. A text that looks like a card number
//! anywhere in it is refused before anything else is read.

use alloc::borrow::Cow;

use tally_plugin::json::{INTEGER_MAX, Json};
use tally_plugin::{Event, Reject};

use crate::codes::{CARD_DATA, KEY_REQUIRED, MALFORMED};
use crate::{card, hex};

/// Longest idempotency key.
const KEY_BYTES_MAX: usize = 255;

/// A body.
#[derive(Clone, Copy, Debug)]
pub struct Body<'a>(Json<'a>);

impl<'a> Body<'a> {
    /// The body of an event, which may have these members.
    ///
    /// # Errors
    /// `card_data`, or `malformed`: it is no object, or has another member.
    pub fn of(event: &'a Event, members: &[&str]) -> Result<Self, Reject> {
        if card::is_in(event.body()) || card::is_in(event.entity_id().as_bytes()) {
            return Err(CARD_DATA);
        }
        Self::within(event.json().map_err(|_| MALFORMED)?, members)
    }

    /// An object within a body.
    ///
    /// # Errors
    /// `malformed`: it is no object, or has another member.
    pub fn within(json: Json<'a>, members: &[&str]) -> Result<Self, Reject> {
        let known = json.is_object() && json.entries().all(|(name, _)| members.contains(&name.as_ref()));
        if known { Ok(Self(json)) } else { Err(MALFORMED) }
    }

    /// The whole.
    #[must_use]
    pub const fn json(&self) -> Json<'a> {
        self.0
    }

    /// A member that must be there, as `read` reads it.
    ///
    /// # Errors
    /// `malformed`: it is absent, or of another type.
    pub fn member<T>(&self, name: &str, read: impl FnOnce(Json<'a>) -> Option<T>) -> Result<T, Reject> {
        self.0.get(name).and_then(read).ok_or(MALFORMED)
    }

    /// A member that may be absent, and is nothing else than `read` reads.
    ///
    /// # Errors
    /// `malformed`: it is of another type.
    pub fn optional<T>(&self, name: &str, read: impl FnOnce(Json<'a>) -> Option<T>) -> Result<Option<T>, Reject> {
        self.0.get(name).map(|member| read(member).ok_or(MALFORMED)).transpose()
    }

    /// A text of 1 to `bytes_max` bytes, without NUL.
    ///
    /// # Errors
    /// `malformed`.
    pub fn text(&self, name: &str, bytes_max: usize) -> Result<Cow<'a, str>, Reject> {
        self.member(name, |member| member.text().filter(|text| is_text(text, bytes_max)))
    }

    /// The same, if it is there.
    ///
    /// # Errors
    /// `malformed`.
    pub fn optional_text(&self, name: &str, bytes_max: usize) -> Result<Option<Cow<'a, str>>, Reject> {
        self.optional(name, |member| member.text().filter(|text| is_text(text, bytes_max)))
    }

    /// An integer from 0 to 2^53 − 1.
    ///
    /// # Errors
    /// `malformed`.
    pub fn number(&self, name: &str) -> Result<u64, Reject> {
        self.member(name, number)
    }

    /// The same, if it is there.
    ///
    /// # Errors
    /// `malformed`.
    pub fn optional_number(&self, name: &str) -> Result<Option<u64>, Reject> {
        self.optional(name, number)
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// `malformed`.
    pub fn bool(&self, name: &str) -> Result<bool, Reject> {
        self.member(name, Json::bool)
    }

    /// Three capital letters.
    ///
    /// # Errors
    /// `malformed`.
    pub fn currency(&self, name: &str) -> Result<Cow<'a, str>, Reject> {
        let is_currency = |text: &Cow<'_, str>| text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase());
        self.member(name, |member| member.text().filter(is_currency))
    }

    /// `N` bytes in lower-case hexadecimal.
    ///
    /// # Errors
    /// `malformed`.
    pub fn bytes<const N: usize>(&self, name: &str) -> Result<[u8; N], Reject> {
        self.member(name, |member| hex::decode(&member.text()?))
    }

    /// The same, if it is there.
    ///
    /// # Errors
    /// `malformed`.
    pub fn optional_bytes<const N: usize>(&self, name: &str) -> Result<Option<[u8; N]>, Reject> {
        self.optional(name, |member| hex::decode(&member.text()?))
    }

    /// The idempotency key.
    ///
    /// # Errors
    /// `idempotency_key_required`, or `malformed`.
    pub fn idempotency_key(&self) -> Result<Cow<'a, str>, Reject> {
        let key = self.optional_text("idempotency_key", KEY_BYTES_MAX)?.ok_or(KEY_REQUIRED)?;
        if key.bytes().all(|byte| byte.is_ascii_graphic()) { Ok(key) } else { Err(MALFORMED) }
    }
}

fn is_text(text: &str, bytes_max: usize) -> bool {
    (1..=bytes_max).contains(&text.len()) && !text.contains('\0')
}

fn number(member: Json<'_>) -> Option<u64> {
    member.u64().filter(|number| *number <= INTEGER_MAX)
}
