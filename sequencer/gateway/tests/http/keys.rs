//! Tenants and agents' keys over REST: registered, rotated, revoked by events that the node signs through its seam.

use std::time::Duration;

use crate::common::{Setup, TestServer, scope};
use serde_json::json;
use tally_api::api_key::Role;
use tally_protocol::id::TenantId;
use tally_testkit::TestAgent;
use tally_testkit::{agent_id, signing_key, tenant_id};

const KEYS: &str = "/api/v1/agents/keys";

fn first_code(answer: &crate::common::Answer) -> Option<&str> {
    answer.json["results"][0]["reject"]["code"].as_str()
}

fn new_agent(server: &TestServer, number: u64) -> TestAgent {
    server.tenants[0].agent(number)
}

fn registration(tenant: TenantId, agent: &TestAgent) -> serde_json::Value {
    json!({
        "tenantId": tenant.to_string(), "agentId": agent.id.to_string(), "keyId": agent.key_id.get(),
        "publicKey": agent.public_key().to_hex(),
    })
}

/// S-016, S-017, S-020, S-021 over REST.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_registered_rotated_and_revoked_and_each_change_counts_at_once() {
    let server = TestServer::new().await;
    let (admin, writer) = (server.tenant_key(&[Role::Admin]), server.tenant_key(&[Role::Agent]));
    let tenant = server.tenants[0].id;
    let agent = new_agent(&server, 7);
    let event = |agent: &TestAgent| {
        agent.event(server.tenants[0].stream(1), server.event_id()).created_at(server.clock.0.wall()).sign()
    };
    assert_eq!(first_code(&server.submit(&writer, &[event(&agent)]).await), Some("agent_key_invalid"));
    let answer = server.post(&admin, KEYS, &registration(tenant, &agent)).await;
    assert_eq!((answer.status.as_u16(), &answer.json["success"]), (200, &json!(true)), "{answer:?}");
    server.submit_ok(&writer, &event(&agent)).await;
    // The change is an event of the log like any other.
    let index = answer.json["logIndex"].as_u64().unwrap();
    let control = server.get(&admin, &format!("/v1/events/{index}")).await;
    assert_eq!(control.json["event"]["event_type"], "tally.agent_key.registered");
    // Rotation with an overlap of an hour.
    let next = agent.successor();
    let end = server.clock.0.wall().saturating_add(Duration::from_secs(3600));
    let rotation = json!({
        "tenantId": tenant.to_string(), "agentId": agent.id.to_string(),
        "publicKey": format!("0x{}", next.public_key().to_hex()), "previousValidTo": end.to_rfc3339(),
    });
    let answer = server.post(&admin, &format!("{KEYS}/rotate"), &rotation).await;
    assert_eq!(answer.json["keyId"], 2, "{answer:?}");
    server.submit_ok(&writer, &event(&agent)).await;
    server.submit_ok(&writer, &event(&next)).await;
    server.clock.0.advance(Duration::from_secs(3600));
    assert_eq!(first_code(&server.submit(&writer, &[event(&agent)]).await), Some("agent_key_invalid"));
    server.submit_ok(&writer, &event(&next)).await;
    // Revocation, and again.
    let revocation = json!({
        "tenantId": tenant.to_string(), "agentId": agent.id.to_string(), "keyId": 2, "reason": "suspected_compromise",
    });
    let answer = server.post(&admin, &format!("{KEYS}/revoke"), &revocation).await;
    assert!(answer.json["logIndex"].is_u64(), "{answer:?}");
    assert_eq!(first_code(&server.submit(&writer, &[event(&next)]).await), Some("agent_key_invalid"));
    let again = server.post(&admin, &format!("{KEYS}/revoke"), &revocation).await;
    assert_eq!((again.status.as_u16(), &again.json["logIndex"]), (200, &json!(null)));
    // The whole history stays, on both surfaces.
    let path = format!("{KEYS}?tenant_id={tenant}&agent_id={}", agent.id);
    let list = server.get(&writer, &path).await;
    let statuses: Vec<_> = list.json["keys"].as_array().unwrap().iter().map(|key| key["status"].clone()).collect();
    assert_eq!(statuses, ["expired", "revoked"]);
    assert_eq!(server.get(&writer, &format!("/v1/keys/{tenant}/{}", agent.id)).await.json, list.json);
    let one = server.get(&writer, &format!("/v1/keys/{tenant}/{}/2", agent.id)).await;
    assert_eq!(one.json, list.json["keys"][1]);
    assert_eq!(server.get(&writer, &format!("/v1/keys/{tenant}/{}/3", agent.id)).await.error(), "AGENT_KEY_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_breaks_a_rule_is_refused_in_words() {
    let server = TestServer::new().await;
    let admin = server.tenant_key(&[Role::Admin]);
    let tenant = server.tenants[0].id;
    let agent = new_agent(&server, 7);
    let with = |name: &str, value: serde_json::Value| {
        let mut body = registration(tenant, &agent);
        body[name] = value;
        body
    };
    let small_order = format!("01{}", "00".repeat(31));
    for (body, code) in [
        (with("publicKey", json!("00")), "INVALID_PUBLIC_KEY"),
        (with("publicKey", json!(small_order)), "INVALID_PUBLIC_KEY"),
        (with("publicKey", json!("ff".repeat(32))), "INVALID_PUBLIC_KEY"),
        (with("keyId", json!(3)), "CONTROL_REFUSED"),
        (with("keyId", json!(-1)), "MISSING_REQUIRED_FIELD"),
        (with("keyAlgorithm", json!(3)), "INVALID_FIELD_VALUE"),
        (with("validFrom", json!("soon")), "INVALID_FIELD_VALUE"),
        (with("agentId", json!("7")), "MISSING_REQUIRED_FIELD"),
        (with("agentId", json!(server.tenants[0].agent(1).id.to_string())), "ALREADY_EXISTS"),
    ] {
        let answer = server.post(&admin, KEYS, &body).await;
        assert_eq!(answer.error(), code, "{body}");
    }
    let revoke = |key_id: u32, reason: &str| {
        let body = json!({
            "tenantId": tenant.to_string(), "agentId": agent_id(1).to_string(), "keyId": key_id, "reason": reason,
        });
        let (server, admin) = (&server, &admin);
        async move { server.post(admin, &format!("{KEYS}/revoke"), &body).await }
    };
    assert_eq!(revoke(9, "x").await.error(), "AGENT_KEY_NOT_FOUND");
    assert_eq!(revoke(1, "").await.error(), "INVALID_FIELD_VALUE");
    assert_eq!(revoke(1, &"x".repeat(513)).await.error(), "INVALID_FIELD_VALUE");
    // Registering the same key twice at once gives one registration.
    let body = registration(tenant, &agent);
    let (a, b) = tokio::join!(server.post(&admin, KEYS, &body), server.post(&admin, KEYS, &body));
    let mut statuses = [a.status.as_u16(), b.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_creates_a_tenant_and_its_root_agent_rules_it() {
    let server = TestServer::new().await;
    let operator = server.operator();
    let tenant = tally_testkit::TestTenant::new(9);
    let body = json!({
        "tenant_id": tenant.id.to_string(), "root_agent_id": tenant.root.id.to_string(),
        "root_public_key": tenant.root.public_key().to_hex(),
    });
    assert_eq!(server.post(&server.tenant_key(&[Role::Admin]), "/v1/tenants", &body).await.status, 403);
    let created = server.post(&operator, "/v1/tenants", &body).await;
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(server.post(&operator, "/v1/tenants", &body).await.error(), "ALREADY_EXISTS");
    // The tenant manages itself: the node cannot sign for it, its root agent posts signed events instead.
    let agent = tenant.agent(1);
    let refused = server.post(&operator, KEYS, &registration(tenant.id, &agent)).await;
    assert_eq!(refused.error(), "CONTROL_REFUSED");
    let key = server.key(scope(Some(tenant.id), None, None, &[Role::Agent]));
    server.submit_ok(&key, &tenant.register(&agent, server.event_id(), crate::common::START)).await;
    server
        .submit_ok(&key, &agent.event(tenant.stream(1), server.event_id()).created_at(crate::common::START).sign())
        .await;
    for bad in [
        json!({"tenant_id": tenant_id(0).to_string(), "root_agent_id": agent_id(1).to_string()}),
        json!({"tenant_id": TenantId::NIL.to_string(), "root_agent_id": agent_id(1).to_string(), "root_public_key": signing_key("x").public_key().to_hex()}),
        json!({"tenant_id": tenant_id(10).to_string(), "root_agent_id": agent_id(1).to_string(), "root_public_key": "00".repeat(32)}),
    ] {
        assert!(server.post(&operator, "/v1/tenants", &bad).await.status.is_client_error(), "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_root_keys_says_so() {
    let mut setup = Setup::new();
    setup.control = false;
    let server = setup.start().await;
    let answer =
        server.post(&server.operator(), KEYS, &registration(server.tenants[0].id, &new_agent(&server, 7))).await;
    assert_eq!((answer.status.as_u16(), answer.error()), (501, "NO_CONTROL_SIGNER"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_administrator_manages_no_other_agents_keys() {
    let server = TestServer::new().await;
    let tenant = &server.tenants[0];
    let bound = server.key(scope(Some(tenant.id), None, Some(tenant.agent(1).id), &[Role::Admin]));
    let answer = server.post(&bound, KEYS, &registration(tenant.id, &new_agent(&server, 7))).await;
    assert_eq!((answer.status.as_u16(), answer.error()), (403, "OUT_OF_SCOPE"));
    let stores = server.key(scope(Some(tenant.id), Some(vec![tenant.stream(1).store]), None, &[Role::Admin]));
    let answer = server.post(&stores, KEYS, &registration(tenant.id, &new_agent(&server, 7))).await;
    assert_eq!(answer.status, 403, "a key bound to stores does not reach the control stream");
}
