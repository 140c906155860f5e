//! The Rust client against a real node over a real socket.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::common::{START, TestServer, scope};
use tally_api::agent_key::{RegisterKeyRequest, RevokeKeyRequest, RotateKeyRequest};
use tally_api::api_key::{CreateApiKey, Role};
use tally_api::tenant::CreateTenant;
use tally_client::{
    ApiKey, Class, Client, ClientBuilder, ClientError, FollowFrom, RetryPolicy, SubmitOutcome, Trust, Wire,
    verify::{TrustRoot, verify_tlog_proof},
};
use tally_protocol::frame::Frame;
use tally_protocol::id::{Index, Sequence, TreeSize};
use tally_testkit::{TestAgent, TestTenant, event_id};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

fn builder(server: &TestServer, url: &str) -> ClientBuilder {
    let key = server.tenant_key(&[Role::Agent]);
    let retry = RetryPolicy { attempts_max: 6, pause_first: Duration::from_millis(5), ..RetryPolicy::STANDARD };
    Client::builder(url).api_key(ApiKey::new(key)).retry(retry)
}

fn client(server: &TestServer) -> Client {
    builder(server, &server.url("")).build().unwrap()
}

fn events(server: &TestServer, count: usize) -> Vec<Frame> {
    (0..count).map(|n| server.event(&format!(r#"{{"n":{n}}}"#))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_over_both_wires_are_proven_and_become_offline_bundles() {
    let server = TestServer::new().await;
    for wire in [Wire::Frames, Wire::Json] {
        let client = builder(&server, &server.url("")).wire(wire).build().unwrap();
        let outcomes = client.submit(&events(&server, 7)).await.unwrap();
        for outcome in outcomes {
            let receipt = outcome.into_receipt().unwrap();
            let trust = TrustRoot::ledger(server.ledger.id());
            assert!(receipt.bundle().verify(&trust).verified());
            let bundle = client.bundle(receipt.placed.index).await.unwrap();
            assert!(bundle.verify(&trust).verified());
            assert_eq!(bundle.frame, *receipt.frame.bytes());
            let newer = client.receipt(&receipt.frame, receipt.placed.index).await.unwrap();
            assert_eq!(newer.placed, receipt.placed);
        }
    }
}

/// A relay that passes requests on and cuts the connection before so many answers came through.
async fn relay_that_loses_answers(server: &TestServer, lose: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let upstream = server.address;
    let left = Arc::new(std::sync::atomic::AtomicUsize::new(lose));
    tokio::spawn(async move {
        while let Ok((downstream, _)) = listener.accept().await {
            tokio::spawn(relay(downstream, upstream, Arc::clone(&left)));
        }
    });
    url
}

async fn relay(mut down: TcpStream, upstream: std::net::SocketAddr, left: Arc<std::sync::atomic::AtomicUsize>) {
    use std::sync::atomic::Ordering::SeqCst;
    let mut up = TcpStream::connect(upstream).await.unwrap();
    let (mut from_down, mut from_up) = ([0; 65536], [0; 65536]);
    let mut is_submission = false;
    loop {
        tokio::select! {
            read = down.read(&mut from_down) => match read {
                Ok(n) if n > 0 => {
                    is_submission |= from_down[..n].starts_with(b"POST");
                    up.write_all(&from_down[..n]).await.unwrap();
                }
                _ => return,
            },
            read = up.read(&mut from_up) => match read {
                Ok(n) if n > 0 => {
                    // The node has answered, so everything is in the log; the client never hears of it.
                    if is_submission && left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
                        return;
                    }
                    down.write_all(&from_up[..n]).await.unwrap();
                }
                _ => return,
            },
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_gives_the_same_receipt_again_and_the_event_counts_once() {
    let server = TestServer::new().await;
    let client = builder(&server, &relay_that_loses_answers(&server, 2).await).build().unwrap();
    let sent = events(&server, 5);
    let outcomes = client.submit(&sent).await.unwrap();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, SubmitOutcome::Duplicate(_))));
    let again = client.submit(&sent).await.unwrap();
    let places = |outcomes: &[SubmitOutcome]| -> Vec<_> {
        outcomes.iter().map(|outcome| outcome.receipt().map(|receipt| (receipt.placed, receipt.leaf_hash))).collect()
    };
    assert_eq!(places(&outcomes), places(&again));
    assert_eq!(client.stream_head(server.tenants[0].stream(1)).await.unwrap(), Some(Sequence::new(5)));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_retrying_the_same_events_agree_on_every_place() {
    let server = TestServer::new().await;
    let sent = Arc::new(events(&server, 60));
    let tasks: Vec<_> = (0..6)
        .map(|_| {
            let (client, sent) = (client(&server), Arc::clone(&sent));
            tokio::spawn(async move {
                let mut places = Vec::new();
                for part in sent.chunks(20) {
                    let outcomes = client.submit(part).await.unwrap();
                    places.extend(outcomes.into_iter().map(|outcome| outcome.into_receipt().unwrap().placed.index));
                }
                places
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.push(task.await.unwrap());
    }
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(all[0].iter().collect::<BTreeSet<_>>().len(), 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_of_two_runs_of_a_client_join() {
    let server = TestServer::new().await;
    let first = client(&server);
    first.submit(&events(&server, 3)).await.unwrap();
    let note = first.seen().await.unwrap().note.clone();
    client(&server).submit(&events(&server, 40)).await.unwrap();
    let next = builder(&server, &server.url("")).seen(note).build().unwrap();
    next.submit(&events(&server, 1)).await.unwrap();
    server.published().await;
    let published = next.published_checkpoint().await.unwrap();
    assert!(published.checkpoint.size >= TreeSize::new(50));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wrong_ledger_is_never_talked_to() {
    let (server, other) = (TestServer::new().await, TestServer::new().await);
    assert_eq!(server.ledger.id(), other.ledger.id(), "the same genesis: told apart by history alone");
    let trusting = |id| {
        let trust = Trust::Given(TrustRoot::ledger(id));
        builder(&server, &server.url("")).trust(trust).build().unwrap()
    };
    assert!(trusting(server.ledger.id()).submit(&events(&server, 1)).await.is_ok());
    let error = trusting(tally_protocol::hash::LedgerId::ZERO).submit(&events(&server, 1)).await.unwrap_err();
    assert_eq!(error.class(), Class::Fatal);
    // A client that has seen one history does not accept the other, although every proof in it holds.
    let first = client(&server);
    first.submit(&events(&server, 3)).await.unwrap();
    let note = first.seen().await.unwrap().note.clone();
    client(&other).submit(&events(&other, 9)).await.unwrap();
    let misled = builder(&other, &other.url("")).seen(note).build().unwrap();
    let error = misled.submit(&events(&other, 1)).await.unwrap_err();
    assert!(matches!(error, ClientError::Fork(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_gives_every_event_once_while_more_come_in() {
    let server = TestServer::new().await;
    let (reading, writing) = (client(&server), client(&server));
    let mut feed = reading
        .follow_stream(FollowFrom::Start, server.tenants[0].id, server.tenants[0].stream(1).store)
        .await
        .unwrap();
    let sent = events(&server, 120);
    let parts: Vec<Vec<Frame>> = sent.chunks(7).map(<[Frame]>::to_vec).collect();
    let writer = tokio::spawn(async move {
        for part in parts {
            writing.submit(&part).await.unwrap();
        }
    });
    for (at, frame) in sent.iter().enumerate() {
        let event = tokio::time::timeout(Duration::from_secs(20), feed.next()).await.unwrap().unwrap();
        assert_eq!((event.placed.sequence.get(), &event.frame), (at as u64 + 1, frame));
    }
    writer.await.unwrap();
    let mut resumed = reading.follow(FollowFrom::Token(feed.token().to_owned())).await.unwrap();
    let later = server.event("[]");
    reading.submit(std::slice::from_ref(&later)).await.unwrap();
    assert_eq!(resumed.next().await.unwrap().frame, later);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_read_back_by_place_id_and_entity() {
    let server = TestServer::new().await;
    let client = client(&server);
    let stream = server.tenants[0].stream(1);
    let agent = server.tenants[0].agent(1);
    let odd = "a/b ?#%é";
    let sent: Vec<Frame> = (0..5u64)
        .map(|n| {
            let entity = if n % 2 == 0 { odd } else { "ORD-1" };
            agent.event(stream, event_id(700 + n)).about("Order/line", entity).created_at(START).sign()
        })
        .collect();
    let outcomes = client.submit(&sent).await.unwrap();
    let first = outcomes[0].receipt().unwrap().placed;
    assert_eq!(client.event(first.index).await.unwrap().unwrap().frame, sent[0]);
    assert_eq!(client.event_by_id(stream, event_id(703)).await.unwrap().unwrap().frame, sent[3]);
    assert_eq!(client.event_by_id(stream, event_id(799)).await.unwrap(), None);
    assert_eq!(client.event_in_stream(stream, Sequence::new(2)).await.unwrap().unwrap().frame, sent[1]);
    let page = client.stream_events(stream, Sequence::new(2), 3).await.unwrap();
    assert_eq!((page.events.len(), page.next), (3, Some(Sequence::new(5))));
    let odd_ones = client.entity_events(stream, ("Order/line", odd), None, 10).await.unwrap();
    assert_eq!(odd_ones.events.iter().map(|event| &event.frame).collect::<Vec<_>>(), [&sent[0], &sent[2], &sent[4]]);
    let after =
        client.entity_events(stream, ("Order/line", odd), Some(odd_ones.events[0].placed.index), 1).await.unwrap();
    assert_eq!(after.events[0].frame, sent[2]);
    assert_eq!(client.stream_head(stream).await.unwrap(), Some(Sequence::new(5)));
    assert!(client.ladder().await.unwrap().signed > TreeSize::new(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_agents_receipt_is_proven_with_the_key_that_signed_it() {
    let server = TestServer::new().await;
    let client = client(&server);
    let events: Vec<Frame> = [1, 2].map(|agent| server.event_of(&server.tenants[0], 1, agent, "{}")).to_vec();
    let outcomes = client.submit(&events).await.unwrap();
    for (n, outcome) in outcomes.iter().enumerate() {
        let key = outcome.receipt().unwrap().placed.public_key;
        assert_eq!(key, server.tenants[0].agent(n as u64 + 1).public_key());
    }
    assert_eq!(client.agent_keys(server.tenants[0].id, events[0].agent_id()).await.unwrap().keys.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_event_is_told_apart_from_its_accepted_neighbours() {
    let server = TestServer::new().await;
    let client = client(&server);
    let mut sent = events(&server, 3);
    let stranger = TestAgent { key: tally_testkit::signing_key("stranger"), ..server.tenants[0].agent(1) };
    sent[1] = stranger.event(server.tenants[0].stream(1), event_id(900)).created_at(START).sign();
    let outcomes = client.submit(&sent).await.unwrap();
    assert!(outcomes[0].receipt().is_some() && outcomes[2].receipt().is_some());
    let SubmitOutcome::Rejected(rejected) = &outcomes[1] else { panic!("{outcomes:?}") };
    assert_eq!(rejected.rejection.code, "invalid_signature");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_manages_tenants_keys_and_credentials_through_the_client() {
    let server = TestServer::new().await;
    let operator = Client::new(&server.url(""), &server.operator()).unwrap();
    let tenant = TestTenant::operator_managed(9);
    let created = operator
        .create_tenant(&CreateTenant {
            tenant_id: tenant.id,
            root_agent_id: tenant.root.id,
            root_public_key: tenant.root.public_key(),
            operator_managed: true,
        })
        .await
        .unwrap();
    assert_eq!(created.tenant_id, tenant.id);
    let agent = tenant.agent(1);
    let registered = operator
        .register_key(&RegisterKeyRequest {
            tenant_id: tenant.id,
            agent_id: agent.id,
            key_id: Some(agent.key_id),
            public_key: agent.public_key().to_hex(),
            valid_from: None,
            valid_to: None,
            key_algorithm: None,
        })
        .await
        .unwrap();
    assert!(registered.log_index > Some(created.created_index));
    let issued = operator
        .create_api_key(&CreateApiKey {
            tenant_id: Some(tenant.id),
            store_ids: None,
            agent_id: Some(agent.id),
            roles: vec![Role::Agent],
            label: "client test".to_owned(),
            expires_at: None,
        })
        .await
        .unwrap();
    let client = Client::new(&server.url(""), &issued.api_key).unwrap();
    let submit = |agent: &TestAgent, n| {
        let event = agent.event(tenant.stream(1), event_id(n)).created_at(START).sign();
        let client = client.clone();
        async move { client.submit_one(&event).await.unwrap() }
    };
    assert!(submit(&agent, 1).await.receipt().is_some());
    let next = agent.successor();
    operator
        .rotate_key(&RotateKeyRequest {
            tenant_id: tenant.id,
            agent_id: agent.id,
            public_key: next.public_key().to_hex(),
            previous_valid_to: START.saturating_add(Duration::from_secs(60)).to_rfc3339(),
            valid_to: None,
        })
        .await
        .unwrap();
    // In the overlap both are good.
    assert!(submit(&agent, 2).await.receipt().is_some() && submit(&next, 3).await.receipt().is_some());
    let revoke =
        RevokeKeyRequest { tenant_id: tenant.id, agent_id: agent.id, key_id: agent.key_id, reason: "test".to_owned() };
    operator.revoke_key(&revoke).await.unwrap();
    assert!(operator.revoke_key(&revoke).await.is_ok(), "twice is once");
    let SubmitOutcome::Rejected(rejected) = submit(&agent, 4).await else { panic!("a revoked key was admitted") };
    assert_eq!(rejected.rejection.code, "agent_key_invalid");
    assert!(submit(&next, 5).await.receipt().is_some());
    assert!(operator.api_keys().await.unwrap().keys.iter().any(|key| key.id == issued.info.id));
    operator.revoke_api_key(&issued.info.id).await.unwrap();
    let error = client.ladder().await.unwrap_err();
    assert_eq!(error.class(), Class::Reject);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_credential_forbids_is_a_rejection_and_not_retried() {
    let server = TestServer::new().await;
    let key = server.key(scope(Some(server.tenants[0].id), None, None, &[Role::Reader]));
    let reader = Client::new(&server.url(""), &key).unwrap();
    let error = reader.submit(&events(&server, 1)).await.unwrap_err();
    assert_eq!(error.class(), Class::Reject, "{error}");
    let foreign = server.event_of(&server.tenants[1], 1, 1, "{}");
    let error = client(&server).submit(&[foreign]).await.unwrap_err();
    assert!(matches!(&error, ClientError::Refused(refusal) if refusal.status == 403), "{error}");
    assert_eq!(client(&server).event(Index::new(99_999)).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tlog_proof_file_from_the_node_verifies_offline() {
    let server = TestServer::new().await;
    let client = client(&server);
    let receipt = client.submit_one(&server.event("{}")).await.unwrap().into_receipt().unwrap();
    server.published().await;
    let path = format!("/v1/proof/{}.tlog-proof", receipt.placed.index);
    let file = server.get(&server.tenant_key(&[Role::Agent]), &path).await.text();
    let entry = receipt.placed.entry_of(&receipt.frame).encode();
    let ledger = client.ledger().await.unwrap();
    assert!(verify_tlog_proof(&file, &entry, &[ledger.checkpoint_key().unwrap()]).verified(), "{file}");
}
