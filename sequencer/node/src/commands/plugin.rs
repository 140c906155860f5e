//! `tally plugin`: the tools of a plugin's author. What they do is in `tally-plugin-author`; here are files, terminal and
//! exit codes. A plugin that does something else than is expected of it ends with exit code 1.

mod local;

use crate::cli::plugin::{PluginAction, PluginArgs};
use crate::exit::Failure;

/// Runs the command.
///
/// # Errors
/// What the command says.
pub fn run(args: &PluginArgs) -> Result<(), Failure> {
    match &args.action {
        PluginAction::New(args) => local::new(args),
        PluginAction::Build(args) => local::build(args),
        PluginAction::Test(args) => local::test(args),
        PluginAction::Run(args) => local::run(args),
        PluginAction::Dev(args) => local::dev(args),
        PluginAction::Purity(args) => local::purity(args),
        PluginAction::Upgrade(args) => local::upgrade(args),
    }
}
