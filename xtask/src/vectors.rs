//! `cargo xtask vectors`: writes the golden vectors, or with `--check` says whether they differ.
//!
//! The vectors are the JSON files of `sdk/protocol/tests/vectors/`; `make.py` beside them is an implementation of its
//! own in nothing but Python's standard library, so that they check the Rust code and not themselves. A changed vector
//! is a changed format: review it as code and write it in CHANGELOG under Formats.

use crate::shell::{self, Outcome, command, fail, on_path};

const MAKER: &str = "sdk/protocol/tests/vectors/make.py";

/// Runs the task.
///
/// # Errors
/// If Python is missing, the maker fails, or with `--check` a file would change.
pub fn run(arguments: &[String]) -> Outcome {
    if !(arguments.is_empty() || arguments == ["--check"]) {
        return fail("usage: cargo xtask vectors [--check]");
    }
    if !on_path("python3") {
        return fail("python3 is missing: install Debian's `python3`");
    }
    shell::run(command("python3").arg(MAKER).args(arguments))
}
