//! The gateway's `PluginPort`: modules, bindings, state with proofs, queries, effects and log lines, as they are stored.
//!
//! A query runs on a view of its plugin's state as of one stored size, in an instance of the port's own engine, and at
//! most so many run at once. A proof is made from the pages in memory and on the disk, and tried again if a range was
//! stored meanwhile, so that value, pages and root are always of one size.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde::Serialize;
use tally_gateway::PluginPort;
use tally_gateway::plugins::{
    EffectInfo, LogLineInfo, PluginInfo, PluginPortError, PluginRoute, QueryAnswer, ReportInfo, StateRead,
};
use tally_merkle::sparse::{PageId, PageStore, StateAnswer, StateEnd, prove};
use tally_plugin_host::delta::{TreeName, Trees};
use tally_plugin_host::instance::{AskError, Instance};
use tally_plugin_host::registry::Status;
use tally_plugin_host::state::{StateError, States};
use tally_protocol::hash::{ModuleHash, state_key, state_tree, state_value};
use tally_protocol::id::{Index, PluginId, Stream, TreeSize};
use tally_protocol::release::Release;
use tally_storage::keys::EffectKey;
use tally_storage::{CheckpointStore, StorageError};

use crate::effects::journal::{Record, State};

use super::programs::{LoadProblem, Programs};
use super::reports::Reports;
use super::shown::{Bindings, Shown, ShownBinding};
use super::stored::Stored;
use super::{effect, noted, record};

/// A range is stored about a hundred times a second at the most; a proof takes far less than that.
const PROOF_TRIES_MAX: u32 = 64;

/// The plugins of this node, as they are asked.
pub(super) struct Port {
    stored: Stored,
    checkpoints: CheckpointStore,
    shown: Arc<Shown>,
    programs: Arc<Programs>,
    reports: Arc<Reports>,
    /// Where nobody applies, as on a node that only reads: the same rows, with pages of its own once somebody asked.
    unapplied: OnceLock<Stored>,
}

fn failed(error: impl std::fmt::Display) -> PluginPortError {
    PluginPortError::Failed(error.to_string())
}

fn no_plugin(plugin: &PluginId) -> PluginPortError {
    PluginPortError::NotFound(format!("there is no plugin {plugin} here"))
}

impl From<LoadProblem> for PluginPortError {
    fn from(problem: LoadProblem) -> Self {
        match problem {
            LoadProblem::Refused(_) | LoadProblem::Bound(_) => Self::Refused(problem.to_string()),
            LoadProblem::Missing => Self::NotFound(problem.to_string()),
            LoadProblem::Host(_) => Self::Failed(problem.to_string()),
        }
    }
}

impl Port {
    pub(super) fn new(stored: Stored, shown: Arc<Shown>, programs: Arc<Programs>, reports: Arc<Reports>) -> Self {
        let checkpoints = CheckpointStore::of_outcomes(Arc::clone(&stored.engine));
        Self { stored, checkpoints, shown, programs, reports, unapplied: OnceLock::new() }
    }

    fn bindings(&self) -> Result<(TreeSize, Arc<Bindings>), PluginPortError> {
        // None in the first moments of a start: modules are loaded.
        self.shown.bindings().ok_or(PluginPortError::Busy)
    }

    fn info(&self, bindings: &Bindings, stream: &Stream, shown: &ShownBinding) -> PluginInfo {
        let standing = &shown.standing;
        PluginInfo {
            plugin: standing.binding.plugin.clone(),
            status: standing.status.as_str(),
            version: standing.binding.version.to_string(),
            module: standing.binding.module,
            installed: standing.installed,
            record: record::binding(&bindings.register, stream, shown),
            routes: self.routes(shown),
        }
    }

    /// What a plugin declares, if it runs.
    fn routes(&self, shown: &ShownBinding) -> Vec<PluginRoute> {
        let runs = shown.standing.status == Status::Running;
        let Some(contract) = shown.contract.as_ref().filter(|_| runs) else { return Vec::new() };
        let Ok(loaded) = self.programs.get(shown.standing.binding.module, &contract.grant.limits) else {
            return Vec::new();
        };
        let route = |route: &tally_plugin_host::manifest::Route| PluginRoute {
            name: route.name.clone(),
            method: route.method.clone(),
            path: route.path.clone(),
            event: route.event.clone(),
        };
        loaded.manifest.routes.iter().map(route).collect()
    }

    fn stored_size(&self) -> Result<Option<TreeSize>, PluginPortError> {
        Ok(self.checkpoints.latest().map_err(failed)?.map(|latest| latest.size))
    }

    /// Rows, and the pages that are of them.
    fn with_pages(&self) -> Result<&Stored, PluginPortError> {
        if self.shown.bindings().is_some() {
            return Ok(&self.stored);
        }
        if self.unapplied.get().is_none() {
            let stored = self.stored.with_pages_of_its_own();
            noted::catch_up(&stored).map_err(failed)?;
            // Two who ask at once come to the same.
            let _ = self.unapplied.set(stored);
        }
        self.unapplied.get().ok_or(PluginPortError::Busy)
    }

    /// Value and proof, if nothing is stored meanwhile.
    fn try_state(
        stored: &Stored,
        (stream, plugin): (&Stream, &PluginId),
        key: &[u8],
    ) -> Result<Option<StateRead>, StateError> {
        let pages = |tree| TreePages { stored, tree };
        let root = stored.root(&TreeName::OverAll)?;
        let value = stored.view(stream, plugin)?.get(key)?;
        let Ok(tree) = prove(&pages(TreeName::OverAll), &root, &state_tree(stream, plugin)) else {
            return Ok(None);
        };
        let answer = if matches!(tree.end(), StateEnd::Present) {
            let name = TreeName::Of(*stream, plugin.clone());
            let top = stored.root(&name)?;
            let Ok(proof) = prove(&pages(name), &top, &state_key(key)) else { return Ok(None) };
            StateAnswer::InTree { tree, key: proof }
        } else {
            StateAnswer::NoTree(tree)
        };
        let (root, held) = (root.states_root(), value.as_deref().map(state_value));
        if answer.verify(&root, stream, plugin, &state_key(key), held.as_ref()).is_err() {
            return Ok(None);
        }
        Ok(Some(StateRead { applied: TreeSize::new(0), root, value, answer }))
    }

    fn registry(bindings: &Bindings, registry: &Stream) -> Vec<PluginInfo> {
        let mut found: Vec<PluginInfo> = Vec::new();
        // By plugin and version: the newest stands for all.
        for release in bindings.register.releases(registry) {
            let plugin = &release.release().plugin;
            found.retain(|info| info.plugin != *plugin);
            found.push(PluginInfo {
                plugin: plugin.clone(),
                status: release.status().as_str(),
                version: release.release().version.to_string(),
                module: release.release().module,
                installed: release.submitted_index(),
                record: record::shelf(&bindings.register, registry, plugin),
                routes: Vec::new(),
            });
        }
        found
    }
}

struct TreePages<'s> {
    stored: &'s Stored,
    tree: TreeName,
}

impl PageStore for TreePages<'_> {
    type Bytes = Bytes;
    type Error = StateError;

    fn pages(&self, ids: &[PageId]) -> Result<Vec<Option<Bytes>>, StateError> {
        Trees::pages(self.stored, &self.tree, ids)
    }
}

/// An effect's request as it is shown.
#[derive(Serialize)]
struct EffectRecord {
    effect_id: String,
    tenant_id: String,
    store_id: String,
    plugin_id: String,
    kind: String,
    suffix: String,
    call: u32,
    #[serde(with = "tally_api::text::base64_bytes")]
    body: Vec<u8>,
    /// Where it stands (docs/formats/effects.md); `waiting` if it was not begun.
    state: &'static str,
    /// How often doing it was begun.
    attempts: u32,
    /// Why it stands there.
    reason: Option<String>,
    /// When it goes on by itself, at the earliest.
    next_attempt: Option<String>,
    /// The event that answers it.
    answer_index: Option<u64>,
}

impl EffectRecord {
    fn of(request: effect::Request, dispatch: Option<&Record>) -> Self {
        let state = dispatch.map(|record| &record.state);
        let goes_on = !matches!(state, Some(State::Answered { .. } | State::Dead { .. }));
        Self {
            effect_id: request.id.to_hex(),
            tenant_id: request.stream.tenant.to_string(),
            store_id: request.stream.store.to_string(),
            plugin_id: request.plugin.to_string(),
            kind: request.kind,
            suffix: request.suffix,
            call: request.call,
            body: request.body.to_vec(),
            state: state.map_or("waiting", State::name),
            attempts: dispatch.map_or(0, |record| record.attempts),
            reason: state.and_then(State::why).map(str::to_owned),
            next_attempt: dispatch.filter(|_| goes_on).map(|record| record.due.to_rfc3339()),
            answer_index: state.and_then(|state| match state {
                State::Answered { index } => Some(index.get()),
                _ => None,
            }),
        }
    }
}

impl PluginPort for Port {
    fn put_module(&self, wasm: Bytes) -> Result<ModuleHash, PluginPortError> {
        self.programs.try_out(&wasm)?;
        let hash = tally_protocol::hash::module(&wasm);
        match self.stored.modules.get(hash) {
            Ok(Some(_)) => Ok(hash),
            // Damaged bytes are put anew.
            Ok(None) | Err(StorageError::BadValue { .. }) => self.stored.modules.put(wasm).map_err(failed),
            Err(error) => Err(failed(error)),
        }
    }

    fn module(&self, hash: ModuleHash) -> Result<Bytes, PluginPortError> {
        let found = self.stored.modules.get(hash).map_err(failed)?;
        found.ok_or_else(|| PluginPortError::NotFound("there is no such module here".to_owned()))
    }

    fn report(&self, release: &Release) -> Result<ReportInfo, PluginPortError> {
        let genesis = self.stored.genesis().map_err(failed)?.ok_or(PluginPortError::Busy)?;
        let report = self.programs.report(genesis.ledger_id(), release)?;
        let (hash, blocking) = (report.hash(), report.blocking());
        let info = ReportInfo { hash, blocking, report: serde_json::from_slice(&report.to_json()).map_err(failed)? };
        self.reports.keep(release.hash(), report);
        Ok(info)
    }

    fn plugins(&self, stream: &Stream) -> Result<(TreeSize, Vec<PluginInfo>), PluginPortError> {
        let (size, bindings) = self.bindings()?;
        if stream.is_control() {
            return Ok((size, Self::registry(&bindings, stream)));
        }
        let bound = bindings.bound.get(stream).map_or(&[][..], Vec::as_slice);
        Ok((size, bound.iter().map(|shown| self.info(&bindings, stream, shown)).collect()))
    }

    fn query(&self, stream: &Stream, plugin: &PluginId, request: &[u8]) -> Result<QueryAnswer, PluginPortError> {
        let _slot = self.programs.slot().ok_or(PluginPortError::Busy)?;
        self.bindings()?;
        let now = self.stored.view(stream, plugin).map_err(failed)?;
        let place = (*stream, plugin.clone());
        let (bindings, view) = self.shown.view(&place, now).ok_or(PluginPortError::Busy)?;
        let bound = bindings.bound.get(stream).into_iter().flatten();
        let shown =
            bound.into_iter().find(|it| it.standing.binding.plugin == *plugin).ok_or_else(|| no_plugin(plugin))?;
        let status = shown.standing.status;
        let Some(contract) = shown.contract.as_ref().filter(|_| status == Status::Running) else {
            return Err(PluginPortError::NotRunning(format!("plugin {plugin} is {}", status.as_str())));
        };
        let loaded = self.programs.get(shown.standing.binding.module, &contract.grant.limits)?;
        let instance = Instance::new(loaded.program.clone(), contract.grant.clone());
        let applied = view.size;
        match instance.query(request, Arc::new(view)) {
            Ok((body, logs)) => {
                Ok(QueryAnswer { applied, body, logs: logs.into_iter().map(|line| line.text).collect() })
            }
            Err(AskError::Guest(code)) => Err(PluginPortError::Guest(code.to_string())),
            Err(error) => Err(failed(error)),
        }
    }

    fn state(&self, stream: &Stream, plugin: &PluginId, key: &[u8]) -> Result<StateRead, PluginPortError> {
        let mut applied = self.stored_size()?;
        for _ in 0..PROOF_TRIES_MAX {
            let Some(size) = applied else { return Err(failed("nothing is applied yet")) };
            let read = Self::try_state(self.with_pages()?, (stream, plugin), key).map_err(failed)?;
            applied = self.stored_size()?;
            match read {
                Some(read) if applied == Some(size) => return Ok(StateRead { applied: size, ..read }),
                // Between a range's rows and its pages.
                _ if !self.shown.settled() => break,
                _ => {}
            }
        }
        Err(PluginPortError::Busy)
    }

    fn effects(&self, after: Option<(Index, u32)>, limit: usize) -> Result<Vec<EffectInfo>, PluginPortError> {
        let after = after.map(|(index, number)| EffectKey { index, number });
        let rows = self.stored.outbox.page(after, limit).map_err(failed)?;
        let info = |row: tally_storage::EffectRow| {
            let request = effect::decode(&row.record).ok_or_else(|| failed("an effect's record is damaged"))?;
            let dispatch = self.stored.outbox.dispatch(row.key).map_err(failed)?;
            let dispatch = dispatch.map(|bytes| Record::decode(&bytes));
            let dispatch = dispatch.map(|record| record.ok_or_else(|| failed("an effect's journal record is damaged")));
            let record = EffectRecord::of(request, dispatch.transpose()?.as_ref());
            let record = serde_json::to_value(record).map_err(failed)?;
            Ok(EffectInfo { index: row.key.index, number: row.key.number, record })
        };
        rows.into_iter().map(info).collect()
    }

    fn logs(
        &self,
        stream: &Stream,
        plugin: &PluginId,
        after: Option<Index>,
        limit: usize,
    ) -> Result<Vec<LogLineInfo>, PluginPortError> {
        let (_, bindings) = self.bindings()?;
        let mut bound = bindings.bound.get(stream).into_iter().flatten();
        if !bound.any(|it| it.standing.binding.plugin == *plugin) {
            return Err(no_plugin(plugin));
        }
        let lines = self.shown.lines(&(*stream, plugin.clone()), after, limit).into_iter();
        let level = |level: u8| match level {
            0 => "error",
            1 => "warn",
            2 => "info",
            _ => "debug",
        };
        Ok(lines.map(|line| LogLineInfo { index: line.index, level: level(line.level), text: line.text }).collect())
    }
}
