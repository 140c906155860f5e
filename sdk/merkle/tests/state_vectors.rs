//! The golden vectors of state trees (`state.json`), made by an implementation of its own
//! (`sdk/protocol/tests/vectors/make.py`): hashes, roots, page bytes, proofs and answers.

#![expect(clippy::unwrap_used, reason = "a test's helper panics as the test does")]

use serde_json::Value as Json;
use tally_merkle::sparse::{
    MemoryPages, PageId, StateAnswer, StateChange, StateNode, StateProof, StatesRoot, prove, update,
};
use tally_protocol::hash::{self, StateKey, StateValue};
use tally_protocol::id::{PluginId, Stream};

#[allow(dead_code, reason = "each test file uses its part of the oracle")]
mod state_reference;

fn section(name: &str) -> Vec<Json> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../protocol/tests/vectors/state.json");
    let all: Json = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases = all[name].as_array().unwrap().clone();
    assert!(!cases.is_empty());
    cases
}

fn text<'a>(case: &'a Json, field: &str) -> &'a str {
    case[field].as_str().unwrap_or_else(|| panic!("{field} of {case}"))
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn hash_of(text: &str) -> [u8; 32] {
    unhex(text).try_into().unwrap()
}

fn pairs(case: &Json, field: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let pair = |pair: &Json| (unhex(pair[0].as_str().unwrap()), unhex(pair[1].as_str().unwrap()));
    case[field].as_array().unwrap().iter().map(pair).collect()
}

fn grown(changes: &[StateChange]) -> (MemoryPages, StateNode) {
    let mut pages = MemoryPages::new();
    let update = update(&pages, &StateNode::EMPTY, changes).unwrap();
    let root = update.root;
    pages.apply(update);
    (pages, root)
}

fn named(pages: &[(Vec<u8>, Vec<u8>)]) -> MemoryPages {
    MemoryPages { pages: pages.iter().map(|(prefix, page)| (PageId::new(prefix).unwrap(), page.clone())).collect() }
}

/// "ok" or the variant's name.
fn verdict<T, E: core::fmt::Debug>(result: &Result<T, E>) -> String {
    let debug = result.as_ref().err().map_or_else(|| "ok".to_owned(), |error| format!("{error:?}"));
    debug.split(['(', ' ', '{']).next().unwrap().to_owned()
}

#[test]
fn hashes_are_those_of_the_vectors() {
    for case in section("hashes") {
        let of = case["of"].as_str().map(unhex).unwrap_or_default();
        let two = |at: usize| <[u8; 32]>::try_from(&of[at * 32..][..32]).unwrap();
        let found = match text(&case, "name") {
            "empty" => *StateNode::EMPTY.as_bytes(),
            "key" => *hash::state_key(&of).as_bytes(),
            "value" => *hash::state_value(&of).as_bytes(),
            "leaf" => *hash::state_leaf(&StateKey::from_bytes(two(0)), &StateValue::from_bytes(two(1))).as_bytes(),
            "node" => *hash::state_node(&StateNode::from_bytes(two(0)), &StateNode::from_bytes(two(1))).as_bytes(),
            _ => {
                let stream = Stream::from_bytes(of[..32].try_into().unwrap());
                let plugin = PluginId::new(std::str::from_utf8(&of[32..]).unwrap()).unwrap();
                *hash::state_tree(&stream, &plugin).as_bytes()
            }
        };
        assert_eq!(found, hash_of(text(&case, "hash")), "{case}");
    }
}

#[test]
fn trees_have_the_roots_and_pages_of_the_vectors() {
    for case in section("trees") {
        let pairs_of = pairs(&case, "pairs");
        let writes: Vec<_> = pairs_of.iter().map(|(key, value)| (&key[..], Some(&value[..]))).collect();
        let (pages, root) = grown(&StateChange::many(&writes));
        assert_eq!(root.to_hex(), text(&case, "root"), "{}", case["name"]);
        if !case["pages"].is_null() {
            assert_eq!(pages, named(&pairs(&case, "pages")), "{}", case["name"]);
        }
        let all: Vec<&[u8]> = pages.pages.values().map(Vec::as_slice).collect();
        assert_eq!(state_reference::sha(&all), hash_of(text(&case, "pages_sha")), "{}", case["name"]);
    }
    for case in section("paths") {
        let change = |(key, value): &(Vec<u8>, Vec<u8>)| StateChange {
            key: StateKey::from_bytes(key[..].try_into().unwrap()),
            value: Some(StateValue::from_bytes(value[..].try_into().unwrap())),
        };
        let (pages, root) = grown(&pairs(&case, "leaves").iter().map(change).collect::<Vec<_>>());
        assert_eq!(root.to_hex(), text(&case, "root"), "{}", case["name"]);
        assert_eq!(pages, named(&pairs(&case, "pages")), "{}", case["name"]);
        for (path, proof) in pairs(&case, "proofs") {
            let found = prove(&pages, &root, &StateKey::from_bytes(path[..].try_into().unwrap())).unwrap();
            assert_eq!(found.encode(), proof, "{}", case["name"]);
        }
    }
}

#[test]
fn proofs_have_the_verdicts_of_the_vectors() {
    let trees: std::collections::BTreeMap<String, MemoryPages> = section("trees")
        .iter()
        .map(|case| {
            let pairs = pairs(case, "pairs");
            let writes: Vec<_> = pairs.iter().map(|(key, value)| (&key[..], Some(&value[..]))).collect();
            (text(case, "name").to_owned(), grown(&StateChange::many(&writes)).0)
        })
        .collect();
    for case in section("proofs") {
        let root = StateNode::from_bytes(hash_of(text(&case, "root")));
        let key = hash::state_key(&unhex(text(&case, "key")));
        let value = case["value"].as_str().map(|value| hash::state_value(&unhex(value)));
        let proof = StateProof::decode(&unhex(text(&case, "proof"))).unwrap();
        let found = proof.verify(&root, &key, value.as_ref());
        assert_eq!(verdict(&found), text(&case, "verify"), "{case}");
        if found.is_ok() {
            assert_eq!(prove(&trees[text(&case, "tree")], &root, &key).unwrap(), proof, "{case}");
        }
    }
    for case in section("malformed") {
        let found = StateProof::decode(&unhex(text(&case, "proof")));
        assert_eq!(verdict(&found), text(&case, "decode"), "{case}");
    }
}

#[test]
fn answers_verify_as_the_vectors_say() {
    for case in section("answers") {
        let root = StatesRoot::from_bytes(hash_of(text(&case, "root")));
        let stream = Stream::new(text(&case, "tenant").parse().unwrap(), text(&case, "store").parse().unwrap());
        let key = hash::state_key(&unhex(text(&case, "key")));
        let value = case["value"].as_str().map(|value| hash::state_value(&unhex(value)));
        let bytes = unhex(text(&case, "answer"));
        let answer = StateAnswer::decode(&bytes).unwrap();
        assert_eq!(answer.encode(), bytes);
        let plugin = PluginId::new(text(&case, "plugin")).unwrap();
        let ask = |value: Option<&StateValue>| answer.verify(&root, &stream, &plugin, &key, value);
        assert_eq!(ask(value.as_ref()), Ok(()), "{case}");
        assert!(ask(Some(&StateValue::ZERO)).is_err());
        assert_eq!(ask(None).is_ok(), value.is_none());
    }
}
