//! The log executed anew, from nothing, against what is claimed: the auditor's proof of honest execution.
//!
//! Takes the entries of the log with the outcomes that are claimed for them, in order, and the roots over all that are
//! claimed between them; re-executes every module along the claimed cuts; names the first [`Difference`]. It reads
//! [`LOOK_AHEAD`] entries ahead, because a range can be executed alone only from a place where every instance is fresh,
//! and an honest host has one every [`RANGE_ENTRIES_MAX`].

use core::fmt;
use std::collections::{BTreeMap, VecDeque};

use tally_merkle::sparse::StatesRoot;
use tally_protocol::id::{Index, PluginId, Stream};
use tally_protocol::outcome::{BindingOutcome, LimitKind, Outcome, OutcomeCode};

use crate::apply::{Applied, FreshList, Keys, Logged, RANGE_ENTRIES_MAX, RangeCuts, apply};
use crate::error::HostError;
use crate::memory::Memory;
use crate::registry::{Loader, Registry, limits_of};

/// Entries that are read before any of them is executed: two ranges to find a cut in, one to see that no instance goes
/// on across it.
pub const LOOK_AHEAD: usize = 3 * RANGE_ENTRIES_MAX;

/// A field of a binding's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// The module.
    Module,
    /// The profile.
    Profile,
    /// The cut.
    Fresh,
    /// The code.
    Code,
    /// The gas.
    Gas,
    /// What was written.
    Writes,
    /// What was emitted.
    Emits,
    /// What effects were asked for.
    Effects,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Module => "module",
            Self::Profile => "profile",
            Self::Fresh => "fresh",
            Self::Code => "code",
            Self::Gas => "gas",
            Self::Writes => "writes",
            Self::Emits => "emits",
            Self::Effects => "effects",
        })
    }
}

/// The first thing that is claimed otherwise than it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// The outcome is of another entry.
    #[error("entry {index}: the outcome is of another entry")]
    Leaf {
        /// The entry.
        index: Index,
    },
    /// A plugin took part, and the claim does not say so, or in another place.
    #[error("entry {index}: {plugin} took part, against the claim")]
    Missing {
        /// The entry.
        index: Index,
        /// The plugin.
        plugin: PluginId,
    },
    /// The claim has a plugin that did not take part there.
    #[error("entry {index}: {plugin} did not take part")]
    Surplus {
        /// The entry.
        index: Index,
        /// The plugin.
        plugin: PluginId,
    },
    /// A field of a record.
    #[error("entry {index}: {plugin}: {field} is {computed}, claimed {claimed}")]
    Record {
        /// The entry.
        index: Index,
        /// The plugin.
        plugin: PluginId,
        /// Which field.
        field: Field,
        /// What is claimed.
        claimed: String,
        /// What it is.
        computed: String,
    },
    /// The root over all.
    #[error("before entry {index}: the root over all is {computed}, claimed {claimed}")]
    StatesRoot {
        /// The first entry that is not under it.
        index: Index,
        /// What is claimed.
        claimed: StatesRoot,
        /// What it is.
        computed: StatesRoot,
    },
    /// No place near here where every instance is fresh, so an instance is claimed to live longer than any may.
    #[error("entry {index}: no common cut within {} entries", 2 * RANGE_ENTRIES_MAX)]
    NoCut {
        /// Where the search began.
        index: Index,
    },
}

/// Why a replay ends early.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The claim is wrong.
    #[error("{0}")]
    Differs(#[from] Difference),
    /// The replay cannot go on; nothing is shown about the claim.
    #[error(transparent)]
    Host(#[from] HostError),
}

/// A replay on its way.
pub struct Replay<L: Loader, K> {
    registry: Registry<L>,
    keys: K,
    memory: Memory,
    waiting: VecDeque<(Logged, Outcome)>,
    /// Roots that are claimed, by the first entry that is not under them.
    roots: BTreeMap<Index, StatesRoot>,
}

impl<L: Loader, K: Keys + Clone> Replay<L, K> {
    /// From an empty registry: the log from its first entry.
    #[must_use]
    pub fn new(registry: Registry<L>, keys: K) -> Self {
        Self::resume(registry, keys, Memory::new())
    }

    /// From a place that is trusted, with the registry, the keys and the state there.
    #[must_use]
    pub const fn resume(registry: Registry<L>, keys: K, memory: Memory) -> Self {
        Self { registry, keys, memory, waiting: VecDeque::new(), roots: BTreeMap::new() }
    }

    /// Claims a root over all before this entry, which is not pushed yet.
    pub fn claim_root(&mut self, before: Index, root: StatesRoot) {
        self.roots.insert(before, root);
    }

    /// The next entry, and the outcome that is claimed for it.
    ///
    /// # Errors
    /// The first difference so far, or the host cannot go on.
    pub fn push(&mut self, entry: Logged, claimed: Outcome) -> Result<(), ReplayError> {
        if entry.leaf != claimed.event_leaf {
            return Err(Difference::Leaf { index: entry.index }.into());
        }
        self.waiting.push_back((entry, claimed));
        if self.waiting.len() < LOOK_AHEAD {
            return Ok(());
        }
        let cuts = self.common_cuts();
        let furthest = cuts.iter().copied().find(|at| *at <= 2 * RANGE_ENTRIES_MAX);
        match (self.waiting.front(), furthest) {
            (Some((first, _)), None) => Err(Difference::NoCut { index: first.index }.into()),
            (_, furthest) => self.execute(furthest.unwrap_or(0), &cuts),
        }
    }

    /// The end of the log: executes what waits. Gives the state.
    ///
    /// # Errors
    /// The first difference, or the host cannot go on.
    pub fn finish(mut self) -> Result<Memory, ReplayError> {
        let mut cuts = self.common_cuts();
        cuts.insert(0, self.waiting.len());
        self.execute(self.waiting.len(), &cuts)?;
        Ok(self.memory)
    }

    /// The places before which everything can be executed alone, the furthest first: every binding's next record behind
    /// them is of a fresh instance.
    fn common_cuts(&self) -> Vec<usize> {
        let mut goes_on: BTreeMap<(Stream, &PluginId), bool> = BTreeMap::new();
        let (mut open, mut cuts) = (0_usize, Vec::new());
        for (at, (entry, outcome)) in self.waiting.iter().enumerate().rev() {
            if let Some(event) = &entry.event {
                for binding in outcome.bindings.iter().filter(|binding| !self.is_unseen(&event.stream, binding)) {
                    let before = goes_on.insert((event.stream, &binding.plugin), !binding.fresh).unwrap_or(false);
                    open = open + usize::from(!binding.fresh) - usize::from(before);
                }
            }
            if open == 0 && at > 0 {
                cuts.push(at);
            }
        }
        cuts
    }

    /// Whether a record is of an event that was too long to be shown, and of nothing else: then no instance goes on there,
    /// and none is new. Beside a run of its own it would have cost more than one event may.
    fn is_unseen(&self, stream: &Stream, record: &BindingOutcome) -> bool {
        if record.fresh || record.code != OutcomeCode::Limit(LimitKind::EventBytes) {
            return false;
        }
        // Not bound yet, as far as was executed: it has the defaults, or is taken for one that goes on.
        let bound = self.registry.find(stream, &record.plugin);
        let limits = bound.and_then(|bound| limits_of(&bound.standing().binding).ok()).unwrap_or_default();
        record.gas == limits.gas
    }

    /// Executes so many entries, in pieces that end where a root is claimed.
    fn execute(&mut self, count: usize, cuts: &[usize]) -> Result<(), ReplayError> {
        let Some(first) = self.waiting.front().map(|(entry, _)| entry.index) else { return Ok(()) };
        let (mut done, mut claimed) = (0, self.roots.split_off(&Index::new(first.get() + 1)));
        self.roots = claimed.split_off(&Index::new(first.get() + count as u64 + 1));
        for (index, root) in claimed {
            let at = usize::try_from(index.get() - first.get()).unwrap_or(count);
            // A root is signed where a range ended, and there every instance is cut.
            if !cuts.contains(&at) {
                return Err(Difference::NoCut { index }.into());
            }
            let computed = self.range(at - done)?;
            if computed != root {
                return Err(Difference::StatesRoot { index, claimed: root, computed }.into());
            }
            done = at;
        }
        self.range(count - done).map(|_| ())
    }

    /// Executes so many entries; gives the root over all behind them.
    fn range(&mut self, count: usize) -> Result<StatesRoot, ReplayError> {
        let (entries, claims): (Vec<Logged>, Vec<Outcome>) = self.waiting.drain(..count).unzip();
        let (applied, unfollowed) = self.follow(&entries, &claims)?;
        for ((entry, claimed), computed) in entries.iter().zip(&claims).zip(&applied.outcomes) {
            compare(entry.index, claimed, computed)?;
        }
        if let Some(difference) = unfollowed {
            return Err(difference.into());
        }
        let states = applied.delta.trees(&self.memory)?;
        self.memory.take(&applied.delta, &states);
        Ok(states.root)
    }

    /// Applies a range, or what of it comes before the first claimed cut that cannot be followed. Streams are applied one
    /// after the other, so what is found first need not be what comes first in the log.
    fn follow(&mut self, entries: &[Logged], claims: &[Outcome]) -> Result<(Applied, Option<Difference>), HostError> {
        let list = FreshList::of(entries.iter().map(|entry| entry.index).zip(claims));
        let (register, keys) = (self.registry.register().clone(), self.keys.clone());
        let (mut end, mut found) = (entries.len(), None);
        loop {
            let cuts = RangeCuts::Recorded(&list);
            match apply(&mut self.registry, &entries[..end], &mut self.keys, &self.memory, cuts) {
                Err(HostError::Recorded { index, plugin }) => {
                    let at = entries[..end].iter().position(|entry| entry.index == index);
                    end = at.ok_or(HostError::Range(index))?;
                    found = Some(unfollowed(index, plugin, &claims[end]));
                    self.registry.rewind(register.clone(), self.memory.standings())?;
                    self.keys = keys.clone();
                }
                applied => return Ok((applied?, found)),
            }
        }
    }
}

/// A claimed cut that cannot be followed.
fn unfollowed(index: Index, plugin: PluginId, claimed: &Outcome) -> Difference {
    match claimed.bindings.iter().find(|binding| binding.plugin == plugin) {
        None => Difference::Missing { index, plugin },
        Some(binding) => {
            let (claimed, computed) = (binding.fresh.to_string(), (!binding.fresh).to_string());
            Difference::Record { index, plugin, field: Field::Fresh, claimed, computed }
        }
    }
}

/// The first difference of two outcomes of one entry.
///
/// # Errors
/// There is one.
pub fn compare(index: Index, claimed: &Outcome, computed: &Outcome) -> Result<(), Difference> {
    if claimed.event_leaf != computed.event_leaf {
        return Err(Difference::Leaf { index });
    }
    for (at, computed) in computed.bindings.iter().enumerate() {
        match claimed.bindings.get(at) {
            Some(claimed) if claimed.plugin == computed.plugin => compare_record(index, claimed, computed)?,
            _ => return Err(Difference::Missing { index, plugin: computed.plugin.clone() }),
        }
    }
    match claimed.bindings.get(computed.bindings.len()) {
        Some(surplus) => Err(Difference::Surplus { index, plugin: surplus.plugin.clone() }),
        None => Ok(()),
    }
}

fn compare_record(index: Index, claimed: &BindingOutcome, computed: &BindingOutcome) -> Result<(), Difference> {
    let texts = |binding: &BindingOutcome| {
        [
            (Field::Module, binding.module.to_string()),
            (Field::Profile, binding.profile.to_string()),
            (Field::Fresh, binding.fresh.to_string()),
            (Field::Code, binding.code.to_string()),
            (Field::Gas, binding.gas.to_string()),
            (Field::Writes, binding.writes.to_string()),
            (Field::Emits, binding.emits.to_string()),
            (Field::Effects, binding.effects.to_string()),
        ]
    };
    if claimed == computed {
        return Ok(());
    }
    for ((field, claimed), (_, was)) in texts(claimed).into_iter().zip(texts(computed)) {
        if claimed != was {
            let plugin = computed.plugin.clone();
            return Err(Difference::Record { index, plugin, field, claimed, computed: was });
        }
    }
    Ok(())
}
