//! What a plugin may do beside its state while it handles one event: emit, ask for effects, derive ids.

use crate::abi;
use crate::state::State;

/// The work on one event. Nothing of it stands unless the event is accepted.
#[derive(Debug, Default)]
pub struct Step {
    /// The plugin's own keys.
    pub state: State,
}

impl Step {
    /// A derived event for the other plugins of this stream, handled within this step. The body is canonical JSON, as
    /// [`crate::json`] writes it. Needs the capability `emit`.
    pub fn emit(&mut self, event_type: &str, body: &[u8]) {
        abi::emit(event_type, body);
    }

    /// Asks for a call to the outside world; its answer comes back as a signed event. Effects of one kind and suffix
    /// are carried out in order. Needs the capability `effect:KIND`.
    pub fn effect(&mut self, kind: &str, suffix: &str, body: &[u8]) {
        abi::effect(kind, suffix, body);
    }

    /// A new id, derived from the position in the log: the same at every replay, guessed by nobody before.
    pub fn id(&mut self, label: &str) -> [u8; 32] {
        abi::id(label)
    }
}
