//! `cargo xtask bench NAME`: measurements with the real binary on this machine.
//!
//! Takes `http` and the bench's own arguments (`--json`, `--write`, ...). Fails when the build fails or when a sampled
//! receipt does not verify; a rate is reported, never a reason to fail.

use crate::setup;
use crate::shell::{self, Outcome, fail};

/// Runs the task.
///
/// # Errors
/// If the name is unknown, something the build needs is missing, or the build or the bench fails.
pub fn run(arguments: &[String]) -> Outcome {
    let Some((name, rest)) = arguments.split_first() else {
        return fail("which one? `cargo xtask bench http`");
    };
    if name != "http" {
        return fail(format!("there is no bench `{name}`; there is `http`"));
    }
    let mut build = setup::cargo_for_workspace()?;
    shell::run(build.args(["build", "--quiet", "--release", "--package", "tally", "--bin", "tally"]))?;
    let mut bench = setup::cargo_for_workspace()?;
    let bench = bench.args(["run", "--quiet", "--release", "--package", "tally-bench", "--bin", "bench-http", "--"]);
    shell::run(bench.args(rest))
}
