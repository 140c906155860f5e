//! Canonical JSON (RFC 8785), and the one strict reading of JSON text.
//!
//! Takes bytes, gives a [`Value`], its canonical bytes, or the answer whether bytes are canonical already. Reading
//! refuses what has no unambiguous meaning: duplicate keys, integers beyond ±(2^53 - 1), numbers that overflow a
//! double, U+0000, lone surrogates, bytes that are not UTF-8, nesting deeper than 64, anything after the value. An
//! integer is what is written as one, and also a number whose canonical text would be: `1e20` is refused, because it
//! would have to be written `100000000000000000000`, while `1e21` stays `1e+21`. So whatever is read has a canonical
//! text, and that text reads as the same value. Errors carry the byte offset.

mod check;
mod fast;
mod number;
mod parse;
mod text;
mod write;

use core::cmp::Ordering;

pub use check::is_canonical;
pub use parse::parse;
pub use write::to_canonical;

/// The largest integer that a double and its neighbours keep apart: 2^53 - 1 (RFC 7493 section 2.2).
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A finite double. One that is not finite is written as `null`, as ECMAScript does; reading never gives one.
    Number(f64),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Value>),
    /// Names and values; as read, in canonical order and each name once.
    Object(Vec<(String, Value)>),
}

/// What is wrong with a JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum JcsErrorKind {
    /// The bytes are not UTF-8.
    #[error("not UTF-8")]
    Utf8,
    /// The text ends within the value.
    #[error("unexpected end")]
    End,
    /// Not JSON here.
    #[error("not JSON")]
    Syntax,
    /// Something follows the value.
    #[error("bytes after the value")]
    Trailing,
    /// Nested deeper than `JSON_DEPTH_MAX`.
    #[error("nested too deeply")]
    Depth,
    /// A name occurs twice in an object.
    #[error("duplicate key")]
    DuplicateKey,
    /// An integer beyond ±(2^53 - 1).
    #[error("integer beyond 2^53-1")]
    IntegerRange,
    /// A number too large for a double.
    #[error("number too large")]
    NumberRange,
    /// U+0000 in a string.
    #[error("U+0000 in a string")]
    Nul,
    /// Half of a surrogate pair in a string.
    #[error("lone surrogate in a string")]
    LoneSurrogate,
    /// A control character in a string that is not escaped.
    #[error("unescaped control character in a string")]
    Control,
    /// An escape that does not exist.
    #[error("unknown escape in a string")]
    Escape,
    /// JSON, but with white space between tokens.
    #[error("white space is not canonical")]
    WhiteSpace,
    /// JSON, but the keys are not in the order of their UTF-16 code units.
    #[error("keys are not in canonical order")]
    KeyOrder,
    /// JSON, but the number has another canonical text.
    #[error("number is not in canonical form")]
    NumberForm,
    /// JSON, but the character has another canonical text.
    #[error("escape is not in canonical form")]
    EscapeForm,
}

/// What is wrong, and at which byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{kind} at byte {at}")]
pub struct JcsError {
    /// What is wrong.
    pub kind: JcsErrorKind,
    /// Offset of the first byte that is wrong, from 0.
    pub at: usize,
}

impl JcsError {
    pub(crate) const fn new(kind: JcsErrorKind, at: usize) -> Self {
        Self { kind, at }
    }
}

/// The canonical form of a JSON text.
///
/// # Errors
/// The text has none; see [`parse()`].
pub fn canonicalize(bytes: &[u8]) -> Result<Vec<u8>, JcsError> {
    // Most texts are canonical already, and checking is several times cheaper than reading and writing.
    if is_canonical(bytes).is_ok() {
        return Ok(bytes.to_vec());
    }
    parse(bytes).map(|value| to_canonical(&value))
}

/// The order of two strings by their UTF-16 code units (RFC 8785 section 3.2.3), from their UTF-8 bytes.
///
/// The two orders differ only between the characters U+E000 to U+FFFF (first byte EE or EF) and those beyond U+FFFF
/// (F0 to F4), which UTF-16 writes with surrogates, that is lower.
pub(crate) fn cmp_utf16(left: &[u8], right: &[u8]) -> Ordering {
    let rank = |byte: u8| if byte == 0xee || byte == 0xef { byte + 0x10 } else { byte };
    match left.iter().zip(right).find(|(l, r)| l != r) {
        Some((&l, &r)) => rank(l).cmp(&rank(r)),
        None => left.len().cmp(&right.len()),
    }
}

impl Value {
    /// An object of these members.
    pub fn object<'a>(members: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        Self::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// An integer, if it is at most [`INTEGER_MAX`].
    #[must_use]
    pub fn integer(value: u64) -> Option<Self> {
        // Exact: integers up to 2^53 are doubles.
        (value <= INTEGER_MAX).then_some(Self::Number(value as f64))
    }

    /// The member of an object; `None` if this is no object or has no such member.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.as_object()?.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Whether this is `null`.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The truth value, if this is one.
    #[must_use]
    pub const fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The number, if this is one.
    #[must_use]
    pub const fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(value) => Some(*value),
            _ => None,
        }
    }

    /// The number, if it is an integer from 0 to [`INTEGER_MAX`].
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        let value = self.as_f64()?;
        let whole = value >= 0.0 && value <= INTEGER_MAX as f64 && value.fract() == 0.0;
        whole.then_some(value as u64)
    }

    /// The number, if it is an integer from -[`INTEGER_MAX`] to [`INTEGER_MAX`].
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        let value = self.as_f64()?;
        let whole = value.abs() <= INTEGER_MAX as f64 && value.fract() == 0.0;
        whole.then_some(value as i64)
    }

    /// The text, if this is a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The elements, if this is an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// The members, if this is an object.
    #[must_use]
    pub fn as_object(&self) -> Option<&[(String, Self)]> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Number(value.into())
    }
}
