//! Routes that plugins declare: which request means which, what the plugin is asked, what becomes of a command, and the
//! document that describes them.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::common::follower::counter;
use crate::common::{Answer, Setup, TestServer, envelope, scope};
use crate::plugins::{base, server, server_with};
use crate::port::plugin;
use reqwest::Method;
use serde_json::json;
use tally_api::api_key::Role;
use tally_core::ApplyState;
use tally_gateway::PluginPortError;
use tally_protocol::frame::Frame;
use tally_protocol::hash::ModuleHash;
use tally_protocol::id::{PluginId, Stream};

fn below(stream: Stream, path: &str) -> String {
    format!("/plugins/{}/{}/counter/{path}", stream.tenant, stream.store)
}

/// As it stands, whatever a URL library would make of it.
async fn raw_get(server: &TestServer, key: &str, path: &str) -> String {
    let head = format!("GET {path} HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\r\n");
    server.raw(head.as_bytes()).await
}

async fn command(server: &TestServer, key: &str, path: &str, frame: &Frame) -> Answer {
    server.post(key, path, &json!({ "events": [envelope(frame)] })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_canonical_json_of_its_route_and_its_parameters() {
    let (server, _, port) = server().await;
    let stream = server.tenants[0].stream(1);
    port.install(stream, ModuleHash::ZERO);
    server.applied().await;
    let key = server.tenant_key(&[Role::Reader]);
    for (path, asked) in [
        ("count/ORD-1", r#"{"args":{"entity":"ORD-1"},"route":"count"}"#),
        ("count/all", r#"{"args":{},"route":"total"}"#),
        (
            "count/a%2Fb%20c+d?z=1&a=x+y%26&m=",
            r#"{"args":{"a":"x y&","entity":"a/b c+d","m":"","z":"1"},"route":"count"}"#,
        ),
        (
            "count/%22%5C%C3%A9%0A?%C3%A9=%F0%9F%98%80",
            "{\"args\":{\"entity\":\"\\\"\\\\\u{e9}\\n\",\"\u{e9}\":\"\u{1f600}\"},\"route\":\"count\"}",
        ),
        (
            "count/..%2F..?route=total&args=1",
            r#"{"args":{"args":"1","entity":"../..","route":"total"},"route":"count"}"#,
        ),
    ] {
        let answer = server.get(&key, &below(stream, path)).await;
        assert_eq!((answer.status.as_u16(), &answer.bytes[..]), (200, &br#"{"n":1}"#[..]), "{path}");
        assert_eq!(answer.headers["x-tally-applied"], server.gateway_size().to_string().as_str());
        assert_eq!(answer.headers["content-type"], "application/json");
        assert_eq!(port.last_asked(), asked);
    }
    let count = port.asked.lock().unwrap().len();
    for (path, code) in [
        ("count", "PLUGIN_NOT_FOUND"),
        ("count/a/b", "PLUGIN_NOT_FOUND"),
        ("Count/a", "PLUGIN_NOT_FOUND"),
        ("sneaky", "PLUGIN_NOT_FOUND"),
        ("orders", "METHOD_NOT_ALLOWED"),
        ("count/", "INVALID_FIELD_VALUE"),
        ("count//a", "INVALID_FIELD_VALUE"),
        ("count/..", "INVALID_FIELD_VALUE"),
        ("../counter/count/a", "INVALID_FIELD_VALUE"),
        ("count/%2e%2E", "INVALID_FIELD_VALUE"),
        ("./count/a", "INVALID_FIELD_VALUE"),
        ("count/%zz", "INVALID_FIELD_VALUE"),
        ("count/a?x=1&x=2", "INVALID_FIELD_VALUE"),
        ("count/a?entity=b", "INVALID_FIELD_VALUE"),
        ("count/a?x=%ff", "INVALID_FIELD_VALUE"),
        ("count/a?x=%00", "INVALID_FIELD_VALUE"),
    ] {
        let text = raw_get(&server, &key, &below(stream, path)).await;
        assert!(text.contains(&format!("\"{code}\"")), "{path}: {text}");
    }
    let long = server.get(&key, &below(stream, &format!("count/{}", "a".repeat(2048)))).await;
    assert_eq!(long.error(), "INVALID_FIELD_VALUE");
    let nobody = below(stream, "count/a").replace("counter", "nobody");
    assert_eq!(server.get(&key, &nobody).await.error(), "PLUGIN_NOT_FOUND");
    // Another store of the tenant has no such plugin.
    assert_eq!(server.get(&key, &below(server.tenants[0].stream(2), "count/a")).await.error(), "PLUGIN_NOT_FOUND");
    assert_eq!(port.asked.lock().unwrap().len(), count, "no bad request reached the plugin");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugins_refusal_has_its_own_status_and_the_one_shape() {
    let (server, _, port) = server().await;
    let stream = server.tenants[0].stream(1);
    port.install(stream, ModuleHash::ZERO);
    let key = server.tenant_key(&[Role::Reader]);
    let path = below(stream, "count/a");
    port.answers(Ok(r#"{"body":[1,{"x":null}],"status":203}"#));
    let answer = server.http.get(server.url(&path)).bearer_auth(&key).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &*answer.text().await.unwrap()), (203, r#"[1,{"x":null}]"#));
    for status in [400, 404, 499] {
        port.answers(Ok(&format!(r#"{{"body":{{"error":"no_item"}},"status":{status}}}"#)));
        let answer = server.get(&key, &path).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (status, "PLUGIN_REFUSED"));
        assert_eq!(answer.json["error"]["details"], json!({"body": {"error": "no_item"}}));
    }
    let long = format!(r#"{{"body":"{}","status":200}}"#, "x".repeat(1 << 20));
    for bad in [
        "",
        "{}",
        "null",
        r#"{"body":1}"#,
        r#"{"status":200}"#,
        r#"{"body":1,"status":"200"}"#,
        r#"{"body":1,"status":100}"#,
        r#"{"body":1,"status":302}"#,
        r#"{"body":1,"status":500}"#,
        r#"{"body":1,"status":70000}"#,
        r#"{"body":1,"more":1,"status":200}"#,
        r#"{"body":1,"status":200} x"#,
        r#"{"body":<script>,"status":200}"#,
        &long,
    ] {
        port.answers(Ok(bad));
        let answer = server.get(&key, &path).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (502, "PLUGIN_FAILED"), "{}", &bad[..bad.len().min(80)]);
    }
    port.answers(Err(PluginPortError::Guest("trapped".to_owned())));
    let answer = server.get(&key, &path).await;
    assert_eq!((answer.error(), &answer.json["error"]["details"]["outcome"]), ("PLUGIN_FAILED", &json!("trapped")));
    port.installed.lock().unwrap()[0].1.status = "quarantined";
    let answer = server.get(&key, &path).await;
    assert_eq!((answer.status.as_u16(), answer.error()), (409, "PLUGIN_NOT_RUNNING"));
    assert_eq!(command(&server, &server.operator(), &below(stream, "orders"), &server.event("{}")).await.status, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_answers_with_receipt_and_outcome_and_again_with_the_same() {
    let (server, _, port) = server().await;
    let stream = server.tenants[0].stream(1);
    port.install(stream, ModuleHash::ZERO);
    let key = server.tenant_key(&[Role::Agent]);
    let path = below(stream, "orders");
    for (payload, code) in [("{}", "accepted"), ("{\"refuse\":1}", "rejected")] {
        let frame = server.event(payload);
        let first = command(&server, &key, &path, &frame).await;
        assert_eq!((first.status.as_u16(), &first.json["duplicate"]), (200, &json!(false)), "{first:?}");
        let index = first.json["receipt"]["index"].as_u64().unwrap();
        assert_eq!(first.json["outcome"]["index"], index);
        assert_eq!(first.json["outcome"]["event_leaf"], first.json["receipt"]["leaf_hash"]);
        assert_eq!(first.json["outcome"]["bindings"][0]["code"], code);
        assert_eq!(first.json["status_address"], format!("/v1/outcomes/{index}"));
        let note = first.json["checkpoints"][0].as_str().unwrap();
        assert!(note.starts_with("tally.test/log\n") && first.json["receipt"]["checkpoint"] == 0);
        let again = command(&server, &key, &path, &frame).await;
        assert_eq!((again.status.as_u16(), &again.json["duplicate"]), (200, &json!(true)));
        assert_eq!(again.json["receipt"]["index"], index);
        assert_eq!(again.json["outcome"]["body"], first.json["outcome"]["body"]);
        // The event has a receipt at the ordinary door too: it is one event.
        assert_eq!(server.submit(&key, &[frame]).await.json["results"][0]["status"], "duplicate");
    }
    let frames = server.event("{\"binary\":1}").bytes().to_vec();
    let request = server.http.post(server.url(&path)).bearer_auth(&key);
    let request = request.header("content-type", tally_api::submit::FRAMES).body(frames);
    assert_eq!(Answer::read(request.send().await.unwrap()).await.status, 200);
    let changed = server.tenants[0].agent(1).event(stream, server.event_id()).of_type("order.changed").sign();
    let body = json!({ "events": [envelope(&changed)] }).to_string().into_bytes();
    let put = server.send(Method::PUT, &key, &below(stream, "orders/7"), Some(body)).await;
    assert_eq!(put.status, 200, "{put:?}");
}

/// Whatever is wrong with a command is said before anything is taken.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_command_takes_nothing() {
    let (server, _, port) = server().await;
    let [mine, other] = &server.tenants;
    let stream = mine.stream(1);
    port.install(stream, ModuleHash::ZERO);
    port.install(other.stream(1), ModuleHash::ZERO);
    let all = [Role::Agent, Role::Reader, Role::Admin];
    let key = server.key(scope(Some(mine.id), None, Some(mine.agent(1).id), &all));
    let size = server.gateway_size();
    let path = below(stream, "orders");
    let good = || server.event("{}");
    let of_type = mine.agent(1).event(stream, server.event_id()).of_type("order.paid").sign();
    let mut forged = envelope(&good());
    forged["agent_signature"] = json!(format!("0x{}", "11".repeat(64)));
    let one = |frame: &Frame| json!({ "events": [envelope(frame)] });
    for (path, body, status, code) in [
        (&path, json!({ "events": [] }), 400, "EMPTY_BATCH"),
        (&path, json!({ "events": [envelope(&good()), envelope(&good())] }), 413, "BATCH_TOO_LARGE"),
        (&path, json!({}), 422, "MISSING_REQUIRED_FIELD"),
        (&path, json!({ "events": [envelope(&good())], "more": 1 }), 400, "UNKNOWN_FIELD"),
        (&path, one(&of_type), 400, "INVALID_FIELD_VALUE"),
        (&path, one(&server.event_of(mine, 2, 1, "{}")), 400, "INVALID_FIELD_VALUE"),
        (&path, one(&server.event_of(other, 1, 1, "{}")), 403, "OUT_OF_SCOPE"),
        (&path, one(&server.event_of(mine, 1, 2, "{}")), 403, "OUT_OF_SCOPE"),
        (&path, json!({ "events": [forged] }), 409, "EVENT_REFUSED"),
        (&path, json!({ "events": [{"event_id": 1}] }), 409, "EVENT_REFUSED"),
        (&format!("{path}?x=1"), one(&good()), 400, "UNKNOWN_FIELD"),
        (&below(stream, "count/a"), one(&good()), 405, "METHOD_NOT_ALLOWED"),
        (&below(stream, "sneaky"), one(&good()), 404, "PLUGIN_NOT_FOUND"),
        (&below(other.stream(1), "orders"), one(&good()), 403, "OUT_OF_SCOPE"),
        (&below(mine.stream(2), "orders"), one(&server.event_of(mine, 2, 1, "{}")), 404, "PLUGIN_NOT_FOUND"),
    ] {
        let answer = server.post(&key, path, &body).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (status, code), "{path} {body}");
        if code == "EVENT_REFUSED" {
            assert!(answer.json["error"]["details"]["reason"].is_string());
        }
    }
    assert_eq!(server.gateway_size(), size, "nothing was taken");
    assert_eq!(command(&server, &key, &path, &good()).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_outcome_does_not_come_is_accepted_with_an_address() {
    let mut setup = Setup::new();
    setup.config.limits.receipt_timeout = Duration::from_secs(2);
    let (server, counting, port) = server_with(setup).await;
    let stream = server.tenants[0].stream(1);
    port.install(stream, ModuleHash::ZERO);
    server.applied().await;
    let key = server.tenant_key(&[Role::Agent]);
    counting.hold();
    let waiting = command(&server, &key, &below(stream, "orders"), &server.event("{}")).await;
    assert_eq!((waiting.status.as_u16(), &waiting.json["outcome"]), (202, &json!(null)), "{waiting:?}");
    let address = waiting.json["status_address"].as_str().unwrap();
    assert_eq!(
        (&waiting.headers["location"], &waiting.headers["retry-after"]),
        (&address.parse().unwrap(), &"1".parse().unwrap())
    );
    assert_eq!(server.get(&key, address).await.error(), "NOT_YET");
    counting.release();
    server.applied().await;
    assert_eq!(server.get(&key, address).await.json["event_leaf"], waiting.json["receipt"]["leaf_hash"]);
    // Where nothing is applied there is nothing to wait for.
    counting.fails.store(true, Ordering::SeqCst);
    server.submit_ok(&key, &server.event("{}")).await;
    let began = Instant::now();
    while !matches!(server.reader().apply_state(), ApplyState::Halted { .. }) {
        assert!(began.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let halted = command(&server, &key, &below(stream, "orders"), &server.event("{}")).await;
    assert_eq!(halted.status.as_u16(), 202);
    server.sequencer.as_ref().unwrap().retry_apply();
    server.applied().await;
    let address = halted.json["status_address"].as_str().unwrap();
    assert_eq!(server.get(&key, address).await.status, 200);
}

/// The node's own document stays what it is; a stream's has its plugins' routes as well, and no other stream's.
#[tokio::test(flavor = "multi_thread")]
async fn the_document_of_a_stream_is_the_nodes_and_its_plugins() {
    let (server, _, port) = server().await;
    let (stream, foreign) = (server.tenants[0].stream(1), server.tenants[1].stream(1));
    port.install(stream, ModuleHash::ZERO);
    port.install(foreign, ModuleHash::ZERO);
    let mut resting = plugin(PluginId::new("resting").unwrap(), ModuleHash::ZERO);
    resting.status = "quarantined";
    port.installed.lock().unwrap().push((stream, resting));
    let key = server.tenant_key(&[Role::Reader]);
    let node = server.get(&server.operator(), "/openapi.json").await.json;
    let merged = server.get(&key, &format!("{}/openapi.json", base(stream))).await.json;
    assert_eq!(merged["components"], node["components"]);
    let paths = merged["paths"].as_object().unwrap();
    let own: Vec<_> = paths.keys().filter(|path| !node["paths"].as_object().unwrap().contains_key(*path)).collect();
    let expected = ["count/all", "count/{entity}", "orders", "orders/{id}"].map(|path| below(stream, path));
    assert_eq!(own, expected.iter().collect::<Vec<_>>());
    for (path, operations) in node["paths"].as_object().unwrap() {
        assert_eq!(paths[path], *operations, "{path}");
    }
    let count = &paths[&expected[1]]["get"];
    assert_eq!((&count["operationId"], &count["tags"]), (&json!("counter.count"), &json!(["counter"])));
    assert_eq!(count["parameters"][0]["name"], "entity");
    let place = &paths[&expected[2]]["post"];
    assert!(place["summary"].as_str().unwrap().contains("order.created"));
    for status in ["200", "202"] {
        let schema = &place["responses"][status]["content"]["application/json"]["schema"]["$ref"];
        assert_eq!(schema, "#/components/schemas/CommandAnswer");
    }
    assert!(place["requestBody"]["content"][tally_api::submit::FRAMES].is_object());
    assert_eq!(counter().as_str(), "counter");
}
