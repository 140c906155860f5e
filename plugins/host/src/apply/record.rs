//! One record per binding out of its runs at an event: what outcome.md says of a binding that takes part more than once.
//!
//! Takes the parts in the order in which they ran; gives records in install order. Write sets are hashed many at once, so a
//! record waits for its hash in [`WriteSets`]. Pure, fails at nothing.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use tally_protocol::hash::{self, EffectsHash, EmitsHash, ModuleHash, ProfileId, WritesHash};
use tally_protocol::id::PluginId;
use tally_protocol::outcome::{BindingOutcome, OutcomeCode, write_set, writes_hash, writes_hashes};
use tally_protocol::plugin_event::Binding;

use super::Started;
use crate::overlay::Write;
use crate::session::{Effect, Emit};

/// One run of a binding at an event, by itself or by an emit.
pub(super) struct Part {
    /// Its place in install order.
    pub(super) runner: usize,
    pub(super) fresh: bool,
    pub(super) code: OutcomeCode,
    pub(super) gas: u64,
    pub(super) writes: Vec<Write>,
    pub(super) emits: Vec<Emit>,
    pub(super) effects: Vec<Effect>,
}

impl Part {
    /// Its tree failed: nothing of it is kept, and if it was accepted it is so no more. Its gas is charged.
    pub(super) fn undo(&mut self) {
        if self.code.is_accepted() {
            self.code = OutcomeCode::DependencyRejected;
        }
        (self.writes, self.emits, self.effects) = (Vec::new(), Vec::new(), Vec::new());
    }
}

/// Who a record is about.
pub(super) struct Name {
    pub(super) plugin: PluginId,
    pub(super) module: ModuleHash,
    pub(super) profile: ProfileId,
}

/// So many bytes of write sets wait to be hashed.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// Write sets that are not hashed yet, and the records that wait for them.
#[derive(Default)]
pub(super) struct WriteSets {
    bytes: Vec<u8>,
    /// Of each: where it ends, the stream's event, the record's place among the event's.
    ends: Vec<(usize, usize, usize)>,
}

impl WriteSets {
    fn add(&mut self, writes: &[Write], at: usize, place: usize) {
        let pairs = writes.iter().map(|(key, value)| (&key[..], value.as_deref()));
        write_set(pairs, &mut self.bytes).expect("a journal and a map are in the order of their keys");
        self.ends.push((self.bytes.len(), at, place));
    }

    pub(super) const fn is_full(&self) -> bool {
        self.bytes.len() >= WAITING_BYTES_MAX
    }

    /// Hashes them; gives each record's hash to it.
    pub(super) fn settle(&mut self, mut give: impl FnMut(usize, usize, WritesHash)) {
        let starts = core::iter::once(0).chain(self.ends.iter().map(|(end, ..)| *end));
        let sets = starts.zip(&self.ends).map(|(start, (end, ..))| &self.bytes[start..*end]);
        let hashes = writes_hashes(sets);
        for ((_, at, place), hash) in self.ends.drain(..).zip(hashes) {
            give(at, place, hash);
        }
        self.bytes.clear();
    }
}

/// The record of a binding's parts, of which there is at least one: the `place`th of the stream's event `at`. Its write set
/// is hashed later.
pub(super) fn record(name: &Name, parts: &[Part], (at, place): (usize, usize), sets: &mut WriteSets) -> BindingOutcome {
    match set_of(parts) {
        Set::Empty => {}
        Set::Of(writes) => sets.add(writes, at, place),
        Set::Merged(writes) => sets.add(&writes, at, place),
    }
    record_with(name, parts, *NO_WRITES)
}

fn record_with(name: &Name, parts: &[Part], writes: WritesHash) -> BindingOutcome {
    let code = parts.iter().map(|part| &part.code).find(|code| !code.is_accepted());
    BindingOutcome {
        plugin: name.plugin.clone(),
        module: name.module,
        profile: name.profile,
        fresh: parts.first().is_some_and(|part| part.fresh),
        code: code.cloned().unwrap_or(OutcomeCode::Accepted),
        gas: parts.iter().fold(0, |gas, part| gas.saturating_add(part.gas)),
        writes,
        emits: emits_of(parts),
        effects: effects_of(parts),
    }
}

/// The record of `init` or `migrate`: always in a new instance.
pub(super) fn lifecycle_record(binding: &Binding, started: Started) -> BindingOutcome {
    let name = Name { plugin: binding.plugin.clone(), module: binding.module, profile: binding.profile };
    let Started { code, gas, writes } = started;
    let hash = ordered(&writes);
    let part = Part { runner: 0, fresh: true, code, gas, writes, emits: Vec::new(), effects: Vec::new() };
    record_with(&name, &[part], hash)
}

static NO_WRITES: LazyLock<WritesHash> = LazyLock::new(|| ordered(&[]));
static NO_EMITS: LazyLock<EmitsHash> = LazyLock::new(|| hash::emits(core::iter::empty()));
static NO_EFFECTS: LazyLock<EffectsHash> = LazyLock::new(|| hash::effects(core::iter::empty()));

fn ordered(writes: &[Write]) -> WritesHash {
    let pairs = writes.iter().map(|(key, value)| (&key[..], value.as_deref()));
    writes_hash(pairs).expect("a journal and a map are in the order of their keys")
}

/// What a binding wrote at an event.
enum Set<'p> {
    Empty,
    Of(&'p [Write]),
    Merged(Vec<Write>),
}

fn set_of(parts: &[Part]) -> Set<'_> {
    let mut writing = parts.iter().filter(|part| !part.writes.is_empty());
    match (writing.next(), writing.next()) {
        (None, _) => Set::Empty,
        (Some(part), None) => Set::Of(&part.writes),
        _ => {
            // Of several writes to one key the last counts.
            let all: BTreeMap<Bytes, Option<Bytes>> =
                parts.iter().flat_map(|part| part.writes.iter().cloned()).collect();
            Set::Merged(all.into_iter().collect())
        }
    }
}

fn emits_of(parts: &[Part]) -> EmitsHash {
    if parts.iter().all(|part| part.emits.is_empty()) {
        return *NO_EMITS;
    }
    hash::emits(parts.iter().flat_map(|part| &part.emits).map(|emit| (emit.event_type.as_str(), &emit.body[..])))
}

fn effects_of(parts: &[Part]) -> EffectsHash {
    if parts.iter().all(|part| part.effects.is_empty()) {
        return *NO_EFFECTS;
    }
    let effects = parts.iter().flat_map(|part| &part.effects);
    hash::effects(effects.map(|effect| (&effect.id, effect.kind.as_str(), &effect.body[..])))
}
