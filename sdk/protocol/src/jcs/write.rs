//! Writing a value as canonical JSON.

use super::text::{skip_plain, write_escape};
use super::{Value, cmp_utf16, number};

/// The canonical bytes of a value (RFC 8785). A value put together by hand may have what reading refuses (a name
/// twice, large integers, U+0000); its text is then not canonical for [`super::is_canonical`] either.
#[must_use]
pub fn to_canonical(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write_value(&mut out, value);
    out
}

fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(value) => number::write(out, *value),
        Value::String(text) => write_string(out, text),
        Value::Array(elements) => write_array(out, elements),
        Value::Object(members) => write_object(out, members),
    }
}

fn write_array(out: &mut Vec<u8>, elements: &[Value]) {
    out.push(b'[');
    for (at, element) in elements.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_value(out, element);
    }
    out.push(b']');
}

fn write_object(out: &mut Vec<u8>, members: &[(String, Value)]) {
    let order = |left: &str, right: &str| cmp_utf16(left.as_bytes(), right.as_bytes());
    let mut sorted: Vec<&(String, Value)> = members.iter().collect();
    sorted.sort_by(|left, right| order(&left.0, &right.0));
    out.push(b'{');
    for (at, (name, value)) in sorted.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_string(out, name);
        out.push(b':');
        write_value(out, value);
    }
    out.push(b'}');
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    out.push(b'"');
    let mut start = 0;
    loop {
        let end = skip_plain(bytes, start);
        out.extend_from_slice(&bytes[start..end]);
        let Some(&c) = bytes.get(end) else { break };
        write_escape(out, c);
        start = end + 1;
    }
    out.push(b'"');
}
