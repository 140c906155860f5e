//! Derived indexes: event ids, entities, stream heads, control events. Takes runs behind the log, gives look-ups;
//! moves its own cursor, never a rung. Everything here can be deleted and is rebuilt at start.
//!
//! Indexes and cursor go in one atomic write, unsynced: after a crash the cursor stands where the indexes end. A run
//! that the queue could not hold is read back from the log.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::Receiver;
use tally_protocol::frame::Frame;
use tally_protocol::id::{Index, Sequence, Stream};
use tally_storage::{Batch, Durability, StorageError};

use crate::failpoint;
use crate::fold::FoldedRun;
use crate::shared::Shared;

/// Runs of the log read in one step while catching up.
const CATCH_UP_RUNS: usize = 8;

/// The indexing thread's life: until acknowledging is gone.
pub(crate) fn run(shared: &Arc<Shared>, queue: &Receiver<Arc<FoldedRun>>) {
    while let Ok(run) = queue.recv() {
        if let Err(error) = take(shared, &run) {
            shared.watermarks.poison(&format!("failed to write an index: {error}"));
            return;
        }
    }
    // The queue may have dropped the last runs; leave nothing to the next start that can be done now.
    if let Err(error) = catch_up(shared, shared.watermarks.get(crate::watermarks::Rung::Durable).get()) {
        shared.watermarks.poison(&format!("failed to write an index: {error}"));
    }
}

pub(crate) fn take(shared: &Shared, run: &FoldedRun) -> Result<(), StorageError> {
    let first = run.run.first.get();
    catch_up(shared, first)?;
    let cursor = shared.index_cursor.load(Ordering::Acquire);
    if cursor > first {
        return Ok(()); // Read back from the log already.
    }
    let mut writer = Writer::default();
    for event in &run.run.events {
        writer.add(shared, event.index, event.sequence, event.control, &event.frame);
    }
    writer.finish(shared)
}

/// Indexes from the log up to (not including) `end`, which lies on a run's boundary.
pub(crate) fn catch_up(shared: &Shared, end: u64) -> Result<(), StorageError> {
    loop {
        let cursor = shared.index_cursor.load(Ordering::Acquire);
        if cursor >= end {
            return Ok(());
        }
        let runs = shared.log.runs_from(Index::new(cursor), CATCH_UP_RUNS)?;
        if runs.is_empty() {
            return Ok(());
        }
        let mut writer = Writer::default();
        for run in &runs {
            for record in run.records() {
                if record.index.get() >= cursor {
                    let control = record.frame.stream().is_control();
                    writer.add(shared, record.index, record.sequence, control, &record.frame);
                }
            }
        }
        writer.finish(shared)?;
    }
}

#[derive(Default)]
struct Writer {
    batch: Batch,
    heads: HashMap<Stream, Sequence>,
    end: Option<Index>,
}

impl Writer {
    fn add(&mut self, shared: &Shared, index: Index, sequence: Sequence, control: bool, frame: &Frame) {
        let stream = frame.stream();
        shared.derived.put_event_id(&mut self.batch, &stream, &frame.event_id(), index);
        shared.derived.put_entity(&mut self.batch, &stream, frame.entity_type(), frame.entity_id(), index);
        if control {
            shared.derived.put_control(&mut self.batch, index);
        }
        self.heads.insert(stream, sequence);
        self.end = Some(index.next());
    }

    fn finish(mut self, shared: &Shared) -> Result<(), StorageError> {
        let Some(end) = self.end else { return Ok(()) };
        for (stream, head) in &self.heads {
            shared.derived.put_stream_head(&mut self.batch, stream, *head);
        }
        shared.derived.set_cursor(&mut self.batch, end);
        failpoint::hit("index.before_write");
        shared.engine.write(self.batch, Durability::Buffered)?;
        failpoint::hit("index.after_write");
        shared.index_cursor.store(end.get(), Ordering::Release);
        shared.indexed.ring();
        Ok(())
    }
}
