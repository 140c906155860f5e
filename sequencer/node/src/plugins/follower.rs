//! The core's `Follower` with the plugin host: takes ranges of events, gives an outcome for each, and everything that
//! they changed as one batch.
//!
//! What it holds in memory (releases, bindings, keys) is a function of what is stored: [`PluginFollower::reset`] reads the
//! control events below the cursor, which it noted itself in the batches that passed them, and the standings. So a crash,
//! a restart, a range that failed and a rebuild from nothing are one path. It writes nothing itself.
//!
//! The pages of the state trees gather in memory while a note of each range stands for them ([`super::noted`]); when they
//! are many, they are given to be written behind a range, and the first range after that removes their notes.

use std::sync::Arc;

use bytes::Bytes;
use tally_core::{Applied, Follower, FollowerError, FollowerRange, StoredEvent};
use tally_plugin_host::apply::{FreshList, Keys, Logged, RangeCuts, apply};
use tally_plugin_host::delta::{Delta, Line, Place, TreeDelta};
use tally_plugin_host::engine::Engine as Host;
use tally_plugin_host::error::HostError;
use tally_plugin_host::registry::{Registry, Standing};
use tally_plugin_host::session::Event;
use tally_plugin_host::state::States;
use tally_protocol::entry::Genesis;
use tally_protocol::hash::{LeafHash, StatesRoot};
use tally_protocol::id::{Index, TreeSize};
use tally_protocol::outcome::EMPTY_BODY;
use tally_protocol::plugin_event::{PLUGIN_PREFIX, PluginEvent};
use tally_protocol::plugin_life::{Moment, PluginRegister};
use tally_storage::{Change, TreePages};

use super::keys::LogKeys;
use super::noted::{self, Notes};
use super::shown::{Bindings, Shown, ShownBinding};
use super::stored::{Stored, event_of, tree_pages};
use super::{Alive, PluginBounds};

/// Applies the events of a log.
pub struct PluginFollower {
    stored: Stored,
    host: Host,
    shown: Arc<Shown>,
    bounds: PluginBounds,
    _alive: Alive,
    /// As of the newest range; none before the first reset.
    at: Option<At>,
    /// Of ranges whose pages are not written.
    notes: Notes,
    /// Of ranges whose pages are being written.
    writing: Vec<Index>,
    /// Of ranges whose pages are written: they go with the next batch.
    obsolete: Vec<Index>,
    /// What is shown once it is stored.
    pending: Option<Pending>,
}

/// A position of the log.
struct At {
    registry: Registry<Host>,
    keys: LogKeys,
    /// Over all state; none before the first range that asked the host.
    root: Option<StatesRoot>,
}

impl At {
    /// The root over all state, if no plugin is given anything of the range: every outcome is the empty one then, and the
    /// host need not be asked.
    fn untouched(&self, range: &FollowerRange<'_>) -> Option<StatesRoot> {
        let nobodys = |event: &StoredEvent| self.registry.is_nobodys(&event.frame.stream());
        let cut = range.recorded_cuts.is_some_and(|cuts| !cuts.is_empty());
        self.root.filter(|_| !cut && range.events.iter().all(nobodys))
    }
}

struct Pending {
    pages: Pages,
    lines: Vec<Line>,
    /// None if they are as before.
    bindings: Option<Arc<Bindings>>,
}

/// The pages that a range changes.
enum Pages {
    /// None.
    Same,
    /// They stay in memory, and a note of the range stands for them.
    Noted { first: Index, keys: usize, changes: Vec<TreePages> },
    /// They are given to be written with all before them.
    Given { first: Index, changes: Vec<TreePages> },
}

pub(super) fn stopped(error: &HostError) -> FollowerError {
    // Its sources say which module, key or page.
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    FollowerError::Stopped(text)
}

pub(super) fn damaged(what: &str) -> FollowerError {
    FollowerError::Stopped(format!("what is stored of plugins is damaged: {what}"))
}

impl PluginFollower {
    pub(super) fn new(stored: Stored, host: Host, shown: Arc<Shown>, bounds: PluginBounds, alive: Alive) -> Self {
        let (notes, writing, obsolete) = (Notes::default(), Vec::new(), Vec::new());
        Self { stored, host, shown, bounds, _alive: alive, at: None, notes, writing, obsolete, pending: None }
    }

    /// Releases, bindings and keys as of `next`, from the control events below it.
    fn read(&self, genesis: &Genesis, next: Index) -> Result<(PluginRegister, LogKeys), FollowerError> {
        let (mut register, mut keys) = (PluginRegister::new(genesis.ledger_id()), LogKeys::new(genesis));
        for index in self.stored.rows.controls()? {
            if index >= next {
                return Err(damaged("a control event lies behind the cursor"));
            }
            let stored = self.stored.event(index)?.ok_or_else(|| damaged("a control event is missing in the log"))?;
            let event = event_of(&stored);
            if event.event_type.starts_with(PLUGIN_PREFIX) {
                // What the state did not allow when it was applied changes nothing now.
                let at = Moment { stream: event.stream, actor: event.agent, index, now: event.sequenced_at };
                if let Ok(plugin_event) = PluginEvent::decode(&event.event_type, &event.body) {
                    let _ = register.apply(&at, &plugin_event, &keys);
                }
            }
            keys.follow(&event);
        }
        Ok((register, keys))
    }

    fn standings(&self) -> Result<Vec<(tally_protocol::id::Stream, Standing)>, FollowerError> {
        let rows = self.stored.rows.standings()?.into_iter();
        rows.map(|((stream, _), bytes)| Ok((stream, Standing::decode(&bytes).map_err(|error| stopped(&error))?)))
            .collect()
    }
}

impl PluginFollower {
    /// What becomes of the pages that a range changes, and the rows to write if they are many by now.
    fn pages(&self, delta: &Delta, trees: Vec<TreeDelta>) -> Result<(Pages, Vec<Change>), FollowerError> {
        let Some(first) = delta.first.filter(|_| !delta.spaces.is_empty()) else {
            return Ok((Pages::Same, Vec::new()));
        };
        let (keys, changes) = (noted::keys_of(&delta.spaces), tree_pages(trees));
        let PluginBounds { state_page_bytes_max, noted_keys_max, .. } = self.bounds;
        // While pages are being written, who has more waits: so it has twice as many.
        let share = 1 + usize::from(self.stored.pages.is_writing());
        let bytes_left = self.stored.pages.unwritten_bytes() < state_page_bytes_max * share;
        if bytes_left && self.notes.keys + keys < noted_keys_max * share {
            return Ok((Pages::Noted { first, keys, changes }, Vec::new()));
        }
        let rows = self.stored.pages.rows_with(&changes)?;
        Ok((Pages::Given { first, changes }, rows))
    }

    /// The range is stored.
    fn take_pages(&mut self, pages: Pages) {
        match pages {
            Pages::Same => {}
            Pages::Noted { first, keys, changes } => {
                self.stored.pages.advance(&changes);
                self.notes.ranges.push(first);
                self.notes.keys += keys;
            }
            Pages::Given { first, changes } => {
                self.stored.pages.set_apart(&changes);
                self.writing = std::mem::take(&mut self.notes).ranges;
                self.writing.push(first);
            }
        }
    }
}

impl Follower for PluginFollower {
    fn reset(&mut self, next: Index) -> Result<(), FollowerError> {
        self.pending = None;
        self.writing.clear();
        self.obsolete.clear();
        self.notes = noted::catch_up(&self.stored)?;
        let genesis = self.stored.genesis()?.ok_or_else(|| damaged("there is no ledger"))?;
        let (register, keys) = self.read(&genesis, next)?;
        let standings = self.standings()?;
        // Compiled modules are kept over a reset, if there was one before.
        let mut registry = match self.at.take() {
            Some(at) => at.registry,
            None => {
                let modules = Box::new(self.stored.clone());
                Registry::new(genesis.ledger_id(), self.host.clone(), modules, self.bounds.programs_max)
            }
        };
        let rewound = registry.rewind(register, standings);
        let at = self.at.insert(At { registry, keys, root: None });
        rewound.map_err(|error| stopped(&error))?;
        self.shown.reset(TreeSize::new(next.get()), bindings_of(&at.registry));
        Ok(())
    }

    fn apply(&mut self, range: FollowerRange<'_>) -> Result<Applied, FollowerError> {
        let Some(at) = &mut self.at else { return Err(damaged("nothing was read yet")) };
        if let Some(root) = at.untouched(&range) {
            // Nothing of what is shown changes but the size.
            self.pending = None;
            let outcomes = vec![Bytes::from_static(EMPTY_BODY); range.events.len()];
            return Ok(Applied { outcomes, state_root: Some(root), ..Applied::default() });
        }
        let At { registry, keys, root } = at;
        let leaves = StoredEvent::leaf_hash_many(range.events).into_iter();
        let entries: Vec<Logged> = range.events.iter().zip(leaves).map(logged).collect();
        let recorded = range.recorded_cuts.map(FreshList::decode).transpose().map_err(|error| stopped(&error))?;
        let cuts = recorded.as_ref().map_or(RangeCuts::Live, RangeCuts::Recorded);
        let applied = apply(registry, &entries, keys, &self.stored, cuts).map_err(|error| stopped(&error))?;
        let states = applied.delta.trees(&self.stored).map_err(|error| stopped(&error))?;
        let mut batch = self.stored.batch(&applied.delta, &states)?;
        // If this batch comes to nothing, they are read again.
        self.obsolete.drain(..).for_each(|first| self.stored.rows.delete_note(&mut batch, first));
        let controls: Vec<Index> = range.events.iter().filter(is_control).map(|it| it.index).collect();
        controls.iter().for_each(|index| self.stored.rows.put_control(&mut batch, *index));
        for (index, why) in &applied.delta.refused {
            tracing::warn!(%index, %why, "a plugin event changes nothing");
        }
        let changed = !applied.delta.standings.is_empty() || range.events.iter().any(is_plugin_event);
        let bindings = changed.then(|| bindings_of(registry));
        let stored = &self.stored;
        let before = |place: &Place, key: &[u8]| stored.view(&place.0, &place.1)?.get(key);
        self.shown.before_storing(&applied.delta, before).map_err(|error| stopped(&error.into()))?;
        *root = Some(states.root);
        let (pages, rows) = self.pages(&applied.delta, states.trees)?;
        self.pending = Some(Pending { pages, lines: applied.delta.log, bindings });
        Ok(Applied {
            outcomes: applied.outcomes.iter().map(|outcome| outcome.encode().into()).collect(),
            batch,
            pages: rows,
            cuts: applied.delta.cuts.encode().into(),
            state_root: Some(states.root),
        })
    }

    fn committed(&mut self, upto: TreeSize) {
        let Some(Pending { pages, lines, bindings }) = self.pending.take() else {
            return self.shown.after_storing(upto, None, Vec::new());
        };
        // Before anybody is told: pages are of the roots that are stored.
        self.take_pages(pages);
        self.shown.after_storing(upto, bindings, lines);
    }

    fn pages_written(&mut self) {
        self.stored.pages.written();
        self.obsolete.append(&mut self.writing);
    }
}

fn is_control(event: &&StoredEvent) -> bool {
    event.frame.stream().is_control()
}

fn is_plugin_event(event: &StoredEvent) -> bool {
    event.frame.stream().is_control() && event.frame.event_type().starts_with(PLUGIN_PREFIX)
}

fn logged((stored, leaf): (&StoredEvent, LeafHash)) -> Logged {
    let event: Event = event_of(stored);
    Logged { index: stored.index, leaf, event: Some(Arc::new(event)) }
}

/// What is shown of a registry.
fn bindings_of(registry: &Registry<Host>) -> Arc<Bindings> {
    let mut bound = std::collections::BTreeMap::new();
    for (stream, bindings) in registry.all() {
        let shown = bindings
            .iter()
            .map(|it| ShownBinding { standing: it.standing().clone(), contract: it.contract().cloned() });
        bound.insert(*stream, shown.collect());
    }
    Arc::new(Bindings { register: registry.register().clone(), bound })
}
