//! Which plugins are bound to which stream, and as what: a function of the log's plugin events and of nothing else.
//!
//! Takes the plugin events in log order; gives, for each stream, its bindings in install order with module, grant, limits,
//! configuration and subscriptions. What may be *wished* is the protocol's [`PluginRegister`]; what *runs* is the
//! [`Standing`] beside it, because `init` and `migrate` may fail and the old version goes on.
//! Modules come through [`Modules`] and are held against hash, release, publisher's signature and manifest at every load.
//! A module that is missing, another one, or under a profile that this host lacks halts; nothing is guessed.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tally_protocol::control::ControlError;
use tally_protocol::hash::LedgerId;
use tally_protocol::id::{Index, PluginId, Stream};
use tally_protocol::plugin_event::{Binding, PluginEvent};
use tally_protocol::plugin_life::{Agents, Installed, LifeRefusal, Moment, PluginRegister, ReleaseStatus};
use tally_protocol::release::Review;

use crate::engine::{Engine, Program};
use crate::error::HostError;
use crate::instance::{Instance, Machine};
use crate::limits::Limits;
use crate::session::{Event, Grant};
use crate::state::StateError;

mod load;
mod standing;

pub use load::{LoadError, Unfit};
pub use standing::{QUARANTINE_FAILURES, QUARANTINE_SPAN, Standing, Status};

pub(crate) use load::limits_of;
use load::{Programs, contract};
pub(crate) use standing::{Counted, count_failure};

/// Where modules lie.
pub trait Modules {
    /// A module by its hash. What is given is not believed.
    ///
    /// # Errors
    /// They could not be read.
    fn module(&self, hash: &tally_protocol::hash::ModuleHash) -> Result<Option<Bytes>, StateError>;
}

impl Modules for BTreeMap<tally_protocol::hash::ModuleHash, Bytes> {
    fn module(&self, hash: &tally_protocol::hash::ModuleHash) -> Result<Option<Bytes>, StateError> {
        Ok(self.get(hash).cloned())
    }
}

/// An engine: what makes a module run.
pub trait Loader {
    /// What it makes of a module.
    type Machine: Machine + Clone;

    /// Validates, instruments and compiles a module.
    ///
    /// # Errors
    /// [`HostError::Module`] if the module may not run under these limits on any engine; anything else halts.
    fn load(&self, wasm: &[u8], limits: &Limits) -> Result<Self::Machine, HostError>;
}

impl Loader for Engine {
    type Machine = Program;

    fn load(&self, wasm: &[u8], limits: &Limits) -> Result<Program, HostError> {
        Self::load(self, wasm, limits)
    }
}

/// What a binding may do, and what it listens to.
#[derive(Debug, Clone)]
pub struct Contract {
    /// Who runs, with which limits, prefixes and capabilities: what the manifest asks for and the binding grants.
    pub grant: Grant,
    /// The event types that it subscribes to: exact, `name.*` or `*`.
    pub events: Vec<String>,
}

impl Contract {
    /// Whether it is given events of this type.
    #[must_use]
    pub fn hears(&self, event_type: &str) -> bool {
        self.events.iter().any(|pattern| match pattern.strip_suffix('*') {
            // `*`, or `name.*`: everything behind the dot.
            Some(stem) => event_type.len() > stem.len() && event_type.starts_with(stem),
            None => pattern == event_type,
        })
    }
}

/// A plugin in a stream.
#[derive(Debug, Clone)]
pub struct Bound {
    pub(crate) standing: Standing,
    /// None unless it ran since the registry was made.
    pub(crate) contract: Option<Arc<Contract>>,
}

impl Bound {
    /// Where it stands.
    #[must_use]
    pub const fn standing(&self) -> &Standing {
        &self.standing
    }

    /// What it may do and hears; none unless it ran since the registry was made.
    #[must_use]
    pub fn contract(&self) -> Option<&Contract> {
        self.contract.as_deref()
    }

    fn plugin(&self) -> &PluginId {
        &self.standing.binding.plugin
    }
}

/// Why a plugin event of the log changes nothing here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Its payload is not one.
    #[error("the payload is malformed: {0}")]
    Malformed(#[from] ControlError),
    /// The state does not allow it.
    #[error("the state does not allow it: {0}")]
    Life(#[from] LifeRefusal),
}

/// Ready to run, for one range.
pub(crate) struct Ready<M> {
    pub(crate) instance: Instance<M>,
    pub(crate) contract: Arc<Contract>,
}

/// The bindings of all streams at one position of the log.
pub struct Registry<L: Loader> {
    ledger: LedgerId,
    register: PluginRegister,
    bound: BTreeMap<Stream, Vec<Bound>>,
    loader: L,
    modules: Box<dyn Modules + Send>,
    programs: Programs<L::Machine>,
    halted: bool,
}

impl<L: Loader> Registry<L> {
    /// Of a ledger without plugins. At most `programs_max` compiled modules are kept beyond the range that uses them.
    #[must_use]
    pub fn new(ledger: LedgerId, loader: L, modules: Box<dyn Modules + Send>, programs_max: usize) -> Self {
        let (register, programs) = (PluginRegister::new(ledger), Programs::new(programs_max));
        Self { ledger, register, bound: BTreeMap::new(), loader, modules, programs, halted: false }
    }

    /// At a position of the log: the register there, and the standings that deltas up to there left. Every module that
    /// runs there is loaded once, and so verified.
    ///
    /// # Errors
    /// A module is missing or not what its release says, or a standing names what the register does not have.
    pub fn restore(
        mut self,
        register: PluginRegister,
        standings: impl IntoIterator<Item = (Stream, Standing)>,
    ) -> Result<Self, HostError> {
        self.rewind(register, standings)?;
        Ok(self)
    }

    /// [`Registry::restore`] in place: after a range that failed, to what is stored.
    ///
    /// # Errors
    /// As there.
    pub fn rewind(
        &mut self,
        register: PluginRegister,
        standings: impl IntoIterator<Item = (Stream, Standing)>,
    ) -> Result<(), HostError> {
        (self.register, self.bound, self.halted) = (register, BTreeMap::new(), true);
        for (stream, standing) in standings {
            // What does not run is loaded when it begins again.
            let contract = match standing.status {
                Status::Running => Some(self.load(&stream, &standing.binding)),
                Status::Quarantined | Status::Failed => None,
            };
            let contract = contract.transpose().map_err(|error| error.halt(&standing.binding.plugin))?;
            let contract = contract.map(|ready| ready.contract);
            let bound = self.bound.entry(stream).or_default();
            bound.push(Bound { standing, contract });
            bound.sort_by_key(|bound| bound.standing.installed);
        }
        self.halted = false;
        Ok(())
    }

    /// What may be wished: releases, bindings and their histories.
    #[must_use]
    pub const fn register(&self) -> &PluginRegister {
        &self.register
    }

    /// The ledger.
    #[must_use]
    pub const fn ledger(&self) -> LedgerId {
        self.ledger
    }

    /// The bindings of a stream, in install order.
    #[must_use]
    pub fn bindings(&self, stream: &Stream) -> &[Bound] {
        self.bound.get(stream).map_or(&[], Vec::as_slice)
    }

    /// Every stream with its bindings, in install order.
    pub fn all(&self) -> impl Iterator<Item = (&Stream, &[Bound])> {
        self.bound.iter().map(|(stream, bound)| (stream, bound.as_slice()))
    }

    /// Whether no plugin is given an event of this stream, nor moved by it: its outcome is the empty one, and nothing else
    /// comes of it (`docs/formats/apply.md`).
    #[must_use]
    pub fn is_nobodys(&self, stream: &Stream) -> bool {
        !stream.is_control() && self.bindings(stream).is_empty()
    }

    /// Whether a binding could run here: for the door, before its event is in the log and a refusal would halt apply.
    ///
    /// # Errors
    /// It could not.
    pub fn vet(&mut self, stream: &Stream, binding: &Binding) -> Result<(), LoadError> {
        self.load_approved(stream, binding).map(|_| ())
    }

    /// A running binding's program, to ask it things; none if it does not run.
    ///
    /// # Errors
    /// The host cannot go on.
    pub fn open(&mut self, stream: &Stream, plugin: &PluginId) -> Result<Option<Instance<L::Machine>>, HostError> {
        let running = self.find(stream, plugin).filter(|bound| bound.standing.status == Status::Running);
        let Some(binding) = running.map(|bound| bound.standing.binding.clone()) else { return Ok(None) };
        let ready = self.load(stream, &binding).map_err(|error| error.halt(plugin))?;
        Ok(Some(ready.instance))
    }

    /// What is about to begin: its release is approved now.
    pub(crate) fn load_approved(&mut self, stream: &Stream, binding: &Binding) -> Result<Ready<L::Machine>, LoadError> {
        let ready = self.load(stream, binding)?;
        let registry = binding.registry.stream(stream.tenant);
        let record = self.register.release(&registry, &binding.plugin, binding.version);
        let approved = record.is_some_and(|record| record.status() == ReleaseStatus::Approved);
        if approved { Ok(ready) } else { Err(Unfit::NotApproved.into()) }
    }

    /// A binding's program with what it may do, verified from the release down. What runs may be revoked by now: it is
    /// still given the events before that.
    pub(crate) fn load(&mut self, stream: &Stream, binding: &Binding) -> Result<Ready<L::Machine>, LoadError> {
        let registry = binding.registry.stream(stream.tenant);
        let record = self.register.release(&registry, &binding.plugin, binding.version);
        let (program, manifest) =
            self.programs.get(&self.loader, self.modules.as_ref(), self.ledger, record, binding)?;
        let contract = Arc::new(contract(self.ledger, &manifest, binding)?);
        Ok(Ready { instance: Instance::new(program, contract.grant.clone()), contract })
    }

    /// A plugin event at its place.
    pub(crate) fn admit(&mut self, event: &Event, agents: &dyn Agents) -> Result<PluginEvent, Refused> {
        let plugin_event = PluginEvent::decode(&event.event_type, &event.body)?;
        let at = Moment { stream: event.stream, actor: event.agent, index: event.index, now: event.sequenced_at };
        self.register.apply(&at, &plugin_event, agents)?;
        Ok(plugin_event)
    }

    pub(crate) fn find(&self, stream: &Stream, plugin: &PluginId) -> Option<&Bound> {
        self.bindings(stream).iter().find(|bound| bound.plugin() == plugin)
    }

    fn find_mut(&mut self, stream: &Stream, plugin: &PluginId) -> Option<&mut Bound> {
        self.bound.get_mut(stream)?.iter_mut().find(|bound| bound.plugin() == plugin)
    }

    /// A plugin is installed; nothing of it runs yet.
    pub(crate) fn enroll(&mut self, stream: &Stream, installed: Index, binding: &Binding) {
        let standing = Standing::new(installed, binding.clone());
        self.bound.entry(*stream).or_default().push(Bound { standing, contract: None });
    }

    /// Its `init` or `migrate` was accepted: it runs as this.
    pub(crate) fn begin(&mut self, stream: &Stream, binding: Binding, contract: Arc<Contract>, state_bytes: u64) {
        if let Some(bound) = self.find_mut(stream, &binding.plugin.clone()) {
            bound.standing.begin(binding);
            bound.standing.state_bytes = state_bytes;
            bound.contract = Some(contract);
        }
    }

    pub(crate) fn quarantine(&mut self, stream: &Stream, plugin: &PluginId) {
        if let Some(bound) = self.find_mut(stream, plugin) {
            bound.standing.quarantine();
        }
    }

    /// What a range counted.
    pub(crate) fn set_counted(&mut self, stream: &Stream, plugin: &PluginId, counted: Counted) {
        if let Some(bound) = self.find_mut(stream, plugin) {
            let Counted { status, failures, state_bytes } = counted;
            let standing = &mut bound.standing;
            (standing.status, standing.failures, standing.state_bytes) = (status, failures, state_bytes);
        }
    }

    pub(crate) fn remove(&mut self, stream: &Stream, plugin: &PluginId) {
        if let Some(bound) = self.bound.get_mut(stream) {
            bound.retain(|bound| bound.plugin() != plugin);
        }
    }

    /// The bindings that a revocation stops: of the revoked release, and those whose wish was of it. The two differ where
    /// an upgrade failed and the old version goes on.
    pub(crate) fn revoked(&self, registry: &Stream, review: &Review) -> Vec<(Stream, PluginId)> {
        let mut stopped = Vec::new();
        for (stream, bound) in &self.bound {
            for bound in bound.iter().filter(|bound| *bound.plugin() == review.plugin) {
                let runs = &bound.standing.binding;
                let of_it = runs.release == review.release && runs.registry.stream(stream.tenant) == *registry;
                let wished = self.register.installed(stream, &review.plugin);
                if of_it || wished.is_some_and(Installed::is_quarantined) {
                    stopped.push((*stream, review.plugin.clone()));
                }
            }
        }
        stopped
    }

    /// A range begins. Until it ends well, nothing here counts.
    pub(crate) fn enter(&mut self) -> Result<(), HostError> {
        if core::mem::replace(&mut self.halted, true) { Err(HostError::Halted) } else { Ok(()) }
    }

    pub(crate) fn leave(&mut self) {
        self.halted = false;
    }
}

#[cfg(test)]
mod tests {
    use tally_protocol::id::PluginId;

    use super::*;

    fn hears(pattern: &str, event_type: &str) -> bool {
        let grant = Grant::nothing(LedgerId::ZERO, PluginId::new("p").expect("an id"));
        Contract { grant, events: vec![pattern.to_owned()] }.hears(event_type)
    }

    #[test]
    fn a_pattern_hears_its_type_or_what_is_behind_its_dot() {
        assert!(
            hears("order.placed", "order.placed") && hears("order.*", "order.placed") && hears("*", "order.placed")
        );
        assert!(hears("order.*", "order.a.b"));
        assert!(!hears("order.placed", "order.placed2") && !hears("order.placed", "order"));
        assert!(!hears("order.*", "order") && !hears("order.*", "order.") && !hears("order.*", "orders.placed"));
    }
}
