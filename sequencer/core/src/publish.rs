//! Publishing. Takes the newest certified tree, gives a checkpoint for the world (witnesses, mirrors, anchors), moves
//! `published`. At its own cadence, about once a second; receipts never wait for it. A signer that fails is retried at
//! the next beat; a durable write that fails poisons the node.
//!
//! A published checkpoint carries the log key's signature and the online receipt key's, and is kept: published sizes
//! are truth, every one of them can be asked for again.

use std::sync::Arc;

use tally_protocol::checkpoint::SignedCheckpoint;
use tally_storage::{Batch, Durability, PublishedCheckpoint};

use crate::failpoint;
use crate::shared::Shared;
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

/// Publishes what is certified and not published yet.
pub(crate) fn beat(shared: &Shared) {
    if !shared.watermarks.may_work() {
        return;
    }
    let certified = shared.certified.load_full();
    let size = certified.checkpoint.checkpoint.size;
    if size <= shared.watermarks.get(Rung::Published) {
        return;
    }
    match publish(shared, &certified.checkpoint) {
        Ok(published) => {
            shared.published.store(Some(Arc::new(published)));
            shared.watermarks.raise(Rung::Published, size);
            shared.metrics.checkpoints_published.add(1);
        }
        Err(Failure::Signer) => shared.metrics.signer_failures.add(1),
        Err(Failure::Storage(why)) => shared.watermarks.poison(&why),
    }
}

enum Failure {
    Signer,
    Storage(String),
}

fn publish(shared: &Shared, certified: &SignedCheckpoint) -> Result<SignedCheckpoint, Failure> {
    let signers = [shared.checkpoint_signer.as_ref(), shared.receipt_signer.as_ref()];
    let signed = SignedCheckpoint::sign(certified.checkpoint.clone(), &signers).map_err(|_| Failure::Signer)?;
    let mut batch = Batch::new();
    let published = PublishedCheckpoint { size: signed.checkpoint.size, note: signed.note.clone() };
    shared.checkpoints.put_published(&mut batch, &published);
    failpoint::hit("publish.before_write");
    shared
        .engine
        .write(batch, Durability::Synced)
        .map_err(|error| Failure::Storage(format!("failed to write a published checkpoint: {error}")))?;
    failpoint::hit("publish.after_write");
    Ok(signed)
}
