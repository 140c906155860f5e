//! What an operator says about dead letters: only an admin who may see the event, and in the door's own words.

use std::sync::{Arc, Mutex};

use reqwest::Method;
use serde_json::json;
use tally_api::api_key::Role;
use tally_gateway::{EffectAction, EffectPort, EffectPortError};
use tally_protocol::id::Index;

use crate::common::{Setup, TestServer, scope};

type Said = (Index, u32, EffectAction);
type Answered = Result<&'static str, EffectPortError>;

/// Says what a test tells it to, and keeps what it heard.
struct Letters {
    heard: Mutex<Vec<Said>>,
    says: Mutex<Answered>,
}

impl EffectPort for Letters {
    fn act(&self, index: Index, number: u32, action: EffectAction) -> Answered {
        self.heard.lock().unwrap().push((index, number, action));
        self.says.lock().unwrap().clone()
    }

    fn metrics(&self) -> String {
        "tally_effects_dead{connector=\"payment\"} 3\n".to_owned()
    }
}

async fn server() -> (TestServer, Arc<Letters>) {
    let letters = Arc::new(Letters { heard: Mutex::default(), says: Mutex::new(Ok("decided")) });
    let mut setup = Setup::new();
    setup.effects = Some(Arc::clone(&letters) as _);
    (setup.start().await, letters)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_admin_who_sees_the_event_speaks_about_its_effects() {
    let (server, letters) = server().await;
    let operator = server.operator();
    let index = server.submit_ok(&operator, &server.event("{}")).await;
    let path = format!("/v1/effects/{index}/2/retry");
    let [mine, other] = &server.tenants;
    let of = |tenant, roles: &[Role]| server.key(scope(Some(tenant), None, None, roles));
    let others = [Role::Agent, Role::Reader, Role::Anchor, Role::Auditor];
    assert_eq!(server.send(Method::POST, &of(mine.id, &others), &path, None).await.status, 403);
    assert_eq!(server.send(Method::POST, &of(other.id, &[Role::Admin]), &path, None).await.error(), "EVENT_NOT_FOUND");
    assert_eq!(server.send(Method::POST, "", &path, None).await.status, 401);
    assert!(letters.heard.lock().unwrap().is_empty());
    for key in [&of(mine.id, &[Role::Admin]), &operator] {
        let answer = server.send(Method::POST, key, &path, None).await;
        assert_eq!(answer.json, json!({ "index": index, "number": 2, "state": "decided" }));
        crate::schema::check_answer("POST", "/v1/effects/{index}/{number}/retry", 200, &answer.json);
    }
    let answer = server.send(Method::POST, &operator, &format!("/v1/effects/{index}/0/fail"), None).await;
    assert_eq!(answer.status, 200);
    let at = Index::new(index);
    let expected = [(at, 2, EffectAction::Retry), (at, 2, EffectAction::Retry), (at, 0, EffectAction::Fail)];
    assert_eq!(*letters.heard.lock().unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_dispatcher_refuses_has_a_code_of_its_own() {
    let (server, letters) = server().await;
    let key = server.operator();
    let index = server.submit_ok(&key, &server.event("{}")).await;
    let unavailable = EffectPortError::Unavailable("no connector of kind mail".to_owned());
    for (says, status, code) in [
        (EffectPortError::NotFound, 404, "RESOURCE_NOT_FOUND"),
        (EffectPortError::NotDead("answered".to_owned()), 409, "EFFECT_NOT_DEAD"),
        (unavailable, 503, "SERVICE_UNAVAILABLE"),
    ] {
        *letters.says.lock().unwrap() = Err(says);
        let answer = server.send(Method::POST, &key, &format!("/v1/effects/{index}/0/fail"), None).await;
        assert_eq!((answer.status.as_u16(), answer.error()), (status, code));
    }
    for bad in ["x/0", "1/x", "1/4294967296", "1/-1", "01/0"] {
        let answer = server.send(Method::POST, &key, &format!("/v1/effects/{bad}/fail"), None).await;
        assert_eq!(answer.error(), "INVALID_FIELD_VALUE", "{bad}");
    }
    let text = String::from_utf8(server.get(&key, "/metrics").await.bytes).unwrap();
    assert!(text.contains("tally_effects_dead{connector=\"payment\"} 3"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dispatches_nothing_says_so() {
    let server = TestServer::new().await;
    let key = server.operator();
    let index = server.submit_ok(&key, &server.event("{}")).await;
    let answer = server.send(Method::POST, &key, &format!("/v1/effects/{index}/0/retry"), None).await;
    assert_eq!((answer.status.as_u16(), answer.error()), (501, "PLUGINS_NOT_ENABLED"));
}
