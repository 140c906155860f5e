//! The second pass: every module executed again over every event.
//!
//! Takes an export whose events are proven, and an engine; gives the state root, or the first difference. Who may
//! publish and review is resolved from the log's own control events, by the auditor's own table of keys.

use std::sync::Arc;

use bytes::Bytes;
use tally_plugin_host::apply::{Keys, Logged};
use tally_plugin_host::error::HostError;
use tally_plugin_host::registry::{Loader, Modules, Registry};
use tally_plugin_host::replay::{Difference, Replay, ReplayError};
use tally_plugin_host::session::Event;
use tally_plugin_host::state::StateError;
use tally_protocol::hash::{ModuleHash, StatesRoot};
use tally_protocol::id::{AgentId, Index, KeyId, Stream};
use tally_protocol::key::PublicKey;
use tally_protocol::outcome::Outcome;
use tally_protocol::plugin_event::PLUGIN_PREFIX;
use tally_protocol::plugin_life::Agents;
use tally_protocol::run::{Record, StoredRun};
use tally_protocol::time::LogTime;
use tally_verify::{Directory, Ledger};

use super::audit::{Audited, leaf_of};
use super::named;
use crate::exit::Failure;
use crate::export::{Export, Outcomes};
use crate::progress;

/// Compiled programs that are kept.
const PROGRAMS_MAX: usize = 64;

/// What plugins hold behind the last outcome.
pub(super) struct Executed {
    /// The root over all of it.
    pub(super) states: StatesRoot,
    /// How many keys that is.
    pub(super) keys: usize,
}

/// Executes the log; gives what plugins hold behind its last outcome.
pub(super) fn execute<L: Loader>(
    loader: L,
    export: &Export,
    ledger: &Ledger,
    audited: &Audited,
    quiet: bool,
) -> Result<Executed, Failure> {
    let modules = Box::new(Exported(export.clone()));
    let registry = Registry::new(ledger.id(), loader, modules, PROGRAMS_MAX);
    let keys = AuditorsKeys(Directory::new(ledger.genesis()));
    let mut replay = Replay::new(registry, keys);
    if let Some(states) = audited.claimed_states {
        replay.claim_root(Index::new(audited.applied.get()), states);
    }
    let mut run = Run { replay, bodies: export.outcomes(audited.applied) };
    let bar = progress::bar(audited.outcomes, "events", quiet).with_message("replay");
    let genesis = Logged { index: Index::new(0), leaf: ledger.genesis().leaf_hash(), event: None };
    run.push(genesis)?;
    for first in export.runs()?.into_iter().take_while(|first| audited.applied.holds(*first)) {
        let bytes = export.run(first)?;
        let stored = StoredRun::decode(bytes).map_err(|error| named("event", &error))?;
        for record in stored.records().filter(|record| audited.applied.holds(record.index)) {
            run.push(logged(&record))?;
        }
        bar.set_position(stored.header().last_index().get());
    }
    bar.finish_and_clear();
    let memory = run.replay.finish().map_err(|error| differs(&error))?;
    // Executed as claimed, and still not under the signed root: it was another claim that was signed.
    let executed = Executed { states: memory.states_root(), keys: memory.keys() };
    audited.outcomes_differ.clone().map_or(Ok(executed), Err)
}

struct Run<'e, L: Loader> {
    replay: Replay<L, AuditorsKeys>,
    bodies: Outcomes<'e>,
}

impl<L: Loader> Run<'_, L> {
    fn push(&mut self, entry: Logged) -> Result<(), Failure> {
        let Some(body) = self.bodies.next_body()? else {
            return Err(named("outcome", &format!("that of entry {} is missing", entry.index)));
        };
        let claimed = Outcome::decode(&body, entry.leaf)
            .map_err(|error| named("outcome", &format!("entry {}: {error}", entry.index)))?;
        self.replay.push(entry, claimed).map_err(|error| differs(&error))
    }
}

/// What a replay that ended early says, by the name of what is wrong.
fn differs(error: &ReplayError) -> Failure {
    match error {
        ReplayError::Differs(difference @ Difference::StatesRoot { .. }) => named("state root", difference),
        ReplayError::Differs(difference) => named("outcome", difference),
        ReplayError::Host(error @ (HostError::ModuleMissing { .. } | HostError::ModuleDiffers { .. })) => {
            named("module", error)
        }
        ReplayError::Host(error) => Failure::failed(format!("the replay cannot go on, and shows nothing: {error}")),
    }
}

/// An event as plugins get it.
fn logged(record: &Record) -> Logged {
    let event = Event::logged(record.index, record.sequence, record.sequenced_at, &record.frame);
    Logged { index: record.index, leaf: leaf_of(record), event: Some(Arc::new(event)) }
}

/// The modules of an export.
struct Exported(Export);

impl Modules for Exported {
    fn module(&self, hash: &ModuleHash) -> Result<Option<Bytes>, StateError> {
        self.0.module(hash).map_err(|failure| StateError(failure.message))
    }
}

/// The auditor's own table of agents' keys.
#[derive(Clone)]
struct AuditorsKeys(Directory);

impl Agents for AuditorsKeys {
    fn valid_key(&self, stream: &Stream, agent: AgentId, key_id: KeyId, now: LogTime) -> Option<PublicKey> {
        self.0.valid_key(stream, agent, key_id, now)
    }

    fn is_root(&self, stream: &Stream, agent: AgentId) -> bool {
        self.0.is_root(stream, agent)
    }
}

impl Keys for AuditorsKeys {
    fn follow(&mut self, event: &Event) {
        if !event.event_type.starts_with(PLUGIN_PREFIX) {
            // The audit has refused a log with control events that the state does not allow.
            let _ = self.0.follow(&event.stream, &event.event_type, &event.body, event.sequenced_at);
        }
    }
}
