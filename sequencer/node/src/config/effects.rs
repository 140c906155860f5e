//! `[effects]` and `[connectors.KIND]`: what dispatching may take, and who does effects of which kind.
//!
//! A file without them dispatches nothing: effects wait. The settings of a connector beyond agent and key are its own and
//! are read where it is made ([`crate::effects::connected`]).

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use tally_api::text;
use tally_protocol::id::AgentId;

use crate::effects::Bounds;

/// `[effects]`; each field may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EffectsSection {
    /// Effects of one kind that are under way at once.
    pub in_flight_max: usize,
    /// Unfinished effects that are held in memory.
    pub held_max: usize,
    /// Calls without an answer before an effect is a dead letter.
    pub tries_max: u32,
    /// Milliseconds behind the first of them; the pause doubles.
    pub backoff_first_ms: u64,
    /// Milliseconds of the longest pause.
    pub backoff_max_ms: u64,
    /// Milliseconds that a call whose answer was lost may still be under way outside.
    pub settle_ms: u64,
    /// Milliseconds that one call may take.
    pub call_ms_max: u64,
}

impl Default for EffectsSection {
    fn default() -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let Bounds { in_flight_max, held_max, tries_max, backoff_first, backoff_max, settle, call_max } =
            Bounds::STANDARD;
        Self {
            in_flight_max,
            held_max,
            tries_max,
            backoff_first_ms: millis(backoff_first),
            backoff_max_ms: millis(backoff_max),
            settle_ms: millis(settle),
            call_ms_max: millis(call_max),
        }
    }
}

impl EffectsSection {
    /// As the dispatcher takes them.
    #[must_use]
    pub const fn bounds(&self) -> Bounds {
        Bounds {
            in_flight_max: self.in_flight_max,
            held_max: self.held_max,
            tries_max: self.tries_max,
            backoff_first: Duration::from_millis(self.backoff_first_ms),
            backoff_max: Duration::from_millis(self.backoff_max_ms),
            settle: Duration::from_millis(self.settle_ms),
            call_max: Duration::from_millis(self.call_ms_max),
        }
    }
}

/// `[connectors.KIND]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ConnectorSection {
    /// The agent that signs its answers, registered with this key in every tenant whose plugins ask for such effects. It
    /// stays the same for as long as the connector does.
    #[serde(with = "text::uuid")]
    pub agent: AgentId,
    /// The agent's key file.
    pub key: PathBuf,
    /// The connector's own settings.
    #[serde(flatten)]
    pub settings: toml::Table,
    /// What relative paths in them are relative to.
    #[serde(skip)]
    pub folder: PathBuf,
}
