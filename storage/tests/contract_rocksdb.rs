//! RocksDB keeps the storage contract.

use std::sync::Arc;

use tally_storage::contract::Lab;
use tally_storage::{Engine, RocksConfig, open_rocks};

struct Disk {
    directory: tempfile::TempDir,
}

impl Disk {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a temporary directory") }
    }

    fn open(&self) -> Arc<dyn Engine> {
        open_rocks(&self.directory.path().join("db"), &RocksConfig::SMALL).expect("opens")
    }
}

impl Lab for Disk {
    fn fresh(&mut self) -> Arc<dyn Engine> {
        *self = Self::new();
        self.open()
    }

    fn reopen(&mut self, engine: Arc<dyn Engine>) -> Arc<dyn Engine> {
        assert_eq!(Arc::strong_count(&engine), 1, "a store still holds the engine");
        drop(engine);
        self.open()
    }
}

tally_storage::contract_tests!(Disk::new());
