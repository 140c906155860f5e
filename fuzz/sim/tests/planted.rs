//! The simulation can fail: each planted bug is found, and its shortest plan still shows it.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

use tally_sim::{Options, Plan, Plant, run_plan, shrink};

/// Seeds within which a bug must show.
const SEEDS: u64 = 60;

fn found(plant: Plant, words: &[&str]) {
    let options = Options { plant: Some(plant), ..Options::default() };
    let failure = (1..=SEEDS).find_map(|seed| run_plan(&Plan::of(seed), options).err());
    let failure = failure.unwrap_or_else(|| panic!("{plant:?} was not found in {SEEDS} seeds"));
    let shrunk = shrink::shrink(&Plan::of(failure.seed), options, &failure);
    assert!(shrunk.plan.steps.len() <= shrunk.prefix && shrunk.prefix <= failure.step);
    let rerun = run_plan(&shrunk.plan, options).unwrap_err();
    assert_eq!(rerun, shrunk.failure, "the shortest plan does not fail as it did");
    assert!(words.iter().any(|words| failure.what.contains(words)), "found otherwise: {}", failure.what);
    // The same plan without the bug breaks nothing.
    run_plan(&shrunk.plan, Options::default()).unwrap();
    run_plan(&Plan::of(failure.seed), Options::default()).unwrap();
}

#[test]
fn a_receipt_before_the_sync_is_found() {
    found(Plant::AcknowledgedBeforeSync, &["acknowledged, but a power cut leaves"]);
}

#[test]
fn a_fence_that_is_not_moved_is_found() {
    found(Plant::FenceSkipped, &["was signed, the fence is at"]);
}

#[test]
fn a_window_that_forgets_too_early_is_found() {
    found(Plant::WindowForgets, &["the node ordered"]);
}

#[test]
fn an_index_that_forgets_event_ids_is_found() {
    found(Plant::IndexForgetsIds, &["the node ordered", "not found"]);
}

#[test]
fn a_clock_step_that_nobody_sees_is_found() {
    found(Plant::ClockUnwatched, &["ordering followed a wall clock that was stepped"]);
}
