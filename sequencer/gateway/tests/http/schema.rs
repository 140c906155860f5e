//! Holds every JSON answer of every test against the served OpenAPI document: the route must be in it, and the body
//! must fit the schema of its status, without a member that the schema does not list.

use std::sync::LazyLock;

use serde_json::Value;

static DOCUMENT: LazyLock<Value> = LazyLock::new(tally_gateway::openapi);

/// Panics with the place and the reason if an answer is not as documented.
pub(crate) fn check_answer(method: &str, path: &str, status: u16, body: &Value) {
    let path = path.split('?').next().unwrap_or_default();
    let Some(operation) = operation(method, path) else {
        assert!([404, 405].contains(&status), "{method} {path} is not documented but answers {status}");
        let name = if path.starts_with("/market/") { "MarketErrorBody" } else { "ErrorBody" };
        return check("error", body, &serde_json::json!({"$ref": format!("#/components/schemas/{name}")}));
    };
    let content = match operation["responses"].get(status.to_string()) {
        Some(response) => &response["content"],
        None => {
            assert!(status >= 400, "{method} {path} gives {status}, which is not documented");
            let default = operation.pointer("/responses/default/$ref").and_then(Value::as_str).unwrap();
            &DOCUMENT.pointer(&default[1..]).unwrap()["content"]
        }
    };
    if let Some(schema) = content.pointer("/application~1json/schema") {
        check("$", body, schema);
    }
}

fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let paths = DOCUMENT["paths"].as_object()?;
    let fits = |pattern: &str| {
        let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
        loop {
            match (pattern.next(), path.next()) {
                (None, None) => return true,
                (Some("{path}"), Some(_)) => return true,
                (Some(name), Some(_)) if name.starts_with('{') => {}
                (Some(name), Some(part)) if name == part => {}
                _ => return false,
            }
        }
    };
    // A literal pattern comes before one with parameters.
    let exact = paths.get(path).into_iter();
    let matching = paths.iter().filter(|(pattern, _)| fits(pattern)).map(|(_, operations)| operations);
    exact.chain(matching).find_map(|operations| operations.get(method.to_lowercase()))
}

fn check(at: &str, value: &Value, schema: &Value) {
    if let Some(reason) = mismatch(at, value, schema) {
        panic!("{reason}");
    }
}

fn mismatch(at: &str, value: &Value, schema: &Value) -> Option<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        return mismatch(at, value, DOCUMENT.pointer(&reference[1..]).unwrap());
    }
    for list in ["oneOf", "anyOf"] {
        if let Some(options) = schema[list].as_array() {
            let reasons: Vec<_> = options.iter().map(|option| mismatch(at, value, option)).collect();
            let fitting = reasons.iter().filter(|reason| reason.is_none()).count();
            return (fitting != 1).then(|| format!("{at}: fits {fitting} of {list}: {reasons:?}"));
        }
    }
    let is_of_type = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        Some(other) => return Some(format!("{at}: unknown type {other}")),
        None => true,
    };
    if !is_of_type {
        return Some(format!("{at}: {value} is not {}", schema["type"]));
    }
    if let Some(values) = schema["enum"].as_array()
        && !values.contains(value)
    {
        return Some(format!("{at}: {value} is none of {values:?}"));
    }
    if let (Some(text), Some(pattern)) = (value.as_str(), schema["pattern"].as_str()) {
        // The only patterns are of hex: `^[0-9a-f]{64}$`, or with 0x and capitals.
        let length: usize = pattern.split('{').nth(1)?.split('}').next()?.parse().ok()?;
        let digits = text.strip_prefix("0x").unwrap_or(text);
        if digits.len() != length || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Some(format!("{at}: {text} does not fit {pattern}"));
        }
    }
    if let (Some(items), Some(list)) = (schema.get("items"), value.as_array()) {
        return list.iter().enumerate().find_map(|(n, item)| mismatch(&format!("{at}[{n}]"), item, items));
    }
    let (Some(properties), Some(members)) = (schema["properties"].as_object(), value.as_object()) else { return None };
    for name in schema["required"].as_array().unwrap() {
        if !members.contains_key(name.as_str().unwrap()) {
            return Some(format!("{at}: lacks {name}"));
        }
    }
    members.iter().find_map(|(name, member)| match properties.get(name) {
        Some(schema) => mismatch(&format!("{at}.{name}"), member, schema),
        None => Some(format!("{at}: has {name}, which is not documented")),
    })
}

#[test]
fn the_check_itself_finds_what_is_wrong() {
    let receipt = serde_json::json!({"$ref": "#/components/schemas/StreamHead"});
    let good = serde_json::json!({"tenant_id": "t", "store_id": "s", "head_sequence": null});
    assert_eq!(mismatch("$", &good, &receipt), None);
    for (name, value) in
        [("head_sequence", serde_json::json!("1")), ("more", serde_json::json!(1)), ("tenant_id", Value::Null)]
    {
        let mut bad = good.clone();
        bad[name] = value;
        assert!(mismatch("$", &bad, &receipt).is_some(), "{name}");
    }
    assert!(mismatch("$", &serde_json::json!({}), &receipt).is_some());
}
