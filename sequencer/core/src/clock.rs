//! The two clocks of a node: the wall, which log time follows, and the monotonic one, which watches the wall.
//!
//! Clock and randomness are arguments everywhere in the core; [`SystemClock`] is the only reader of the real ones.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tally_protocol::limits::CLOCK_STEP_MAX;
use tally_protocol::time::LogTime;

/// What the core knows of time.
pub trait Clock: Send + Sync {
    /// The wall clock, µs since the Unix epoch.
    fn wall(&self) -> LogTime;
    /// A clock that only moves forward, µs since some fixed instant.
    fn monotonic_micros(&self) -> u64;
}

/// The operating system's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic zero is now.
    #[must_use]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn wall(&self) -> LogTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        LogTime::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    fn monotonic_micros(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// How long an anchor of the step guard is kept. Slewing moves a wall clock by at most 500 ppm, 30 ms a minute:
/// far below the step that alarms, so that only real steps do.
const REANCHOR_MICROS: u64 = 60_000_000;

/// Tells a wall clock that was stepped from one that runs.
///
/// Log time never falls, so a wall clock stepped forward by an hour could never be taken back. Past
/// [`CLOCK_STEP_MAX`] of difference to the monotonic clock, ordering stops instead.
#[derive(Debug)]
pub struct StepGuard {
    wall: u64,
    monotonic: u64,
}

impl StepGuard {
    /// Starts watching.
    #[must_use]
    pub fn new(clock: &dyn Clock) -> Self {
        Self { wall: clock.wall().micros(), monotonic: clock.monotonic_micros() }
    }

    /// Reads the wall clock.
    ///
    /// # Errors
    /// The signed step in µs, if the wall left the monotonic clock by more than the bound.
    pub fn read(&mut self, clock: &dyn Clock) -> Result<LogTime, i128> {
        let (wall, monotonic) = (clock.wall(), clock.monotonic_micros());
        let moved = i128::from(wall.micros()) - i128::from(self.wall);
        let elapsed = i128::from(monotonic) - i128::from(self.monotonic);
        let step = moved - elapsed;
        if step.unsigned_abs() > CLOCK_STEP_MAX.as_micros() {
            return Err(step);
        }
        if monotonic.saturating_sub(self.monotonic) >= REANCHOR_MICROS {
            (self.wall, self.monotonic) = (wall.micros(), monotonic);
        }
        Ok(wall)
    }
}
