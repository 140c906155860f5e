//! Counts of the QUIC door. They are written out with those of HTTP (`crate::metrics`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tally_core::metrics::Counter;

use crate::Gateway;

/// How many of something are there now.
#[derive(Debug, Default)]
pub(crate) struct Live(AtomicU64);

impl Live {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One of something that is counted as long as this lives.
pub(super) struct Counted {
    gateway: Arc<Gateway>,
    which: fn(&QuicMetrics) -> &Live,
}

impl Counted {
    pub(super) fn new(gateway: &Arc<Gateway>, which: fn(&QuicMetrics) -> &Live) -> Self {
        which(&gateway.metrics.quic).0.fetch_add(1, Ordering::Relaxed);
        Self { gateway: Arc::clone(gateway), which }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.which)(&self.gateway.metrics.quic).0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Everything the QUIC door measures.
#[derive(Debug, Default)]
pub(crate) struct QuicMetrics {
    pub(crate) connections: Live,
    pub(crate) connections_total: Counter,
    pub(crate) connections_refused: Counter,
    pub(crate) handshakes_failed: Counter,
    pub(crate) streams: Live,
    pub(crate) streams_total: Counter,
    pub(crate) submissions: Counter,
    pub(crate) events: Counter,
    pub(crate) bytes: Counter,
    pub(crate) refused: Counter,
    pub(crate) outcome_bytes: Counter,
    pub(crate) malformed: Counter,
    pub(crate) too_slow: Counter,
    pub(crate) feeds: Live,
    pub(crate) feed_events: Counter,
}

impl QuicMetrics {
    /// Name, help and value of every gauge.
    pub(crate) fn gauges(&self) -> [(&'static str, &'static str, &Live); 3] {
        [
            ("quic_connections", "Open QUIC connections.", &self.connections),
            ("quic_streams", "Open QUIC streams, control streams aside.", &self.streams),
            ("quic_feeds", "Live feeds over QUIC.", &self.feeds),
        ]
    }

    /// Name, help and value of every counter.
    pub(crate) fn counters(&self) -> [(&'static str, &'static str, &Counter); 12] {
        [
            ("quic_connections_total", "QUIC connections taken.", &self.connections_total),
            ("quic_connections_refused_total", "QUIC connections over a bound.", &self.connections_refused),
            ("quic_handshakes_failed_total", "QUIC connections that ended before Hello.", &self.handshakes_failed),
            ("quic_streams_total", "QUIC streams opened.", &self.streams_total),
            ("quic_submissions_total", "Submissions read.", &self.submissions),
            ("quic_events_total", "Events of submissions read.", &self.events),
            ("quic_submission_bytes_total", "Bytes of submissions read.", &self.bytes),
            ("quic_refused_total", "Sessions, submissions and feeds refused.", &self.refused),
            ("quic_outcome_bytes_total", "Bytes of outcomes written.", &self.outcome_bytes),
            ("quic_malformed_total", "Connections closed because they broke the protocol.", &self.malformed),
            ("quic_too_slow_total", "Connections and streams of slow clients.", &self.too_slow),
            ("quic_feed_events_total", "Events sent by feeds over QUIC.", &self.feed_events),
        ]
    }
}
