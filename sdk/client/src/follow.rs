//! The feed: every event in order of the log, live, with resume, over QUIC or HTTP.
//!
//! Takes where to begin; gives one event after the other, each checked ([`LoggedEvent`]) and in its place: indexes
//! rise and the sequences of a stream have no gap. When the connection ends, breaks or falls silent, the feed connects
//! again where it was; nothing is skipped and nothing repeated. It gives up only after as many failures in a row as the
//! retry policy allows; [`Feed::token`] then says where to go on. A server that ends feeds in good order is returned to
//! without end, after a pause.
//! That an event is *in* the log, and not just told, its receipt or bundle proves.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tally_api::event::EventRecord;
use tally_api::feed::ResumeToken;
use tally_protocol::id::{Index, Sequence, StoreId, Stream, TenantId};
use tally_protocol::run::Record;
use tally_verify::Placed;

use crate::client::Client;
use crate::error::ClientError;
use crate::quic::{Link, NoLink, QuicFeed, Told};
use crate::read::LoggedEvent;
use crate::transport::{Repeat, segment};

const PATH: &str = "/v1/feed";
/// Where the log begins, in words.
const START: &str = "start";

/// A line holds one event: at most 1 MiB of payload, in base64 and in JSON.
const LINE_BYTES_MAX: usize = 16 << 20;

/// Where a feed begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowFrom {
    /// At the log's first event.
    Start,
    /// At the next event to come.
    Now,
    /// After what was read before: [`Feed::token`].
    Token(String),
}

/// A live feed. It connects at the first [`Feed::next`]; dropping it ends it.
#[derive(Debug)]
pub struct Feed {
    client: Client,
    filter: Option<(TenantId, Option<StoreId>)>,
    from: String,
    connection: Option<Connection>,
    last: Option<Index>,
    heads: HashMap<Stream, Sequence>,
    /// Whether every event of a stream is in the feed from its first on.
    from_start: bool,
    failures: u32,
    /// The ledger's part of a resume token.
    ledger: [u8; 8],
}

#[derive(Debug)]
enum Connection {
    Http(Lines),
    Quic(Box<QuicFeed>),
}

/// A feed over HTTP: a line of JSON for each event.
#[derive(Debug)]
struct Lines {
    response: reqwest::Response,
    buffer: BytesMut,
}

/// What every line of the feed says ([`tally_api::feed::FeedLine`]). Lines are read in two steps, because a payload
/// that is kept as its own text cannot be read through a tagged enum.
#[derive(Deserialize)]
struct LineHead {
    #[serde(rename = "type")]
    kind: String,
    token: String,
}

#[derive(Deserialize)]
struct EventLine {
    record: EventRecord,
}

fn read<T: DeserializeOwned>(line: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(line).map_err(|error| ClientError::malformed(PATH, error))
}

/// What a connection gave, and where to resume after it.
enum Next {
    Event(Box<LoggedEvent>, String),
    Heartbeat(String),
    /// The server ended the feed; where to resume, if it said so.
    Ended(Option<String>),
}

impl Client {
    /// Follows everything this caller may see.
    ///
    /// # Errors
    /// For [`FollowFrom::Now`] the server is asked how far the log is; see [`ClientError::class`].
    pub async fn follow(&self, from: FollowFrom) -> Result<Feed, ClientError> {
        self.feed(from, None).await
    }

    /// Follows one tenant.
    ///
    /// # Errors
    /// As [`Client::follow`].
    pub async fn follow_tenant(&self, from: FollowFrom, tenant: TenantId) -> Result<Feed, ClientError> {
        self.feed(from, Some((tenant, None))).await
    }

    /// Follows one stream.
    ///
    /// # Errors
    /// As [`Client::follow`].
    pub async fn follow_stream(&self, from: FollowFrom, tenant: TenantId, store: StoreId) -> Result<Feed, ClientError> {
        self.feed(from, Some((tenant, Some(store)))).await
    }

    async fn feed(&self, from: FollowFrom, filter: Option<(TenantId, Option<StoreId>)>) -> Result<Feed, ClientError> {
        let from_start = from == FollowFrom::Start;
        let from = match from {
            FollowFrom::Start => START.to_owned(),
            FollowFrom::Token(token) => token,
            // A place, not a moment: if the first connection breaks, the second must not begin later.
            FollowFrom::Now => {
                let (ledger, ladder) = (self.ledger().await?, self.ladder().await?);
                ResumeToken::new(&ledger.id(), Index::new(ladder.signed.get().max(1))).to_string()
            }
        };
        Ok(Feed {
            client: self.clone(),
            filter,
            from,
            connection: None,
            last: None,
            heads: HashMap::new(),
            from_start,
            failures: 0,
            ledger: [0; 8],
        })
    }
}

impl Feed {
    /// Where to go on ([`FollowFrom::Token`]): after the last event that [`Feed::next`] gave.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.from
    }

    /// The next event; waits until there is one. Dropping the future loses nothing.
    ///
    /// # Errors
    /// An event that does not hold, a gap, or no connection for as long as the retry policy tries.
    pub async fn next(&mut self) -> Result<LoggedEvent, ClientError> {
        loop {
            match self.told().await {
                Ok(Next::Event(event, token)) => {
                    self.check_place(&event)?;
                    (self.from, self.failures) = (token, 0);
                    return Ok(*event);
                }
                Ok(Next::Heartbeat(token)) => (self.from, self.failures) = (token, 0),
                Ok(Next::Ended(token)) => {
                    self.from = token.unwrap_or_else(|| core::mem::take(&mut self.from));
                    self.reconnect().await;
                }
                Err(error) => {
                    self.connection = None;
                    self.pause(error).await?;
                }
            }
        }
    }

    /// The server ended the feed: come back, but not at once, it may be going down.
    async fn reconnect(&mut self) {
        self.connection = None;
        self.failures += 1;
        tokio::time::sleep(self.client.shared.http.pause_for_reconnect(self.failures)).await;
    }

    async fn pause(&mut self, error: ClientError) -> Result<(), ClientError> {
        self.failures += 1;
        match self.client.shared.http.pause_after(&error, self.failures, Repeat::Freely) {
            Some(pause) => {
                tokio::time::sleep(pause).await;
                Ok(())
            }
            None => Err(error),
        }
    }

    async fn told(&mut self) -> Result<Next, ClientError> {
        let idle = self.client.shared.http.feed_idle_timeout();
        if self.connection.is_none() {
            self.connection = Some(self.connect().await?);
        }
        match &mut self.connection {
            None => Ok(Next::Ended(None)),
            Some(Connection::Http(lines)) => lines.next(idle).await,
            Some(Connection::Quic(feed)) => {
                let token = |next: Index| ResumeToken { next, ledger: self.ledger }.to_string();
                match feed.next(idle).await? {
                    Told::Heartbeat(next) => Ok(Next::Heartbeat(token(next))),
                    Told::Ended => Ok(Next::Ended(None)),
                    Told::Event(record, next) => {
                        let Record { index, sequence, sequenced_at, public_key, frame } = *record;
                        let placed = Placed { index, sequence, sequenced_at, public_key };
                        Ok(Next::Event(Box::new(LoggedEvent::of(frame, placed)?), token(next)))
                    }
                }
            }
        }
    }

    async fn connect(&mut self) -> Result<Connection, ClientError> {
        if let Some(door) = &self.client.shared.door {
            match door.link().await {
                Ok(link) => return self.connect_over_quic(link).await,
                Err(NoLink::Failed(error)) => return Err(error),
                Err(NoLink::Shut) => {}
            }
        }
        self.client.ledger().await?;
        let filter = match self.filter {
            None => String::new(),
            Some((tenant, None)) => format!("&tenant={tenant}"),
            Some((tenant, Some(store))) => format!("&tenant={tenant}&store={store}"),
        };
        let path = format!("{PATH}?from={}{filter}", segment(&self.from));
        let response = self.client.shared.http.open(&path, "application/x-ndjson").await?;
        Ok(Connection::Http(Lines { response, buffer: BytesMut::new() }))
    }

    async fn connect_over_quic(&mut self, link: Arc<Link>) -> Result<Connection, ClientError> {
        let ledger = self.client.ledger().await?.id();
        let from = match self.from.parse::<ResumeToken>() {
            Ok(token) if token.is_of(&ledger) => token.next,
            Ok(_) => return Err(ClientError::Config("the resume token is of another ledger".to_owned())),
            Err(_) if self.from == START => Index::new(0),
            Err(_) => return Err(ClientError::Config("this is no resume token".to_owned())),
        };
        self.ledger = ResumeToken::new(&ledger, from).ledger;
        Ok(Connection::Quic(Box::new(QuicFeed::open(link, from, self.filter).await?)))
    }

    fn check_place(&mut self, event: &LoggedEvent) -> Result<(), ClientError> {
        let (index, sequence, stream) = (event.placed.index, event.placed.sequence, event.frame.stream());
        if self.last.is_some_and(|last| index <= last) {
            return Err(ClientError::FeedGap(format!("index {index} after {}", self.last.unwrap_or_default())));
        }
        let expected = match self.heads.get(&stream) {
            Some(head) => Some(head.next()),
            None => self.from_start.then_some(Sequence::new(1)),
        };
        if expected.is_some_and(|expected| sequence != expected) {
            return Err(ClientError::FeedGap(format!("sequence {sequence} of stream {stream} out of turn")));
        }
        self.last = Some(index);
        self.heads.insert(stream, sequence);
        Ok(())
    }
}

impl Lines {
    async fn next(&mut self, idle: Duration) -> Result<Next, ClientError> {
        let Some(line) = self.line(idle).await? else { return Ok(Next::Ended(None)) };
        let head: LineHead = read(&line)?;
        match head.kind.as_str() {
            "event" => {
                let EventLine { record } = read(&line)?;
                Ok(Next::Event(Box::new(LoggedEvent::check(record, PATH)?), head.token))
            }
            // What chains say is told to those who asked for it, between events; this feed is of events.
            "heartbeat" | "anchored" => Ok(Next::Heartbeat(head.token)),
            "end" => Ok(Next::Ended(Some(head.token))),
            _ => Err(ClientError::malformed(PATH, "a line of a kind that this client does not know")),
        }
    }

    async fn line(&mut self, idle: Duration) -> Result<Option<Bytes>, ClientError> {
        loop {
            if let Some(at) = self.buffer.iter().position(|&byte| byte == b'\n') {
                let line = self.buffer.split_to(at).freeze();
                self.buffer.advance(1);
                return Ok(Some(line));
            }
            if self.buffer.len() > LINE_BYTES_MAX {
                return Err(ClientError::malformed(PATH, "a line of the feed is longer than any should be"));
            }
            let no_answer = |source| ClientError::NoAnswer { path: PATH.to_owned(), source };
            match tokio::time::timeout(idle, self.response.chunk()).await {
                Ok(chunk) => match chunk.map_err(no_answer)? {
                    Some(chunk) => self.buffer.extend_from_slice(&chunk),
                    None => return Ok(None),
                },
                // Not even a heartbeat: the connection is dead without having said so.
                Err(_) => return Ok(None),
            }
        }
    }
}
