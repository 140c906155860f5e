//! What a follower keeps beside state and pages: the trees' roots, where bindings stand, where control events are, and
//! notes of what ranges changed since the pages were last written. Derived.
//!
//! Takes rows into the batch of the outcomes they belong to, so that they are always of the newest signed checkpoint of
//! outcomes; gives them one by one or all. What a standing and a note say is the follower's.

use std::sync::Arc;

use bytes::Bytes;
use tally_protocol::hash::{StateKey, StateNode};
use tally_protocol::id::{Index, PluginId, Stream};

use crate::batch::{Batch, Engine, Row, ScanRange};
use crate::error::StorageError;
use crate::family::Family;
use crate::keys::{FollowerKey, Key};

const ROWS_PER_SCAN: usize = 1_024;

/// A binding's place with the bytes of its standing.
pub type StandingRow = ((Stream, PluginId), Bytes);

/// The first index of a range with the note of what it changed.
pub type NoteRow = (Index, Bytes);

/// The rows.
#[derive(Clone)]
pub struct FollowerRows {
    engine: Arc<dyn Engine>,
}

impl FollowerRows {
    /// Over an engine.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine }
    }

    /// Sets a tree's root; [`StateNode::EMPTY`] has no row.
    pub fn put_root(&self, batch: &mut Batch, tree: Option<StateKey>, root: &StateNode) {
        let key = FollowerKey::Root(tree).encode();
        if *root == StateNode::EMPTY {
            batch.delete(Family::StatePages, key);
        } else {
            batch.put(Family::StatePages, key, root.as_bytes().to_vec());
        }
    }

    /// A tree's root; [`StateNode::EMPTY`] if there is no such tree.
    ///
    /// # Errors
    /// The engine failed or the row is damaged.
    pub fn root(&self, tree: Option<StateKey>) -> Result<StateNode, StorageError> {
        let key = FollowerKey::Root(tree).encode();
        let Some(root) = self.engine.get(Family::StatePages, &key)? else { return Ok(StateNode::EMPTY) };
        let bad = |_| StorageError::bad_value(Family::StatePages, key.as_slice(), "not a root");
        root[..].try_into().map(StateNode::from_bytes).map_err(bad)
    }

    /// Sets where a binding stands; none removes it.
    pub fn put_standing(&self, batch: &mut Batch, (stream, plugin): (Stream, &PluginId), standing: Option<Vec<u8>>) {
        let key = FollowerKey::Standing(stream, plugin.clone()).encode();
        match standing {
            Some(standing) => batch.put(Family::StatePages, key, standing),
            None => batch.delete(Family::StatePages, key),
        }
    }

    /// Where all bindings stand, by stream and plugin.
    ///
    /// # Errors
    /// The engine failed or a row is damaged.
    pub fn standings(&self) -> Result<Vec<StandingRow>, StorageError> {
        let mut standings = Vec::new();
        self.each_row(&FollowerKey::standings(), |row| match FollowerKey::decode(&row.key) {
            Some(FollowerKey::Standing(stream, plugin)) => {
                standings.push(((stream, plugin), row.value.clone()));
                Ok(())
            }
            _ => Err(StorageError::bad_value(Family::StatePages, &row.key, "not a standing's key")),
        })?;
        Ok(standings)
    }

    /// Notes where a control event is.
    pub fn put_control(&self, batch: &mut Batch, index: Index) {
        batch.put(Family::StatePages, FollowerKey::Control(index).encode(), Bytes::new());
    }

    /// Where control events are, ascending.
    ///
    /// # Errors
    /// The engine failed or a row is damaged.
    pub fn controls(&self) -> Result<Vec<Index>, StorageError> {
        let mut indexes = Vec::new();
        self.each_row(&FollowerKey::controls(), |row| match FollowerKey::decode(&row.key) {
            Some(FollowerKey::Control(index)) => {
                indexes.push(index);
                Ok(())
            }
            _ => Err(StorageError::bad_value(Family::StatePages, &row.key, "not a control event's key")),
        })?;
        Ok(indexes)
    }

    /// Notes what the range that begins at `first` changed.
    pub fn put_note(&self, batch: &mut Batch, first: Index, note: Vec<u8>) {
        batch.put(Family::StatePages, FollowerKey::Note(first).encode(), note);
    }

    /// Removes a note, present or not.
    pub fn delete_note(&self, batch: &mut Batch, first: Index) {
        batch.delete(Family::StatePages, FollowerKey::Note(first).encode());
    }

    /// All notes, by the ranges they are about.
    ///
    /// # Errors
    /// The engine failed or a row is damaged.
    pub fn notes(&self) -> Result<Vec<NoteRow>, StorageError> {
        let mut notes = Vec::new();
        self.each_row(&FollowerKey::notes(), |row| match FollowerKey::decode(&row.key) {
            Some(FollowerKey::Note(first)) => {
                notes.push((first, row.value.clone()));
                Ok(())
            }
            _ => Err(StorageError::bad_value(Family::StatePages, &row.key, "not a note's key")),
        })?;
        Ok(notes)
    }

    fn each_row(&self, prefix: &Key, take: impl FnMut(&Row) -> Result<(), StorageError>) -> Result<(), StorageError> {
        each_row(self.engine.as_ref(), Family::StatePages, prefix, take)
    }
}

/// Reads all rows of a prefix, a bounded scan at a time.
pub(crate) fn each_row(
    engine: &dyn Engine,
    family: Family,
    prefix: &Key,
    mut take: impl FnMut(&Row) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    let mut from = prefix.clone();
    loop {
        let to = prefix.prefix_end();
        let rows = engine.scan(&ScanRange { family, from, to, reverse: false, limit: ROWS_PER_SCAN })?;
        rows.iter().try_for_each(&mut take)?;
        let Some(last) = rows.last().filter(|_| rows.len() == ROWS_PER_SCAN) else { return Ok(()) };
        let last = Key::from_slice(&last.key)
            .ok_or_else(|| StorageError::bad_value(family, &last.key, "longer than any key"))?;
        from = last.just_after();
    }
}

/// Adds the removal of all rows of a prefix to the batch.
pub(crate) fn delete_all(
    engine: &dyn Engine,
    batch: &mut Batch,
    family: Family,
    prefix: &Key,
) -> Result<(), StorageError> {
    each_row(engine, family, prefix, |row| {
        let key = Key::from_slice(&row.key);
        let key = key.ok_or_else(|| StorageError::bad_value(family, &row.key, "longer than any key"))?;
        batch.delete(family, key);
        Ok(())
    })
}

#[cfg(all(test, feature = "test-util"))]
#[allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]
mod tests {
    use super::*;
    use crate::batch::Durability;
    use crate::keys::PageKey;
    use crate::memory::MemoryEngine;
    use crate::plugin_state::PluginState;
    use crate::state_pages::{StatePages, TreePages};

    fn place(number: u8, name: &str) -> (Stream, PluginId) {
        (Stream::from_bytes(&[number; 32]), PluginId::new(name).unwrap())
    }

    #[test]
    fn rows_read_back_and_do_not_mix_with_pages() {
        let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::new());
        let (rows, pages) = (FollowerRows::new(Arc::clone(&engine)), StatePages::new(Arc::clone(&engine)));
        let tree = StateKey::from_bytes([7; 32]);
        let root = StateNode::from_bytes([9; 32]);
        let mut batch = Batch::new();
        rows.put_root(&mut batch, Some(tree), &root);
        for at in 0..2_500_u64 {
            rows.put_control(&mut batch, Index::new(at * 3));
            let name = format!("p{at}");
            let (stream, plugin) = place(1, &name);
            rows.put_standing(&mut batch, (stream, &plugin), Some(vec![1]));
            rows.put_note(&mut batch, Index::new(at * 5), at.to_be_bytes().to_vec());
        }
        engine.write(batch, Durability::Buffered).unwrap();
        let page = TreePages { tree: Some(tree), cleared: false, pages: vec![(vec![4; 31], Some(vec![2].into()))] };
        engine.replace(Family::StatePages, pages.rows_with(&[page]).unwrap()).unwrap();
        assert_eq!((rows.root(Some(tree)).unwrap(), rows.root(None).unwrap()), (root, StateNode::EMPTY));
        assert!(rows.controls().unwrap().into_iter().eq((0..2_500).map(|at| Index::new(at * 3))));
        assert_eq!(rows.standings().unwrap().len(), 2_500);
        let notes = (0..2_500_u64).map(|at| (Index::new(at * 5), Bytes::from(at.to_be_bytes().to_vec())));
        assert!(rows.notes().unwrap().into_iter().eq(notes));
        assert!(pages.get(&PageKey { tree: Some(tree), name: vec![4; 31] }).unwrap().is_some());
        let mut batch = Batch::new();
        rows.delete_note(&mut batch, Index::new(10));
        rows.put_root(&mut batch, Some(tree), &StateNode::EMPTY);
        rows.put_standing(&mut batch, (place(1, "p7").0, &place(1, "p7").1), None);
        engine.write(batch, Durability::Buffered).unwrap();
        let cleared = TreePages { tree: Some(tree), cleared: true, pages: Vec::new() };
        engine.replace(Family::StatePages, pages.rows_with(&[cleared]).unwrap()).unwrap();
        assert_eq!(rows.root(Some(tree)).unwrap(), StateNode::EMPTY);
        assert_eq!((rows.standings().unwrap().len(), rows.controls().unwrap().len()), (2_499, 2_500));
        assert_eq!(rows.notes().unwrap().len(), 2_499);
        assert_eq!(pages.get(&PageKey { tree: Some(tree), name: vec![4; 31] }).unwrap(), None);
    }

    #[test]
    fn a_cleared_space_is_empty_and_its_neighbours_are_not() {
        let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::new());
        let state = PluginState::new(Arc::clone(&engine));
        let mut batch = Batch::new();
        for name in ["a", "aa", "b"] {
            for at in 0..1_500_u32 {
                let (stream, plugin) = place(1, name);
                state.put(&mut batch, (stream, &plugin), &at.to_be_bytes(), vec![1]).unwrap();
            }
        }
        engine.write(batch, Durability::Buffered).unwrap();
        let mut batch = Batch::new();
        let (stream, plugin) = place(1, "a");
        state.delete_space(&mut batch, (stream, &plugin)).unwrap();
        assert_eq!(batch.len(), 1_500);
        engine.write(batch, Durability::Buffered).unwrap();
        for (name, there) in [("a", false), ("aa", true), ("b", true)] {
            let (stream, plugin) = place(1, name);
            assert_eq!(state.get((stream, &plugin), &3_u32.to_be_bytes()).unwrap().is_some(), there, "{name}");
        }
    }
}
