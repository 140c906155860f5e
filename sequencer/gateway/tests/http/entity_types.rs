//! The entity types that a store takes, over REST: set, shown and lifted by events that the node signs through its seam.

use crate::common::{Answer, Setup, TestServer, envelope, ingest, scope};
use reqwest::Method;
use serde_json::{Value, json};
use tally_api::api_key::Role;
use tally_protocol::frame::Frame;
use tally_protocol::id::{StoreId, Stream};

fn path(stream: Stream) -> String {
    format!("/v1/streams/{}/{}/entity-types", stream.tenant, stream.store)
}

async fn put(server: &TestServer, key: &str, stream: Stream, body: &Value) -> Answer {
    server.send(Method::PUT, key, &path(stream), Some(body.to_string().into_bytes())).await
}

async fn lift(server: &TestServer, key: &str, stream: Stream) -> Answer {
    server.send(Method::DELETE, key, &path(stream), None).await
}

fn list(types: &[&str]) -> Value {
    json!({ "entity_types": types })
}

fn about(server: &TestServer, entity_type: &str) -> Frame {
    let (tenant, agent) = (&server.tenants[0], server.tenants[0].agent(1));
    let event = agent.event(tenant.stream(1), server.event_id()).created_at(server.clock.0.wall());
    event.about(entity_type, "1").sign()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_in_force_when_it_is_answered_and_its_refusals_have_their_word_on_every_surface() {
    let server = TestServer::new().await;
    let (admin, writer) = (server.tenant_key(&[Role::Admin]), server.tenant_key(&[Role::Agent]));
    let store = server.tenants[0].stream(1);
    let shown = server.get(&writer, &path(store)).await;
    assert_eq!(
        (&shown.json["entity_types"], &shown.json["set_index"], &shown.json["plugins"]),
        (&json!(null), &json!(null), &json!([]))
    );
    server.submit_ok(&writer, &about(&server, "Parcel")).await;
    let set = put(&server, &admin, store, &list(&["Order", "Item", "Order"])).await;
    assert_eq!((set.status.as_u16(), &set.json["entity_types"]), (200, &json!(["Item", "Order"])), "{set:?}");
    let refused = server.submit(&writer, &[about(&server, "Parcel"), about(&server, "Order")]).await;
    assert_eq!(refused.json["results"][0]["reject"]["code"], "entity_type_unknown");
    assert_eq!(refused.json["results"][0]["reject"]["field"], "entity_type");
    assert_eq!(refused.json["results"][1]["status"], "accepted");
    let request = ingest(server.tenants[0].agent(1).id, &[envelope(&about(&server, "Parcel"))]);
    let ves = server.post(&writer, "/api/v1/ves/events/ingest", &request).await;
    let rejection = &ves.json["rejections"][0]["reason"];
    assert_eq!((&ves.json["eventsRejected"], rejection), (&json!(1), &json!("entity_type_unknown")));
    // The change is an event of the log like any other.
    let index = set.json["log_index"].as_u64().unwrap();
    let control = server.get(&admin, &format!("/v1/events/{index}")).await;
    assert_eq!(control.json["event"]["event_type"], "tally.entity_types.set");
    let shown = server.get(&writer, &path(store)).await;
    assert_eq!((&shown.json["entity_types"], &shown.json["set_index"]), (&json!(["Item", "Order"]), &json!(index)));
    for _ in 0..2 {
        let lifted = lift(&server, &admin, store).await;
        assert_eq!((lifted.status.as_u16(), &lifted.json["entity_types"]), (200, &json!(null)), "{lifted:?}");
    }
    server.submit_ok(&writer, &about(&server, "Parcel")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_changed_by_who_administers_the_tenant_and_within_its_bounds() {
    let server = TestServer::new().await;
    let [mine, other] = &server.tenants;
    let (store, admin) = (mine.stream(1), server.tenant_key(&[Role::Admin]));
    let of_stores = scope(Some(mine.id), Some(vec![store.store]), None, &[Role::Admin]);
    let of_an_agent = scope(Some(mine.id), None, Some(mine.agent(1).id), &[Role::Admin]);
    for strange in [server.key(of_stores), server.key(of_an_agent)] {
        assert_eq!(put(&server, &strange, store, &list(&[])).await.error(), "OUT_OF_SCOPE");
        assert_eq!(lift(&server, &strange, store).await.error(), "OUT_OF_SCOPE");
    }
    assert_eq!(put(&server, &admin, other.stream(1), &list(&[])).await.error(), "OUT_OF_SCOPE");
    assert_eq!(server.get(&admin, &path(other.stream(1))).await.error(), "OUT_OF_SCOPE");
    let many: Vec<String> = (0..1025).map(|n| format!("{n:04}")).collect();
    for (body, code) in [
        (list(&[""]), "INVALID_FIELD_VALUE"),
        (list(&[&"x".repeat(129)]), "INVALID_FIELD_VALUE"),
        (list(&["a\0"]), "INVALID_FIELD_VALUE"),
        (json!({ "entity_types": many }), "INVALID_FIELD_VALUE"),
        (json!({ "entity_types": null }), "MISSING_REQUIRED_FIELD"),
        (json!({}), "MISSING_REQUIRED_FIELD"),
        (json!({ "entity_types": [], "more": 1 }), "UNKNOWN_FIELD"),
    ] {
        assert_eq!(put(&server, &admin, store, &body).await.error(), code, "{body}");
    }
    let control = Stream::new(mine.id, StoreId::NIL);
    assert_eq!(put(&server, &admin, control, &list(&[])).await.error(), "INVALID_FIELD_VALUE");
    assert_eq!(server.get(&admin, &path(store)).await.json["entity_types"], json!(null), "nothing of it counted");
    let whole: Vec<String> = (0..1024).map(|n| format!("{}{n:04}", "\u{1}".repeat(124))).collect();
    let answer = put(&server, &admin, store, &json!({ "entity_types": whole })).await;
    assert_eq!((answer.status.as_u16(), answer.json["entity_types"].as_array().map(Vec::len)), (200, Some(1024)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_root_keys_changes_no_list_and_a_tenant_with_its_own_root_posts_the_event() {
    let mut setup = Setup::new();
    setup.control = false;
    let server = setup.start().await;
    let admin = server.tenant_key(&[Role::Admin]);
    let store = server.tenants[0].stream(1);
    assert_eq!(put(&server, &admin, store, &list(&[])).await.error(), "NO_CONTROL_SIGNER");
    let event = tally_protocol::control::ControlEvent::EntityTypesSet {
        store_id: store.store,
        entity_types: ["Order".to_owned()].into(),
    };
    let frame = server.tenants[0].control(&event, server.event_id(), server.clock.0.wall());
    server.submit_ok(&admin, &frame).await;
    assert_eq!(server.get(&admin, &path(store)).await.json["entity_types"], json!(["Order"]));
}
