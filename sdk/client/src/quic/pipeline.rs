//! Submissions in flight: many at once, each with its own answer, none lost with a connection.
//!
//! Takes events, in submissions; gives a [`Pending`] for each as soon as the window has room. One task writes them to
//! one stream in order and reads outcomes as they commit; checking an outcome is the business of whoever awaits it.
//! What has no outcome when the connection ends is sent again on the next one, with the same bytes, and so gets the
//! receipts it would have got. Refused for now: sent again after a pause. Where QUIC does not get through and the client
//! may use HTTP, the submissions go there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use quinn::SendStream;
use tally_protocol::frame::Frame;
use tally_protocol::limits::{BODY_BYTES_MAX, EVENTS_PER_REQUEST_MAX};
use tally_protocol::quic::{Outcome, Submit, ToClient};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::connect::no_answer;
use super::link::{Messages, refusal};
use super::{Link, NoLink, QuicDoor, count};
use crate::client::Client;
use crate::error::ClientError;
use crate::prove::ProvenSubmission;
use crate::retry::RetryPolicy;
use crate::submit::SubmitOutcome;
use crate::transport::random;
use crate::watch::{Sent, SentCheckpoints};

/// How much a pipeline has in flight at most; a further submission waits for room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PipelineBounds {
    /// Bytes of events without an outcome.
    pub bytes_max: usize,
    /// Submissions without an outcome.
    pub submissions_max: usize,
}

impl PipelineBounds {
    /// 8 MiB in 256 submissions: a quarter of a second of full load.
    pub const STANDARD: Self = Self { bytes_max: 8 << 20, submissions_max: 256 };
}

/// Permits are counted in these, because there are only 32 bits of them.
const PERMIT_BYTES: usize = 256;
/// After so many connections in a row that brought no outcome, HTTP is tried where it may be.
const FRUITLESS_MAX: u32 = 2;

/// The room for submissions, and the task that carries them. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Pipeline {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    door: Option<Arc<QuicDoor>>,
    retry: RetryPolicy,
    room: Arc<Semaphore>,
    permits: u32,
    jobs_max: usize,
    /// The task's ear; the task starts with the first submission.
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
}

/// A submission on its way. Dropping it does not take it back.
#[derive(Debug)]
pub struct Pending {
    client: Client,
    frames: Arc<Vec<Frame>>,
    answer: oneshot::Receiver<Result<Answer, ClientError>>,
}

#[derive(Debug)]
enum Answer {
    Quic { outcome: Outcome, checkpoints: Vec<(u32, Arc<Sent>)> },
    Http(Vec<SubmitOutcome>),
}

/// A submission without an outcome.
struct Job {
    client: Client,
    frames: Arc<Vec<Frame>>,
    answer: oneshot::Sender<Result<Answer, ClientError>>,
    _room: OwnedSemaphorePermit,
    refusals: u32,
}

impl Pipeline {
    pub(crate) fn new(door: Option<Arc<QuicDoor>>, retry: RetryPolicy, bounds: PipelineBounds) -> Self {
        let permits = bounds.bytes_max.div_ceil(PERMIT_BYTES).clamp(1, u32::MAX as usize >> 4);
        let inner = Inner {
            door,
            retry,
            room: Arc::new(Semaphore::new(permits)),
            permits: permits as u32,
            jobs_max: bounds.submissions_max.max(1),
            jobs: Mutex::new(None),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Sends events, 1 to 1000 and at most 10 MiB of them, once there is room for them.
    ///
    /// # Errors
    /// [`ClientError::Config`]: too few, or too many for one submission.
    pub(crate) async fn send(&self, client: &Client, events: Vec<Frame>) -> Result<Pending, ClientError> {
        let bytes: usize = events.iter().map(|event| event.bytes().len()).sum();
        if !(1..=EVENTS_PER_REQUEST_MAX).contains(&events.len()) || bytes > BODY_BYTES_MAX {
            return Err(ClientError::Config("a submission has 1 to 1000 events and at most 10 MiB".to_owned()));
        }
        let inner = &self.inner;
        // Every submission takes its share of the room, so that their number is bounded too.
        let least = inner.permits.div_ceil(u32::try_from(inner.jobs_max).unwrap_or(u32::MAX)).max(1);
        let permits =
            u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX).clamp(least, inner.permits.max(least));
        let room = Arc::clone(&inner.room).acquire_many_owned(permits.min(inner.permits)).await;
        let room = room.map_err(|_| no_answer("the pipeline", "it was closed"))?;
        let (sender, answer) = oneshot::channel();
        let frames = Arc::new(events);
        let job = Job { client: client.clone(), frames: Arc::clone(&frames), answer: sender, _room: room, refusals: 0 };
        match &inner.door {
            None => job.over_http(),
            Some(door) => {
                let jobs = inner.task(door);
                jobs.send(job).await.map_err(|_| no_answer(door.address(), "the runtime that drove it has ended"))?;
            }
        }
        Ok(Pending { client: client.clone(), frames, answer })
    }
}

impl Inner {
    fn task(&self, door: &Arc<QuicDoor>) -> mpsc::Sender<Job> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = jobs.as_ref().filter(|sender| !sender.is_closed()) {
            return sender.clone();
        }
        let (sender, receiver) = mpsc::channel(self.jobs_max);
        let driver = Driver {
            door: Arc::clone(door),
            retry: self.retry,
            flight: Mutex::new(Flight::default()),
            changed: Notify::new(),
        };
        tokio::spawn(driver.run(receiver));
        jobs.insert(sender).clone()
    }
}

impl Pending {
    /// The outcome, checked. Waits until the submission has one.
    ///
    /// # Errors
    /// See [`ClientError::class`]; whether some of the events are in the log is then unknown, except after a refusal.
    pub async fn proven(self) -> Result<ProvenSubmission, ClientError> {
        let answer = self.answer.await.map_err(|_| no_answer("the pipeline", "the runtime that drove it has ended"))?;
        match answer? {
            Answer::Http(outcomes) => Ok(ProvenSubmission::apart(self.frames, outcomes, self.client.ledger().await?)),
            Answer::Quic { outcome, checkpoints } => {
                let mut opened = Vec::with_capacity(checkpoints.len());
                for (id, sent) in checkpoints {
                    opened.push((id, sent.open(&self.client).await?));
                }
                self.client.prove_together(self.frames, &outcome, &opened).await
            }
        }
    }
}

impl Job {
    fn message(&self, number: u64) -> Result<Bytes, ClientError> {
        let mut bytes = Vec::new();
        let submit = Submit::new(number, &self.frames);
        submit.map_err(|error| ClientError::Config(error.to_string()))?.write(&mut bytes);
        Ok(bytes.into())
    }

    fn fail(self, error: ClientError) {
        let _ = self.answer.send(Err(error));
    }

    /// Takes the other door; bounded like everything here by the room that the job holds.
    fn over_http(self) {
        tokio::spawn(async move {
            let answer = self.client.submit_as_fallback(&self.frames).await.map(Answer::Http);
            let _ = self.answer.send(answer);
        });
    }
}

/// What is on its way, by number.
#[derive(Default)]
struct Flight {
    jobs: BTreeMap<u64, Job>,
    /// Refused for now, by when they may be sent again.
    due: BTreeMap<(Instant, u64), ()>,
    next: u64,
    /// The last sign of life, or the first sending after there was nothing to wait for.
    heard: Option<Instant>,
}

/// How a stream of submissions ended.
enum End {
    /// Nothing is left to do.
    Done,
    /// It does not work any more; the next one may.
    Lost(String),
    /// The server does what it must not.
    Broken(ClientError),
}

struct Driver {
    door: Arc<QuicDoor>,
    retry: RetryPolicy,
    flight: Mutex<Flight>,
    changed: Notify,
}

impl Driver {
    async fn run(self, mut jobs: mpsc::Receiver<Job>) {
        let mut failures = 0;
        loop {
            if self.flight().jobs.is_empty() {
                match jobs.recv().await {
                    Some(job) => drop(self.take(job)),
                    None => return,
                }
            }
            let error = match self.door.link().await {
                Err(NoLink::Shut) => {
                    self.drain().into_iter().for_each(|job| {
                        count(&self.door.counters.fallbacks);
                        job.over_http();
                    });
                    continue;
                }
                Err(NoLink::Failed(error)) => error,
                Ok(link) => {
                    let answered = self.answered();
                    let end = self.session(&link, &mut jobs).await;
                    if self.answered() > answered {
                        failures = 0;
                    }
                    match end {
                        End::Done => return,
                        End::Lost(why) => {
                            tracing::info!(address = link.address(), why, "lost the QUIC stream; sending again");
                            self.door.lost(&link, &why, failures + 1 >= FRUITLESS_MAX).await;
                            no_answer(link.address(), why)
                        }
                        End::Broken(error) => {
                            tracing::warn!(address = link.address(), %error, "the server breaks the protocol");
                            link.close_malformed();
                            error
                        }
                    }
                }
            };
            failures += 1;
            let may_pass = match &error {
                ClientError::NoConnection { .. } => Some(None),
                ClientError::Refused(refusal) if refusal.is_retryable() => Some(refusal.retry_after),
                _ => None,
            };
            match may_pass.and_then(|named| self.retry.pause(failures, named, random())) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => {
                    self.drain().into_iter().for_each(|job| job.fail(error.again()));
                    failures = 0;
                }
            }
        }
    }

    fn flight(&self) -> MutexGuard<'_, Flight> {
        self.flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answered(&self) -> u64 {
        let flight = self.flight();
        flight.next - flight.jobs.len() as u64
    }

    fn drain(&self) -> Vec<Job> {
        let mut flight = self.flight();
        flight.due.clear();
        core::mem::take(&mut flight.jobs).into_values().collect()
    }

    /// Takes a job in, and gives what to send for it.
    fn take(&self, job: Job) -> Option<Bytes> {
        let mut flight = self.flight();
        flight.next += 1;
        let number = flight.next;
        match job.message(number) {
            Ok(message) => {
                flight.jobs.insert(number, job);
                Some(message)
            }
            Err(error) => {
                job.fail(error);
                None
            }
        }
    }

    /// One stream, until it ends or there is nothing more to do.
    async fn session(&self, link: &Link, jobs: &mut mpsc::Receiver<Job>) -> End {
        let (send, messages) = match link.stream().await {
            Ok(stream) => stream,
            Err(error) => return End::Lost(error.to_string()),
        };
        {
            let mut flight = self.flight();
            flight.due.clear();
            flight.heard = Some(Instant::now());
        }
        tokio::select! {
            end = self.read(link.address(), messages) => end,
            end = self.write(link, send, jobs) => end,
        }
    }

    async fn write(&self, link: &Link, mut send: SendStream, jobs: &mut mpsc::Receiver<Job>) -> End {
        let unanswered: Vec<u64> = self.flight().jobs.keys().copied().collect();
        for number in unanswered {
            if let Err(why) = self.send_again(&mut send, number).await {
                return End::Lost(why);
            }
        }
        let mut open = true;
        loop {
            if !open && self.flight().jobs.is_empty() {
                let _ = send.finish();
                return End::Done;
            }
            let due = self.flight().due.first_key_value().map(|((at, _), ())| *at);
            // Nothing new is started on a connection that the server is about to end; what is there is waited for.
            let leaving = !link.is_open();
            if leaving && self.flight().jobs.is_empty() {
                return End::Lost("the server ends the connection".to_owned());
            }
            tokio::select! {
                job = jobs.recv(), if open && !leaving => match job {
                    None => open = false,
                    Some(job) => {
                        let Some(message) = self.take(job) else { continue };
                        if let Err(error) = send.write_chunk(message).await {
                            return End::Lost(error.to_string());
                        }
                    }
                },
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    let ready = self.ready();
                    for number in ready {
                        if let Err(why) = self.send_again(&mut send, number).await {
                            return End::Lost(why);
                        }
                    }
                }
                () = self.changed.notified() => {}
                () = tokio::time::sleep(LOOK), if open => {}
            }
        }
    }

    async fn send_again(&self, send: &mut SendStream, number: u64) -> Result<(), String> {
        let message = self.flight().jobs.get(&number).and_then(|job| job.message(number).ok());
        let Some(message) = message else { return Ok(()) };
        count(&self.door.counters.repeats);
        send.write_chunk(message).await.map_err(|error| error.to_string())
    }

    /// What was refused for now and may be sent again.
    fn ready(&self) -> Vec<u64> {
        let mut flight = self.flight();
        let later = flight.due.split_off(&(Instant::now(), u64::MAX));
        core::mem::replace(&mut flight.due, later).into_keys().map(|(_, number)| number).collect()
    }

    async fn read(&self, address: &str, mut messages: Messages) -> End {
        let mut checkpoints = SentCheckpoints::default();
        loop {
            let message = tokio::time::timeout(LOOK, messages.next()).await;
            let message = match message {
                Ok(Ok(Some(message))) => message,
                Ok(Ok(None)) => return End::Lost("the server ended the stream".to_owned()),
                Ok(Err(ClientError::NoConnection { why, .. })) => return End::Lost(why),
                Ok(Err(error)) => return End::Broken(error),
                Err(_) if self.is_silent() => return End::Lost("no answer in time".to_owned()),
                Err(_) => continue,
            };
            self.flight().heard = Some(Instant::now());
            let handled = match message {
                ToClient::Checkpoint(note) => checkpoints.take(note.id, note.note()),
                ToClient::Outcome(outcome) => self.hear(outcome, &checkpoints),
                ToClient::Refused(refused) => self.hear_no(refused.number, refusal(&refused)),
                _ => Err("a message that does not belong to submissions".to_owned()),
            };
            if let Err(why) = handled {
                return End::Broken(ClientError::malformed(address, why));
            }
        }
    }

    fn hear(&self, outcome: Outcome, checkpoints: &SentCheckpoints) -> Result<(), String> {
        let named = checkpoints.named_by(&outcome)?;
        let mut flight = self.flight();
        let job = flight.jobs.remove(&outcome.number);
        let is_last = flight.jobs.is_empty();
        drop(flight);
        let job = job.ok_or("an outcome of a submission that is not waiting for one")?;
        count(&self.door.counters.submissions);
        let _ = job.answer.send(Ok(Answer::Quic { outcome, checkpoints: named }));
        if is_last {
            self.changed.notify_one();
        }
        Ok(())
    }

    fn hear_no(&self, number: u64, refusal: crate::error::Refusal) -> Result<(), String> {
        let mut flight = self.flight();
        let job = flight.jobs.get_mut(&number).ok_or("a refusal of a submission that is not waiting")?;
        job.refusals += 1;
        let pause = Some(refusal.is_retryable()).filter(|may_pass| *may_pass);
        match pause.and_then(|_| self.retry.pause(job.refusals, refusal.retry_after, random())) {
            Some(pause) => {
                flight.due.insert((Instant::now() + pause, number), ());
            }
            None => {
                if let Some(job) = flight.jobs.remove(&number) {
                    job.fail(refusal.into());
                }
            }
        }
        drop(flight);
        self.changed.notify_one();
        Ok(())
    }

    /// Whether the server has been silent for too long while something waits for it.
    fn is_silent(&self) -> bool {
        let mut flight = self.flight();
        if flight.jobs.len() == flight.due.len() {
            flight.heard = Some(Instant::now());
        }
        flight.heard.is_some_and(|heard| heard.elapsed() > self.door.silence_max())
    }
}

/// How often silence is looked for.
const LOOK: Duration = Duration::from_millis(250);
