//! One connection: handshake, `Hello`, streams, end. Everything in it is bounded in number by QUIC's own stream limits and
//! in bytes by its windows, which stay small until the caller is known.
//!
//! It ends when the client ends its control stream, when either side breaks off, when the credential ends, when the
//! session's time is over, or when the node drains; in the last two cases what was read is answered first.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, Incoming, SendStream, VarInt};
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use tally_api::error::ErrorCode;
use tally_protocol::hash::ApiKeyHash;
use tally_protocol::quic::{CloseCode, Hello, Kind, MessageError, Refused, ToServer, Welcome};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::config::{QuicLimits, SMALL_WINDOW};
use super::inbox::Inbox;
use super::metrics::Counted;
use super::session::{Callers, Session};
use super::{feed, submissions};
use crate::Gateway;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::limits::{ByteBudget, BytePermit};

/// What all connections share.
pub(super) struct Door {
    pub(super) gateway: Arc<Gateway>,
    pub(super) limits: QuicLimits,
    pub(super) callers: Callers,
    /// Subjects of client certificates and the credentials they stand for.
    pub(super) subjects: Vec<(ServerName<'static>, ApiKeyHash)>,
    /// Connections that have not said who they are.
    pub(super) handshakes: Arc<Semaphore>,
    /// Large windows.
    pub(super) buffers: Arc<ByteBudget>,
}

/// Why a stream is over before its time.
#[derive(Debug)]
pub(super) enum Over {
    /// The client, or the connection, is gone.
    Gone,
    /// The client broke the protocol: after that nobody knows where the next message starts.
    Malformed(MessageError),
    /// The client sends or takes too slowly.
    TooSlow,
}

impl From<MessageError> for Over {
    fn from(error: MessageError) -> Self {
        Self::Malformed(error)
    }
}

/// How often the credential of an open session is looked up whatever happens.
const RECHECK: Duration = Duration::from_secs(1);
/// How long the last words of a connection may take to arrive.
const FAREWELL: Duration = Duration::from_secs(1);

/// How a connection ends.
enum End {
    /// Without a word: the client is gone, or has said that it is done.
    Close(CloseCode),
    /// At once, with a reason.
    Refuse(ApiError, CloseCode),
    /// After what was read is answered.
    Drain(ApiError),
}

/// A connection that has said who calls.
struct Greeted {
    connection: Connection,
    control: SendStream,
    inbox: Inbox,
    caller: Result<Caller, ApiError>,
}

/// Serves one connection to its end.
pub(super) async fn serve(door: Arc<Door>, incoming: Incoming) {
    let metrics = Arc::clone(&door.gateway.metrics);
    let Ok(handshake) = Arc::clone(&door.handshakes).try_acquire_owned() else {
        metrics.quic.connections_refused.add(1);
        incoming.refuse();
        return;
    };
    let greeted = timeout(door.limits.hello_timeout, greet(&door, incoming)).await;
    drop(handshake);
    let Greeted { connection, mut control, inbox, caller } = match greeted {
        Ok(Ok(greeted)) => greeted,
        Ok(Err(error)) => {
            metrics.quic.handshakes_failed.add(1);
            tracing::debug!(?error, "a QUIC connection ended before Hello");
            return;
        }
        Err(_) => {
            metrics.quic.handshakes_failed.add(1);
            metrics.quic.too_slow.add(1);
            return;
        }
    };
    let (stop, stopping) = watch::channel(false);
    let session = caller.map_err(|error| (error, CloseCode::Unauthorized)).and_then(|caller| {
        let feeds_max = usize::from(door.limits.feeds_max);
        Session::new(&door.gateway, &door.callers, caller, feeds_max, stopping)
            .map_err(|error| (error, CloseCode::TooMany))
    });
    match session {
        Ok(session) => {
            let open = Counted::new(&door.gateway, |metrics| &metrics.connections);
            let live = Live { door: &door, connection: &connection, session: Arc::new(session), stop };
            live.run(control, inbox).await;
            drop(open);
        }
        Err((error, code)) => {
            refuse(&door, &mut control, &error).await;
            close(&connection, code);
        }
    }
}

async fn greet(door: &Door, incoming: Incoming) -> Result<Greeted, Over> {
    let connecting = incoming.accept().map_err(|_| Over::Gone)?;
    let connection = connecting.await.map_err(|_| Over::Gone)?;
    let hello = read_hello(door, &connection).await;
    if let Err(Over::Malformed(_)) = &hello {
        door.gateway.metrics.quic.malformed.add(1);
        close(&connection, CloseCode::Malformed);
    }
    let (control, inbox, hello) = hello?;
    let caller = match hello.api_key() {
        Some(key) => door.gateway.door().admit_key(key),
        None => door.certified(&connection),
    };
    Ok(Greeted { connection, control, inbox, caller })
}

async fn read_hello(door: &Door, connection: &Connection) -> Result<(SendStream, Inbox, Hello), Over> {
    let (control, stream) = connection.accept_bi().await.map_err(|_| Over::Gone)?;
    let mut inbox = Inbox::new(stream, door.limits.hello_timeout);
    let head = inbox.head().await?.ok_or(MessageError::Truncated)?;
    if head.kind != Kind::Hello {
        return Err(MessageError::Unexpected(head.kind).into());
    }
    match ToServer::decode(head.kind, inbox.body(head.body_bytes).await?)? {
        ToServer::Hello(hello) => Ok((control, inbox, hello)),
        _ => Err(MessageError::Unexpected(head.kind).into()),
    }
}

impl Door {
    /// The caller that a client's certificate stands for. The handshake has checked who signed it.
    fn certified(&self, connection: &Connection) -> Result<Caller, ApiError> {
        let needed = || ApiError::new(ErrorCode::AuthRequired, "send an API key, or show a client certificate");
        let chain = connection.peer_identity().and_then(|chain| chain.downcast::<Vec<CertificateDer<'static>>>().ok());
        let chain = chain.ok_or_else(needed)?;
        let certificate = chain.first().ok_or_else(needed)?;
        let unknown = || ApiError::new(ErrorCode::InvalidApiKey, "the certificate's subject stands for no credential");
        let certificate = ParsedCertificate::try_from(certificate).map_err(|_| unknown())?;
        let subject = self.subjects.iter().find(|(name, _)| verify_server_name(&certificate, name).is_ok());
        self.gateway.door().admit_credential(&subject.ok_or_else(unknown)?.1)
    }

    fn welcome(&self) -> Welcome {
        let limits = &self.limits;
        Welcome {
            genesis: self.gateway.reader.ledger().genesis.clone(),
            window_bytes: limits.window_bytes.into(),
            submit_bytes_max: u32::try_from(limits.submit_bytes_max).unwrap_or(u32::MAX),
            submit_events_max: tally_protocol::limits::EVENTS_PER_REQUEST_MAX as u16,
            streams_max: limits.streams_max,
            feeds_max: limits.feeds_max,
        }
    }

    /// Large windows, while there is budget for them.
    fn widen(&self, connection: &Connection) -> Option<BytePermit> {
        let (receive, send) = (self.limits.receive_window_bytes, self.limits.send_window_bytes);
        let mut permit = self.buffers.permit();
        let more = (receive - SMALL_WINDOW) as usize + (send - SMALL_WINDOW) as usize;
        if !permit.grow(more) {
            return None;
        }
        connection.set_receive_window(VarInt::from_u32(receive));
        connection.set_send_window(send.into());
        Some(permit)
    }
}

fn close(connection: &Connection, code: CloseCode) {
    connection.close(code.number().into(), b"");
}

/// Says no on the control stream, and waits a little for it to arrive.
async fn refuse(door: &Door, control: &mut SendStream, error: &ApiError) {
    door.gateway.metrics.quic.refused.add(1);
    door.gateway.metrics.on_error(error.code);
    last_words(control, |out| error.refused(0).write(out)).await;
}

async fn last_words(control: &mut SendStream, write: impl FnOnce(&mut Vec<u8>)) {
    let mut out = Vec::new();
    write(&mut out);
    let said = async {
        if control.write_chunk(out.into()).await.is_ok() && control.finish().is_ok() {
            let _ = control.stopped().await;
        }
    };
    let _ = timeout(FAREWELL, said).await;
}

/// A connection with a known caller.
struct Live<'a> {
    door: &'a Arc<Door>,
    connection: &'a Connection,
    session: Arc<Session>,
    stop: watch::Sender<bool>,
}

impl Live<'_> {
    async fn run(self, mut control: SendStream, inbox: Inbox) {
        let windows = self.door.widen(self.connection);
        let mut out = Vec::new();
        self.door.welcome().write(&mut out);
        if control.write_chunk(out.into()).await.is_err() {
            return;
        }
        let mut streams = JoinSet::new();
        let end = self.watch(&mut streams, inbox).await;
        let code = match end {
            End::Close(code) => {
                if code == CloseCode::Done {
                    self.finish(&mut streams).await;
                }
                code
            }
            End::Refuse(error, code) => {
                self.stop.send_replace(true);
                refuse(self.door, &mut control, &error).await;
                code
            }
            End::Drain(error) => {
                let mut out = Vec::new();
                error.go_away().write(&mut out);
                let _ = control.write_chunk(out.into()).await;
                self.finish(&mut streams).await;
                CloseCode::Draining
            }
        };
        match code {
            CloseCode::Malformed => self.door.gateway.metrics.quic.malformed.add(1),
            CloseCode::TooSlow => self.door.gateway.metrics.quic.too_slow.add(1),
            _ => {}
        }
        close(self.connection, code);
        streams.shutdown().await;
        drop(windows);
    }

    /// Takes streams until something ends the connection.
    async fn watch(&self, streams: &mut JoinSet<Result<(), Over>>, mut inbox: Inbox) -> End {
        let mut draining = self.door.gateway.draining.subscribe();
        let mut recheck = tokio::time::interval_at(Instant::now() + RECHECK, RECHECK);
        let mut session_over = std::pin::pin!(tokio::time::sleep(self.door.limits.session_max));
        // Made once: a head half read must not be lost when something else is first.
        let mut control = std::pin::pin!(inbox.head());
        loop {
            tokio::select! {
                accepted = self.connection.accept_bi() => match accepted {
                    Ok((send, receive)) => {
                        self.door.gateway.metrics.quic.streams_total.add(1);
                        let inbox = Inbox::new(receive, self.door.limits.message_timeout);
                        streams.spawn(stream(Arc::clone(self.door), Arc::clone(&self.session), inbox, send));
                    }
                    Err(_) => return End::Close(CloseCode::Done),
                },
                Some(joined) = streams.join_next(), if !streams.is_empty() => match joined {
                    Ok(Ok(()) | Err(Over::Gone)) => {}
                    Ok(Err(Over::Malformed(error))) => return self.malformed(&error),
                    Ok(Err(Over::TooSlow)) => return End::Close(CloseCode::TooSlow),
                    Err(error) => {
                        tracing::error!(%error, "a QUIC stream's task failed");
                        return End::Close(CloseCode::Internal);
                    }
                },
                message = &mut control => return match message {
                    Ok(None) => End::Close(CloseCode::Done),
                    Ok(Some(head)) => self.malformed(&MessageError::Unexpected(head.kind)),
                    Err(Over::Malformed(error)) => self.malformed(&error),
                    Err(Over::TooSlow) => End::Close(CloseCode::TooSlow),
                    Err(Over::Gone) => End::Close(CloseCode::Done),
                },
                _ = recheck.tick() => if let Err(error) = self.session.recheck() {
                    return End::Refuse(error, CloseCode::Unauthorized);
                },
                _ = draining.wait_for(|draining| *draining) => {
                    return End::Drain(ApiError::new(ErrorCode::Draining, "the node is shutting down"));
                }
                () = &mut session_over => {
                    let message = "the session's time is over; connect again";
                    return End::Drain(ApiError::new(ErrorCode::ServiceUnavailable, message));
                }
            }
        }
    }

    fn malformed(&self, error: &MessageError) -> End {
        tracing::debug!(%error, "a QUIC client broke the protocol");
        End::Close(CloseCode::Malformed)
    }

    /// Reads nothing new and lets the streams answer what was read.
    async fn finish(&self, streams: &mut JoinSet<Result<(), Over>>) {
        self.stop.send_replace(true);
        let all = async { while streams.join_next().await.is_some() {} };
        tokio::select! {
            _ = timeout(self.door.gateway.config.limits.drain_timeout, all) => {}
            _ = self.connection.closed() => {}
        }
    }
}

/// One stream: its first message decides what it is for.
async fn stream(door: Arc<Door>, session: Arc<Session>, mut inbox: Inbox, send: SendStream) -> Result<(), Over> {
    let open = Counted::new(&door.gateway, |metrics| &metrics.streams);
    let head = tokio::select! {
        head = inbox.head() => head?,
        () = session.stopped() => None,
    };
    let result = match head {
        None => {
            inbox.stop(CloseCode::Done);
            Ok(())
        }
        Some(head) if head.kind == Kind::Submit => submissions::run(&door, &session, inbox, send, head).await,
        Some(head) if head.kind == Kind::Follow => {
            let body = inbox.body(head.body_bytes).await?;
            match ToServer::decode(head.kind, body)? {
                ToServer::Follow(follow) => feed::run(&session, inbox, send, &follow).await,
                _ => Err(MessageError::Unexpected(head.kind).into()),
            }
        }
        Some(head) => Err(MessageError::Unexpected(head.kind).into()),
    };
    drop(open);
    result
}

/// Writes within the time a client has to take it.
pub(super) async fn send_by(send: &mut SendStream, bytes: Bytes, limit: Duration) -> Result<(), Over> {
    match timeout(limit, send.write_chunk(bytes)).await {
        Err(_) => Err(Over::TooSlow),
        Ok(written) => written.map_err(|_| Over::Gone),
    }
}

/// Ends the answers of a stream, and waits for them to arrive, so that nothing is lost when the connection ends next.
pub(super) async fn finish(send: &mut SendStream, limit: Duration) -> Result<(), Over> {
    send.finish().map_err(|_| Over::Gone)?;
    match timeout(limit, send.stopped()).await {
        Err(_) => Err(Over::TooSlow),
        Ok(stopped) => stopped.map(|_| ()).map_err(|_| Over::Gone),
    }
}

/// Counts a refusal and gives it its form on the wire.
pub(super) fn refused(gateway: &Gateway, number: u64, error: &ApiError) -> Refused {
    gateway.metrics.quic.refused.add(1);
    gateway.metrics.on_error(error.code);
    error.refused(number)
}
