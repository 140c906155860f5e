//! The golden vectors of `tests/vectors/`, made by an implementation of its own (`make.py` there).
//!
//! Most of them are one mutation that must fail, or that must change the hash. A changed vector is a changed format.

#![expect(clippy::unwrap_used, reason = "a test's helper panics as the test does")]

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::Value as Json;
use tally_protocol::control::ControlEvent;
use tally_protocol::entry::Entry;
use tally_protocol::frame::{EventFields, Frame, PayloadKind};
use tally_protocol::hash::{
    self, CipherHash, PayloadHash, SigningHash, StateRoot, VesLeaf, VesNode, VesStreamId, empty_root,
};
use tally_protocol::id::{KeyId, Sequence, Stream};
use tally_protocol::jcs;
use tally_protocol::key::{PublicKey, Signature, SigningKey, VerifyItem, check_registration, verify, verify_batch};

mod support;
use support::TestRng;

const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";

fn load(name: &str) -> Json {
    let path = format!("{}/tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn cases(value: &Json) -> &Vec<Json> {
    let cases = value.as_array().unwrap();
    assert!(!cases.is_empty());
    cases
}

fn text<'a>(case: &'a Json, field: &str) -> &'a str {
    case[field].as_str().unwrap_or_else(|| panic!("{field} of {case}"))
}

fn number(case: &Json, field: &str) -> u64 {
    case[field].as_u64().unwrap_or_else(|| panic!("{field} of {case}"))
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn bytes(case: &Json, field: &str) -> Vec<u8> {
    unhex(text(case, field))
}

fn array<const N: usize>(case: &Json, field: &str) -> [u8; N] {
    bytes(case, field).try_into().unwrap()
}

fn stream(case: &Json) -> Stream {
    Stream::new(text(case, "tenant_id").parse().unwrap(), text(case, "store_id").parse().unwrap())
}

/// The first word of an error's debug text: the variant's name.
fn variant(error: &impl core::fmt::Debug) -> String {
    format!("{error:?}").split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

/// "ok" or the variant's name.
fn verdict<T, E: core::fmt::Debug>(result: &Result<T, E>) -> String {
    result.as_ref().err().map_or_else(|| "ok".to_owned(), variant)
}

fn fields(case: &Json) -> EventFields {
    EventFields {
        stream: stream(case),
        event_id: text(case, "event_id").parse().unwrap(),
        agent_id: text(case, "agent_id").parse().unwrap(),
        key_id: KeyId::new(number(case, "key_id").try_into().unwrap()),
        entity_type: text(case, "entity_type").to_owned(),
        entity_id: text(case, "entity_id").to_owned(),
        event_type: text(case, "event_type").to_owned(),
        created_at: text(case, "created_at").to_owned(),
        payload_kind: PayloadKind::from_number(number(case, "payload_kind").try_into().unwrap()).unwrap(),
        payload_plain_hash: PayloadHash::from_hex(text(case, "payload_plain_hash")).unwrap(),
        payload_cipher_hash: CipherHash::from_hex(text(case, "payload_cipher_hash")).unwrap(),
    }
}

#[test]
fn payload_hashes_are_the_reference_s() {
    let ves = load("ves");
    for case in cases(&ves["payload_plain"]) {
        assert_eq!(hash::payload_plain(text(case, "payload").as_bytes()).to_hex(), text(case, "hash"), "{case}");
    }
    for case in cases(&ves["payload_plain_salted"]) {
        let salted = hash::payload_plain_salted(&array(case, "salt"), text(case, "payload").as_bytes());
        assert_eq!(salted.to_hex(), text(case, "hash"), "{case}");
    }
}

#[test]
fn signing_hashes_are_the_reference_s_and_every_mutation_changes_them() {
    let ves = load("ves");
    let key = SigningKey::from_seed(unhex(SEED).try_into().unwrap());
    let mut seen = BTreeSet::new();
    for case in cases(&ves["events"]) {
        let fields = fields(&case["fields"]);
        let signing = fields.signing_hash().unwrap();
        assert_eq!(fields.preimage().unwrap().len() as u64, number(case, "preimage_bytes"), "{case}");
        assert_eq!(signing.to_hex(), text(case, "signing_hash"), "{case}");
        assert_eq!(key.sign(signing.as_bytes()).to_hex(), text(case, "signature"), "{case}");
        assert_eq!(fields.payload_aad().unwrap().to_hex(), text(case, "payload_aad"), "{case}");
        assert!(seen.insert(signing), "{case}");
    }
}

#[test]
fn leaves_nodes_and_padding_are_the_reference_s() {
    let ves = load("ves");
    let mut seen = BTreeSet::new();
    for case in cases(&ves["leaves"]) {
        let (sequence, signing) = (Sequence::new(number(case, "sequence")), array(case, "signing_hash"));
        let leaf =
            hash::ves_leaf(&stream(case), sequence, &SigningHash::from_bytes(signing), &array(case, "signature"));
        assert_eq!(leaf, VesLeaf::from_hex(text(case, "leaf")).unwrap(), "{case}");
        assert!(seen.insert(leaf), "{case}");
    }
    assert_eq!(hash::ves_pad().to_hex(), ves["pad"].as_str().unwrap());
    for case in cases(&ves["nodes"]) {
        let (left, right) = (VesNode::from_bytes(array(case, "left")), VesNode::from_bytes(array(case, "right")));
        assert_eq!(hash::ves_node(&left, &right).to_hex(), text(case, "node"), "{case}");
    }
}

#[test]
fn streams_state_roots_and_receipts_are_the_reference_s() {
    let ves = load("ves");
    for case in cases(&ves["streams"]) {
        assert_eq!(hash::ves_stream(&stream(case)).to_hex(), text(case, "stream"), "{case}");
    }
    let mut seen = BTreeSet::new();
    for case in cases(&ves["state_roots"]) {
        let root = hash::ves_state_root(
            &VesStreamId::from_bytes(array(case, "stream")),
            &StateRoot::from_bytes(array(case, "previous")),
            &VesNode::from_bytes(array(case, "root")),
            Sequence::new(number(case, "first")),
            Sequence::new(number(case, "last")),
            number(case, "count").try_into().unwrap(),
        );
        assert_eq!(root.to_hex(), text(case, "state_root"), "{case}");
        assert!(seen.insert(root), "{case}");
    }
    let mut seen = BTreeSet::new();
    for case in cases(&ves["receipts"]) {
        let receipt = hash::ves_receipt(
            &stream(case),
            &text(case, "event_id").parse().unwrap(),
            Sequence::new(number(case, "sequence")),
            &SigningHash::from_bytes(array(case, "signing_hash")),
        );
        assert_eq!(receipt.to_hex(), text(case, "receipt_hash"), "{case}");
        assert!(seen.insert(receipt), "{case}");
    }
    for case in cases(&ves["proofs_of_possession"]) {
        assert_eq!(hash::ves_pop(&bytes(case, "key")).to_hex(), text(case, "hash"), "{case}");
    }
}

#[test]
fn the_empty_tree_has_the_root_rfc_6962_gives_it() {
    assert_eq!(empty_root().to_hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

#[test]
fn rfc_8032_keys_sign_as_published() {
    let signatures = load("signatures");
    let published = cases(&signatures).iter().filter(|case| text(case, "name").starts_with("RFC 8032"));
    assert_eq!(published.inspect(|case| assert_eq!(case["valid"], true, "{case}")).count(), 4);
    let key = SigningKey::from_seed(unhex(SEED).try_into().unwrap());
    assert_eq!(key.sign(b"").to_hex(), text(&cases(&signatures)[0], "signature"));
    assert_eq!(key.public_key().to_hex(), text(&cases(&signatures)[0], "public_key"));
}

#[test]
fn every_edge_case_of_a_signature_has_its_verdict() {
    for case in cases(&load("signatures")) {
        let (key, signature) = (PublicKey::from_bytes(array(case, "public_key")), array(case, "signature"));
        let message = bytes(case, "message");
        let valid = verify(&key, &message, &Signature::from_bytes(signature));
        assert_eq!(valid, case["valid"].as_bool().unwrap(), "{case}");
        // The rule is ZIP-215 with a canonical R; the column is checked against the library as it is.
        let zip215 = ed25519_zebra::VerificationKey::try_from(*key.as_bytes())
            .is_ok_and(|key| key.verify(&ed25519_zebra::Signature::from_bytes(&signature), &message).is_ok());
        assert_eq!(zip215, case["elsewhere"]["zip215"].as_bool().unwrap(), "{case}");
        assert!(!valid || zip215, "{case}");
    }
}

#[test]
fn a_batch_of_edge_cases_has_the_verdicts_of_its_members() {
    let signatures = load("signatures");
    let (items, valid): (Vec<_>, Vec<_>) = cases(&signatures)
        .iter()
        .filter(|case| text(case, "message").len() == 64)
        .map(|case| {
            let item = VerifyItem {
                public_key: PublicKey::from_bytes(array(case, "public_key")),
                message: array(case, "message"),
                signature: Signature::from_bytes(array(case, "signature")),
            };
            (item, case["valid"].as_bool().unwrap())
        })
        .unzip();
    assert!(items.len() > 200);
    let mut rng = TestRng::new(b"edge cases");
    for (item, valid) in items.iter().zip(&valid) {
        assert_eq!(verify_batch(&[*item], &mut rng), [*valid], "{item:?}");
        // Eight alike are one coalesced equation.
        assert_eq!(verify_batch(&[*item; 8], &mut rng), [*valid; 8], "{item:?}");
    }
    for size in [2, 3, 4, 5, 7, 16, 61, items.len()] {
        for (items, valid) in items.chunks(size).zip(valid.chunks(size)) {
            assert_eq!(verify_batch(items, &mut rng), valid);
        }
    }
    // All that are valid pass in one equation.
    let good: Vec<_> = items.iter().zip(&valid).filter(|(_, valid)| **valid).map(|(item, _)| *item).collect();
    assert_eq!(verify_batch(&good, &mut rng), vec![true; good.len()]);
}

#[test]
fn keys_that_could_split_verifiers_are_refused_at_registration() {
    for case in cases(&load("keys")) {
        let key = PublicKey::from_bytes(array(case, "public_key"));
        assert_eq!(verdict(&check_registration(&key)), text(case, "registration"), "{case}");
    }
}

#[test]
fn frames_decode_or_fail_as_they_should() {
    for case in cases(&load("frames")) {
        let frame = Bytes::from(bytes(case, "frame"));
        let decoded = Frame::decode(frame.clone());
        assert_eq!(verdict(&decoded), text(case, "decode"), "{}", case["name"]);
        if let Ok(decoded) = decoded {
            assert_eq!(decoded.bytes(), &frame);
            assert_eq!(verdict(&decoded.check_payload()), text(case, "check"), "{}", case["name"]);
            let again = Frame::from_parts(&decoded.fields(), decoded.payload(), decoded.signature()).unwrap();
            assert_eq!(again, decoded, "{}", case["name"]);
        }
    }
}

#[test]
fn encrypted_payloads_pass_or_fail_as_they_should() {
    for case in cases(&load("encrypted")) {
        let frame = Frame::decode(bytes(case, "frame").into()).unwrap();
        assert_eq!(frame.payload_kind(), PayloadKind::Encrypted);
        assert_eq!(verdict(&frame.check_payload()), text(case, "check"), "{}", case["name"]);
    }
}

#[test]
fn entries_decode_or_fail_as_they_should_and_every_mutation_changes_the_leaf() {
    let mut seen = BTreeSet::new();
    for case in cases(&load("entries")) {
        let entry = bytes(case, "entry");
        let decoded = Entry::decode(&entry);
        assert_eq!(verdict(&decoded), text(case, "decode"), "{}", case["name"]);
        if let Ok(decoded) = decoded {
            assert_eq!(decoded.encode(), entry, "{}", case["name"]);
            assert_eq!(decoded.leaf_hash().to_hex(), text(case, "leaf_hash"), "{}", case["name"]);
            assert!(seen.insert(decoded.leaf_hash()), "{}", case["name"]);
        }
    }
}

#[test]
fn numbers_are_written_as_rfc_8785_says() {
    for case in cases(&load("jcs")["numbers"]) {
        let value = f64::from_bits(u64::from_str_radix(text(case, "bits"), 16).unwrap());
        assert_eq!(jcs::to_canonical(&jcs::Value::Number(value)), text(case, "text").as_bytes(), "{case}");
    }
}

#[test]
fn texts_have_the_canonical_form_rfc_8785_gives_them() {
    for case in cases(&load("jcs")["forms"]) {
        let (source, canonical) = (bytes(case, "text"), bytes(case, "canonical"));
        assert_eq!(jcs::canonicalize(&source).as_ref(), Ok(&canonical), "{case}");
        assert_eq!(jcs::parse(&source).map(|value| jcs::to_canonical(&value)).as_ref(), Ok(&canonical), "{case}");
        assert_eq!(jcs::is_canonical(&source).is_ok(), source == canonical, "{case}");
        assert_eq!(jcs::is_canonical(&canonical), Ok(()), "{case}");
    }
}

#[test]
fn texts_without_unambiguous_meaning_are_refused_each_with_its_error() {
    for case in cases(&load("jcs")["refused"]) {
        let source = bytes(case, "text");
        let error = jcs::parse(&source).map(|value| jcs::to_canonical(&value)).unwrap_err();
        assert_eq!(variant(&error.kind), text(case, "kind"), "{error} in {:?}", String::from_utf8_lossy(&source));
        assert!(error.at <= source.len());
        assert!(jcs::canonicalize(&source).is_err(), "{case}");
        assert!(jcs::is_canonical(&source).is_err(), "{case}");
    }
}

#[test]
fn control_events_decode_or_fail_as_they_should() {
    for case in cases(&load("control")) {
        let (event_type, payload) = (text(case, "event_type"), text(case, "payload"));
        let decoded = ControlEvent::decode(event_type, payload.as_bytes());
        assert_eq!(verdict(&decoded), text(case, "decode"), "{}", case["name"]);
        if let Ok(decoded) = decoded {
            assert_eq!(decoded.payload(), payload.as_bytes(), "{}", case["name"]);
            assert_eq!(decoded.event_type(), event_type, "{}", case["name"]);
        }
    }
}
