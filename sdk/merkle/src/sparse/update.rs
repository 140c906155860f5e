//! Changes many keys in one pass: each touched page is read once, checked, changed and given back once.
//!
//! Takes the trusted root, the changes and the stored pages; gives the new root and the pages to store or delete.
//! Pages of one depth go together, at most [`GROUP`] at a time, so that hashes fill the processor's lanes and memory
//! stays bounded: per depth one group in the open, and the changed pages. A page goes through these steps, between
//! which all its group does the same:
//!
//! 1. *descend* to where the changed keys' paths end, or leave the page;
//! 2. *check* every node on the way against the root, so that a forged or stale page fails here;
//! 3. *grow* what new leaves need, and let the pages below do all of this;
//! 4. *settle* from below: what is left with one leaf becomes that leaf, the rest is hashed, a depth at a time.

use std::borrow::Cow;

use tally_protocol::hash::{
    StateKey, StateNode, StateValue, state_key_many, state_leaf_many, state_node_many, state_value_many,
};

use super::StateLeaf;
use super::error::StateTreeError;
use super::page::{Page, Slot, TOP};
use super::place::{PAGE_LEVELS, PageId, goes_right};
use super::store::PageStore;

/// Changes of one update: bounds its memory, by about 4 KiB a change in a tree of many millions.
pub const CHANGES_MAX: usize = 1 << 16;

/// Pages worked on together.
const GROUP: usize = 256;

/// What a key shall have: a value, or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateChange {
    /// The key's path.
    pub key: StateKey,
    /// The value's hash; none deletes.
    pub value: Option<StateValue>,
}

impl StateChange {
    /// The changes of these keys to these values; none deletes.
    #[must_use]
    pub fn many<'a>(writes: &[(&'a [u8], Option<&'a [u8]>)]) -> Vec<Self> {
        let keys = state_key_many(writes.iter().map(|(key, _)| *key));
        let mut values = state_value_many(writes.iter().filter_map(|(_, value)| *value)).into_iter();
        let values = writes.iter().map(|(_, value)| value.and_then(|_| values.next()));
        keys.into_iter().zip(values).map(|(key, value)| Self { key, value }).collect()
    }
}

/// What an update gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateUpdate {
    /// The root with the changes.
    pub root: StateNode,
    /// The pages to store, and those to delete (`None`): all or none of them, together with whatever names the root.
    pub pages: Vec<(PageId, Option<Vec<u8>>)>,
}

/// Changes keys of the tree with this root.
///
/// # Errors
/// [`StateTreeError::KeyTwice`], [`StateTreeError::TooMany`]; or the pages cannot be read, are missing, damaged or of
/// another root: nothing is changed then.
pub fn update<S: PageStore>(
    store: &S,
    root: &StateNode,
    changes: &[StateChange],
) -> Result<StateUpdate, StateTreeError<S::Error>> {
    if changes.len() > CHANGES_MAX {
        return Err(StateTreeError::TooMany(changes.len()));
    }
    let mut changes = changes.to_vec();
    changes.sort_unstable_by_key(|change| change.key);
    if changes.windows(2).any(|pair| pair[0].key == pair[1].key) {
        return Err(StateTreeError::KeyTwice);
    }
    if changes.is_empty() {
        return Ok(StateUpdate { root: *root, pages: Vec::new() });
    }
    let mut work = Work { store, pages: Vec::new() };
    let task = Task { id: PageId::ROOT, was: *root, changes: Cow::Borrowed(&changes) };
    let root = match work.tasks(vec![task])?.pop() {
        Some(Now::Empty) => StateNode::EMPTY,
        Some(Now::Leaf(_, hash) | Now::Inner(hash)) => hash,
        Some(Now::Same) | None => *root,
    };
    Ok(StateUpdate { root, pages: work.pages })
}

/// Stored pages, decoded: what is there is a page of its place.
#[expect(clippy::type_complexity, reason = "a page or none for each, or the store's error")]
pub(super) fn load<S: PageStore>(
    store: &S,
    ids: &[PageId],
) -> Result<Vec<Option<Page<S::Bytes>>>, StateTreeError<S::Error>> {
    let stored = store.pages(ids).map_err(StateTreeError::Store)?;
    let mut stored = stored.into_iter();
    ids.iter()
        .map(|id| {
            // A store that gives too few does not have the others.
            let Some(bytes) = stored.next().flatten() else { return Ok(None) };
            Page::decode(*id, bytes).map(Some).map_err(|error| StateTreeError::Page { id: *id, error })
        })
        .collect()
}

/// A page to change.
struct Task<'a> {
    id: PageId,
    /// Its hash; empty when there is no page yet.
    was: StateNode,
    changes: Cow<'a, [StateChange]>,
}

/// What stands at a page's place after its changes.
enum Now {
    Same,
    Empty,
    Leaf(StateLeaf, StateNode),
    Inner(StateNode),
}

/// A slot of a page of the group.
#[derive(Clone, Copy)]
struct Spot {
    page: usize,
    at: u32,
    depth: u16,
}

/// Where the changed keys' paths lead through the pages of a group.
#[derive(Default)]
struct Ways<'a> {
    /// Inner slots, a parent before what is below it.
    inner: Vec<Spot>,
    /// Where paths end in this page, with their changes.
    ends: Vec<(Spot, &'a [StateChange])>,
    /// Where they leave it, and the page below.
    links: Vec<(Spot, Task<'a>)>,
    /// Leaves that are to be hashed.
    leaves: Vec<(Spot, StateLeaf)>,
}

struct Work<'s, S> {
    store: &'s S,
    pages: Vec<(PageId, Option<Vec<u8>>)>,
}

impl<S: PageStore> Work<'_, S> {
    /// Changes pages of one depth; gives what stands there then, in their order.
    fn tasks(&mut self, mut tasks: Vec<Task<'_>>) -> Result<Vec<Now>, StateTreeError<S::Error>> {
        let mut now = Vec::with_capacity(tasks.len());
        while !tasks.is_empty() {
            let rest = tasks.split_off(tasks.len().min(GROUP));
            self.group(&tasks, &mut now)?;
            tasks = rest;
        }
        Ok(now)
    }

    fn group(&mut self, tasks: &[Task<'_>], now: &mut Vec<Now>) -> Result<(), StateTreeError<S::Error>> {
        let mut pages = self.read(tasks)?;
        let mut ways = Ways::default();
        for (page, task) in tasks.iter().enumerate() {
            let spot = Spot { page, at: TOP, depth: task.id.depth() };
            if let Slot::Leaf(leaf) = pages[page].slot(TOP) {
                ways.leaves.push((spot, leaf));
            }
            ways.descend(&pages, spot, &task.changes);
        }
        hash_leaves(&mut pages, ways.leaves.drain(..));
        check(&pages, tasks, &ways.inner)?;
        for (spot, changes) in core::mem::take(&mut ways.ends) {
            ways.grow(&mut pages, spot, changes);
        }
        hash_leaves(&mut pages, ways.leaves.drain(..));
        let (spots, below): (Vec<Spot>, Vec<Task<'_>>) = ways.links.into_iter().unzip();
        for (spot, now) in spots.into_iter().zip(self.tasks(below)?) {
            take_over(&mut pages[spot.page], spot.at, &now);
        }
        settle(&mut pages, &ways.inner);
        for (page, task) in pages.iter().zip(tasks) {
            now.push(self.finish(page, task));
        }
        Ok(())
    }

    fn read(&self, tasks: &[Task<'_>]) -> Result<Vec<Page<S::Bytes>>, StateTreeError<S::Error>> {
        let stored: Vec<PageId> = tasks.iter().filter(|task| task.is_stored()).map(|task| task.id).collect();
        let mut loaded = if stored.is_empty() { Vec::new() } else { load(self.store, &stored)? }.into_iter();
        tasks
            .iter()
            .map(|task| match task.is_stored() {
                true => loaded.next().flatten().ok_or(StateTreeError::Missing(task.id)),
                false => Ok(Page::empty(task.id)),
            })
            .collect()
    }

    /// Notes the page's new bytes; gives what the page above needs.
    fn finish(&mut self, page: &Page<S::Bytes>, task: &Task<'_>) -> Now {
        if !page.is_changed(TOP) {
            return Now::Same;
        }
        let (now, is_kept) = match page.slot(TOP) {
            Slot::Empty => (Now::Empty, false),
            // Only the root page keeps a single leaf; of any other it moves up.
            Slot::Leaf(leaf) => (Now::Leaf(leaf, page.hash(TOP)), task.id == PageId::ROOT),
            Slot::Inner(..) | Slot::Link => (Now::Inner(page.hash(TOP)), true),
        };
        if is_kept {
            self.pages.push((task.id, Some(page.encode())));
        } else if task.is_stored() {
            self.pages.push((task.id, None));
        }
        now
    }
}

impl Task<'_> {
    fn is_stored(&self) -> bool {
        self.was != StateNode::EMPTY
    }
}

impl<'a> Ways<'a> {
    fn descend<B: AsRef<[u8]>>(&mut self, pages: &[Page<B>], spot: Spot, changes: &'a [StateChange]) {
        let Some(first) = changes.first() else { return };
        let page = &pages[spot.page];
        match page.slot(spot.at) {
            Slot::Empty | Slot::Leaf(_) => self.ends.push((spot, changes)),
            Slot::Link => {
                // The last page has no links (its decoder says so), so there always is a page below.
                let Some(id) = page.id.towards(&first.key) else { return };
                let task = Task { id, was: page.hash(spot.at), changes: Cow::Borrowed(changes) };
                self.links.push((spot, task));
            }
            Slot::Inner(left, right) => {
                self.inner.push(spot);
                let halves = [left, right].map(|at| Spot { at, depth: spot.depth + 1, ..spot });
                for half in halves {
                    if let Slot::Leaf(leaf) = page.slot(half.at) {
                        self.leaves.push((half, leaf));
                    }
                }
                let split = changes.partition_point(|change| !goes_right(&change.key, spot.depth));
                let (to_left, to_right) = changes.split_at(split);
                self.descend(pages, halves[0], to_left);
                self.descend(pages, halves[1], to_right);
            }
        }
    }

    /// Puts the changes at the end of a path into effect.
    fn grow<B: AsRef<[u8]>>(&mut self, pages: &mut [Page<B>], spot: Spot, changes: &[StateChange]) {
        let was = match pages[spot.page].slot(spot.at) {
            Slot::Leaf(leaf) => Some(leaf),
            _ => None,
        };
        let leaves = merged(was, changes);
        if leaves.as_slice() != was.as_slice() {
            self.plant(pages, spot, &leaves);
        }
    }

    /// Makes a slot the subtree of these leaves, which rise.
    fn plant<B: AsRef<[u8]>>(&mut self, pages: &mut [Page<B>], spot: Spot, leaves: &[StateLeaf]) {
        let page = &mut pages[spot.page];
        match leaves {
            [] => page.change(spot.at, Slot::Empty, StateNode::EMPTY),
            [leaf] => {
                page.change(spot.at, Slot::Leaf(*leaf), StateNode::ZERO);
                self.leaves.push((spot, *leaf));
            }
            [first, ..] if spot.depth == page.id.depth() + PAGE_LEVELS => {
                page.change(spot.at, Slot::Link, StateNode::ZERO);
                let id = page.id.towards(&first.key).expect("two keys differ within 256 bits");
                let changes = leaves.iter().map(|leaf| StateChange { key: leaf.key, value: Some(leaf.value) });
                let task = Task { id, was: StateNode::EMPTY, changes: changes.collect() };
                self.links.push((spot, task));
            }
            _ => {
                let halves = [page.push(), page.push()].map(|at| Spot { at, depth: spot.depth + 1, ..spot });
                page.change(spot.at, Slot::Inner(halves[0].at, halves[1].at), StateNode::ZERO);
                self.inner.push(spot);
                let split = leaves.partition_point(|leaf| !goes_right(&leaf.key, spot.depth));
                self.plant(pages, halves[0], &leaves[..split]);
                self.plant(pages, halves[1], &leaves[split..]);
            }
        }
    }
}

/// The leaves at the end of a path after changes, rising.
fn merged(was: Option<StateLeaf>, changes: &[StateChange]) -> Vec<StateLeaf> {
    let mut leaves: Vec<StateLeaf> =
        changes.iter().filter_map(|change| change.value.map(|value| StateLeaf { key: change.key, value })).collect();
    if let Some(was) = was
        && changes.binary_search_by_key(&was.key, |change| change.key).is_err()
    {
        let at = leaves.partition_point(|leaf| leaf.key < was.key);
        leaves.insert(at, was);
    }
    leaves
}

fn hash_leaves<B: AsRef<[u8]>>(pages: &mut [Page<B>], leaves: impl Iterator<Item = (Spot, StateLeaf)>) {
    let (spots, leaves): (Vec<Spot>, Vec<StateLeaf>) = leaves.unzip();
    let hashes = state_leaf_many(leaves.iter().map(|leaf| (&leaf.key, &leaf.value)));
    for (spot, hash) in spots.into_iter().zip(hashes) {
        pages[spot.page].set_hash(spot.at, hash);
    }
}

/// The hashes of inner slots by those of their halves; of nothing for other slots, which are not asked for.
fn hash_inner<'p, B: AsRef<[u8]>>(pages: &[Page<B>], spots: impl Iterator<Item = &'p Spot>) -> Vec<StateNode> {
    let halves = |spot: &Spot| {
        let page = &pages[spot.page];
        match page.slot(spot.at) {
            Slot::Inner(left, right) => [page.hash(left), page.hash(right)],
            _ => [StateNode::ZERO; 2],
        }
    };
    let halves: Vec<[StateNode; 2]> = spots.map(halves).collect();
    state_node_many(halves.iter().map(|[left, right]| (left, right)))
}

/// Whether the tops are what they are read as, and every inner slot is the hash of its halves.
fn check<B: AsRef<[u8]>, E>(pages: &[Page<B>], tasks: &[Task<'_>], inner: &[Spot]) -> Result<(), StateTreeError<E>> {
    for (page, task) in pages.iter().zip(tasks) {
        if page.hash(TOP) != task.was {
            return Err(StateTreeError::OtherRoot(task.id));
        }
    }
    let computed = hash_inner(pages, inner.iter());
    for (spot, computed) in inner.iter().zip(computed) {
        let page = &pages[spot.page];
        if page.hash(spot.at) != computed {
            return Err(StateTreeError::OtherRoot(page.id));
        }
    }
    Ok(())
}

/// Puts what the page below has become into its link.
fn take_over<B: AsRef<[u8]>>(page: &mut Page<B>, at: u32, now: &Now) {
    match *now {
        Now::Same => {}
        Now::Empty => page.change(at, Slot::Empty, StateNode::EMPTY),
        Now::Leaf(leaf, hash) => page.change(at, Slot::Leaf(leaf), hash),
        Now::Inner(hash) => page.change(at, Slot::Link, hash),
    }
}

/// Brings inner slots into their short form, the lowest first, and hashes those that stay.
fn settle<B: AsRef<[u8]>>(pages: &mut [Page<B>], inner: &[Spot]) {
    let mut levels: [Vec<Spot>; PAGE_LEVELS as usize] = Default::default();
    for spot in inner.iter().rev() {
        let page = &mut pages[spot.page];
        let Slot::Inner(left, right) = page.slot(spot.at) else { continue };
        if !page.is_changed(left) && !page.is_changed(right) {
            continue;
        }
        let short = match (page.slot(left), page.slot(right)) {
            (Slot::Empty, Slot::Empty) => Some(left),
            (Slot::Leaf(_), Slot::Empty) => Some(left),
            (Slot::Empty, Slot::Leaf(_)) => Some(right),
            _ => None,
        };
        if let Some(half) = short {
            let (slot, hash) = (page.slot(half), page.hash(half));
            page.change(spot.at, slot, hash);
        } else {
            page.change(spot.at, Slot::Inner(left, right), StateNode::ZERO);
            levels[usize::from(spot.depth % PAGE_LEVELS)].push(*spot);
        }
    }
    for level in levels.iter().rev() {
        let hashes = hash_inner(pages, level.iter());
        for (spot, hash) in level.iter().zip(hashes) {
            pages[spot.page].set_hash(spot.at, hash);
        }
    }
}
