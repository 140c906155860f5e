//! The core under simulated faults: a seed gives a world, a workload and a list of faults; the same seed gives the
//! same bytes.
//!
//! *In scope*: the core with its stages driven one at a time (`tally_core::stepped`) on the memory engine: syncs,
//! writes and reads that fail, full and slow disks, failing fences and signers, clocks that jump, clients that vanish
//! or repeat themselves, crashes of process and system, restored backups and copies.
//! *Out of scope*: races between the stages' threads (`sequencer/core/tests`) and the real disk (`storage/tests`,
//! `cargo xtask crash`).
//!
//! [`plan`] says what is done, [`world`] does it beside the model, [`audit`] looks after every step, [`shrink`] finds
//! the shortest plan that still fails. [`Plant`] puts a bug in, to show that it is found.

pub mod audit;
pub mod clients;
pub mod disk;
pub mod plan;
pub mod rim;
pub mod shrink;
pub mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use tally_protocol::hash::{self, RunHash};
use tally_testkit::TestRng;

pub use plan::{Kind, Plan, Step};
use world::World;

/// A bug to be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// Receipts go out before the sync they stand for.
    AcknowledgedBeforeSync,
    /// The fence is not moved any more after the first checkpoints.
    FenceSkipped,
    /// The window of event ids forgets before the index knows.
    WindowForgets,
    /// The index does not find event ids.
    IndexForgetsIds,
    /// Nobody sees that the wall clock was set.
    ClockUnwatched,
}

impl Plant {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::AcknowledgedBeforeSync,
        Self::FenceSkipped,
        Self::WindowForgets,
        Self::IndexForgetsIds,
        Self::ClockUnwatched,
    ];
}

/// How a plan is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// The bug that was put in.
    pub plant: Option<Plant>,
    /// Re-derive the whole stored log after every step, not only at every recovery.
    pub whole_log_each_step: bool,
}

/// What a plan did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// A hash over everything that happened.
    pub trace: RunHash,
    /// A hash over every byte that was stored in the end.
    pub bytes: RunHash,
    /// Entries of the log.
    pub entries: u64,
    /// Receipts that were checked.
    pub receipts: u64,
    /// Sizes that were signed.
    pub checkpoints: u64,
    /// Restarts.
    pub restarts: u64,
    /// What the look-up indexes did.
    pub segments: disk::Segments,
}

/// A law that broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// After which step, counted from 1; 0 is the beginning, one more than there are is the settlement.
    pub step: usize,
    /// What.
    pub what: String,
}

/// Runs a seed's plan.
///
/// # Errors
/// A law broke.
pub fn run(seed: u64) -> Result<Report, Failure> {
    let options = Options { whole_log_each_step: seed.is_multiple_of(16), ..Options::default() };
    run_plan(&Plan::of(seed), options)
}

/// Runs a plan to its end.
///
/// # Errors
/// A law broke, or the core panicked.
pub fn run_plan(plan: &Plan, options: Options) -> Result<Report, Failure> {
    let mut step = 0;
    let done = catch_unwind(AssertUnwindSafe(|| run_steps(plan, options, &mut step)));
    let what = match done {
        Ok(Ok(report)) => return Ok(report),
        Ok(Err(what)) => what,
        Err(panic) => format!("it panicked: {}", words(panic.as_ref())),
    };
    Err(Failure { seed: plan.seed, step, what })
}

fn run_steps(plan: &Plan, options: Options, at: &mut usize) -> audit::Found<Report> {
    let mut world = World::new(plan, options)?;
    for step in &plan.steps {
        *at += 1;
        world.step(*step)?;
    }
    *at += 1;
    let bytes = world.settle(&mut TestRng::new(plan.seed))?;
    let (entries, receipts, checkpoints) = world.counts();
    let trace = hash::run(world.trace.as_bytes());
    Ok(Report { trace, bytes, entries, receipts, checkpoints, restarts: world.restarts, segments: world.segments() })
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without words".to_owned())
}
