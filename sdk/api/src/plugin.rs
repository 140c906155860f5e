//! Plugins as a node shows them: modules, what is installed in a stream, questions, state with its proof, effects, logs,
//! and the answer of a command.
//!
//! Everything follows from the log; what changes a plugin is an event like any other. The answer of a route that a
//! plugin declares as a query is the plugin's own JSON and has no shape here.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tally_protocol::hash::{ModuleHash, ReportHash, StatesRoot};
use tally_protocol::id::{Index, TreeSize};

use crate::outcome::OutcomeAnswer;
use crate::receipt::Receipt;
use crate::text;

/// Content type of a module.
pub const WASM: &str = "application/wasm";
/// Content type of bytes of any kind: the request of a query.
pub const OCTETS: &str = "application/octet-stream";
/// Header of a plugin's answer: the size of the log below which everything is in the state that was read.
pub const APPLIED_HEADER: &str = "x-tally-applied";

/// A module that the node has now (`POST /v1/modules`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleStored {
    /// BLAKE3 of it, its name everywhere.
    #[serde(with = "text::hex")]
    pub module: ModuleHash,
    /// Its length.
    pub bytes: u64,
}

/// What a node's host has to say about a release (`POST /v1/reports`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseReport {
    /// The hash that a review names.
    #[serde(with = "text::hex")]
    pub report_hash: ReportHash,
    /// How many of its findings block an approval.
    pub blocking: u32,
    /// The report, in members as `docs/formats/report.md` names them.
    pub report: Value,
}

/// A route that a plugin declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginRoute {
    /// Its name.
    pub name: String,
    /// The HTTP method.
    pub method: String,
    /// The path below `/plugins/{tenant}/{store}/{plugin}`, with `{name}` parts.
    pub path: String,
    /// The event type of the command; none for a query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
}

/// A plugin in a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plugin {
    /// The plugin.
    pub plugin: String,
    /// In a stream `running`, `quarantined` or `failed`; in a registry (a control stream) that of the newest release:
    /// `pending`, `approved`, `rejected` or `revoked`.
    pub status: String,
    /// Its version, `1.2.3`.
    pub version: String,
    /// Its module.
    #[serde(with = "text::hex")]
    pub module: ModuleHash,
    /// The event that installed it; in a registry, that submitted the release.
    #[serde(with = "text::number")]
    pub installed: Index,
    /// The release, the binding and the history of both, in members as `docs/formats/plugin-events.md` names them.
    pub record: Value,
    /// What it declares, if it runs.
    pub routes: Vec<PluginRoute>,
}

/// The plugins of a stream, in install order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginList {
    /// The size of the log of outcomes that this is as of.
    #[serde(with = "text::number")]
    pub applied: TreeSize,
    /// The plugins.
    pub plugins: Vec<Plugin>,
}

/// One plugin of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginAnswer {
    /// The size of the log of outcomes that this is as of.
    #[serde(with = "text::number")]
    pub applied: TreeSize,
    /// The plugin.
    pub plugin: Plugin,
}

/// What a plugin answered to a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryAnswer {
    /// Everything below is in the state that it read.
    #[serde(with = "text::number")]
    pub applied: TreeSize,
    /// The plugin's bytes, base64.
    #[serde(with = "text::base64_bytes")]
    pub body: Vec<u8>,
    /// What it logged.
    pub logs: Vec<String>,
}

/// What a plugin holds under a key, with everything needed to verify it offline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateAnswer {
    /// The size of the log of outcomes whose checkpoint commits the root.
    #[serde(with = "text::number")]
    pub applied: TreeSize,
    /// The root over what all plugins hold.
    #[serde(with = "text::hex")]
    pub root: StatesRoot,
    /// The value, base64; null if there is none.
    #[serde(with = "text::base64_option")]
    pub value: Option<Vec<u8>>,
    /// That it is so: a state answer (`docs/formats/state-root.md`), base64.
    #[serde(with = "text::base64_bytes")]
    pub proof: Vec<u8>,
    /// The signed checkpoint that commits the root, verbatim.
    pub checkpoint: String,
}

/// An effect that a plugin asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// The event it comes from.
    #[serde(with = "text::number")]
    pub index: Index,
    /// Which of the event's effects, from 0.
    pub number: u32,
    /// `effect_id`, `plugin`, `kind`, `suffix`, `body` (base64), and what became of it: `state`, `attempts`,
    /// `reason`, `next_attempt`, `answer_index` (docs/formats/effects.md).
    pub record: Value,
}

/// What an operator's word about a dead letter came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectActed {
    /// The event it comes from.
    #[serde(with = "text::number")]
    pub index: Index,
    /// Which of the event's effects, from 0.
    pub number: u32,
    /// Where it stands now: `outcome_unknown` if it is tried again, `decided` if it was given up.
    pub state: String,
}

/// Effects in order of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectPage {
    /// Those that the caller may see.
    pub effects: Vec<Effect>,
    /// Ask for `after` this next, even if the page is empty; null at the end.
    pub next_after: Option<String>,
}

/// A line that a plugin logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// The event it was logged at.
    #[serde(with = "text::number")]
    pub index: Index,
    /// `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// The text, control characters escaped.
    pub text: String,
}

/// The newest lines of a plugin, oldest first. Kept in memory only; never part of an outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPage {
    /// The lines.
    pub lines: Vec<LogLine>,
}

/// What became of a command: its event is in the log, and its outcome is there (200) or still to come (202).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandAnswer {
    /// Whether the event was in the log already.
    pub duplicate: bool,
    /// Its receipt; its `checkpoint` is 0.
    pub receipt: Receipt,
    /// The signed note of the receipt, verbatim, in a list of one.
    pub checkpoints: Vec<String>,
    /// What the plugins decided; null if it is not applied yet.
    pub outcome: Option<OutcomeAnswer>,
    /// Where the outcome is, or will be.
    pub status_address: String,
}
