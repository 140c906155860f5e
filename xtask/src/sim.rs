//! `cargo xtask sim`: seeds of simulated faults against the core, each held against the model and the auditor.
//!
//! Takes `--seeds N` (2000), `--seed S` (the first one), `--json`. Fails when a law breaks; then it prints the seed,
//! the step and the shortest plan that still fails.

use crate::setup;
use crate::shell::{self, Outcome};

/// Runs the task.
///
/// # Errors
/// If something the build needs is missing, the build fails, or a seed breaks a law.
pub fn run(arguments: &[String]) -> Outcome {
    let mut sim = shell::command(setup::build_binaries()?.join("tally-sim"));
    shell::run(sim.args(arguments))
}
