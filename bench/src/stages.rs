//! The work of each stage alone, as a function over ready input: what criterion times and what the sketch adds up.
//!
//! Takes a payload size; gives stages, each of which does its work for a run of [`RUN`] events when called. Only public
//! functions of the crates are called, the ones the pipeline calls; what the pipeline adds (queues, maps, threads) is
//! in the whole ([`crate::pipeline`]) and not here.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use tally_merkle::{Edge, Frontier, RunTree, root_of_multiproof, verify_inclusion};
use tally_protocol::checkpoint::{Checkpoint, SignedCheckpoint};
use tally_protocol::entry::EventEntry;
use tally_protocol::frame::Frame;
use tally_protocol::hash::{LeafHash, LedgerId, LookupKey, NodeHash, RunHash, payload_plain, run as run_hash};
use tally_protocol::id::{Epoch, EventId, Index, Sequence};
use tally_protocol::jcs;
use tally_protocol::key::{SigningKey, VerifyItem, verify, verify_batch};
use tally_protocol::proof::InclusionProof;
use tally_protocol::run::{EncodedRun, RecordIn, RunBuilder, StoredRun};
use tally_protocol::time::LogTime;
use tally_storage::memory::MemoryEngine;
use tally_storage::{Batch, DerivedIndex, Durability, Engine, EventLog, RocksConfig, open_rocks};

use crate::Failure;
use crate::events::{Body, Maker, Shape};
use crate::raw::System;
use crate::world::TENANT;

/// Events one call of a stage works on.
pub const RUN: usize = 1000;
/// Events of one submission.
const BATCH: usize = 100;
/// Leaves in the tree before the run: proofs are as deep as in a log of that many events.
const TREE: u64 = 1 << 20;

/// One stage's work.
pub struct Stage {
    /// Where it belongs and what it is: `verify/batch-1024`.
    pub name: &'static str,
    /// Bytes that the stage reads per event, for a rate; 0 where that says nothing.
    pub bytes: u64,
    /// Does it for [`RUN`] events.
    pub run: Box<dyn FnMut()>,
}

/// What stages work on.
struct Input {
    bodies: Vec<Body>,
    frames: Vec<Frame>,
    items: Vec<VerifyItem>,
    entries: Vec<EventEntry>,
    leaves: Vec<LeafHash>,
    frontier: Frontier,
    edge: Edge,
}

fn input(payload_bytes: usize) -> Result<Input, Failure> {
    let maker = Maker::new(Shape { payload_bytes, ..Shape::default() }, TENANT, 1);
    let bodies = maker.make(RUN)?;
    let keys = maker.keys();
    let frames: Vec<Frame> = bodies.iter().map(Body::decode).collect::<Result<Vec<_>, _>>()?.concat();
    let key_of = |frame: &Frame| *keys.get(&frame.agent_id()).expect("an agent of this maker");
    let items = frames
        .iter()
        .map(|frame| VerifyItem {
            public_key: key_of(frame),
            message: *frame.signing_hash().as_bytes(),
            signature: frame.signature(),
        })
        .collect();
    let entry = |(at, frame): (usize, &Frame)| {
        let time = LogTime::from_micros(1_767_225_600_000_000 + at as u64);
        EventEntry::of_frame(frame, frame.signing_hash(), Sequence::new(at as u64 + 1), key_of(frame), time)
    };
    let entries: Vec<EventEntry> = frames.iter().enumerate().map(entry).collect();
    let leaves: Vec<LeafHash> = entries.iter().map(EventEntry::leaf_hash).collect();
    let (mut frontier, mut edge) = (Frontier::new(), Edge::new());
    let filler: Vec<LeafHash> = leaves.iter().copied().cycle().take(1 << 14).collect();
    for _ in 0..TREE >> 14 {
        let tree = RunTree::extend(&mut frontier, &filler);
        edge.append_run(&tree).map_err(|error| error.to_string())?;
    }
    Ok(Input { bodies, frames, items, entries, leaves, frontier, edge })
}

/// Every stage, in the order an event travels. RocksDB is opened below `folder`.
///
/// # Errors
/// If the input cannot be made or the database does not open.
pub fn all(payload_bytes: usize, folder: &std::path::Path) -> Result<Vec<Stage>, Failure> {
    let input = Arc::new(input(payload_bytes)?);
    let mut stages = admit(&input);
    stages.extend(verification(&input));
    stages.extend(storing(&input, folder)?);
    stages.extend(folding(&input));
    stages.extend(answering(&input));
    Ok(stages)
}

fn stage(name: &'static str, bytes: usize, run: impl FnMut() + 'static) -> Stage {
    Stage { name, bytes: bytes as u64, run: Box::new(run) }
}

/// Decoding, form, hashes.
fn admit(input: &Arc<Input>) -> Vec<Stage> {
    let frame_bytes = input.frames[0].bytes().len();
    let preimage_bytes = input.frames[0].preimage().len();
    let payload_bytes = input.frames[0].payload().len();
    let (a, b, c, d, e, f) = (input.clone(), input.clone(), input.clone(), input.clone(), input.clone(), input.clone());
    vec![
        stage("admit/decode-frames", frame_bytes, move || {
            for body in &a.bodies {
                black_box(body.decode().is_ok());
            }
        }),
        stage("hash/signing-preimage", preimage_bytes, move || {
            for frame in &b.frames {
                black_box(frame.signing_hash());
            }
        }),
        stage("hash/payload", payload_bytes, move || {
            for frame in &c.frames {
                black_box(payload_plain(frame.payload()));
            }
        }),
        stage("jcs/check-payload-with-hash", payload_bytes, move || {
            for frame in &d.frames {
                black_box(frame.check_payload().is_ok());
            }
        }),
        stage("jcs/canonicalize", payload_bytes, move || {
            for frame in &e.frames {
                black_box(jcs::canonicalize(frame.payload()).is_ok());
            }
        }),
        stage("admit/created-at", 0, move || {
            for frame in &f.frames {
                black_box(frame.created_at_time().is_ok());
            }
        }),
    ]
}

/// Signatures.
fn verification(input: &Arc<Input>) -> Vec<Stage> {
    let batches = |input: &Arc<Input>, size: usize| {
        let input = input.clone();
        move || {
            for batch in input.items.chunks(size) {
                black_box(verify_batch(batch, &mut System));
            }
        }
    };
    let whole = input.clone();
    let single = input.clone();
    let key = SigningKey::from_seed([7; 32]);
    let sign = input.clone();
    vec![
        stage("verify/batch-100", 0, batches(input, 100)),
        stage("verify/batch-250", 0, batches(input, 250)),
        stage("verify/batch-1000", 0, move || drop(black_box(verify_batch(&whole.items, &mut System)))),
        stage("verify/single", 0, move || {
            for item in &single.items {
                black_box(verify(&item.public_key, &item.message, &item.signature));
            }
        }),
        stage("verify/sign", 0, move || {
            for item in &sign.items {
                black_box(key.sign(&item.message));
            }
        }),
    ]
}

fn encode(input: &Input, first: u64, previous: RunHash) -> EncodedRun {
    let (ledger, time) = (LedgerId::from_bytes([7; 32]), input.entries[0].sequenced_at);
    let mut builder = RunBuilder::new(ledger, Epoch::new(1), Index::new(first), previous, time);
    for (entry, frame) in input.entries.iter().zip(&input.frames) {
        let EventEntry { sequence, sequenced_at, public_key, .. } = *entry;
        let pushed = builder.push(RecordIn { sequence, sequenced_at, public_key, frame });
        assert!(pushed.is_ok(), "a run has room for {RUN} events of this size");
    }
    builder.finish().expect("a run that holds events")
}

/// Runs, the disk, the indexes.
fn storing(input: &Arc<Input>, folder: &std::path::Path) -> Result<Vec<Stage>, Failure> {
    let run = encode(input, 1, RunHash::ZERO);
    let run_bytes = run.bytes.len() / RUN;
    let encoded = input.clone();
    let stored = Bytes::copy_from_slice(&run.bytes);
    let decoded = Bytes::copy_from_slice(&run.bytes);
    let rocks = open_rocks(&folder.join("stages"), &RocksConfig::STANDARD).map_err(|error| error.to_string())?;
    let ledger = LedgerId::from_bytes([7; 32]);
    let lookup = LookupKey::new(&ledger);
    let derived = DerivedIndex::open(Arc::clone(&rocks), &ledger).map_err(|error| error.to_string())?;
    let keys = input.clone();
    Ok(vec![
        stage("append/encode-run", run_bytes, move || drop(black_box(encode(&encoded, 1, RunHash::ZERO)))),
        stage("append/hash-run", run_bytes, move || {
            black_box(run_hash(&stored));
        }),
        stage("append/write-rocks-synced", run_bytes, append_to(rocks, run.clone())),
        stage("append/write-memory", run_bytes, append_to(Arc::new(MemoryEngine::new()), run)),
        stage("index/lookup-keys", 0, move || {
            for frame in &keys.frames {
                black_box(lookup.event(&frame.stream(), &frame.event_id()));
                black_box(lookup.entity(&frame.stream(), frame.entity_type(), frame.entity_id()));
            }
        }),
        stage("index/write-rocks", 0, index_into(derived.clone(), input.clone())),
        stage("order/find-absent-ids-rocks", 0, find_absent(derived, input)),
        stage("read/decode-run", run_bytes, move || {
            let run = StoredRun::decode(decoded.clone());
            black_box(run.is_ok_and(|run| run.records().len() == RUN));
        }),
    ])
}

fn append_to(engine: Arc<dyn Engine>, run: EncodedRun) -> impl FnMut() {
    let log = EventLog::new(Arc::clone(&engine));
    let mut first = 1;
    move || {
        // The same bytes at the next place: the database does not look inside.
        let run = EncodedRun { first_index: Index::new(first), ..run.clone() };
        first += RUN as u64;
        let mut batch = Batch::new();
        log.append(&mut batch, &run, &[]);
        assert!(engine.write(batch, Durability::Synced).is_ok(), "the write failed");
    }
}

fn index_into(derived: DerivedIndex, input: Arc<Input>) -> impl FnMut() {
    let mut first = 1;
    move || {
        let mut rows = derived.rows();
        for (at, frame) in input.frames.iter().enumerate() {
            // Other ids each time, spread as real ones: the old id with the position in front.
            let mut id = *frame.event_id().as_bytes();
            id[..8].copy_from_slice(&(first + at as u64).to_be_bytes());
            let (id, index) = (EventId::from_bytes(id), Index::new(first + at as u64));
            rows.put_event_id(&frame.stream(), &id, index);
            rows.put_entity(&frame.stream(), frame.entity_type(), frame.entity_id(), index);
        }
        first += RUN as u64;
        assert!(derived.add(rows, Index::new(first)).is_ok(), "the write failed");
    }
}

/// None of the ids is there: [`index_into`] stores others.
fn find_absent(derived: DerivedIndex, input: &Input) -> impl FnMut() + use<> {
    let ids: Vec<_> = input.frames.iter().map(|frame| (frame.stream(), frame.event_id())).collect();
    move || {
        for chunk in ids.chunks(BATCH) {
            black_box(derived.find_event_ids(chunk).is_ok());
        }
    }
}

/// Leaves, tree, tiles, checkpoint.
fn folding(input: &Arc<Input>) -> Vec<Stage> {
    let (leaf, tree, tiles) = (input.clone(), input.clone(), input.clone());
    let size = input.frontier.size();
    let root = input.frontier.root();
    let checkpoint = Checkpoint::new("localhost/tally-bench", size, root);
    let key = SigningKey::from_seed([7; 32]);
    vec![
        stage("fold/leaf", 192, move || {
            for entry in &leaf.entries {
                black_box(entry.leaf_hash());
            }
        }),
        stage("fold/run-tree", 64, move || {
            let mut frontier = tree.frontier.clone();
            black_box(RunTree::extend(&mut frontier, &tree.leaves));
        }),
        stage("fold/run-tree-and-tiles", 64, move || {
            let (mut frontier, mut edge) = (tiles.frontier.clone(), tiles.edge.clone());
            let tree = RunTree::extend(&mut frontier, &tiles.leaves);
            black_box(edge.append_run(&tree).is_ok());
        }),
        stage("sign/one-checkpoint-a-run", 0, move || {
            drop(black_box(SignedCheckpoint::sign(checkpoint.clone(), &[&key])));
        }),
    ]
}

/// Proofs, and what a client does with them.
fn answering(input: &Arc<Input>) -> Vec<Stage> {
    let mut frontier = input.frontier.clone();
    let tree = Arc::new(RunTree::extend(&mut frontier, &input.leaves));
    let indexes: Vec<Index> = (0..RUN as u64).map(|at| Index::new(TREE + at)).collect();
    let leaves: Vec<(Index, LeafHash)> = indexes.iter().copied().zip(input.leaves.iter().copied()).collect();
    let (size, root) = (tree.size(), tree.root());
    let proofs: Vec<Vec<NodeHash>> = indexes.chunks(BATCH).map(|asked| tree.multiproof(asked)).collect();
    let single: Vec<InclusionProof> =
        indexes.iter().map(|index| InclusionProof { index: *index, size, path: tree.path(*index) }).collect();
    let (for_paths, for_proofs, to_check) = (tree.clone(), indexes.clone(), leaves.clone());
    vec![
        stage("prove/path-from-run", 0, move || {
            for index in &indexes {
                black_box(for_paths.path(*index));
            }
        }),
        stage("prove/multiproof-of-100", 0, move || {
            for asked in for_proofs.chunks(BATCH) {
                black_box(tree.multiproof(asked));
            }
        }),
        stage("client/verify-path", 0, move || {
            for ((_, leaf), proof) in leaves.iter().zip(&single) {
                assert!(verify_inclusion(leaf, proof, &root).is_ok(), "a path that was just made");
            }
        }),
        stage("client/verify-multiproof-of-100", 0, move || {
            for (asked, proof) in to_check.chunks(BATCH).zip(&proofs) {
                assert!(root_of_multiproof(asked, size, proof).is_ok_and(|found| found == root), "a good proof");
            }
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_does_its_work_on_its_input() {
        let folder = tempfile::tempdir().unwrap();
        let mut stages = all(500, folder.path()).unwrap();
        let names: std::collections::BTreeSet<_> = stages.iter().map(|stage| stage.name).collect();
        assert_eq!(names.len(), stages.len());
        // Twice: a stage can be repeated as often as a bench wants.
        for stage in &mut stages {
            (stage.run)();
            (stage.run)();
        }
    }
}
