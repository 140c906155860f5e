//! State trees: proofs and answers against a tree that is known, pages against a second reader and a known tree.
//!
//! A proof or answer that convinces of a key is the honest one, byte for byte; nothing convinces of what is not so.
//! A page with a right checksum is read by the definition's grammar exactly; put into the known tree, every key being
//! written, it is an error or the page that was there.

use std::sync::LazyLock;

use tally_merkle::sparse::{
    MemoryPages, PageId, StateAnswer, StateChange, StateNode, StateProof, check_page, prove, tree_change, update,
};
use tally_protocol::hash::{StateKey, StateValue, state_key, state_tree};
use tally_protocol::id::{PluginId, StoreId, Stream, TenantId};

use crate::{Shape, Target, shape_of};

const EMPTY: &[u8] = StateNode::EMPTY.as_bytes();

pub(super) const PROOF: Target = Target {
    name: "state-proof",
    about: "proofs and answers of a plugin's state; the first byte chooses which",
    files: &["sdk/merkle/src/sparse/proof.rs", "sdk/merkle/src/sparse/answer.rs"],
    words: &[b"\x01\x01", b"\x01\x02", b"\x01\x03", b"\0\0", b"\x01\0", b"\x01\x01\x01", b"\x80", &[0; 32], EMPTY],
    seeds: proof_seeds,
    check: check_proof,
};

pub(super) const PAGE: Target = Target {
    name: "state-page",
    about: "a stored page of a state tree, without its checksum; the first byte chooses its place",
    files: &["sdk/merkle/src/sparse/page.rs"],
    words: &[b"\0", b"\x01", b"\x02", b"\x03", b"\x01\0", b"\x01\x01", &[0; 32], &[0xff; 32], EMPTY],
    seeds: page_seeds,
    check: check_a_page,
};

static PLUGIN: LazyLock<PluginId> = LazyLock::new(|| plugin("licensing"));

fn plugin(id: &str) -> PluginId {
    PluginId::new(id).expect("written in full")
}

struct Known {
    pages: MemoryPages,
    root: StateNode,
    over_all: (MemoryPages, StateNode),
    /// Every key of the tree, to another value.
    rewrite: Vec<StateChange>,
    rewritten: StateNode,
}

fn grown(changes: &[StateChange]) -> (MemoryPages, StateNode) {
    let mut pages = MemoryPages::new();
    let update = update(&pages, &StateNode::EMPTY, changes).expect("memory can be read");
    let root = update.root;
    pages.apply(update);
    (pages, root)
}

fn stream() -> Stream {
    Stream::new(TenantId::from_bytes([1; 16]), StoreId::from_bytes([2; 16]))
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let names: Vec<[u8; 2]> = (0..24u16).map(u16::to_be_bytes).collect();
    let mut changes = StateChange::many(&names.iter().map(|name| (&name[..], Some(&b"v"[..]))).collect::<Vec<_>>());
    // Neighbours, so that there are pages below the root's.
    for tail in 1..4u8 {
        let mut near = *changes[0].key.as_bytes();
        near[2] ^= tail;
        changes.push(StateChange { key: StateKey::from_bytes(near), value: Some(StateValue::from_bytes([tail; 32])) });
    }
    let (pages, root) = grown(&changes);
    let rewrite: Vec<_> =
        changes.iter().map(|change| StateChange { value: Some(StateValue::from_bytes([9; 32])), ..*change }).collect();
    let rewritten = grown(&rewrite).1;
    let over_all =
        grown(&[tree_change(&stream(), &PLUGIN, &root), tree_change(&stream(), &plugin("catalog"), &rewritten)]);
    Known { pages, root, over_all, rewrite, rewritten }
});

/// Keys that are there and keys that are not, with what they have.
fn asked() -> Vec<(StateKey, Option<StateValue>)> {
    let present = |at: u16| (state_key(&at.to_be_bytes()), Some(tally_protocol::hash::state_value(b"v")));
    let absent = |name: &[u8]| (state_key(name), None);
    vec![present(0), present(7), present(23), absent(b"a"), absent(b"b"), absent(b"c"), absent(b"revoked")]
}

fn honest(key: &StateKey) -> StateProof {
    prove(&KNOWN.pages, &KNOWN.root, key).expect("the tree is whole")
}

fn of_tree(plugin: &PluginId) -> StateProof {
    prove(&KNOWN.over_all.0, &KNOWN.over_all.1, &state_tree(&stream(), plugin)).expect("the tree is whole")
}

fn answer(key: &StateKey) -> StateAnswer {
    StateAnswer::InTree { tree: of_tree(&PLUGIN), key: honest(key) }
}

fn proof_seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![[&[1][..], &StateAnswer::NoTree(of_tree(&plugin("checkout"))).encode()].concat()];
    for (key, _) in asked() {
        seeds.push([&[0][..], &honest(&key).encode()].concat());
        seeds.push([&[1][..], &answer(&key).encode()].concat());
    }
    seeds
}

fn check_proof(input: &[u8]) -> Shape {
    let Some((kind, bytes)) = input.split_first() else { return "short".to_owned() };
    if kind % 2 == 0 { one_proof(bytes) } else { one_answer(bytes) }
}

fn one_proof(bytes: &[u8]) -> Shape {
    let proof = match StateProof::decode(bytes) {
        Ok(proof) => proof,
        Err(error) => return format!("proof {}", shape_of(&error)),
    };
    assert_eq!(proof.encode(), bytes, "what decodes encodes to the same bytes");
    let mut shape = format!("proof {}", proof.siblings().len().min(9));
    for (key, has) in asked() {
        for claim in [None, has, Some(StateValue::ZERO)] {
            let verdict = proof.verify(&KNOWN.root, &key, claim.as_ref());
            if verdict.is_ok() {
                assert_eq!(claim, has, "convinced of what is not so");
                assert_eq!(proof, honest(&key), "a second proof of one thing");
            }
            shape.push_str(&verdict.map_or_else(|error| format!(" {error:?}"), |()| " accepted".to_owned()));
        }
    }
    shape
}

fn one_answer(bytes: &[u8]) -> Shape {
    let given = match StateAnswer::decode(bytes) {
        Ok(given) => given,
        Err(error) => return format!("answer {}", shape_of(&error)),
    };
    assert_eq!(given.encode(), bytes, "what decodes encodes to the same bytes");
    let (root, mut shape) = (KNOWN.over_all.1.states_root(), "answer".to_owned());
    for (key, has) in asked() {
        for claim in [None, has, Some(StateValue::ZERO)] {
            let verdict = given.verify(&root, &stream(), &PLUGIN, &key, claim.as_ref());
            if verdict.is_ok() {
                assert_eq!(claim, has, "convinced of what is not so");
                assert_eq!(given, answer(&key), "a second answer to one question");
            }
            let none = given.verify(&root, &stream(), &plugin("checkout"), &key, claim.as_ref());
            assert!(none.is_err() || claim.is_none(), "convinced of state that is not there");
            let verdict = verdict.and(none);
            shape.push_str(&verdict.map_or_else(|error| format!(" {error:?}"), |()| " accepted".to_owned()));
        }
    }
    shape
}

fn page_seeds() -> Vec<Vec<u8>> {
    let pages = KNOWN.pages.pages.values().zip(0..);
    pages.map(|(page, at): (&Vec<u8>, u8)| [&[at], &page[..page.len() - 4]].concat()).collect()
}

/// CRC-32C by its definition.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 })
    })
}

fn check_a_page(input: &[u8]) -> Shape {
    let Some((&place, body)) = input.split_first() else { return "short".to_owned() };
    let id = *KNOWN.pages.pages.keys().cycle().nth(usize::from(place)).expect("a tree has pages");
    let bytes = [body, &crc(body).to_be_bytes()].concat();
    let read = check_page(id, &bytes);
    assert_eq!(read.is_ok(), naive_page(&id, body), "the decoder and the grammar disagree");
    // Without the checksum nothing is read at all.
    assert!(check_page(id, body).is_err() || body.len() > 4 && crc(&body[..body.len() - 4]) == last_word(body));
    let mut pages = KNOWN.pages.clone();
    let same = pages.pages.insert(id, bytes.clone()).is_some_and(|was| was == bytes);
    let updated = update(&pages, &KNOWN.root, &KNOWN.rewrite);
    assert_eq!(updated.is_ok(), same, "every byte of a page is on some key's way");
    if let Ok(updated) = &updated {
        assert_eq!(updated.root, KNOWN.rewritten, "a damaged page gave a wrong root");
    }
    for (key, has) in asked() {
        if let Ok(proof) = prove(&pages, &KNOWN.root, &key) {
            assert_eq!(proof.verify(&KNOWN.root, &key, has.as_ref()), Ok(()), "a damaged page gave a wrong proof");
        }
    }
    let read = read.map_or_else(|error| shape_of(&error), |()| "read".to_owned());
    let updated = updated.map_or_else(|error| shape_of(&error), |_| "whole".to_owned());
    format!("{read} {}", updated.split(['(', '{']).next().unwrap_or_default())
}

fn last_word(bytes: &[u8]) -> u32 {
    bytes.last_chunk().map_or(0, |word| u32::from_be_bytes(*word))
}

/// Whether a page's body is one, by the grammar of `docs/formats/state-root.md`.
fn naive_page(id: &PageId, body: &[u8]) -> bool {
    let head = [&[1, id.prefix().len() as u8], id.prefix()].concat();
    let bits: Vec<bool> = id.prefix().iter().flat_map(|byte| (0..8).map(move |bit| byte << bit & 0x80 != 0)).collect();
    let top = bits.len();
    let Some(rest) = body.strip_prefix(&head[..]) else { return false };
    matches!(naive_slot(rest, &bits, top), Some((kind, [])) if kind == 2 || kind == 1 && top == 0)
}

/// A slot's kind and what is behind it.
fn naive_slot<'a>(bytes: &'a [u8], path: &[bool], top: usize) -> Option<(u8, &'a [u8])> {
    let (kind, rest) = bytes.split_first()?;
    match kind {
        0 => Some((0, rest)),
        1 => {
            let (leaf, rest) = rest.split_at_checked(64)?;
            let leads = path.iter().enumerate().all(|(at, bit)| (leaf[at / 8] << (at % 8) & 0x80 != 0) == *bit);
            leads.then_some((1, rest))
        }
        2 if path.len() < top + 8 => {
            let (_, rest) = rest.split_at_checked(32)?;
            let (left, rest) = naive_slot(rest, &[path, &[false]].concat(), top)?;
            let (right, rest) = naive_slot(rest, &[path, &[true]].concat(), top)?;
            // Two leaves at least: one in each half, or more in one of them.
            (left > 1 || right > 1 || left == 1 && right == 1).then_some((2, rest))
        }
        3 if path.len() == top + 8 && path.len() < 256 => rest.split_at_checked(32).map(|(_, rest)| (3, rest)),
        _ => None,
    }
}
