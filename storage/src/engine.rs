//! RocksDB: opens, tunes, and carries out what [`Engine`] asks. The only file that names the crate.
//!
//! Takes a directory and bounds, gives an [`Engine`]. Opening locks the directory, has [`crate::wal`] cut a torn tail
//! (nothing else is ever cut), refuses unknown formats, and leaves RocksDB in its strictest recovery mode. A failed
//! write poisons the engine. What a returned write means is in the crate's head.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use rocksdb::statistics::{StatsLevel, Ticker};
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType,
    DBRawIterator, DBRecoveryMode, Error, ErrorKind, FlushOptions, IngestExternalFileOptions, LogLevel,
    LruCacheOptions, Options, ReadOptions, SstFileWriter, WriteBatch, WriteOptions, properties,
};

use crate::background;
use crate::batch::{Batch, Change, Durability, Engine, EngineStats, FamilyStats, Op, Row, ScanRange};
use crate::config::RocksConfig;
use crate::error::StorageError;
use crate::failpoint::fail_point;
use crate::family::Family;
use crate::keys::{KEY_BYTES_MAX, Key};
use crate::meta::{FORMAT_VERSION, MetaStore};
use crate::old_logs::OldLogs;
use crate::wal;

/// Held locked while a process has the directory open: unlike RocksDB's own lock it can be taken before RocksDB reads
/// anything, so that no torn tail is cut under a running writer.
const LOCK_FILE: &str = "tally.lock";
/// The lock is tried for a second: a child process that is just being started holds it too, between fork and exec,
/// and a process that was killed holds it until the system has cleared it away.
const LOCK_TRIES_MAX: u32 = 40;
const LOCK_TRY_EVERY: Duration = Duration::from_millis(25);
/// RocksDB's own family, which cannot be left out. Nothing is in it.
const DEFAULT_FAMILY: &str = "default";
/// What files are named while they are written to be loaded in bulk, in the database's directory.
const LOADING: &str = "loading-";
/// After so long RocksDB itself deletes what [`OldLogs`] could not.
const OLD_LOGS_SECONDS: u64 = 86_400;
/// Of a table file that is being written.
const BYTES_PER_SYNC: u64 = 1 << 20;
/// Of a table file of rows that replace others, before the next one begins: deleting a file holds up every sync the longer
/// the larger it is (docs/benchmarks/tail.md), and these become obsolete all the time.
const REPLACED_FILE_BYTES: usize = 8 << 20;
/// What the families' shares of the write buffers add up to ([`buffers`]).
const SHARES: usize = 104;

/// Opens a database for reading and writing; creates it if the configuration says so.
///
/// # Errors
/// [`StorageError::InUse`], [`StorageError::Missing`], [`StorageError::WalDamaged`], [`StorageError::UnknownFormat`],
/// [`StorageError::Config`], [`StorageError::NoSpace`]; anything else the file system or RocksDB reports.
pub fn open_rocks(path: &Path, config: &RocksConfig) -> Result<Arc<dyn Engine>, StorageError> {
    config.check()?;
    if config.create {
        create_directory(path)?;
    } else if !has_database(path) {
        return Err(StorageError::Missing(path.to_owned()));
    }
    let lock = lock_directory(path)?;
    let torn = wal::inspect(path)?;
    if let Some(torn) = &torn {
        torn.cut()?;
    }
    check_families(path)?;
    let cache = cache(config);
    let options = options(config, DBRecoveryMode::AbsoluteConsistency);
    let db = DB::open_cf_descriptors(&options, path, descriptors(config, &cache))
        .map_err(|error| open_failed(path, &error))?;
    remove_unloaded(path)?;
    let old_logs = OldLogs::sweep(path).map_err(|error| io_failed("start deleting old logs of", path, &error))?;
    let writer = Writer { _old_logs: old_logs, _lock: lock, path: path.to_owned(), loaded: AtomicU64::new(0) };
    let engine = Arc::new(Rocks::new((db, options), cache, *config, Some(writer), torn.map_or(0, |torn| torn.bytes)));
    MetaStore::new(engine.clone()).check_format(true)?;
    Ok(engine)
}

/// Opens a database for reading only: changes nothing, needs no lock, and sees what was there when it was opened.
/// Writes are [`StorageError::ReadOnly`]. A torn tail is passed over instead of cut.
///
/// # Errors
/// As [`open_rocks`]; a database that is being written meanwhile may fail to open.
pub fn open_rocks_read_only(path: &Path, config: &RocksConfig) -> Result<Arc<dyn Engine>, StorageError> {
    config.check()?;
    if !has_database(path) {
        return Err(StorageError::Missing(path.to_owned()));
    }
    let torn = wal::inspect(path)?;
    check_families(path)?;
    let cache = cache(config);
    let mode = match torn {
        None => DBRecoveryMode::AbsoluteConsistency,
        // Stops at the tear, which is known to be where nothing whole follows.
        Some(_) => DBRecoveryMode::PointInTime,
    };
    let options = options(config, mode);
    let found = DB::list_cf(&Options::default(), path).map_err(|error| open_failed(path, &error))?;
    // A directory from before a family was added: nothing is created here, it is read as if it were empty.
    let mut families = descriptors(config, &cache);
    families.retain(|family| found.iter().any(|name| name == family.name()));
    let db = DB::open_cf_descriptors_read_only(&options, path, families, false)
        .map_err(|error| open_failed(path, &error))?;
    let engine = Arc::new(Rocks::new((db, options), cache, *config, None, 0));
    MetaStore::new(engine.clone()).check_format(false)?;
    Ok(engine)
}

fn has_database(path: &Path) -> bool {
    path.join("CURRENT").exists()
}

/// Makes the directory and what leads to it, and syncs each new name: a database whose directory a crash forgets is
/// lost with everything acknowledged from it.
fn create_directory(path: &Path) -> Result<(), StorageError> {
    let create = || {
        let missing: Vec<PathBuf> = path.ancestors().take_while(|at| !at.exists()).map(Path::to_owned).collect();
        fs::create_dir_all(path)?;
        for made in missing {
            let parent = made.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(parent)?.sync_all()?;
        }
        Ok(())
    };
    create().map_err(|error: io::Error| io_failed("create the database directory", path, &error))
}

/// Removes the files that a crash kept from being loaded: they were never part of the database.
fn remove_unloaded(path: &Path) -> Result<(), StorageError> {
    let remove = || {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(LOADING) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    };
    remove().map_err(|error: io::Error| io_failed("remove unfinished bulk files", path, &error))
}

fn lock_directory(path: &Path) -> Result<File, StorageError> {
    let at = path.join(LOCK_FILE);
    let file = File::options().create(true).write(true).truncate(false).open(&at);
    let file = file.map_err(|error| io_failed("open the lock file", &at, &error))?;
    let mut tries = 1;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if tries == LOCK_TRIES_MAX => {
                return Err(StorageError::InUse(path.to_owned()));
            }
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_TRY_EVERY),
            Err(TryLockError::Error(error)) => return Err(io_failed("lock the database directory", &at, &error)),
        }
        tries += 1;
    }
}

/// A family this code does not know belongs to a newer layout.
fn check_families(path: &Path) -> Result<(), StorageError> {
    if !has_database(path) {
        return Ok(());
    }
    let found = DB::list_cf(&Options::default(), path).map_err(|error| open_failed(path, &error))?;
    let known = |name: &String| name == DEFAULT_FAMILY || Family::ALL.iter().any(|family| family.name() == name);
    match found.into_iter().find(|name| !known(name)) {
        None => Ok(()),
        Some(name) => {
            Err(StorageError::UnknownFormat { found: format!("with a family {name:?}"), known: FORMAT_VERSION })
        }
    }
}

fn cache(config: &RocksConfig) -> Cache {
    let mut options = LruCacheOptions::default();
    options.set_capacity(config.block_cache_bytes);
    // Four parts: a part must hold the block of the longest run.
    options.set_num_shard_bits(2);
    Cache::new_lru_cache_opts(&options)
}

fn options(config: &RocksConfig, mode: DBRecoveryMode) -> Options {
    let mut options = Options::default();
    options.create_if_missing(config.create);
    options.create_missing_column_families(true);
    options.set_wal_recovery_mode(mode);
    options.set_track_and_verify_wals_in_manifest(true);
    // A recycled file has old records behind the new ones; then no tail could be told from damage.
    options.set_recycle_log_file_num(0);
    options.set_max_total_wal_size(config.wal_bytes_max);
    // Obsolete logs are moved aside; `old_logs` deletes them gently, long before this time.
    options.set_wal_ttl_seconds(OLD_LOGS_SECONDS);
    options.set_max_open_files(config.open_files_max);
    options.set_max_background_jobs(config.background_jobs);
    // Table files reach the disk as they are written, so that their sync does not hold up the log's.
    options.set_bytes_per_sync(BYTES_PER_SYNC);
    // Obsolete files are deleted by background threads, not by a writer or reader.
    options.set_avoid_unnecessary_blocking_io(true);
    options.set_log_level(LogLevel::Warn);
    options.set_max_log_file_size(4 << 20);
    options.set_keep_log_file_num(4);
    // Counters only: no histogram, no clock.
    options.enable_statistics();
    options.set_statistics_level(StatsLevel::ExceptHistogramOrTimers);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options
}

fn descriptors(config: &RocksConfig, cache: &Cache) -> Vec<ColumnFamilyDescriptor> {
    let families = Family::ALL.into_iter();
    let mut all: Vec<_> = families
        .map(|family| ColumnFamilyDescriptor::new(family.name(), family_options(family, config, cache)))
        .collect();
    let mut unused = Options::default();
    unused.set_write_buffer_size(64 << 10);
    all.push(ColumnFamilyDescriptor::new(DEFAULT_FAMILY, unused));
    all
}

/// A family's write buffers: share of one in [`SHARES`], and how many. Writes wait when all are full, so their product
/// over all families is a hard bound.
const fn buffers(family: Family) -> (usize, i32) {
    match family {
        Family::Runs => (16, 3),
        Family::Tiles | Family::Positions => (4, 2),
        Family::PluginState | Family::StatePages | Family::Outcomes => (2, 2),
        // Loaded in bulk, past the write buffers.
        Family::EventIds
        | Family::Entities
        | Family::Streams
        | Family::Control
        | Family::Checkpoints
        | Family::Commitments
        | Family::Credentials
        | Family::Meta
        | Family::OutcomeTiles
        | Family::OutcomeCheckpoints
        | Family::Cuts
        | Family::Outbox
        | Family::Dispatches
        | Family::Modules => (1, 2),
    }
}

fn family_options(family: Family, config: &RocksConfig, cache: &Cache) -> Options {
    let mut options = Options::default();
    let (share, count) = buffers(family);
    options.set_write_buffer_size(config.write_buffer_bytes / SHARES * share);
    options.set_max_write_buffer_number(count);
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    options.set_compression_type(match family {
        // Frames are mostly text; everything else that is large is hashes.
        Family::Runs if config.compress_runs => DBCompressionType::Lz4,
        Family::Checkpoints | Family::Commitments | Family::Positions => DBCompressionType::Lz4,
        // What plugins made is mostly text too, and an outcome repeats the hashes of the one before it.
        Family::Outcomes | Family::OutcomeCheckpoints | Family::PluginState | Family::Outbox | Family::Modules => {
            DBCompressionType::Lz4
        }
        _ => DBCompressionType::None,
    });
    match family {
        Family::Runs => {
            // A run is a block of its own. Keys only grow, so files are moved down the levels, never rewritten; they
            // must not be rewritten for their age either.
            table.set_block_size(64 << 10);
            options.set_ttl(0);
            options.set_periodic_compaction_seconds(0);
        }
        Family::EventIds | Family::Entities => {
            // Files of pages that are each read by their key and dropped as a whole: nothing for a compaction to do. The
            // index of a large file is cut, so that a question reads a block of it and not all.
            options.set_disable_auto_compactions(true);
            options.set_ttl(0);
            options.set_periodic_compaction_seconds(0);
            table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
            table.set_metadata_block_size(4 << 10);
            table.set_pin_top_level_index_and_filter(true);
        }
        Family::StatePages => {
            table.set_bloom_filter(10.0, false);
            options.set_target_file_size_base(REPLACED_FILE_BYTES as u64);
            // Files that come at once do not overlap, so many of them are few to look into: they are merged when there are
            // several times as many as pages are gathered in memory, and hold up no writer of another family.
            options.set_level_zero_file_num_compaction_trigger(64);
            options.set_level_zero_slowdown_writes_trigger(1 << 10);
            options.set_level_zero_stop_writes_trigger(1 << 11);
        }
        Family::Tiles | Family::Credentials | Family::Commitments | Family::OutcomeTiles | Family::PluginState => {
            table.set_bloom_filter(10.0, false);
        }
        _ => {}
    }
    options.set_block_based_table_factory(&table);
    options
}

/// What only an engine that writes has.
struct Writer {
    _old_logs: OldLogs,
    /// Released after the database is closed.
    _lock: File,
    path: PathBuf,
    /// Names the files that are loaded.
    loaded: AtomicU64,
}

struct Rocks {
    db: DB,
    cache: Cache,
    config: RocksConfig,
    /// As the database was opened; its counters are read through it.
    options: Options,
    /// `None` if opened for reading only.
    writer: Option<Writer>,
    poison: OnceLock<String>,
    synced: AtomicU64,
    buffered: AtomicU64,
    written: AtomicU64,
    loaded: AtomicU64,
    torn_tail_bytes: u64,
}

impl Rocks {
    fn new(
        (db, options): (DB, Options),
        cache: Cache,
        config: RocksConfig,
        writer: Option<Writer>,
        torn_tail_bytes: u64,
    ) -> Self {
        Self {
            db,
            cache,
            config,
            options,
            writer,
            poison: OnceLock::new(),
            synced: AtomicU64::new(0),
            buffered: AtomicU64::new(0),
            written: AtomicU64::new(0),
            loaded: AtomicU64::new(0),
            torn_tail_bytes,
        }
    }

    fn family(&self, family: Family) -> Result<&ColumnFamily, StorageError> {
        let missing = || StorageError::Corrupt(format!("family {} is missing", family.name()));
        self.db.cf_handle(family.name()).ok_or_else(missing)
    }

    /// The family, if there is one to read: in a directory that is only read one that was added later may be missing.
    fn readable(&self, family: Family) -> Result<Option<&ColumnFamily>, StorageError> {
        match (self.db.cf_handle(family.name()), &self.writer) {
            (None, None) => Ok(None),
            _ => self.family(family).map(Some),
        }
    }

    /// Whether it may be written at all.
    fn writable(&self) -> Result<&Writer, StorageError> {
        match (&self.writer, self.poison.get()) {
            (None, _) => Err(StorageError::ReadOnly),
            (_, Some(reason)) => Err(StorageError::Poisoned(reason.clone())),
            (Some(writer), None) => Ok(writer),
        }
    }

    /// Writes a table file beside the database.
    fn table_file(&self, family: Family, path: &Path, rows: &[Change]) -> Result<(), Error> {
        let mut options = family_options(family, &self.config, &self.cache);
        options.set_bytes_per_sync(BYTES_PER_SYNC);
        let mut file = SstFileWriter::create(&options);
        file.open(path)?;
        for (key, value) in rows {
            background::breathe();
            match value {
                Some(value) => file.put(key, value)?,
                None => file.delete(key)?,
            }
        }
        file.finish()
    }

    /// Writes rows into table files beside the database.
    fn table_files(&self, family: Family, files: &[&[Change]]) -> Result<Vec<PathBuf>, StorageError> {
        let writer = self.writable()?;
        let mut paths = Vec::with_capacity(files.len());
        for rows in files {
            let number = writer.loaded.fetch_add(1, Ordering::Relaxed);
            let path = writer.path.join(format!("{LOADING}{number}"));
            self.table_file(family, &path, rows).map_err(|error| self.poison("write a bulk file", &error))?;
            paths.push(path);
        }
        Ok(paths)
    }

    /// Writes them on a thread that gives way to others. The link is then the caller's: every write waits for it.
    fn table_files_in_the_background(&self, family: Family, files: &[&[Change]]) -> Result<Vec<PathBuf>, StorageError> {
        let write = || {
            background::enter();
            self.table_files(family, files)
        };
        let failed = |message: String| StorageError::Io { doing: "write bulk files", message };
        thread::scope(|scope| {
            let thread = thread::Builder::new().name("tally-page-files".to_owned()).spawn_scoped(scope, write);
            let thread = thread.map_err(|error| failed(error.to_string()))?;
            thread.join().map_err(|_| failed("the thread that writes them panicked".to_owned()))?
        })
    }

    /// Makes table files part of the database, all of them at once.
    fn link(&self, family: Family, files: &[&[Change]], paths: Vec<PathBuf>) -> Result<(), StorageError> {
        // Linked into the database and synced there.
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        let ingested = self.db.ingest_external_file_cf_opts(self.family(family)?, &options, paths);
        ingested.map_err(|error| self.poison("load bulk files", &error))?;
        let bytes: usize = files.iter().copied().flatten().map(row_bytes).sum();
        self.loaded.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(())
    }

    fn poison(&self, doing: &'static str, error: &Error) -> StorageError {
        let failure = failed(doing, error);
        // The first failure is the one to tell.
        self.poison.get_or_init(|| failure.to_string());
        failure
    }

    fn rocks_batch(&self, batch: &Batch) -> Result<WriteBatch, StorageError> {
        let mut out = WriteBatch::with_capacity_bytes(batch.bytes() + batch.len() * 16 + 64);
        let mut ops: Vec<&Op> = batch.ops.iter().collect();
        // Neighbours in key order go into a write buffer for about two thirds of the CPU. The sort is stable, so changes
        // of one key keep their order; a cleared family's changes would not.
        if !batch.ops.iter().any(|op| matches!(op, Op::Clear { .. })) {
            ops.sort_by(|left, right| place(left).cmp(&place(right)));
        }
        for op in ops {
            match op {
                Op::Put { family, key, value } => out.put_cf(self.family(*family)?, key, value),
                Op::Delete { family, key } => out.delete_cf(self.family(*family)?, key),
                // Behind every key: longer than any, of the greatest bytes.
                Op::Clear { family } => {
                    out.delete_range_cf(self.family(*family)?, &[][..], &[u8::MAX; KEY_BYTES_MAX + 1][..]);
                }
            }
        }
        Ok(out)
    }

    fn number(&self, family: Family, name: &properties::PropName) -> u64 {
        let handle = self.db.cf_handle(family.name());
        handle.and_then(|handle| self.db.property_int_value_cf(handle, name).ok().flatten()).unwrap_or(0)
    }
}

impl Engine for Rocks {
    fn get(&self, family: Family, key: &Key) -> Result<Option<Bytes>, StorageError> {
        background::breathe();
        let Some(handle) = self.readable(family)? else { return Ok(None) };
        let value = self.db.get_cf(handle, key).map_err(|error| failed("read", &error))?;
        Ok(value.map(Bytes::from))
    }

    fn multi_get(&self, family: Family, keys: &[Key]) -> Result<Vec<Option<Bytes>>, StorageError> {
        background::breathe();
        let Some(handle) = self.readable(family)? else { return Ok(vec![None; keys.len()]) };
        let values = self.db.batched_multi_get_cf(handle, keys, false);
        let value = |value: Result<Option<_>, Error>| match value {
            Ok(value) => Ok(value.map(|value: rocksdb::DBPinnableSlice<'_>| Bytes::copy_from_slice(&value))),
            Err(error) => Err(failed("read", &error)),
        };
        values.into_iter().map(value).collect()
    }

    fn scan(&self, range: &ScanRange) -> Result<Vec<Row>, StorageError> {
        background::breathe();
        let Some(handle) = self.readable(range.family)? else { return Ok(Vec::new()) };
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(range.from.as_slice());
        if let Some(to) = &range.to {
            if to.as_slice() <= range.from.as_slice() {
                return Ok(Vec::new());
            }
            options.set_iterate_upper_bound(to.as_slice());
        }
        let mut rows = self.db.raw_iterator_cf_opt(handle, options);
        if range.reverse {
            rows.seek_to_last();
        } else {
            rows.seek_to_first();
        }
        read_rows(&mut rows, range)
    }

    fn write(&self, batch: Batch, durability: Durability) -> Result<(), StorageError> {
        self.writable()?;
        let rocks = self.rocks_batch(&batch)?;
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Synced);
        self.db.write_opt(rocks, &options).map_err(|error| self.poison("write", &error))?;
        let count = if durability == Durability::Synced { &self.synced } else { &self.buffered };
        count.fetch_add(1, Ordering::Relaxed);
        self.written.fetch_add(batch.bytes() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn load(&self, family: Family, rows: Vec<(Key, Bytes)>) -> Result<(), StorageError> {
        self.writable()?;
        if rows.is_empty() {
            return Ok(());
        }
        let rows: Vec<Change> = rows.into_iter().map(|(key, value)| (key, Some(value))).collect();
        // The rows are new, so no file has to make way.
        let files = [&rows[..]];
        self.link(family, &files, self.table_files(family, &files)?)
    }

    fn replace(&self, family: Family, rows: Vec<Change>) -> Result<(), StorageError> {
        self.writable()?;
        if rows.is_empty() {
            return Ok(());
        }
        let files = cut(&rows);
        let paths = self.table_files_in_the_background(family, &files)?;
        fail_point("replace.file_written");
        self.link(family, &files, paths)
    }

    fn drop_range(&self, family: Family, from: &Key, to: Option<&Key>) -> Result<(), StorageError> {
        self.writable()?;
        let end = to.map_or(&[u8::MAX; KEY_BYTES_MAX + 1][..], Key::as_slice);
        let dropped = self.db.delete_file_in_range_cf(self.family(family)?, from.as_slice(), end);
        dropped.map_err(|error| self.poison("drop files of", &error))?;
        // What shares a file with other rows, or is in a write buffer still.
        let range = ScanRange { family, from: from.clone(), to: to.cloned(), reverse: false, limit: 4096 };
        loop {
            let mut batch = Batch::new();
            for row in self.scan(&range)? {
                batch.delete(family, Key::of(&[&row.key]));
            }
            if batch.is_empty() {
                return Ok(());
            }
            self.write(batch, Durability::Buffered)?;
        }
    }

    fn flush(&self) -> Result<(), StorageError> {
        self.writable()?;
        self.db.flush_wal(true).map_err(|error| self.poison("sync the write-ahead log", &error))?;
        let mut families = Vec::with_capacity(Family::ALL.len());
        for family in Family::ALL {
            families.push(self.family(family)?);
        }
        let options = FlushOptions::default();
        self.db.flush_cfs_opt(&families, &options).map_err(|error| self.poison("flush write buffers", &error))
    }

    fn stats(&self) -> EngineStats {
        let families = Family::ALL.into_iter().map(|family| FamilyStats {
            family,
            keys: self.number(family, properties::ESTIMATE_NUM_KEYS),
            disk_bytes: self.number(family, properties::TOTAL_SST_FILES_SIZE),
            memory_bytes: self.number(family, properties::SIZE_ALL_MEM_TABLES),
        });
        let ticker = |ticker| self.options.get_ticker_count(ticker);
        let pending = properties::ESTIMATE_PENDING_COMPACTION_BYTES;
        EngineStats {
            families: families.collect(),
            synced_writes: self.synced.load(Ordering::Relaxed),
            buffered_writes: self.buffered.load(Ordering::Relaxed),
            written_bytes: self.written.load(Ordering::Relaxed),
            loaded_bytes: self.loaded.load(Ordering::Relaxed),
            wal_bytes: ticker(Ticker::WalFileBytes),
            flushed_bytes: ticker(Ticker::FlushWriteBytes),
            compaction_read_bytes: ticker(Ticker::CompactReadBytes),
            compaction_written_bytes: ticker(Ticker::CompactWriteBytes),
            stall_micros: ticker(Ticker::StallMicros),
            cache_hits: ticker(Ticker::BlockCacheHit),
            cache_misses: ticker(Ticker::BlockCacheMiss),
            cache_bytes: self.cache.get_usage() as u64,
            compaction_pending_bytes: Family::ALL.into_iter().map(|family| self.number(family, pending)).sum(),
            background_errors: self.number(Family::Runs, properties::BACKGROUND_ERRORS),
            writes_stopped: self.number(Family::Runs, properties::IS_WRITE_STOPPED) != 0,
            torn_tail_bytes: self.torn_tail_bytes,
        }
    }
}

fn row_bytes((key, value): &Change) -> usize {
    key.len() + value.as_ref().map_or(0, Bytes::len)
}

/// Rows by the file they go to.
fn cut(rows: &[Change]) -> Vec<&[Change]> {
    let (mut files, mut from, mut bytes) = (Vec::new(), 0, 0);
    for (at, row) in rows.iter().enumerate() {
        if bytes > 0 && bytes + row_bytes(row) > REPLACED_FILE_BYTES {
            files.push(&rows[from..at]);
            (from, bytes) = (at, 0);
        }
        bytes += row_bytes(row);
    }
    files.push(&rows[from..]);
    files
}

/// Where a change goes.
fn place(op: &Op) -> (Family, &[u8]) {
    match op {
        Op::Put { family, key, .. } | Op::Delete { family, key } => (*family, key.as_slice()),
        Op::Clear { family } => (*family, &[]),
    }
}

fn read_rows(rows: &mut DBRawIterator<'_>, range: &ScanRange) -> Result<Vec<Row>, StorageError> {
    let mut found = Vec::new();
    while found.len() < range.limit
        && let Some((key, value)) = rows.item()
    {
        found.push(Row { key: Bytes::copy_from_slice(key), value: Bytes::copy_from_slice(value) });
        if range.reverse { rows.prev() } else { rows.next() }
    }
    rows.status().map_err(|error| failed("read", &error))?;
    Ok(found)
}

fn io_failed(doing: &'static str, path: &Path, error: &io::Error) -> StorageError {
    let message = format!("{}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StorageError::NoSpace(message),
        _ => StorageError::Io { doing, message },
    }
}

/// RocksDB's errors are texts; these are the words it and the C library use.
fn failed(doing: &'static str, error: &Error) -> StorageError {
    let message = error.to_string();
    if message.contains("No space left on device") || message.contains("Disk quota exceeded") {
        return StorageError::NoSpace(message);
    }
    match error.kind() {
        ErrorKind::Corruption => StorageError::Corrupt(message),
        _ => StorageError::Io { doing, message },
    }
}

fn open_failed(path: &Path, error: &Error) -> StorageError {
    let message = error.to_string();
    if message.contains("lock hold by current process") || message.contains("While lock file") {
        return StorageError::InUse(path.to_owned());
    }
    failed("open the database", error)
}
