//! `tally effects`: what plugins asked of the world outside, and what an operator says about dead letters.

use clap::{Args, Subcommand};
use tally_protocol::id::Index;

use super::NodeArgs;

/// `tally effects`
#[derive(Debug, Args)]
pub struct EffectsArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: EffectsAction,
}

/// What to do with effects.
#[derive(Debug, Subcommand)]
pub enum EffectsAction {
    /// Effects in the order of the log, with where each stands.
    List(ListArgs),
    /// Try a dead letter again: what came of it is looked up first, and it is done only if it was not.
    Retry(LetterArgs),
    /// Give a dead letter up: its answer is `failed`. If it was done after all, nobody will know: look there first.
    Fail(LetterArgs),
}

impl EffectsAction {
    /// Whether scripts read the result.
    #[must_use]
    pub const fn is_json(&self) -> bool {
        match self {
            Self::List(args) => args.json,
            Self::Retry(args) | Self::Fail(args) => args.json,
        }
    }
}

/// `tally effects list`
#[derive(Debug, Args)]
pub struct ListArgs {
    /// The node.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Only those that stand there: waiting, attempted, not_done, outcome_unknown, decided, answered, dead.
    #[arg(long, value_name = "STATE")]
    pub state: Option<String>,
    /// Only effects behind this one.
    #[arg(long, value_name = "INDEX-NUMBER")]
    pub after: Option<String>,
    /// Print JSON, one effect per line.
    #[arg(long)]
    pub json: bool,
}

/// `tally effects retry`, `tally effects fail`
#[derive(Debug, Args)]
pub struct LetterArgs {
    /// The node.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Which effect, as it is listed: the event's index and the effect's number.
    #[arg(value_name = "INDEX-NUMBER", value_parser = place)]
    pub place: (Index, u32),
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

fn place(text: &str) -> Result<(Index, u32), String> {
    let parts = text.split_once('-').and_then(|(index, number)| Some((index.parse().ok()?, number.parse().ok()?)));
    parts.map(|(index, number)| (Index::new(index), number)).ok_or_else(|| "not like 17-0".to_owned())
}
