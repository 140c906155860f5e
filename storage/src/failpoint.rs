//! Named points at which a test may end the process, as a power cut would; for this room and those above it.
//!
//! Only with the feature `failpoints`: `TALLY_FAILPOINT=<name>[:<nth>]` aborts at the nth passage (default the first).
//! Without the feature the calls compile to nothing. Who calls lists the names.

/// Aborts if this is the point and the passage that were asked for.
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

/// Nothing.
#[cfg(not(feature = "failpoints"))]
pub fn fail_point(_name: &str) {}
