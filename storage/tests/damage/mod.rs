//! Numbered batches over three families, and copies of a database as a crash would leave it.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs;
use std::path::{Path, PathBuf};

use tally_storage::contract::sample::{Dice, key};
use tally_storage::{Batch, Durability, Engine, Family, StorageError};

/// A batch's families.
pub(crate) const FAMILIES: [Family; 3] = [Family::Runs, Family::Positions, Family::Meta];

/// The value of batch `number` in `family`: 0 to 40 KB, once in a while 400 KB.
pub(crate) fn value(number: u64, family: Family) -> Vec<u8> {
    let mut dice = Dice::new(number * 31 + family.slot() as u64 + 1);
    let bytes = if number % 16 == 7 { 400_000 } else { dice.below(40_000) };
    (0..bytes).map(|_| dice.below(256) as u8).collect()
}

/// Writes batch `number`.
pub(crate) fn write(engine: &dyn Engine, number: u64, durability: Durability) -> Result<(), StorageError> {
    let mut batch = Batch::new();
    for family in FAMILIES {
        batch.put(family, key(number), value(number, family));
    }
    engine.write(batch, durability)
}

/// How many batches there are, from 0 without gap. Each is there as a whole, or the test fails.
pub(crate) fn whole_batches(engine: &dyn Engine) -> u64 {
    for number in 0.. {
        let found = FAMILIES.map(|family| engine.get(family, &key(number)).expect("reads"));
        if found.iter().all(Option::is_none) {
            let behind =
                (number..number + 50).any(|number| engine.get(Family::Runs, &key(number)).expect("reads").is_some());
            assert!(!behind, "a gap at batch {number}");
            return number;
        }
        for (family, found) in FAMILIES.into_iter().zip(found) {
            let found = found.unwrap_or_else(|| panic!("batch {number} came apart"));
            assert!(found == value(number, family), "batch {number} changed in {}", family.name());
        }
    }
    unreachable!()
}

/// The write-ahead files of a database, oldest first.
pub(crate) fn wal_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = of_kind(directory, "log");
    files.sort();
    files
}

/// The files of a database with this extension.
pub(crate) fn of_kind(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("lists").map(|entry| entry.expect("lists").path());
    entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

/// Copies a database's files, whoever has them open.
pub(crate) fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).expect("creates");
    for entry in fs::read_dir(from).expect("lists") {
        let entry = entry.expect("lists");
        // The folder of obsolete logs is no part of it.
        if entry.file_type().expect("has a type").is_dir() {
            continue;
        }
        fs::copy(entry.path(), to.join(entry.file_name())).expect("copies");
    }
}

/// Shortens a file.
pub(crate) fn truncate(file: &Path, length: u64) {
    fs::OpenOptions::new().write(true).open(file).expect("opens").set_len(length).expect("truncates");
}

/// Flips one bit of a file.
pub(crate) fn flip(file: &Path, bit: u64) {
    let mut bytes = fs::read(file).expect("reads");
    bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
    fs::write(file, bytes).expect("writes");
}

/// The length of a file.
pub(crate) fn length(file: &Path) -> u64 {
    fs::metadata(file).expect("is there").len()
}
