//! What comes of an effect when the network or the provider fails, and that looking up does nothing.

use std::net::TcpListener;

use proptest::prelude::*;
use serde_json::json;
use tally_connectors::payment::{API_VERSION, Payment, PaymentConfig};
use tally_connectors::{Answer, Connector as _, Failure, Request, Status};

use super::provider::{Fault, Provider};
use super::{KEY, PAYOUT, cancel, config, fact, pay, payment, refund, secret, transfer};

fn connector(provider: &Provider) -> Payment {
    payment(PaymentConfig { timeout_ms: 1_000, ..config(&provider.url()) })
}

fn is_not_done<T>(found: &Result<T, Failure>) -> bool {
    matches!(found, Err(Failure::NotDone(_)))
}

fn is_unknown<T>(found: &Result<T, Failure>) -> bool {
    matches!(found, Err(Failure::Unknown(_)))
}

#[tokio::test]
async fn every_mutating_call_bears_the_effect_as_its_key_the_version_and_the_credential() {
    let provider = Provider::start();
    let payment = connector(&provider);
    let paid = fact(&payment.perform(&pay(1, "pm_1")).await.unwrap());
    let id = paid["id"].as_str().unwrap();
    payment.perform(&refund(2, id, 5)).await.unwrap();
    payment.perform(&transfer(3)).await.unwrap();
    payment.perform(&cancel(4, id)).await.unwrap();
    let asked = provider.asked();
    assert_eq!(asked.len(), 4);
    for (asked, id) in asked.iter().zip(1_u8..) {
        assert_eq!(asked.method, "POST");
        assert_eq!(asked.headers["idempotency-key"], format!("{id:02x}").repeat(32));
        assert_eq!(asked.headers["stripe-version"], API_VERSION);
        assert_eq!(asked.headers["authorization"], format!("Bearer {KEY}"));
        assert_eq!(asked.headers["content-type"], "application/x-www-form-urlencoded");
    }
}

#[tokio::test]
async fn a_repetition_is_the_same_bytes_and_makes_nothing_new() {
    let provider = Provider::start();
    let payment = connector(&provider);
    let first = payment.perform(&transfer(3)).await.unwrap();
    let second = payment.perform(&transfer(3)).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(provider.count("transfers"), 1);
    let fact = fact(&first);
    assert_eq!((&fact["object"], &fact["state"], &fact["payout"]), (&json!("payout"), &json!("paid"), &json!(PAYOUT)));
}

#[tokio::test]
async fn each_fault_is_classified_by_whether_anything_may_have_been_done() {
    let faults = [
        (Fault::BreakAfter, is_unknown as fn(&Result<Answer, Failure>) -> bool),
        (Fault::BreakBefore, is_unknown),
        (Fault::CutAfter, is_unknown),
        (Fault::SilenceAfter, is_unknown),
        (Fault::NoiseAfter, is_unknown),
        (Fault::StatusAfter(500), is_unknown),
        (Fault::StatusAfter(503), is_unknown),
        (Fault::StatusBefore(400), is_unknown),
        (Fault::StatusBefore(429), is_not_done),
        (Fault::StatusBefore(409), is_not_done),
    ];
    for (fault, is_right) in faults {
        let provider = Provider::start();
        provider.plan([fault]);
        let found = connector(&provider).perform(&pay(1, "pm_1")).await;
        assert!(is_right(&found), "{fault:?}: {found:?}");
    }
    for status in [401, 403] {
        let provider = Provider::start();
        provider.plan([Fault::StatusBefore(status)]);
        let found = connector(&provider).perform(&pay(1, "pm_1")).await;
        assert!(matches!(found, Err(Failure::Impossible(_))), "{status}");
    }
}

#[tokio::test]
async fn where_nobody_listens_nothing_was_done_and_a_look_up_knows_nothing() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let payment = payment(config(&format!("http://{address}")));
    assert!(is_not_done(&payment.perform(&pay(1, "pm_1")).await));
    assert!(is_unknown(&payment.look_up(&pay(1, "pm_1")).await));
}

#[tokio::test]
async fn what_was_done_behind_a_broken_connection_is_found_and_looking_changes_nothing() {
    for fault in [Fault::BreakAfter, Fault::CutAfter, Fault::SilenceAfter, Fault::StatusAfter(500)] {
        let provider = Provider::start();
        let payment = connector(&provider);
        let intent = pay(1, "pm_1");
        provider.plan([fault]);
        assert!(is_unknown(&payment.perform(&intent).await));
        let found = payment.look_up(&intent).await.unwrap().expect("it was done");
        let id = fact(&found)["id"].as_str().unwrap().to_owned();
        let others = [refund(2, &id, 5), transfer(3), cancel(4, &id)];
        for asked in others {
            assert_eq!(payment.look_up(&asked).await, Ok(None));
            provider.plan([fault]);
            assert!(is_unknown(&payment.perform(&asked).await));
            assert_eq!(payment.look_up(&asked).await.unwrap().expect("it was done").status, Status::Done);
        }
        assert_eq!(["payment_intents", "refunds", "transfers"].map(|kind| provider.count(kind)), [1, 1, 1]);
        let posts = provider.asked().iter().filter(|asked| asked.method == "POST").count();
        assert_eq!(posts, 4, "a look-up only reads");
    }
}

#[tokio::test]
async fn an_old_payment_is_found_by_search_and_a_young_one_in_the_lists() {
    let provider = Provider::start();
    let payment = connector(&provider);
    payment.perform(&pay(1, "pm_1")).await.unwrap();
    provider.age(7_200);
    provider.others_pay(250, 4_000);
    // Behind three pages; the first is older than the search's lag, and the search knows it.
    assert!(payment.look_up(&pay(1, "pm_1")).await.unwrap().is_some());
    assert!(provider.asked().iter().any(|asked| asked.path.contains("/search")));

    let provider = Provider::start();
    let payment = connector(&provider);
    payment.perform(&pay(1, "pm_1")).await.unwrap();
    provider.others_pay(250, 0);
    // The search does not know it yet, and is not asked.
    assert!(payment.look_up(&pay(1, "pm_1")).await.unwrap().is_some());
    assert_eq!(payment.look_up(&pay(2, "pm_1")).await, Ok(None));
    assert!(!provider.asked().iter().any(|asked| asked.path.contains("/search")));
}

#[tokio::test]
async fn what_nobody_could_have_found_stays_unknown() {
    let provider = Provider::start();
    provider.others_pay(250, 0);
    let short = payment(PaymentConfig { pages_max: 2, ..config(&provider.url()) });
    assert!(is_unknown(&short.look_up(&pay(1, "pm_1")).await));
    let provider = Provider::start();
    provider.others_pay(250, 4_000);
    let blind = payment(PaymentConfig { pages_max: 2, search: false, ..config(&provider.url()) });
    assert!(is_unknown(&blind.look_up(&pay(1, "pm_1")).await));
}

#[test]
fn a_connector_is_not_opened_without_tls_or_with_a_key_of_the_other_mode() {
    let open = |change: fn(&mut PaymentConfig), key: &str| {
        let mut config = PaymentConfig { development: false, ..config("https://api.example") };
        change(&mut config);
        Payment::open(config, secret(key)).is_ok()
    };
    assert!(open(|_| {}, KEY));
    assert!(open(|config| config.livemode = true, "rk_live_1"));
    assert!(!open(|config| config.livemode = true, KEY));
    assert!(!open(|_| {}, "sk_live_1"));
    assert!(!open(|_| {}, "anything"));
    assert!(!open(|config| config.url = "http://api.example".to_owned(), KEY));
    assert!(!open(|config| config.account = String::new(), KEY));
    assert!(!open(|config| config.pages_max = 0, KEY));
}

#[tokio::test]
async fn the_key_and_what_a_client_sent_stand_in_no_text() {
    let provider = Provider::start();
    let payment = connector(&provider);
    let mut texts = vec![format!("{payment:?}")];
    for fault in [
        Fault::BreakAfter,
        Fault::StatusAfter(500),
        Fault::NoiseAfter,
        Fault::StatusBefore(429),
        Fault::StatusBefore(401),
    ] {
        provider.plan([fault]);
        let failure = payment.perform(&pay(1, "pm_of_a_client")).await.unwrap_err();
        texts.extend([format!("{failure}"), format!("{failure:?}")]);
    }
    for text in texts {
        assert!(!text.contains(KEY) && !text.contains("sk_test") && !text.contains("pm_of_a_client"), "{text}");
    }
}

/// What a dispatcher does: again after "not done", a look-up after "unknown", until there is an answer.
async fn dispatch(payment: &Payment, request: &Request) -> Answer {
    let mut unknown = false;
    for _ in 0..100 {
        if unknown {
            match payment.look_up(request).await {
                Ok(Some(answer)) => return answer,
                Ok(None) => unknown = false,
                Err(_) => continue,
            }
        }
        match payment.perform(request).await {
            Ok(answer) => return answer,
            Err(Failure::NotDone(_)) => {}
            Err(Failure::Unknown(_)) => unknown = true,
            Err(Failure::Impossible(why)) => panic!("{why}"),
        }
    }
    panic!("no answer after all faults");
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::None),
        Just(Fault::BreakAfter),
        Just(Fault::BreakBefore),
        Just(Fault::CutAfter),
        Just(Fault::NoiseAfter),
        prop_oneof![Just(500), Just(502), Just(599)].prop_map(Fault::StatusAfter),
        prop_oneof![Just(429), Just(409), Just(500), Just(503)].prop_map(Fault::StatusBefore),
    ]
}

/// More cases by `TALLY_CASES`.
fn cases() -> ProptestConfig {
    let cases = std::env::var("TALLY_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig::with_cases(cases.unwrap_or(48))
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn whatever_fails_on_the_way_each_effect_is_done_exactly_once(faults in proptest::collection::vec(fault(), 0..16)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let provider = Provider::start();
            let payment = connector(&provider);
            provider.plan(faults);
            let paid = dispatch(&payment, &pay(1, "pm_1")).await;
            let id = fact(&paid)["id"].as_str().unwrap().to_owned();
            dispatch(&payment, &refund(2, &id, 5)).await;
            dispatch(&payment, &transfer(3)).await;
            assert_eq!(["payment_intents", "refunds", "transfers"].map(|kind| provider.count(kind)), [1, 1, 1]);
        });
    }
}
