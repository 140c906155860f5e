//! Lists as the ABI writes them: items one after the other, each a `u32` length and its bytes.
//!
//! Takes bytes from the host; a list that ends inside an item is the host's fault and stops the guest.

use alloc::vec::Vec;

/// A length that says: no value.
const ABSENT: u32 = u32::MAX;

/// Appends an item.
pub(crate) fn push_item(list: &mut Vec<u8>, item: &[u8]) {
    // A length beyond 32 bits does not fit a guest's memory.
    list.extend_from_slice(&(item.len() as u32).to_le_bytes());
    list.extend_from_slice(item);
}

/// Appends an absent value.
#[cfg(feature = "test-host")]
pub(crate) fn push_absent(list: &mut Vec<u8>) {
    list.extend_from_slice(&ABSENT.to_le_bytes());
}

/// The item at the front, and what follows. Nothing at the end of the list.
pub(crate) fn split_item(list: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (length, rest) = list.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length);
    if length == ABSENT {
        return Some((None, rest));
    }
    let (item, rest) = rest.split_at(length as usize);
    Some((Some(item), rest))
}

/// One page of a range: rows in the order asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rows {
    list: Vec<u8>,
    full: bool,
}

impl Rows {
    pub(crate) fn new(list: Vec<u8>, full: bool) -> Self {
        Self { list, full }
    }

    /// Whether the page ended because it was full, so that rows may follow.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// The rows: key and value.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = self.list.as_slice();
        core::iter::from_fn(move || {
            let (key, after_key) = split_item(rest)?;
            let (value, after) = split_item(after_key)?;
            rest = after;
            Some((key?, value?))
        })
    }
}
