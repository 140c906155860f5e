//! The world of one seed: a node in steps, everything that outlives it, the model beside it.
//!
//! A step moves one stage, one client, the time or a fault. The model orders what the node orders, at the same moment,
//! so that every answer is known before it comes. A node that stops without a fault that explains it is a finding, as
//! is one that goes on where it must stop.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tally_core::stepped::Stepped;
use tally_core::{
    Clock, Config, EventResult, Fence, GenesisSource, Lane, NodeState, Outcome, OutcomeUnknown, Parts, Refused,
    StartError, Ticket,
};
use tally_protocol::error::RejectCode;
use tally_protocol::frame::Frame;
use tally_protocol::hash::RunHash;
use tally_protocol::key::{PublicKey, Signer};
use tally_protocol::limits::CLOCK_STEP_MAX;
use tally_protocol::time::LogTime;
use tally_storage::memory::Crash;
use tally_storage::{Engine, clear_derived};
use tally_testkit::{Expected, ReferenceLog, TestLedger, TestRng};

use crate::audit::{Audit, Found, must};
use crate::clients::Clients;
use crate::disk::{Defects, Segments, SimDisk};
use crate::plan::{Kind, Mood, Plan, Step};
use crate::rim::{Excuses, FenceFault, SimClock, SimFence, SimSigner};
use crate::{Options, Plant};

/// 2026-01-01T00:00:00Z.
const START: LogTime = LogTime::from_micros(1_767_225_600_000_000);
/// Every so often the node takes a wall clock that was slewed as it is now (`clock.rs`).
const REANCHOR_MICROS: u64 = 60_000_000;

/// A submission and what must become of it.
struct Sent {
    frames: Vec<Frame>,
    ticket: Option<Ticket>,
    expected: Option<Vec<Expected>>,
}

/// One seed's world.
pub struct World {
    mood: Mood,
    options: Options,
    ledger: TestLedger,
    clock: Arc<SimClock>,
    excuses: Excuses,
    disk: Arc<SimDisk>,
    fence: SimFence,
    receipt_signer: Arc<SimSigner>,
    checkpoint_signer: Arc<SimSigner>,
    node: Option<Stepped>,
    model: ReferenceLog,
    audit: Audit,
    clients: Clients,
    sent: Vec<Sent>,
    /// Submissions inside the door, and behind the verifiers with what these must have found.
    good: VecDeque<usize>,
    suspect: VecDeque<usize>,
    verified: VecDeque<(usize, Vec<Result<PublicKey, RejectCode>>)>,
    /// Sent; nobody knows.
    unknown: Vec<Frame>,
    backup: Option<SimDisk>,
    /// Wall and monotonic clock as the node last took them as given.
    anchor: (u64, u64),
    /// Restarts so far.
    pub restarts: u64,
    /// Everything that happened, in words.
    pub trace: String,
}

impl World {
    /// A new ledger with tenants and agents, up and running.
    ///
    /// # Errors
    /// A law broke.
    pub fn new(plan: &Plan, options: Options) -> Found<Self> {
        let plant = options.plant;
        let excuses = Excuses::default();
        let clock = Arc::new(SimClock::new(START, plant == Some(Plant::ClockUnwatched)));
        let defects = Defects {
            lies_about_sync: plant == Some(Plant::AcknowledgedBeforeSync),
            forgets_ids: plant == Some(Plant::IndexForgetsIds),
        };
        let ledger = TestLedger::new("tally.test/sim", START);
        let disk = Arc::new(SimDisk::new(Arc::clone(&clock), excuses.clone(), defects, plan.seed));
        let fence = SimFence::new(excuses.clone(), (plant == Some(Plant::FenceSkipped)).then_some(3));
        let receipt_signer = Arc::new(SimSigner::new(ledger.receipt_key.clone(), excuses.clone(), true));
        let checkpoint_signer = Arc::new(SimSigner::new(ledger.checkpoint_key.clone(), excuses.clone(), false));
        let mut world = Self {
            mood: plan.mood,
            options,
            clock,
            excuses,
            disk,
            fence,
            receipt_signer,
            checkpoint_signer,
            node: None,
            model: ReferenceLog::new(ledger.genesis.clone()),
            audit: Audit::new(&ledger),
            clients: Clients::new(&ledger),
            ledger,
            sent: Vec::new(),
            good: VecDeque::new(),
            suspect: VecDeque::new(),
            verified: VecDeque::new(),
            unknown: Vec::new(),
            backup: None,
            anchor: (0, 0),
            restarts: 0,
            trace: String::new(),
        };
        world.start(&mut TestRng::new(plan.seed))?;
        let tenants = world.clients.tenants_created(START);
        world.submit(tenants, 0)?;
        world.pump()?;
        let agents = world.clients.agents_registered(START);
        world.submit(agents, 0)?;
        world.pump()?;
        Ok(world)
    }

    /// One step, and the auditor's look at what it left.
    ///
    /// # Errors
    /// A law broke.
    pub fn step(&mut self, step: Step) -> Found {
        let mut rng = TestRng::new(step.seed);
        // A poisoned node is restarted sooner or later.
        let kind = if self.is_poisoned() && rng.one_in(4) { Kind::Crash } else { step.kind };
        self.act(kind, &mut rng)?;
        self.look()?;
        let line = self.node.as_ref().map(|node| (node.waiting(), node.reader().ladder(), node.reader().state()));
        let _ = writeln!(self.trace, "{kind:?} {:?} {line:?}", self.clock.wall());
        if self.options.whole_log_each_step {
            self.audit.whole_log_if_grown(&self.disk, self.clients.streams())?;
        }
        Ok(())
    }

    fn act(&mut self, kind: Kind, rng: &mut TestRng) -> Found {
        let some = |rng: &mut TestRng, max: u64| usize::try_from(1 + rng.below(max)).unwrap_or(1);
        match kind {
            Kind::Submit => {
                let (now, reader) = (self.clock.wall(), self.node()?.reader());
                let frames = self.clients.submission(rng, &self.mood, now, &reader);
                self.submit(frames, rng.below(4))?;
            }
            Kind::Verify => self.verify(rng.one_in(3), some(rng, 4))?,
            Kind::Order => {
                for _ in 0..some(rng, 3) {
                    self.order()?;
                }
            }
            Kind::Append => self.append()?,
            Kind::Certify => _ = self.node_mut()?.certify(some(rng, 3)),
            Kind::Acknowledge => _ = self.node_mut()?.acknowledge(),
            Kind::Index => _ = self.node_mut()?.index(),
            Kind::Publish => self.node()?.publish(),
            Kind::Commit => self.node()?.commit(),
            Kind::Pump => self.pump()?,
            Kind::Tick => self.clock.advance_micros([50, 20_000, 3_000_000, 70_000_000][some(rng, 4) - 1]),
            Kind::Vanish => {
                let waiting: Vec<usize> = (0..self.sent.len()).filter(|at| self.sent[*at].ticket.is_some()).collect();
                if !waiting.is_empty() {
                    let at = waiting[some(rng, waiting.len() as u64) - 1];
                    self.sent[at].ticket = None;
                    self.unknown.extend(self.sent[at].frames.iter().cloned());
                }
            }
            Kind::FailSync => self.disk.fail_sync(1 + rng.below(4)),
            Kind::FillDisk => self.disk.fill_at_write(1 + rng.below(6)),
            Kind::FailRead => self.disk.fail_read(rng.below(8)),
            Kind::SlowDisk => self.disk.slow_down(900_000),
            Kind::FailFence => {
                self.fence.arm([FenceFault::StoreKept, FenceFault::StoreLost, FenceFault::Load][some(rng, 3) - 1]);
            }
            Kind::FailReceiptSigner => self.receipt_signer.refuse(true),
            Kind::FailCheckpointSigner => self.checkpoint_signer.refuse(true),
            Kind::StepClock => {
                let far = rng.one_in(2);
                let by = i64::try_from(rng.below(if far { 600_000_000 } else { 4_000_000 })).unwrap_or(0);
                self.clock.step_wall(if rng.one_in(2) { by } else { -by });
            }
            Kind::Crash => self.crash(rng)?,
            Kind::Drain => self.drain(rng)?,
            Kind::Backup => self.backup = Some(self.disk.crash(Crash::Process)),
            Kind::Restore => self.restore(rng)?,
            Kind::Fork => self.fork(rng)?,
            Kind::WipeDerived => {
                self.die(Crash::Process)?;
                clear_derived(self.disk.beneath().as_ref()).map_err(|error| error.to_string())?;
                self.start(rng)?;
            }
        }
        Ok(())
    }

    // --- what the node says ---

    fn node(&self) -> Found<&Stepped> {
        self.node.as_ref().ok_or_else(|| "there is no node".to_owned())
    }

    fn node_mut(&mut self) -> Found<&mut Stepped> {
        self.node.as_mut().ok_or_else(|| "there is no node".to_owned())
    }

    fn state(&self) -> NodeState {
        self.node.as_ref().map_or(NodeState::Draining, |node| node.reader().state())
    }

    fn is_poisoned(&self) -> bool {
        matches!(self.state(), NodeState::Poisoned(_))
    }

    /// The auditor's look, and the answers that came.
    fn look(&mut self) -> Found {
        let Some(node) = &self.node else { return Ok(()) };
        let (waiting, reader) = (node.waiting(), node.reader());
        if let NodeState::Poisoned(why) = reader.state() {
            must!(self.excuses.any(), "the node stopped though nothing is wrong: {why}");
            // What waits before a stage that ended is dropped.
            self.good.truncate(waiting.good);
            self.suspect.truncate(waiting.suspect);
            self.verified.truncate(waiting.verified);
        }
        must!(
            (waiting.good, waiting.suspect, waiting.verified)
                == (self.good.len(), self.suspect.len(), self.verified.len()),
            "a submission was lost on its way: {waiting:?}"
        );
        self.hear()?;
        self.audit.after_step(&reader, &self.disk, self.fence.record(), &self.model)
    }

    /// Takes the answers that are there.
    fn hear(&mut self) -> Found {
        let mut any = false;
        for at in 0..self.sent.len() {
            let Some(ticket) = &mut self.sent[at].ticket else { continue };
            match poll(ticket) {
                Poll::Pending => {}
                Poll::Ready(Ok(outcome)) => {
                    any = true;
                    self.sent[at].ticket = None;
                    self.answered(at, outcome)?;
                }
                Poll::Ready(Err(OutcomeUnknown)) => {
                    must!(self.excuses.any() || self.node.is_none(), "an outcome is unknown though nothing is wrong");
                    self.sent[at].ticket = None;
                    self.unknown.extend(self.sent[at].frames.iter().cloned());
                }
            }
        }
        if any {
            self.audit.nothing_acknowledged_hangs_on_power(&self.disk)?;
        }
        Ok(())
    }

    fn answered(&mut self, at: usize, outcome: Outcome) -> Found {
        let sent = &self.sent[at];
        let results = outcome.into_results();
        let Some(expected) = &sent.expected else { return Err("an answer to what was not ordered".to_owned()) };
        must!(results.len() == sent.frames.len(), "{} answers to {} events", results.len(), sent.frames.len());
        for ((frame, expected), result) in sent.frames.iter().zip(expected).zip(results) {
            match (expected, &result) {
                (Expected::Accepted(place), EventResult::Accepted(receipt))
                | (Expected::Duplicate(place), EventResult::Duplicate(receipt)) => {
                    self.audit.receipt(frame, receipt, place, &self.model)?;
                    let _ = write!(self.trace, "[{} {}] ", receipt.index, receipt.checkpoint.checkpoint.size);
                }
                (Expected::Rejected(code), EventResult::Rejected(reject)) if reject.code == *code => {
                    let _ = write!(self.trace, "[{code:?}] ");
                }
                _ => return Err(format!("{} must end as {expected:?} and ended as {result:?}", frame.event_id())),
            }
        }
        Ok(())
    }

    // --- stages ---

    fn submit(&mut self, frames: Vec<Frame>, lane: u64) -> Found {
        let suspect = self.node()?.suspects(Lane(lane));
        let result = self.node()?.submitter().submit(Lane(lane), frames.clone());
        match (result, self.state()) {
            (Ok(ticket), NodeState::Running) => {
                if suspect { &mut self.suspect } else { &mut self.good }.push_back(self.sent.len());
                self.sent.push(Sent { frames, ticket: Some(ticket), expected: None });
            }
            (Err(Refused::Busy { .. } | Refused::TooLarge { .. }), NodeState::Running) => {
                must!(suspect || self.mood.inflight_bytes_max < 1 << 20, "refused as busy within its bounds");
            }
            (Err(Refused::Poisoned(_)), NodeState::Poisoned(_)) => {}
            (other, state) => return Err(format!("in state {state:?} a submission ended as {other:?}")),
        }
        Ok(())
    }

    fn verify(&mut self, suspects: bool, submissions: usize) -> Found {
        for _ in 0..self.node_mut()?.verify(suspects, submissions) {
            let queue = if suspects { &mut self.suspect } else { &mut self.good };
            let Some(at) = queue.pop_front() else { return Err("verified what nobody sent".to_owned()) };
            let screened = self.sent[at].frames.iter().map(|frame| self.model.screen(frame)).collect();
            self.verified.push_back((at, screened));
        }
        Ok(())
    }

    fn order(&mut self) -> Found<bool> {
        let (wall, monotonic) = (self.clock.wall(), self.clock.true_monotonic_micros());
        let moved = i128::from(wall.micros()) - i128::from(self.anchor.0);
        let elapsed = i128::from(monotonic) - i128::from(self.anchor.1);
        let stepped = (moved - elapsed).unsigned_abs() > CLOCK_STEP_MAX.as_micros();
        let forgetful = self.options.plant == Some(Plant::WindowForgets);
        let was_poisoned = self.is_poisoned();
        let node = self.node_mut()?;
        if forgetful {
            node.plant_forgotten_window();
        }
        if !node.order() {
            if stepped && !was_poisoned && self.is_poisoned() {
                self.excuses.add();
            }
            return Ok(false);
        }
        must!(!stepped, "ordering followed a wall clock that was stepped");
        if monotonic.saturating_sub(self.anchor.1) >= REANCHOR_MICROS {
            self.anchor = (wall.micros(), monotonic);
        }
        let Some((at, screened)) = self.verified.pop_front() else { return Err("ordered what nobody sent".to_owned()) };
        let mut expected = Vec::with_capacity(screened.len());
        for (frame, screened) in self.sent[at].frames.iter().zip(screened) {
            expected.push(match screened {
                Ok(key) => self.model.place(frame, key, wall),
                Err(code) => Expected::Rejected(code),
            });
        }
        self.sent[at].expected = Some(expected);
        let (ordered, known) = (self.node()?.reader().ladder().ordered.get(), self.model.size() as u64);
        must!(ordered == known, "the node ordered {ordered} entries, it must be {known}");
        Ok(true)
    }

    fn append(&mut self) -> Found {
        self.node_mut()?.append();
        Ok(())
    }

    /// Finishes everything inside.
    fn pump(&mut self) -> Found {
        loop {
            let before = self.node()?.waiting();
            self.verify(false, usize::MAX)?;
            self.verify(true, usize::MAX)?;
            while self.order()? {}
            let node = self.node_mut()?;
            node.append();
            node.certify(usize::MAX);
            node.acknowledge();
            while node.index() {}
            let after = node.waiting();
            let idle =
                after.good + after.suspect + after.verified + after.ordered + after.durable + after.certified == 0;
            if idle || after == before {
                let running = self.state() == NodeState::Running;
                must!(idle || !running, "the pipeline stands still: {after:?}");
                let inside = self.node()?.metrics().inflight_bytes.get();
                must!(!running || inside == 0, "{inside} bytes are held by nobody");
                return self.look();
            }
        }
    }

    // --- ends and beginnings ---

    /// The node is gone; what a crash leaves is the disk.
    fn die(&mut self, crash: Crash) -> Found {
        self.disk = Arc::new(self.disk.crash(crash));
        self.node = None;
        self.good.clear();
        self.suspect.clear();
        self.verified.clear();
        self.hear()?;
        must!(self.sent.iter().all(|sent| sent.ticket.is_none()), "a client waits for a node that is gone");
        self.sent.clear();
        Ok(())
    }

    fn crash(&mut self, rng: &mut TestRng) -> Found {
        let crash = some_crash(rng, self.disk.unsynced());
        self.die(crash)?;
        // Time passes while it is down, and somebody may set the clock.
        self.clock.advance_micros(rng.below(5_000_000));
        if rng.one_in(4) {
            let by = i64::try_from(rng.below(120_000_000)).unwrap_or(0);
            self.clock.step_wall(if rng.one_in(2) { by } else { -by });
        }
        self.start(rng)
    }

    /// Starts the node; a start that an armed fault stops is repeated without faults.
    fn start(&mut self, rng: &mut TestRng) -> Found {
        self.excuses.clear();
        let mut node = self.stepped(self.parts(&self.disk, self.fence.clone()));
        if let Err(error) = &node {
            must!(self.excuses.any(), "the node does not start though nothing is wrong: {error}");
            self.disarm();
            let crash = some_crash(rng, self.disk.unsynced());
            self.disk = Arc::new(self.disk.crash(crash));
            node = self.stepped(self.parts(&self.disk, self.fence.clone()));
        }
        let node = node.map_err(|error| format!("the node does not start: {error}"))?;
        self.excuses.clear();
        let (state, reader) = (node.reader().state(), node.reader());
        must!(state == NodeState::Running, "the newest log came up as {state:?}");
        self.node = Some(node);
        self.restarts += 1;
        self.anchor = (self.clock.wall().micros(), self.clock.true_monotonic_micros());
        self.audit.recovered(&self.disk, &mut self.model)?;
        if !self.disk.awaits_failing_read() {
            self.audit.proofs(&reader, &self.model, rng, 2)?;
        }
        self.audit.whole_log_if_grown(&self.disk, self.clients.streams())?;
        self.look()
    }

    fn drain(&mut self, rng: &mut TestRng) -> Found {
        let node = self.node_mut()?;
        node.close();
        let refused = node.submitter().submit(Lane(9), Vec::new());
        must!(refused.is_err(), "a node that drains takes events");
        self.pump()?;
        let node = self.node.take().ok_or("there is no node")?;
        let reader = node.reader();
        let finished = node.finish();
        let (state, ladder) = (reader.state(), reader.ladder());
        let poisoned = matches!(state, NodeState::Poisoned(_));
        must!(!poisoned && finished.is_ok() || self.excuses.any(), "the drain failed: {state:?} {finished:?}");
        if !poisoned && finished.is_ok() && !self.excuses.any() {
            self.hear()?;
            must!(ladder.acknowledged == ladder.ordered, "a drain left events without receipts: {ladder:?}");
            self.audit.whole_log(&self.disk, self.clients.streams(), true)?;
            self.die(Crash::Process)?;
        } else {
            self.die(some_crash(rng, self.disk.unsynced()))?;
        }
        self.start(rng)
    }

    /// A backup in place of the newest data: it must not sign what was signed otherwise.
    fn restore(&mut self, rng: &mut TestRng) -> Found {
        let Some(backup) = &self.backup else { return Ok(()) };
        let copy = Arc::new(backup.crash(Crash::Process));
        self.die(Crash::Process)?;
        self.disarm();
        let size = copy.log_size().map_err(|error| error.to_string())?.get();
        let node = self.stepped(self.parts(&copy, self.fence.clone()));
        let node = node.map_err(|error| format!("a restored backup does not start: {error}"))?;
        let reader = node.reader();
        if size < self.audit.largest_signed() {
            let state = reader.state();
            must!(matches!(state, NodeState::ReadOnly(_)), "a backup of {size} entries came up as {state:?}");
            let refused = node.submitter().submit(Lane(0), self.clients.tenants_created(START));
            must!(matches!(refused, Err(Refused::ReadOnly(_))), "a restored backup takes events");
        }
        if reader.checkpoint().checkpoint.size.get() > 0 {
            self.audit.checkpoint(&reader.checkpoint(), &self.model)?;
        }
        drop((node, reader));
        self.start(rng)
    }

    /// A copy of the newest data without its fence: it cannot know whether it is alone.
    fn fork(&mut self, rng: &mut TestRng) -> Found {
        self.die(Crash::Process)?;
        self.disarm();
        let copy = Arc::new(self.disk.crash(Crash::Process));
        let node = self.stepped(self.parts(&copy, self.fence.none()));
        let state = node.map_err(|error| format!("a copy does not start: {error}"))?.reader().state();
        must!(matches!(state, NodeState::ReadOnly(_)), "a copy without its fence came up as {state:?}");
        self.start(rng)
    }

    /// The end of every plan: all faults are over, every client asks again, and everything is held against everything.
    ///
    /// # Errors
    /// A law broke.
    pub fn settle(&mut self, rng: &mut TestRng) -> Found<RunHash> {
        self.disarm();
        self.die(some_crash(rng, self.disk.unsynced()))?;
        self.start(rng)?;
        let mut frames = std::mem::take(&mut self.unknown);
        frames.extend(self.clients.some_earlier(rng, 8));
        for chunk in frames.chunks(10) {
            self.submit(chunk.to_vec(), 1)?;
            self.pump()?;
            must!(self.state() == NodeState::Running, "the node stopped after all faults: {:?}", self.state());
        }
        self.drain(rng)?;
        let reader = self.node()?.reader();
        self.audit.proofs(&reader, &self.model, rng, 4)?;
        let _ = writeln!(self.trace, "end {} {}", self.model.size(), self.audit.receipts());
        self.disk.fingerprint().map_err(|error| error.to_string())
    }

    /// How many entries the log holds, receipts were checked and sizes were signed.
    #[must_use]
    pub fn counts(&self) -> (u64, u64, u64) {
        (self.model.size() as u64, self.audit.receipts() as u64, self.audit.checkpoints() as u64)
    }

    /// What the look-up indexes did.
    #[must_use]
    pub fn segments(&self) -> Segments {
        self.disk.segments()
    }

    fn disarm(&self) {
        self.fence.disarm();
        self.receipt_signer.refuse(false);
        self.checkpoint_signer.refuse(false);
    }

    fn stepped(&self, parts: Parts) -> Result<Stepped, StartError> {
        Stepped::start(self.config(), parts, self.mood.segment_rows)
    }

    fn config(&self) -> Config {
        Config {
            inflight_bytes_max: self.mood.inflight_bytes_max,
            inflight_bytes_per_lane_max: self.mood.inflight_bytes_max / 2,
            verify_batch_max: self.mood.verify_batch_max,
            index_lag_events_max: self.mood.index_lag_events_max,
            commit_events_max: 50,
            ..Config::development()
        }
    }

    fn parts(&self, disk: &Arc<SimDisk>, fence: SimFence) -> Parts {
        Parts {
            engine: Arc::clone(disk) as Arc<dyn Engine>,
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            receipt_signer: Arc::clone(&self.receipt_signer) as Arc<dyn Signer>,
            checkpoint_signer: Arc::clone(&self.checkpoint_signer) as Arc<dyn Signer>,
            fence: Box::new(fence) as Box<dyn Fence>,
            genesis: GenesisSource::Create(self.ledger.genesis.clone()),
            gate: None,
        }
    }
}

fn some_crash(rng: &mut TestRng, unsynced: usize) -> Crash {
    match rng.below(3) {
        0 => Crash::Process,
        1 => Crash::System,
        _ => Crash::SystemKeeping(usize::try_from(rng.below(unsynced as u64 + 1)).unwrap_or(0)),
    }
}

fn poll(ticket: &mut Ticket) -> Poll<Result<Outcome, OutcomeUnknown>> {
    Pin::new(ticket).poll(&mut Context::from_waker(Waker::noop()))
}
