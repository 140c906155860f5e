//! Hostile input: malformed bodies and ids, bodies without an end, slow and half-closed clients, canaries. Each gets a
//! structured error or a closed connection, memory stays bounded, and the neighbour is served all the while.

use std::time::{Duration, Instant};

use crate::common::{Setup, TestServer, envelope, ingest, read_to_close};
use serde_json::{Value, json};
use tally_api::api_key::Role;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const INGEST: &str = "/api/v1/ves/events/ingest";

#[tokio::test(flavor = "multi_thread")]
async fn malformed_json_is_a_structured_error_on_both_surfaces() {
    let server = TestServer::new().await;
    let key = server.tenant_key(&[Role::Agent]);
    let event = envelope(&server.event("{}")).to_string();
    let deep = "[".repeat(1 << 20);
    let corpus: Vec<Vec<u8>> = [
        "",
        " ",
        "{",
        "}",
        "[",
        "]",
        "null",
        "1",
        "\"",
        "\"x",
        "{\"events\":[",
        "{\"events\":[{]}",
        "{\"events\":[}]",
        "{events:[]}",
        "{'events':[]}",
        "{\"events\":[],}",
        "{\"events\":[,]}",
        "{\"events\" []}",
        "{\"events\":[]}x",
        "{\"events\":[]}{}",
        "{\"events\":[01]}",
        "{\"events\":[1e]}",
        "{\"events\":[\"\\x\"]}",
        "{\"events\":[\"\n\"]}",
        "{\"events\":[\"\\u12\"]}",
        "{\"events\":[tru]}",
        "{\"events\":[NaN]}",
        "{\"events\":[/**/]}",
        "\u{feff}{}",
        "<xml/>",
        "events=1",
        deep.as_str(),
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .chain([vec![0], vec![0xff, 0xfe], b"{\"events\":[]\0}".to_vec(), event.as_bytes()[..event.len() - 1].to_vec()])
    .collect();
    for path in ["/v1/events", INGEST] {
        for body in &corpus {
            let answer = server.post_bytes(&key, path, body.clone()).await;
            assert!([400, 422].contains(&answer.status.as_u16()), "{path} {answer:?}");
            assert!(["INVALID_REQUEST_BODY", "MISSING_REQUIRED_FIELD"].contains(&answer.error()), "{answer:?}");
        }
    }
    // The small requests too.
    let admin = server.operator();
    for path in
        ["/v1/tenants", "/v1/api-keys", "/api/v1/agents/keys", "/api/v1/agents/keys/revoke", "/api/v1/ves/commitments"]
    {
        for body in &corpus {
            let answer = server.post_bytes(&admin, path, body.clone()).await;
            let status = answer.status.as_u16();
            assert!([400, 413, 422].contains(&status), "{path} {answer:?}");
            answer.error();
        }
    }
    server.submit_ok(&key, &server.event("{}")).await;
}

/// S-002: malformed ids are refused before anything is asked of the log.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_ids_are_refused_wherever_an_id_may_stand() {
    let server = TestServer::new().await;
    let (operator, key) = (server.operator(), server.tenant_key(&[Role::Agent]));
    let good = "64527dd3-a654-4410-9327-e58a1492ce77";
    let hostile = [
        "",
        "0",
        "null",
        "64527dd3a65444109327e58a1492ce77",
        "64527dd3-a654-4410-9327-e58a1492ce7",
        "64527dd3-a654-4410-9327-e58a1492ce777",
        "64527dd3-a654-4410-9327-e58a1492ce7g",
        "{64527dd3-a654-4410-9327-e58a1492ce77}",
        "urn:uuid:64527dd3-a654-4410-9327-e58a1492ce77",
        "64527dd3_a654_4410_9327_e58a1492ce77",
        " 64527dd3-a654-4410-9327-e58a1492ce77",
        "64527dd3-a654-4410-9327-e58a1492ce77\n",
        "' OR 1=1 --",
        "../../etc/passwd",
        "64527dd3-a654-4410-9327-e58a1492ce7\u{661}",
        "\u{0}",
        "%00",
        "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaa\u{e9}",
    ];
    let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    for id in hostile {
        let id_in_url = encode(id);
        for path in [
            format!("/v1/streams/{id_in_url}/{good}/head"),
            format!("/v1/streams/{good}/{id_in_url}/head"),
            format!("/v1/streams/{good}/{good}/by-id/{id_in_url}"),
            format!("/v1/keys/{id_in_url}/{good}"),
            format!("/v1/keys/{good}/{id_in_url}"),
            format!("/v1/feed?tenant={id_in_url}"),
            format!("/api/v1/head?tenant_id={id_in_url}&store_id={good}"),
            format!("/api/v1/head?tenant_id={good}&store_id={id_in_url}"),
            format!("/api/v1/ves/commitments/{id_in_url}"),
        ] {
            let answer = server.get(&operator, &path).await;
            let status = answer.status.as_u16();
            // An empty segment is no route at all.
            assert!(status == 400 || (id.is_empty() && status == 404), "{path} {answer:?}");
            answer.error();
        }
        let mut events = Vec::new();
        for name in ["event_id", "tenant_id", "store_id", "source_agent_id"] {
            let mut event = envelope(&server.event("{}"));
            event[name] = json!(id);
            events.push(event);
        }
        let answer = server.post(&key, "/v1/events", &json!({ "events": events })).await;
        for (at, name) in ["event_id", "tenant_id", "store_id", "source_agent_id"].iter().enumerate() {
            let reject = &answer.json["results"][at]["reject"];
            assert_eq!((&reject["code"], &reject["field"]), (&json!("schema_validation"), &json!(name)), "{id}");
        }
        let mut request = ingest(server.tenants[0].agent(1).id, &events);
        assert_eq!(server.post(&key, INGEST, &request).await.json["eventsRejected"], 4);
        request["agentId"] = json!(id);
        assert_eq!(server.post(&key, INGEST, &request).await.status, 422);
    }
    for index in ["-1", "01", "1.0", "x", "18446744073709551616", "%31%00", "9999999999999999999999"] {
        let answer = server.get(&operator, &format!("/v1/events/{index}")).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (400, "INVALID_FIELD_VALUE"), "{index}");
    }
    assert_eq!(server.get(&operator, "/v1/events/0").await.status, 400);
    assert_eq!(server.get(&operator, &format!("/v1/events/{}", u64::MAX)).await.error(), "NOT_YET");
    assert_eq!(server.get(&operator, "/v1/streams/%ff/x/head").await.status, 400);
}

/// S-011: what a client sends comes back in no error and in no message, whichever way it is refused.
#[tokio::test(flavor = "multi_thread")]
async fn canaries_are_never_echoed() {
    let server = TestServer::new().await;
    let key = server.tenant_key(&[Role::Agent]);
    let admin = server.operator();
    let canary = "CANARY-7f3a9c";
    let good = envelope(&server.event("{}"));
    let names: Vec<String> = good.as_object().unwrap().keys().cloned().collect();
    let mut events = vec![json!(canary), json!([canary]), json!({ canary: canary })];
    for name in &names {
        for value in [json!(canary), json!({ canary: canary }), json!([canary]), json!(format!("{canary}\u{0}"))] {
            let mut event = good.clone();
            event[name] = value;
            events.push(event);
        }
    }
    let mut with_unknown = good.clone();
    with_unknown[canary] = json!(canary);
    events.push(with_unknown);
    let check = |answer: &crate::common::Answer, what: &str| {
        assert!(!answer.text().contains(canary), "{what}: {}", answer.text());
        for value in answer.headers.values() {
            assert!(!String::from_utf8_lossy(value.as_bytes()).contains(canary), "{what}");
        }
    };
    for event in &events {
        check(&server.post(&key, "/v1/events", &json!({ "events": [event] })).await, "native");
        check(
            &server.post(&key, INGEST, &ingest(server.tenants[0].agent(1).id, std::slice::from_ref(event))).await,
            "ves",
        );
    }
    for body in [
        format!("{{\"{canary}\":1}}"),
        format!("\"{canary}\""),
        canary.to_owned(),
        format!("{{\"events\":\"{canary}\"}}"),
        format!("{{\"agentId\":\"{canary}\",\"events\":[]}}"),
        format!("{{\"events\":[{canary}]}}"),
        format!("{{\"tenant_id\":\"{canary}\"}}"),
        format!("{{\"roles\":[\"{canary}\"]}}"),
        format!("{{\"tenantId\":\"64527dd3-a654-4410-9327-e58a1492ce77\",\"keyId\":\"{canary}\"}}"),
    ] {
        for path in
            ["/v1/events", INGEST, "/v1/tenants", "/v1/api-keys", "/api/v1/agents/keys", "/api/v1/ves/proofs/verify"]
        {
            let answer = server.post_bytes(&admin, path, body.clone()).await;
            assert!(answer.status.is_client_error(), "{path} {body}");
            check(&answer, path);
        }
    }
    for path in [
        format!("/v1/events/{canary}"),
        format!("/{canary}"),
        format!("/v1/feed?{canary}=1"),
        format!("/v1/feed?from={canary}"),
        format!("/v1/streams/{canary}/{canary}/head"),
        format!("/v1/proof/{canary}"),
        format!("/log/tile/{canary}"),
        format!("/log/tile/entries/{canary}"),
        format!("/v1/proofs/inclusion?index={canary}"),
        format!("/v1/api-keys/{canary}"),
    ] {
        check(&server.get(&admin, &path).await, &path);
    }
    check(&server.get(&format!("sk_live_{canary}"), "/v1/ledger").await, "key");
}

/// S-004: exactly the limit is read, one byte more is 413.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_at_the_limit_is_read_and_one_byte_more_is_413() {
    let mut setup = Setup::new();
    setup.config.limits.body_bytes_max = 4096;
    let server = setup.start().await;
    let key = server.tenant_key(&[Role::Agent]);
    let event = envelope(&server.event("{}"));
    let body = json!({ "events": [event] }).to_string();
    let at_limit = format!("{body}{}", " ".repeat(4096 - body.len()));
    assert_eq!(server.post_bytes(&key, "/v1/events", at_limit.clone()).await.status, 200);
    let over = server.post_bytes(&key, "/v1/events", format!("{at_limit} ")).await;
    assert_eq!((over.status.as_u16(), over.error()), (413, "PAYLOAD_TOO_LARGE"));
    // Said, but not sent: refused before a byte of the body.
    let head =
        format!("POST /v1/events HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {key}\r\ncontent-length: 4097\r\n\r\n");
    let started = Instant::now();
    let text = server.raw(head.as_bytes()).await;
    assert!(text.starts_with("HTTP/1.1 413"), "{text}");
    assert!(started.elapsed() < Duration::from_secs(10));
}

/// S-004: a payload of the largest size is taken, one byte more is that event's own refusal.
#[tokio::test(flavor = "multi_thread")]
async fn a_payload_over_the_limit_is_refused_alone() {
    let server = TestServer::new().await;
    let key = server.tenant_key(&[Role::Agent]);
    let limit = tally_protocol::limits::PAYLOAD_BYTES_MAX;
    let largest = server.event(&format!("\"{}\"", "x".repeat(limit - 2)));
    let mut too_large = envelope(&server.event("{}"));
    too_large["payload"] = json!("x".repeat(limit - 1));
    let events = [envelope(&largest), too_large.clone(), envelope(&server.event("{}"))];
    let answer = server.post(&key, "/v1/events", &json!({ "events": events })).await;
    let statuses: Vec<_> = answer.json["results"].as_array().unwrap().iter().map(|r| r["status"].clone()).collect();
    assert_eq!(statuses, ["accepted", "rejected", "accepted"]);
    assert_eq!(answer.json["results"][1]["reject"]["code"], "event_too_large");
    let ves = server.post(&key, INGEST, &ingest(server.tenants[0].agent(1).id, &[too_large])).await;
    assert_eq!(ves.json["rejections"][0]["reason"], "event_too_large");
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_are_cut_off_and_their_neighbours_served() {
    let mut setup = Setup::new();
    let limits = &mut setup.config.limits;
    limits.header_timeout = Duration::from_millis(600);
    limits.body_timeout = Duration::from_millis(900);
    limits.idle_timeout = Duration::from_millis(1500);
    limits.write_timeout = Duration::from_millis(900);
    let server = setup.start().await;
    let key = server.tenant_key(&[Role::Agent, Role::Reader]);
    let started = Instant::now();
    // Says nothing.
    let mut silent = server.connect().await;
    // Dribbles the first bytes, then a header, for ever.
    let mut dribble = server.connect().await;
    let dribbling = tokio::spawn(async move {
        for byte in b"GET /health HTTP/1.1\r\nhost: t\r\nx-slow: ".iter().chain(std::iter::repeat(&b'a')) {
            if dribble.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    });
    // Promises a body and does not send it.
    let mut promise = server.connect().await;
    let head =
        format!("POST /v1/events HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {key}\r\ncontent-length: 100\r\n\r\n{{");
    promise.write_all(head.as_bytes()).await.unwrap();
    // Asks, is answered, and stays.
    let mut idle = server.connect().await;
    idle.write_all(b"GET /health HTTP/1.1\r\nhost: t\r\n\r\n").await.unwrap();
    while started.elapsed() < Duration::from_millis(400) {
        server.submit_ok(&key, &server.event("{}")).await;
    }
    let text = read_to_close(&mut promise).await;
    assert!(text.starts_with("HTTP/1.1 408") && text.contains("REQUEST_TIMEOUT"), "{text}");
    assert_eq!(read_to_close(&mut silent).await, "");
    let text = read_to_close(&mut idle).await;
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    tokio::time::timeout(Duration::from_secs(10), dribbling).await.unwrap().unwrap();
    assert!(started.elapsed() < Duration::from_secs(10));
    // Takes nothing of a large answer.
    let frames: Vec<_> = (0..40).map(|n| server.event(&format!("\"{n}{}\"", "x".repeat(200_000)))).collect();
    for frame in &frames {
        server.submit_ok(&key, frame).await;
    }
    let stream = server.tenants[0].stream(1);
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut deaf = socket.connect(server.address).await.unwrap();
    for _ in 0..4 {
        let request = format!(
            "GET /v1/streams/{}/{}/events?limit=1000 HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {key}\r\n\r\n",
            stream.tenant, stream.store
        );
        deaf.write_all(request.as_bytes()).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let mut taken = 0usize;
    let mut buffer = vec![0; 1 << 16];
    while let Ok(Ok(n @ 1..)) = tokio::time::timeout(Duration::from_secs(5), deaf.read(&mut buffer)).await {
        taken += n;
    }
    assert!(taken < 8 << 20, "the rest of its answers was not kept for it: {taken}");
    let metrics = server.get(&server.operator(), "/metrics").await.text();
    let line = metrics.lines().find(|line| line.starts_with("tally_http_connections_timed_out_total ")).unwrap();
    assert!(line.rsplit(' ').next().unwrap().parse::<u64>().unwrap() >= 3, "{line}");
}

/// A client that closes its sending side still gets its answer; one that is gone loses only its answer.
#[tokio::test(flavor = "multi_thread")]
async fn half_closed_connections_are_answered_and_broken_ones_forgotten() {
    let server = TestServer::new().await;
    let key = server.tenant_key(&[Role::Agent]);
    let frame = server.event("{}");
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {key}\r\ncontent-type: application/vnd.tally.frames\r\ncontent-length: {}\r\n\r\n",
        frame.bytes().len()
    );
    let mut socket = server.connect().await;
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(frame.bytes()).await.unwrap();
    socket.shutdown().await.unwrap();
    let text = read_to_close(&mut socket).await;
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("\"accepted\""), "{text}");
    // Half a body, then nothing more will come.
    let mut socket = server.connect().await;
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(&frame.bytes()[..100]).await.unwrap();
    socket.shutdown().await.unwrap();
    let text = read_to_close(&mut socket).await;
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 400"), "{text}");
    // Gone before the answer: the event is in the log, a retry gets its receipt.
    let frame = server.event("{\"gone\":true}");
    let mut socket = server.connect().await;
    socket
        .write_all(
            head.replace(
                &format!("content-length: {}", server.event("{}").bytes().len()),
                &format!("content-length: {}", frame.bytes().len()),
            )
            .as_bytes(),
        )
        .await
        .unwrap();
    socket.write_all(frame.bytes()).await.unwrap();
    socket.set_linger(Some(Duration::ZERO)).unwrap();
    drop(socket);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let answer = server.submit(&key, std::slice::from_ref(&frame)).await;
    assert!(["duplicate", "accepted"].contains(&answer.json["results"][0]["status"].as_str().unwrap()), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_over_the_bound_are_told_and_room_comes_back() {
    let mut setup = Setup::new();
    setup.config.limits.connections_max = 4;
    let server = setup.start().await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut socket = server.connect().await;
        socket.write_all(b"GET /health HTTP/1.1\r\nhost: t\r\n\r\n").await.unwrap();
        let mut first = [0; 15];
        socket.read_exact(&mut first).await.unwrap();
        held.push(socket);
    }
    let mut refused = server.connect().await;
    let text = read_to_close(&mut refused).await;
    assert!(text.starts_with("HTTP/1.1 503"), "{text}");
    let body = text.split("\r\n\r\n").nth(1).unwrap();
    let json: Value = serde_json::from_str(body).unwrap();
    assert_eq!(json["error"]["code"], "SERVICE_UNAVAILABLE");
    drop(held);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !server.raw(b"GET /health HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n").await.starts_with("HTTP/1.1 200")
    {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_sequencer_is_429_with_a_time_to_retry() {
    let mut setup = Setup::new();
    setup.core.inflight_bytes_per_lane_max = 3000;
    let server = setup.start().await;
    let key = server.tenant_key(&[Role::Agent]);
    server.engine.faults().hold_syncs();
    // The first submission waits for its sync and holds the caller's whole share of the door.
    let frames = [server.event(&format!("\"{}\"", "x".repeat(2400)))];
    let (first, second) = tokio::join!(server.submit(&key, &frames), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let answer = server.submit(&key, &[server.event(&format!("\"{}\"", "x".repeat(1000)))]).await;
        server.engine.faults().release_syncs();
        answer
    });
    assert_eq!(first.json["results"][0]["status"], "accepted", "{first:?}");
    assert_eq!((second.status.as_u16(), second.error()), (429, "RATE_LIMIT_EXCEEDED"), "{second:?}");
    assert_eq!(second.headers["retry-after"], "1");
    let huge = server.submit(&key, &[server.event(&format!("\"{}\"", "x".repeat(4000)))]).await;
    assert_eq!(huge.status, 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn protocol_garbage_is_no_request() {
    let server = TestServer::new().await;
    let long_header = format!("GET /health HTTP/1.1\r\nhost: t\r\nx: {}\r\n\r\n", "a".repeat(200_000));
    let many_headers = format!("GET /health HTTP/1.1\r\nhost: t\r\n{}\r\n", "x: y\r\n".repeat(300));
    let long_path = format!("GET /{} HTTP/1.1\r\nhost: t\r\n\r\n", "a".repeat(200_000));
    for garbage in [
        "\r\n\r\n\r\n",
        "GET\r\n\r\n",
        "HELLO WORLD\r\n\r\n",
        "GET /health HTTP/9.9\r\n\r\n",
        "GET /health HTTP/1.1\nhost t\n\n",
        "POST /v1/events HTTP/1.1\r\nhost: t\r\ncontent-length: x\r\n\r\n",
        "POST /v1/events HTTP/1.1\r\nhost: t\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\ngarbage that is no frame at all.....",
        &long_header,
        &many_headers,
        &long_path,
    ] {
        let text = server.raw(garbage.as_bytes()).await;
        assert!(!text.starts_with("HTTP/1.1 200"), "{} {text}", &garbage[..garbage.len().min(40)]);
    }
    assert_eq!(server.get("", "/health").await.status, 200);
}
