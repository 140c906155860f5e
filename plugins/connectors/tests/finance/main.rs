//! The connector of kind `finance` against a Finance that can do wrong, and its proofs against a foreign verifier.
//!
//! The foreign verifier is `verify_proof.py`, run by the Python that `TALLY_STRIPE_PYTHON` names (it needs `cryptography`).

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod royalty;
#[path = "../server/mod.rs"]
mod server;

use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use server::{Asked, Reaction, Server};
use tally_connectors::finance::{Clock, Finance, FinanceConfig, FlatProof};
use tally_connectors::{Answer, Connector as _, Failure, Request, Status};
use tally_protocol::hash::{EffectId, flat_proof, hex};
use tally_protocol::id::{Index, PluginId, Stream};
use tally_protocol::jcs;
use tally_protocol::key::{PublicKey, Signature, Signer, SignerError, SigningKey};
use tally_protocol::time::LogTime;

const ORDER: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const OUR_KID: &str = "tally-ed25519-1";
const FINANCE_KID: &str = "finance-ed25519-1";

fn our_key() -> SigningKey {
    SigningKey::from_seed([1; 32])
}

fn finance_key() -> SigningKey {
    SigningKey::from_seed([2; 32])
}

fn config(url: &str) -> FinanceConfig {
    let keys = json!([{ "signer_kid": FINANCE_KID, "public_key": finance_key().public_key().to_hex() }]);
    let settings = json!({ "url": url, "signer_kid": OUR_KID, "keys": keys, "timeout_ms": 1_000, "development": true });
    serde_json::from_value(settings).unwrap()
}

/// A clock that never stands, so that no two proofs are alike.
fn clock() -> Clock {
    let ticks = AtomicU64::new(1_767_225_600_000_000);
    Arc::new(move || LogTime::from_micros(ticks.fetch_add(1_000_000, Ordering::SeqCst)))
}

fn connector(url: &str) -> Finance {
    Finance::open(&config(url), Arc::new(our_key()), None, clock()).unwrap()
}

fn lines(credit: u64) -> Value {
    json!([
        { "account": "psp", "amount": 1999, "side": "debit" },
        { "account": "held/agent:a", "amount": credit, "side": "credit", "weight": 10_000 },
    ])
}

fn settlement(lines: &Value) -> Request {
    let body = json!({
        "amount": 1999, "currency": "USD", "journal": "22".repeat(32), "lines": lines, "op": "settle", "order": ORDER,
        "proof_sha256": "33".repeat(32),
    });
    Request {
        id: EffectId::from_bytes([7; 32]),
        index: Index::new(1),
        stream: Stream::from_bytes(&[1; 32]),
        plugin: PluginId::new("royalty").unwrap(),
        kind: "finance".to_owned(),
        suffix: ORDER.to_owned(),
        body: Bytes::from(body.to_string()),
    }
}

fn asked() -> Request {
    settlement(&lines(1999))
}

/// What an honest Finance says to a POST, and keeps.
fn confirmation(asked: &Asked) -> Value {
    let posted: Value = serde_json::from_slice(&asked.body).unwrap();
    let settled = &posted["settlement"];
    let text = |name: &str| jcs::Value::from(settled[name].as_str().unwrap());
    let digest = hex(&flat_proof(&jcs::canonicalize(settled.to_string().as_bytes()).unwrap()));
    let message = jcs::to_canonical(&jcs::Value::object([
        ("amount", jcs::Value::integer(settled["amount"].as_u64().unwrap()).unwrap()),
        ("currency", text("currency")),
        ("effect", asked.headers["idempotency-key"].as_str().into()),
        ("journal", text("journal")),
        ("order", text("order")),
        ("proof_sha256", text("proof_sha256")),
        ("settlement_sha256", digest.into()),
        ("signer_kid", FINANCE_KID.into()),
        ("ts", "2026-01-02T03:04:05Z".into()),
    ]));
    let mut said = json!({
        "amount": settled["amount"], "currency": settled["currency"], "journal": settled["journal"],
        "lines": settled["lines"], "order": settled["order"],
    });
    said["proof"] = proof_of(&finance_key(), &String::from_utf8(message).unwrap());
    said
}

fn proof_of(key: &SigningKey, message: &str) -> Value {
    let signature = STANDARD.encode(key.sign(message.as_bytes()).as_bytes());
    json!({ "canonical_message": message, "signature": signature, "signer_kid": FINANCE_KID, "ts": "2026-01-02T03:04:05Z" })
}

/// A Finance that keeps what it confirmed, changes what it says, and does this with its first POST.
fn finance(first: Option<Reaction>, change: impl Fn(&mut Value) + Send + 'static) -> Server {
    let mut kept: Option<Vec<u8>> = None;
    let mut first = first;
    Server::start(move |asked| {
        if asked.method == "GET" {
            return kept.clone().map_or(Reaction::Answer(404, Vec::new()), |body| Reaction::Answer(200, body));
        }
        let mut said = confirmation(asked);
        change(&mut said);
        let body = kept.get_or_insert_with(|| said.to_string().into_bytes()).clone();
        first.take().unwrap_or(Reaction::Answer(200, body))
    })
}

#[tokio::test]
async fn a_settlement_is_done_when_finance_confirms_exactly_it() {
    let server = finance(None, |_| {});
    let finance = connector(&server.url());
    assert_eq!(finance.look_up(&asked()).await, Ok(None));
    let answer = finance.perform(&asked()).await.unwrap();
    assert_eq!(answer.status, Status::Done);
    let names: Vec<&String> = answer.result.as_object().unwrap().keys().collect();
    assert_eq!(names, ["amount", "currency", "journal", "order", "proof"]);
    assert_eq!((&answer.result["order"], &answer.result["amount"]), (&json!(ORDER), &json!(1999)));
    assert_eq!(finance.look_up(&asked()).await, Ok(Some(answer)));
}

#[tokio::test]
async fn a_repetition_has_the_same_key_and_settlement_and_gets_the_first_confirmation() {
    let server = finance(None, |_| {});
    let finance = connector(&server.url());
    let first = finance.perform(&asked()).await.unwrap();
    assert_eq!(finance.perform(&asked()).await.unwrap(), first);
    let posts = server.asked();
    let body = |at: usize| serde_json::from_slice::<Value>(&posts[at].body).unwrap();
    assert_eq!(body(0)["settlement"], body(1)["settlement"]);
    assert_ne!(body(0)["proof"]["ts"], body(1)["proof"]["ts"], "each proof is signed when it is sent");
    for post in &posts {
        assert_eq!(post.headers["idempotency-key"], "07".repeat(32));
    }
}

#[tokio::test]
async fn our_proof_verifies_with_a_foreign_tool_and_its_alterations_do_not() {
    let server = finance(None, |_| {});
    connector(&server.url()).perform(&asked()).await.unwrap();
    let posted: Value = serde_json::from_slice(&server.asked()[0].body).unwrap();
    let proof = &posted["proof"];
    assert_eq!(foreign(proof), Some(ORDER.to_owned()));
    for member in ["canonical_message", "hash", "signature", "signer_kid", "ts"] {
        let mut altered = proof.clone();
        let text = altered[member].as_str().unwrap();
        let other = if text.starts_with('0') { "1" } else { "0" };
        altered[member] = json!(format!("{other}{}", &text[1..]));
        assert_eq!(foreign(&altered), None, "{member}");
    }
    // Ours says the same of it.
    let proof: FlatProof = serde_json::from_value(proof.clone()).unwrap();
    let message = proof.verified(&[(OUR_KID.to_owned(), our_key().public_key())]).unwrap();
    let digest = hex(&flat_proof(&jcs::canonicalize(posted["settlement"].to_string().as_bytes()).unwrap()));
    assert_eq!(message.get("settlement_sha256").and_then(jcs::Value::as_str), Some(digest.as_str()));
}

/// What the foreign verifier says: the order of the message.
fn foreign(proof: &Value) -> Option<String> {
    let python = std::env::var_os("TALLY_STRIPE_PYTHON")
        .expect("TALLY_STRIPE_PYTHON is not set: the path of a Python that has the package `cryptography` (PyPI)");
    let mut child = Command::new(&python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/finance/verify_proof.py"))
        .arg(our_key().public_key().to_hex())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("TALLY_STRIPE_PYTHON cannot be started: {error}"));
    child.stdin.take().unwrap().write_all(proof.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

/// Signs the message again after changing it, so that only its content is wrong.
fn resigned(said: &mut Value, from: &str, to: &str) {
    let message = said["proof"]["canonical_message"].as_str().unwrap();
    assert!(message.contains(from));
    said["proof"] = proof_of(&finance_key(), &message.replace(from, to));
}

#[tokio::test]
async fn nothing_but_a_confirmation_of_this_settlement_by_finances_key_is_done() {
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 20] = [
        ("unsigned", |said| said["proof"] = Value::Null),
        ("no proof", |said| drop(said.as_object_mut().unwrap().remove("proof"))),
        ("empty signature", |said| said["proof"]["signature"] = json!("")),
        ("not an object", |said| *said = json!([])),
        ("ok alone", |said| *said = json!({ "ok": true })),
        ("other order beside the proof", |said| said["order"] = json!("44".repeat(32))),
        ("other journal beside the proof", |said| said["journal"] = json!("44".repeat(32))),
        ("other amount beside the proof", |said| said["amount"] = json!(1998)),
        ("other currency beside the proof", |said| said["currency"] = json!("EUR")),
        ("unbalanced lines", |said| said["lines"][0]["amount"] = json!(1)),
        ("signed for another order", |said| resigned(said, ORDER, &"44".repeat(32))),
        ("signed for another journal", |said| resigned(said, &"22".repeat(32), &"44".repeat(32))),
        ("signed for another amount", |said| resigned(said, "1999", "2000")),
        ("signed for another currency", |said| resigned(said, "USD", "EUR")),
        ("signed for another effect", |said| resigned(said, &"07".repeat(32), &"08".repeat(32))),
        ("signed for another proof", |said| resigned(said, &"33".repeat(32), &"34".repeat(32))),
        ("signed for other lines", |said| {
            let message = said["proof"]["canonical_message"].as_str().unwrap().to_owned();
            let at = message.find("settlement_sha256").unwrap() + 20;
            resigned(said, &message[at..at + 64], &"55".repeat(32));
        }),
        ("signed with a further member", |said| resigned(said, r#""order""#, r#""more":1,"order""#)),
        ("another signer", |said| {
            let message = said["proof"]["canonical_message"].as_str().unwrap().to_owned();
            said["proof"] = proof_of(&SigningKey::from_seed([9; 32]), &message);
        }),
        ("our own proof, sent back", |said| {
            let message = said["proof"]["canonical_message"].as_str().unwrap().replace(FINANCE_KID, OUR_KID);
            said["proof"] = proof_of(&our_key(), &message);
            said["proof"]["signer_kid"] = json!(OUR_KID);
        }),
    ];
    for (name, change) in changes {
        let server = finance(None, change);
        let finance = connector(&server.url());
        let found = finance.perform(&asked()).await;
        assert!(matches!(found, Err(Failure::Impossible(_))), "{name}: {found:?}");
        let found = finance.look_up(&asked()).await;
        assert!(matches!(found, Err(Failure::Impossible(_))), "{name}: {found:?}");
    }
}

#[tokio::test]
async fn an_unbalanced_settlement_never_leaves() {
    let server = finance(None, |_| {});
    let finance = connector(&server.url());
    for wrong in [lines(1998), lines(0), json!([]), json!([lines(1999)[0].clone()])] {
        assert!(matches!(finance.perform(&settlement(&wrong)).await, Err(Failure::Impossible(_))));
    }
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_finance_that_errs_or_is_away_never_fails_or_finishes_an_order() {
    let reactions = [
        (Reaction::Break, "unknown"),
        (Reaction::Cut, "unknown"),
        (Reaction::Silence, "unknown"),
        (Reaction::Answer(500, Vec::new()), "unknown"),
        (Reaction::Answer(408, Vec::new()), "unknown"),
        (Reaction::Answer(302, Vec::new()), "unknown"),
        (Reaction::Answer(200, b"<html>".to_vec()), "unknown"),
        (Reaction::Answer(429, Vec::new()), "not done"),
        (Reaction::Answer(400, Vec::new()), "impossible"),
        (Reaction::Answer(401, Vec::new()), "impossible"),
        (Reaction::Answer(409, Vec::new()), "impossible"),
        (Reaction::Answer(422, Vec::new()), "impossible"),
    ];
    for (reaction, expected) in reactions {
        let server = finance(Some(reaction.clone()), |_| {});
        let finance = connector(&server.url());
        let found = match finance.perform(&asked()).await {
            Err(Failure::Unknown(_)) => "unknown",
            Err(Failure::NotDone(_)) => "not done",
            Err(Failure::Impossible(_)) => "impossible",
            Ok(answer) => panic!("{reaction:?}: {answer:?}"),
        };
        assert_eq!(found, expected, "{reaction:?}");
        // It was posted at Finance all the same, and a look-up finds it.
        let found: Answer = finance.look_up(&asked()).await.unwrap().unwrap();
        assert_eq!(found.status, Status::Done);
    }
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let finance = connector(&format!("http://{nobody}"));
    assert!(matches!(finance.perform(&asked()).await, Err(Failure::NotDone(_))));
    assert!(matches!(finance.look_up(&asked()).await, Err(Failure::Unknown(_))));
}

/// A signer that does not sign.
struct Away(SignerError);

impl Signer for Away {
    fn public_key(&self) -> PublicKey {
        our_key().public_key()
    }

    fn sign(&self, _: &[u8]) -> Result<Signature, SignerError> {
        Err(self.0.clone())
    }
}

#[tokio::test]
async fn without_our_signature_nothing_is_posted() {
    let server = finance(None, |_| {});
    let open = |error| Finance::open(&config(&server.url()), Arc::new(Away(error)), None, clock()).unwrap();
    let away = open(SignerError::Unavailable("device".to_owned())).perform(&asked()).await;
    assert!(matches!(away, Err(Failure::NotDone(_))));
    let refused = open(SignerError::Refused("policy".to_owned())).perform(&asked()).await;
    assert!(matches!(refused, Err(Failure::Impossible(_))));
    assert!(server.asked().is_empty());
}

#[test]
fn finance_is_not_opened_without_tls_or_without_a_key_that_somebody_holds() {
    let open = |change: fn(&mut FinanceConfig)| {
        let mut config = FinanceConfig { development: false, ..config("https://finance.example/settlements") };
        change(&mut config);
        Finance::open(&config, Arc::new(our_key()), None, clock()).is_ok()
    };
    assert!(open(|_| {}));
    assert!(!open(|config| config.url = "http://finance.example".to_owned()));
    assert!(!open(|config| config.keys.clear()));
    assert!(!open(|config| config.keys[0].public_key = "00".repeat(32)));
    assert!(!open(|config| config.keys[0].public_key = "zz".to_owned()));
    assert!(!open(|config| config.signer_kid.clear()));
}
