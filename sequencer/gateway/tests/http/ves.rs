//! The VES surface: ingest as the reference speaks it, receipts, read-back, commitments, proofs.

use crate::common::{START, TestServer, envelope, ingest, scope};
use serde_json::{Value, json};
use tally_api::api_key::Role;
use tally_api::ves::VesIngestAnswer;
use tally_protocol::frame::Frame;
use tally_protocol::id::AgentId;
use tally_protocol::receipt::{VesPlace, VesReceipt};

const INGEST: &str = "/api/v1/ves/events/ingest";

fn agent(server: &TestServer) -> AgentId {
    server.tenants[0].agent(1).id
}

async fn send(server: &TestServer, key: &str, events: &[Value]) -> crate::common::Answer {
    server.post(key, INGEST, &ingest(agent(server), events)).await
}

fn reasons(answer: &crate::common::Answer) -> Vec<&str> {
    let rejections = answer.json["rejections"].as_array().map_or(&[][..], Vec::as_slice);
    rejections.iter().map(|rejection| rejection["reason"].as_str().unwrap()).collect()
}

/// S-130, S-136: the signed VES receipt, checked with the key that `/v1/ledger` serves.
#[tokio::test(flavor = "multi_thread")]
async fn ingest_answers_with_signed_receipts_and_counts_only_what_is_new() {
    let server = TestServer::new().await;
    let key = server.tenant_key(&[Role::Agent]);
    let frames: Vec<_> = (0..20).map(|n| server.event(&format!("{{\"n\":{n}}}"))).collect();
    let events: Vec<_> = frames.iter().map(envelope).collect();
    let first = send(&server, &key, &events).await;
    assert_eq!(first.status, 200, "{first:?}");
    assert_eq!(first.json["eventsAccepted"], 20);
    assert_eq!((&first.json["sequenceStart"], &first.json["sequenceEnd"]), (&json!(1), &json!(20)));
    assert_eq!(first.json["headSequence"], 20);
    assert!(first.json.get("rejections").is_none());
    let answer: VesIngestAnswer = serde_json::from_slice(&first.bytes).unwrap();
    let receipt_key = server.ledger.genesis.receipt_key;
    for (frame, receipt) in frames.iter().zip(&answer.receipts) {
        let place = VesPlace {
            stream: frame.stream(),
            event_id: frame.event_id(),
            sequence: receipt.sequence_number,
            signing_hash: frame.signing_hash(),
        };
        let signed = VesReceipt { receipt_hash: receipt.receipt_hash, signature: receipt.sequencer_signature };
        signed.verify(&place, &receipt_key).unwrap();
        assert_eq!(receipt.event_id, frame.event_id());
    }
    let again = send(&server, &key, &events).await;
    assert_eq!(again.json["eventsAccepted"], 0);
    assert_eq!(again.json["sequenceStart"], Value::Null);
    assert_eq!(again.json["receipts"], first.json["receipts"], "a replay gets the receipts it had");
    assert_ne!(again.json["batchId"], first.json["batchId"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_rejection_has_the_words_of_the_reference() {
    let server = TestServer::new().await;
    let key = server.tenant_key(&[Role::Agent]);
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut event = envelope(&server.event("{\"n\":1}"));
        change(&mut event);
        event
    };
    let events = [
        changed(&|_| {}),
        changed(&|event| event["ves_version"] = json!(2)),
        changed(&|event| event["payload"] = json!({"n": 2})),
        changed(&|event| event["payload_cipher_hash"] = json!(format!("0x{}", "01".repeat(32)))),
        changed(&|event| event["agent_signature"] = json!(format!("0x{}", "01".repeat(64)))),
        changed(&|event| event["agent_key_id"] = json!(7)),
        changed(&|event| event["entity_type"] = json!("x".repeat(129))),
        changed(&|event| event["created_at"] = json!("yesterday")),
        changed(&|event| event["event_id"] = json!("not-a-uuid")),
        changed(&|event| event["command_id"] = json!("64527dd3-a654-4410-9327-e58a1492ce77")),
        changed(&|event| event["base_version"] = json!(0)),
        changed(&|event| event["agent_signature_scheme"] = json!(2)),
        changed(&|_| {}),
    ];
    let answer = send(&server, &key, &events).await;
    assert_eq!(answer.status, 200);
    assert_eq!((&answer.json["eventsAccepted"], &answer.json["eventsRejected"]), (&json!(2), &json!(11)));
    let mut expected = vec![
        "unsupported_version",
        "invalid_payload_hash",
        "invalid_cipher_hash",
        "invalid_signature",
        "agent_key_invalid: ",
        "schema_validation: entity_type",
        "schema_validation: created_at",
        "schema_validation: event_id",
        "unsigned_command_id",
        "unsigned_base_version",
        "schema_validation: agent_signature_scheme",
    ];
    let got = reasons(&answer);
    assert!(got[4].starts_with(expected[4]) && got[4].len() > expected[4].len());
    expected[4] = got[4];
    assert_eq!(got, expected);
    let places: Vec<_> =
        answer.json["rejections"].as_array().unwrap().iter().map(|r| r["index"].as_u64().unwrap()).collect();
    assert_eq!(places, (1..=11).collect::<Vec<_>>());
    assert_eq!(answer.json["rejections"][7]["event_id"], Value::Null);
    // Same id, other content; and twice in one request.
    let frame = server.event("{\"n\":1}");
    let again = envelope(&frame);
    let other =
        server.tenants[0].agent(1).event(frame.stream(), frame.event_id()).created_at(START).payload(b"2").sign();
    let answer = send(&server, &key, &[again.clone(), envelope(&other), again]).await;
    assert_eq!(reasons(&answer), ["duplicate_event_id"]);
    assert_eq!(answer.json["eventsAccepted"], 1);
    assert_eq!(answer.json["receipts"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_ves_does_not_know_are_ignored_and_absent_options_may_be_null() {
    let server = TestServer::new().await;
    let key = server.tenant_key(&[Role::Agent]);
    let mut event = envelope(&server.event("{\"n\":1}"));
    for (name, value) in [
        ("command_id", Value::Null),
        ("base_version", Value::Null),
        ("agent_signature_bundle", Value::Null),
        ("payload_encrypted", Value::Null),
        ("sequence_number", json!(99)),
        ("sequenced_at", json!("x")),
        ("agent_signature_scheme", json!(1)),
        ("x-vendor", json!({"deep": [1, 2, {"a": null}]})),
    ] {
        event[name] = value;
    }
    // Hex in any case, with or without 0x.
    let signature = event["agent_signature"].as_str().unwrap()[2..].to_uppercase();
    event["agent_signature"] = json!(signature);
    let mut request = ingest(agent(&server), &[event]);
    request["clientVersion"] = json!("1.2.3");
    let answer = server.post(&key, INGEST, &request).await;
    assert_eq!(answer.json["eventsAccepted"], 1, "{answer:?}");
    // Ignored, but not if it has no one meaning.
    let text = envelope(&server.event("{}")).to_string();
    for extra in ["\"x\":{\"a\":1,\"a\":2}", "\"x\":1,\"x\":2", "\"x\":\"\\u0000\"", "\"x\":9007199254740993"] {
        let event = format!("{},{extra}}}", &text[..text.len() - 1]);
        let body = format!("{{\"agentId\":\"{}\",\"events\":[{event}]}}", agent(&server));
        let answer = server.post_bytes(&key, INGEST, body).await;
        assert_eq!(reasons(&answer), ["schema_validation"], "{extra}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_a_whole_request_is_a_structured_error() {
    let server = TestServer::new().await;
    let key = server.tenant_key(&[Role::Agent]);
    let tenant = &server.tenants[0];
    let event = envelope(&server.event("{}"));
    let id = agent(&server);
    let cases = [
        (json!({"events": [event]}), 422, "MISSING_REQUIRED_FIELD"),
        (json!({"agentId": 7, "events": [event]}), 422, "MISSING_REQUIRED_FIELD"),
        (json!({"agentId": "x", "events": [event]}), 422, "MISSING_REQUIRED_FIELD"),
        (json!({"agentId": id.to_string()}), 422, "MISSING_REQUIRED_FIELD"),
        (json!({"agentId": id.to_string(), "events": "x"}), 422, "MISSING_REQUIRED_FIELD"),
        (json!([]), 422, "MISSING_REQUIRED_FIELD"),
        (ingest(id, &[]), 400, "EMPTY_BATCH"),
        (ingest(id, &vec![Value::Null; 1001]), 413, "BATCH_TOO_LARGE"),
        (ingest(id, &[event.clone(), envelope(&server.event_of(tenant, 2, 1, "{}"))]), 400, "INVALID_FIELD_VALUE"),
        (ingest(id, &[event.clone(), envelope(&server.event_of(tenant, 1, 2, "{}"))]), 400, "INVALID_FIELD_VALUE"),
        (ingest(tenant.agent(2).id, &[event.clone()]), 400, "INVALID_FIELD_VALUE"),
    ];
    for (body, status, code) in cases {
        let answer = server.post(&key, INGEST, &body).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (status, code), "{body}");
    }
    assert_eq!(server.get(&key, "/v1/ladder").await.json["ordered"], 7, "genesis, two tenants, four keys, no event");
    let request =
        server.http.post(server.url(INGEST)).bearer_auth(&key).header("content-type", "text/plain").body("{}");
    assert_eq!(crate::common::Answer::read(request.send().await.unwrap()).await.error(), "UNSUPPORTED_MEDIA_TYPE");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_read_back_as_they_were_signed() {
    let server = TestServer::new().await;
    let key = server.tenant_key(&[Role::Agent]);
    let frames: Vec<Frame> = (0..30).map(|n| server.event(&format!("{{\"n\":{n}}}"))).collect();
    let events: Vec<_> = frames.iter().map(envelope).collect();
    send(&server, &key, &events).await;
    let stream = server.tenants[0].stream(1);
    let query = format!("tenant_id={}&store_id={}", stream.tenant, stream.store);
    let head = server.get(&key, &format!("/api/v1/head?{query}")).await;
    assert_eq!(head.json, json!({"head_sequence": 30}));
    assert_eq!(server.get(&key, &format!("/api/v1/ves/head?{query}&ignored=1")).await.json, head.json);
    let mut from = 1;
    let mut seen = Vec::new();
    loop {
        let page = server.get(&key, &format!("/api/v1/ves/events?{query}&from={from}&limit=7")).await;
        seen.extend(page.json["events"].as_array().unwrap().clone());
        assert_eq!(page.json["head_sequence"], 30);
        if page.json["has_more"] == false {
            break;
        }
        from = page.json["next_sequence"].as_u64().unwrap();
    }
    assert_eq!(seen.len(), 30);
    for (at, (event, back)) in events.iter().zip(&seen).enumerate() {
        let mut back = back.clone();
        assert_eq!(back["sequence_number"], at as u64 + 1);
        back.as_object_mut().unwrap().retain(|name, _| !name.starts_with("sequence"));
        assert_eq!(&back, event);
    }
    let path = format!("/api/v1/ves/entities/Order/ORD-1?{query}&limit=20");
    let page = server.get(&key, &path).await;
    assert_eq!((&page.json["count"], &page.json["has_more"]), (&json!(20), &json!(true)));
    let rest = server.get(&key, &format!("{path}&after={}", page.json["next_after"])).await;
    assert_eq!((&rest.json["count"], &rest.json["has_more"]), (&json!(10), &json!(false)));
    assert_eq!(server.get(&key, &format!("/api/v1/ves/events?{query}&limit=0")).await.error(), "INVALID_FIELD_VALUE");
}

/// S-131, S-132 at the surface: commitments chain from sequence 1, their proofs verify, changed ones do not.
#[tokio::test(flavor = "multi_thread")]
async fn commitments_chain_and_their_proofs_verify() {
    let server = TestServer::new().await;
    let key = server.tenant_key(&[Role::Agent, Role::Anchor]);
    let stream = server.tenants[0].stream(1);
    let ids = json!({"tenant_id": stream.tenant.to_string(), "store_id": stream.store.to_string()});
    let query = format!("tenant_id={}&store_id={}", stream.tenant, stream.store);
    let commit = |extra: Value| {
        let mut body = ids.clone();
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let (server, key) = (&server, &key);
        async move { server.post(key, "/api/v1/ves/commitments", &body).await }
    };
    assert_eq!(commit(json!({})).await.error(), "COMMITMENT_CONFLICT", "nothing to commit");
    for n in 0..5 {
        server.submit_ok(&key, &server.event(&format!("{{\"n\":{n}}}"))).await;
    }
    // No holder of a credential can make the beginning of a stream uncommittable.
    for (start, end) in [(3, 5), (2, 5), (1, 3), (0, 5), (1, 9)] {
        let answer = commit(json!({"sequence_start": start, "sequence_end": end})).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (409, "COMMITMENT_CONFLICT"), "{start} {end}");
    }
    let first = commit(json!({"sequence_start": 1, "sequence_end": 5})).await;
    assert_eq!(first.status, 201, "{first:?}");
    assert_eq!((&first.json["sequence_start"], &first.json["sequence_end"]), (&json!(1), &json!(5)));
    assert_eq!((&first.json["leaf_count"], &first.json["padded_leaf_count"]), (&json!(5), &json!(8)));
    let again = commit(json!({"sequence_start": 1, "sequence_end": 5})).await;
    assert_eq!((again.status.as_u16(), &again.json), (200, &first.json));
    for n in 5..7 {
        server.submit_ok(&key, &server.event(&format!("{{\"n\":{n}}}"))).await;
    }
    let second = commit(json!({})).await;
    assert_eq!(second.json["prev_state_root"], first.json["new_state_root"]);
    assert_eq!(second.json["sequence_start"], 6);
    let list = server.get(&key, &format!("/api/v1/ves/commitments?{query}")).await;
    assert_eq!(list.json["commitments"], json!([first.json, second.json]));
    let page = server.get(&key, &format!("/api/v1/ves/commitments?{query}&limit=1")).await;
    let rest = server.get(&key, &format!("/api/v1/ves/commitments?{query}&after={}", page.json["next_after"])).await;
    assert_eq!(rest.json["commitments"], json!([second.json]));
    let id = first.json["batch_id"].as_str().unwrap();
    assert_eq!(server.get(&key, &format!("/api/v1/ves/commitments/{id}")).await.json, first.json);
    for sequence in 1..=7 {
        let proof = server.get(&key, &format!("/api/v1/ves/proofs/{sequence}?{query}")).await.json;
        let request = json!({
            "leaf_hash": proof["leaf_hash"], "merkle_root": proof["merkle_root"], "proof_path": proof["proof_path"],
            "leaf_index": proof["leaf_index"],
        });
        let verify = |body: Value| {
            let (server, key) = (&server, &key);
            async move { server.post(key, "/api/v1/ves/proofs/verify", &body).await.json["valid"].clone() }
        };
        assert_eq!(verify(request.clone()).await, true);
        let mut with_count = request.clone();
        with_count["leaf_count"] = proof["leaf_count"].clone();
        assert_eq!(verify(with_count).await, true);
        let mut changed = vec![];
        for name in ["leaf_hash", "merkle_root"] {
            let mut body = request.clone();
            body[name] = json!("00".repeat(32));
            changed.push(body);
        }
        let index = proof["leaf_index"].as_u64().unwrap();
        for other in [index ^ 1, index + 8, u64::MAX] {
            let mut body = request.clone();
            body["leaf_index"] = json!(other);
            changed.push(body);
        }
        let mut longer = request.clone();
        longer["proof_path"].as_array_mut().unwrap().push(json!("00".repeat(32)));
        let mut shorter = request.clone();
        shorter["proof_path"].as_array_mut().unwrap().pop();
        changed.extend([longer, shorter]);
        for body in changed {
            assert_eq!(verify(body.clone()).await, false, "{body}");
        }
    }
    assert_eq!(server.get(&key, &format!("/api/v1/ves/proofs/8?{query}")).await.error(), "BATCH_NOT_FOUND");
    let outside = server.get(&key, &format!("/api/v1/ves/proofs/6?{query}&batch_id={id}")).await;
    assert_eq!(outside.error(), "INVALID_FIELD_VALUE");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_without_a_tenant_ingests_for_any_agent_of_any_tenant() {
    let server = TestServer::new().await;
    let key = server.key(scope(None, None, None, &[Role::Agent]));
    for tenant in &server.tenants {
        let frame = server.event_of(tenant, 3, 2, "{}");
        let answer = server.post(&key, INGEST, &ingest(tenant.agent(2).id, &[envelope(&frame)])).await;
        assert_eq!(answer.json["eventsAccepted"], 1, "{answer:?}");
    }
}
