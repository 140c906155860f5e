//! `tally plugin purity`: whether a plugin carries anything from one event to the next outside its state.
//!
//! Takes a plugin and tracks; runs them with one instance as long as it lasts, with a fresh one for every event, with
//! instances cut at places drawn from a seed, and all of that on every engine. Gives equal roots, or the first event that
//! came to something else, by name. Gas may differ between cuts (a guest's allocator grows), which the log records; between
//! engines nothing may.

use std::sync::Arc;

use serde::Serialize;
use tally_merkle::Frontier;
use tally_merkle::sparse::{CHANGES_MAX, MemoryPages, StateChange, StateNode, update};
use tally_plugin_host::session::{BindingStep, Event};
use tally_protocol::hash;
use tally_protocol::outcome::Outcome;

use crate::engines::{EngineName, Guest, Plugin};
use crate::error::AuthorError;
use crate::fixture::Expected;
use crate::play::{Cuts, Played, State, Track, play, start};
use crate::{diff, shown};

/// Ways of cutting that are drawn.
const SHUFFLES: u64 = 4;
/// The longest life of a drawn cut.
const LIFE_MAX: u64 = 32;

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct Purity {
    /// Id and version.
    pub plugin: String,
    /// Events that were heard, over all tracks.
    pub events: usize,
    /// Each way of running, over all tracks.
    pub runs: Vec<Run>,
    /// The first event that came to something else.
    pub divergence: Option<Divergence>,
    /// Events whose gas hangs on where instances are cut.
    pub gas_differs: usize,
}

impl Purity {
    /// Whether every way of running came to the same.
    #[must_use]
    pub fn is_pure(&self) -> bool {
        self.divergence.is_none()
    }
}

/// A way of running, and what it came to.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// The track.
    pub track: String,
    /// The engine.
    pub engine: &'static str,
    /// Where instances were cut.
    pub cuts: String,
    /// Root over the outcomes, without gas and cuts.
    pub outcome_root: String,
    /// Root of the state after.
    pub state_root: String,
}

/// The first event that came to something else.
#[derive(Debug, Clone, Serialize)]
pub struct Divergence {
    /// The track.
    pub track: String,
    /// The event's index.
    pub index: u64,
    /// Its type.
    pub event_type: String,
    /// Its entity.
    pub entity: String,
    /// The ways that disagree.
    pub between: [String; 2],
    /// In what they do.
    pub diff: String,
}

/// Runs every track in every way.
///
/// # Errors
/// The plugin does not start, or the host cannot go on.
pub fn check(plugin: &Plugin, tracks: &[Track], seed: u64) -> Result<Purity, AuthorError> {
    let mut purity = Purity { plugin: plugin.title(), events: 0, runs: Vec::new(), divergence: None, gas_differs: 0 };
    for track in tracks {
        let heard = track.heard_by(plugin);
        purity.events += heard.events.len();
        one(plugin, &heard, seed, &mut purity)?;
    }
    Ok(purity)
}

/// A way of cutting, with its name.
struct Way {
    name: String,
    /// None: where the host must; an empty list: before every event.
    lengths: Option<Vec<usize>>,
}

fn ways(seed: u64) -> Vec<Way> {
    let mut ways = vec![
        Way { name: "one instance".to_owned(), lengths: None },
        Way { name: "fresh for every event".to_owned(), lengths: Some(Vec::new()) },
    ];
    for shuffle in 0..SHUFFLES {
        let mut random = seed.wrapping_add(shuffle).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random % LIFE_MAX).unwrap_or(0) + 1
        };
        let lengths = (0..64).map(|_| next()).collect();
        ways.push(Way { name: format!("cut at random, seed {}", seed.wrapping_add(shuffle)), lengths: Some(lengths) });
    }
    ways
}

fn one(plugin: &Plugin, track: &Track, seed: u64, purity: &mut Purity) -> Result<(), AuthorError> {
    let mut first: Option<(String, Played)> = None;
    let mut gas_differs = vec![false; track.events.len()];
    for way in ways(seed) {
        let mut of_way: Option<(EngineName, Played)> = None;
        for (engine, guest) in plugin.guests() {
            let cuts = match &way.lengths {
                None => Cuts::Whole,
                Some(lengths) if lengths.is_empty() => Cuts::Each,
                Some(lengths) => Cuts::Lengths(lengths),
            };
            let played = play(guest, &track.events, start(guest, track)?, cuts)?;
            purity.runs.push(described(track, engine, &way.name, guest, &played)?);
            let name = format!("{}, {engine}", way.name);
            match &of_way {
                Some((before, other)) => {
                    let between = [format!("{}, {before}", way.name), name];
                    note(purity, diverges(track, between, other, &played, true));
                }
                None => {
                    match &first {
                        Some((before, other)) => {
                            let between = [before.clone(), name];
                            note(purity, diverges(track, between, other, &played, false));
                            let pairs = other.steps.iter().zip(&played.steps);
                            let differs = pairs.map(|(one, other)| one.gas != other.gas);
                            gas_differs.iter_mut().zip(differs).for_each(|(flag, differs)| *flag |= differs);
                        }
                        None => first = Some((name, played.clone())),
                    }
                    of_way = Some((engine, played));
                }
            }
        }
    }
    purity.gas_differs += gas_differs.iter().filter(|differs| **differs).count();
    Ok(())
}

/// Keeps the earliest divergence of the first track that has one.
fn note(purity: &mut Purity, found: Option<Divergence>) {
    let Some(found) = found else { return };
    let earlier = |known: &Divergence| known.track == found.track && found.index < known.index;
    if purity.divergence.as_ref().is_none_or(earlier) {
        purity.divergence = Some(found);
    }
}

fn described(
    track: &Track,
    engine: EngineName,
    cuts: &str,
    guest: &Guest,
    played: &Played,
) -> Result<Run, AuthorError> {
    let mut frontier = Frontier::new();
    for (event, step) in track.events.iter().zip(&played.steps) {
        let mut binding = guest.binding(step);
        (binding.fresh, binding.gas) = (false, 0);
        frontier.append(Outcome { event_leaf: hash::leaf(&event.body), bindings: vec![binding] }.leaf_hash());
    }
    Ok(Run {
        track: track.name.clone(),
        engine: engine.as_str(),
        cuts: cuts.to_owned(),
        outcome_root: frontier.root().to_hex(),
        state_root: state_root(&played.state)?.to_hex(),
    })
}

/// The root of a state, as a node would sign it for this plugin in this stream.
///
/// # Errors
/// The tree cannot be made.
pub fn state_root(state: &State) -> Result<StateNode, AuthorError> {
    let rows: Vec<_> = state.iter().map(|(key, value)| (&key[..], Some(&value[..]))).collect();
    let (mut root, mut pages) = (StateNode::EMPTY, MemoryPages::new());
    for changes in StateChange::many(&rows).chunks(CHANGES_MAX) {
        let next = update(&pages, &root, changes).map_err(|error| AuthorError::Tree(format!("{error:?}")))?;
        root = next.root;
        pages.apply(next);
    }
    Ok(root)
}

fn diverges(track: &Track, between: [String; 2], one: &Played, other: &Played, gas: bool) -> Option<Divergence> {
    let same = |one: &BindingStep, other: &BindingStep| {
        let verdict = (&one.code, &one.writes, &one.emits, &one.effects)
            == (&other.code, &other.writes, &other.emits, &other.effects);
        verdict && (!gas || (one.gas, one.fresh) == (other.gas, other.fresh))
    };
    let at = one.steps.iter().zip(&other.steps).position(|(one, other)| !same(one, other))?;
    let (event, left, right): (&Arc<Event>, _, _) = (track.events.get(at)?, one.steps.get(at)?, other.steps.get(at)?);
    let text = |step: &BindingStep| {
        let mut shown = serde_json::to_string_pretty(&Expected::of(Some(step))).unwrap_or_default();
        if gas {
            shown = format!("{shown}\ngas {}, fresh {}", step.gas, step.fresh);
        }
        shown
    };
    Some(Divergence {
        track: track.name.clone(),
        index: event.index.get(),
        event_type: event.event_type.clone(),
        entity: format!("{} {}", event.entity_type, event.entity_id),
        between,
        diff: diff::lines(&text(left), &text(right)),
    })
}

/// The result as text.
#[must_use]
pub fn text(purity: &Purity, red: impl Fn(&str) -> String) -> String {
    let mut out = Vec::new();
    let mut track = "";
    for run in &purity.runs {
        if run.track != track {
            track = &run.track;
            out.push(format!("{track}:"));
        }
        let (outcomes, state) = (shown::short(&run.outcome_root, 16), shown::short(&run.state_root, 16));
        out.push(format!("  {:<28} {:<10} outcomes {outcomes}  state {state}", run.cuts, run.engine));
    }
    if let Some(found) = &purity.divergence {
        let Divergence { track, index, event_type, entity, between: [one, other], diff } = found;
        out.push(red(&format!(
            "not pure: {track}, event at index {index} ({event_type}, {entity}) comes to something else\n- {one}\n+ {other}"
        )));
        out.push(diff.trim_end().to_owned());
        return out.join("\n");
    }
    if purity.gas_differs > 0 {
        out.push(format!(
            "the gas of {} events hangs on where instances are cut; that is recorded, and no fault",
            purity.gas_differs
        ));
    }
    out.push(format!(
        "pure: {} over {} events, {} ways, one root each",
        purity.plugin,
        purity.events,
        purity.runs.len()
    ));
    out.join("\n")
}
