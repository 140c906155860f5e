//! A command's members, as the event of it holds them.
//!
//! Takes JSON with one meaning (no name twice, no U+0000, no lone surrogate, integers within ±(2^53 − 1) and no other
//! numbers); gives the canonical payload with the caller as `actor`. The marketplace seed's names are translated. Who the
//! caller is comes from the credential: a body that says otherwise is refused, and never corrected.

use tally_protocol::jcs::{self, Value};

use super::refusal;
use crate::error::ApiError;

/// The event whose body has the seed's names.
const PURCHASE: &str = "checkout.order.created";
/// The seed's names of a purchase's members, and ours.
const ALIASES: &[(&str, &str)] =
    &[("skuId", "sku"), ("paymentMethod", "payment_method"), ("licenseOptions", "licence_options")];
/// What a body may call its caller.
const BUYER: [&str; 2] = ["buyerId", "buyer_id"];

/// Reads JSON that has one meaning, and integers only.
pub(super) fn parse(text: &[u8]) -> Result<Value, ApiError> {
    let value = jcs::parse(text).map_err(|error| refusal::malformed(format!("the body is refused: {error}")))?;
    if has_other_numbers(text) {
        return Err(refusal::malformed("a number must be an integer, written without point and exponent"));
    }
    Ok(value)
}

/// Whether a text that is JSON has a number with a point or an exponent. Money is never one.
pub(super) fn has_other_numbers(text: &[u8]) -> bool {
    let (mut in_string, mut escaped, mut before) = (false, false, 0);
    for &byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'.' if !in_string => return true,
            b'e' | b'E' if !in_string && u8::is_ascii_digit(&before) => return true,
            _ => {}
        }
        before = byte;
    }
    false
}

/// The payload of a command that the gateway signs. Without `key` it is one that names nobody.
pub(super) fn payload(body: Value, event_type: &str, caller: &str, key: Option<&str>) -> Result<Vec<u8>, ApiError> {
    let Value::Object(members) = body else { return Err(refusal::malformed("the body must be an object")) };
    let mut kept: Vec<(String, Value)> = Vec::with_capacity(members.len() + 3);
    for (name, value) in members {
        let Some(name) = own_name(name, &value, event_type, caller, key)? else { continue };
        if kept.iter().any(|(other, _)| *other == name) {
            return Err(refusal::malformed("a member occurs under two of its names"));
        }
        kept.push((name, value));
    }
    if let Some(key) = key {
        kept.push(("actor".to_owned(), Value::String(caller.to_owned())));
        kept.push(("idempotency_key".to_owned(), Value::String(key.to_owned())));
        if event_type == PURCHASE && !kept.iter().any(|(name, _)| name == "quantity") {
            kept.push(("quantity".to_owned(), Value::Number(1.0)));
        }
    }
    Ok(jcs::to_canonical(&Value::Object(kept)))
}

/// What a member is called in the event; none if it only repeats what is known otherwise.
fn own_name(
    name: String,
    value: &Value,
    event_type: &str,
    caller: &str,
    key: Option<&str>,
) -> Result<Option<String>, ApiError> {
    if name == "actor" {
        return if value.as_str() == Some(caller) { Ok(None) } else { Err(refusal::spoofed("actor")) };
    }
    if BUYER.contains(&name.as_str()) {
        let bare = caller.split_once(':').map_or(caller, |(_, bare)| bare);
        return match value.as_str() {
            Some(buyer) if buyer == caller || buyer == bare => Ok((event_type != PURCHASE).then_some(name)),
            _ => Err(refusal::spoofed("buyerId")),
        };
    }
    if name == "idempotency_key" {
        let rule = "idempotency_key is not the header's";
        return if key.is_some() && value.as_str() == key { Ok(None) } else { Err(refusal::malformed(rule)) };
    }
    let alias = ALIASES.iter().find(|(theirs, _)| event_type == PURCHASE && *theirs == name);
    Ok(Some(alias.map_or(name, |(_, ours)| (*ours).to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(event_type: &str, body: &str) -> Result<String, ApiError> {
        let payload = payload(parse(body.as_bytes())?, event_type, "agent:7", Some("k"))?;
        Ok(String::from_utf8(payload).unwrap())
    }

    #[test]
    fn a_payload_is_canonical_and_names_the_caller() {
        assert_eq!(made("x.y", "{}").unwrap(), r#"{"actor":"agent:7","idempotency_key":"k"}"#);
        assert_eq!(
            made("x.y", r#"{ "z":1, "a":[true], "actor":"agent:7", "idempotency_key":"k" }"#).unwrap(),
            r#"{"a":[true],"actor":"agent:7","idempotency_key":"k","z":1}"#
        );
        for bad in [r#"{"actor":"agent:8"}"#, r#"{"actor":7}"#, r#"{"actor":null}"#, r#"{"buyerId":"agent:8"}"#] {
            assert!(made("x.y", bad).is_err(), "{bad}");
        }
        assert!(made("x.y", r#"{"idempotency_key":"other"}"#).is_err());
        assert!(made("x.y", "[]").is_err());
    }

    #[test]
    fn a_purchase_may_use_the_seeds_names() {
        let ours = made(PURCHASE, r#"{"sku":"s","payment_method":"pm","licence_options":{},"quantity":1}"#).unwrap();
        for buyer in ["agent:7", "7"] {
            let body = format!(r#"{{"skuId":"s","paymentMethod":"pm","licenseOptions":{{}},"buyerId":"{buyer}"}}"#);
            assert_eq!(made(PURCHASE, &body).unwrap(), ours);
        }
        assert!(made(PURCHASE, r#"{"skuId":"s","sku":"s"}"#).is_err());
        assert!(made("x.y", r#"{"skuId":"s"}"#).unwrap().contains("skuId"), "the plugin refuses it");
    }

    #[test]
    fn numbers_are_integers_as_they_are_written() {
        for good in ["{\"a\":10}", "{\"a\":-1}", "{\"a.b\":\"1.5e3\"}", "{\"a\":[true,false,null]}", "{\"\\\"1.0\":1}"]
        {
            assert!(parse(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in
            ["{\"a\":1.0}", "{\"a\":10.00}", "{\"a\":1e2}", "{\"a\":1E2}", "{\"a\":-0.5}", "{\"a\":\"\\\\\",\"b\":0.1}"]
        {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
