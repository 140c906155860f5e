//! Bytes as text in fixtures and reports: keys and values are mostly text, and have to read as such.
//!
//! Visible ASCII and spaces stand for themselves, a backslash is `\\`, every other byte is `\x` and two hex digits.
//! [`shown`] and [`parse`] are inverse.

use core::fmt::Write as _;

/// Bytes as text.
#[must_use]
pub fn shown(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(*byte)),
            // Writing to a String cannot fail.
            _ => drop(write!(text, "\\x{byte:02x}")),
        }
    }
    text
}

/// The bytes that a text shows; none if it shows none.
#[must_use]
pub fn parse(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        match (byte, rest) {
            (b'\\', [b'\\', after @ ..]) => {
                bytes.push(b'\\');
                rest = after;
            }
            (b'\\', [b'x', high, low, after @ ..]) => {
                let digit = |c: &u8| char::from(*c).to_digit(16).filter(|_| !c.is_ascii_uppercase());
                bytes.push(u8::try_from(digit(high)? << 4 | digit(low)?).ok()?);
                rest = after;
            }
            (b' '..=b'~', _) if *byte != b'\\' => bytes.push(*byte),
            _ => return None,
        }
    }
    Some(bytes)
}

/// A text cut to a length for a report.
#[must_use]
pub fn short(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or(text)),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(parse(&shown(&all)), Some(all));
        assert_eq!(shown(b"count/\x00a\\"), r"count/\x00a\\");
    }

    #[test]
    fn what_shows_no_bytes_is_refused() {
        for text in ["\\", "\\x", "\\x0", "\\xg0", "\\y", "é", "\n", "\\x0A"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
