//! The generator over QUIC: connections of the native protocol with many submissions in flight.
//!
//! Takes bodies of frames and turns; gives counts, latencies and a sample of outcomes with the checkpoint's note they
//! refer to. Outcomes are decoded, since that is cheap, and checked after the clock stopped. One stream a connection
//! carries the submissions; a second is opened only for those the node had no room for.
//! Format: `docs/formats/quic.md`.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream, TransportConfig, VarInt};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tally_protocol::quic::{ALPN, Fate, HEAD_BYTES, Head, Hello, Kind, Outcome, ToClient};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::Failure;
use crate::events::{Body, SAMPLE_EVERY};
use crate::load::{Group, Phase, Sampled, Turn, Turns};
use crate::node::Node;

/// Bytes that may be on their way in each direction, as the client has it.
const WINDOW_BYTES: u32 = 16 << 20;
/// The wait before a submission is repeated for which there was no room.
const BUSY_WAIT: Duration = Duration::from_millis(5);

/// An outcome and the note of its checkpoint.
pub struct Answered {
    /// What became of the events.
    pub outcome: Outcome,
    /// The signed checkpoint, if an event was placed.
    pub note: Option<Arc<str>>,
}

/// Where the QUIC door is and which certificate it shows.
#[derive(Debug, Clone)]
pub struct QuicDoor {
    /// Its UDP address.
    pub address: SocketAddr,
    /// The name in its certificate.
    pub name: String,
    /// The authority to trust, or the certificate itself, PEM.
    pub authority: std::path::PathBuf,
}

/// Runs one group: all its connections, on two threads of their own.
///
/// # Errors
/// If the node has no QUIC door, a connection breaks, or an event's fate is not the one it was made for.
pub(crate) fn run(node: &Node, group: &Group, bodies: &Arc<Vec<Body>>, turns: &Arc<Turns>) -> Result<Phase, Failure> {
    let door = node.quic.clone().ok_or("this node has no QUIC door")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("bench-quic")
        .enable_all()
        .build()
        .map_err(|error| format!("failed to start the runtime: {error}"))?;
    runtime.block_on(async {
        let endpoint = endpoint(&door.authority)?;
        let mut callers = JoinSet::new();
        for number in 0..group.connections.max(1) {
            let caller = Caller {
                endpoint: endpoint.clone(),
                door: door.clone(),
                number,
                api_key: group.api_keys.get(number % group.api_keys.len().max(1)).cloned().unwrap_or_default(),
                window: group.window.max(1),
                bodies: Arc::clone(bodies),
                turns: Arc::clone(turns),
            };
            callers.spawn(caller.run());
        }
        let mut phase = Phase::default();
        while let Some(part) = callers.join_next().await {
            phase.merge(part.map_err(|error| format!("a caller died: {error}"))??);
        }
        endpoint.close(VarInt::from_u32(0), b"");
        Ok(phase)
    })
}

fn endpoint(authority: &Path) -> Result<Endpoint, Failure> {
    let pem = std::fs::read(authority).map_err(|error| format!("failed to read {}: {error}", authority.display()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| format!("{}: {error}", authority.display()))?;
        roots.add(certificate).map_err(|error| format!("{}: {error}", authority.display()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?;
    let mut tls = tls.with_root_certificates(roots).with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(WINDOW_BYTES))
        .receive_window(VarInt::from_u32(WINDOW_BYTES))
        .send_window(u64::from(WINDOW_BYTES))
        .keep_alive_interval(Some(Duration::from_secs(5)));
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).map_err(|error| error.to_string())?));
    config.transport_config(Arc::new(transport));
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let mut endpoint = Endpoint::client(any).map_err(|error| format!("failed to open a UDP socket: {error}"))?;
    endpoint.set_default_client_config(config);
    Ok(endpoint)
}

/// One connection's work.
struct Caller {
    number: usize,
    endpoint: Endpoint,
    door: QuicDoor,
    api_key: String,
    window: usize,
    bodies: Arc<Vec<Body>>,
    turns: Arc<Turns>,
}

/// Submissions without an answer: which body, and the moment its latency runs from.
type Waiting = Arc<Mutex<HashMap<u64, (usize, Instant)>>>;

impl Caller {
    async fn run(self) -> Result<Phase, Failure> {
        let connecting =
            self.endpoint.connect(self.door.address, &self.door.name).map_err(|error| error.to_string())?;
        let connection = connecting.await.map_err(|error| format!("no QUIC connection: {error}"))?;
        // The control stream stays open as long as the connection is used.
        let _control = hello(&connection, &self.api_key).await?;
        let mut phase = Phase::default();
        loop {
            phase.merge(self.stream(&connection).await?);
            if !self.turns.has_repeats(self.number) {
                break;
            }
            tokio::time::sleep(BUSY_WAIT).await;
        }
        connection.close(VarInt::from_u32(0), b"");
        Ok(phase)
    }

    /// One stream of submissions, from the first turn to the last answer.
    async fn stream(&self, connection: &Connection) -> Result<Phase, Failure> {
        let (send, receive) = connection.open_bi().await.map_err(|error| format!("no stream: {error}"))?;
        let (waiting, room) = (Waiting::default(), Arc::new(Semaphore::new(self.window)));
        let reader = Reader {
            number: self.number,
            bodies: Arc::clone(&self.bodies),
            turns: Arc::clone(&self.turns),
            waiting: Arc::clone(&waiting),
            room: Arc::clone(&room),
            notes: HashMap::new(),
            phase: Phase::default(),
        };
        let (failed, mut failure) = mpsc::channel::<()>(1);
        let reading = tokio::spawn(async move {
            let read = reader.run(receive).await;
            drop(failed);
            read
        });
        let written = self.write(send, &waiting, &room, &mut failure).await;
        let read = reading.await.map_err(|error| format!("a reader died: {error}"))?;
        // What the reader saw says more than a write that failed because of it.
        let phase = read?;
        written?;
        Ok(phase)
    }

    async fn write(
        &self,
        mut send: SendStream,
        waiting: &Waiting,
        room: &Semaphore,
        failure: &mut mpsc::Receiver<()>,
    ) -> Result<(), Failure> {
        let mut number = 0;
        loop {
            // Room first: in the closed loop a body's clock starts when it can be sent.
            let acquired = std::pin::pin!(room.acquire());
            let failed = std::pin::pin!(failure.recv());
            let permit = match first_of(acquired, failed).await {
                Some(permit) => permit.map_err(|error| error.to_string())?,
                None => return Err("the answers ended".into()),
            };
            let Turn::Send(which, begin) = self.turns.take(self.number) else { break };
            permit.forget();
            tokio::time::sleep_until(begin.into()).await;
            let body = &self.bodies[which];
            waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(number, (which, begin));
            let mut chunks = [head(number, body), body.frames.clone()];
            send.write_all_chunks(&mut chunks).await.map_err(|error| format!("a write failed: {error}"))?;
            number += 1;
        }
        send.finish().map_err(|error| error.to_string())
    }
}

/// The first future's value, or none if the second ends first.
async fn first_of<A: Future + Unpin, B: Future + Unpin>(mut first: A, mut second: B) -> Option<A::Output> {
    std::future::poll_fn(move |context| {
        if let std::task::Poll::Ready(value) = std::pin::Pin::new(&mut first).poll(context) {
            return std::task::Poll::Ready(Some(value));
        }
        std::pin::Pin::new(&mut second).poll(context).map(|_| None)
    })
    .await
}

/// What goes before a body's frames.
fn head(number: u64, body: &Body) -> Bytes {
    let head = Head { kind: Kind::Submit, body_bytes: 10 + body.frames.len() };
    let mut bytes = Vec::with_capacity(HEAD_BYTES + 10);
    bytes.extend_from_slice(&head.encode());
    bytes.extend_from_slice(&number.to_be_bytes());
    bytes.extend_from_slice(&(body.count as u16).to_be_bytes());
    bytes.into()
}

async fn hello(connection: &Connection, api_key: &str) -> Result<(SendStream, RecvStream), Failure> {
    let (mut send, mut receive) = connection.open_bi().await.map_err(|error| format!("no control stream: {error}"))?;
    let mut message = Vec::new();
    Hello::new(api_key).map_err(|error| error.to_string())?.write(&mut message);
    send.write_all(&message).await.map_err(|error| format!("no greeting: {error}"))?;
    match message_of(&mut receive).await? {
        Some(ToClient::Welcome(_)) => Ok((send, receive)),
        Some(ToClient::Refused(refused)) => Err(format!("refused: {}", refused.message())),
        _ => Err("the node did not greet".into()),
    }
}

/// The next message; none at the end of the stream.
async fn message_of(receive: &mut RecvStream) -> Result<Option<ToClient>, Failure> {
    let mut head = [0; HEAD_BYTES];
    match receive.read_exact(&mut head).await {
        Ok(()) => {}
        Err(quinn::ReadExactError::FinishedEarly(0)) => return Ok(None),
        Err(error) => return Err(format!("a read failed: {error}")),
    }
    let head = Head::decode(&head).map_err(|error| error.to_string())?;
    let mut body = vec![0; head.body_bytes];
    receive.read_exact(&mut body).await.map_err(|error| format!("a read failed: {error}"))?;
    ToClient::decode(head.kind, body.into()).map(Some).map_err(|error| error.to_string())
}

/// Takes in the answers of one stream.
struct Reader {
    number: usize,
    bodies: Arc<Vec<Body>>,
    turns: Arc<Turns>,
    waiting: Waiting,
    room: Arc<Semaphore>,
    notes: HashMap<u32, Arc<str>>,
    phase: Phase,
}

impl Reader {
    async fn run(mut self, mut receive: RecvStream) -> Result<Phase, Failure> {
        while let Some(message) = message_of(&mut receive).await? {
            match message {
                ToClient::Checkpoint(checkpoint) => {
                    self.notes.insert(checkpoint.id, checkpoint.note().into());
                }
                ToClient::Outcome(outcome) => self.take(outcome)?,
                ToClient::Refused(refused) => {
                    let (which, begin) = self.answered(refused.number)?;
                    if refused.retry_after_ms == 0 {
                        return Err(format!("refused for good: {}", refused.message()));
                    }
                    self.phase.busy += 1;
                    tokio::time::sleep(BUSY_WAIT).await;
                    self.turns.put_back(self.number, which, begin);
                }
                _ => return Err("a message that does not belong on a stream of submissions".into()),
            }
        }
        let left = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).len();
        if left == 0 { Ok(self.phase) } else { Err(format!("the stream ended with {left} submissions unanswered")) }
    }

    fn answered(&self, number: u64) -> Result<(usize, Instant), Failure> {
        self.room.add_permits(1);
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        waiting.ok_or_else(|| format!("an answer to submission {number}, which has one or was never made"))
    }

    fn take(&mut self, outcome: Outcome) -> Result<(), Failure> {
        let (which, begin) = self.answered(outcome.number)?;
        let body = &self.bodies[which];
        self.phase.latency.record_many(begin.elapsed().as_micros() as u64, body.count as u64);
        let placed = outcome.fates().filter(|fate| matches!(fate, Fate::Placed { .. })).count();
        if outcome.events() != body.count || placed + body.bad != body.count {
            let first = outcome.fates().find_map(|fate| match fate {
                Fate::Rejected(rejection) => Some(rejection.message().to_owned()),
                Fate::Duplicate(_) => Some("it is a duplicate".to_owned()),
                Fate::Placed { .. } => None,
            });
            let why = first.unwrap_or_default();
            return Err(format!("{placed} of {} events were accepted, {} are bad: {why}", body.count, body.bad));
        }
        self.phase.events += placed;
        self.phase.refused += body.bad;
        self.phase.frame_bytes += body.frames.len() as u64;
        if which.is_multiple_of(SAMPLE_EVERY) {
            let note = outcome.checkpoint().and_then(|id| self.notes.get(&id).cloned());
            self.phase.sample.push((which, Sampled::Quic(Box::new(Answered { outcome, note }))));
        }
        Ok(())
    }
}
