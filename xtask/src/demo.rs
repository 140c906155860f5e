//! `cargo xtask demo`: builds the `tally` binary and runs the demo against it.
//!
//! Takes the demo's own arguments; its last line is `demo ok: ...`. Fails when the build or the demo fails.

use crate::setup;
use crate::shell::{self, Outcome};

/// Runs the task.
///
/// # Errors
/// If something the build needs is missing, or the build or the demo fails.
pub fn run(arguments: &[String]) -> Outcome {
    let built = setup::build_binaries()?;
    shell::run(shell::command(built.join("examples").join("demo")).args(arguments))
}
