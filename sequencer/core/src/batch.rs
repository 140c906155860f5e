//! VES commitments. Takes signed events in log order, gives one commitment per stream and round, chained by state root
//! (design D2; VES v1 sections 3). Moves its own cursor, never a rung.
//!
//! A round reads the log from the cursor, groups the leaves by stream, and writes all commitments and the cursor in one
//! atomic, synced write. So each event is committed exactly once, each stream's ranges are contiguous from sequence 1,
//! and a crash repeats or skips nothing. Rounds come at a cadence, when enough events wait, or when somebody asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use tally_merkle::ves_root;
use tally_protocol::batch::Commitment;
use tally_protocol::hash::{self, SigningHash, StateRoot};
use tally_protocol::id::{Index, Sequence, Stream, TreeSize};
use tally_protocol::key::Signature;
use tally_protocol::time::LogTime;
use tally_storage::{Batch, Durability, StorageError};

use crate::failpoint;
use crate::shared::{Shared, lock};
use crate::watermarks::Rung;

/// The committing thread's life: until the pipeline stops.
pub(crate) fn run(shared: &Arc<Shared>) {
    while !shared.stopped.wait(shared.config.commit_interval) {
        if !shared.watermarks.may_work() {
            return;
        }
        if let Err(error) = commit_to(shared, shared.watermarks.get(Rung::Signed)) {
            shared.watermarks.poison(&format!("failed to write a commitment: {error}"));
            return;
        }
    }
}

/// Commits everything below `end`, in rounds of bounded memory.
pub(crate) fn commit_to(shared: &Shared, end: TreeSize) -> Result<(), StorageError> {
    let _one = lock(&shared.commit_round);
    loop {
        let cursor = shared.commitments.cursor()?.max(Index::new(1));
        if cursor.get() >= end.get() {
            return Ok(());
        }
        let to = end.get().min(cursor.get().saturating_add(shared.config.commit_events_max as u64));
        round(shared, cursor, Index::new(to))?;
    }
}

/// The events of one stream in a round.
struct Group {
    first: Sequence,
    events: Vec<(SigningHash, Signature)>,
    committed_at: LogTime,
}

fn round(shared: &Shared, from: Index, to: Index) -> Result<(), StorageError> {
    let mut batch = Batch::new();
    let mut made = 0;
    for (stream, group) in gather(shared, from, to)? {
        let previous = shared.commitments.latest(stream)?;
        let commitment = commit(shared, stream, &group, previous.as_ref());
        shared.commitments.put(&mut batch, &commitment);
        made += 1;
    }
    shared.commitments.set_cursor(&mut batch, to);
    failpoint::hit("commit.before_write");
    shared.engine.write(batch, Durability::Synced)?;
    failpoint::hit("commit.after_write");
    shared.metrics.commitments.add(made);
    Ok(())
}

fn gather(shared: &Shared, from: Index, to: Index) -> Result<BTreeMap<Stream, Group>, StorageError> {
    let mut groups: BTreeMap<Stream, Group> = BTreeMap::new();
    let mut next = from;
    while next < to {
        let Some(run) = shared.log.run_containing(next)? else { break };
        let records: Vec<_> = run.records().filter(|record| record.index >= from && record.index < to).collect();
        let hashes = hash::signing_many(records.iter().map(|record| record.frame.preimage()));
        for (record, signing_hash) in records.iter().zip(hashes) {
            next = record.index.next();
            let group = groups.entry(record.frame.stream()).or_insert_with(|| Group {
                first: record.sequence,
                events: Vec::new(),
                committed_at: record.sequenced_at,
            });
            group.events.push((signing_hash, record.frame.signature()));
            // Log time, not the wall: a round that is repeated after a crash makes the same commitment.
            group.committed_at = record.sequenced_at;
        }
    }
    Ok(groups)
}

fn commit(shared: &Shared, stream: Stream, group: &Group, previous: Option<&Commitment>) -> Commitment {
    let state = previous.map_or(StateRoot::ZERO, |previous| previous.new_state_root);
    let first = group.first.get();
    let events = group.events.iter().zip(first..);
    let leaves = hash::ves_leaf_many(
        &stream,
        events.map(|((signing_hash, signature), at)| (Sequence::new(at), signing_hash, signature.as_bytes())),
    );
    let root = ves_root(&leaves);
    // The bounds of a commitment are wider than a round's.
    Commitment::new(&shared.ledger.ledger_id, stream, group.first, leaves.len(), root, state, group.committed_at)
        .expect("a round makes a valid commitment")
}
