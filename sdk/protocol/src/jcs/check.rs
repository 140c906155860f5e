//! Is it canonical already? Mostly it is, and then one straight pass says so (`fast.rs`); here is the thorough check, also
//! one pass: no value built, nothing allocated unless two neighbouring keys have escapes. It says what is wrong and where.

use core::cmp::Ordering;

use super::fast::is_certainly_canonical;
use super::text::{read_escape, skip_plain, write_escape};
use super::{JcsError, JcsErrorKind, cmp_utf16, number};
use crate::limits::JSON_DEPTH_MAX;

/// Whether these bytes are the canonical form (RFC 8785) of a JSON text that [`super::parse()`] reads.
///
/// # Errors
/// They are not JSON, have no canonical form, or are not in it. Of several faults the first one met is told.
pub fn is_canonical(bytes: &[u8]) -> Result<(), JcsError> {
    let text = core::str::from_utf8(bytes).map_err(|error| JcsError::new(JcsErrorKind::Utf8, error.valid_up_to()))?;
    if is_certainly_canonical(text) { Ok(()) } else { thorough(bytes) }
}

/// As [`is_canonical`], of a text that is UTF-8.
pub(super) fn thorough(bytes: &[u8]) -> Result<(), JcsError> {
    let mut checker = Checker { bytes, at: 0, depth: 0, objects: 0, levels: [Key::default(); JSON_DEPTH_MAX] };
    loop {
        let opened = checker.value()?;
        if !opened && !checker.after_value()? {
            return Ok(());
        }
    }
}

/// Where a key stands, without its quotes.
#[derive(Clone, Copy, Default)]
struct Key {
    start: usize,
    end: usize,
    escaped: bool,
}

struct Checker<'a> {
    bytes: &'a [u8],
    at: usize,
    /// How many containers are open.
    depth: usize,
    /// Bit `level` says that the container is an object.
    objects: u64,
    /// The last key of each open object.
    levels: [Key; JSON_DEPTH_MAX],
}

impl Checker<'_> {
    /// Checks the value at hand; true if that was the opening of a container whose first value comes next.
    fn value(&mut self) -> Result<bool, JcsError> {
        match self.bytes.get(self.at) {
            Some(b'"') => self.string().map(|_| false),
            Some(b'{') => {
                self.open(true)?;
                if self.closes(b'}') {
                    return Ok(false);
                }
                self.levels[self.depth - 1] = self.key()?;
                Ok(true)
            }
            Some(b'[') => {
                self.open(false)?;
                Ok(!self.closes(b']'))
            }
            Some(b'-' | b'0'..=b'9') => {
                self.at = number::check(self.bytes, self.at)?;
                Ok(false)
            }
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            _ => Err(self.unexpected()),
        }
    }

    /// What follows a value: closes containers until one goes on, and steps to its next value. False at the end.
    fn after_value(&mut self) -> Result<bool, JcsError> {
        loop {
            let Some(level) = self.depth.checked_sub(1) else {
                return if self.at == self.bytes.len() { Ok(false) } else { Err(self.trailing()) };
            };
            let object = self.objects >> level & 1 == 1;
            match self.bytes.get(self.at) {
                Some(b',') => {
                    self.at += 1;
                    if object {
                        self.next_key(level)?;
                    }
                    return Ok(true);
                }
                Some(b'}') if object => {}
                Some(b']') if !object => {}
                _ => return Err(self.unexpected()),
            }
            self.at += 1;
            self.depth = level;
        }
    }

    fn open(&mut self, object: bool) -> Result<(), JcsError> {
        if self.depth == JSON_DEPTH_MAX {
            return Err(self.error(JcsErrorKind::Depth));
        }
        let bit = 1 << self.depth;
        self.objects = if object { self.objects | bit } else { self.objects & !bit };
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    /// Whether the container just opened is empty; then it is closed.
    fn closes(&mut self, c: u8) -> bool {
        let closes = self.bytes.get(self.at) == Some(&c);
        if closes {
            self.at += 1;
            self.depth -= 1;
        }
        closes
    }

    /// A key and its colon.
    fn key(&mut self) -> Result<Key, JcsError> {
        if self.bytes.get(self.at) != Some(&b'"') {
            return Err(self.unexpected());
        }
        let start = self.at + 1;
        let escaped = self.string()?;
        let key = Key { start, end: self.at - 1, escaped };
        if self.bytes.get(self.at) != Some(&b':') {
            return Err(self.unexpected());
        }
        self.at += 1;
        Ok(key)
    }

    /// A key that must come after the last one of its object.
    fn next_key(&mut self, level: usize) -> Result<(), JcsError> {
        let at = self.at;
        let (last, key) = (self.levels[level], self.key()?);
        match self.compare(last, key)? {
            Ordering::Less => {}
            Ordering::Equal => return Err(JcsError::new(JcsErrorKind::DuplicateKey, at)),
            Ordering::Greater => return Err(JcsError::new(JcsErrorKind::KeyOrder, at)),
        }
        self.levels[level] = key;
        Ok(())
    }

    fn compare(&self, left: Key, right: Key) -> Result<Ordering, JcsError> {
        let raw = |key: Key| &self.bytes[key.start..key.end];
        if left.escaped || right.escaped {
            return Ok(cmp_utf16(&unescape(raw(left))?, &unescape(raw(right))?));
        }
        Ok(cmp_utf16(raw(left), raw(right)))
    }

    /// Checks the string at hand; says whether it has escapes.
    fn string(&mut self) -> Result<bool, JcsError> {
        let mut escaped = false;
        self.at += 1;
        loop {
            self.at = skip_plain(self.bytes, self.at);
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(self.error(JcsErrorKind::Control)),
                None => return Err(self.error(JcsErrorKind::End)),
            }
        }
    }

    /// An escape is canonical if its character must be escaped and this is how.
    fn escape(&mut self) -> Result<(), JcsError> {
        if let Some(b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't') = self.bytes.get(self.at + 1) {
            self.at += 2;
            return Ok(());
        }
        let (c, next) = read_escape(self.bytes, self.at)?;
        let mut canonical = Vec::new();
        if let Ok(c @ ..0x20) = u8::try_from(c) {
            write_escape(&mut canonical, c);
        }
        if self.bytes[self.at..next] != canonical {
            return Err(self.error(JcsErrorKind::EscapeForm));
        }
        self.at = next;
        Ok(())
    }

    fn word(&mut self, word: &[u8]) -> Result<bool, JcsError> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(self.unexpected());
        }
        self.at += word.len();
        Ok(false)
    }

    const fn error(&self, kind: JcsErrorKind) -> JcsError {
        JcsError::new(kind, self.at)
    }

    fn unexpected(&self) -> JcsError {
        self.error(match self.bytes.get(self.at) {
            Some(b' ' | b'\t' | b'\n' | b'\r') => JcsErrorKind::WhiteSpace,
            Some(_) => JcsErrorKind::Syntax,
            None => JcsErrorKind::End,
        })
    }

    fn trailing(&self) -> JcsError {
        let blank = self.bytes[self.at..].iter().all(|c| b" \t\n\r".contains(c));
        self.error(if blank { JcsErrorKind::WhiteSpace } else { JcsErrorKind::Trailing })
    }
}

/// The characters of a string whose escapes were checked.
fn unescape(raw: &[u8]) -> Result<Vec<u8>, JcsError> {
    let mut out = Vec::with_capacity(raw.len());
    let mut at = 0;
    while let Some(&c) = raw.get(at) {
        if c == b'\\' {
            let (c, next) = read_escape(raw, at)?;
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            at = next;
        } else {
            out.push(c);
            at += 1;
        }
    }
    Ok(out)
}
