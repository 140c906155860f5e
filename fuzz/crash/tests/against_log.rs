//! The comparison after the kills can fail: whatever is taken from the log, moved or changed in it is found.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

use std::collections::BTreeMap;
use std::sync::Arc;

use tally_crash::Failure;
use tally_crash::against_log::{Compared, compare_stored};
use tally_crash::load::Kept;
use tally_protocol::hash::RootHash;
use tally_protocol::run::StoredRun;
use tally_protocol::time::LogTime;
use tally_storage::keys::RunKey;
use tally_storage::memory::MemoryEngine;
use tally_storage::{Batch, Durability, Engine, Family, MetaStore};
use tally_testkit::{LogUnderTest, ReferenceLog, TestLedger, Workload, WorkloadConfig};

struct Case {
    runs: Vec<bytes::Bytes>,
    genesis: Vec<u8>,
    kept: Vec<Kept>,
    roots: BTreeMap<u64, RootHash>,
}

/// An honest log of some runs, and clients that kept a receipt for each event and saw every size signed.
fn honest() -> Case {
    let start = LogTime::from_micros(1_767_225_600_000_000);
    let ledger = TestLedger::new("tally.test/kills", start);
    let (mut model, mut workload) =
        (ReferenceLog::new(ledger.genesis.clone()), Workload::new(WorkloadConfig::honest(), 1, start));
    for frame in workload.setup(&ledger).into_iter().chain(workload.frames(60)) {
        model.submit(&frame, start);
    }
    let kept = model.events().map(|(frame, _, place)| Kept {
        index: place.index.get(),
        sequence: place.sequence.get(),
        leaf: place.leaf_hash,
        event: frame.event_id(),
    });
    let log = LogUnderTest::of(&ledger, &model, 10, 0);
    let roots = (1..=model.size()).map(|size| (size as u64, model.root_at(size))).collect();
    Case { runs: log.runs, genesis: log.genesis_entry, kept: kept.collect(), roots }
}

fn compared(case: &mut Case) -> Result<Compared, Failure> {
    let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::new());
    let mut batch = Batch::new();
    MetaStore::new(Arc::clone(&engine)).put_genesis(&mut batch, &case.genesis).unwrap();
    for bytes in &case.runs {
        let first = StoredRun::decode(bytes.clone()).unwrap().header().first_index;
        batch.put(Family::Runs, RunKey(first).encode(), bytes.clone());
    }
    engine.write(batch, Durability::Synced).unwrap();
    compare_stored(&engine, &mut case.kept, &case.roots)
}

#[track_caller]
fn found(change: impl FnOnce(&mut Case), words: &str) {
    let mut case = honest();
    change(&mut case);
    let what = compared(&mut case).unwrap_err();
    assert!(what.contains(words), "found otherwise: {what}");
}

#[test]
fn an_honest_log_has_everything_that_was_kept() {
    let mut case = honest();
    let (kept, roots) = (case.kept.len() as u64, case.roots.len() as u64);
    assert_eq!(compared(&mut case), Ok(Compared { entries: kept + 1, receipts: kept, roots }));
}

#[test]
fn a_lost_end_is_found() {
    found(|case| _ = case.runs.pop(), "the log ends at size");
}

#[test]
fn a_lost_end_is_found_by_its_signed_size_alone() {
    found(
        |case| {
            case.runs.pop();
            case.kept.clear();
        },
        "was signed",
    );
}

#[test]
fn a_gap_is_found() {
    found(|case| _ = case.runs.remove(2), "follows entry");
}

#[test]
fn an_event_in_another_place_is_found() {
    found(
        |case| (case.kept[7].index, case.kept[8].index) = (case.kept[8].index, case.kept[7].index),
        "the log holds another",
    );
}

#[test]
fn a_changed_leaf_or_sequence_is_found() {
    found(|case| case.kept[20].leaf = case.kept[21].leaf, "the log holds another");
    found(|case| case.kept[20].sequence += 1, "the log holds another");
}

#[test]
fn another_root_is_found() {
    found(|case| _ = case.roots.insert(30, case.roots[&31]), "the root signed for size 30");
}
