//! Webhook signatures against the provider's official library, and what a message tells.
//!
//! `vectors.json` is made by `make_vectors.py`; where `TALLY_STRIPE_PYTHON` names a Python that has the package `stripe`,
//! fresh headers are made and judged by the library too, and without it those tests fail and say so.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use serde_json::{Value, json};
use tally_connectors::Secret;
use tally_connectors::payment::webhook::{
    MessageError, SignatureError, TOLERANCE_S, WebhookError, accept, facts, verify,
};
use tally_connectors::payment::{Fact, FactState};

const ID: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const SECRET: &str = "whsec_first_0123456789";
const NOW: u64 = 1_767_225_600;

fn secrets(texts: &[&str]) -> Vec<Secret> {
    texts.iter().map(|text| Secret::new((*text).to_owned().into()).unwrap()).collect()
}

/// The official library's script, with this input.
fn library(arguments: &[&str], input: &str) -> String {
    let python = std::env::var_os("TALLY_STRIPE_PYTHON")
        .expect("TALLY_STRIPE_PYTHON is not set: the path of a Python that has the package `stripe` (PyPI)");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/webhook/make_vectors.py");
    let mut child = Command::new(&python)
        .arg(script)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("TALLY_STRIPE_PYTHON cannot be started: {error}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "make_vectors.py failed: is the package `stripe` installed?");
    String::from_utf8(output.stdout).unwrap()
}

fn expected(name: &str) -> Result<(), SignatureError> {
    match name {
        "ok" => Ok(()),
        "old" => Err(SignatureError::Old),
        "ahead" => Err(SignatureError::Ahead),
        "mismatch" => Err(SignatureError::Mismatch),
        "no_secret" => Err(SignatureError::NoSecret),
        "no_signature" => Err(SignatureError::NoSignature),
        "no_time" => Err(SignatureError::NoTime),
        "header" => Err(SignatureError::Header),
        other => panic!("no such expectation: {other}"),
    }
}

/// Runs the committed cases that `wanted` chooses and says how many there were.
fn vectors(wanted: impl Fn(&Value) -> bool) -> usize {
    let file: Value = serde_json::from_str(include_str!("vectors.json")).unwrap();
    let cases: Vec<_> = file["cases"].as_array().unwrap().iter().filter(|case| wanted(case)).cloned().collect();
    for case in &cases {
        let text = |name: &str| case[name].as_str().unwrap();
        let keys: Vec<&str> =
            case["secrets"].as_array().unwrap().iter().map(|secret| secret.as_str().unwrap()).collect();
        let now = case["now"].as_u64().unwrap();
        let found = verify(text("body").as_bytes(), text("header").as_bytes(), &secrets(&keys), now, TOLERANCE_S);
        assert_eq!(found, expected(text("expected")), "{}", text("name"));
        // Whatever is accepted here, the official library accepts.
        assert!(found.is_err() || case["library"] == true, "{}", text("name"));
    }
    cases.len()
}

#[test]
fn every_positive_vector_is_accepted() {
    assert_eq!(vectors(|case| case["expected"] == "ok"), 9);
}

#[test]
fn every_negative_vector_is_refused_for_its_reason() {
    assert_eq!(vectors(|case| case["expected"] != "ok"), 29);
}

#[test]
fn a_time_further_than_the_tolerance_is_refused_on_both_sides() {
    let body = b"{}";
    let header = library(&["--sign", SECRET, &NOW.to_string()], "{}");
    let at = |now| verify(body, header.trim().as_bytes(), &secrets(&[SECRET]), now, TOLERANCE_S);
    assert_eq!(at(NOW + 300), Ok(()));
    assert_eq!(at(NOW - 300), Ok(()));
    assert_eq!(at(NOW + 301), Err(SignatureError::Old));
    assert_eq!(at(NOW - 301), Err(SignatureError::Ahead));
    assert_eq!(at(u64::MAX), Err(SignatureError::Old));
    assert_eq!(at(0), Err(SignatureError::Ahead));
}

#[test]
fn during_rotation_either_current_secret_is_enough_and_a_retired_one_is_not() {
    let old = library(&["--sign", SECRET, &NOW.to_string()], "{}");
    let new = library(&["--sign", "whsec_next", &NOW.to_string()], "{}");
    let both = format!("{},{}", old.trim(), new.trim().split_once(',').unwrap().1);
    let check = |header: &str, keys: &[&str]| verify(b"{}", header.trim().as_bytes(), &secrets(keys), NOW, TOLERANCE_S);
    for keys in [[SECRET, "whsec_next"].as_slice(), &["whsec_next", SECRET], &[SECRET]] {
        assert_eq!(check(&both, keys), Ok(()), "{keys:?}");
        assert_eq!(check(&old, keys), Ok(()), "{keys:?}");
    }
    assert_eq!(check(&both, &["whsec_next"]), Ok(()));
    assert_eq!(check(&new, &["whsec_next"]), Ok(()));
    assert_eq!(check(&old, &["whsec_next"]), Err(SignatureError::Mismatch));
}

#[test]
fn what_is_accepted_here_the_official_library_accepts_too() {
    let header = library(&["--sign", SECRET, &NOW.to_string()], "{}").trim().to_owned();
    let mut cases = Vec::new();
    for at in 0..header.len() {
        for change in ["", "0", ",", "=", " ", "A", "t=1,"] {
            let mutated = format!("{}{change}{}", &header[..at], &header[at + 1..]);
            let inserted = format!("{}{change}{}", &header[..at], &header[at..]);
            cases.extend([mutated, inserted].map(|header| (header, NOW)));
        }
    }
    let lines: Vec<String> = cases
        .iter()
        .map(|(header, now)| json!({ "header": header, "body": "{}", "secrets": [SECRET], "now": now }).to_string())
        .collect();
    let judged = library(&["--judge"], &lines.join("\n"));
    let keys = secrets(&[SECRET]);
    let mut accepted = 0;
    for ((header, now), judged) in cases.iter().zip(judged.lines()) {
        let ours = verify(b"{}", header.as_bytes(), &keys, *now, TOLERANCE_S).is_ok();
        assert!(!ours || judged == "true", "accepted here only: {header}");
        accepted += usize::from(ours);
    }
    assert_eq!(judged.lines().count(), cases.len());
    assert!(accepted > 0, "the unchanged header is among the cases");
}

fn event(name: &str, object: &Value) -> Value {
    json!({
        "id": "evt_1", "object": "event", "type": name, "livemode": false, "created": NOW,
        "data": { "object": object },
    })
}

fn told(event: &Value) -> Vec<Fact> {
    facts(event.to_string().as_bytes(), "acct_1").unwrap()
}

fn refund(status: &str) -> Value {
    json!({
        "object": "refund", "id": "re_1", "amount": 30, "currency": "usd", "payment_intent": "pi_1", "status": status,
        "metadata": { "refund": ID },
    })
}

fn dispute(status: &str) -> Value {
    json!({
        "object": "dispute", "id": "dp_1", "amount": 100, "currency": "usd", "payment_intent": "pi_1",
        "livemode": false, "status": status, "balance_transactions": [],
    })
}

#[test]
fn one_fact_under_several_messages_is_one_fact() {
    let charge = json!({ "object": "charge", "id": "ch_1", "refunds": { "data": [refund("succeeded")] } });
    let of = |name: &str, object: &Value| told(&event(name, object));
    let first = of("refund.updated", &refund("succeeded"));
    assert_eq!(first.len(), 1);
    for name in ["refund.created", "charge.refund.updated", "refund.failed"] {
        assert_eq!(of(name, &refund("succeeded")), first, "{name}");
    }
    assert_eq!(of("charge.refunded", &charge), first);
    let first = of("charge.dispute.created", &dispute("needs_response"));
    assert_eq!(first[0].state, FactState::Open);
    for name in ["charge.dispute.updated", "charge.dispute.funds_withdrawn"] {
        assert_eq!(of(name, &dispute("needs_response")), first, "{name}");
    }
    let first = of("charge.dispute.closed", &dispute("won"));
    assert_eq!(of("charge.dispute.funds_reinstated", &dispute("won")), first);
}

#[test]
fn messages_of_other_kinds_tell_nothing_and_are_no_error() {
    for name in
        ["customer.created", "charge.succeeded", "invoice.paid", "charge.refunded", "brand.new", "payment_intents"]
    {
        let charge = json!({ "object": "charge", "id": "ch_1" });
        assert_eq!(told(&event(name, &charge)), [], "{name}");
    }
    let unasked = json!({ "object": "transfer", "id": "tr_1", "amount": 1, "currency": "usd", "reversed": false });
    assert_eq!(told(&event("transfer.created", &unasked)), []);
}

#[test]
fn a_transfer_of_ours_is_paid_until_all_of_it_is_reversed() {
    let mut transfer = json!({
        "object": "transfer", "id": "tr_1", "amount": 500, "currency": "eur", "livemode": false, "reversed": false,
        "metadata": { "payout": ID },
    });
    let fact = &told(&event("transfer.created", &transfer))[0];
    assert_eq!((fact.state, fact.payout.as_deref(), fact.amount), (FactState::Paid, Some(ID), 500));
    transfer["reversed"] = json!(true);
    assert_eq!(told(&event("transfer.reversed", &transfer))[0].state, FactState::Failed);
}

#[test]
fn facts_of_a_connected_account_bear_its_name_and_not_ours() {
    let mut event = event("refund.updated", &refund("succeeded"));
    event["account"] = json!("acct_other");
    assert_eq!(told(&event)[0].account, "acct_other");
    event["account"] = json!(null);
    assert_eq!(told(&event)[0].account, "acct_1");
    event["account"] = json!(7);
    assert_eq!(facts(event.to_string().as_bytes(), "acct_1"), Err(MessageError::Event("account")));
}

#[test]
fn a_live_message_is_told_as_live() {
    let mut event = event("refund.updated", &refund("succeeded"));
    event["livemode"] = json!(true);
    assert!(told(&event)[0].livemode);
}

#[test]
fn a_message_that_is_not_as_documented_is_an_error() {
    let good = event("refund.updated", &refund("succeeded"));
    for member in ["id", "object", "type", "livemode", "data"] {
        let mut event = good.clone();
        event.as_object_mut().unwrap().remove(member);
        assert!(facts(event.to_string().as_bytes(), "a").is_err(), "{member}");
        event[member] = json!([]);
        assert!(facts(event.to_string().as_bytes(), "a").is_err(), "{member}");
    }
    for body in ["", "x", "[]", "{}", "null", "{\"object\":\"event\"}"] {
        assert!(facts(body.as_bytes(), "a").is_err(), "{body}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(facts(deep.as_bytes(), "a"), Err(MessageError::Json));
    assert!(facts(event("refund.updated", &dispute("won")).to_string().as_bytes(), "a").is_err());
}

#[test]
fn a_message_counts_only_when_signature_and_content_hold_and_the_reason_is_plain() {
    let body = event("refund.updated", &refund("succeeded")).to_string();
    let header = library(&["--sign", SECRET, &NOW.to_string()], &body);
    let check = |body: &str, now| accept(body.as_bytes(), header.trim().as_bytes(), &secrets(&[SECRET]), now, "acct_1");
    assert_eq!(check(&body, NOW).unwrap().len(), 1);
    assert_eq!(check(&format!("{body} "), NOW), Err(WebhookError::Signature(SignatureError::Mismatch)));
    let reason = check(&body, NOW + 301).unwrap_err().to_string();
    assert_eq!(reason, "the signature is too old");
    let header = library(&["--sign", SECRET, &NOW.to_string()], "{}");
    let found = accept(b"{}", header.trim().as_bytes(), &secrets(&[SECRET]), NOW, "acct_1");
    assert_eq!(found.unwrap_err().to_string(), "the event's object is missing or not as documented");
}

/// More cases by `TALLY_CASES`.
fn cases() -> ProptestConfig {
    let cases = std::env::var("TALLY_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig::with_cases(cases.unwrap_or(512))
}

/// A header of the vectors, so that these laws need no Python.
fn signed() -> (String, String) {
    let file: Value = serde_json::from_str(include_str!("vectors.json")).unwrap();
    let case = &file["cases"][0];
    (case["header"].as_str().unwrap().to_owned(), case["body"].as_str().unwrap().to_owned())
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn no_changed_byte_of_the_header_is_accepted(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let (header, body) = signed();
        let mut changed = header.clone().into_bytes();
        let at = at.index(changed.len());
        prop_assume!(changed[at] != byte);
        changed[at] = byte;
        prop_assert!(verify(body.as_bytes(), &changed, &secrets(&[SECRET]), NOW, TOLERANCE_S).is_err());
    }

    #[test]
    fn no_changed_body_is_accepted(at in any::<prop::sample::Index>(), bytes in proptest::collection::vec(any::<u8>(), 0..4)) {
        let (header, body) = signed();
        let at = at.index(body.len());
        let changed = [&body.as_bytes()[..at], &bytes, &body.as_bytes()[at + 1..]].concat();
        prop_assume!(changed != body.as_bytes());
        prop_assert_eq!(
            verify(&changed, header.as_bytes(), &secrets(&[SECRET]), NOW, TOLERANCE_S), Err(SignatureError::Mismatch)
        );
        let cut = &body.as_bytes()[..at];
        prop_assert!(verify(cut, header.as_bytes(), &secrets(&[SECRET]), NOW, TOLERANCE_S).is_err());
    }

    #[test]
    fn garbage_is_refused_without_a_panic(
        header in proptest::collection::vec(any::<u8>(), 0..200), body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        prop_assert!(verify(&body, &header, &secrets(&[SECRET]), NOW, TOLERANCE_S).is_err());
        let _ = facts(&body, "acct_1");
    }

    #[test]
    fn header_like_garbage_is_refused_without_a_panic(header in "(t|v0|v1|=|,|[0-9]{1,12}|[a-f0-9]{64}| ){0,12}") {
        let found = verify(b"{}", header.as_bytes(), &secrets(&[SECRET]), NOW, TOLERANCE_S);
        prop_assert!(found.is_err());
    }
}
