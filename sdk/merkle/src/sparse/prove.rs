//! Makes a proof out of stored pages: one walk from the root to where the key's path ends.
//!
//! Every hash that goes into the proof is checked against the root on the way, so what comes out verifies.

use tally_protocol::hash::{StateKey, StateNode, state_leaf, state_node};

use super::error::StateTreeError;
use super::page::{Page, Slot, TOP};
use super::place::PageId;
use super::proof::{StateEnd, StateProof};
use super::store::PageStore;
use super::update::load;

/// What a key has in the tree with this root, and the proof of it.
///
/// # Errors
/// [`StateTreeError`] when pages cannot be read, are missing, damaged or of another root.
pub fn prove<S: PageStore>(
    store: &S,
    root: &StateNode,
    key: &StateKey,
) -> Result<StateProof, StateTreeError<S::Error>> {
    let (mut siblings, mut id, mut expected) = (Vec::new(), PageId::ROOT, *root);
    let end = loop {
        if expected == StateNode::EMPTY {
            break StateEnd::Nothing;
        }
        let page = load(store, &[id])?.pop().flatten().ok_or(StateTreeError::Missing(id))?;
        let slot = walk(&page, key, &mut expected, &mut siblings).ok_or(StateTreeError::OtherRoot(id))?;
        match slot {
            Slot::Leaf(leaf) if leaf.key == *key => break StateEnd::Present,
            Slot::Leaf(leaf) => break StateEnd::Other(leaf),
            Slot::Empty | Slot::Inner(..) => break StateEnd::Nothing,
            // The last page has no links.
            Slot::Link => id = id.towards(key).ok_or(StateTreeError::OtherRoot(id))?,
        }
    };
    // No page has an inner slot over fewer than two leaves, so no last sibling is empty.
    StateProof::new(siblings, end).map_err(|_| StateTreeError::OtherRoot(id))
}

/// Walks down one page as far as it goes, while the hashes lead to the expected one; expects the last one's then.
fn walk<B: AsRef<[u8]>>(
    page: &Page<B>,
    key: &StateKey,
    expected: &mut StateNode,
    siblings: &mut Vec<StateNode>,
) -> Option<Slot> {
    let hash_at = |at: u32| match page.slot(at) {
        Slot::Leaf(leaf) => state_leaf(&leaf.key, &leaf.value),
        _ => page.hash(at),
    };
    let (mut at, mut depth) = (TOP, page.id.depth());
    if hash_at(at) != *expected {
        return None;
    }
    while let Slot::Inner(left, right) = page.slot(at) {
        let (below, beside) = Page::<B>::half(left, right, key, depth);
        let (left, right) = (hash_at(left), hash_at(right));
        if state_node(&left, &right) != *expected {
            return None;
        }
        let (one, other) = if below < beside { (left, right) } else { (right, left) };
        siblings.push(other);
        *expected = one;
        (at, depth) = (below, depth + 1);
    }
    Some(page.slot(at))
}
