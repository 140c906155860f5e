//! The comparison of secrets takes the same time wherever two values differ (S-040).
//!
//! Measured, not believed: medians over many interleaved rounds, beside a comparison that stops at the first
//! difference, which the same measurement must tell apart. A round compares 64 KiB, so that one early exit is thousands
//! of times a clock's step; the medians make a busy machine's pauses fall away.

use std::hint::black_box;
use std::time::Instant;

use tally_protocol::key::ct_eq;

const BYTES: usize = 64 << 10;
const ROUNDS: usize = 401;

/// Median nanoseconds of a comparison with an equal value, with one that differs at its first byte, at its last.
fn medians(compare: impl Fn(&[u8], &[u8]) -> bool) -> [u64; 3] {
    let secret = vec![0x5a; BYTES];
    let mut others = [secret.clone(), secret.clone(), secret.clone()];
    others[1][0] ^= 1;
    others[2][BYTES - 1] ^= 1;
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        for turn in 0..3 {
            // Another order each round, so that no case profits from what ran before it.
            let case = (round + turn) % 3;
            let start = Instant::now();
            let equal = compare(black_box(&secret), black_box(&others[case]));
            times[case].push(start.elapsed().as_nanos() as u64);
            assert_eq!(black_box(equal), case == 0);
        }
    }
    times.map(|mut times| {
        times.sort_unstable();
        times[ROUNDS / 2]
    })
}

fn spread(medians: [u64; 3]) -> f64 {
    let most = medians.iter().copied().fold(0, u64::max);
    let least = medians.iter().copied().fold(u64::MAX, u64::min);
    most as f64 / least.max(1) as f64
}

#[test]
fn comparing_a_secret_takes_the_same_time_wherever_it_differs() {
    // Three tries: a median can still be unlucky on a machine that others use.
    let constant = (0..3).map(|_| spread(medians(ct_eq))).fold(f64::MAX, f64::min);
    let early = spread(medians(|left, right| left.iter().zip(right).all(|(left, right)| left == right)));
    assert!(early > 10.0, "the measurement would not see an early exit (spread {early:.2})");
    assert!(constant < 1.25, "ct_eq tells where two values differ (spread {constant:.2})");
}
