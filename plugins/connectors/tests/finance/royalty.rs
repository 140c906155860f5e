//! The plugin that asks and the connector that answers, joined: what `royalty` asks for, Finance confirms, and `royalty`
//! takes the connector's own answer.

use serde_json::{Value, json};
use tally_connectors::{Connector as _, Request};
use tally_plugin::test_host::{Limits, Outcome, TestEvent, TestHost, Verdict};
use tally_protocol::hash::EffectId;
use tally_protocol::id::{Index, PluginId, Stream};
use tally_royalty::Royalty;

use super::{connector, finance};

const CONNECTOR: u8 = 3;
const ANOTHER: u8 = 4;

fn books() -> TestHost<Royalty> {
    let mut host = TestHost::with_limits(Limits { writes: 512, ..Limits::default() });
    let config = json!({
        "account": "acct_1", "admins": [], "approval_s": 1, "approvals": [],
        "connectors": {"finance": ["03030303-0303-0303-0303-030303030303"], "payment": []},
        "finance": [], "gateways": [], "hold_s": 1, "livemode": false, "payout_approvers": [], "provider": "test",
        "schedule": [], "settle": true,
    });
    host.init(config.to_string().as_bytes()).unwrap();
    host
}

/// A sale of an order, as checkout tells it; gives what Finance is asked for.
fn sold(host: &mut TestHost<Royalty>, order: &str) -> Request {
    let weight = |party: &str, weight: u64| json!({"party": party, "weight": weight});
    let share = |party: &str, amount: u64| json!({"amount": amount, "party": party});
    let body = json!({
        "captured": 1999, "currency": "USD", "dispute_lost": 0, "dispute_open": 0, "order": order, "owner": "agent:a",
        "parties": [weight("agent:a", 9_000), weight("platform", 1_000)], "refunded": 0,
        "shares": [share("agent:a", 1799), share("platform", 200)], "sku": "lamp", "version": 1,
    });
    let event = TestEvent::new("checkout.money", "payment", "pi_1", body.to_string());
    let outcome = host.apply_one(TestEvent { derived: true, ..event });
    let effect = &outcome.effects[0];
    assert_eq!((outcome.verdict, effect.kind.as_str()), (Verdict::Accepted, "finance"));
    Request {
        id: EffectId::from_bytes([7; 32]),
        index: Index::new(1),
        stream: Stream::from_bytes(&[1; 32]),
        plugin: PluginId::new("royalty").unwrap(),
        kind: effect.kind.clone(),
        suffix: effect.suffix.clone(),
        body: effect.body.clone().into(),
    }
}

/// The connector's answer as the node puts it in the log.
fn answered(host: &mut TestHost<Royalty>, agent: u8, request: &Request, result: &Value) -> Outcome {
    let id = request.id.to_hex();
    let body = json!({
        "effect": id, "kind": "finance", "plugin": "royalty", "result": result, "status": "done",
        "suffix": request.suffix,
    });
    host.apply_one(TestEvent::new("effect.answered", "effect", &id, body.to_string()).by(agent))
}

#[tokio::test]
async fn royalty_takes_the_answer_of_this_connector_and_keeps_its_proof() {
    let server = finance(None, |_| {});
    let finance = connector(&server.url());
    let mut host = books();
    let request = sold(&mut host, &"11".repeat(32));
    let answer = finance.perform(&request).await.unwrap();
    let looked_up = finance.look_up(&request).await.unwrap().unwrap();
    assert_eq!(looked_up, answer);
    // Of another settlement, that Finance has confirmed as well.
    let other = Request { id: EffectId::from_bytes([8; 32]), ..sold(&mut host, &"12".repeat(32)) };
    let server = super::finance(None, |_| {});
    let foreign = connector(&server.url()).perform(&other).await.unwrap();
    for (agent, result, verdict) in [
        (ANOTHER, &answer.result, Verdict::Rejected("forbidden".to_owned())),
        (CONNECTOR, &foreign.result, Verdict::Rejected("proof".to_owned())),
        (CONNECTOR, &answer.result, Verdict::Accepted),
    ] {
        assert_eq!(answered(&mut host, agent, &request, result).verdict, verdict);
    }
    let ask = json!({
        "args": {"id": answer.result["journal"]}, "caller": {"principal": "auditor", "roles": ["finance"]},
        "route": "journal",
    });
    let shown: Value = serde_json::from_slice(&host.query(ask.to_string().as_bytes())).unwrap();
    assert_eq!(shown["body"]["proof"]["proof"], answer.result["proof"]);
}
