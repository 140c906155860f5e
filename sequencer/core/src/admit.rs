//! The write door. Takes a submission (frames of one authenticated caller), gives an admitted submission and a
//! ticket. Owns the byte permits. Moves no rung. Fails at once when there is no room or the node does not take events;
//! then nothing was taken.
//!
//! The door never queues without a bound: what is inside is limited in bytes over all callers and for each one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwapOption;
use crossbeam_channel::{Sender, TrySendError};
use tally_protocol::frame::Frame;
use tally_protocol::limits::EVENTS_PER_REQUEST_MAX;
use tokio::sync::oneshot;

use crate::acknowledge::{Outcome, Ticket};
use crate::failpoint;
use crate::shared::{Shared, lock};
use crate::watermarks::NodeState;

/// Who submits, for fairness: the authenticated caller, never a name out of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lane(pub u64);

/// Why nothing of a submission was taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No room now.
    #[error("the sequencer is busy, retry in {retry_after_ms} ms")]
    Busy {
        /// When to try again.
        retry_after_ms: u64,
    },
    /// No events, or more than fit.
    #[error("a submission holds 1 to {max} events, this one {events}")]
    Count {
        /// How many it held.
        events: usize,
        /// How many fit.
        max: usize,
    },
    /// More bytes than one caller may ever have in flight.
    #[error("a submission holds at most {max} bytes, this one {bytes}")]
    TooLarge {
        /// How many it held.
        bytes: usize,
        /// How many fit.
        max: usize,
    },
    /// The node is shutting down.
    #[error("the sequencer is shutting down")]
    Draining,
    /// The node serves reads only.
    #[error("the sequencer serves reads only: {0}")]
    ReadOnly(String),
    /// A durable write failed.
    #[error("the sequencer stopped: {0}")]
    Poisoned(String),
}

/// A submission inside the door.
pub(crate) struct Admitted {
    pub(crate) frames: Vec<Frame>,
    pub(crate) reply: Reply,
}

/// Where a submission's results go; holds its byte permit until then.
pub(crate) struct Reply {
    sender: oneshot::Sender<Outcome>,
    pub(crate) admitted_micros: u64,
    permit: Permit,
}

/// Byte permits: a total, and a share for each lane.
pub(crate) struct Permits {
    used: AtomicUsize,
    lanes: Mutex<HashMap<Lane, usize>>,
}

struct Permit {
    permits: Arc<Permits>,
    shared: Arc<Shared>,
    lane: Lane,
    bytes: usize,
}

impl Permits {
    pub(crate) fn new() -> Self {
        Self { used: AtomicUsize::new(0), lanes: Mutex::new(HashMap::new()) }
    }

    fn take(self: &Arc<Self>, shared: &Arc<Shared>, lane: Lane, suspect: bool, bytes: usize) -> Option<Permit> {
        let mut lanes = lock(&self.lanes);
        let mine = lanes.get(&lane).copied().unwrap_or(0);
        let used = self.used.load(Ordering::Relaxed);
        let most = shared.config.inflight_bytes_per_lane_max;
        // A suspect waits for its answers with little in flight; one submission of any lawful size is always let in.
        let full = if suspect { mine > 0 && mine + bytes > most / SUSPECT_PART } else { mine + bytes > most };
        if full || used + bytes > shared.config.inflight_bytes_max {
            return None;
        }
        lanes.insert(lane, mine + bytes);
        self.used.store(used + bytes, Ordering::Relaxed);
        shared.metrics.inflight_bytes.set((used + bytes) as u64);
        Some(Permit { permits: Arc::clone(self), shared: Arc::clone(shared), lane, bytes })
    }
}

impl Reply {
    /// Who submitted.
    pub(crate) fn lane(&self) -> Lane {
        self.permit.lane
    }

    /// Ends the ticket. The room is free before the caller sees the outcome: who submits again then is let in.
    pub(crate) fn answer(self, outcome: Outcome) {
        let Self { sender, permit, .. } = self;
        drop(permit);
        // A caller who is gone has lost nothing.
        let _ = sender.send(outcome);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut lanes = lock(&self.permits.lanes);
        if let Some(mine) = lanes.get_mut(&self.lane) {
            *mine -= self.bytes;
            if *mine == 0 {
                lanes.remove(&self.lane);
            }
        }
        let used = self.permits.used.load(Ordering::Relaxed) - self.bytes;
        self.permits.used.store(used, Ordering::Relaxed);
        self.shared.metrics.inflight_bytes.set(used as u64);
    }
}

/// The write door; clones share it.
#[derive(Clone)]
pub struct Submitter {
    shared: Arc<Shared>,
    permits: Arc<Permits>,
    door: Arc<ArcSwapOption<Door>>,
}

/// A suspect may have one part in so many of a lane's bytes in flight.
const SUSPECT_PART: usize = 64;

/// Where admitted submissions go: those of callers in good standing, and those of suspects (see [`crate::verify`]).
pub(crate) struct Door {
    pub(crate) good: Sender<Admitted>,
    pub(crate) suspect: Sender<Admitted>,
}

/// A hint for callers that found no room: about one group commit.
const RETRY_AFTER_MS: u64 = 50;

impl Submitter {
    pub(crate) fn new(shared: Arc<Shared>, door: Arc<ArcSwapOption<Door>>) -> Self {
        Self { shared, permits: Arc::new(Permits::new()), door }
    }

    /// Submits events of one caller. Each gets its own result, in this order; a bad one never changes the fate of its
    /// neighbours.
    ///
    /// # Errors
    /// Nothing was taken; see [`Refused`].
    pub fn submit(&self, lane: Lane, frames: Vec<Frame>) -> Result<Ticket, Refused> {
        self.shared.metrics.events_submitted.add(frames.len() as u64);
        let result = self.take(lane, frames);
        if result.is_err() {
            self.shared.metrics.submissions_refused.add(1);
        }
        result
    }

    fn take(&self, lane: Lane, frames: Vec<Frame>) -> Result<Ticket, Refused> {
        match self.shared.watermarks.state() {
            NodeState::Running => {}
            NodeState::ReadOnly(why) => return Err(Refused::ReadOnly(why)),
            NodeState::Poisoned(why) => return Err(Refused::Poisoned(why)),
            NodeState::Draining => return Err(Refused::Draining),
        }
        if frames.is_empty() || frames.len() > EVENTS_PER_REQUEST_MAX {
            return Err(Refused::Count { events: frames.len(), max: EVENTS_PER_REQUEST_MAX });
        }
        let bytes = frames.iter().map(|frame| frame.bytes().len()).sum();
        let max = self.shared.config.inflight_bytes_per_lane_max.min(self.shared.config.inflight_bytes_max);
        if bytes > max {
            return Err(Refused::TooLarge { bytes, max });
        }
        let busy = Refused::Busy { retry_after_ms: RETRY_AFTER_MS };
        let suspect = self.shared.suspects.holds(lane);
        let permit = self.permits.take(&self.shared, lane, suspect, bytes).ok_or(busy.clone())?;
        let (sender, receiver) = oneshot::channel();
        let reply = Reply { sender, admitted_micros: self.shared.clock.monotonic_micros(), permit };
        let door = self.door.load();
        let Some(door) = door.as_ref() else { return Err(Refused::Draining) };
        let queue = if suspect { &door.suspect } else { &door.good };
        match queue.try_send(Admitted { frames, reply }) {
            Ok(()) => {
                failpoint::hit("admit.taken");
                Ok(Ticket::new(receiver))
            }
            Err(TrySendError::Full(_)) => Err(busy),
            Err(TrySendError::Disconnected(_)) => Err(Refused::Draining),
        }
    }
}
