//! The live feed: events in order of index as they become readable, over one long answer (NDJSON or SSE).
//!
//! Fed from the log by cursor, never from a broadcast: a reader that is slow waits, and nothing is dropped. Each feed
//! holds at most two pages in memory; one whose client takes nothing for the write timeout is ended. Every line
//! carries the token to resume with. The credential decides which events are in it; a filter can only narrow that.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use hyper::body::Frame as BodyFrame;
use tally_api::error::ErrorCode;
use tally_api::feed::{FeedLine, ResumeToken};
use tally_core::Reader;
use tally_protocol::id::{Index, StoreId, Stream, TenantId, TreeSize};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::Instant;

use super::call::Call;
use super::page::{self, PageBounds};
use super::{Reply, respond};
use crate::Gateway;
use crate::anchors::SeenHead;
use crate::auth::Caller;
use crate::error::ApiError;

/// A feed's page is smaller than a list's: what counts is the next event, not the many.
const FEED_EVENTS_MAX: usize = 256;
const FEED_BYTES_MAX: usize = 512 << 10;
/// Pages between the reader and the socket.
const PAGES_AHEAD: usize = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Lines,
    Events,
}

impl Format {
    fn asked(headers: &HeaderMap) -> Self {
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if accept.contains("text/event-stream") { Self::Events } else { Self::Lines }
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Lines => "application/x-ndjson",
            Self::Events => "text/event-stream",
        }
    }

    fn write(self, out: &mut Vec<u8>, line: &FeedLine) -> Result<(), ApiError> {
        let failed = |error: serde_json::Error| ApiError::internal(&error);
        if self == Self::Events {
            let (token, name) = match line {
                FeedLine::Event { token, .. } => (token, "event"),
                FeedLine::Heartbeat { token, .. } => (token, "heartbeat"),
                FeedLine::Anchored { token, .. } => (token, "anchored"),
                FeedLine::End { token, .. } => (token, "end"),
            };
            out.extend_from_slice(format!("id: {token}\nevent: {name}\ndata: ").as_bytes());
        }
        serde_json::to_writer(&mut *out, line).map_err(failed)?;
        out.extend_from_slice(if self == Self::Events { b"\n\n" } else { b"\n" });
        Ok(())
    }
}

/// What a feed shows: what the caller may see, narrowed by the request.
struct Filter {
    caller: Caller,
    tenant: Option<TenantId>,
    store: Option<StoreId>,
}

impl Filter {
    fn shows(&self, stream: Stream) -> bool {
        self.tenant.is_none_or(|tenant| tenant == stream.tenant)
            && self.store.is_none_or(|store| store == stream.store)
            && self.caller.sees(stream)
    }
}

/// `GET /v1/feed?from&tenant&store&anchors`
pub(crate) async fn feed(call: Call) -> Reply {
    let filter = filter(&call)?;
    let next = start(&call)?;
    let format = Format::asked(&call.headers);
    let anchors = match call.query("anchors") {
        None | Some("false") => None,
        // Without a watched chain nothing ever moves.
        Some("true") => call.gateway.anchors.as_ref().map(|port| port.subscribe()),
        Some(_) => return Err(ApiError::field("anchors", "must be true or false")),
    };
    let Ok(permit) = Arc::clone(&call.gateway.feeds).try_acquire_owned() else {
        return Err(ApiError::new(ErrorCode::RateLimitExceeded, "too many live feeds").after(10));
    };
    let (pages, receiver) = mpsc::channel(PAGES_AHEAD);
    let feed = Feed {
        gateway: Arc::clone(&call.gateway),
        filter: Arc::new(filter),
        format,
        next,
        pages,
        sent: Instant::now(),
        anchors,
        told: Vec::new(),
    };
    tokio::spawn(feed.run(permit));
    Ok(respond::content(format.content_type(), Body::new(Pages(receiver))))
}

fn filter(call: &Call) -> Result<Filter, ApiError> {
    let (tenant, store) = (call.query_id("tenant")?, call.query_id("store")?);
    match (tenant, store) {
        (Some(tenant), Some(store)) => call.caller.must_reach(Stream::new(tenant, store))?,
        (Some(tenant), None) => call.caller.must_reach_tenant(tenant)?,
        (None, Some(_)) => return Err(ApiError::field("store", "needs a tenant")),
        (None, None) => {}
    }
    Ok(Filter { caller: call.caller.clone(), tenant, store })
}

/// Where to begin: a token, `start`, `now`, or what a reconnecting event source says.
fn start(call: &Call) -> Result<Index, ApiError> {
    let ledger = &call.gateway.reader.ledger().ledger_id;
    let last_id = call.headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let Some(text) = last_id.or_else(|| call.query("from")) else { return Ok(Index::new(1)) };
    match text {
        "start" => Ok(Index::new(1)),
        "now" => Ok(Index::new(call.gateway.reader.ladder().signed.get().max(1))),
        token => {
            let bad = |message| ApiError::new(ErrorCode::InvalidResumeToken, message);
            let token: ResumeToken = token.parse().map_err(|_| bad("from must be start, now or a resume token"))?;
            if !token.is_of(ledger) {
                return Err(bad("the resume token is of another ledger"));
            }
            Ok(token.next.max(Index::new(1)))
        }
    }
}

/// The client is gone, takes nothing, or the log cannot be read: the feed is over.
struct Over;

struct Feed {
    gateway: Arc<Gateway>,
    filter: Arc<Filter>,
    format: Format,
    next: Index,
    pages: mpsc::Sender<Bytes>,
    sent: Instant,
    /// The heads of the chains, in a feed that asked for them.
    anchors: Option<watch::Receiver<Vec<SeenHead>>>,
    /// Those that the client was told of.
    told: Vec<SeenHead>,
}

impl Feed {
    async fn run(mut self, permit: OwnedSemaphorePermit) {
        let open = OpenFeed::new(&self.gateway);
        // Any way out is the end of the answer; the client resumes with its last token.
        let _ = self.follow().await;
        drop((permit, open));
    }

    async fn follow(&mut self) -> Result<(), Over> {
        let gateway = Arc::clone(&self.gateway);
        let mut ladder = gateway.reader.subscribe();
        let mut draining = gateway.draining.subscribe();
        let heartbeat = gateway.config.limits.feed_heartbeat;
        loop {
            if *draining.borrow() {
                return self.end("draining").await;
            }
            self.tell_anchors().await?;
            let signed = ladder.borrow_and_update().signed;
            if signed.holds(self.next) {
                self.send_page(signed).await?;
            } else {
                tokio::select! {
                    moved = ladder.changed() => moved.map_err(|_| Over)?,
                    _ = draining.changed() => {}
                    () = moved(&mut self.anchors) => {}
                    () = tokio::time::sleep_until(self.sent + heartbeat) => {}
                    () = self.pages.closed() => return Err(Over),
                }
            }
            if self.sent.elapsed() >= heartbeat {
                let line = FeedLine::Heartbeat { token: self.token(self.next), size: signed };
                self.send_line(&line).await?;
            }
        }
    }

    /// A line for each head that is not the one that the client knows.
    async fn tell_anchors(&mut self) -> Result<(), Over> {
        let Some(anchors) = &mut self.anchors else { return Ok(()) };
        let heads = anchors.borrow_and_update().clone();
        let news: Vec<SeenHead> = heads.iter().filter(|head| !self.told.contains(head)).copied().collect();
        self.told = heads;
        for SeenHead { chain_id, level, size, seq, transaction } in news {
            let token = self.token(self.next);
            self.send_line(&FeedLine::Anchored { token, chain_id, level, size, seq, transaction }).await?;
        }
        Ok(())
    }

    fn token(&self, next: Index) -> String {
        ResumeToken::new(&self.gateway.reader.ledger().ledger_id, next).to_string()
    }

    async fn end(&mut self, reason: &str) -> Result<(), Over> {
        let line = FeedLine::End { token: self.token(self.next), reason: reason.to_owned() };
        self.send_line(&line).await
    }

    async fn send_line(&mut self, line: &FeedLine) -> Result<(), Over> {
        let mut out = Vec::new();
        self.format.write(&mut out, line).map_err(|_| Over)?;
        self.send(out.into()).await
    }

    async fn send(&mut self, page: Bytes) -> Result<(), Over> {
        let timeout = self.gateway.config.limits.write_timeout;
        let sent = tokio::time::timeout(timeout, self.pages.send(page)).await;
        self.sent = Instant::now();
        sent.map_err(|_| Over)?.map_err(|_| Over)
    }

    /// Reads the next page, sends what the filter shows of it, and moves on past all of it.
    async fn send_page(&mut self, signed: TreeSize) -> Result<(), Over> {
        let (next, format, filter) = (self.next, self.format, Arc::clone(&self.filter));
        let read = self.gateway.read(move |reader| read_page(reader, next, signed, format, &filter)).await;
        let (page, after, events) = match read {
            Ok(read) => read,
            Err(error) if error.code == ErrorCode::RateLimitExceeded => return Ok(()),
            Err(_) => {
                self.end("failed").await?;
                return Err(Over);
            }
        };
        self.next = after;
        self.gateway.metrics.feed_events.add(events);
        if page.is_empty() { Ok(()) } else { self.send(page.into()).await }
    }
}

/// Resolves when a head moves; never in a feed that did not ask, nor once nobody watches any more.
async fn moved(anchors: &mut Option<watch::Receiver<Vec<SeenHead>>>) {
    if let Some(heads) = anchors
        && heads.changed().await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}

fn read_page(
    reader: &Reader,
    from: Index,
    signed: TreeSize,
    format: Format,
    filter: &Filter,
) -> Result<(Vec<u8>, Index, u64), ApiError> {
    let bounds = PageBounds { events_max: FEED_EVENTS_MAX, bytes_max: FEED_BYTES_MAX };
    let (events, _) =
        page::fill(bounds, |last, limit| reader.events_of_log(last.map_or(from, |last| last.index.next()), limit))?;
    let mut out = Vec::new();
    let mut shown = 0;
    let mut next = from;
    for event in events.iter().take_while(|event| signed.holds(event.index)) {
        next = event.index.next();
        if filter.shows(event.frame.stream()) {
            let token = ResumeToken::new(&reader.ledger().ledger_id, next).to_string();
            format.write(&mut out, &FeedLine::Event { token, record: Box::new(page::record(event)?) })?;
            shown += 1;
        }
    }
    Ok((out, next, shown))
}

/// Keeps the gauge of live feeds.
struct OpenFeed(Arc<Gateway>);

impl OpenFeed {
    fn new(gateway: &Arc<Gateway>) -> Self {
        let this = Self(Arc::clone(gateway));
        this.count();
        this
    }

    fn count(&self) {
        let open = self.0.config.limits.feeds_max.saturating_sub(self.0.feeds.available_permits());
        self.0.metrics.feeds.set(open as u64);
    }
}

impl Drop for OpenFeed {
    fn drop(&mut self) {
        self.count();
    }
}

/// The pages as a body. Hyper asks for the next one when the socket has taken the last.
struct Pages(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Pages {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|page| page.map(|page| Ok(BodyFrame::data(page))))
    }
}
