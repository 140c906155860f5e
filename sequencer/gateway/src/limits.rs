//! Every bound of the HTTP door, with its reason, and the budgets that enforce those that span requests.
//!
//! Bounds of the protocol itself (events per request, payload, strings, JSON depth) are in
//! `tally_protocol::limits`. A budget never queues: what does not fit now is refused with a hint to retry.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tally_protocol::limits::BODY_BYTES_MAX;

/// Bounds of the HTTP door. There is no `Default`: the node states each choice.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once. Each costs at most a few hundred KiB of buffers.
    pub connections_max: usize,
    /// One request body.
    pub body_bytes_max: usize,
    /// All request bodies being received or worked on together: the gateway's memory for input.
    pub bodies_bytes_max: usize,
    /// Time for a connection's first bytes, a TLS handshake, or a request's header to arrive: slow clients.
    pub header_timeout: Duration,
    /// Time for a whole body to arrive.
    pub body_timeout: Duration,
    /// How long a connection may stay without a byte in either direction.
    pub idle_timeout: Duration,
    /// How long a client may refuse to take bytes of an answer.
    pub write_timeout: Duration,
    /// Reads from the log at once; each may hold a page in memory.
    pub reads_max: usize,
    /// Live feeds at once; each holds at most two pages in memory.
    pub feeds_max: usize,
    /// Events of one page.
    pub page_events_max: usize,
    /// Bytes of frames after which a page ends. A page holds at least one event, so at most one frame more.
    pub page_bytes_max: usize,
    /// How often a feed without news says that it lives. Well below `idle_timeout`.
    pub feed_heartbeat: Duration,
    /// Streams of one HTTP/2 connection.
    pub http2_streams_max: u32,
    /// How long a request waits for its receipts before its outcome is called unknown.
    pub receipt_timeout: Duration,
    /// How long a drain waits for requests in flight.
    pub drain_timeout: Duration,
}

impl Limits {
    /// The choices `tally dev` makes; enough for a small production node too.
    #[must_use]
    pub fn standard() -> Self {
        Self {
            connections_max: 1024,
            body_bytes_max: BODY_BYTES_MAX,
            bodies_bytes_max: 256 << 20,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            reads_max: 64,
            feeds_max: 128,
            page_events_max: 1000,
            page_bytes_max: 2 << 20,
            feed_heartbeat: Duration::from_secs(10),
            http2_streams_max: 64,
            receipt_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// A number of bytes that may be in use at once, over all requests.
#[derive(Debug)]
pub(crate) struct ByteBudget {
    bytes_max: usize,
    used: AtomicUsize,
}

/// Bytes taken out of a budget; they go back when this is dropped.
#[derive(Debug)]
pub(crate) struct BytePermit {
    budget: Arc<ByteBudget>,
    bytes: usize,
}

impl ByteBudget {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { bytes_max, used: AtomicUsize::new(0) })
    }

    /// A permit for nothing yet.
    pub(crate) fn permit(self: &Arc<Self>) -> BytePermit {
        BytePermit { budget: Arc::clone(self), bytes: 0 }
    }

    /// How much is taken.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

impl BytePermit {
    /// Takes `bytes` more; false, and nothing taken, if they do not fit.
    #[must_use]
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let fits = |used: usize| used.checked_add(bytes).filter(|&used| used <= self.budget.bytes_max);
        let taken = self.budget.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        if taken {
            self.bytes += bytes;
        }
        taken
    }
}

impl Drop for BytePermit {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_gives_what_it_has_and_takes_it_back() {
        let budget = ByteBudget::new(10);
        let mut first = budget.permit();
        assert!(first.grow(6) && first.grow(4) && !first.grow(1));
        let mut second = budget.permit();
        assert!(!second.grow(1) && !second.grow(usize::MAX));
        drop(first);
        assert!(second.grow(10));
        assert_eq!(budget.used(), 10);
        drop(second);
        assert_eq!(budget.used(), 0);
    }
}
