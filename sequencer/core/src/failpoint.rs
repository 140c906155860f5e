//! Named points at which a test may end the process, as a power cut would.
//!
//! Only with the feature `failpoints`: `TALLY_FAILPOINT=<name>[:<nth>]` aborts at the nth passage (default the first).
//! Without the feature the calls compile to nothing. Rooms above the core list their points themselves.

pub use tally_storage::fail_point;

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
    // Beside it, when pages are given.
    "apply.before_replace",
    // The storage's own: the table file is whole and not yet part of the database.
    "replace.file_written",
    "apply.after_replace",
    "apply.pages_written",
];

/// Aborts if this is the point and the passage that were asked for.
#[cfg(feature = "failpoints")]
pub(crate) fn hit(name: &str) {
    debug_assert!(FAIL_POINTS.contains(&name) || APPLY_FAIL_POINTS.contains(&name), "fail point {name} is not listed");
    fail_point(name);
}

#[cfg(not(feature = "failpoints"))]
pub(crate) fn hit(_name: &str) {}
