//! `tally replay`: the auditor's proof of honest execution, from an export directory alone.
//!
//! First the export is audited (`audit`): the events are what was signed, the outcomes are of these events and under
//! the signed root. Then every module is executed again over every event (`execute`), along the cuts that the outcomes
//! claim, on the engine of the auditor's choice; each outcome and the state root is compared. The first thing that is
//! otherwise is named: a module, an event, an outcome, a checkpoint, the state root. No network, no clock, no database.

mod audit;
mod execute;

use serde_json::json;
use tally_plugin_host::engine::{Engine, Optimisation};
use tally_plugin_host::error::HostError;
use tally_plugin_host::interpreter::Interpreter;
use tally_verify::{Ledger, TrustRoot};

use self::audit::Audited;
use self::execute::Executed;
use crate::cli::{ReplayArgs, ReplayEngine};
use crate::commands::verify::verifier_keys;
use crate::exit::Failure;
use crate::export::Export;
use crate::output::Output;

/// Instances that may be alive at once: applying enters one at a time, and loading enters another.
const INSTANCES_MAX: u32 = 4;

/// Runs the command.
///
/// # Errors
/// Something in the export is not what was signed or not what the plugins decide (exit code 3), or the replay could not
/// be made.
pub fn run(args: &ReplayArgs) -> Result<(), Failure> {
    let output = Output::new(args.json);
    let export = Export::open(&args.dir)?;
    let ledger = Ledger::from_genesis(&export.genesis()?).map_err(|failed| named("genesis", &failed))?;
    let trust = TrustRoot { ledger_id: args.ledger, verifier_keys: verifier_keys(&args.vkey)?, ..TrustRoot::default() };
    ledger.check_trust(&trust).map_err(|failed| named("trust", &failed))?;
    audit::check_modules(&export)?;
    let audited = audit::audit(&export, &ledger, args.json)?;
    let Executed { states, keys } = execute_on(args, &export, &ledger, &audited)?;
    let Audited { events, outcomes, outcome_root, claimed_states, .. } = &audited;
    let engine = args.engine.name();
    let value = json!({
        "replay": "ok", "ledger": ledger.id().to_hex(), "events": events, "outcomes": outcomes,
        "outcome_root": outcome_root.to_hex(), "state_root": states.to_hex(), "state_keys": keys, "engine": engine,
        "state_root_signed": claimed_states.is_some(),
    });
    output.result(&value, || {
        format!(
            "replay ok: {outcomes} outcomes, {keys} keys, root {outcome_root}, state root {states}, {events} events, \
             engine {engine}"
        )
    })?;
    if args.ledger.is_none() && args.vkey.is_empty() {
        output.say(&format!("note: nothing says that ledger {} is the one you mean: give --ledger", ledger.id()))?;
    }
    Ok(())
}

fn execute_on(args: &ReplayArgs, export: &Export, ledger: &Ledger, audited: &Audited) -> Result<Executed, Failure> {
    let no_engine = |error: HostError| Failure::failed(format!("the engine does not start: {error}"));
    match args.engine {
        ReplayEngine::Optimised => {
            let engine = Engine::new(INSTANCES_MAX, Optimisation::Speed).map_err(no_engine)?;
            execute::execute(engine, export, ledger, audited, args.json)
        }
        ReplayEngine::Baseline => {
            let engine = Engine::new(INSTANCES_MAX, Optimisation::None).map_err(no_engine)?;
            execute::execute(engine, export, ledger, audited, args.json)
        }
        ReplayEngine::Wasmi => {
            let engine = Interpreter::new().map_err(no_engine)?;
            execute::execute(engine, export, ledger, audited, args.json)
        }
    }
}

/// What is otherwise than claimed, by the name of what it is found in.
fn named(what: &str, why: &impl std::fmt::Display) -> Failure {
    Failure::invalid(format!("replay differs: {what}: {why}"))
}
