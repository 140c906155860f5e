//! The feed over one stream of a QUIC connection.
//!
//! Takes where to begin and a filter; gives what the server sends, message by message: events in order, or how far the
//! log is. Places rise within a message by its own form and from message to message by the check here; whether events
//! hold, and whether one was left out, the feed above checks alike for both doors.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use quinn::SendStream;
use tally_protocol::id::{Index, StoreId, TenantId};
use tally_protocol::quic::{Follow, FollowFrom, ToClient};
use tally_protocol::run::Record;

use super::connect::no_answer;
use super::link::{Link, Messages, refusal};
use crate::error::ClientError;

/// A feed on a connection; dropping it ends it.
#[derive(Debug)]
pub(crate) struct QuicFeed {
    // Both keep the feed open.
    _link: Arc<Link>,
    _send: SendStream,
    messages: Messages,
    waiting: VecDeque<Record>,
    /// Where to resume after what waits.
    next: Index,
    address: String,
}

/// What the feed said.
pub(crate) enum Told {
    /// An event, and where to resume after it.
    Event(Box<Record>, Index),
    /// No event just now; where to resume.
    Heartbeat(Index),
    /// The server ended it, or it fell silent.
    Ended,
}

impl QuicFeed {
    pub(crate) async fn open(
        link: Arc<Link>,
        from: Index,
        filter: Option<(TenantId, Option<StoreId>)>,
    ) -> Result<Self, ClientError> {
        let address = link.address().to_owned();
        let (mut send, messages) = link.stream().await?;
        let mut bytes = Vec::new();
        Follow { from: FollowFrom::Index(from), filter }.write(&mut bytes);
        send.write_all(&bytes).await.map_err(|error| no_answer(&address, error))?;
        Ok(Self { _link: link, _send: send, messages, waiting: VecDeque::new(), next: from, address })
    }

    /// What comes next. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self, idle: Duration) -> Result<Told, ClientError> {
        loop {
            if let Some(record) = self.waiting.pop_front() {
                let next = if self.waiting.is_empty() { self.next } else { record.index.next() };
                return Ok(Told::Event(Box::new(record), next));
            }
            let Ok(message) = tokio::time::timeout(idle, self.messages.next()).await else {
                // Not even a heartbeat: dead without having said so.
                return Ok(Told::Ended);
            };
            match message? {
                Some(ToClient::Events(events)) => {
                    if events.records().first().is_some_and(|first| first.index < self.next) {
                        return Err(ClientError::FeedGap("events of before where the feed is".to_owned()));
                    }
                    self.next = events.next;
                    self.waiting = events.into_records().into();
                }
                Some(ToClient::Heartbeat(heartbeat)) => {
                    if heartbeat.next < self.next {
                        return Err(ClientError::FeedGap("the feed went back".to_owned()));
                    }
                    self.next = heartbeat.next;
                    return Ok(Told::Heartbeat(heartbeat.next));
                }
                Some(ToClient::GoAway(_)) | None => return Ok(Told::Ended),
                Some(ToClient::Refused(refused)) => return Err(refusal(&refused).into()),
                Some(_) => {
                    return Err(ClientError::malformed(&self.address, "a message that does not belong to a feed"));
                }
            }
        }
    }
}
