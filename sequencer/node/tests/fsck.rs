//! `tally fsck` finds every change of a stored log and names the first bad entry (S-137).
//!
//! The changes are made as somebody would who owns the disk: runs are written again with valid checksums.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::{Home, code, copy_folder, err, event_lines, json_lines, run, submit_lines, tally};
use tally_protocol::frame::Frame;
use tally_protocol::id::{Index, Sequence};
use tally_protocol::run::{EncodedRun, Record, RecordIn, RunBuilder, StoredRun};
use tally_storage::keys::{Key, RunKey};
use tally_storage::{Batch, Durability, Engine, Family, RocksConfig, ScanRange, TileStore, clear_derived, open_rocks};

/// A log of some hundred events in several runs, made by a real node, stopped.
fn home_with_log() -> Home {
    let home = Home::new();
    let node = home.start();
    for part in 0..4 {
        submit_lines(&home, &event_lines(&format!("part{part}"), 100));
    }
    node.stop();
    home.fsck();
    home
}

/// What somebody does who owns the disk.
type Change<T> = fn(&Opened) -> T;

struct Opened(Arc<dyn Engine>);

impl Opened {
    fn new(home: &Home) -> Self {
        Self(open_rocks(&home.data().join("db"), &RocksConfig::SMALL).unwrap())
    }

    fn runs(&self) -> Vec<StoredRun> {
        let range = ScanRange { family: Family::Runs, from: Key::FIRST, to: None, reverse: false, limit: 10_000 };
        self.0.scan(&range).unwrap().into_iter().map(|row| StoredRun::decode(row.value).unwrap()).collect()
    }

    fn put_run(&self, first: Index, bytes: impl Into<Bytes>) {
        let mut batch = Batch::new();
        batch.put(Family::Runs, RunKey(first).encode(), bytes);
        self.0.write(batch, Durability::Synced).unwrap();
    }

    fn delete_run(&self, first: Index) {
        let mut batch = Batch::new();
        batch.delete(Family::Runs, RunKey(first).encode());
        self.0.write(batch, Durability::Synced).unwrap();
    }
}

/// The run with its records changed, encoded again with everything that a checksum covers.
fn rewritten(run: &StoredRun, change: impl FnOnce(&mut Vec<Record>)) -> EncodedRun {
    let mut records: Vec<Record> = run.records().collect();
    change(&mut records);
    let header = run.header();
    let mut builder =
        RunBuilder::new(header.ledger, header.epoch, header.first_index, header.previous, header.base_time);
    for record in &records {
        let (sequence, sequenced_at, public_key) = (record.sequence, record.sequenced_at, record.public_key);
        builder.push(RecordIn { sequence, sequenced_at, public_key, frame: &record.frame }).unwrap();
    }
    builder.finish().unwrap()
}

/// A run with at least `events` records, not the first one.
fn a_run(runs: &[StoredRun], events: u32) -> StoredRun {
    runs.iter().skip(2).find(|run| run.count() >= events).unwrap().clone()
}

/// The same event with one byte of its payload changed.
fn with_other_payload(frame: &Frame) -> Frame {
    let payload = String::from_utf8(frame.payload().to_vec()).unwrap().replace("\"part", "\"pert");
    Frame::from_parts(&frame.fields(), payload.as_bytes(), frame.signature()).unwrap()
}

fn first_bad(home: &Home) -> (u64, String) {
    let (code, report) = home.fsck_report();
    assert_eq!(code, 3, "{report:#}");
    assert_eq!(report["ok"], false);
    let first = &report["first_bad"];
    (first["index"].as_u64().unwrap_or(u64::MAX), first["rule"].as_str().unwrap().to_owned())
}

#[test]
fn every_change_of_a_stored_log_is_found_and_the_first_bad_entry_is_named() {
    let good = home_with_log();
    let changes: [(&str, Change<u64>); 6] = [
        ("edit", edit),
        ("flip", flip),
        ("delete", delete),
        ("reorder", reorder),
        ("truncate", truncate),
        ("duplicate", duplicate),
    ];
    for (name, change) in changes {
        let home = Home::new();
        copy_folder(&good.data(), &home.data());
        std::fs::copy(good.fence(), home.fence()).unwrap();
        let opened = Opened::new(&home);
        let expected = change(&opened);
        drop(opened);
        let (index, rule) = first_bad(&home);
        assert_eq!(index, expected, "{name}: {rule}");
    }
}

/// A payload is changed, checksum and all.
fn edit(opened: &Opened) -> u64 {
    let run = a_run(&opened.runs(), 5);
    let at = 3usize;
    let changed = rewritten(&run, |records| records[at].frame = with_other_payload(&records[at].frame));
    opened.put_run(run.header().first_index, changed.bytes);
    run.header().first_index.get() + at as u64
}

/// A bit of a payload flips on the disk.
fn flip(opened: &Opened) -> u64 {
    let runs = opened.runs();
    let run = a_run(&runs, 5);
    let record = run.record(Index::new(run.header().first_index.get() + 4)).unwrap();
    let key = RunKey(run.header().first_index).encode();
    let mut bytes = opened.0.get(Family::Runs, &key).unwrap().unwrap().to_vec();
    let payload = record.frame.payload();
    let at = bytes.windows(payload.len()).position(|window| window == payload).unwrap();
    bytes[at + payload.len() - 2] ^= 1;
    opened.put_run(run.header().first_index, bytes);
    record.index.get()
}

/// A run is gone.
fn delete(opened: &Opened) -> u64 {
    let run = a_run(&opened.runs(), 1);
    opened.delete_run(run.header().first_index);
    run.header().first_index.get()
}

/// Two events of one stream change places, with the sequences that fit.
fn reorder(opened: &Opened) -> u64 {
    let run = a_run(&opened.runs(), 5);
    let changed = rewritten(&run, |records| {
        let (left, right) = (records[1].frame.clone(), records[2].frame.clone());
        records[1].frame = right;
        records[2].frame = left;
    });
    opened.put_run(run.header().first_index, changed.bytes);
    // Every signature and hash holds by itself; the stored tile says which leaf is not the one that was.
    run.header().first_index.get() + 1
}

/// The newest run is gone.
fn truncate(opened: &Opened) -> u64 {
    let runs = opened.runs();
    let last = runs.last().unwrap();
    opened.delete_run(last.header().first_index);
    last.header().first_index.get()
}

/// An event is there twice, the second time with the next sequence.
fn duplicate(opened: &Opened) -> u64 {
    let runs = opened.runs();
    let run = runs.last().unwrap();
    let changed = rewritten(run, |records| {
        let mut again = records.last().unwrap().clone();
        again.sequence = Sequence::new(again.sequence.get() + 1);
        records.push(again);
    });
    opened.put_run(run.header().first_index, changed.bytes);
    run.header().next_index().get()
}

#[test]
fn a_wrong_index_row_a_wrong_tile_and_a_wrong_fence_are_found() {
    let good = home_with_log();
    let cases: [(&str, Change<()>); 4] = [
        ("event_id", |opened| change_row(opened, Family::EventIds)),
        ("position", |opened| change_row(opened, Family::Positions)),
        ("tile_damaged", |opened| change_tile(opened, |hashes, _| hashes[100 * 32] ^= 1)),
        ("tile_damaged", |opened| change_tile(opened, |_, row| row[7 * 32] ^= 1)),
    ];
    for (rule, change) in cases {
        let home = Home::new();
        copy_folder(&good.data(), &home.data());
        std::fs::copy(good.fence(), home.fence()).unwrap();
        change(&Opened::new(&home));
        assert_eq!(first_bad(&home).1, rule);
    }
    // Another ledger's fence.
    let other = home_with_log();
    let home = Home::new();
    copy_folder(&good.data(), &home.data());
    std::fs::copy(other.fence(), home.fence()).unwrap();
    assert_eq!(first_bad(&home).1, "fence_ledger");
}

fn change_tile(opened: &Opened, change: fn(&mut [u8; 8192], &mut [u8; 512])) {
    let store = TileStore::new(Arc::clone(&opened.0));
    let tile = store.get(0, 0).unwrap().unwrap();
    let mut hashes = tile.hashes().as_ref().try_into().unwrap();
    let mut row = tile.middle_row().unwrap().as_ref().try_into().unwrap();
    change(&mut hashes, &mut row);
    let mut batch = Batch::new();
    store.put(&mut batch, (0, 0), &hashes, &row);
    opened.0.write(batch, Durability::Synced).unwrap();
}

fn change_row(opened: &Opened, family: Family) {
    let range = ScanRange { family, from: Key::FIRST, to: None, reverse: false, limit: 1 };
    let row = opened.0.scan(&range).unwrap().remove(0);
    let mut batch = Batch::new();
    batch.put(family, Key::from_slice(&row.key).unwrap(), 77_777u64.to_be_bytes().to_vec());
    opened.0.write(batch, Durability::Synced).unwrap();
}

#[test]
fn a_log_without_its_derived_families_is_clean_and_a_directory_without_a_log_is_not() {
    let home = home_with_log();
    let before = home.fsck();
    clear_derived(Opened::new(&home).0.as_ref()).unwrap();
    let after = home.fsck();
    assert_eq!((&before["size"], &before["root"]), (&after["size"], &after["root"]));

    let empty = tempfile::tempdir().unwrap();
    let output = run(tally(&["fsck", empty.path().to_str().unwrap()]));
    assert_eq!(code(&output), 2, "{}", err(&output));
}

#[test]
fn fsck_refuses_a_directory_in_use_and_another_ledger_than_the_trusted_one() {
    let home = Home::new();
    let node = home.start();
    let data = home.data();
    let output = run(tally(&["fsck", data.to_str().unwrap(), "--json"]));
    assert_eq!(code(&output), 6, "{}", err(&output));
    assert!(json_lines(&output).is_empty());
    node.stop();
    let output = run(tally(&["fsck", data.to_str().unwrap(), "--ledger", &"ab".repeat(32)]));
    assert_eq!(code(&output), 3, "{}", err(&output));
    let id = home.profile().ledger_id.to_hex();
    let output = run(tally(&["fsck", data.to_str().unwrap(), "--ledger", &id]));
    assert_eq!(code(&output), 0, "{}", err(&output));
}
