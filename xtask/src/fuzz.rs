//! `cargo xtask fuzz TARGET`: mutates a decoder's corpus and runs its check on every mutant.
//!
//! Takes a target's name (none: lists them) and `--seconds N`. Works on the stable toolchain; the same targets run
//! under cargo-fuzz where a nightly is at hand (fuzz/README.md). Fails when a check breaks; the input is kept.

use crate::shell::{self, Outcome, cargo};

/// Runs the task.
///
/// # Errors
/// If the build fails or a mutant breaks the target's check.
pub fn run(arguments: &[String]) -> Outcome {
    let mut fuzz = cargo();
    shell::run(fuzz.args(["run", "--quiet", "--release", "--package", "tally-fuzz", "--"]).args(arguments))
}
