//! The straight way through a text that is canonical, as most are.
//!
//! Takes the text, says "certainly canonical" or "look closer". It knows plain strings, short escapes, short numbers
//! and names whose order needs no unescaping; at anything else, and at every fault, it gives up and leaves verdict and
//! error to the thorough check (`check.rs`). So it can only err by saying yes; the tests compare the two on everything.

use super::cmp_utf16;
use super::number::check_short;
use super::text::skip_plain;
use crate::limits::JSON_DEPTH_MAX;

/// Whether this text is certainly canonical.
pub(super) fn is_certainly_canonical(text: &str) -> bool {
    walk(text.as_bytes()).is_some()
}

/// Where the last name of an open object stands, without its quotes.
#[derive(Clone, Copy, Default)]
struct Name {
    start: u32,
    end: u32,
}

/// Walks over the whole text, which is UTF-8; `None` is "look closer".
fn walk(bytes: &[u8]) -> Option<()> {
    u32::try_from(bytes.len()).ok()?;
    // Of each open container the last name; an array has none, and no name starts at offset 0.
    let mut last = [Name::default(); JSON_DEPTH_MAX];
    let mut depth = 0;
    let mut at = 0;
    loop {
        // A value stands here, or opens.
        match *bytes.get(at)? {
            b'"' => (at, _) = string(bytes, at)?,
            c @ (b'{' | b'[') => {
                let open = last.get_mut(depth)?;
                let next = *bytes.get(at + 1)?;
                if next == c + 2 {
                    at += 2;
                } else if c == b'{' {
                    (*open, at) = name(bytes, at + 1)?;
                    depth += 1;
                    continue;
                } else {
                    *open = Name::default();
                    depth += 1;
                    at += 1;
                    continue;
                }
            }
            b'-' | b'0'..=b'9' => at = check_short(bytes, at)?,
            b't' => at = word(bytes, at, b"true")?,
            b'f' => at = word(bytes, at, b"false")?,
            b'n' => at = word(bytes, at, b"null")?,
            _ => return None,
        }
        // A value ended here: close what closes, until a next value or the end.
        loop {
            if depth == 0 {
                return (at == bytes.len()).then_some(());
            }
            let open = &mut last[depth - 1];
            let in_object = open.start != 0;
            match *bytes.get(at)? {
                b',' if in_object => {
                    let (next, after) = name(bytes, at + 1)?;
                    if !comes_before(bytes, *open, next) {
                        return None;
                    }
                    (*open, at) = (next, after);
                    break;
                }
                b',' => {
                    at += 1;
                    break;
                }
                b'}' if in_object => {}
                b']' if !in_object => {}
                _ => return None,
            }
            at += 1;
            depth -= 1;
        }
    }
}

/// Whether one name comes before another in canonical order.
#[inline(always)]
fn comes_before(bytes: &[u8], left: Name, right: Name) -> bool {
    let of = |name: Name| &bytes[name.start as usize..name.end as usize];
    match (of(left), of(right)) {
        // Mostly the first letters differ, and ASCII comes before all else.
        ([l, ..], [r @ ..0x80, ..]) if l < r => true,
        (left, right) => cmp_utf16(left, right).is_lt(),
    }
}

/// A name without escapes and its colon; gives where the value begins.
#[inline(always)]
fn name(bytes: &[u8], at: usize) -> Option<(Name, usize)> {
    if *bytes.get(at)? != b'"' {
        return None;
    }
    let (after, escaped) = string(bytes, at)?;
    if escaped || *bytes.get(after)? != b':' {
        return None;
    }
    Some((Name { start: at as u32 + 1, end: after as u32 - 1 }, after + 1))
}

/// The string whose quote stands at `at`: the offset after it, and whether it has escapes.
#[inline(always)]
fn string(bytes: &[u8], at: usize) -> Option<(usize, bool)> {
    let mut at = skip_plain(bytes, at + 1);
    let mut escaped = false;
    loop {
        match *bytes.get(at)? {
            b'"' => return Some((at + 1, escaped)),
            b'\\' if matches!(bytes.get(at + 1)?, b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't') => {
                escaped = true;
                at = skip_plain(bytes, at + 2);
            }
            _ => return None,
        }
    }
}

fn word(bytes: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    bytes[at..].starts_with(word).then_some(at + word.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::check::thorough;
    use super::*;

    /// The only law: yes means yes.
    fn holds(text: &str) -> bool {
        !is_certainly_canonical(text) || thorough(text.as_bytes()).is_ok()
    }

    #[test]
    fn what_is_typical_goes_straight_through() {
        for text in [
            r#"{"amount":1999,"currency":"EUR","items":[{"name":"Größe \"M\"\n","sku":"a\\b"},{}],"note":"","ok":true}"#,
            r#"{"a":[],"b":[[],[1,2.5,-3]],"c":null,"z":false,"ä":"ö","語":1}"#,
            "[]",
            "-17.25",
            r#""text""#,
        ] {
            assert!(is_certainly_canonical(text), "{text}");
            assert_eq!(thorough(text.as_bytes()), Ok(()));
        }
        assert!(is_certainly_canonical(&("[".repeat(64) + &"]".repeat(64))));
        assert!(!is_certainly_canonical(&("[".repeat(65) + &"]".repeat(65))));
    }

    /// Pieces that make JSON, nearly JSON and no JSON.
    fn pieces() -> impl Strategy<Value = String> {
        let pieces = [
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            " ",
            "\"",
            "\\",
            "\"a\":",
            "\"b\":",
            "\"\":",
            "\"a",
            "\"b\"",
            "\"\u{e000}\":",
            "\"\u{10000}\":",
            "\"é\":",
            "\"\\n\":",
            "\"\\u0001\"",
            "\"\\/\"",
            "\"\u{1}\"",
            "\"long enough for two steps\":",
            "\"long enough for two stepz\":",
            "0",
            "-0",
            "1",
            "12.5",
            "1.50",
            "1e3",
            "-",
            "01",
            "0.0000001",
            "123456789012345",
            "1234567890123456",
            "true",
            "false",
            "null",
            "nul",
            "{}",
            "[]",
            "\"\"",
        ];
        prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..14).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5000))]

        #[test]
        fn yes_means_yes(text in pieces()) {
            prop_assert!(holds(&text), "{}", text);
        }

        #[test]
        fn yes_means_yes_inside_containers(text in pieces()) {
            prop_assert!(holds(&format!("{{\"a\":{text}}}")), "{}", text);
            prop_assert!(holds(&format!("[{text}]")), "{}", text);
            prop_assert!(holds(&format!("{{\"a\":1,{text}}}")), "{}", text);
        }

        #[test]
        fn yes_means_yes_after_one_change(at in any::<prop::sample::Index>(), to in "\\PC|[\\x00-\\x7f]") {
            let text = r#"{"a":[1,{"b":"text, and more of it","c":-2.5}],"b":{"x":true},"cc":null,"cd":"\\\"","é":"","z":[]}"#;
            let places: Vec<_> = text.char_indices().collect();
            let (at, c) = places[at.index(places.len())];
            let mut changed = text.to_owned();
            changed.replace_range(at..at + c.len_utf8(), &to);
            prop_assert!(holds(&changed), "{}", changed);
        }
    }
}
