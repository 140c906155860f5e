//! An RPC provider that misbehaves on demand, in front of a real one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::anvil::reqwest_client;

/// What it does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Nothing.
    Honest,
    /// Takes the question and never answers.
    Hangs,
    /// Closes the connection.
    Refuses,
    /// Calls the newest block safe and finalized.
    LiesAboutFinality,
    /// Stays at this height for ever.
    StaysAt(u64),
    /// Answers "already known" to every transaction, after having passed it on.
    SaysAlreadyKnown,
    /// Passes a transaction on and hangs up before the answer.
    DropsTheAnswer,
}

pub(crate) struct Proxy {
    pub(crate) url: String,
    mode: Arc<Mutex<Mode>>,
    asked: Arc<Mutex<BTreeMap<String, u64>>>,
}

impl Proxy {
    pub(crate) async fn before(upstream: &str, mode: Mode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (mode, asked) = (Arc::new(Mutex::new(mode)), Arc::new(Mutex::new(BTreeMap::new())));
        let proxy = Self { url, mode: Arc::clone(&mode), asked: Arc::clone(&asked) };
        let (upstream, client) = (upstream.to_owned(), reqwest_client());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (mode, asked) = (Arc::clone(&mode), Arc::clone(&asked));
                let (upstream, client) = (upstream.clone(), client.clone());
                tokio::spawn(async move { serve(stream, &upstream, &client, &mode, &asked).await });
            }
        });
        proxy
    }

    pub(crate) fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    pub(crate) fn asked(&self, method: &str) -> u64 {
        self.asked.lock().unwrap().get(method).copied().unwrap_or(0)
    }
}

/// One question per connection: the answer says so.
async fn serve(
    mut stream: TcpStream,
    upstream: &str,
    client: &reqwest::Client,
    mode: &Mutex<Mode>,
    asked: &Mutex<BTreeMap<String, u64>>,
) {
    let Some(question) = read_question(&mut stream).await else { return };
    let method = question["method"].as_str().unwrap_or_default().to_owned();
    *asked.lock().unwrap().entry(method.clone()).or_default() += 1;
    let mode = *mode.lock().unwrap();
    let sends = method == "eth_sendRawTransaction";
    match mode {
        Mode::Hangs => return tokio::time::sleep(Duration::from_secs(600)).await,
        Mode::Refuses => return,
        _ => {}
    }
    let answer = client.post(upstream).json(&bent(question, mode)).send().await;
    let Ok(answer) = answer else { return };
    let Ok(mut answer) = answer.json::<Value>().await else { return };
    if sends && mode == Mode::DropsTheAnswer {
        return;
    }
    if sends && mode == Mode::SaysAlreadyKnown {
        answer = json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": -32000, "message": "already known" } });
    }
    let body = answer.to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    // The other side may have given up.
    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// The question as the liar asks it.
fn bent(mut question: Value, mode: Mode) -> Value {
    if question["method"] != "eth_getBlockByNumber" {
        return question;
    }
    let tag = question["params"][0].as_str().unwrap_or_default().to_owned();
    match mode {
        Mode::LiesAboutFinality if tag == "safe" || tag == "finalized" => question["params"][0] = json!("latest"),
        Mode::StaysAt(height) if tag == "latest" => question["params"][0] = json!(format!("0x{height:x}")),
        _ => {}
    }
    question
}

async fn read_question(stream: &mut TcpStream) -> Option<Value> {
    let mut bytes = Vec::new();
    loop {
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(head) = head {
            let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
            let length: usize =
                text.lines().find_map(|line| line.strip_prefix("content-length:"))?.trim().parse().ok()?;
            if bytes.len() >= head + 4 + length {
                return serde_json::from_slice(&bytes[head + 4..head + 4 + length]).ok();
            }
        }
        let mut more = [0; 4096];
        let read = stream.read(&mut more).await.ok()?;
        if read == 0 {
            return None;
        }
        bytes.extend_from_slice(&more[..read]);
    }
}
