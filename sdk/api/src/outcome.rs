//! What was decided about an event, with everything needed to verify it offline (`GET /v1/outcomes/{index}`).
//!
//! Takes a decoded outcome and its proof, gives JSON. The bytes (`body`) are what the log of outcomes commits; the
//! bindings beside them are the same decoded, for people. To check one: decode `body` with the leaf of the event that
//! you know, follow `path` from its leaf hash to the root of `checkpoint`, and open that note with the ledger's keys
//! under the name of its log of outcomes (`docs/formats/outcome-log.md`).

use serde::{Deserialize, Serialize};
use tally_protocol::hash::{EffectsHash, EmitsHash, LeafHash, ModuleHash, NodeHash, ProfileId, WritesHash};
use tally_protocol::id::{Index, TreeSize};
use tally_protocol::outcome::{BindingOutcome, OutcomeCode};

use crate::text;

/// An outcome and its proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeAnswer {
    /// Position of the event, and of its outcome.
    #[serde(with = "text::number")]
    pub index: Index,
    /// Leaf hash of the event that it is the outcome of.
    #[serde(with = "text::hex")]
    pub event_leaf: LeafHash,
    /// What each plugin did, in install order; none if no plugin is bound to the event.
    pub bindings: Vec<Binding>,
    /// The outcome's bytes, base64.
    #[serde(with = "text::base64_bytes")]
    pub body: Vec<u8>,
    /// What the log of outcomes commits.
    #[serde(with = "text::hex")]
    pub leaf_hash: LeafHash,
    /// Size of the tree that the path leads into: that of the checkpoint.
    #[serde(with = "text::number")]
    pub size: TreeSize,
    /// RFC 6962 inclusion path, from the leaf upward.
    #[serde(with = "text::hex_list")]
    pub path: Vec<NodeHash>,
    /// The newest signed checkpoint of the log of outcomes, verbatim.
    pub checkpoint: String,
}

/// What one plugin did at one event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The plugin.
    pub plugin: String,
    /// Its module.
    #[serde(with = "text::hex")]
    pub module: ModuleHash,
    /// The rules it ran under.
    #[serde(with = "text::hex")]
    pub profile: ProfileId,
    /// Whether it ran in a new instance.
    pub fresh: bool,
    /// How it ended: `accepted`, `rejected`, `out_of_gas`, `stack_exceeded`, `memory_exceeded`, `trapped`, `limit`,
    /// `bad_output` or `dependency_rejected`.
    pub code: String,
    /// Of rejected: the plugin's own reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of limit: which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// The gas charged.
    pub gas: u64,
    /// What it wrote.
    #[serde(with = "text::hex")]
    pub writes: WritesHash,
    /// What it emitted.
    #[serde(with = "text::hex")]
    pub emits: EmitsHash,
    /// What effects it asked for.
    #[serde(with = "text::hex")]
    pub effects: EffectsHash,
}

impl From<&BindingOutcome> for Binding {
    fn from(binding: &BindingOutcome) -> Self {
        let (reason, limit) = match &binding.code {
            OutcomeCode::Rejected(reason) => (Some(reason.as_str().to_owned()), None),
            OutcomeCode::Limit(kind) => (None, Some(kind.as_str().to_owned())),
            _ => (None, None),
        };
        Self {
            plugin: binding.plugin.as_str().to_owned(),
            module: binding.module,
            profile: binding.profile,
            fresh: binding.fresh,
            code: binding.code.as_str().to_owned(),
            reason,
            limit,
            gas: binding.gas,
            writes: binding.writes,
            emits: binding.emits,
            effects: binding.effects,
        }
    }
}
