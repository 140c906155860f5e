//! Reading JSON text into a value.

use super::number::Literal;
use super::text::{read_escape, skip_plain};
use super::{JcsError, JcsErrorKind, Value, cmp_utf16};
use crate::limits::JSON_DEPTH_MAX;

/// Reads one JSON text, strictly (see the head of [`crate::jcs`]). Members of objects come out in canonical order.
///
/// # Errors
/// The text is not JSON, or has no unambiguous meaning; the kind says which, the offset where.
pub fn parse(bytes: &[u8]) -> Result<Value, JcsError> {
    let text = core::str::from_utf8(bytes).map_err(|error| JcsError::new(JcsErrorKind::Utf8, error.valid_up_to()))?;
    let mut parser = Parser { text, bytes, at: 0 };
    parser.skip_white_space();
    let value = parser.value(0)?;
    parser.skip_white_space();
    match bytes.len() - parser.at {
        0 => Ok(value),
        _ => Err(parser.error(JcsErrorKind::Trailing)),
    }
}

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    const fn error(&self, kind: JcsErrorKind) -> JcsError {
        JcsError::new(kind, self.at)
    }

    fn unexpected(&self) -> JcsError {
        self.error(if self.at < self.bytes.len() { JcsErrorKind::Syntax } else { JcsErrorKind::End })
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_white_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, c: u8) -> Result<(), JcsError> {
        if self.peek() != Some(c) {
            return Err(self.unexpected());
        }
        self.at += 1;
        Ok(())
    }

    /// Whether `c` comes next, after white space; it is stepped over.
    fn accept(&mut self, c: u8) -> bool {
        self.skip_white_space();
        let found = self.peek() == Some(c);
        self.at += usize::from(found);
        found
    }

    /// The value at hand, inside `depth` containers.
    fn value(&mut self, depth: usize) -> Result<Value, JcsError> {
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Value::String),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.unexpected()),
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, JcsError> {
        word.bytes().try_for_each(|c| self.expect(c))?;
        Ok(value)
    }

    fn number(&mut self) -> Result<Value, JcsError> {
        let literal = Literal::scan(self.bytes, self.at)?;
        let value = literal.value()?;
        self.at = literal.end();
        Ok(Value::Number(value))
    }

    fn enter(&mut self, depth: usize) -> Result<(), JcsError> {
        if depth >= JSON_DEPTH_MAX {
            return Err(self.error(JcsErrorKind::Depth));
        }
        self.at += 1;
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<Value, JcsError> {
        self.enter(depth)?;
        let mut elements = Vec::new();
        if self.accept(b']') {
            return Ok(Value::Array(elements));
        }
        loop {
            self.skip_white_space();
            elements.push(self.value(depth + 1)?);
            if !self.accept(b',') {
                self.expect(b']')?;
                return Ok(Value::Array(elements));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, JcsError> {
        self.enter(depth)?;
        let mut members = Members::default();
        if self.accept(b'}') {
            return Ok(Value::Object(Vec::new()));
        }
        loop {
            self.skip_white_space();
            let at = self.at;
            let name = self.string()?;
            self.skip_white_space();
            self.expect(b':')?;
            self.skip_white_space();
            let value = self.value(depth + 1)?;
            members.push(at, name, value);
            if !self.accept(b',') {
                self.expect(b'}')?;
                return members.finish().map(Value::Object);
            }
        }
    }

    fn string(&mut self) -> Result<String, JcsError> {
        self.expect(b'"')?;
        let mut out = String::new();
        loop {
            let start = self.at;
            self.at = skip_plain(self.bytes, start);
            // Both ends stand at ASCII bytes or at the end, so never inside a character.
            let plain = &self.text[start..self.at];
            match self.peek() {
                Some(b'"') if out.is_empty() => {
                    self.at += 1;
                    return Ok(plain.to_owned());
                }
                Some(b'"') => {
                    self.at += 1;
                    out.push_str(plain);
                    return Ok(out);
                }
                Some(b'\\') => {
                    out.push_str(plain);
                    let (c, next) = read_escape(self.bytes, self.at)?;
                    out.push(c);
                    self.at = next;
                }
                Some(_) => return Err(self.error(JcsErrorKind::Control)),
                None => return Err(self.error(JcsErrorKind::End)),
            }
        }
    }
}

/// The members of an object while it is read.
#[derive(Default)]
struct Members {
    /// Offset of the name, name, value.
    entries: Vec<(usize, String, Value)>,
    out_of_order: bool,
}

impl Members {
    fn push(&mut self, at: usize, name: String, value: Value) {
        if let Some((_, last, _)) = self.entries.last() {
            self.out_of_order |= cmp_utf16(last.as_bytes(), name.as_bytes()).is_ge();
        }
        self.entries.push((at, name, value));
    }

    fn finish(mut self) -> Result<Vec<(String, Value)>, JcsError> {
        if self.out_of_order {
            // Stable: of equal names the later one stays later, and is the one at fault.
            self.entries.sort_by(|left, right| cmp_utf16(left.1.as_bytes(), right.1.as_bytes()));
            let twice = self.entries.windows(2).filter(|pair| pair[0].1 == pair[1].1).map(|pair| pair[1].0).min();
            if let Some(at) = twice {
                return Err(JcsError::new(JcsErrorKind::DuplicateKey, at));
            }
        }
        Ok(self.entries.into_iter().map(|(_, name, value)| (name, value)).collect())
    }
}
