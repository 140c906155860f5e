//! The memory engine keeps the storage contract.

use std::sync::Arc;

use tally_storage::Engine;
use tally_storage::contract::Lab;
use tally_storage::memory::{Crash, MemoryEngine};

#[derive(Default)]
struct Memory {
    engine: Arc<MemoryEngine>,
}

impl Lab for Memory {
    fn fresh(&mut self) -> Arc<dyn Engine> {
        self.engine = Arc::default();
        self.engine.clone()
    }

    fn reopen(&mut self, engine: Arc<dyn Engine>) -> Arc<dyn Engine> {
        drop(engine);
        self.engine = Arc::new(self.engine.crash(Crash::Process));
        self.engine.clone()
    }
}

tally_storage::contract_tests!(Memory::default());
