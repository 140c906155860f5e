//! The ground of a running node: the journal in its database, the log behind its two doors, the connector's own key.
//!
//! Takes what a step asks; gives what the disk and the log say. Whatever blocks runs off the async threads. An answer is
//! signed here and nowhere else, with whichever number the key has in the event's tenant at that moment.

use std::sync::Arc;

use bytes::Bytes;
use tally_connectors::Request;
use tally_core::{Clock, EventResult, Lane, ReadError, Reader, Refused, Submitter};
use tally_protocol::error::RejectCode;
use tally_protocol::id::{AgentId, Index, KeyId, Stream};
use tally_protocol::key::SigningKey;
use tally_protocol::time::LogTime;
use tally_storage::keys::EffectKey;
use tally_storage::{DispatchFloor, Outbox};

use super::answer;
use super::journal::Record;
use super::life::Refusal;
use super::step::{Broken, Found, Ground, Submitted};
use crate::plugins::effect;

/// What dispatching shares with the node.
#[derive(Clone)]
pub(super) struct Stored {
    pub(super) outbox: Outbox,
    pub(super) reader: Reader,
    pub(super) submitter: Submitter,
    pub(super) clock: Arc<dyn Clock>,
}

/// A row of the outbox, and what the journal has of it.
pub(super) struct Row {
    pub(super) place: EffectKey,
    pub(super) request: Request,
    pub(super) record: Option<Record>,
}

/// Answers are fair among callers like anybody's events.
const LANE: Lane = Lane(u64::from_be_bytes(*b"\0effects"));

pub(super) fn broken(error: impl std::fmt::Display) -> Broken {
    Broken(error.to_string())
}

async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T, Broken> + Send + 'static) -> Result<T, Broken> {
    tokio::task::spawn_blocking(work).await.map_err(broken)?
}

impl Stored {
    /// At most `limit` rows of the outbox behind a place.
    pub(super) async fn page(&self, after: Option<EffectKey>, limit: usize) -> Result<Vec<Row>, Broken> {
        let outbox = self.outbox.clone();
        off_thread(move || {
            let rows = outbox.page(after, limit).map_err(broken)?;
            rows.into_iter().map(|row| row_of(&outbox, row.key, &row.record)).collect()
        })
        .await
    }

    /// One row.
    pub(super) async fn row(&self, place: EffectKey) -> Result<Option<Row>, Broken> {
        let outbox = self.outbox.clone();
        off_thread(move || {
            let record = outbox.get(place).map_err(broken)?;
            record.map(|record| row_of(&outbox, place, &record)).transpose()
        })
        .await
    }

    /// Writes a record and waits until it is on the disk.
    pub(super) async fn write(&self, place: EffectKey, record: &Record) -> Result<(), Broken> {
        let (outbox, bytes) = (self.outbox.clone(), record.encode());
        off_thread(move || outbox.put_dispatch(place, bytes).map_err(broken)).await
    }

    /// Up to where all effects are answered.
    pub(super) async fn floor(&self) -> Result<Option<DispatchFloor>, Broken> {
        let outbox = self.outbox.clone();
        off_thread(move || outbox.floor().map_err(broken)).await
    }

    /// Stores it.
    pub(super) async fn put_floor(&self, floor: DispatchFloor) -> Result<(), Broken> {
        let outbox = self.outbox.clone();
        off_thread(move || outbox.put_floor(floor).map_err(broken)).await
    }

    /// Whether the event at an index of the log is this agent's answer.
    pub(super) async fn has_answer(&self, index: Index, agent: AgentId, request: &Request) -> Result<bool, Broken> {
        let (reader, effect, stream) = (self.reader.clone(), request.id, request.stream);
        off_thread(move || match reader.event(index) {
            Ok(event) => Ok(event.frame.stream() == stream && answer::is_answer(&event.frame, agent, &effect)),
            // A log that is shorter than the journal says.
            Err(ReadError::NotFound | ReadError::NotYet { .. } | ReadError::Invalid(_)) => Ok(false),
            Err(error) => Err(broken(error)),
        })
        .await
    }
}

fn row_of(outbox: &Outbox, place: EffectKey, bytes: &[u8]) -> Result<Row, Broken> {
    let damaged = |what: &str| Broken(format!("effect {}-{}: {what}", place.index, place.number));
    let asked = effect::decode(bytes).ok_or_else(|| damaged("its row in the outbox is damaged"))?;
    let effect::Request { id, stream, plugin, kind, suffix, body, call: _ } = asked;
    let record = outbox.dispatch(place).map_err(broken)?;
    let record = record.map(|bytes| Record::decode(&bytes).ok_or_else(|| damaged("its journal record is damaged")));
    let record = record.transpose()?;
    if record.as_ref().is_some_and(|record| record.effect != id) {
        return Err(damaged("its journal record is of another effect"));
    }
    Ok(Row { place, request: Request { id, index: place.index, stream, plugin, kind, suffix, body }, record })
}

/// The ground of one connector's effect.
pub(super) struct At<'a> {
    pub(super) stored: &'a Stored,
    pub(super) place: EffectKey,
    pub(super) agent: AgentId,
    pub(super) key: &'a SigningKey,
}

impl At<'_> {
    /// The number of the key among the agent's in the tenant, if it is good there now.
    fn key_id(&self, stream: &Stream) -> Option<KeyId> {
        let (public, now) = (self.key.public_key(), self.stored.clock.wall());
        let keys = self.stored.reader.agent_keys(stream.tenant, self.agent);
        keys.iter().find(|key| key.public_key == public && key.invalid_at(now).is_none()).map(|key| key.key_id)
    }
}

impl Ground for At<'_> {
    fn now(&self) -> LogTime {
        self.stored.clock.wall()
    }

    async fn write(&self, _: &Request, record: &Record) -> Result<(), Broken> {
        self.stored.write(self.place, record).await
    }

    async fn find(&self, request: &Request) -> Result<Found, Broken> {
        let (reader, agent) = (self.stored.reader.clone(), self.agent);
        let (stream, effect) = (request.stream, request.id);
        off_thread(move || {
            for number in 0..answer::IDS_MAX {
                match reader.event_by_id(stream, answer::event_id(&effect, number)) {
                    Ok(event) if answer::is_answer(&event.frame, agent, &effect) => {
                        return Ok(Found::Answer(event.index));
                    }
                    Ok(_) => {}
                    Err(ReadError::NotFound) => return Ok(Found::Free(number)),
                    Err(error) => return Err(broken(error)),
                }
            }
            Ok(Found::Taken)
        })
        .await
    }

    async fn submit(
        &self,
        request: &Request,
        (body, created): (Bytes, LogTime),
        number: u32,
    ) -> Result<Submitted, Broken> {
        let later = |why: String| Ok(Submitted::Refused(Refusal::Later(why)));
        let Some(key_id) = self.key_id(&request.stream) else {
            return later(format!("agent {} has no such key in the tenant, or it is not valid now", self.agent));
        };
        let frame = match answer::frame(request, (&body, created), number, (self.agent, key_id, self.key)) {
            Ok(frame) => frame,
            Err(error) => return later(error.to_string()),
        };
        let ticket = match self.stored.submitter.submit(LANE, vec![frame]) {
            Ok(ticket) => ticket,
            Err(Refused::Busy { .. }) => return Ok(Submitted::Refused(Refusal::Soon("the log is busy".to_owned()))),
            Err(error @ (Refused::Count { .. } | Refused::TooLarge { .. })) => return later(error.to_string()),
            Err(error) => return Err(broken(error)),
        };
        match ticket.await.map_err(broken)?.into_results().pop() {
            Some(EventResult::Accepted(receipt) | EventResult::Duplicate(receipt)) => Ok(Submitted::In(receipt.index)),
            Some(EventResult::Rejected(reject)) if reject.code == RejectCode::DuplicateEventId => {
                Ok(Submitted::Refused(Refusal::Soon("the id of the answer is taken".to_owned())))
            }
            Some(EventResult::Rejected(reject)) => {
                later(format!("the log refuses the answer: {}", reject.code.as_str()))
            }
            None => Err(broken("the log gave no result")),
        }
    }
}
