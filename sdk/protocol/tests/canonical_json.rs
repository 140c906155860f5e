//! Laws of canonical JSON under hostile inputs: the check, the reading and the writing always agree.

#![expect(clippy::unwrap_used, reason = "a test's helper panics as the test does")]

use proptest::prelude::*;
use proptest::sample::Index;
use tally_protocol::jcs::{self, INTEGER_MAX, JcsErrorKind, Value};

/// Everything that must hold of any bytes whatever.
fn agree(bytes: &[u8]) {
    let shown = String::from_utf8_lossy(bytes);
    let parsed = jcs::parse(bytes);
    let written = parsed.as_ref().map(jcs::to_canonical).map_err(|error| *error);
    assert_eq!(jcs::is_canonical(bytes).is_ok(), written.as_deref() == Ok(bytes), "check against form: {shown}");
    assert_eq!(jcs::canonicalize(bytes), written, "shortcut against the long way: {shown}");
    let foreign = serde_json::from_slice::<serde_json::Value>(bytes);
    match (parsed, written) {
        (Ok(value), Ok(written)) => {
            assert_eq!(jcs::is_canonical(&written), Ok(()), "{shown}");
            assert_eq!(jcs::parse(&written).as_ref(), Ok(&value), "{shown}");
            assert!(same(&value, &foreign.expect("what we read is JSON")), "{shown}");
        }
        (Err(error), _) => {
            assert!(error.at <= bytes.len(), "{shown}");
            // What is JSON to others and not to us has a reason of its own.
            let ours = matches!(
                error.kind,
                JcsErrorKind::DuplicateKey | JcsErrorKind::IntegerRange | JcsErrorKind::Nul | JcsErrorKind::Depth
            );
            assert!(foreign.is_err() || ours, "{error}: {shown}");
        }
        (Ok(_), Err(_)) => unreachable!("writing cannot fail"),
    }
}

/// Whether another parser read the same; its doubles may be off by the last digit.
fn same(ours: &Value, foreign: &serde_json::Value) -> bool {
    use serde_json::Value as Foreign;
    match (ours, foreign) {
        (Value::Null, Foreign::Null) => true,
        (Value::Bool(left), Foreign::Bool(right)) => left == right,
        (Value::String(left), Foreign::String(right)) => left == right,
        (Value::Number(left), Foreign::Number(right)) => {
            let right = right.as_f64().unwrap();
            (left - right).abs() <= left.abs() * 1e-15 || (left - right).abs() < 1e-300
        }
        (Value::Array(left), Foreign::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Foreign::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, left)| right.get(key).is_some_and(|right| same(left, right)))
        }
        _ => false,
    }
}

/// Strings that sit on the edges: of UTF-16 order, of escaping, of UTF-8 length.
fn edge_string() -> impl Strategy<Value = String> {
    let edges = "\u{1}\u{8}\t\n\u{b}\u{c}\r\u{1f} !\"/\\07Aa\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{fb33}\u{fffd}\u{ffff}\u{10000}\u{1f600}\u{10ffff}";
    let edges: Vec<char> = edges.chars().collect();
    prop_oneof![
        3 => prop::collection::vec(prop::sample::select(edges), 0..12).prop_map(String::from_iter),
        1 => "[a-z]{0,20}",
        1 => any::<String>().prop_map(|text| text.replace('\0', "")),
    ]
}

fn readable_number() -> impl Strategy<Value = f64> {
    let safe = INTEGER_MAX as f64;
    prop_oneof![
        (-1000i32..1000).prop_map(f64::from),
        (-(INTEGER_MAX as i64)..=INTEGER_MAX as i64).prop_map(|value| value as f64),
        any::<u64>().prop_map(f64::from_bits),
        (any::<i32>(), 0i32..12).prop_map(|(digits, places)| f64::from(digits) / 10f64.powi(places)),
    ]
    .prop_filter("has no canonical text that reads", move |value| {
        value.is_finite() && (value.abs() <= safe || value.abs() >= 1e21)
    })
    // Negative zero reads as itself but is written as zero.
    .prop_map(|value| if value == 0.0 { 0.0 } else { value })
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        readable_number().prop_map(Value::Number),
        edge_string().prop_map(Value::String),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::btree_map(edge_string(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Another spelling of a value: blanks, members rotated, escapes where none are needed.
fn respell(value: &Value, choices: &mut impl Iterator<Item = u8>, out: &mut String) {
    let blank = |choices: &mut dyn Iterator<Item = u8>, out: &mut String| {
        out.push_str(match choices.next().unwrap_or(0) % 16 {
            0 => " ",
            1 => "\n\t",
            2 => "\r\n ",
            _ => "",
        });
    };
    blank(choices, out);
    match value {
        Value::String(text) => respell_string(text, choices, out),
        Value::Array(elements) => {
            out.push('[');
            for (at, element) in elements.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                respell(element, choices, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let from = usize::from(choices.next().unwrap_or(0)) % members.len().max(1);
            out.push('{');
            for (at, (name, member)) in members[from..].iter().chain(&members[..from]).enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                blank(choices, out);
                respell_string(name, choices, out);
                blank(choices, out);
                out.push(':');
                respell(member, choices, out);
            }
            out.push('}');
        }
        Value::Number(number) => match choices.next().unwrap_or(0) % 4 {
            0 => out.push_str(&format!("{number:e}")),
            1 => out.push_str(&format!("{number:E}")),
            2 if number.abs() < 1e15 && number.fract() != 0.0 => out.push_str(&format!("{number}0")),
            _ => out.push_str(&String::from_utf8(jcs::to_canonical(value)).unwrap()),
        },
        _ => out.push_str(&String::from_utf8(jcs::to_canonical(value)).unwrap()),
    }
    blank(choices, out);
}

fn respell_string(text: &str, choices: &mut impl Iterator<Item = u8>, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        let upper = match choices.next().unwrap_or(3) % 8 {
            0 => true,
            1 => false,
            _ => {
                let plain = String::from_utf8(jcs::to_canonical(&Value::from(c.to_string()))).unwrap();
                out.push_str(&plain[1..plain.len() - 1]);
                continue;
            }
        };
        for unit in c.encode_utf16(&mut [0; 2]) {
            out.push_str(&if upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") });
        }
    }
    out.push('"');
}

const TOKENS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    " ",
    "\n",
    "\"a\"",
    "\"b\"",
    "\"\"",
    "\"\\u0061\"",
    "\"\\n\"",
    "\"\\u000a\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"\\ud83d\\ude00\"",
    "\"😀\"",
    "\"\u{e000}\"",
    "\"",
    "\\",
    "\\u",
    "0",
    "-",
    "-0",
    "1",
    "1.0",
    "1.5",
    "1e5",
    "1e21",
    "1e+21",
    "1e20",
    "9007199254740991",
    "9007199254740992",
    "1e400",
    ".",
    "e",
    "+",
    "true",
    "false",
    "null",
    "nul",
    "\u{feff}",
    "\u{0}",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_agree(bytes: Vec<u8>) {
        agree(&bytes);
    }

    #[test]
    fn any_tokens_agree(tokens in prop::collection::vec(prop::sample::select(TOKENS), 0..12)) {
        agree(tokens.concat().as_bytes());
    }

    #[test]
    fn any_string_body_agrees(body in prop::collection::vec(prop::sample::select(TOKENS), 0..6), key: bool) {
        let body = body.concat();
        agree(format!("\"{body}\"").as_bytes());
        if key {
            agree(format!("{{\"{body}\":1,\"b\":2}}").as_bytes());
            agree(format!("{{\"a\":1,\"{body}\":2}}").as_bytes());
        }
    }

    #[test]
    fn any_number_text_agrees(text in "-?[0-9]{1,17}(\\.[0-9]{0,17})?([eE][+-]?[0-9]{0,3})?") {
        agree(text.as_bytes());
        agree(format!("[{text}]").as_bytes());
    }

    #[test]
    fn short_decimals_agree(whole in prop_oneof![Just(0u64), 0u64..100_000], zeros in 0usize..9, fraction in 0u64..1_000_000, negative: bool) {
        let sign = if negative { "-" } else { "" };
        agree(format!("{sign}{whole}.{}{fraction}", "0".repeat(zeros)).as_bytes());
    }

    #[test]
    fn every_finite_double_is_written_as_text_that_means_it(bits: u64) {
        let value = f64::from_bits(bits);
        prop_assume!(value.is_finite());
        let text = String::from_utf8(jcs::to_canonical(&Value::Number(value))).unwrap();
        prop_assert_eq!(text.parse::<f64>().unwrap(), value);
        agree(text.as_bytes());
    }

    #[test]
    fn a_value_reads_back_from_its_canonical_form(value in value()) {
        let written = jcs::to_canonical(&value);
        agree(&written);
        prop_assert_eq!(jcs::is_canonical(&written), Ok(()));
        let read = jcs::parse(&written).unwrap();
        prop_assert_eq!(jcs::to_canonical(&read), written);
    }

    #[test]
    fn every_spelling_has_the_one_canonical_form(value in value(), choices: Vec<u8>) {
        let mut spelling = String::new();
        respell(&value, &mut choices.into_iter(), &mut spelling);
        agree(spelling.as_bytes());
        prop_assert_eq!(jcs::canonicalize(spelling.as_bytes()).unwrap(), jcs::to_canonical(&value), "{}", spelling);
    }

    #[test]
    fn a_mutation_of_a_canonical_text_agrees(
        value in value(), at: Index, other: Index, what in 0u8..4, byte: u8, token in prop::sample::select(TOKENS),
    ) {
        let mut text = jcs::to_canonical(&value);
        let at = at.index(text.len());
        match what {
            0 => text[at] = byte,
            1 => { text.remove(at); }
            2 => { text.splice(at..at, token.bytes()); }
            _ => { let end = other.index(text.len() + 1).max(at); text.drain(at..end); }
        }
        agree(&text);
    }

    #[test]
    fn keys_sort_by_their_utf_16_code_units(mut keys in prop::collection::btree_set(edge_string(), 0..8)) {
        let members = std::mem::take(&mut keys).into_iter().map(|key| (key, Value::Null)).collect();
        let written = jcs::parse(&jcs::to_canonical(&Value::Object(members))).unwrap();
        let units: Vec<Vec<u16>> =
            written.as_object().unwrap().iter().map(|(key, _)| key.encode_utf16().collect()).collect();
        prop_assert!(units.is_sorted());
    }
}

#[test]
fn nesting_is_bounded_before_the_stack_is() {
    let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
    let objects = |depth: usize| [r#"{"a":"#.repeat(depth), "1".to_owned(), "}".repeat(depth)].concat();
    for depth in [1, 63, 64, 65, 66, 128, 1 << 20] {
        for text in [nested(depth), objects(depth), "[".repeat(depth)] {
            let refused = jcs::parse(text.as_bytes()).err().map(|error| error.kind);
            assert_eq!(refused == Some(JcsErrorKind::Depth), depth > 64, "{depth}");
            assert_eq!(jcs::is_canonical(text.as_bytes()).err().map(|error| error.kind), refused, "{depth}");
        }
    }
    // Depth is of what is open, not of what was.
    let many = ["[", &vec!["[{}]"; 1000].join(","), "]"].concat();
    assert_eq!(jcs::is_canonical(many.as_bytes()), Ok(()));
}

#[test]
fn a_large_hostile_object_is_read_in_reasonable_time() {
    // Keys in falling order, all with escapes, one of them twice, at the very end.
    let keys: Vec<String> = (0..50_000).rev().map(|n| format!("\"\\u0061{n:06}\":0")).collect();
    let text = format!("{{{},\"a049999\":1}}", keys.join(","));
    let error = jcs::parse(text.as_bytes()).unwrap_err();
    assert_eq!((error.kind, error.at), (JcsErrorKind::DuplicateKey, text.len() - 12));
    let long_keys: Vec<String> = (0..200).map(|n| format!("\"\\n{}{n:03}\":0", "x".repeat(4000))).collect();
    assert_eq!(jcs::is_canonical(format!("{{{}}}", long_keys.join(",")).as_bytes()), Ok(()));
}

#[test]
fn errors_name_the_byte() {
    for (text, kind, at) in [
        (r#"{"a":1,"a":2}"#, JcsErrorKind::DuplicateKey, 7),
        (r#"{"b":1,"a":2}"#, JcsErrorKind::KeyOrder, 7),
        (r#"{"a": 1}"#, JcsErrorKind::WhiteSpace, 5),
        (r#"{"a":1} "#, JcsErrorKind::WhiteSpace, 7),
        (r#"{"a":1.0}"#, JcsErrorKind::NumberForm, 5),
        (r#"{"a":-0}"#, JcsErrorKind::NumberForm, 5),
        (r#"["\u0041"]"#, JcsErrorKind::EscapeForm, 2),
        (r#"["\/"]"#, JcsErrorKind::EscapeForm, 2),
        (r#"["\u001F"]"#, JcsErrorKind::EscapeForm, 2),
        (r#"["x\ud800"]"#, JcsErrorKind::LoneSurrogate, 3),
        (r#"["x\u0000"]"#, JcsErrorKind::Nul, 3),
        ("[9007199254740992]", JcsErrorKind::IntegerRange, 1),
        ("[1,2", JcsErrorKind::End, 4),
        ("[1,2]3", JcsErrorKind::Trailing, 5),
    ] {
        let error = jcs::is_canonical(text.as_bytes()).unwrap_err();
        assert_eq!((error.kind, error.at), (kind, at), "{text}");
    }
}

#[test]
fn accessors_say_what_is_there_and_nothing_else() {
    let value = jcs::parse(br#"{"a":[1,-1,1.5,9007199254740991],"n":null,"s":"x","t":true}"#).unwrap();
    let numbers = value.get("a").and_then(Value::as_array).unwrap();
    assert_eq!(numbers.iter().map(Value::as_u64).collect::<Vec<_>>(), [Some(1), None, None, Some(INTEGER_MAX)]);
    assert_eq!(numbers.iter().map(Value::as_i64).collect::<Vec<_>>()[..3], [Some(1), Some(-1), None]);
    assert!(value.get("n").is_some_and(Value::is_null));
    assert_eq!(value.get("s").and_then(Value::as_str), Some("x"));
    assert_eq!(value.get("t").and_then(Value::as_bool), Some(true));
    assert_eq!(value.get("x"), None);
    assert_eq!(value.get("s").and_then(|text| text.get("a")), None);
    assert_eq!(Value::integer(INTEGER_MAX).and_then(|value| value.as_u64()), Some(INTEGER_MAX));
    assert_eq!(Value::integer(INTEGER_MAX + 1), None);
    assert_eq!(jcs::to_canonical(&Value::Number(f64::NAN)), b"null");
}
