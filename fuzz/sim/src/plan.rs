//! What will be done to the node: a list of steps that follows from a seed alone.
//!
//! Every seed has its own mood: which faults it knows and how often, how large its submissions are, how tight the
//! node's bounds. A step carries its own seed, so that steps can be left out of a plan without changing the others.

use tally_testkit::TestRng;

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A client submits events of mixed fortune.
    Submit,
    /// A verify worker takes what waits.
    Verify,
    /// One submission is ordered.
    Order,
    /// The run that fills is written and synced.
    Append,
    /// Durable runs are folded and signed as a group.
    Certify,
    /// The next group's receipts go out.
    Acknowledge,
    /// The next run goes into the derived indexes.
    Index,
    /// A beat of publishing.
    Publish,
    /// A round of VES commitments.
    Commit,
    /// Everything inside is finished.
    Pump,
    /// Time passes.
    Tick,
    /// A client gives up waiting.
    Vanish,
    /// A sync will fail.
    FailSync,
    /// A write will find the disk full.
    FillDisk,
    /// A read will fail.
    FailRead,
    /// The disk becomes slow.
    SlowDisk,
    /// The fence will fail.
    FailFence,
    /// The receipts' signer will refuse once.
    FailReceiptSigner,
    /// The published checkpoints' signer will refuse once.
    FailCheckpointSigner,
    /// Somebody sets the wall clock.
    StepClock,
    /// The process or the system dies; a restart follows.
    Crash,
    /// An orderly stop and a restart.
    Drain,
    /// The data directory is copied.
    Backup,
    /// The copy is started in place of the newest; then the newest again.
    Restore,
    /// A copy without its fence is started beside the newest.
    Fork,
    /// Every derived family is deleted while the node is down.
    WipeDerived,
}

/// A step with its own chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// What.
    pub kind: Kind,
    /// Where its choices come from.
    pub seed: u64,
}

/// How a node is bounded and how its clients behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mood {
    /// Events in a submission, at most.
    pub submission_events_max: u64,
    /// Payload bytes, at most.
    pub payload_bytes_max: u64,
    /// Of 100 events, how many are not simply new and good.
    pub mischief_percent: u64,
    /// The node's bound on the indexes' lag.
    pub index_lag_events_max: u64,
    /// The node's bound on bytes in flight.
    pub inflight_bytes_max: usize,
    /// Signatures that a worker gathers.
    pub verify_batch_max: usize,
    /// Rows of a look-up segment: so few that some are merged, or so many that a crash loses them.
    pub segment_rows: u64,
}

/// A seed's plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Where it came from.
    pub seed: u64,
    /// Bounds and behaviour.
    pub mood: Mood,
    /// What is done, in order.
    pub steps: Vec<Step>,
}

/// How often a step of normal work comes, beside the others.
const WORK: &[(Kind, u64)] = &[
    (Kind::Submit, 26),
    (Kind::Verify, 14),
    (Kind::Order, 18),
    (Kind::Append, 12),
    (Kind::Certify, 10),
    (Kind::Acknowledge, 10),
    (Kind::Index, 12),
    (Kind::Publish, 4),
    (Kind::Commit, 2),
    (Kind::Pump, 5),
    (Kind::Tick, 5),
];

/// How often a fault comes if the seed knows it.
const FAULTS: &[(Kind, u64)] = &[
    (Kind::Vanish, 4),
    (Kind::FailSync, 2),
    (Kind::FillDisk, 2),
    (Kind::FailRead, 2),
    (Kind::SlowDisk, 2),
    (Kind::FailFence, 2),
    (Kind::FailReceiptSigner, 1),
    (Kind::FailCheckpointSigner, 2),
    (Kind::StepClock, 2),
    (Kind::Crash, 4),
    (Kind::Drain, 2),
    (Kind::Backup, 2),
    (Kind::Restore, 2),
    (Kind::Fork, 1),
    (Kind::WipeDerived, 2),
];

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut rng = TestRng::new(seed);
        let large = rng.one_in(12);
        let mood = Mood {
            submission_events_max: if large { 120 } else { [1, 3, 6, 12][pick(&mut rng, 4)] },
            payload_bytes_max: [16, 64, 600][pick(&mut rng, 3)],
            mischief_percent: [5, 30, 60][pick(&mut rng, 3)],
            index_lag_events_max: [30, 200, 100_000][pick(&mut rng, 3)],
            inflight_bytes_max: if large || rng.one_in(2) { 8 << 20 } else { 16 << 10 },
            verify_batch_max: [1, 16, 2048][pick(&mut rng, 3)],
            segment_rows: [1, 2, 3, 60][pick(&mut rng, 4)],
        };
        let mut table = WORK.to_vec();
        table.extend(FAULTS.iter().filter(|_| rng.one_in(2)));
        // A fault that stops the node needs somebody who starts it again.
        if !table.iter().any(|(kind, _)| *kind == Kind::Crash) {
            table.push((Kind::Crash, 3));
        }
        let total: u64 = table.iter().map(|(_, weight)| weight).sum();
        // Some live so long that merged segments are merged.
        let count = if rng.one_in(20) { 200 + rng.below(200) } else { 20 + rng.below(60) };
        let steps = (0..count).map(|_| Step { kind: drawn(&table, rng.below(total)), seed: rng.next() }).collect();
        Self { seed, mood, steps }
    }

    /// The same plan with other steps.
    #[must_use]
    pub fn with_steps(&self, steps: Vec<Step>) -> Self {
        Self { steps, ..self.clone() }
    }
}

fn drawn(table: &[(Kind, u64)], mut at: u64) -> Kind {
    for (kind, weight) in table {
        if at < *weight {
            return *kind;
        }
        at -= weight;
    }
    Kind::Pump
}

fn pick(rng: &mut TestRng, bound: u64) -> usize {
    usize::try_from(rng.below(bound)).unwrap_or(0)
}
