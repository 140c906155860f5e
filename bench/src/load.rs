//! Load on a running node: groups of callers, each with its own events, door and pace, at the same time.
//!
//! Takes a node and groups; gives what each group saw. In the open loop each request has its moment in a schedule, and
//! its latency runs from that moment, whether or not a connection was free to send it: a slow answer cannot hide the
//! ones that waited behind it (no coordinated omission). In the closed loop a caller keeps a window of requests in
//! flight; over HTTP/1.1 that is one a connection. An endless group repeats its events until the others are done.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::Failure;
use crate::events::Body;
use crate::histogram::Histogram;
use crate::node::Node;
use crate::proc::{CpuByName, Io, Proc, used};
use crate::quic::{self, Answered};
use crate::requests::{Form, Request};

/// How requests are paced.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// The next one as soon as there is room in the window.
    Closed,
    /// Events per second, over all connections of the group.
    Open(f64),
}

/// How a group's events travel.
#[derive(Clone)]
pub enum Door {
    /// HTTP/1.1, in this form, as ready requests.
    Http(Form, Arc<Vec<Request>>),
    /// QUIC, as bodies of frames.
    Quic(Arc<Vec<Body>>),
}

/// Callers that behave alike.
#[derive(Clone)]
pub struct Group {
    /// Their events, and the way they take.
    pub door: Door,
    /// Connections.
    pub connections: usize,
    /// Requests in flight on one connection, at most (QUIC; HTTP/1.1 has one).
    pub window: usize,
    /// Their pace.
    pub pace: Pace,
    /// Their credentials, in turn over the connections (QUIC; an HTTP request has its own in its head).
    pub api_keys: Vec<String>,
    /// Start nothing new after so long.
    pub seconds_max: Option<f64>,
    /// Repeat the events until every other group is done.
    pub endless: bool,
}

/// What came back for one request of the sample.
pub enum Sampled {
    /// The body of an HTTP answer.
    Http(Vec<u8>),
    /// An outcome over QUIC, with the note it refers to.
    Quic(Box<Answered>),
}

/// What one group saw.
#[derive(Default)]
pub struct Phase {
    /// Events that were accepted and proven.
    pub events: usize,
    /// Events that were refused, as they should be.
    pub refused: usize,
    /// From the first request to the last answer.
    pub seconds: f64,
    /// µs per event: from its request's moment to its answer.
    pub latency: Histogram,
    /// Requests turned away for the moment and sent again.
    pub busy: usize,
    /// Bytes of frames of the accepted requests.
    pub frame_bytes: u64,
    /// Requests of the sample, with their answers.
    pub sample: Vec<(usize, Sampled)>,
}

/// What the machine did meanwhile.
#[derive(Debug, Clone, Default)]
pub struct Cost {
    /// Seconds of CPU of the node.
    pub node_cpu: f64,
    /// The node's CPU by thread name, nanoseconds.
    pub node_threads: CpuByName,
    /// Seconds of CPU of the generator.
    pub own_cpu: f64,
    /// What the node read from and wrote to the disk.
    pub node_io: Io,
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

    pub(crate) fn merge(&mut self, other: Self) {
        self.events += other.events;
        self.refused += other.refused;
        self.busy += other.busy;
        self.frame_bytes += other.frame_bytes;
        self.seconds = self.seconds.max(other.seconds);
        self.latency.merge(&other.latency);
        self.sample.extend(other.sample);
    }
}

impl Cost {
    /// Microseconds of the node's CPU for each of so many events.
    #[must_use]
    pub fn node_micros(&self, events: usize) -> f64 {
        self.node_cpu * 1e6 / events.max(1) as f64
    }

    /// Microseconds of the generator's CPU for each of so many events.
    #[must_use]
    pub fn own_micros(&self, events: usize) -> f64 {
        self.own_cpu * 1e6 / events.max(1) as f64
    }
}

/// The requests of a group and their moments. Connection `c` of `n` sends requests `c`, `c + n`, ...: whose events are
/// bad is decided by request, and who sends them must be too.
pub(crate) struct Turns {
    total: usize,
    per_request: usize,
    pace: Pace,
    start: Instant,
    deadline: Option<Instant>,
    endless: bool,
    stop: Arc<AtomicBool>,
    connections: Vec<TurnsOfOne>,
}

#[derive(Default)]
struct TurnsOfOne {
    next: AtomicUsize,
    again: Mutex<VecDeque<(usize, Instant)>>,
}

/// What a connection does next.
pub(crate) enum Turn {
    /// Send this request; its latency runs from this moment, which may lie ahead or behind.
    Send(usize, Instant),
    /// Nothing is left.
    Done,
}

impl Turns {
    fn new(group: &Group, start: Instant, stop: &Arc<AtomicBool>) -> Self {
        let (total, per_request) = match &group.door {
            Door::Http(_, requests) => (requests.len(), requests.first().map_or(1, |request| request.count)),
            Door::Quic(bodies) => (bodies.len(), bodies.first().map_or(1, |body| body.count)),
        };
        Self {
            total,
            per_request,
            pace: group.pace,
            start,
            deadline: group.seconds_max.map(|seconds| start + Duration::from_secs_f64(seconds)),
            endless: group.endless,
            stop: Arc::clone(stop),
            connections: (0..group.connections.max(1)).map(|_| TurnsOfOne::default()).collect(),
        }
    }

    /// Takes a connection's next request: repeats first, then the next in turn.
    pub(crate) fn take(&self, connection: usize) -> Turn {
        if let Some((which, begin)) = self.again(connection).pop_front() {
            return Turn::Send(which, begin);
        }
        let round = self.connections[connection].next.fetch_add(1, Ordering::Relaxed);
        let which = round * self.connections.len() + connection;
        let over = self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let stopped = self.endless && self.stop.load(Ordering::Relaxed);
        if self.total == 0 || over || stopped || (which >= self.total && !self.endless) {
            return Turn::Done;
        }
        let begin = match self.pace {
            Pace::Closed => Instant::now(),
            Pace::Open(rate) => self.start + Duration::from_secs_f64((which * self.per_request) as f64 / rate),
        };
        if self.deadline.is_some_and(|deadline| begin >= deadline) {
            return Turn::Done;
        }
        Turn::Send(which % self.total, begin)
    }

    /// A request that must be sent again; its latency goes on running.
    pub(crate) fn put_back(&self, connection: usize, which: usize, begin: Instant) {
        self.again(connection).push_back((which, begin));
    }

    /// Whether requests of a connection wait to be sent again.
    pub(crate) fn has_repeats(&self, connection: usize) -> bool {
        !self.again(connection).is_empty()
    }

    fn again(&self, connection: usize) -> std::sync::MutexGuard<'_, VecDeque<(usize, Instant)>> {
        self.connections[connection].again.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends every group's events, all groups at once.
///
/// # Errors
/// If a connection breaks, or an event's fate is not the one it was made for.
pub fn run(node: &Node, groups: &[Group]) -> Result<(Vec<Phase>, Cost), Failure> {
    let (proc, own) = (node.proc(), Proc::own());
    let before = (proc.cpu_seconds(), proc.cpu_by_thread(), proc.io(), own.cpu_seconds());
    let stop = Arc::new(AtomicBool::new(false));
    let start = Instant::now();
    let results: Vec<Result<Phase, Failure>> = std::thread::scope(|scope| {
        let spawn = |group: &Group| {
            let (group, turns) = (group.clone(), Arc::new(Turns::new(group, start, &stop)));
            scope.spawn(move || run_group(node, &group, &turns))
        };
        let handles: Vec<_> = groups.iter().map(spawn).collect();
        let join = |handle: std::thread::ScopedJoinHandle<'_, Result<Phase, Failure>>| {
            handle.join().unwrap_or_else(|_| Err("a group died".into()))
        };
        let mut results: Vec<Option<Result<Phase, Failure>>> = groups.iter().map(|_| None).collect();
        let mut handles: Vec<_> = handles.into_iter().map(Some).collect();
        for endless in [false, true] {
            for ((group, handle), result) in groups.iter().zip(&mut handles).zip(&mut results) {
                if group.endless == endless
                    && let Some(handle) = handle.take()
                {
                    *result = Some(join(handle));
                }
            }
            stop.store(true, Ordering::Relaxed);
        }
        results.into_iter().map(|result| result.unwrap_or_else(|| Err("a group was not run".into()))).collect()
    });
    let cost = Cost {
        node_cpu: proc.cpu_seconds() - before.0,
        node_threads: used(&before.1, &proc.cpu_by_thread()),
        own_cpu: own.cpu_seconds() - before.3,
        node_io: proc.io().since(&before.2),
    };
    Ok((results.into_iter().collect::<Result<_, _>>()?, cost))
}

fn run_group(node: &Node, group: &Group, turns: &Arc<Turns>) -> Result<Phase, Failure> {
    let mut phase = match &group.door {
        Door::Quic(bodies) => quic::run(node, group, bodies, turns)?,
        Door::Http(form, requests) => {
            let parts: Vec<Result<Phase, Failure>> = std::thread::scope(|scope| {
                let connection = |connection: usize| {
                    scope.spawn(move || crate::http_load::run(node.address, *form, requests, turns, connection))
                };
                let handles: Vec<_> = (0..group.connections.max(1)).map(connection).collect();
                handles
                    .into_iter()
                    .map(|handle| handle.join().unwrap_or_else(|_| Err("a sender died".into())))
                    .collect()
            });
            let mut phase = Phase::default();
            for part in parts {
                phase.merge(part?);
            }
            phase
        }
    };
    phase.seconds = turns.start.elapsed().as_secs_f64();
    Ok(phase)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(pace: Pace, seconds_max: Option<f64>, endless: bool) -> (Turns, Arc<AtomicBool>) {
        let body = Body { frames: bytes::Bytes::new(), count: 10, bad: 0 };
        let group = Group {
            door: Door::Quic(Arc::new(vec![body; 4])),
            connections: 2,
            window: 1,
            pace,
            api_keys: Vec::new(),
            seconds_max,
            endless,
        };
        let stop = Arc::new(AtomicBool::new(false));
        (Turns::new(&group, Instant::now(), &stop), stop)
    }

    fn take(turns: &Turns, connection: usize) -> Option<(usize, Duration)> {
        match turns.take(connection) {
            Turn::Send(which, begin) => Some((which, begin.saturating_duration_since(turns.start))),
            Turn::Done => None,
        }
    }

    #[test]
    fn the_schedule_does_not_wait_for_answers_and_a_repeat_keeps_its_moment() {
        // 4 requests of 10 events at 1000 events/s: one every 10 ms, whatever the node does.
        let (turns, _) = turns(Pace::Open(1000.0), None, false);
        for (connection, which) in [(0, 0), (1, 1), (0, 2)] {
            assert_eq!(take(&turns, connection), Some((which, Duration::from_millis(10 * which as u64))));
        }
        turns.put_back(1, 1, turns.start);
        assert!(turns.has_repeats(1) && !turns.has_repeats(0));
        assert_eq!(take(&turns, 0), None);
        assert_eq!(take(&turns, 1), Some((1, Duration::ZERO)));
        assert_eq!(take(&turns, 1), Some((3, Duration::from_millis(30))));
        assert_eq!(take(&turns, 1), None);
        // A repeat is sent even when the schedule is over.
        turns.put_back(1, 3, turns.start);
        assert_eq!(take(&turns, 1), Some((3, Duration::ZERO)));
    }

    #[test]
    fn a_deadline_ends_the_schedule_and_an_endless_group_ends_with_the_others() {
        let (until, _) = turns(Pace::Open(100.0), Some(0.25), false);
        assert_eq!(take(&until, 0).map(|turn| turn.0), Some(0));
        assert_eq!(take(&until, 1).map(|turn| turn.0), Some(1));
        assert_eq!(take(&until, 0).map(|turn| turn.0), Some(2));
        assert_eq!(take(&until, 1), None, "the fourth would be at 0.3 s");
        let (endless, stop) = turns(Pace::Closed, None, true);
        let seen: Vec<_> = (0..4).filter_map(|_| take(&endless, 1)).map(|turn| turn.0).collect();
        assert_eq!(seen, [1, 3, 1, 3]);
        stop.store(true, Ordering::Relaxed);
        assert_eq!(take(&endless, 1), None);
    }
}
