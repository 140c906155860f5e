use serde_json::json;

use super::*;

const ORDER: &str = "1111111111111111111111111111111111111111111111111111111111111111";

fn effect() -> EffectId {
    EffectId::from_bytes([7; 32])
}

fn pay() -> Operation {
    Operation::Pay {
        amount: 100,
        currency: "USD".to_owned(),
        order: ORDER.to_owned(),
        payment_method: "pm_1".to_owned(),
    }
}

fn judge(status: u16, body: &str) -> Result<Answer, Failure> {
    let reply = Reply { status, date: None, body: body.as_bytes().to_vec() };
    of_reply(&reply, &pay(), &effect(), &Reader { account: "acct_1", livemode: false, event: None })
}

fn error(kind: &str, code: &str) -> String {
    json!({ "error": { "type": kind, "code": code, "message": "4242 4242 4242 4242 was declined" } }).to_string()
}

fn intent(status: &str) -> Value {
    json!({
        "id": "pi_1", "object": "payment_intent", "amount": 100, "amount_received": 100, "currency": "usd",
        "livemode": false, "status": status, "metadata": { "order": ORDER, "effect": effect().to_hex() },
    })
}

#[test]
fn each_reply_means_what_the_table_says() {
    let unknown =
        |status, body: &str| assert!(matches!(judge(status, body), Err(Failure::Unknown(_))), "{status} {body}");
    for status in [500, 502, 503, 504, 302, 100, 599] {
        unknown(status, &error("api_error", "x"));
    }
    unknown(200, "");
    unknown(200, "{}");
    unknown(200, "<html>");
    unknown(400, "<html>");
    unknown(400, &error("idempotency_error", "x"));
    unknown(404, "nothing here");
    unknown(409, &error("invalid_request_error", "idempotency_key_in_use"));
    unknown(424, &error("api_error", "x"));
    for (status, body) in
        [(429, error("invalid_request_error", "lock_timeout")), (429, String::new()), (409, error("x", "lock"))]
    {
        assert!(matches!(judge(status, &body), Err(Failure::NotDone(_))), "{status}");
    }
    for status in [401, 403] {
        assert!(matches!(judge(status, &error("invalid_request_error", "x")), Err(Failure::Impossible(_))));
    }
}

#[test]
fn a_refusal_is_final_and_keeps_the_code_only() {
    for (status, kind, code) in
        [(402, "card_error", "card_declined"), (400, "invalid_request_error", "charge_disputed")]
    {
        let answer = judge(status, &error(kind, code)).unwrap();
        assert_eq!(answer, Answer { status: Status::Failed, result: json!({ "code": code }) });
    }
    // No code, or one that is a sentence: the type stands for it.
    for code in ["", "Your card 4242424242424242 was declined", &"a".repeat(65)] {
        let answer = judge(402, &error("card_error", code)).unwrap();
        assert_eq!(answer.result, json!({ "code": "card_error" }));
    }
}

#[test]
fn an_object_of_another_effect_answers_nothing() {
    let done = judge(200, &intent("succeeded").to_string()).unwrap();
    assert_eq!(done.result["facts"][0]["state"], "succeeded");
    let mut foreign = intent("succeeded");
    foreign["metadata"]["effect"] = json!("08".repeat(32));
    assert!(matches!(judge(200, &foreign.to_string()), Err(Failure::Unknown(_))));
    foreign["metadata"] = json!({});
    assert!(matches!(judge(200, &foreign.to_string()), Err(Failure::Unknown(_))));
}

#[test]
fn a_payment_that_was_declined_is_failed_however_it_is_learnt() {
    let mut declined = intent("requires_payment_method");
    declined["last_payment_error"] = json!({ "code": "card_declined", "message": "free text" });
    let answer = judge(200, &declined.to_string()).unwrap();
    assert_eq!(answer, judge(402, &error("card_error", "card_declined")).unwrap());
}
