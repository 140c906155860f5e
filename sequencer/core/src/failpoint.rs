//! Named points at which a test may end the process, as a power cut would.
//!
//! Only with the feature `failpoints`: `TALLY_FAILPOINT=<name>[:<nth>]` aborts at the nth passage (default the first).
//! Without the feature the calls compile to nothing.

/// Every fail point of a node without a follower, in the order an event passes them.
pub const FAIL_POINTS: &[&str] = &[
    "admit.taken",
    "verify.done",
    "order.assigned",
    "append.before_write",
    "append.after_write",
    "fold.done",
    "fence.before_store",
    "fence.after_store",
    "sign.done",
    "acknowledge.before",
    "acknowledge.after",
    "index.before_write",
    "index.after_write",
    "publish.before_write",
    "publish.after_write",
    "commit.before_write",
    "commit.after_write",
    "recover.indexed",
    "recover.folded",
    "recover.fenced",
];

/// Those of a node that has a follower, in the same order.
pub const APPLY_FAIL_POINTS: &[&str] = &[
    "apply.cleared",
    "apply.opened",
    "apply.before_follower",
    "apply.after_follower",
    "apply.signed",
    "apply.before_write",
    "apply.after_write",
    "apply.committed",
];

/// Aborts if this is the point and the passage that were asked for.
#[cfg(feature = "failpoints")]
pub(crate) fn hit(name: &str) {
    debug_assert!(FAIL_POINTS.contains(&name) || APPLY_FAIL_POINTS.contains(&name), "fail point {name} is not listed");
    fail_point(name);
}

/// The same for rooms above the core, which list their points themselves.
#[cfg(feature = "failpoints")]
pub fn fail_point(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);

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

/// The same for rooms above the core, which list their points themselves.
#[cfg(not(feature = "failpoints"))]
pub fn fail_point(_name: &str) {}
