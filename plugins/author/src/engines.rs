//! A module on every engine there is: compiled with optimisation, compiled without, interpreted.
//!
//! Takes the bytes an author ships; gives a [`Plugin`]: its manifest, and a [`Guest`] for each engine that was asked for,
//! with everything granted that the manifest asks for. The first engine is the one whose results are reported.

use core::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tally_plugin_host::engine::{Engine, Optimisation, Program};
use tally_plugin_host::error::HostError;
use tally_plugin_host::instance::{AskError, Chunk, Cuts, Instance};
use tally_plugin_host::interpreter::{Interpreted, Interpreter};
use tally_plugin_host::limits::Limits;
use tally_plugin_host::manifest::Manifest;
use tally_plugin_host::registry::Loader as _;
use tally_plugin_host::report::{Report, made_with};
use tally_plugin_host::session::{BindingStep, Event, Grant, LogLine};
use tally_plugin_host::state::StateView;
use tally_protocol::hash::{self, LedgerId, ModuleHash};
use tally_protocol::id::PluginId;
use tally_protocol::outcome::BindingOutcome;
use tally_protocol::release::Release;

use crate::error::AuthorError;

/// Instances at once: the tools run one after the other.
const INSTANCES: u32 = 4;

/// An engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EngineName {
    /// Compiled, as a node runs it.
    Optimised,
    /// Compiled without optimisation.
    Baseline,
    /// Interpreted.
    Wasmi,
}

impl EngineName {
    /// All of them; the first is a node's own.
    pub const ALL: [Self; 3] = [Self::Optimised, Self::Baseline, Self::Wasmi];

    /// Its name on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Optimised => "optimised",
            Self::Baseline => "baseline",
            Self::Wasmi => "wasmi",
        }
    }
}

impl fmt::Display for EngineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The engines, made once.
pub struct Engines {
    optimised: Engine,
    baseline: Engine,
    interpreter: Interpreter,
    ledger: LedgerId,
}

impl Engines {
    /// Makes the engines. Ids that a guest derives hang on the ledger's id.
    ///
    /// # Errors
    /// The machine cannot give the memory.
    pub fn new(ledger: LedgerId) -> Result<Self, AuthorError> {
        let optimised = Engine::new(INSTANCES, Optimisation::Speed)?;
        let baseline = Engine::new(INSTANCES, Optimisation::None)?;
        Ok(Self { optimised, baseline, interpreter: Interpreter::new()?, ledger })
    }

    /// Loads a module on every engine.
    ///
    /// # Errors
    /// The host refuses it, or it does not describe itself.
    pub fn load(&self, wasm: &[u8]) -> Result<Plugin, AuthorError> {
        self.load_on(wasm, &EngineName::ALL)
    }

    /// Loads a module on these engines.
    ///
    /// # Errors
    /// The host refuses it, or it does not describe itself.
    pub fn load_on(&self, wasm: &[u8], engines: &[EngineName]) -> Result<Plugin, AuthorError> {
        let unknown = PluginId::new("unknown").map_err(|error| AuthorError::Events(error.to_string()))?;
        let nothing = Grant::nothing(self.ledger, unknown);
        // Described by the interpreter, and a second time by whoever is asked: nothing is compiled for it.
        let asked = Instance::new(self.interpreter.load(wasm, &nothing.limits)?, nothing);
        let manifest_bytes = asked.describe_bytes()?;
        let manifest = Manifest::parse(&manifest_bytes)?;
        let grant = Grant::all(self.ledger, &manifest);
        let guests = engines.iter().map(|name| Ok((*name, self.guest(*name, wasm, &grant)?)));
        let guests = guests.collect::<Result<Vec<_>, AuthorError>>()?;
        let module = hash::module(wasm);
        Ok(Plugin { manifest, manifest_bytes: manifest_bytes.into(), module, bytes: wasm.len(), guests })
    }

    /// What the machine has to say about a release.
    ///
    /// # Errors
    /// The host cannot go on.
    pub fn report(&self, release: &Release, wasm: &[u8]) -> Result<Report, AuthorError> {
        Ok(made_with(&self.optimised, self.ledger, release, wasm)?)
    }

    fn guest(&self, name: EngineName, wasm: &[u8], grant: &Grant) -> Result<Guest, HostError> {
        let compiled = |engine: &Engine| {
            let program = engine.load(wasm, &grant.limits)?;
            Ok(Guest(On::Compiled(Instance::new(program, grant.clone()))))
        };
        match name {
            EngineName::Optimised => compiled(&self.optimised),
            EngineName::Baseline => compiled(&self.baseline),
            EngineName::Wasmi => {
                Ok(Guest(On::Interpreted(Instance::new(self.interpreter.load(wasm, &grant.limits)?, grant.clone()))))
            }
        }
    }
}

/// A module, on the engines that were asked for.
pub struct Plugin {
    /// What it says about itself.
    pub manifest: Manifest,
    /// The same, as the guest gave it.
    pub manifest_bytes: Bytes,
    /// Its content address.
    pub module: ModuleHash,
    /// Its length.
    pub bytes: usize,
    guests: Vec<(EngineName, Guest)>,
}

impl Plugin {
    /// The engines it is on.
    pub fn guests(&self) -> impl Iterator<Item = (EngineName, &Guest)> {
        self.guests.iter().map(|(name, guest)| (*name, guest))
    }

    /// The first engine: whose results are reported.
    #[must_use]
    pub fn first(&self) -> Option<&Guest> {
        self.guests.first().map(|(_, guest)| guest)
    }

    /// Whether it wants events of this type.
    #[must_use]
    pub fn hears(&self, event_type: &str) -> bool {
        self.manifest.events.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(stem) => event_type.len() > stem.len() && event_type.starts_with(stem),
            None => pattern == event_type,
        })
    }

    /// Its limits.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.manifest.limits
    }

    /// Id and version, for people.
    #[must_use]
    pub fn title(&self) -> String {
        let (major, minor, patch) = self.manifest.version;
        format!("{} {major}.{minor}.{patch}", self.manifest.id)
    }
}

/// A module on one engine.
pub struct Guest(On);

enum On {
    Compiled(Instance<Program>),
    Interpreted(Instance<Interpreted>),
}

macro_rules! on_both {
    ($guest:expr, $instance:ident => $call:expr) => {
        match &$guest.0 {
            On::Compiled($instance) => $call,
            On::Interpreted($instance) => $call,
        }
    };
}

impl Guest {
    /// Applies events to a state, which is as before the first of them.
    ///
    /// # Errors
    /// The host cannot go on.
    pub fn apply(&self, events: Vec<Arc<Event>>, state: Arc<dyn StateView>) -> Result<Vec<BindingStep>, HostError> {
        on_both!(self, instance => instance.apply_shared(events, state, Cuts::Live))
    }

    /// Hands over the configuration.
    ///
    /// # Errors
    /// The host cannot go on.
    pub fn init(&self, config: &[u8], state: Arc<dyn StateView>) -> Result<Chunk, HostError> {
        on_both!(self, instance => instance.init(config, state))
    }

    /// One call of `migrate`.
    ///
    /// # Errors
    /// The host cannot go on.
    pub fn migrate(&self, from: u32, config: &[u8], state: Arc<dyn StateView>) -> Result<Chunk, HostError> {
        on_both!(self, instance => instance.migrate(from, config, state))
    }

    /// Asks something of a state.
    ///
    /// # Errors
    /// The guest failed, or the host did.
    pub fn query(&self, request: &[u8], state: Arc<dyn StateView>) -> Result<(Vec<u8>, Vec<LogLine>), AskError> {
        on_both!(self, instance => instance.query(request, state))
    }

    /// A step as it would stand in an outcome.
    #[must_use]
    pub fn binding(&self, step: &BindingStep) -> BindingOutcome {
        on_both!(self, instance => instance.binding(step))
    }
}
