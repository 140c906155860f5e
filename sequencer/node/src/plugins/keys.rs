//! The agents' keys as the log says they are at a position: the core's own control state, brought forward event by event.
//!
//! Takes the events of control streams in order; answers what plugin events ask about keys and roots. It follows the log
//! and nothing else, so that an event is judged by the keys of its own place, whenever it is applied.

use tally_core::control::Control;
use tally_plugin_host::apply::Keys;
use tally_plugin_host::session::Event;
use tally_protocol::entry::Genesis;
use tally_protocol::id::{AgentId, KeyId, Stream};
use tally_protocol::key::PublicKey;
use tally_protocol::plugin_event::PLUGIN_PREFIX;
use tally_protocol::plugin_life::Agents;
use tally_protocol::time::LogTime;

/// Tenants and keys at one position of the log.
#[derive(Debug, Clone)]
pub struct LogKeys(Control);

impl LogKeys {
    /// Those of a ledger that has no events.
    #[must_use]
    pub fn new(genesis: &Genesis) -> Self {
        Self(Control::new(genesis))
    }
}

impl Agents for LogKeys {
    fn valid_key(&self, stream: &Stream, agent: AgentId, key_id: KeyId, now: LogTime) -> Option<PublicKey> {
        self.0.valid_key(stream, agent, key_id, now)
    }

    fn is_root(&self, stream: &Stream, agent: AgentId) -> bool {
        self.0.is_root(stream, agent)
    }
}

impl Keys for LogKeys {
    fn follow(&mut self, event: &Event) {
        // Releases and bindings are the host's registry's.
        if event.event_type.starts_with(PLUGIN_PREFIX) {
            return;
        }
        let checked = self.0.check(&event.stream, event.agent, &event.event_type, &event.body, event.sequenced_at);
        if let Ok(Some(change)) = checked {
            self.0.apply(&event.stream, event.agent, &change, event.index, event.sequenced_at);
        }
    }
}
