//! The contract on a real chain against `sdk/merkle`: the same verdict on every proof, honest or not.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod chain;

use chain::contract::{Anchor, Contract, Word, word};
use chain::tree::{Numbers, Tree, change};
use chain::{Chain, number};
use tally_merkle::{verify_consistency, verify_inclusion};
use tally_protocol::id::{Index, TreeSize};

const LOG: Word = [0x11; 32];
const OTHER_LOG: Word = [0x22; 32];

/// A size with about as many bits as the draw says, small ones as likely as large ones.
fn size(numbers: &mut Numbers) -> u64 {
    let bits = numbers.below(40);
    1 + numbers.below(2 << bits)
}

fn anchor(tree: &Tree, log: Word, old: u64, new: u64) -> Anchor {
    Anchor { log, size: new, root: tree.root(new), proof: tree.consistency(old, new).path, epoch: 0 }
}

#[test]
fn the_contract_and_the_library_judge_every_consistency_proof_alike() {
    let chain = Chain::start("prague");
    let contract = Contract::deploy(&chain);
    let mut numbers = Numbers(0x7461_6c6c_7901);
    let mut accepted = 0;
    for round in 0..400 {
        let (a, b) = (size(&mut numbers), size(&mut numbers));
        let (old, new) = (a.min(b), a.max(b));
        let tree = Tree::new(round, vec![0, old / 2, old - 1, old, new / 2, new - 1]);
        let (mut was, mut is, mut proof) = (tree.root(old), tree.root(new), tree.consistency(old, new));
        match round % 4 {
            0 => {}
            1 => change(&mut proof.path, &mut numbers),
            2 if round % 8 == 2 => was = Tree::new(round + 1_000, vec![]).root(old),
            2 => is = Tree::new(round + 1_000, vec![]).root(new),
            _ if round % 8 == 3 => proof.new = TreeSize::new(new + 1),
            _ => proof.old = TreeSize::new(old - 1),
        }
        let ours = verify_consistency(&proof, &was, &is).is_ok();
        let theirs = contract.judges(&contract.consistency_data(&proof, &was, &is));
        assert_eq!(theirs, ours, "round {round}: {old} to {new}");
        accepted += u32::from(ours);
    }
    assert!((100..250).contains(&accepted), "{accepted} of 400 accepted: the draw is one-sided");
}

#[test]
fn the_contract_and_the_library_judge_every_inclusion_proof_alike() {
    let chain = Chain::start("prague");
    let contract = Contract::deploy(&chain);
    contract.open(LOG);
    let mut numbers = Numbers(0x7461_6c6c_7902);
    let (mut accepted, mut head) = (0, 0);
    let mut sizes: Vec<u64> = (0..12).map(|_| size(&mut numbers)).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let mut special = sizes.clone();
    special.extend(sizes.iter().flat_map(|size| [size / 2, size / 3, size - 1]));
    let tree = Tree::new(7, special);
    for (seq, size) in sizes.iter().copied().enumerate().map(|(at, size)| (at as u64 + 1, size)) {
        contract.send(&contract.anchor_data(&anchor(&tree, LOG, head, size)));
        head = size;
        for round in 0..32 {
            let index = [0, size - 1, size / 2, size / 3, numbers.below(size)][(round % 5) as usize];
            let (mut leaf, mut proof) = (tree.leaf(index), tree.inclusion(index, size));
            match round % 4 {
                0 | 1 => {}
                2 => change(&mut proof.path, &mut numbers),
                _ if round % 8 == 3 => proof.index = Index::new(numbers.below(size + 2)),
                _ => leaf = Tree::new(8, vec![]).leaf(index),
            }
            let root = tree.root(size);
            let ours = verify_inclusion(&leaf, &proof, &root).is_ok();
            let theirs = contract.judges(&contract.inclusion_data(LOG, seq, &root, &leaf, &proof));
            assert_eq!(theirs, ours, "round {round}: {index} in {size}");
            accepted += u32::from(ours);
        }
    }
    let asked = 32 * sizes.len() as u32;
    assert!((asked / 3..asked).contains(&accepted), "{accepted} of {asked} accepted: the draw is one-sided");
}

#[test]
fn an_anchor_is_taken_exactly_when_the_library_says_that_the_log_was_extended() {
    let chain = Chain::start("prague");
    let contract = Contract::deploy(&chain);
    contract.open(LOG);
    let bad_consistency = selector(&chain, "BadConsistency()");
    let mut numbers = Numbers(0x7461_6c6c_7903);
    let mut head = 1 + numbers.below(50);
    let tree = Tree::new(1, (0..60).chain((6..40).map(|bits| (1 << bits) + 1)).collect());
    contract.send(&contract.anchor_data(&anchor(&tree, LOG, 0, head)));
    for round in 0..36 {
        let new = head + 1 + numbers.below(head * 2);
        let mut forged = anchor(&tree, LOG, head, new);
        match round % 3 {
            0 => change(&mut forged.proof, &mut numbers),
            1 => forged.root = Tree::new(2, vec![]).root(new),
            // The leaf 0 rewritten, everything else right, with the best proof there is for it.
            _ => {
                let rewritten = Tree::new(1, (1..60).chain((6..40).map(|bits| (1 << bits) + 1)).collect());
                forged.root = rewritten.root(new);
                forged.proof = rewritten.consistency(head, new).path;
            }
        }
        let proof = tally_merkle::ConsistencyProof {
            old: TreeSize::new(head),
            new: TreeSize::new(new),
            path: forged.proof.clone(),
        };
        let ours = verify_consistency(&proof, &tree.root(head), &forged.root).is_ok();
        let theirs = contract.view(&contract.anchor_data(&forged));
        assert_eq!(theirs.is_ok(), ours, "round {round}: {head} to {new}");
        if let Err(revert) = theirs {
            assert_eq!(revert, bad_consistency, "refused for the right reason");
        }
        contract.send(&contract.anchor_data(&anchor(&tree, LOG, head, new)));
        head = new.min(1 << 38);
    }
    let answer = contract.view(&contract.call_data("headOf", &[LOG])).unwrap();
    assert_eq!(answer[..64], [word(head), word(37)].concat(), "the head counts what was taken");
    assert_eq!(answer[128..], *tree.root(head).as_bytes());
}

#[test]
fn several_logs_are_anchored_all_or_none() {
    let chain = Chain::start("prague");
    let contract = Contract::deploy(&chain);
    contract.open(LOG);
    contract.open(OTHER_LOG);
    let tree = Tree::new(3, vec![4, 5]);
    let first = [anchor(&tree, LOG, 0, 5), anchor(&tree, OTHER_LOG, 0, 4)];
    contract.send(&contract.anchor_many_data(&first));
    let half = [anchor(&tree, LOG, 5, 9), anchor(&tree, OTHER_LOG, 3, 9)];
    assert!(contract.view(&contract.anchor_many_data(&half)).is_err(), "the second proof begins at another size");
    let second = [anchor(&tree, LOG, 5, 9), anchor(&tree, OTHER_LOG, 4, 9)];
    let receipt = contract.send(&contract.anchor_many_data(&second));
    assert_eq!(receipt["logs"].as_array().unwrap().len(), 2);
    assert!(number(&receipt["blockNumber"]) > 0);
}

/// The four bytes of an error without arguments.
fn selector(chain: &Chain, signature: &str) -> Vec<u8> {
    let text = chain::hex(signature.as_bytes());
    let digest = chain.ask("web3_sha3", &serde_json::json!([text]));
    chain::unhex(digest.as_str().unwrap())[..4].to_vec()
}
