//! The command line of `tally plugin import`.
//!
//! Each names a trust file, which has no default. There is no flag for a secret, and none for sealing.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::NodeLifeArgs;

/// `tally plugin import`
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// What comes in.
    #[command(subcommand)]
    pub what: ImportWhat,
}

/// What comes in.
#[derive(Debug, Subcommand)]
pub enum ImportWhat {
    /// Verify a sealed release, hold its module against it, and write an unsigned package.
    Release(ImportReleaseArgs),
    /// Verify a sealed template, and install what it says of a release that is approved here.
    Template(Box<ImportTemplateArgs>),
}

impl ImportArgs {
    pub(super) const fn is_json(&self) -> bool {
        match &self.what {
            ImportWhat::Release(args) => args.json,
            ImportWhat::Template(args) => args.json,
        }
    }
}

/// `tally plugin import release`
#[derive(Debug, Args)]
pub struct ImportReleaseArgs {
    /// The sealed release.
    #[arg(value_name = "PACKAGE.json")]
    pub package: PathBuf,
    /// Its module.
    #[arg(long, value_name = "FILE")]
    pub wasm: PathBuf,
    /// Whose seals count. There is no default.
    #[arg(long, value_name = "FILE")]
    pub trust: PathBuf,
    /// The new package, which is never overwritten. Default: `ID-VERSION.tally`.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `tally plugin import template`
#[derive(Debug, Args)]
pub struct ImportTemplateArgs {
    /// The sealed template.
    #[arg(value_name = "TEMPLATE.json")]
    pub template: PathBuf,
    /// Whose seals count. There is no default.
    #[arg(long, value_name = "FILE")]
    pub trust: PathBuf,
    /// Print the event instead of submitting it.
    #[arg(long)]
    pub dry_run: bool,
    /// Where, and who signs.
    #[command(flatten)]
    pub life: NodeLifeArgs,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}
