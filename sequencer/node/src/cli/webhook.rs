//! `tally webhook`: one message of the payment provider, checked offline.

use std::path::PathBuf;

use clap::Args;

/// `tally webhook`
#[derive(Debug, Args)]
pub struct WebhookArgs {
    /// The raw body, byte for byte as it came.
    #[arg(long, value_name = "FILE")]
    pub body: PathBuf,
    /// The header `Stripe-Signature`.
    #[arg(long)]
    pub signature: String,
    /// A file with the endpoint's secret; during a rotation one for each.
    #[arg(long, value_name = "FILE", required = true)]
    pub secret_file: Vec<PathBuf>,
    /// The account that facts are about.
    #[arg(long, default_value = "acct_unknown")]
    pub account: String,
    /// The moment at which it is judged, in seconds since 1970; now, if it is left out.
    #[arg(long, value_name = "SECONDS")]
    pub at: Option<u64>,
    /// Print the facts as one JSON object.
    #[arg(long)]
    pub json: bool,
}
