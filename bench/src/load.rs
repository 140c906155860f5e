//! Two ways to load the node: as fast as it answers (closed loop), and at a fixed rate (open loop).
//!
//! In the open loop each request has its moment in a schedule, and its latency runs from that moment, whether or not
//! a connection was free to send it: a slow answer cannot hide the ones that waited behind it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::Failure;
use crate::histogram::Histogram;
use crate::http::{Answer, Connection, count};
use crate::node::Node;
use crate::proc::Proc;
use crate::requests::{Form, Request};

/// How requests are paced.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// The next one as soon as a connection is free.
    Closed,
    /// Events per second.
    Open(f64),
}

/// What one phase showed.
#[derive(Debug, Default)]
pub struct Phase {
    /// Events that were accepted and proven.
    pub events: usize,
    /// From the first request to the last answer.
    pub seconds: f64,
    /// Microseconds per request.
    pub latency: Histogram,
    /// Requests turned away with 429 and sent again.
    pub busy: usize,
    /// Seconds of CPU of the node.
    pub node_cpu: f64,
    /// Seconds of CPU of the generator.
    pub own_cpu: f64,
    /// Requests of the sample, with their answers.
    pub sample: Vec<(usize, Vec<u8>)>,
}

impl Phase {
    /// Events per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.events as f64 / self.seconds.max(1e-9)
    }

    /// A quantile of the latencies in milliseconds.
    #[must_use]
    pub fn millis(&self, quantile: f64) -> f64 {
        self.latency.millis(quantile)
    }

    /// Microseconds of the node's CPU per event.
    #[must_use]
    pub fn node_micros_per_event(&self) -> f64 {
        self.node_cpu * 1e6 / self.events.max(1) as f64
    }
}

/// Sends every request once over that many connections.
///
/// # Errors
/// If a connection breaks, or an event is not accepted.
pub fn run(node: &Node, form: Form, requests: &[Request], connections: usize, pace: Pace) -> Result<Phase, Failure> {
    let (node_before, own_before) = (node.proc().cpu_seconds(), Proc::own().cpu_seconds());
    let next = AtomicUsize::new(0);
    let start = Instant::now();
    let address = node.address;
    let parts: Vec<Result<Phase, Failure>> = std::thread::scope(|scope| {
        let sender = || Sender { form, requests, next: &next, start, pace };
        let handles: Vec<_> = (0..connections)
            .map(|_| {
                let sender = sender();
                scope.spawn(move || sender.run(address))
            })
            .collect();
        handles.into_iter().map(|handle| handle.join().unwrap_or_else(|_| Err("a sender died".into()))).collect()
    });
    let mut phase = Phase { seconds: start.elapsed().as_secs_f64(), ..Phase::default() };
    for part in parts {
        let part = part?;
        phase.events += part.events;
        phase.busy += part.busy;
        phase.latency.merge(&part.latency);
        phase.sample.extend(part.sample);
    }
    phase.node_cpu = node.proc().cpu_seconds() - node_before;
    phase.own_cpu = Proc::own().cpu_seconds() - own_before;
    Ok(phase)
}

/// One connection's work.
struct Sender<'a> {
    form: Form,
    requests: &'a [Request],
    next: &'a AtomicUsize,
    start: Instant,
    pace: Pace,
}

impl Sender<'_> {
    fn run(&self, address: SocketAddr) -> Result<Phase, Failure> {
        let mut connection = Connection::open(address).map_err(|error| format!("failed to connect: {error}"))?;
        let mut answer = Answer::default();
        let mut phase = Phase::default();
        loop {
            let which = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(request) = self.requests.get(which) else { return Ok(phase) };
            let begin = self.wait_for_turn(which, request);
            phase.busy += self.send(&mut connection, request, &mut answer)?;
            phase.latency.record(begin.elapsed().as_micros() as u64);
            phase.events += self.accepted(request, &answer)?;
            if request.sample.is_some() {
                phase.sample.push((which, answer.body.clone()));
            }
        }
    }

    /// The moment a request's latency runs from.
    fn wait_for_turn(&self, which: usize, request: &Request) -> Instant {
        let Pace::Open(rate) = self.pace else { return Instant::now() };
        let turn = self.start + Duration::from_secs_f64((which * request.count) as f64 / rate);
        if let Some(early) = turn.checked_duration_since(Instant::now()) {
            std::thread::sleep(early);
        }
        turn
    }

    /// Sends until the node takes it; gives how often it was busy.
    fn send(&self, connection: &mut Connection, request: &Request, answer: &mut Answer) -> Result<usize, Failure> {
        for busy in 0..1000 {
            connection.send(&request.bytes, answer).map_err(|error| format!("a request failed: {error}"))?;
            if answer.status != 429 {
                return Ok(busy);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err("the node is busy for good".into())
    }

    fn accepted(&self, request: &Request, answer: &Answer) -> Result<usize, Failure> {
        let accepted = count(&answer.body, self.form.accepted_mark());
        if answer.status == 200 && accepted + request.bad == request.count {
            return Ok(accepted);
        }
        let said: String = String::from_utf8_lossy(&answer.body).chars().take(300).collect();
        Err(format!("{accepted} of {} events were accepted, status {}: {said}", request.count, answer.status))
    }
}
