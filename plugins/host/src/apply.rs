//! A range of the log to one outcome per entry: which plugins saw an event, how each ended, what it left.
//!
//! Takes consecutive [`Logged`] entries, the state before them, and where instances are cut ([`RangeCuts`]); gives
//! [`Applied`]: outcomes in the entries' order, and a [`Delta`]. Streams do not touch each other: the events of a
//! stream are held back until a lifecycle event of that stream, or the range's end, and then run at once, so that
//! consecutive events of a binding share an instance. Only [`HostError`] ends a range; then nothing of it counts and the
//! registry has to be restored. The rules are in `docs/formats/apply.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tally_protocol::hash::LeafHash;
use tally_protocol::id::{Index, PluginId, Stream};
use tally_protocol::outcome::{BindingOutcome, Outcome, OutcomeCode};
use tally_protocol::plugin_event::{Binding, PLUGIN_PREFIX, PluginEvent};
use tally_protocol::plugin_life::Agents;
use tally_protocol::release::{Decision, Review};

use crate::delta::{Asked, Delta, Line, Place, SpaceDelta};
use crate::error::HostError;
use crate::instance::{Instance, Machine};
use crate::overlay::{Overlay, Write};
use crate::registry::{Bound, Contract, LoadError, Loader, Ready, Refused, Registry, Status, limits_of};
use crate::session::{Event, LogLine};
use crate::state::States;

mod cuts;
mod record;
mod runner;
mod stream;

pub use cuts::FreshList;

use record::{WriteSets, lifecycle_record};
use runner::Runner;
use stream::StreamRun;

/// Entries of one live range at most, and the positions that one instance may span: so an auditor who reads this many
/// outcomes ahead finds a place where every instance is fresh.
pub const RANGE_ENTRIES_MAX: usize = 4_096;
/// Derived runs of one emit tree at most.
pub const TREE_RUNS_MAX: usize = 256;
/// Calls of `migrate` for one upgrade at most.
pub const MIGRATE_CALLS_MAX: u32 = 1_024;

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// Its place.
    pub index: Index,
    /// Its leaf hash.
    pub leaf: LeafHash,
    /// The event; none for the genesis entry.
    pub event: Option<Arc<Event>>,
}

/// The agents' keys, which go with the log.
pub trait Keys: Agents {
    /// An event of a control stream, at its place.
    fn follow(&mut self, event: &Event);
}

/// Where instances are cut.
#[derive(Debug, Clone, Copy)]
pub enum RangeCuts<'r> {
    /// Where the host likes: here at the start of the range, and where it must.
    Live,
    /// Where a record says, which must have every instance fresh at the start of the range.
    Recorded(&'r FreshList),
}

/// What a range came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// One for each entry, in their order.
    pub outcomes: Vec<Outcome>,
    /// What changed.
    pub delta: Delta,
}

/// Applies a range of the log.
///
/// # Errors
/// The host cannot go on. Nothing of the range counts, and the registry refuses any other until it is restored.
pub fn apply<L: Loader>(
    registry: &mut Registry<L>,
    entries: &[Logged],
    keys: &mut dyn Keys,
    states: &dyn States,
    cuts: RangeCuts<'_>,
) -> Result<Applied, HostError> {
    check_range(entries, cuts)?;
    registry.enter()?;
    let mut work = Work::new(registry, entries, keys, states, cuts);
    for at in 0..entries.len() {
        work.take(at)?;
    }
    work.flush_all()?;
    let applied = work.finish()?;
    registry.leave();
    Ok(applied)
}

fn check_range(entries: &[Logged], cuts: RangeCuts<'_>) -> Result<(), HostError> {
    for pair in entries.windows(2) {
        if pair[0].index.get().checked_add(1) != Some(pair[1].index.get()) {
            return Err(HostError::Range(pair[1].index));
        }
    }
    let placed =
        |entry: &&Logged| entry.event.as_ref().is_none_or(|event| event.index == entry.index && event.depth == 0);
    if let Some(entry) = entries.iter().find(|entry| !placed(entry)) {
        return Err(HostError::Range(entry.index));
    }
    match (cuts, entries.get(RANGE_ENTRIES_MAX)) {
        (RangeCuts::Live, Some(entry)) => Err(HostError::Range(entry.index)),
        _ => Ok(()),
    }
}

/// A plugin's state in a stream, as the range goes on.
struct Space {
    overlay: Arc<Overlay>,
    /// The plugin was removed: what was there before is gone.
    cleared: bool,
}

/// What is collected for the delta.
#[derive(Default)]
struct Made {
    effects: Vec<Asked>,
    log: Vec<Line>,
    refused: Vec<(Index, Refused)>,
    /// Bindings whose standing changed.
    touched: BTreeSet<Place>,
}

impl Made {
    fn lines(&mut self, index: Index, stream: Stream, plugin: &PluginId, lines: Vec<LogLine>) {
        self.log.extend(lines.into_iter().map(|line| Line { index, stream, plugin: plugin.clone(), line }));
    }
}

struct Work<'w, L: Loader> {
    registry: &'w mut Registry<L>,
    entries: &'w [Logged],
    keys: &'w mut dyn Keys,
    states: &'w dyn States,
    cuts: RangeCuts<'w>,
    /// Events that are not applied yet, by stream.
    waiting: BTreeMap<Stream, Vec<usize>>,
    spaces: BTreeMap<Place, Space>,
    outcomes: Vec<Outcome>,
    made: Made,
}

impl<'w, L: Loader> Work<'w, L> {
    fn new(
        registry: &'w mut Registry<L>,
        entries: &'w [Logged],
        keys: &'w mut dyn Keys,
        states: &'w dyn States,
        cuts: RangeCuts<'w>,
    ) -> Self {
        let nothing = |entry: &Logged| Outcome { event_leaf: entry.leaf, bindings: Vec::new() };
        let outcomes = entries.iter().map(nothing).collect();
        let (waiting, spaces) = (BTreeMap::new(), BTreeMap::new());
        Self { registry, entries, keys, states, cuts, waiting, spaces, outcomes, made: Made::default() }
    }

    fn take(&mut self, at: usize) -> Result<(), HostError> {
        let entries = self.entries;
        let Some(event) = &entries[at].event else { return Ok(()) };
        if !event.stream.is_control() {
            self.waiting.entry(event.stream).or_default().push(at);
            return Ok(());
        }
        if event.event_type.starts_with(PLUGIN_PREFIX) {
            match self.registry.admit(event, &*self.keys) {
                Ok(plugin_event) => self.lifecycle(at, event, plugin_event)?,
                // The door refuses it too; what it let through changes nothing, for any host.
                Err(why) => self.made.refused.push((event.index, why)),
            }
        }
        self.keys.follow(event);
        Ok(())
    }

    /// A plugin event takes effect at its own index: what came before it in its stream is applied first.
    fn lifecycle(&mut self, at: usize, event: &Event, plugin_event: PluginEvent) -> Result<(), HostError> {
        if let PluginEvent::Reviewed { review, .. } = &plugin_event {
            return self.reviewed(&event.stream, review);
        }
        let Some(store) = plugin_event.store_id() else { return Ok(()) };
        let target = Stream::new(event.stream.tenant, store);
        self.flush(&target)?;
        let plugin = plugin_event.plugin().clone();
        self.made.touched.insert((target, plugin.clone()));
        match plugin_event {
            PluginEvent::Installed(binding) => {
                self.registry.enroll(&target, event.index, &binding);
                self.start(at, target, binding, None)?;
            }
            PluginEvent::Upgraded(binding) => {
                let from = self.migrates_from(&target, &binding);
                self.start(at, target, binding, from)?;
            }
            PluginEvent::Configured { config, .. } => {
                let Some(bound) = self.registry.find(&target, &plugin) else { return Ok(()) };
                let binding = Binding { config, ..bound.standing().binding.clone() };
                self.start(at, target, binding, None)?;
            }
            PluginEvent::Quarantined { .. } => self.registry.quarantine(&target, &plugin),
            PluginEvent::Removed { .. } => {
                self.registry.remove(&target, &plugin);
                let nothing = Arc::new(BTreeMap::<bytes::Bytes, bytes::Bytes>::new());
                let space = Space { overlay: Arc::new(Overlay::sized(nothing, 0)), cleared: true };
                self.spaces.insert((target, plugin), space);
            }
            PluginEvent::Submitted(_) | PluginEvent::Reviewed { .. } => {}
        }
        Ok(())
    }

    fn reviewed(&mut self, registry: &Stream, review: &Review) -> Result<(), HostError> {
        if review.decision != Decision::Revoked {
            return Ok(());
        }
        for (stream, plugin) in self.registry.revoked(registry, review) {
            self.flush(&stream)?;
            self.registry.quarantine(&stream, &plugin);
            self.made.touched.insert((stream, plugin));
        }
        Ok(())
    }

    /// The state version that an upgrade leaves behind; none if there is no state, or of the same version.
    fn migrates_from(&self, target: &Stream, binding: &Binding) -> Option<u32> {
        let standing = self.registry.find(target, &binding.plugin)?.standing();
        let from = standing.binding.state_version;
        (standing.status != Status::Failed && from != binding.state_version).then_some(from)
    }

    /// Lets a binding begin to run as this: by `migrate` if there is state of another version, else by `init`.
    fn start(&mut self, at: usize, target: Stream, binding: Binding, from: Option<u32>) -> Result<(), HostError> {
        let index = self.entries[at].index;
        let place = (target, binding.plugin.clone());
        let started = match self.registry.load_approved(&target, &binding) {
            Ok(Ready { instance, contract }) => self.enter(index, &place, &instance, from, &binding, contract)?,
            Err(LoadError::Host(error)) => return Err(error),
            // Every host of this profile says so; what ran goes on.
            Err(LoadError::Unfit(_)) => {
                Started { code: OutcomeCode::BadOutput, gas: limits_of(&binding)?.lifecycle_gas, writes: Vec::new() }
            }
        };
        if let RangeCuts::Recorded(list) = self.cuts
            && !list.has(index, &binding.plugin)
        {
            return Err(HostError::Recorded { index, plugin: binding.plugin });
        }
        let record = lifecycle_record(&binding, started);
        self.outcomes[at].bindings.push(record);
        Ok(())
    }

    fn enter(
        &mut self,
        index: Index,
        place: &Place,
        instance: &Instance<L::Machine>,
        from: Option<u32>,
        binding: &Binding,
        contract: Arc<Contract>,
    ) -> Result<Started, HostError> {
        self.open_space(place)?;
        let Some(space) = self.spaces.get_mut(place) else { return Err(HostError::Halted) };
        let mut lines = Vec::new();
        let started = call(instance, &mut space.overlay, from, binding, &mut lines)?;
        self.made.lines(index, place.0, &place.1, lines);
        if started.code.is_accepted() {
            let bytes = writable(&mut space.overlay)?.bytes()?;
            self.registry.begin(&place.0, binding.clone(), contract, bytes);
        }
        Ok(started)
    }

    fn open_space(&mut self, place: &Place) -> Result<(), HostError> {
        if !self.spaces.contains_key(place) {
            let bytes = self.registry.find(&place.0, &place.1).map_or(0, |bound| bound.standing().state_bytes);
            let overlay = Arc::new(Overlay::sized(self.states.view(&place.0, &place.1)?, bytes));
            self.spaces.insert(place.clone(), Space { overlay, cleared: false });
        }
        Ok(())
    }

    fn flush_all(&mut self) -> Result<(), HostError> {
        while let Some(stream) = self.waiting.keys().next().copied() {
            self.flush(&stream)?;
        }
        Ok(())
    }

    /// Applies what waits in a stream.
    fn flush(&mut self, stream: &Stream) -> Result<(), HostError> {
        let Some(waiting) = self.waiting.remove(stream) else { return Ok(()) };
        let entries = self.entries;
        let events: Vec<&Arc<Event>> = waiting.iter().filter_map(|at| entries[*at].event.as_ref()).collect();
        let runners = self.runners(stream, &events)?;
        if runners.is_empty() {
            return Ok(());
        }
        let mut run = StreamRun::new(*stream, events, runners, self.cuts);
        let mut sets = WriteSets::default();
        for (at, position) in waiting.iter().enumerate() {
            self.outcomes[*position].bindings = run.event(at, &mut self.made, &mut sets)?;
            if sets.is_full() {
                self.settle(&waiting, &mut sets);
            }
        }
        self.settle(&waiting, &mut sets);
        for runner in run.into_runners() {
            self.put_back(stream, runner)?;
        }
        Ok(())
    }

    fn settle(&mut self, waiting: &[usize], sets: &mut WriteSets) {
        let outcomes = &mut self.outcomes;
        sets.settle(|at, place, hash| {
            let position = waiting.get(at).copied().unwrap_or(usize::MAX);
            let record = outcomes.get_mut(position).and_then(|outcome| outcome.bindings.get_mut(place));
            if let Some(record) = record {
                record.writes = hash;
            }
        });
    }

    /// The bindings that run in a stream, those that hear none of these events too: a derived one may come.
    fn runners<'e>(
        &mut self,
        stream: &Stream,
        events: &[&'e Arc<Event>],
    ) -> Result<Vec<Runner<'e, L::Machine>>, HostError> {
        let running = |bound: &&Bound| bound.standing().status == Status::Running;
        let bound: Vec<_> = self.registry.bindings(stream).iter().filter(running).cloned().collect();
        let emits = |bound: &Bound| bound.contract().is_some_and(runner::may_emit);
        let derived = bound.iter().any(emits);
        let mut runners = Vec::with_capacity(bound.len());
        for bound in bound {
            let hears = |event: &&'e Arc<Event>| bound.contract().is_some_and(|c| c.hears(&event.event_type));
            if !derived && !events.iter().any(hears) {
                continue;
            }
            let binding = &bound.standing().binding;
            let ready = self.registry.load(stream, binding).map_err(|error| error.halt(&binding.plugin))?;
            let place = (*stream, binding.plugin.clone());
            self.open_space(&place)?;
            let Some(space) = self.spaces.get_mut(&place) else { return Err(HostError::Halted) };
            runners.push(Runner::new(ready, bound.standing(), Arc::clone(&space.overlay), events));
            // The runner's is the only one, so that it can be written to.
            space.overlay = Arc::new(Overlay::new(Arc::new(BTreeMap::<bytes::Bytes, bytes::Bytes>::new())));
        }
        Ok(runners)
    }

    fn put_back(&mut self, stream: &Stream, runner: Runner<'_, L::Machine>) -> Result<(), HostError> {
        let end = runner.end()?;
        if let Some(counted) = end.standing {
            self.registry.set_counted(stream, &end.plugin, counted);
            self.made.touched.insert((*stream, end.plugin.clone()));
        }
        if let Some(space) = self.spaces.get_mut(&(*stream, end.plugin)) {
            space.overlay = end.overlay;
        }
        Ok(())
    }

    fn finish(self) -> Result<Applied, HostError> {
        let standing = |place: Place| {
            let standing = self.registry.find(&place.0, &place.1).map(|bound| bound.standing().clone());
            (place, standing)
        };
        let first = self.entries.first().map(|entry| entry.index);
        let cuts = self.entries.iter().map(|entry| entry.index).zip(&self.outcomes);
        let spaces = self.spaces.into_iter().map(|(place, space)| left(place, space));
        let spaces = spaces.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        let delta = Delta {
            first,
            entries: self.entries.len(),
            cuts: FreshList::of(cuts),
            effects: in_order(self.made.effects, |asked| asked.index),
            log: in_order(self.made.log, |line| line.index),
            refused: self.made.refused,
            standings: self.made.touched.into_iter().map(standing).collect(),
            spaces,
        };
        Ok(Applied { outcomes: self.outcomes, delta })
    }
}

/// Streams run one after the other; at one index only one of them has something.
fn in_order<T>(mut made: Vec<T>, index: impl Fn(&T) -> Index) -> Vec<T> {
    made.sort_by_key(index);
    made
}

fn left((stream, plugin): Place, space: Space) -> Result<Option<SpaceDelta>, HostError> {
    let cleared = space.cleared;
    let written = Arc::into_inner(space.overlay).ok_or_else(outlived)?.into_written();
    // In an empty space there is nothing to delete.
    let writes: Vec<Write> = written.into_iter().filter(|(_, value)| !cleared || value.is_some()).collect();
    let changed = cleared || !writes.is_empty();
    Ok(changed.then_some(SpaceDelta { stream, plugin, cleared, writes }))
}

/// How `init`, or all calls of `migrate`, ended.
pub(crate) struct Started {
    pub(crate) code: OutcomeCode,
    pub(crate) gas: u64,
    pub(crate) writes: Vec<Write>,
}

/// Calls `init`, or `migrate` until it is done. All its writes are kept, or none.
fn call<M: Machine>(
    instance: &Instance<M>,
    overlay: &mut Arc<Overlay>,
    from: Option<u32>,
    binding: &Binding,
    lines: &mut Vec<LogLine>,
) -> Result<Started, HostError> {
    let (config, mut gas, mut calls) = (binding.config.as_bytes(), 0_u64, 0);
    let code = loop {
        let view = Arc::clone(overlay);
        let chunk = match from {
            None => instance.init(config, view)?,
            Some(from) => instance.migrate(from, config, view)?,
        };
        calls += 1;
        gas = gas.saturating_add(chunk.gas);
        lines.extend(chunk.log);
        writable(overlay)?.extend(&chunk.writes, chunk.grown);
        if !chunk.again {
            break chunk.code;
        }
        if calls == MIGRATE_CALLS_MAX {
            break OutcomeCode::OutOfGas;
        }
    };
    let overlay = writable(overlay)?;
    let writes = if code.is_accepted() { overlay.commit() } else { Vec::new() };
    overlay.rollback();
    Ok(Started { code, gas, writes })
}

/// An overlay that no session reads any more.
pub(crate) fn writable(overlay: &mut Arc<Overlay>) -> Result<&mut Overlay, HostError> {
    Arc::get_mut(overlay).ok_or_else(outlived)
}

fn outlived() -> HostError {
    HostError::Engine("a session outlived its call".to_owned())
}

/// What an event's outcome says of one plugin.
pub(crate) type Records = Vec<BindingOutcome>;
