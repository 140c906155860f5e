//! Where a binding stands, beside what the register says: what of it really runs, and how often it failed.
//!
//! A standing is a function of the log, because outcomes are: `init` and `migrate` ended as the lifecycle event's outcome
//! says, failures are counted from outcomes alone, and the state's bytes are those of its rows. Takes and gives its own canonical bytes, which a delta carries
//! and a restart reads.
//!
//! ```text
//! standing: u8 version 2 | u8 status | u64 installed index | u64 state bytes | u8 count | count * u64 sequence
//!     | payload of `installed`
//! ```

use tally_protocol::id::{Index, Sequence};
use tally_protocol::plugin_event::{Binding, PluginEvent};

use crate::error::HostError;

/// So many failures in a row stop a binding.
pub const QUARANTINE_FAILURES: usize = 16;
/// If the first and the last of them are fewer than so many sequences of the stream apart.
pub const QUARANTINE_SPAN: u64 = 4_096;

/// Version 1 did not count the state's bytes; nothing was ever stored in it.
const VERSION: u8 = 2;

/// Whether a binding runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// It is given events.
    Running,
    /// It is stopped, by an event or by its failures, until it is configured or upgraded.
    Quarantined,
    /// Its `init` was never accepted: it has no state, and waits to be configured, upgraded or removed.
    Failed,
}

impl Status {
    const ALL: [Self; 3] = [Self::Running, Self::Quarantined, Self::Failed];

    /// The status as it is shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Quarantined => "quarantined",
            Self::Failed => "failed",
        }
    }
}

/// Where a binding stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The event that installed it: its place in outcomes.
    pub installed: Index,
    /// What runs; for [`Status::Failed`], what was to run.
    pub binding: Binding,
    /// Whether it runs.
    pub status: Status,
    /// The sequences of its newest failures without anything else between, at most [`QUARANTINE_FAILURES`].
    pub failures: Vec<Sequence>,
    /// Bytes of all keys and values of its state, which its limit `state_bytes` bounds.
    pub state_bytes: u64,
}

/// What a range counts of a binding.
pub(crate) struct Counted {
    pub(crate) status: Status,
    pub(crate) failures: Vec<Sequence>,
    pub(crate) state_bytes: u64,
}

impl Standing {
    pub(crate) const fn new(installed: Index, binding: Binding) -> Self {
        Self { installed, binding, status: Status::Failed, failures: Vec::new(), state_bytes: 0 }
    }

    pub(crate) fn begin(&mut self, binding: Binding) {
        (self.binding, self.status) = (binding, Status::Running);
        self.failures.clear();
    }

    pub(crate) fn quarantine(&mut self) {
        if self.status == Status::Running {
            self.status = Status::Quarantined;
        }
    }

    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let payload = PluginEvent::Installed(self.binding.clone()).payload();
        let status = Status::ALL.iter().position(|status| *status == self.status).unwrap_or_default();
        let mut out = Vec::with_capacity(19 + 8 * self.failures.len() + payload.len());
        out.extend([VERSION, u8::try_from(status).unwrap_or(u8::MAX)]);
        out.extend_from_slice(&self.installed.get().to_be_bytes());
        out.extend_from_slice(&self.state_bytes.to_be_bytes());
        out.push(u8::try_from(self.failures.len()).unwrap_or(u8::MAX));
        for sequence in &self.failures {
            out.extend_from_slice(&sequence.get().to_be_bytes());
        }
        out.extend_from_slice(&payload);
        out
    }

    /// Reads the bytes that [`Standing::encode`] writes.
    ///
    /// # Errors
    /// Any other.
    pub fn decode(bytes: &[u8]) -> Result<Self, HostError> {
        let standing = Self::read(bytes).ok_or(HostError::Standing)?;
        if standing.encode() == bytes { Ok(standing) } else { Err(HostError::Standing) }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let ([VERSION, status], rest) = bytes.split_first_chunk()? else { return None };
        let (installed, rest) = rest.split_first_chunk()?;
        let (state_bytes, rest) = rest.split_first_chunk()?;
        let (count, rest) = rest.split_first()?;
        let count = Some(usize::from(*count)).filter(|count| *count <= QUARANTINE_FAILURES)?;
        let (failures, payload) = rest.split_at_checked(8 * count)?;
        let number = |chunk: &[u8]| chunk.try_into().ok().map(u64::from_be_bytes).map(Sequence::new);
        let PluginEvent::Installed(binding) = PluginEvent::decode("tally.plugin.installed", payload).ok()? else {
            return None;
        };
        Some(Self {
            installed: Index::new(u64::from_be_bytes(*installed)),
            binding,
            status: *Status::ALL.get(usize::from(*status))?,
            failures: failures.chunks_exact(8).map(number).collect::<Option<_>>()?,
            state_bytes: u64::from_be_bytes(*state_bytes),
        })
    }
}

/// Counts one record of a binding; gives whether it stops there.
pub(crate) fn count_failure(failures: &mut Vec<Sequence>, sequence: Sequence, failed: bool) -> bool {
    if !failed {
        failures.clear();
        return false;
    }
    if failures.len() == QUARANTINE_FAILURES {
        failures.remove(0);
    }
    failures.push(sequence);
    let near = failures.first().is_some_and(|first| sequence.get() - first.get() < QUARANTINE_SPAN);
    failures.len() == QUARANTINE_FAILURES && near
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stops_at(failing: impl Iterator<Item = (u64, bool)>) -> Option<u64> {
        let mut failures = Vec::new();
        failing.filter_map(|(at, failed)| count_failure(&mut failures, Sequence::new(at), failed).then_some(at)).next()
    }

    #[test]
    fn sixteen_failures_in_a_row_stop_and_fifteen_do_not() {
        assert_eq!(stops_at((1..=40).map(|at| (at, true))), Some(16));
        assert_eq!(stops_at((1..=40).map(|at| (at, at != 16))), Some(32));
        assert_eq!(stops_at((1..=400).map(|at| (at, at % 16 != 0))), None);
    }

    #[test]
    fn failures_that_lie_far_apart_do_not_stop() {
        // Fifteen gaps between sixteen failures.
        assert_eq!(stops_at((0..100).map(|at| (1 + at * 273, true))), Some(1 + 15 * 273));
        assert_eq!(stops_at((0..100).map(|at| (1 + at * 274, true))), None);
        // A few far away, then near ones: the far ones fall out.
        assert_eq!(stops_at((0..100).map(|at| (if at < 5 { at } else { 10_000 + at }, true))), Some(10_020));
    }
}
