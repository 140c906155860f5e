//! What applying writes, on two threads of their own. A failure is the applying thread's to tell.
//!
//! *Batches* of ranges: the applying thread waits for each. It yields to ingest, and the database lets one writer at a time
//! in: a thread that others hold up must not be that writer, or receipts wait for the processor to come back to it.
//! *Pages*, past the write-ahead log, when the batches that they follow from are on the disk: so many take long, and the
//! next ranges are applied meanwhile. One job at a time, no queue: who has more waits.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use tally_storage::{Batch, Change, Durability, Engine, Family, StorageError};

use crate::failpoint;

type Pages = Vec<Change>;
type Written = Result<(), StorageError>;

/// The applying thread's end, for batches.
pub(crate) struct BatchDesk {
    jobs: Sender<(Batch, Durability)>,
    done: Receiver<Written>,
}

/// The writing thread's end.
pub(crate) struct BatchWriter {
    engine: Arc<dyn Engine>,
    jobs: Receiver<(Batch, Durability)>,
    done: Sender<Written>,
}

/// Both ends.
pub(crate) fn batch_desk(engine: Arc<dyn Engine>) -> (BatchDesk, BatchWriter) {
    let (give, jobs) = bounded(1);
    let (done, written) = bounded(1);
    (BatchDesk { jobs: give, done: written }, BatchWriter { engine, jobs, done })
}

/// The writing thread's life: until nobody has more for it. It has the priority that it began with.
pub(crate) fn store(writer: &BatchWriter) {
    while let Ok((batch, durability)) = writer.jobs.recv() {
        if writer.done.send(writer.engine.write(batch, durability)).is_err() {
            return;
        }
    }
}

impl BatchDesk {
    /// Writes a batch and waits until it is written.
    pub(super) fn write(&self, batch: Batch, durability: Durability) -> Written {
        self.jobs.send((batch, durability)).map_err(|_| gone())?;
        self.done.recv().map_err(|_| gone())?
    }
}

/// The applying thread's end, for pages.
pub(crate) struct PageDesk {
    jobs: Sender<Pages>,
    done: Receiver<Written>,
    under_way: bool,
}

/// The writing thread's end.
pub(crate) struct PageWriter {
    engine: Arc<dyn Engine>,
    jobs: Receiver<Pages>,
    done: Sender<Written>,
}

/// Both ends.
pub(crate) fn page_desk(engine: Arc<dyn Engine>) -> (PageDesk, PageWriter) {
    let (give, jobs) = bounded(1);
    let (done, written) = bounded(1);
    (PageDesk { jobs: give, done: written, under_way: false }, PageWriter { engine, jobs, done })
}

/// The writing thread's life: until nobody has more for it.
pub(crate) fn run(writer: &PageWriter) {
    while let Ok(pages) = writer.jobs.recv() {
        failpoint::hit("apply.before_replace");
        let written = writer.engine.replace(Family::StatePages, pages);
        failpoint::hit("apply.after_replace");
        if writer.done.send(written).is_err() {
            return;
        }
    }
}

fn gone() -> StorageError {
    StorageError::Io { doing: "write what was applied", message: "the thread that does it is gone".to_owned() }
}

impl PageDesk {
    /// Gives pages to be written; those before them are.
    pub(super) fn give(&mut self, pages: Pages) -> Result<(), StorageError> {
        debug_assert!(!self.under_way, "one job at a time");
        self.jobs.send(pages).map_err(|_| gone())?;
        self.under_way = true;
        Ok(())
    }

    /// Whether what was given has been written since somebody asked.
    pub(super) fn is_done(&mut self) -> Result<bool, StorageError> {
        if !self.under_way {
            return Ok(false);
        }
        match self.done.try_recv() {
            Err(TryRecvError::Empty) => Ok(false),
            Err(TryRecvError::Disconnected) => Err(gone()),
            Ok(written) => {
                self.under_way = false;
                written.map(|()| true)
            }
        }
    }

    /// Waits until nothing is under way; gives whether anything was.
    pub(super) fn wait(&mut self) -> Result<bool, StorageError> {
        if !self.under_way {
            return Ok(false);
        }
        let written = self.done.recv().map_err(|_| gone())?;
        self.under_way = false;
        written.map(|()| true)
    }
}
