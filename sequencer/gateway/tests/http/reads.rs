//! Events read back over the native surface: by position, by stream, by id, by entity; pages end by count and bytes.

use crate::common::{Setup, TestServer};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tally_api::api_key::Role;

fn frame_of(record: &Value) -> Vec<u8> {
    STANDARD.decode(record["frame"].as_str().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_found_by_position_sequence_id_and_entity_with_its_exact_bytes() {
    let server = TestServer::new().await;
    let key = server.tenant_key(&[Role::Agent]);
    let tenant = &server.tenants[0];
    let stream = tenant.stream(1);
    let agent = tenant.agent(1);
    let frames: Vec<_> = (0..10)
        .map(|n| {
            let event = agent.event(stream, server.event_id()).created_at(crate::common::START);
            event.about("Or/der", &format!("id {}%", n % 2)).payload(format!("{{\"n\":{n}}}").as_bytes()).sign()
        })
        .collect();
    let answer = server.submit(&key, &frames).await;
    let base = format!("/v1/streams/{}/{}", stream.tenant, stream.store);
    for (at, frame) in frames.iter().enumerate() {
        let receipt = &answer.json["results"][at]["receipt"];
        let paths = [
            format!("/v1/events/{}", receipt["index"]),
            format!("{base}/events/{}", receipt["sequence"]),
            format!("{base}/by-id/{}", frame.event_id()),
            format!("{base}/by-id/{}", frame.event_id().to_string().to_uppercase()),
        ];
        for path in paths {
            let record = server.get(&key, &path).await.json;
            assert_eq!(frame_of(&record), frame.bytes().to_vec(), "{path}");
            assert_eq!(record["leaf_hash"], receipt["leaf_hash"]);
            assert_eq!(record["event"]["payload"]["n"], at);
        }
    }
    // Slashes, blanks and percent signs of an entity are percent-encoded in the path.
    let page = server.get(&key, &format!("{base}/entities/Or%2Fder/id%201%25?limit=3")).await;
    let numbers = |page: &crate::common::Answer| -> Vec<u64> {
        page.json["events"].as_array().unwrap().iter().map(|r| r["event"]["payload"]["n"].as_u64().unwrap()).collect()
    };
    assert_eq!(numbers(&page), [1, 3, 5]);
    let rest = server.get(&key, &format!("{base}/entities/Or%2Fder/id%201%25?after={}", page.json["next_after"])).await;
    assert_eq!((numbers(&rest), &rest.json["next_after"]), (vec![7, 9], &Value::Null));
    for (path, code) in [
        (format!("{base}/events/0"), "INVALID_FIELD_VALUE"),
        (format!("{base}/events/11"), "EVENT_NOT_FOUND"),
        (format!("{base}/by-id/{}", server.event_id()), "EVENT_NOT_FOUND"),
        (format!("{base}/entities/{}/x", "x".repeat(129)), "INVALID_FIELD_VALUE"),
        (format!("{base}/events?limit=x"), "INVALID_FIELD_VALUE"),
        (format!("{base}/events?from=1&from=2"), "INVALID_FIELD_VALUE"),
        (format!("{base}/events?form=1"), "UNKNOWN_FIELD"),
    ] {
        assert_eq!(server.get(&key, &path).await.error(), code, "{path}");
    }
    let empty = server.get(&key, &format!("{base}/entities/Order/none")).await;
    assert_eq!(empty.json["events"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_end_by_count_and_by_bytes_and_join_without_gap() {
    let mut setup = Setup::new();
    setup.config.limits.page_bytes_max = 100_000;
    let server = setup.start().await;
    let key = server.tenant_key(&[Role::Agent]);
    let stream = server.tenants[0].stream(1);
    for n in 0..30 {
        let size = if n % 7 == 0 { 90_000 } else { 10 };
        server.submit_ok(&key, &server.event(&format!("{{\"n\":{n},\"x\":\"{}\"}}", "x".repeat(size)))).await;
    }
    let base = format!("/v1/streams/{}/{}/events", stream.tenant, stream.store);
    for limit in [1, 7, 1000, 100_000] {
        let (mut from, mut seen, mut pages) = (1, Vec::new(), 0);
        loop {
            let page = server.get(&key, &format!("{base}?from={from}&limit={limit}")).await.json;
            let events = page["events"].as_array().unwrap();
            assert!(!events.is_empty() && events.len() <= limit);
            let bytes: usize = events.iter().map(|event| frame_of(event).len()).sum();
            assert!(bytes < 100_000 + 91_000, "{bytes}");
            seen.extend(events.iter().map(|event| event["sequence"].as_u64().unwrap()));
            pages += 1;
            match page["next_sequence"].as_u64() {
                Some(next) => from = next,
                None => break,
            }
        }
        assert_eq!(seen, (1..=30).collect::<Vec<_>>(), "{limit}");
        assert!(pages >= 3);
    }
    let past = server.get(&key, &format!("{base}?from=31")).await.json;
    assert_eq!((&past["events"], &past["next_sequence"]), (&serde_json::json!([]), &Value::Null));
}
