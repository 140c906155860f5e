//! What the database and the look-up indexes say of themselves, for `/metrics`. Names and units; the only label is the
//! family.

use super::Reader;

/// One number, or one for each family of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageReading {
    /// The metric's name, with its unit.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// Whether it only rises.
    pub is_counter: bool,
    /// Value by family; a single one without.
    pub values: Vec<(Option<&'static str>, u64)>,
}

fn reading(name: &'static str, help: &'static str, value: u64) -> StorageReading {
    StorageReading { name, help, is_counter: name.ends_with("_total"), values: vec![(None, value)] }
}

impl Reader {
    /// All readings of the storage, as of now.
    #[must_use]
    pub fn storage(&self) -> Vec<StorageReading> {
        let (engine, index) = (self.shared.engine.stats(), self.shared.derived.stats());
        let of_families = |name, help, value: fn(&tally_storage::FamilyStats) -> u64| StorageReading {
            name,
            help,
            is_counter: false,
            values: engine.families.iter().map(|family| (Some(family.family.name()), value(family))).collect(),
        };
        vec![
            of_families("storage_disk_bytes", "Bytes of table files.", |family| family.disk_bytes),
            of_families("storage_buffer_bytes", "Bytes of write buffers.", |family| family.memory_bytes),
            of_families("storage_keys", "Keys, about.", |family| family.keys),
            reading("storage_synced_writes_total", "Writes that were synced.", engine.synced_writes),
            reading("storage_buffered_writes_total", "Writes that were not.", engine.buffered_writes),
            reading("storage_written_bytes_total", "Bytes of keys and values written.", engine.written_bytes),
            reading("storage_loaded_bytes_total", "Bytes of keys and values loaded in bulk.", engine.loaded_bytes),
            reading("storage_wal_bytes_total", "Bytes of the write-ahead log.", engine.wal_bytes),
            reading("storage_flushed_bytes_total", "Bytes flushed from write buffers.", engine.flushed_bytes),
            reading("storage_compaction_read_bytes_total", "Bytes read to compact.", engine.compaction_read_bytes),
            reading(
                "storage_compaction_written_bytes_total",
                "Bytes written by compaction.",
                engine.compaction_written_bytes,
            ),
            reading("storage_compaction_pending_bytes", "Bytes left to compact.", engine.compaction_pending_bytes),
            reading("storage_stall_micros_total", "Microseconds that writers were held up.", engine.stall_micros),
            reading("storage_writes_stopped", "1 while writers are held up.", u64::from(engine.writes_stopped)),
            reading("storage_cache_bytes", "Bytes of the block cache in use.", engine.cache_bytes),
            reading("storage_cache_hits_total", "Blocks found in the cache.", engine.cache_hits),
            reading("storage_cache_misses_total", "Blocks read from files.", engine.cache_misses),
            reading(
                "storage_background_errors",
                "Failures of background work; any is an alarm.",
                engine.background_errors,
            ),
            reading("storage_torn_tail_bytes", "Bytes of a torn write cut at start.", engine.torn_tail_bytes),
            reading("index_segments", "Segments of the look-up indexes.", index.segments),
            reading("index_rows", "Rows in segments.", index.rows),
            reading("index_recent_rows", "Rows in memory only.", index.recent_rows),
            reading("index_filter_bytes", "Bytes of filters in memory.", index.filter_bytes),
        ]
    }
}
