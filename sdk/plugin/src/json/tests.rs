use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use proptest::prelude::*;
use tally_protocol::jcs;

use super::{Array, Json, Malformed, Object};

/// Values as tests make them: what the writer can write.
#[derive(Clone, PartialEq, Debug)]
enum Tree {
    Null,
    Bool(bool),
    Number(u64),
    Text(String),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

fn trees() -> impl Strategy<Value = Tree> {
    // U+0000 is canonical JSON and still refused by the log.
    let text = "[ -~]{0,8}|[\\x01-\\x1f\"\\\\é\u{fffd}\u{10000}]{0,4}".prop_map(String::from);
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::Bool),
        (0..=super::INTEGER_MAX).prop_map(Tree::Number),
        text.clone().prop_map(Tree::Text),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Tree::Array),
            prop::collection::vec((text.clone(), inner), 0..6).prop_map(Tree::Object),
        ]
    })
}

fn write(tree: &Tree) -> Vec<u8> {
    match tree {
        Tree::Null => b"null".to_vec(),
        Tree::Bool(value) => value.to_string().into_bytes(),
        Tree::Number(number) => number.to_string().into_bytes(),
        Tree::Text(text) => {
            let array = Array::new().text(text).finish();
            array[1..array.len() - 1].to_vec()
        }
        Tree::Array(items) => items.iter().fold(Array::new(), |array, item| array.raw(&write(item))).finish(),
        Tree::Object(members) => {
            members.iter().fold(Object::new(), |object, (name, value)| object.raw(name, &write(value))).finish()
        }
    }
}

/// Reads back through every view.
fn read(json: Json<'_>) -> Tree {
    if json.is_null() {
        Tree::Null
    } else if let Some(value) = json.bool() {
        Tree::Bool(value)
    } else if let Some(number) = json.u64() {
        Tree::Number(number)
    } else if let Some(text) = json.text() {
        Tree::Text(text.into_owned())
    } else if json.is_object() {
        Tree::Object(json.entries().map(|(name, value)| (name.into_owned(), read(value))).collect())
    } else {
        Tree::Array(json.items().map(read).collect())
    }
}

/// The tree as canonical JSON holds it: names once, the last value, in order.
fn settled(tree: &Tree) -> Tree {
    match tree {
        Tree::Array(items) => Tree::Array(items.iter().map(settled).collect()),
        Tree::Object(members) => {
            let mut kept: Vec<(String, Tree)> = Vec::new();
            for (name, value) in members {
                kept.retain(|(other, _)| other != name);
                kept.push((name.clone(), settled(value)));
            }
            kept.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            Tree::Object(kept)
        }
        other => other.clone(),
    }
}

proptest! {
    #[test]
    fn what_is_written_is_canonical_and_reads_as_what_was_written(tree in trees()) {
        let bytes = write(&tree);
        prop_assert!(jcs::is_canonical(&bytes).is_ok(), "{}", String::from_utf8_lossy(&bytes));
        let json = Json::parse(&bytes).expect("what is written can be read");
        prop_assert_eq!(read(json), settled(&tree));
        for (name, value) in json.entries() {
            prop_assert_eq!(json.get(&name), Some(value));
        }
    }

    #[test]
    fn what_the_log_takes_can_be_read_and_what_can_be_read_differs_only_in_numbers_and_nul(
        tree in trees(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..4_u8, any::<u8>()), 1..4),
    ) {
        let mut bytes = write(&tree);
        for (at, kind, byte) in edits {
            if bytes.is_empty() { break; }
            let at = at.index(bytes.len());
            let likely = b"{}[]:,\"\\0123-.eEtrufalsn \x1f";
            let byte = if kind == 3 { byte } else { likely[usize::from(byte) % likely.len()] };
            match kind {
                0 => drop(bytes.remove(at)),
                1 => bytes.insert(at, byte),
                _ => bytes[at] = byte,
            }
        }
        let (ours, logs) = (Json::parse(&bytes), jcs::is_canonical(&bytes));
        match logs {
            Ok(()) => prop_assert!(ours.is_ok(), "{}", String::from_utf8_lossy(&bytes)),
            Err(error) if ours.is_ok() => {
                let why = format!("{error:?}");
                let known = ["Number", "IntegerRange", "Nul"].iter().any(|kind| why.contains(kind));
                prop_assert!(known, "{}: {why}", String::from_utf8_lossy(&bytes));
            }
            Err(_) => {}
        }
    }

    #[test]
    fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(json) = Json::parse(&bytes) {
            read(json);
        }
    }
}

#[test]
fn what_is_not_canonical_is_refused() {
    for text in [
        "",
        " 1",
        "1 ",
        "01",
        "-0",
        "+1",
        "1.",
        ".5",
        "1e",
        "1E5",
        "tru",
        "nul",
        "[1,]",
        "[,1]",
        "[1 ,2]",
        "{\"a\":1,}",
        "{\"b\":1,\"a\":2}",
        "{\"a\":1,\"a\":2}",
        "{a:1}",
        "\"\\/\"",
        "\"\\u0041\"",
        "\"\\u000a\"",
        "\"\\u001F\"",
        "\"\t\"",
        "\"",
        "[",
        "{",
        "{\"a\"",
        "{\"a\":",
        "[[]",
        "1 2",
        "\"\\ud800\"",
    ] {
        assert_eq!(Json::parse(text.as_bytes()), Err(Malformed), "{text}");
    }
    assert_eq!(Json::parse(b"\"\xff\""), Err(Malformed));
}

#[test]
fn nesting_ends_where_the_log_ends_it() {
    let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat().into_bytes();
    for depth in 60..70 {
        let bytes = nested(depth);
        assert_eq!(Json::parse(&bytes).is_ok(), jcs::is_canonical(&bytes).is_ok(), "{depth}");
    }
    assert!(Json::parse(&nested(100_000)).is_err());
}

#[test]
fn a_text_without_escapes_is_borrowed() {
    let bytes = Object::new().text("plain", "a/b").text("other", "a\nb").finish();
    let json = Json::parse(&bytes).expect("canonical");
    let text = |name| json.get(name).and_then(Json::text).expect("a text");
    assert!(matches!(text("plain"), Cow::Borrowed("a/b")));
    assert_eq!(text("other"), "a\nb");
}

#[test]
fn numbers_that_are_no_integers_are_passed_on_and_not_read() {
    for text in ["1.5", "1e+21", "-2.5e-7", "18446744073709551616"] {
        let json = Json::parse(text.as_bytes()).expect("canonical");
        assert_eq!((json.u64(), json.i64(), json.raw()), (None, None, text));
    }
    assert_eq!(Json::parse(b"-5").expect("canonical").i64(), Some(-5));
}

#[test]
#[should_panic(expected = "JSON cannot hold")]
fn an_integer_beyond_json_is_not_written() {
    let _ = Object::new().number("n", super::INTEGER_MAX + 1);
}
