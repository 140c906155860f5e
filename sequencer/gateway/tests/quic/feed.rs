//! The feed over QUIC: every event once, in order, with its exact bytes; resuming, filters, ends.

use std::time::Duration;

use tally_api::api_key::Role;
use tally_api::error::ErrorCode;
use tally_protocol::frame::Frame;
use tally_protocol::id::{Index, StoreId, TenantId};
use tally_protocol::quic::{CloseCode, Follow, FollowFrom, Kind, ToClient};
use tally_protocol::run::Record;

use crate::common::scope;
use crate::door::{Door, DoorSetup, Lane, Session};

async fn follow(session: &Session, from: FollowFrom, filter: Option<(TenantId, Option<StoreId>)>) -> Lane {
    let mut lane = session.stream().await;
    let mut out = Vec::new();
    Follow { from, filter }.write(&mut out);
    lane.send.write_all(&out).await.unwrap();
    lane
}

const START: FollowFrom = FollowFrom::Index(Index::new(0));

/// Reads until so many events are there; gives them and where to resume.
async fn read(lane: &mut Lane, count: usize) -> (Vec<Record>, Index) {
    let (mut records, mut next): (Vec<Record>, _) = (Vec::new(), Index::new(0));
    while records.len() < count {
        match lane.mail.next().await {
            Some(ToClient::Events(events)) => {
                next = events.next;
                records.extend(events.into_records());
            }
            Some(ToClient::Heartbeat(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(records.len(), count);
    (records, next)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_comes_once_in_order_with_its_exact_bytes() {
    let door = Door::new().await;
    let server = &door.server;
    let session = door.session(&server.operator()).await;
    let before = server.gateway_size() as usize - 1;
    let mut lane = follow(&session, START, None).await;
    let (first, next) = read(&mut lane, before).await;
    assert!(first.iter().map(|record| record.index.get()).eq(1..=before as u64));
    // New ones arrive as they are signed.
    let frames: Vec<Frame> = (0..3000).map(|n| server.event(&format!("{{\"n\":{n}}}"))).collect();
    for batch in frames.chunks(600) {
        session.submit(batch).await.unwrap();
    }
    let (records, end) = read(&mut lane, frames.len()).await;
    let key = server.tenants[0].agent(1).public_key();
    for (at, (record, frame)) in records.iter().zip(&frames).enumerate() {
        assert_eq!(record.frame.bytes(), frame.bytes());
        assert_eq!((record.index.get(), record.public_key), (next.get() + at as u64, key));
    }
    // Resuming in the middle gives the rest, and a feed from now on gives none of it.
    let middle = records[1000].index;
    let mut lane = follow(&session, FollowFrom::Index(middle), None).await;
    let (rest, rest_end) = read(&mut lane, 2000).await;
    assert!(rest.iter().zip(&records[1000..]).all(|(a, b)| a.index == b.index && a.frame == b.frame));
    assert_eq!(rest_end, end);
    let mut lane = follow(&session, FollowFrom::Now, None).await;
    let Some(ToClient::Heartbeat(heartbeat)) = lane.mail.next().await else { panic!("a sign of life") };
    assert_eq!((heartbeat.next, heartbeat.size.get()), (end, end.get()));
    session.submit(&[server.event("{\"last\":1}")]).await.unwrap();
    let (last, _) = read(&mut lane, 1).await;
    assert_eq!(last[0].index, end);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_shows_what_the_credential_reaches_and_the_filter_asks_for() {
    let door = Door::new().await;
    let server = &door.server;
    let operator = door.session(&server.operator()).await;
    let [mine, other] = &server.tenants;
    let frames: Vec<Frame> = (0..60)
        .map(|n| {
            let tenant = if n % 3 == 0 { other } else { mine };
            server.event_of(tenant, n % 2 + 1, 1, &format!("{{\"n\":{n}}}"))
        })
        .collect();
    operator.submit(&frames).await.unwrap();
    let of_mine: Vec<&Frame> = frames.iter().filter(|frame| frame.tenant_id() == mine.id).collect();
    let store = mine.stream(1).store;
    let of_store: Vec<&&Frame> = of_mine.iter().filter(|frame| frame.store_id() == store).collect();
    let key = server.key(scope(Some(mine.id), Some(vec![store]), None, &[Role::Reader]));
    let narrow = door.session(&key).await;
    for (session, filter) in
        [(&narrow, None), (&narrow, Some((mine.id, None))), (&operator, Some((mine.id, Some(store))))]
    {
        let mut lane = follow(session, START, filter).await;
        let (records, _) = read(&mut lane, of_store.len()).await;
        assert!(records.iter().zip(&of_store).all(|(record, frame)| record.frame == ***frame));
    }
    let mut lane = follow(&operator, START, Some((mine.id, None))).await;
    // The tenant's own control events, two agents, come first.
    let (records, next) = read(&mut lane, of_mine.len() + 2).await;
    assert!(records[2..].iter().zip(&of_mine).all(|(record, frame)| record.frame == **frame));
    assert!(next.get() <= server.gateway_size());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_feed_says_that_it_lives_and_a_drain_ends_it_with_a_reason() {
    let mut setup = DoorSetup::new();
    setup.http.config.limits.feed_heartbeat = Duration::from_millis(50);
    let door = setup.start().await;
    let session = door.session(&door.server.operator()).await;
    let mut lane = follow(&session, FollowFrom::Now, None).await;
    for _ in 0..3 {
        assert!(matches!(lane.mail.next().await, Some(ToClient::Heartbeat(_))));
    }
    let served = door.stop();
    loop {
        match lane.mail.next().await {
            Some(ToClient::Heartbeat(_)) => {}
            Some(ToClient::GoAway(away)) => {
                assert_eq!(away.code, ErrorCode::Draining.numeric_code());
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(lane.mail.next().await.is_none());
    assert_eq!(session.line.closed().await, Some(CloseCode::Draining));
    served.await.unwrap();
}

/// A reader that takes nothing costs its own windows and nobody else's time, and is ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_never_reads_is_ended_and_its_neighbour_gets_everything() {
    let mut setup = DoorSetup::new();
    setup.http.config.limits.write_timeout = Duration::from_millis(400);
    setup.limits.send_window_bytes = 64 << 10;
    let door = setup.start().await;
    let server = &door.server;
    let operator = server.operator();
    let session = door.session(&operator).await;
    let before = server.gateway_size() as usize - 1;
    let payload = format!("{{\"x\":\"{}\"}}", "y".repeat(8000));
    for _ in 0..8 {
        let frames: Vec<Frame> = (0..100).map(|_| server.event(&payload)).collect();
        session.submit(&frames).await.unwrap();
    }
    let idle = door.connect_narrow(64 << 10).await.hello(&operator).await.unwrap();
    let stuck = follow(&idle, START, None).await;
    let mut lane = follow(&session, START, None).await;
    read(&mut lane, 800 + before).await;
    assert_eq!(idle.line.closed().await, Some(CloseCode::TooSlow));
    drop(stuck);
    assert!(session.submit(&[server.event("{}")]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn feeds_are_bounded_and_a_follower_that_says_more_is_malformed() {
    let mut setup = DoorSetup::new();
    setup.limits.feeds_max = 2;
    let door = setup.start().await;
    let session = door.session(&door.server.operator()).await;
    let mut lanes = Vec::new();
    for _ in 0..2 {
        let mut lane = follow(&session, START, None).await;
        assert!(matches!(lane.mail.next().await, Some(ToClient::Events(_))));
        lanes.push(lane);
    }
    let mut third = follow(&session, START, None).await;
    let Some(ToClient::Refused(refused)) = third.mail.next().await else { panic!("a refusal") };
    assert_eq!(refused.code, ErrorCode::RateLimitExceeded.numeric_code());
    assert_eq!(door.metric("quic_feeds").await, 2);
    lanes[0].raw(Kind::Follow, &[0; 41]).await;
    assert_eq!(session.line.closed().await, Some(CloseCode::Malformed));
}
