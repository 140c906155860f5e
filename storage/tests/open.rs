//! When RocksDB is opened, and when it refuses: locks, formats, bounds, a full disk.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod damage;

use std::path::Path;
use std::process::Command;

use damage::{whole_batches, write};
use tally_storage::contract::sample::key;
use tally_storage::keys::{Key, MetaKey};
use tally_storage::{
    Batch, Durability, ErrorClass, FORMAT_VERSION, Family, RocksConfig, ScanRange, StorageError, open_rocks,
    open_rocks_read_only,
};

const SMALL: RocksConfig = RocksConfig::SMALL;

#[test]
fn a_second_writer_is_kept_out_and_a_reader_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open_rocks(directory.path(), &SMALL).unwrap();
    write(&*engine, 0, Durability::Synced).unwrap();
    let refused = open_rocks(directory.path(), &SMALL).err().unwrap();
    assert_eq!(refused, StorageError::InUse(directory.path().to_owned()));
    assert_eq!(refused.class(), ErrorClass::Retry);

    let reader = open_rocks_read_only(directory.path(), &SMALL).unwrap();
    assert_eq!(whole_batches(&*reader), 1);
    assert_eq!(write(&*reader, 1, Durability::Buffered), Err(StorageError::ReadOnly));
    assert_eq!(reader.flush(), Err(StorageError::ReadOnly));
    write(&*engine, 1, Durability::Synced).unwrap();
    assert_eq!(whole_batches(&*reader), 1, "a reader sees the moment it was opened");
    drop(engine);
    assert_eq!(whole_batches(&*open_rocks(directory.path(), &SMALL).unwrap()), 2);
}

#[test]
fn a_database_is_created_only_if_wanted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a/b/db");
    let existing = RocksConfig { create: false, ..SMALL };
    assert_eq!(open_rocks(&path, &existing).err(), Some(StorageError::Missing(path.clone())));
    assert_eq!(open_rocks_read_only(&path, &SMALL).err(), Some(StorageError::Missing(path.clone())));
    assert!(!path.exists(), "refusing creates nothing");
    drop(open_rocks(&path, &SMALL).unwrap());
    drop(open_rocks(&path, &existing).unwrap());
}

#[test]
fn an_unknown_format_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("version");
    let engine = open_rocks(&path, &SMALL).unwrap();
    let stored = engine.get(Family::Meta, &MetaKey::Format.encode()).unwrap();
    assert_eq!(stored.as_deref(), Some(&FORMAT_VERSION.to_be_bytes()[..]));
    let mut batch = Batch::new();
    batch.put(Family::Meta, MetaKey::Format.encode(), (FORMAT_VERSION + 1).to_be_bytes().to_vec());
    engine.write(batch, Durability::Synced).unwrap();
    drop(engine);
    for refused in [open_rocks(&path, &SMALL), open_rocks_read_only(&path, &SMALL)] {
        let found = (FORMAT_VERSION + 1).to_string();
        assert_eq!(refused.err(), Some(StorageError::UnknownFormat { found, known: FORMAT_VERSION }));
    }

    // A family of a later version.
    let path = directory.path().join("family");
    drop(open_rocks(&path, &SMALL).unwrap());
    let mut options = rocksdb::Options::default();
    options.create_missing_column_families(true);
    let mut families: Vec<&str> = Family::ALL.map(Family::name).into();
    families.push("of_a_later_version");
    drop(rocksdb::DB::open_cf(&options, &path, families).unwrap());
    assert!(matches!(open_rocks(&path, &SMALL), Err(StorageError::UnknownFormat { .. })));
}

/// A directory as it was before the families of followers: the same rows, fewer families.
fn older_directory(path: &Path) {
    let engine = open_rocks(path, &SMALL).unwrap();
    write(&*engine, 0, Durability::Synced).unwrap();
    drop(engine);
    let names = Family::ALL.map(Family::name);
    let mut db = rocksdb::DB::open_cf(&rocksdb::Options::default(), path, names).unwrap();
    for family in Family::ALL.into_iter().filter(|family| family.slot() > Family::Meta.slot()) {
        db.drop_cf(family.name()).unwrap();
    }
}

#[test]
fn a_directory_without_the_families_that_were_added_is_read_and_gets_them() {
    let directory = tempfile::tempdir().unwrap();
    older_directory(directory.path());
    let families = || rocksdb::DB::list_cf(&rocksdb::Options::default(), directory.path()).unwrap().len();
    let before = families();
    {
        let reader = open_rocks_read_only(directory.path(), &SMALL).unwrap();
        assert_eq!(whole_batches(&*reader), 1);
        let all = ScanRange { family: Family::Outcomes, from: Key::FIRST, to: None, reverse: false, limit: 9 };
        assert!(reader.scan(&all).unwrap().is_empty());
        assert_eq!(reader.get(Family::Cuts, &key(1)).unwrap(), None);
        assert_eq!(reader.multi_get(Family::PluginState, &[key(1), key(2)]).unwrap(), [None, None]);
        assert_eq!(families(), before, "reading only creates nothing");
    }
    let engine = open_rocks(directory.path(), &SMALL).unwrap();
    assert_eq!(whole_batches(&*engine), 1);
    let mut batch = Batch::new();
    batch.put(Family::Outcomes, key(1), "added");
    engine.write(batch, Durability::Synced).unwrap();
    drop(engine);
    let engine = open_rocks(directory.path(), &SMALL).unwrap();
    assert_eq!(engine.get(Family::Outcomes, &key(1)).unwrap().as_deref(), Some(&b"added"[..]));
    assert_eq!(families(), before + 9);
}

#[test]
fn bounds_that_contradict_each_other_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    for config in [
        RocksConfig { write_buffer_bytes: 1 << 20, ..SMALL },
        RocksConfig { block_cache_bytes: 0, ..SMALL },
        RocksConfig { open_files_max: -1, ..SMALL },
        RocksConfig { background_jobs: 1, ..SMALL },
        RocksConfig { wal_bytes_max: 0, ..SMALL },
    ] {
        assert!(matches!(open_rocks(directory.path(), &config), Err(StorageError::Config(_))));
    }
    RocksConfig::STANDARD.check().unwrap();
    let RocksConfig { write_buffer_bytes, block_cache_bytes, .. } = RocksConfig::STANDARD;
    assert!(write_buffer_bytes + block_cache_bytes <= 256 << 20);
}

#[test]
fn memory_and_write_ahead_log_stay_within_their_bounds() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open_rocks(directory.path(), &SMALL).unwrap();
    let mut worst = 0;
    for number in 0..400u64 {
        let mut batch = Batch::new();
        batch.put(Family::Runs, key(number), vec![number as u8; 300_000]);
        for row in 0..200 {
            batch.put(Family::EventIds, key(number << 32 | row), vec![0; 8]);
        }
        engine.write(batch, Durability::Buffered).unwrap();
        let memory: u64 = engine.stats().families.iter().map(|family| family.memory_bytes).sum();
        worst = worst.max(memory);
        let logs: u64 = damage::wal_files(directory.path())
            .iter()
            .filter_map(|file| file.metadata().ok())
            .map(|file| file.len())
            .sum();
        // The bound, one write buffer more, and files on their way to be deleted.
        assert!(logs <= 3 * SMALL.wal_bytes_max, "{logs} bytes of write-ahead log");
    }
    assert!(worst as usize <= SMALL.write_buffer_bytes + (8 << 20), "{worst} bytes of write buffers");
    assert_eq!(engine.stats().background_errors, 0);
}

/// Not a test by itself: in the child, on a file system of 24 MiB, it writes until the disk is full.
#[test]
fn child_fills_a_small_disk() {
    let Some(path) = std::env::var_os("TALLY_STORAGE_FULL_CHILD") else { return };
    let path = Path::new(&path).join("db");
    let engine = open_rocks(&path, &SMALL).unwrap();
    let mut acknowledged = 0;
    let failure = loop {
        match write(&*engine, acknowledged, Durability::Synced) {
            Ok(()) => acknowledged += 1,
            Err(failure) => break failure,
        }
    };
    assert!(matches!(failure, StorageError::NoSpace(_)), "{failure}");
    assert_eq!(failure.class(), ErrorClass::Fatal);
    assert!(matches!(write(&*engine, acknowledged, Durability::Buffered), Err(StorageError::Poisoned(_))));
    assert!(matches!(engine.flush(), Err(StorageError::Poisoned(_))));
    assert!(whole_batches(&*engine) >= acknowledged, "readers go on");
    drop(engine);
    let reader = open_rocks_read_only(&path, &SMALL).unwrap();
    assert!(whole_batches(&*reader) >= acknowledged);
    println!("full after {acknowledged}");
}

#[test]
fn a_full_disk_is_told_as_such_and_poisons() {
    let directory = tempfile::tempdir().unwrap();
    let mount = directory.path().join("small");
    std::fs::create_dir(&mount).unwrap();
    let script = r#"mount -t tmpfs -o size=24m tmpfs "$1" || exit 77
        TALLY_STORAGE_FULL_CHILD="$1" exec "$2" child_fills_a_small_disk --exact --nocapture"#;
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(&mount)
        .arg(std::env::current_exe().unwrap())
        .output();
    let Ok(output) = output else {
        println!("not run: there is no unshare on this machine");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.code() == Some(77) || String::from_utf8_lossy(&output.stderr).contains("unshare") {
        println!("not run: this machine does not let a test mount a small disk");
        return;
    }
    assert!(
        output.status.success() && text.contains("full after"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
