//! The database as the plugin host sees it: state, trees, modules and the log's control events, as they are stored.
//!
//! Takes what the host asks, gives rows; takes what a range changed, gives one batch. Between two ranges nobody else
//! writes here, so what the host reads during a range is of the moment before it.

use std::sync::Arc;

use bytes::Bytes;
use tally_core::StoredEvent;
use tally_merkle::sparse::{PageId, StateNode};
use tally_plugin_host::delta::{Asked, Delta, SpaceDelta, StatesDelta, TreeDelta, TreeName, Trees};
use tally_plugin_host::registry;
use tally_plugin_host::session::Event;
use tally_plugin_host::state::{Row, StateError, StateView, States};
use tally_protocol::entry::Genesis;
use tally_protocol::hash::{ModuleHash, StateKey, state_tree};
use tally_protocol::id::{Index, PluginId, Stream};
use tally_storage::keys::{EffectKey, PageKey};
use tally_storage::{
    Batch, Engine, EventLog, FollowerRows, MetaStore, Modules, Outbox, PluginState, StatePages, StateRange,
    StorageError, TreePages,
};

use super::{effect, noted};

/// Every store that plugins touch.
#[derive(Clone)]
pub(super) struct Stored {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) state: PluginState,
    pub(super) pages: StatePages,
    pub(super) rows: FollowerRows,
    pub(super) outbox: Outbox,
    pub(super) modules: Modules,
    log: EventLog,
    meta: MetaStore,
}

impl Stored {
    pub(super) fn new(engine: &Arc<dyn Engine>) -> Self {
        Self {
            engine: Arc::clone(engine),
            state: PluginState::new(Arc::clone(engine)),
            pages: StatePages::new(Arc::clone(engine)),
            rows: FollowerRows::new(Arc::clone(engine)),
            outbox: Outbox::new(Arc::clone(engine)),
            modules: Modules::new(Arc::clone(engine)),
            log: EventLog::new(Arc::clone(engine)),
            meta: MetaStore::new(Arc::clone(engine)),
        }
    }

    /// The same rows, with pages that nobody else sees until they are taken over.
    pub(super) fn with_pages_of_its_own(&self) -> Self {
        Self { pages: StatePages::new(Arc::clone(&self.engine)), ..self.clone() }
    }

    /// Who this ledger is; none before its first start.
    pub(super) fn genesis(&self) -> Result<Option<Genesis>, StorageError> {
        Ok(self.meta.genesis()?.and_then(|entry| Genesis::decode(&entry).ok()))
    }

    /// An event of the log.
    pub(super) fn event(&self, index: Index) -> Result<Option<StoredEvent>, StorageError> {
        let Some(run) = self.log.run_containing(index)? else { return Ok(None) };
        Ok(run.record(index).map(StoredEvent::from))
    }

    /// Everything that a range changed but the pages, with a note of what those do not show then; to be stored with its
    /// outcomes.
    pub(super) fn batch(&self, delta: &Delta, states: &StatesDelta) -> Result<Batch, StorageError> {
        let mut batch = Batch::new();
        delta.spaces.iter().try_for_each(|space| self.add_space(&mut batch, space))?;
        for tree in &states.trees {
            self.rows.put_root(&mut batch, place_of(&tree.tree), &tree.root);
        }
        if let Some(first) = delta.first.filter(|_| !delta.spaces.is_empty()) {
            self.rows.put_note(&mut batch, first, noted::encode(&delta.spaces));
        }
        for ((stream, plugin), standing) in &delta.standings {
            let standing = standing.as_ref().map(registry::Standing::encode);
            self.rows.put_standing(&mut batch, (*stream, plugin), standing);
        }
        let mut before: Option<EffectKey> = None;
        for asked in &delta.effects {
            let Asked { index, .. } = asked;
            let number = before.filter(|key| key.index == *index).map_or(0, |key| key.number + 1);
            let key = EffectKey { index: *index, number };
            self.outbox.put(&mut batch, key, effect::encode(asked));
            before = Some(key);
        }
        Ok(batch)
    }

    fn add_space(&self, batch: &mut Batch, space: &SpaceDelta) -> Result<(), StorageError> {
        let place = (space.stream, &space.plugin);
        if space.cleared {
            self.state.delete_space(batch, place)?;
        }
        for (key, value) in &space.writes {
            match value {
                Some(value) => self.state.put(batch, place, key, value.clone())?,
                None => self.state.delete(batch, place, key)?,
            }
        }
        Ok(())
    }
}

/// What a range changes in the pages of trees.
pub(super) fn tree_pages(trees: Vec<TreeDelta>) -> Vec<TreePages> {
    let pages = |pages: Vec<(PageId, Option<Bytes>)>| {
        pages.into_iter().map(|(id, page)| (id.prefix().to_vec(), page)).collect()
    };
    let one =
        |tree: TreeDelta| TreePages { tree: place_of(&tree.tree), cleared: tree.cleared, pages: pages(tree.pages) };
    trees.into_iter().map(one).collect()
}

/// What a tree's rows are stored under.
fn place_of(tree: &TreeName) -> Option<StateKey> {
    match tree {
        TreeName::Of(stream, plugin) => Some(state_tree(stream, plugin)),
        TreeName::OverAll => None,
    }
}

fn page_key(tree: Option<StateKey>, id: PageId) -> PageKey {
    PageKey { tree, name: id.prefix().to_vec() }
}

/// A record of the log as the host takes it.
pub(super) fn event_of(stored: &StoredEvent) -> Event {
    Event::logged(stored.index, stored.sequence, stored.sequenced_at, &stored.frame)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of `map_err`")]
pub(super) fn unreadable(error: StorageError) -> StateError {
    StateError(error.to_string())
}

/// One plugin's space as it is stored now.
struct Space {
    state: PluginState,
    stream: Stream,
    plugin: PluginId,
}

impl StateView for Space {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        match self.state.get((self.stream, &self.plugin), key) {
            // No plugin can have written it.
            Err(StorageError::KeyTooLong(_)) => Ok(None),
            found => found.map_err(unreadable),
        }
    }

    fn range(&self, start: &[u8], end: Option<&[u8]>, limit: usize, reverse: bool) -> Result<Vec<Row>, StateError> {
        if end.is_some_and(|end| end <= start) {
            return Ok(Vec::new());
        }
        let range = StateRange { from: start, to: end, reverse, limit };
        let rows = self.state.range((self.stream, &self.plugin), range).map_err(unreadable)?;
        Ok(rows.into_iter().map(|row| (row.key, row.value)).collect())
    }
}

impl States for Stored {
    fn view(&self, stream: &Stream, plugin: &PluginId) -> Result<Arc<dyn StateView>, StateError> {
        Ok(Arc::new(Space { state: self.state.clone(), stream: *stream, plugin: plugin.clone() }))
    }
}

impl Trees for Stored {
    fn root(&self, tree: &TreeName) -> Result<StateNode, StateError> {
        self.rows.root(place_of(tree)).map_err(unreadable)
    }

    fn pages(&self, tree: &TreeName, ids: &[PageId]) -> Result<Vec<Option<Bytes>>, StateError> {
        let name = place_of(tree);
        let keys: Vec<PageKey> = ids.iter().map(|id| page_key(name, *id)).collect();
        self.pages.get_many(&keys).map_err(unreadable)
    }
}

impl registry::Modules for Stored {
    fn module(&self, hash: &ModuleHash) -> Result<Option<Bytes>, StateError> {
        self.modules.get(*hash).map_err(unreadable)
    }
}
