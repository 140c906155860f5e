//! JSON: the strict parser against its own streaming twin and against serde_json, and control payloads.

use tally_protocol::control::ControlEvent;
use tally_protocol::jcs::{self, Value};

use crate::{Shape, Target, shape_of};

pub(super) const JCS: Target = Target {
    name: "jcs",
    about: "canonical JSON: parsed, written, and judged in one pass",
    files: &["sdk/protocol/src/jcs.rs", "sdk/protocol/src/jcs/parse.rs", "sdk/protocol/src/jcs/check.rs"],
    words: &[
        b"\"\\u0000\"",
        b"\"\\ud800\"",
        b"\"\\ud83d\\ude00\"",
        b"9007199254740991",
        b"9007199254740992",
        b"-0",
        b"1e21",
        b"1e-7",
        b"1e400",
        b"0.1",
        b"[",
        b"]",
        b"{",
        b"}",
        b",",
        b":",
        b"\"a\":1,\"a\":2",
        b"null",
        b"true",
        b"\xc3\xa9",
        b"\xed\xa0\x80",
        b"[[[[[[[[[[[[[[[[",
        b" ",
        b"\\/",
        b"\\u00e9",
        b"01",
        b"1.0",
        b"-",
        b"\x7f",
        b"\xef\xbb\xbf",
    ],
    seeds: jcs_seeds,
    check: jcs,
};

pub(super) const CONTROL: Target = Target {
    name: "control",
    about: "payloads of the reserved streams' events; the first byte chooses the type",
    files: &["sdk/protocol/src/control.rs"],
    words: &[
        b"null",
        b"\"extra\":1",
        b"true",
        b"0",
        b"4294967295",
        b"4294967296",
        b"9999-12-31T23:59:59.999999Z",
        b"00000000",
    ],
    seeds: control_seeds,
    check: control,
};

fn jcs_seeds() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 8] = [
        br#"{"a":[1,2.5,-3e-7,1e+21],"b":{"c":null,"d":true},"e":"x\n\u001f\"\\"}"#,
        "{\"\\r\":1,\"1\":2,\"\u{80}\":3,\"\u{f6}\":4,\"\u{20ac}\":5,\"\u{1f600}\":6,\"\u{fb33}\":7}".as_bytes(),
        br#" { "b" : 1 , "a" : [ ] } "#,
        b"[]",
        b"0",
        b"\"\"",
        b"[[[[1]]]]",
        br#"[4.5,2e-3,1e-27,333333333.33333329,5e-324,1.7976931348623157e308]"#,
    ];
    texts.iter().map(|text| text.to_vec()).collect()
}

fn jcs(input: &[u8]) -> Shape {
    let parsed = jcs::parse(input);
    let judged = jcs::is_canonical(input);
    let value = match parsed {
        Ok(value) => value,
        Err(error) => {
            assert!(judged.is_err(), "canonical, but does not parse: {error:?}");
            assert!(error.at <= input.len(), "an error beyond the end");
            return format!("refused {:?}", error.kind);
        }
    };
    let canonical = jcs::to_canonical(&value);
    assert_eq!(judged.is_ok(), canonical == input, "the judge and the writer disagree");
    assert_eq!(jcs::is_canonical(&canonical), Ok(()), "what was written is not canonical");
    assert_eq!(jcs::parse(&canonical).as_ref(), Ok(&value), "what was written reads as another value");
    assert_eq!(jcs::canonicalize(input).as_deref(), Ok(canonical.as_slice()));
    match serde_json::from_slice::<serde_json::Value>(input) {
        Ok(foreign) => assert!(same(&value, &foreign), "serde_json reads another value"),
        // Its fast path gives up within a few digits of the largest double; ours rounds as IEEE 754 says.
        Err(error) => assert!(error.to_string().contains("out of range") && nears_the_largest(&value), "{error}"),
    }
    format!("accepted {} {}", kind(&value), if judged.is_ok() { "canonical".to_owned() } else { shape_of(&judged) })
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(items) if items.is_empty() => "empty array",
        Value::Array(_) => "array",
        Value::Object(members) if members.is_empty() => "empty object",
        Value::Object(_) => "object",
    }
}

fn nears_the_largest(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.abs() > 1e307,
        Value::Array(items) => items.iter().any(nears_the_largest),
        Value::Object(members) => members.iter().any(|(_, value)| nears_the_largest(value)),
        _ => false,
    }
}

/// Whether the foreign parser read the same value.
fn same(ours: &Value, theirs: &serde_json::Value) -> bool {
    match (ours, theirs) {
        (Value::Null, serde_json::Value::Null) => true,
        (Value::Bool(a), serde_json::Value::Bool(b)) => a == b,
        // serde_json rounds decimals with a last-digit error unless built with `float_roundtrip`.
        (Value::Number(a), serde_json::Value::Number(b)) => {
            b.as_f64().is_some_and(|b| a == &b || (a - b).abs() <= b.abs() * 1e-15)
        }
        (Value::String(a), serde_json::Value::String(b)) => a == b,
        (Value::Array(a), serde_json::Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), serde_json::Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        _ => false,
    }
}

const CONTROL_TYPES: [&str; 8] = [
    "tally.tenant.created",
    "tally.agent_key.registered",
    "tally.agent_key.rotated",
    "tally.agent_key.expired",
    "tally.agent_key.revoked",
    "tally.unknown",
    "tally.entity_types.set",
    "tally.entity_types.lifted",
];

fn control_seeds() -> Vec<Vec<u8>> {
    let id = "0a0a0a0a-0a0a-0a0a-0a0a-0a0a0a0a0a0a";
    let key = tally_protocol::key::SigningKey::from_seed([11; 32]).public_key().to_hex();
    let time = "2026-01-02T03:04:05.000000Z";
    let later = "2027-01-02T03:04:05.000000Z";
    let payloads = [
        format!(r#"{{"operator_managed":true,"root_agent_id":"{id}","root_public_key":"{key}","tenant_id":"{id}"}}"#),
        format!(r#"{{"agent_id":"{id}","key_id":1,"public_key":"{key}","valid_from":"{time}","valid_to":"{later}"}}"#),
        format!(
            r#"{{"agent_id":"{id}","key_id":2,"previous_valid_to":"{time}","public_key":"{key}","valid_to":"{later}"}}"#
        ),
        format!(r#"{{"agent_id":"{id}","key_id":2,"valid_to":"{time}"}}"#),
        format!(r#"{{"agent_id":"{id}","key_id":2,"reason":"lost"}}"#),
        "{}".to_owned(),
        format!(r#"{{"entity_types":["order","parcel"],"store_id":"{id}"}}"#),
        format!(r#"{{"store_id":"{id}"}}"#),
    ];
    payloads.iter().zip(0_u8..).map(|(payload, which)| [&[which], payload.as_bytes()].concat()).collect()
}

fn control(input: &[u8]) -> Shape {
    let Some((which, payload)) = input.split_first() else { return "empty".to_owned() };
    let event_type = CONTROL_TYPES[usize::from(*which) % CONTROL_TYPES.len()];
    match ControlEvent::decode(event_type, payload) {
        Ok(event) => {
            assert_eq!(event.payload(), payload, "encoding what was decoded gave other bytes");
            assert_eq!(event.event_type(), event_type);
            assert_eq!(event.check(), Ok(()));
            format!("accepted {event_type}")
        }
        Err(error) => format!("{event_type} {}", shape_of(&error)),
    }
}
