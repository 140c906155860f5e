//! A follower for the door's tests: it counts the events of each stream and keeps the count as state. Deterministic, and
//! no claim about plugins; what is tested with it is how outcomes and state are served.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;
use tally_core::{Applied, Follower, FollowerError, FollowerRange, StoredEvent};
use tally_merkle::sparse::{MemoryPages, StateAnswer, StateChange, StateNode, prove, tree_change, update};
use tally_protocol::hash::{EffectsHash, EmitsHash, ModuleHash, ProfileId, StatesRoot, state_key, state_tree};
use tally_protocol::id::{Index, PluginId, Stream, TreeSize};
use tally_protocol::outcome::{BindingOutcome, EMPTY_BODY, Outcome, OutcomeCode, Reason, writes_hash};

/// The one key.
pub const COUNT: &[u8] = b"count";
/// What an event must hold to be refused.
const REFUSED: &[u8] = b"refuse";
/// What stands before the code of a refusal that is not the usual one; a quote ends it.
const REFUSED_AS: &[u8] = b"refuse-as:";

pub fn counter() -> PluginId {
    PluginId::new("counter").unwrap()
}

#[derive(Clone)]
struct Tree {
    root: StateNode,
    pages: MemoryPages,
}

impl Default for Tree {
    fn default() -> Self {
        Self { root: StateNode::EMPTY, pages: MemoryPages::new() }
    }
}

impl Tree {
    fn change(&mut self, changes: &[StateChange]) {
        let update = update(&self.pages, &self.root, changes).unwrap();
        self.root = update.root;
        self.pages.apply(update);
    }
}

/// Everything that is held after so many events.
#[derive(Clone, Default)]
pub struct State {
    pub applied: TreeSize,
    counts: BTreeMap<[u8; 32], u64>,
    trees: BTreeMap<[u8; 32], Tree>,
    all: Tree,
}

impl State {
    pub fn root(&self) -> StatesRoot {
        self.all.root.states_root()
    }

    pub fn count(&self, stream: Stream) -> Option<u64> {
        self.counts.get(&stream.to_bytes()).copied()
    }

    fn set(&mut self, stream: Stream, count: u64) {
        self.counts.insert(stream.to_bytes(), count);
        let tree = self.trees.entry(stream.to_bytes()).or_default();
        tree.change(&StateChange::many(&[(COUNT, Some(&count.to_be_bytes()))]));
        let change = tree_change(&stream, &counter(), &tree.root);
        self.all.change(&[change]);
    }

    /// What is under a key of a plugin, and the proof.
    pub fn read(&self, stream: Stream, plugin: &PluginId, key: &[u8]) -> (Option<Bytes>, StateAnswer) {
        let above = prove(&self.all.pages, &self.all.root, &state_tree(&stream, plugin)).unwrap();
        match self.trees.get(&stream.to_bytes()).filter(|_| *plugin == counter()) {
            None => (None, StateAnswer::NoTree(above)),
            Some(tree) => {
                let value = self.count(stream).filter(|_| key == COUNT);
                let below = prove(&tree.pages, &tree.root, &state_key(key)).unwrap();
                (
                    value.map(|count| Bytes::from(count.to_be_bytes().to_vec())),
                    StateAnswer::InTree { tree: above, key: below },
                )
            }
        }
    }
}

/// What a test sees of it, and what it changes.
#[derive(Default)]
pub struct Counting {
    state: Mutex<State>,
    /// Fails at the next range.
    pub fails: AtomicBool,
    held: Mutex<bool>,
    released: Condvar,
}

impl Counting {
    pub fn state(&self) -> State {
        self.state.lock().unwrap().clone()
    }

    /// Applies nothing until it is released.
    pub fn hold(&self) {
        *self.held.lock().unwrap() = true;
    }

    pub fn release(&self) {
        *self.held.lock().unwrap() = false;
        self.released.notify_all();
    }
}

pub struct CountingFollower {
    shared: Arc<Counting>,
    made: Option<State>,
}

impl CountingFollower {
    pub fn new(shared: &Arc<Counting>) -> Box<Self> {
        Box::new(Self { shared: Arc::clone(shared), made: None })
    }
}

impl Follower for CountingFollower {
    fn reset(&mut self, next: Index) -> Result<(), FollowerError> {
        self.made = None;
        assert!(next.get() <= self.shared.state().applied.get().max(1), "these tests restart no node");
        Ok(())
    }

    fn apply(&mut self, range: FollowerRange<'_>) -> Result<Applied, FollowerError> {
        let held = self.shared.held.lock().unwrap();
        drop(self.shared.released.wait_while(held, |held| *held).unwrap());
        if self.shared.fails.swap(false, Ordering::SeqCst) {
            return Err(FollowerError::Stopped("the counter has lost its beads".to_owned()));
        }
        let mut state = self.shared.state();
        let mut applied = Applied::default();
        for event in range.events {
            applied.outcomes.push(outcome(&mut state, event));
            state.applied = TreeSize::new(event.index.get() + 1);
        }
        applied.state_root = Some(state.root());
        self.made = Some(state);
        Ok(applied)
    }

    fn committed(&mut self, upto: TreeSize) {
        let made = self.made.take().unwrap();
        assert_eq!(made.applied, upto);
        *self.shared.state.lock().unwrap() = made;
    }
}

fn refusal(payload: &[u8]) -> OutcomeCode {
    let at = payload.windows(REFUSED_AS.len()).position(|window| window == REFUSED_AS);
    let code = at.and_then(|at| payload[at + REFUSED_AS.len()..].split(|byte| *byte == b'"').next());
    match code.unwrap_or(b"unwanted") {
        b"trapped" => OutcomeCode::Trapped,
        code => OutcomeCode::Rejected(Reason::new(code).unwrap()),
    }
}

fn outcome(state: &mut State, event: &StoredEvent) -> Bytes {
    let stream = event.frame.stream();
    if stream.is_control() {
        return Bytes::from_static(EMPTY_BODY);
    }
    let refused = event.frame.payload().windows(REFUSED.len()).any(|window| window == REFUSED);
    let count = state.count(stream).unwrap_or(0) + u64::from(!refused);
    let value = count.to_be_bytes();
    let written = [(COUNT, Some(&value[..]))];
    let (code, writes) = if refused {
        (refusal(event.frame.payload()), writes_hash([]).unwrap())
    } else {
        state.set(stream, count);
        (OutcomeCode::Accepted, writes_hash(written).unwrap())
    };
    let binding = BindingOutcome {
        plugin: counter(),
        module: ModuleHash::from_bytes([1; 32]),
        profile: ProfileId::from_bytes([2; 32]),
        fresh: false,
        code,
        gas: event.frame.payload().len() as u64,
        writes,
        emits: EmitsHash::from_bytes([3; 32]),
        effects: EffectsHash::from_bytes([4; 32]),
    };
    Outcome { event_leaf: event.leaf_hash(), bindings: vec![binding] }.encode().into()
}
