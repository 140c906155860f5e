//! The reading half: one pass that checks, then views.

use alloc::borrow::Cow;
use alloc::string::String;
use core::cmp::Ordering;

/// Values within values; more than the log takes.
pub const DEPTH_MAX: u32 = 64;

/// The bytes are not canonical JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

/// A value in checked canonical JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Json<'a>(&'a str);

impl<'a> Json<'a> {
    /// Checks bytes: canonical JSON, but for the spelling of numbers that are no integers.
    ///
    /// # Errors
    /// If they are not.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let text = core::str::from_utf8(bytes).map_err(|_| Malformed)?;
        let mut check = Check { bytes, at: 0 };
        check.value(0)?;
        if check.at == bytes.len() { Ok(Self(text)) } else { Err(Malformed) }
    }

    /// The value as it is written.
    #[must_use]
    pub fn raw(self) -> &'a str {
        self.0
    }

    /// A member of an object.
    #[must_use]
    pub fn get(self, name: &str) -> Option<Self> {
        self.members().find(|(raw, _)| is_text(raw, name)).map(|(_, value)| value)
    }

    /// The members of an object, in order; none if it is something else.
    pub fn entries(self) -> impl Iterator<Item = (Cow<'a, str>, Self)> {
        self.members().map(|(raw, value)| (unescape(raw), value))
    }

    /// The elements of an array; none if it is something else.
    pub fn items(self) -> impl Iterator<Item = Self> {
        let mut rest = self.0.strip_prefix('[').unwrap_or_default();
        core::iter::from_fn(move || {
            rest = rest.strip_prefix(',').unwrap_or(rest);
            if rest.is_empty() || rest.starts_with(']') {
                return None;
            }
            let (value, after) = rest.split_at(end_of_value(rest.as_bytes()));
            rest = after;
            Some(Self(value))
        })
    }

    fn members(self) -> impl Iterator<Item = (&'a str, Self)> {
        let mut rest = self.0.strip_prefix('{').unwrap_or_default();
        core::iter::from_fn(move || {
            rest = rest.strip_prefix(',').unwrap_or(rest);
            if !rest.starts_with('"') {
                return None;
            }
            let (name, after) = rest.split_at(end_of_value(rest.as_bytes()));
            let after = after.get(1..)?;
            let (value, after) = after.split_at(end_of_value(after.as_bytes()));
            rest = after;
            Some((inside(name), Self(value)))
        })
    }

    /// A text.
    #[must_use]
    pub fn text(self) -> Option<Cow<'a, str>> {
        self.0.starts_with('"').then(|| unescape(inside(self.0)))
    }

    /// An integer from 0.
    #[must_use]
    pub fn u64(self) -> Option<u64> {
        if self.0.starts_with('+') { None } else { self.0.parse().ok() }
    }

    /// An integer.
    #[must_use]
    pub fn i64(self) -> Option<i64> {
        if self.0.starts_with('+') { None } else { self.0.parse().ok() }
    }

    /// `true` or `false`.
    #[must_use]
    pub fn bool(self) -> Option<bool> {
        match self.0 {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// Whether this is `null`.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.0 == "null"
    }

    /// Whether this is an object.
    #[must_use]
    pub fn is_object(self) -> bool {
        self.0.starts_with('{')
    }
}

/// A checked text without its quotes.
fn inside(quoted: &str) -> &str {
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default()
}

/// Where a checked value at the front of `bytes` ends.
fn end_of_value(bytes: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0_u32);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = end_of_text(bytes, at);
                if depth == 0 {
                    return at;
                }
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth <= 1 => return at + usize::from(depth == 1),
            b'}' | b']' => depth -= 1,
            b',' if depth == 0 => return at,
            _ => {}
        }
        at += 1;
    }
    at
}

/// One past the closing quote of the text that opens at `at`.
fn end_of_text(bytes: &[u8], mut at: usize) -> usize {
    at += 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

fn unescape(raw: &str) -> Cow<'_, str> {
    if !raw.contains('\\') {
        return Cow::Borrowed(raw);
    }
    let mut text = String::with_capacity(raw.len());
    characters(raw).for_each(|c| text.push(c));
    Cow::Owned(text)
}

fn is_text(raw: &str, text: &str) -> bool {
    if raw.contains('\\') { characters(raw).eq(text.chars()) } else { raw == text }
}

/// The characters of a checked text.
fn characters(raw: &str) -> impl Iterator<Item = char> + '_ {
    let mut rest = raw.chars();
    core::iter::from_fn(move || match rest.next()? {
        '\\' => match rest.next()? {
            'b' => Some('\u{8}'),
            'f' => Some('\u{c}'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'u' => {
                let code = (&mut rest).take(4).try_fold(0, |code, c| Some(code * 16 + c.to_digit(16)?))?;
                char::from_u32(code)
            }
            other => Some(other),
        },
        other => Some(other),
    })
}

/// Members stand in the order of their names' UTF-16 code units (RFC 8785, section 3.2.3).
fn in_order(before: &str, after: &str) -> bool {
    let units = |c: char| {
        let mut pair = [0; 2];
        let count = c.encode_utf16(&mut pair).len();
        pair.into_iter().take(count)
    };
    characters(before).flat_map(units).cmp(characters(after).flat_map(units)) == Ordering::Less
}

struct Check<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Check<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn expect(&mut self, wanted: &[u8]) -> Result<(), Malformed> {
        let found = self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(wanted));
        self.at += wanted.len();
        if found { Ok(()) } else { Err(Malformed) }
    }

    fn skip(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, depth: u32) -> Result<(), Malformed> {
        match self.peek().ok_or(Malformed)? {
            b'{' => self.object(depth + 1),
            b'[' => self.array(depth + 1),
            b'"' => self.text().map(drop),
            b't' => self.expect(b"true"),
            b'f' => self.expect(b"false"),
            b'n' => self.expect(b"null"),
            _ => self.number(),
        }
    }

    fn object(&mut self, depth: u32) -> Result<(), Malformed> {
        self.enter(depth)?;
        let mut before: Option<&str> = None;
        if self.skip(b'}') {
            return Ok(());
        }
        loop {
            let name = self.text()?;
            if before.is_some_and(|before| !in_order(before, name)) {
                return Err(Malformed);
            }
            before = Some(name);
            self.expect(b":")?;
            self.value(depth)?;
            if !self.skip(b',') {
                return self.expect(b"}");
            }
        }
    }

    fn array(&mut self, depth: u32) -> Result<(), Malformed> {
        self.enter(depth)?;
        if self.skip(b']') {
            return Ok(());
        }
        loop {
            self.value(depth)?;
            if !self.skip(b',') {
                return self.expect(b"]");
            }
        }
    }

    fn enter(&mut self, depth: u32) -> Result<(), Malformed> {
        self.at += 1;
        if depth > DEPTH_MAX { Err(Malformed) } else { Ok(()) }
    }

    /// A text; gives what is between its quotes.
    fn text(&mut self) -> Result<&'a str, Malformed> {
        self.expect(b"\"")?;
        let start = self.at;
        loop {
            match self.peek().ok_or(Malformed)? {
                b'"' => break,
                b'\\' => self.escape()?,
                0..0x20 => return Err(Malformed),
                _ => self.at += 1,
            }
        }
        let raw = self.bytes.get(start..self.at).ok_or(Malformed)?;
        self.at += 1;
        core::str::from_utf8(raw).map_err(|_| Malformed)
    }

    /// An escape that has no shorter spelling.
    fn escape(&mut self) -> Result<(), Malformed> {
        self.at += 1;
        let kind = self.peek().ok_or(Malformed)?;
        self.at += 1;
        match kind {
            b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(()),
            b'u' => {
                let digits = self.bytes.get(self.at..self.at + 4).ok_or(Malformed)?;
                self.at += 4;
                let short = matches!(digits[3], b'8' | b'9' | b'a' | b'c' | b'd') && digits[2] == b'0';
                let hex = matches!(digits[3], b'0'..=b'9' | b'a'..=b'f');
                let control = digits.starts_with(b"00") && matches!(digits[2], b'0' | b'1') && hex;
                if control && !short { Ok(()) } else { Err(Malformed) }
            }
            _ => Err(Malformed),
        }
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(Malformed) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<(), Malformed> {
        let negative = self.skip(b'-');
        if self.skip(b'0') {
            let goes_on = matches!(self.peek(), Some(b'.' | b'e'));
            if self.peek().is_some_and(|byte| byte.is_ascii_digit()) || (negative && !goes_on) {
                return Err(Malformed);
            }
        } else {
            self.digits()?;
        }
        if self.skip(b'.') {
            self.digits()?;
        }
        if self.skip(b'e') {
            if !self.skip(b'+') {
                self.skip(b'-');
            }
            self.digits()?;
        }
        Ok(())
    }
}
