//! Comma-separated values as RFC 4180 has them, without formulas.
//!
//! Takes texts and integers; gives lines that end with CR LF. A text that a spreadsheet would take for a formula gets an
//! apostrophe in front; a text with a comma, a quote or a line's end is quoted, and its quotes doubled. Integers are ours,
//! and stay numbers, also below zero.

use alloc::format;
use alloc::string::String;

/// One line being written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line(String);

impl Line {
    pub(crate) fn text(mut self, text: &str) -> Self {
        self.separate();
        let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '|', '%']);
        let text = if formula { format!("'{text}") } else { text.into() };
        if text.contains([',', '"', '\r', '\n']) {
            self.0.push('"');
            self.0.push_str(&text.replace('"', "\"\""));
            self.0.push('"');
        } else {
            self.0.push_str(&text);
        }
        self
    }

    pub(crate) fn number(mut self, number: i64) -> Self {
        self.separate();
        self.0.push_str(&format!("{number}"));
        self
    }

    fn separate(&mut self) {
        if !self.0.is_empty() {
            self.0.push(',');
        }
    }

    /// The line.
    pub(crate) fn finish(self) -> String {
        self.0 + "\r\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_texts_and_numbers_stay_numbers() {
        for (text, written) in [
            ("=1+1", "'=1+1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("-2", "'-2"),
            ("+2", "'+2"),
            ("\tx", "'\tx"),
            ("=HYPERLINK(\"u\",1)", "\"'=HYPERLINK(\"\"u\"\",1)\""),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("a\r\nb", "\"a\r\nb\""),
            ("a=b", "a=b"),
        ] {
            assert_eq!(Line::default().number(7).text(text).number(-5).finish(), format!("7,{written},-5\r\n"));
        }
    }
}
