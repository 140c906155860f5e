//! Stored pages under fire: damaged, stale, swapped, missing or forged, they are an error or change nothing; never a
//! wrong root, never a panic.

#![expect(clippy::unwrap_used, reason = "a test's helper panics as the test does")]

use tally_merkle::sparse::{
    MemoryPages, PAGE_BYTES_MAX, PageError, PageId, PageStore, StateChange, StateNode, StateTreeError, check_page,
    prove, root_of, update,
};
use tally_protocol::hash::{StateKey, StateValue};

#[allow(dead_code, reason = "each test file uses its part of the oracle")]
mod state_reference;

use state_reference::{Hash, Leaves};

fn changes(leaves: &Leaves) -> Vec<StateChange> {
    let change = |(key, value): (&Hash, &Hash)| StateChange {
        key: StateKey::from_bytes(*key),
        value: Some(StateValue::from_bytes(*value)),
    };
    leaves.iter().map(change).collect()
}

fn tree(leaves: &Leaves) -> (MemoryPages, StateNode) {
    let mut pages = MemoryPages::new();
    let update = update(&pages, &StateNode::EMPTY, &changes(leaves)).unwrap();
    let root = update.root;
    pages.apply(update);
    (pages, root)
}

/// A tree with a root page, pages of a few leaves, and a chain of nearly empty ones.
fn sample() -> Leaves {
    let mut leaves: Leaves =
        (0..200u32).map(|i| (state_reference::key(&i.to_be_bytes()), state_reference::value(b"v"))).collect();
    for bit in [3, 17, 18, 30] {
        let mut path = [0x33; 32];
        path[bit / 8] ^= 0x80 >> (bit % 8);
        leaves.insert(path, [bit as u8; 32]);
    }
    leaves.insert([0x33; 32], [0; 32]);
    leaves
}

/// CRC-32C by its definition.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 })
    })
}

fn sealed(body: &[u8]) -> Vec<u8> {
    [body, &crc(body).to_be_bytes()].concat()
}

#[test]
fn a_root_page_says_the_root_of_its_tree() {
    let all = sample();
    for count in [1, 2, 3, 50, all.len()] {
        let leaves: Leaves = all.iter().take(count).map(|(key, value)| (*key, *value)).collect();
        let (pages, root) = tree(&leaves);
        assert_eq!(root_of(&pages.pages[&PageId::ROOT]), Ok(root), "{count} leaves");
    }
    let (pages, _) = tree(&all);
    let other = pages.pages.iter().find(|(id, _)| **id != PageId::ROOT).unwrap();
    assert_eq!(root_of(other.1), Err(PageError::Place));
}

#[test]
fn every_changed_byte_of_a_page_is_noticed() {
    let (pages, _) = tree(&sample());
    assert!(pages.pages.len() > 5);
    for (id, bytes) in &pages.pages {
        assert_eq!(check_page(*id, bytes), Ok(()));
        assert_eq!(sealed(&bytes[..bytes.len() - 4]), *bytes);
        for at in 0..bytes.len() {
            for mask in [1, 0x80, 0xff] {
                let mut other = bytes.clone();
                other[at] ^= mask;
                assert!(check_page(*id, &other).is_err(), "byte {at}");
            }
        }
        for length in 0..bytes.len() {
            assert!(check_page(*id, &bytes[..length]).is_err());
        }
        assert!(check_page(*id, &[&bytes[..], &[0]].concat()).is_err());
    }
}

/// With the checksum mended, so that nothing but structure and hashes stands in the way.
#[test]
fn a_forged_page_never_gives_a_wrong_root_or_a_wrong_proof() {
    let leaves = sample();
    let (pages, root) = tree(&leaves);
    let mut all = leaves.clone();
    all.values_mut().for_each(|value| *value = [0xaa; 32]);
    let all_root = state_reference::root(&all);
    let mut refused = [0, 0];
    // What the root is when one key alone is written.
    let after = |key: &Hash| {
        let mut after = leaves.clone();
        after.insert(*key, [0xbb; 32]);
        (*key, state_reference::root(&after))
    };
    let after: Vec<(Hash, Hash)> = leaves.keys().step_by(9).map(after).collect();
    for (id, bytes) in &pages.pages {
        let body = &bytes[..bytes.len() - 4];
        for at in 0..body.len() {
            let mut other = body.to_vec();
            other[at] ^= 1 << (at % 8);
            let mut forged = pages.clone();
            forged.pages.insert(*id, sealed(&other));
            // Every key is written: every byte of the page is on some key's way.
            match update(&forged, &root, &changes(&all)) {
                Ok(update) => {
                    panic!("byte {at} of {id:?} gives {} instead of {}", update.root, StateNode::from_bytes(all_root))
                }
                Err(StateTreeError::Page { .. }) => refused[0] += 1,
                Err(StateTreeError::OtherRoot(_)) => refused[1] += 1,
                Err(other) => panic!("{other}"),
            }
            // One key is written: an error, or what would be without the forgery.
            let (key, after) = &after[at % after.len()];
            if let Ok(update) = update(&forged, &root, &changes(&Leaves::from([(*key, [0xbb; 32])]))) {
                assert_eq!(update.root.as_bytes(), after);
            }
            let path = StateKey::from_bytes(*key);
            if let Ok(proof) = prove(&forged, &root, &path) {
                assert_eq!(proof.verify(&root, &path, Some(&StateValue::from_bytes(leaves[key]))), Ok(()));
            }
        }
    }
    assert!(refused.iter().all(|count| *count > 100), "{refused:?}");
}

#[test]
fn stale_missing_and_swapped_pages_are_refused() {
    let leaves = sample();
    let (old, old_root) = tree(&leaves);
    let mut newer = leaves.clone();
    newer.values_mut().for_each(|value| *value = [7; 32]);
    let (new, root) = tree(&newer);
    assert_eq!(update(&old, &root, &changes(&leaves)), Err(StateTreeError::OtherRoot(PageId::ROOT)));
    assert_eq!(update(&new, &old_root, &changes(&leaves)), Err(StateTreeError::OtherRoot(PageId::ROOT)));
    for (id, bytes) in &new.pages {
        let mut stale = new.clone();
        stale.pages.insert(*id, old.pages[id].clone());
        assert_eq!(update(&stale, &root, &changes(&leaves)), Err(StateTreeError::OtherRoot(*id)));
        let mut missing = new.clone();
        missing.pages.remove(id);
        assert_eq!(update(&missing, &root, &changes(&leaves)), Err(StateTreeError::Missing(*id)));
        let key = leaves.keys().find(|key| key.starts_with(id.prefix())).unwrap();
        assert_eq!(prove(&missing, &root, &StateKey::from_bytes(*key)), Err(StateTreeError::Missing(*id)));
        for (place, _) in new.pages.iter().filter(|(place, _)| *place != id) {
            assert_eq!(check_page(*place, bytes), Err(PageError::Place));
        }
    }
}

#[test]
fn old_pages_that_nothing_links_to_do_no_harm() {
    // A store that forgot to delete: the pages of a larger tree below those of a smaller one.
    let (mut pages, _) = tree(&sample());
    let few: Leaves = sample().into_iter().take(3).collect();
    let (fresh, root) = tree(&few);
    pages.pages.extend(fresh.pages);
    let update = update(&pages, &root, &changes(&sample())).unwrap();
    assert_eq!(update.root.as_bytes(), &state_reference::root(&sample()));
    // An empty tree reads nothing at all.
    let update = tally_merkle::sparse::update(&pages, &StateNode::EMPTY, &changes(&few)).unwrap();
    assert_eq!(update.root, root);
}

struct Failing;

impl PageStore for Failing {
    type Bytes = Vec<u8>;
    type Error = &'static str;

    fn pages(&self, _: &[PageId]) -> Result<Vec<Option<Vec<u8>>>, Self::Error> {
        Err("the disk is gone")
    }
}

struct Forgetful;

impl PageStore for Forgetful {
    type Bytes = Vec<u8>;
    type Error = &'static str;

    fn pages(&self, _: &[PageId]) -> Result<Vec<Option<Vec<u8>>>, Self::Error> {
        Ok(Vec::new())
    }
}

#[test]
fn the_stores_own_failures_are_passed_on() {
    let (_, root) = tree(&sample());
    assert_eq!(update(&Failing, &root, &changes(&sample())), Err(StateTreeError::Store("the disk is gone")));
    assert_eq!(update(&Forgetful, &root, &changes(&sample())), Err(StateTreeError::Missing(PageId::ROOT)));
    assert_eq!(prove(&Failing, &root, &StateKey::ZERO), Err(StateTreeError::Store("the disk is gone")));
}

#[test]
fn only_one_form_of_a_page_is_read() {
    let leaf = |first: u8| [&[1, first][..], &[0; 31], &[9; 32]].concat();
    let inner = |parts: &[&[u8]]| [&[2][..], &[5; 32], &parts.concat()].concat();
    let link = [&[3][..], &[5; 32]].concat();
    let root = |body: &[u8]| check_page(PageId::ROOT, &sealed(&[&[1, 0], body].concat()));
    let below = |body: &[u8]| check_page(PageId::new(&[7]).unwrap(), &sealed(&[&[1, 1, 7], body].concat()));
    let (empty, left, right) = ([0u8], leaf(0), leaf(0x80));
    assert_eq!(root(&left), Ok(()));
    assert_eq!(root(&inner(&[&left, &right])), Ok(()));
    assert_eq!(root(&inner(&[&inner(&[&leaf(0), &leaf(0x40)]), &empty])), Ok(()));
    // Forms that a shorter one stands for.
    assert_eq!(root(&empty), Err(PageError::Slot { kind: 0, depth: 0 }));
    assert_eq!(below(&empty), Err(PageError::Slot { kind: 0, depth: 8 }));
    assert_eq!(below(&leaf(7)), Err(PageError::Slot { kind: 1, depth: 8 }));
    for hollow in [inner(&[&empty, &empty]), inner(&[&left, &empty]), inner(&[&empty, &right])] {
        assert_eq!(root(&hollow), Err(PageError::Hollow { depth: 0 }));
        assert_eq!(root(&inner(&[&inner(&[&empty, &empty]), &right])), Err(PageError::Hollow { depth: 1 }));
    }
    // Slots out of place.
    assert_eq!(root(&inner(&[&right, &left])), Err(PageError::LeafElsewhere { depth: 1 }));
    assert_eq!(root(&inner(&[&link, &right])), Err(PageError::Slot { kind: 3, depth: 1 }));
    assert_eq!(root(&[4]), Err(PageError::Slot { kind: 4, depth: 0 }));
    let deep = |bottom: &[u8]| (0..8).fold(bottom.to_vec(), |below, _| inner(&[&below, &empty]));
    assert_eq!(root(&deep(&link)), Ok(()));
    assert_eq!(root(&deep(&inner(&[&link, &link]))), Err(PageError::Slot { kind: 2, depth: 8 }));
    let last = [0u8; 31];
    let body = [&[1, 31][..], &last, &deep(&link)].concat();
    assert_eq!(check_page(PageId::new(&last).unwrap(), &sealed(&body)), Err(PageError::Slot { kind: 3, depth: 256 }));
    // Frames.
    assert_eq!(root(&[&left[..], &[0]].concat()), Err(PageError::Trailing));
    assert_eq!(root(&left[..64]), Err(PageError::Truncated));
    assert_eq!(check_page(PageId::ROOT, &sealed(&[2, 0])), Err(PageError::Version(2)));
    assert_eq!(check_page(PageId::ROOT, &sealed(&[1, 9])), Err(PageError::Truncated));
    assert_eq!(check_page(PageId::ROOT, &[]), Err(PageError::Length(0)));
    let long = vec![0; PAGE_BYTES_MAX + 1];
    assert_eq!(check_page(PageId::ROOT, &long), Err(PageError::Length(PAGE_BYTES_MAX + 1)));
    assert!(PageId::new(&[0; 32]).is_none());
}

#[test]
fn the_largest_page_there_is_fits_its_bound() {
    // The last page of the longest prefix, a leaf in every slot of its last level.
    let leaves: Leaves = (0..=255u8)
        .map(|byte| {
            let mut path = [0x0f; 32];
            path[31] = byte;
            (path, [byte; 32])
        })
        .collect();
    let (pages, root) = tree(&leaves);
    assert_eq!(root.as_bytes(), &state_reference::root(&leaves));
    assert_eq!(pages.pages.values().map(Vec::len).max(), Some(PAGE_BYTES_MAX));
}
