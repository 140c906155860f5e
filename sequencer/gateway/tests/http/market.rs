//! `/market`: who is asked what and by whom, what is answered, and the document.

use std::sync::Arc;

use crate::common::follower::{Counting, counter};
use crate::common::{Answer, Setup, TestServer, scope};
use crate::plugins::base;
use crate::port::{TestPort, plugin, route};
use reqwest::Method;
use serde_json::{Value, json};
use tally_api::api_key::Role;
use tally_gateway::plugins::PluginPort;
use tally_gateway::{AgentSigner, Market, MarketRoles, PluginPortError, WebhookPort};
use tally_protocol::hash::ModuleHash;
use tally_protocol::id::PluginId;
use tally_testkit::{TestAgent, TestTenant};

/// A marketplace whose one plugin accepts everything but what asks to be refused, and leaves `{"n":INDEX}` as a result.
pub(crate) struct Shop {
    pub(crate) server: TestServer,
    pub(crate) counting: Arc<Counting>,
    pub(crate) port: Arc<TestPort>,
    /// Bound to agent 1.
    pub(crate) buyer: String,
}

pub(crate) fn tenant() -> TestTenant {
    TestTenant::operator_managed(1)
}

fn signer(agent: &TestAgent) -> AgentSigner {
    AgentSigner { agent: agent.id, key: agent.key.clone() }
}

/// The gateway's own agent is agent 2, the connector's agent 3.
pub(crate) fn gateway_agent() -> TestAgent {
    tenant().agent(2)
}

pub(crate) fn market(webhook: Option<Arc<dyn WebhookPort>>) -> Market {
    Market {
        stream: tenant().stream(1),
        plugins: vec![PluginId::new("absent").unwrap(), counter()],
        signer: signer(&gateway_agent()),
        public: ["skus", "sku"].map(str::to_owned).into(),
        roles: MarketRoles { finance: [format!("agent:{}", tenant().agent(1).id)].into(), ..MarketRoles::default() },
        webhook,
    }
}

pub(crate) async fn shop() -> Shop {
    let mut market = market(None);
    market.plugins.remove(0);
    shop_with(Setup::new(), market).await
}

pub(crate) async fn shop_with(mut setup: Setup, market: Market) -> Shop {
    let counting = Arc::new(Counting::default());
    let port = TestPort::new(&counting);
    setup.plugins = Some(Arc::clone(&port) as Arc<dyn PluginPort>);
    let stream = market.stream;
    setup.market = Some(market);
    let server = setup.followed_by(&counting).start().await;
    let mut of_shop = plugin(counter(), ModuleHash::ZERO);
    of_shop.routes = vec![
        route("skus", "GET", "/sku", None),
        route("sku", "GET", "/sku/{id}", None),
        route("order", "GET", "/order/{id}", None),
        route("sales", "GET", "/owner/{owner}/sales", None),
        route("result", "GET", "/results/{index}", None),
        route("draft", "PUT", "/sku/{id}", Some("catalog.sku.drafted")),
        route("purchase", "POST", "/purchase", Some("checkout.order.created")),
        route("refund", "POST", "/refund/{order}", Some("checkout.refund.requested")),
        route("approve", "POST", "/payout/{payout}/approve", Some("royalty.payout.approved")),
        route("tick", "POST", "/tick", Some("market.tick")),
        route("vain", "POST", "/vain/{a}/{b}", Some("checkout.vain")),
        route("alien", "POST", "/alien", Some("stock.counted")),
    ];
    port.installed.lock().unwrap().push((stream, of_shop));
    *port.script.lock().unwrap() = Some(Box::new(|asked| {
        let index: u64 =
            (asked["route"] == "result").then(|| asked["args"]["index"].as_str().unwrap().parse().unwrap())?;
        Some(json!({ "body": { "n": index }, "status": 200 }))
    }));
    let buyer = server.key(scope(Some(tenant().id), None, Some(tenant().agent(1).id), &[Role::Agent]));
    server.applied().await;
    Shop { server, counting, port, buyer }
}

impl Shop {
    /// A request as a client makes it, held against the document.
    pub(crate) async fn call(
        &self,
        method: Method,
        key: &str,
        path: &str,
        idempotency: &[&str],
        body: &[u8],
    ) -> Answer {
        let mut request = self.server.http.request(method.clone(), self.server.url(path)).body(body.to_vec());
        if !key.is_empty() {
            request = request.bearer_auth(key);
        }
        for value in idempotency {
            request = request.header("idempotency-key", *value);
        }
        let answer = Answer::read(request.send().await.unwrap()).await;
        crate::schema::check_answer(method.as_str(), path, answer.status.as_u16(), &answer.json);
        answer
    }

    pub(crate) async fn post(&self, path: &str, idempotency: &str, body: &str) -> Answer {
        self.call(Method::POST, &self.buyer, path, &[idempotency], body.as_bytes()).await
    }

    pub(crate) fn size(&self) -> u64 {
        self.server.gateway_size()
    }

    /// The payload of an event, as it is in the log.
    pub(crate) fn payload(&self, index: u64) -> String {
        let event = self.server.reader().event(tally_protocol::id::Index::new(index)).unwrap();
        String::from_utf8(event.frame.payload().to_vec()).unwrap()
    }
}

/// The code of a refusal in the marketplace's shape.
pub(crate) fn code(answer: &Answer) -> &str {
    assert_eq!(answer.json["ok"], false, "{answer:?}");
    assert!(!answer.json["error"]["message"].as_str().unwrap().is_empty());
    answer.json["error"]["code"].as_str().unwrap()
}

fn plugin_says(shop: &Shop, status: u16, body: &Value) {
    shop.port.answers(Ok(&json!({ "body": body, "status": status }).to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_says_who_asks_and_is_answered_with_the_size_that_was_read() {
    let shop = shop().await;
    let agent = tenant().agent(1).id;
    let reader = shop.server.tenant_key(&[Role::Reader]);
    let admin = shop.server.tenant_key(&[Role::Admin]);
    let plain = |key: &str| format!("key:{}", &key[..16]);
    for (key, caller) in [
        ("", None),
        (&*shop.buyer, Some(json!({ "principal": format!("agent:{agent}"), "roles": ["finance"] }))),
        (&*reader, Some(json!({ "principal": plain(&reader), "roles": [] }))),
        (&*admin, Some(json!({ "principal": plain(&admin), "roles": ["admin"] }))),
    ] {
        let answer = shop.server.get(key, "/market/sku?tag=a&caller=agent%3A9").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!((&answer.json["ok"], &answer.json["result"]), (&json!(true), &json!({"n": 1})));
        assert_eq!(answer.json["applied"], shop.size());
        let asked: Value = serde_json::from_str(&shop.port.last_asked()).unwrap();
        assert_eq!(asked.get("caller"), caller.as_ref());
        assert_eq!((&asked["route"], &asked["args"]), (&json!("skus"), &json!({"caller": "agent:9", "tag": "a"})));
        assert_eq!(
            tally_protocol::jcs::canonicalize(shop.port.last_asked().as_bytes()).unwrap(),
            shop.port.last_asked().as_bytes()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_credential_exactly_the_public_questions_are_answered() {
    let shop = shop().await;
    for (path, status) in [
        ("/market/sku", 200),
        ("/market/sku/lamp", 200),
        ("/market/order/7", 401),
        ("/market/owner/9/sales", 401),
        ("/market/openapi.json", 401),
        ("/market/commands/1", 401),
        ("/market/results/1", 404),
    ] {
        assert_eq!(shop.server.get("", path).await.status, status, "{path}");
    }
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let answer = shop.call(method, "", "/market/purchase", &["k"], b"{}").await;
        assert_eq!((answer.status.as_u16(), code(&answer)), (401, "AUTH_REQUIRED"));
    }
    // A bad credential is not nobody's, and one of another tenant or role is not this one's.
    assert_eq!(shop.server.get("sk_live_x", "/market/sku").await.status, 401);
    let foreign = shop.server.key(scope(Some(shop.server.tenants[1].id), None, None, &[Role::Admin]));
    assert_eq!(code(&shop.server.get(&foreign, "/market/sku").await), "OUT_OF_SCOPE");
    assert_eq!(code(&shop.call(Method::POST, &foreign, "/market/purchase", &["k"], b"{}").await), "OUT_OF_SCOPE");
    let reader = shop.server.tenant_key(&[Role::Reader]);
    assert_eq!(shop.call(Method::POST, &reader, "/market/purchase", &["k"], b"{}").await.status, 403);
    let anchor = shop.server.tenant_key(&[Role::Anchor]);
    assert_eq!(shop.server.get(&anchor, "/market/order/7").await.status, 403);
    assert_eq!(shop.server.get(&shop.buyer, "/market/order/7").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_plugin_refuses_has_its_code_and_what_fails_is_a_bad_gateway() {
    let shop = shop().await;
    for (path, status, body, name) in [
        ("/market/sku/x", 404, json!({"code": "not_found"}), "SKU_NOT_FOUND"),
        ("/market/order/x", 404, json!({"error": "not_found"}), "ORDER_NOT_FOUND"),
        ("/market/owner/x/sales", 403, json!({"code": "forbidden"}), "FORBIDDEN"),
        ("/market/sku/x", 404, json!({}), "SKU_NOT_FOUND"),
        ("/market/sku/x", 422, json!({"code": "<script>"}), "PLUGIN_REFUSED"),
        ("/market/sku/x", 410, json!([1]), "PLUGIN_REFUSED"),
    ] {
        plugin_says(&shop, status, &body);
        let answer = shop.server.get(&shop.buyer, path).await;
        assert_eq!((answer.status.as_u16(), code(&answer)), (status, name), "{body}");
        assert_eq!(answer.json["error"]["details"]["body"], body);
    }
    for bad in ["", "{}", r#"{"body":1,"status":500}"#, r#"{"body":1,"status":301}"#] {
        shop.port.answers(Ok(bad));
        let answer = shop.server.get(&shop.buyer, "/market/sku").await;
        assert_eq!((answer.status.as_u16(), code(&answer)), (502, "PLUGIN_FAILED"));
    }
    shop.port.answers(Err(PluginPortError::Guest("trapped".to_owned())));
    assert_eq!(shop.server.get(&shop.buyer, "/market/sku").await.status, 502);
    shop.port.answers(Err(PluginPortError::Busy));
    assert_eq!(shop.server.get(&shop.buyer, "/market/sku").await.status, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_has_the_one_shape_whatever_refuses() {
    let shop = shop().await;
    for (method, path, status, name) in [
        (Method::GET, "/market/nowhere", 404, "RESOURCE_NOT_FOUND"),
        (Method::GET, "/market/purchase", 405, "METHOD_NOT_ALLOWED"),
        (Method::POST, "/market/sku/x", 405, "METHOD_NOT_ALLOWED"),
        (Method::PATCH, "/market/sku/x", 405, "METHOD_NOT_ALLOWED"),
        (Method::PUT, "/market/checkout/webhook", 405, "METHOD_NOT_ALLOWED"),
        (Method::POST, "/market/checkout/webhook", 501, "MARKET_NOT_ENABLED"),
        (Method::POST, "/market/vain/a/b", 404, "RESOURCE_NOT_FOUND"),
        (Method::POST, "/market/alien", 404, "RESOURCE_NOT_FOUND"),
        (Method::POST, "/market/purchase?x=1", 400, "UNKNOWN_FIELD"),
        (Method::GET, "/market/sku/a?x=1&x=2", 400, "INVALID_FIELD_VALUE"),
        (Method::GET, "/market/sku/%ff", 400, "INVALID_FIELD_VALUE"),
        (Method::GET, "/market/commands/x", 400, "INVALID_FIELD_VALUE"),
        (Method::GET, "/market/commands/99999", 404, "RESOURCE_NOT_FOUND"),
    ] {
        let answer = shop.call(method.clone(), &shop.buyer, path, &["k"], b"{}").await;
        assert_eq!((answer.status.as_u16(), code(&answer)), (status, name), "{method} {path}");
        assert!(answer.json["error"]["details"].is_object());
        assert!(answer.headers.contains_key("x-request-id"));
    }
    // Without a marketplace there is none, and one that is not whole says so instead of denying what it has.
    let bare = TestServer::new().await;
    let answer = bare.get(&bare.operator(), "/market/sku").await;
    assert_eq!((answer.status.as_u16(), code(&answer)), (501, "MARKET_NOT_ENABLED"));
    let halved = shop_with(Setup::new(), market(None)).await;
    assert_eq!(halved.server.get(&halved.buyer, "/market/sku").await.status, 200);
    let answer = halved.server.get(&halved.buyer, "/market/nowhere").await;
    assert_eq!((answer.status.as_u16(), code(&answer)), (503, "PLUGIN_NOT_RUNNING"));
}

/// Whoever may ask a plugin in bytes of his own could say that somebody else asks.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_admins_asks_the_marketplaces_plugins_in_bytes_of_their_own() {
    let shop = shop().await;
    let path = format!("{}/plugins/counter/query", base(tenant().stream(1)));
    let forged = json!({ "args": {}, "caller": { "principal": "agent:9", "roles": ["admin"] }, "route": "sales" });
    assert_eq!(shop.server.post(&shop.buyer, &path, &forged).await.status, 403);
    assert_eq!(shop.server.post(&shop.server.tenant_key(&[Role::Reader]), &path, &forged).await.status, 403);
    assert_eq!(shop.server.post(&shop.server.tenant_key(&[Role::Admin]), &path, &forged).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documents_describe_exactly_what_is_served() {
    let shop = shop().await;
    let own = shop.server.get(&shop.buyer, "/market/openapi.json").await.json;
    let whole = shop.server.get(&shop.buyer, &format!("{}/openapi.json", base(tenant().stream(1)))).await.json;
    let paths = own["paths"].as_object().unwrap();
    assert!(paths.keys().all(|path| path.starts_with("/market/")));
    let served = [
        "/market/sku",
        "/market/sku/{id}",
        "/market/order/{id}",
        "/market/owner/{owner}/sales",
        "/market/purchase",
        "/market/refund/{order}",
        "/market/payout/{payout}/approve",
        "/market/tick",
    ];
    for path in served {
        assert!(paths.contains_key(path), "{path}");
        assert_eq!(whole["paths"][path], own["paths"][path]);
    }
    for path in ["/market/results/{index}", "/market/vain/{a}/{b}", "/market/alien"] {
        assert!(!paths.contains_key(path), "{path}");
    }
    assert_eq!(paths["/market/sku"]["get"]["security"], json!([]));
    assert_eq!(paths["/market/order/{id}"]["get"]["security"], json!([{ "apiKey": [] }]));
    assert_eq!(paths["/market/sku/{id}"].as_object().unwrap().keys().collect::<Vec<_>>(), ["get", "put"]);
    for operations in paths.values() {
        for operation in operations.as_object().unwrap().values() {
            assert_eq!(operation["responses"]["default"]["$ref"], "#/components/responses/MarketError", "{operation}");
        }
    }
    // Another stream's document has none of it.
    let other = shop
        .server
        .get(&shop.server.operator(), &format!("{}/openapi.json", base(shop.server.tenants[1].stream(1))))
        .await
        .json;
    assert!(!other["paths"].as_object().unwrap().contains_key("/market/purchase"));
}
