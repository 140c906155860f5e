//! What a range changed, in one canonical order: the same range gives the same bytes to store on every machine.
//!
//! [`Delta`] comes with the outcomes: final values per plugin and stream, cuts, effects for the outbox, standings, log
//! lines. [`Delta::trees`] adds what follows for the state trees: takes the trees' roots and pages through [`Trees`],
//! gives the pages to store and the root over all. The node commits all of it together with the outcomes, or nothing.

use std::collections::BTreeMap;

use bytes::Bytes;
use tally_merkle::sparse::{CHANGES_MAX, PageId, PageStore, StateChange, StateNode, StatesRoot, tree_change, update};
use tally_protocol::id::{Index, PluginId, Stream};

use crate::apply::FreshList;
use crate::error::HostError;
use crate::overlay::Write;
use crate::registry::{Refused, Standing};
use crate::session::{Effect, LogLine};
use crate::state::StateError;

/// A plugin in a stream.
pub type Place = (Stream, PluginId);

/// What a range changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta {
    /// The range's first entry; none of an empty range.
    pub first: Option<Index>,
    /// Its entries.
    pub entries: usize,
    /// State, by stream and plugin.
    pub spaces: Vec<SpaceDelta>,
    /// Which events had a fresh instance. It is truth: without it outcomes cannot be made again.
    pub cuts: FreshList,
    /// Effects for the outbox, by index, then in the order of the calls.
    pub effects: Vec<Asked>,
    /// Bindings whose standing changed, by stream and plugin; none for one that was removed.
    pub standings: Vec<(Place, Option<Standing>)>,
    /// What guests said, by index, then in the order of the runs. For people only.
    pub log: Vec<Line>,
    /// Plugin events that changed nothing. For people only.
    pub refused: Vec<(Index, Refused)>,
}

/// What a range changed in one plugin's space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpaceDelta {
    /// The stream.
    pub stream: Stream,
    /// The plugin.
    pub plugin: PluginId,
    /// Every key that was there goes first.
    pub cleared: bool,
    /// Final values, each key once, in order; none deletes.
    pub writes: Vec<Write>,
}

/// An effect of the range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The event.
    pub index: Index,
    /// Its stream.
    pub stream: Stream,
    /// Who asked.
    pub plugin: PluginId,
    /// For what.
    pub effect: Effect,
}

/// A log line of the range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The event.
    pub index: Index,
    /// The stream.
    pub stream: Stream,
    /// Who said it.
    pub plugin: PluginId,
    /// What.
    pub line: LogLine,
}

/// A state tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TreeName {
    /// A plugin's in a stream.
    Of(Stream, PluginId),
    /// The tree over all.
    OverAll,
}

/// Where trees lie.
pub trait Trees {
    /// A tree's root; [`StateNode::EMPTY`] if there is none.
    ///
    /// # Errors
    /// It could not be read.
    fn root(&self, tree: &TreeName) -> Result<StateNode, StateError>;

    /// These pages of a tree, in this order.
    ///
    /// # Errors
    /// They could not be read.
    fn pages(&self, tree: &TreeName, ids: &[PageId]) -> Result<Vec<Option<Bytes>>, StateError>;
}

/// What a range changed in one tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeDelta {
    /// Which.
    pub tree: TreeName,
    /// Every page that was there goes first.
    pub cleared: bool,
    /// Its root.
    pub root: StateNode,
    /// Pages to store, and to delete, by name.
    pub pages: Vec<(PageId, Option<Bytes>)>,
}

/// What a range changed in all trees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatesDelta {
    /// The plugins' trees by stream and plugin, then the tree over all.
    pub trees: Vec<TreeDelta>,
    /// The root over all after the range.
    pub root: StatesRoot,
}

impl Delta {
    /// The change of the state trees.
    ///
    /// # Errors
    /// A tree cannot be read, or what is stored does not lead to its root.
    pub fn trees(&self, trees: &dyn Trees) -> Result<StatesDelta, HostError> {
        trees_of(&self.spaces, trees)
    }
}

/// What follows for the state trees from changes of spaces, each space once.
///
/// # Errors
/// As [`Delta::trees`].
pub fn trees_of(spaces: &[SpaceDelta], trees: &dyn Trees) -> Result<StatesDelta, HostError> {
    let mut changed = Vec::with_capacity(spaces.len() + 1);
    let mut listed = Vec::with_capacity(spaces.len());
    for space in spaces {
        let tree = TreeName::Of(space.stream, space.plugin.clone());
        let writes: Vec<_> = space.writes.iter().map(|(key, value)| (&key[..], value.as_deref())).collect();
        let delta = change(trees, tree, space.cleared, &StateChange::many(&writes))?;
        listed.push(tree_change(&space.stream, &space.plugin, &delta.root));
        changed.push(delta);
    }
    let over_all = change(trees, TreeName::OverAll, false, &listed)?;
    let root = over_all.root.states_root();
    if !listed.is_empty() {
        changed.push(over_all);
    }
    Ok(StatesDelta { trees: changed, root })
}

/// Changes a tree, in as many updates as it takes.
fn change(trees: &dyn Trees, tree: TreeName, cleared: bool, changes: &[StateChange]) -> Result<TreeDelta, HostError> {
    let mut root = if cleared { StateNode::EMPTY } else { trees.root(&tree)? };
    let mut pages = Pages { trees, tree, changed: BTreeMap::new() };
    for changes in changes.chunks(CHANGES_MAX) {
        let update = update(&pages, &root, changes)?;
        root = update.root;
        pages.changed.extend(update.pages.into_iter().map(|(id, page)| (id, page.map(Bytes::from))));
    }
    let pages_changed = pages.changed.into_iter().filter(|(_, page)| !cleared || page.is_some()).collect();
    Ok(TreeDelta { tree: pages.tree, cleared, root, pages: pages_changed })
}

/// The stored pages under those that an update before this one changed.
struct Pages<'t> {
    trees: &'t dyn Trees,
    tree: TreeName,
    changed: BTreeMap<PageId, Option<Bytes>>,
}

impl PageStore for Pages<'_> {
    type Bytes = Bytes;
    type Error = StateError;

    fn pages(&self, ids: &[PageId]) -> Result<Vec<Option<Bytes>>, StateError> {
        let stored: Vec<PageId> = ids.iter().filter(|id| !self.changed.contains_key(*id)).copied().collect();
        let mut stored =
            if stored.is_empty() { Vec::new() } else { self.trees.pages(&self.tree, &stored)? }.into_iter();
        Ok(ids
            .iter()
            .map(|id| match self.changed.get(id) {
                Some(page) => page.clone(),
                None => stored.next().flatten(),
            })
            .collect())
    }
}
