//! Publishing. Takes the newest certified tree, gives a checkpoint for the world (witnesses, mirrors, anchors), moves
//! `published`. At its own cadence, about once a second; receipts never wait for it. A signer that fails is retried at
//! the next beat; a durable write that fails poisons the node.
//!
//! The log of outcomes is published with it, under a name of its own.
//!
//! A published checkpoint carries the log key's signature and the online receipt key's, and is kept: published sizes
//! are truth, every one of them can be asked for again.

use std::sync::Arc;

use tally_protocol::checkpoint::SignedCheckpoint;
use tally_protocol::id::TreeSize;
use tally_storage::{Batch, Durability, PublishedCheckpoint};

use crate::failpoint;
use crate::shared::{Certified, ServedLog, Shared};
use crate::watermarks::Rung;

/// The publishing thread's life: until the pipeline stops.
pub(crate) fn run(shared: &Arc<Shared>) {
    loop {
        beat(shared);
        if shared.stopped.wait(shared.config.publish_interval) {
            return;
        }
    }
}

/// Publishes what is certified and not published yet, of both logs.
pub(crate) fn beat(shared: &Shared) {
    if !shared.watermarks.may_work() {
        return;
    }
    // Looked at first: the events below it are certified by now. The world never sees an outcome before its event.
    let outcomes = shared.outcomes.certified.load_full();
    if let Some(size) = publish_newest(shared, &shared.events, &shared.events.certified.load_full()) {
        shared.watermarks.raise(Rung::Published, size);
        shared.metrics.checkpoints_published.add(1);
    }
    if size_of(&shared.events) >= outcomes.checkpoint.checkpoint.size {
        publish_newest(shared, &shared.outcomes, &outcomes);
    }
}

/// How far a log is published.
fn size_of(log: &ServedLog) -> TreeSize {
    log.published.load().as_ref().map_or(TreeSize::new(0), |at| at.checkpoint.size)
}

/// Publishes a certified tree if it is larger than what is published. Gives its size if it was.
fn publish_newest(shared: &Shared, log: &ServedLog, certified: &Certified) -> Option<TreeSize> {
    let size = certified.checkpoint.checkpoint.size;
    if size <= size_of(log) || !shared.watermarks.may_work() {
        return None;
    }
    match publish(shared, log, &certified.checkpoint) {
        Ok(published) => {
            log.published.store(Some(Arc::new(published)));
            return Some(size);
        }
        Err(Failure::Signer) => shared.metrics.signer_failures.add(1),
        Err(Failure::Storage(why)) => shared.watermarks.poison(&why),
    }
    None
}

enum Failure {
    Signer,
    Storage(String),
}

fn publish(shared: &Shared, log: &ServedLog, certified: &SignedCheckpoint) -> Result<SignedCheckpoint, Failure> {
    let signers = [shared.checkpoint_signer.as_ref(), shared.receipt_signer.as_ref()];
    let signed = SignedCheckpoint::sign(certified.checkpoint.clone(), &signers).map_err(|_| Failure::Signer)?;
    let mut batch = Batch::new();
    let published = PublishedCheckpoint { size: signed.checkpoint.size, note: signed.note.clone() };
    log.checkpoints.put_published(&mut batch, &published);
    failpoint::hit("publish.before_write");
    shared
        .engine
        .write(batch, Durability::Synced)
        .map_err(|error| Failure::Storage(format!("failed to write a published checkpoint: {error}")))?;
    failpoint::hit("publish.after_write");
    Ok(signed)
}
