//! The log of outcomes at the door: as files like the log of events, one by one with proofs, and how far it is.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::common::follower::{Counting, counter};
use crate::common::{Answer, Setup, TestServer, scope};
use serde_json::{Value, json};
use tally_api::api_key::Role;
use tally_api::outcome::OutcomeAnswer;
use tally_api::proof::{Consistency, Inclusion};
use tally_core::ApplyState;
use tally_gateway::Public;
use tally_merkle::{verify_consistency, verify_inclusion};
use tally_protocol::checkpoint::{Checkpoint, SignedCheckpoint};
use tally_protocol::hash::{self, RootHash};
use tally_protocol::id::TreeSize;
use tally_protocol::note::VerifierKey;
use tally_protocol::outcome::{EMPTY_BODY, Outcome, OutcomeCode};
use tally_protocol::outcome_log;
use tally_protocol::proof::{ConsistencyProof, InclusionProof};
use tally_protocol::tile::{EntryBundleId, TileId, decode_bundle};
use tally_testkit::naive_root;

/// A key of the ledger under the name of its log of outcomes.
fn key_of(server: &TestServer, key: tally_protocol::key::PublicKey) -> VerifierKey {
    VerifierKey::new(&outcome_log::origin(&server.ledger.genesis.origin), key).unwrap()
}

fn open(server: &TestServer, note: &str) -> Checkpoint {
    let receipt_key = key_of(server, server.ledger.genesis.receipt_key);
    SignedCheckpoint::open(note, &[receipt_key]).unwrap().checkpoint
}

async fn followed(public: Public) -> (TestServer, Arc<Counting>) {
    let counting = Arc::new(Counting::default());
    let mut setup = Setup::new().followed_by(&counting);
    setup.config.public = public;
    (setup.start().await, counting)
}

async fn with_events(events: usize) -> (TestServer, Arc<Counting>) {
    let (server, counting) = followed(Public { log: true, entries: true, ..Public::NONE }).await;
    let key = server.tenant_key(&[Role::Agent]);
    for chunk in (0..events).collect::<Vec<_>>().chunks(100) {
        let frames: Vec<_> = chunk.iter().map(|n| server.event(&format!("{{\"n\":{n}}}"))).collect();
        assert_eq!(server.submit(&key, &frames).await.status, 200);
    }
    server.applied().await;
    let (reader, began) = (server.reader(), Instant::now());
    while reader.outcomes_published().is_none_or(|published| published.checkpoint.size < reader.ladder().signed) {
        assert!(began.elapsed() < Duration::from_secs(20), "the log of outcomes is not published");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (server, counting)
}

/// Everything a mirror does: fetch the checkpoint, all bundles and tiles, and arrive at the signed root.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_rebuilds_the_signed_root_of_the_outcomes_from_what_is_served() {
    let (server, counting) = with_events(600).await;
    let answer = server.get("", "/outcomes/checkpoint").await;
    assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
    let published_key = key_of(&server, server.ledger.genesis.checkpoint_key);
    let checkpoint = SignedCheckpoint::open(&answer.text(), &[published_key]).unwrap().checkpoint;
    assert_eq!((checkpoint.size, checkpoint.origin.as_str()), (TreeSize::new(607), "tally.test/log/outcomes"));
    assert_eq!(outcome_log::states_root(&checkpoint).unwrap(), Some(counting.state().root()));
    let mut leaves = Vec::new();
    for index in 0..3u64 {
        let width = u16::try_from((607 - 256 * index).min(256)).unwrap();
        let bundle_id = EntryBundleId::new(index, width).unwrap();
        let bundle = server.get("", &format!("/outcomes/{}", bundle_id.path())).await;
        assert_eq!(bundle.headers["cache-control"], "public, max-age=31536000, immutable");
        let bodies = decode_bundle(&bundle.bytes, width).unwrap();
        let hashes: Vec<_> = bodies.iter().map(|body| hash::leaf(body)).collect();
        let tile = server.get("", &format!("/outcomes/{}", TileId::new(0, index, width).unwrap().path())).await;
        assert_eq!(tile.headers["content-type"], "application/octet-stream");
        assert_eq!(tile.bytes, hashes.iter().flat_map(|hash| *hash.as_bytes()).collect::<Vec<u8>>());
        leaves.extend(hashes);
    }
    assert_eq!(leaves[0], hash::leaf(EMPTY_BODY));
    assert_eq!(naive_root(&leaves), checkpoint.root);
    let level1 = server.get("", "/outcomes/tile/1/000.p/2").await;
    assert_eq!(level1.bytes[..32], *naive_root(&leaves[..256]).as_bytes());
    // The two logs are two.
    assert_ne!(level1.bytes, server.get("", "/log/tile/1/000.p/2").await.bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_exact_tile_paths_exist_in_the_log_of_outcomes_too() {
    let (server, _) = with_events(300).await;
    for good in ["0/000", "0/001.p/51", "0/000.p/1", "1/000.p/1", "entries/000", "entries/001.p/51"] {
        assert_eq!(server.get("", &format!("/outcomes/tile/{good}")).await.status, 200, "{good}");
    }
    let long = "0/".repeat(2000);
    for bad in [
        "0/0",
        "0/0000",
        "0/000.p/0",
        "0/000.p/256",
        "0/001",
        "0/001.p/52",
        "1/000",
        "2/000.p/1",
        "64/000",
        "0/000/",
        "0//000",
        "0/%30%30%30",
        "0/..%2f0/000",
        "..%2f..%2flog/checkpoint",
        "entries",
        "entries/0",
        "entries/002",
        "0/18446744073709551616",
        &long,
    ] {
        let answer = server.get("", &format!("/outcomes/tile/{bad}")).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (404, "RESOURCE_NOT_FOUND"), "{bad}");
    }
    // As they stand, whatever a URL library would make of them.
    for bad in ["..", "../checkpoint", "%2e%2e/checkpoint", "entries/..", "entries/../0/000", "./0/000"] {
        let head = format!("GET /outcomes/tile/{bad} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n");
        let text = server.raw(head.as_bytes()).await;
        assert!(text.starts_with("HTTP/1.1 404 "), "{bad}: {text}");
    }
}

/// Verifies an answer with nothing but the ledger's genesis and the event's own leaf, which the caller knows.
fn verify(server: &TestServer, answer: &Answer, event_leaf: &Value) -> Outcome {
    let outcome: OutcomeAnswer = serde_json::from_slice(&answer.bytes).unwrap();
    assert_eq!(json!(outcome.event_leaf.to_hex()), *event_leaf);
    let checkpoint = open(server, &outcome.checkpoint);
    assert_eq!(checkpoint.size, outcome.size);
    let leaf = hash::leaf(&outcome.body);
    assert_eq!(leaf, outcome.leaf_hash);
    let proof = InclusionProof { index: outcome.index, size: outcome.size, path: outcome.path };
    verify_inclusion(&leaf, &proof, &checkpoint.root).unwrap();
    Outcome::decode(&outcome.body, outcome.event_leaf).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_is_served_with_everything_to_verify_it() {
    let (server, _) = followed(Public::NONE).await;
    let key = server.tenant_key(&[Role::Agent]);
    let sent = [server.event("{}"), server.event("{\"refuse\":1}"), server.event("{\"n\":1}")];
    let receipts = server.submit(&key, &sent).await.json;
    server.applied().await;
    let reject = OutcomeCode::Rejected(tally_protocol::outcome::Reason::new(b"unwanted").unwrap());
    for (at, code) in [OutcomeCode::Accepted, reject, OutcomeCode::Accepted].into_iter().enumerate() {
        let receipt = &receipts["results"][at]["receipt"];
        let answer = server.get(&key, &format!("/v1/outcomes/{}", receipt["index"])).await;
        let outcome = verify(&server, &answer, &receipt["leaf_hash"]);
        assert_eq!(outcome.bindings.len(), 1);
        assert_eq!((&outcome.bindings[0].plugin, &outcome.bindings[0].code), (&counter(), &code));
        let shown = &answer.json["bindings"][0];
        assert_eq!((&shown["plugin"], &shown["code"]), (&json!("counter"), &json!(code.as_str())));
        assert_eq!(shown.get("reason"), (at == 1).then(|| json!("unwanted")).as_ref());
        assert_eq!(shown["gas"], sent[at].payload().len());
    }
    // An event of the control stream is decided about by nobody.
    let nobody = server.get(&server.operator(), "/v1/outcomes/1").await;
    let leaf = server.get(&server.operator(), "/v1/events/1").await.json["leaf_hash"].clone();
    assert_eq!(verify(&server, &nobody, &leaf).bindings, []);
    assert_eq!(nobody.json["bindings"], json!([]));
}

/// Who may see an event may see its outcome, and nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn outcomes_of_others_are_like_events_that_do_not_exist() {
    let (server, _) = followed(Public { log: true, ..Public::NONE }).await;
    let [mine, other] = &server.tenants;
    let key = server.key(scope(Some(mine.id), Some(vec![mine.stream(1).store]), None, &[Role::Agent, Role::Reader]));
    let own = server.submit_ok(&key, &server.event("{}")).await;
    let theirs = server.submit_ok(&server.operator(), &server.event_of(other, 1, 1, "{}")).await;
    let store = server.submit_ok(&server.operator(), &server.event_of(mine, 2, 1, "{}")).await;
    server.applied().await;
    assert_eq!(server.get(&key, &format!("/v1/outcomes/{own}")).await.status, 200);
    for hidden in [theirs, store] {
        let answer = server.get(&key, &format!("/v1/outcomes/{hidden}")).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (404, "EVENT_NOT_FOUND"));
        let path = format!("/v1/outcomes/proofs/inclusion?index={hidden}");
        for key in ["", &key] {
            let proof = server.get(key, &path).await;
            assert_eq!((proof.status.as_u16(), proof.json.get("leaf_hash")), (200, None), "a path shows no leaf");
        }
        assert!(server.get(&server.operator(), &path).await.json["leaf_hash"].is_string());
    }
    for (path, code) in [
        ("/v1/outcomes/0", "INVALID_FIELD_VALUE"),
        ("/v1/outcomes/01", "INVALID_FIELD_VALUE"),
        ("/v1/outcomes/x", "INVALID_FIELD_VALUE"),
        ("/v1/outcomes/1?x=1", "UNKNOWN_FIELD"),
        ("/v1/outcomes/99999", "NOT_YET"),
        ("/v1/outcomes/..", "INVALID_FIELD_VALUE"),
        ("/v1/outcomes/1/..", "RESOURCE_NOT_FOUND"),
        ("/v1/outcomes/proofs", "INVALID_FIELD_VALUE"),
    ] {
        let text = server
            .raw(
                format!("GET {path} HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\r\n")
                    .as_bytes(),
            )
            .await;
        assert!(text.contains(&format!("\"{code}\"")), "{path}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn proofs_of_outcomes_hold_and_name_what_is_missing() {
    let (server, _) = with_events(40).await;
    let root = |size: u64| -> RootHash {
        let leaves: Vec<_> = (0..size)
            .map(|index| hash::leaf(&server.reader().outcome(tally_protocol::id::Index::new(index)).unwrap()))
            .collect();
        naive_root(&leaves)
    };
    let newest = server.get("", "/v1/outcomes/proofs/inclusion?index=9").await.json;
    let size = newest["size"].as_u64().unwrap();
    assert_eq!(newest["root"], root(size).to_hex());
    for index in [0, 1, 9, size - 1] {
        let path = format!("/v1/outcomes/proofs/inclusion?index={index}&size={size}");
        let answer = server.get(&server.operator(), &path).await;
        let proof: Inclusion = serde_json::from_slice(&answer.bytes).unwrap();
        let inner = InclusionProof { index: proof.index, size: proof.size, path: proof.path };
        verify_inclusion(&proof.leaf_hash.unwrap(), &inner, &root(size)).unwrap();
    }
    for old in [1, 7, size] {
        let answer = server.get("", &format!("/v1/outcomes/proofs/consistency?old={old}")).await;
        let proof: Consistency = serde_json::from_slice(&answer.bytes).unwrap();
        let inner = ConsistencyProof { old: proof.old, new: proof.new, path: proof.path };
        verify_consistency(&inner, &root(old), &root(size)).unwrap();
    }
    for beyond in [format!("inclusion?index=0&size={}", size + 1), format!("consistency?old=1&new={}", size + 1)] {
        let answer = server.get("", &format!("/v1/outcomes/proofs/{beyond}")).await;
        assert_eq!((answer.error(), &answer.json["error"]["details"]["rung"]), ("NOT_YET", &json!("applied")));
    }
    for bad in [
        "inclusion",
        "inclusion?index=5&size=5",
        "consistency?old=0",
        "consistency?old=9&new=8",
        "inclusion?index=1&x=1",
    ] {
        assert_eq!(server.get("", &format!("/v1/outcomes/proofs/{bad}")).await.status, 400, "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_public_of_outcomes_is_cached_privately_and_bundles_are_the_operators() {
    let (server, _) = followed(Public::NONE).await;
    server.applied().await;
    let began = Instant::now();
    while server.reader().outcomes_published().is_none() {
        assert!(began.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for (path, expected) in [
        ("/outcomes/checkpoint", "private, max-age=1"),
        ("/outcomes/tile/0/000.p/1", "private, max-age=31536000, immutable"),
        ("/outcomes/tile/entries/000.p/1", "private, max-age=31536000, immutable"),
        ("/v1/outcomes/1", "no-store"),
    ] {
        assert_eq!(server.get(&server.operator(), path).await.headers["cache-control"], expected, "{path}");
    }
    let tenant_auditor = server.tenant_key(&[Role::Auditor]);
    assert_eq!(server.get(&tenant_auditor, "/outcomes/tile/entries/000.p/1").await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_plugins_says_so_and_has_no_outcomes() {
    let server = TestServer::new().await;
    let key = server.operator();
    for path in [
        "/outcomes/checkpoint",
        "/v1/outcomes/1",
        "/v1/outcomes/proofs/inclusion?index=1",
        "/v1/outcomes/proofs/consistency?old=1",
    ] {
        let answer = server.get(&key, path).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (501, "PLUGINS_NOT_ENABLED"), "{path}");
    }
    for path in ["/outcomes/tile/0/000.p/1", "/outcomes/tile/entries/000.p/1"] {
        assert_eq!(server.get(&key, path).await.status, 404, "{path}");
    }
    let ladder = server.get(&key, "/v1/ladder").await.json;
    assert_eq!((&ladder["applied"], &ladder["apply"]), (&json!(0), &json!({"state": "off"})));
}

/// The rung and the state of applying are for everybody, the reason of a halt for operators; receipts and the feed do
/// not wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_halt_is_shown_and_hides_no_event() {
    let (server, counting) = followed(Public { log: true, ..Public::NONE }).await;
    let key = server.tenant_key(&[Role::Agent]);
    server.applied().await;
    let ladder = server.get("", "/v1/ladder").await.json;
    assert_eq!((&ladder["applied"], &ladder["apply"]), (&ladder["signed"], &json!({"state": "following"})));
    counting.fails.store(true, Ordering::SeqCst);
    let index = server.submit_ok(&key, &server.event("{}")).await;
    let began = Instant::now();
    while !matches!(server.reader().apply_state(), ApplyState::Halted { .. }) {
        assert!(began.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for (key, why) in [("", None), (&*key, None), (&*server.operator(), Some("the counter has lost its beads"))] {
        let ladder = server.get(key, "/v1/ladder").await.json;
        assert_eq!(ladder["apply"]["state"], "halted");
        let shown = ladder["apply"].get("why").map(|why| why.as_str().unwrap());
        assert_eq!(shown.map(|shown| shown.contains("the counter has lost its beads")), why.map(|_| true), "{shown:?}");
        assert!(ladder["applied"].as_u64() < ladder["signed"].as_u64());
    }
    let late = server.get(&key, &format!("/v1/outcomes/{index}")).await;
    assert_eq!((late.error(), &late.json["error"]["details"]["rung"]), ("NOT_YET", &json!("applied")));
    let metrics = server.get(&server.operator(), "/metrics").await.text();
    for expected in ["tally_apply_state{state=\"halted\"} 1", "tally_apply_state{state=\"following\"} 0"] {
        assert!(metrics.contains(&format!("\n{expected}\n")), "{expected}");
    }
    assert!(metrics.contains(&format!("\ntally_ladder_size{{rung=\"applied\"}} {index}\n")), "{metrics}");
    // Receipts and reads go on; so does applying, once somebody says so.
    server.submit_ok(&key, &server.event("{}")).await;
    assert_eq!(server.get(&key, &format!("/v1/events/{index}")).await.status, 200);
    server.sequencer.as_ref().unwrap().retry_apply();
    server.applied().await;
    assert_eq!(server.get(&key, &format!("/v1/outcomes/{index}")).await.status, 200);
    assert_eq!(server.get("", "/v1/ladder").await.json["apply"]["state"], "following");
}
