//! Group commit. Takes ordered runs, gives durable runs, moves `durable`. One thread owns the write of events.
//!
//! One atomic write holds the run, its position index, and what fold and sign made of the runs before (full tiles,
//! frontier, certified checkpoint): losing those loses nothing. A failed write poisons the node, because after it
//! nobody knows what the disk holds (law 9); every ticket in flight ends as outcome unknown, to be retried with the
//! same event ids.

use std::collections::HashMap;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use tally_merkle::FullTile;
use tally_protocol::hash::RunHash;
use tally_protocol::id::{Epoch, Index, Sequence, Stream, TreeSize};
use tally_protocol::run::{EncodedRun, RecordIn, RunBuilder, RunError};
use tally_protocol::time::LogTime;
use tally_storage::{Batch, Durability, StorageError, TileStore};

use crate::failpoint;
use crate::order::{OrderedEvent, OrderedRun};
use crate::shared::{Shared, lock};
use crate::watermarks::Rung;

/// A run that survives a crash.
pub(crate) struct Durable {
    run: OrderedRun,
}

impl Durable {
    pub(crate) fn into_run(self) -> OrderedRun {
        self.run
    }
}

/// Owns the chain of runs.
pub(crate) struct Appender {
    shared: Arc<Shared>,
    epoch: Epoch,
    previous: RunHash,
}

/// The append thread's life: until ordering is gone or a write fails.
pub(crate) fn run(appender: &mut Appender, queue: &Receiver<OrderedRun>, next: &Sender<Durable>) {
    while let Ok(run) = queue.recv() {
        if let Err(error) = appender.append(&run) {
            // Before the run is dropped: whoever learns that an outcome is unknown finds the node poisoned.
            appender.shared.watermarks.poison(&format!("failed to write a run: {error}"));
            return;
        }
        if next.send(Durable { run }).is_err() {
            return;
        }
    }
}

impl Appender {
    pub(crate) fn new(shared: Arc<Shared>, epoch: Epoch, previous: RunHash) -> Self {
        Self { shared, epoch, previous }
    }

    fn append(&mut self, run: &OrderedRun) -> Result<(), AppendError> {
        // A run of duplicates and rejections only: its answers wait their turn, nothing is to be written.
        let Some(first) = run.events.first() else { return Ok(()) };
        let start = self.shared.clock.monotonic_micros();
        let first_time = first.sequenced_at;
        let mut batch = Batch::new();
        let mut bytes = 0;
        let mut at = (run.first, first_time);
        let mut rest = run.events.as_slice();
        while !rest.is_empty() {
            let (encoded, positions, taken) = self.encode(at, rest)?;
            self.shared.log.append(&mut batch, &encoded, &positions);
            self.previous = encoded.hash;
            bytes += encoded.bytes.len();
            rest = &rest[taken..];
            if let Some(next) = rest.first() {
                at = (next.index, next.sequenced_at);
            }
        }
        let written = add_unwritten(&self.shared, &mut batch);
        failpoint::hit("append.before_write");
        self.shared.engine.write(batch, Durability::Synced)?;
        failpoint::hit("append.after_write");
        forget_written(&self.shared, &written);
        let size = run.first.get() + run.events.len() as u64;
        self.shared.watermarks.raise(Rung::Durable, TreeSize::new(size));
        self.shared.metrics.run_events.observe(run.events.len() as u64);
        self.shared.metrics.run_bytes.observe(bytes as u64);
        self.shared.metrics.append_micros.observe(self.shared.clock.monotonic_micros().saturating_sub(start));
        Ok(())
    }
}

/// A stored run, the first sequence of each stream in it, and how many events it took.
type Encoded = (EncodedRun, Vec<(Stream, Sequence)>, usize);

impl Appender {
    /// As many events as fit into one stored run. A submission of large events may need several: they go in one write,
    /// and where they are cut leaves no trace in any root.
    fn encode(&self, (first, base_time): (Index, LogTime), events: &[OrderedEvent]) -> Result<Encoded, AppendError> {
        let ledger = self.shared.ledger.ledger_id;
        let mut builder = RunBuilder::new(ledger, self.epoch, first, self.previous, base_time);
        let mut firsts = HashMap::new();
        let mut taken = 0;
        for event in events {
            if !builder.fits(event.frame.bytes().len()) && taken > 0 {
                break;
            }
            builder.push(RecordIn {
                sequence: event.sequence,
                sequenced_at: event.sequenced_at,
                public_key: event.public_key,
                frame: &event.frame,
            })?;
            firsts.entry(event.frame.stream()).or_insert(event.sequence);
            taken += 1;
        }
        Ok((builder.finish()?, firsts.into_iter().collect(), taken))
    }
}

/// Why a run is not durable.
#[derive(Debug, thiserror::Error)]
enum AppendError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Run(#[from] RunError),
}

/// Puts fold's waiting products into the batch; readers still find the tiles in memory until the write is done.
pub(crate) fn add_unwritten(shared: &Shared, batch: &mut Batch) -> Vec<(u8, u64)> {
    let mut unwritten = lock(&shared.events.unwritten);
    let keys: Vec<_> = unwritten.tiles.keys().copied().collect();
    for tile in unwritten.tiles.values() {
        put_tile(&shared.events.tiles, batch, tile);
    }
    if let Some(latest) = unwritten.latest.take() {
        shared.events.checkpoints.put_latest(batch, &latest);
    }
    keys
}

/// Puts a full tile with its middle row into the batch.
pub(crate) fn put_tile(tiles: &TileStore, batch: &mut Batch, tile: &FullTile) {
    let bytes = tile.bytes.as_ref().try_into().expect("a full tile has 8192 bytes");
    let row = tile.middle_row.as_ref().try_into().expect("a full tile's middle row has 512 bytes");
    tiles.put(batch, (tile.level, tile.index), bytes, row);
}

/// Drops from memory what a finished write holds.
pub(crate) fn forget_written(shared: &Shared, keys: &[(u8, u64)]) {
    let mut unwritten = lock(&shared.events.unwritten);
    for key in keys {
        unwritten.tiles.remove(key);
    }
}
