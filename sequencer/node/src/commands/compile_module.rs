//! `tally compile-module`, hidden: the process in which a node has a module compiled before it compiles it itself.
//!
//! Takes a module with its limits on standard input, gives one line. The node bounds its time and memory.

use crate::exit::Failure;

/// Runs the command.
///
/// # Errors
/// Input or output failed.
pub fn run() -> Result<(), Failure> {
    tally_plugin_host::apart::child(&mut std::io::stdin().lock(), &mut std::io::stdout().lock())
        .map_err(|error| Failure::failed(format!("failed to read the module or to answer: {error}")))
}
