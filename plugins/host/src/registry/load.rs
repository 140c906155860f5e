//! From a release to a program: every link is checked at every load, and a bounded number of programs is kept.
//!
//! The order matters: the profile (a host that lacks it halts), the module's bytes (missing or other bytes halt), the
//! release and its publisher's signature, then what any host of this profile would say of the module: the validator's
//! word, its manifest. The last ones are [`Unfit`], a fact of the module and no failure of the host.

use std::collections::BTreeMap;
use std::sync::Arc;

use tally_protocol::hash::{LedgerId, ProfileId, ReleaseHash};
use tally_protocol::id::PluginId;
use tally_protocol::outcome::OutcomeCode;
use tally_protocol::plugin_event::Binding;
use tally_protocol::plugin_life::ReleaseRecord;
use tally_protocol::release::{ENTITY_PERMISSION, ReleaseError, attestation_holds};

use super::{Contract, Loader, Modules};
use crate::error::{HostError, ModuleError};
use crate::instance::{AskError, Instance};
use crate::limits::Limits;
use crate::manifest::{Capability, Manifest, ManifestError};
use crate::session::Grant;

/// Why a module that is there, and is the release's, may not run. Every host of the profile says the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The release is not approved, or not any more.
    #[error("the release is not approved")]
    NotApproved,
    /// The validator refuses the module.
    #[error("the module is refused: {0}")]
    Module(#[from] ModuleError),
    /// Its `describe` failed.
    #[error("it does not describe itself: {0}")]
    Describe(OutcomeCode),
    /// What it describes is no manifest.
    #[error("it describes itself wrongly: {0}")]
    Manifest(#[from] ManifestError),
    /// The release claims something else than its manifest.
    #[error("the release is not its manifest's: {0}")]
    Release(#[from] ReleaseError),
}

/// Why a binding cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A fact of the module; its lifecycle event has an outcome that says so.
    #[error("{0}")]
    Unfit(#[from] Unfit),
    /// The host cannot tell; apply halts.
    #[error(transparent)]
    Host(#[from] HostError),
}

impl LoadError {
    /// For a binding that ran before, being unfit is the host's trouble too.
    pub(crate) fn halt(self, plugin: &PluginId) -> HostError {
        match self {
            Self::Host(error) => error,
            Self::Unfit(why) => HostError::Unfit { plugin: plugin.clone(), why: why.to_string() },
        }
    }
}

/// The limits of a binding: the defaults, and what its event says.
pub(crate) fn limits_of(binding: &Binding) -> Result<Limits, HostError> {
    let unknown = || HostError::UnknownProfile { plugin: binding.plugin.clone(), profile: binding.profile };
    let mut limits = Limits::default();
    for (name, value) in &binding.limits {
        // A name or a value that this host does not have may be another profile's.
        limits.set(name, *value).map_err(|_| unknown())?;
    }
    if limits.profile() == binding.profile { Ok(limits) } else { Err(unknown()) }
}

/// What a binding may do: what its manifest asks for and its event grants.
pub(super) fn contract(ledger: LedgerId, manifest: &Manifest, binding: &Binding) -> Result<Contract, HostError> {
    let granted = |capability: &&Capability| match capability {
        Capability::Emit => binding.granted.contains("emit"),
        Capability::Effect(kind) => binding.granted.contains(&format!("effect:{kind}")),
        Capability::EntityType(entity_type) => binding.granted.contains(&format!("{ENTITY_PERMISSION}{entity_type}")),
    };
    let grant = Grant {
        ledger,
        plugin: binding.plugin.clone(),
        limits: limits_of(binding)?,
        prefixes: manifest.prefixes.clone(),
        capabilities: manifest.capabilities.iter().filter(granted).cloned().collect(),
    };
    Ok(Contract { grant, events: manifest.events.clone() })
}

/// What a program was made of.
type Key = (ReleaseHash, ProfileId);

struct Kept<M> {
    program: M,
    manifest: Arc<Manifest>,
    used: u64,
}

/// Compiled programs, the least used of them forgotten.
pub(super) struct Programs<M> {
    kept: BTreeMap<Key, Kept<M>>,
    count_max: usize,
    uses: u64,
}

impl<M: crate::instance::Machine + Clone> Programs<M> {
    pub(super) const fn new(count_max: usize) -> Self {
        Self { kept: BTreeMap::new(), count_max, uses: 0 }
    }

    /// A program with its manifest: the kept one, or loaded and verified anew.
    pub(super) fn get<L: Loader<Machine = M>>(
        &mut self,
        loader: &L,
        modules: &dyn Modules,
        ledger: LedgerId,
        record: Option<&ReleaseRecord>,
        binding: &Binding,
    ) -> Result<(M, Arc<Manifest>), LoadError> {
        let limits = limits_of(binding)?;
        let record = check_release(record, binding)?;
        let key = (binding.release, binding.profile);
        self.uses += 1;
        if let Some(kept) = self.kept.get_mut(&key) {
            kept.used = self.uses;
            return Ok((kept.program.clone(), Arc::clone(&kept.manifest)));
        }
        let (program, manifest) = load(loader, modules, ledger, record, &limits)?;
        let manifest = Arc::new(manifest);
        self.keep(key, Kept { program: program.clone(), manifest: Arc::clone(&manifest), used: self.uses });
        Ok((program, manifest))
    }

    fn keep(&mut self, key: Key, program: Kept<M>) {
        while self.kept.len() >= self.count_max.max(1) {
            let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.used).map(|(key, _)| *key);
            let Some(oldest) = oldest else { break };
            self.kept.remove(&oldest);
        }
        self.kept.insert(key, program);
    }
}

/// The release that a binding names.
fn check_release<'r>(record: Option<&'r ReleaseRecord>, binding: &Binding) -> Result<&'r ReleaseRecord, HostError> {
    let broken = || HostError::Release(binding.plugin.clone());
    let record = record.ok_or_else(broken)?;
    let named = *record.hash() == binding.release && record.release().hash() == binding.release;
    if named && record.release().module == binding.module { Ok(record) } else { Err(broken()) }
}

fn load<L: Loader>(
    loader: &L,
    modules: &dyn Modules,
    ledger: LedgerId,
    record: &ReleaseRecord,
    limits: &Limits,
) -> Result<(L::Machine, Manifest), LoadError> {
    let (release, plugin) = (record.release(), record.release().plugin.clone());
    // Reviews were verified by the register when they came; it keeps their decisions.
    if !attestation_holds(record.hash(), record.publisher(), record.publisher_key()) {
        return Err(HostError::Release(plugin).into());
    }
    let Some(wasm) = modules.module(&release.module).map_err(HostError::from)? else {
        return Err(HostError::ModuleMissing { plugin, module: release.module }.into());
    };
    if release.check_module(&wasm).is_err() {
        return Err(HostError::ModuleDiffers { plugin, module: release.module }.into());
    }
    let program = match loader.load(&wasm, limits) {
        Err(HostError::Module(refusal)) => return Err(Unfit::Module(refusal).into()),
        loaded => loaded?,
    };
    let asked = Grant { limits: *limits, ..Grant::nothing(ledger, plugin) };
    let bytes = match Instance::new(program.clone(), asked).describe_bytes() {
        Ok(bytes) => bytes,
        Err(AskError::Guest(code)) => return Err(Unfit::Describe(code).into()),
        Err(AskError::Manifest(error)) => return Err(Unfit::Manifest(error).into()),
        Err(AskError::Host(error)) => return Err(error.into()),
    };
    release.check_manifest(&bytes).map_err(Unfit::Release)?;
    Ok((program, Manifest::parse(&bytes).map_err(Unfit::Manifest)?))
}
