//! One step of one effect: ask the log, write what is about to happen, call the connector, write how it ended.
//!
//! Takes what is known and a [`Ground`] to stand on (the journal, the log, the clock); gives what is known then. Every write
//! is on the disk before the next line runs. A [`Broken`] ground ends dispatching: what is known is what was written.

use std::future::Future;

use bytes::Bytes;
use tally_connectors::{Answer, Connector, Failure, Request};
use tally_core::fail_point;
use tally_protocol::id::Index;
use tally_protocol::time::LogTime;

use super::answer;
use super::journal::Record;
use super::life::{Bounds, Known, Next, Refusal};

/// The journal or the log failed, or the node takes no events: nothing can be dispatched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Broken(pub(crate) String);

/// What the log has of an effect's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// The answer.
    Answer(Index),
    /// None, and this many of its ids are another's.
    Free(u32),
    /// None, and all of its ids are another's.
    Taken,
}

/// What became of an answer at the log's door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Submitted {
    /// It is in the log.
    In(Index),
    /// It is not.
    Refused(Refusal),
}

/// What a step stands on.
pub(crate) trait Ground: Send + Sync {
    /// The time.
    fn now(&self) -> LogTime;

    /// Writes a record and waits until it is on the disk.
    fn write(&self, request: &Request, record: &Record) -> impl Future<Output = Result<(), Broken>> + Send;

    /// Asks the log for the answer.
    fn find(&self, request: &Request) -> impl Future<Output = Result<Found, Broken>> + Send;

    /// Signs the answer and puts it into the log.
    fn submit(
        &self,
        request: &Request,
        answer: (Bytes, LogTime),
        number: u32,
    ) -> impl Future<Output = Result<Submitted, Broken>> + Send;
}

/// How a step may go on.
pub(crate) struct Step<'a, G> {
    pub(crate) ground: &'a G,
    pub(crate) connector: &'a dyn Connector,
    pub(crate) bounds: &'a Bounds,
    pub(crate) request: &'a Request,
}

impl<G: Ground> Step<'_, G> {
    /// Goes one step.
    pub(crate) async fn go(&self, known: Known) -> Result<Known, Broken> {
        let number = match self.ground.find(self.request).await? {
            Found::Answer(index) => return self.answered(&known, index).await,
            Found::Free(number) => number,
            Found::Taken => {
                let why = "others took the ids of its answer; see who writes to this stream";
                return self.write(known.dead(self.request.id, self.ground.now(), why)).await;
            }
        };
        match known.next() {
            Next::Perform => self.perform(&known).await,
            Next::LookUp => self.look_up(&known).await,
            Next::Submit { body, created } => self.submit(&known, (body, created), number).await,
            Next::Rest => Ok(known),
        }
    }

    async fn write(&self, known: Known) -> Result<Known, Broken> {
        if let Some(record) = &known.record {
            self.ground.write(self.request, record).await?;
        }
        Ok(known)
    }

    async fn answered(&self, known: &Known, index: Index) -> Result<Known, Broken> {
        let known = self.write(known.answered(self.request.id, self.ground.now(), index)).await?;
        fail_point("effects.answered");
        Ok(known)
    }

    async fn perform(&self, known: &Known) -> Result<Known, Broken> {
        fail_point("effects.asked");
        let begun = self.write(known.begun(self.request.id, self.ground.now())).await?;
        fail_point("effects.attempted");
        let end = within(self.bounds, self.connector.perform(self.request)).await;
        fail_point("effects.performed");
        match end.and_then(|answer| self.body(&answer)) {
            Ok(body) => self.decided(&begun, body).await,
            Err(failure) => self.write(begun.failed(self.request.id, self.ground.now(), &failure, self.bounds)).await,
        }
    }

    async fn look_up(&self, known: &Known) -> Result<Known, Broken> {
        fail_point("effects.looking");
        let end = within(self.bounds, self.connector.look_up(self.request)).await;
        fail_point("effects.looked_up");
        let (id, now) = (self.request.id, self.ground.now());
        match end.and_then(|found| found.map(|answer| self.body(&answer)).transpose()) {
            Ok(Some(body)) => self.decided(known, body).await,
            Ok(None) => self.write(known.found_undone(id, now)).await,
            Err(failure) => self.write(known.not_found_out(id, now, &failure, self.bounds)).await,
        }
    }

    async fn decided(&self, known: &Known, body: Bytes) -> Result<Known, Broken> {
        let known = self.write(known.decided(self.request.id, self.ground.now(), body)).await?;
        fail_point("effects.decided");
        Ok(known)
    }

    async fn submit(&self, known: &Known, answer: (Bytes, LogTime), number: u32) -> Result<Known, Broken> {
        match self.ground.submit(self.request, answer, number).await? {
            Submitted::In(index) => {
                fail_point("effects.submitted");
                self.answered(known, index).await
            }
            Submitted::Refused(refusal) => {
                self.write(known.refused(self.request.id, self.ground.now(), &refusal, self.bounds)).await
            }
        }
    }

    /// An answer that makes no event is none: whether it was done is as unknown as if it had been garbled.
    fn body(&self, answer: &Answer) -> Result<Bytes, Failure> {
        answer::body(self.request, answer).map_err(Failure::Unknown)
    }
}

/// A call, bounded in time.
async fn within<T>(bounds: &Bounds, call: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match tokio::time::timeout(bounds.call_max, call).await {
        Ok(end) => end,
        Err(_) => Err(Failure::Unknown(format!("no answer within {} ms", bounds.call_max.as_millis()))),
    }
}
