//! A follower whose outcomes can be said beforehand: it counts the events of each stream. Like the real one it has
//! memory that a restart takes, says in the outcome where it began anew, records that as its cuts, and follows what was
//! recorded.
#![allow(unreachable_pub, reason = "a module of a test")]
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tally_core::{Applied, Follower, FollowerError, FollowerRange, StoredEvent};
use tally_protocol::hash::{self, EffectsHash, EmitsHash, ModuleHash, ProfileId, StatesRoot};
use tally_protocol::id::{Index, PluginId, Stream, TreeSize};
use tally_protocol::outcome::{BindingOutcome, EMPTY_BODY, Outcome, OutcomeCode, writes_hash};
use tally_storage::keys::{EffectKey, PageKey};
use tally_storage::{Cuts, Engine, Outbox, PluginState, StatePages};

/// When a hook is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// A range is given.
    Given,
    /// Its outcomes are made.
    Made,
    /// They are stored.
    Stored,
}

type Hook = Box<dyn FnMut(Moment, &mut Applied) -> Result<(), FollowerError> + Send>;

/// What a test sees of a model, and what it changes.
#[derive(Default)]
pub struct Strings {
    /// Says where it began anew; else it never does.
    pub cuts: AtomicBool,
    /// Does not look at what was recorded.
    pub ignores_recorded: AtomicBool,
    /// Counts this much more at each event: another program than before.
    pub salt: AtomicU64,
    pub resets: AtomicU64,
    pub ranges: AtomicU64,
    /// Ranges whose events were applied before.
    pub replayed: AtomicU64,
    pub hook: Mutex<Option<Hook>>,
}

impl Strings {
    pub fn new(cuts: bool) -> Arc<Self> {
        let strings = Self::default();
        strings.cuts.store(cuts, Ordering::SeqCst);
        Arc::new(strings)
    }

    pub fn hook(&self, hook: impl FnMut(Moment, &mut Applied) -> Result<(), FollowerError> + Send + 'static) {
        *self.hook.lock().unwrap() = Some(Box::new(hook));
    }

    pub fn unhook(&self) {
        *self.hook.lock().unwrap() = None;
    }

    fn pull(&self, moment: Moment, applied: &mut Applied) -> Result<(), FollowerError> {
        // Taken out while it runs, and put back also behind a panic.
        let Some(mut hook) = self.hook.lock().unwrap().take() else { return Ok(()) };
        let result = catch_unwind(AssertUnwindSafe(|| hook(moment, applied)));
        self.hook.lock().unwrap().get_or_insert(hook);
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

pub struct Model {
    strings: Arc<Strings>,
    state: PluginState,
    outbox: Outbox,
    /// The memory that a restart takes.
    counts: HashMap<Stream, u64>,
    chain: Option<[u8; 32]>,
}

impl Model {
    pub fn over(engine: Arc<dyn Engine>, strings: &Arc<Strings>) -> Box<Self> {
        Box::new(Self {
            strings: Arc::clone(strings),
            state: PluginState::new(Arc::clone(&engine)),
            outbox: Outbox::new(engine),
            counts: HashMap::new(),
            chain: None,
        })
    }

    fn count(&self, stream: Stream) -> Result<u64, FollowerError> {
        let stored = || self.state.get((stream, &plugin()), b"count");
        self.counts.get(&stream).map_or_else(|| Ok(stored()?.map_or(0, |value| number(&value))), |count| Ok(*count))
    }

    fn applied(&mut self, range: &FollowerRange<'_>) -> Result<Applied, FollowerError> {
        let mut applied = Applied::default();
        let recorded = range.recorded_cuts.filter(|_| !self.strings.ignores_recorded.load(Ordering::SeqCst));
        let recorded: Option<BTreeSet<u64>> = recorded.map(indexes);
        let mut chain = match self.chain {
            Some(chain) => chain,
            None => self.state.get((Stream::LEDGER, &plugin()), b"chain")?.map_or([0; 32], |value| array(&value)),
        };
        let mut cuts = Vec::new();
        let mut touched = BTreeMap::new();
        for event in range.events {
            let stream = event.frame.stream();
            let mut body = Bytes::from_static(EMPTY_BODY);
            if !stream.is_control() {
                let fresh = recorded.as_ref().map_or_else(
                    || self.strings.cuts.load(Ordering::SeqCst) && !self.counts.contains_key(&stream),
                    |recorded| recorded.contains(&event.index.get()),
                );
                let count = self.count(stream)? + 1 + self.strings.salt.load(Ordering::SeqCst);
                self.counts.insert(stream, count);
                touched.insert(stream.to_bytes(), (stream, count));
                if fresh {
                    cuts.extend_from_slice(&event.index.get().to_be_bytes());
                }
                body = body_of(event, count, fresh);
                if count.is_multiple_of(10) {
                    self.outbox.put(&mut applied.batch, EffectKey { index: event.index, number: 0 }, "tell");
                }
            }
            chain = link(&chain, &body);
            applied.outcomes.push(body);
        }
        for (stream, count) in touched.values() {
            self.state.put(&mut applied.batch, (*stream, &plugin()), b"count", count.to_be_bytes().to_vec()).unwrap();
        }
        self.state.put(&mut applied.batch, (Stream::LEDGER, &plugin()), b"chain", chain.to_vec()).unwrap();
        self.chain = Some(chain);
        if !self.strings.ranges.load(Ordering::SeqCst).is_multiple_of(3) {
            let end = range.events.last().unwrap().index.get() + 1;
            applied.pages = vec![(page().encode(), Some([&end.to_be_bytes()[..], &chain].concat().into()))];
        }
        applied.cuts = cuts.into();
        applied.state_root = Some(StatesRoot::from_bytes(chain));
        Ok(applied)
    }
}

impl Follower for Model {
    fn reset(&mut self, _next: Index) -> Result<(), FollowerError> {
        self.strings.resets.fetch_add(1, Ordering::SeqCst);
        (self.counts, self.chain) = (HashMap::new(), None);
        Ok(())
    }

    fn apply(&mut self, range: FollowerRange<'_>) -> Result<Applied, FollowerError> {
        self.strings.ranges.fetch_add(1, Ordering::SeqCst);
        self.strings.replayed.fetch_add(u64::from(range.recorded_cuts.is_some()), Ordering::SeqCst);
        let strings = Arc::clone(&self.strings);
        strings.pull(Moment::Given, &mut Applied::default())?;
        let mut applied = self.applied(&range)?;
        strings.pull(Moment::Made, &mut applied)?;
        Ok(applied)
    }

    fn committed(&mut self, _upto: TreeSize) {
        let _ = self.strings.pull(Moment::Stored, &mut Applied::default());
    }
}

pub fn plugin() -> PluginId {
    PluginId::new("counter").unwrap()
}

/// Says now and then up to where it follows the chain, and how that was.
fn page() -> PageKey {
    PageKey { tree: None, name: Vec::new() }
}

/// What the page says: a size of the log, and the chain at it.
pub fn page_of(engine: &Arc<dyn Engine>) -> Option<(TreeSize, StatesRoot)> {
    let page = StatePages::new(Arc::clone(engine)).get(&page()).unwrap()?;
    let (end, chain) = page.split_at(8);
    Some((TreeSize::new(number(end)), StatesRoot::from_bytes(array(chain))))
}

fn body_of(event: &StoredEvent, count: u64, fresh: bool) -> Bytes {
    let value = count.to_be_bytes();
    let binding = BindingOutcome {
        plugin: plugin(),
        module: ModuleHash::from_bytes([1; 32]),
        profile: ProfileId::from_bytes([2; 32]),
        fresh,
        code: OutcomeCode::Accepted,
        gas: count,
        writes: writes_hash([(&b"count"[..], Some(&value[..]))]).unwrap(),
        emits: EmitsHash::from_bytes([3; 32]),
        effects: EffectsHash::from_bytes([4; 32]),
    };
    Outcome { event_leaf: event.leaf_hash(), bindings: vec![binding] }.encode().into()
}

fn link(chain: &[u8; 32], body: &[u8]) -> [u8; 32] {
    *hash::leaf(&[chain, body].concat()).as_bytes()
}

fn number(value: &[u8]) -> u64 {
    u64::from_be_bytes(value.try_into().unwrap())
}

fn array(value: &[u8]) -> [u8; 32] {
    value.try_into().unwrap()
}

fn indexes(cuts: &[u8]) -> BTreeSet<u64> {
    cuts.chunks(8).map(number).collect()
}

/// Every index that was recorded as begun anew.
pub fn recorded(engine: &Arc<dyn Engine>) -> BTreeSet<u64> {
    let cuts = Cuts::new(Arc::clone(engine));
    let mut found = BTreeSet::new();
    let mut next = Index::new(0);
    while let Some(range) = cuts.next(next).unwrap() {
        let inside = indexes(&range.cuts);
        assert!(inside.iter().all(|at| *at >= range.first.get() && range.end.holds(Index::new(*at))));
        found.extend(inside);
        next = Index::new(range.end.get());
    }
    found
}

/// What the events come to, said without a follower, a store or a tree.
pub struct Expected {
    /// From index 0 on.
    pub bodies: Vec<Bytes>,
    pub counts: HashMap<Stream, u64>,
    /// At each size, from size 1 on.
    pub chain: Vec<StatesRoot>,
    pub effects: Vec<EffectKey>,
}

pub fn expected(events: &[StoredEvent], fresh: &BTreeSet<u64>) -> Expected {
    let (mut counts, mut bodies, mut effects) = (HashMap::new(), vec![Bytes::from_static(EMPTY_BODY)], Vec::new());
    let mut chain = [0; 32];
    let mut chains = vec![StatesRoot::from_bytes(chain)];
    for event in events {
        let stream = event.frame.stream();
        let body = if stream.is_control() {
            Bytes::from_static(EMPTY_BODY)
        } else {
            let count = counts.entry(stream).or_insert(0);
            *count += 1;
            if *count % 10 == 0 {
                effects.push(EffectKey { index: event.index, number: 0 });
            }
            body_of(event, *count, fresh.contains(&event.index.get()))
        };
        chain = link(&chain, &body);
        chains.push(StatesRoot::from_bytes(chain));
        bodies.push(body);
    }
    Expected { bodies, counts, chain: chains, effects }
}
