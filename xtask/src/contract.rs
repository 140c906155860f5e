//! `cargo xtask contract`: the anchor contract from its source to bytes, and back.
//!
//! `build` compiles `anchor/contract/` with the pinned solc into the committed records of `artifacts/`; `check` does it again
//! and compares byte for byte; `test` checks, then runs forge on the committed bytes; `vectors` writes what forge is held
//! against from `sdk/merkle`; `gas` measures on anvil and writes the table of its README. Tools: [`setup::evm()`].

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::setup::{self, Evm};
use crate::shell::{self, Failure, Outcome, cache_dir, fail, follow, output, root, say};
use crate::suite::Count;

const FOLDER: &str = "anchor/contract";

const USAGE: &str = "usage: cargo xtask contract build | check | test | vectors | gas";

/// What is compiled: the source, the contract in it.
const CONTRACTS: [(&str, &str); 2] =
    [("src/TallyAnchor.sol", "TallyAnchor"), ("compat/StateSetStandIn.sol", "StateSetStandIn")];

/// Runs the task.
///
/// # Errors
/// If a tool cannot be had, the contract does not compile, a committed byte differs, or a test fails.
pub fn run(arguments: &[String]) -> Outcome {
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["build"] => build(),
        ["check"] => check(),
        ["test"] => {
            check()?;
            let count = forge(true)?;
            say!("forge: {} passed, {} failed", count.passed, count.failed);
            if count.failed == 0 { Ok(()) } else { fail(format!("{} tests failed", count.failed)) }
        }
        ["vectors"] => rust_test("contract_vectors", "TALLY_VECTORS"),
        ["gas"] => rust_test("contract_gas", "TALLY_GAS_TABLE"),
        _ => fail(USAGE),
    }
}

fn committed(name: &str) -> PathBuf {
    root().join(FOLDER).join("artifacts").join(format!("{name}.json"))
}

/// The record of a contract, as `build/compile.js` writes it.
fn compile(tools: &Evm, source: &str, name: &str) -> Outcome<String> {
    let mut node = setup::node()?;
    node.arg(root().join(FOLDER).join("build/compile.js")).arg(&tools.solc).arg(root().join(FOLDER));
    output(node.args([source, name]))
}

fn build() -> Outcome {
    let tools = setup::evm()?;
    for (source, name) in CONTRACTS {
        let record = compile(&tools, source, name)?;
        let file = committed(name);
        std::fs::write(&file, &record)
            .map_err(|error| Failure(format!("failed to write {}: {error}", file.display())))?;
        say!("{name:<16} {}", line_of(&record, "bytecodeSha256"));
    }
    Ok(())
}

/// Holds the committed records against their source.
///
/// # Errors
/// If a tool cannot be had, or a record differs.
pub fn check() -> Outcome {
    let tools = setup::evm()?;
    let mut differing = Vec::new();
    for (source, name) in CONTRACTS {
        let same =
            std::fs::read_to_string(committed(name)).is_ok_and(|text| Ok(text) == compile_text(&tools, source, name));
        say!("{name:<16} {}", if same { "the same bytes" } else { "DIFFERS from its source" });
        if !same {
            differing.push(name);
        }
    }
    if differing.is_empty() {
        return Ok(());
    }
    fail(format!("{}: build with `cargo xtask contract build` and review", differing.join(", ")))
}

/// As [`compile`], with the failure as text, so that it can be compared.
fn compile_text(tools: &Evm, source: &str, name: &str) -> Result<String, String> {
    compile(tools, source, name).map_err(|failure| {
        say!("{failure}");
        failure.0
    })
}

/// The line of a record that holds a field.
fn line_of<'a>(record: &'a str, field: &str) -> &'a str {
    record.lines().map(str::trim).find(|line| line.contains(field)).unwrap_or_default()
}

/// Runs forge's tests of the committed bytes, and gives what it counted.
///
/// # Errors
/// If a tool cannot be had, or forge cannot be started.
pub fn forge(verbose: bool) -> Outcome<Count> {
    let tools = setup::evm()?;
    // Forge starts the compiler by itself, in Node.js.
    setup::node()?;
    let mut forge = forge_command(&tools, &cache_dir().join("forge"));
    let (mut count, mut kept) = (None, Vec::new());
    let ok = follow(forge.arg("test"), |line| {
        if verbose || line.starts_with("[FAIL") || line.starts_with("Error") {
            say!("{line}");
        }
        count = count.or(sum_of(line));
        kept.push(line.to_owned());
    })?;
    let count = count.unwrap_or_else(|| {
        kept.iter().for_each(|line| say!("{line}"));
        Count { failed: 1, ..Count::default() }
    });
    Ok(if ok || count.failed > 0 { count } else { Count { failed: 1, ..count } })
}

/// Forge in the contract's folder, with everything it makes outside of the checkout.
fn forge_command(tools: &Evm, made: &Path) -> Command {
    let mut forge = shell::command(&tools.forge);
    forge.current_dir(root().join(FOLDER)).env("TALLY_SOLC", &tools.solc).env("NO_COLOR", "1");
    forge.env("FOUNDRY_OUT", made.join("out")).env("FOUNDRY_CACHE_PATH", made.join("cache"));
    forge
}

/// Forge's last line: `Ran 7 test suites in 1s (1s CPU time): 60 tests passed, 0 failed, 0 skipped (60 total tests)`.
fn sum_of(line: &str) -> Option<Count> {
    let (_, sums) = line.strip_prefix("Ran ")?.split_once("): ")?;
    let mut numbers = sums.split(", ").map(|part| part.split(' ').next().and_then(|number| number.parse().ok()));
    let (passed, failed, ignored) = (numbers.next()??, numbers.next()??, numbers.next()??);
    Some(Count { passed, failed, ignored })
}

/// A test of `tally-anchor` that writes what it would compare.
fn rust_test(name: &str, variable: &str) -> Outcome {
    let mut cargo = setup::cargo_for_workspace()?;
    for (variable, path) in setup::evm()?.variables() {
        cargo.env(variable, path);
    }
    cargo.args(["test", "--release", "--package", "tally-anchor", "--test", name]).env(variable, "write");
    shell::run(&mut cargo)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forges_sum_is_read() {
        let line = "Ran 7 test suites in 1.2s (3.4s CPU time): 58 tests passed, 2 failed, 1 skipped (61 total tests)";
        assert_eq!(sum_of(line), Some(Count { passed: 58, failed: 2, ignored: 1 }));
        assert_eq!(sum_of("Ran 3 tests for test/Compat.t.sol:CompatTest"), None);
        assert_eq!(sum_of("Suite result: ok. 3 passed; 0 failed; 0 skipped; finished in 1s (1s CPU time)"), None);
    }
}
