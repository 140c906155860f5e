//! The commands, one file each. Each takes its arguments and gives a result on standard output, or a [`Failure`].

pub mod anchor;
pub mod bundle;
pub mod compile_module;
pub mod completions;
pub mod dev;
pub mod effects;
pub mod export;
pub mod fsck;
pub mod init;
pub mod keygen;
pub mod keys;
pub mod plugin;
pub mod replay;
pub mod serve;
pub mod submit;
pub mod types;
pub mod verify;
pub mod watch;
pub mod webhook;

use crate::cli::{Cli, Command};
use crate::exit::Failure;

/// Runs a command to its end.
///
/// # Errors
/// What the command says.
pub fn run(cli: &Cli) -> Result<(), Failure> {
    match &cli.command {
        Command::Dev(args) => dev::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Init(args) => init::run(args),
        Command::Keygen(args) => keygen::run(args),
        Command::Submit(args) => submit::run(args),
        Command::Watch(args) => watch::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Fsck(args) => fsck::run(args),
        Command::Export(args) => export::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Bundle(args) => bundle::run(args),
        Command::Keys(args) => keys::run(args),
        Command::Types(args) => types::run(args),
        Command::Effects(args) => effects::run(args),
        Command::Webhook(args) => webhook::run(args),
        Command::Plugin(args) => plugin::run(args),
        Command::Anchor(args) => anchor::run(args),
        Command::Completions(args) => completions::run(args),
        Command::CompileModule => compile_module::run(),
    }
}

/// The runtime of commands that talk to the network. The core has its own threads.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("failed to start the runtime: {error}")))
}
