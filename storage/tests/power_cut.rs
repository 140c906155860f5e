//! What RocksDB's directory holds after crashes and damage, on real files.
//!
//! A copy of the directory of an open engine is what a process crash leaves: everything written is in the system's
//! hands. Shortening the newest write-ahead file of such a copy is a system crash that lost unsynced bytes.

mod damage;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use damage::{copy, flip, length, of_kind, truncate, wal_files, whole_batches, write};
use tally_storage::contract::sample::{Dice, key};
use tally_storage::{Batch, Durability, Engine, Family, RocksConfig, StorageError, open_rocks, open_rocks_read_only};

const CHILD: &str = "TALLY_STORAGE_CRASH_CHILD";

fn open(path: &Path) -> Result<Arc<dyn Engine>, StorageError> {
    open_rocks(path, &RocksConfig::SMALL)
}

/// Not a test by itself: in the child process it writes until it is killed, and says which batches are synced.
#[test]
fn child_writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let engine = open(Path::new(&path)).expect("opens");
    for number in whole_batches(&*engine).. {
        let durability = if number % 5 == 3 { Durability::Buffered } else { Durability::Synced };
        write(&*engine, number, durability).expect("writes");
        if durability == Durability::Synced {
            println!("ack {number}");
        }
    }
}

fn spawn(path: &Path) -> Child {
    Command::new(std::env::current_exe().expect("is known"))
        .args(["child_writes_until_it_is_killed", "--exact", "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts")
}

/// The number of an acknowledged batch; lines of the test harness are none.
fn acknowledged(line: &str) -> Option<u64> {
    line.strip_prefix("ack ")?.parse().ok()
}

#[test]
fn every_acknowledged_batch_survives_sigkill_and_no_batch_comes_apart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let mut dice = Dice::new(0x0000_7a11_1e57);
    let mut written = 0;
    for round in 0..12 {
        let mut child = spawn(&path);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut last = loop {
            // Killed at the earliest after its first acknowledgement.
            let line = lines.next().expect("the child lives").unwrap();
            if let Some(number) = acknowledged(&line) {
                break number;
            }
        };
        std::thread::sleep(Duration::from_micros(dice.below(120_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines {
            last = acknowledged(&line.unwrap()).unwrap_or(last);
        }
        // Read without changing it, then opened for good.
        let seen = whole_batches(&*open_rocks_read_only(&path, &RocksConfig::SMALL).unwrap());
        let engine = open(&path).unwrap();
        let found = whole_batches(&*engine);
        assert_eq!(found, seen, "round {round}: reading only sees something else");
        assert!(found > last, "round {round}: batch {last} was acknowledged, {found} are there");
        assert!(found > written, "round {round}: nothing was written");
        written = found;
        if round % 4 == 3 {
            engine.flush().unwrap();
        }
    }
}

#[test]
fn a_running_process_keeps_others_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let mut child = spawn(&path);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while acknowledged(&lines.next().expect("the child lives").unwrap()).is_none() {}
    assert_eq!(open(&path).err(), Some(StorageError::InUse(path.clone())));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(whole_batches(&*open(&path).unwrap()) > 0);
}

/// A database with `synced` acknowledged batches and one more that is only buffered, as a process crash leaves it;
/// with the length of the write-ahead file before the last.
fn crashed(at: &Path, synced: u64) -> u64 {
    let path = at.with_extension("open");
    let engine = open(&path).expect("opens");
    for number in 0..synced {
        write(&*engine, number, Durability::Synced).expect("writes");
    }
    let acknowledged = length(wal_files(&path).last().expect("is there"));
    write(&*engine, synced, Durability::Buffered).expect("writes");
    copy(&path, at);
    assert_eq!(wal_files(at).len(), 1);
    acknowledged
}

#[test]
fn a_tail_torn_anywhere_behind_the_last_acknowledged_batch_is_cut_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let (crash, torn) = (directory.path().join("crash"), directory.path().join("torn"));
    // The eighth is a large one: its record crosses many blocks.
    let acknowledged = crashed(&crash, 7);
    let whole = length(&wal_files(&crash)[0]);
    let mut dice = Dice::new(3);
    let mut cuts: Vec<u64> = (0..20).map(|_| acknowledged + 1 + dice.below(whole - acknowledged - 1)).collect();
    cuts.extend([acknowledged, acknowledged + 1, acknowledged + 8, whole - 1, whole]);
    for cut in cuts {
        copy(&crash, &torn);
        truncate(&wal_files(&torn)[0], cut);
        let before = std::fs::read(&wal_files(&torn)[0]).unwrap();
        let expected = if cut == whole { 8 } else { 7 };
        {
            let reading = open_rocks_read_only(&torn, &RocksConfig::SMALL).unwrap();
            assert_eq!(whole_batches(&*reading), expected, "cut to {cut} of {whole}, reading only");
            assert!(std::fs::read(&wal_files(&torn)[0]).unwrap() == before, "reading only has changed the file");
        }
        let engine = open(&torn).unwrap();
        assert_eq!(whole_batches(&*engine), expected, "cut to {cut} of {whole}");
        let torn_bytes = engine.stats().torn_tail_bytes;
        assert!(cut == whole || (torn_bytes <= cut - acknowledged && torn_bytes + 7 > cut - acknowledged));
        // And it goes on from there, through another start.
        write(&*engine, expected, Durability::Synced).unwrap();
        drop(engine);
        let engine = open(&torn).unwrap();
        assert_eq!((whole_batches(&*engine), engine.stats().torn_tail_bytes), (expected + 1, 0));
    }
}

#[test]
fn a_bit_flipped_in_the_write_ahead_log_is_refused_and_nothing_is_changed() {
    let directory = tempfile::tempdir().unwrap();
    let (crash, damaged) = (directory.path().join("crash"), directory.path().join("damaged"));
    let acknowledged = crashed(&crash, 6);
    copy(&crash, &damaged);
    truncate(&wal_files(&damaged)[0], acknowledged);
    copy(&damaged, &crash);
    let mut dice = Dice::new(11);
    for round in 0..60 {
        copy(&crash, &damaged);
        let wal = wal_files(&damaged).remove(0);
        // Anywhere, and again and again in the last record, where damage looks most like a torn tail.
        let bytes = if round % 2 == 0 { dice.below(acknowledged) } else { acknowledged - 1 - dice.below(500) };
        flip(&wal, bytes * 8 + dice.below(8));
        let before = std::fs::read(&wal).unwrap();
        let in_padding = before[bytes as usize] != 0 && (32_768 - bytes % 32_768) < 7;
        let refused = |result: Result<Arc<dyn Engine>, StorageError>| match result {
            Err(StorageError::WalDamaged { file, .. }) => assert_eq!(file, wal),
            Ok(engine) if in_padding => assert_eq!(whole_batches(&*engine), 6),
            Ok(_) => panic!("opened with byte {bytes} of {acknowledged} changed"),
            Err(other) => panic!("{other}"),
        };
        refused(open_rocks_read_only(&damaged, &RocksConfig::SMALL));
        refused(open(&damaged));
        assert!(in_padding || std::fs::read(&wal).unwrap() == before, "a refused file was changed");
    }
    assert_eq!(whole_batches(&*open(&crash).unwrap()), 6);
}

#[test]
fn a_shortened_or_missing_older_write_ahead_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (path, damaged) = (directory.path().join("db"), directory.path().join("damaged"));
    let engine = open(&path).unwrap();
    // A row that is not flushed keeps the first file; full write buffers of another family begin the next ones.
    write(&*engine, 0, Durability::Synced).unwrap();
    let short = length(&wal_files(&path)[0]);
    for number in 0..40 {
        let mut batch = Batch::new();
        batch.put(Family::Tiles, key(number), vec![number as u8; 100_000]);
        engine.write(batch, Durability::Synced).unwrap();
    }
    let files = wal_files(&path);
    assert!(files.len() >= 2, "{files:?}");
    copy(&path, &damaged);
    assert_eq!(whole_batches(&*open(&damaged).unwrap()), 1);

    copy(&path, &damaged);
    truncate(&wal_files(&damaged)[0], short);
    assert!(matches!(open(&damaged), Err(StorageError::Corrupt(_))), "whole records were lost");
    copy(&path, &damaged);
    truncate(&wal_files(&damaged)[0], short + 1);
    assert!(matches!(open(&damaged), Err(StorageError::WalDamaged { .. })), "a tear before later content");
    copy(&path, &damaged);
    std::fs::remove_file(&wal_files(&damaged)[0]).unwrap();
    assert!(matches!(open(&damaged), Err(StorageError::Corrupt(_))), "a file is missing");
}

#[test]
fn a_bit_flipped_in_a_table_file_is_an_error_and_never_another_value() {
    let directory = tempfile::tempdir().unwrap();
    let (path, damaged) = (directory.path().join("db"), directory.path().join("damaged"));
    let engine = open(&path).unwrap();
    for number in 0..20 {
        write(&*engine, number, Durability::Buffered).unwrap();
    }
    engine.flush().unwrap();
    drop(engine);
    let mut dice = Dice::new(5);
    let mut noticed = 0;
    for _ in 0..25 {
        copy(&path, &damaged);
        let tables = of_kind(&damaged, "sst");
        let table = &tables[dice.below(tables.len() as u64) as usize];
        flip(table, dice.below(length(table) * 8));
        let read = |engine: Arc<dyn Engine>| -> Result<(), StorageError> {
            for number in 0..20 {
                for family in damage::FAMILIES {
                    if let Some(found) = engine.get(family, &key(number))? {
                        assert!(found == damage::value(number, family), "another value was read");
                    }
                }
            }
            Ok(())
        };
        match open(&damaged).and_then(read) {
            Ok(()) => {}
            Err(StorageError::Corrupt(_)) => noticed += 1,
            Err(other) => panic!("{other}"),
        }
    }
    // What is left over: statistics nobody reads, unused bits of a filter.
    assert!(noticed >= 15, "{noticed} of 25 were noticed");
}
