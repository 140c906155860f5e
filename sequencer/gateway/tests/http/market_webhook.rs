//! A payment provider's messages at `/market/checkout/webhook`: what is not signed changes nothing, what is becomes facts,
//! each once, and nothing is acknowledged before it is in the log.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::common::{Answer, Setup};
use crate::market::{Shop, code, market, shop_with, tenant};
use bytes::Bytes;
use reqwest::Method;
use serde_json::{Value, json};
use tally_gateway::{AgentSigner, FactEvent, WebhookPort, WebhookRefusal};
use tally_protocol::hash;
use tally_protocol::id::Index;
use tally_protocol::time::LogTime;
use tally_testkit::TestAgent;

const PATH: &str = "/market/checkout/webhook";

fn connector() -> TestAgent {
    tenant().agent(3)
}

/// A provider whose message is a list of facts, and whose signature is the word `signed` and the length of the raw body.
struct Provider {
    signer: AgentSigner,
    /// Fails so many times before it can judge.
    fails: AtomicUsize,
    seen_at: Mutex<Vec<LogTime>>,
}

impl WebhookPort for Provider {
    fn read(&self, raw: &[u8], signature: Option<&str>, now: LogTime) -> Result<Vec<FactEvent>, WebhookRefusal> {
        if signature != Some(&format!("signed {}", raw.len())) {
            return Err(WebhookRefusal::Signature("the signature does not hold"));
        }
        let left = self.fails.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_ok() {
            return Err(WebhookRefusal::Transient("the provider does not answer".to_owned()));
        }
        self.seen_at.lock().unwrap().push(now);
        let list: Vec<Value> = serde_json::from_slice(raw).map_err(|_| WebhookRefusal::Unreadable("no list"))?;
        let fact = |fact: &Value| FactEvent {
            object: fact["id"].as_str().unwrap_or_default().to_owned(),
            body: Bytes::from(fact.to_string()),
        };
        Ok(list.iter().map(fact).collect())
    }

    fn signer(&self) -> &AgentSigner {
        &self.signer
    }
}

async fn shop_of_a_provider() -> (Shop, Arc<Provider>) {
    let agent = connector();
    let provider = Arc::new(Provider {
        signer: AgentSigner { agent: agent.id, key: agent.key.clone() },
        fails: AtomicUsize::new(0),
        seen_at: Mutex::default(),
    });
    let mut own = market(Some(Arc::clone(&provider) as Arc<dyn WebhookPort>));
    own.plugins.remove(0);
    (shop_with(Setup::new(), own).await, provider)
}

async fn register(shop: &Shop) {
    let server = &shop.server;
    server.accept(server.tenants[0].register(&connector(), server.event_id(), server.clock.0.wall())).await;
}

async fn deliver(shop: &Shop, body: &str) -> Answer {
    deliver_as(shop, body, &[&format!("signed {}", body.len())]).await
}

async fn deliver_as(shop: &Shop, body: &str, signatures: &[&str]) -> Answer {
    let mut request = shop.server.http.post(shop.server.url(PATH)).body(body.to_owned());
    for signature in signatures {
        request = request.header("stripe-signature", *signature);
    }
    let answer = Answer::read(request.send().await.unwrap()).await;
    crate::schema::check_answer("POST", PATH, answer.status.as_u16(), &answer.json);
    answer
}

fn fact(id: &str, state: &str) -> Value {
    json!({ "amount": 100, "id": id, "object": "payment", "state": state })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_message_becomes_facts_of_the_connectors_agent_in_their_order() {
    let (shop, provider) = shop_of_a_provider().await;
    register(&shop).await;
    let size = shop.size();
    let answer = deliver(&shop, &json!([fact("pi_1", "created"), fact("pi_1", "succeeded")]).to_string()).await;
    assert_eq!((answer.status.as_u16(), &answer.json), (200, &json!({ "facts": 2, "ok": true })));
    assert_eq!(shop.size(), size + 2);
    for (at, state) in [(size, "created"), (size + 1, "succeeded")] {
        let frame = shop.server.reader().event(Index::new(at)).unwrap().frame;
        assert_eq!((frame.agent_id(), frame.stream()), (connector().id, tenant().stream(1)));
        assert_eq!((frame.event_type(), frame.entity_type(), frame.entity_id()), ("payment.fact", "payment", "pi_1"));
        let payload = fact("pi_1", state).to_string();
        assert_eq!(frame.payload(), payload.as_bytes());
        assert_eq!(frame.event_id(), hash::fact_event(&tenant().stream(1), "payment.fact", "pi_1", payload.as_bytes()));
    }
    assert_eq!(*provider.seen_at.lock().unwrap(), [shop.server.clock.0.wall()]);
    // A message about nothing is taken too, or it would come for days.
    assert_eq!(deliver(&shop, "[]").await.json, json!({ "facts": 0, "ok": true }));
}

/// M-006, M-050: without the provider's own signature nothing happens, whatever else the sender may show.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_not_signed_changes_nothing() {
    let (shop, provider) = shop_of_a_provider().await;
    register(&shop).await;
    let size = shop.size();
    let body = json!([fact("pi_1", "succeeded")]).to_string();
    let good = format!("signed {}", body.len());
    let cases: &[&[&str]] = &[&[], &[""], &["signed"], &["signed 1"], &[&good, &good], &[&good, "signed 1"]];
    for signatures in cases {
        let answer = deliver_as(&shop, &body, signatures).await;
        assert_eq!((answer.status.as_u16(), code(&answer)), (400, "INVALID_SIGNATURE"), "{signatures:?}");
    }
    // One byte more in the body is another body.
    assert_eq!(deliver_as(&shop, &format!("{body} "), &[&good]).await.status, 400);
    for key in [&shop.buyer, &shop.server.operator()] {
        let answer = shop.call(Method::POST, key, PATH, &[], body.as_bytes()).await;
        assert_eq!((answer.status.as_u16(), code(&answer)), (400, "INVALID_SIGNATURE"));
    }
    let unreadable = deliver(&shop, "{}").await;
    assert_eq!((unreadable.status.as_u16(), code(&unreadable)), (400, "MALFORMED"));
    let card = deliver(&shop, &json!([{ "id": "pi_1", "number": "4242424242424242" }]).to_string()).await;
    assert_eq!((card.status.as_u16(), code(&card)), (400, "CARD_DATA"));
    let many: Vec<Value> = (0..1001).map(|n| json!({ "id": n.to_string() })).collect();
    assert_eq!(deliver(&shop, &json!(many).to_string()).await.status, 413);
    // Last: the connection of a body that is not read to its end is closed.
    let huge = deliver(&shop, &format!("[\"{}\"]", "x".repeat(256 << 10))).await;
    assert_eq!((huge.status.as_u16(), code(&huge)), (413, "PAYLOAD_TOO_LARGE"));
    assert_eq!(shop.size(), size);
    assert!(provider.seen_at.lock().unwrap().len() < 4, "what is not signed is not read");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_fact_is_one_event_in_whatever_messages_it_comes() {
    let (shop, _) = shop_of_a_provider().await;
    register(&shop).await;
    let size = shop.size();
    let (one, two) = (fact("pi_1", "created"), fact("pi_1", "succeeded"));
    for message in [json!([one]), json!([one]), json!([one, two]), json!([two, one, two]), json!([two])] {
        shop.server.clock.0.advance(std::time::Duration::from_secs(60));
        assert_eq!(deliver(&shop, &message.to_string()).await.status, 200, "{message}");
    }
    assert_eq!(shop.size(), size + 2);
    // Beside each other, each signed at another time.
    let body = json!([fact("pi_2", "succeeded")]).to_string();
    let late = async {
        shop.server.clock.0.advance(std::time::Duration::from_micros(1));
        deliver(&shop, &body).await
    };
    let (a, b, c) = tokio::join!(deliver(&shop, &body), late, deliver(&shop, &body));
    assert_eq!([a.status, b.status, c.status].map(|status| status.as_u16()), [200; 3]);
    assert_eq!(shop.size(), size + 3);
}

/// M-059: whatever may go better later is told so, and the provider's next try completes it.
#[tokio::test(flavor = "multi_thread")]
async fn what_fails_for_now_is_never_acknowledged_and_succeeds_later() {
    let (shop, provider) = shop_of_a_provider().await;
    let (size, body) = (shop.size(), json!([fact("pi_1", "succeeded")]).to_string());
    // The connector's key is not registered yet.
    let answer = deliver(&shop, &body).await;
    assert_eq!((answer.status.as_u16(), code(&answer)), (503, "SERVICE_UNAVAILABLE"));
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(shop.size(), size);
    register(&shop).await;
    provider.fails.store(2, Ordering::SeqCst);
    for _ in 0..2 {
        assert_eq!(deliver(&shop, &body).await.status, 503);
    }
    assert_eq!(shop.size(), size + 1, "the registration alone");
    assert_eq!(deliver(&shop, &body).await.status, 200);
    assert_eq!(shop.size(), size + 2);
    // Another agent's event under a fact's id is no fact.
    let stolen = fact("pi_2", "succeeded").to_string();
    let id = hash::fact_event(&tenant().stream(1), "payment.fact", "pi_2", stolen.as_bytes());
    let agent = tenant().agent(1);
    let thief = agent.event(tenant().stream(1), id).of_type("payment.fact").about("payment", "pi_2");
    shop.server.accept(thief.payload(stolen.as_bytes()).sign()).await;
    assert_eq!(deliver(&shop, &format!("[{stolen}]")).await.status, 503);
    // A node that takes no writes acknowledges none.
    shop.server.sequencer.as_ref().unwrap().stop_extending("test");
    assert_eq!(deliver(&shop, &json!([fact("pi_3", "succeeded")]).to_string()).await.status, 503);
}
