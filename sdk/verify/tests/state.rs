//! A plugin's state by its proofs alone: present, absent, in no tree; and nothing else (S-035).

#![expect(clippy::unwrap_used, reason = "a test's helper panics as the test does")]

use std::sync::LazyLock;

use tally_merkle::sparse::{MemoryPages, StateChange, StateNode, StateProof, prove, tree_change, update};
use tally_protocol::hash::{state_key, state_tree};
use tally_protocol::id::{PluginId, StoreId, Stream, TenantId};
use tally_verify::{StateAnswer, StateAt, StateProofError, StatesRoot, verify_state_absent, verify_state_value};

static LICENSING: LazyLock<PluginId> = LazyLock::new(|| PluginId::new("licensing").unwrap());

struct Ledger {
    licences: (MemoryPages, StateNode),
    states: (MemoryPages, StateNode),
}

fn grown(changes: &[StateChange]) -> (MemoryPages, StateNode) {
    let mut pages = MemoryPages::new();
    let update = update(&pages, &StateNode::EMPTY, changes).unwrap();
    let root = update.root;
    pages.apply(update);
    (pages, root)
}

fn stream(store: u8) -> Stream {
    Stream::new(TenantId::from_bytes([1; 16]), StoreId::from_bytes([store; 16]))
}

impl Ledger {
    fn new() -> Self {
        let writes: [(&[u8], Option<&[u8]>); 3] =
            [(b"licence/7", Some(b"active")), (b"licence/8", Some(b"active")), (b"revoked/8", Some(b""))];
        let licences = grown(&StateChange::many(&writes));
        let other = grown(&StateChange::many(&writes[..1]));
        let listed = [tree_change(&stream(1), &LICENSING, &licences.1), tree_change(&stream(2), &LICENSING, &other.1)];
        Self { licences, states: grown(&listed) }
    }

    fn root(&self) -> StatesRoot {
        self.states.1.states_root()
    }

    fn tree(&self, at: &StateAt<'_>) -> StateProof {
        prove(&self.states.0, &self.states.1, &state_tree(&at.stream, at.plugin)).unwrap()
    }

    fn answer(&self, at: &StateAt<'_>) -> StateAnswer {
        let key = prove(&self.licences.0, &self.licences.1, &state_key(at.key)).unwrap();
        StateAnswer::InTree { tree: self.tree(at), key }
    }
}

fn at(key: &[u8]) -> StateAt<'_> {
    StateAt { stream: stream(1), plugin: &LICENSING, key }
}

#[test]
fn a_licence_is_shown_active_and_not_revoked() {
    let ledger = Ledger::new();
    let root = ledger.root();
    for (key, value) in [(&b"licence/7"[..], Some(&b"active"[..])), (b"revoked/8", Some(b"")), (b"revoked/7", None)] {
        let answer = StateAnswer::decode(&ledger.answer(&at(key)).encode()).unwrap();
        assert_eq!(verify_state_absent(&root, &at(key), &answer).is_ok(), value.is_none());
        for claim in [&b"active"[..], b"", b"other"] {
            assert_eq!(verify_state_value(&root, &at(key), claim, &answer).is_ok(), value == Some(claim));
        }
    }
}

#[test]
fn a_plugin_without_state_has_no_key_there() {
    let ledger = Ledger::new();
    let catalog = PluginId::new("catalog").unwrap();
    let absent = StateAt { plugin: &catalog, ..at(b"licence/7") };
    let answer = StateAnswer::NoTree(ledger.tree(&absent));
    assert_eq!(verify_state_absent(&ledger.root(), &absent, &answer), Ok(()));
    assert_eq!(verify_state_value(&ledger.root(), &absent, b"active", &answer), Err(StateProofError::OtherClaim));
    // The plugin that has state is not shown without it.
    let listed = StateAnswer::NoTree(ledger.tree(&at(b"licence/7")));
    assert!(verify_state_absent(&ledger.root(), &at(b"licence/7"), &listed).is_err());
    assert!(verify_state_absent(&ledger.root(), &at(b"licence/7"), &answer).is_err());
}

#[test]
fn an_answer_holds_for_its_own_root_stream_plugin_and_key_only() {
    let ledger = Ledger::new();
    let answer = ledger.answer(&at(b"revoked/7"));
    let good = at(b"revoked/7");
    let near = PluginId::new("licensin").unwrap();
    assert_eq!(verify_state_absent(&ledger.root(), &good, &answer), Ok(()));
    for other in [
        StateAt { stream: stream(2), ..good },
        StateAt { stream: stream(3), ..good },
        StateAt { plugin: &near, ..good },
        StateAt { key: b"revoked/8", ..good },
        StateAt { key: b"licence/7", ..good },
    ] {
        assert!(verify_state_absent(&ledger.root(), &other, &answer).is_err(), "{other:?}");
    }
    assert_eq!(verify_state_absent(&StatesRoot::EMPTY, &good, &answer), Err(StateProofError::RootMismatch));
    // The plugin's own root is not the root over all.
    assert!(verify_state_absent(&ledger.licences.1.states_root(), &good, &answer).is_err());
}

#[test]
fn no_changed_byte_of_an_answer_verifies() {
    let ledger = Ledger::new();
    for key in [&b"licence/7"[..], b"revoked/7"] {
        let bytes = ledger.answer(&at(key)).encode();
        for place in 0..bytes.len() {
            for mask in [1, 2, 0x80, 0xff] {
                let mut other = bytes.clone();
                other[place] ^= mask;
                let Ok(answer) = StateAnswer::decode(&other) else { continue };
                assert!(verify_state_absent(&ledger.root(), &at(key), &answer).is_err());
                assert!(verify_state_value(&ledger.root(), &at(key), b"active", &answer).is_err());
            }
        }
    }
}
