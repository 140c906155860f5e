//! The Rust client's part in outcomes and plugins, against a real node: what is proven, and what is not believed.

use std::sync::Arc;
use std::time::Duration;

use crate::common::TestServer;
use crate::common::follower::{COUNT, counter};
use crate::plugins::server;
use bytes::Bytes;
use tally_api::api_key::Role;
use tally_client::{ApiKey, Class, Client, ClientError, RetryPolicy, Verb};
use tally_gateway::PluginPortError;
use tally_protocol::hash::ModuleHash;
use tally_protocol::id::{Index, TreeSize};
use tally_protocol::outcome::OutcomeCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

fn client_of(server: &TestServer, url: &str) -> Client {
    let key = server.tenant_key(&[Role::Agent, Role::Admin]);
    let retry = RetryPolicy { attempts_max: 6, pause_first: Duration::from_millis(5), ..RetryPolicy::STANDARD };
    Client::builder(url).api_key(ApiKey::new(key)).retry(retry).build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn outcomes_are_proven_for_the_very_event_and_their_checkpoints_join() {
    let (server, _, _) = server().await;
    let client = client_of(&server, &server.url(""));
    let mut sizes = Vec::new();
    for n in 0..40 {
        let frame = server.event(if n % 4 == 3 { "{\"refuse\":1}" } else { "{}" });
        let receipt = client.submit_one(&frame).await.unwrap().into_receipt().unwrap();
        // Asked at once: the client waits for what is not applied yet.
        let outcome = client.outcome(receipt.placed.index, receipt.leaf_hash).await.unwrap();
        let [binding] = &outcome.outcome.bindings[..] else { panic!("{outcome:?}") };
        assert_eq!(binding.code == OutcomeCode::Accepted, n % 4 != 3);
        assert_eq!((outcome.outcome.event_leaf, &binding.plugin), (receipt.leaf_hash, &counter()));
        sizes.push(outcome.checkpoint.checkpoint.size);
        // The same place with another event's leaf is another event's outcome.
        let other = tally_protocol::hash::leaf(b"another event");
        let error = client.outcome(receipt.placed.index, other).await.unwrap_err();
        assert!(matches!(error, ClientError::Unproven(_)) && error.class() == Class::Fatal, "{error}");
    }
    assert!(sizes.is_sorted() && sizes[0] < sizes[39]);
    server.applied().await;
    let began = std::time::Instant::now();
    while server.reader().outcomes_published().is_none() {
        assert!(began.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let published = client.outcomes_checkpoint().await.unwrap();
    assert_eq!(published.checkpoint.origin, "tally.test/log/outcomes");
    let ladder = client.ladder().await.unwrap();
    assert_eq!((ladder.applied, ladder.apply.state), (ladder.signed, tally_api::ledger::ApplyState::Following));
    assert!(ladder.applied > TreeSize::new(40));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_proven_with_its_outcome_and_state_with_its_root() {
    let (server, counting, port) = server().await;
    let stream = server.tenants[0].stream(1);
    let client = client_of(&server, &server.url(""));
    let wasm = Bytes::from_static(b"\0asm of the counter");
    let module = client.put_module(wasm.clone()).await.unwrap();
    port.install(stream, module);
    assert_eq!(client.module(module, Some(stream)).await.unwrap(), wasm);
    assert!(matches!(client.module(ModuleHash::ZERO, Some(stream)).await, Err(ClientError::Refused(_))));
    assert_eq!(client.plugins(stream).await.unwrap().plugins.len(), 1);
    assert_eq!(client.plugin(stream, &counter()).await.unwrap().plugin.module, module);
    let none = client.plugin_state(stream, &counter(), COUNT).await.unwrap();
    assert_eq!(none.value, None);
    let frame = server.event("{}");
    for duplicate in [false, true] {
        let command = client.command(&frame, &counter(), Verb::Post, &["orders"]).await.unwrap();
        assert_eq!(command.duplicate, duplicate);
        let outcome = command.outcome.unwrap();
        assert_eq!(outcome.index, command.receipt.placed.index);
        assert!(outcome.outcome.bindings[0].code.is_accepted());
    }
    let state = client.plugin_state(stream, &counter(), COUNT).await.unwrap();
    assert_eq!(state.value.as_deref(), Some(&1u64.to_be_bytes()[..]));
    assert_eq!(state.checkpoint.states_root(), Some(counting.state().root()));
    assert_eq!(client.plugin_state(stream, &counter(), b"other").await.unwrap().value, None);
    let answer = client.ask_plugin(stream, &counter(), &["count", "a/b"], &[("x", "1 & 2")]).await.unwrap();
    assert_eq!(&answer[..], br#"{"n":1}"#);
    assert_eq!(port.last_asked(), r#"{"args":{"entity":"a/b","x":"1 & 2"},"route":"count"}"#);
    assert_eq!(client.query_plugin(stream, &counter(), Bytes::from_static(b"raw")).await.unwrap().logs, ["asked"]);
    port.answers(Ok(r#"{"body":{"error":"no_item"},"status":404}"#));
    let Err(ClientError::Refused(refusal)) = client.ask_plugin(stream, &counter(), &["count", "a"], &[]).await else {
        panic!("refused")
    };
    assert_eq!((refusal.status, refusal.details.unwrap()["body"]["error"].as_str()), (404, Some("no_item")));
    port.answers(Err(PluginPortError::Guest("trapped".to_owned())));
    let error = client.ask_plugin(stream, &counter(), &["count", "a"], &[]).await.unwrap_err();
    assert_eq!(error.class(), Class::Reject, "what is deterministic is not tried again: {error}");
    assert_eq!(client.effects(None, 10).await.unwrap().effects, []);
    assert_eq!(client.plugin_logs(stream, &counter(), Some(Index::new(1)), 10).await.unwrap().lines, []);
    let document = client.stream_openapi(stream).await.unwrap();
    assert!(document["paths"].as_object().unwrap().keys().any(|path| path.ends_with("/counter/orders")));
    counting.hold();
    let late = client.command(&server.event("{}"), &counter(), Verb::Post, &["orders"]).await.unwrap();
    assert_eq!(late.outcome, None);
    counting.release();
    assert!(client.outcome(late.receipt.placed.index, late.receipt.leaf_hash).await.is_ok());
}

/// A relay that changes one character behind the first place where an answer has these words.
async fn lying_relay(server: &TestServer, words: &'static str, behind: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let upstream = server.address;
    tokio::spawn(async move {
        while let Ok((mut down, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut up = TcpStream::connect(upstream).await.unwrap();
                let (mut from_down, mut from_up) = (vec![0; 65536], vec![0; 65536]);
                loop {
                    tokio::select! {
                        read = down.read(&mut from_down) => match read {
                            Ok(n) if n > 0 => up.write_all(&from_down[..n]).await.unwrap(),
                            _ => return,
                        },
                        read = up.read(&mut from_up) => match read {
                            Ok(n) if n > 0 => {
                                let answer = &mut from_up[..n];
                                let found = answer.windows(words.len()).position(|window| window == words.as_bytes());
                                if let Some(at) = found.map(|at| at + words.len() + behind) {
                                    answer[at] = if answer[at] == b'1' { b'2' } else { b'1' };
                                }
                                down.write_all(answer).await.unwrap();
                            }
                            _ => return,
                        },
                    }
                }
            });
        }
    });
    url
}

/// One wrong character anywhere in what is proven, and nothing is handed out.
#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_or_a_state_that_does_not_hold_is_fatal() {
    let (server, _, port) = server().await;
    let stream = server.tenants[0].stream(1);
    port.install(stream, ModuleHash::ZERO);
    let honest = Arc::new(client_of(&server, &server.url("")));
    let receipt = honest.submit_one(&server.event("{}")).await.unwrap().into_receipt().unwrap();
    let (index, leaf) = (receipt.placed.index, receipt.leaf_hash);
    honest.outcome(index, leaf).await.unwrap();
    for (words, behind) in [
        ("\"body\":\"", 30),
        ("\"body\":\"", 150),
        ("\"path\":[\"", 0),
        ("\"path\":[\"", 40),
        ("\"checkpoint\":\"tally.test/log", 3),
        ("\"checkpoint\":\"tally.test/log/outcomes\\n", 0),
        ("\\n\u{2014} tally.test/log/outcomes ", 20),
        ("{\"index\":", 0),
    ] {
        let client = client_of(&server, &lying_relay(&server, words, behind).await);
        let error = client.outcome(index, leaf).await.unwrap_err();
        assert_eq!(error.class(), Class::Fatal, "{words} {behind}: {error}");
    }
    for (words, behind) in [
        ("\"value\":\"", 0),
        ("\"value\":\"", 5),
        ("\"proof\":\"", 12),
        ("tally-state/v1 ", 4),
        ("\"checkpoint\":\"tally.test/log/outcomes\\n", 0),
    ] {
        let client = client_of(&server, &lying_relay(&server, words, behind).await);
        let error = client.plugin_state(stream, &counter(), COUNT).await.unwrap_err();
        assert_eq!(error.class(), Class::Fatal, "{words} {behind}: {error}");
    }
    honest.plugin_state(stream, &counter(), COUNT).await.unwrap();
}
