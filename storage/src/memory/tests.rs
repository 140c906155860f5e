//! The faults do what they say, and nothing else changes.

use std::time::{Duration, Instant};

use super::*;
use crate::keys::StreamKey;
use tally_protocol::id::Stream;

fn key(number: u8) -> Key {
    StreamKey(Stream::from_bytes(&[number; 32])).encode()
}

fn put(engine: &MemoryEngine, number: u8, durability: Durability) -> Result<(), StorageError> {
    let mut batch = Batch::new();
    batch.put(Family::Streams, key(number), vec![number]);
    batch.put(Family::Meta, key(number), vec![number]);
    engine.write(batch, durability)
}

fn held(engine: &MemoryEngine) -> Vec<u8> {
    let numbers = (0..=u8::MAX).filter(|number| {
        let both = [Family::Streams, Family::Meta].map(|family| engine.get(family, &key(*number)).unwrap().is_some());
        assert_eq!(both[0], both[1], "a batch came apart");
        both[0]
    });
    numbers.collect()
}

#[test]
fn a_system_crash_loses_exactly_what_was_not_synced_or_a_tail_of_it() {
    let engine = MemoryEngine::new();
    put(&engine, 1, Durability::Buffered).unwrap();
    put(&engine, 2, Durability::Synced).unwrap();
    put(&engine, 3, Durability::Buffered).unwrap();
    put(&engine, 4, Durability::Buffered).unwrap();
    assert_eq!(held(&engine), [1, 2, 3, 4]);
    assert_eq!(held(&engine.crash(Crash::Process)), [1, 2, 3, 4]);
    assert_eq!(held(&engine.crash(Crash::SystemKeeping(1))), [1, 2, 3]);
    assert_eq!(held(&engine.crash(Crash::System)), [1, 2]);
}

#[test]
fn a_load_and_a_dropped_range_outlive_a_crash_that_takes_the_batch_before_them() {
    let engine = MemoryEngine::new();
    let load = |numbers: &[u8]| {
        let rows = numbers.iter().map(|number| (key(*number), vec![*number].into())).collect();
        engine.load(Family::EventIds, rows).unwrap();
    };
    let loaded = |engine: &MemoryEngine| {
        let range = ScanRange { family: Family::EventIds, from: Key::FIRST, to: None, reverse: false, limit: 9 };
        engine.scan(&range).unwrap().iter().map(|row| row.value[0]).collect::<Vec<_>>()
    };
    load(&[1, 2]);
    put(&engine, 7, Durability::Buffered).unwrap();
    load(&[3, 4]);
    engine.drop_range(Family::EventIds, &key(2), Some(&key(4))).unwrap();
    for (crash, left) in [(Crash::Process, &[7][..]), (Crash::System, &[]), (Crash::SystemKeeping(1), &[7])] {
        let found = engine.crash(crash);
        assert_eq!((loaded(&found), held(&found)), (vec![1, 4], left.to_vec()));
    }
    assert_eq!((loaded(&engine), engine.unsynced()), (vec![1, 4], 1));
}

#[test]
fn a_failed_sync_poisons_and_leaves_its_batch_to_the_crash() {
    let engine = MemoryEngine::new();
    engine.faults().fail_sync(2);
    put(&engine, 1, Durability::Synced).unwrap();
    assert!(matches!(put(&engine, 2, Durability::Synced), Err(StorageError::Io { .. })));
    assert!(matches!(put(&engine, 3, Durability::Buffered), Err(StorageError::Poisoned(_))));
    assert!(matches!(engine.flush(), Err(StorageError::Poisoned(_))));
    assert_eq!(held(&engine), [1], "readers do not see a write that failed");
    assert_eq!(held(&engine.crash(Crash::System)), [1]);
    assert_eq!(held(&engine.crash(Crash::Process)), [1, 2]);
    put(&engine.crash(Crash::System), 3, Durability::Synced).unwrap();
}

#[test]
fn a_full_disk_is_told_as_such() {
    let engine = MemoryEngine::new();
    engine.faults().fill_disk_at_write(2);
    put(&engine, 1, Durability::Buffered).unwrap();
    assert!(matches!(put(&engine, 2, Durability::Buffered), Err(StorageError::NoSpace(_))));
    assert!(matches!(put(&engine, 3, Durability::Buffered), Err(StorageError::Poisoned(_))));
}

#[test]
fn a_slow_sync_takes_its_time_and_readers_do_not_wait_for_a_held_one() {
    let engine = MemoryEngine::new();
    engine.faults().slow_sync(Duration::from_millis(20));
    let begun = Instant::now();
    put(&engine, 1, Durability::Synced).unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(20));

    engine.faults().hold_syncs();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| put(&engine, 2, Durability::Synced));
        while engine.faults().syncs() < 2 {
            std::thread::yield_now();
        }
        assert_eq!(held(&engine), [1], "a write is seen only once it is durable");
        engine.faults().release_syncs();
        writer.join().unwrap().unwrap();
    });
    assert_eq!(held(&engine), [1, 2]);
}
