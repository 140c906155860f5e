//! `cargo xtask vectors`: writes the golden vectors from the code, or with `--check` says whether they differ.
//!
//! The vectors are the JSON files of `sdk/protocol/tests/vectors/`; their generator is the example `vectors` of
//! tally-protocol. A changed vector is a changed format: review it as code and write it in CHANGELOG under Formats.

use crate::shell::{self, Outcome, cargo, fail};

/// Runs the task.
///
/// # Errors
/// If the generator fails, or with `--check` if a file would change.
pub fn run(arguments: &[String]) -> Outcome {
    let check = match arguments {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => return fail("usage: cargo xtask vectors [--check]"),
    };
    let mut generator = cargo();
    generator.args(["run", "--quiet", "--release", "--package", "tally-protocol", "--example", "vectors", "--"]);
    if check {
        generator.arg("--check");
    }
    shell::run(&mut generator)
}
