//! Compiled modules for questions: those of queries, of declared routes, and of whoever puts a module.
//!
//! An engine of its own, so that no question can take an instance from applying. Takes a module's hash and limits; gives
//! the program with what it says of itself. The least used is forgotten; what a module is refused for is remembered,
//! because the same bytes are refused again. One is compiled at a time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tally_plugin_host::apart::{Apart, ApartError};
use tally_plugin_host::engine::{Engine as Host, Program};
use tally_plugin_host::error::HostError;
use tally_plugin_host::instance::{AskError, Instance};
use tally_plugin_host::limits::Limits;
use tally_plugin_host::manifest::Manifest;
use tally_plugin_host::registry::Loader as _;
use tally_plugin_host::report::{Report, made_with};
use tally_plugin_host::session::Grant;
use tally_protocol::hash::{LedgerId, ModuleHash, ProfileId};
use tally_protocol::id::PluginId;
use tally_protocol::release::Release;

use super::stored::Stored;
use super::{Alive, PluginBounds};

/// A module that runs.
pub(super) struct Loaded {
    pub(super) program: Program,
    pub(super) manifest: Manifest,
}

/// Why a module does not run.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum LoadProblem {
    #[error("the module is not stored here")]
    Missing,
    /// A fact of the module.
    #[error("the module is refused: {0}")]
    Refused(String),
    /// Compiling it took more than a child process may use.
    #[error("the module took more than compiling may use here: {0}")]
    Bound(String),
    /// This host's trouble.
    #[error("the module cannot be loaded here: {0}")]
    Host(String),
}

impl LoadProblem {
    fn of(error: HostError) -> Self {
        match error {
            HostError::Module(refusal) => Self::Refused(refusal.to_string()),
            HostError::Apart(ApartError::Stopped(how)) => Self::Bound(how),
            error => Self::Host(error.to_string()),
        }
    }
}

type Key = (ModuleHash, ProfileId);

#[derive(Default)]
struct Kept {
    programs: BTreeMap<Key, (u64, Result<Arc<Loaded>, LoadProblem>)>,
    uses: u64,
}

/// The programs.
pub(super) struct Programs {
    host: Host,
    /// Compiles first, in a process of its own.
    apart: Option<Apart>,
    stored: Stored,
    kept: Mutex<Kept>,
    loading: Mutex<()>,
    running: AtomicU32,
    bounds: PluginBounds,
    _alive: Alive,
}

/// Room for one query; free again when dropped.
pub(super) struct Slot<'p>(&'p AtomicU32);

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Instances that are not queries': loading asks a module who it is.
const LOADING_INSTANCES: u32 = 2;

impl Programs {
    /// Instances that the engine must have room for.
    pub(super) const fn instances(bounds: &PluginBounds) -> u32 {
        bounds.queries_max.saturating_add(LOADING_INSTANCES)
    }

    pub(super) fn new(host: Host, apart: Option<Apart>, stored: Stored, bounds: PluginBounds, alive: Alive) -> Self {
        let (kept, loading, running) = (Mutex::default(), Mutex::default(), AtomicU32::new(0));
        Self { host, apart, stored, kept, loading, running, bounds, _alive: alive }
    }

    /// Room for one query; none if as many run as may.
    pub(super) fn slot(&self) -> Option<Slot<'_>> {
        let free = |running: u32| (running < self.bounds.queries_max).then_some(running + 1);
        self.running.fetch_update(Ordering::AcqRel, Ordering::Acquire, free).ok().map(|_| Slot(&self.running))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A module under these limits.
    pub(super) fn get(&self, module: ModuleHash, limits: &Limits) -> Result<Arc<Loaded>, LoadProblem> {
        let key = (module, limits.profile());
        if let Some(known) = self.kept().find(&key) {
            return known;
        }
        let _one = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = self.kept().find(&key) {
            return known;
        }
        let loaded = self.load(module, limits).map(Arc::new);
        if !matches!(loaded, Err(LoadProblem::Missing | LoadProblem::Bound(_) | LoadProblem::Host(_))) {
            self.kept().keep(key, loaded.clone(), self.bounds.programs_max);
        }
        loaded
    }

    fn load(&self, module: ModuleHash, limits: &Limits) -> Result<Loaded, LoadProblem> {
        self.compile(&self.wasm(module)?, limits)
    }

    /// What the machine has to say about a release of a stored module.
    pub(super) fn report(&self, ledger: LedgerId, release: &Release) -> Result<Report, LoadProblem> {
        let _one = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        let wasm = self.wasm(release.module)?;
        let made = match &self.apart {
            Some(apart) => made_with(apart, ledger, release, &wasm),
            None => made_with(&self.host, ledger, release, &wasm),
        };
        made.map_err(LoadProblem::of)
    }

    fn wasm(&self, module: ModuleHash) -> Result<Bytes, LoadProblem> {
        let found = self.stored.modules.get(module).map_err(|error| LoadProblem::Host(error.to_string()))?;
        found.ok_or(LoadProblem::Missing)
    }

    /// Whether a module compiles within bounds and describes itself, before it is stored. The widest limits: none of a
    /// binding asks the compiler for more.
    pub(super) fn try_out(&self, wasm: &[u8]) -> Result<(), LoadProblem> {
        let _one = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        self.compile(wasm, &Limits::CAPS).map(|_| ())
    }

    fn compile(&self, wasm: &[u8], limits: &Limits) -> Result<Loaded, LoadProblem> {
        let host = |error: &dyn std::fmt::Display| LoadProblem::Host(error.to_string());
        let compiled = match &self.apart {
            Some(apart) => apart.load(wasm, limits),
            None => self.host.load(wasm, limits),
        };
        let program = compiled.map_err(LoadProblem::of)?;
        let nobody = PluginId::new("nobody").map_err(|error| host(&error))?;
        let grant = Grant { limits: *limits, ..Grant::nothing(LedgerId::ZERO, nobody) };
        let manifest = Instance::new(program.clone(), grant).describe().map_err(|error| match error {
            AskError::Host(error) => host(&error),
            AskError::Guest(code) => LoadProblem::Refused(format!("it does not describe itself: {code}")),
            AskError::Manifest(error) => LoadProblem::Refused(format!("it describes itself wrongly: {error}")),
        })?;
        Ok(Loaded { program, manifest })
    }
}

impl Kept {
    fn find(&mut self, key: &Key) -> Option<Result<Arc<Loaded>, LoadProblem>> {
        self.uses += 1;
        let (used, known) = self.programs.get_mut(key)?;
        *used = self.uses;
        Some(known.clone())
    }

    fn keep(&mut self, key: Key, loaded: Result<Arc<Loaded>, LoadProblem>, count_max: usize) {
        while self.programs.len() >= count_max.max(1) {
            let oldest = self.programs.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| *key);
            let Some(oldest) = oldest else { break };
            self.programs.remove(&oldest);
        }
        self.programs.insert(key, (self.uses, loaded));
    }
}
