//! The simulation itself: the same seed gives the same bytes, another seed others, and the faults really happen.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

use std::collections::HashSet;

use tally_sim::{Kind, Options, Plan, run, run_plan};

#[test]
fn the_same_seed_gives_the_same_trace_and_the_same_stored_bytes() {
    for seed in 1..=40 {
        let (one, two) = (run(seed).unwrap(), run(seed).unwrap());
        assert_eq!(one, two, "seed {seed}");
    }
}

#[test]
fn other_seeds_give_other_traces_and_other_bytes() {
    let reports: Vec<_> = (1..=40).map(|seed| run(seed).unwrap()).collect();
    let traces: HashSet<_> = reports.iter().map(|report| report.trace).collect();
    let bytes: HashSet<_> = reports.iter().map(|report| report.bytes).collect();
    assert_eq!((traces.len(), bytes.len()), (40, 40));
}

#[test]
fn watching_more_closely_changes_nothing() {
    for seed in [3, 5, 7] {
        let plan = Plan::of(seed);
        let closely = Options { whole_log_each_step: true, ..Options::default() };
        assert_eq!(run_plan(&plan, Options::default()), run_plan(&plan, closely));
    }
}

#[test]
fn look_up_segments_are_sealed_merged_and_swept() {
    let reports = (1..=60).map(|seed| run(seed).unwrap().segments);
    let (written, dropped) = reports.fold((0, 0), |(w, d), segments| (w + segments.written, d + segments.dropped));
    assert!(written > 500 && dropped > 100, "{written} segments written, {dropped} dropped");
}

#[test]
fn every_kind_of_step_is_in_the_first_hundred_plans() {
    let kinds: HashSet<String> =
        (1..=100).flat_map(|seed| Plan::of(seed).steps).map(|step| format!("{:?}", step.kind)).collect();
    for kind in [
        Kind::Submit,
        Kind::Vanish,
        Kind::FailSync,
        Kind::FillDisk,
        Kind::FailRead,
        Kind::SlowDisk,
        Kind::FailFence,
        Kind::FailReceiptSigner,
        Kind::FailCheckpointSigner,
        Kind::StepClock,
        Kind::Crash,
        Kind::Drain,
        Kind::Backup,
        Kind::Restore,
        Kind::Fork,
        Kind::WipeDerived,
    ] {
        assert!(kinds.contains(&format!("{kind:?}")), "{kind:?} never happens");
    }
}
