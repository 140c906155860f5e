//! `tally webhook`: whether a message is the payment provider's, and which facts it tells.
//!
//! Takes body, signature and secrets; gives the facts, or ends with 1 and the reason. Nothing is asked and nothing is sent.

use serde_json::json;
use tally_connectors::Secret;
use tally_connectors::payment::webhook;
use tally_core::{Clock as _, SystemClock};
use zeroize::Zeroizing;

use crate::cli::webhook::WebhookArgs;
use crate::exit::Failure;
use crate::keyfile::read_private;
use crate::output::Output;

const MICROS: u64 = 1_000_000;

/// Runs the command.
///
/// # Errors
/// A file cannot be read, or the message is not to be believed.
pub fn run(args: &WebhookArgs) -> Result<(), Failure> {
    let body = std::fs::read(&args.body).map_err(|error| Failure::file("read", &args.body, &error))?;
    let secret = |path| {
        let text = Zeroizing::new(read_private(path)?.trim_end().to_owned());
        Secret::new(text).map_err(|error| Failure::usage(error.to_string()))
    };
    let secrets = args.secret_file.iter().map(|path| secret(path)).collect::<Result<Vec<_>, _>>()?;
    let now = args.at.unwrap_or_else(|| SystemClock::new().wall().micros() / MICROS);
    let facts = webhook::accept(&body, args.signature.as_bytes(), &secrets, now, &args.account);
    let facts = facts.map_err(|error| Failure::invalid(error.to_string()))?;
    let facts: Vec<_> = facts.iter().map(tally_connectors::payment::Fact::to_json).collect();
    let text = || {
        let lines = facts.iter().map(|fact| format!("\n  {fact}"));
        format!("the message is the provider's and tells {} facts{}", facts.len(), lines.collect::<String>())
    };
    Output::new(args.json).result(&json!({ "ok": true, "facts": facts }), text)
}
