//! A Rust file as the lints see it: code without comments and literals, the literals beside it, tests known.
//!
//! Takes a file's text; gives its code with the same lines and columns, where every comment and the inside of every
//! literal is blank, so that a rule never trips over prose. Nothing fails: what does not lex is read as code.

use std::collections::BTreeMap;

/// A lexed file.
#[derive(Debug)]
pub struct Source {
    code: Vec<String>,
    literals: Vec<(usize, String)>,
    is_test: Vec<bool>,
}

/// What a test function's attributes say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TestKind {
    /// It runs with the others.
    Runs,
    /// It is marked `#[ignore]` and proves nothing.
    Ignored,
}

impl Source {
    /// Lexes a file. The name decides whether the whole file is test code.
    #[must_use]
    pub fn parse(name: &str, text: &str) -> Source {
        let (blanked, literals) = blank(text);
        let code: Vec<String> = blanked.lines().map(str::to_owned).collect();
        let is_test = if is_test_file(name) { vec![true; code.len()] } else { test_lines(&code) };
        Source { code, literals, is_test }
    }

    /// Every line of code, from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.iter().enumerate().map(|(number, line)| (number + 1, line.as_str()))
    }

    /// The lines that are not test code.
    pub fn production(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines().filter(|(number, _)| !self.is_test[number - 1])
    }

    /// The string literals outside of tests, with the line they start at.
    pub fn literals(&self) -> impl Iterator<Item = (usize, &str)> {
        let production = |line: &usize| !self.is_test.get(line - 1).copied().unwrap_or(false);
        self.literals.iter().filter(move |(line, _)| production(line)).map(|(line, text)| (*line, text.as_str()))
    }

    /// The test functions of this file by name.
    #[must_use]
    pub fn tests(&self) -> BTreeMap<String, TestKind> {
        let mut found = BTreeMap::new();
        let mut attributes = String::new();
        for (_, line) in self.lines() {
            let line = line.trim();
            match function_name(line) {
                Some(name) if is_test_attribute(&attributes) => {
                    let kind = if has_word(&attributes, "ignore") { TestKind::Ignored } else { TestKind::Runs };
                    found.insert(name.to_owned(), kind);
                    attributes.clear();
                }
                _ if line.starts_with('#') => attributes.push_str(line),
                _ if line.is_empty() => {}
                _ if !attributes.is_empty() && !attributes.trim_end().ends_with(']') => attributes.push_str(line),
                _ => attributes.clear(),
            }
        }
        found
    }
}

/// Whether a word stands in a line as a whole identifier.
#[must_use]
pub fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].chars().next_back().is_some_and(part) && !line[at + word.len()..].chars().next().is_some_and(part)
    })
}

fn is_test_attribute(attributes: &str) -> bool {
    attributes.contains("#[test]") || attributes.contains("::test]") || attributes.contains("::test(")
}

fn function_name(line: &str) -> Option<&str> {
    let mut rest = line;
    for prefix in ["pub ", "async "] {
        rest = rest.strip_prefix(prefix).unwrap_or(rest);
    }
    let rest = rest.strip_prefix("fn ")?;
    rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next()
}

fn is_test_file(name: &str) -> bool {
    name.ends_with("/tests.rs") || name.starts_with("tests/") || name.contains("/tests/") || name.contains("/benches/")
}

/// Marks the lines of items under `#[cfg(test)]` (also `any(test, ...)`) by counting braces.
fn test_lines(code: &[String]) -> Vec<bool> {
    let mut marks = vec![false; code.len()];
    let mut at = 0;
    while at < code.len() {
        let trimmed = code[at].trim();
        let gate = trimmed.starts_with("#[cfg(") && has_word(trimmed, "test") && !trimmed.contains("not(test");
        if !gate {
            at += 1;
            continue;
        }
        let end = item_end(code, at);
        marks[at..=end].fill(true);
        at = end + 1;
    }
    marks
}

fn item_end(code: &[String], start: usize) -> usize {
    let mut depth = 0_i64;
    for (number, line) in code.iter().enumerate().skip(start) {
        let body = if number == start { line.split_once(']').map_or("", |(_, rest)| rest) } else { line.as_str() };
        for c in body.chars() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 && (c == '}' || c == ';') {
                return number;
            }
        }
    }
    code.len() - 1
}

/// Blanks comments and the inside of literals, keeping every line break and column.
fn blank(text: &str) -> (String, Vec<(usize, String)>) {
    let mut lexer = Lexer { rest: text, out: String::with_capacity(text.len()), line: 1, literals: Vec::new() };
    while !lexer.rest.is_empty() {
        lexer.step();
    }
    (lexer.out, lexer.literals)
}

struct Lexer<'a> {
    rest: &'a str,
    out: String,
    line: usize,
    literals: Vec<(usize, String)>,
}

impl Lexer<'_> {
    fn step(&mut self) {
        let rest = self.rest;
        if rest.starts_with("//") {
            let end = rest.find('\n').unwrap_or(rest.len());
            self.take(end, false);
        } else if rest.starts_with("/*") {
            self.take(block_comment_end(rest), false);
        } else if let Some((open, close)) = raw_string(rest).filter(|_| !self.after_identifier()) {
            self.literal(open, &close);
        } else if rest.starts_with('"') {
            self.quoted();
        } else if let Some(length) = char_literal(rest) {
            self.take(length, false);
        } else {
            self.take(rest.chars().next().map_or(1, char::len_utf8), true);
        }
    }

    fn after_identifier(&self) -> bool {
        self.out.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_')
    }

    fn take(&mut self, length: usize, keep: bool) {
        let (taken, rest) = self.rest.split_at(length);
        for c in taken.chars() {
            self.out.push(if keep || c == '\n' { c } else { ' ' });
            self.line += usize::from(c == '\n');
        }
        self.rest = rest;
    }

    fn literal(&mut self, open: usize, close: &str) {
        let start = self.line;
        self.take(open, true);
        let length = self.rest.find(close).unwrap_or(self.rest.len());
        self.literals.push((start, self.rest[..length].to_owned()));
        self.take(length, false);
        self.take(close.len().min(self.rest.len()), true);
    }

    fn quoted(&mut self) {
        let start = self.line;
        self.take(1, true);
        let mut escaped = false;
        let end = self.rest.char_indices().find(|(_, c)| {
            let closes = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            closes
        });
        let length = end.map_or(self.rest.len(), |(at, _)| at);
        self.literals.push((start, self.rest[..length].to_owned()));
        self.take(length, false);
        self.take(1.min(self.rest.len()), true);
    }
}

fn block_comment_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while at < bytes.len() {
        match bytes.get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") if depth == 1 => return at + 2,
            Some(b"*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The length of the opening (`r#"`) and the closing (`"#`) of a raw string that starts here.
fn raw_string(text: &str) -> Option<(usize, String)> {
    let prefix = ["br", "cr", "r"].iter().find(|prefix| text.starts_with(**prefix))?;
    let after = &text[prefix.len()..];
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then(|| (prefix.len() + hashes + 1, format!("\"{}", "#".repeat(hashes))))
}

/// The length of a character literal that starts here; a lifetime is none.
fn char_literal(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('\'')?;
    let mut chars = inner.chars();
    let first = chars.next()?;
    if first == '\\' {
        return inner[2..].find('\'').map(|at| at + 4);
    }
    (chars.next()? == '\'').then(|| first.len_utf8() + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        Source::parse("a/src/lib.rs", text).lines().map(|(_, line)| line.to_owned()).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn comments_and_literals_are_blank() {
        let text = "let a = \"Sha256\"; // Sha256\n/* Sha256 /* x */ Sha256 */ let b = r#\"Sha \" 256\"#;\nlet c = b\"x\\\"y\";";
        let code = code(text);
        assert!(!code.contains("Sha") && !code.contains('x') && !code.contains('y'));
        assert_eq!(code.lines().count(), 3);
        assert!(code.contains("let b = r#\"") && code.contains("let c = b\""));
    }

    #[test]
    fn lifetimes_are_not_character_literals() {
        assert_eq!(code("fn f<'a>(x: &'a str) -> char { '\"' }"), "fn f<'a>(x: &'a str) -> char {     }");
        assert_eq!(code("let q = '\\''; let z = 1;"), "let q =     ; let z = 1;");
    }

    #[test]
    fn literals_are_kept_beside_the_code() {
        let source = Source::parse("a/src/lib.rs", "fn a() {\n let s = \"SELECT 1\";\n}\n");
        assert_eq!(source.literals().collect::<Vec<_>>(), [(2, "SELECT 1")]);
    }

    #[test]
    fn test_modules_are_not_production() {
        let text = "fn real() {}\n#[cfg(test)]\nmod tests {\n fn planted() { if true {} }\n}\nfn after() {}\n#[cfg(test)]\nmod far;\nfn last() {}";
        let source = Source::parse("a/src/lib.rs", text);
        let lines: Vec<usize> = source.production().map(|(number, _)| number).collect();
        assert_eq!(lines, [1, 6, 9]);
    }

    #[test]
    fn a_test_is_a_function_under_a_test_attribute() {
        let text = "#[test]\nfn plain() {}\n#[tokio::test(flavor = \"multi_thread\")]\nasync fn tokio_one() {}\n\
            /// Words.\n#[test]\n#[ignore]\nfn skipped() {}\nfn helper() {}\n#[test]\nstruct X;\nfn not_one() {}\n\
            #[test]\n#[expect(\n clippy::x,\n reason = \"y\"\n)]\nfn long_attribute() {}";
        let tests = Source::parse("a/tests/x.rs", text).tests();
        let names: Vec<_> = tests.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
        let runs = TestKind::Runs;
        let expected = [("long_attribute", runs), ("plain", runs), ("skipped", TestKind::Ignored), ("tokio_one", runs)];
        assert_eq!(names, expected);
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("a.ct_eq(b)", "ct_eq") && !has_word("direct_eq", "ct_eq") && !has_word("ct_equal", "ct_eq"));
    }
}
