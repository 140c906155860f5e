//! `tally bundle`: fetches everything that is needed to check one event offline, as a bundle or as a C2SP proof file.
//!
//! Takes a position of the log; gives a file (or standard output). What was fetched has been verified. Fails if there
//! is no such event that this caller may see.

use tally_protocol::proof::TlogProof;

use crate::cli::BundleArgs;
use crate::commands;
use crate::connect::{self, Caller};
use crate::exit::Failure;
use crate::output;

/// Runs the command.
///
/// # Errors
/// See the head of this file.
pub fn run(args: &BundleArgs) -> Result<(), Failure> {
    let profile = connect::profile(&args.node)?;
    let client = connect::client(&args.node, profile.as_ref(), Caller::Agent)?;
    let bundle = commands::runtime()?.block_on(connect::within(&args.node, client.bundle(args.index)))?;
    let text = if args.proof {
        let entry = bundle.entry().map_err(|failed| Failure::invalid(failed.to_string()))?;
        let proof = TlogProof {
            extra: Some(entry.encode().to_vec()),
            index: bundle.index,
            path: bundle.inclusion_path.clone(),
            checkpoint: bundle.checkpoint.clone(),
        };
        proof.encode()
    } else {
        String::from_utf8(bundle.encode()).map_err(|error| Failure::failed(error.to_string()))?
    };
    match &args.out {
        Some(path) => std::fs::write(path, text).map_err(|error| Failure::file("write", path, &error)),
        None => output::write(text.trim_end_matches('\n')),
    }
}
