//! Numbers: the JSON grammar, the range rule, and ECMAScript's text of a double (RFC 8785 section 3.2.2.3).

use super::{INTEGER_MAX, JcsError, JcsErrorKind};

/// Doubles from here on are written with an exponent, and so are not integers as written.
const EXPONENT_FROM: f64 = 1e21;

/// A number literal that fits the grammar.
pub(super) struct Literal<'a> {
    text: &'a [u8],
    /// Without fraction and exponent.
    integer: bool,
    /// Offset of its first byte.
    at: usize,
}

impl<'a> Literal<'a> {
    /// Reads the grammar of RFC 8259 section 6 at `at`; whatever follows is left to the caller.
    pub(super) fn scan(bytes: &'a [u8], at: usize) -> Result<Self, JcsError> {
        let mut end = at + usize::from(bytes.get(at) == Some(&b'-'));
        match bytes.get(end) {
            Some(b'0') => end += 1,
            _ => end = some_digits(bytes, end)?,
        }
        let mut integer = true;
        if bytes.get(end) == Some(&b'.') {
            integer = false;
            end = some_digits(bytes, end + 1)?;
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            integer = false;
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            end = some_digits(bytes, end + 1 + sign)?;
        }
        Ok(Self { text: &bytes[at..end], integer, at })
    }

    /// The offset after it.
    pub(super) const fn end(&self) -> usize {
        self.at + self.text.len()
    }

    /// Its double, if the range rule allows it.
    pub(super) fn value(&self) -> Result<f64, JcsError> {
        let error = |kind| JcsError::new(kind, self.at);
        let text = core::str::from_utf8(self.text).map_err(|_| error(JcsErrorKind::Syntax))?;
        let value: f64 = text.parse().map_err(|_| error(JcsErrorKind::Syntax))?;
        let size = value.abs();
        // Rounding never carries an integer beyond the bound back to it: 2^53 is a double.
        if size > INTEGER_MAX as f64 && (self.integer || size < EXPONENT_FROM) {
            return Err(error(JcsErrorKind::IntegerRange));
        }
        if value.is_finite() { Ok(value) } else { Err(error(JcsErrorKind::NumberRange)) }
    }
}

/// The offset after at least one digit.
fn some_digits(bytes: &[u8], at: usize) -> Result<usize, JcsError> {
    let end = skip_digits(bytes, at);
    if end > at {
        return Ok(end);
    }
    let kind = if at < bytes.len() { JcsErrorKind::Syntax } else { JcsErrorKind::End };
    Err(JcsError::new(kind, at))
}

fn skip_digits(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at
}

/// Writes the canonical text of a double; `null` if it is not finite.
pub(super) fn write(out: &mut Vec<u8>, value: f64) {
    if !value.is_finite() {
        out.extend_from_slice(b"null");
    } else if value == 0.0 {
        // ECMAScript knows no negative zero in text.
        out.push(b'0');
    } else {
        out.extend_from_slice(ryu_js::Buffer::new().format_finite(value).as_bytes());
    }
}

/// Checks that a canonical number stands at `at`; gives the offset after it.
pub(super) fn check(bytes: &[u8], at: usize) -> Result<usize, JcsError> {
    if let Some(end) = check_short(bytes, at) {
        return Ok(end);
    }
    let literal = Literal::scan(bytes, at)?;
    let value = literal.value()?;
    let mut buffer = ryu_js::Buffer::new();
    let canonical = if value == 0.0 { "0" } else { buffer.format_finite(value) };
    if canonical.as_bytes() == literal.text {
        Ok(literal.end())
    } else {
        Err(JcsError::new(JcsErrorKind::NumberForm, at))
    }
}

/// The common case without converting: a decimal of at most 15 digits that ends in none to spare. A double keeps any
/// 15 digits apart, so the shortest text of such a number is the one given, if ECMAScript would not use an exponent:
/// not for integers this short, and not from 1e-6 on. `None` is "look closer", not "wrong".
pub(super) fn check_short(bytes: &[u8], at: usize) -> Option<usize> {
    let start = at + usize::from(bytes.get(at)? == &b'-');
    let point = skip_digits(bytes, start);
    let whole = &bytes[start..point];
    let leads_with_zero = *whole.first()? == b'0';
    if leads_with_zero && whole.len() > 1 {
        return None;
    }
    match bytes.get(point) {
        Some(b'.') => {}
        Some(b'e' | b'E') => return None,
        // "-0" is no canonical text; every other integer of this length is.
        _ => return (whole.len() <= 15 && (start == at || !leads_with_zero)).then_some(point),
    }
    let end = skip_digits(bytes, point + 1);
    let fraction = &bytes[point + 1..end];
    let has_exponent = matches!(bytes.get(end), Some(b'e' | b'E'));
    let short = whole.len() + fraction.len() <= 15 && fraction.last().is_some_and(|&c| c != b'0');
    let small = leads_with_zero && fraction.starts_with(b"000000");
    (short && !small && !has_exponent).then_some(end)
}
