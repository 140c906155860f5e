//! The gates that cargo and other tools hold: format, vectors, clippy, docs, cargo-deny, wasm32, modules, the contract.
//!
//! Takes the chosen names; runs each gate with its output shown. A tool that is not installed is named in one line
//! and skipped, as `docs/operating/building.md` lists; everything that comes with the toolchain must pass.

use crate::setup;
use crate::shell::{self, Outcome, cargo, on_path, say};

/// One gate.
pub struct Gate {
    /// Its name on the command line.
    pub name: &'static str,
    run: fn() -> Outcome,
}

/// Every gate, cheapest first.
pub const GATES: &[Gate] = &[
    Gate { name: "fmt", run: fmt },
    Gate { name: "vectors", run: vectors },
    Gate { name: "deny", run: deny },
    Gate { name: "clippy", run: clippy },
    Gate { name: "doc", run: doc },
    Gate { name: "wasm", run: wasm },
    Gate { name: "plugins", run: crate::plugins::check },
    Gate { name: "contract", run: crate::contract::check },
];

/// Runs the wanted gates and gives the names of those that did not pass.
///
/// # Errors
/// Never for a gate that does not pass; only if a gate cannot be tried at all.
pub fn run(wanted: &dyn Fn(&str) -> bool) -> Outcome<Vec<&'static str>> {
    let mut broken = Vec::new();
    for gate in GATES.iter().filter(|gate| wanted(gate.name)) {
        if let Err(failure) = (gate.run)() {
            say!("{:<14} {failure}", gate.name);
            broken.push(gate.name);
        } else {
            say!("{:<14} ok", gate.name);
        }
    }
    Ok(broken)
}

fn fmt() -> Outcome {
    shell::run(cargo().args(["fmt", "--all", "--", "--check", "-l"]))
}

fn vectors() -> Outcome {
    if !on_path("python3") {
        say!("vectors        skipped: python3 is not installed");
        return Ok(());
    }
    crate::vectors::run(&["--check".to_owned()])
}

fn clippy() -> Outcome {
    let mut cargo = setup::cargo_for_workspace()?;
    shell::run(cargo.args(["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn doc() -> Outcome {
    let mut cargo = setup::cargo_for_workspace()?;
    cargo.env("RUSTDOCFLAGS", "-D warnings");
    shell::run(cargo.args(["doc", "--release", "--workspace", "--no-deps", "--quiet"]))
}

fn deny() -> Outcome {
    if !on_path("cargo-deny") {
        say!("deny           skipped: cargo-deny is not installed (`cargo install --locked cargo-deny`)");
        return Ok(());
    }
    shell::run(cargo().args(["deny", "--offline", "check", "bans", "licenses", "sources"]))
}

fn wasm() -> Outcome {
    if let Err(missing) = setup::wasm_target() {
        say!("wasm           skipped: {missing}");
        return Ok(());
    }
    shell::run(cargo().args(["check", "--release", "--package", "tally-verify", "--target", setup::WASM]))
}
