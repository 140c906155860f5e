//! Derived indexes: event ids, entities, stream heads, control events. Takes runs behind the log, gives look-ups;
//! moves its own cursor, never a rung. Everything here can be deleted and is rebuilt at start.
//!
//! Rows are found as soon as they are added. They reach the disk in long stretches, with the cursor, unsynced: after a
//! crash the stored cursor stands where the stored rows end, and the events behind it are read from the log again. So is
//! a run that the queue could not hold.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::Receiver;
use tally_protocol::frame::Frame;
use tally_protocol::id::{Index, Sequence};
use tally_storage::{IndexRows, StorageError};

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
    let durable = shared.watermarks.get(crate::watermarks::Rung::Durable).get();
    if let Err(error) = catch_up(shared, durable).and_then(|()| shared.derived.flush()) {
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
    let mut writer = Writer::new(shared);
    for event in &run.run.events {
        writer.add(event.index, event.sequence, event.control, &event.frame);
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
        let mut writer = Writer::new(shared);
        for run in &runs {
            for record in run.records() {
                if record.index.get() >= cursor {
                    let control = record.frame.stream().is_control();
                    writer.add(record.index, record.sequence, control, &record.frame);
                }
            }
        }
        writer.finish(shared)?;
    }
}

struct Writer {
    rows: IndexRows,
    end: Option<Index>,
}

impl Writer {
    fn new(shared: &Shared) -> Self {
        Self { rows: shared.derived.rows(), end: None }
    }

    fn add(&mut self, index: Index, sequence: Sequence, control: bool, frame: &Frame) {
        let stream = frame.stream();
        self.rows.put_event_id(&stream, &frame.event_id(), index);
        self.rows.put_entity(&stream, frame.entity_type(), frame.entity_id(), index);
        self.rows.put_stream_head(&stream, sequence);
        if control {
            self.rows.put_control(index);
        }
        self.end = Some(index.next());
    }

    fn finish(self, shared: &Shared) -> Result<(), StorageError> {
        let Some(end) = self.end else { return Ok(()) };
        failpoint::hit("index.before_write");
        shared.derived.add(self.rows, end)?;
        failpoint::hit("index.after_write");
        shared.index_cursor.store(end.get(), Ordering::Release);
        shared.indexed.ring();
        Ok(())
    }
}
