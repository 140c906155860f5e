//! Counts, sizes and latencies of the pipeline, for `/metrics` and tests. Names and units; no labels but the rung.
//!
//! Counters are relaxed atomics: they are read for people, never for decisions.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds.
    pub fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// Reads.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that rises and falls.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Sets.
    pub fn set(&self, to: u64) {
        self.0.store(to, Ordering::Relaxed);
    }

    /// Reads.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Power-of-two buckets: bucket `i` counts observations below `2^i` (and not below `2^(i-1)`).
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; 32],
    sum: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; 32], sum: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Counts one observation.
    pub fn observe(&self, value: u64) {
        let bucket = (64 - value.leading_zeros() as usize).min(31);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Upper bounds (exclusive) with cumulative counts, then the sum.
    pub fn read(&self) -> (Vec<(u64, u64)>, u64) {
        let mut total = 0;
        let rows = self
            .buckets
            .iter()
            .enumerate()
            .map(|(at, bucket)| {
                total += bucket.load(Ordering::Relaxed);
                (1u64 << at, total)
            })
            .collect();
        (rows, self.sum.load(Ordering::Relaxed))
    }
}

/// Everything the core measures.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Events that asked for admission.
    pub events_submitted: Counter,
    /// Events that got an index.
    pub events_accepted: Counter,
    /// Events answered with the receipt they had.
    pub events_duplicate: Counter,
    /// Events refused by a rule.
    pub events_rejected: Counter,
    /// Submissions turned away at the door.
    pub submissions_refused: Counter,
    /// Bytes of frames between admission and acknowledgement.
    pub inflight_bytes: Gauge,
    /// Signatures per verified batch.
    pub verify_batch_signatures: Histogram,
    /// Callers whose signatures are verified apart, because one failed lately.
    pub suspect_lanes: Gauge,
    /// Verified batches that held a bad signature.
    pub verify_batches_bisected: Counter,
    /// µs a batch of signatures took.
    pub verify_micros: Histogram,
    /// Events per run.
    pub run_events: Histogram,
    /// Bytes per run.
    pub run_bytes: Histogram,
    /// µs of one durable write.
    pub append_micros: Histogram,
    /// µs of one fence store.
    pub fence_micros: Histogram,
    /// µs of folding and signing one group of runs.
    pub certify_micros: Histogram,
    /// µs from admission to acknowledgement.
    pub receipt_micros: Histogram,
    /// Events the derived indexes lag behind the durable log.
    pub index_lag_events: Gauge,
    /// Events whose outcomes were stored.
    pub events_applied: Counter,
    /// µs from reading a range of events to its outcomes being stored.
    pub apply_micros: Histogram,
    /// Events that are signed and not applied; only with a follower.
    pub applied_lag_events: Gauge,
    /// 1 while applying is halted: an alarm.
    pub apply_halted: Gauge,
    /// Times applying halted.
    pub apply_halts: Counter,
    /// VES commitments made.
    pub commitments: Counter,
    /// Times the log's signer refused to publish.
    pub signer_failures: Counter,
    /// Checkpoints published.
    pub checkpoints_published: Counter,
    /// Ids in the idempotency window.
    pub window_ids: Gauge,
}

/// One metric's reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// See [`Counter`].
    Counter(u64),
    /// See [`Gauge`].
    Gauge(u64),
    /// See [`Histogram`]: bounds with cumulative counts, and the sum.
    Histogram(Vec<(u64, u64)>, u64),
}

impl Metrics {
    /// All readings: name, help, value.
    #[must_use]
    pub fn read(&self) -> Vec<(&'static str, &'static str, Reading)> {
        let counter = |counter: &Counter| Reading::Counter(counter.get());
        let gauge = |gauge: &Gauge| Reading::Gauge(gauge.get());
        let histogram = |histogram: &Histogram| {
            let (rows, sum) = histogram.read();
            Reading::Histogram(rows, sum)
        };
        vec![
            ("events_submitted_total", "Events that asked for admission.", counter(&self.events_submitted)),
            ("events_accepted_total", "Events that got an index.", counter(&self.events_accepted)),
            ("events_duplicate_total", "Events answered with their first receipt.", counter(&self.events_duplicate)),
            ("events_rejected_total", "Events refused by a rule.", counter(&self.events_rejected)),
            ("submissions_refused_total", "Submissions turned away at the door.", counter(&self.submissions_refused)),
            ("inflight_bytes", "Bytes between admission and acknowledgement.", gauge(&self.inflight_bytes)),
            ("verify_batch_signatures", "Signatures per verified batch.", histogram(&self.verify_batch_signatures)),
            ("verify_batches_bisected_total", "Batches with a bad signature.", counter(&self.verify_batches_bisected)),
            ("verify_micros", "Microseconds per batch of signatures.", histogram(&self.verify_micros)),
            ("run_events", "Events per run.", histogram(&self.run_events)),
            ("run_bytes", "Bytes per run.", histogram(&self.run_bytes)),
            ("append_micros", "Microseconds per durable write.", histogram(&self.append_micros)),
            ("fence_micros", "Microseconds per fence store.", histogram(&self.fence_micros)),
            ("certify_micros", "Microseconds per folded and signed group.", histogram(&self.certify_micros)),
            ("receipt_micros", "Microseconds from admission to acknowledgement.", histogram(&self.receipt_micros)),
            ("index_lag_events", "Events the indexes lag behind the log.", gauge(&self.index_lag_events)),
            ("events_applied_total", "Events whose outcomes were stored.", counter(&self.events_applied)),
            ("apply_micros", "Microseconds per applied range of events.", histogram(&self.apply_micros)),
            ("applied_lag_events", "Events signed and not applied.", gauge(&self.applied_lag_events)),
            ("apply_halted", "1 while applying is halted.", gauge(&self.apply_halted)),
            ("apply_halts_total", "Times applying halted.", counter(&self.apply_halts)),
            ("commitments_total", "VES commitments made.", counter(&self.commitments)),
            ("checkpoints_published_total", "Checkpoints published.", counter(&self.checkpoints_published)),
            ("signer_failures_total", "Times the log's signer refused.", counter(&self.signer_failures)),
            ("window_ids", "Ids in the idempotency window.", gauge(&self.window_ids)),
        ]
    }
}
