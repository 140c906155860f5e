//! The writing half: objects and arrays that come out canonical whatever the order of the calls.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cmp::Ordering;

/// Largest integer that canonical JSON can hold.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// An object being written. A name set twice has its last value.
///
/// ```
/// # use tally_plugin::json::{Array, Object};
/// let tags = Array::new().text("lamp").number(7).finish();
/// let body = Object::new().raw("tags", &tags).text("name", "a \"b\"").bool("open", true).finish();
/// assert_eq!(body, br#"{"name":"a \"b\"","open":true,"tags":["lamp",7]}"#);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Object(Vec<(String, Vec<u8>)>);

impl Object {
    /// An empty object.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A member that is canonical JSON already.
    #[must_use]
    pub fn raw(self, name: &str, value: &[u8]) -> Self {
        self.put(name, Vec::from(value))
    }

    /// A text.
    #[must_use]
    pub fn text(self, name: &str, text: &str) -> Self {
        self.put(name, quoted(text))
    }

    /// Bytes as lower-case hexadecimal text: ids and hashes.
    #[must_use]
    pub fn hex(self, name: &str, bytes: &[u8]) -> Self {
        self.put(name, quoted_hex(bytes))
    }

    #[inline(never)]
    fn put(mut self, name: &str, value: Vec<u8>) -> Self {
        // Objects are small; most callers name their members in order, so the search begins at the end.
        let at = self.0.iter().rposition(|(other, _)| order(other, name) != Ordering::Greater);
        match at {
            Some(at) if self.0[at].0 == name => self.0[at].1 = value,
            _ => self.0.insert(at.map_or(0, |at| at + 1), (String::from(name), value)),
        }
        self
    }

    /// An integer from 0.
    ///
    /// # Panics
    /// If it is above [`INTEGER_MAX`]: a plugin checks its sums before they become state.
    #[must_use]
    pub fn number(self, name: &str, number: u64) -> Self {
        self.put(name, integer(number))
    }

    /// `true` or `false`.
    #[must_use]
    pub fn bool(self, name: &str, value: bool) -> Self {
        self.raw(name, if value { b"true" } else { b"false" })
    }

    /// The object's bytes.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        let mut out = Vec::from(b"{");
        for (name, value) in &self.0 {
            if out.len() > 1 {
                out.push(b',');
            }
            out.extend_from_slice(&quoted(name));
            out.push(b':');
            out.extend_from_slice(value);
        }
        out.push(b'}');
        out
    }
}

/// An array being written.
#[derive(Clone, Debug)]
pub struct Array(Vec<u8>);

impl Default for Array {
    fn default() -> Self {
        Self(Vec::from(b"["))
    }
}

impl Array {
    /// An empty array.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An element that is canonical JSON already.
    #[must_use]
    pub fn raw(mut self, value: &[u8]) -> Self {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        self.0.extend_from_slice(value);
        self
    }

    /// A text.
    #[must_use]
    pub fn text(self, text: &str) -> Self {
        self.raw(&quoted(text))
    }

    /// An integer from 0.
    ///
    /// # Panics
    /// If it is above [`INTEGER_MAX`].
    #[must_use]
    pub fn number(self, number: u64) -> Self {
        self.raw(&integer(number))
    }

    /// The array's bytes.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.0.push(b']');
        self.0
    }
}

/// By UTF-16 code units (RFC 8785, section 3.2.3).
fn order(a: &str, b: &str) -> Ordering {
    a.encode_utf16().cmp(b.encode_utf16())
}

fn integer(number: u64) -> Vec<u8> {
    assert!(number <= INTEGER_MAX, "an integer that JSON cannot hold");
    number.to_string().into_bytes()
}

fn quoted_hex(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 + 2 * bytes.len());
    out.push(b'"');
    for byte in bytes {
        out.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
    out.push(b'"');
    out
}

fn quoted(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 + text.len());
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            0x08 => out.extend(b"\\b"),
            0x09 => out.extend(b"\\t"),
            0x0a => out.extend(b"\\n"),
            0x0c => out.extend(b"\\f"),
            0x0d => out.extend(b"\\r"),
            0..0x20 => {
                out.extend(b"\\u00");
                out.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
    out
}
