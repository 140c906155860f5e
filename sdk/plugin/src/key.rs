//! Keys: a table's prefix, then parts, encoded so that bytes sort as the parts do and no two lists of parts meet.
//!
//! Takes the parts in the order of the table's schema; [`KeyReader`] takes them back out. Texts and bytes are escaped
//! and closed (`00` becomes `00 FF`, the end is `00 01`), numbers are big-endian, ids stand as they are.
//! A secondary index is a table of its own whose keys are what is searched for and then the primary key's parts, and
//! whose values are empty: [`crate::State::reindex`] moves an entry, [`Key::within`] is the range of all that share the
//! front parts.
//!
//! ```
//! # use tally_plugin::{Key, Table};
//! const ITEMS: Table = Table::new("item/");
//! const BY_PRICE: Table = Table::new("price/");
//!
//! let item = ITEMS.key().text("lamp");
//! let entry = BY_PRICE.key().u64(1995).text("lamp");
//! let mut parts = BY_PRICE.read(entry.as_bytes()).expect("an entry of this index");
//! assert_eq!((parts.u64(), parts.text()), (Some(1995), Some("lamp".into())));
//! ```

use alloc::string::String;
use alloc::vec::Vec;

const ESCAPE: u8 = 0x00;
const ESCAPED: u8 = 0xFF;
const END: u8 = 0x01;

/// The keys under one prefix, all with the same parts. The prefix belongs into the manifest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Table(&'static str);

impl Table {
    /// A table.
    ///
    /// # Panics
    /// If the prefix is empty, longer than 16 bytes, or has letters other than `a-z 0-9 _ - . /`.
    #[must_use]
    pub const fn new(prefix: &'static str) -> Self {
        let bytes = prefix.as_bytes();
        assert!(!bytes.is_empty() && bytes.len() <= 16, "a prefix has 1 to 16 bytes");
        let mut at = 0;
        while at < bytes.len() {
            assert!(
                matches!(bytes[at], b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'/'),
                "a prefix has letters a-z 0-9 _ - . / only"
            );
            at += 1;
        }
        Self(prefix)
    }

    /// The prefix.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        self.0
    }

    /// A key of this table, still without parts.
    #[must_use]
    pub fn key(self) -> Key {
        Key(Vec::from(self.0.as_bytes()))
    }

    /// The parts of a key, if it is one of this table.
    #[must_use]
    pub fn read(self, key: &[u8]) -> Option<KeyReader<'_>> {
        key.strip_prefix(self.0.as_bytes()).map(KeyReader)
    }
}

/// A key, or the front of keys.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key(Vec<u8>);

impl Key {
    /// Longest key a host takes, unless it was granted more.
    pub const BYTES_MAX: usize = 256;

    /// With a text.
    #[must_use]
    pub fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    /// With bytes of any length.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        for byte in bytes {
            self.0.push(*byte);
            if *byte == ESCAPE {
                self.0.push(ESCAPED);
            }
        }
        self.0.extend_from_slice(&[ESCAPE, END]);
        self
    }

    /// With a number.
    #[must_use]
    pub fn u64(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// With a number that may be negative.
    #[must_use]
    pub fn i64(self, number: i64) -> Self {
        self.u64(number.cast_unsigned() ^ (1 << 63))
    }

    /// With an id or a hash: always `N` bytes.
    #[must_use]
    pub fn id<const N: usize>(mut self, id: &[u8; N]) -> Self {
        self.0.extend_from_slice(id);
        self
    }

    /// Whether a host takes it.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.0.len() <= Self::BYTES_MAX
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// All keys that begin with this one's parts.
    #[must_use]
    pub fn within(&self) -> Range {
        Range { start: self.0.clone(), end: after_all(&self.0), reverse: false }
    }
}

/// The smallest key above all that begin with `front`; empty (the end of the space) if there is none.
fn after_all(front: &[u8]) -> Vec<u8> {
    let kept = front.iter().rposition(|byte| *byte != u8::MAX);
    let mut end = kept.map_or_else(Vec::new, |last| front[..=last].to_vec());
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

/// Keys from `start` up to, but without, `end`; in key order, or from the end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Range {
    pub(crate) start: Vec<u8>,
    pub(crate) end: Vec<u8>,
    pub(crate) reverse: bool,
}

impl Range {
    /// From `start` up to, but without, `end`.
    #[must_use]
    pub fn between(start: &Key, end: &Key) -> Self {
        Self { start: start.0.clone(), end: end.0.clone(), reverse: false }
    }

    /// Whether a key lies in it.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start.as_slice() && (self.end.is_empty() || key < self.end.as_slice())
    }

    /// From the end.
    #[must_use]
    pub fn reversed(mut self) -> Self {
        self.reverse = !self.reverse;
        self
    }

    /// Only what follows `key` in the range's direction: how a caller asks for the next page.
    #[must_use]
    pub fn after(mut self, key: &[u8]) -> Self {
        if self.reverse {
            if self.end.is_empty() || key < self.end.as_slice() {
                self.end = Vec::from(key);
            }
        } else if key >= self.start.as_slice() {
            self.start = Vec::from(key);
            self.start.push(0);
        }
        self
    }
}

/// The parts of a key, taken from the front. A part that is not there is nothing, and so is all after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyReader<'a>(&'a [u8]);

impl<'a> KeyReader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (part, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(part)
    }

    /// The next part as bytes.
    pub fn bytes(&mut self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut rest = self.0;
        loop {
            let (byte, after) = rest.split_first()?;
            rest = after;
            if *byte == ESCAPE {
                let (mark, after) = rest.split_first()?;
                rest = after;
                match *mark {
                    END => break,
                    ESCAPED => {}
                    _ => return None,
                }
            }
            bytes.push(*byte);
        }
        self.0 = rest;
        Some(bytes)
    }

    /// The next part as text.
    pub fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?).ok()
    }

    /// The next part as a number.
    pub fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_be_bytes)
    }

    /// The next part as a number that may be negative.
    pub fn i64(&mut self) -> Option<i64> {
        Some((self.u64()? ^ (1 << 63)).cast_signed())
    }

    /// The next part as an id.
    pub fn id<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// What was not read yet; empty when all parts were.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }
}
