//! Commands at `/market`: one event each, whoever signs it, however often it is asked for; and what never gets there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::common::{Answer, Setup, envelope, scope};
use crate::market::{Shop, code, gateway_agent, market, shop, shop_with, tenant};
use reqwest::Method;
use serde_json::{Value, json};
use tally_api::api_key::Role;
use tally_core::ApplyState;
use tally_gateway::{Credential, Environment};
use tally_protocol::hash;
use tally_protocol::id::Index;
use tally_testkit::TestAgent;
use tokio::net::TcpListener;

const PURCHASE: &str = r#"{"payment_method":"pm_1","quantity":2,"sku":"lamp"}"#;

fn buyer() -> String {
    format!("agent:{}", tenant().agent(1).id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_one_event_of_the_gateways_agent_that_names_the_caller() {
    let shop = shop().await;
    let answer = shop.post("/market/purchase", "order-1", PURCHASE).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert!(!answer.headers.contains_key("idempotent-replayed"));
    let index = answer.json["receipt"]["index"].as_u64().unwrap();
    assert_eq!(answer.json["result"], json!({ "n": index }));
    assert_eq!(answer.json["outcome"]["bindings"][0]["code"], "accepted");
    let event = shop.server.reader().event(Index::new(index)).unwrap();
    let frame = &event.frame;
    assert_eq!((frame.agent_id(), frame.stream()), (gateway_agent().id, tenant().stream(1)));
    assert_eq!(
        (frame.event_type(), frame.entity_type(), frame.entity_id()),
        ("checkout.order.created", "order", "new")
    );
    let payload = format!(
        r#"{{"actor":"{}","idempotency_key":"order-1","payment_method":"pm_1","quantity":2,"sku":"lamp"}}"#,
        buyer()
    );
    assert_eq!(shop.payload(index), payload);
    let id = hash::command_event(&tenant().stream(1), &buyer(), "checkout.order.created", "new", "order-1");
    assert_eq!(frame.event_id(), id);
    assert_eq!(answer.json["receipt"]["event_id"], id.to_string());
    assert_eq!(answer.json["receipt"]["leaf_hash"], event.leaf_hash().to_hex());
    // Its proofs are where the answer says.
    for address in [&answer.json["receipt"]["bundle_address"], &answer.json["outcome"]["proof_address"]] {
        assert_eq!(shop.server.get(&shop.buyer, address.as_str().unwrap()).await.status, 200);
    }
    // A thing that is named is the entity; nothing new is made.
    for (method, path, body, entity) in [
        (Method::PUT, "/market/sku/la%20mp", "{}", ("catalog.sku.drafted", "sku", "la mp")),
        (
            Method::POST,
            "/market/refund/0f",
            r#"{"amount":1,"reason":"r"}"#,
            ("checkout.refund.requested", "order", "0f"),
        ),
        (Method::POST, "/market/payout/77/approve", "", ("royalty.payout.approved", "payout", "77")),
    ] {
        let answer = shop.call(method, &shop.buyer, path, &["k"], body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let index = answer.json["receipt"]["index"].as_u64().unwrap();
        let event = shop.server.reader().event(Index::new(index)).unwrap();
        assert_eq!((event.frame.event_type(), event.frame.entity_type(), event.frame.entity_id()), entity);
    }
    // A tick names nobody and has no key.
    let tick = shop.call(Method::POST, &shop.buyer, "/market/tick", &[], b"").await;
    assert_eq!(shop.payload(tick.json["receipt"]["index"].as_u64().unwrap()), "{}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_without_an_agent_acts_as_itself() {
    let shop = shop().await;
    let key = shop.server.tenant_key(&[Role::Agent]);
    let answer = shop.call(Method::POST, &key, "/market/purchase", &["k"], PURCHASE.as_bytes()).await;
    let payload: Value =
        serde_json::from_str(&shop.payload(answer.json["receipt"]["index"].as_u64().unwrap())).unwrap();
    assert_eq!(payload["actor"], format!("key:{}", &key[..16]));
}

/// The same again is the same bytes and no second event, in whatever words and whenever; other words are a conflict.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_and_body_is_the_same_answer_byte_for_byte() {
    let shop = shop().await;
    for (path, body) in [
        ("/market/purchase", PURCHASE),
        ("/market/purchase", r#"{"sku":"refuse-as:not_for_sale"}"#),
        ("/market/refund/7", r#"{"amount":1,"reason":"refuse-as:exceeds"}"#),
    ] {
        let key = format!("k{}", body.len());
        let first = shop.post(path, &key, body).await;
        let size = shop.size();
        shop.server.clock.0.advance(Duration::from_secs(3600));
        // Other events make the log longer; the answer does not follow.
        shop.server.submit_ok(&shop.server.operator(), &shop.server.event("{}")).await;
        let spaced = body.replace(':', " : ").replace("refuse-as : ", "refuse-as:");
        for again in [body, &spaced] {
            let second = shop.post(path, &key, again).await;
            assert_eq!((second.status, &second.bytes), (first.status, &first.bytes));
            assert_eq!(second.headers["idempotent-replayed"], "true");
        }
        assert_eq!(shop.size(), size + 1, "one other event and no second one of the command");
        let other = shop.post(path, &key, r#"{"sku":"chair"}"#).await;
        assert_eq!((other.status.as_u16(), code(&other)), (409, "IDEMPOTENCY_CONFLICT"));
        assert!(other.json.get("receipt").is_none(), "nothing of the first one is told");
        assert_eq!(shop.size(), size + 1);
    }
    // Another caller, thing or operation with the same key is another command.
    let key = format!("k{}", PURCHASE.len());
    let size = shop.size();
    let other = shop.server.tenant_key(&[Role::Agent]);
    assert_eq!(shop.call(Method::POST, &other, "/market/purchase", &[&key], b"{\"sku\":\"chair\"}").await.status, 201);
    assert_eq!(shop.post("/market/refund/8", &key, "{}").await.status, 200);
    assert_eq!(shop.post("/market/refund/9", &key, "{}").await.status, 200);
    assert_eq!(shop.size(), size + 3);
}

/// A gateway keeps nothing: one that starts later, with a later clock, gives the same bytes.
#[tokio::test(flavor = "multi_thread")]
async fn another_gateway_over_the_same_log_replays_the_same_bytes() {
    let shop = shop().await;
    let first = shop.post("/market/purchase", "k", PURCHASE).await;
    let size = shop.size();
    shop.server.clock.0.advance(Duration::from_secs(86_400));
    let mut own = market(None);
    own.plugins.remove(0);
    let gateway = shop.server.another_gateway(Some(own), shop.port.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/market/purchase", listener.local_addr().unwrap());
    let serving = tokio::spawn(tally_gateway::serve(listener, None, gateway, std::future::pending()));
    let request = shop.server.http.post(url).bearer_auth(&shop.buyer).header("idempotency-key", "k");
    let second = Answer::read(request.body(PURCHASE).send().await.unwrap()).await;
    assert_eq!((second.status, &second.bytes), (first.status, &first.bytes));
    assert_eq!(shop.size(), size);
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_requests_with_one_key_are_one_event_and_one_answer() {
    let shop = shop().await;
    // Each try signs at another time, so that no two of them are the same bytes.
    let clock = Arc::clone(&shop.server.clock);
    let ticking = tokio::spawn(async move {
        loop {
            clock.0.advance(Duration::from_micros(1));
            tokio::task::yield_now().await;
        }
    });
    for round in 0..8 {
        let (key, size) = (format!("round-{round}"), shop.size());
        let post = || shop.post("/market/purchase", &key, PURCHASE);
        let (a, b, c, d) = tokio::join!(post(), post(), post(), post());
        let answers = [a, b, c, d];
        assert_eq!(shop.size(), size + 1, "one effect");
        let bodies: BTreeSet<_> =
            answers.iter().filter(|answer| answer.json["ok"] == true).map(|answer| answer.bytes.clone()).collect();
        assert_eq!(bodies.len(), 1);
        for answer in answers.iter().filter(|answer| answer.json["ok"] == false) {
            assert_eq!(code(answer), "IDEMPOTENCY_IN_FLIGHT");
        }
        let first = answers.iter().filter(|answer| !answer.headers.contains_key("idempotent-replayed"));
        assert_eq!(first.filter(|answer| answer.json["ok"] == true).count(), 1);
    }
    ticking.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_without_one_good_key_takes_nothing() {
    let shop = shop().await;
    let size = shop.size();
    let long = "k".repeat(256);
    let cases: &[(&str, &[&str], &str)] = &[
        ("/market/purchase", &[], "IDEMPOTENCY_KEY_REQUIRED"),
        ("/market/refund/7", &[], "IDEMPOTENCY_KEY_REQUIRED"),
        ("/market/payout/7/approve", &[], "IDEMPOTENCY_KEY_REQUIRED"),
        ("/market/purchase", &["a", "b"], "MALFORMED"),
        ("/market/purchase", &[""], "MALFORMED"),
        ("/market/purchase", &["a b"], "MALFORMED"),
        ("/market/purchase", &[&long], "MALFORMED"),
        ("/market/purchase", &["4242424242424242"], "CARD_DATA"),
    ];
    for (path, keys, name) in cases {
        let answer = shop.call(Method::POST, &shop.buyer, path, keys, b"{}").await;
        assert_eq!((answer.status.as_u16(), code(&answer)), (400, *name), "{keys:?}");
    }
    assert_eq!(shop.size(), size);
    assert_eq!(shop.post("/market/purchase", &long[1..], "{}").await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_acts_comes_from_the_credential_and_never_from_the_body() {
    let shop = shop().await;
    let size = shop.size();
    for body in [
        r#"{"actor":"agent:9"}"#,
        r#"{"actor":null}"#,
        r#"{"actor":["a"]}"#,
        r#"{"buyerId":"somebody"}"#,
        r#"{"buyer_id":"somebody"}"#,
        r#"{"buyerId":7}"#,
        r#"{"\u0061ctor":"agent:9"}"#,
    ] {
        let answer = shop.post("/market/purchase", "k", body).await;
        assert_eq!((answer.status.as_u16(), code(&answer)), (403, "FORBIDDEN"), "{body}");
    }
    assert_eq!(shop.size(), size);
    // The seed's names mean what ours do, and the caller may say who it is.
    let bare = tenant().agent(1).id;
    let seeds = format!(
        r#"{{"skuId":"lamp","buyerId":"{bare}","paymentMethod":"pm_1","licenseOptions":{{"seats":1}},"actor":"{}"}}"#,
        buyer()
    );
    let first = shop.post("/market/purchase", "seed", &seeds).await;
    let ours = r#"{"sku":"lamp","payment_method":"pm_1","licence_options":{"seats":1},"quantity":1}"#;
    let second = shop.post("/market/purchase", "seed", ours).await;
    assert_eq!((first.status.as_u16(), &second.bytes), (201, &first.bytes));
    assert_eq!(code(&shop.post("/market/purchase", "x", r#"{"skuId":"a","sku":"a"}"#).await), "MALFORMED");
    assert_eq!(shop.size(), size + 1);
}

fn signed(agent: &TestAgent, shop: &Shop, event_type: &str, entity: (&str, &str), payload: &str) -> Value {
    let event = agent.event(tenant().stream(1), shop.server.event_id()).of_type(event_type).about(entity.0, entity.1);
    json!({ "events": [envelope(&event.payload(payload.as_bytes()).sign())] })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_the_caller_signed_is_submitted_as_it_is() {
    let shop = shop().await;
    let (agent, order) = (tenant().agent(1), ("order", "new"));
    let body = signed(&agent, &shop, "checkout.order.created", order, PURCHASE).to_string();
    let first = shop.call(Method::POST, &shop.buyer, "/market/purchase", &[], body.as_bytes()).await;
    assert_eq!(first.status, 201, "{first:?}");
    let index = first.json["receipt"]["index"].as_u64().unwrap();
    assert_eq!(shop.payload(index), PURCHASE);
    let again = shop.call(Method::POST, &shop.buyer, "/market/purchase", &[], body.as_bytes()).await;
    assert_eq!((again.status, &again.bytes), (first.status, &first.bytes));
    assert_eq!(again.headers["idempotent-replayed"], "true");
    // As a frame too.
    let frame = agent
        .event(tenant().stream(1), shop.server.event_id())
        .of_type("checkout.order.created")
        .about("order", "new")
        .sign();
    let request = shop.server.http.post(shop.server.url("/market/purchase")).bearer_auth(&shop.buyer);
    let request = request.header("content-type", tally_api::submit::FRAMES).body(frame.bytes().to_vec());
    assert_eq!(request.send().await.unwrap().status(), 201);
    let size = shop.size();
    let other = tenant().agent(2);
    let mut forged = signed(&agent, &shop, "checkout.order.created", order, "{}");
    forged["events"][0]["agent_signature"] = json!(format!("0x{}", "11".repeat(64)));
    let mut two = signed(&agent, &shop, "checkout.order.created", order, "{}");
    let one = two["events"][0].clone();
    two["events"].as_array_mut().unwrap().push(one);
    for (body, status, name) in [
        (signed(&other, &shop, "checkout.order.created", order, "{}"), 403, "OUT_OF_SCOPE"),
        (signed(&agent, &shop, "checkout.order.canceled", order, "{}"), 400, "INVALID_FIELD_VALUE"),
        (signed(&agent, &shop, "checkout.order.created", ("order", "7"), "{}"), 400, "INVALID_FIELD_VALUE"),
        (signed(&agent, &shop, "checkout.order.created", ("payout", "new"), "{}"), 400, "INVALID_FIELD_VALUE"),
        (signed(&agent, &shop, "checkout.order.created", order, r#"{"a":"4242 4242 4242 4242"}"#), 400, "CARD_DATA"),
        (signed(&agent, &shop, "checkout.order.created", order, r#"{"amount":1.5}"#), 400, "MALFORMED"),
        (forged, 409, "EVENT_REFUSED"),
        (two, 400, "MALFORMED"),
        (json!({ "events": [] }), 400, "MALFORMED"),
        (json!({ "events": [{}] }), 400, "EVENT_REFUSED"),
        (json!({ "events": 1 }), 422, "MISSING_REQUIRED_FIELD"),
    ] {
        let answer = shop.call(Method::POST, &shop.buyer, "/market/purchase", &[], body.to_string().as_bytes()).await;
        assert_eq!((answer.status.as_u16(), code(&answer)), (status, name), "{body}");
    }
    assert_eq!(shop.size(), size);
}

/// M-025 and M-047: what has two meanings, or shows a card, is refused before anything is kept of it, at every door.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_bodies_never_enter_the_log() {
    let shop = shop().await;
    let size = shop.size();
    let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(100), "]".repeat(100));
    let cases: &[(&[u8], &str)] = &[
        (br#"{"sku":"a","sku":"b"}"#, "MALFORMED"),
        (br#"{"sku":"a","\u0073ku":"b"}"#, "MALFORMED"),
        (br#"{"a":{"b":1,"b":1}}"#, "MALFORMED"),
        (br#"{"amount":9007199254740992}"#, "MALFORMED"),
        (br#"{"amount":-9007199254740992}"#, "MALFORMED"),
        (br#"{"amount":1e400}"#, "MALFORMED"),
        (br#"{"amount":10.5}"#, "MALFORMED"),
        (br#"{"amount":10.00}"#, "MALFORMED"),
        (br#"{"amount":1e2}"#, "MALFORMED"),
        (br#"{"sku":"a\u0000b"}"#, "MALFORMED"),
        (b"{\"sku\":\"a\0b\"}", "MALFORMED"),
        (br#"{"sku":"\ud800"}"#, "MALFORMED"),
        (b"{\"sku\":\"\xff\"}", "MALFORMED"),
        (br#"{"sku":"a"} x"#, "MALFORMED"),
        (br#"["sku"]"#, "MALFORMED"),
        (b"null", "MALFORMED"),
        (b"{", "MALFORMED"),
        (deep.as_bytes(), "MALFORMED"),
        (br#"{"note":"4242424242424242"}"#, "CARD_DATA"),
        (br#"{"note":"pay with 5555-5555-5555-4444 please"}"#, "CARD_DATA"),
        (br#"{"note":"\u0034242424242424242"}"#, "CARD_DATA"),
        (br#"{"amount":4242424242424242}"#, "CARD_DATA"),
        (br#"{"4242424242424242":1}"#, "CARD_DATA"),
        (br#"{"licenseOptions":{"deep":[["378282246310005"]]}}"#, "CARD_DATA"),
    ];
    for (body, name) in cases {
        let answer = shop.call(Method::POST, &shop.buyer, "/market/purchase", &["k"], body).await;
        assert_eq!((answer.status.as_u16(), code(&answer)), (400, *name), "{}", String::from_utf8_lossy(body));
        assert!(!answer.text().contains("4242"), "nothing is repeated");
    }
    for path in ["/market/refund/4242424242424242", "/market/refund/4242%204242%204242%204242"] {
        assert_eq!(code(&shop.post(path, "k", "{}").await), "CARD_DATA");
    }
    let asked = shop.port.asked.lock().unwrap().len();
    for path in ["/market/sku/4242424242424242", "/market/sku?q=4242+4242+4242+4242", "/market/sku?4242424242424242="] {
        assert_eq!(code(&shop.server.get("", path).await), "CARD_DATA");
    }
    assert_eq!(shop.port.asked.lock().unwrap().len(), asked);
    // The log's own door knows the marketplace's stream too; another stream is not its matter.
    let card = r#"{"note":"4242424242424242"}"#;
    let answer = shop.server.submit(&shop.server.operator(), &[shop.server.event(card), shop.server.event("{}")]).await;
    assert_eq!(answer.json["results"][0]["reject"]["code"], "schema_validation");
    assert_eq!(answer.json["results"][1]["status"], "accepted");
    assert_eq!(shop.size(), size + 1);
    let elsewhere = shop.server.event_of(&shop.server.tenants[0], 2, 1, card);
    shop.server.submit_ok(&shop.server.operator(), &elsewhere).await;
    // Last: the connection of a body that is not read to its end is closed.
    let size = shop.size();
    let huge = format!(r#"{{"a":"{}"}}"#, "x".repeat(64 << 10));
    assert_eq!(code(&shop.post("/market/purchase", "k", &huge).await), "PAYLOAD_TOO_LARGE");
    assert_eq!(shop.size(), size);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_a_plugin_is_its_code_with_the_outcome_and_the_receipt() {
    let shop = shop().await;
    for (reason, status, name) in [
        ("malformed", 400, "MALFORMED"),
        ("card_data", 400, "CARD_DATA"),
        ("ledger_imbalance", 400, "LEDGER_IMBALANCE"),
        ("forbidden", 403, "FORBIDDEN"),
        ("not_found", 404, "SKU_NOT_FOUND"),
        ("idempotency_conflict", 409, "IDEMPOTENCY_CONFLICT"),
        ("state", 409, "STATE"),
        ("not_for_sale", 409, "NOT_FOR_SALE"),
        ("invalid_manifest", 422, "INVALID_MANIFEST"),
        ("overflow", 422, "OVERFLOW"),
        ("unheard_of", 409, "UNHEARD_OF"),
        ("<odd>", 409, "PLUGIN_REFUSED"),
        ("trapped", 502, "PLUGIN_FAILED"),
    ] {
        let answer = shop.post("/market/purchase", reason, &format!(r#"{{"sku":"refuse-as:{reason}"}}"#)).await;
        assert_eq!((answer.status.as_u16(), code(&answer)), (status, name), "{reason}");
        let outcome = &answer.json["error"]["details"]["outcome"];
        assert_eq!(outcome["bindings"][0]["code"], if reason == "trapped" { "trapped" } else { "rejected" });
        assert!(shop.payload(answer.json["receipt"]["index"].as_u64().unwrap()).contains(reason));
    }
    let missing = shop.post("/market/refund/7", "k", r#"{"reason":"refuse-as:not_found"}"#).await;
    assert_eq!(code(&missing), "ORDER_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repetition_that_a_plugin_knows_has_the_result_of_the_first() {
    let shop = shop().await;
    let script = |result: fn(u64) -> (u16, Value)| {
        *shop.port.script.lock().unwrap() = Some(Box::new(move |asked: &Value| {
            let index =
                (asked["route"] == "result").then(|| asked["args"]["index"].as_str().unwrap().parse().unwrap())?;
            let (status, body) = result(index);
            Some(json!({ "body": body, "status": status }))
        }));
    };
    script(|index| (200, if index > 3 { json!({ "repeats": 3 }) } else { json!({ "order": index }) }));
    let answer = shop.post("/market/purchase", "a", PURCHASE).await;
    assert_eq!(answer.json["result"], json!({ "order": 3 }));
    script(|_| (404, json!({ "code": "not_found" })));
    let answer = shop.post("/market/purchase", "b", PURCHASE).await;
    assert_eq!((answer.status.as_u16(), &answer.json["result"]), (201, &Value::Null));
    // What points nowhere is the plugin's failure, and the command stays in the log.
    script(|index| (200, json!({ "repeats": index })));
    let answer = shop.post("/market/purchase", "c", PURCHASE).await;
    assert_eq!((answer.status.as_u16(), code(&answer)), (502, "PLUGIN_FAILED"));
    assert!(answer.json["receipt"]["index"].is_u64());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_not_decided_in_time_has_an_address_for_its_caller_alone() {
    let mut setup = Setup::new();
    setup.config.limits.receipt_timeout = Duration::from_secs(2);
    let mut own = market(None);
    own.plugins.remove(0);
    let shop = shop_with(setup, own).await;
    shop.counting.hold();
    let waiting = shop.post("/market/purchase", "k", PURCHASE).await;
    assert_eq!((waiting.status.as_u16(), &waiting.json["pending"]), (202, &json!(true)), "{waiting:?}");
    let address = waiting.json["status_address"].as_str().unwrap().to_owned();
    assert_eq!(waiting.headers["location"], address.as_str());
    assert_eq!(shop.server.get(&shop.buyer, &address).await.status, 202);
    shop.counting.release();
    shop.server.applied().await;
    let later = shop.server.get(&shop.buyer, &address).await;
    let again = shop.post("/market/purchase", "k", PURCHASE).await;
    assert_eq!((later.status.as_u16(), &later.bytes), (201, &again.bytes));
    assert_eq!(later.json["receipt"], waiting.json["receipt"]);
    let admin = shop.server.tenant_key(&[Role::Admin]);
    assert_eq!(shop.server.get(&admin, &address).await.bytes, later.bytes);
    for other in [
        shop.server.tenant_key(&[Role::Agent]),
        shop.server.key(scope(Some(tenant().id), None, Some(tenant().agent(2).id), &[Role::Agent])),
    ] {
        let answer = shop.server.get(&other, &address).await;
        assert_eq!((answer.status.as_u16(), code(&answer)), (404, "RESOURCE_NOT_FOUND"));
    }
    // An event that is no command has no answer.
    let plain = shop.server.submit_ok(&shop.server.operator(), &shop.server.event("{}")).await;
    assert_eq!(shop.server.get(&admin, &format!("/market/commands/{plain}")).await.status, 404);
    // Where nothing is applied there is nothing to wait for.
    shop.counting.fails.store(true, Ordering::SeqCst);
    shop.server.submit_ok(&shop.server.operator(), &shop.server.event("{}")).await;
    let began = Instant::now();
    while !matches!(shop.server.reader().apply_state(), ApplyState::Halted { .. }) {
        assert!(began.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(shop.post("/market/purchase", "halted", PURCHASE).await.status, 202);
}

/// An id can be taken by whoever guesses caller and key: then the answer is a conflict, and never another's event.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_another_agent_under_the_commands_id_is_not_taken_for_it() {
    let shop = shop().await;
    let stream = tenant().stream(1);
    let id = hash::command_event(&stream, &buyer(), "checkout.order.created", "new", "guessed");
    let payload = format!(
        r#"{{"actor":"{}","idempotency_key":"guessed","payment_method":"pm_1","quantity":2,"sku":"lamp"}}"#,
        buyer()
    );
    let agent = tenant().agent(1);
    let squatter = agent.event(stream, id).of_type("checkout.order.created").about("order", "new");
    shop.server.accept(squatter.payload(payload.as_bytes()).sign()).await;
    let answer = shop.post("/market/purchase", "guessed", PURCHASE).await;
    assert_eq!((answer.status.as_u16(), code(&answer)), (409, "IDEMPOTENCY_CONFLICT"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_key_does_not_count_signs_nothing() {
    let shop = shop().await;
    let first = shop.post("/market/purchase", "before", PURCHASE).await;
    let server = &shop.server;
    server.accept(server.tenants[0].revoke(&gateway_agent(), server.event_id(), server.clock.0.wall())).await;
    let size = shop.size();
    let answer = shop.post("/market/purchase", "after", PURCHASE).await;
    assert_eq!((answer.status.as_u16(), code(&answer)), (503, "SERVICE_UNAVAILABLE"));
    assert_eq!(shop.size(), size);
    // What was done before stays answered.
    assert_eq!(shop.post("/market/purchase", "before", PURCHASE).await.bytes, first.bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_or_expired_credential_gives_no_command() {
    let shop = shop().await;
    let scope = scope(Some(tenant().id), None, None, &[Role::Agent]);
    let now = shop.server.clock.0.wall();
    let dead = |change: fn(&mut Credential, tally_protocol::time::LogTime)| {
        shop.server.key_with(scope.clone(), Environment::Live, |credential| change(credential, now))
    };
    let size = shop.size();
    for key in [dead(|of, now| of.revoked_at = Some(now)), dead(|of, now| of.expires_at = Some(now))] {
        assert_eq!(shop.call(Method::POST, &key, "/market/purchase", &["k"], b"{}").await.status, 401);
    }
    assert_eq!(shop.size(), size);
}
