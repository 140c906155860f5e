//! The feed: the log's events in their order, as the exact bytes that were signed, in large messages.
//!
//! Read from the log by cursor, never from a broadcast: a reader that is slow waits, and nothing is dropped. A feed holds
//! one message in memory beside QUIC's send window; one whose client takes nothing for the write timeout is ended. The
//! credential decides which events are in it, and is looked at again before each message.

use std::sync::Arc;
use std::time::Duration;

use quinn::SendStream;
use tally_api::error::ErrorCode;
use tally_core::{ReadError, Reader};
use tally_protocol::id::{Index, Stream, TreeSize};
use tally_protocol::quic::{EventsBuilder, Follow, FollowFrom, Heartbeat, MessageError};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::connection::{Over, finish, refused, send_by};
use super::inbox::Inbox;
use super::metrics::Counted;
use super::session::Session;
use crate::auth::{Caller, Rule};
use crate::credential::Permission;
use crate::error::ApiError;

/// A message is closed at so many bytes; the event that passes it is the last.
const MESSAGE_BYTES: usize = 512 << 10;
/// Events fetched from the log in one step.
const STEP_EVENTS: usize = 256;
/// Events looked at for one message, shown or not: bounds a read for a caller that sees little of the log.
const SCAN_EVENTS_MAX: usize = 16_384;

const READ: Rule = Rule::needs(&[Permission::EventsRead]);

/// Serves a stream whose first message asks for the feed.
pub(super) async fn run(
    session: &Arc<Session>,
    inbox: Inbox,
    mut send: SendStream,
    follow: &Follow,
) -> Result<(), Over> {
    let write_timeout = session.gateway.config.limits.write_timeout;
    let permits = match admit(session, follow) {
        Ok(permits) => permits,
        Err(error) => {
            let mut out = Vec::new();
            refused(&session.gateway, 0, &error).write(&mut out);
            send_by(&mut send, out.into(), write_timeout).await?;
            return finish(&mut send, write_timeout).await;
        }
    };
    let open = Counted::new(&session.gateway, |metrics| &metrics.feeds);
    let ended = tokio::select! {
        ended = Feed { session, follow, send: &mut send, write_timeout }.run() => ended?,
        over = listen(inbox) => return Err(over),
    };
    drop((permits, open));
    let mut out = Vec::new();
    ended.go_away().write(&mut out);
    send_by(&mut send, out.into(), write_timeout).await?;
    finish(&mut send, write_timeout).await
}

/// Whether the caller may have this feed, and whether there is room for it.
fn admit(session: &Session, follow: &Follow) -> Result<[OwnedSemaphorePermit; 2], ApiError> {
    let caller = session.caller()?;
    caller.must_pass(&READ)?;
    match follow.filter {
        Some((tenant, Some(store))) => caller.must_reach(Stream::new(tenant, store))?,
        Some((tenant, None)) => caller.must_reach_tenant(tenant)?,
        None => {}
    }
    let take = |permits: &Arc<tokio::sync::Semaphore>| {
        let full = || ApiError::new(ErrorCode::RateLimitExceeded, "too many live feeds").after(10);
        Arc::clone(permits).try_acquire_owned().map_err(|_| full())
    };
    Ok([take(&session.feeds)?, take(&session.gateway.feeds)?])
}

/// A client that follows has nothing more to say; it may end its side.
async fn listen(mut inbox: Inbox) -> Over {
    match inbox.head().await {
        Ok(Some(head)) => MessageError::Unexpected(head.kind).into(),
        Ok(None) => std::future::pending().await,
        Err(over) => over,
    }
}

struct Feed<'a> {
    session: &'a Arc<Session>,
    follow: &'a Follow,
    send: &'a mut SendStream,
    write_timeout: Duration,
}

/// A message of events, and where to go on.
struct Page {
    /// Head included; empty if no event of the range is shown.
    message: Vec<u8>,
    next: Index,
    events: usize,
}

impl Feed<'_> {
    /// Follows the log until the feed must end; gives the reason.
    async fn run(self) -> Result<ApiError, Over> {
        let gateway = Arc::clone(&self.session.gateway);
        let mut ladder = gateway.reader.subscribe();
        let heartbeat = gateway.config.limits.feed_heartbeat;
        let gone = self.send.stopped();
        let mut gone = std::pin::pin!(gone);
        let mut next = match self.follow.from {
            FollowFrom::Index(index) => index.max(Index::new(1)),
            FollowFrom::Now => Index::new(ladder.borrow().signed.get().max(1)),
        };
        let mut sent = Instant::now();
        // The first word says where the feed is, so that a client knows it is heard.
        let mut greet = true;
        loop {
            if *self.session.stopping.borrow() {
                return Ok(ApiError::new(ErrorCode::Draining, "the connection is about to end"));
            }
            let signed = ladder.borrow_and_update().signed;
            if signed.holds(next) {
                let caller = match self.session.caller() {
                    Ok(caller) => caller,
                    Err(error) => return Ok(error),
                };
                let (from, follow) = (next, *self.follow);
                match gateway.read(move |reader| Ok(page(reader, from, signed, &caller, &follow)?)).await {
                    Ok(page) => {
                        next = page.next;
                        if page.events > 0 {
                            gateway.metrics.quic.feed_events.add(page.events as u64);
                            send_by(self.send, page.message.into(), self.write_timeout).await?;
                            (sent, greet) = (Instant::now(), false);
                        }
                    }
                    // The node is busy with other reads: the next round tries again.
                    Err(error) if error.code == ErrorCode::RateLimitExceeded => {}
                    Err(error) => return Ok(error),
                }
            } else if !greet {
                tokio::select! {
                    moved = ladder.changed() => moved.map_err(|_| Over::Gone)?,
                    () = self.session.stopped() => {}
                    () = tokio::time::sleep_until(sent + heartbeat) => {}
                    _ = &mut gone => return Err(Over::Gone),
                }
            }
            if sent.elapsed() >= heartbeat || (greet && !signed.holds(next)) {
                let mut out = Vec::new();
                Heartbeat { next, size: signed }.write(&mut out);
                send_by(self.send, out.into(), self.write_timeout).await?;
                (sent, greet) = (Instant::now(), false);
            }
        }
    }
}

/// Reads the next message's events: those the caller may see and the filter shows.
fn page(reader: &Reader, from: Index, signed: TreeSize, caller: &Caller, follow: &Follow) -> Result<Page, ReadError> {
    let mut builder = EventsBuilder::new();
    let (mut next, mut scanned) = (from, 0);
    'fill: while signed.holds(next) && scanned < SCAN_EVENTS_MAX && builder.bytes() < MESSAGE_BYTES {
        let events = reader.events_of_log(next, STEP_EVENTS)?;
        if events.is_empty() {
            break;
        }
        for event in events {
            if !signed.holds(event.index) {
                break 'fill;
            }
            let stream = event.frame.stream();
            if follow.shows(stream) && caller.sees(stream) {
                if !builder.fits(event.frame.bytes().len()) {
                    break 'fill;
                }
                builder.push(event.index, event.sequence, event.sequenced_at, &event.public_key, &event.frame);
            }
            next = event.index.next();
            scanned += 1;
            if builder.bytes() >= MESSAGE_BYTES {
                break;
            }
        }
    }
    let events = builder.events();
    let message = if events > 0 { builder.finish(next, signed) } else { Vec::new() };
    Ok(Page { message, next, events })
}
