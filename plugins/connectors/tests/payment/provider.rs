//! A provider in memory: payments, refunds, transfers, idempotency keys as the provider documents them, lists that are
//! newest first, a search, and one fault per call where a test plans one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::server::{Asked, Reaction, Server};

/// What goes wrong with one POST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing.
    None,
    /// Done, and the connection breaks before the answer.
    BreakAfter,
    /// Not done, and the connection breaks.
    BreakBefore,
    /// Done, and the answer ends in the middle.
    CutAfter,
    /// Done, and no answer comes.
    SilenceAfter,
    /// Done, and the answer is this status.
    StatusAfter(u16),
    /// Not done; this status.
    StatusBefore(u16),
    /// Done, and the answer is not JSON.
    NoiseAfter,
}

#[derive(Default)]
struct Books {
    /// Newest first, as lists are.
    objects: BTreeMap<&'static str, Vec<Value>>,
    keys: BTreeMap<String, (String, Vec<u8>)>,
    faults: VecDeque<Fault>,
    made: u64,
    /// What `created` is, in seconds.
    now: u64,
}

/// The provider and its books.
pub(super) struct Provider {
    server: Server,
    books: Arc<Mutex<Books>>,
}

impl Provider {
    pub(super) fn start() -> Self {
        // The server's date is the first of January 2026.
        let books = Arc::new(Mutex::new(Books { now: 1_767_225_600, ..Books::default() }));
        let shared = Arc::clone(&books);
        let server = Server::start(move |asked| shared.lock().unwrap().react(asked));
        Self { server, books }
    }

    pub(super) fn url(&self) -> String {
        self.server.url()
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.server.asked()
    }

    pub(super) fn plan(&self, faults: impl IntoIterator<Item = Fault>) {
        self.books.lock().unwrap().faults.extend(faults);
    }

    pub(super) fn count(&self, kind: &str) -> usize {
        self.books.lock().unwrap().objects.get(kind).map_or(0, Vec::len)
    }

    /// Payments of somebody else, made `age_s` seconds ago.
    pub(super) fn others_pay(&self, count: usize, age_s: u64) {
        let mut books = self.books.lock().unwrap();
        books.now -= age_s;
        for _ in 0..count {
            books.make("payment_intents", &BTreeMap::from([("amount".to_owned(), "5".to_owned())]));
        }
        books.now += age_s;
    }

    /// Lets everything that is there be this much older.
    pub(super) fn age(&self, by_s: u64) {
        for object in self.books.lock().unwrap().objects.values_mut().flatten() {
            object["created"] = json!(object["created"].as_u64().unwrap() - by_s);
        }
    }
}

impl Books {
    fn react(&mut self, asked: &Asked) -> Reaction {
        let url: reqwest::Url = format!("http://x{}", asked.path).parse().unwrap();
        let path: Vec<&str> = url.path_segments().unwrap().collect();
        let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        if asked.method == "GET" {
            return answer(self.get(&path, &query));
        }
        let fault = self.faults.pop_front().unwrap_or(Fault::None);
        match fault {
            Fault::BreakBefore => return Reaction::Break,
            Fault::StatusBefore(status) => return Reaction::Answer(status, b"{\"error\":{\"type\":\"x\"}}".to_vec()),
            _ => {}
        }
        let body = self.once(asked, &path);
        match fault {
            Fault::BreakAfter => Reaction::Break,
            Fault::CutAfter => Reaction::Cut,
            Fault::SilenceAfter => Reaction::Silence,
            Fault::StatusAfter(status) => Reaction::Answer(status, b"{}".to_vec()),
            Fault::NoiseAfter => Reaction::Answer(200, b"<html>".to_vec()),
            _ => Reaction::Answer(200, body),
        }
    }

    /// The first body of a key is the body for ever; the same key with another form is a test's mistake.
    fn once(&mut self, asked: &Asked, path: &[&str]) -> Vec<u8> {
        let key = asked.headers["idempotency-key"].clone();
        let text = String::from_utf8(asked.body.clone()).unwrap();
        if let Some((form, body)) = self.keys.get(&key) {
            assert_eq!(*form, text, "one key, two forms");
            return body.clone();
        }
        let mut url: reqwest::Url = "http://x/".parse().unwrap();
        url.set_query(Some(&text));
        let form: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        let object = match path {
            ["v1", "payment_intents"] => self.make("payment_intents", &form),
            ["v1", "refunds"] => self.make("refunds", &form),
            ["v1", "transfers"] => self.make("transfers", &form),
            ["v1", "payment_intents", id, "cancel"] => {
                let intents = self.objects.get_mut("payment_intents").unwrap();
                let intent = intents.iter_mut().find(|intent| intent["id"] == *id).unwrap();
                intent["status"] = json!("canceled");
                intent.clone()
            }
            _ => panic!("no such call"),
        };
        let body = object.to_string().into_bytes();
        self.keys.insert(key, (text, body.clone()));
        body
    }

    fn make(&mut self, kind: &'static str, form: &BTreeMap<String, String>) -> Value {
        self.made += 1;
        let text = |name: &str| form.get(name).cloned();
        let metadata: BTreeMap<&str, &String> = form
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix("metadata[")?.strip_suffix(']')?, value)))
            .collect();
        let object = match kind {
            "payment_intents" => json!({
                "object": "payment_intent", "status": "succeeded", "livemode": false,
                "amount_received": text("amount").unwrap().parse::<u64>().unwrap(),
            }),
            "refunds" => json!({ "object": "refund", "status": "succeeded", "payment_intent": text("payment_intent") }),
            _ => json!({
                "object": "transfer", "reversed": false, "livemode": false, "destination": text("destination"),
                "transfer_group": text("transfer_group"),
            }),
        };
        let mut object = object;
        object["id"] = json!(format!("{}_{}", &kind[..2], self.made));
        object["amount"] = json!(text("amount").unwrap().parse::<u64>().unwrap());
        object["currency"] = json!(text("currency").unwrap_or_else(|| "usd".to_owned()));
        object["created"] = json!(self.now);
        object["metadata"] = json!(metadata);
        self.objects.entry(kind).or_default().insert(0, object.clone());
        object
    }

    fn get(&self, path: &[&str], query: &BTreeMap<String, String>) -> Option<Value> {
        let all = |kind: &str| self.objects.get(kind).cloned().unwrap_or_default();
        match path {
            ["v1", "payment_intents", "search"] => {
                let wanted = query["query"].strip_prefix("metadata['effect']:'").unwrap().strip_suffix('\'').unwrap();
                // The search knows nothing of the last hour.
                let known = |object: &Value| object["created"].as_u64().unwrap() + 3_600 < self.now;
                let found: Vec<Value> = all("payment_intents")
                    .into_iter()
                    .filter(|object| known(object) && object["metadata"]["effect"] == wanted)
                    .collect();
                Some(json!({ "object": "search_result", "data": found, "has_more": false }))
            }
            ["v1", "payment_intents", id] => all("payment_intents").into_iter().find(|object| object["id"] == *id),
            ["v1", kind] => Some(page(all(kind), query)),
            _ => None,
        }
    }
}

fn page(objects: Vec<Value>, query: &BTreeMap<String, String>) -> Value {
    let filters = ["payment_intent", "transfer_group"];
    let wanted =
        |object: &Value| filters.iter().all(|name| query.get(*name).is_none_or(|value| object[*name] == **value));
    let mut objects: Vec<Value> = objects.into_iter().filter(wanted).collect();
    if let Some(after) = query.get("starting_after") {
        let at = objects.iter().position(|object| object["id"] == **after).unwrap();
        objects.drain(..=at);
    }
    let limit: usize = query["limit"].parse().unwrap();
    let more = objects.len() > limit;
    objects.truncate(limit);
    json!({ "object": "list", "data": objects, "has_more": more })
}

fn answer(found: Option<Value>) -> Reaction {
    match found {
        Some(body) => Reaction::Answer(200, body.to_string().into_bytes()),
        None => {
            let error = json!({ "error": { "type": "invalid_request_error", "code": "resource_missing" } });
            Reaction::Answer(404, error.to_string().into_bytes())
        }
    }
}
