//! A key behind HTTP, and what a hostile signer may answer.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tally_anchor::signer::config::{OpenError, SignerConfig};
use tally_anchor::signer::secp256k1::SecretKey;
use tally_anchor::signer::{Purpose, Signature, Signer as _, SignerError};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::anvil::hex;
use crate::process::free_port;
use crate::softhsm::write_private;
use crate::suite::{Opened, negated, open_text, signs_for_the_chain, surroundings};

fn key() -> SecretKey {
    SecretKey::from_bytes(&[0x21; 32]).unwrap()
}

/// What a signer answers to a request's body: the bytes of an HTTP answer.
type Answering = dyn Fn(&Value) -> Vec<u8> + Send + Sync;

/// An HTTP signer: reads one request per connection, and answers what it is told to.
struct Server {
    url: String,
    asked: Arc<AtomicUsize>,
    head: Arc<Mutex<String>>,
}

impl Server {
    async fn start(answering: impl Fn(&Value) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/sign", listener.local_addr().unwrap());
        let (asked, head) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(String::new())));
        let server = Self { url, asked: Arc::clone(&asked), head: Arc::clone(&head) };
        let answering: Arc<Answering> = Arc::new(answering);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                asked.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, Arc::clone(&answering), Arc::clone(&head)));
            }
        });
        server
    }

    async fn signer(&self, folder: &TempDir) -> Opened {
        let token = folder.path().join("token");
        write_private(&token, "a-token\n");
        open_text(&settings(&self.url, &token), &surroundings(folder.path(), &[])).await.unwrap()
    }
}

fn settings(url: &str, token: &Path) -> String {
    let (address, token) = (key().address(), token.display());
    let who = format!("key = \"gas\"\naddress = \"{address}\"\ntoken_file = \"{token}\"");
    format!("kind = \"remote\"\nurl = \"{url}\"\n{who}\ntimeout_ms = 2000\ndevelopment = true")
}

async fn serve(mut stream: TcpStream, answering: Arc<Answering>, seen: Arc<Mutex<String>>) {
    let mut request = Vec::new();
    let (head, body) = loop {
        let mut some = [0; 4096];
        let length = stream.read(&mut some).await.unwrap();
        request.extend_from_slice(&some[..length]);
        let text = String::from_utf8(request.clone()).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.to_lowercase().split("content-length: ").nth(1).unwrap().lines().next().unwrap().to_owned();
        if body.len() == length.parse::<usize>().unwrap() {
            break (head.to_owned(), body.to_owned());
        }
    };
    *seen.lock().unwrap() = head;
    let answer = answering(&serde_json::from_str(&body).unwrap());
    let endless = answer.ends_with(b"...");
    let _ = stream.write_all(&answer).await;
    while endless && stream.write_all(&[b' '; 4096]).await.is_ok() {}
    if answer.is_empty() {
        // Says nothing until the caller gives up.
        let _ = stream.read(&mut [0]).await;
    }
}

fn http(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} S\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

fn digest(request: &Value) -> [u8; 32] {
    let text = request["digest"].as_str().unwrap().strip_prefix("0x").unwrap();
    let bytes: Vec<_> = (0..32).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

fn written(signature: &Signature) -> Value {
    json!({"r": hex(&signature.r), "s": hex(&signature.s), "v": 27 + u8::from(signature.odd_y)})
}

#[tokio::test]
async fn a_key_behind_http_signs_for_the_chain() {
    let server = Server::start(|request| {
        assert_eq!(request["key"], "gas");
        http(200, &written(&key().sign(&digest(request)).unwrap()).to_string())
    });
    let (server, folder) = (server.await, tempfile::tempdir().unwrap());
    let signer = server.signer(&folder).await;
    signs_for_the_chain(&signer, 100, &folder.path().join("uses.jsonl")).await;
    assert!(server.head.lock().unwrap().to_lowercase().contains("authorization: bearer a-token\r\n"));
}

/// What the signer makes of an answer.
async fn answer_to(answering: impl Fn(&Value) -> Vec<u8> + Send + Sync + 'static) -> SignerError {
    let (server, folder) = (Server::start(answering).await, tempfile::tempdir().unwrap());
    let signer = server.signer(&folder).await;
    signer.sign(Purpose::Authority, [0x77; 32]).await.unwrap_err()
}

#[tokio::test]
async fn an_answer_that_is_no_signature_of_the_pinned_key_is_wrong() {
    type Change = fn(&Value) -> Value;
    let of = |request: &Value| key().sign(&digest(request)).unwrap();
    let changes: &[(&str, Change)] = &[
        ("another key's", |request| written(&SecretKey::from_bytes(&[9; 32]).unwrap().sign(&digest(request)).unwrap())),
        ("another digest's", |_| written(&key().sign(&[1; 32]).unwrap())),
    ];
    for (what, change) in changes {
        let error = answer_to(|request| http(200, &change(request).to_string())).await;
        assert!(matches!(error, SignerError::Wrong(_)), "{what}: {error}");
    }
    let error = answer_to(move |request| {
        let low = of(request);
        http(200, &written(&Signature { s: negated(&low.s), odd_y: !low.odd_y, ..low }).to_string())
    });
    assert!(matches!(error.await, SignerError::Wrong(why) if why.contains("higher")));
    let error = answer_to(move |request| {
        http(200, &written(&Signature { odd_y: !of(request).odd_y, ..of(request) }).to_string())
    });
    assert!(matches!(error.await, SignerError::Wrong(_)));
}

#[tokio::test]
async fn an_answer_of_another_form_is_wrong() {
    let zero = hex(&[0; 32]);
    for body in [
        String::new(),
        "garbage".to_owned(),
        "{}".to_owned(),
        json!({"r": zero, "s": zero, "v": 27}).to_string(),
        json!({"r": hex(&[1; 32]), "s": hex(&[1; 32]), "v": 29}).to_string(),
        json!({"r": hex(&[1; 32]), "s": hex(&[1; 32]), "v": 27, "more": 1}).to_string(),
        json!({"r": hex(&[1; 33]), "s": hex(&[1; 32]), "v": 27}).to_string(),
        json!({"signature": hex(&[1; 65])}).to_string(),
    ] {
        let shown = body.clone();
        let error = answer_to(move |_| http(200, &body)).await;
        assert!(matches!(error, SignerError::Wrong(_)), "{shown}: {error}");
    }
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let error = answer_to(|_| b"HTTP/1.1 200 S\r\nconnection: close\r\n\r\n...".to_vec()).await;
    assert!(matches!(error, SignerError::Wrong(_)), "{error}");
}

#[tokio::test]
async fn a_redirect_is_wrong_and_is_not_followed() {
    let elsewhere =
        Server::start(|request| http(200, &written(&key().sign(&digest(request)).unwrap()).to_string())).await;
    let url = elsewhere.url.clone();
    for status in [301, 302, 307, 308] {
        let url = url.clone();
        let error = answer_to(move |_| {
            format!("HTTP/1.1 {status} S\r\nlocation: {url}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .into_bytes()
        });
        let error = error.await;
        assert!(matches!(error, SignerError::Wrong(_)), "{status}: {error}");
    }
    assert_eq!(elsewhere.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn silence_and_absence_are_unreachable_and_a_no_is_a_refusal() {
    assert!(matches!(answer_to(|_| Vec::new()).await, SignerError::Unreachable(_)));
    for status in [500, 503, 429, 408] {
        let error = answer_to(move |_| http(status, "")).await;
        assert!(matches!(error, SignerError::Unreachable(_)), "{status}: {error}");
    }
    for status in [400, 401, 403, 404, 423] {
        let error = answer_to(move |_| http(status, "")).await;
        assert!(matches!(error, SignerError::Refused(_)), "{status}: {error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    write_private(&token, "a-token");
    let nobody = settings(&format!("http://127.0.0.1:{}/", free_port()), &token);
    let signer = open_text(&nobody, &surroundings(folder.path(), &[])).await.unwrap();
    let error = signer.sign(Purpose::Transaction, [1; 32]).await.unwrap_err();
    assert!(matches!(error, SignerError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn production_wants_tls_and_a_proof_of_who_calls() {
    let folder = tempfile::tempdir().unwrap();
    let around = surroundings(folder.path(), &[]);
    let token = folder.path().join("token");
    write_private(&token, "a-token");
    let production = |url: &str| settings(url, &token).replace("development = true", "");
    let refused = open_text(&production("http://signer.internal/sign"), &around).await.unwrap_err();
    assert!(matches!(refused, OpenError::Unsafe(_)), "{refused}");
    let open_to_all = production("https://signer.internal/sign").replace("token_file", "roots_file");
    let refused = open_text(&open_to_all, &around).await.unwrap_err();
    assert!(matches!(refused, OpenError::Unsafe(_)), "{refused}");
    open_text(&production("https://signer.internal/sign"), &around).await.unwrap();
}

#[tokio::test]
async fn a_private_key_in_the_environment_is_refused_by_every_kind_in_production() {
    let folder = tempfile::tempdir().unwrap();
    let around = surroundings(folder.path(), &[("SEQUENCER_PRIVATE_KEY", "0xfeed")]);
    let token = folder.path().join("token");
    write_private(&token, "a-token");
    let remote = settings("https://signer.internal/sign", &token).replace("development = true", "");
    let kms = "kind = \"kms\"\nkey = \"k\"\nregion = \"r\"\ncredentials = { from = \"environment\" }";
    let pkcs11 = "kind = \"pkcs11\"\nmodule = \"/m.so\"\ntoken = \"t\"\nkey = \"k\"\npin = { file = \"/pin\" }";
    let file = "kind = \"file\"\npath = \"/key\"";
    for settings in [&remote, kms, pkcs11, file] {
        let refused = open_text(settings, &around).await.unwrap_err();
        let OpenError::Unsafe(why) = &refused else { panic!("{settings}: {refused}") };
        assert!(why.contains("SEQUENCER_PRIVATE_KEY") && !why.contains("feed"), "{why}");
    }
    // The same settings, said to be development, get past it.
    let path = folder.path().join("gas.key");
    tally_anchor::signer::file::create(&path, &[7; 32]).unwrap();
    let development = format!("kind = \"file\"\ndevelopment = true\npath = \"{}\"", path.display());
    open_text(&development, &around).await.unwrap();
}

#[test]
fn settings_with_an_unknown_kind_or_key_are_refused() {
    let good = "kind = \"file\"\npath = \"/key\"";
    toml::from_str::<SignerConfig>(good).unwrap();
    for bad in [
        "path = \"/key\"",
        "kind = \"env\"\npath = \"/key\"",
        &format!("{good}\nfallback = \"kms\""),
        &format!("{good}\nsecret = \"0x00\""),
        "kind = \"pkcs11\"\nmodule = \"/m\"\ntoken = \"t\"\nkey = \"k\"\npin = \"1234\"",
        "kind = \"pkcs11\"\nmodule = \"/m\"\ntoken = \"t\"\nkey = \"k\"\npin = { environment = \"PIN\" }",
        "kind = \"kms\"\nkey = \"k\"\nregion = \"r\"",
        "kind = \"remote\"\nurl = \"https://x/\"\nkey = \"k\"",
    ] {
        assert!(toml::from_str::<SignerConfig>(bad).is_err(), "{bad}");
    }
}
