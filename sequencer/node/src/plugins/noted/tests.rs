//! Whatever a crash leaves, the pages that follow from it are those that were written directly.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

use std::sync::Arc;

use proptest::prelude::*;
use tally_plugin_host::apply::FreshList;
use tally_plugin_host::delta::Delta;
use tally_plugin_host::memory::Memory;
use tally_storage::keys::Key;
use tally_storage::memory::{Crash, MemoryEngine};
use tally_storage::{Batch, Durability, Engine, Family, Row, ScanRange};

use super::*;

/// What becomes of a range's pages.
#[derive(Debug, Clone, Copy)]
enum Then {
    Noted,
    /// Given to be written, and not yet there.
    Given,
    /// Written while nothing else happens.
    Written,
    /// A crash behind the range's batch, before its pages are written or noted.
    LostBefore,
    /// A crash right behind the pages: their notes are there still.
    LostAfter,
    /// A crash while they are in memory.
    LostLater,
}

/// A space's number, whether it is cleared, and what becomes of its keys.
type Change = (u8, bool, Vec<(u8, Option<u8>)>);

struct World {
    engine: Arc<MemoryEngine>,
    stored: Stored,
    notes: Vec<Index>,
    /// Pages that are given and not written, and the ranges they are of.
    apart: Option<Vec<tally_storage::Change>>,
    writing: Vec<Index>,
    obsolete: Vec<Index>,
    next: u64,
    /// The same ranges, never stored.
    memory: Memory,
    /// The same ranges, each one's pages written with it.
    direct: (Arc<MemoryEngine>, Stored),
}

fn stored(engine: &Arc<MemoryEngine>) -> Stored {
    Stored::new(&(Arc::clone(engine) as Arc<dyn Engine>))
}

fn place(number: u8) -> Place {
    (Stream::from_bytes(&[number / 2; 32]), PluginId::new(["a", "b"][usize::from(number % 2)]).unwrap())
}

fn delta(first: Index, changes: &[Change]) -> Delta {
    let mut spaces = BTreeMap::new();
    for (number, cleared, writes) in changes {
        let writes: BTreeMap<Bytes, Option<Bytes>> = writes
            .iter()
            .map(|(key, value)| (Bytes::from(vec![*key; 3]), value.map(|byte| Bytes::from(vec![byte; 5]))))
            .collect();
        spaces.insert(place(*number), (*cleared, writes));
    }
    let space = |((stream, plugin), (cleared, writes)): (Place, (bool, BTreeMap<Bytes, Option<Bytes>>))| SpaceDelta {
        stream,
        plugin,
        cleared,
        writes: writes.into_iter().collect(),
    };
    Delta {
        first: Some(first),
        entries: 1,
        spaces: spaces.into_iter().map(space).collect(),
        cuts: FreshList::default(),
        effects: Vec::new(),
        standings: Vec::new(),
        log: Vec::new(),
        refused: Vec::new(),
    }
}

impl World {
    fn new() -> Self {
        let (engine, direct) = (Arc::new(MemoryEngine::new()), Arc::new(MemoryEngine::new()));
        Self {
            stored: stored(&engine),
            engine,
            notes: Vec::new(),
            apart: None,
            writing: Vec::new(),
            obsolete: Vec::new(),
            next: 1,
            memory: Memory::new(),
            direct: (Arc::clone(&direct), stored(&direct)),
        }
    }

    fn range(&mut self, changes: &[Change], then: Then) {
        let first = Index::new(self.next);
        self.next += 1;
        let delta = delta(first, changes);
        let states = delta.trees(&self.stored).unwrap();
        // Roots and pages, byte for byte.
        assert_eq!(states, delta.trees(&self.memory).unwrap());
        self.memory.take(&delta, &states);
        let mut batch = self.stored.batch(&delta, &states).unwrap();
        self.direct.0.write(batch.clone(), Durability::Synced).unwrap();
        self.obsolete.drain(..).for_each(|first| self.stored.rows.delete_note(&mut batch, first));
        let pages = tree_pages(states.trees);
        self.direct.0.replace(Family::StatePages, self.direct.1.pages.rows_with(&pages).unwrap()).unwrap();
        let rows = self.stored.pages.rows_with(&pages).unwrap();
        self.engine.write(batch, Durability::Synced).unwrap();
        match then {
            Then::Noted | Then::LostLater => {
                self.stored.pages.advance(&pages);
                self.notes.push(first);
            }
            Then::Given | Then::Written | Then::LostAfter => {
                self.write_apart();
                self.stored.pages.set_apart(&pages);
                self.writing = std::mem::take(&mut self.notes);
                self.writing.push(first);
                self.apart = Some(rows);
                if !matches!(then, Then::Given) {
                    self.write_apart();
                }
            }
            Then::LostBefore => {}
        }
        if matches!(then, Then::LostBefore | Then::LostAfter | Then::LostLater) {
            self.crash();
        }
    }

    /// Writes what was given before.
    fn write_apart(&mut self) {
        if let Some(rows) = self.apart.take() {
            self.engine.replace(Family::StatePages, rows).unwrap();
            self.stored.pages.written();
            self.obsolete.append(&mut self.writing);
        }
    }

    fn crash(&mut self) {
        self.engine = Arc::new(self.engine.crash(Crash::System));
        self.stored = stored(&self.engine);
        self.notes = catch_up(&self.stored).unwrap().ranges;
        self.apart = None;
        self.writing.clear();
        self.obsolete.clear();
    }

    fn check_pages(&mut self) {
        self.write_apart();
        self.engine.replace(Family::StatePages, self.stored.pages.rows_with(&[]).unwrap()).unwrap();
        assert_eq!(pages(&self.engine), pages(&self.direct.0));
    }
}

/// Every stored page.
fn pages(engine: &MemoryEngine) -> Vec<Row> {
    let to = Key::from_slice(&[2]);
    engine
        .scan(&ScanRange { family: Family::StatePages, from: Key::FIRST, to, reverse: false, limit: usize::MAX })
        .unwrap()
}

fn change() -> impl Strategy<Value = Change> {
    let writes = prop::collection::vec((0u8..40, prop::option::weighted(0.7, any::<u8>())), 0..12);
    (0u8..4, prop::bool::weighted(0.1), writes)
}

fn then() -> impl Strategy<Value = Then> {
    prop_oneof![
        4 => Just(Then::Noted),
        1 => Just(Then::Given),
        2 => Just(Then::Written),
        1 => Just(Then::LostBefore),
        1 => Just(Then::LostAfter),
        1 => Just(Then::LostLater),
    ]
}

proptest! {
    #[test]
    fn pages_made_from_notes_are_those_that_were_written_directly(
        ranges in prop::collection::vec((prop::collection::vec(change(), 0..3), then()), 1..24),
    ) {
        let mut world = World::new();
        for (changes, then) in &ranges {
            world.range(changes, *then);
        }
        world.check_pages();
        world.crash();
        world.check_pages();
    }

    #[test]
    fn a_note_reads_back_as_written(changes in prop::collection::vec(change(), 0..4)) {
        let delta = delta(Index::new(1), &changes);
        let note = Bytes::from(encode(&delta.spaces));
        let mut noted = BTreeMap::new();
        decode(&note, &mut noted).unwrap();
        let expected: BTreeMap<Place, Noted> = delta
            .spaces
            .iter()
            .map(|space| {
                let keys = space.writes.iter().map(|(key, _)| key.clone()).collect();
                ((space.stream, space.plugin.clone()), Noted { cleared: space.cleared, keys })
            })
            .collect();
        prop_assert_eq!(&noted, &expected);
        prop_assert_eq!(keys_of(&delta.spaces), expected.values().map(|space| space.keys.len()).sum::<usize>());
        // Read twice it says the same.
        decode(&note, &mut noted).unwrap();
        prop_assert_eq!(&noted, &expected);
    }
}

/// Many keys, some pages written and some noted.
fn sample() -> World {
    let mut world = World::new();
    let writes = |from: u8| (from..from + 60).map(|key| (key, Some(key))).collect::<Vec<_>>();
    world.range(&[(0, false, writes(0)), (3, false, writes(9))], Then::Written);
    world.range(&[(0, false, writes(40))], Then::Noted);
    world.range(&[(3, true, writes(100))], Then::Noted);
    world
}

fn caught_up(world: &World, spoil: impl FnOnce(&mut Batch)) -> Result<Notes, String> {
    let engine = Arc::new(world.engine.crash(Crash::Process));
    let mut batch = Batch::new();
    spoil(&mut batch);
    engine.write(batch, Durability::Synced).unwrap();
    catch_up(&stored(&engine)).map_err(|error| error.to_string())
}

#[test]
fn pages_that_do_not_lead_to_the_root_are_an_error() {
    let world = sample();
    let (rows, state) = (&world.stored.rows, &world.stored.state);
    let whole = caught_up(&world, |_| {}).unwrap();
    assert_eq!((whole.ranges.len(), whole.keys), (2, 60 + 60));
    let why = caught_up(&world, |batch| rows.delete_note(batch, Index::new(2))).unwrap_err();
    assert!(why.contains("lead to its root"), "{why}");
    let (stream, plugin) = place(0);
    let other = caught_up(&world, |batch| state.put(batch, (stream, &plugin), &[70; 3], "other").unwrap());
    assert!(other.unwrap_err().contains("lead to its root"));
    // Every replay passes the root pages.
    let root_pages = pages(&world.engine).into_iter().filter(|page| [1, 33].contains(&page.key.len()));
    assert_eq!(root_pages.clone().count(), 3);
    for page in root_pages {
        let mut value = page.value.to_vec();
        *value.last_mut().unwrap() ^= 1;
        let spoilt = caught_up(&world, |batch| {
            batch.put(Family::StatePages, Key::from_slice(&page.key).unwrap(), value);
        });
        // Only the tree that was cleared needs none of its own.
        assert_eq!(spoilt.is_ok(), page.key.starts_with(cleared_tree().as_slice()), "{:?}", page.key);
    }
}

fn cleared_tree() -> Key {
    let (stream, plugin) = place(3);
    tally_storage::keys::PageKey::of_tree(Some(&tally_protocol::hash::state_tree(&stream, &plugin)))
}

#[test]
fn a_damaged_note_is_an_error() {
    let world = sample();
    let note = world.stored.rows.notes().unwrap().pop().unwrap().1;
    for length in 1..note.len() {
        assert_eq!(decode(&note.slice(..length), &mut BTreeMap::new()), None, "{length} bytes");
    }
    let flag = 32 + 1 + place(3).1.as_str().len();
    let mut other = note.to_vec();
    other[flag] = 2;
    assert_eq!(decode(&other.into(), &mut BTreeMap::new()), None);
    let longer = [&note[..], &[0]].concat();
    let why = caught_up(&world, |batch| world.stored.rows.put_note(batch, Index::new(9), longer)).unwrap_err();
    assert!(why.contains("note"), "{why}");
}
