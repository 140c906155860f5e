//! Ordering. Takes verified submissions, gives ordered runs; index, sequence and log time are born here and nowhere
//! else (law 2). Moves `ordered`. One thread, no locks on the way of an ordinary event.
//!
//! For each event, in this order: is it a duplicate (its first receipt, or a conflict), is `created_at` too far ahead,
//! is its key valid now (a revocation earlier in the same run already counts), does its store take its entity type (so
//! does a list or a plugin of the same run), may it change control state. Only then it gets its place, so a refused event
//! leaves no gap.
//!
//! While the disk syncs one run, the next one fills. A log time that would follow a stepped wall clock stops ordering
//! with an alarm: log time never falls, so a jump could never be taken back.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, select};
use tally_protocol::error::{Reject, RejectCode};
use tally_protocol::frame::Frame;
use tally_protocol::hash::SigningHash;
use tally_protocol::id::{AgentId, EventId, Index, KeyId, Sequence, Stream};
use tally_protocol::key::PublicKey;
use tally_protocol::limits::{CREATED_AT_SKEW, EVENTS_PER_REQUEST_MAX, RUN_BYTES_MAX, RUN_EVENTS_MAX};
use tally_protocol::time::LogTime;
use tally_storage::StorageError;

use crate::admit::Reply;
use crate::clock::StepGuard;
use crate::control::{Change, Control, KeyRecord};
use crate::entity_types::{self, EntityTypes};
use crate::failpoint;
use crate::fast_hash::FastHash;
use crate::shared::{Shared, read, write};
use crate::verify::{Verified, VerifiedEvent};
use crate::watermarks::Rung;

/// An event with its place.
#[derive(Debug)]
pub(crate) struct OrderedEvent {
    pub(crate) index: Index,
    pub(crate) sequence: Sequence,
    pub(crate) sequenced_at: LogTime,
    pub(crate) signing_hash: SigningHash,
    pub(crate) public_key: PublicKey,
    pub(crate) control: bool,
    pub(crate) frame: Frame,
}

/// What became of one event of a submission.
pub(crate) enum Slot {
    /// It is event number `n` of this run.
    New(usize),
    /// It is in the log already, at this index.
    Duplicate(Index),
    /// It is not in the log.
    Rejected(Reject),
}

/// A submission that waits for its run's certificate.
pub(crate) struct Pending {
    pub(crate) reply: Reply,
    pub(crate) slots: Vec<Slot>,
}

/// Events that are committed together. May hold no events, only answers that wait their turn.
#[derive(Default)]
pub(crate) struct OrderedRun {
    pub(crate) first: Index,
    pub(crate) events: Vec<OrderedEvent>,
    pub(crate) pending: Vec<Pending>,
    /// The last sequence of each stream in this run.
    pub(crate) streams: HashMap<Stream, Sequence, FastHash>,
    bytes: usize,
}

impl OrderedRun {
    pub(crate) fn has_room(&self) -> bool {
        // A submission is never cut, so the bound on events leaves room for a whole one.
        self.events.len() + EVENTS_PER_REQUEST_MAX <= RUN_EVENTS_MAX
            && self.bytes < RUN_BYTES_MAX
            && self.pending.len() < RUN_EVENTS_MAX
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    #[cfg(feature = "stepped")]
    pub(crate) fn submissions(&self) -> usize {
        self.pending.len()
    }
}

/// What ordering remembers between events.
pub(crate) struct Orderer {
    shared: Arc<Shared>,
    guard: StepGuard,
    next: Index,
    last_time: LogTime,
    heads: HashMap<Stream, Sequence>,
    window: Window,
    /// What control state says of writers; forgotten whenever control state changes, which only this thread does. So an
    /// ordinary event takes no lock.
    writers: HashMap<Writer, Known, FastHash>,
}

/// What an ordinary event is held against: its writer's key, and what its store takes.
struct Known {
    key: KeyRecord,
    entity_types: Option<Arc<EntityTypes>>,
}

/// An ordinary stream with one agent's key: who may write.
type Writer = (Stream, AgentId, KeyId);

/// Writers remembered at the most; past it all are forgotten and looked up again.
const WRITERS_MAX: usize = 65_536;

fn no_such_key() -> Reject {
    Reject::new(RejectCode::AgentKeyInvalid, "the agent has no such key")
}

/// Whether the event was verified under this key, and the key is valid now.
fn usable(key: &KeyRecord, event: &VerifiedEvent, now: LogTime) -> Result<(), Reject> {
    if key.public_key != event.public_key() {
        return Err(no_such_key());
    }
    debug_assert!(key.generation >= event.generation());
    match key.invalid_at(now) {
        Some(why) => Err(Reject::new(RejectCode::AgentKeyInvalid, why)),
        None => Ok(()),
    }
}

/// Where recovery left the log.
pub(crate) struct OrderStart {
    pub(crate) next: Index,
    pub(crate) last_time: LogTime,
    pub(crate) heads: HashMap<Stream, Sequence>,
    pub(crate) window: Window,
}

/// Ids of events that the derived index may not hold yet. The index's cursor moves its lower end.
#[derive(Default)]
pub(crate) struct Window {
    ids: HashMap<(Stream, EventId), (Index, SigningHash), FastHash>,
    order: VecDeque<(Index, Stream, EventId)>,
}

impl Window {
    pub(crate) fn insert(&mut self, stream: Stream, event: EventId, index: Index, signing_hash: SigningHash) {
        self.ids.insert((stream, event), (index, signing_hash));
        self.order.push_back((index, stream, event));
    }

    fn forget_below(&mut self, cursor: Index) {
        while let Some((index, stream, event)) = self.order.front().copied() {
            if index >= cursor {
                break;
            }
            self.order.pop_front();
            self.ids.remove(&(stream, event));
        }
    }

    fn len(&self) -> usize {
        self.order.len()
    }
}

/// Why ordering stopped for good.
enum Halt {
    Storage(StorageError),
    ClockStep(i128),
}

impl std::fmt::Display for Halt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Storage(error) => write!(f, "failed to look up event ids: {error}"),
            Self::ClockStep(step) => write!(
                f,
                "the wall clock stepped by {} ms against the monotonic clock; log time must not follow it",
                step / 1000
            ),
        }
    }
}

/// The ordering thread's life: until the verifiers are gone or the node is poisoned.
pub(crate) fn run(mut orderer: Orderer, queue: &Receiver<Verified>, next: &Sender<OrderedRun>) {
    let mut run = orderer.new_run();
    loop {
        let taken = if run.is_empty() {
            queue.recv().ok()
        } else if run.has_room() {
            // The append stage takes a run as soon as it is free; until then this one grows.
            select! {
                send(next, std::mem::take(&mut run)) -> sent => {
                    if sent.is_err() { return; }
                    run = orderer.new_run();
                    continue;
                }
                recv(queue) -> taken => taken.ok(),
            }
        } else {
            if next.send(run).is_err() {
                return;
            }
            run = orderer.new_run();
            continue;
        };
        let Some(verified) = taken else {
            if !run.is_empty() {
                let _ = next.send(run);
            }
            return;
        };
        if !orderer.order(&mut run, verified) {
            return;
        }
    }
}

impl Orderer {
    pub(crate) fn new(shared: Arc<Shared>, start: OrderStart) -> Self {
        let guard = StepGuard::new(shared.clock.as_ref());
        let OrderStart { next, last_time, heads, window } = start;
        Self { shared, guard, next, last_time, heads, window, writers: HashMap::default() }
    }

    pub(crate) fn new_run(&self) -> OrderedRun {
        OrderedRun { first: self.next, ..OrderedRun::default() }
    }

    /// Orders one submission into the run; `false`: ordering stopped for good, and the node is poisoned.
    pub(crate) fn order(&mut self, run: &mut OrderedRun, verified: Verified) -> bool {
        let Verified { events, reply } = verified;
        match self.place_all(run, events) {
            Ok(slots) => {
                self.count(&slots);
                run.pending.push(Pending { reply, slots });
                self.shared.watermarks.raise(Rung::Ordered, self.next_size());
                failpoint::hit("order.assigned");
                true
            }
            Err(halt) => {
                // Before the ticket is dropped: whoever learns that an outcome is unknown finds the node poisoned.
                self.shared.watermarks.poison(&halt.to_string());
                drop(reply);
                false
            }
        }
    }

    fn place_all(
        &mut self,
        run: &mut OrderedRun,
        events: Vec<Result<VerifiedEvent, Reject>>,
    ) -> Result<Vec<Slot>, Halt> {
        self.wait_for_indexes();
        let wall = self.guard.read(self.shared.clock.as_ref()).map_err(Halt::ClockStep)?;
        let now = self.last_time.max(wall);
        let known = self.look_up(&events).map_err(Halt::Storage)?;
        let mut slots = Vec::with_capacity(events.len());
        for (event, known) in events.into_iter().zip(known) {
            slots.push(match event {
                Ok(event) => self.place(run, event, known, now).map_err(Halt::Storage)?,
                Err(reject) => Slot::Rejected(reject),
            });
        }
        Ok(slots)
    }

    fn count(&self, slots: &[Slot]) {
        let count = |of: fn(&Slot) -> bool| slots.iter().filter(|slot| of(slot)).count() as u64;
        let metrics = &self.shared.metrics;
        metrics.events_accepted.add(count(|slot| matches!(slot, Slot::New(_))));
        metrics.events_duplicate.add(count(|slot| matches!(slot, Slot::Duplicate(_))));
        metrics.events_rejected.add(count(|slot| matches!(slot, Slot::Rejected(_))));
    }

    fn next_size(&self) -> tally_protocol::id::TreeSize {
        tally_protocol::id::TreeSize::new(self.next.get())
    }

    /// Bounds the window: past the allowed lag, ordering waits for the indexes.
    fn wait_for_indexes(&mut self) {
        loop {
            let cursor = self.shared.index_cursor.load(Ordering::Acquire);
            let lag = self.next.get().saturating_sub(cursor);
            self.shared.metrics.index_lag_events.set(lag);
            self.window.forget_below(Index::new(cursor));
            self.shared.metrics.window_ids.set(self.window.len() as u64);
            if lag <= self.shared.config.index_lag_events_max || !self.shared.watermarks.may_work() {
                return;
            }
            self.shared.indexed.wait(Duration::from_millis(20));
        }
    }

    /// Whether [`Self::order`] would wait for the indexes.
    #[cfg(feature = "stepped")]
    pub(crate) fn must_wait(&self) -> bool {
        let lag = self.next.get().saturating_sub(self.shared.index_cursor.load(Ordering::Acquire));
        lag > self.shared.config.index_lag_events_max && self.shared.watermarks.may_work()
    }

    #[cfg(feature = "stepped")]
    pub(crate) fn plant_forgotten_window(&mut self) {
        self.window = Window::default();
    }

    /// Where the derived index knows the events of a submission, with one look-up for all that the window does not
    /// hold. Entries leave the window only when the index holds them, so together they know everything.
    fn look_up(&self, events: &[Result<VerifiedEvent, Reject>]) -> Result<Vec<Option<Index>>, StorageError> {
        let mut known = vec![None; events.len()];
        let mut asked = Vec::with_capacity(events.len());
        let mut ids = Vec::with_capacity(events.len());
        for (at, event) in events.iter().enumerate() {
            let Ok(event) = event else { continue };
            let id = (event.frame().stream(), event.frame().event_id());
            if !self.window.ids.contains_key(&id) {
                asked.push(at);
                ids.push(id);
            }
        }
        if ids.is_empty() {
            return Ok(known);
        }
        for (at, found) in asked.into_iter().zip(self.shared.derived.find_event_ids(&ids)?) {
            known[at] = found;
        }
        Ok(known)
    }

    /// Gives one event its place, or says why it has none.
    fn place(
        &mut self,
        run: &mut OrderedRun,
        event: VerifiedEvent,
        known: Option<Index>,
        now: LogTime,
    ) -> Result<Slot, StorageError> {
        if let Some(slot) = self.duplicate(&event, known)? {
            return Ok(slot);
        }
        let control = match self.admissible(&event, now) {
            Ok(control) => control,
            Err(reject) => return Ok(Slot::Rejected(reject)),
        };
        Ok(Slot::New(self.assign(run, event, control.as_ref(), now)))
    }

    fn duplicate(&self, event: &VerifiedEvent, known: Option<Index>) -> Result<Option<Slot>, StorageError> {
        let (stream, id) = (event.frame().stream(), event.frame().event_id());
        let first = match self.window.ids.get(&(stream, id)) {
            Some((index, signing_hash)) => Some((*index, *signing_hash)),
            None => match known {
                Some(index) => self.confirm(index, stream, id)?,
                None => None,
            },
        };
        Ok(first.map(|(index, signing_hash)| {
            if signing_hash == event.signing_hash() {
                Slot::Duplicate(index)
            } else {
                Slot::Rejected(Reject::new(
                    RejectCode::DuplicateEventId,
                    "this stream has another event with this event_id",
                ))
            }
        }))
    }

    /// The index is keyed by a short hash; the event itself decides.
    fn confirm(&self, index: Index, stream: Stream, id: EventId) -> Result<Option<(Index, SigningHash)>, StorageError> {
        let Some(record) = self.shared.runs.record(&self.shared.log, index)? else { return Ok(None) };
        let same = record.frame.stream() == stream && record.frame.event_id() == id;
        Ok(same.then(|| (index, record.frame.signing_hash())))
    }

    fn admissible(&mut self, event: &VerifiedEvent, now: LogTime) -> Result<Option<Change>, Reject> {
        let frame = event.frame();
        if event.created_at() > now.saturating_add(CREATED_AT_SKEW) {
            return Err(Reject::of_field(
                RejectCode::CreatedAtInFuture,
                "created_at",
                "created_at is more than one hour ahead of the sequencer's clock",
            ));
        }
        let name = (frame.stream(), frame.agent_id(), frame.key_id());
        if let Some(known) = self.writers.get(&name) {
            usable(&known.key, event, now)?;
            Control::check_ordinary(frame.event_type())?;
            return entity_types::check(known.entity_types.as_deref(), frame.entity_type()).map(|()| None);
        }
        self.look_up_writer(name, event, now)
    }

    /// The same for a writer that control state has to be asked about.
    fn look_up_writer(&mut self, name: Writer, event: &VerifiedEvent, now: LogTime) -> Result<Option<Change>, Reject> {
        let frame = event.frame();
        let control = read(&self.shared.control);
        let key = control.find_key(&name.0, name.1, name.2).copied();
        let Some(key) = key else { return Err(no_such_key()) };
        usable(&key, event, now)?;
        let change = control.check(&name.0, name.1, frame.event_type(), frame.payload(), now)?;
        // A control stream has no list.
        let entity_types = control.entity_types(&name.0).cloned();
        drop(control);
        entity_types::check(entity_types.as_deref(), frame.entity_type())?;
        if let Some(refusal) = event.refusal() {
            return Err(refusal.clone());
        }
        if !name.0.is_control() {
            if self.writers.len() >= WRITERS_MAX {
                self.writers.clear();
            }
            self.writers.insert(name, Known { key, entity_types });
        }
        Ok(change)
    }

    fn assign(&mut self, run: &mut OrderedRun, event: VerifiedEvent, control: Option<&Change>, now: LogTime) -> usize {
        let (stream, id, index) = (event.frame().stream(), event.frame().event_id(), self.next);
        let head = self.heads.entry(stream).or_default();
        *head = head.next();
        let sequence = *head;
        self.next = self.next.next();
        self.last_time = now;
        self.window.insert(stream, id, index, event.signing_hash());
        if let Some(control) = control {
            write(&self.shared.control).apply(&stream, event.frame().agent_id(), control, index, now);
            self.writers.clear();
        }
        run.streams.insert(stream, sequence);
        run.bytes += event.frame().bytes().len();
        run.events.push(OrderedEvent {
            index,
            sequence,
            sequenced_at: now,
            signing_hash: event.signing_hash(),
            public_key: event.public_key(),
            control: control.is_some(),
            frame: event.into_frame(),
        });
        run.events.len() - 1
    }
}
