//! Clients that mean no good: garbage, lengths that lie, streams without end, answers never read, callers that want it
//! all. Each is bounded, ended with its reason, and its neighbours are served.

use std::time::Duration;

use quinn::VarInt;
use tally_api::api_key::Role;
use tally_api::error::ErrorCode;
use tally_gateway::{AgentSigner, Market, MarketRoles};
use tally_protocol::frame::Frame;
use tally_protocol::quic::{CloseCode, Head, Hello, Kind};
use tally_testkit::TestTenant;

use crate::common::scope;
use crate::door::{Door, DoorSetup, garbage};

/// What a client may say first, and is not Hello.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_not_hello_closes_the_connection() {
    let door = Door::new().await;
    let head = |kind, body_bytes| Head { kind, body_bytes }.encode().to_vec();
    let mut cut = Vec::new();
    Hello::new("sk_live_x").unwrap().write(&mut cut);
    cut.pop();
    let first_words = [
        garbage(64).to_vec(),
        b"GET / HTTP/1.1\r\nhost: t\r\n\r\n".to_vec(),
        vec![0xff; 5],
        vec![0, 0, 0, 0, 1],
        head(Kind::Hello, 259),
        head(Kind::Submit, 20),
        head(Kind::Welcome, 20),
        [head(Kind::Hello, 4), vec![0, 1, b' ', 0]].concat(),
        cut,
        Vec::new(),
    ];
    let count = first_words.len() as u64;
    for words in first_words {
        let line = door.connect().await;
        let (mut send, _receive) = line.connection.open_bi().await.unwrap();
        send.write_all(&words).await.unwrap();
        send.finish().unwrap();
        assert_eq!(line.closed().await, Some(CloseCode::Malformed), "{words:?}");
    }
    assert_eq!(door.metric("quic_malformed_total").await, count);
    assert_eq!(door.metric("quic_connections").await, 0);
}

/// What an admitted client may say, and should not.
#[tokio::test(flavor = "multi_thread")]
async fn messages_that_lie_about_their_lengths_close_the_connection_and_take_nothing() {
    let door = Door::new().await;
    let key = door.server.tenant_key(&[Role::Agent]);
    let size = door.server.gateway_size();
    let frame = door.server.event("{}");
    let body = |count: u16, frames: &[&[u8]]| {
        let mut out = 7u64.to_be_bytes().to_vec();
        out.extend_from_slice(&count.to_be_bytes());
        frames.iter().for_each(|frame| out.extend_from_slice(frame));
        out
    };
    let mut long = frame.bytes().to_vec();
    long[1] = 0x7f;
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("oversize", Head { kind: Kind::Submit, body_bytes: (10 << 20) + 11 }.encode().to_vec()),
        ("all ones", vec![0xff; 64]),
        ("unknown kind", vec![0, 0, 0, 2, 0x55, 0]),
        ("a server's kind", Head { kind: Kind::Outcome, body_bytes: 4 }.encode().to_vec()),
        ("a second hello", Head { kind: Kind::Hello, body_bytes: 2 }.encode().to_vec()),
        ("no events", [&Head { kind: Kind::Submit, body_bytes: 10 }.encode()[..], &body(0, &[])].concat()),
        ("fewer frames than counted", {
            let body = body(2, &[frame.bytes()]);
            [&Head { kind: Kind::Submit, body_bytes: body.len() }.encode()[..], &body].concat()
        }),
        ("more frames than counted", {
            let body = body(1, &[frame.bytes(), frame.bytes()]);
            [&Head { kind: Kind::Submit, body_bytes: body.len() }.encode()[..], &body].concat()
        }),
        ("a frame longer than the message", {
            let body = body(1, &[&long]);
            [&Head { kind: Kind::Submit, body_bytes: body.len() }.encode()[..], &body].concat()
        }),
    ];
    for (what, bytes) in cases {
        let session = door.session(&key).await;
        let mut lane = session.stream().await;
        let _ = lane.send.write_all(&bytes).await;
        assert_eq!(session.line.closed().await, Some(CloseCode::Malformed), "{what}");
    }
    // A message cut off by the end of the stream, and anything after Hello on the control stream.
    let session = door.session(&key).await;
    let mut lane = session.stream().await;
    lane.send.write_all(&Head { kind: Kind::Submit, body_bytes: 400 }.encode()).await.unwrap();
    lane.send.write_all(&[1; 100]).await.unwrap();
    lane.send.finish().unwrap();
    assert_eq!(session.line.closed().await, Some(CloseCode::Malformed));
    assert_eq!(door.server.gateway_size(), size);
    assert!(door.session(&key).await.submit(&[frame]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_nothing_or_stops_in_the_middle_is_ended() {
    let mut setup = DoorSetup::new();
    setup.limits.hello_timeout = Duration::from_millis(300);
    setup.limits.message_timeout = Duration::from_millis(300);
    let door = setup.start().await;
    let key = door.server.tenant_key(&[Role::Agent]);
    // No stream, an empty stream, half a Hello.
    let silent = door.connect().await;
    let opened = door.connect().await;
    let (mut send, _receive) = opened.connection.open_bi().await.unwrap();
    send.write_all(&[0, 0]).await.unwrap();
    for line in [silent, opened] {
        line.closed().await;
    }
    // Half a submission holds a part of the caller's own window, for a while.
    let session = door.session(&key).await;
    let mut lane = session.stream().await;
    lane.send.write_all(&Head { kind: Kind::Submit, body_bytes: 5 << 20 }.encode()).await.unwrap();
    lane.send.write_all(&[1; 1000]).await.unwrap();
    let neighbour = door.session(&key).await;
    assert!(neighbour.submit(&[door.server.event("{}")]).await.is_ok());
    assert_eq!(session.line.closed().await, Some(CloseCode::TooSlow));
    assert!(door.metric("quic_too_slow_total").await >= 2);
    assert!(neighbour.submit(&[door.server.event("{}")]).await.is_ok());
}

/// A flood of streams is held by QUIC's own limit; streams in one direction and datagrams do not exist here.
#[tokio::test(flavor = "multi_thread")]
async fn streams_are_bounded_and_one_way_streams_are_none_of_ours() {
    let mut setup = DoorSetup::new();
    setup.limits.streams_max = 4;
    setup.limits.feeds_max = 1;
    let door = setup.start().await;
    let session = door.session(&door.server.tenant_key(&[Role::Agent])).await;
    let mut lanes = Vec::new();
    for _ in 0..4 {
        let mut lane = session.stream().await;
        lane.submit(&[door.server.event("{}")]).await;
        lane.answer().await.unwrap();
        lanes.push(lane);
    }
    let fifth = tokio::time::timeout(Duration::from_millis(300), session.line.connection.open_bi()).await;
    assert!(fifth.is_err(), "the fifth stream has to wait");
    assert_eq!(door.metric("quic_streams").await, 4);
    let one_way = tokio::time::timeout(Duration::from_millis(300), session.line.connection.open_uni()).await;
    assert!(one_way.is_err(), "no stream in one direction");
    assert!(session.line.connection.send_datagram(garbage(10)).is_err(), "no datagrams");
    // A stream that ends makes room for the next one.
    lanes.pop().unwrap().send.finish().unwrap();
    let mut lane = session.stream().await;
    lane.submit(&[door.server.event("{}")]).await;
    lane.answer().await.unwrap();
}

/// Streams without end, one after the other, each given up half-way: nothing stays behind.
#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_given_up_leave_nothing_behind() {
    let door = Door::new().await;
    let session = door.session(&door.server.tenant_key(&[Role::Agent])).await;
    for round in 0..300u32 {
        let mut lane = session.stream().await;
        let mut out = Head { kind: Kind::Submit, body_bytes: 4000 }.encode().to_vec();
        out.resize(5 + (round as usize * 13) % 3000, 0);
        lane.send.write_all(&out).await.unwrap();
        lane.send.reset(VarInt::from_u32(0)).unwrap();
    }
    assert!(session.submit(&[door.server.event("{}")]).await.is_ok());
    let streams = async {
        while door.metric("quic_streams").await > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), streams).await.expect("all streams end");
}

/// A client that never reads its outcomes fills its own windows, is made to wait, and is ended; nobody else notices.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_its_outcomes_is_bounded_and_ended() {
    let mut setup = DoorSetup::new();
    setup.limits.write_timeout = Duration::from_millis(500);
    setup.limits.send_window_bytes = 64 << 10;
    setup.limits.window_bytes = 256 << 10;
    setup.limits.submit_bytes_max = 64 << 10;
    let door = setup.start().await;
    let key = door.server.tenant_key(&[Role::Agent]);
    let session = door.connect_narrow(2000).await.hello(&key).await.unwrap();
    let mut lane = session.stream().await;
    let frame = [door.server.event("{}")];
    // Duplicates: each answer carries a whole path.
    let flood = async {
        for _ in 0..20_000 {
            lane.submit_or_stop(&frame).await?;
        }
        Some(())
    };
    assert!(flood.await.is_none(), "the server ends it before it has sent everything");
    assert_eq!(session.line.closed().await, Some(CloseCode::TooSlow));
    let neighbour = door.session(&key).await;
    assert!(neighbour.submit(&frame).await.is_ok());
}

/// Each caller has its own window: one that fills its own cannot keep another waiting.
#[tokio::test(flavor = "multi_thread")]
async fn one_caller_cannot_starve_another() {
    let mut setup = DoorSetup::new();
    setup.limits.window_bytes = 128 << 10;
    setup.limits.submit_bytes_max = 64 << 10;
    setup.limits.message_timeout = Duration::from_secs(20);
    let door = setup.start().await;
    let (greedy, modest) = (door.server.tenant_key(&[Role::Agent]), door.server.tenant_key(&[Role::Agent]));
    // The greedy one announces more than its window on many streams and sends none of it.
    let mut held = Vec::new();
    for _ in 0..4 {
        let session = door.session(&greedy).await;
        for _ in 0..8 {
            let mut lane = session.stream().await;
            lane.send.write_all(&Head { kind: Kind::Submit, body_bytes: 60_000 }.encode()).await.unwrap();
            held.push(lane);
        }
        held.last_mut().unwrap().send.write_all(&[0; 100]).await.unwrap();
        std::mem::forget(session);
    }
    let session = door.session(&modest).await;
    for _ in 0..20 {
        let frames: Vec<Frame> = (0..50).map(|_| door.server.event("{}")).collect();
        assert!(session.submit(&frames).await.is_ok());
    }
    // The greedy one itself has to wait.
    let own = door.session(&greedy).await;
    let frame = [door.server.event("{}")];
    assert!(tokio::time::timeout(Duration::from_millis(300), own.submit(&frame)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_bounded_over_all_and_for_each_caller() {
    let mut setup = DoorSetup::new();
    setup.limits.connections_max = 4;
    setup.limits.connections_per_caller_max = 2;
    let door = setup.start().await;
    let (one, two) = (door.server.tenant_key(&[Role::Agent]), door.server.tenant_key(&[Role::Agent]));
    let mut sessions = vec![door.session(&one).await, door.session(&one).await];
    let line = door.connect().await;
    let (mut send, receive) = line.connection.open_bi().await.unwrap();
    let mut out = Vec::new();
    Hello::new(&one).unwrap().write(&mut out);
    send.write_all(&out).await.unwrap();
    let mut mail = crate::door::Mailbox::new(receive);
    let Some(tally_protocol::quic::ToClient::Refused(refused)) = mail.next().await else { panic!("a refusal") };
    assert_eq!(refused.code, ErrorCode::RateLimitExceeded.numeric_code());
    assert_eq!(line.closed().await, Some(CloseCode::TooMany));
    sessions.extend([door.session(&two).await, door.session(&two).await]);
    assert!(door.connect_with(door.tls()).await.is_err(), "the fifth is refused at once");
    assert_eq!(door.metric("quic_connections_refused_total").await, 1);
    // One that leaves makes room.
    sessions.pop().unwrap().line.connection.close(VarInt::from_u32(0), b"");
    let again = async {
        while door.connect_with(door.tls()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), again).await.expect("room again");
    let scoped = door.server.key(scope(None, None, None, &[Role::Agent]));
    assert!(!scoped.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_when_its_time_is_over_and_what_it_sent_is_answered() {
    let mut setup = DoorSetup::new();
    setup.limits.session_max = Duration::from_millis(400);
    let door = setup.start().await;
    let mut session = door.session(&door.server.tenant_key(&[Role::Agent])).await;
    let mut lane = session.stream().await;
    lane.submit(&[door.server.event("{}")]).await;
    assert!(lane.answer().await.is_ok());
    let Some(tally_protocol::quic::ToClient::GoAway(away)) = session.control.next().await else { panic!("a farewell") };
    assert_eq!(away.code, ErrorCode::ServiceUnavailable.numeric_code());
    assert_eq!(session.line.closed().await, Some(CloseCode::Draining));
}

/// M-047: what shows a card number never enters the marketplace's stream, through whatever door.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_the_marketplace_that_shows_a_card_number_is_refused() {
    let agent = TestTenant::operator_managed(1).agent(2);
    let mut setup = DoorSetup::new();
    setup.http.market = Some(Market {
        stream: TestTenant::operator_managed(1).stream(1),
        plugins: Vec::new(),
        signer: AgentSigner { agent: agent.id, key: agent.key.clone() },
        public: std::collections::BTreeSet::new(),
        roles: MarketRoles::default(),
        webhook: None,
    });
    let door = setup.start().await;
    let server = &door.server;
    let session = door.session(&server.operator()).await;
    let card = r#"{"note":"4242 4242 4242 4242"}"#;
    let refused = session.submit(&[server.event("{}"), server.event(card)]).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidFieldValue.numeric_code());
    assert!(!refused.message().contains("4242"));
    let elsewhere = server.event_of(&server.tenants[0], 2, 1, card);
    assert!(session.submit(&[server.event("{}"), elsewhere]).await.is_ok());
}
