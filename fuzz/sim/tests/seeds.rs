//! Two thousand seeds, each held against the model and the auditor after every step. More by `cargo xtask sim`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tally_sim::{Failure, run};

const SEEDS: u64 = 2_000;

#[test]
fn two_thousand_seeds_break_no_law() {
    let next = AtomicU64::new(1);
    let failures: Mutex<Vec<Failure>> = Mutex::default();
    let restarts = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > SEEDS {
                        return;
                    }
                    match run(seed) {
                        Ok(report) => _ = restarts.fetch_add(report.restarts, Ordering::Relaxed),
                        Err(failure) => failures.lock().unwrap_or_else(PoisonError::into_inner).push(failure),
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    failures.sort_by_key(|failure| failure.seed);
    let first =
        failures.first().map(|failure| format!("{failure:?}; cargo xtask sim --seeds 1 --seed {}", failure.seed));
    assert!(failures.is_empty(), "{} of {SEEDS} seeds broke a law, the first: {first:?}", failures.len());
    assert!(restarts.into_inner() > SEEDS, "hardly anything went wrong in these worlds");
}
