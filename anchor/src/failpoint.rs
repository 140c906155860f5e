//! Named points at which a test may end the process, as a power cut would.
//!
//! Only with the feature `failpoints`: `TALLY_FAILPOINT=<name>[:<nth>]` aborts at the nth passage (default the first).
//! Without the feature the calls compile to nothing.

/// Every fail point of the worker, in the order an anchor passes them.
pub const FAIL_POINTS: &[&str] = &[
    "anchor.planned",
    "anchor.authorised",
    "anchor.signed",
    "slot.written",
    "slot.renamed",
    "anchor.persisted",
    "anchor.sent",
    "anchor.sent_recorded",
    "anchor.receipt",
    "anchor.included",
    "anchor.finalized",
    "history.appended",
    "slot.removed",
];

/// Aborts if this is the point and the passage that were asked for.
#[cfg(feature = "failpoints")]
pub(crate) fn hit(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);

    debug_assert!(FAIL_POINTS.contains(&name), "fail point {name} is not listed");
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("TALLY_FAILPOINT").ok()?;
        let (name, nth) = text.split_once(':').unwrap_or((&text, "1"));
        Some((name.to_owned(), nth.parse().unwrap_or(1)))
    });
    if let Some((wanted, nth)) = wanted
        && wanted == name
        && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == *nth
    {
        std::process::abort();
    }
}

#[cfg(not(feature = "failpoints"))]
pub(crate) fn hit(_name: &str) {}
