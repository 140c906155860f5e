//! `cargo xtask test`: every test of the workspace, then the crash tests with fail points; one sum at the end.
//!
//! Takes `--package P` (that crate only) and `--verbose` (cargo's own output). Gives a line per test binary and the
//! whole output of every failing one; the last line is `tests: N passed, N failed`, the sum of cargo's own counts.

use std::path::PathBuf;
use std::time::Instant;

use crate::shell::{Outcome, fail, follow, say};
use crate::{contract, setup};

/// What cargo counted.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Count {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed; a binary that died or did not compile counts once.
    pub failed: u64,
    /// Tests marked `#[ignore]`.
    pub ignored: u64,
}

impl Count {
    fn add(&mut self, other: Count) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

/// Runs the task.
///
/// # Errors
/// If something the build needs is missing, or a test fails.
pub fn run(arguments: &[String]) -> Outcome {
    let options = Options::parse(arguments)?;
    let mut total = Count::default();
    let concerns = |names: &[&str]| options.package.as_deref().is_none_or(|package| names.contains(&package));
    let tools =
        if concerns(&["tally-anchor", "tally-connectors", "tally"]) { setup::tools_of_tests()? } else { Vec::new() };
    let scope: Vec<&str> = match &options.package {
        Some(package) => vec!["--package", package],
        None => vec!["--workspace"],
    };
    if concerns(&["tally"]) {
        // What the README says to a plugin's author is done as it is written.
        setup::wasm_target()?;
    }
    say!("== tests of {}", options.package.as_deref().unwrap_or("the workspace, doc tests included"));
    total.add(cargo_test(&scope, &tools, options.verbose)?);
    if concerns(&["tally"]) {
        say!("== crash tests: the node killed at every fail point, and with plugins");
        // The whole workspace again, so that the dependencies keep their features and are not compiled twice.
        let crash = [
            "--workspace",
            "--features",
            "tally/failpoints",
            "--test",
            "crash",
            "--test",
            "plugins_crash",
            "--test",
            "effects_crash",
            "--test",
            "purchase_crash",
        ];
        total.add(cargo_test(&crash, &tools, options.verbose)?);
    }
    if concerns(&["tally-core"]) {
        say!("== crash tests: applying aborted at every fail point");
        let crash = ["--workspace", "--features", "tally/failpoints", "--test", "followers", "failpoints::"];
        total.add(cargo_test(&crash, &tools, options.verbose)?);
    }
    if concerns(&["tally-anchor"]) {
        say!("== crash tests: the anchor worker ended at every fail point");
        let crash = ["--workspace", "--features", "tally/failpoints", "--test", "worker", "crash::"];
        total.add(cargo_test(&crash, &tools, options.verbose)?);
        say!("== the anchor contract: forge on the committed bytes");
        let count = contract::forge(options.verbose)?;
        say!("   {} passed, {} failed", count.passed, count.failed);
        total.add(count);
    }
    if total.ignored > 0 {
        say!("ignored: {}", total.ignored);
    }
    say!("tests: {} passed, {} failed", total.passed, total.failed);
    if total.failed == 0 { Ok(()) } else { fail(format!("{} tests failed", total.failed)) }
}

struct Options {
    package: Option<String>,
    verbose: bool,
}

impl Options {
    fn parse(arguments: &[String]) -> Outcome<Options> {
        let mut options = Options { package: None, verbose: false };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--verbose" | "-v" => options.verbose = true,
                "--package" | "-p" => options.package = rest.next().cloned(),
                other => return fail(format!("`{other}` is not understood; usage: test [--package P] [--verbose]")),
            }
        }
        Ok(options)
    }
}

fn cargo_test(scope: &[&str], tools: &[(&str, PathBuf)], verbose: bool) -> Outcome<Count> {
    let mut cargo = setup::cargo_for_workspace()?;
    cargo.args(["test", "--release", "--no-fail-fast"]).args(scope).env("CARGO_TERM_COLOR", "never");
    cargo.envs(tools.iter().map(|(name, path)| (name, path)));
    let start = Instant::now();
    let mut report = Report::new(verbose);
    let ok = follow(&mut cargo, |line| report.on_line(line))?;
    let count = report.finish(ok);
    say!("   {} passed, {} failed in {} s", count.passed, count.failed, start.elapsed().as_secs());
    Ok(count)
}

/// Reads cargo's output line by line: keeps the sums, shows a line per binary, and what a failing one said.
struct Report {
    verbose: bool,
    package: String,
    binary: String,
    kept: Vec<String>,
    count: Count,
    compiled: u32,
}

impl Report {
    fn new(verbose: bool) -> Report {
        Report {
            verbose,
            package: String::new(),
            binary: String::new(),
            kept: Vec::new(),
            count: Count::default(),
            compiled: 0,
        }
    }

    fn on_line(&mut self, line: &str) {
        if self.verbose {
            say!("{line}");
        }
        let trimmed = line.trim_start();
        if let Some(label) = self.label(trimmed) {
            self.binary = label;
            self.kept.clear();
        } else if let Some(count) = parse_result(trimmed) {
            self.on_result(count);
        } else if let Some(name) = trimmed.strip_prefix("Compiling ") {
            self.compiled += 1;
            if !self.verbose
                && (self.compiled.is_multiple_of(25) || name.starts_with("tally") || name.starts_with("librocksdb"))
            {
                say!("   compiling {name}");
            }
        } else {
            self.kept.push(line.to_owned());
        }
    }

    /// What runs next, if this line says so: the crate, then the file. Cargo names the crate only with its unit tests,
    /// which come first.
    fn label(&mut self, line: &str) -> Option<String> {
        if let Some(package) = line.strip_prefix("Doc-tests ") {
            return Some(format!("{package}: doc tests"));
        }
        let (target, path) = line.strip_prefix("Running ")?.split_once(" (")?;
        if target.starts_with("unittests ") {
            let file = path.rsplit('/').next().unwrap_or(path);
            file.rsplit_once('-').map_or(file, |(package, _)| package).clone_into(&mut self.package);
        }
        Some(format!("{}: {}", self.package, target.trim_start_matches("unittests ")))
    }

    fn on_result(&mut self, count: Count) {
        self.count.add(count);
        if self.verbose {
            return;
        }
        if count.failed > 0 {
            self.kept.iter().filter(|line| !line.ends_with("... ok")).for_each(|line| say!("{line}"));
        }
        if count != Count::default() {
            let verdict = if count.failed == 0 { "ok  " } else { "FAIL" };
            say!("{verdict} {:>5} passed  {:>3} failed  {}", count.passed, count.failed, self.binary);
        }
        self.kept.clear();
    }

    /// A run that ended badly without a counted failure (no compile, a killed binary) is one failure.
    fn finish(mut self, ok: bool) -> Count {
        if !ok && self.count.failed == 0 {
            self.kept.iter().for_each(|line| say!("{line}"));
            self.count.failed = 1;
        }
        self.count
    }
}

fn parse_result(line: &str) -> Option<Count> {
    let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let mut count = Count::default();
    for part in counts.split("; ") {
        let Some((number, name)) = part.split_once(' ') else { continue };
        let number = number.parse().unwrap_or(0);
        match name {
            "passed" => count.passed = number,
            "failed" => count.failed = number,
            "ignored" => count.ignored = number,
            _ => {}
        }
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_counts_are_read() {
        let line = "test result: FAILED. 10 passed; 2 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.01s";
        assert_eq!(parse_result(line), Some(Count { passed: 10, failed: 2, ignored: 1 }));
        assert_eq!(parse_result("test a::result ... ok"), None);
    }

    #[test]
    fn counts_add_up_over_binaries() {
        let mut report = Report::new(false);
        for line in [
            "   Compiling tally-x v0.1.0",
            "     Running unittests src/lib.rs (target/release/deps/tally_x-0123)",
            "test a ... ok",
            "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "   Doc-tests tally_x",
            "test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ] {
            report.on_line(line);
        }
        assert_eq!(report.finish(true), Count { passed: 3, failed: 0, ignored: 1 });
    }

    #[test]
    fn every_binary_is_named_with_its_crate() {
        let mut report = Report::new(false);
        let unit = "Running unittests src/lib.rs (target/release/deps/tally_x-0123)";
        assert_eq!(report.label(unit).as_deref(), Some("tally_x: src/lib.rs"));
        let laws = "Running tests/laws.rs (target/release/deps/laws-4567)";
        assert_eq!(report.label(laws).as_deref(), Some("tally_x: tests/laws.rs"));
        assert_eq!(report.label("Doc-tests tally_x").as_deref(), Some("tally_x: doc tests"));
        assert_eq!(report.label("test a ... ok"), None);
    }

    #[test]
    fn a_run_that_dies_without_a_count_is_a_failure() {
        assert_eq!(Report::new(false).finish(false), Count { passed: 0, failed: 1, ignored: 0 });
    }
}
