//! The node: everything the `tally` binary does. Parses what was asked, opens rooms, closes them; decides nothing
//! about the log.
//!
//! *In scope*: command line ([`cli`], [`commands`]), configuration ([`config`]), keys in files ([`keyfile`]), whose
//! seals count ([`trustfile`]), exports for auditors ([`export`]), what plugins ask of the world outside ([`effects`]), joining rooms ([`wire`], [`adapters`]), the end of the process ([`shutdown`], [`exit`]).
//! *Out of scope*: being depended on, except by simulation and benches.

pub mod adapters;
pub mod anchoring;
pub mod cli;
pub mod commands;
pub mod config;
pub mod connect;
pub mod effects;
pub mod exit;
pub mod export;
pub mod keyfile;
pub mod layout;
pub mod output;
pub mod plugins;
pub mod profile;
pub mod progress;
pub mod random;
pub mod shutdown;
pub mod telemetry;
pub mod trustfile;
pub mod wire;

use std::process::ExitCode;

use clap::Parser as _;

use cli::Cli;

/// Parses the command line, runs the command, and says how it ended.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let result = telemetry::start(cli.log, &cli.log_level).and_then(|()| commands::run(&cli));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::report(&failure, cli.is_json());
            failure.exit.into()
        }
    }
}
