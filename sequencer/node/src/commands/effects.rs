//! `tally effects`: lists effects, and says what becomes of dead letters.
//!
//! Takes a node and a word; gives the list, or where the effect stands then. The word needs an admin's credential, and the
//! node logs whose it was.

use tally_api::plugin::{Effect, EffectActed};

use crate::cli::effects::{EffectsAction, EffectsArgs, LetterArgs, ListArgs};
use crate::commands;
use crate::connect::{self, Caller};
use crate::exit::Failure;
use crate::output::Output;

/// Effects of one answer of the node.
const PAGE: usize = 500;

/// Runs the command.
///
/// # Errors
/// The node does not answer or refuses.
pub fn run(args: &EffectsArgs) -> Result<(), Failure> {
    commands::runtime()?.block_on(async {
        match &args.action {
            EffectsAction::List(args) => list(args).await,
            EffectsAction::Retry(args) => speak(args, true).await,
            EffectsAction::Fail(args) => speak(args, false).await,
        }
    })
}

async fn list(args: &ListArgs) -> Result<(), Failure> {
    let profile = connect::profile(&args.node)?;
    let client = connect::client(&args.node, profile.as_ref(), Caller::Operator)?;
    let output = Output::new(args.json);
    let mut after = args.after.clone();
    loop {
        let page = connect::within(&args.node, client.effects(after.as_deref(), PAGE)).await?;
        let wanted = |effect: &&Effect| args.state.as_deref().is_none_or(|state| member(effect, "state") == state);
        for effect in page.effects.iter().filter(wanted) {
            output.result(effect, || shown(effect))?;
        }
        match page.next_after {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

async fn speak(args: &LetterArgs, retry: bool) -> Result<(), Failure> {
    let profile = connect::profile(&args.node)?;
    let client = connect::client(&args.node, profile.as_ref(), Caller::Operator)?;
    let (index, number) = args.place;
    let acted = if retry {
        connect::within(&args.node, client.retry_effect(index, number)).await?
    } else {
        connect::within(&args.node, client.fail_effect(index, number)).await?
    };
    let EffectActed { state, .. } = &acted;
    Output::new(args.json).result(&acted, || format!("effect {index}-{number} stands at {state}"))
}

fn member<'a>(effect: &'a Effect, name: &str) -> &'a str {
    effect.record.get(name).and_then(serde_json::Value::as_str).unwrap_or_default()
}

fn shown(effect: &Effect) -> String {
    let attempts = effect.record.get("attempts").and_then(serde_json::Value::as_u64).unwrap_or_default();
    let [state, kind, suffix, plugin, reason, next] =
        ["state", "kind", "suffix", "plugin_id", "reason", "next_attempt"].map(|name| member(effect, name));
    let mut text =
        format!("{}-{}  {state}  {kind} {suffix:?} of {plugin}, {attempts} attempts", effect.index, effect.number);
    for (word, what) in [("because", reason), ("next", next)] {
        if !what.is_empty() {
            text.push_str(&format!("\n    {word} {what}"));
        }
    }
    text
}
