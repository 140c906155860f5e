//! A provider over real HTTP, and the connector that speaks to it: the witness of what was really done.
//!
//! `POST /do` with `idempotency-key` does what the body says, `GET /done/KEY` says whether it was done. It fails by a script,
//! body by body. What it did is a list that nobody else writes. One kind of it honours keys, the other keeps none of them
//! for that and only remembers what it did.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tally::effects::{Bounds, Connected, Dispatcher, Parts};
use tally_connectors::{Answer, Connector, Doing, Failure, Looking, Request, Status};
use tally_core::SystemClock;
use tally_gateway::EffectPort;
use tally_protocol::frame::Frame;
use tally_protocol::id::{AgentId, Index};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::market::{Market, Node, Place, STORE, key, release_of, until};

/// Signs the answers.
pub const CONNECTOR: AgentId = AgentId::from_bytes([105; 16]);

/// How one call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// 503, and nothing is done.
    Away,
    /// 400: it makes no sense.
    Senseless,
    /// 422: refused for good.
    Declined,
    /// Done, and the connection breaks.
    DoneAndBroken,
    /// Done, and no answer comes for longer than anybody waits.
    DoneAndSilent,
    /// Done, and the answer is garbage.
    DoneAndGarbled,
    /// The connection breaks before anything is done.
    Broken,
}

#[derive(Default)]
struct Books {
    done: Vec<(String, String)>,
    faults: BTreeMap<String, VecDeque<Fault>>,
}

/// A running provider.
#[derive(Clone)]
pub struct Provider {
    pub address: SocketAddr,
    books: Arc<Mutex<Books>>,
    honours_keys: bool,
}

impl Provider {
    pub fn start(honours_keys: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let provider = Self { address: listener.local_addr().unwrap(), books: Arc::default(), honours_keys };
        provider.serve(listener);
        provider
    }

    /// One that is not there yet: connections are refused until [`Provider::open`].
    pub fn closed() -> Self {
        let address = super::free_address();
        Self { address, books: Arc::default(), honours_keys: true }
    }

    pub fn open(&self) {
        self.serve(TcpListener::bind(self.address).unwrap());
    }

    fn serve(&self, listener: TcpListener) {
        let provider = self.clone();
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (provider, stream) = (provider.clone(), stream.unwrap());
                // Who hangs up is no failure of the provider's.
                std::thread::spawn(move || provider.answer(stream).is_ok());
            }
        });
    }

    pub fn will(&self, body: &str, faults: impl IntoIterator<Item = Fault>) {
        self.books.lock().unwrap().faults.entry(body.to_owned()).or_default().extend(faults);
    }

    /// What it did, in order: key and body.
    pub fn done(&self) -> Vec<(String, String)> {
        self.books.lock().unwrap().done.clone()
    }

    pub fn bodies(&self) -> Vec<String> {
        self.done().into_iter().map(|(_, body)| body).collect()
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let (mut line, mut key, mut length) = (String::new(), String::new(), 0);
        reader.read_line(&mut line)?;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            if header == "\r\n" {
                break;
            }
            match header.strip_suffix("\r\n").and_then(|header| header.split_once(": ")) {
                Some(("idempotency-key", value)) => value.clone_into(&mut key),
                Some(("content-length", value)) => length = value.parse().unwrap(),
                Some(_) => {}
                // Who dies before the end of its head has asked for nothing.
                None => return Ok(()),
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let body = String::from_utf8(body).unwrap();
        if let Some(key) = line.strip_prefix("GET /done/").and_then(|rest| rest.split(' ').next()) {
            return match self.receipt(key) {
                Some(receipt) => say(&mut stream, 200, &receipt),
                None => say(&mut stream, 404, "{}"),
            };
        }
        let fault = self.books.lock().unwrap().faults.get_mut(&body).and_then(VecDeque::pop_front);
        match fault {
            Some(Fault::Away) => return say(&mut stream, 503, "{}"),
            Some(Fault::Senseless) => return say(&mut stream, 400, "{}"),
            Some(Fault::Declined) => return say(&mut stream, 422, "{}"),
            Some(Fault::Broken) => return Ok(()),
            _ => {}
        }
        let receipt = self.do_it(&key, &body);
        match fault {
            Some(Fault::DoneAndBroken) => Ok(()),
            // Until the other side gives up.
            Some(Fault::DoneAndSilent) => stream.read(&mut [0]).map(drop),
            Some(Fault::DoneAndGarbled) => say(&mut stream, 200, "<html>"),
            _ => say(&mut stream, 200, &receipt),
        }
    }

    fn do_it(&self, key: &str, body: &str) -> String {
        let known = self.receipt(key).filter(|_| self.honours_keys);
        known.unwrap_or_else(|| {
            self.books.lock().unwrap().done.push((key.to_owned(), body.to_owned()));
            self.receipt(key).unwrap()
        })
    }

    fn receipt(&self, key: &str) -> Option<String> {
        let at = self.books.lock().unwrap().done.iter().position(|(done, _)| done == key)?;
        Some(format!("{{\"receipt\":{at}}}"))
    }
}

fn say(stream: &mut TcpStream, status: u16, body: &str) -> std::io::Result<()> {
    let length = body.len();
    write!(stream, "HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

/// The connector: one request, one connection.
pub struct HttpConnector {
    address: SocketAddr,
}

impl HttpConnector {
    /// The status and the body; without them, whether anything was sent.
    async fn ask(&self, head: &str, body: &[u8]) -> Result<(u16, String), Failure> {
        let refused = |error: std::io::Error| Failure::NotDone(format!("no connection: {}", error.kind()));
        let mut stream = tokio::net::TcpStream::connect(self.address).await.map_err(refused)?;
        let lost = |error: std::io::Error| Failure::Unknown(format!("the connection broke: {}", error.kind()));
        let request = format!("{head}content-length: {}\r\n\r\n", body.len());
        stream.write_all(&[request.as_bytes(), body].concat()).await.map_err(lost)?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.map_err(lost)?;
        let answer = text
            .split_once("\r\n\r\n")
            .and_then(|(head, body)| Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned())));
        answer.ok_or_else(|| Failure::Unknown("the connection broke".to_owned()))
    }

    fn done(body: &str) -> Result<Answer, Failure> {
        let result =
            serde_json::from_str(body).map_err(|_| Failure::Unknown("an answer nobody can read".to_owned()))?;
        Ok(Answer { status: Status::Done, result })
    }
}

impl Connector for HttpConnector {
    fn kind(&self) -> &str {
        "payment"
    }

    fn perform<'a>(&'a self, request: &'a Request) -> Doing<'a> {
        Box::pin(async move {
            let head = format!("POST /do HTTP/1.1\r\nidempotency-key: {}\r\n", request.id);
            match self.ask(&head, &request.body).await? {
                (200, body) => Self::done(&body),
                (422, _) => Ok(Answer { status: Status::Failed, result: serde_json::json!({ "code": "declined" }) }),
                (503, _) => Err(Failure::NotDone("told to come later".to_owned())),
                (400, _) => Err(Failure::Impossible("it makes no sense".to_owned())),
                (status, _) => Err(Failure::Unknown(format!("status {status}"))),
            }
        })
    }

    fn look_up<'a>(&'a self, request: &'a Request) -> Looking<'a> {
        Box::pin(async move {
            match self.ask(&format!("GET /done/{} HTTP/1.1\r\n", request.id), b"").await? {
                (200, body) => Self::done(&body).map(Some),
                (404, _) => Ok(None),
                (status, _) => Err(Failure::Unknown(format!("status {status}"))),
            }
        })
    }
}

pub const BOUNDS: Bounds = Bounds {
    in_flight_max: 4,
    held_max: 64,
    tries_max: 200,
    backoff_first: Duration::from_millis(10),
    backoff_max: Duration::from_millis(40),
    settle: Duration::from_millis(30),
    call_max: Duration::from_millis(500),
};

/// A dispatcher in this process. Gone when dropped, as in a crash.
pub struct Dispatching {
    pub port: Arc<dyn EffectPort>,
    _runtime: tokio::runtime::Runtime,
}

impl Dispatching {
    pub fn start(node: &Node, address: SocketAddr) -> Self {
        let connector = Box::new(HttpConnector { address });
        let parts = Parts {
            engine: Arc::clone(&node.engine),
            reader: node.reader.clone(),
            submitter: node.sequencer.submitter(),
            clock: Arc::new(SystemClock::new()),
            bounds: BOUNDS,
            connected: vec![Connected { connector, agent: CONNECTOR, key: key(CONNECTOR) }],
        };
        let (dispatcher, port) = Dispatcher::new(parts).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.spawn(dispatcher.run());
        Self { port, _runtime: runtime }
    }

    /// A measurement.
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.port.metrics();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }
}

/// A plugin that asks for an effect at each event: the body is a JSON string, its first letter the kind (`m`: mail, else
/// payment), its second the suffix; the effect's body is the event's.
fn payer() -> Bytes {
    let manifest = r#"{"abi":1,"capabilities":["effect:mail","effect:payment"],"events":["pay.*"],"id":"payer","limits":{},"prefixes":[],"routes":[],"state_version":1,"version":"1.0.0"}"#;
    let text: String = manifest.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    let effect = |at: u32, length: u32| {
        format!(
            "(call $effect (i32.const {at}) (i32.const {length}) (i32.add (local.get $body) (i32.const 2)) (i32.const 1)
               (local.get $body) (i32.load offset=128 (local.get $p)))"
        )
    };
    let module = format!(
        r#"(module
  (import "tally:plugin/host@1" "next" (func $next (param i32)))
  (import "tally:plugin/host@1" "done" (func $done (param i32 i32 i32)))
  (import "tally:plugin/host@1" "effect" (func $effect (param i32 i32 i32 i32 i32 i32)))
  (memory (export "memory") 4)
  (data (i32.const 8192) "{text}")
  (data (i32.const 9100) "mail")
  (data (i32.const 9200) "payment")
  (func (export "describe") (param i32)
    (i32.store (local.get 0) (i32.const 8192))
    (i32.store offset=4 (local.get 0) (i32.const {length})))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (if (i32.gt_u (local.get 3) (i32.const 60000)) (then unreachable))
    (if (result i32) (i32.lt_u (local.get 3) (i32.const 100))
      (then (i32.const 16384)) (else (i32.const 131072))))
  (func (export "init") (param i32 i32) (result i32) (i32.const 0))
  (func (export "migrate") (param i32 i32 i32) (result i32) (i32.const 0))
  (func (export "query") (param i32 i32 i32))
  (func (export "run") (local $p i32) (local $body i32)
    (loop $next_event
      (call $next (i32.const 16))
      (if (i32.load (i32.const 16))
        (then
          (local.set $p (i32.load (i32.const 20)))
          (local.set $body (i32.add (i32.add (local.get $p) (i32.const 132))
            (i32.add (i32.load16_u offset=120 (local.get $p))
              (i32.add (i32.load16_u offset=122 (local.get $p)) (i32.load16_u offset=124 (local.get $p))))))
          (if (i32.eq (i32.load8_u offset=1 (local.get $body)) (i32.const 109))
            (then {mail}) (else {payment}))
          (call $done (i32.const 1) (i32.const 0) (i32.const 0))
          (br $next_event))))))"#,
        length = manifest.len(),
        mail = effect(9100, 4),
        payment = effect(9200, 7),
    );
    wat::parse_str(&module).unwrap_or_else(|error| panic!("{error}")).into()
}

/// A node on which the plugin runs.
pub fn with_payer(place: &Place) -> (Node, Market) {
    let (node, mut market) = place.start_ready();
    let wasm = payer();
    node.port.put_module(wasm.clone()).unwrap();
    node.accept(market.life(STORE, &release_of(&wasm)));
    (node, market)
}

/// An event that asks.
pub fn ask(market: &Market, body: &str) -> Frame {
    market.event("pay.asked", ("order", "o-1"), body)
}

/// What is listed of all effects.
pub fn listed(node: &Node) -> Vec<(Index, serde_json::Value)> {
    let effects = node.port.effects(None, 1_000).unwrap();
    effects.into_iter().map(|effect| (effect.index, effect.record)).collect()
}

/// Where they stand.
pub fn states(node: &Node) -> Vec<String> {
    listed(node).iter().map(|(_, record)| record["state"].as_str().unwrap().to_owned()).collect()
}

pub fn until_all(node: &Node, state: &str, count: usize) {
    until(state, || {
        let states = states(node);
        states.len() == count && states.iter().all(|it| it == state)
    });
}

/// The answers in the log: effect, body, agent.
pub fn answers(node: &Node) -> Vec<(String, serde_json::Value, AgentId)> {
    let (mut found, mut from) = (Vec::new(), Index::new(1));
    loop {
        let page = node.reader.events_of_log(from, 1_000).unwrap();
        let Some(last) = page.last() else { return found };
        from = last.index.next();
        for event in page.iter().filter(|event| event.frame.event_type() == "effect.answered") {
            let frame = &event.frame;
            let body = serde_json::from_slice(frame.payload()).unwrap();
            found.push((frame.entity_id().to_owned(), body, frame.agent_id()));
        }
    }
}
