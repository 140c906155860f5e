//! What localstripe has: payments, cards that are declined or want the buyer, refunds, lists, signed messages.
//!
//! It knows no idempotency keys, so nothing here repeats a call; and it reports a refusal without a code, sends no message
//! about refunds, has no Connect, no disputes and no search.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tally_connectors::payment::{Payment, PaymentConfig, PayoutBy, webhook};
use tally_connectors::{Connector as _, Failure, Status};

use super::server::{Reaction, Server};
use super::{KEY, ORDER, PAYOUT, REFUND, cancel, config, fact, pay, payment, refund, secret, transfer};

/// A running localstripe, killed when dropped.
struct LocalStripe {
    child: Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl LocalStripe {
    fn start() -> Self {
        let program = std::env::var_os("TALLY_LOCALSTRIPE").unwrap_or_else(|| "localstripe".into());
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let child = Command::new(&program)
            .args(["--from-scratch", "--port", &free.to_string()])
            .env("TMPDIR", folder.path())
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("localstripe (PyPI, 1.15.10) cannot be started by TALLY_LOCALSTRIPE or from PATH: {error}")
            });
        let mut running = Self { child, url: format!("http://127.0.0.1:{free}"), _folder: folder };
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, free)).is_err() {
            assert!(running.child.try_wait().unwrap().is_none(), "localstripe ended before it listened");
            assert!(Instant::now() < deadline, "localstripe does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        running
    }

    fn config(&self) -> PaymentConfig {
        PaymentConfig { search: false, ..config(&self.url) }
    }

    fn payment(&self) -> Payment {
        payment(self.config())
    }

    /// A card's token.
    async fn card(&self, number: &str) -> String {
        let made = self
            .post(
                "/v1/payment_methods",
                &[
                    ("type", "card"),
                    ("card[number]", number),
                    ("card[exp_month]", "12"),
                    ("card[exp_year]", "2040"),
                    ("card[cvc]", "123"),
                ],
            )
            .await;
        made["id"].as_str().unwrap().to_owned()
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Value {
        let mut body: reqwest::Url = "http://x/".parse().unwrap();
        body.query_pairs_mut().extend_pairs(form);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let sent = client
            .post(format!("{}{path}", self.url))
            .header("authorization", format!("Bearer {KEY}"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body.query().unwrap().to_owned())
            .send()
            .await
            .unwrap();
        assert!(sent.status().is_success(), "{path}");
        serde_json::from_slice(&sent.bytes().await.unwrap()).unwrap_or(Value::Null)
    }
}

impl Drop for LocalStripe {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_payment_is_made_refunded_and_found_again_and_the_facts_are_the_same() {
    let server = LocalStripe::start();
    let payment = server.payment();
    let asked = pay(1, &server.card("4242424242424242").await);
    assert_eq!(payment.look_up(&asked).await, Ok(None));
    let answer = payment.perform(&asked).await.unwrap();
    let paid = fact(&answer);
    let id = paid["id"].as_str().unwrap().to_owned();
    let expected = json!({
        "account": "acct_1", "amount": 1999, "currency": "USD", "id": id, "livemode": false, "object": "payment",
        "order": ORDER, "provider": "stripe", "state": "succeeded",
    });
    assert_eq!(paid, expected);
    assert_eq!(payment.look_up(&asked).await, Ok(Some(answer)));

    let back = refund(2, &id, 500);
    assert_eq!(payment.look_up(&back).await, Ok(None));
    let answer = payment.perform(&back).await.unwrap();
    let refunded = fact(&answer);
    let expected = json!({
        "account": "acct_1", "amount": 500, "currency": "USD", "id": refunded["id"], "livemode": false,
        "object": "refund", "payment": id, "provider": "stripe", "refund": REFUND, "state": "succeeded",
    });
    assert_eq!(refunded, expected);
    assert_eq!(payment.look_up(&back).await, Ok(Some(answer)));
    // Another refund of the same payment is another effect.
    assert_eq!(payment.look_up(&refund(3, &id, 500)).await, Ok(None));
}

#[tokio::test]
async fn a_payment_further_back_than_one_page_is_found() {
    let server = LocalStripe::start();
    let payment = server.payment();
    let card = server.card("4242424242424242").await;
    for _ in 0..101 {
        server.post("/v1/payment_intents", &[("amount", "1"), ("currency", "usd")]).await;
    }
    let asked = pay(1, &card);
    let answer = payment.perform(&asked).await.unwrap();
    assert_eq!(payment.look_up(&asked).await, Ok(Some(answer)));
    let short = super::payment(PaymentConfig { pages_max: 1, ..server.config() });
    // localstripe lists the oldest first: the first page has it not, and a bound is no proof of absence.
    assert!(matches!(short.look_up(&asked).await, Err(Failure::Unknown(_))));
}

#[tokio::test]
async fn a_declined_card_is_failed_for_good_also_when_it_is_looked_up() {
    let server = LocalStripe::start();
    let payment = server.payment();
    // This card can be kept and is declined when money is asked for.
    let asked = pay(1, &server.card("4000000000000341").await);
    let answer = payment.perform(&asked).await.unwrap();
    assert_eq!((answer.status, &answer.result), (Status::Failed, &json!({ "code": "card_declined" })));
    assert_eq!(payment.look_up(&asked).await, Ok(Some(answer)));
    // What does not exist is refused, too.
    let answer = payment.perform(&pay(2, "pm_nothing")).await.unwrap();
    assert_eq!((answer.status, &answer.result), (Status::Failed, &json!({ "code": "invalid_request_error" })));
}

#[tokio::test]
async fn a_payment_that_waits_for_the_buyer_can_be_cancelled_and_one_that_is_paid_cannot() {
    let server = LocalStripe::start();
    let payment = server.payment();
    let waiting = payment.perform(&pay(1, &server.card("4000002500003155").await)).await.unwrap();
    let waiting = fact(&waiting);
    assert_eq!(waiting["state"], "requires_action");
    let asked = cancel(2, waiting["id"].as_str().unwrap());
    assert_eq!(payment.look_up(&asked).await, Ok(None));
    let answer = payment.perform(&asked).await.unwrap();
    assert_eq!(fact(&answer)["state"], "canceled");
    assert_eq!(payment.look_up(&asked).await, Ok(Some(answer)));

    let paid = fact(&payment.perform(&pay(3, &server.card("4242424242424242").await)).await.unwrap());
    let asked = cancel(4, paid["id"].as_str().unwrap());
    assert_eq!(payment.perform(&asked).await.unwrap().status, Status::Failed);
    assert_eq!(payment.look_up(&asked).await, Ok(None));
}

#[tokio::test]
async fn a_payout_of_the_platforms_balance_is_made_found_again_and_told_to_be_paid() {
    let server = LocalStripe::start();
    // Without Connect there are no transfers: the server has no such address.
    let refused = server.payment().perform(&transfer(1)).await;
    assert!(refused.is_err() || refused.is_ok_and(|answer| answer.status == Status::Failed));
    let payment = payment(PaymentConfig { payout_by: PayoutBy::Payout, ..server.config() });
    let asked = transfer(2);
    assert_eq!(payment.look_up(&asked).await, Ok(None));
    let answer = payment.perform(&asked).await.unwrap();
    let told = fact(&answer);
    let expected = json!({
        "account": "acct_1", "amount": 700, "currency": "EUR", "id": told["id"], "livemode": false, "object": "payout",
        "payout": PAYOUT, "provider": "stripe", "state": "transit",
    });
    assert_eq!(told, expected);
    assert_eq!(payment.look_up(&asked).await, Ok(Some(answer)));
    assert_eq!(payment.look_up(&transfer(3)).await, Ok(None));
    // The bank has it: the same object says so now.
    server.post(&format!("/v1/payouts/{}", told["id"].as_str().unwrap()), &[("status", "paid")]).await;
    let found = payment.look_up(&asked).await.unwrap().unwrap();
    assert_eq!(fact(&found)["state"], "paid");
}

#[tokio::test]
async fn a_key_that_the_provider_refuses_is_an_operators_matter() {
    let server = LocalStripe::start();
    let payment = Payment::open(server.config(), secret("no_key_at_all")).unwrap();
    assert!(matches!(payment.perform(&pay(1, "pm_1")).await, Err(Failure::Impossible(_))));
    assert!(matches!(payment.look_up(&pay(1, "pm_1")).await, Err(Failure::Impossible(_))));
}

#[tokio::test]
async fn the_message_about_a_payment_tells_the_fact_that_the_answer_told() {
    const SECRET: &str = "whsec_localstripe";
    let receiver = Server::start(|_| Reaction::Answer(200, Vec::new()));
    let server = LocalStripe::start();
    server.post("/_config/webhooks/1", &[("url", &receiver.url()), ("secret", SECRET)]).await;
    let payment = server.payment();
    let answer = payment.perform(&pay(1, &server.card("4242424242424242").await)).await.unwrap();

    let deadline = Instant::now() + Duration::from_secs(60);
    let is_ours = |body: &[u8]| body.windows(24).any(|part| part == b"payment_intent.succeeded");
    let message = loop {
        if let Some(message) = receiver.asked().into_iter().find(|asked| is_ours(&asked.body)) {
            break message;
        }
        assert!(Instant::now() < deadline, "localstripe sends no message");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let header = message.headers["stripe-signature"].as_bytes();
    #[expect(clippy::disallowed_methods, reason = "localstripe signs by the wall clock")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut facts = webhook::accept(&message.body, header, &[secret(SECRET)], now, "acct_1").unwrap();
    assert_eq!(facts.len(), 1);
    assert!(facts[0].event.take().is_some_and(|event| event.starts_with("evt_")));
    assert_eq!(facts[0].to_json(), fact(&answer));
    assert!(webhook::accept(&message.body, header, &[secret("whsec_other")], now, "acct_1").is_err());
    assert!(webhook::accept(&message.body[1..], header, &[secret(SECRET)], now, "acct_1").is_err());
}
