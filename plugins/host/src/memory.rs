//! States and trees in memory: for replay, which begins with nothing and stores nothing, and for tests.
//!
//! Takes deltas in the order of the log; gives views and pages as of the last one.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tally_merkle::sparse::{PageId, StateNode, StatesRoot};
use tally_protocol::id::{PluginId, Stream};

use crate::delta::{Delta, Place, SpaceDelta, StatesDelta, TreeDelta, TreeName, Trees};
use crate::registry::Standing;
use crate::state::{StateError, StateView, States};

/// Everything that deltas carry forward.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    spaces: BTreeMap<Place, Arc<BTreeMap<Bytes, Bytes>>>,
    trees: BTreeMap<TreeName, Tree>,
    standings: BTreeMap<Place, Standing>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Tree {
    root: StateNode,
    pages: BTreeMap<PageId, Bytes>,
}

impl Memory {
    /// Nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes over what a range changed.
    pub fn take(&mut self, delta: &Delta, states: &StatesDelta) {
        delta.spaces.iter().for_each(|space| self.take_space(space));
        states.trees.iter().for_each(|tree| self.take_tree(tree));
        for (place, standing) in &delta.standings {
            match standing {
                Some(standing) => self.standings.insert(place.clone(), standing.clone()),
                None => self.standings.remove(place),
            };
        }
    }

    fn take_space(&mut self, delta: &SpaceDelta) {
        let place = (delta.stream, delta.plugin.clone());
        let space = self.spaces.entry(place.clone()).or_default();
        if delta.cleared {
            *space = Arc::default();
        }
        let space = Arc::make_mut(space);
        for (key, value) in &delta.writes {
            match value {
                Some(value) => space.insert(key.clone(), value.clone()),
                None => space.remove(key),
            };
        }
        if space.is_empty() {
            self.spaces.remove(&place);
        }
    }

    fn take_tree(&mut self, delta: &TreeDelta) {
        let empty = || Tree { root: StateNode::EMPTY, pages: BTreeMap::new() };
        let tree = self.trees.entry(delta.tree.clone()).or_insert_with(empty);
        tree.root = delta.root;
        if delta.cleared {
            tree.pages.clear();
        }
        for (id, page) in &delta.pages {
            match page {
                Some(page) => tree.pages.insert(*id, page.clone()),
                None => tree.pages.remove(id),
            };
        }
        if tree.root == StateNode::EMPTY {
            self.trees.remove(&delta.tree);
        }
    }

    /// A plugin's keys and values in a stream.
    #[must_use]
    pub fn space(&self, stream: &Stream, plugin: &PluginId) -> BTreeMap<Bytes, Bytes> {
        self.spaces.get(&(*stream, plugin.clone())).map(|space| BTreeMap::clone(space)).unwrap_or_default()
    }

    /// Every space that holds something.
    #[must_use]
    pub fn places(&self) -> Vec<&Place> {
        self.spaces.keys().collect()
    }

    /// How many keys all plugins hold.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.spaces.values().map(|space| space.len()).sum()
    }

    /// Every binding's standing, as a restart reads them.
    #[must_use]
    pub fn standings(&self) -> Vec<(Stream, Standing)> {
        self.standings.iter().map(|((stream, _), standing)| (*stream, standing.clone())).collect()
    }

    /// The root over all.
    #[must_use]
    pub fn states_root(&self) -> StatesRoot {
        self.trees.get(&TreeName::OverAll).map_or(StatesRoot::EMPTY, |tree| tree.root.states_root())
    }
}

impl States for Memory {
    fn view(&self, stream: &Stream, plugin: &PluginId) -> Result<Arc<dyn StateView>, StateError> {
        let space = self.spaces.get(&(*stream, plugin.clone())).cloned().unwrap_or_default();
        Ok(space)
    }
}

impl Trees for Memory {
    fn root(&self, tree: &TreeName) -> Result<StateNode, StateError> {
        Ok(self.trees.get(tree).map_or(StateNode::EMPTY, |tree| tree.root))
    }

    fn pages(&self, tree: &TreeName, ids: &[PageId]) -> Result<Vec<Option<Bytes>>, StateError> {
        let tree = self.trees.get(tree);
        Ok(ids.iter().map(|id| tree.and_then(|tree| tree.pages.get(id).cloned())).collect())
    }
}
