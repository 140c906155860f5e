//! Where the values of a JSON text begin and end, without building any of them.
//!
//! Takes bytes, gives byte ranges of members and items; checks the whole grammar of RFC 8259 on the way, so that a text
//! that is walked to its end is well-formed. What a value *means* (duplicate keys, numbers, U+0000, surrogates, UTF-8)
//! is judged later and value by value, which is what lets one bad event of a request be refused alone.
//! Never recursive: nesting costs one bit per level, so a body of brackets costs an eighth of its size.

use core::fmt;

/// A value's bytes inside the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    start: usize,
    end: usize,
}

impl Span {
    /// The bytes.
    pub(crate) fn of(self, text: &[u8]) -> &[u8] {
        text.get(self.start..self.end).unwrap_or_default()
    }
}

/// The text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// Byte offset.
    pub(crate) at: usize,
    /// What was expected there.
    pub(crate) expected: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed JSON at byte {}: expected {}", self.at, self.expected)
    }
}

/// Which containers are open: one bit each, set for an object.
#[derive(Default)]
struct Open {
    bits: Vec<u64>,
    depth: usize,
}

impl Open {
    fn push(&mut self, object: bool) {
        if self.depth.is_multiple_of(64) {
            self.bits.push(0);
        }
        if let Some(word) = self.bits.last_mut() {
            let bit = 1 << (self.depth % 64);
            *word = if object { *word | bit } else { *word & !bit };
        }
        self.depth += 1;
    }

    fn top_is_object(&self) -> Option<bool> {
        let at = self.depth.checked_sub(1)?;
        self.bits.last().map(|word| word >> (at % 64) & 1 == 1)
    }

    fn pop(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        if self.depth.is_multiple_of(64) {
            self.bits.pop();
        }
    }
}

/// A walk through a JSON text.
pub(crate) struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    /// The next byte that is not white space.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        while let Some(&byte) = self.text.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    fn fail<T>(&self, expected: &'static str) -> Result<T, Malformed> {
        Err(Malformed { at: self.at, expected })
    }

    /// Steps over `byte`, which must be next.
    pub(crate) fn take(&mut self, byte: u8, expected: &'static str) -> Result<(), Malformed> {
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        self.fail(expected)
    }

    /// Inside an object: the next member's key with its quotes, and the walk stands at its value; `None` at the end.
    pub(crate) fn next_member(&mut self, first: &mut bool) -> Result<Option<Span>, Malformed> {
        match self.peek() {
            Some(b'}') => {
                self.at += 1;
                return Ok(None);
            }
            Some(b',') if !*first => self.at += 1,
            _ if *first => {}
            _ => return self.fail("',' or '}'"),
        }
        *first = false;
        self.peek();
        let key = self.string()?;
        self.take(b':', "':'")?;
        Ok(Some(key))
    }

    /// Inside an array: whether another item follows, at which the walk then stands.
    pub(crate) fn next_item(&mut self, first: &mut bool) -> Result<bool, Malformed> {
        match self.peek() {
            Some(b']') => {
                self.at += 1;
                return Ok(false);
            }
            Some(b',') if !*first => self.at += 1,
            _ if *first => {}
            _ => return self.fail("',' or ']'"),
        }
        *first = false;
        Ok(true)
    }

    /// Nothing but white space may follow.
    pub(crate) fn finish(&mut self) -> Result<(), Malformed> {
        match self.peek() {
            None => Ok(()),
            Some(_) => self.fail("the end"),
        }
    }

    /// Steps over one value of any kind.
    pub(crate) fn skip(&mut self) -> Result<Span, Malformed> {
        self.peek();
        let start = self.at;
        let mut open = Open::default();
        loop {
            let entered = self.enter(&mut open)?;
            if entered {
                continue;
            }
            // A value is complete; close what ends here, or go on to the next value of the innermost container.
            loop {
                let Some(object) = open.top_is_object() else { return Ok(Span { start, end: self.at }) };
                match (object, self.peek()) {
                    (_, Some(b',')) => {
                        self.at += 1;
                        if object {
                            self.key()?;
                        }
                        break;
                    }
                    (true, Some(b'}')) | (false, Some(b']')) => {
                        self.at += 1;
                        open.pop();
                    }
                    (true, _) => return self.fail("',' or '}'"),
                    (false, _) => return self.fail("',' or ']'"),
                }
            }
        }
    }

    /// Steps over a scalar or an empty container, or enters a container (then true: a value comes next).
    fn enter(&mut self, open: &mut Open) -> Result<bool, Malformed> {
        match self.peek() {
            Some(b'{') => {
                self.at += 1;
                if self.peek() == Some(b'}') {
                    self.at += 1;
                    return Ok(false);
                }
                self.key()?;
                open.push(true);
                Ok(true)
            }
            Some(b'[') => {
                self.at += 1;
                if self.peek() == Some(b']') {
                    self.at += 1;
                    return Ok(false);
                }
                open.push(false);
                Ok(true)
            }
            Some(b'"') => self.string().map(|_| false),
            Some(b'-' | b'0'..=b'9') => self.number().map(|()| false),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            _ => self.fail("a value"),
        }
    }

    fn key(&mut self) -> Result<(), Malformed> {
        self.peek();
        self.string()?;
        self.take(b':', "':'")
    }

    fn literal(&mut self, word: &'static [u8]) -> Result<bool, Malformed> {
        if self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            self.at += word.len();
            return Ok(false);
        }
        self.fail("a value")
    }

    fn string(&mut self) -> Result<Span, Malformed> {
        let start = self.at;
        if self.text.get(self.at) != Some(&b'"') {
            return self.fail("'\"'");
        }
        self.at += 1;
        loop {
            match self.text.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Span { start, end: self.at });
                }
                Some(b'\\') => self.escape()?,
                Some(0..0x20) => return self.fail("an escaped control character"),
                Some(_) => self.at += 1,
                None => return self.fail("'\"'"),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Malformed> {
        self.at += 1;
        match self.text.get(self.at) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                let digits = self.text.get(self.at + 1..self.at + 5);
                if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                    return self.fail("four hexadecimal digits");
                }
                self.at += 5;
            }
            _ => return self.fail("an escape"),
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        let before = self.at;
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        if self.at == before { self.fail("a digit") } else { Ok(()) }
    }

    fn number(&mut self) -> Result<(), Malformed> {
        if self.text.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        if self.text.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.text.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.text.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> bool {
        let mut cursor = Cursor::new(text.as_bytes());
        cursor.skip().and_then(|_| cursor.finish()).is_ok()
    }

    const GOOD: &[&str] = &[
        "0",
        "-0",
        "1.5e+10",
        "1E9",
        "true",
        "false",
        "null",
        "\"\"",
        "\"a\\u0000\\n\\/\"",
        "{}",
        "[]",
        " [ ] ",
        "{\"a\":[1,{\"b\":{}}],\"a\":null}",
        "[[[[]]]]",
        "[1,2 , 3]",
        "\"\u{e9}\"",
        "[{},{}]",
        "{\"\":{\"\":[]}}",
    ];

    const BAD: &[&str] = &[
        "",
        " ",
        "01",
        "-",
        "+1",
        "1.",
        ".5",
        "1e",
        "1e+",
        "tru",
        "nulll",
        "\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\n\"",
        "{",
        "}",
        "[",
        "]",
        "[1,]",
        "[,1]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{1:1}",
        "[1 2]",
        "1 2",
        "[}",
        "{]",
        "{\"a\":1]",
        "[1}",
        "'a'",
        "NaN",
        "Infinity",
        "\u{feff}1",
        "//c\n1",
        "{\"a\":1 \"b\":2}",
        "[[]",
    ];

    #[test]
    fn accepts_exactly_what_another_reader_accepts() {
        for text in GOOD {
            assert!(check(text), "{text}");
            assert!(serde_json::from_str::<serde_json::Value>(text).is_ok(), "{text}");
        }
        for text in BAD {
            assert!(!check(text), "{text}");
            assert!(serde_json::from_str::<serde_json::Value>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn mutations_of_good_texts_agree_with_another_reader() {
        let seed = "{\"a\":[1,-2.5e3,\"x\\u0041\\\"y\",true,null,{\"b\":{},\"c\":[]}],\"d\":false}";
        let alphabet = b"{}[]\",:\\0-1e.tu \n";
        for at in 0..seed.len() {
            for &byte in alphabet {
                let mut text = seed.as_bytes().to_vec();
                text[at] = byte;
                let text = String::from_utf8(text).unwrap();
                // IgnoredAny checks the grammar alone: no duplicate keys, no number ranges, no surrogates.
                let other = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
                assert_eq!(check(&text), other, "{text}");
            }
        }
    }

    #[test]
    fn nesting_is_bounded_by_the_text_alone() {
        let deep = "[".repeat(1 << 20) + &"]".repeat(1 << 20);
        assert!(check(&deep));
        assert!(!check(&"[".repeat(1 << 20)));
        let mixed = "[{\"a\":".repeat(1000) + "1" + &"}]".repeat(1000);
        assert!(check(&mixed));
    }

    #[test]
    fn members_and_items_are_found_where_they_are() {
        let text = br#" { "a" : [ 1 , {"x":2} ] , "b\u0041" : "c" } "#;
        let mut cursor = Cursor::new(text);
        cursor.take(b'{', "'{'").unwrap();
        let mut first = true;
        assert_eq!(cursor.next_member(&mut first).unwrap().unwrap().of(text), b"\"a\"");
        cursor.take(b'[', "'['").unwrap();
        let mut first_item = true;
        assert!(cursor.next_item(&mut first_item).unwrap());
        assert_eq!(cursor.skip().unwrap().of(text), b"1");
        assert!(cursor.next_item(&mut first_item).unwrap());
        assert_eq!(cursor.skip().unwrap().of(text), br#"{"x":2}"#);
        assert!(!cursor.next_item(&mut first_item).unwrap());
        assert_eq!(cursor.next_member(&mut first).unwrap().unwrap().of(text), br#""b\u0041""#);
        assert_eq!(cursor.skip().unwrap().of(text), b"\"c\"");
        assert_eq!(cursor.next_member(&mut first).unwrap(), None);
        assert_eq!(cursor.finish(), Ok(()));
    }
}
