//! The seam to whoever runs plugins: what the door shows of them and asks them. Implemented by the node.
//!
//! Everything here reads: what plugins do follows from the log alone, and what changes them is an event like any other.
//! The one thing that is put is a module's bytes, by their hash, before the event that names it.

use bytes::Bytes;
use serde_json::Value;
use tally_merkle::sparse::StateAnswer;
use tally_protocol::hash::{ModuleHash, ReportHash, StatesRoot};
use tally_protocol::id::{Index, PluginId, Stream, TreeSize};
use tally_protocol::release::Release;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PluginPortError {
    /// No such plugin, module or route there.
    #[error("{0}")]
    NotFound(String),
    /// What was sent is refused; in words for the sender.
    #[error("{0}")]
    Refused(String),
    /// The plugin is there and does not run (quarantined, failed); in words.
    #[error("{0}")]
    NotRunning(String),
    /// The guest's answer to a query is a failure: its code, as in outcomes.
    #[error("the plugin failed: {0}")]
    Guest(String),
    /// As many queries run as may; or the module is at its bound.
    #[error("busy")]
    Busy,
    /// The host or its storage failed.
    #[error("{0}")]
    Failed(String),
}

/// A route that a plugin declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginRoute {
    /// Its name.
    pub name: String,
    /// `GET` or `POST`.
    pub method: String,
    /// The path below the plugin's own, with `{name}` parts.
    pub path: String,
    /// The event type of the command; none for a query.
    pub event: Option<String>,
}

/// A plugin in a stream, as of a size of the log of outcomes.
#[derive(Debug, Clone)]
pub struct PluginInfo {
    /// The plugin.
    pub plugin: PluginId,
    /// `running`, `quarantined` or `failed`.
    pub status: &'static str,
    /// Its version, `1.2.3`.
    pub version: String,
    /// Its module.
    pub module: ModuleHash,
    /// The event that installed it.
    pub installed: Index,
    /// The release, the binding, the history of both, in members as `docs/formats/plugin-events.md` names them.
    pub record: Value,
    /// What it declares, if it runs.
    pub routes: Vec<PluginRoute>,
}

/// A query's answer.
#[derive(Debug, Clone)]
pub struct QueryAnswer {
    /// Everything below is in the state that it read.
    pub applied: TreeSize,
    /// The guest's bytes.
    pub body: Vec<u8>,
    /// What it logged.
    pub logs: Vec<String>,
}

/// What a plugin holds under a key, and the proof.
#[derive(Debug, Clone)]
pub struct StateRead {
    /// The size of the log of outcomes whose checkpoint commits the root.
    pub applied: TreeSize,
    /// The root of all state there.
    pub root: StatesRoot,
    /// The value; none if there is none.
    pub value: Option<Bytes>,
    /// That it is so.
    pub answer: StateAnswer,
}

/// An effect that a plugin asked for.
#[derive(Debug, Clone)]
pub struct EffectInfo {
    /// The event it comes from.
    pub index: Index,
    /// Which of the event's effects, in order, from 0.
    pub number: u32,
    /// Everything about it: `effect_id`, `plugin`, `kind`, `suffix`, `body` (base64), and what became of it: `state`, `attempts`,
    /// `reason`, `next_attempt`, `answer_index`.
    pub record: Value,
}

/// A line that a plugin logged. Kept in memory only, the newest; never part of an outcome.
#[derive(Debug, Clone)]
pub struct LogLineInfo {
    /// The event it was logged at.
    pub index: Index,
    /// `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// The text, control characters escaped.
    pub text: String,
}

/// What the machine has to say about a release.
#[derive(Debug, Clone)]
pub struct ReportInfo {
    /// The hash that a review names.
    pub hash: ReportHash,
    /// How many of its findings block an approval.
    pub blocking: u32,
    /// All of it, as `docs/formats/report.md` has it.
    pub report: Value,
}

/// The plugins of a node.
pub trait PluginPort: Send + Sync {
    /// Stores a module by its hash, after the validator passed it. Doing it twice is doing it once.
    ///
    /// # Errors
    /// The validator refuses it, it is too large, storage failed.
    fn put_module(&self, wasm: Bytes) -> Result<ModuleHash, PluginPortError>;

    /// A module's bytes.
    ///
    /// # Errors
    /// There is none; storage failed.
    fn module(&self, hash: ModuleHash) -> Result<Bytes, PluginPortError>;

    /// The report on a release whose module is stored. From now on the node takes an approval that names it.
    ///
    /// # Errors
    /// The module is not stored, or took more than compiling may use.
    fn report(&self, release: &Release) -> Result<ReportInfo, PluginPortError>;

    /// The plugins of a stream, in install order, and the size that this is as of.
    ///
    /// # Errors
    /// The host has not started.
    fn plugins(&self, stream: &Stream) -> Result<(TreeSize, Vec<PluginInfo>), PluginPortError>;

    /// Asks a plugin's `query` on a snapshot of its state.
    ///
    /// # Errors
    /// See [`PluginPortError`].
    fn query(&self, stream: &Stream, plugin: &PluginId, request: &[u8]) -> Result<QueryAnswer, PluginPortError>;

    /// What a plugin holds under a key, proven against the newest signed outcome checkpoint.
    ///
    /// # Errors
    /// See [`PluginPortError`].
    fn state(&self, stream: &Stream, plugin: &PluginId, key: &[u8]) -> Result<StateRead, PluginPortError>;

    /// Effects asked for, in order, all behind `after` (event and number), at most `limit`.
    ///
    /// # Errors
    /// See [`PluginPortError`].
    fn effects(&self, after: Option<(Index, u32)>, limit: usize) -> Result<Vec<EffectInfo>, PluginPortError>;

    /// The newest lines that a plugin logged, oldest first, all behind the event `after`, at most `limit`.
    ///
    /// # Errors
    /// See [`PluginPortError`].
    fn logs(
        &self,
        stream: &Stream,
        plugin: &PluginId,
        after: Option<Index>,
        limit: usize,
    ) -> Result<Vec<LogLineInfo>, PluginPortError>;
}
