//! One HTTP/1.1 connection of the generator: sends requests in turn, counts what the answers say.
//!
//! Answers are not parsed while the clock runs: accepted events are counted by a mark that stands once for each.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::http::{Answer, Connection, count};
use crate::load::{Phase, Sampled, Turn, Turns};
use crate::requests::{Form, Request};

/// How often a busy node is asked again before the run is given up: 20 s.
const BUSY_MAX: usize = 1000;
const BUSY_WAIT: Duration = Duration::from_millis(20);

/// One connection's work, until no turn is left.
pub(crate) fn run(
    address: SocketAddr,
    form: Form,
    requests: &[Request],
    turns: &Turns,
    number: usize,
) -> Result<Phase, Failure> {
    let mut connection = Connection::open(address).map_err(|error| format!("failed to connect: {error}"))?;
    let mut answer = Answer::default();
    let mut phase = Phase::default();
    loop {
        let Turn::Send(which, begin) = turns.take(number) else { return Ok(phase) };
        if let Some(early) = begin.checked_duration_since(Instant::now()) {
            std::thread::sleep(early);
        }
        let request = &requests[which];
        phase.busy += send(&mut connection, request, &mut answer)?;
        phase.latency.record_many(begin.elapsed().as_micros() as u64, request.count as u64);
        phase.events += accepted(form, request, &answer)?;
        phase.refused += request.bad;
        phase.frame_bytes += request.frame_bytes;
        if request.sample.is_some() {
            phase.sample.push((which, Sampled::Http(answer.body.clone())));
        }
    }
}

/// Sends until the node takes it; gives how often it was busy.
fn send(connection: &mut Connection, request: &Request, answer: &mut Answer) -> Result<usize, Failure> {
    for busy in 0..BUSY_MAX {
        connection.send(&request.bytes, answer).map_err(|error| format!("a request failed: {error}"))?;
        if answer.status != 429 {
            return Ok(busy);
        }
        std::thread::sleep(BUSY_WAIT);
    }
    Err("the node is busy for good".into())
}

fn accepted(form: Form, request: &Request, answer: &Answer) -> Result<usize, Failure> {
    let accepted = count(&answer.body, form.accepted_mark());
    if answer.status == 200 && accepted + request.bad == request.count {
        return Ok(accepted);
    }
    let said: String = String::from_utf8_lossy(&answer.body).chars().take(300).collect();
    Err(format!(
        "{accepted} of {} events were accepted, {} are bad, status {}: {said}",
        request.count, request.bad, answer.status
    ))
}
