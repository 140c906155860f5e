//! The pull loop: a range of events in, a step for each out, on whatever engine.
//!
//! [`Instance`] is a plugin in a stream. `apply` enters a fresh instance and gives it events until none is left, until the host
//! cuts (4,096 events, or where a record says so), or until it fails; then the next instance goes on with the next
//! event. So an instance's life is one entry of `run`, each life is marked `fresh` at its first event, and following the
//! marks gives the same steps. A guest's failure ends its event; only [`HostError`] ends the range.

use std::sync::Arc;

use tally_protocol::hash::{ModuleHash, ProfileId};
use tally_protocol::outcome::{BindingOutcome, OutcomeCode};

use crate::abi::v1::{Answer, Entry};
use crate::error::HostError;
use crate::manifest::{Manifest, ManifestError};
use crate::overlay::Write;
use crate::session::{BindingStep, Event, Grant, LogLine, Mode, Session, Stop};
use crate::state::StateView;

/// Something that runs a module: an engine's compiled program.
pub trait Machine {
    /// The module that it runs, by the bytes its author shipped.
    fn module(&self) -> ModuleHash;

    /// Makes an instance, enters it once, drops it.
    fn enter(&self, session: Session, entry: Entry<'_>) -> (Session, Result<Answer, Stop>);
}

/// Where instances are cut.
#[derive(Debug, Clone, Copy)]
pub enum Cuts<'r> {
    /// Where the host must: at the start of the range, after so many events, after a failure.
    Live,
    /// Where a record says: for each event of the range, whether its instance was fresh.
    Recorded(&'r [bool]),
}

/// A plugin in a stream.
pub struct Instance<M> {
    machine: M,
    grant: Arc<Grant>,
    profile: ProfileId,
}

/// How a call of `init` or `migrate` ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Accepted or rejected by the guest, or failed.
    pub code: OutcomeCode,
    /// `migrate` wants to be called again.
    pub again: bool,
    /// The gas charged.
    pub gas: u64,
    /// What it wrote; empty unless accepted.
    pub writes: Vec<Write>,
    /// By how many bytes that let the plugin's state grow.
    pub grown: i64,
    /// Its log lines.
    pub log: Vec<LogLine>,
}

/// Why there is no answer to a query or a description.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The guest failed.
    #[error("the guest failed: {0}")]
    Guest(OutcomeCode),
    /// What it described is no manifest.
    #[error("the guest described itself wrongly")]
    Manifest(#[from] ManifestError),
    /// The host failed.
    #[error("the host failed")]
    Host(#[from] HostError),
}

impl<M: Machine> Instance<M> {
    /// A program with what it may do.
    #[must_use]
    pub fn new(machine: M, grant: Grant) -> Self {
        let profile = grant.limits.profile();
        Self { machine, grant: Arc::new(grant), profile }
    }

    /// Applies events to a state. The state is as before the first of them; a step's writes are not in it.
    ///
    /// Later events see what earlier ones of the range wrote. So where a step may still be undone by what its emits
    /// come to, the range is that one event.
    ///
    /// # Errors
    /// The host cannot go on; nothing of the range counts.
    pub fn apply(
        &self,
        events: Vec<Event>,
        state: Arc<dyn StateView>,
        cuts: Cuts<'_>,
    ) -> Result<Vec<BindingStep>, HostError> {
        self.apply_shared(events.into_iter().map(Arc::new).collect(), state, cuts)
    }

    /// [`Instance::apply`] to events that other plugins are given too.
    ///
    /// # Errors
    /// The host cannot go on; nothing of the range counts.
    pub fn apply_shared(
        &self,
        events: Vec<Arc<Event>>,
        state: Arc<dyn StateView>,
        cuts: Cuts<'_>,
    ) -> Result<Vec<BindingStep>, HostError> {
        let count = events.len();
        let mut session = Session::new(Arc::clone(&self.grant), Mode::Run, state);
        session.give(events);
        while session.waiting().is_some() {
            let room = match cuts {
                Cuts::Live => self.grant.limits.events_per_instance,
                Cuts::Recorded(fresh) => {
                    let at = count - session.waiting_count();
                    let rest = fresh.get(at + 1..).unwrap_or_default();
                    rest.iter().position(|fresh| *fresh).unwrap_or(rest.len()) as u64 + 1
                }
            };
            session.begin_instance(room);
            let (back, end) = self.machine.enter(session, Entry::Run);
            session = back;
            session.end_instance(end.map(|_| ()))?;
        }
        let steps = session.into_settled();
        if let Cuts::Recorded(fresh) = cuts {
            let differs = steps.iter().zip(fresh).find(|(step, fresh)| step.fresh != **fresh);
            if let Some((step, _)) = differs {
                return Err(HostError::Cut { index: step.index.get() });
            }
        }
        Ok(steps)
    }

    /// What stands in the event's outcome for a step of this instance.
    #[must_use]
    pub fn binding(&self, step: &BindingStep) -> BindingOutcome {
        step.binding(&self.grant.plugin, self.machine.module(), self.profile)
    }

    /// What it may do.
    #[must_use]
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Hands over the configuration.
    ///
    /// # Errors
    /// The host cannot go on.
    pub fn init(&self, config: &[u8], state: Arc<dyn StateView>) -> Result<Chunk, HostError> {
        self.chunk(Entry::Init(config), state)
    }

    /// One call of `migrate`, from the older state version.
    ///
    /// # Errors
    /// The host cannot go on.
    pub fn migrate(&self, from: u32, config: &[u8], state: Arc<dyn StateView>) -> Result<Chunk, HostError> {
        self.chunk(Entry::Migrate(from, config), state)
    }

    fn chunk(&self, entry: Entry<'_>, state: Arc<dyn StateView>) -> Result<Chunk, HostError> {
        let mut session = Session::new(Arc::clone(&self.grant), Mode::Lifecycle, state);
        session.open_call();
        let (mut session, answer) = self.machine.enter(session, entry);
        let may_repeat = matches!(entry, Entry::Migrate(..));
        let refusal = session.refusal();
        let (code, again) = match (answer, refusal) {
            (Err(Stop::Host(error)), _) => return Err(error),
            (Err(Stop::Code(code)), _) => (code, false),
            (Ok(Answer::Number(0)), None) => (OutcomeCode::Accepted, false),
            (Ok(Answer::Number(1)), Some(reason)) => (OutcomeCode::Rejected(reason), false),
            (Ok(Answer::Number(2)), None) if may_repeat => (OutcomeCode::Accepted, true),
            // Another number, a refusal without its reason, or a reason without its refusal.
            _ => (OutcomeCode::BadOutput, false),
        };
        let gas = session.call_gas(&code);
        let (writes, grown, log) = session.close_call(code == OutcomeCode::Accepted);
        Ok(Chunk { code, again, gas, writes, grown, log })
    }

    /// Answers a request from a state that it cannot change.
    ///
    /// # Errors
    /// The guest failed, or the host did.
    pub fn query(&self, request: &[u8], state: Arc<dyn StateView>) -> Result<(Vec<u8>, Vec<LogLine>), AskError> {
        self.ask(Entry::Query(request), Mode::Query, state)
    }

    /// Asks the guest who it is.
    ///
    /// # Errors
    /// The guest failed, what it gave is no manifest, or the host failed.
    pub fn describe(&self) -> Result<Manifest, AskError> {
        Ok(Manifest::parse(&self.describe_bytes()?)?)
    }

    /// Asks the guest who it is: the manifest's bytes, unread, which a release names by their hash.
    ///
    /// # Errors
    /// The guest failed, or the host did.
    pub fn describe_bytes(&self) -> Result<Vec<u8>, AskError> {
        let nothing: Arc<dyn StateView> = Arc::new(std::collections::BTreeMap::new());
        let (bytes, _) = self.ask(Entry::Describe, Mode::Describe, nothing)?;
        Ok(bytes)
    }

    fn ask(
        &self,
        entry: Entry<'_>,
        mode: Mode,
        state: Arc<dyn StateView>,
    ) -> Result<(Vec<u8>, Vec<LogLine>), AskError> {
        let mut session = Session::new(Arc::clone(&self.grant), mode, state);
        session.open_call();
        let (mut session, answer) = self.machine.enter(session, entry);
        let (_, _, log) = session.close_call(false);
        match answer {
            Ok(Answer::Bytes(bytes)) => Ok((bytes, log)),
            Ok(Answer::Number(_)) => Err(AskError::Guest(OutcomeCode::BadOutput)),
            Err(Stop::Code(code)) => Err(AskError::Guest(code)),
            Err(Stop::Host(error)) => Err(AskError::Host(error)),
        }
    }
}
