//! The client against a server that is slow, busy, forgetful, or lies: a small one made of the model, which keeps a
//! true log and misbehaves on order. What must hold: exactly once, and nothing unproven is handed out.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tally_api::agent_key::{AgentKey, AgentKeys, KeyStatus};
use tally_api::error::{ErrorBody, ErrorCode, ErrorDetail};
use tally_api::event::{EventEnvelope, EventRecord};
use tally_api::feed::{FeedLine, ResumeToken};
use tally_api::proof::Consistency;
use tally_api::receipt::Receipt;
use tally_api::submit::{EventOutcome, Rejection, SubmitAnswer};
use tally_client::{
    Class, Client, ClientBuilder, ClientError, FollowFrom, RetryPolicy, SubmitOutcome, Trust, verify::TrustRoot,
};
use tally_merkle::{Frontier, RunTree, consistency_path};
use tally_protocol::frame::Frame;
use tally_protocol::hash::{LeafHash, LedgerId};
use tally_protocol::id::{Index, KeyId, TreeSize};
use tally_protocol::key::PublicKey;
use tally_protocol::time::LogTime;
use tally_testkit::{
    Expected, Placement, ReferenceLog, TestAgent, TestLedger, TestTenant, event_id, naive_inclusion_path, signing_key,
};

const START: LogTime = LogTime::from_micros(1_767_225_600_000_000);

/// What the server does wrong with the next request it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Misdeed {
    /// 429, nothing taken.
    Busy,
    /// 503 `OUTCOME_UNKNOWN`, although everything was taken.
    Forget,
    /// Takes everything and never answers.
    Silence,
    /// 502 from something in between, without the error shape.
    BadGateway,
    /// One result too few.
    Fewer,
    /// The receipts of two events exchanged.
    Exchange,
    /// Another leaf than the event's.
    Leaf,
    /// Another place than the proven one.
    Elsewhere,
    /// A checkpoint signed by somebody else.
    Stranger,
    /// A checkpoint that does not hold the event.
    Early,
    /// Proofs and checkpoints of another history with the same keys.
    Fork,
    /// A key that did not sign.
    WrongKey,
    /// An event left out of the feed.
    Omit,
    /// An event sent twice in the feed.
    Repeat,
    /// The payload changed.
    Alter,
}

struct World {
    ledger: TestLedger,
    model: ReferenceLog,
    /// Another history of the same ledger, of the same length.
    forked: ReferenceLog,
    misdeeds: VecDeque<Misdeed>,
    requests: usize,
}

type Shared = Arc<Mutex<World>>;

impl World {
    fn new() -> (Shared, TestTenant, TestAgent) {
        let ledger = TestLedger::new("log.example/distrust", START);
        let tenant = TestTenant::new(1);
        let agent = tenant.agent(1);
        let mut model = ReferenceLog::new(ledger.genesis.clone());
        model.submit(&ledger.create(&tenant, event_id(1), START), START);
        model.submit(&tenant.register(&agent, event_id(1), START), START);
        let forked = model.clone();
        let world = Self { ledger, model, forked, misdeeds: VecDeque::new(), requests: 0 };
        (Arc::new(Mutex::new(world)), tenant, agent)
    }

    fn next_misdeed(&mut self) -> Option<Misdeed> {
        self.requests += 1;
        self.misdeeds.pop_front()
    }

    fn history(&self, misdeed: Option<Misdeed>) -> &ReferenceLog {
        if misdeed == Some(Misdeed::Fork) { &self.forked } else { &self.model }
    }

    fn submit(&mut self, frames: &[Frame]) -> Vec<Expected> {
        // In the other history every event is one microsecond later.
        let later = LogTime::from_micros(START.micros() + 1);
        for frame in frames {
            self.forked.submit(frame, later);
        }
        frames.iter().map(|frame| self.model.submit(frame, START)).collect()
    }

    fn answer(&self, frames: &[Frame], fates: &[Expected], misdeed: Option<Misdeed>) -> SubmitAnswer {
        let history = self.history(misdeed);
        let leaves = history.leaves();
        let size = if misdeed == Some(Misdeed::Early) { 2 } else { leaves.len() as u64 };
        let mut signer = self.ledger.clone();
        if misdeed == Some(Misdeed::Stranger) {
            signer.receipt_key = signing_key("stranger");
        }
        let mut results: Vec<EventOutcome> = frames
            .iter()
            .zip(fates)
            .map(|(frame, fate)| match fate {
                Expected::Accepted(place) => {
                    EventOutcome::Accepted { receipt: receipt(frame, &placed(history, place.index), &leaves, misdeed) }
                }
                Expected::Duplicate(place) => {
                    EventOutcome::Duplicate { receipt: receipt(frame, &placed(history, place.index), &leaves, misdeed) }
                }
                Expected::Rejected(code) => EventOutcome::Rejected {
                    event_id: Some(frame.event_id()),
                    reject: Rejection { code: code.as_str().to_owned(), message: String::new(), field: None },
                },
            })
            .collect();
        match misdeed {
            Some(Misdeed::Fewer) => drop(results.pop()),
            Some(Misdeed::Exchange) => results.swap(0, 1),
            _ => {}
        }
        SubmitAnswer { checkpoints: vec![signer.sign(&leaves, size, false)], results }
    }
}

fn placed(history: &ReferenceLog, index: Index) -> Placement {
    history.events().nth(index.get() as usize - 1).unwrap().2
}

fn receipt(frame: &Frame, place: &Placement, leaves: &[LeafHash], misdeed: Option<Misdeed>) -> Receipt {
    Receipt {
        event_id: frame.event_id(),
        tenant_id: frame.tenant_id(),
        store_id: frame.store_id(),
        index: if misdeed == Some(Misdeed::Elsewhere) { place.index.next() } else { place.index },
        sequence: place.sequence,
        sequenced_at: place.sequenced_at,
        signing_hash: frame.signing_hash(),
        leaf_hash: if misdeed == Some(Misdeed::Leaf) { LeafHash::ZERO } else { place.leaf_hash },
        path: naive_inclusion_path(place.index.get() as usize, leaves),
        checkpoint: 0,
    }
}

fn json(value: &impl serde::Serialize) -> Response {
    (StatusCode::OK, serde_json::to_vec(value).unwrap()).into_response()
}

fn refuse(code: ErrorCode) -> Response {
    let error = ErrorDetail {
        code,
        numeric_code: code.numeric_code(),
        message: "on order".to_owned(),
        details: None,
        retry_after: Some(0),
        request_id: "r".to_owned(),
    };
    (StatusCode::from_u16(code.status()).unwrap(), serde_json::to_vec(&ErrorBody { error }).unwrap()).into_response()
}

async fn submit(State(world): State<Shared>, mut body: Bytes) -> Response {
    let (answer, misdeed) = {
        let mut world = world.lock().unwrap();
        let misdeed = world.next_misdeed();
        if misdeed == Some(Misdeed::Busy) {
            return refuse(ErrorCode::RateLimitExceeded);
        }
        let mut frames = Vec::new();
        while let Some(frame) = Frame::decode_prefix(&mut body).unwrap() {
            frames.push(frame);
        }
        let fates = world.submit(&frames);
        (world.answer(&frames, &fates, misdeed), misdeed)
    };
    match misdeed {
        Some(Misdeed::Forget) => refuse(ErrorCode::OutcomeUnknown),
        Some(Misdeed::BadGateway) => (StatusCode::BAD_GATEWAY, "<html>").into_response(),
        Some(Misdeed::Silence) => {
            tokio::time::sleep(Duration::from_secs(30)).await;
            json(&answer)
        }
        _ => json(&answer),
    }
}

async fn ledger(State(world): State<Shared>) -> Response {
    let world = world.lock().unwrap();
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

async fn ladder(State(world): State<Shared>) -> Response {
    let signed = TreeSize::new(world.lock().unwrap().model.size() as u64);
    let (ordered, durable, folded, acknowledged, published) = (signed, signed, signed, signed, signed);
    let apply = tally_api::ledger::Apply::default();
    let (applied, anchored) = (TreeSize::default(), TreeSize::default());
    json(&tally_api::ledger::Ladder {
        ordered,
        durable,
        folded,
        signed,
        acknowledged,
        published,
        applied,
        anchored,
        apply,
    })
}

async fn consistency(State(world): State<Shared>, Query(sizes): Query<Vec<(String, u64)>>) -> Response {
    let size = |name: &str| TreeSize::new(sizes.iter().find(|(key, _)| key == name).unwrap().1);
    let world = world.lock().unwrap();
    let tree = RunTree::extend(&mut Frontier::new(), &world.model.leaves());
    let (old, new) = (size("old"), size("new"));
    json(&Consistency { old, new, path: consistency_path(&tree, old, new).unwrap() })
}

async fn keys(State(world): State<Shared>, Path((_, agent)): Path<(String, String)>) -> Response {
    let misdeed = world.lock().unwrap().next_misdeed();
    let tenant = TestTenant::new(1);
    let key = |n: u64, public_key: PublicKey| AgentKey {
        key_id: KeyId::new(u32::try_from(n).unwrap()),
        algorithm: "ed25519".to_owned(),
        public_key,
        status: KeyStatus::Active,
        valid_from: START,
        valid_to: None,
        revoked_at: None,
        registered_index: Index::new(2),
    };
    let public_key =
        if misdeed == Some(Misdeed::WrongKey) { signing_key("x").public_key() } else { tenant.agent(1).public_key() };
    json(&AgentKeys { tenant_id: tenant.id, agent_id: agent.parse().unwrap(), keys: vec![key(1, public_key)] })
}

fn record(frame: &Frame, public_key: PublicKey, place: &Placement) -> EventRecord {
    EventRecord {
        index: place.index,
        sequence: place.sequence,
        sequenced_at: place.sequenced_at,
        public_key,
        signing_hash: frame.signing_hash(),
        leaf_hash: place.leaf_hash,
        frame: frame.bytes().to_vec(),
        event: EventEnvelope::from_frame(frame).unwrap(),
    }
}

/// At most two events, then the end of the answer, in good order or not.
async fn feed(State(world): State<Shared>, Query(query): Query<Vec<(String, String)>>) -> Response {
    let mut world = world.lock().unwrap();
    let misdeed = world.next_misdeed();
    if misdeed == Some(Misdeed::BadGateway) {
        return (StatusCode::BAD_GATEWAY, "").into_response();
    }
    let from = query.iter().find(|(key, _)| key == "from").map(|(_, from)| from.as_str()).unwrap();
    let start = from.parse::<ResumeToken>().map_or(1, |token| token.next.get());
    let token = |next: u64| ResumeToken::new(&world.ledger.id(), Index::new(next)).to_string();
    let mut lines = Vec::new();
    let mut next = start;
    let wanted = world.model.events().filter(|(.., place)| place.index.get() >= start).take(2);
    for (at, (frame, public_key, place)) in wanted.enumerate() {
        next = place.index.get() + 1;
        let mut record = record(frame, public_key, &place);
        match misdeed {
            Some(Misdeed::Omit) if at == 0 => continue,
            Some(Misdeed::Alter) => {
                let altered = Frame::from_parts(&frame.fields(), br#"{"amount":0}"#, frame.signature()).unwrap();
                record.frame = altered.bytes().to_vec();
            }
            _ => {}
        }
        let line = FeedLine::Event { token: token(next), record: Box::new(record) };
        let copies = if misdeed == Some(Misdeed::Repeat) { 2 } else { 1 };
        (0..copies).for_each(|_| lines.push(serde_json::to_string(&line).unwrap()));
    }
    lines.push(serde_json::to_string(&FeedLine::Heartbeat { token: token(next), size: TreeSize::new(next) }).unwrap());
    if start % 3 == 0 {
        lines
            .push(serde_json::to_string(&FeedLine::End { token: token(next), reason: "draining".to_owned() }).unwrap());
    }
    (StatusCode::OK, lines.join("\n") + "\n").into_response()
}

async fn event(State(world): State<Shared>, Path(index): Path<u64>) -> Response {
    let mut world = world.lock().unwrap();
    let misdeed = world.next_misdeed();
    let shown = if misdeed == Some(Misdeed::Elsewhere) { index + 1 } else { index };
    match world.model.events().nth(shown as usize - 1) {
        Some((frame, public_key, place)) => json(&record(frame, public_key, &place)),
        None => refuse(ErrorCode::EventNotFound),
    }
}

async fn serve(world: &Shared) -> String {
    let router = Router::new()
        .route("/v1/events", post(submit))
        .route("/v1/events/{index}", get(event))
        .route("/v1/ledger", get(ledger))
        .route("/v1/ladder", get(ladder))
        .route("/v1/proofs/consistency", get(consistency))
        .route("/v1/keys/{tenant}/{agent}", get(keys))
        .route("/v1/feed", get(feed))
        .with_state(Arc::clone(world));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

fn builder(url: &str) -> ClientBuilder {
    let retry = RetryPolicy { attempts_max: 5, pause_first: Duration::from_millis(2), ..RetryPolicy::STANDARD };
    Client::builder(url).retry(retry).request_timeout(Duration::from_millis(400))
}

struct Scene {
    world: Shared,
    tenant: TestTenant,
    agent: TestAgent,
    url: String,
    client: Client,
}

impl Scene {
    async fn new() -> Self {
        let (world, tenant, agent) = World::new();
        let url = serve(&world).await;
        let client = builder(&url).build().unwrap();
        client.know_key(tenant.id, agent.id, agent.key_id, agent.public_key());
        Self { world, tenant, agent, url, client }
    }

    fn events(&self, numbers: core::ops::Range<u64>) -> Vec<Frame> {
        numbers.map(|n| self.agent.event(self.tenant.stream(1), event_id(n)).sign()).collect()
    }

    fn next(&self, misdeeds: &[Misdeed]) {
        self.world.lock().unwrap().misdeeds = misdeeds.iter().copied().collect();
    }

    async fn submit_under(
        &self,
        misdeed: Misdeed,
        numbers: core::ops::Range<u64>,
    ) -> Result<Vec<SubmitOutcome>, ClientError> {
        self.next(&[misdeed]);
        self.client.submit(&self.events(numbers)).await
    }

    fn size(&self) -> usize {
        self.world.lock().unwrap().model.size()
    }
}

fn fatal<T: core::fmt::Debug>(result: Result<T, ClientError>) -> ClientError {
    let error = result.unwrap_err();
    assert_eq!(error.class(), Class::Fatal, "{error}");
    error
}

#[tokio::test]
async fn receipts_are_proven_and_become_bundles() {
    let scene = Scene::new().await;
    let outcomes = scene.client.submit(&scene.events(10..13)).await.unwrap();
    for outcome in outcomes {
        let receipt = outcome.into_receipt().unwrap();
        let report = receipt.bundle().verify(&TrustRoot::ledger(scene.world.lock().unwrap().ledger.id()));
        assert!(report.verified(), "{report}");
    }
    assert_eq!(scene.client.seen().await.unwrap().checkpoint.size, TreeSize::new(6));
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_and_counts_once() {
    for misdeed in [Misdeed::Silence, Misdeed::Forget, Misdeed::BadGateway] {
        let scene = Scene::new().await;
        let outcomes = scene.submit_under(misdeed, 10..12).await.unwrap();
        assert_eq!(scene.size(), 5, "{misdeed:?}");
        // They were taken by the attempt that got no answer.
        assert!(outcomes.iter().all(|outcome| matches!(outcome, SubmitOutcome::Duplicate(_))), "{misdeed:?}");
        let again = scene.client.submit(&scene.events(10..12)).await.unwrap();
        let places = |outcomes: &[SubmitOutcome]| -> Vec<_> {
            outcomes.iter().map(|outcome| outcome.receipt().unwrap().placed).collect()
        };
        assert_eq!(places(&outcomes), places(&again));
    }
}

#[tokio::test]
async fn a_busy_server_is_asked_again_but_not_for_ever() {
    let scene = Scene::new().await;
    scene.next(&[Misdeed::Busy, Misdeed::Busy, Misdeed::Forget]);
    assert!(scene.client.submit(&scene.events(10..11)).await.is_ok());
    assert_eq!(scene.world.lock().unwrap().requests, 4);
    scene.next(&[Misdeed::Busy; 9]);
    let error = scene.client.submit(&scene.events(11..12)).await.unwrap_err();
    assert_eq!(error.class(), Class::Retry);
    assert_eq!(scene.world.lock().unwrap().requests, 9, "five attempts");
}

#[tokio::test]
async fn no_server_at_all_is_a_matter_of_retrying() {
    let client = builder("http://127.0.0.1:1").build().unwrap();
    assert_eq!(client.ledger().await.unwrap_err().class(), Class::Retry);
    assert_eq!(Client::new("ftp://x", "k").unwrap_err().class(), Class::Reject);
    assert_eq!(Client::new("http://x", "a\nb").unwrap_err().class(), Class::Reject);
}

#[tokio::test]
async fn an_answer_that_does_not_hold_is_fatal_and_hands_out_nothing() {
    for (misdeed, words) in [
        (Misdeed::Fewer, "results"),
        (Misdeed::Exchange, "another event"),
        (Misdeed::Leaf, "leaf"),
        (Misdeed::Elsewhere, "inclusion"),
        (Misdeed::Early, "inclusion"),
        (Misdeed::Stranger, "checkpoint_signature"),
    ] {
        let scene = Scene::new().await;
        let error = fatal(scene.submit_under(misdeed, 10..12).await);
        assert!(error.to_string().contains(words), "{misdeed:?}: {error}");
    }
}

#[tokio::test]
async fn a_forked_history_is_found_and_both_notes_are_kept() {
    let scene = Scene::new().await;
    scene.client.submit(&scene.events(10..12)).await.unwrap();
    let seen = scene.client.seen().await.unwrap();
    // The receipts prove themselves in the other history; only the memory of the first one gives it away.
    let error = fatal(scene.submit_under(Misdeed::Fork, 12..13).await);
    let ClientError::Fork(evidence) = error else { panic!("{error}") };
    assert_eq!(evidence.first, seen.note);
    assert_ne!(evidence.second, seen.note);
    assert_eq!(scene.client.seen().await.unwrap(), seen, "the line stays what it was");
    // A client without memory believes it: that is what `seen` is for.
    let stranger = builder(&scene.url).build().unwrap();
    scene.next(&[Misdeed::Fork, Misdeed::Fork]);
    assert!(stranger.submit(&scene.events(12..13)).await.is_ok());
}

#[tokio::test]
async fn a_fork_at_the_same_size_and_between_two_runs_is_found() {
    let scene = Scene::new().await;
    scene.client.submit(&scene.events(10..12)).await.unwrap();
    let note = scene.client.seen().await.unwrap().note.clone();
    let fork = |error| matches!(error, ClientError::Fork(_));
    // Nothing new, so the size is the same and no path is asked for.
    assert!(fork(fatal(scene.submit_under(Misdeed::Fork, 10..12).await)));
    let next_run = builder(&scene.url).seen(note).build().unwrap();
    scene.next(&[Misdeed::Fork]);
    assert!(fork(fatal(next_run.submit(&scene.events(12..13)).await)));
    // A note by somebody else is no memory of this ledger.
    let mut stranger = scene.world.lock().unwrap().ledger.clone();
    stranger.receipt_key = signing_key("stranger");
    let forged = stranger.sign(&scene.world.lock().unwrap().model.leaves(), 3, false);
    let misled = builder(&scene.url).seen(forged).build().unwrap();
    fatal(misled.ledger().await);
}

#[tokio::test]
async fn concurrent_submissions_share_one_line_of_checkpoints() {
    let scene = Scene::new().await;
    let tasks: Vec<_> = (0..16)
        .map(|n| {
            let (client, events) = (scene.client.clone(), scene.events(100 + n * 5..105 + n * 5));
            tokio::spawn(async move { client.submit(&events).await.unwrap().len() })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), 5);
    }
    assert_eq!(scene.client.seen().await.unwrap().checkpoint.size, TreeSize::new(83));
}

#[tokio::test]
async fn trust_is_pinned_at_first_use_or_given() {
    let scene = Scene::new().await;
    let id = scene.client.ledger().await.unwrap().id();
    let given = |root| builder(&scene.url).trust(Trust::Given(root)).build().unwrap();
    assert!(given(TrustRoot::ledger(id)).ledger().await.is_ok());
    let error = fatal(given(TrustRoot::ledger(LedgerId::ZERO)).ledger().await);
    assert!(matches!(error, ClientError::OtherLedger { found, .. } if found == id));
    let receipt_key = scene.client.ledger().await.unwrap().receipt_key().unwrap();
    assert!(given(TrustRoot::key(receipt_key)).ledger().await.is_ok());
    // Another ledger behind the same address is never believed by a client that has pinned the first.
    scene.world.lock().unwrap().ledger = TestLedger::new("log.example/other", START);
    fatal(scene.client.submit(&scene.events(10..11)).await);
}

#[tokio::test]
async fn a_key_that_is_not_known_is_asked_for_and_believed_only_if_it_signed() {
    let scene = Scene::new().await;
    let client = builder(&scene.url).build().unwrap();
    let events = scene.events(10..12);
    scene.next(&[Misdeed::Alter, Misdeed::WrongKey]);
    let error = client.submit(&events).await.unwrap_err();
    assert!(matches!(error, ClientError::UnknownKey { key_id, .. } if key_id.get() == 1), "{error}");
    assert!(client.submit(&events).await.is_ok());
    let requests = scene.world.lock().unwrap().requests;
    assert!(client.submit(&events).await.is_ok());
    assert_eq!(scene.world.lock().unwrap().requests, requests + 1, "the key is remembered");
}

#[tokio::test]
async fn a_rejected_event_says_why_and_leaves_its_neighbours_alone() {
    let scene = Scene::new().await;
    let mut events = scene.events(10..13);
    events[1] = scene.agent.successor().event(scene.tenant.stream(1), event_id(50)).sign();
    let outcomes = scene.client.submit(&events).await.unwrap();
    assert!(outcomes[0].receipt().is_some() && outcomes[2].receipt().is_some());
    let rejected = outcomes[1].clone().into_receipt().unwrap_err();
    assert_eq!((rejected.event_id, rejected.rejection.code.as_str()), (event_id(50), "agent_key_invalid"));
}

#[tokio::test]
async fn the_feed_resumes_over_every_ending_without_gap_or_repetition() {
    let scene = Scene::new().await;
    scene.client.submit(&scene.events(10..17)).await.unwrap();
    // Broken connections and ends in good order between the pages of two.
    let plan = [None, Some(Misdeed::BadGateway), None, Some(Misdeed::BadGateway), Some(Misdeed::BadGateway)];
    scene.next(&plan.map(|misdeed| misdeed.unwrap_or(Misdeed::Busy)));
    let mut feed = scene.client.follow(FollowFrom::Start).await.unwrap();
    for index in 1..=9 {
        assert_eq!(feed.next().await.unwrap().placed.index, Index::new(index));
    }
    let token = feed.token().to_owned();
    // Live: waits for what comes.
    let later = tokio::time::timeout(Duration::from_millis(50), feed.next()).await;
    assert!(later.is_err());
    scene.client.submit(&scene.events(17..18)).await.unwrap();
    assert_eq!(feed.next().await.unwrap().placed.index, Index::new(10));
    let mut resumed = scene.client.follow(FollowFrom::Token(token)).await.unwrap();
    assert_eq!(resumed.next().await.unwrap().placed.index, Index::new(10));
}

#[tokio::test]
async fn now_is_a_place_in_the_log_whenever_the_feed_connects() {
    let scene = Scene::new().await;
    scene.client.submit(&scene.events(10..12)).await.unwrap();
    let mut feed = scene.client.follow(FollowFrom::Now).await.unwrap();
    scene.client.submit(&scene.events(12..14)).await.unwrap();
    scene.next(&[Misdeed::BadGateway]);
    assert_eq!(feed.next().await.unwrap().placed.index, Index::new(5));
}

#[tokio::test]
async fn a_feed_that_omits_repeats_or_alters_is_found() {
    for (misdeed, from) in [(Misdeed::Omit, 3), (Misdeed::Repeat, 1), (Misdeed::Alter, 1)] {
        let scene = Scene::new().await;
        scene.client.submit(&scene.events(10..15)).await.unwrap();
        let mut feed = scene.client.follow(FollowFrom::Start).await.unwrap();
        for _ in 1..from {
            feed.next().await.unwrap();
        }
        scene.next(&[misdeed]);
        let mut error = None;
        for _ in 0..4 {
            match feed.next().await {
                Ok(_) => {}
                Err(found) => {
                    error = Some(found);
                    break;
                }
            }
        }
        assert_eq!(error.map(|error| error.class()), Some(Class::Fatal), "{misdeed:?}");
    }
}

#[tokio::test]
async fn a_feed_without_a_server_gives_up_in_the_end() {
    let scene = Scene::new().await;
    scene.client.ledger().await.unwrap();
    scene.next(&[Misdeed::BadGateway; 9]);
    let mut feed = scene.client.follow(FollowFrom::Start).await.unwrap();
    assert_eq!(feed.next().await.unwrap_err().class(), Class::Retry);
    assert_eq!(scene.world.lock().unwrap().requests, 5);
}

#[tokio::test]
async fn an_event_read_back_is_the_one_asked_for() {
    let scene = Scene::new().await;
    let events = scene.events(10..12);
    scene.client.submit(&events).await.unwrap();
    assert_eq!(scene.client.event(Index::new(4)).await.unwrap().unwrap().frame, events[1]);
    assert_eq!(scene.client.event(Index::new(99)).await.unwrap(), None);
    scene.next(&[Misdeed::Elsewhere]);
    fatal(scene.client.event(Index::new(3)).await);
}
