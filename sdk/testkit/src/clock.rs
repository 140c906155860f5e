//! Time as a value: a clock that stands still until a test moves it.
//!
//! The core's `Clock` seam is implemented for it where the tests are, so that this crate needs no server crate.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use tally_protocol::time::LogTime;

/// A wall clock and a monotonic clock that move only by hand. Shared by reference; every method takes `&self`.
#[derive(Debug)]
pub struct ManualClock {
    wall_micros: AtomicU64,
    monotonic_micros: AtomicU64,
}

impl ManualClock {
    /// A clock whose wall shows `wall`; the monotonic one starts at 0.
    #[must_use]
    pub const fn new(wall: LogTime) -> Self {
        Self { wall_micros: AtomicU64::new(wall.micros()), monotonic_micros: AtomicU64::new(0) }
    }

    /// What the wall shows.
    #[must_use]
    pub fn wall(&self) -> LogTime {
        LogTime::from_micros(self.wall_micros.load(Ordering::SeqCst))
    }

    /// Microseconds that have passed, whatever the wall says.
    #[must_use]
    pub fn monotonic_micros(&self) -> u64 {
        self.monotonic_micros.load(Ordering::SeqCst)
    }

    /// Time passes: both clocks move.
    pub fn advance(&self, by: Duration) {
        let micros = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        self.wall_micros.fetch_add(micros, Ordering::SeqCst);
        self.monotonic_micros.fetch_add(micros, Ordering::SeqCst);
    }

    /// Somebody sets the wall clock; the monotonic one does not notice.
    pub fn set_wall(&self, wall: LogTime) {
        self.wall_micros.store(wall.micros(), Ordering::SeqCst);
    }
}
