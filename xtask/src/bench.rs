//! `cargo xtask bench [NAME...]`: measurements with the real binary on this machine.
//!
//! Takes names of measurements and their arguments; none measures everything and writes the pages of docs/benchmarks.
//! With `--json` standard output holds nothing but the figures: what is run is said on standard error. Fails when the
//! build fails or when a sampled receipt does not verify; a rate is reported, never a reason to fail.

use std::path::{Path, PathBuf};

use crate::setup;
use crate::shell::{self, Outcome, fail};

/// What can be measured, and the program that does it.
const BENCHES: [(&str, &str); 10] = [
    ("ingest", "bench-table"),
    ("hot-stream", "bench-table"),
    ("hostile", "bench-table"),
    ("growth", "bench-table"),
    ("with-plugins", "bench-table"),
    ("reads", "bench-table"),
    ("http", "bench-http"),
    ("load", "tally-load"),
    ("pipeline", "bench-pipeline"),
    ("stages", "bench-stages"),
];

/// Runs the task.
///
/// # Errors
/// If the name is unknown, something the build needs is missing, or the build or the bench fails.
pub fn run(arguments: &[String]) -> Outcome {
    let Some(name) = arguments.first().filter(|argument| !argument.starts_with('-')) else {
        let built = setup::build_binaries()?;
        start(&built, "bench-http", &[arguments, &["--write".to_owned()]].concat())?;
        return start(&built, "bench-table", arguments);
    };
    if name == "plugins" {
        // It needs no node: the host alone, beside native builds of the same plugins.
        let mut bench = shell::cargo();
        bench.args(["bench", "-p", "tally-plugin-host", "--bench", "pull", "--"]).args(&arguments[1..]);
        return shell::run_aside(&mut bench);
    }
    let Some((_, program)) = BENCHES.iter().find(|(known, _)| known == name) else {
        let known: Vec<&str> = BENCHES.iter().map(|bench| bench.0).collect();
        return fail(format!("there is no bench `{name}`; there are {}, plugins", known.join(", ")));
    };
    let built = setup::build_binaries()?;
    // A measurement of the table is chosen by its name; the other programs have one each.
    let rest = if *program == "bench-table" { arguments } else { &arguments[1..] };
    start(&built, program, rest)
}

fn start(built: &Path, program: &str, arguments: &[String]) -> Outcome {
    let mut bench = shell::command(built.join(program));
    bench.args(arguments);
    if matches!(program, "bench-table" | "bench-http" | "tally-load") {
        let node: PathBuf = built.join("tally");
        bench.arg("--binary").arg(node);
    }
    shell::run_aside(&mut bench)
}
