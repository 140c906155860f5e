//! `tally plugin`: the tools of a plugin's author. What they do is in `tally-plugin-author`; here are files, terminal and
//! exit codes. A plugin that does something else than is expected of it ends with exit code 1.

mod import;
mod life;
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
        PluginAction::Capture(args) => local::capture(args),
        PluginAction::Dev(args) => local::dev(args),
        PluginAction::Purity(args) => local::purity(args),
        PluginAction::Upgrade(args) if args.shadow => local::shadow(args),
        PluginAction::Upgrade(args) => life::upgrade(args),
        PluginAction::Package(args) => local::package(args),
        PluginAction::Sign(args) => life::sign(args),
        PluginAction::Submit(args) => life::submit(args),
        PluginAction::Review(args) => life::review(args),
        PluginAction::Import(args) => import::run(args),
        PluginAction::Install(args) => life::install(args),
        PluginAction::Configure(args) => life::configure(args),
        PluginAction::Remove(args) => life::remove(args),
        PluginAction::List(args) => life::list(args),
        PluginAction::Logs(args) => life::logs(args),
    }
}
