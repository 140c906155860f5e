//! Values: fields one after the other, little-endian, without names. A tenth of what JSON costs a guest.
//!
//! Takes and gives fields in the order of the plugin's own schema; begin a record with a version, so that a later
//! module can read an older one's.
//!
//! ```
//! # use tally_plugin::record::{Reader, Writer};
//! let value = Writer::new().u8(1).text("lamp").u64(1995).finish();
//! let mut fields = Reader::new(&value);
//! assert_eq!((fields.u8(), fields.text(), fields.u64()), (Some(1), Some("lamp"), Some(1995)));
//! assert!(fields.is_empty());
//! ```

use alloc::vec::Vec;

/// Builds a record.
#[derive(Clone, Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// An empty record.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A byte.
    #[must_use]
    pub fn u8(mut self, number: u8) -> Self {
        self.0.push(number);
        self
    }

    /// A number.
    #[must_use]
    pub fn u64(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    /// Bytes with their length.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        crate::rows::push_item(&mut self.0, bytes);
        self
    }

    /// A text with its length.
    #[must_use]
    pub fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    /// An id or a hash: always `N` bytes.
    #[must_use]
    pub fn id<const N: usize>(mut self, id: &[u8; N]) -> Self {
        self.0.extend_from_slice(id);
        self
    }

    /// The record.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Reads a record. A field that is not there is nothing.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// From a record's first field.
    #[must_use]
    pub fn new(record: &'a [u8]) -> Self {
        Self(record)
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (field, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(field)
    }

    /// A byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// A number.
    pub fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    /// Bytes.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.take(4)?.try_into().ok().map(u32::from_le_bytes)?;
        self.take(length as usize)
    }

    /// A text.
    pub fn text(&mut self) -> Option<&'a str> {
        core::str::from_utf8(self.bytes()?).ok()
    }

    /// An id or a hash.
    pub fn id<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// Whether all fields were read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
