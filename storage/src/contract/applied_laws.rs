//! The laws of the stores of what is applied to the log.

use std::sync::Arc;

use bytes::Bytes;
use tally_protocol::hash::{ModuleHash, StateKey};
use tally_protocol::id::{Index, PluginId, Stream, TreeSize};

use super::Lab;
use super::sample::{Dice, stream};
use crate::batch::{Batch, Durability, Engine};
use crate::error::StorageError;
use crate::family::Family;
use crate::keys::{CutKey, EffectKey, ModuleKey, OutcomeKey, PageKey};
use crate::tile_store::{MIDDLE_ROW_BYTES, TILE_BYTES};
use crate::{
    CheckpointStore, Cuts, DispatchFloor, LatestCheckpoint, Modules, Outbox, Outcomes, PluginState,
    PublishedCheckpoint, RecordedCuts, StatePages, StateRange, TileStore, TreePages, clear_applied, clear_derived,
};

fn write(engine: &dyn Engine, fill: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::new();
    fill(&mut batch);
    engine.write(batch, Durability::Synced).expect("write");
}

fn index(number: u64) -> Index {
    Index::new(number)
}

/// A body for an index: mostly short, some longer than a row.
fn body(at: u64) -> Bytes {
    let bytes = match at % 97 {
        13 => 35_122,
        at => at as usize,
    };
    let mut body = vec![at as u8; bytes];
    body.extend_from_slice(&at.to_be_bytes());
    body.into()
}

/// Each under its own index, however they were cut into writes.
pub fn outcomes_are_found_by_index(lab: &mut impl Lab) {
    let engine = lab.fresh();
    let outcomes = Outcomes::new(Arc::clone(&engine));
    assert_eq!(outcomes.get(index(1)).expect("read"), None);
    let (mut next, mut dice) = (1, Dice::new(4));
    while next < 2_000 {
        let bodies: Vec<Bytes> = (next..next + 1 + dice.below(600)).map(body).collect();
        write(&*engine, |batch| outcomes.append(batch, index(next), &bodies));
        next += bodies.len() as u64;
    }
    drop(outcomes);
    let engine = lab.reopen(engine);
    let outcomes = Outcomes::new(Arc::clone(&engine));
    for at in 1..next {
        assert_eq!(outcomes.get(index(at)).expect("read"), Some(body(at)), "{at}");
    }
    for at in [0, next, next + 300, u64::MAX] {
        assert_eq!(outcomes.get(index(at)).expect("read"), None, "{at}");
    }
    let expected: Vec<Bytes> = (5..next).map(body).collect();
    assert_eq!(outcomes.from(index(5), usize::MAX).expect("read"), expected);
    assert_eq!(outcomes.from(index(7), 300).expect("read"), expected[2..302]);
    assert!(outcomes.from(index(next), 9).expect("read").is_empty());
    write(&*engine, |batch| batch.put(Family::Outcomes, OutcomeKey(index(next)).encode(), vec![0, 0, 0, 2, 7]));
    let damaged = outcomes.get(index(next));
    assert!(matches!(damaged, Err(StorageError::BadValue { family: Family::Outcomes, .. })));
}

/// Two logs, one code: neither sees the other's.
pub fn the_log_of_outcomes_has_its_own_tiles_and_checkpoints(lab: &mut impl Lab) {
    let engine = lab.fresh();
    let (events, outcomes) = (TileStore::new(Arc::clone(&engine)), TileStore::of_outcomes(Arc::clone(&engine)));
    write(&*engine, |batch| outcomes.put(batch, (0, 3), &[7; TILE_BYTES], &[8; MIDDLE_ROW_BYTES]));
    assert!(events.get(0, 3).expect("read").is_none() && outcomes.get(0, 3).expect("read").is_some());
    let of_events = CheckpointStore::new(Arc::clone(&engine));
    let of_outcomes = CheckpointStore::of_outcomes(Arc::clone(&engine));
    let size = TreeSize::new(9);
    let latest = LatestCheckpoint { size, note: "note".to_owned(), frontier: Bytes::from_static(b"frontier") };
    let published = PublishedCheckpoint { size, note: "published".to_owned() };
    write(&*engine, |batch| {
        of_outcomes.put_latest(batch, &latest);
        of_outcomes.put_published(batch, &published);
    });
    assert_eq!((of_events.latest().expect("read"), of_events.published_latest().expect("read")), (None, None));
    assert_eq!(of_outcomes.latest().expect("read"), Some(latest));
    assert_eq!(of_outcomes.published_at(size).expect("read"), Some(published));
}

/// The range that holds an index, or the next; ranges without cuts only move the end.
pub fn cuts_are_found_from_any_index_on(lab: &mut impl Lab) {
    let engine = lab.fresh();
    let cuts = Cuts::new(Arc::clone(&engine));
    assert_eq!((cuts.end().expect("read"), cuts.next(index(0)).expect("read")), (TreeSize::new(0), None));
    let range = |first, end, cuts: &'static [u8]| RecordedCuts {
        first: index(first),
        end: TreeSize::new(end),
        cuts: Bytes::from_static(cuts),
    };
    let ranges = [range(1, 4, b"a"), range(4, 9, b""), range(9, 10, b"b"), range(10, 300, b""), range(300, 301, b"c")];
    for range in &ranges {
        write(&*engine, |batch| cuts.record(batch, range));
        assert_eq!(cuts.end().expect("read"), range.end);
    }
    drop(cuts);
    let engine = lab.reopen(engine);
    let cuts = Cuts::new(Arc::clone(&engine));
    for at in 0..=301 {
        let expected = ranges.iter().find(|range| !range.cuts.is_empty() && range.end.get() > at);
        assert_eq!(cuts.next(index(at)).expect("read").as_ref(), expected, "{at}");
    }
    for value in [&b""[..], &[0; 7], &[0, 0, 0, 0, 0, 0, 1, 144], &[0, 0, 0, 0, 0, 0, 0, 1, 7]] {
        write(&*engine, |batch| batch.put(Family::Cuts, CutKey::Range(index(400)).encode(), value.to_vec()));
        let damaged = cuts.next(index(350));
        assert!(matches!(damaged, Err(StorageError::BadValue { family: Family::Cuts, .. })), "{value:?}");
    }
}

/// A plugin's rows are its own, in the order of its keys, whatever their lengths.
pub fn what_a_plugin_holds_is_its_own_and_in_order(lab: &mut impl Lab) {
    let engine = lab.fresh();
    let state = PluginState::new(Arc::clone(&engine));
    let plugin = |id| PluginId::new(id).expect("an id");
    let places: Vec<(Stream, PluginId)> =
        [1, 2].into_iter().flat_map(|at| ["a", "ab", "b"].map(|id| (stream(at), plugin(id)))).collect();
    let mut dice = Dice::new(8);
    let mut models = vec![std::collections::BTreeMap::<Vec<u8>, Bytes>::new(); places.len()];
    for round in 0..400u32 {
        let at = dice.below(places.len() as u64) as usize;
        let length = if round % 9 == 0 { 1024 } else { dice.below(4) as usize };
        let key: Vec<u8> = (0..length).map(|_| [0, 7, 255][dice.below(3) as usize]).collect();
        let (stream, plugin) = (places[at].0, &places[at].1);
        if dice.below(4) == 0 {
            write(&*engine, |batch| state.delete(batch, (stream, plugin), &key).expect("short"));
            models[at].remove(&key);
        } else {
            let value = Bytes::from(round.to_be_bytes()[dice.below(5) as usize..].to_vec());
            write(&*engine, |batch| state.put(batch, (stream, plugin), &key, value.clone()).expect("short"));
            models[at].insert(key, value);
        }
    }
    for ((stream, plugin), model) in places.iter().zip(&models) {
        let rows = |from: &[u8], to: Option<&[u8]>, reverse, limit| -> Vec<(Vec<u8>, Bytes)> {
            let range = StateRange { from, to, reverse, limit };
            let rows = state.range((*stream, plugin), range).expect("read");
            rows.into_iter().map(|row| (row.key.to_vec(), row.value)).collect()
        };
        let all: Vec<(Vec<u8>, Bytes)> = model.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        assert_eq!(rows(&[], None, false, usize::MAX), all);
        assert_eq!(rows(&[], None, true, 3), all.iter().rev().take(3).cloned().collect::<Vec<_>>());
        let inside = |key: &[u8]| key >= &[7][..] && key < &[7, 255][..];
        let expected: Vec<_> = all.iter().filter(|(key, _)| inside(key)).cloned().collect();
        assert_eq!(rows(&[7], Some(&[7, 255]), false, usize::MAX), expected);
        assert!(rows(&[8], Some(&[7]), false, 9).is_empty() && rows(&[255; 2000], None, false, 9).is_empty());
        let keys: Vec<&[u8]> = model.keys().map(Vec::as_slice).chain([&b"absent"[..]]).collect();
        let values: Vec<_> = model.values().cloned().map(Some).chain([None]).collect();
        assert_eq!(state.get_many((*stream, plugin), &keys).expect("read"), values);
    }
    let place = (stream(1), &plugin("a"));
    assert_eq!(state.get(place, &[1; 1025]), Err(StorageError::KeyTooLong(1025)));
    assert_eq!(state.put(&mut Batch::new(), place, &[1; 1025], "v"), Err(StorageError::KeyTooLong(1025)));
}

/// By tree and name; the tree over all is none of a plugin's.
pub fn pages_are_found_by_tree_and_name(lab: &mut impl Lab) {
    let engine = lab.fresh();
    let pages = StatePages::new(Arc::clone(&engine));
    let key = |tree: Option<u8>, name: &[u8]| PageKey {
        tree: tree.map(|byte| StateKey::from_bytes([byte; 32])),
        name: name.to_vec(),
    };
    let keys = [key(None, b""), key(None, &[1; 31]), key(Some(1), b""), key(Some(1), &[1; 31]), key(Some(2), b"")];
    let change = |key: &PageKey, page: Option<Vec<u8>>| TreePages {
        tree: key.tree,
        cleared: false,
        pages: vec![(key.name.clone(), page.map(Bytes::from))],
    };
    let changes: Vec<TreePages> = keys.iter().enumerate().map(|(at, key)| change(key, Some(vec![at as u8]))).collect();
    engine.replace(Family::StatePages, pages.rows_with(&changes).expect("read")).expect("replace");
    pages.advance(&[change(&keys[2], None)]);
    let expected: Vec<_> = (0..5u8).map(|at| (at != 2).then(|| Bytes::from(vec![at]))).collect();
    assert_eq!(pages.get_many(&keys).expect("read"), expected);
    assert_eq!(pages.get(&keys[4]).expect("read"), expected[4]);
    engine.replace(Family::StatePages, pages.rows_with(&[]).expect("read")).expect("replace");
    drop(pages);
    let engine = lab.reopen(engine);
    assert_eq!(StatePages::new(engine).get_many(&keys).expect("read"), expected, "as it was in memory");
}

/// What was asked and what became of it, side by side.
pub fn effects_are_listed_in_order_beside_what_became_of_them(lab: &mut impl Lab) {
    let engine = lab.fresh();
    let outbox = Outbox::new(Arc::clone(&engine));
    let keys: Vec<EffectKey> =
        [(3, 0), (3, 1), (3, 300), (700, 0)].map(|(at, number)| EffectKey { index: index(at), number }).into();
    for key in keys.iter().rev() {
        write(&*engine, |batch| outbox.put(batch, *key, format!("{key:?}")));
    }
    outbox.put_dispatch(keys[1], "begun").expect("write");
    outbox.put_dispatch(keys[1], "done").expect("write");
    let listed = |rows: Vec<crate::EffectRow>| rows.into_iter().map(|row| row.key).collect::<Vec<_>>();
    assert_eq!(listed(outbox.page(None, 9).expect("read")), keys);
    assert_eq!(listed(outbox.page(Some(keys[0]), 2).expect("read")), keys[1..3]);
    assert_eq!(outbox.get(keys[2]).expect("read"), Some(format!("{:?}", keys[2]).into()));
    assert_eq!(outbox.dispatch(keys[1]).expect("read"), Some("done".into()));
    assert_eq!(outbox.dispatch(keys[2]).expect("read"), None);
    assert_eq!(listed(outbox.dispatches(None, 9).expect("read")), keys[1..2]);
    assert_eq!(outbox.floor().expect("read"), None);
    for (last, size) in [(keys[0], 4), (keys[3], 800)] {
        let floor = DispatchFloor { last, size: TreeSize::new(size) };
        outbox.put_floor(floor).expect("write");
        assert_eq!(outbox.floor().expect("read"), Some(floor));
    }
}

/// Under its hash and no other.
pub fn modules_are_found_by_their_hash_and_checked_against_it(lab: &mut impl Lab) {
    let engine = lab.fresh();
    let modules = Modules::new(Arc::clone(&engine));
    let mut hashes: Vec<ModuleHash> =
        (0..5u8).map(|at| modules.put(vec![at; 100_000 * usize::from(at)]).expect("write")).collect();
    assert_eq!(modules.put(Vec::new()).expect("write"), hashes[0], "the same again");
    for (at, hash) in hashes.iter().enumerate() {
        assert_eq!(modules.get(*hash).expect("read"), Some(vec![at as u8; 100_000 * at].into()));
        assert!(modules.holds(*hash).expect("read"));
    }
    let absent = ModuleHash::from_bytes([3; 32]);
    assert!(modules.get(absent).expect("read").is_none() && !modules.holds(absent).expect("read"));
    write(&*engine, |batch| batch.put(Family::Modules, ModuleKey(hashes[1]).encode(), "another"));
    assert!(matches!(modules.get(hashes[1]), Err(StorageError::BadValue { family: Family::Modules, .. })));
    hashes.sort();
    assert_eq!(modules.list(None, 9).expect("read"), hashes);
    assert_eq!(modules.list(Some(hashes[1]), 2).expect("read"), hashes[2..4]);
}

/// One row in every family, of events and of what is applied to them.
fn fill(engine: &dyn Engine) {
    write(engine, |batch| {
        for family in Family::ALL.into_iter().filter(|family| *family != Family::Meta) {
            batch.put(family, super::sample::key(7), "row");
        }
        let latest = crate::keys::CheckpointKey::Latest.encode();
        batch.put(Family::Checkpoints, latest.clone(), "latest");
        batch.put(Family::OutcomeCheckpoints, latest, "latest");
    });
}

fn rows(engine: &dyn Engine) -> Vec<(Family, usize)> {
    let count = |family| {
        let range =
            crate::ScanRange { family, from: crate::keys::Key::FIRST, to: None, reverse: false, limit: usize::MAX };
        engine.scan(&range).expect("scan").len()
    };
    Family::ALL.into_iter().map(|family| (family, count(family))).filter(|(_, count)| *count > 0).collect()
}

/// Truth stays: published checkpoints, cuts, dispatches and modules of what is applied, and the whole log of events.
pub fn what_is_applied_can_be_deleted_alone_or_with_all_that_is_derived(lab: &mut impl Lab) {
    let (engine, expected) =
        (lab.fresh(), [Family::OutcomeCheckpoints, Family::Cuts, Family::Dispatches, Family::Modules]);
    fill(&*engine);
    clear_applied(&*engine).expect("clear");
    let left = rows(&*engine);
    for (family, count) in &left {
        let of_applying = family.slot() > Family::Meta.slot();
        assert!(!of_applying || expected.contains(family), "{}", family.name());
        assert_eq!(*count, if *family == Family::Checkpoints { 2 } else { 1 }, "{}", family.name());
    }
    assert!(expected.iter().all(|family| left.iter().any(|(other, _)| other == family)));
    assert!(left.iter().any(|(family, _)| *family == Family::EventIds), "the events' own indexes stay");
    fill(&*engine);
    clear_derived(&*engine).expect("clear");
    for (family, count) in rows(&*engine) {
        assert!(!family.is_derived() && count == 1, "{}", family.name());
    }
}
