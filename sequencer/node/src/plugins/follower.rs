//! The core's `Follower` with the plugin host: takes ranges of events, gives an outcome for each, and everything that
//! they changed as one batch.
//!
//! What it holds in memory (releases, bindings, keys) is a function of what is stored: [`PluginFollower::reset`] reads the
//! control events below the cursor, which it noted itself in the batches that passed them, and the standings. So a crash,
//! a restart, a range that failed and a rebuild from nothing are one path. It writes nothing itself.

use std::sync::Arc;

use bytes::Bytes;
use tally_core::{Applied, Follower, FollowerError, FollowerRange, StoredEvent};
use tally_plugin_host::apply::{FreshList, Keys, Logged, RangeCuts, apply};
use tally_plugin_host::delta::{Line, Place};
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

use super::keys::LogKeys;
use super::shown::{Bindings, Shown, ShownBinding};
use super::stored::{Stored, event_of};
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
    lines: Vec<Line>,
    /// None if they are as before.
    bindings: Option<Arc<Bindings>>,
}

fn stopped(error: &HostError) -> FollowerError {
    // Its sources say which module, key or page.
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    FollowerError::Stopped(text)
}

fn damaged(what: &str) -> FollowerError {
    FollowerError::Stopped(format!("what is stored of plugins is damaged: {what}"))
}

impl PluginFollower {
    pub(super) fn new(stored: Stored, host: Host, shown: Arc<Shown>, bounds: PluginBounds, alive: Alive) -> Self {
        Self { stored, host, shown, bounds, _alive: alive, at: None, pending: None }
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

impl Follower for PluginFollower {
    fn reset(&mut self, next: Index) -> Result<(), FollowerError> {
        self.pending = None;
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
        self.pending = Some(Pending { lines: applied.delta.log, bindings });
        Ok(Applied {
            outcomes: applied.outcomes.iter().map(|outcome| outcome.encode().into()).collect(),
            batch,
            cuts: applied.delta.cuts.encode().into(),
            state_root: Some(states.root),
        })
    }

    fn committed(&mut self, upto: TreeSize) {
        let Pending { lines, bindings } = self.pending.take().unwrap_or(Pending { lines: Vec::new(), bindings: None });
        self.shown.after_storing(upto, bindings, lines);
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
