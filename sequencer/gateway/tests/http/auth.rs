//! Who may do what: roles, anonymous access, tenants, stores and agents, API keys and their life.

use std::time::Duration;

use crate::common::{Setup, TestServer, envelope, ingest, scope};
use reqwest::Method;
use serde_json::json;
use tally_api::api_key::Role;
use tally_gateway::{Credential, Environment, Public, Scope};
use tally_protocol::id::Stream;

/// A path that a route matches, with parameters that are well-formed and in reach of tenant 1.
fn example(server: &TestServer, path: &str) -> String {
    let stream = server.tenants[0].stream(1);
    let agent = server.tenants[0].agent(1).id;
    let filled = path
        .replace("{tenant}", &stream.tenant.to_string())
        .replace("{store}", &stream.store.to_string())
        .replace("{agent}", &agent.to_string())
        .replace("{index}", "1")
        .replace("{number}", "0")
        .replace("{sequence}", "1")
        .replace("{key_id}", "1")
        .replace("{event_id}", &server.event_id().to_string())
        .replace("{batch_id}", "64527dd3-a654-4410-9327-e58a1492ce77")
        .replace("{entity_type}", "Order")
        .replace("{entity_id}", "ORD-1")
        .replace("{file}", "1.tlog-proof")
        .replace("{id}", &"00".repeat(32))
        .replace("{module}", &"00".repeat(32))
        .replace("{plugin}/{*path}", "counter/count/1")
        .replace("/market/{*path}", "/market/sku")
        .replace("{plugin}", "counter")
        .replace("{key}", "00")
        .replace("/log/tile/entries/{*path}", "/log/tile/entries/000.p/1")
        .replace("/log/tile/{*path}", "/log/tile/0/000.p/1")
        .replace("/outcomes/tile/entries/{*path}", "/outcomes/tile/entries/000.p/1")
        .replace("/outcomes/tile/{*path}", "/outcomes/tile/0/000.p/1");
    assert!(!filled.contains('{'), "{filled}");
    filled
}

/// Which roles the seed's table lets through, written down a second time and by hand.
fn allowed(method: &str, path: &str) -> &'static [Role] {
    use Role::{Admin, Agent, Anchor, Auditor, Reader};
    match (method, path) {
        ("GET", "/health" | "/ready") => &Role::ALL,
        ("GET", "/openapi.json" | "/docs") => &Role::ALL,
        ("POST", "/v1/events" | "/api/v1/ves/events/ingest") => &[Agent, Admin],
        ("POST" | "PUT" | "DELETE", "/plugins/{tenant}/{store}/{plugin}/{*path}") => &[Agent, Admin],
        ("POST" | "PUT" | "DELETE", "/market/{*path}" | "/market/checkout/webhook") => &[Agent, Admin],
        ("PUT" | "DELETE", "/v1/streams/{tenant}/{store}/entity-types") => &[Admin],
        ("POST", "/v1/modules" | "/v1/reports") => &[Admin],
        ("POST", "/v1/effects/{index}/{number}/retry" | "/v1/effects/{index}/{number}/fail") => &[Admin],
        ("GET", "/v1/modules/{module}") => &[Agent, Reader, Admin, Auditor],
        ("POST", "/v1/streams/{tenant}/{store}/plugins/{plugin}/query") => &[Agent, Reader, Admin],
        ("GET", "/api/v1/ves/commitments" | "/api/v1/ves/commitments/{batch_id}") => &[Reader, Admin, Anchor],
        ("POST", "/api/v1/ves/commitments") => &[Admin, Anchor],
        ("GET", "/api/v1/ves/proofs/{sequence}") | ("POST", "/api/v1/ves/proofs/verify") => {
            &[Agent, Reader, Admin, Anchor]
        }
        ("GET", "/v1/proofs/inclusion" | "/v1/proofs/consistency" | "/v1/ledger" | "/v1/ladder" | "/v1/anchors") => {
            &Role::ALL
        }
        ("GET", "/log/checkpoint" | "/log/tile/{*path}" | "/outcomes/checkpoint" | "/outcomes/tile/{*path}") => {
            &Role::ALL
        }
        ("GET", "/v1/outcomes/proofs/inclusion" | "/v1/outcomes/proofs/consistency") => &Role::ALL,
        ("GET", "/log/tile/entries/{*path}" | "/outcomes/tile/entries/{*path}" | "/metrics") => &[Admin, Auditor],
        ("POST", "/v1/tenants" | "/v1/api-keys") => &[Admin],
        ("GET", "/v1/api-keys") | ("DELETE", "/v1/api-keys/{id}") => &[Admin],
        ("POST", "/api/v1/agents/keys" | "/api/v1/agents/keys/rotate" | "/api/v1/agents/keys/revoke") => &[Admin],
        ("GET", _) => &[Agent, Reader, Admin],
        other => panic!("a route without a rule in the test: {other:?}"),
    }
}

/// S-072, S-073: every route and every role, against a table written by hand. An operator's credential, so that the
/// role alone decides.
#[tokio::test(flavor = "multi_thread")]
async fn every_route_lets_through_exactly_the_roles_of_the_table() {
    let server = TestServer::new().await;
    let mut checked = 0;
    for (method, path, _) in tally_gateway::route_list() {
        let (url, method) = (example(&server, path), method.parse::<Method>().unwrap());
        for role in Role::ALL {
            let key = server.key(scope(None, None, None, &[role]));
            if path == "/v1/feed" && allowed(method.as_str(), path).contains(&role) {
                // An endless answer: its head is enough.
                let response = server.http.get(server.url(&url)).bearer_auth(&key).send().await.unwrap();
                assert_eq!(response.status(), 200);
                continue;
            }
            let answer = server.send(method.clone(), &key, &url, Some(b"{}".to_vec())).await;
            let is_refused = answer.status == 403;
            assert_eq!(
                !is_refused,
                allowed(method.as_str(), path).contains(&role),
                "{method} {path} {role:?} {answer:?}"
            );
            if is_refused {
                assert_eq!(answer.json["error"]["code"], "INSUFFICIENT_PERMISSIONS");
            }
            checked += 1;
        }
    }
    assert!(checked > 150, "{checked}");
}

/// S-072: what is not in the table is not served, with whatever credential.
#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_is_not_in_the_table_does_not_exist() {
    let server = TestServer::new().await;
    let key = server.operator();
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v1/admin",
        "/api/v1/ves/anchor",
        "/api/v1/events/ingest",
        "/debug",
        "/log/",
        "/log/tile/",
    ] {
        for key in ["", &key] {
            let answer = server.get(key, path).await;
            assert_eq!((answer.status.as_u16(), answer.error()), (404, "RESOURCE_NOT_FOUND"), "{path}");
        }
    }
    let answer = server.send(Method::PUT, &key, "/v1/events", None).await;
    assert_eq!((answer.status.as_u16(), answer.error()), (405, "METHOD_NOT_ALLOWED"));
    assert_eq!(server.send(Method::DELETE, &key, "/health", None).await.status, 405);
}

async fn anonymous_statuses(server: &TestServer) -> Vec<(&'static str, &'static str, u16)> {
    let mut out = Vec::new();
    for (method, path, _) in tally_gateway::route_list() {
        let url = example(server, path);
        let answer = server.send(method.parse().unwrap(), "", &url, Some(b"{}".to_vec())).await;
        out.push((method, path, answer.status.as_u16()));
    }
    out
}

/// S-080: without a credential exactly the health and readiness paths answer, and the public log where it is switched
/// on; tricks with paths reach nothing.
#[tokio::test(flavor = "multi_thread")]
async fn anonymous_access_exists_on_exact_paths_only() {
    let server = TestServer::new().await;
    for (method, path, status) in anonymous_statuses(&server).await {
        let is_open = matches!(path, "/health" | "/ready");
        assert_eq!(status == 401, !is_open, "{method} {path} {status}");
    }
    for trick in [
        "/healthx",
        "/health/",
        "/health/..",
        "/health/../v1/ledger",
        "/health/../v1/events/1",
        "//health",
        "/Health",
        "/health%2f..%2fv1%2fledger",
        "/%68ealth",
        "/health;/v1/ledger",
        "/ready/../metrics",
        "/./health",
        "/health%00",
        "/v1/ledger/../../health",
        "/healthz",
        "/readyz",
        "/health//",
        "/api/../health",
        "/health\\..\\v1\\ledger",
    ] {
        let text = server.raw(format!("GET {trick} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n").as_bytes()).await;
        let status = text.split(' ').nth(1).unwrap_or_default();
        assert!(["404", "401", "400"].contains(&status), "{trick}: {text}");
        assert!(!text.contains("ledger_id"), "{trick}");
    }
    // Absolute-form and a query name the same exact path.
    let text = server.raw(b"GET http://t/health?x=1 HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 400"), "an unknown parameter is an error even there: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_log_is_checkpoints_tiles_and_proofs_and_each_switch_opens_its_own() {
    let log = [
        "/v1/proofs/inclusion",
        "/v1/proofs/consistency",
        "/v1/ledger",
        "/v1/ladder",
        "/v1/anchors",
        "/log/checkpoint",
        "/log/tile/{*path}",
        "/v1/outcomes/proofs/inclusion",
        "/v1/outcomes/proofs/consistency",
        "/outcomes/checkpoint",
        "/outcomes/tile/{*path}",
    ];
    let entries = ["/log/tile/entries/{*path}", "/outcomes/tile/entries/{*path}"];
    let cases: [(Public, &[&str]); 4] = [
        (Public { log: true, ..Public::NONE }, &log),
        (Public { entries: true, ..Public::NONE }, &entries),
        (Public { metrics: true, ..Public::NONE }, &["/metrics"]),
        (Public { docs: true, ..Public::NONE }, &["/openapi.json", "/docs"]),
    ];
    for (public, open) in cases {
        let mut setup = Setup::new();
        setup.config.public = public;
        let server = setup.start().await;
        server.published().await;
        for (method, path, status) in anonymous_statuses(&server).await {
            let is_open = open.contains(&path) || matches!(path, "/health" | "/ready");
            assert_eq!(status != 401, is_open, "{public:?} {method} {path} {status}");
        }
        // A wrong credential is wrong even where none is needed.
        if public.log {
            assert_eq!(server.get("sk_live_nonsense", "/v1/ledger").await.status, 401);
            assert_eq!(server.get("", "/v1/proofs/inclusion?index=1").await.json.get("leaf_hash"), None);
        }
    }
}

/// S-009: a credential reaches its tenant, its stores, its agent; everything else is 403 on every route that names it,
/// whether it exists or not.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_reaches_another_tenant_store_or_agent() {
    let server = TestServer::new().await;
    let [mine, other] = &server.tenants;
    let (store, foreign_store) = (mine.stream(1).store, mine.stream(2).store);
    let all = [Role::Agent, Role::Reader, Role::Admin, Role::Anchor];
    let key = server.key(scope(Some(mine.id), Some(vec![store]), Some(mine.agent(1).id), &all));
    // What there is on the other side, so that "exists" and "does not exist" can be told apart if anything leaks.
    let theirs = server.event_of(other, 1, 1, "{\"n\":1}");
    server.submit_ok(&server.operator(), &theirs).await;
    let unknown = tally_testkit::tenant_id(77);
    let strange = [
        other.stream(1),
        other.stream(9),
        Stream::new(unknown, store),
        Stream::new(mine.id, foreign_store),
        Stream::control(mine.id),
        Stream::control(other.id),
        Stream::LEDGER,
    ];
    for stream in strange {
        let (tenant, store) = (stream.tenant, stream.store);
        let native = format!("/v1/streams/{tenant}/{store}");
        let query = format!("tenant_id={tenant}&store_id={store}");
        let paths = [
            format!("{native}/events"),
            format!("{native}/events/1"),
            format!("{native}/by-id/{}", theirs.event_id()),
            format!("{native}/entities/Order/ORD-1"),
            format!("{native}/head"),
            format!("/v1/feed?tenant={tenant}&store={store}"),
            format!("/api/v1/ves/events?{query}"),
            format!("/api/v1/ves/head?{query}"),
            format!("/api/v1/head?{query}"),
            format!("/api/v1/ves/entities/Order/ORD-1?{query}"),
            format!("/api/v1/ves/commitments?{query}"),
            format!("/api/v1/ves/proofs/1?{query}"),
        ];
        for path in paths {
            let answer = server.get(&key, &path).await;
            assert_eq!((answer.status.as_u16(), answer.error()), (403, "OUT_OF_SCOPE"), "{path}");
        }
        let commit = json!({"tenant_id": tenant.to_string(), "store_id": store.to_string()});
        assert_eq!(server.post(&key, "/api/v1/ves/commitments", &commit).await.status, 403);
    }
    for agent in [other.agent(1).id, tally_testkit::agent_id(99)] {
        for tenant in [other.id, unknown] {
            let answer = server.get(&key, &format!("/v1/keys/{tenant}/{agent}")).await;
            assert_eq!(answer.status, 403);
            let answer = server.get(&key, &format!("/api/v1/agents/keys?tenant_id={tenant}&agent_id={agent}")).await;
            assert_eq!(answer.status, 403);
        }
    }
    // Writing, on both surfaces: another tenant, store, agent; also as one event among good ones, and nothing is taken.
    let good = server.event("{\"n\":1}");
    let bad = [
        server.event_of(other, 1, 1, "{}"),
        server.event_of(mine, 2, 1, "{}"),
        server.event_of(mine, 1, 2, "{}"),
        mine.register(&mine.agent(5), server.event_id(), crate::common::START),
    ];
    let before = server.get(&key, "/v1/ladder").await.json["ordered"].clone();
    for frame in bad {
        for batch in [vec![frame.clone()], vec![good.clone(), frame.clone()], vec![frame.clone(), good.clone()]] {
            let answer = server.submit(&key, &batch).await;
            assert_eq!((answer.status.as_u16(), answer.error()), (403, "OUT_OF_SCOPE"), "{frame:?}");
            let events: Vec<_> = batch.iter().map(envelope).collect();
            let native = server.post(&key, "/v1/events", &json!({ "events": events })).await;
            assert_eq!(native.status, 403);
            let ves = server.post(&key, "/api/v1/ves/events/ingest", &ingest(mine.agent(1).id, &events)).await;
            assert_eq!(ves.status, 403);
        }
    }
    let answer = server.post(&key, "/api/v1/ves/events/ingest", &ingest(mine.agent(2).id, &[envelope(&good)])).await;
    assert_eq!(answer.status, 403);
    assert_eq!(server.get(&key, "/v1/ladder").await.json["ordered"], before);
    server.submit_ok(&key, &good).await;
}

/// S-009: a position of the log answers the same whether it holds another tenant's event or none that counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_position_of_another_tenant_looks_like_no_event() {
    let server = TestServer::new().await;
    let [mine, other] = &server.tenants;
    let theirs = server.submit_ok(&server.operator(), &server.event_of(other, 1, 1, "{}")).await;
    let stores = server.submit_ok(&server.operator(), &server.event_of(mine, 2, 1, "{}")).await;
    let key = server.key(scope(Some(mine.id), Some(vec![mine.stream(1).store]), None, &[Role::Reader]));
    for index in [theirs, stores, 1] {
        for path in ["events", "receipts", "bundle"] {
            let answer = server.get(&key, &format!("/v1/{path}/{index}")).await;
            assert_eq!((answer.status.as_u16(), answer.error()), (404, "EVENT_NOT_FOUND"), "{path} {index}");
        }
        assert_eq!(server.get(&key, &format!("/v1/proof/{index}.tlog-proof")).await.error(), "EVENT_NOT_FOUND");
        let proof = server.get(&key, &format!("/v1/proofs/inclusion?index={index}")).await;
        assert_eq!((proof.status.as_u16(), proof.json.get("leaf_hash")), (200, None));
    }
    let commit = json!({"tenant_id": other.id.to_string(), "store_id": other.stream(1).store.to_string()});
    let theirs = server.post(&server.operator(), "/api/v1/ves/commitments", &commit).await;
    let id = theirs.json["batch_id"].as_str().unwrap();
    for id in [id, "64527dd3-a654-4410-9327-e58a1492ce77"] {
        let answer = server.get(&key, &format!("/api/v1/ves/commitments/{id}")).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (404, "BATCH_NOT_FOUND"));
    }
    let stream = mine.stream(1);
    let path = format!("/api/v1/ves/proofs/1?tenant_id={}&store_id={}&batch_id={id}", stream.tenant, stream.store);
    assert_eq!(server.get(&key, &path).await.error(), "BATCH_NOT_FOUND");
}

/// S-065: the key is shown once, kept as a keyed hash, listed by its prefix, expires, and is dead once revoked.
#[tokio::test(flavor = "multi_thread")]
async fn an_api_key_is_shown_once_kept_hashed_and_dies_when_revoked_or_expired() {
    let server = TestServer::new().await;
    let admin = server.tenant_key(&[Role::Admin]);
    let tenant = server.tenants[0].id.to_string();
    let expires = "2026-01-02T00:00:00Z";
    let request = json!({"tenant_id": tenant, "roles": ["reader"], "label": "reports", "expires_at": expires});
    let created = server.post(&admin, "/v1/api-keys", &request).await;
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(created.headers["cache-control"], "no-store");
    let key = created.json["api_key"].as_str().unwrap().to_owned();
    assert!(key.starts_with("sk_live_") && key.len() == 51);
    let id = created.json["info"]["id"].as_str().unwrap().to_owned();
    assert_eq!(server.get(&key, "/v1/ledger").await.status, 200);
    // Nothing that is kept or listed holds the key.
    let secret = &key[16..];
    let listed = server.get(&admin, "/v1/api-keys").await;
    assert!(!listed.text().contains(secret));
    let entry = listed.json["keys"].as_array().unwrap().iter().find(|entry| entry["id"] == *id).unwrap().clone();
    assert_eq!(entry["prefix"], key[..16]);
    assert_eq!((&entry["label"], &entry["roles"]), (&json!("reports"), &json!(["reader"])));
    for credential in tally_gateway::CredentialStore::list(server.credentials.as_ref()).unwrap() {
        let bytes = credential.encode().unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains(secret));
        assert_eq!(Credential::decode(&bytes).unwrap(), credential);
    }
    // Expiry is exact.
    server.clock.0.advance(Duration::from_secs(86_400) - Duration::from_micros(1));
    assert_eq!(server.get(&key, "/v1/ledger").await.status, 200);
    server.clock.0.advance(Duration::from_micros(1));
    let answer = server.get(&key, "/v1/ledger").await;
    assert_eq!((answer.status.as_u16(), answer.error()), (401, "TOKEN_EXPIRED"));
    // Revocation counts from its answer on, and again changes nothing.
    let request = json!({"tenant_id": tenant, "roles": ["reader"]});
    let created = server.post(&admin, "/v1/api-keys", &request).await;
    let key = created.json["api_key"].as_str().unwrap().to_owned();
    let path = format!("/v1/api-keys/{}", created.json["info"]["id"].as_str().unwrap());
    let revoked = server.send(Method::DELETE, &admin, &path, None).await;
    assert_eq!(revoked.status, 200);
    let answer = server.get(&key, "/v1/ledger").await;
    assert_eq!((answer.status.as_u16(), answer.error()), (401, "API_KEY_REVOKED"));
    server.clock.0.advance(Duration::from_secs(5));
    let again = server.send(Method::DELETE, &admin, &path, None).await;
    assert_eq!(again.json["revoked_at"], revoked.json["revoked_at"]);
    assert!(answer.headers.contains_key("www-authenticate"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_creates_lists_or_revokes_keys_beyond_their_own_reach() {
    let server = TestServer::new().await;
    let [mine, other] = &server.tenants;
    let admin = server.tenant_key(&[Role::Admin]);
    let mut store_admin_scope = scope(Some(mine.id), Some(vec![mine.stream(1).store]), None, &[Role::Admin]);
    let store_admin = server.key(store_admin_scope.clone());
    store_admin_scope.agent = Some(mine.agent(1).id);
    let agent_admin = server.key(store_admin_scope);
    let wider = [
        (&admin, json!({"roles": ["reader"]})),
        (&admin, json!({"tenant_id": null, "roles": ["admin"]})),
        (&admin, json!({"tenant_id": other.id.to_string(), "roles": ["reader"]})),
        (&store_admin, json!({"tenant_id": mine.id.to_string(), "roles": ["reader"]})),
        (
            &store_admin,
            json!({"tenant_id": mine.id.to_string(), "store_ids": [mine.stream(2).store.to_string()], "roles": ["reader"]}),
        ),
        (
            &agent_admin,
            json!({"tenant_id": mine.id.to_string(), "store_ids": [mine.stream(1).store.to_string()], "roles": ["agent"]}),
        ),
    ];
    for (key, request) in wider {
        let answer = server.post(key, "/v1/api-keys", &request).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (403, "OUT_OF_SCOPE"), "{request}");
    }
    for (request, code) in [
        (json!({"tenant_id": mine.id.to_string(), "roles": []}), "INVALID_FIELD_VALUE"),
        (json!({"tenant_id": mine.id.to_string(), "roles": ["root"]}), "MISSING_REQUIRED_FIELD"),
        (json!({"tenant_id": mine.id.to_string(), "roles": ["agent"], "x": 1}), "UNKNOWN_FIELD"),
        (json!({"tenant_id": mine.id.to_string(), "roles": ["agent"], "store_ids": []}), "INVALID_FIELD_VALUE"),
        (
            json!({"tenant_id": mine.id.to_string(), "roles": ["agent"], "label": "x".repeat(129)}),
            "INVALID_FIELD_VALUE",
        ),
        (
            json!({"tenant_id": mine.id.to_string(), "roles": ["agent"], "expires_at": "2026-01-01T00:00:00Z"}),
            "INVALID_FIELD_VALUE",
        ),
    ] {
        assert_eq!(server.post(&admin, "/v1/api-keys", &request).await.error(), code, "{request}");
    }
    let theirs = server
        .post(&server.operator(), "/v1/api-keys", &json!({"tenant_id": other.id.to_string(), "roles": ["reader"]}))
        .await;
    let id = theirs.json["info"]["id"].as_str().unwrap();
    assert!(!server.get(&admin, "/v1/api-keys").await.text().contains(id));
    for id in [id, &"00".repeat(32), "x", "..%2f"] {
        let answer = server.send(Method::DELETE, &admin, &format!("/v1/api-keys/{id}"), None).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (404, "RESOURCE_NOT_FOUND"), "{id}");
    }
    assert_eq!(server.get(theirs.json["api_key"].as_str().unwrap(), "/v1/ledger").await.status, 200);
}

/// S-066.
#[tokio::test(flavor = "multi_thread")]
async fn test_keys_and_live_keys_are_not_interchangeable() {
    for environment in [Environment::Live, Environment::Test] {
        let mut setup = Setup::new();
        setup.config.environment = environment;
        let server = setup.start().await;
        for made_for in [Environment::Live, Environment::Test] {
            let key = server.key_with(Scope::operator(), made_for, |_| {});
            let answer = server.get(&key, "/v1/ledger").await;
            assert_eq!(answer.status == 200, made_for == environment);
            if made_for != environment {
                assert_eq!((answer.status.as_u16(), answer.error()), (401, "WRONG_ENVIRONMENT"));
            }
            // Nor does changing the prefix make one of the other.
            let swapped = if key.starts_with("sk_live_") {
                key.replace("sk_live_", "sk_test_")
            } else {
                key.replace("sk_test_", "sk_live_")
            };
            assert_eq!(server.get(&swapped, "/v1/ledger").await.status, 401);
        }
        let created = server.post(&server.operator(), "/v1/api-keys", &json!({"roles": ["reader"]})).await;
        let prefix = if environment == Environment::Live { "sk_live_" } else { "sk_test_" };
        assert!(created.json["api_key"].as_str().unwrap().starts_with(prefix));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_or_unknown_credential_is_refused() {
    let server = TestServer::new().await;
    let key = server.operator();
    let unknown = tally_gateway::ApiKey::generate(Environment::Live).unwrap().reveal();
    let headers = [
        String::new(),
        "Bearer".into(),
        "Bearer ".into(),
        format!("Bearer  {key}"),
        format!("Basic {key}"),
        key.clone(),
        format!("Bearer {key}x"),
        format!("Bearer {}", &key[..50]),
        format!("Bearer {unknown}"),
        format!("Bearer {key} {key}"),
        "Bearer eyJhbGciOiJub25lIn0.e30.".into(),
        format!("Bearer {}", key.to_uppercase()),
    ];
    for header in headers {
        let request = server.http.get(server.url("/v1/ledger")).header("authorization", &header);
        let answer = crate::common::Answer::read(request.send().await.unwrap()).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (401, "INVALID_API_KEY"), "{header}");
        assert!(!answer.text().contains(&key[16..]));
    }
    let twice = server.http.get(server.url("/v1/ledger")).bearer_auth(&key).bearer_auth(&key);
    assert_eq!(twice.send().await.unwrap().status(), 401);
    let request = server.http.get(server.url("/v1/ledger")).header("authorization", format!("bEARER {key}"));
    assert_eq!(request.send().await.unwrap().status(), 200, "the scheme's case does not matter");
    assert_eq!(server.get("", "/v1/ledger").await.error(), "AUTH_REQUIRED");
}
