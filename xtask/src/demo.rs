//! `cargo xtask demo`: builds the `tally` binary and runs the demo against it.
//!
//! Installs the EVM node that it anchors on, the payment provider's protocol server and the program that balances its books. Takes the demo's own arguments; its last line is `demo ok: ...`. Fails when the build or the demo fails.

use crate::setup;
use crate::shell::{self, Outcome};

/// Runs the task.
///
/// # Errors
/// If something the build needs is missing, or the build or the demo fails.
pub fn run(arguments: &[String]) -> Outcome {
    let built = setup::build_binaries()?;
    let chain = setup::evm()?;
    let mut demo = shell::command(built.join("examples").join("demo"));
    demo.args(arguments).envs(chain.variables()).env("TALLY_LOCALSTRIPE", setup::localstripe()?.0);
    setup::hledger()?;
    shell::run(&mut demo)
}
