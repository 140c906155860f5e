//! The seam to whoever dispatches effects: what an operator may say about a dead letter. Implemented by the node.
//!
//! What became of effects is read where they are listed (`PluginPort::effects`); here is what changes it.

use tally_protocol::id::Index;

/// What an operator says about a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EffectAction {
    /// Try it again: look up what came of it, and do it if it was not done.
    Retry,
    /// Give up: its answer is `failed`, with the code `operator`.
    Fail,
}

impl EffectAction {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Fail => "fail",
        }
    }
}

/// Why nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EffectPortError {
    /// There is no such effect.
    #[error("there is no such effect")]
    NotFound,
    /// It is no dead letter; where it stands.
    #[error("the effect is no dead letter, it stands at {0}")]
    NotDead(String),
    /// This node dispatches nothing of its kind now; in words.
    #[error("{0}")]
    Unavailable(String),
}

/// The dispatcher of a node.
pub trait EffectPort: Send + Sync {
    /// Does what an operator says about the effect of this event and number; gives where it stands then. On the disk when
    /// it returns.
    ///
    /// # Errors
    /// See [`EffectPortError`].
    fn act(&self, index: Index, number: u32, action: EffectAction) -> Result<&'static str, EffectPortError>;

    /// Measurements in the Prometheus text format, each with the prefix `tally_effects_`.
    fn metrics(&self) -> String;
}
