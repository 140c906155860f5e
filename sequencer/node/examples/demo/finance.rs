//! Finance under the demo's books: a server of the settlement protocol (docs/formats/settlement.md), with a key of its own.
//!
//! Takes a settlement by POST, under the effect's id: one that balances, and that the shop's own proof is of. Keeps it once
//! and answers with a proof of its own; a repetition gets the same answer, another settlement under that id is refused.
//! GET of an effect's id gives the answer again. The first answers may be lost on the way, as networks lose them.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tally::random;
use tally_connectors::finance::FlatProof;
use tally_core::{Clock as _, SystemClock};
use tally_protocol::hash::{EffectId, flat_proof, hex};
use tally_protocol::jcs;
use tally_protocol::key::{PublicKey, SigningKey};

/// The name of Finance's key in its proofs.
const KID: &str = "finance-ed25519-1";
const PATH: &str = "/settlements";
/// How long a caller may take to say what it wants.
const REQUEST_MAX: Duration = Duration::from_secs(10);
const BODY_BYTES_MAX: usize = 1 << 20;

/// What both sides' statements say.
const MEMBERS: [&str; 7] = ["amount", "currency", "effect", "journal", "order", "proof_sha256", "settlement_sha256"];

/// A settlement that is kept.
#[derive(Debug, Clone)]
pub(crate) struct Settled {
    pub(crate) order: String,
    pub(crate) journal: String,
    pub(crate) amount: u64,
    pub(crate) currency: String,
    settlement: Value,
    /// What was answered, with Finance's proof.
    answer: Value,
}

impl Settled {
    /// Finance's proof, as the books should hold it.
    pub(crate) fn proof(&self) -> &Value {
        &self.answer["proof"]
    }
}

#[derive(Default)]
struct Kept {
    by_effect: BTreeMap<String, Settled>,
    /// Answers that are still to be lost.
    to_lose: usize,
    repeated: usize,
}

/// What the threads share.
struct Desk {
    key: SigningKey,
    /// Whose proofs are believed.
    shop: Vec<(String, PublicKey)>,
    kept: Mutex<Kept>,
    closed: AtomicBool,
}

/// A running Finance. Ends when dropped.
pub(crate) struct Finance {
    address: SocketAddr,
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Finance {
    fn drop(&mut self) {
        self.desk.closed.store(true, Ordering::Release);
        // Whoever waits for the next caller gets one.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Finance {
    /// Listens on a free port, believes this key of the shop, and loses so many first answers.
    pub(crate) fn start(kid: &str, shop: PublicKey, to_lose: usize) -> Result<Self, String> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(words)?;
        let address = listener.local_addr().map_err(words)?;
        let kept = Mutex::new(Kept { to_lose, ..Kept::default() });
        let key = random::signing_key().map_err(words)?;
        let desk = Arc::new(Desk { key, shop: vec![(kid.to_owned(), shop)], kept, closed: AtomicBool::new(false) });
        let own = Arc::clone(&desk);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if own.closed.load(Ordering::Acquire) {
                    return;
                }
                let (Ok(stream), own) = (stream, Arc::clone(&own)) else { continue };
                std::thread::spawn(move || own.serve(stream));
            }
        });
        Ok(Self { address, desk, thread: Some(thread) })
    }

    /// Where settlements are posted.
    pub(crate) fn url(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// The name and the public half of the key that signs.
    pub(crate) fn key(&self) -> (&'static str, PublicKey) {
        (KID, self.desk.key.public_key())
    }

    /// Everything that is kept.
    pub(crate) fn settled(&self) -> Vec<Settled> {
        self.desk.kept().by_effect.values().cloned().collect()
    }

    /// How often something was asked for that was settled already.
    pub(crate) fn repeated(&self) -> usize {
        self.desk.kept().repeated
    }
}

/// What is answered: status and JSON, or nothing at all.
type Said = Option<(u16, Value)>;

fn refused(why: &str) -> Said {
    Some((422, json!({ "error": why })))
}

impl Desk {
    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One request on one connection. Whoever is not understood, or went away, is left alone.
    fn serve(&self, stream: TcpStream) {
        let Some(asked) = Asked::read(&stream) else { return };
        let Some((status, body)) = self.answer(&asked) else { return };
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {status} {status}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = stream;
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
    }

    fn answer(&self, asked: &Asked) -> Said {
        match (&*asked.method, &*asked.path) {
            ("POST", PATH) => self.settle(asked),
            ("GET", path) => {
                let effect = path.strip_prefix(PATH).and_then(|rest| rest.strip_prefix('/')).unwrap_or_default();
                let known = self.kept().by_effect.get(effect).map(|settled| settled.answer.clone());
                Some(known.map_or_else(|| (404, json!({ "error": "nothing is known of it" })), |answer| (200, answer)))
            }
            _ => Some((404, json!({ "error": "no such address" }))),
        }
    }

    fn settle(&self, asked: &Asked) -> Said {
        let effect = asked.key.as_str();
        let Ok(body) = serde_json::from_slice::<Value>(&asked.body) else { return refused("no JSON") };
        let settlement = &body["settlement"];
        if EffectId::from_hex(effect).is_err() || !is_balanced(settlement) {
            return refused("no effect, or a settlement that does not balance");
        }
        let Some(statement) = self.statement_of(&body["proof"], settlement, effect) else {
            return refused("the proof is not the shop's, or of something else");
        };
        let mut kept = self.kept();
        if let Some(known) = kept.by_effect.get(effect) {
            let known = if known.settlement == *settlement {
                Some((200, known.answer.clone()))
            } else {
                Some((409, json!({ "error": "another settlement was settled under this key" })))
            };
            kept.repeated += 1;
            return known;
        }
        let Some(settled) = self.keep(settlement, &statement) else { return refused("members are missing") };
        let answer = settled.answer.clone();
        kept.by_effect.insert(effect.to_owned(), settled);
        if kept.to_lose > 0 {
            kept.to_lose -= 1;
            return None;
        }
        Some((200, answer))
    }

    /// What the shop has signed, if it is about this settlement and this effect.
    fn statement_of(&self, proof: &Value, settlement: &Value, effect: &str) -> Option<jcs::Value> {
        let proof: FlatProof = serde_json::from_value(proof.clone()).ok()?;
        let message = proof.verified(&self.shop).ok()?;
        let canonical = jcs::canonicalize(settlement.to_string().as_bytes()).ok()?;
        let digest = hex(&flat_proof(&canonical));
        let says = |name: &str, expected: &str| message.get(name).and_then(jcs::Value::as_str) == Some(expected);
        let about = ["currency", "journal", "order", "proof_sha256"]
            .iter()
            .all(|name| settlement[*name].as_str().is_some_and(|text| says(name, text)));
        let amount = settlement["amount"].as_u64();
        let amount = amount.is_some() && message.get("amount").and_then(jcs::Value::as_u64) == amount;
        (about && amount && says("effect", effect) && says("settlement_sha256", &digest)).then_some(message)
    }

    /// The settlement with what Finance says of it: the same statement, under its own key and at its own time.
    fn keep(&self, settlement: &Value, statement: &jcs::Value) -> Option<Settled> {
        let ts = SystemClock::new().wall().to_rfc3339();
        let said = MEMBERS.iter().map(|name| Some((*name, statement.get(name)?.clone())));
        let own = [("signer_kid", jcs::Value::from(KID)), ("ts", jcs::Value::from(ts.as_str()))];
        let said: Vec<_> = said.chain(own.map(Some)).collect::<Option<_>>()?;
        let message = jcs::to_canonical(&jcs::Value::object(said));
        let signature = STANDARD.encode(self.key.sign(&message).as_bytes());
        let proof = json!({
            "alg": "ed25519", "canonical_message": String::from_utf8(message.clone()).ok()?, "hash": hex(&flat_proof(&message)),
            "signature": signature, "signer_kid": KID, "ts": ts,
        });
        let text = |name: &str| settlement[name].as_str().map(str::to_owned);
        let answer = json!({
            "amount": settlement["amount"], "currency": settlement["currency"], "journal": settlement["journal"],
            "lines": settlement["lines"], "order": settlement["order"], "proof": proof,
        });
        Some(Settled {
            order: text("order")?,
            journal: text("journal")?,
            amount: settlement["amount"].as_u64()?,
            currency: text("currency")?,
            settlement: settlement.clone(),
            answer,
        })
    }
}

/// Debits equal credits, and there are both.
fn is_balanced(settlement: &Value) -> bool {
    let Some(lines) = settlement["lines"].as_array() else { return false };
    let of = |side: &str| -> Option<u64> {
        let mine = lines.iter().filter(|line| line["side"] == side);
        mine.map(|line| line["amount"].as_u64().filter(|amount| *amount > 0)).sum()
    };
    let known = lines.iter().all(|line| line["side"] == "debit" || line["side"] == "credit");
    known && of("debit").is_some_and(|debit| debit > 0 && of("credit") == Some(debit))
}

/// A request.
struct Asked {
    method: String,
    path: String,
    /// The header `idempotency-key`.
    key: String,
    body: Vec<u8>,
}

impl Asked {
    fn read(stream: &TcpStream) -> Option<Self> {
        stream.set_read_timeout(Some(REQUEST_MAX)).ok()?;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, path) = (words.next()?, words.next()?);
        let (mut key, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "idempotency-key" => value.trim().clone_into(&mut key),
                "content-length" => length = value.trim().parse().ok().filter(|bytes| *bytes <= BODY_BYTES_MAX)?,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        Some(Self { method, path, key, body })
    }
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
