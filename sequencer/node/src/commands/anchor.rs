//! `tally anchor`: making anchors, and everything an operator does about them.
//!
//! The worker is a process of its own, so that the keys of the chains are where the node is not (S-123). It reads the node's
//! logs over HTTP with a client that believes nothing.

mod operate;
mod run;
mod settings;
mod status;
mod verify;

pub use verify::ask_chains;

use crate::cli::anchor::{AnchorAction, AnchorArgs};
use crate::commands;
use crate::exit::Failure;

/// Runs the command.
///
/// # Errors
/// What the action says.
pub fn run(args: &AnchorArgs) -> Result<(), Failure> {
    let runtime = commands::runtime()?;
    match &args.action {
        AnchorAction::Key(args) => operate::key(args),
        AnchorAction::Deploy(args) => runtime.block_on(operate::deploy(args)),
        AnchorAction::Run(args) => runtime.block_on(run::run(args)),
        AnchorAction::Status(args) => runtime.block_on(status::status(args)),
        AnchorAction::Verify(args) => runtime.block_on(verify::run(args)),
        AnchorAction::Pause(args) => runtime.block_on(operate::pause(args, true)),
        AnchorAction::Resume(args) => runtime.block_on(operate::pause(args, false)),
        AnchorAction::Role(args) => runtime.block_on(operate::role(args)),
        AnchorAction::ClearHalt(args) => runtime.block_on(operate::clear_halt(args)),
        AnchorAction::Uses(args) => runtime.block_on(operate::uses(args)),
    }
}
