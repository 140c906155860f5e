//! A stream of submissions. Takes them as fast as the caller's window lets them in, gives their outcomes as they commit.
//!
//! A submission is read only when its bytes fit the caller's window and the gateway's budget; both are given back when
//! its outcome is written. So what a client has not been answered for is bounded, and what does not fit stays in QUIC's
//! windows and slows the client down. Reading and writing go on side by side; submissions of one stream reach the core in
//! their order.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use quinn::SendStream;
use tally_api::error::ErrorCode;
use tally_core::{Fate, Outcome, OutcomeUnknown, Receipt, Refused, Ticket};
use tally_protocol::checkpoint::SignedCheckpoint;
use tally_protocol::frame::FrameError;
use tally_protocol::id::Index;
use tally_protocol::quic::{self, CheckpointNote, CloseCode, Duplicate, Head, Kind, MessageError, Rejection, Submit};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, timeout};

use super::connection::{Door, Over, finish, refused, send_by};
use super::inbox::Inbox;
use super::session::Session;
use crate::Gateway;
use crate::auth::Rule;
use crate::credential::Permission;
use crate::error::ApiError;
use crate::limits::BytePermit;

/// Submissions of one stream without an outcome; the window bounds their bytes, this their number.
const PENDING_MAX: usize = 1024;
/// Outcomes are written together up to so many bytes.
const WRITE_BYTES: usize = 64 << 10;
/// How long a submission waits at a busy core before it is refused: backpressure first, refusal second.
const BUSY_MAX: Duration = Duration::from_secs(1);
/// How often a busy core or budget is asked again.
const BUSY_STEP: Duration = Duration::from_millis(2);
/// Checkpoints of a stream that are remembered; outcomes come in the order of checkpoints, so few are enough.
const CHECKPOINTS_MAX: usize = 8;

const WRITE: Rule = Rule::needs(&[Permission::EventsWrite]);

/// A submission on its way to an outcome.
struct Pending {
    number: u64,
    events: usize,
    malformed: Vec<(usize, FrameError)>,
    answer: Answer,
    _window: OwnedSemaphorePermit,
    _budget: BytePermit,
}

enum Answer {
    /// The core has it.
    Ticket(Ticket),
    /// Not one frame of it was well-formed.
    Nothing,
    /// Nothing of it was taken.
    Refused(quic::Refused),
}

/// Serves a stream whose first message is a submission.
pub(super) async fn run(
    door: &Door,
    session: &Session,
    mut inbox: Inbox,
    mut send: SendStream,
    first: Head,
) -> Result<(), Over> {
    let (pending, outcomes) = mpsc::channel(PENDING_MAX);
    let reading = read(door, session, &mut inbox, pending, first);
    let writing = write(session, door.limits.write_timeout, &mut send, outcomes);
    tokio::try_join!(reading, writing)?;
    finish(&mut send, door.limits.write_timeout).await
}

/// Reads until the client ends the stream or the connection stops.
async fn read(
    door: &Door,
    session: &Session,
    inbox: &mut Inbox,
    pending: mpsc::Sender<Pending>,
    first: Head,
) -> Result<(), Over> {
    let mut next = Some(first);
    while let Some(head) = next {
        if head.kind != Kind::Submit {
            return Err(MessageError::Unexpected(head.kind).into());
        }
        let room = tokio::select! {
            room = make_room(door, session, head.body_bytes) => room,
            () = session.stopped() => None,
        };
        let Some((window, budget)) = room else { break };
        let body = inbox.body(head.body_bytes).await?;
        let submit = Submit::decode(body)?;
        let (number, events) = (submit.number, submit.events());
        let metrics = &session.gateway.metrics.quic;
        metrics.submissions.add(1);
        metrics.events.add(events as u64);
        metrics.bytes.add(submit.bytes().len() as u64);
        let (malformed, answer) = take(door, session, submit).await;
        let this = Pending { number, events, malformed, answer, _window: window, _budget: budget };
        if pending.send(this).await.is_err() {
            return Err(Over::Gone);
        }
        next = tokio::select! {
            biased;
            () = session.stopped() => break,
            head = inbox.head() => head?,
        };
    }
    inbox.stop(CloseCode::Done);
    Ok(())
}

/// Waits for room for a submission: first in the caller's window, in the order of asking, then in the gateway's memory.
async fn make_room(door: &Door, session: &Session, body_bytes: usize) -> Option<(OwnedSemaphorePermit, BytePermit)> {
    // A body that is longer than the window (by its ten bytes of number and count) takes all of it.
    let bytes = u32::try_from(body_bytes).unwrap_or(u32::MAX).min(door.limits.window_bytes);
    let window = Arc::clone(&session.shared.window).acquire_many_owned(bytes).await.ok()?;
    let mut budget = session.gateway.bodies.permit();
    while !budget.grow(body_bytes) {
        tokio::time::sleep(BUSY_STEP).await;
    }
    Some((window, budget))
}

/// Hands a submission to the core.
async fn take(door: &Door, session: &Session, submit: Submit) -> (Vec<(usize, FrameError)>, Answer) {
    let number = submit.number;
    let refuse = |error: &ApiError| (Vec::new(), Answer::Refused(refused(&session.gateway, number, error)));
    if submit.bytes().len() > door.limits.submit_bytes_max {
        let message = format!("the events of one submission hold at most {} bytes", door.limits.submit_bytes_max);
        return refuse(&ApiError::new(ErrorCode::PayloadTooLarge, message));
    }
    let busy_until = Instant::now() + BUSY_MAX;
    loop {
        match admit(session, submit.clone()) {
            Ok(taken) => return taken,
            Err(Stop::Busy(_)) if Instant::now() < busy_until && !*session.stopping.borrow() => {
                tokio::time::sleep(BUSY_STEP).await;
            }
            Err(Stop::Busy(error) | Stop::Refused(error)) => return refuse(&error),
        }
    }
}

/// Why a submission was not taken.
enum Stop {
    /// There was no room; there may be soon.
    Busy(ApiError),
    /// Asking again will not help.
    Refused(ApiError),
}

impl From<ApiError> for Stop {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

fn admit(session: &Session, submit: Submit) -> Result<(Vec<(usize, FrameError)>, Answer), Stop> {
    let caller = session.caller()?;
    caller.must_pass(&WRITE)?;
    let split = submit.split();
    caller.must_submit(split.frames.iter())?;
    if split.frames.iter().any(|frame| session.gateway.refuses(frame).is_some()) {
        let why = "an event holds what looks like a card number";
        return Err(ApiError::new(ErrorCode::InvalidFieldValue, why).into());
    }
    if split.frames.is_empty() {
        return Ok((split.malformed, Answer::Nothing));
    }
    match session.gateway.submitter.submit(caller.lane(), split.frames) {
        Ok(ticket) => Ok((split.malformed, Answer::Ticket(ticket))),
        Err(busy @ Refused::Busy { .. }) => Err(Stop::Busy(busy.into())),
        Err(other) => Err(Stop::Refused(other.into())),
    }
}

/// Writes outcomes in the order of submission, those that are ready together at once.
async fn write(
    session: &Session,
    write_timeout: Duration,
    send: &mut SendStream,
    mut outcomes: mpsc::Receiver<Pending>,
) -> Result<(), Over> {
    let gateway = &session.gateway;
    let mut writer = Writer { gateway, checkpoints: Vec::new(), next_checkpoint: 1, out: Vec::new() };
    let mut carried = None;
    loop {
        let Some(mut pending) = (match carried.take() {
            Some(pending) => Some(pending),
            None => outcomes.recv().await,
        }) else {
            return Ok(());
        };
        let outcome = outcome_of(gateway, &mut pending).await;
        writer.write(&pending, outcome);
        // The room of what is written together is given back together, when it is written.
        let mut written = vec![pending];
        while writer.out.len() < WRITE_BYTES {
            let Ok(mut more) = outcomes.try_recv() else { break };
            match ready(&mut more).await {
                Some(outcome) => writer.write(&more, outcome),
                None => {
                    carried = Some(more);
                    break;
                }
            }
            written.push(more);
        }
        let out = Bytes::from(std::mem::take(&mut writer.out));
        gateway.metrics.quic.outcome_bytes.add(out.len() as u64);
        send_by(send, out, write_timeout).await?;
        drop(written);
    }
}

/// What the core said; none if it was not asked.
type Said = Option<Result<Outcome, OutcomeUnknown>>;

async fn outcome_of(gateway: &Gateway, pending: &mut Pending) -> Said {
    match &mut pending.answer {
        // An outcome that does not come in time is unknown, as over HTTP.
        Answer::Ticket(ticket) => {
            Some(timeout(gateway.config.limits.receipt_timeout, ticket).await.unwrap_or(Err(OutcomeUnknown)))
        }
        Answer::Nothing | Answer::Refused(_) => None,
    }
}

/// The same if it is there already.
async fn ready(pending: &mut Pending) -> Option<Said> {
    match &mut pending.answer {
        Answer::Ticket(ticket) => {
            let poll =
                std::future::poll_fn(|context| Poll::Ready(std::pin::Pin::new(&mut *ticket).poll(context))).await;
            match poll {
                Poll::Ready(outcome) => Some(Some(outcome)),
                Poll::Pending => None,
            }
        }
        Answer::Nothing | Answer::Refused(_) => Some(None),
    }
}

/// Gives outcomes their bytes.
struct Writer<'a> {
    gateway: &'a Gateway,
    /// Those the client has on this stream, the newest last.
    checkpoints: Vec<(u32, Arc<SignedCheckpoint>)>,
    next_checkpoint: u32,
    out: Vec<u8>,
}

impl Writer<'_> {
    fn write(&mut self, pending: &Pending, said: Said) {
        let refusal = match (&pending.answer, said) {
            (Answer::Refused(refusal), _) => Some(refusal.clone()),
            (_, None) => self.pack(pending, None),
            (_, Some(Ok(outcome))) => self.pack(pending, Some(&outcome)),
            (_, Some(Err(unknown))) => Some(refused(self.gateway, pending.number, &unknown.into())),
        };
        if let Some(refusal) = refusal {
            refusal.write(&mut self.out);
        }
    }

    /// Appends the outcome, and before it the checkpoints that the client does not have yet. Gives a refusal if that
    /// cannot be done.
    fn pack(&mut self, pending: &Pending, outcome: Option<&Outcome>) -> Option<quic::Refused> {
        let mut packed = quic::Outcome::new(pending.number);
        let mut fates = outcome.map(Outcome::fates).unwrap_or_default().iter();
        let mut malformed = pending.malformed.iter().peekable();
        for at in 0..pending.events {
            if let Some((_, error)) = malformed.next_if(|(place, _)| *place == at) {
                let reject = error.reject();
                self.gateway.metrics.on_reject(reject.code);
                packed.push_rejected(Rejection::from(&reject));
                continue;
            }
            match fates.next() {
                Some(Fate::Placed(placed)) => {
                    packed.push_placed(placed.index, placed.sequence, placed.sequenced_at);
                }
                Some(Fate::Duplicate(receipt)) => {
                    let duplicate = self.duplicate(receipt);
                    packed.push_duplicate(duplicate);
                }
                Some(Fate::Rejected(reject)) => {
                    self.gateway.metrics.on_reject(reject.code);
                    packed.push_rejected(Rejection::from(reject));
                }
                None => return Some(self.fault(pending.number)),
            }
        }
        if let Some(outcome) = outcome {
            let placed: Vec<Index> = outcome.placed().map(|placed| placed.index).collect();
            if !placed.is_empty() {
                let Some(tree) = outcome.tree() else { return Some(self.fault(pending.number)) };
                let checkpoint = self.checkpoint(outcome.checkpoint());
                packed.certify(checkpoint, tree.multiproof(&placed));
            }
        }
        packed.write(&mut self.out);
        None
    }

    fn duplicate(&mut self, receipt: &Receipt) -> Duplicate {
        Duplicate {
            index: receipt.index,
            sequence: receipt.sequence,
            sequenced_at: receipt.sequenced_at,
            checkpoint: self.checkpoint(&receipt.checkpoint),
            path: receipt.path.clone(),
        }
    }

    /// The id of a checkpoint on this stream; sends its note if the client does not have it.
    fn checkpoint(&mut self, checkpoint: &Arc<SignedCheckpoint>) -> u32 {
        let known = self.checkpoints.iter().rev().find(|(_, known)| Arc::ptr_eq(known, checkpoint));
        if let Some((id, _)) = known {
            return *id;
        }
        let id = self.next_checkpoint;
        self.next_checkpoint = id.saturating_add(1);
        if let Ok(note) = CheckpointNote::new(id, &checkpoint.note) {
            note.write(&mut self.out);
        }
        if self.checkpoints.len() == CHECKPOINTS_MAX {
            self.checkpoints.remove(0);
        }
        self.checkpoints.push((id, Arc::clone(checkpoint)));
        id
    }

    /// The events may be in the log, but their outcome cannot be told.
    fn fault(&self, number: u64) -> quic::Refused {
        let error = ApiError::internal(&"the core's outcome does not fit the submission");
        tracing::error!(?error, "an outcome could not be written");
        refused(self.gateway, number, &OutcomeUnknown.into())
    }
}
