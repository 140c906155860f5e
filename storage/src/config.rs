//! Bounds of the RocksDB engine: memory, open files, background threads, write-ahead log.
//!
//! Explicit fields, checked once by [`RocksConfig::check`] when the database is opened.

use crate::error::StorageError;

/// Bounds of a RocksDB engine. [`RocksConfig::STANDARD`] is what the node uses unless configured otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RocksConfig {
    /// Create the database if there is none.
    pub create: bool,
    /// Most bytes of all families' write buffers together, those being flushed included. Beyond it writes wait for
    /// the flush. At least 32 MiB: a run of 8 MiB must fit its family's share several times.
    pub write_buffer_bytes: usize,
    /// Bytes of the cache for blocks, indexes and filters of table files.
    pub block_cache_bytes: usize,
    /// Most open table files, at least 64; RocksDB keeps about 200 bytes for each beside what is in the cache.
    pub open_files_max: i32,
    /// Threads that flush and compact.
    pub background_jobs: i32,
    /// Bytes of write-ahead log after which the families that hold the oldest file back are flushed: bounds the disk
    /// it takes and the time of a start (about a second of CPU per 200 MiB).
    pub wal_bytes_max: u64,
    /// Whether runs are compressed (LZ4) when they leave the write buffer: about 0.6 µs of background CPU for an event of
    /// 800 bytes, for a log of a third to two thirds the size.
    pub compress_runs: bool,
}

impl RocksConfig {
    /// 256 MiB of memory in all, two background threads.
    pub const STANDARD: Self = Self {
        create: true,
        write_buffer_bytes: 160 << 20,
        block_cache_bytes: 96 << 20,
        open_files_max: 512,
        background_jobs: 2,
        wal_bytes_max: 256 << 20,
        compress_runs: true,
    };

    /// Small buffers, for tests that want flushes and compactions to happen.
    pub const SMALL: Self = Self {
        create: true,
        write_buffer_bytes: 32 << 20,
        block_cache_bytes: 8 << 20,
        open_files_max: 64,
        background_jobs: 2,
        wal_bytes_max: 16 << 20,
        compress_runs: true,
    };

    /// Checks the bounds against each other.
    ///
    /// # Errors
    /// [`StorageError::Config`] names the field.
    pub const fn check(&self) -> Result<(), StorageError> {
        if self.write_buffer_bytes < 32 << 20 {
            return Err(StorageError::Config("write_buffer_bytes must be at least 32 MiB"));
        }
        if self.block_cache_bytes < 4 << 20 {
            return Err(StorageError::Config("block_cache_bytes must be at least 4 MiB"));
        }
        if self.open_files_max < 64 {
            return Err(StorageError::Config("open_files_max must be at least 64"));
        }
        if self.background_jobs < 2 {
            return Err(StorageError::Config("background_jobs must be at least 2: one flushes while one compacts"));
        }
        if self.wal_bytes_max < 16 << 20 {
            return Err(StorageError::Config("wal_bytes_max must be at least 16 MiB"));
        }
        Ok(())
    }
}
