//! The live feed: complete, in order, resumable, scoped, bounded.

use std::sync::Arc;
use std::time::Duration;

use crate::common::{Setup, TestServer, scope};
use serde_json::Value;
use tally_api::api_key::Role;

/// Reads lines of a feed until `enough` says so.
pub(crate) struct Lines {
    response: reqwest::Response,
    buffer: Vec<u8>,
}

impl Lines {
    pub(crate) async fn open(server: &TestServer, key: &str, query: &str) -> Self {
        let response = server.http.get(server.url(&format!("/v1/feed{query}"))).bearer_auth(key).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/x-ndjson");
        Self { response, buffer: Vec::new() }
    }

    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let chunk = tokio::time::timeout(Duration::from_secs(20), self.response.chunk()).await.unwrap();
            match chunk {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk),
                _ => return None,
            }
        }
    }

    async fn event(&mut self) -> Value {
        loop {
            let line = self.next().await.expect("the feed goes on");
            if line["type"] == "event" {
                return line;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_gives_every_event_once_and_in_order_while_the_log_grows() {
    let server = Arc::new(TestServer::new().await);
    let key = server.operator();
    let mut feed = Lines::open(&server, &key, "").await;
    let writer = {
        let (server, key) = (Arc::clone(&server), key.clone());
        tokio::spawn(async move {
            for n in 0..50 {
                let frames: Vec<_> = (0..20).map(|m| server.event(&format!("{{\"n\":{}}}", 20 * n + m))).collect();
                server.submit(&key, &frames).await;
            }
        })
    };
    let mut expected = 1;
    let mut numbers = Vec::new();
    while numbers.len() < 1000 {
        let line = feed.event().await;
        assert_eq!(line["record"]["index"], expected);
        expected += 1;
        if let Some(number) = line["record"]["event"]["payload"]["n"].as_u64() {
            numbers.push(number);
        }
    }
    writer.await.unwrap();
    assert_eq!(numbers, (0..1000).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_resumes_exactly_after_the_token_it_gave() {
    let server = TestServer::new().await;
    let key = server.operator();
    for n in 0..30 {
        server.submit_ok(&key, &server.event(&format!("{{\"n\":{n}}}"))).await;
    }
    let mut token = "start".to_owned();
    let mut seen = Vec::new();
    for _ in 0..12 {
        let mut feed = Lines::open(&server, &key, &format!("?from={token}")).await;
        for _ in 0..3 {
            let line = feed.event().await;
            seen.push(line["record"]["index"].as_u64().unwrap());
            token = line["token"].as_str().unwrap().to_owned();
        }
    }
    assert_eq!(seen, (1..=36).collect::<Vec<_>>());
    // `now` begins behind what there is.
    let mut feed = Lines::open(&server, &key, "?from=now").await;
    let index = server.submit_ok(&key, &server.event("{}")).await;
    assert_eq!(feed.event().await["record"]["index"], index);
    let ledger = &token[..16];
    for bad in [
        "x",
        "-1",
        "7",
        &format!("{ledger}-"),
        &format!("{ledger}-01"),
        &format!("{}-7", "00".repeat(8)),
        &format!("{token}x"),
    ] {
        let answer = server.get(&key, &format!("/v1/feed?from={bad}")).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (400, "INVALID_RESUME_TOKEN"), "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_shows_what_its_credential_reaches_and_moves_past_the_rest() {
    let mut setup = Setup::new();
    setup.config.limits.feed_heartbeat = Duration::from_millis(100);
    let server = setup.start().await;
    let operator = server.operator();
    let [mine, other] = &server.tenants;
    for n in 0..20 {
        let tenant = if n % 2 == 0 { mine } else { other };
        server.submit_ok(&operator, &server.event_of(tenant, 1 + n % 3, 1, "{}")).await;
    }
    let key =
        server.key(scope(Some(mine.id), Some(vec![mine.stream(1).store, mine.stream(2).store]), None, &[Role::Reader]));
    for (query, stores) in [
        (String::new(), vec![1, 2]),
        (format!("?tenant={}", mine.id), vec![1, 2]),
        (format!("?tenant={}&store={}", mine.id, mine.stream(2).store), vec![2]),
    ] {
        let mut feed = Lines::open(&server, &key, &query).await;
        let (mut shown, mut heartbeat) = (Vec::new(), None);
        while heartbeat.is_none() {
            let line = feed.next().await.unwrap();
            match line["type"].as_str().unwrap() {
                "event" => shown.push(line["record"]["event"]["store_id"].as_str().unwrap().to_owned()),
                "heartbeat" => heartbeat = Some(line),
                _ => panic!("{line}"),
            }
        }
        let expected: Vec<_> = (0..20u64)
            .filter(|n| n % 2 == 0 && stores.contains(&(1 + n % 3)))
            .map(|n| mine.stream(1 + n % 3).store.to_string())
            .collect();
        assert_eq!(shown, expected, "{query}");
        // The heartbeat's token lies past everything, also past what was not shown.
        let heartbeat = heartbeat.unwrap();
        let token = heartbeat["token"].as_str().unwrap();
        assert!(token.ends_with(&format!("-{}", heartbeat["size"])), "{heartbeat}");
    }
    let answer = server.get(&key, &format!("/v1/feed?store={}", mine.stream(1).store)).await;
    assert_eq!(answer.error(), "INVALID_FIELD_VALUE");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_source_gets_events_with_ids_and_resumes_by_its_header() {
    let server = TestServer::new().await;
    let key = server.operator();
    let read = |last: Option<String>| {
        let mut request =
            server.http.get(server.url("/v1/feed")).bearer_auth(&key).header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        async move {
            let mut response = request.send().await.unwrap();
            assert_eq!(response.headers()["content-type"], "text/event-stream");
            let mut text = String::new();
            while text.matches("\n\n").count() < 2 {
                text.push_str(std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
            }
            text
        }
    };
    let text = read(None).await;
    let mut events = text.split("\n\n");
    let first = events.next().unwrap();
    let id = first.lines().next().unwrap().strip_prefix("id: ").unwrap().to_owned();
    assert_eq!(first.lines().nth(1), Some("event: event"));
    let data: Value = serde_json::from_str(first.lines().nth(2).unwrap().strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!((&data["record"]["index"], data["token"].as_str()), (&serde_json::json!(1), Some(id.as_str())));
    let resumed = read(Some(id)).await;
    assert!(resumed.contains("\"index\":2"), "{resumed}");
    assert!(!resumed.contains("\"index\":1,"));
}

#[tokio::test(flavor = "multi_thread")]
async fn feeds_are_bounded_in_number_and_end_with_a_drain() {
    let mut setup = Setup::new();
    setup.config.limits.feeds_max = 2;
    // A feed notices that its client is gone when it has something to say.
    setup.config.limits.feed_heartbeat = Duration::from_millis(100);
    let server = setup.start().await;
    let key = server.operator();
    let mut a = Lines::open(&server, &key, "?from=now").await;
    let b = Lines::open(&server, &key, "?from=now").await;
    let refused = server.get(&key, "/v1/feed").await;
    assert_eq!((refused.status.as_u16(), refused.error()), (429, "RATE_LIMIT_EXCEEDED"));
    drop(b);
    // The second place comes back once the server notices.
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        let response = server.http.get(server.url("/v1/feed?from=now")).bearer_auth(&key).send().await.unwrap();
        if response.status() == 200 {
            break;
        }
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let serving = server.stop_serving();
    let mut end = a.next().await.unwrap();
    while end["type"] == "heartbeat" {
        end = a.next().await.unwrap();
    }
    assert_eq!((&end["type"], &end["reason"]), (&serde_json::json!("end"), &serde_json::json!("draining")));
    assert!(a.next().await.is_none());
    tokio::time::timeout(Duration::from_secs(15), serving).await.unwrap().unwrap().unwrap();
}

/// A reader that takes nothing holds two pages, not the log, and is let go.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_takes_nothing_costs_little_and_is_let_go() {
    let mut setup = Setup::new();
    setup.config.limits.write_timeout = Duration::from_millis(800);
    let server = setup.start().await;
    let key = server.operator();
    for _ in 0..40 {
        let frames: Vec<_> = (0..8).map(|_| server.event(&format!("\"{}\"", "x".repeat(100_000)))).collect();
        assert_eq!(server.submit(&key, &frames).await.status, 200);
    }
    let mut sockets = Vec::new();
    for _ in 0..8 {
        use tokio::io::AsyncWriteExt as _;
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut socket = socket.connect(server.address).await.unwrap();
        let request = format!("GET /v1/feed HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {key}\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        sockets.push(socket);
    }
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        let metrics = server.get(&key, "/metrics").await.text();
        let sent: u64 = metrics
            .lines()
            .find_map(|line| line.strip_prefix("tally_http_feed_events_total "))
            .unwrap()
            .parse()
            .unwrap();
        assert!(sent < 8 * 320, "pages wait for their readers");
        if metrics.contains("\ntally_http_feeds 0\n") && sent > 0 {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{metrics}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(sockets);
}
