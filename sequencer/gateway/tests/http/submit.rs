//! Native submission: JSON and frames, per-event fates, strictness, proofs that verify.

use crate::common::{Answer, TestServer, envelope, scope};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tally_api::api_key::Role;
use tally_api::submit::{EventOutcome, SubmitAnswer};
use tally_protocol::frame::Frame;
use tally_protocol::id::Index;
use tally_protocol::key::Signature;
use tally_verify::{Bundle, Ledger, Placed, TrustRoot, verify_receipt};

fn statuses(answer: &Answer) -> Vec<&str> {
    answer.json["results"].as_array().unwrap().iter().map(|result| result["status"].as_str().unwrap()).collect()
}

fn codes(answer: &Answer) -> Vec<Option<&str>> {
    answer.json["results"].as_array().unwrap().iter().map(|result| result["reject"]["code"].as_str()).collect()
}

fn check_receipts(server: &TestServer, frames: &[Frame], answer: &Answer) {
    let ledger = Ledger::from_genesis(&server.ledger.genesis.encode()).unwrap();
    let answer: SubmitAnswer = serde_json::from_slice(&answer.bytes).unwrap();
    assert_eq!(answer.results.len(), frames.len());
    for (frame, outcome) in frames.iter().zip(&answer.results) {
        let EventOutcome::Accepted { receipt } = outcome else { panic!("{outcome:?}") };
        let placed = Placed {
            index: receipt.index,
            sequence: receipt.sequence,
            sequenced_at: receipt.sequenced_at,
            public_key: server.tenants[0].agent(1).public_key(),
        };
        let checkpoint = ledger.open_checkpoint(&answer.checkpoints[receipt.checkpoint]).unwrap();
        verify_receipt(frame, &placed, &receipt.leaf_hash, &receipt.path, &checkpoint).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_get_receipts_that_verify_offline() {
    let server = TestServer::new().await;
    let key = server.tenant_key(&[Role::Agent]);
    let frames: Vec<_> = (0..100).map(|n| server.event(&format!("{{\"n\":{n}}}"))).collect();
    let answer = server.submit(&key, &frames).await;
    assert_eq!(answer.status, 200);
    check_receipts(&server, &frames, &answer);
    assert_eq!(answer.json["checkpoints"].as_array().unwrap().len(), 1, "a run's checkpoint is listed once");
}

#[tokio::test(flavor = "multi_thread")]
async fn json_events_get_receipts_that_verify_offline() {
    let server = TestServer::new().await;
    let key = server.tenant_key(&[Role::Agent]);
    let frames: Vec<_> = (0..10).map(|n| server.event(&format!("{{\"n\":{n},\"text\":\"\u{e9}\\n\"}}"))).collect();
    let events: Vec<_> = frames.iter().map(envelope).collect();
    let answer = server.post(&key, "/v1/events", &json!({ "events": events })).await;
    check_receipts(&server, &frames, &answer);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_gets_the_same_place_and_other_content_is_a_conflict() {
    let server = TestServer::new().await;
    let key = server.tenant_key(&[Role::Agent]);
    let frame = server.event("{\"n\":1}");
    let first = server.submit(&key, std::slice::from_ref(&frame)).await;
    server.submit_ok(&key, &server.event("{}")).await;
    let again = server.submit(&key, std::slice::from_ref(&frame)).await;
    assert_eq!(statuses(&again), ["duplicate"]);
    for member in ["index", "sequence", "sequenced_at", "signing_hash", "leaf_hash"] {
        let of = |answer: &Answer| answer.json["results"][0]["receipt"][member].clone();
        assert_eq!(of(&first), of(&again), "{member}");
    }
    let agent = server.tenants[0].agent(1);
    let other = agent
        .event(server.tenants[0].stream(1), frame.event_id())
        .created_at(crate::common::START)
        .payload(b"{\"n\":2}")
        .sign();
    let conflict = server.submit(&key, &[other]).await;
    assert_eq!(codes(&conflict), [Some("duplicate_event_id")]);
}

/// S-012: whatever else is in a batch, each event meets the fate it meets alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_event_never_changes_the_fate_of_its_neighbours() {
    let server = TestServer::new().await;
    let key = server.tenant_key(&[Role::Agent]);
    let kinds = 9;
    let make = |kind: usize| -> (Value, Option<&'static str>) {
        let frame = server.event("{\"n\":1}");
        let mut event = envelope(&frame);
        let code = match kind {
            0 | 1 => None,
            2 => {
                event["agent_signature"] = json!(format!("0x{}", "11".repeat(64)));
                Some("invalid_signature")
            }
            3 => {
                event["payload"] = json!({"n": 2});
                Some("invalid_payload_hash")
            }
            4 => {
                event["ves_version"] = json!(2);
                Some("unsupported_version")
            }
            5 => {
                event.as_object_mut().unwrap().remove("entity_id");
                Some("schema_validation")
            }
            6 => {
                event["command_id"] = json!("64527dd3-a654-4410-9327-e58a1492ce77");
                Some("unsigned_command_id")
            }
            7 => return (json!("not an object"), Some("schema_validation")),
            _ => {
                event["agent_key_id"] = json!(9);
                Some("agent_key_invalid")
            }
        };
        (event, code)
    };
    let mut runner = TestRunner::new(Config { cases: 1, ..Config::default() });
    let mut head = 0;
    for _ in 0..40 {
        let length = 1 + proptest_number(&mut runner, 12);
        let (events, expected): (Vec<_>, Vec<_>) =
            (0..length).map(|_| make(proptest_number(&mut runner, kinds))).unzip();
        let answer = server.post(&key, "/v1/events", &json!({ "events": events })).await;
        assert_eq!(answer.status, 200);
        assert_eq!(codes(&answer), expected, "{answer:?}");
        head += expected.iter().filter(|code| code.is_none()).count();
    }
    let stream = server.tenants[0].stream(1);
    let path = format!("/v1/streams/{}/{}/head", stream.tenant, stream.store);
    let answer = server.get(&key, &path).await;
    // No refused event consumed a sequence (S-001, S-007).
    assert_eq!(answer.json["head_sequence"].as_u64(), Some(head as u64).filter(|head| *head > 0));
}

fn proptest_number(runner: &mut TestRunner, below: usize) -> usize {
    use proptest::strategy::{Strategy as _, ValueTree as _};
    (0..below).new_tree(runner).unwrap().current()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_frame_inside_its_bounds_is_refused_alone_and_lost_framing_refuses_all() {
    let server = TestServer::new().await;
    let key = server.tenant_key(&[Role::Agent]);
    let (good, other) = (server.event("{\"n\":1}"), server.event("{\"n\":2}"));
    let mut bad = server.event("{\"n\":3}").bytes().to_vec();
    bad[22] = 7;
    let body = [good.bytes().to_vec(), bad, other.bytes().to_vec()].concat();
    let send = |body: Vec<u8>| async {
        let request = server.http.post(server.url("/v1/events")).bearer_auth(&key);
        Answer::read(request.header("content-type", "application/vnd.tally.frames").body(body).send().await.unwrap())
            .await
    };
    let answer = send(body.clone()).await;
    assert_eq!(statuses(&answer), ["accepted", "rejected", "accepted"]);
    assert_eq!(codes(&answer)[1], Some("unsupported_version"));
    let head = server.get(&key, "/v1/ladder").await.json["signed"].clone();
    for cut in [body[..body.len() - 1].to_vec(), vec![0xff; 8], vec![0; 3], [good.bytes().to_vec(), vec![1]].concat()] {
        let answer = send(cut).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (400, "INVALID_REQUEST_BODY"));
    }
    assert_eq!(server.get(&key, "/v1/ladder").await.json["signed"], head, "nothing of them was taken");
    assert_eq!(send(Vec::new()).await.error(), "EMPTY_BATCH");
    let agent = server.tenants[0].agent(1);
    let unsigned = agent.event(server.tenants[0].stream(1), server.event_id());
    let forged = unsigned.created_at(crate::common::START).sign_as(Signature::from_bytes([0; 64]));
    assert_eq!(codes(&server.submit(&key, &[forged]).await), [Some("invalid_signature")]);
}

/// S-006 on the native route: no shadow data, nothing twice, nothing of a wrong type.
#[tokio::test(flavor = "multi_thread")]
async fn every_member_is_checked_and_unknown_or_duplicate_members_are_refused() {
    let server = TestServer::new().await;
    let key = server.tenant_key(&[Role::Agent]);
    let good = envelope(&server.event("{\"n\":1}"));
    let send = |text: String| async { server.post_bytes(&key, "/v1/events", text).await };
    // The request around the events.
    for (body, code, status) in [
        (json!({"events": [good], "more": 1}), "UNKNOWN_FIELD", 400),
        (json!({"agentId": "64527dd3-a654-4410-9327-e58a1492ce77", "events": [good]}), "UNKNOWN_FIELD", 400),
        (json!({}), "MISSING_REQUIRED_FIELD", 422),
        (json!([good]), "MISSING_REQUIRED_FIELD", 422),
        (json!({"events": {}}), "MISSING_REQUIRED_FIELD", 422),
        (json!({"events": []}), "EMPTY_BATCH", 400),
        (json!({"events": vec![Value::Null; 1001]}), "BATCH_TOO_LARGE", 413),
    ] {
        let answer = send(body.to_string()).await;
        assert_eq!((answer.error(), answer.status.as_u16()), (code, status));
    }
    let twice = format!("{{\"events\":[{good}],\"events\":[]}}");
    assert_eq!(send(twice).await.error(), "INVALID_REQUEST_BODY");
    let escaped = format!("{{\"events\":[{good}],\"\\u0065vents\":[]}}");
    assert_eq!(send(escaped).await.error(), "INVALID_REQUEST_BODY");
    // Each member of an event: missing, of each wrong type, twice; and one too many.
    let names: Vec<String> = good.as_object().unwrap().keys().cloned().collect();
    let mut events = Vec::new();
    for name in &names {
        let mut without = good.clone();
        without.as_object_mut().unwrap().remove(name);
        events.push(without.to_string());
        for wrong in [json!(null), json!(true), json!(-1), json!(1.5), json!("x"), json!([]), json!({})] {
            // A payload may be anything; its hash is what does not fit then.
            let mut changed = good.clone();
            changed[name] = wrong;
            events.push(changed.to_string());
        }
        let text = good.to_string();
        events.push(format!("{},\"{name}\":{}}}", &text[..text.len() - 1], good[name]));
    }
    for extra in ["x", "sequence_number", "sequenced_at", "agent_signature_bundle", "Event_id", ""] {
        let mut with = good.clone();
        with[extra] = json!(1);
        events.push(with.to_string());
    }
    let answer = send(format!("{{\"events\":[{}]}}", events.join(","))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    for (event, status) in events.iter().zip(statuses(&answer)) {
        assert_eq!(status, "rejected", "{event}");
    }
    assert_eq!(statuses(&send(json!({"events": [good]}).to_string()).await), ["accepted"]);
}

/// What JSON text can say ambiguously is refused for its event alone (design section 2).
#[tokio::test(flavor = "multi_thread")]
async fn json_without_one_meaning_is_a_refusal_of_its_event() {
    let server = TestServer::new().await;
    let key = server.tenant_key(&[Role::Agent]);
    let good = server.event("{\"n\":1}");
    let template = envelope(&server.event("{\"n\":\"X\"}")).to_string();
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    let bodies = [
        "{\"a\":1,\"a\":1}",
        "{\"a\":1,\"\\u0061\":1}",
        "9007199254740993",
        "-9007199254740993",
        "1e400",
        "\"\\u0000\"",
        "\"\\ud800\"",
        "\"\\udc00x\"",
        "100000000000000000000",
        deep.as_str(),
    ];
    let mut events = vec![envelope(&good).to_string()];
    events.extend(bodies.map(|body| template.replace("{\"n\":\"X\"}", body)));
    let answer = server.post_bytes(&key, "/v1/events", format!("{{\"events\":[{}]}}", events.join(","))).await;
    assert_eq!(statuses(&answer)[0], "accepted", "{answer:?}");
    for (at, body) in bodies.iter().enumerate() {
        let result = &answer.json["results"][at + 1];
        assert_eq!(result["reject"]["code"], "schema_validation", "{body}");
        assert_eq!(result["reject"]["field"], "payload", "{body}");
        assert!(result["event_id"].is_string(), "the event is named all the same");
    }
    // A byte that is not UTF-8 is its event's fault too.
    let mut raw =
        format!("{{\"events\":[{},{}]}}", template.replace("{\"n\":\"X\"}", "\"@\""), envelope(&server.event("1")));
    let at = raw.find('@').unwrap();
    let mut raw_bytes = std::mem::take(&mut raw).into_bytes();
    raw_bytes[at] = 0xff;
    let answer = server.post_bytes(&key, "/v1/events", raw_bytes).await;
    assert_eq!(statuses(&answer), ["rejected", "accepted"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_are_canonicalised_before_their_hash_is_checked() {
    let server = TestServer::new().await;
    let key = server.tenant_key(&[Role::Agent]);
    let frame = server.event("{\"a\":[1,2.5,\"\u{e9}\"],\"b\":{\"c\":null}}");
    let canonical = "{\"a\":[1,2.5,\"\u{e9}\"],\"b\":{\"c\":null}}";
    let text = envelope(&frame).to_string();
    assert!(text.contains(canonical));
    let loose = text.replace(canonical, " { \"b\" : {\"c\":null } , \"a\":[ 1.0, 25e-1,\"\\u00e9\"]\n} ");
    let answer = server.post_bytes(&key, "/v1/events", format!("{{\"events\":[{loose}]}}")).await;
    assert_eq!(statuses(&answer), ["accepted"], "{answer:?}");
    let index = answer.json["results"][0]["receipt"]["index"].as_u64().unwrap();
    let back = server.get(&key, &format!("/v1/events/{index}")).await;
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(back.json["frame"].as_str().unwrap()).unwrap();
    assert_eq!(bytes, frame.bytes().to_vec(), "the exact signed bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_verifies_offline_and_a_tlog_proof_too() {
    let server = TestServer::new().await;
    let key = server.tenant_key(&[Role::Agent]);
    let frame = server.event("{\"n\":1}");
    let index = server.submit_ok(&key, &frame).await;
    let answer = server.get(&key, &format!("/v1/bundle/{index}")).await;
    let bundle = Bundle::decode(&answer.bytes).unwrap();
    let trust = TrustRoot { ledger_id: Some(server.ledger.id()), ..TrustRoot::default() };
    let report = bundle.verify(&trust);
    assert!(report.first_failure().is_none(), "{report:?}");
    server.published().await;
    let file = server.get(&key, &format!("/v1/proof/{index}.tlog-proof")).await;
    assert_eq!(file.status, 200, "{file:?}");
    let ledger = Ledger::from_genesis(&server.ledger.genesis.encode()).unwrap();
    let event = server.sequencer.as_ref().unwrap().reader().event(Index::new(index)).unwrap();
    let keys = [ledger.checkpoint_key().unwrap()];
    let report = tally_verify::verify_tlog_proof(&file.text(), &event.entry().encode(), &keys);
    assert!(report.first_failure().is_none(), "{report:?}");
    for bad in ["01.tlog-proof", "x.tlog-proof", "1.tlog", "1", ".tlog-proof", "999999.tlog-proof"] {
        assert_eq!(server.get(&key, &format!("/v1/proof/{bad}")).await.status, 404, "{bad}");
    }
}

/// S-079: two tenants, interleaved requests, every answer is about its own request's event and nobody else's.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_interleaved_requests_of_two_tenants_never_mix() {
    let server = std::sync::Arc::new(TestServer::new().await);
    let keys: Vec<_> = server
        .tenants
        .iter()
        .map(|tenant| server.key(scope(Some(tenant.id), None, Some(tenant.agent(1).id), &[Role::Agent])))
        .collect();
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..16usize {
        let server = std::sync::Arc::clone(&server);
        let (key, mine) = (keys[worker % 2].clone(), worker % 2);
        tasks.spawn(async move {
            for n in 0..313 {
                let tenant = &server.tenants[mine];
                let frame = server.event_of(tenant, 1, 1, &format!("{{\"n\":{n}}}"));
                let answer = server.submit(&key, std::slice::from_ref(&frame)).await;
                let receipt = &answer.json["results"][0]["receipt"];
                assert_eq!(receipt["event_id"], frame.event_id().to_string());
                assert_eq!(receipt["tenant_id"], tenant.id.to_string());
                let stream = frame.stream();
                let path = format!("/v1/streams/{}/{}/events/{}", stream.tenant, stream.store, receipt["sequence"]);
                let back = server.get(&key, &path).await;
                assert_eq!(back.json["event"]["event_id"], frame.event_id().to_string());
                assert_eq!(back.json["event"]["tenant_id"], tenant.id.to_string());
            }
        });
    }
    while let Some(result) = tasks.join_next().await {
        result.unwrap();
    }
}
