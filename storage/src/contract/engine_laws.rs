//! The laws of an engine.

use std::collections::BTreeMap;

use bytes::Bytes;
use tally_protocol::limits::RUN_BYTES_MAX;

use super::Lab;
use super::sample::{Dice, key};
use crate::batch::{Batch, Durability, Engine, Row, ScanRange};
use crate::family::Family;
use crate::keys::{KEY_BYTES_MAX, Key};

fn put(engine: &dyn Engine, family: Family, number: u64, value: &'static str) {
    let mut batch = Batch::new();
    batch.put(family, key(number), value);
    engine.write(batch, Durability::Buffered).expect("write");
}

fn got(engine: &dyn Engine, family: Family, number: u64) -> Option<Bytes> {
    engine.get(family, &key(number)).expect("read")
}

fn all(engine: &dyn Engine, family: Family) -> Vec<Row> {
    let range = ScanRange { family, from: Key::FIRST, to: None, reverse: false, limit: usize::MAX };
    engine.scan(&range).expect("scan")
}

/// Get, multi-get in the order asked for, delete.
pub fn what_is_put_is_there_and_what_is_deleted_is_gone(lab: &mut impl Lab) {
    let engine = lab.fresh();
    put(&*engine, Family::Control, 1, "one");
    put(&*engine, Family::Control, 2, "");
    assert_eq!(got(&*engine, Family::Control, 1).as_deref(), Some(&b"one"[..]));
    assert_eq!(got(&*engine, Family::Control, 2).as_deref(), Some(&b""[..]), "an empty value is a value");
    let keys = [key(2), key(3), key(1), key(2)];
    let found = engine.multi_get(Family::Control, &keys).expect("read");
    let found: Vec<_> = found.iter().map(Option::as_deref).collect();
    assert_eq!(found, [Some(&b""[..]), None, Some(&b"one"[..]), Some(&b""[..])]);
    assert!(engine.multi_get(Family::Control, &[]).expect("read").is_empty());

    put(&*engine, Family::Control, 1, "again");
    assert_eq!(got(&*engine, Family::Control, 1).as_deref(), Some(&b"again"[..]));
    let mut batch = Batch::new();
    batch.delete(Family::Control, key(1));
    batch.delete(Family::Control, key(9));
    engine.write(batch, Durability::Buffered).expect("write");
    assert_eq!(got(&*engine, Family::Control, 1), None);
    engine.write(Batch::new(), Durability::Synced).expect("an empty batch is no change");
}

/// The last change of a key counts.
pub fn a_batch_is_applied_in_its_order(lab: &mut impl Lab) {
    let engine = lab.fresh();
    put(&*engine, Family::Streams, 7, "before");
    let mut batch = Batch::new();
    batch.put(Family::Streams, key(1), "cleared");
    batch.clear(Family::Streams);
    batch.put(Family::Streams, key(2), "first");
    batch.put(Family::Streams, key(2), "second");
    batch.put(Family::Streams, key(3), "gone");
    batch.delete(Family::Streams, key(3));
    batch.delete(Family::Streams, key(4));
    batch.put(Family::Streams, key(4), "back");
    assert_eq!(batch.len(), 8);
    engine.write(batch, Durability::Synced).expect("write");
    let rows: Vec<_> = all(&*engine, Family::Streams).into_iter().map(|row| row.value).collect();
    assert_eq!(rows, [&b"second"[..], b"back"]);
}

/// The same key in two families is two keys.
pub fn families_do_not_see_each_other(lab: &mut impl Lab) {
    let engine = lab.fresh();
    let mut batch = Batch::new();
    for family in Family::ALL {
        batch.put(family, key(1), family.name());
    }
    engine.write(batch, Durability::Synced).expect("write");
    for family in Family::ALL {
        assert_eq!(got(&*engine, family, 1).as_deref(), Some(family.name().as_bytes()));
    }
}

/// Up to the greatest key there can be.
pub fn clearing_a_family_clears_all_of_it_and_nothing_else(lab: &mut impl Lab) {
    let engine = lab.fresh();
    let mut batch = Batch::new();
    for key in [Key::of(&[&[0]]), key(5), Key::of(&[&[u8::MAX; KEY_BYTES_MAX]])] {
        batch.put(Family::Tiles, key.clone(), "x");
        batch.put(Family::Control, key, "x");
    }
    engine.write(batch, Durability::Buffered).expect("write");
    let mut batch = Batch::new();
    batch.clear(Family::Tiles);
    engine.write(batch, Durability::Buffered).expect("write");
    assert!(all(&*engine, Family::Tiles).is_empty());
    assert_eq!(all(&*engine, Family::Control).len(), 3);
    put(&*engine, Family::Tiles, 5, "new");
    assert_eq!(all(&*engine, Family::Tiles).len(), 1);
}

/// Random writes and scans against the standard library's map.
pub fn scans_agree_with_a_sorted_map(lab: &mut impl Lab) {
    let engine = lab.fresh();
    let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let mut dice = Dice::new(42);
    let any_key = |dice: &mut Dice| {
        let bytes: Vec<u8> = (0..1 + dice.below(3)).map(|_| [0, 1, 0x7f, u8::MAX][dice.below(4) as usize]).collect();
        Key::from_slice(&bytes).expect("short")
    };
    for round in 0..400u32 {
        let mut batch = Batch::new();
        for _ in 0..dice.below(4) {
            let key = any_key(&mut dice);
            if dice.below(4) == 0 {
                batch.delete(Family::Control, key.clone());
                model.remove(key.as_slice());
            } else {
                batch.put(Family::Control, key.clone(), round.to_be_bytes().to_vec());
                model.insert(key.as_slice().to_vec(), round.to_be_bytes().to_vec());
            }
        }
        engine.write(batch, Durability::Buffered).expect("write");
        if round % 100 == 50 {
            engine.flush().expect("flush");
        }
        let from = if dice.below(5) == 0 { Key::FIRST } else { any_key(&mut dice) };
        let to = (dice.below(3) > 0).then(|| any_key(&mut dice));
        let (reverse, limit) = (dice.below(2) == 0, dice.below(12) as usize);
        let inside = |key: &[u8]| key >= from.as_slice() && to.as_ref().is_none_or(|to| key < to.as_slice());
        let mut expected: Vec<Row> = model
            .iter()
            .filter(|(key, _)| inside(key))
            .map(|(key, value)| Row { key: key.clone().into(), value: value.clone().into() })
            .collect();
        if reverse {
            expected.reverse();
        }
        expected.truncate(limit);
        let range = ScanRange { family: Family::Control, from, to, reverse, limit };
        assert_eq!(engine.scan(&range).expect("scan"), expected, "round {round}: {range:?}");
    }
}

/// 8 MiB.
pub fn the_longest_run_is_a_value_like_any_other(lab: &mut impl Lab) {
    let engine = lab.fresh();
    let mut dice = Dice::new(7);
    let value: Bytes = (0..RUN_BYTES_MAX).map(|_| dice.below(256) as u8).collect();
    for number in 0..3 {
        let mut batch = Batch::new();
        batch.put(Family::Runs, key(number), value.clone());
        engine.write(batch, Durability::Synced).expect("write");
    }
    engine.flush().expect("flush");
    assert_eq!(got(&*engine, Family::Runs, 1).expect("there"), value);
    let engine = lab.reopen(engine);
    assert_eq!(got(&*engine, Family::Runs, 2).expect("there"), value);
}

/// Synced or buffered, flushed or not: closing an engine, or its process dying, loses nothing.
pub fn everything_written_is_there_after_opening_again(lab: &mut impl Lab) {
    let mut engine = lab.fresh();
    for number in 0..30u64 {
        let mut batch = Batch::new();
        batch.put(Family::Meta, key(number), "there");
        batch.put(Family::Runs, key(number), "there");
        let durability = if number % 3 == 0 { Durability::Synced } else { Durability::Buffered };
        engine.write(batch, durability).expect("write");
        if number % 10 == 4 {
            engine.flush().expect("flush");
        }
        if number % 10 == 9 {
            engine = lab.reopen(engine);
        }
        for written in 0..=number {
            assert!(got(&*engine, Family::Meta, written).is_some() && got(&*engine, Family::Runs, written).is_some());
        }
    }
}

/// Table files and write buffers read the same.
pub fn flushing_changes_nothing_a_reader_sees(lab: &mut impl Lab) {
    let engine = lab.fresh();
    for family in Family::ALL {
        put(&*engine, family, 1, "flushed");
        put(&*engine, family, 2, "deleted");
    }
    engine.flush().expect("flush");
    for family in Family::ALL {
        let mut batch = Batch::new();
        batch.delete(family, key(2));
        batch.put(family, key(3), "buffered");
        engine.write(batch, Durability::Buffered).expect("write");
    }
    let before: Vec<_> = Family::ALL.map(|family| all(&*engine, family)).into();
    engine.flush().expect("flush");
    engine.flush().expect("nothing to flush is no failure");
    let after: Vec<_> = Family::ALL.map(|family| all(&*engine, family)).into();
    assert_eq!(before, after);
    assert!(after.iter().all(|rows| rows.len() >= 2));
}

/// Past the log, over what was there, in a family whose other rows go through it.
pub fn rows_are_replaced_in_bulk_beside_rows_that_are_written(lab: &mut impl Lab) {
    let mut engine = lab.fresh();
    let mut model: BTreeMap<u64, Bytes> = BTreeMap::new();
    let mut dice = Dice::new(11);
    for round in 0..60u64 {
        // Through the log: behind all that is replaced.
        put(&*engine, Family::StatePages, 1_000 + round, "written");
        model.insert(1_000 + round, Bytes::from_static(b"written"));
        let mut rows = Vec::new();
        for number in 0..40 {
            if dice.below(3) == 0 {
                let value = (dice.below(4) > 0).then(|| Bytes::from(vec![round as u8; dice.below(300) as usize]));
                match &value {
                    Some(value) => model.insert(number, value.clone()),
                    None => model.remove(&number),
                };
                rows.push((key(number), value));
            }
        }
        engine.replace(Family::StatePages, rows).expect("replace");
        match round % 20 {
            6 => engine.flush().expect("flush"),
            13 => engine = lab.reopen(engine),
            _ => {}
        }
        let found: Vec<(Bytes, Bytes)> =
            all(&*engine, Family::StatePages).into_iter().map(|row| (row.key, row.value)).collect();
        let expected: Vec<(Bytes, Bytes)> = model
            .iter()
            .map(|(number, value)| (Bytes::copy_from_slice(key(*number).as_slice()), value.clone()))
            .collect();
        assert_eq!(found, expected, "round {round}");
    }
    engine.replace(Family::StatePages, Vec::new()).expect("nothing to replace is no failure");
    let (before, there) = (engine.stats(), [key(3), key(1_003)]);
    engine.replace(Family::StatePages, vec![(key(3), None)]).expect("only a removal");
    let found = engine.multi_get(Family::StatePages, &there).expect("read");
    assert_eq!(found, [None, Some(Bytes::from_static(b"written"))]);
    assert_eq!(engine.stats().buffered_writes, before.buffered_writes, "not through the log");
    // More than a file takes.
    let many = |value: u8| (0..40).map(move |number| (key(number), Some(Bytes::from(vec![value; 1 << 20]))));
    for value in [7, 8] {
        engine.replace(Family::StatePages, many(value).collect()).expect("replace");
        for (key, expected) in many(value) {
            assert_eq!(engine.get(Family::StatePages, &key).expect("read"), expected);
        }
    }
    // Clearing the family clears both.
    let mut batch = Batch::new();
    batch.clear(Family::StatePages);
    engine.write(batch, Durability::Synced).expect("write");
    assert!(all(&*engine, Family::StatePages).is_empty());
    engine.replace(Family::StatePages, vec![(key(3), Some(Bytes::from_static(b"anew")))]).expect("replace");
    let engine = lab.reopen(engine);
    assert_eq!(all(&*engine, Family::StatePages).len(), 1);
}

/// While others write: a scan is of one moment.
pub fn a_scan_sees_whole_batches(lab: &mut impl Lab) {
    let engine = lab.fresh();
    std::thread::scope(|scope| {
        for writer in 0..2u8 {
            let engine = &engine;
            scope.spawn(move || {
                for round in 0..200u8 {
                    let mut batch = Batch::new();
                    for row in 0..8u8 {
                        batch.put(Family::Control, Key::of(&[&[writer, row]]), vec![round]);
                    }
                    engine.write(batch, Durability::Buffered).expect("write");
                }
            });
        }
        for _ in 0..200 {
            let rows = all(&*engine, Family::Control);
            for of_writer in rows.chunk_by(|a, b| a.key.first() == b.key.first()) {
                assert_eq!(of_writer.len(), 8);
                assert!(of_writer.iter().all(|row| row.value == of_writer[0].value), "a torn batch: {of_writer:?}");
            }
        }
    });
}

/// The counters of [`crate::EngineStats`].
pub fn writes_are_counted(lab: &mut impl Lab) {
    let engine = lab.fresh();
    let before = engine.stats();
    put(&*engine, Family::Runs, 1, "12345");
    let mut batch = Batch::new();
    batch.put(Family::Runs, key(2), "");
    engine.write(batch, Durability::Synced).expect("write");
    let after = engine.stats();
    assert_eq!(after.buffered_writes, before.buffered_writes + 1);
    assert_eq!(after.synced_writes, before.synced_writes + 1);
    assert_eq!(after.written_bytes, before.written_bytes + 8 + 5 + 8);
    assert_eq!(after.families.len(), Family::ALL.len());
    assert!(after.families[Family::Runs.slot()].memory_bytes > 0);
    assert_eq!((after.background_errors, after.torn_tail_bytes, after.writes_stopped), (0, 0, false));
}
