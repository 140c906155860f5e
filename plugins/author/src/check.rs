//! `tally plugin test`: fixtures through the shipped module under the real host, on every engine.
//!
//! Takes a plugin and its fixtures; gives a [`Tested`] per fixture, with a difference for people where something else came
//! than was expected. An event without an expectation fails: it would pass whatever the plugin did. With `bless` what came
//! is written as what is expected, as long as the engines agree.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;
use tally_plugin_host::session::BindingStep;
use tally_protocol::id::Index;

use crate::diff;
use crate::engines::{EngineName, Guest, Plugin};
use crate::error::AuthorError;
use crate::fixture::{Asked, Expected, Fixture, Given, NOT_HEARD, json, name_of, shown_state};
use crate::play::{Cuts, Played, Track, play, start, view};

/// What one fixture came to.
#[derive(Debug, Clone, Serialize)]
pub struct Tested {
    /// The fixture.
    pub name: String,
    /// Its events.
    pub events: usize,
    /// The engines that it ran on.
    pub engines: Vec<&'static str>,
    /// What did not come as expected; none passes.
    pub failures: Vec<Failed>,
    /// The most gas that an event was charged.
    pub gas_max: u64,
    /// Whether the file was written.
    pub blessed: bool,
}

impl Tested {
    /// Whether everything came as expected.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

/// Something that did not come as expected.
#[derive(Debug, Clone, Serialize)]
pub struct Failed {
    /// Where: an event, a query, the state after.
    pub place: String,
    /// What, in one line.
    pub what: String,
    /// Expected and found, line by line.
    pub diff: String,
}

/// Runs a fixture.
///
/// # Errors
/// The file is no fixture, the plugin does not start, or the host cannot go on.
pub fn fixture(plugin: &Plugin, path: &Path, bless: bool) -> Result<Tested, AuthorError> {
    let mut given = Fixture::load(path)?;
    let track = given.track(path)?;
    let heard = track.heard_by(plugin);
    let mut found: Option<(EngineName, Found)> = None;
    let (mut failures, mut engines) = (Vec::new(), Vec::new());
    for (name, guest) in plugin.guests() {
        engines.push(name.as_str());
        let now = run(guest, &given, &track, &heard, plugin)?;
        match &found {
            Some((first, found)) => failures.extend(disagree(*first, found, name, &now)),
            None => found = Some((name, now)),
        }
    }
    let Some((_, found)) = found else { return Err(AuthorError::NothingThere(path.to_owned())) };
    let gas_max = found.played.steps.iter().map(|step| step.gas).max().unwrap_or(0);
    let events = given.events.len();
    let blessed = bless && failures.is_empty();
    if blessed {
        write_down(&mut given, &found, plugin);
        given.save(path)?;
    } else {
        compare(&given, &found, &mut failures);
    }
    Ok(Tested { name: name_of(path), events, engines, failures, gas_max, blessed })
}

/// Runs these fixtures.
///
/// # Errors
/// See [`fixture`].
pub fn all(plugin: &Plugin, files: &[PathBuf], bless: bool) -> Result<Vec<Tested>, AuthorError> {
    files.iter().map(|file| fixture(plugin, file, bless)).collect()
}

/// Makes a fixture of the events of a track with an index of at least `from`: the state before them, the events, and what
/// comes of them, written to a new file. Events are counted anew there, so ids that hang on a place in the log are others.
///
/// # Errors
/// The plugin hears none of them, the file is there already, or see [`fixture`].
pub fn capture(plugin: &Plugin, track: &Track, from: Index, path: &Path) -> Result<Tested, AuthorError> {
    if path.exists() {
        return Err(AuthorError::Project(format!("{} is there already; nothing was written", path.display())));
    }
    let Some(guest) = plugin.first() else { return Err(AuthorError::NothingThere(path.to_owned())) };
    let heard = track.heard_by(plugin);
    let (before, events) = heard.events.split_at(heard.events.partition_point(|event| event.index < from));
    if events.is_empty() {
        return Err(AuthorError::Events(format!("{} hears none of these events", plugin.title())));
    }
    let state = play(guest, before, start(guest, track)?, Cuts::Whole)?.state;
    let captured = Fixture {
        about: format!("captured from {}, index {from}", track.name),
        config: json(&track.config),
        state: shown_state(&state),
        events: events.iter().map(|event| Given::of(event)).collect(),
        ..Fixture::default()
    };
    captured.save(path)?;
    fixture(plugin, path, true)
}

/// What came of a fixture on one engine.
struct Found {
    /// For each event.
    steps: Vec<Option<BindingStep>>,
    played: Played,
    answers: Vec<Value>,
}

fn run(guest: &Guest, given: &Fixture, track: &Track, heard: &Track, plugin: &Plugin) -> Result<Found, AuthorError> {
    let state = start(guest, track)?;
    let played = play(guest, &heard.events, state, Cuts::Whole)?;
    let mut steps = played.steps.iter().cloned();
    let step = |event_type: &str| if plugin.hears(event_type) { steps.next() } else { None };
    let steps = track.events.iter().map(|event| event.event_type.as_str()).map(step).collect();
    let answer = |asked: &Asked| {
        let request = tally_protocol::jcs::canonicalize(asked.request.to_string().as_bytes());
        let request = request.map_err(|error| AuthorError::Events(format!("a request: {error}")))?;
        Ok(match guest.query(&request, view(&played.state)) {
            Ok((bytes, _)) => json(&bytes),
            Err(tally_plugin_host::instance::AskError::Host(error)) => return Err(error.into()),
            Err(error) => Value::String(error.to_string()),
        })
    };
    let answers = given.queries.iter().map(answer).collect::<Result<_, AuthorError>>()?;
    Ok(Found { steps, played, answers })
}

/// Where an engine came to something else than the first.
fn disagree(first: EngineName, one: &Found, second: EngineName, other: &Found) -> Option<Failed> {
    let at = one.played.steps.iter().zip(&other.played.steps).position(|(one, other)| one != other);
    let what = match at {
        Some(at) => format!("event at index {}", one.played.steps.get(at).map_or(0, |step| step.index.get())),
        None if one.answers != other.answers => "a query".to_owned(),
        None if one.played != other.played => "the state after".to_owned(),
        None => return None,
    };
    let text = |found: &Found| {
        at.and_then(|at| found.played.steps.get(at)).map_or_else(String::new, |step| format!("{step:#?}"))
    };
    Some(Failed {
        place: what,
        what: format!("{first} and {second} disagree; this is a fault of the host, please report it"),
        diff: diff::lines(&text(one), &text(other)),
    })
}

fn write_down(given: &mut Fixture, found: &Found, plugin: &Plugin) {
    for (event, step) in given.events.iter_mut().zip(&found.steps) {
        let mut expected = Expected::of(step.as_ref());
        if let Some(before) = event.expect.take() {
            expected.gas_max = before.gas_max.map(|max| max.max(step.as_ref().map_or(0, |step| step.gas)));
            expected.log = before.log.map(|_| log(step.as_ref()));
        }
        event.expect = Some(expected);
    }
    for (asked, answer) in given.queries.iter_mut().zip(&found.answers) {
        asked.answer = Some(answer.clone());
    }
    given.state_after = Some(shown_state(&found.played.state));
    if given.about.is_empty() {
        given.about = format!("what {} does", plugin.manifest.id);
    }
}

fn log(step: Option<&BindingStep>) -> Vec<String> {
    step.map(|step| step.log.iter().map(|line| line.text.clone()).collect()).unwrap_or_default()
}

fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn unexpected(place: String) -> Failed {
    Failed { place, what: "nothing is expected; write it with --bless and read it".to_owned(), diff: String::new() }
}

fn compare(given: &Fixture, found: &Found, failures: &mut Vec<Failed>) {
    for (at, (event, step)) in given.events.iter().zip(&found.steps).enumerate() {
        let place = format!("event {at} ({} {})", event.event_type, event.entity_id);
        let Some(expected) = &event.expect else {
            failures.push(unexpected(place));
            continue;
        };
        let mut now = Expected::of(step.as_ref());
        now.log = expected.log.as_ref().map(|_| log(step.as_ref()));
        let gas = step.as_ref().map_or(0, |step| step.gas);
        if let Some(max) = expected.gas_max.filter(|max| gas > *max) {
            let what = format!("charged {gas} gas, more than {max}");
            failures.push(Failed { place: place.clone(), what, diff: String::new() });
        }
        now.gas_max = expected.gas_max;
        if now != *expected {
            let what = if now.outcome == expected.outcome {
                "the outcome is as expected, what it leaves is not".to_owned()
            } else {
                format!("expected {}, found {}", expected.outcome, now.outcome)
            };
            failures.push(Failed { place, what, diff: diff::lines(&pretty(expected), &pretty(&now)) });
        }
    }
    for (at, (asked, answer)) in given.queries.iter().zip(&found.answers).enumerate() {
        let place = format!("query {at}");
        match &asked.answer {
            None => failures.push(unexpected(place)),
            Some(expected) if expected != answer => {
                let diff = diff::lines(&pretty(expected), &pretty(answer));
                failures.push(Failed { place, what: "another answer".to_owned(), diff });
            }
            Some(_) => {}
        }
    }
    let after: BTreeMap<String, String> = shown_state(&found.played.state);
    if let Some(expected) = given.state_after.as_ref().filter(|expected| **expected != after) {
        let diff = diff::lines(&pretty(expected), &pretty(&after));
        failures.push(Failed { place: "state after".to_owned(), what: "another state".to_owned(), diff });
    }
    // A fixture of nothing would pass whatever the plugin does.
    let heard = found.steps.iter().any(Option::is_some);
    if !heard && given.queries.is_empty() {
        let what = format!("no event is heard by the plugin (each is `{NOT_HEARD}`)");
        failures.push(Failed { place: "fixture".to_owned(), what, diff: String::new() });
    }
}
