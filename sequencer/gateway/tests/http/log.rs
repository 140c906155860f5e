//! The log as files: checkpoint, tiles, entry bundles, and proofs about them.

use crate::common::{Setup, TestServer};
use serde_json::{Value, json};
use tally_api::api_key::Role;
use tally_gateway::Public;
use tally_protocol::checkpoint::SignedCheckpoint;
use tally_protocol::entry::Entry;
use tally_protocol::hash;
use tally_protocol::note::VerifierKey;
use tally_protocol::tile::{EntryBundleId, TileId, decode_bundle};
use tally_testkit::naive_root;

async fn server_with(events: usize) -> TestServer {
    let mut setup = Setup::new();
    setup.config.public = Public { log: true, entries: true, ..Public::NONE };
    let server = setup.start().await;
    let key = server.tenant_key(&[Role::Agent]);
    for chunk in (0..events).collect::<Vec<_>>().chunks(100) {
        let frames: Vec<_> = chunk.iter().map(|n| server.event(&format!("{{\"n\":{n}}}"))).collect();
        assert_eq!(server.submit(&key, &frames).await.status, 200);
    }
    server.published().await;
    server
}

/// Everything a mirror does: fetch the checkpoint, all bundles and tiles, and arrive at the signed root.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_rebuilds_the_signed_root_from_what_is_served() {
    let server = server_with(600).await;
    let answer = server.get("", "/log/checkpoint").await;
    assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
    let ledger = server.get("", "/v1/ledger").await.json;
    let keys: Vec<VerifierKey> = ledger["verifier_keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["vkey"].as_str().unwrap().parse().unwrap())
        .collect();
    let signed = SignedCheckpoint::open(&answer.text(), &keys[..1]).unwrap();
    let size = signed.checkpoint.size;
    assert_eq!(size.get(), 607);
    let mut leaves = Vec::new();
    for index in 0..3u64 {
        let width = u16::try_from((size.get() - 256 * index).min(256)).unwrap();
        let bundle_id = EntryBundleId::new(index, width).unwrap();
        let bundle = server.get("", &format!("/log/{}", bundle_id.path())).await;
        assert_eq!(bundle.headers["cache-control"], "public, max-age=31536000, immutable");
        let entries = decode_bundle(&bundle.bytes, width).unwrap();
        for (at, entry) in entries.iter().enumerate() {
            let is_genesis = matches!(Entry::decode(entry).unwrap(), Entry::Genesis(_));
            assert_eq!(is_genesis, index == 0 && at == 0);
        }
        let hashes: Vec<_> = entries.iter().map(|entry| hash::leaf(entry)).collect();
        let tile = server.get("", &format!("/log/{}", TileId::new(0, index, width).unwrap().path())).await;
        assert_eq!(tile.headers["content-type"], "application/octet-stream");
        let expected: Vec<u8> = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
        assert_eq!(tile.bytes, expected);
        leaves.extend(hashes);
    }
    assert_eq!(naive_root(&leaves), signed.checkpoint.root);
    let level1 = server.get("", "/log/tile/1/000.p/2").await;
    assert_eq!(level1.bytes[..32], *naive_root(&leaves[..256]).as_bytes());
    assert_eq!(level1.bytes[32..], *naive_root(&leaves[256..512]).as_bytes());
    assert_eq!(ledger["ledger_id"], server.ledger.id().to_hex());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_exact_tile_paths_exist() {
    let server = server_with(300).await;
    for good in ["0/000", "0/001.p/51", "0/000.p/1", "0/000.p/255", "1/000.p/1", "entries/000", "entries/001.p/51"] {
        assert_eq!(server.get("", &format!("/log/tile/{good}")).await.status, 200, "{good}");
    }
    for bad in [
        "0/0",
        "0/00",
        "0/0000",
        "00/000",
        "0/000.p/0",
        "0/000.p/256",
        "0/000.p/01",
        "0/000.p/",
        "0/000.p",
        "0/x000/000",
        "0/001",
        "0/001.p/52",
        "1/000",
        "1/000.p/2",
        "2/000.p/1",
        "64/000",
        "-1/000",
        "+0/000",
        "0/000/",
        "0//000",
        "/0/000",
        "0/%30%30%30",
        "0/..%2f0/000",
        "entries",
        "entries/",
        "entries/0",
        "entries/002",
        "entries/001",
        "%65ntries/000",
        "ENTRIES/000",
        "data/000",
        "0/x001/x000/000",
        "0/999",
        "8/000.p/1",
        "0/18446744073709551616",
    ] {
        let answer = server.get("", &format!("/log/tile/{bad}")).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (404, "RESOURCE_NOT_FOUND"), "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn proofs_hold_against_the_served_roots_and_name_what_is_missing() {
    let server = server_with(40).await;
    let get = |path: String| {
        let server = &server;
        async move { server.get("", &path).await }
    };
    let newest = get("/v1/proofs/inclusion?index=9".into()).await.json;
    let (size, root) = (newest["size"].as_u64().unwrap(), newest["root"].as_str().unwrap().to_owned());
    let reader = server.sequencer.as_ref().unwrap().reader();
    assert_eq!(reader.checkpoint().checkpoint.root.to_hex(), root);
    for index in [0, 1, 9, size - 1] {
        let proof: tally_api::proof::Inclusion =
            serde_json::from_slice(&get(format!("/v1/proofs/inclusion?index={index}&size={size}")).await.bytes)
                .unwrap();
        let inner = tally_protocol::proof::InclusionProof { index: proof.index, size: proof.size, path: proof.path };
        assert_eq!(inner, reader.inclusion(proof.index, proof.size).unwrap());
    }
    let consistency = get(format!("/v1/proofs/consistency?old=8&new={size}")).await;
    assert_eq!((consistency.status.as_u16(), &consistency.json["old"]), (200, &json!(8)));
    let error = |answer: &crate::common::Answer| answer.error().to_owned();
    let beyond = get(format!("/v1/proofs/inclusion?index=0&size={}", size + 1)).await;
    assert_eq!((error(&beyond).as_str(), &beyond.json["error"]["details"]["rung"]), ("NOT_YET", &json!("signed")));
    assert!(beyond.headers.contains_key("retry-after"));
    for bad in [
        "inclusion",
        "inclusion?index=5&size=5",
        "inclusion?index=5&size=0",
        "consistency?old=0",
        "consistency?old=9&new=8",
        "inclusion?index=1&x=1",
    ] {
        let answer = get(format!("/v1/proofs/{bad}")).await;
        assert_eq!(answer.status, 400, "{bad} {answer:?}");
    }
    assert_eq!(error(&get(format!("/v1/proofs/consistency?old=1&new={}", size + 1)).await), "NOT_YET");
    let ladder = get("/v1/ladder".into()).await.json;
    assert!(ladder["ordered"].as_u64() >= ladder["signed"].as_u64() && ladder["published"] != Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_public_is_cached_privately() {
    let server = TestServer::new().await;
    server.published().await;
    let key = server.operator();
    for (path, expected) in [
        ("/log/checkpoint", "private, max-age=1"),
        ("/log/tile/0/000.p/1", "private, max-age=31536000, immutable"),
        ("/log/tile/entries/000.p/1", "private, max-age=31536000, immutable"),
        ("/v1/ledger", "no-store"),
        ("/v1/events/1", "no-store"),
    ] {
        assert_eq!(server.get(&key, path).await.headers["cache-control"], expected, "{path}");
    }
    let tenant_auditor = server.tenant_key(&[Role::Auditor]);
    assert_eq!(server.get(&tenant_auditor, "/log/tile/entries/000.p/1").await.status, 403, "bundles show all tenants");
}
