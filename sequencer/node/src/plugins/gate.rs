//! The core's gate: which plugin events this host could not apply, so that none of them is ordered and halts applying for
//! everybody.
//!
//! Takes a plugin event's type and payload; refuses what is malformed, asks for rules that this host does not have, or
//! for a module that is not stored here whole, and an approval that names another report than this host's. It is asked by threads that verify everybody's events, so it compiles and
//! runs nothing: a module was tried when it was put, and one that is unfit for its binding has an outcome that says so.
//! What the *state* allows (approved, installed, signed) is decided where events are ordered, and needs no host.

use std::sync::Arc;

use tally_core::PluginGate;
use tally_plugin_host::limits::Limits;
use tally_protocol::error::{Reject, RejectCode};
use tally_protocol::id::Stream;
use tally_protocol::plugin_event::{Binding, PluginEvent};
use tally_protocol::release::{Decision, Review};

use super::reports::Reports;
use super::stored::Stored;

/// The gate of a node that runs plugins.
pub(super) struct HostGate {
    stored: Stored,
    reports: Arc<Reports>,
}

fn refused(why: impl Into<String>) -> Reject {
    Reject::of_field(RejectCode::ControlRefused, "payload", why)
}

impl HostGate {
    pub(super) const fn new(stored: Stored, reports: Arc<Reports>) -> Self {
        Self { stored, reports }
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
        match self.stored.modules.get(binding.module) {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(refused("module_hash: the module is not stored here; put it first")),
            Err(error) => Err(refused(format!("module_hash: the module cannot be read here: {error}"))),
        }
    }
}

impl HostGate {
    /// An approval names the report that this host makes of the release (S-190). Whoever refuses needs none.
    fn check_review(&self, review: &Review) -> Result<(), Reject> {
        if review.decision != Decision::Approved {
            return Ok(());
        }
        let Some(report) = self.reports.get(&review.release) else {
            return Err(refused(
                "report_hash: this node has not made the release's report yet; ask it for the report first",
            ));
        };
        report.check_review(review).map_err(|error| refused(format!("report_hash: {error}")))
    }
}

impl PluginGate for HostGate {
    fn check(&self, _: &Stream, event_type: &str, payload: &[u8]) -> Result<(), Reject> {
        match PluginEvent::decode(event_type, payload).map_err(|error| error.reject())? {
            PluginEvent::Reviewed { review, .. } => self.check_review(&review),
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
