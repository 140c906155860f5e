//! Pages of the trees over what plugins hold. Derived.
//!
//! Takes the pages of a range once it is stored, gives them by tree and name. Pages are most of what a range changes, so
//! they stay out of the write-ahead log: they gather in memory, a page that changes again takes the place it had, and
//! whoever stores ranges writes all of them at once past the log ([`StatePages::rows_with`], [`Engine::replace`]) while
//! newer ones gather. What memory holds is lost by a crash; notes in the batches of the ranges
//! ([`crate::FollowerRows::notes`]) say what it is made of again. What a page says is `sdk/merkle`'s; whoever walks one
//! checks it against a root.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use tally_protocol::hash::StateKey;

use crate::background;
use crate::batch::{Change, Engine};
use crate::error::StorageError;
use crate::family::Family;
use crate::follower_rows::each_row;
use crate::keys::{Key, PageKey};

/// What a range changes in the pages of one tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreePages {
    /// Whose tree: the place of a plugin in a stream, or the tree over all.
    pub tree: Option<StateKey>,
    /// Every page that was there goes first.
    pub cleared: bool,
    /// Pages by name; none removes one.
    pub pages: Vec<(Vec<u8>, Option<Bytes>)>,
}

/// The pages; clones share what is in memory. One writer, any number of readers.
#[derive(Clone)]
pub struct StatePages {
    engine: Arc<dyn Engine>,
    memory: Arc<RwLock<Memory>>,
}

#[derive(Debug, Default)]
struct Memory {
    unwritten: Unwritten,
    /// Older, and being written.
    writing: Option<Unwritten>,
}

/// What is newer than what lies below it.
#[derive(Debug, Clone, Default)]
struct Unwritten {
    pages: BTreeMap<Key, Option<Bytes>>,
    /// What the pages of cleared trees start with: none of those below counts.
    cleared: BTreeSet<Key>,
    bytes: usize,
}

impl StatePages {
    /// Over an engine, with nothing in memory.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine, memory: Arc::default() }
    }

    fn read(&self) -> RwLockReadGuard<'_, Memory> {
        self.memory.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Memory> {
        self.memory.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what a range changed; readers see it at once.
    pub fn advance(&self, changes: &[TreePages]) {
        let mut memory = self.write();
        changes.iter().for_each(|tree| memory.unwritten.change(tree));
    }

    /// What brings the pages that are written, or being written, to those in memory with these changes over them: for
    /// [`Engine::replace`], behind what is being written.
    ///
    /// # Errors
    /// As [`Engine::scan`].
    pub fn rows_with(&self, changes: &[TreePages]) -> Result<Vec<Change>, StorageError> {
        let (mut all, mut rows) = (self.read().unwritten.clone(), BTreeMap::new());
        changes.iter().for_each(|tree| all.change(tree));
        for tree in &all.cleared {
            // What is being written is here, in the engine, or in both.
            rows.extend(self.read().writing.iter().flat_map(|writing| writing.of_tree(tree)).map(|key| (key, None)));
            each_row(self.engine.as_ref(), Family::StatePages, tree, |row| {
                let key = Key::from_slice(&row.key);
                let key =
                    key.ok_or_else(|| StorageError::bad_value(Family::StatePages, &row.key, "longer than any key"))?;
                rows.insert(key, None);
                Ok(())
            })?;
        }
        rows.extend(all.pages);
        Ok(rows.into_iter().collect())
    }

    /// Takes over what a range changed, and sets all that is in memory apart, to be written: the rows of
    /// [`StatePages::rows_with`]. What was set apart before is written.
    pub fn set_apart(&self, changes: &[TreePages]) {
        let mut memory = self.write();
        changes.iter().for_each(|tree| memory.unwritten.change(tree));
        memory.writing = Some(std::mem::take(&mut memory.unwritten));
    }

    /// What was set apart is in the engine.
    pub fn written(&self) {
        let written = self.write().writing.take();
        // Much to drop, and nobody waits for it.
        drop(written);
    }

    /// Whether anything is set apart.
    #[must_use]
    pub fn is_writing(&self) -> bool {
        self.read().writing.is_some()
    }

    /// Puts what another one has in memory into the place of what this one has.
    pub fn take_over(&self, other: &Self) {
        let taken = std::mem::take(&mut *other.write());
        *self.write() = taken;
    }

    /// Bytes of keys and pages in memory that are not set apart.
    #[must_use]
    pub fn unwritten_bytes(&self) -> usize {
        self.read().unwritten.bytes
    }

    /// A page.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn get(&self, key: &PageKey) -> Result<Option<Bytes>, StorageError> {
        Ok(self.get_many(std::slice::from_ref(key))?.pop().flatten())
    }

    /// Pages, in the order of their keys.
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn get_many(&self, keys: &[PageKey]) -> Result<Vec<Option<Bytes>>, StorageError> {
        background::breathe();
        let mut asked = Vec::new();
        let found: Vec<Option<Option<Bytes>>> = {
            // Memory first: what leaves it is in the engine by then.
            let memory = self.read();
            let find = |key: &PageKey| {
                let encoded = key.encode();
                let older = || memory.writing.as_ref().and_then(|writing| writing.find(key, &encoded));
                let found = memory.unwritten.find(key, &encoded).or_else(older);
                if found.is_none() {
                    asked.push(encoded);
                }
                found
            };
            keys.iter().map(find).collect()
        };
        let stored = if asked.is_empty() { Vec::new() } else { self.engine.multi_get(Family::StatePages, &asked)? };
        let mut stored = stored.into_iter();
        Ok(found.into_iter().map(|found| found.unwrap_or_else(|| stored.next().flatten())).collect())
    }
}

impl Unwritten {
    fn change(&mut self, change: &TreePages) {
        let tree = PageKey::of_tree(change.tree.as_ref());
        if change.cleared {
            self.of_tree(&tree).into_iter().for_each(|key| self.remove(&key));
            self.cleared.insert(tree);
        }
        for (name, page) in &change.pages {
            let key = PageKey { tree: change.tree, name: name.clone() }.encode();
            let (added, key_bytes) = (size(&key, page.as_ref()), key.len());
            let before = self.pages.insert(key, page.clone());
            self.bytes += added;
            self.bytes -= before.map_or(0, |page| key_bytes + page.map_or(0, |page| page.len()));
        }
    }

    /// The keys of a tree.
    fn of_tree(&self, tree: &Key) -> Vec<Key> {
        let from = self.pages.range(tree.clone()..).map(|(key, _)| key);
        from.take_while(|key| key.as_slice().starts_with(tree.as_slice())).cloned().collect()
    }

    fn remove(&mut self, key: &Key) {
        if let Some(page) = self.pages.remove(key) {
            self.bytes -= size(key, page.as_ref());
        }
    }

    /// A page, or that there is none; `None` if what lies below counts.
    fn find(&self, key: &PageKey, encoded: &Key) -> Option<Option<Bytes>> {
        let is_cleared = || self.cleared.contains(&PageKey::of_tree(key.tree.as_ref()));
        match self.pages.get(encoded) {
            Some(page) => Some(page.clone()),
            None if !self.cleared.is_empty() && is_cleared() => Some(None),
            None => None,
        }
    }
}

fn size(key: &Key, page: Option<&Bytes>) -> usize {
    key.len() + page.map_or(0, Bytes::len)
}

#[cfg(all(test, feature = "test-util"))]
#[allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::memory::MemoryEngine;

    fn tree(number: u8) -> Option<StateKey> {
        (number > 0).then(|| StateKey::from_bytes([number; 32]))
    }

    /// A tree, whether it is cleared, and names with pages.
    type Step = (u8, bool, Vec<(u8, Option<u8>)>);

    fn changes((number, cleared, pages): &Step) -> TreePages {
        let page = |(name, page): &(u8, Option<u8>)| (vec![*name], page.map(|byte| Bytes::from(vec![byte; 9])));
        // No range clears the tree over all.
        TreePages { tree: tree(*number), cleared: *cleared && *number > 0, pages: pages.iter().map(page).collect() }
    }

    type Model = BTreeMap<(u8, u8), u8>;

    fn follow(model: &mut Model, (number, cleared, pages): &Step) {
        if *cleared && *number > 0 {
            model.retain(|(of, _), _| of != number);
        }
        for (name, page) in pages {
            match page {
                Some(byte) => model.insert((*number, *name), *byte),
                None => model.remove(&(*number, *name)),
            };
        }
    }

    fn check(pages: &StatePages, model: &Model) {
        let all: Vec<(u8, u8)> = (0..4).flat_map(|number| (0..6).map(move |name| (number, name))).collect();
        let keys: Vec<PageKey> =
            all.iter().map(|(number, name)| PageKey { tree: tree(*number), name: vec![*name] }).collect();
        let expected = all.iter().map(|at| model.get(at).map(|byte| Bytes::from(vec![*byte; 9])));
        assert!(pages.get_many(&keys).unwrap().into_iter().eq(expected));
    }

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Then {
        Kept,
        SetApart,
        Written,
    }

    fn steps() -> impl Strategy<Value = Vec<(Step, Then)>> {
        let pages = prop::collection::vec((0u8..6, prop::option::of(any::<u8>())), 0..4);
        let then = prop_oneof![2 => Just(Then::Kept), 1 => Just(Then::SetApart), 1 => Just(Then::Written)];
        prop::collection::vec(((0u8..4, any::<bool>(), pages), then), 0..24)
    }

    fn write(engine: &Arc<dyn Engine>, pages: &StatePages, rows: &mut Option<Vec<Change>>) {
        if let Some(rows) = rows.take() {
            engine.replace(Family::StatePages, rows).unwrap();
            pages.written();
        }
    }

    proptest! {
        #[test]
        fn what_is_in_memory_and_what_is_written_read_as_one(steps in steps()) {
            let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::new());
            let pages = StatePages::new(Arc::clone(&engine));
            let mut model = Model::new();
            let mut apart = None;
            for (step, then) in steps {
                let changes = changes(&step);
                follow(&mut model, &step);
                match then {
                    Then::Kept => pages.advance(&[changes]),
                    Then::SetApart => {
                        let rows = pages.rows_with(std::slice::from_ref(&changes)).unwrap();
                        write(&engine, &pages, &mut apart);
                        pages.set_apart(&[changes]);
                        apart = Some(rows);
                        prop_assert_eq!(pages.unwritten_bytes(), 0);
                    }
                    Then::Written => {
                        pages.advance(&[changes]);
                        write(&engine, &pages, &mut apart);
                    }
                }
                prop_assert_eq!(pages.is_writing(), apart.is_some());
                check(&pages, &model);
            }
            let rest = pages.rows_with(&[]).unwrap();
            write(&engine, &pages, &mut apart);
            engine.replace(Family::StatePages, rest).unwrap();
            check(&StatePages::new(engine), &model);
        }
    }

    #[test]
    fn bytes_are_of_what_is_held_and_a_copy_takes_it_over() {
        let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::new());
        let (pages, other) = (StatePages::new(Arc::clone(&engine)), StatePages::new(engine));
        let page = |bytes: usize| TreePages {
            tree: tree(1),
            cleared: false,
            pages: vec![(vec![1], Some(Bytes::from(vec![0; bytes])))],
        };
        pages.advance(&[page(100)]);
        pages.advance(&[page(7)]);
        assert_eq!(pages.unwritten_bytes(), 34 + 7);
        other.take_over(&pages);
        assert_eq!((pages.unwritten_bytes(), other.unwritten_bytes()), (0, 41));
        assert!(other.get(&PageKey { tree: tree(1), name: vec![1] }).unwrap().is_some());
        other.advance(&[TreePages { tree: tree(1), cleared: true, pages: Vec::new() }]);
        assert_eq!(other.unwritten_bytes(), 0);
    }
}
