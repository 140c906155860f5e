//! `cargo xtask crash` and `cargo xtask soak`: the real node killed under load, and under load for long.
//!
//! Takes `--kills N` (300) and `--seed S`, or `--minutes M` (30); `--json`; `--write` rewrites the page under
//! docs/benchmarks. Builds the binary first. Fails when an acknowledged event is lost, moved or changed, when a size has
//! two roots, and when memory does not stay flat.

use crate::setup;
use crate::shell::{self, Outcome};

/// Runs the kills.
///
/// # Errors
/// If something the build needs is missing, the build fails, or a law breaks.
pub fn run(arguments: &[String]) -> Outcome {
    drive("kills", arguments)
}

/// Runs the soak.
///
/// # Errors
/// As [`run`]; or memory does not stay flat.
pub fn soak(arguments: &[String]) -> Outcome {
    drive("soak", arguments)
}

fn drive(task: &str, arguments: &[String]) -> Outcome {
    let built = setup::build_binaries()?;
    let mut crash = shell::command(built.join("tally-crash"));
    crash.arg(task).arg("--binary").arg(built.join("tally"));
    shell::run(crash.args(arguments))
}
