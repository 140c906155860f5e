//! Proofs made to deceive: of absence for a present key, of presence for an absent one, out of everything an attacker
//! who knows the whole tree has. None may verify (S-035).

#![expect(clippy::unwrap_used, reason = "a test's helper panics as the test does")]

use std::collections::BTreeSet;

use tally_merkle::sparse::{
    MemoryPages, StateAnswer, StateChange, StateEnd, StateLeaf, StateNode, StateProof, StateProofError, prove,
    tree_change, update,
};
use tally_protocol::hash::{StateKey, StateValue, state_leaf, state_node, state_tree};
use tally_protocol::id::{PluginId, StoreId, Stream, TenantId};

#[allow(dead_code, reason = "each test file uses its part of the oracle")]
mod state_reference;

use state_reference::{Hash, Leaves};

fn grown(changes: &[StateChange]) -> (MemoryPages, StateNode) {
    let mut pages = MemoryPages::new();
    let update = update(&pages, &StateNode::EMPTY, changes).unwrap();
    let root = update.root;
    pages.apply(update);
    (pages, root)
}

fn changes(leaves: &Leaves) -> Vec<StateChange> {
    let change = |(key, value): (&Hash, &Hash)| StateChange {
        key: StateKey::from_bytes(*key),
        value: Some(StateValue::from_bytes(*value)),
    };
    leaves.iter().map(change).collect()
}

/// Every hash and every pair of halves of a tree.
#[derive(Default)]
struct Known {
    hashes: BTreeSet<Hash>,
    pairs: Vec<(Hash, Hash)>,
}

fn know(leaves: &[(Hash, Hash)], depth: usize, known: &mut Known) -> Hash {
    let hash = match leaves {
        [] => state_reference::empty(),
        [(key, value)] => state_reference::leaf(key, value),
        _ => {
            let (left, right): (Vec<_>, Vec<_>) =
                leaves.iter().copied().partition(|(key, _)| !state_reference::bit(key, depth));
            let pair = (know(&left, depth + 1, known), know(&right, depth + 1, known));
            known.pairs.push(pair);
            state_reference::node(&pair.0, &pair.1)
        }
    };
    known.hashes.insert(hash);
    hash
}

/// Small trees, with neighbours that share many bits.
fn trees() -> Vec<Leaves> {
    let path = |bytes: &[u8]| {
        let mut path = [0; 32];
        path[..bytes.len()].copy_from_slice(bytes);
        path
    };
    let named = |paths: &[&[u8]]| paths.iter().zip(1..).map(|(bytes, i)| (path(bytes), [i; 32])).collect();
    vec![
        Leaves::new(),
        named(&[&[0x00]]),
        named(&[&[0x00], &[0x80]]),
        named(&[&[0x00], &[0x40], &[0xc0]]),
        named(&[&[0x00], &[0x10], &[0x20], &[0x30], &[0xf0]]),
        named(&[&[0xff, 0xff], &[0xff, 0xfe], &[0x01], &[0xff, 0x00]]),
        named(&[&[0x55, 0, 0, 1], &[0x55, 0, 0, 2], &[0x55], &[0x54], &[0xd5], &[0xaa]]),
    ]
}

#[test]
fn nothing_an_attacker_can_put_together_proves_the_opposite() {
    let mut tried = 0u64;
    for leaves in trees() {
        let (pages, root) = grown(&changes(&leaves));
        let mut known = Known::default();
        know(&leaves.iter().map(|(key, value)| (*key, *value)).collect::<Vec<_>>(), 0, &mut known);
        known.hashes.extend([[0; 32], state_reference::empty()]);
        let hashes: Vec<StateNode> = known.hashes.iter().map(|hash| StateNode::from_bytes(*hash)).collect();
        // Ends: nothing, every leaf, a node's halves told as key and value, hashes as keys.
        let mut ends = vec![StateEnd::Present, StateEnd::Nothing];
        let as_leaf = |(key, value): (&Hash, &Hash)| {
            StateEnd::Other(StateLeaf { key: StateKey::from_bytes(*key), value: StateValue::from_bytes(*value) })
        };
        ends.extend(leaves.iter().map(as_leaf));
        ends.extend(known.pairs.iter().map(|(left, right)| as_leaf((left, right))));
        ends.extend(known.pairs.iter().map(|(left, right)| as_leaf((right, left))));

        let mut keys: BTreeSet<Hash> = leaves.keys().copied().collect();
        for key in leaves.keys() {
            for bit in [0, 1, 3, 7, 8, 15, 255] {
                let mut near = *key;
                near[bit / 8] ^= 0x80 >> (bit % 8);
                keys.insert(near);
            }
        }
        keys.extend(known.pairs.iter().flat_map(|(left, right)| [*left, *right]));
        for key in keys {
            let path = StateKey::from_bytes(key);
            let has = leaves.get(&key).map(|value| StateValue::from_bytes(*value));
            let honest = prove(&pages, &root, &path).unwrap();
            assert_eq!(honest.verify(&root, &path, has.as_ref()), Ok(()));
            let mut claims: Vec<Option<StateValue>> = vec![None, Some(StateValue::ZERO)];
            claims.extend(leaves.values().map(|value| Some(StateValue::from_bytes(*value))));
            claims.extend(hashes.iter().map(|hash| Some(hash.value())));
            claims.retain(|claim| *claim != has);
            for siblings in bent(honest.siblings(), &hashes) {
                for end in &ends {
                    let Ok(proof) = StateProof::new(siblings.clone(), *end) else { continue };
                    for claim in &claims {
                        tried += 1;
                        assert!(proof.verify(&root, &path, claim.as_ref()).is_err(), "{proof:?} of {path}");
                    }
                }
            }
        }
    }
    assert!(tried > 1_000_000, "{tried}");
}

/// Cut at every length, and lengthened by hashes of the tree.
fn bent(honest: &[StateNode], hashes: &[StateNode]) -> Vec<Vec<StateNode>> {
    let mut all: Vec<Vec<StateNode>> = (0..=honest.len()).map(|length| honest[..length].to_vec()).collect();
    for hash in hashes {
        all.push([honest, &[*hash]].concat());
        all.push([&[*hash], honest].concat());
        if let Some((_, above)) = honest.split_last() {
            all.push([above, &[*hash]].concat());
        }
    }
    let mut turned = honest.to_vec();
    turned.reverse();
    all.push(turned);
    all.push(vec![StateNode::EMPTY; honest.len()]);
    all.push([honest, &[StateNode::EMPTY, hashes[0]]].concat());
    all
}

#[test]
fn even_a_dishonest_root_gives_a_key_one_answer() {
    // Roots that no honest tree has: a key twice, a leaf under another key's path, a leaf deeper than it need be.
    let (one, other) = (StateKey::from_bytes([0; 32]), StateKey::from_bytes([0xff; 32]));
    let (first, second) = (StateValue::from_bytes([1; 32]), StateValue::from_bytes([2; 32]));
    let leaf = |key, value| state_leaf(key, value);
    // The second leaf of key `one` stands on the right, where `one`'s path never leads.
    let root = state_node(&leaf(&one, &first), &leaf(&one, &second));
    let left = StateProof::new(vec![leaf(&one, &second)], StateEnd::Present).unwrap();
    assert_eq!(left.verify(&root, &one, Some(&first)), Ok(()));
    assert_eq!(left.verify(&root, &one, Some(&second)), Err(StateProofError::RootMismatch));
    // It cannot be shown as another key's neighbour there, because it does not belong there.
    let stray = StateEnd::Other(StateLeaf { key: one, value: second });
    let right = StateProof::new(vec![leaf(&one, &first)], stray).unwrap();
    assert_eq!(right.verify(&root, &other, None), Err(StateProofError::OtherPlace));
    assert_eq!(right.verify(&root, &one, None), Err(StateProofError::OtherClaim));
    // A leaf pushed down beside nothing has no proof at all.
    let root = state_node(&leaf(&one, &first), &StateNode::EMPTY);
    assert_eq!(StateProof::new(vec![StateNode::EMPTY], StateEnd::Present), Err(StateProofError::TooDeep));
    assert!(StateProof::decode(&[1, 1, 0, 1, 0]).is_err());
    let nothing = StateProof::new(Vec::new(), StateEnd::Nothing).unwrap();
    assert!(nothing.verify(&root, &one, None).is_err());
    // A key's own leaf does not show its absence.
    let own = StateEnd::Other(StateLeaf { key: one, value: first });
    let own = StateProof::new(Vec::new(), own).unwrap();
    assert_eq!(own.verify(&leaf(&one, &first), &one, None), Err(StateProofError::OtherClaim));
}

#[test]
fn proof_bytes_have_one_form() {
    let present = |depth: [u8; 2], rest: &[u8]| StateProof::decode(&[&[1, 1, depth[0], depth[1]], rest].concat());
    let hash = [5u8; 32];
    assert!(present([0, 0], &[]).is_ok());
    assert!(present([0, 1], &[&[0x80][..], &hash].concat()).is_ok());
    assert!(present([0, 2], &[&[0x40][..], &hash].concat()).is_ok());
    assert_eq!(present([0, 1], &[&[0xc0][..], &hash, &hash].concat()), Err(StateProofError::Bitmap));
    assert_eq!(
        present([0, 1], &[&[0x80][..], StateNode::EMPTY.as_bytes()].concat()),
        Err(StateProofError::EmptyWritten)
    );
    assert_eq!(present([0, 2], &[&[0x80][..], &hash].concat()), Err(StateProofError::TooDeep));
    assert_eq!(present([1, 1], &[]), Err(StateProofError::Depth(257)));
    assert_eq!(present([0xff, 0xff], &[]), Err(StateProofError::Depth(65_535)));
    assert_eq!(present([0, 1], &[]), Err(StateProofError::Truncated));
    assert_eq!(present([0, 0], &[0]), Err(StateProofError::Trailing));
    assert_eq!(StateProof::decode(&[2, 1, 0, 0]), Err(StateProofError::Version(2)));
    assert_eq!(StateProof::decode(&[1, 0, 0, 0]), Err(StateProofError::Kind(0)));
    assert_eq!(StateProof::decode(&[1, 4, 0, 0]), Err(StateProofError::Kind(4)));
    assert_eq!(StateProof::decode(&[1, 3, 0, 0]), Err(StateProofError::Truncated));
    let long = vec![StateNode::from_bytes(hash); 257];
    assert_eq!(StateProof::new(long, StateEnd::Present), Err(StateProofError::Depth(257)));
}

fn stream(tenant: u8, store: u8) -> Stream {
    Stream::new(TenantId::from_bytes([tenant; 16]), StoreId::from_bytes([store; 16]))
}

fn plugin(id: &str) -> PluginId {
    PluginId::new(id).unwrap()
}

#[test]
fn an_answer_is_of_one_plugin_in_one_stream() {
    let writes: [(&[u8], Option<&[u8]>); 3] = [(b"a", Some(b"1")), (b"b", Some(b"2")), (b"c", Some(b"3"))];
    let (pages, root) = grown(&StateChange::many(&writes));
    let (other_pages, other_root) = grown(&StateChange::many(&writes[..2]));
    let places =
        [(stream(1, 1), plugin("licensing")), (stream(1, 2), plugin("licensing")), (stream(1, 1), plugin("catalog"))];
    let roots = [root, other_root, StateNode::EMPTY];
    let listed: Vec<_> =
        places.iter().zip(&roots).map(|((stream, plugin), root)| tree_change(stream, plugin, root)).collect();
    assert_eq!(listed[2].value, None);
    let (top, states) = grown(&listed);
    let states = states.states_root();
    let hashed: Vec<StateChange> = StateChange::many(&[(b"c", Some(b"3"))]);
    let (key, value) = (hashed[0].key, hashed[0].value);
    let in_tree = |place: usize, pages: &MemoryPages| StateAnswer::InTree {
        tree: prove(&top, &states.node(), &state_tree(&places[place].0, &places[place].1)).unwrap(),
        key: prove(pages, &roots[place], &key).unwrap(),
    };
    let no_tree = |place: usize| {
        StateAnswer::NoTree(prove(&top, &states.node(), &state_tree(&places[place].0, &places[place].1)).unwrap())
    };
    let answers = [in_tree(0, &pages), in_tree(1, &other_pages), no_tree(2), no_tree(0), no_tree(1)];
    let truth = [value, None, None];
    for (at, answer) in answers.iter().enumerate() {
        assert_eq!(StateAnswer::decode(&answer.encode()), Ok(answer.clone()));
        for (place, (stream, plugin)) in places.iter().enumerate() {
            for claim in [None, value, Some(StateValue::ZERO)] {
                let holds = answer.verify(&states, stream, plugin, &key, claim.as_ref()).is_ok();
                assert!(!holds || claim == truth[place], "answer {at} about {place}");
                assert_eq!(holds, at == place && claim == truth[place], "answer {at} about {place}");
            }
        }
        let bytes = answer.encode();
        for byte in 0..bytes.len() {
            let mut mutant = bytes.clone();
            mutant[byte] ^= 1;
            let Ok(mutant) = StateAnswer::decode(&mutant) else { continue };
            for (stream, plugin) in &places {
                for claim in [None, value] {
                    assert!(mutant.verify(&states, stream, plugin, &key, claim.as_ref()).is_err());
                }
            }
        }
        for length in 0..bytes.len() {
            assert!(StateAnswer::decode(&bytes[..length]).is_err());
        }
        assert!(StateAnswer::decode(&[&bytes[..], &[0]].concat()).is_err());
    }
}

#[test]
fn a_plugin_cannot_write_what_passes_for_the_tree_over_all() {
    // It chooses keys and values freely; the paths of the two trees never meet.
    let (at, plugin) = (stream(1, 1), plugin("evil"));
    let fake_key = [&at.to_bytes()[..], plugin.as_str().as_bytes()].concat();
    let (_, inner_root) = grown(&StateChange::many(&[(b"k", Some(b"v"))]));
    let (pages, root) = grown(&StateChange::many(&[(&fake_key, Some(inner_root.as_bytes()))]));
    let hashed = StateChange::many(&[(b"k", Some(b"v"))])[0];
    let key = StateProof::new(Vec::new(), StateEnd::Present).unwrap();
    let forged = prove(&pages, &root, &StateChange::many(&[(&fake_key, None)])[0].key).unwrap();
    let answer = StateAnswer::InTree { tree: forged, key };
    assert!(answer.verify(&root.states_root(), &at, &plugin, &hashed.key, hashed.value.as_ref()).is_err());
}

#[test]
fn an_empty_tree_is_never_listed() {
    // A dishonest tree over all that lists one: its proof of absence is refused, so that there is one form.
    let (at, plugin) = (stream(1, 1), plugin("licensing"));
    let place = StateChange { key: state_tree(&at, &plugin), value: Some(StateNode::EMPTY.value()) };
    let (pages, root) = grown(&[place]);
    let tree = prove(&pages, &root, &place.key).unwrap();
    let key = StateProof::new(Vec::new(), StateEnd::Nothing).unwrap();
    let answer = StateAnswer::InTree { tree, key };
    let verdict = answer.verify(&root.states_root(), &at, &plugin, &StateKey::ZERO, None);
    assert_eq!(verdict, Err(StateProofError::EmptyTree));
}
