//! Recursive Length Prefix (Ethereum yellow paper, appendix B), read strictly and written.
//!
//! An item is a string of bytes or a list of items. There is one encoding of an item: the shortest head, a single byte
//! below 0x80 as itself, numbers without leading zeros. A length is checked against what is there before it is used.

use super::transaction::TransactionError;

/// Strings and lists up to this long have their length in the head's one byte.
const SHORT_MAX: usize = 55;
const STRING: u8 = 0x80;
const LIST: u8 = 0xc0;

/// Reads items one after the other.
pub(super) struct Items<'a>(pub(super) &'a [u8]);

impl<'a> Items<'a> {
    /// The next item, which must be a string.
    pub(super) fn string(&mut self) -> Result<&'a [u8], TransactionError> {
        match self.0 {
            [byte, rest @ ..] if *byte < STRING => {
                self.0 = rest;
                Ok(core::slice::from_ref(byte))
            }
            [head, ..] if *head < LIST => match self.body(STRING)? {
                [byte] if *byte < STRING => Err(TransactionError::Rlp),
                string => Ok(string),
            },
            [] => Err(TransactionError::Truncated),
            _ => Err(TransactionError::Rlp),
        }
    }

    /// The next item, which must be a list: its items.
    pub(super) fn list(&mut self) -> Result<Self, TransactionError> {
        match self.0 {
            [head, ..] if *head >= LIST => self.body(LIST).map(Self),
            [] => Err(TransactionError::Truncated),
            _ => Err(TransactionError::Rlp),
        }
    }

    /// The next item, which must be a number of at most `N` bytes, big-endian.
    pub(super) fn number<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], TransactionError> {
        let digits = self.string()?;
        if digits.first() == Some(&0) {
            return Err(TransactionError::Rlp);
        }
        let mut number = [0; N];
        let at = N.checked_sub(digits.len()).ok_or(TransactionError::Field(field))?;
        number[at..].copy_from_slice(digits);
        Ok(number)
    }

    /// Nothing may follow.
    pub(super) const fn end(&self) -> Result<(), TransactionError> {
        if self.0.is_empty() { Ok(()) } else { Err(TransactionError::Surplus) }
    }

    /// What follows a head of this kind.
    fn body(&mut self, kind: u8) -> Result<&'a [u8], TransactionError> {
        let (head, rest) = self.0.split_first().ok_or(TransactionError::Truncated)?;
        let short = usize::from(head - kind);
        let (length, rest) = if short <= SHORT_MAX { (short, rest) } else { long_length(short - SHORT_MAX, rest)? };
        let (body, rest) = rest.split_at_checked(length).ok_or(TransactionError::Truncated)?;
        self.0 = rest;
        Ok(body)
    }
}

/// A length that stands in bytes of its own.
fn long_length(digits: usize, rest: &[u8]) -> Result<(usize, &[u8]), TransactionError> {
    let (digits, rest) = rest.split_at_checked(digits).ok_or(TransactionError::Truncated)?;
    if digits.first() == Some(&0) {
        return Err(TransactionError::Rlp);
    }
    let mut length = 0usize;
    for digit in digits {
        // Too long for this machine is longer than anything that is there.
        let shifted = length.checked_mul(256).ok_or(TransactionError::Truncated)?;
        length = shifted | usize::from(*digit);
    }
    if length <= SHORT_MAX { Err(TransactionError::Rlp) } else { Ok((length, rest)) }
}

/// Appends a string.
pub(super) fn write_string(out: &mut Vec<u8>, string: &[u8]) {
    if let [byte] = string
        && *byte < STRING
    {
        out.push(*byte);
        return;
    }
    write_head(out, STRING, string.len());
    out.extend_from_slice(string);
}

/// Appends a number, given in any width, big-endian.
pub(super) fn write_number(out: &mut Vec<u8>, number: &[u8]) {
    let at = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    write_string(out, &number[at..]);
}

/// Appends a list of items that are encoded already.
pub(super) fn write_list(out: &mut Vec<u8>, items: &[u8]) {
    write_head(out, LIST, items.len());
    out.extend_from_slice(items);
}

fn write_head(out: &mut Vec<u8>, kind: u8, length: usize) {
    if length <= SHORT_MAX {
        out.push(kind + length as u8);
        return;
    }
    let digits = length.to_be_bytes();
    let at = digits.iter().position(|byte| *byte != 0).unwrap_or(digits.len());
    let digits = &digits[at..];
    out.push(kind + (SHORT_MAX + digits.len()) as u8);
    out.extend_from_slice(digits);
}
