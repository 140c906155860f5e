//! Verification. Takes admitted submissions of all callers, gives them verified: each event either checked or rejected
//! on its own. Moves no rung. A bad signature is found by bisection and costs its neighbours nothing but time.
//!
//! A worker gathers what waits, up to a batch's worth of signatures, and verifies it in one equation (design D6).
//! What is checked here needs no order: payload form and hash, the key's existence, the signature. What needs order
//! (duplicates, key validity, time) is `order.rs`'s; a key that is revoked or expired still verifies here, because an
//! honest retry of an old event must get its receipt back (design D8).
//!
//! A caller that sent a bad signature is a suspect: from then on its submissions are verified apart and in small
//! batches, and while others wait suspects may waste only a small part of the time. So bad signatures of few callers
//! cost the others next to nothing, and a caller with a rare bad one is hardly slower for it.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, select};
use rand_core::{TryCryptoRng, TryRng};
use tally_protocol::error::{Reject, RejectCode};
use tally_protocol::frame::{Frame, FrameError};
use tally_protocol::hash::SigningHash;
use tally_protocol::id::{AgentId, KeyId, Stream};
use tally_protocol::key::{PreparedItem, PreparedKey, PublicKey, verify_prepared};
use tally_protocol::plugin_event::PLUGIN_PREFIX;
use tally_protocol::time::LogTime;

use crate::admit::{Admitted, Lane, Reply};
use crate::control::Control;
use crate::failpoint;
use crate::fast_hash::FastHash;
use crate::shared::{Shared, lock, read};

/// An event whose form, payload and signature are right under the key of the stated generation.
#[derive(Debug)]
pub(crate) struct VerifiedEvent {
    frame: Frame,
    signing_hash: SigningHash,
    public_key: PublicKey,
    generation: u64,
    created_at: LogTime,
    refusal: Option<Box<Reject>>,
}

impl VerifiedEvent {
    /// Why the gate lets no such event in; one that is in the log already keeps its receipt.
    pub(crate) fn refusal(&self) -> Option<&Reject> {
        self.refusal.as_deref()
    }

    pub(crate) fn frame(&self) -> &Frame {
        &self.frame
    }

    pub(crate) fn into_frame(self) -> Frame {
        self.frame
    }

    pub(crate) fn signing_hash(&self) -> SigningHash {
        self.signing_hash
    }

    pub(crate) fn public_key(&self) -> PublicKey {
        self.public_key
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn created_at(&self) -> LogTime {
        self.created_at
    }
}

/// A submission whose events are checked, each on its own.
pub(crate) struct Verified {
    pub(crate) events: Vec<Result<VerifiedEvent, Reject>>,
    pub(crate) reply: Reply,
}

/// The workers' two queues: callers in good standing, and suspects. Clones share them.
#[derive(Clone)]
pub(crate) struct Queues {
    good: Receiver<Admitted>,
    suspect: Receiver<Admitted>,
    turns: Arc<Turns>,
}

impl Queues {
    pub(crate) fn new(good: Receiver<Admitted>, suspect: Receiver<Admitted>) -> Self {
        Self { good, suspect, turns: Arc::default() }
    }

    #[cfg(feature = "stepped")]
    pub(crate) fn good(&self) -> &Receiver<Admitted> {
        &self.good
    }

    #[cfg(feature = "stepped")]
    pub(crate) fn suspect(&self) -> &Receiver<Admitted> {
        &self.suspect
    }
}

/// Keeps callers in good standing in the order of the door, however many workers there are: who pipelines submissions may
/// rely on it. Suspects are passed on as they come.
#[derive(Default)]
struct Turns {
    /// The next batch's number; held while a worker gathers.
    gather: Mutex<u64>,
    done: Mutex<Done>,
}

#[derive(Default)]
struct Done {
    /// The batch whose turn it is.
    next: u64,
    /// Batches that were verified before their turn; admission bounds them.
    early: BTreeMap<u64, Vec<Verified>>,
    /// A worker died over its batch: no later turn comes.
    broken: bool,
}

/// What a worker gathered.
struct Gathered {
    submissions: Vec<Admitted>,
    /// The batch's number; suspects have none.
    turn: Option<u64>,
}

/// A worker's duty to pass its batch on.
///
/// If a worker dies, nothing that was verified after its batch may be ordered before it, and nobody may be left waiting
/// for it: all of it is dropped, and its callers hear at once that the node stopped.
struct Duty<'a> {
    turns: &'a Turns,
    turn: Option<u64>,
    next: &'a Sender<Verified>,
}

impl Duty<'_> {
    fn pass_on(mut self, batch: Vec<Verified>) -> Result<(), Closed> {
        self.turns.pass_on(self.turn.take(), batch, self.next)
    }
}

impl Drop for Duty<'_> {
    fn drop(&mut self) {
        if self.turn.is_some() {
            let mut done = lock(&self.turns.done);
            done.broken = true;
            done.early.clear();
        }
    }
}

impl Turns {
    /// The next batch. `None`: the door is closed and both queues are empty.
    fn gather(&self, queues: &Queues, share: &Share, most: usize) -> Option<Gathered> {
        let mut number = lock(&self.gather);
        let (queue, first) = take(queues, share)?;
        let (queue, most, turn) = match queue {
            Queue::Good => (&queues.good, most, Some(*number)),
            Queue::Suspect => (&queues.suspect, SUSPECT_BATCH_MAX, None),
        };
        *number += u64::from(turn.is_some());
        let mut signatures = first.frames.len();
        let mut submissions = vec![first];
        while signatures < most {
            let Ok(more) = queue.try_recv() else { break };
            signatures += more.frames.len();
            submissions.push(more);
        }
        Some(Gathered { submissions, turn })
    }

    /// Passes on a batch and those that waited for it.
    fn pass_on(&self, turn: Option<u64>, batch: Vec<Verified>, next: &Sender<Verified>) -> Result<(), Closed> {
        let Some(turn) = turn else { return send(batch, next) };
        let mut done = lock(&self.done);
        if done.broken {
            return Err(Closed);
        }
        done.early.insert(turn, batch);
        loop {
            let Done { next: turn, early, .. } = &mut *done;
            let Some(batch) = early.remove(turn) else { return Ok(()) };
            *turn += 1;
            send(batch, next)?;
        }
    }
}

/// Ordering ended.
struct Closed;

fn send(batch: Vec<Verified>, next: &Sender<Verified>) -> Result<(), Closed> {
    for verified in batch {
        failpoint::hit("verify.done");
        next.send(verified).map_err(|_| Closed)?;
    }
    Ok(())
}

/// One worker's life: until the door closes.
pub(crate) fn run(shared: &Arc<Shared>, queues: &Queues, next: &Sender<Verified>) {
    let mut worker = Worker { keys: KeyRing::new(), random: SystemRandom::new() };
    let mut share = Share::default();
    while let Some(gathered) = queues.turns.gather(queues, &share, shared.config.verify_batch_max) {
        let Gathered { submissions, turn } = gathered;
        let duty = Duty { turns: &queues.turns, turn, next };
        let start = shared.clock.monotonic_micros();
        let verified = verify(shared, submissions, &mut worker);
        let micros = shared.clock.monotonic_micros().saturating_sub(start);
        let good = verified.iter().flat_map(|submission| &submission.events).filter(|event| event.is_ok()).count();
        share.spend(turn.is_none(), good as u64, micros);
        if duty.pass_on(verified).is_err() {
            return;
        }
    }
}

enum Queue {
    Good,
    Suspect,
}

/// Suspects are verified in small batches: one bad signature spoils few others.
const SUSPECT_BATCH_MAX: usize = 128;

/// While others wait, suspects may waste one part in so many of a worker's time.
const WASTE_SHARE: u64 = 32;

/// How far back a worker's time counts: bounds what suspects can take at once after a quiet while.
const SHARE_WINDOW_MICROS: u64 = 1_000_000;

/// How long a worker that suspects mostly wasted waits for a caller in good standing before it takes another of theirs.
const PATIENCE: Duration = Duration::from_millis(5);

/// How a worker's time was spent lately.
///
/// What a suspect's batch costs beyond what its good events would have cost among those of others is waste. A caller
/// with one bad signature in thousands wastes little and gets nearly its part; one that sends nothing else wastes all.
#[derive(Default)]
struct Share {
    good_micros: u64,
    good_events: u64,
    suspect_micros: u64,
    wasted_micros: u64,
}

impl Share {
    /// Notes a batch: how many of its events were good, and how long it took.
    fn spend(&mut self, suspect: bool, good: u64, micros: u64) {
        if suspect {
            let lawful = good.saturating_mul(self.good_micros).checked_div(self.good_events).unwrap_or(0);
            self.suspect_micros += micros;
            self.wasted_micros += micros.saturating_sub(lawful);
        } else {
            self.good_micros += micros;
            self.good_events += good;
        }
        // What is long past gives no credit.
        if self.good_micros.max(self.suspect_micros) > SHARE_WINDOW_MICROS {
            self.good_micros /= 2;
            self.good_events /= 2;
            self.suspect_micros /= 2;
            self.wasted_micros /= 2;
        }
    }

    fn suspects_may(&self) -> bool {
        self.wasted_micros.saturating_mul(WASTE_SHARE) <= self.good_micros
    }

    /// Whether most of the suspects' time was for nothing: a flood, not a few bad ones.
    fn is_flooded(&self) -> bool {
        self.good_events > 0 && self.wasted_micros > self.suspect_micros / 2
    }
}

/// The next submission: a good one where one waits, unless it is the suspects' turn. `None`: the door is closed and both
/// queues are empty.
fn take(queues: &Queues, share: &Share) -> Option<(Queue, Admitted)> {
    if share.suspects_may()
        && let Ok(admitted) = queues.suspect.try_recv()
    {
        return Some((Queue::Suspect, admitted));
    }
    // While a flood is being verified, whoever comes next would have to wait for it.
    let patience = if share.is_flooded() { PATIENCE } else { Duration::ZERO };
    if let Ok(admitted) = queues.good.recv_timeout(patience) {
        return Some((Queue::Good, admitted));
    }
    select! {
        recv(queues.good) -> admitted => match admitted {
            Ok(admitted) => Some((Queue::Good, admitted)),
            Err(_) => queues.suspect.recv().ok().map(|admitted| (Queue::Suspect, admitted)),
        },
        recv(queues.suspect) -> admitted => match admitted {
            Ok(admitted) => Some((Queue::Suspect, admitted)),
            Err(_) => queues.good.recv().ok().map(|admitted| (Queue::Good, admitted)),
        },
    }
}

/// Callers whose signatures failed lately. They are verified apart, so that a batch of others is never spoiled by them
/// twice, and get back into good standing by as many good signatures.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    /// How many lanes are in the map: admission looks no further while it is zero.
    count: AtomicUsize,
    /// Good signatures each still owes.
    owed: Mutex<HashMap<Lane, usize>>,
}

/// Good signatures in a row that end a suspicion.
const PENANCE: usize = 10_000;

impl Suspects {
    pub(crate) fn holds(&self, lane: Lane) -> bool {
        self.count.load(Ordering::Relaxed) > 0 && lock(&self.owed).contains_key(&lane)
    }

    /// Notes what a lane's signatures were worth.
    fn judge(&self, lane: Lane, good: usize, bad: usize) {
        if bad == 0 && self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut owed = lock(&self.owed);
        if bad > 0 {
            owed.insert(lane, PENANCE);
        } else if let Some(left) = owed.get_mut(&lane) {
            *left = left.saturating_sub(good);
            if *left == 0 {
                owed.remove(&lane);
            }
        }
        self.count.store(owed.len(), Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

/// What a worker keeps between batches.
struct Worker {
    keys: KeyRing,
    random: SystemRandom,
}

/// An agent's key as an event names it.
type KeyName = (Stream, AgentId, KeyId);

/// Keys of control state with their points decoded: decoding takes as long as a third of a verification.
struct KeyRing {
    /// Of control state when these were taken from it; another one empties the ring.
    generation: u64,
    places: HashMap<KeyName, usize, FastHash>,
    keys: Vec<(u64, PreparedKey)>,
}

/// Keys a worker keeps: 13 MB. Past it, all are forgotten and found again.
const RING_MAX: usize = 65_536;

impl KeyRing {
    fn new() -> Self {
        Self { generation: 0, places: HashMap::default(), keys: Vec::new() }
    }

    /// Makes sure that what is kept is what control state says, and that a batch's keys find room.
    fn refresh(&mut self, control: &Control, most: usize) {
        if self.generation != control.generation() || self.keys.len() + most > RING_MAX {
            self.places.clear();
            self.keys.clear();
            self.generation = control.generation();
        }
    }

    /// Where the key is in the ring.
    fn find(&mut self, control: &Control, name: KeyName) -> Result<usize, Reject> {
        if let Some(place) = self.places.get(&name) {
            return Ok(*place);
        }
        let key = control.find_key(&name.0, name.1, name.2);
        let key = key.ok_or_else(|| Reject::new(RejectCode::AgentKeyInvalid, "the agent has no such key"))?;
        let prepared = PreparedKey::new(&key.public_key).ok_or_else(bad_signature)?;
        self.places.insert(name, self.keys.len());
        self.keys.push((key.generation, prepared));
        Ok(self.keys.len() - 1)
    }
}

fn bad_signature() -> Reject {
    Reject::new(RejectCode::InvalidSignature, "the agent's signature does not verify")
}

/// An event on its way through this stage.
struct Checked {
    frame: Frame,
    signing_hash: SigningHash,
    created_at: LogTime,
    /// Where its key is in the ring.
    key: usize,
    refusal: Option<Box<Reject>>,
}

/// Checks a batch of submissions.
fn verify(shared: &Shared, gathered: Vec<Admitted>, worker: &mut Worker) -> Vec<Verified> {
    let counts: Vec<usize> = gathered.iter().map(|admitted| admitted.frames.len()).collect();
    let (replies, frames): (Vec<Reply>, Vec<Vec<Frame>>) =
        gathered.into_iter().map(|admitted| (admitted.reply, admitted.frames)).unzip();
    let mut events = check_forms(frames.into_iter().flatten().collect());
    look_up_keys(shared, &mut events, &mut worker.keys);
    check_signatures(shared, &mut events, worker);
    ask_gate(shared, &mut events);
    let mut events = events.into_iter();
    let mut submissions = Vec::with_capacity(replies.len());
    for (reply, count) in replies.into_iter().zip(counts) {
        let events: Vec<_> =
            events.by_ref().take(count).map(|event| event.map(|event| worker.keys.finish(event))).collect();
        judge(shared, reply.lane(), &events);
        submissions.push(Verified { events, reply });
    }
    shared.metrics.suspect_lanes.set(shared.suspects.count() as u64);
    submissions
}

impl KeyRing {
    fn finish(&self, event: Checked) -> VerifiedEvent {
        let Checked { frame, signing_hash, created_at, key, refusal } = event;
        let (generation, key) = &self.keys[key];
        let (public_key, generation) = (key.public_key(), *generation);
        VerifiedEvent { frame, signing_hash, created_at, public_key, generation, refusal }
    }
}

/// Asks the gate about plugin events, once their signer is known to have a say: what it finds out may take time.
fn ask_gate(shared: &Shared, events: &mut [Result<Checked, Reject>]) {
    let Some(gate) = &shared.gate else { return };
    for event in events.iter_mut().flatten() {
        let (frame, stream) = (&event.frame, event.frame.stream());
        if !stream.is_control() || !frame.event_type().starts_with(PLUGIN_PREFIX) {
            continue;
        }
        if read(&shared.control).check_signer(&stream, frame.agent_id()).is_ok() {
            event.refusal = gate.check(&stream, frame.event_type(), frame.payload()).err().map(Box::new);
        }
    }
}

/// Notes what a lane's signatures were worth.
fn judge(shared: &Shared, lane: Lane, events: &[Result<VerifiedEvent, Reject>]) {
    let good = events.iter().filter(|event| event.is_ok()).count();
    let is_bad =
        |event: &&Result<_, Reject>| matches!(event, Err(reject) if reject.code == RejectCode::InvalidSignature);
    shared.suspects.judge(lane, good, events.iter().filter(is_bad).count());
}

/// What each event says of itself: payload, time. The frames are hashed together.
fn check_forms(frames: Vec<Frame>) -> Vec<Result<Checked, Reject>> {
    let hashes = Frame::check_many(&frames.iter().collect::<Vec<_>>());
    let check = |(frame, signing_hash): (Frame, Result<SigningHash, FrameError>)| {
        let signing_hash = signing_hash.map_err(|error| error.reject())?;
        let created_at = frame.created_at_time().map_err(|_| {
            Reject::of_field(RejectCode::SchemaValidation, "created_at", "created_at is not an RFC 3339 date and time")
        })?;
        Ok(Checked { frame, signing_hash, created_at, key: 0, refusal: None })
    };
    frames.into_iter().zip(hashes).map(check).collect()
}

fn look_up_keys(shared: &Shared, events: &mut [Result<Checked, Reject>], keys: &mut KeyRing) {
    let control = read(&shared.control);
    keys.refresh(&control, events.len());
    for slot in events {
        let Ok(event) = slot else { continue };
        let name = (event.frame.stream(), event.frame.agent_id(), event.frame.key_id());
        match keys.find(&control, name) {
            Ok(key) => event.key = key,
            Err(reject) => *slot = Err(reject),
        }
    }
}

fn check_signatures(shared: &Shared, events: &mut [Result<Checked, Reject>], worker: &mut Worker) {
    let keys = &worker.keys.keys;
    let items: Vec<PreparedItem<'_>> = events
        .iter()
        .flatten()
        .map(|event| PreparedItem {
            key: &keys[event.key].1,
            message: *event.signing_hash.as_bytes(),
            signature: event.frame.signature(),
        })
        .collect();
    if items.is_empty() {
        return;
    }
    let start = shared.clock.monotonic_micros();
    let good = verify_prepared(&items, &mut worker.random);
    shared.metrics.verify_batch_signatures.observe(items.len() as u64);
    shared.metrics.verify_micros.observe(shared.clock.monotonic_micros().saturating_sub(start));
    if good.iter().all(|good| *good) {
        return;
    }
    shared.metrics.verify_batches_bisected.add(1);
    for (slot, good) in events.iter_mut().filter(|slot| slot.is_ok()).zip(good) {
        if !good {
            *slot = Err(bad_signature());
        }
    }
}

const RANDOM_BUFFER_BYTES: usize = 4096;

/// The operating system's random bytes, drawn a page at a time: a batch takes 16 bytes for each signature.
struct SystemRandom {
    buffer: Box<[u8; RANDOM_BUFFER_BYTES]>,
    used: usize,
}

impl SystemRandom {
    fn new() -> Self {
        Self { buffer: Box::new([0; RANDOM_BUFFER_BYTES]), used: RANDOM_BUFFER_BYTES }
    }

    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            if self.used == RANDOM_BUFFER_BYTES {
                // Without randomness a forger could aim at the batch equation: the worker ends and poisons the node.
                getrandom::fill(&mut self.buffer[..]).expect("the operating system gives random bytes");
                self.used = 0;
            }
            *byte = self.buffer[self.used];
            self.buffer[self.used] = 0;
            self.used += 1;
        }
    }
}

impl TryRng for SystemRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut out = [0; 4];
        self.fill(&mut out);
        Ok(u32::from_le_bytes(out))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut out = [0; 8];
        self.fill(&mut out);
        Ok(u64::from_le_bytes(out))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.fill(out);
        Ok(())
    }
}

impl TryCryptoRng for SystemRandom {}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn nobody_waits_for_the_turn_of_a_worker_that_died() {
        let turns = Turns::default();
        let (next, _ordering) = crossbeam_channel::bounded(1);
        let duty = |turn| Duty { turns: &turns, turn: Some(turn), next: &next };
        assert!(duty(0).pass_on(Vec::new()).is_ok());
        assert!(duty(2).pass_on(Vec::new()).is_ok());
        assert_eq!(lock(&turns.done).early.len(), 1, "it waits for the one before");
        let died = catch_unwind(AssertUnwindSafe(|| {
            let _duty = duty(1);
            panic!("no randomness");
        }));
        assert!(died.is_err());
        assert!(lock(&turns.done).early.is_empty(), "what came after it was dropped, so its callers hear");
        assert!(duty(3).pass_on(Vec::new()).is_err(), "and the others end");
    }

    #[test]
    fn suspects_get_their_part_by_what_they_waste() {
        let mut share = Share::default();
        share.spend(false, 1000, 10_000);
        // As cheap as those of others: nothing is wasted.
        share.spend(true, 100, 1000);
        assert_eq!((share.wasted_micros, share.suspects_may()), (0, true));
        assert!(!share.is_flooded());
        // A batch that had to be bisected cost double; half of it was waste, and too much of it.
        share.spend(true, 100, 2000);
        assert_eq!((share.wasted_micros, share.suspects_may()), (1000, false));
        share.spend(false, 2200, 22_000);
        assert!(share.suspects_may());
        // Nothing good in it: all waste.
        share.spend(true, 0, 500);
        assert_eq!((share.wasted_micros, share.suspects_may()), (1500, false));
        share.spend(true, 0, 5000);
        assert!(share.is_flooded());
    }

    #[test]
    fn a_quiet_while_gives_suspects_no_credit_for_long() {
        let mut share = Share::default();
        for _ in 0..1000 {
            share.spend(false, 1000, 10_000);
        }
        let mut spent = 0;
        while share.suspects_may() {
            share.spend(true, 0, 1000);
            spent += 1000;
        }
        assert!(spent <= SHARE_WINDOW_MICROS / WASTE_SHARE + 1000, "{spent} µs at once");
    }
}
