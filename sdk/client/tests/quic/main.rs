//! The client over QUIC against a server that is slow, busy, forgetful, or lies. What must hold: exactly once, nothing
//! unproven is handed out, what does not hold is named, and HTTP serves where QUIC does not get through.

#![expect(clippy::unwrap_used, reason = "tests")]

mod server;

use std::time::Duration;

use server::{Doors, Misdeed, START, Shared, lock};
use tally_api::error::ErrorCode;
use tally_client::verify::{Bundle, Check, TrustRoot, verify_receipt};
use tally_client::{
    ApiKey, Class, Client, ClientBuilder, ClientError, Door, FollowFrom, PipelineBounds, ProvenEvent, RetryPolicy,
    SubmitOutcome, Trust,
};
use tally_protocol::frame::Frame;
use tally_protocol::id::Index;
use tally_protocol::quic::{ALPN, Refused};
use tally_testkit::{TestAgent, TestLedger, TestTenant, event_id};

struct Scene {
    world: Shared,
    doors: Doors,
    tenant: TestTenant,
    agent: TestAgent,
    client: Client,
}

impl Scene {
    async fn new() -> Self {
        Self::with(ALPN, |builder| builder.door(Door::Quic)).await
    }

    async fn with(alpn: &[u8], settings: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Self {
        let (world, tenant, agent) = server::world();
        let doors = server::open(&world, alpn).await;
        let client = settings(builder(&doors)).build().unwrap();
        client.know_key(tenant.id, agent.id, agent.key_id, agent.public_key());
        Self { world, doors, tenant, agent, client }
    }

    fn events(&self, numbers: core::ops::Range<u64>) -> Vec<Frame> {
        numbers.map(|n| self.agent.event(self.tenant.stream(1), event_id(n)).sign()).collect()
    }

    fn next(&self, misdeeds: &[Misdeed]) {
        lock(&self.world).misdeeds = misdeeds.iter().copied().collect();
    }

    /// How many submissions came through each door: QUIC, HTTP.
    fn heard(&self) -> (usize, usize) {
        let world = lock(&self.world);
        (world.over_quic, world.over_http)
    }

    /// Every event is in the log once, and the log holds nothing else.
    fn check_log(&self, events: usize) {
        assert_eq!(lock(&self.world).model.size(), 3 + events);
    }
}

fn builder(doors: &Doors) -> ClientBuilder {
    let retry = RetryPolicy { attempts_max: 5, pause_first: Duration::from_millis(2), ..RetryPolicy::STANDARD };
    Client::builder(&doors.url)
        .api_key(ApiKey::new("sk_test"))
        .retry(retry)
        .request_timeout(Duration::from_millis(600))
        .quic_timeout(Duration::from_millis(1500))
        .quic(doors.quic.to_string())
        .pinned_certificate(doors.certificate.clone())
}

fn fatal<T: core::fmt::Debug>(result: Result<T, ClientError>) -> ClientError {
    let error = result.unwrap_err();
    assert_eq!(error.class(), Class::Fatal, "{error}");
    error
}

/// Receipts hold by themselves and as files, and their places are where the log has the events.
fn check_receipts(scene: &Scene, events: &[Frame], outcomes: Vec<SubmitOutcome>) {
    assert_eq!(outcomes.len(), events.len());
    for (frame, outcome) in events.iter().zip(outcomes) {
        let receipt = outcome.into_receipt().unwrap();
        assert_eq!(receipt.frame, *frame);
        let checkpoint = &receipt.checkpoint.checkpoint;
        verify_receipt(frame, &receipt.placed, &receipt.leaf_hash, &receipt.path, checkpoint).unwrap();
        let world = lock(&scene.world);
        let (logged, _, place) = world.model.events().nth(receipt.placed.index.get() as usize - 1).unwrap();
        assert_eq!((logged, place.sequence), (frame, receipt.placed.sequence));
        let bundle = Bundle::decode(&receipt.bundle().encode()).unwrap();
        assert_eq!(bundle.verify(&TrustRoot::ledger(world.ledger.id())).first_failure(), None);
    }
}

#[tokio::test]
async fn one_multiproof_becomes_a_receipt_and_a_bundle_for_every_event() {
    let scene = Scene::new().await;
    let events = scene.events(10..47);
    let outcomes = scene.client.submit(&events).await.unwrap();
    check_receipts(&scene, &events, outcomes);
    scene.check_log(37);
    assert_eq!(scene.heard(), (1, 0));
    assert_eq!(scene.client.door_counts().quic_submissions, 1);
    // A duplicate has its first place and a path of its own.
    let again = scene.client.submit(&events[3..5]).await.unwrap();
    assert!(again.iter().all(|outcome| matches!(outcome, SubmitOutcome::Duplicate(_))));
    check_receipts(&scene, &events[3..5], again);
}

#[tokio::test]
async fn many_submissions_are_in_flight_and_each_has_its_own_answer() {
    let scene = Scene::new().await;
    let bounds = PipelineBounds { bytes_max: 64 << 10, submissions_max: 8 };
    let pipeline = scene.client.pipeline(bounds);
    let parts: Vec<_> = (0..40).map(|n| scene.events(100 + n * 9..109 + n * 9)).collect();
    let mut pending = Vec::new();
    for part in &parts {
        pending.push(pipeline.submit(part.clone()).await.unwrap());
    }
    for (part, pending) in parts.iter().zip(pending) {
        let proven = pending.proven().await.unwrap();
        assert_eq!(proven.frames(), part);
        assert!(proven.events().iter().all(|event| matches!(event, ProvenEvent::Accepted { .. })));
        assert!(proven.checkpoint().is_some());
        check_receipts(&scene, part, proven.into_outcomes().unwrap());
    }
    scene.check_log(360);
    assert_eq!(lock(&scene.world).connections, 1);
}

#[tokio::test]
async fn a_submission_has_bounds() {
    let scene = Scene::new().await;
    let pipeline = scene.client.pipeline(PipelineBounds::STANDARD);
    assert!(matches!(pipeline.submit(Vec::new()).await, Err(ClientError::Config(_))));
    assert!(matches!(pipeline.submit(scene.events(10..1011)).await, Err(ClientError::Config(_))));
    // More than one takes are sent in several.
    let events = scene.events(10..1015);
    assert_eq!(scene.client.submit(&events).await.unwrap().len(), 1005);
    assert_eq!(lock(&scene.world).over_quic, 2);
}

#[tokio::test]
async fn what_has_no_answer_is_sent_again_and_gets_the_same_receipts() {
    for misdeed in [Misdeed::HangUp, Misdeed::Silence, Misdeed::Forget, Misdeed::Busy] {
        let scene = Scene::new().await;
        scene.next(&[Misdeed::Nothing, misdeed]);
        let pipeline = scene.client.pipeline(PipelineBounds::STANDARD);
        let parts: Vec<_> = (0..4).map(|n| scene.events(100 + n * 5..105 + n * 5)).collect();
        let mut pending = Vec::new();
        for part in &parts {
            pending.push(pipeline.submit(part.clone()).await.unwrap());
        }
        for (part, pending) in parts.iter().zip(pending) {
            check_receipts(&scene, part, pending.proven().await.unwrap().into_outcomes().unwrap());
        }
        scene.check_log(20);
        assert!(scene.client.door_counts().quic_repeats >= 1, "{misdeed:?}");
        let again = [Misdeed::HangUp, Misdeed::Silence].contains(&misdeed);
        assert_eq!(lock(&scene.world).connections > 1, again, "{misdeed:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_never_free_is_given_up_in_the_end() {
    let scene = Scene::new().await;
    scene.next(&[Misdeed::Busy; 9]);
    let error = scene.client.submit(&scene.events(10..12)).await.unwrap_err();
    assert!(matches!(&error, ClientError::Refused(no) if no.code == Some(ErrorCode::RateLimitExceeded)), "{error}");
    assert_eq!(lock(&scene.world).over_quic, 5);
    scene.check_log(0);
}

#[tokio::test]
async fn a_lie_is_refused_by_name() {
    let unproven = |check: Check| move |error: &ClientError| matches!(error, ClientError::Unproven(failed) if failed.check == check);
    let malformed = |text: &'static str| move |error: &ClientError| matches!(error, ClientError::Malformed { why, .. } if why.contains(text));
    type Named = Box<dyn Fn(&ClientError) -> bool>;
    let lies: Vec<(Misdeed, Named)> = vec![
        (Misdeed::Fewer, Box::new(malformed("2 results for 3 events"))),
        (Misdeed::More, Box::new(malformed("4 results for 3 events"))),
        (Misdeed::Exchange, Box::new(unproven(Check::Leaf))),
        (Misdeed::Elsewhere, Box::new(unproven(Check::Inclusion))),
        (Misdeed::Root, Box::new(unproven(Check::Inclusion))),
        (Misdeed::Padded, Box::new(unproven(Check::Inclusion))),
        (Misdeed::Early, Box::new(unproven(Check::Inclusion))),
        (Misdeed::Replay, Box::new(unproven(Check::Inclusion))),
        (Misdeed::Stranger, Box::new(unproven(Check::CheckpointSignature))),
        (Misdeed::Number, Box::new(malformed("not waiting for one"))),
        (Misdeed::Unsent, Box::new(malformed("a checkpoint that was not sent"))),
        (Misdeed::Garbage, Box::new(malformed("unknown kind"))),
        (Misdeed::Fork, Box::new(|error| matches!(error, ClientError::Fork(_)))),
    ];
    for (lie, is_named) in lies {
        let scene = Scene::new().await;
        scene.client.submit(&scene.events(10..13)).await.unwrap();
        scene.next(&[lie]);
        let error = fatal(scene.client.submit(&scene.events(20..23)).await);
        assert!(is_named(&error), "{lie:?}: {error:?}");
    }
}

#[tokio::test]
async fn an_answer_given_twice_condemns_the_connection_and_not_the_answer() {
    let scene = Scene::new().await;
    scene.next(&[Misdeed::Twice]);
    let events = scene.events(10..13);
    check_receipts(&scene, &events, scene.client.submit(&events).await.unwrap());
    let more = scene.events(20..23);
    let mut sent = scene.client.submit(&more).await;
    if sent.is_err() {
        // It was on its way when the surplus answer came.
        fatal(sent);
        sent = scene.client.submit(&more).await;
    }
    check_receipts(&scene, &more, sent.unwrap());
    scene.check_log(6);
}

#[tokio::test]
async fn a_duplicates_own_path_is_checked() {
    let scene = Scene::new().await;
    let events = scene.events(10..13);
    scene.client.submit(&events).await.unwrap();
    scene.next(&[Misdeed::Path]);
    let error = fatal(scene.client.submit(&events[..1]).await);
    assert!(matches!(error, ClientError::Unproven(failed) if failed.check == Check::Inclusion));
}

#[tokio::test]
async fn a_rejected_event_says_why_and_leaves_its_neighbours_alone() {
    let scene = Scene::new().await;
    let mut events = scene.events(10..13);
    events[1] = scene.agent.successor().event(scene.tenant.stream(1), event_id(50)).sign();
    scene.client.know_key(scene.tenant.id, scene.agent.id, events[1].key_id(), scene.agent.successor().public_key());
    let outcomes = scene.client.submit(&events).await.unwrap();
    assert!(outcomes[0].receipt().is_some() && outcomes[2].receipt().is_some());
    let rejected = outcomes[1].clone().into_receipt().unwrap_err();
    assert_eq!((rejected.event_id, rejected.rejection.code.as_str()), (event_id(50), "agent_key_invalid"));
}

#[tokio::test]
async fn another_ledger_is_refused_before_an_event_is_sent() {
    let scene = Scene::with(ALPN, |builder| builder).await;
    let other = TestLedger::new("log.example/other", START);
    lock(&scene.world).welcomed_as = Some(other.clone());
    scene.client.ledger().await.unwrap();
    let error = fatal(scene.client.submit(&scene.events(10..11)).await);
    assert!(matches!(error, ClientError::OtherLedger { found, .. } if found == other.id()), "{error}");
    // The same by what the caller trusts, with nothing asked over HTTP.
    let trusted = TrustRoot::ledger(lock(&scene.world).ledger.id());
    let client = builder(&scene.doors).trust(Trust::Given(trusted)).build().unwrap();
    fatal(client.submit(&scene.events(10..11)).await);
    scene.check_log(0);
    assert_eq!(scene.heard(), (0, 0));
}

#[tokio::test]
async fn a_refused_credential_is_an_answer_and_no_reason_to_take_another_door() {
    let scene = Scene::with(ALPN, |builder| builder).await;
    lock(&scene.world).greeting.push_back(Refused::new(0, ErrorCode::InvalidApiKey.numeric_code(), 0, "no"));
    let error = scene.client.submit(&scene.events(10..11)).await.unwrap_err();
    assert!(matches!(&error, ClientError::Refused(no) if no.code == Some(ErrorCode::InvalidApiKey)), "{error}");
    assert_eq!(lock(&scene.world).over_http, 0);
    // A server that is full says so at the greeting too, and is asked again.
    lock(&scene.world).greeting.push_back(Refused::new(0, ErrorCode::RateLimitExceeded.numeric_code(), 1, "full"));
    assert_eq!(scene.client.submit(&scene.events(10..11)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn without_quic_everything_goes_over_http_and_that_is_remembered() {
    let scene = Scene::with(ALPN, |builder| builder.quic_timeout(Duration::from_millis(300))).await;
    scene.doors.endpoint.close(quinn::VarInt::from_u32(0), b"");
    let (events, more) = (scene.events(10..13), scene.events(20..23));
    check_receipts(&scene, &events, scene.client.submit(&events).await.unwrap());
    let pipeline = scene.client.pipeline(PipelineBounds::STANDARD);
    let pending = pipeline.submit(more.clone()).await.unwrap();
    check_receipts(&scene, &more, pending.proven().await.unwrap().into_outcomes().unwrap());
    let counts = scene.client.door_counts();
    assert_eq!((counts.quic_failures, counts.quic_connections, counts.http_fallbacks), (1, 0, 2));
    assert_eq!(scene.heard(), (0, 2));
}

#[tokio::test]
async fn a_server_of_another_protocol_is_not_ours() {
    let scene = Scene::with(b"h3", |builder| builder).await;
    assert_eq!(scene.client.submit(&scene.events(10..13)).await.unwrap().len(), 3);
    assert_eq!(lock(&scene.world).over_http, 1);
}

#[tokio::test]
async fn a_connection_that_is_lost_for_good_moves_what_waits_to_http() {
    let scene = Scene::with(ALPN, |builder| builder.quic_timeout(Duration::from_millis(300))).await;
    scene.client.submit(&scene.events(10..13)).await.unwrap();
    scene.next(&[Misdeed::Silence]);
    let pipeline = scene.client.pipeline(PipelineBounds::STANDARD);
    let events = scene.events(20..23);
    let pending = pipeline.submit(events.clone()).await.unwrap();
    while lock(&scene.world).over_quic < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    scene.doors.endpoint.close(quinn::VarInt::from_u32(0), b"");
    // It was taken over QUIC and is found again over HTTP, at its place.
    check_receipts(&scene, &events, pending.proven().await.unwrap().into_outcomes().unwrap());
    scene.check_log(6);
    assert_eq!(lock(&scene.world).over_http, 1);
}

#[tokio::test]
async fn a_certificate_that_is_not_believed_is_no_reason_for_a_door_without_certificates() {
    let scene = Scene::new().await;
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap().cert.pem();
    let pinned = builder(&scene.doors).pinned_certificate(other.clone()).build().unwrap();
    let error = fatal(pinned.submit(&scene.events(10..11)).await);
    assert!(matches!(error, ClientError::Certificate { .. }), "{error}");
    // By roots, with the name: the certificate is its own root, and is for localhost alone.
    let rooted = |address: String, root: &[u8]| {
        let builder = Client::builder(&scene.doors.url).api_key(ApiKey::new("sk_test")).root_certificates(root);
        let client = builder.quic(address).door(Door::Quic).build().unwrap();
        client.know_key(scene.tenant.id, scene.agent.id, scene.agent.key_id, scene.agent.public_key());
        client
    };
    let (port, root) = (scene.doors.quic.port(), &scene.doors.certificate);
    assert!(rooted(format!("localhost:{port}"), root).submit(&scene.events(10..11)).await.is_ok());
    let by_address = rooted(format!("127.0.0.1:{port}"), root).submit(&scene.events(10..11)).await;
    assert!(matches!(fatal(by_address), ClientError::Certificate { .. }));
    let stranger = rooted(format!("localhost:{port}"), other.as_bytes()).submit(&scene.events(10..11)).await;
    assert!(matches!(fatal(stranger), ClientError::Certificate { .. }));
    assert_eq!(lock(&scene.world).over_http, 0);
}

#[tokio::test]
async fn the_feed_resumes_over_every_ending_without_gap_or_repetition() {
    let scene = Scene::new().await;
    scene.client.submit(&scene.events(10..17)).await.unwrap();
    scene.next(&[Misdeed::Nothing, Misdeed::HangUp, Misdeed::Nothing, Misdeed::HangUp]);
    let mut feed = scene.client.follow(FollowFrom::Start).await.unwrap();
    for index in 1..=9 {
        assert_eq!(feed.next().await.unwrap().placed.index, Index::new(index));
    }
    let token = feed.token().to_owned();
    // Live: waits for what comes.
    assert!(tokio::time::timeout(Duration::from_millis(50), feed.next()).await.is_err());
    scene.client.submit(&scene.events(17..18)).await.unwrap();
    assert_eq!(feed.next().await.unwrap().placed.index, Index::new(10));
    let mut resumed = scene.client.follow(FollowFrom::Token(token)).await.unwrap();
    assert_eq!(resumed.next().await.unwrap().placed.index, Index::new(10));
    let strange = FollowFrom::Token("0000000000000000-4".to_owned());
    let error = scene.client.follow(strange).await.unwrap().next().await.unwrap_err();
    assert!(matches!(error, ClientError::Config(_)), "{error}");
}

#[tokio::test]
async fn a_feed_that_omits_repeats_or_alters_is_found() {
    for misdeed in [Misdeed::Omit, Misdeed::Repeat, Misdeed::Alter] {
        let scene = Scene::new().await;
        scene.client.submit(&scene.events(10..16)).await.unwrap();
        scene.next(&[Misdeed::Nothing, Misdeed::Nothing, misdeed]);
        let mut feed = scene.client.follow(FollowFrom::Start).await.unwrap();
        let mut error = None;
        for _ in 0..8 {
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
async fn a_farewell_starts_nothing_new_on_the_connection_and_loses_nothing() {
    let scene = Scene::new().await;
    scene.client.submit(&scene.events(10..13)).await.unwrap();
    let live = core::mem::take(&mut lock(&scene.world).live);
    for connection in live {
        connection.close(quinn::VarInt::from_u32(3), b"");
    }
    let events = scene.events(20..23);
    check_receipts(&scene, &events, scene.client.submit(&events).await.unwrap());
    assert_eq!(lock(&scene.world).connections, 2);
    scene.check_log(6);
}
