//! The state tree against the naive one: whatever the order of writes and the cut of batches, one set of keys and
//! values has one root and one set of pages; proofs are the naive ones, and no mutation of a proof verifies.

#![expect(clippy::unwrap_used, reason = "a test's helper panics as the test does")]

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use tally_merkle::sparse::{
    CHANGES_MAX, MemoryPages, PageId, PageStore, STATE_PROOF_BYTES_MAX, StateChange, StateEnd, StateNode, StateProof,
    StateTreeError, check_page, prove, update,
};
use tally_protocol::hash::{StateKey, StateValue};

#[allow(dead_code, reason = "each test file uses its part of the oracle")]
mod state_reference;

use state_reference::{Hash, Leaves};

/// A tree and what should be in it.
#[derive(Clone, Default)]
struct Tree {
    pages: MemoryPages,
    root: StateNode,
    leaves: Leaves,
}

impl Tree {
    fn new() -> Self {
        Self { root: StateNode::EMPTY, ..Self::default() }
    }

    fn of(leaves: &Leaves) -> Self {
        let mut tree = Self::new();
        tree.write(&leaves.iter().map(|(key, value)| (*key, Some(*value))).collect::<Vec<_>>());
        tree
    }

    /// One batch, with everything that must hold after it.
    fn write(&mut self, writes: &[(Hash, Option<Hash>)]) {
        let update = update(&self.pages, &self.root, &changes(writes)).unwrap();
        for (key, value) in writes {
            match value {
                Some(value) => self.leaves.insert(*key, *value),
                None => self.leaves.remove(key),
            };
        }
        let names: Vec<_> = update.pages.iter().map(|(id, _)| *id).collect();
        for (id, page) in &update.pages {
            assert_ne!(self.pages.pages.get(id), page.as_ref(), "a page that did not change");
            assert_eq!(names.iter().filter(|name| *name == id).count(), 1, "a page twice");
            assert!(page.as_ref().is_none_or(|page| check_page(*id, page).is_ok()));
        }
        self.root = update.root;
        self.pages.apply(update);
        assert_eq!(self.root.as_bytes(), &state_reference::root(&self.leaves));
    }

    fn proof(&self, key: &Hash) -> StateProof {
        let proof = prove(&self.pages, &self.root, &StateKey::from_bytes(*key)).unwrap();
        let (siblings, end) = state_reference::way(&self.leaves, key);
        assert_eq!(proof.siblings().iter().map(|node| *node.as_bytes()).collect::<Vec<_>>(), siblings);
        match (proof.end(), end) {
            (StateEnd::Nothing, None) => {}
            (StateEnd::Present, Some((found, _))) => assert_eq!(found, *key),
            (StateEnd::Other(leaf), Some((found, value))) => {
                assert_eq!((leaf.key.as_bytes(), leaf.value.as_bytes()), (&found, &value));
                assert_ne!(found, *key);
            }
            (given, naive) => panic!("{given:?} where the naive tree has {naive:?}"),
        }
        proof
    }

    /// Whether a proof convinces of what the key has here; panics when it convinces of anything else.
    fn convinces(&self, proof: &StateProof, key: &Hash) -> bool {
        let (path, has) = (StateKey::from_bytes(*key), self.leaves.get(key).copied().map(StateValue::from_bytes));
        let others = [None, Some(StateValue::ZERO), Some(StateValue::from_bytes([0xee; 32])), has];
        for claim in others {
            let verdict = proof.verify(&self.root, &path, claim.as_ref());
            assert!(verdict.is_err() || claim == has, "a proof of what is not so");
        }
        proof.verify(&self.root, &path, has.as_ref()).is_ok()
    }
}

fn changes(writes: &[(Hash, Option<Hash>)]) -> Vec<StateChange> {
    writes
        .iter()
        .map(|(key, value)| StateChange { key: StateKey::from_bytes(*key), value: value.map(StateValue::from_bytes) })
        .collect()
}

/// Paths that part early, and paths that share up to 255 bits, so that deep pages come and go.
fn path() -> impl Strategy<Value = Hash> {
    prop_oneof![
        any::<[u8; 32]>(),
        (0u8..4, 0usize..256, any::<u8>()).prop_map(|(stem, flipped, tail)| {
            let mut path = [stem * 0x55; 32];
            path[flipped / 8] ^= 0x80 >> (flipped % 8);
            path[31] ^= tail & 3;
            path
        }),
        any::<u8>().prop_map(|byte| [byte & 0x81; 32]),
    ]
}

fn value() -> impl Strategy<Value = Option<Hash>> {
    prop_oneof![3 => (1u8..5).prop_map(|byte| Some([byte; 32])), 2 => Just(None)]
}

fn writes(most: usize) -> impl Strategy<Value = BTreeMap<Hash, Option<Hash>>> {
    prop::collection::btree_map(path(), value(), 0..most)
}

fn numbered(count: u32) -> Leaves {
    (0..count).map(|i| (state_reference::key(&i.to_be_bytes()), state_reference::value(&i.to_le_bytes()))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn every_batch_leads_to_the_naive_root(batches in prop::collection::vec(writes(24), 1..8)) {
        let mut tree = Tree::new();
        for batch in batches {
            tree.write(&batch.into_iter().collect::<Vec<_>>());
        }
        // The pages, too, are those of the final set, whatever came between.
        prop_assert_eq!(&Tree::of(&tree.leaves).pages, &tree.pages);
        // And all deleted leaves nothing.
        let all: Vec<_> = tree.leaves.keys().map(|key| (*key, None)).collect();
        tree.write(&all);
        prop_assert_eq!((tree.root, tree.pages), (StateNode::EMPTY, MemoryPages::new()));
    }

    #[test]
    fn neither_order_nor_cut_of_writes_is_seen(
        writes in prop::collection::vec((path(), value()), 0..60),
        cuts in prop::collection::vec(1usize..20, 1..20),
    ) {
        // One by one, as they come, the last write of a key standing.
        let mut one = Tree::new();
        for write in &writes {
            one.write(&[*write]);
        }
        // In batches, each in another order than the writes came in.
        let (mut cut, mut rest) = (Tree::new(), &writes[..]);
        for size in cuts.iter().cycle() {
            let (now, later) = rest.split_at(rest.len().min(*size));
            let mut batch: Vec<_> = now.iter().copied().collect::<BTreeMap<_, _>>().into_iter().collect();
            batch.reverse();
            cut.write(&batch);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!((cut.root, cut.pages), (one.root, one.pages));
    }

    #[test]
    fn every_key_has_a_proof_of_what_it_has(set in writes(40), asked in prop::collection::vec(path(), 0..20)) {
        let mut tree = Tree::new();
        tree.write(&set.iter().map(|(key, value)| (*key, *value)).collect::<Vec<_>>());
        for key in set.keys().chain(&asked) {
            let proof = tree.proof(key);
            prop_assert!(tree.convinces(&proof, key));
            let bytes = proof.encode();
            prop_assert!(bytes.len() <= STATE_PROOF_BYTES_MAX);
            prop_assert_eq!(StateProof::decode(&bytes), Ok(proof));
        }
    }

    #[test]
    fn no_bytes_pass_as_a_proof_unless_they_encode_back(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(proof) = StateProof::decode(&bytes) {
            prop_assert_eq!(proof.encode(), bytes);
        }
    }
}

#[test]
fn no_mutation_of_a_proof_convinces() {
    let mut leaves = numbered(40);
    leaves.extend([
        ([0x55; 32], [1; 32]),
        (
            {
                let mut near = [0x55; 32];
                near[5] ^= 1;
                near
            },
            [2; 32],
        ),
    ]);
    let tree = Tree::of(&leaves);
    let absent = (100..130u32).map(|i| state_reference::key(&i.to_be_bytes()));
    let near = (0..48).map(|bit: usize| {
        let mut near = [0x55; 32];
        near[bit / 8] ^= 0x80 >> (bit % 8);
        near
    });
    let mut kinds = [0; 3];
    for key in leaves.keys().copied().chain(absent).chain(near) {
        let proof = tree.proof(&key);
        kinds[match proof.end() {
            StateEnd::Present => 0,
            StateEnd::Nothing => 1,
            StateEnd::Other(_) => 2,
        }] += 1;
        let bytes = proof.encode();
        for at in 0..bytes.len() {
            for mask in [1, 0x80, 0xff, 3] {
                let mut other = bytes.clone();
                other[at] ^= mask;
                let Ok(mutant) = StateProof::decode(&other) else { continue };
                assert_eq!(mutant.encode(), other);
                assert!(!tree.convinces(&mutant, &key), "byte {at} of {}", bytes.len());
            }
        }
        for length in 0..bytes.len() {
            assert!(StateProof::decode(&bytes[..length]).is_err());
        }
        assert!(StateProof::decode(&[&bytes[..], &[0]].concat()).is_err());
    }
    assert!(kinds.iter().all(|count| *count > 5), "{kinds:?}");
}

#[test]
fn a_proof_is_of_one_key_and_one_root() {
    let tree = Tree::of(&numbered(20));
    let other = Tree::of(&numbered(21));
    let absent = state_reference::key(b"absent");
    for key in tree.leaves.keys().chain([&absent]) {
        let proof = tree.proof(key);
        assert!(!other.convinces(&proof, key) || other.proof(key) == proof);
        assert!(proof.verify(&other.root, &StateKey::from_bytes(*key), None).is_err());
        for second in tree.leaves.keys().filter(|second| *second != key) {
            if tree.convinces(&proof, second) {
                // Only where both end at one place: two absent keys below it.
                assert_eq!(tree.proof(second), proof);
            }
        }
    }
}

/// Counts reads.
struct Counting<'a>(&'a MemoryPages, RefCell<BTreeMap<PageId, usize>>);

impl PageStore for Counting<'_> {
    type Bytes = Vec<u8>;
    type Error = core::convert::Infallible;

    fn pages(&self, ids: &[PageId]) -> Result<Vec<Option<Vec<u8>>>, Self::Error> {
        assert!(ids.len() <= 256);
        ids.iter().for_each(|id| *self.1.borrow_mut().entry(*id).or_default() += 1);
        self.0.pages(ids)
    }
}

#[test]
fn an_update_reads_each_page_once_and_only_those_on_the_way() {
    let tree = Tree::of(&numbered(40_000));
    let some: Vec<_> = tree.leaves.keys().step_by(7).map(|key| (*key, Some([9; 32]))).collect();
    let store = Counting(&tree.pages, RefCell::default());
    let update = update(&store, &tree.root, &changes(&some)).unwrap();
    let reads = store.1.into_inner();
    assert!(reads.values().all(|count| *count == 1));
    let written: BTreeMap<_, _> = update.pages.into_iter().collect();
    assert_eq!(reads.keys().collect::<Vec<_>>(), written.keys().collect::<Vec<_>>());
    for id in reads.keys() {
        assert!(some.iter().any(|(key, _)| key.starts_with(id.prefix())));
    }
}

#[test]
fn a_large_batch_is_the_same_as_many_small_ones() {
    let leaves = numbered(30_000);
    let at_once = Tree::of(&leaves);
    let mut steps = Tree::new();
    for chunk in leaves.iter().map(|(key, value)| (*key, Some(*value))).collect::<Vec<_>>().chunks(4999) {
        steps.write(chunk);
    }
    assert_eq!((steps.root, &steps.pages), (at_once.root, &at_once.pages));
    let gone: Vec<_> = leaves.keys().take(29_990).map(|key| (*key, None)).collect();
    steps.write(&gone);
    assert_eq!(steps.pages, Tree::of(&steps.leaves).pages);
}

#[test]
fn writes_that_change_nothing_give_no_pages() {
    let tree = Tree::of(&numbered(1000));
    let mut same: Vec<_> = tree.leaves.iter().map(|(key, value)| (*key, Some(*value))).collect();
    same.push((state_reference::key(b"absent"), None));
    let nothing = update(&tree.pages, &tree.root, &changes(&same)).unwrap();
    assert_eq!((nothing.root, nothing.pages.len()), (tree.root, 0));
    let nothing = update(&tree.pages, &tree.root, &[]).unwrap();
    assert_eq!((nothing.root, nothing.pages.len()), (tree.root, 0));
    let nothing = update(&MemoryPages::new(), &StateNode::EMPTY, &changes(&[([1; 32], None)])).unwrap();
    assert_eq!((nothing.root, nothing.pages.len()), (StateNode::EMPTY, 0));
}

#[test]
fn a_batch_says_one_thing_of_a_key_and_is_bounded() {
    let twice = changes(&[([1; 32], Some([1; 32])), ([2; 32], None), ([1; 32], None)]);
    assert_eq!(update(&MemoryPages::new(), &StateNode::EMPTY, &twice), Err(StateTreeError::KeyTwice));
    let many = vec![twice[0]; CHANGES_MAX + 1];
    assert_eq!(update(&MemoryPages::new(), &StateNode::EMPTY, &many), Err(StateTreeError::TooMany(CHANGES_MAX + 1)));
}

#[test]
fn keys_and_values_are_hashed_in_their_order() {
    let writes: [(&[u8], Option<&[u8]>); 4] = [(b"a", Some(b"1")), (b"b", None), (b"", Some(b"")), (b"c", Some(b"2"))];
    let expected: Vec<_> =
        writes.iter().map(|(key, value)| (state_reference::key(key), value.map(state_reference::value))).collect();
    assert_eq!(StateChange::many(&writes), changes(&expected));
}

#[test]
fn the_deepest_paths_there_are_have_pages_and_proofs() {
    let (one, mut two) = ([0xa5; 32], [0xa5; 32]);
    two[31] ^= 1;
    let mut tree = Tree::new();
    tree.write(&[(one, Some([1; 32])), (two, Some([2; 32]))]);
    assert_eq!(tree.pages.pages.len(), 32);
    let proof = tree.proof(&two);
    assert_eq!(proof.siblings().len(), 256);
    assert!(tree.convinces(&proof, &two));
    tree.write(&[(one, None)]);
    assert_eq!(tree.pages.pages.len(), 1);
    assert_eq!(tree.proof(&two).siblings().len(), 0);
    tree.write(&[(two, None)]);
    assert!(tree.pages.pages.is_empty());
}
