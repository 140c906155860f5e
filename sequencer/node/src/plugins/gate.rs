//! The core's gate: which plugin events this host could not apply, so that none of them is ordered and halts applying for
//! everybody.
//!
//! Takes a plugin event's type and payload; refuses what is malformed, asks for rules that this host does not have, or
//! for a module that is not stored, is refused by the validator or does not describe itself. What the *state* allows
//! (approved, installed, signed) is decided where events are ordered, and needs no host.

use std::sync::Arc;

use tally_core::PluginGate;
use tally_plugin_host::limits::Limits;
use tally_protocol::error::{Reject, RejectCode};
use tally_protocol::id::Stream;
use tally_protocol::plugin_event::{Binding, PluginEvent};

use super::programs::Programs;

/// The gate of a node that runs plugins.
pub(super) struct HostGate {
    programs: Arc<Programs>,
}

fn refused(why: impl Into<String>) -> Reject {
    Reject::of_field(RejectCode::ControlRefused, "payload", why)
}

impl HostGate {
    pub(super) const fn new(programs: Arc<Programs>) -> Self {
        Self { programs }
    }

    fn check_binding(&self, binding: &Binding) -> Result<(), Reject> {
        let mut limits = Limits::default();
        for (name, value) in &binding.limits {
            if limits.set(name, *value).is_err() {
                return Err(refused("limits: a name or a value that this host does not have"));
            }
        }
        if limits.profile() != binding.profile {
            return Err(refused("profile_id: this host does not know the profile, or it is not that of these limits"));
        }
        let loaded = self.programs.get(binding.module, &limits).map_err(|problem| refused(problem.to_string()))?;
        if loaded.manifest.id != binding.plugin {
            return Err(refused("module_hash: the module describes itself as another plugin"));
        }
        Ok(())
    }
}

impl PluginGate for HostGate {
    fn check(&self, _: &Stream, event_type: &str, payload: &[u8]) -> Result<(), Reject> {
        match PluginEvent::decode(event_type, payload).map_err(|error| error.reject())? {
            PluginEvent::Installed(binding) | PluginEvent::Upgraded(binding) => self.check_binding(&binding),
            _ => Ok(()),
        }
    }
}

/// The gate of a node that runs none: it could apply nothing.
pub struct NoPlugins;

impl PluginGate for NoPlugins {
    fn check(&self, _: &Stream, _: &str, _: &[u8]) -> Result<(), Reject> {
        Err(refused("this node runs no plugins"))
    }
}
