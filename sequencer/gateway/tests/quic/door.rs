//! A node with a QUIC door beside its HTTP one, and a client that speaks the messages by hand.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream, TransportConfig};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tally_gateway::{ClientCertificates, QuicConfig, QuicEndpoint, QuicLimits};
use tally_protocol::frame::Frame;
use tally_protocol::quic::{
    ALPN, CheckpointNote, CloseCode, Fate, Head, Hello, Kind, Outcome, Refused, Submit, ToClient, Welcome,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::common::{Setup, TestServer};

/// What a test may change about the QUIC door.
pub(crate) struct DoorSetup {
    pub(crate) http: Setup,
    pub(crate) limits: QuicLimits,
    pub(crate) clients: Option<ClientCertificates>,
}

/// A certificate for localhost and its key, PEM.
pub(crate) fn certificate() -> (Vec<u8>, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    (made.cert.pem().into_bytes(), made.signing_key.serialize_pem().into_bytes())
}

impl DoorSetup {
    pub(crate) fn new() -> Self {
        Self { http: Setup::new(), limits: QuicLimits::standard(), clients: None }
    }

    pub(crate) async fn start(self) -> Door {
        let server = self.http.start().await;
        Door::open(server, self.limits, self.clients)
    }
}

/// A node with both doors.
pub(crate) struct Door {
    pub(crate) server: TestServer,
    pub(crate) address: SocketAddr,
    pub(crate) certificate: Vec<u8>,
    pub(crate) key: Vec<u8>,
    stop: Mutex<Option<oneshot::Sender<()>>>,
    served: Mutex<Option<JoinHandle<()>>>,
}

impl Door {
    pub(crate) async fn new() -> Self {
        DoorSetup::new().start().await
    }

    pub(crate) fn open(server: TestServer, limits: QuicLimits, clients: Option<ClientCertificates>) -> Self {
        let (certificate, key) = certificate();
        let config = QuicConfig { certificate: certificate.clone(), key: key.clone(), clients, limits };
        let endpoint = QuicEndpoint::bind(SocketAddr::from(([127, 0, 0, 1], 0)), &config).unwrap();
        let address = endpoint.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tally_gateway::serve_quic(endpoint, Arc::clone(&server.gateway), async {
            let _ = stopped.await;
        });
        let served = Mutex::new(Some(tokio::spawn(serving)));
        Self { server, address, certificate, key, stop: Mutex::new(Some(stop)), served }
    }

    /// TLS of a client that trusts this door.
    pub(crate) fn tls(&self) -> rustls::ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&self.certificate).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        config
    }

    /// A connection that has said nothing yet.
    pub(crate) async fn connect(&self) -> Line {
        self.connect_with(self.tls()).await.unwrap()
    }

    pub(crate) async fn connect_with(&self, tls: rustls::ClientConfig) -> Result<Line, ConnectionError> {
        let endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        let connection = endpoint.connect_with(config, self.address, "localhost").unwrap().await?;
        Ok(Line { connection, _endpoint: endpoint })
    }

    /// A connection that takes only so many bytes that it has not read.
    pub(crate) async fn connect_narrow(&self, window_bytes: u32) -> Line {
        let endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(self.tls()).unwrap()));
        let mut transport = TransportConfig::default();
        transport.stream_receive_window(window_bytes.into()).keep_alive_interval(Some(Duration::from_millis(100)));
        config.transport_config(Arc::new(transport));
        let connection = endpoint.connect_with(config, self.address, "localhost").unwrap().await.unwrap();
        Line { connection, _endpoint: endpoint }
    }

    /// A session under an API key.
    pub(crate) async fn session(&self, key: &str) -> Session {
        self.connect().await.hello(key).await.unwrap()
    }

    /// Stops the door as a shutdown would.
    pub(crate) fn stop(&self) -> JoinHandle<()> {
        drop(self.stop.lock().unwrap().take());
        self.served.lock().unwrap().take().unwrap()
    }

    /// A measurement, by its name in `/metrics`.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let text = self.server.get(&self.server.operator(), "/metrics").await.text();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("tally_{name} ")));
        line.unwrap_or_else(|| panic!("no metric {name}")).parse().unwrap()
    }
}

/// A connection.
pub(crate) struct Line {
    pub(crate) connection: Connection,
    _endpoint: Endpoint,
}

impl Line {
    pub(crate) async fn hello(self, key: &str) -> Result<Session, Refused> {
        let (mut send, receive) = self.connection.open_bi().await.unwrap();
        let mut out = Vec::new();
        Hello::new(key).unwrap().write(&mut out);
        send.write_all(&out).await.unwrap();
        let mut control = Mailbox::new(receive);
        match control.next().await {
            Some(ToClient::Welcome(welcome)) => Ok(Session { line: self, control, _control: send, welcome: *welcome }),
            Some(ToClient::Refused(refused)) => {
                assert_eq!(self.closed().await, Some(CloseCode::Unauthorized));
                Err(refused)
            }
            other => panic!("{other:?}"),
        }
    }

    /// Waits until the server closes, and gives its code.
    pub(crate) async fn closed(&self) -> Option<CloseCode> {
        let closed = tokio::time::timeout(Duration::from_secs(20), self.connection.closed());
        match closed.await.expect("the server closes the connection") {
            ConnectionError::ApplicationClosed(close) => CloseCode::from_number(close.error_code.into_inner()),
            _ => None,
        }
    }
}

/// A connection whose caller was welcomed.
pub(crate) struct Session {
    pub(crate) line: Line,
    pub(crate) control: Mailbox,
    _control: SendStream,
    pub(crate) welcome: Welcome,
}

impl Session {
    pub(crate) async fn stream(&self) -> Lane {
        let (send, receive) = self.line.connection.open_bi().await.unwrap();
        Lane { send, mail: Mailbox::new(receive), checkpoints: Vec::new(), next: 1 }
    }

    /// One submission on a stream of its own.
    pub(crate) async fn submit(&self, frames: &[Frame]) -> Result<Answer, Refused> {
        let mut lane = self.stream().await;
        lane.submit(frames).await;
        lane.answer().await
    }
}

/// Messages off a stream.
pub(crate) struct Mailbox {
    stream: RecvStream,
    bytes: BytesMut,
}

impl Mailbox {
    pub(crate) fn new(stream: RecvStream) -> Self {
        Self { stream, bytes: BytesMut::new() }
    }

    /// The next message; none at the stream's end, however it came.
    pub(crate) async fn next(&mut self) -> Option<ToClient> {
        loop {
            if let Some(head) = self.bytes.first_chunk() {
                let head = Head::decode(head).unwrap();
                if self.bytes.len() >= 5 + head.body_bytes {
                    let message = self.bytes.split_to(5 + head.body_bytes).freeze();
                    return Some(ToClient::decode(head.kind, message.slice(5..)).unwrap());
                }
            }
            let chunk = tokio::time::timeout(Duration::from_secs(20), self.stream.read_chunk(1 << 20, true)).await;
            match chunk.expect("the server says something") {
                Ok(Some(chunk)) => self.bytes.extend_from_slice(&chunk.bytes),
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

/// A stream of submissions.
pub(crate) struct Lane {
    pub(crate) send: SendStream,
    pub(crate) mail: Mailbox,
    checkpoints: Vec<CheckpointNote>,
    next: u64,
}

/// The answer to a submission, with the checkpoints it refers to.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    pub(crate) checkpoints: Vec<CheckpointNote>,
}

impl Lane {
    /// Sends a submission; gives its number.
    pub(crate) async fn submit(&mut self, frames: &[Frame]) -> u64 {
        let number = self.next;
        self.next += 1;
        let mut out = Vec::new();
        Submit::new(number, frames).unwrap().write(&mut out);
        self.send.write_all(&out).await.unwrap();
        number
    }

    /// The same while the server takes it; none when it does no longer.
    pub(crate) async fn submit_or_stop(&mut self, frames: &[Frame]) -> Option<()> {
        let mut out = Vec::new();
        Submit::new(self.next, frames).unwrap().write(&mut out);
        self.next += 1;
        self.send.write_all(&out).await.ok()
    }

    pub(crate) async fn raw(&mut self, kind: Kind, body: &[u8]) {
        let mut out = Head { kind, body_bytes: body.len() }.encode().to_vec();
        out.extend_from_slice(body);
        let _ = self.send.write_all(&out).await;
    }

    /// The next answer, or none if the stream ended.
    pub(crate) async fn try_answer(&mut self) -> Option<Result<Answer, Refused>> {
        loop {
            match self.mail.next().await? {
                ToClient::Checkpoint(note) => {
                    assert_eq!(note.id as usize, self.checkpoints.len() + 1, "ids rise");
                    self.checkpoints.push(note);
                }
                ToClient::Outcome(outcome) => {
                    let checkpoints = self.checkpoints.clone();
                    return Some(Ok(Answer { outcome, checkpoints }));
                }
                ToClient::Refused(refused) => return Some(Err(refused)),
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn answer(&mut self) -> Result<Answer, Refused> {
        self.try_answer().await.expect("an answer")
    }
}

impl Answer {
    /// The index of each event that is in the log, new or not.
    pub(crate) fn indexes(&self) -> Vec<Option<u64>> {
        let index = |fate| match fate {
            Fate::Placed { index, .. } => Some(index.get()),
            Fate::Duplicate(duplicate) => Some(duplicate.index.get()),
            Fate::Rejected(_) => None,
        };
        self.outcome.fates().map(index).collect()
    }

    pub(crate) fn note(&self, id: u32) -> &str {
        self.checkpoints.iter().find(|note| note.id == id).expect("the checkpoint was sent before").note()
    }
}

/// Bytes that are no message.
pub(crate) fn garbage(length: usize) -> Bytes {
    (0..length).map(|at| (at * 167 + 13) as u8).collect::<Vec<u8>>().into()
}
