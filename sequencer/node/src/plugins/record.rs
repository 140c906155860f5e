//! Releases and bindings as they are shown: members as `docs/formats/plugin-events.md` names them.

use serde_json::{Map, Value, json};
use tally_protocol::hash::LifeHash;
use tally_protocol::id::{PluginId, Stream};
use tally_protocol::plugin_event::{PluginEvent, Submission};
use tally_protocol::plugin_life::{PluginRegister, ReleaseRecord, Step};

use super::shown::ShownBinding;

const fn step(step: Step) -> &'static str {
    match step {
        Step::Installed => "installed",
        Step::Configured => "configured",
        Step::Upgraded => "upgraded",
        Step::RolledBack => "rolled_back",
        Step::Quarantined => "quarantined",
        Step::Revoked => "revoked",
        Step::Removed => "removed",
    }
}

/// The members of an event's payload.
fn members(event: &PluginEvent) -> Map<String, Value> {
    match serde_json::from_slice(&event.payload()) {
        Ok(Value::Object(mut members)) => {
            members.remove("previous");
            members
        }
        _ => Map::new(),
    }
}

/// A release with its reviews.
pub(super) fn release(record: &ReleaseRecord) -> Value {
    let (release, publisher) = (record.release().clone(), *record.publisher());
    let submission = Submission { release, release_hash: *record.hash(), publisher, previous: LifeHash::ZERO };
    let mut members = members(&PluginEvent::Submitted(submission));
    let reviews = record.reviews().iter().map(|review| {
        json!({
            "index": review.index.get(),
            "at": review.at.to_rfc3339(),
            "reviewer_id": review.reviewer.to_string(),
            "decision": review.decision.as_str(),
            "override": review.overrides,
            "report_hash": review.report.to_hex(),
            "blocking": review.blocking,
            "reason": review.reason,
        })
    });
    members.insert("reviews".to_owned(), reviews.collect());
    members.insert("status".to_owned(), record.status().as_str().into());
    members.insert("submitted_index".to_owned(), record.submitted_index().get().into());
    Value::Object(members)
}

/// A binding, its release, and everything that happened to the plugin there.
pub(super) fn binding(register: &PluginRegister, stream: &Stream, shown: &ShownBinding) -> Value {
    let standing = &shown.standing;
    let runs = &standing.binding;
    let registry = runs.registry.stream(stream.tenant);
    let released = register.release(&registry, &runs.plugin, runs.version);
    let history = register.history(stream, &runs.plugin).iter().map(|change| {
        json!({
            "index": change.index.get(),
            "at": change.at.to_rfc3339(),
            "actor_id": change.actor.to_string(),
            "step": step(change.step),
            "version": change.version.to_string(),
            "release_hash": change.release.to_hex(),
            "module_hash": change.module.to_hex(),
        })
    });
    let installed = register.installed(stream, &runs.plugin);
    json!({
        "binding": members(&PluginEvent::Installed(runs.clone())),
        "status": standing.status.as_str(),
        "failures": standing.failures.iter().map(|sequence| sequence.get()).collect::<Vec<_>>(),
        "installed_index": standing.installed.get(),
        "installed_by": installed.map(|installed| installed.installed_by().to_string()),
        "changed_index": installed.map(|installed| installed.changed_index().get()),
        "release": released.map(release),
        "history": history.collect::<Vec<_>>(),
        "head": register.head(stream, &runs.plugin).to_hex(),
    })
}

/// A plugin in a registry: all its releases.
pub(super) fn shelf(register: &PluginRegister, registry: &Stream, plugin: &PluginId) -> Value {
    let releases = register.releases(registry).filter(|record| record.release().plugin == *plugin).map(release);
    json!({
        "releases": releases.collect::<Vec<_>>(),
        "head": register.head(registry, plugin).to_hex(),
    })
}
