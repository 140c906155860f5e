//! The vectors that the contract's own tests (forge) are held against: made here, by `sdk/merkle` and `sdk/protocol`.
//!
//! `TALLY_VECTORS=write` (set by `cargo xtask contract vectors`) writes `anchor/contract/test/vectors/`; otherwise the committed
//! files must be what this code gives. A vector is a claim and the verdict of the Rust verifier; most claims are false.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod chain;

use std::path::Path;

use chain::tree::{Numbers, Tree, change};
use chain::{hex, unhex};
use serde_json::{Value, json};
use tally_merkle::{ConsistencyProof, InclusionProof, verify_consistency, verify_inclusion};
use tally_protocol::entry::EventEntry;
use tally_protocol::hash::{LeafHash, NodeHash, RootHash, leaf};
use tally_protocol::id::{Index, TreeSize};

/// Sizes where trees change their shape, small and large.
const SIZES: [u64; 14] = [1, 2, 3, 4, 5, 7, 8, 9, 16, 33, 1_000, 65_537, (1 << 30) - 1, (1 << 62) + 3];

/// Long proofs of a few sizes are enough: the file is read by people too.
fn few(mut places: Vec<u64>, size: u64) -> Vec<u64> {
    places.sort_unstable();
    places.dedup();
    places.truncate(if size > 1_000 { 3 } else { 6 });
    places
}

#[test]
fn the_committed_merkle_vectors_are_what_the_library_says() {
    let mut numbers = Numbers(0x7461_6c6c_7904);
    let document = json!({"inclusion": inclusions(&mut numbers), "consistency": consistencies(&mut numbers)});
    settle("merkle.json", &document);
}

#[test]
fn the_committed_event_vector_is_a_real_event_in_a_real_tree() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk/protocol/tests/vectors");
    let read =
        |name: &str| -> Value { serde_json::from_str(&std::fs::read_to_string(vectors.join(name)).unwrap()).unwrap() };
    let (entries, frames) = (read("entries.json"), read("frames.json"));
    let entry_bytes = unhex(entries[0]["entry"].as_str().unwrap());
    let entry = EventEntry::decode(&entry_bytes).unwrap();
    let frame = frames.as_array().unwrap().iter().find_map(|one| {
        let bytes = unhex(one["frame"].as_str()?);
        let frame = tally_protocol::frame::Frame::decode(bytes.into()).ok()?;
        (frame.signing_hash() == entry.signing_hash).then_some(frame)
    });
    let frame = frame.expect("the entry's frame is among the vectors");
    // The event stands at 700 among a thousand others.
    let mut frontier = tally_merkle::Frontier::new();
    let others = |at: u64| if at == 700 { entry.leaf_hash() } else { leaf(&at.to_be_bytes()) };
    let leaves: Vec<LeafHash> = (0..1_000).map(others).collect();
    let tree = tally_merkle::RunTree::extend(&mut frontier, &leaves);
    let proof: Vec<String> = tree.path(Index::new(700)).iter().map(|hash| hex(hash.as_bytes())).collect();
    let document = json!({
        "preimage": hex(frame.preimage()), "entry": hex(&entry_bytes), "leaf": hex(entry.leaf_hash().as_bytes()),
        "index": 700, "size": 1_000, "root": hex(tree.root().as_bytes()), "proof": proof,
    });
    settle("event.json", &document);
}

fn settle(name: &str, document: &Value) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("contract/test/vectors").join(name);
    let text = serde_json::to_string(document).unwrap().replace("},{", "},\n{") + "\n";
    if std::env::var("TALLY_VECTORS").is_ok_and(|value| value == "write") {
        std::fs::write(&file, text).unwrap();
    } else {
        let committed = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(committed == text, "{name} differs: `cargo xtask contract vectors` writes it anew");
    }
}

fn inclusions(numbers: &mut Numbers) -> Vec<Value> {
    let mut out = Vec::new();
    for size in SIZES {
        let indexes = few(vec![0, size / 3, size / 2, size - 1, numbers.below(size)], size);
        let tree = Tree::new(size, indexes.clone());
        let (root, other) = (tree.root(size), Tree::new(size + 1, vec![]));
        for index in indexes {
            let (leaf, proof) = (tree.leaf(index), tree.inclusion(index, size));
            out.push(inclusion(&leaf, &proof, &root));
            for _ in 0..2 {
                let mut bad = proof.clone();
                change(&mut bad.path, numbers);
                out.push(inclusion(&leaf, &bad, &root));
            }
            out.push(inclusion(&other.leaf(0), &proof, &root));
            out.push(inclusion(&leaf, &proof, &other.root(size)));
            out.push(inclusion(&leaf, &InclusionProof { index: Index::new(index + 1), ..proof.clone() }, &root));
            out.push(inclusion(&leaf, &InclusionProof { index: Index::new(size), ..proof.clone() }, &root));
            out.push(inclusion(&leaf, &InclusionProof { size: TreeSize::new(size + 1), ..proof.clone() }, &root));
        }
    }
    out
}

fn inclusion(leaf: &LeafHash, proof: &InclusionProof, root: &RootHash) -> Value {
    json!({
        "index": exact(proof.index.get()), "leaf": hex(leaf.as_bytes()), "proof": path(&proof.path), "root": hex(root.as_bytes()),
        "size": exact(proof.size.get()), "verdict": verify_inclusion(leaf, proof, root).is_ok(),
    })
}

fn consistencies(numbers: &mut Numbers) -> Vec<Value> {
    let mut out = Vec::new();
    for new in SIZES {
        let olds = few(vec![0, new / 3, new / 2, new - 1, new, numbers.below(new + 1)], new);
        let special = olds.iter().flat_map(|old| [*old, old.saturating_sub(1)]).collect();
        let tree = Tree::new(new, special);
        let other = Tree::new(new + 1, vec![]);
        for old in olds {
            let (was, is, proof) = (tree.root(old), tree.root(new), tree.consistency(old, new));
            out.push(consistency(&proof, &was, &is));
            for _ in 0..2 {
                let mut bad = proof.clone();
                change(&mut bad.path, numbers);
                out.push(consistency(&bad, &was, &is));
            }
            out.push(consistency(&proof, &other.root(old + 1), &is));
            out.push(consistency(&proof, &was, &other.root(new)));
            out.push(consistency(&proof, &is, &was));
            out.push(consistency(&ConsistencyProof { old: TreeSize::new(old + 1), ..proof.clone() }, &was, &is));
            out.push(consistency(&ConsistencyProof { new: TreeSize::new(new + 1), ..proof.clone() }, &was, &is));
            out.push(consistency(&ConsistencyProof { old: proof.new, new: proof.old, ..proof.clone() }, &is, &was));
        }
    }
    out
}

fn consistency(proof: &ConsistencyProof, old: &RootHash, new: &RootHash) -> Value {
    json!({
        "newRoot": hex(new.as_bytes()), "newSize": exact(proof.new.get()), "oldRoot": hex(old.as_bytes()),
        "oldSize": exact(proof.old.get()), "proof": path(&proof.path), "verdict": verify_consistency(proof, old, new).is_ok(),
    })
}

/// In hexadecimal: a JSON number is exact only up to 2^53.
fn exact(number: u64) -> String {
    format!("{number:#x}")
}

fn path(hashes: &[NodeHash]) -> Vec<String> {
    hashes.iter().map(|hash| hex(hash.as_bytes())).collect()
}
