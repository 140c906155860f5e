//! The auditor as one call, over a log held in memory; and how the model's log looks when it is stored.
//!
//! A test that drives a real engine fills [`LogUnderTest`] from it; a test of the auditor itself makes one from a
//! [`ReferenceLog`] ([`LogUnderTest::of`]) and then damages it.

use std::collections::BTreeMap;

use bytes::Bytes;
use tally_merkle::ves_root;
use tally_protocol::batch::Commitment;
use tally_protocol::checkpoint::{Checkpoint, SignedCheckpoint};
use tally_protocol::entry::EventEntry;
use tally_protocol::hash::{LeafHash, RunHash, StateRoot, VesLeaf};
use tally_protocol::id::{Epoch, Index, Sequence, Stream, TreeSize};
use tally_protocol::key::Signer;
use tally_protocol::run::{RecordIn, RunBuilder};
use tally_verify::CheckFailed;
use tally_verify::audit::{LogAudit, Signed, Verdict};

use crate::build::TestLedger;
use crate::reference::{ReferenceLog, naive_root};
use crate::rng::TestRng;

/// A log as tests hold it.
#[derive(Debug, Clone, Default)]
pub struct LogUnderTest {
    /// The entry at index 0.
    pub genesis_entry: Vec<u8>,
    /// Every stored run, in order.
    pub runs: Vec<Bytes>,
    /// Every signed checkpoint at hand, whoever holds it.
    pub checkpoints: Vec<String>,
    /// Every commitment, per stream in order.
    pub commitments: Vec<Commitment>,
    /// The stored full tiles by level and index; `None` if tiles are not to be compared.
    pub tiles: Option<BTreeMap<(u8, u64), Vec<u8>>>,
}

/// Audits the log.
///
/// # Errors
/// The genesis entry is not one.
pub fn check_log(log: &LogUnderTest) -> Result<Verdict, CheckFailed> {
    let mut rng = TestRng::new(0x7a11_e000);
    let mut audit = LogAudit::new(&log.genesis_entry)?;
    if log.tiles.is_some() {
        audit = audit.with_tiles();
    }
    for note in &log.checkpoints {
        audit.expect_checkpoint(note, Signed::ByAny);
    }
    for commitment in &log.commitments {
        audit.expect_commitment(commitment);
    }
    for run in &log.runs {
        audit.push_run(run, &mut rng);
        compare_tiles(&mut audit, log);
    }
    audit.settle(&mut rng);
    compare_tiles(&mut audit, log);
    Ok(audit.finish(&mut rng))
}

fn compare_tiles(audit: &mut LogAudit, log: &LogUnderTest) {
    let Some(tiles) = &log.tiles else {
        return;
    };
    for derived in audit.take_tiles() {
        let stored = tiles.get(&(derived.level, derived.index));
        audit.check_tile(&derived, stored.map(Vec::as_slice));
    }
}

impl LogUnderTest {
    /// The model's log as an honest sequencer stores it: cut into runs of at most `run_events`, a checkpoint signed
    /// after each run (by the receipt key; every fourth also by the checkpoint key), all full tiles, and each ordinary
    /// stream committed in ranges of `commit_events` (0: no commitments).
    ///
    /// # Panics
    /// When the model holds more than a run or a commitment takes: the test is wrong.
    #[must_use]
    pub fn of(ledger: &TestLedger, model: &ReferenceLog, run_events: usize, commit_events: usize) -> Self {
        let leaves = model.leaves();
        let (mut runs, mut checkpoints) = (Vec::new(), Vec::new());
        let mut previous = RunHash::ZERO;
        let events: Vec<_> = model.events().collect();
        for chunk in events.chunks(run_events) {
            let Some((_, _, first)) = chunk.first() else { continue };
            let mut run = RunBuilder::new(ledger.id(), Epoch::new(1), first.index, previous, first.sequenced_at);
            for (frame, public_key, place) in chunk {
                let (sequence, sequenced_at) = (place.sequence, place.sequenced_at);
                run.push(RecordIn { sequence, sequenced_at, public_key: *public_key, frame })
                    .expect("the model's events fit a run");
            }
            let run = run.finish().expect("a chunk is not empty");
            previous = run.hash;
            runs.push(run.bytes);
            let size = first.index.get() + chunk.len() as u64;
            checkpoints.push(ledger.sign(&leaves, size, runs.len() % 4 == 0));
        }
        Self {
            genesis_entry: ledger.genesis.encode(),
            runs,
            checkpoints,
            commitments: if commit_events == 0 { Vec::new() } else { commitments(ledger, model, commit_events) },
            tiles: Some(full_tiles(&leaves)),
        }
    }
}

impl TestLedger {
    /// The signed checkpoint over the first `size` leaves; published ones carry both keys' signatures.
    ///
    /// # Panics
    /// When there are fewer leaves: the test is wrong.
    #[must_use]
    pub fn sign(&self, leaves: &[LeafHash], size: u64, published: bool) -> String {
        let until = usize::try_from(size).expect("test logs are small");
        let checkpoint = Checkpoint::new(&self.genesis.origin, TreeSize::new(size), naive_root(&leaves[..until]));
        let both: [&dyn Signer; 2] = [&self.receipt_key, &self.checkpoint_key];
        let signers = if published { &both[..] } else { &both[..1] };
        SignedCheckpoint::sign(checkpoint, signers).expect("keys in memory sign").note
    }
}

/// Tile `n` of level `l` holds the roots of 256 subtrees of 256^l leaves (C2SP tlog-tiles), by definition.
fn full_tiles(leaves: &[LeafHash]) -> BTreeMap<(u8, u64), Vec<u8>> {
    let mut tiles = BTreeMap::new();
    for level in 0..3u8 {
        let span = 256usize.pow(u32::from(level));
        for (index, tile) in leaves.chunks_exact(span * 256).enumerate() {
            let bytes = tile.chunks(span).flat_map(|subtree| *naive_root(subtree).as_bytes()).collect();
            tiles.insert((level, index as u64), bytes);
        }
    }
    tiles
}

fn commitments(ledger: &TestLedger, model: &ReferenceLog, commit_events: usize) -> Vec<Commitment> {
    let mut streams: BTreeMap<Stream, Vec<VesLeaf>> = BTreeMap::new();
    for (frame, public_key, place) in model.events().filter(|(frame, ..)| !frame.stream().is_control()) {
        let hash = frame.signing_hash();
        let entry = EventEntry::of_frame(frame, hash, place.sequence, public_key, place.sequenced_at);
        streams.entry(frame.stream()).or_default().push(entry.ves_leaf());
    }
    let mut all = Vec::new();
    let committed_at = ledger.genesis.created_at;
    for (stream, leaves) in streams {
        let mut previous = StateRoot::ZERO;
        for (at, range) in leaves.chunks_exact(commit_events).enumerate() {
            let first = Sequence::new((at * commit_events) as u64 + 1);
            let root = ves_root(range);
            let made = Commitment::new(&ledger.id(), stream, first, range.len(), root, previous, committed_at);
            let commitment = made.expect("a test's range is small");
            previous = commitment.new_state_root;
            all.push(commitment);
        }
    }
    all
}

impl LogUnderTest {
    /// Which run holds an entry, and at which position of the run.
    #[must_use]
    pub fn locate(&self, index: Index) -> Option<(usize, usize)> {
        self.runs.iter().enumerate().find_map(|(at, bytes)| {
            let run = tally_protocol::run::StoredRun::decode(bytes.clone()).ok()?;
            let header = run.header();
            let offset = usize::try_from(index.get().checked_sub(header.first_index.get())?).ok()?;
            header.holds(index).then_some((at, offset))
        })
    }
}
