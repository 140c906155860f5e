use bytes::Bytes;
use tally_protocol::hash::EffectId;
use tally_protocol::id::{Index, PluginId, Stream};

use super::*;

const ID: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const REFUND: &str = "2222222222222222222222222222222222222222222222222222222222222222";

fn request(body: &str) -> Request {
    Request {
        id: EffectId::from_bytes([7; 32]),
        index: Index::new(5),
        stream: Stream::from_bytes(&[1; 32]),
        plugin: PluginId::new("checkout").unwrap(),
        kind: "payment".to_owned(),
        suffix: ID.to_owned(),
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

fn check(body: &str, path: &str, form: &str) {
    check_by(PayoutBy::Transfer, body, path, form);
}

fn check_by(by: PayoutBy, body: &str, path: &str, form: &str) {
    let operation = Operation::of(&request(body)).unwrap();
    assert_eq!(operation.path(by).join("/"), path);
    let effect = "07".repeat(32);
    let expected = form.replace("EFFECT", &effect).replace("ID", ID);
    assert_eq!(operation.form(&EffectId::from_bytes([7; 32]), by), expected);
}

#[test]
fn each_operation_of_the_page_is_one_call_that_names_its_effect() {
    check(
        &format!(
            r#"{{"amount":1999,"currency":"USD","op":"intent.create","order":"{ID}","payment_method":"pm_card"}}"#
        ),
        "v1/payment_intents",
        "amount=1999&currency=usd&confirm=true&payment_method=pm_card&payment_method_types[0]=card\
         &metadata[order]=ID&metadata[effect]=EFFECT",
    );
    check(
        &format!(
            r#"{{"amount":5,"currency":"JPY","op":"refund.create","order":"{ID}","payment":"pi_1","refund":"{REFUND}"}}"#
        ),
        "v1/refunds",
        &format!("amount=5&payment_intent=pi_1&metadata[order]=ID&metadata[refund]={REFUND}&metadata[effect]=EFFECT"),
    );
    check(
        &format!(r#"{{"op":"intent.cancel","order":"{ID}","payment":"pi_1"}}"#),
        "v1/payment_intents/pi_1/cancel",
        "",
    );
    check(
        &format!(r#"{{"account":"acct_9","amount":7,"currency":"EUR","op":"transfer.create","payout":"{ID}"}}"#),
        "v1/transfers",
        "amount=7&currency=eur&destination=acct_9&transfer_group=ID&metadata[payout]=ID&metadata[effect]=EFFECT",
    );
    check_by(
        PayoutBy::Payout,
        &format!(r#"{{"account":"ba_9","amount":7,"currency":"EUR","op":"transfer.create","payout":"{ID}"}}"#),
        "v1/payouts",
        "amount=7&currency=eur&destination=ba_9&metadata[payout]=ID&metadata[effect]=EFFECT",
    );
}

#[test]
fn a_body_that_is_not_as_drawn_is_never_sent() {
    let good = r#"{"amount":1,"currency":"USD","op":"intent.create","order":"ID","payment_method":"pm"}"#;
    assert!(Operation::of(&request(&good.replace("ID", ID))).is_ok());
    let wrong = [
        "",
        "{}",
        "[]",
        &good.replace("intent.create", "intent.capture"),
        &good.replace(r#""amount":1"#, r#""amount":0"#),
        &good.replace(r#""amount":1"#, r#""amount":-1"#),
        &good.replace(r#""amount":1"#, r#""amount":1.5"#),
        &good.replace(r#""amount":1"#, r#""amount":9007199254740992"#),
        &good.replace("USD", "usd"),
        &good.replace("USD", "USDX"),
        &good.replace(r#""pm""#, r#""""#),
        &good.replace(r#""pm""#, r#""p m""#),
        &good.replace(r#""op""#, r#""livemode":false,"op""#),
        &good.replace("ID", "11"),
        r#"{"op":"intent.cancel","order":"ID","payment":"../accounts"}"#,
    ];
    for body in wrong {
        let read = Operation::of(&request(&body.replace("ID", ID)));
        assert!(matches!(read, Err(Failure::Impossible(_))), "{body}");
    }
}

#[test]
fn an_effect_under_another_suffix_than_its_order_is_never_sent() {
    let body = format!(r#"{{"op":"intent.cancel","order":"{REFUND}","payment":"pi_1"}}"#);
    assert!(matches!(Operation::of(&request(&body)), Err(Failure::Impossible(_))));
}
