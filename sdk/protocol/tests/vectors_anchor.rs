//! The golden vectors of anchoring (`anchor.json`), made by an implementation of its own (`vectors/make.py`) and held
//! there against `cast`. Most of them are one mutation that must fail. What decodes must encode to the same bytes.

#![expect(clippy::unwrap_used, reason = "a test's helper panics as the test does")]

use std::collections::BTreeSet;

use serde_json::Value as Json;
use tally_protocol::anchor::transaction::{SignedTransaction, TransactionError};
use tally_protocol::anchor::{
    ANCHOR, ANCHOR_MANY, ANCHORED, Anchor, AnchorCall, AnchorStatement, Anchored, InclusionQuery, VERIFY_INCLUSION,
};
use tally_protocol::hash::{self, Address, EcdsaDigest, LedgerId, LogId, LogKind, NodeHash, NoteHash, RootHash, hex};
use tally_protocol::id::TreeSize;
use tally_protocol::key::secp256k1::{RecoverableSignature, SignatureError};
use tally_protocol::limits::TRANSACTION_BYTES_MAX;

fn section(name: &str) -> Vec<Json> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/anchor.json");
    let all: Json = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases = all[name].as_array().unwrap().clone();
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
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn bytes(case: &Json, field: &str) -> Vec<u8> {
    unhex(text(case, field))
}

fn array<const N: usize>(case: &Json, field: &str) -> [u8; N] {
    bytes(case, field).try_into().unwrap()
}

/// "ok" or the variant's name.
fn verdict<T, E: core::fmt::Debug>(result: &Result<T, E>) -> String {
    let debug = result.as_ref().err().map_or_else(|| "ok".to_owned(), |error| format!("{error:?}"));
    debug.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

#[test]
fn functions_and_events_have_the_hashes_of_their_signatures() {
    let ours = [
        ("anchor", ANCHOR),
        ("anchorMany", ANCHOR_MANY),
        ("verifyInclusion", VERIFY_INCLUSION),
        ("Anchored", ANCHORED),
    ];
    let cases = section("names");
    assert_eq!(cases.len(), ours.len());
    for (case, (name, signature)) in cases.iter().zip(ours) {
        assert_eq!((text(case, "name"), text(case, "signature")), (name, signature));
        assert_eq!(hex(&hash::abi_signature(signature)), text(case, "hash"));
    }
}

#[test]
fn logs_have_their_identities_on_chain() {
    for case in section("log_ids") {
        let kind = [LogKind::Events, LogKind::Outcomes].into_iter().find(|kind| kind.as_str() == text(&case, "kind"));
        let ledger = LedgerId::from_hex(text(&case, "ledger")).unwrap();
        assert_eq!(hash::log_id(&ledger, kind.unwrap()).to_hex(), text(&case, "log_id"));
    }
}

#[test]
fn every_member_of_an_authoritys_statement_changes_its_digest() {
    let mut seen = BTreeSet::new();
    for case in section("statements") {
        let statement = AnchorStatement {
            chain_id: number(&case, "chain_id"),
            contract: Address::from_hex(text(&case, "contract")).unwrap(),
            log_id: LogId::from_hex(text(&case, "log_id")).unwrap(),
            size: TreeSize::new(number(&case, "size")),
            root: RootHash::from_hex(text(&case, "root")).unwrap(),
            note_hash: NoteHash::from_hex(text(&case, "note_hash")).unwrap(),
            epoch: number(&case, "epoch").try_into().unwrap(),
        };
        assert_eq!(statement.digest().to_hex(), text(&case, "digest"), "{}", case["name"]);
        assert!(seen.insert(statement.digest()), "{}", case["name"]);
    }
}

#[test]
fn signatures_recover_or_fail_as_they_should() {
    for case in section("signatures") {
        let (r, vs, digest) = (array(&case, "r"), array(&case, "vs"), EcdsaDigest::from_bytes(array(&case, "digest")));
        let signature = RecoverableSignature::from_compact(r, vs);
        let signer = signature.and_then(|signature| signature.signer(&digest));
        assert_eq!(verdict(&signer), text(&case, "decode"), "{}", case["name"]);
        if let Ok(signer) = signer {
            assert_eq!(signer.to_hex(), text(&case, "signer"), "{}", case["name"]);
            assert_eq!(signature.unwrap().to_compact(), (r, vs));
        }
    }
}

/// S-121, the reading side: of each signature's two forms only the lower one is one.
#[test]
fn the_higher_form_of_a_signature_is_refused() {
    let raw = section("transactions")
        .iter()
        .map(|case| (text(case, "name") == "the higher s", bytes(case, "raw")))
        .find_map(|(is_it, raw)| is_it.then_some(raw));
    let refused = SignedTransaction::decode(&raw.unwrap());
    assert_eq!(refused, Err(TransactionError::Signature(SignatureError::HighS)));
}

#[test]
fn calls_decode_or_fail_as_they_should() {
    for case in section("calls") {
        let data = bytes(&case, "data");
        let read = AnchorCall::decode(&data);
        assert_eq!(verdict(&read), text(&case, "decode"), "{}", case["name"]);
        let Ok(call) = read else { continue };
        assert_eq!(call.encode(), data, "{}", case["name"]);
        let expected = case["anchors"].as_array().unwrap();
        assert_eq!(call.anchors().len(), expected.len());
        call.anchors().iter().zip(expected).for_each(|(anchor, expected)| assert_is(anchor, expected));
    }
}

fn assert_is(anchor: &Anchor, expected: &Json) {
    let proof: Vec<Json> = anchor.proof.iter().map(|node| node.to_hex().into()).collect();
    let contract = Address::from_hex("0x5fbdb2315678afecb367f032d93f642f64180aa3").unwrap();
    let read = serde_json::json!({
        "log_id": anchor.log_id.to_hex(), "size": anchor.size.get(), "root": anchor.root.to_hex(),
        "note_hash": anchor.note_hash.to_hex(), "epoch": anchor.epoch, "proof": proof,
        "authority": anchor.authority(84_532_001, contract).unwrap().to_hex(),
    });
    assert_eq!(read, *expected);
}

#[test]
fn questions_decode_or_fail_as_they_should() {
    for case in section("queries") {
        let data = bytes(&case, "data");
        let read = InclusionQuery::decode(&data);
        assert_eq!(verdict(&read), text(&case, "decode"), "{}", case["name"]);
        let Ok(query) = read else { continue };
        assert_eq!(query.encode(), data, "{}", case["name"]);
        let numbers = [query.seq, query.size.get(), query.index.get()];
        assert_eq!(numbers, ["seq", "size", "index"].map(|field| number(&case, field)));
        let hashes = [query.log_id.to_hex(), query.root.to_hex(), query.leaf.to_hex()];
        assert_eq!(hashes, ["log_id", "root", "leaf"].map(|field| text(&case, field)));
        let path: Vec<String> = query.path.iter().map(NodeHash::to_hex).collect();
        assert_eq!(Json::from(path), case["path"]);
    }
}

#[test]
fn events_decode_or_fail_as_they_should() {
    for case in section("events") {
        let topics: Vec<[u8; 32]> = case["topics"]
            .as_array()
            .unwrap()
            .iter()
            .map(|topic| unhex(topic.as_str().unwrap()).try_into().unwrap())
            .collect();
        let data = bytes(&case, "data");
        let read = Anchored::decode(&topics, &data);
        assert_eq!(verdict(&read), text(&case, "decode"), "{}", case["name"]);
        let Ok(event) = read else { continue };
        assert_eq!((&event.topics()[..], event.data()), (&topics[..], data));
        let numbers = [event.seq, event.size.get(), event.prev_size.get(), event.epoch.into()];
        assert_eq!(numbers, ["seq", "size", "prev_size", "epoch"].map(|field| number(&case, field)));
        let hashes = [event.log_id.to_hex(), event.root.to_hex(), event.prev_root.to_hex(), event.note_hash.to_hex()];
        assert_eq!(hashes, ["log_id", "root", "prev_root", "note_hash"].map(|field| text(&case, field)));
    }
}

#[test]
fn transactions_decode_or_fail_as_they_should() {
    for case in section("transactions") {
        let raw = bytes(&case, "raw");
        let read = SignedTransaction::decode(&raw);
        assert_eq!(verdict(&read), text(&case, "decode"), "{}", case["name"]);
        let Ok(signed) = read else { continue };
        assert_eq!(signed.encode(), raw, "{}", case["name"]);
        let hashes = [signed.hash().to_hex(), signed.transaction.signing_digest().to_hex()];
        assert_eq!(hashes, ["hash", "digest"].map(|field| text(&case, field)));
        assert_eq!(signed.sender().unwrap().to_hex(), text(&case, "sender"), "{}", case["name"]);
        let inner = &signed.transaction;
        let numbers = [inner.chain_id, inner.nonce, inner.gas_limit];
        assert_eq!(numbers, ["chain_id", "nonce", "gas"].map(|field| number(&case, field)));
        let wei = [inner.max_priority_fee_per_gas, inner.max_fee_per_gas, inner.value].map(|wei| wei.to_string());
        assert_eq!(wei, ["tip", "cap", "value"].map(|field| text(&case, field)));
        assert_eq!(
            (inner.to.to_hex(), hex(&inner.data)),
            (text(&case, "to").to_owned(), text(&case, "data").to_owned())
        );
    }
}

#[test]
fn every_flipped_bit_of_a_transaction_is_refused_or_names_another_hash_and_sender() {
    let case = section("transactions").swap_remove(0);
    let (raw, sender) = (bytes(&case, "raw"), text(&case, "sender").to_owned());
    for bit in 0..raw.len() * 8 {
        let mut bent = raw.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        let Ok(signed) = SignedTransaction::decode(&bent) else { continue };
        assert_eq!(signed.encode(), bent, "bit {bit}");
        assert_ne!(signed.hash().to_hex(), text(&case, "hash"));
        assert_ne!(signed.sender().map(|address| address.to_hex()), Ok(sender.clone()), "bit {bit}");
    }
}

#[test]
fn a_transaction_longer_than_a_pool_takes_is_not_read() {
    let signed = |data: usize| {
        let mut signed = SignedTransaction::decode(&bytes(&section("transactions")[0], "raw")).unwrap();
        signed.transaction.data = vec![0; data];
        SignedTransaction::decode(&signed.encode())
    };
    assert!(signed(TRANSACTION_BYTES_MAX - 200).is_ok());
    assert_eq!(signed(TRANSACTION_BYTES_MAX), Err(TransactionError::TooLong));
}

#[test]
fn things_of_a_chain_have_one_spelling() {
    let address = "0x5fbdb2315678afecb367f032d93f642f64180aa3";
    assert_eq!(Address::from_hex(address).unwrap().to_hex(), address);
    for bad in [
        "",
        "0x",
        "5fbdb2315678afecb367f032d93f642f64180aa3",
        "0X5fbdb2315678afecb367f032d93f642f64180aa3",
        "0x5FbDB2315678afecb367f032d93F642f64180aa3",
        "0x5fbdb2315678afecb367f032d93f642f64180aa",
        "0x5fbdb2315678afecb367f032d93f642f64180aa3a",
        "0x5fbdb2315678afecb367f032d93f642f64180aa30a",
    ] {
        assert!(Address::from_hex(bad).is_err(), "{bad}");
    }
}
