//! `tally plugin upgrade --shadow`: a new version beside the old one, over the last events of a log.
//!
//! Takes both modules and tracks. The old one runs all of a track; where the last events begin, its state is handed to the
//! new one by `migrate`, or `init` if the state version is the same, as an upgrade there would have done; from then on both
//! run. Gives every event that came to something else, and the difference of the states at the end.

use std::sync::Arc;

use serde::Serialize;
use tally_plugin_host::session::{BindingStep, Event};

use crate::diff::{self, KeyChange};
use crate::dry_run::Gas;
use crate::engines::{Guest, Plugin};
use crate::error::AuthorError;
use crate::fixture::{Expected, NOT_HEARD};
use crate::play::{Cuts, Track, play, start, upgrade};

/// What both came to.
#[derive(Debug, Clone, Serialize)]
pub struct Shadow {
    /// The old one's id and version.
    pub old: String,
    /// The new one's.
    pub new: String,
    /// Events that both were given.
    pub events: usize,
    /// Those that came to something else.
    pub differing: Vec<Differing>,
    /// The states at the end, where they differ: by track.
    pub states: Vec<(String, Vec<KeyChange>)>,
    /// The old one's gas.
    pub old_gas: Gas,
    /// The new one's gas.
    pub new_gas: Gas,
    /// What the new manifest asks for and the old one did not: it needs a review.
    pub asks_more: Vec<String>,
}

impl Shadow {
    /// Whether both came to the same everywhere.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.differing.is_empty() && self.states.is_empty()
    }
}

/// An event that came to something else.
#[derive(Debug, Clone, Serialize)]
pub struct Differing {
    /// The track.
    pub track: String,
    /// Its index.
    pub index: u64,
    /// Its type.
    pub event_type: String,
    /// Its entity.
    pub entity: String,
    /// The old one's outcome.
    pub old: String,
    /// The new one's.
    pub new: String,
    /// In what they differ.
    pub diff: String,
}

/// Runs both over the last `last` events of each track.
///
/// # Errors
/// One does not start, the new one does not take the old one's state, or the host cannot go on.
pub fn check(old: &Plugin, new: &Plugin, tracks: &[Track], last: usize) -> Result<Shadow, AuthorError> {
    let engine = || AuthorError::Events("no engine was asked for".to_owned());
    let (old_guest, new_guest) = (old.first().ok_or_else(engine)?, new.first().ok_or_else(engine)?);
    if old.manifest.id != new.manifest.id {
        return Err(AuthorError::Events(format!("{} is no upgrade of {}", new.title(), old.title())));
    }
    let (mut differing, mut states) = (Vec::new(), Vec::new());
    let (mut old_gas, mut new_gas, mut events) = (Vec::new(), Vec::new(), 0);
    let from = (old.manifest.state_version != new.manifest.state_version).then_some(old.manifest.state_version);
    for track in tracks {
        let begin = track.events.len().saturating_sub(last);
        let (before, range) = track.events.split_at(begin);
        events += range.len();
        let at_start = play(old_guest, &heard(old, before), start(old_guest, track)?, Cuts::Whole)?.state;
        let moved = upgrade(new_guest, from, &track.config, at_start.clone())?;
        let one = run(old, old_guest, range, at_start)?;
        let other = run(new, new_guest, range, moved)?;
        for ((event, old), new) in range.iter().zip(&one.0).zip(&other.0) {
            old_gas.extend(old.as_ref().map(|step| step.gas));
            new_gas.extend(new.as_ref().map(|step| step.gas));
            differing.extend(differs(track, event, old.as_ref(), new.as_ref()));
        }
        let changes = diff::states(&one.1, &other.1);
        if !changes.is_empty() {
            states.push((track.name.clone(), changes));
        }
    }
    Ok(Shadow {
        old: old.title(),
        new: new.title(),
        events,
        differing,
        states,
        old_gas: Gas::of(old_gas),
        new_gas: Gas::of(new_gas),
        asks_more: asks_more(old, new),
    })
}

fn heard(plugin: &Plugin, events: &[Arc<Event>]) -> Vec<Arc<Event>> {
    events.iter().filter(|event| plugin.hears(&event.event_type)).cloned().collect()
}

type Steps = (Vec<Option<BindingStep>>, crate::play::State);

fn run(plugin: &Plugin, guest: &Guest, range: &[Arc<Event>], state: crate::play::State) -> Result<Steps, AuthorError> {
    let played = play(guest, &heard(plugin, range), state, Cuts::Whole)?;
    let mut steps = played.steps.into_iter();
    let of = |event: &Arc<Event>| if plugin.hears(&event.event_type) { steps.next() } else { None };
    Ok((range.iter().map(of).collect(), played.state))
}

fn differs(track: &Track, event: &Event, old: Option<&BindingStep>, new: Option<&BindingStep>) -> Option<Differing> {
    let (one, other) = (Expected::of(old), Expected::of(new));
    if one == other {
        return None;
    }
    let text = |expected: &Expected| serde_json::to_string_pretty(expected).unwrap_or_default();
    let code = |step: Option<&BindingStep>| step.map_or_else(|| NOT_HEARD.to_owned(), |step| step.code.to_string());
    Some(Differing {
        track: track.name.clone(),
        index: event.index.get(),
        event_type: event.event_type.clone(),
        entity: format!("{} {}", event.entity_type, event.entity_id),
        old: code(old),
        new: code(new),
        diff: diff::lines(&text(&one), &text(&other)),
    })
}

/// What of a new manifest needs a review because the old one did not ask for it.
fn asks_more(old: &Plugin, new: &Plugin) -> Vec<String> {
    let (old, new) = (&old.manifest, &new.manifest);
    let mut more = Vec::new();
    for capability in new.capabilities.iter().filter(|capability| !old.capabilities.contains(capability)) {
        more.push(format!("capability {capability:?}"));
    }
    for event in new.events.iter().filter(|event| !old.events.contains(event)) {
        more.push(format!("events {event}"));
    }
    for prefix in new.prefixes.iter().filter(|prefix| !old.prefixes.contains(prefix)) {
        more.push(format!("prefix {prefix}"));
    }
    for ((name, before), (_, after)) in old.limits.entries().into_iter().zip(new.limits.entries()) {
        if after > before {
            more.push(format!("limit {name} {after} instead of {before}"));
        }
    }
    for route in new.routes.iter().filter(|route| !old.routes.contains(route)) {
        more.push(format!("route {} {}", route.method, route.path));
    }
    more
}

/// The result as text.
#[must_use]
pub fn text(shadow: &Shadow, red: impl Fn(&str) -> String) -> String {
    let mut out = vec![format!("{} beside {} over {} events", shadow.new, shadow.old, shadow.events)];
    for differing in &shadow.differing {
        let Differing { track, index, event_type, entity, old, new, diff } = differing;
        out.push(red(&format!("{track} index {index}  {event_type}  {entity}: {old} -> {new}")));
        out.push(diff.trim_end().to_owned());
    }
    for (track, changes) in &shadow.states {
        out.push(format!("state of {track} differs in {} keys", changes.len()));
        out.extend(changes.iter().map(|change| format!("  {change}")));
    }
    let (old, new) = (&shadow.old_gas, &shadow.new_gas);
    out.push(format!(
        "gas p50 {} -> {}, p99 {} -> {}, max {} -> {}",
        old.p50, new.p50, old.p99, new.p99, old.max, new.max
    ));
    out.extend(shadow.asks_more.iter().map(|more| red(&format!("asks for more: {more}"))));
    out.push(if shadow.is_same() {
        "same outcomes, same state".to_owned()
    } else {
        format!("{} events differ", shadow.differing.len())
    });
    out.join("\n")
}
