//! Events through a guest, from a state, cut as one likes: the one way in which every tool runs a plugin.
//!
//! Takes a [`Track`]: the events of one stream, with the configuration and state they begin with. Gives [`Played`]: a step
//! for each event that the plugin hears, and the state after them. Nothing that a plugin does makes it fail.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tally_plugin_host::error::HostError;
use tally_plugin_host::instance::Chunk;
use tally_plugin_host::overlay::{Overlay, Write};
use tally_plugin_host::session::{BindingStep, Event};
use tally_plugin_host::state::StateView;
use tally_protocol::id::Index;
use tally_protocol::outcome::OutcomeCode;

use crate::engines::{Guest, Plugin};
use crate::error::AuthorError;

/// Calls of `migrate` for one upgrade at most, as in the host.
const MIGRATE_CALLS_MAX: u32 = 1_024;
/// Events that are given at once: their steps are held in memory.
const RANGE_EVENTS: usize = 4_096;

/// Keys and values.
pub type State = BTreeMap<Bytes, Bytes>;

/// The events of one stream, and what they begin with.
#[derive(Debug, Clone)]
pub struct Track {
    /// Its name in reports: a fixture's file, or a stream.
    pub name: String,
    /// The events, in order.
    pub events: Vec<Arc<Event>>,
    /// What `init` is given: canonical JSON.
    pub config: Vec<u8>,
    /// State before `init`.
    pub state: State,
}

impl Track {
    /// The same with only the events that a plugin hears.
    #[must_use]
    pub fn heard_by(&self, plugin: &Plugin) -> Self {
        let events = self.events.iter().filter(|event| plugin.hears(&event.event_type)).cloned().collect();
        Self { name: self.name.clone(), events, config: self.config.clone(), state: self.state.clone() }
    }
}

/// Where instances are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cuts<'c> {
    /// Where the host must.
    Whole,
    /// Before every event.
    Each,
    /// After so many events, then after so many, over and over.
    Lengths(&'c [usize]),
}

/// What events came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Played {
    /// A step for each event.
    pub steps: Vec<BindingStep>,
    /// The state after them.
    pub state: State,
}

/// Starts a plugin: `init` over the track's state.
///
/// # Errors
/// It refuses, or the host cannot go on.
pub fn start(guest: &Guest, track: &Track) -> Result<State, AuthorError> {
    let mut state = track.state.clone();
    let chunk = guest.init(&track.config, view(&state))?;
    keep("init", &chunk, &mut state)?;
    Ok(state)
}

/// Moves a state of an older version: `migrate` until it is done, or `init` where the version is the same.
///
/// # Errors
/// It refuses, never ends, or the host cannot go on.
pub fn upgrade(guest: &Guest, from: Option<u32>, config: &[u8], mut state: State) -> Result<State, AuthorError> {
    let Some(from) = from else {
        let chunk = guest.init(config, view(&state))?;
        keep("init", &chunk, &mut state)?;
        return Ok(state);
    };
    for _ in 0..MIGRATE_CALLS_MAX {
        let chunk = guest.migrate(from, config, view(&state))?;
        keep("migrate", &chunk, &mut state)?;
        if !chunk.again {
            return Ok(state);
        }
    }
    Err(AuthorError::NotStarted { call: "migrate", code: format!("no end after {MIGRATE_CALLS_MAX} calls") })
}

fn keep(call: &'static str, chunk: &Chunk, state: &mut State) -> Result<(), AuthorError> {
    if chunk.code != OutcomeCode::Accepted {
        return Err(AuthorError::NotStarted { call, code: chunk.code.to_string() });
    }
    write(state, &chunk.writes);
    Ok(())
}

/// A state as the host reads it.
#[must_use]
pub fn view(state: &State) -> Arc<dyn StateView> {
    Arc::new(state.clone())
}

/// Takes over writes.
pub fn write(state: &mut State, writes: &[Write]) {
    for (key, value) in writes {
        match value {
            Some(value) => state.insert(key.clone(), value.clone()),
            None => state.remove(key),
        };
    }
}

/// Applies events to a state, with instances cut so.
///
/// # Errors
/// The host cannot go on.
pub fn play(guest: &Guest, events: &[Arc<Event>], state: State, cuts: Cuts<'_>) -> Result<Played, AuthorError> {
    let base: Arc<dyn StateView> = Arc::new(state.clone());
    let mut overlay = Arc::new(Overlay::new(base));
    let (mut rest, mut number, mut steps) = (events, 0, Vec::with_capacity(events.len()));
    while !rest.is_empty() {
        let length = match cuts {
            Cuts::Whole => RANGE_EVENTS,
            Cuts::Each => 1,
            Cuts::Lengths(lengths) => lengths.get(number % lengths.len().max(1)).copied().unwrap_or(1),
        };
        number += 1;
        let (range, after) = rest.split_at(length.clamp(1, rest.len()));
        rest = after;
        let from = range.first().map_or(Index::new(0), |event| event.index);
        let seen: Arc<Overlay> = Arc::clone(&overlay);
        let applied = guest.apply(range.to_vec(), seen).map_err(|source| AuthorError::Apply { from, source })?;
        let held = || AuthorError::Host(HostError::Engine("a state is still read after its events".to_owned()));
        let written = Arc::get_mut(&mut overlay).ok_or_else(held)?;
        applied.iter().for_each(|step| written.absorb(&step.writes, step.grown));
        steps.extend(applied);
    }
    let mut state = state;
    if let Some(overlay) = Arc::into_inner(overlay) {
        write(&mut state, &overlay.into_written());
    }
    Ok(Played { steps, state })
}
