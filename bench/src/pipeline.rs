//! Load on the core without a network: callers that keep a window of submissions in flight.
//!
//! Takes a running core and signed bodies; gives events per second, latencies, CPU per stage and event, and a checked
//! sample. Callers decode frames as the gateway does, so that the whole path behind the socket is measured. In the
//! open loop a latency runs from the moment the schedule gave a body, not from when it was sent.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tally_core::{EventResult, Lane, Refused, Submitter, Ticket};
use tally_protocol::frame::Frame;
use tally_verify::{Placed, verify_receipt};

use crate::Failure;
use crate::events::{Body, Maker, SAMPLE_EVERY};
use crate::histogram::Histogram;
use crate::load::Pace;
use crate::proc::{CpuByName, Io, Proc, own_thread_nanos, used};
use crate::world::World;

/// Threads of the generator are named so, to be told from the core's.
pub const CALLER: &str = "bench-caller";

/// How the core is loaded.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Threads that submit, each with a lane of its own.
    pub callers: usize,
    /// Submissions one caller keeps in flight.
    pub window: usize,
    /// Closed loop, or events per second over all callers.
    pub pace: Pace,
}

/// What a run showed.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Events with a receipt.
    pub accepted: usize,
    /// Events refused for their signature.
    pub rejected: usize,
    /// Times the door had no room.
    pub busy: usize,
    /// Receipts that were checked offline.
    pub checked: usize,
    /// From the first submission to the last receipt.
    pub seconds: f64,
    /// µs from submission (or its scheduled moment) to receipts, per event.
    pub latency: Histogram,
    /// CPU by thread name during the run.
    pub cpu: CpuByName,
    /// Bytes to and from the disk during the run.
    pub io: Io,
    /// Bytes of the submitted frames.
    pub frame_bytes: u64,
    sample: Vec<(usize, Vec<EventResult>)>,
}

impl Outcome {
    /// Accepted events per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.accepted as f64 / self.seconds.max(1e-9)
    }

    /// µs of CPU per accepted event: each thread name, most first.
    #[must_use]
    pub fn cpu_per_event(&self) -> Vec<(String, f64)> {
        let micros = |nanos: u64| nanos as f64 / 1000.0 / self.accepted.max(1) as f64;
        let mut rows: Vec<_> = self.cpu.iter().map(|(name, nanos)| (name.clone(), micros(*nanos))).collect();
        rows.sort_by(|left, right| right.1.total_cmp(&left.1));
        rows
    }

    /// µs of CPU per accepted event of everything but the generator's own threads.
    #[must_use]
    pub fn core_cpu_per_event(&self) -> f64 {
        self.cpu_per_event().iter().filter(|(name, _)| !name.starts_with("bench")).map(|(_, micros)| micros).sum()
    }
}

/// Submits every body once.
///
/// # Errors
/// If the core stops, an event's fate is not the one it was made for, or a receipt does not verify.
pub fn run(world: &World, maker: &Maker, bodies: &[Body], load: Load) -> Result<Outcome, Failure> {
    let proc = Proc::own();
    let (cpu, io, start) = (proc.cpu_by_thread(), proc.io(), Instant::now());
    let mut outcome = Outcome::default();
    let parts: Vec<Result<(Outcome, CpuByName), Failure>> = std::thread::scope(|scope| {
        let spawn = |caller: usize| {
            let caller = Caller { number: caller, bodies, load, start, submitter: world.sequencer.submitter() };
            let builder = std::thread::Builder::new().name(format!("{CALLER}-{}", caller.number));
            builder.spawn_scoped(scope, move || caller.run())
        };
        let handles: Vec<_> = (0..load.callers.max(1)).map(spawn).collect();
        let join = |handle: std::io::Result<std::thread::ScopedJoinHandle<'_, _>>| {
            let handle = handle.map_err(|error| format!("failed to start a caller: {error}"))?;
            handle.join().unwrap_or_else(|_| Err("a caller died".into()))
        };
        handles.into_iter().map(join).collect()
    });
    outcome.seconds = start.elapsed().as_secs_f64();
    outcome.cpu = used(&cpu, &proc.cpu_by_thread());
    let now = proc.io();
    outcome.io = Io { read: now.read - io.read, written: now.written - io.written };
    outcome.frame_bytes = bodies.iter().map(|body| body.frames.len() as u64).sum();
    for part in parts {
        let (part, cpu) = part?;
        outcome.accepted += part.accepted;
        outcome.rejected += part.rejected;
        outcome.busy += part.busy;
        outcome.latency.merge(&part.latency);
        outcome.sample.extend(part.sample);
        for (name, nanos) in cpu {
            *outcome.cpu.entry(name).or_default() += nanos;
        }
    }
    for (which, results) in std::mem::take(&mut outcome.sample) {
        outcome.checked += check(world, maker, &bodies[which], &results)?;
    }
    Ok(outcome)
}

/// One thread's work: bodies `number`, `number + callers`, ...
struct Caller<'a> {
    number: usize,
    bodies: &'a [Body],
    load: Load,
    start: Instant,
    submitter: Submitter,
}

/// A submission on its way.
struct InFlight {
    which: usize,
    begin: Instant,
    ticket: Ticket,
}

impl Caller<'_> {
    fn run(&self) -> Result<(Outcome, CpuByName), Failure> {
        let mut outcome = Outcome::default();
        let mut flight: VecDeque<InFlight> = VecDeque::with_capacity(self.load.window);
        for which in (self.number..self.bodies.len()).step_by(self.load.callers.max(1)) {
            let begin = self.wait_for_turn(which, &mut flight, &mut outcome)?;
            while flight.len() >= self.load.window.max(1) {
                self.finish_oldest(&mut flight, &mut outcome)?;
            }
            let mut frames = self.bodies[which].decode()?;
            let ticket = loop {
                match self.submitter.submit(Lane(1 + self.number as u64), frames) {
                    Ok(ticket) => break ticket,
                    Err(Refused::Busy { retry_after_ms }) => {
                        outcome.busy += 1;
                        if !self.finish_oldest(&mut flight, &mut outcome)? {
                            std::thread::sleep(Duration::from_millis(retry_after_ms.min(5)));
                        }
                    }
                    Err(refused) => return Err(refused.to_string()),
                }
                frames = self.bodies[which].decode()?;
            };
            flight.push_back(InFlight { which, begin, ticket });
        }
        while self.finish_oldest(&mut flight, &mut outcome)? {}
        // The thread's own CPU is gone with it, so it is read here.
        Ok((outcome, CpuByName::from([(CALLER.to_owned(), own_thread_nanos())])))
    }

    /// The moment a body's latency runs from. Until then, tickets that end are taken in.
    fn wait_for_turn(
        &self,
        which: usize,
        flight: &mut VecDeque<InFlight>,
        outcome: &mut Outcome,
    ) -> Result<Instant, Failure> {
        let Pace::Open(rate) = self.load.pace else { return Ok(Instant::now()) };
        let events = which * self.bodies[which].count;
        let turn = self.start + Duration::from_secs_f64(events as f64 / rate);
        while let Some(early) = turn.checked_duration_since(Instant::now()) {
            // A ticket can only be waited for, not polled: take one in as long as the schedule leaves room for it.
            if early < Duration::from_millis(1) || !self.finish_oldest(flight, outcome)? {
                std::thread::sleep(early);
            }
        }
        Ok(turn)
    }

    /// Waits for the oldest submission; false if there is none.
    fn finish_oldest(&self, flight: &mut VecDeque<InFlight>, outcome: &mut Outcome) -> Result<bool, Failure> {
        let Some(InFlight { which, begin, ticket }) = flight.pop_front() else { return Ok(false) };
        let fates = ticket.wait().map_err(|error| error.to_string())?;
        let body = &self.bodies[which];
        outcome.latency.record_many(begin.elapsed().as_micros() as u64, body.count as u64);
        let accepted = fates.placed().count();
        if accepted + body.bad != body.count || fates.fates().len() != body.count {
            return Err(format!("{accepted} of {} events were accepted, {} are bad", body.count, body.bad));
        }
        outcome.accepted += accepted;
        outcome.rejected += body.bad;
        if which.is_multiple_of(SAMPLE_EVERY) {
            outcome.sample.push((which, fates.into_results()));
        }
        Ok(true)
    }
}

/// Checks every receipt of one submission offline; gives how many.
fn check(world: &World, maker: &Maker, body: &Body, results: &[EventResult]) -> Result<usize, Failure> {
    let (frames, keys) = (body.decode()?, maker.keys());
    let mut checked = 0;
    for (frame, result) in frames.iter().zip(results) {
        let EventResult::Accepted(receipt) = result else { continue };
        let checkpoint = world.ledger.open_checkpoint(&receipt.checkpoint.note).map_err(|error| error.to_string())?;
        let placed = place(frame, receipt, &keys)?;
        verify_receipt(frame, &placed, &receipt.leaf_hash, &receipt.path, &checkpoint)
            .map_err(|error| error.to_string())?;
        checked += 1;
    }
    Ok(checked)
}

fn place(
    frame: &Frame,
    receipt: &tally_core::Receipt,
    keys: &std::collections::HashMap<tally_protocol::id::AgentId, tally_protocol::key::PublicKey>,
) -> Result<Placed, Failure> {
    Ok(Placed {
        index: receipt.index,
        sequence: receipt.sequence,
        sequenced_at: receipt.sequenced_at,
        public_key: *keys.get(&frame.agent_id()).ok_or("an event of a stranger")?,
    })
}
