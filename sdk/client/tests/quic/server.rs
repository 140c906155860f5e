//! A sequencer of the model behind both doors, which keeps a true log and misbehaves on order.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, RecvStream, SendStream, ServerConfig, VarInt};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tally_api::error::ErrorCode;
use tally_api::proof::Consistency;
use tally_api::receipt::Receipt;
use tally_api::submit::{EventOutcome, Rejection, SubmitAnswer};
use tally_merkle::{Frontier, RunTree, consistency_path, inclusion_path};
use tally_protocol::error::Reject;
use tally_protocol::frame::Frame;
use tally_protocol::hash::{LeafHash, NodeHash};
use tally_protocol::id::{Index, Sequence, TreeSize};
use tally_protocol::quic::{
    CheckpointNote, CloseCode, Duplicate, EventsBuilder, FollowFrom, HEAD_BYTES, Head, Heartbeat, Outcome, Refused,
    ToServer, Welcome,
};
use tally_protocol::time::LogTime;
use tally_testkit::{Expected, Placement, ReferenceLog, TestAgent, TestLedger, TestTenant, event_id, signing_key};

pub(crate) const START: LogTime = LogTime::from_micros(1_767_225_600_000_000);

/// What the server does wrong with the next thing it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misdeed {
    Nothing,
    /// 2001, nothing taken.
    Busy,
    /// 7104, although everything was taken.
    Forget,
    /// Takes everything and hangs up.
    HangUp,
    /// Takes everything and never answers.
    Silence,
    /// One result too few.
    Fewer,
    /// One result too many.
    More,
    /// The events' places, each for its neighbour.
    Exchange,
    /// Sequences one higher than in the log.
    Elsewhere,
    /// A proof with another hash in it.
    Root,
    /// A proof with a hash too many.
    Padded,
    /// The duplicate's path with another hash in it.
    Path,
    /// A checkpoint signed by somebody else.
    Stranger,
    /// A checkpoint of before the events.
    Early,
    /// Proofs and checkpoints of another history with the same keys.
    Fork,
    /// The answer of the submission before, under this one's number.
    Replay,
    /// The right answer twice.
    Twice,
    /// An answer under a number that nobody waits for.
    Number,
    /// An answer that names a checkpoint that was not sent.
    Unsent,
    /// Bytes that are no message.
    Garbage,
    /// A feed that leaves an event out.
    Omit,
    /// A feed that says an event twice.
    Repeat,
    /// A feed that exchanges a payload.
    Alter,
}

pub(crate) struct World {
    pub(crate) ledger: TestLedger,
    pub(crate) model: ReferenceLog,
    forked: ReferenceLog,
    pub(crate) misdeeds: VecDeque<Misdeed>,
    /// Of connections, before they are welcomed.
    pub(crate) greeting: VecDeque<Refused>,
    pub(crate) welcomed_as: Option<TestLedger>,
    last: Option<Outcome>,
    pub(crate) over_quic: usize,
    pub(crate) over_http: usize,
    pub(crate) connections: usize,
    pub(crate) live: Vec<Connection>,
}

pub(crate) type Shared = Arc<Mutex<World>>;

pub(crate) fn world() -> (Shared, TestTenant, TestAgent) {
    let ledger = TestLedger::new("log.example/quic", START);
    let tenant = TestTenant::new(1);
    let agent = tenant.agent(1);
    let mut model = ReferenceLog::new(ledger.genesis.clone());
    model.submit(&ledger.create(&tenant, event_id(1), START), START);
    model.submit(&tenant.register(&agent, event_id(1), START), START);
    let world = World {
        ledger,
        forked: model.clone(),
        model,
        misdeeds: VecDeque::new(),
        greeting: VecDeque::new(),
        welcomed_as: None,
        last: None,
        over_quic: 0,
        over_http: 0,
        connections: 0,
        live: Vec::new(),
    };
    (Arc::new(Mutex::new(world)), tenant, agent)
}

pub(crate) fn lock(world: &Shared) -> MutexGuard<'_, World> {
    world.lock().unwrap()
}

impl World {
    fn submit(&mut self, frames: &[Frame]) -> Vec<Expected> {
        // In the other history every event is one microsecond later.
        let later = LogTime::from_micros(START.micros() + 1);
        for frame in frames {
            self.forked.submit(frame, later);
        }
        frames.iter().map(|frame| self.model.submit(frame, START)).collect()
    }

    /// Checkpoint and outcome for a submission.
    fn answer(&mut self, number: u64, frames: &[Frame], misdeed: Misdeed, id: u32) -> (String, Outcome) {
        let fates = self.submit(frames);
        let history = if misdeed == Misdeed::Fork { &self.forked } else { &self.model };
        let leaves = history.leaves();
        let tree = RunTree::extend(&mut Frontier::new(), &leaves);
        let mut signer = self.ledger.clone();
        if misdeed == Misdeed::Stranger {
            signer.receipt_key = signing_key("stranger");
        }
        let size = if misdeed == Misdeed::Early { leaves.len() - frames.len() } else { leaves.len() } as u64;
        let note = signer.sign(&leaves, size, false);
        let mut outcome = Outcome::new(number);
        let mut asked: Vec<Index> = Vec::new();
        for fate in &fates {
            let place = |at: &Placement| history.events().nth(at.index.get() as usize - 1).unwrap().2;
            match fate {
                Expected::Accepted(at) => {
                    let at = place(at);
                    let higher = u64::from(misdeed == Misdeed::Elsewhere);
                    asked.push(at.index);
                    outcome.push_placed(at.index, Sequence::new(at.sequence.get() + higher), at.sequenced_at);
                }
                Expected::Duplicate(at) => {
                    let at = place(at);
                    let mut path = inclusion_path(&tree, at.index, tree.size()).unwrap();
                    if misdeed == Misdeed::Path {
                        path[0] = NodeHash::ZERO;
                    }
                    let (index, sequence, sequenced_at) = (at.index, at.sequence, at.sequenced_at);
                    outcome.push_duplicate(Duplicate { index, sequence, sequenced_at, checkpoint: id, path });
                }
                Expected::Rejected(code) => outcome.push_rejected((&Reject::new(*code, "on order")).into()),
            }
        }
        if !asked.is_empty() {
            let mut proof = tree.multiproof(&asked);
            match misdeed {
                Misdeed::Root => proof[0] = NodeHash::ZERO,
                Misdeed::Padded => proof.push(NodeHash::ZERO),
                _ => {}
            }
            outcome.certify(if misdeed == Misdeed::Unsent { id + 7 } else { id }, proof);
        }
        (note, outcome)
    }
}

/// Who listens, and where.
pub(crate) struct Doors {
    pub(crate) url: String,
    pub(crate) quic: SocketAddr,
    pub(crate) certificate: Vec<u8>,
    pub(crate) endpoint: Endpoint,
}

pub(crate) async fn open(world: &Shared, alpn: &[u8]) -> Doors {
    let router = Router::new()
        .route("/v1/events", post(submit_http))
        .route("/v1/ledger", get(ledger))
        .route("/v1/proofs/consistency", get(consistency))
        .with_state(Arc::clone(world));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });

    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem().into_bytes(), made.signing_key.serialize_pem());
    let chain = vec![CertificateDer::from_pem_slice(&certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider);
    let tls = tls.with_protocol_versions(&[&rustls::version::TLS13]).unwrap().with_no_client_auth();
    let mut tls = tls.with_single_cert(chain, key).unwrap();
    tls.alpn_protocols = vec![alpn.to_vec()];
    let config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    let endpoint = Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
    let quic = endpoint.local_addr().unwrap();
    tokio::spawn(accept(endpoint.clone(), Arc::clone(world)));
    Doors { url, quic, certificate, endpoint }
}

async fn accept(endpoint: Endpoint, world: Shared) {
    while let Some(incoming) = endpoint.accept().await {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            if let Ok(connection) = incoming.await {
                serve(connection, world).await;
            }
        });
    }
}

async fn next(recv: &mut RecvStream) -> Option<ToServer> {
    let mut head = [0; HEAD_BYTES];
    recv.read_exact(&mut head).await.ok()?;
    let head = Head::decode(&head).unwrap();
    let mut body = vec![0; head.body_bytes];
    recv.read_exact(&mut body).await.ok()?;
    Some(ToServer::decode(head.kind, body.into()).unwrap())
}

async fn serve(connection: Connection, world: Shared) {
    let Ok((mut send, mut recv)) = connection.accept_bi().await else { return };
    let Some(ToServer::Hello(hello)) = next(&mut recv).await else { panic!("the first message is a greeting") };
    assert_eq!(hello.api_key(), Some("sk_test"));
    let mut bytes = Vec::new();
    let refused = {
        let mut world = lock(&world);
        world.connections += 1;
        world.live.push(connection.clone());
        let refused = world.greeting.pop_front();
        match &refused {
            Some(refused) => refused.write(&mut bytes),
            None => {
                let ledger = world.welcomed_as.as_ref().unwrap_or(&world.ledger);
                let genesis = ledger.genesis.clone();
                let (submit_bytes_max, submit_events_max) = (10 << 20, 1000);
                let (window_bytes, streams_max, feeds_max) = (64 << 20, 100, 10);
                Welcome { genesis, window_bytes, submit_bytes_max, submit_events_max, streams_max, feeds_max }
                    .write(&mut bytes);
            }
        }
        refused.is_some()
    };
    send.write_all(&bytes).await.unwrap();
    if refused {
        tokio::time::sleep(Duration::from_millis(50)).await;
        connection.close(VarInt::from_u32(CloseCode::Unauthorized.number()), b"");
        return;
    }
    while let Ok((send, recv)) = connection.accept_bi().await {
        tokio::spawn(stream(connection.clone(), send, recv, Arc::clone(&world)));
    }
}

async fn stream(connection: Connection, mut send: SendStream, mut recv: RecvStream, world: Shared) {
    let mut id = 0;
    while let Some(message) = next(&mut recv).await {
        let submit = match message {
            ToServer::Submit(submit) => submit,
            ToServer::Follow(follow) => {
                let from = match follow.from {
                    FollowFrom::Index(index) => index.get().max(1),
                    FollowFrom::Now => panic!("the client names a place"),
                };
                return feed(connection, send, from, world).await;
            }
            ToServer::Hello(_) => panic!("a second greeting"),
        };
        let mut bytes = Vec::new();
        let misdeed = {
            let mut world = lock(&world);
            world.over_quic += 1;
            let misdeed = world.misdeeds.pop_front().unwrap_or(Misdeed::Nothing);
            id += 1;
            let number = submit.number;
            let frames = submit.split().frames;
            let no = |code: ErrorCode| Refused::new(number, code.numeric_code(), 1, "on order");
            if misdeed == Misdeed::Busy {
                no(ErrorCode::RateLimitExceeded).write(&mut bytes);
            } else {
                let (note, outcome) = world.answer(number, &frames, misdeed, id);
                CheckpointNote::new(id, &note).unwrap().write(&mut bytes);
                say(&mut world, misdeed, outcome, &no(ErrorCode::OutcomeUnknown), &mut bytes);
            }
            misdeed
        };
        match misdeed {
            Misdeed::HangUp => connection.close(VarInt::from_u32(CloseCode::Internal.number()), b""),
            Misdeed::Silence => {}
            _ => drop(send.write_all(&bytes).await),
        }
    }
}

fn say(world: &mut World, misdeed: Misdeed, mut outcome: Outcome, unknown: &Refused, bytes: &mut Vec<u8>) {
    let last = world.last.replace(outcome.clone());
    match misdeed {
        Misdeed::Forget => unknown.write(bytes),
        Misdeed::Fewer | Misdeed::More => {
            let places: Vec<_> = places(&outcome);
            let mut other = Outcome::new(outcome.number);
            let (index, sequence, time) = *places.last().unwrap();
            let kept = if misdeed == Misdeed::Fewer { places.len() - 1 } else { places.len() };
            places[..kept].iter().for_each(|(index, sequence, time)| other.push_placed(*index, *sequence, *time));
            if misdeed == Misdeed::More {
                other.push_placed(index.next(), sequence.next(), time);
            }
            other.certify(outcome.checkpoint().unwrap(), outcome.proof().to_vec());
            other.write(bytes);
        }
        Misdeed::Exchange => {
            let mut places: Vec<_> = places(&outcome);
            let (one, two) = (places[0].1, places[1].1);
            (places[0].1, places[1].1) = (two, one);
            let mut other = Outcome::new(outcome.number);
            places.iter().for_each(|(index, sequence, time)| other.push_placed(*index, *sequence, *time));
            other.certify(outcome.checkpoint().unwrap(), outcome.proof().to_vec());
            other.write(bytes);
        }
        Misdeed::Replay => {
            let mut last = last.unwrap();
            last.number = outcome.number;
            last.certify(outcome.checkpoint().unwrap(), last.proof().to_vec());
            last.write(bytes);
        }
        Misdeed::Number => {
            outcome.number += 100;
            outcome.write(bytes);
        }
        Misdeed::Twice => {
            outcome.write(bytes);
            outcome.write(bytes);
        }
        Misdeed::Garbage => bytes.extend_from_slice(&[0, 0, 0, 2, 0xee, 0]),
        _ => outcome.write(bytes),
    }
}

fn places(outcome: &Outcome) -> Vec<(Index, Sequence, LogTime)> {
    let place = |fate| match fate {
        tally_protocol::quic::Fate::Placed { index, sequence, sequenced_at } => (index, sequence, sequenced_at),
        other => panic!("{other:?} is not placed"),
    };
    outcome.fates().map(place).collect()
}

/// Two events a message, then a heartbeat, then what comes.
async fn feed(connection: Connection, mut send: SendStream, mut from: u64, world: Shared) {
    loop {
        let (bytes, misdeed) = {
            let mut world = lock(&world);
            let size = TreeSize::new(world.model.size() as u64);
            let wanted: Vec<_> = world
                .model
                .events()
                .filter(|(.., place)| place.index.get() >= from)
                .take(2)
                .map(|(frame, key, place)| (frame.clone(), key, place))
                .collect();
            let misdeed = if wanted.is_empty() { None } else { world.misdeeds.pop_front() };
            let mut builder = EventsBuilder::new();
            let first = from;
            for (frame, key, place) in &wanted {
                let altered = Frame::from_parts(&frame.fields(), br#"{"amount":0}"#, frame.signature()).unwrap();
                let frame = if misdeed == Some(Misdeed::Alter) { &altered } else { frame };
                if misdeed != Some(Misdeed::Omit) || place.index.get() != first {
                    builder.push(place.index, place.sequence, place.sequenced_at, key, frame);
                }
                from = place.index.get() + 1;
            }
            if misdeed == Some(Misdeed::Repeat) {
                from = first;
            }
            let next = wanted.last().map_or(from, |(.., place)| place.index.get() + 1);
            let mut bytes = Vec::new();
            if builder.events() > 0 {
                bytes = builder.finish(Index::new(next), size);
            } else {
                Heartbeat { next: Index::new(next), size }.write(&mut bytes);
            }
            (bytes, misdeed)
        };
        if send.write_all(&bytes).await.is_err() {
            return;
        }
        match misdeed {
            Some(Misdeed::HangUp) => {
                // What was written arrives before the end does.
                tokio::time::sleep(Duration::from_millis(30)).await;
                connection.close(VarInt::from_u32(CloseCode::Draining.number()), b"");
            }
            Some(Misdeed::Silence) => return tokio::time::sleep(Duration::from_secs(60)).await,
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

fn json(value: &impl serde::Serialize) -> Response {
    serde_json::to_vec(value).unwrap().into_response()
}

async fn submit_http(State(world): State<Shared>, mut body: Bytes) -> Response {
    let mut frames = Vec::new();
    while let Some(frame) = Frame::decode_prefix(&mut body).unwrap() {
        frames.push(frame);
    }
    let mut world = lock(&world);
    world.over_http += 1;
    let fates = world.submit(&frames);
    let leaves = world.model.leaves();
    let tree = RunTree::extend(&mut Frontier::new(), &leaves);
    let receipt = |frame: &Frame, place: &Placement| Receipt {
        event_id: frame.event_id(),
        tenant_id: frame.tenant_id(),
        store_id: frame.store_id(),
        index: place.index,
        sequence: place.sequence,
        sequenced_at: place.sequenced_at,
        signing_hash: frame.signing_hash(),
        leaf_hash: place.leaf_hash,
        path: inclusion_path(&tree, place.index, tree.size()).unwrap(),
        checkpoint: 0,
    };
    let results = frames.iter().zip(&fates).map(|(frame, fate)| match fate {
        Expected::Accepted(place) => EventOutcome::Accepted { receipt: receipt(frame, place) },
        Expected::Duplicate(place) => EventOutcome::Duplicate { receipt: receipt(frame, place) },
        Expected::Rejected(code) => EventOutcome::Rejected {
            event_id: Some(frame.event_id()),
            reject: Rejection { code: code.as_str().to_owned(), message: String::new(), field: None },
        },
    });
    let results = results.collect();
    json(&SubmitAnswer { checkpoints: vec![world.ledger.sign(&leaves, leaves.len() as u64, false)], results })
}

async fn ledger(State(world): State<Shared>) -> Response {
    let world = lock(&world);
    let genesis = &world.ledger.genesis;
    json(&tally_api::ledger::Ledger {
        ledger_id: world.ledger.id(),
        origin: genesis.origin.clone(),
        profile: genesis.profile.clone(),
        created_at: genesis.created_at,
        genesis_entry: genesis.encode(),
        events_log_id: tally_protocol::hash::LogId::ZERO,
        verifier_keys: Vec::new(),
        root_agent_id: genesis.root_agent,
        root_public_key: genesis.root_key,
    })
}

async fn consistency(State(world): State<Shared>, Query(sizes): Query<Vec<(String, u64)>>) -> Response {
    let size = |name: &str| TreeSize::new(sizes.iter().find(|(key, _)| key == name).unwrap().1);
    let world = lock(&world);
    let leaves: Vec<LeafHash> = world.model.leaves();
    let tree = RunTree::extend(&mut Frontier::new(), &leaves);
    let (old, new) = (size("old"), size("new"));
    json(&Consistency { old, new, path: consistency_path(&tree, old, new).unwrap() })
}
