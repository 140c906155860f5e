//! How often and how long to try: exponential backoff with full jitter, bounded in number and in time.
//!
//! Pure: the random number is an argument. Retrying a submission is safe because its event ids stay the same.

use std::time::Duration;

/// Bounds of retrying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often a request is sent at most; 1 means no retry.
    pub attempts_max: u32,
    /// The first pause is drawn from zero to this, the next from twice as much, and so on.
    pub pause_first: Duration,
    /// No pause is longer, except where the server names a longer one.
    pub pause_max: Duration,
    /// Pauses named by the server are kept up to this; a longer one ends the retries.
    pub retry_after_max: Duration,
}

impl RetryPolicy {
    /// Eight attempts, pauses from 50 ms up to 5 s: rides out a restart of the server.
    pub const STANDARD: Self = Self {
        attempts_max: 8,
        pause_first: Duration::from_millis(50),
        pause_max: Duration::from_secs(5),
        retry_after_max: Duration::from_secs(60),
    };

    /// One attempt.
    pub const NEVER: Self = Self { attempts_max: 1, ..Self::STANDARD };

    /// How long to pause after attempt number `attempt` (from 1) failed; `None`: give up. `random` is any number,
    /// different each time, so that many clients do not return at the same moment.
    #[must_use]
    pub fn pause(&self, attempt: u32, retry_after: Option<Duration>, random: u64) -> Option<Duration> {
        if attempt >= self.attempts_max || retry_after.is_some_and(|named| named > self.retry_after_max) {
            return None;
        }
        let doubled = self.pause_first.saturating_mul(1 << (attempt - 1).min(20));
        let ceiling = u64::try_from(doubled.min(self.pause_max).as_micros()).unwrap_or(u64::MAX);
        let drawn = Duration::from_micros(random % ceiling.saturating_add(1));
        // Never sooner than the server asked; the jitter comes on top.
        Some(retry_after.map_or(drawn, |named| named + drawn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_bound_and_end_with_the_attempts() {
        let policy = RetryPolicy { attempts_max: 30, ..RetryPolicy::STANDARD };
        let longest = |attempt| (0..10_000).filter_map(|n| policy.pause(attempt, None, n * 7919)).max().unwrap();
        assert!(longest(1) <= Duration::from_millis(50));
        assert!(longest(3) > longest(1) && longest(3) <= Duration::from_millis(200));
        assert!((1..30).all(|attempt| longest(attempt) <= policy.pause_max));
        assert_eq!(policy.pause(30, None, 1), None);
        assert_eq!(RetryPolicy::NEVER.pause(1, None, 1), None);
    }

    #[test]
    fn the_servers_pause_is_kept_or_ends_the_retries() {
        let named = Duration::from_secs(2);
        assert!((0..100).all(|n| RetryPolicy::STANDARD.pause(1, Some(named), n).unwrap() >= named));
        assert_eq!(RetryPolicy::STANDARD.pause(1, Some(Duration::from_secs(61)), 1), None);
    }
}
