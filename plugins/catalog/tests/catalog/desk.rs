//! What the tests write with: agents, keys, drafts and signatures of their own, and a catalogue to try them on.
//!
//! Nothing here asks the plugin how it is done: canonical bytes, digests and signatures are made anew.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tally_catalog::Catalog;
use tally_plugin::test_host::{Host, Limits, Mode, Outcome, TestEvent, TestHost, Verdict};
use tally_protocol::key::SigningKey;

pub(crate) const GATEWAY: u8 = 8;
pub(crate) const ADMIN: u8 = 9;
/// Whose keys are registered from the start, as seeds: agents 1 to 3 by their number, and the platform's.
pub(crate) const PLATFORM_KEY: u8 = 100;

pub(crate) fn uuid(agent: u8) -> String {
    let hex = format!("{agent:02x}").repeat(16);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

pub(crate) fn principal(agent: u8) -> String {
    format!("agent:{}", uuid(agent))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed([seed; 32])
}

pub(crate) fn key_hex(seed: u8) -> String {
    key(seed).public_key().to_hex()
}

/// Canonical JSON of values whose numbers are integers.
pub(crate) fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            let members: Vec<_> =
                members.iter().map(|(name, value)| format!("{}:{}", json!(name), canonical(value))).collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut host = Host::new(Limits::default(), Vec::new(), Vec::new());
    host.enter(Mode::Query);
    host.sha256(bytes).expect("a query may hash")
}

/// A draft that is as it should be.
pub(crate) fn draft() -> Value {
    json!({
        "amount": 1_995,
        "artifacts": [{"media_type": "application/gzip", "name": "lamp.tar.gz", "sha256": "ab".repeat(32), "size": 5}],
        "category": "tools",
        "currency": "EUR",
        "description": "A lamp for desks.",
        "free": false,
        "licence_policy": "perpetual",
        "name": "Desk Lamp",
        "preview": "demo",
        "split": split(&[("agent:owner", 9_000, "owner"), ("platform", 1_000, "platform")], &[]),
        "tags": ["desk", "lamp"],
    })
}

pub(crate) fn split(parties: &[(&str, u64, &str)], sources: &[(&str, u64, u64)]) -> Value {
    let parties: Vec<_> =
        parties.iter().map(|(party, bps, role)| json!({"bps": bps, "party": party, "role": role})).collect();
    let sources: Vec<_> =
        sources.iter().map(|(sku, version, bps)| json!({"bps": bps, "sku": sku, "version": version})).collect();
    if sources.is_empty() {
        return json!({"base": "net", "parties": parties});
    }
    json!({"base": "net", "derived_from": sources, "parties": parties})
}

pub(crate) fn with(mut value: Value, name: &str, member: Value) -> Value {
    value[name] = member;
    value
}

pub(crate) fn without(mut value: Value, name: &str) -> Value {
    value.as_object_mut().expect("an object").remove(name);
    value
}

/// What is signed for a draft.
pub(crate) fn manifest(draft: &Value, owner: &str, sku: &str, version: u64) -> String {
    let unsigned = ["actor", "idempotency_key", "private", "reason"];
    let members = unsigned.into_iter().fold(draft.clone(), without);
    canonical(&json!({"manifest": members, "owner": owner, "sku": sku, "version": version}))
}

/// The body that publishes a manifest, signed by a key.
pub(crate) fn vouch(manifest: &str, version: u64, seed: u8) -> Value {
    let digest = sha256(manifest.as_bytes());
    let signature = key(seed).sign(&[b"TALLY_SKU_MANIFEST_V1".as_slice(), &digest].concat());
    json!({
        "key": key_hex(seed),
        "manifest_sha256": hex(&digest),
        "signature": signature.to_hex(),
        "version": version,
    })
}

/// A catalogue with admins, a gateway and registered keys.
pub(crate) struct Desk {
    pub(crate) host: TestHost<Catalog>,
    sent: u64,
    /// The answers of the last event's emits, by type.
    pub(crate) emitted: Vec<(String, Value)>,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let mut host = TestHost::new();
        let config = json!({"admins": [principal(ADMIN), "user:root"], "gateways": [uuid(GATEWAY)]});
        host.init(canonical(&config).as_bytes()).expect("a configuration");
        let mut desk = Self { host, sent: 0, emitted: Vec::new() };
        for seed in 1..=3 {
            desk.register(seed, &principal(seed)).expect("an admin registers");
        }
        desk.register(PLATFORM_KEY, "platform").expect("an admin registers");
        desk
    }

    /// Sends a body as it is.
    pub(crate) fn send(&mut self, by: u8, kind: &str, id: &str, body: &Value) -> Outcome {
        let event = TestEvent::new(kind, "sku", id, canonical(body)).by(by);
        let outcome = self.host.apply_one(event);
        let read = |body: &[u8]| serde_json::from_slice(body).expect("JSON");
        self.emitted = outcome.emits.iter().map(|emit| (emit.event_type.clone(), read(&emit.body))).collect();
        outcome
    }

    /// Sends a command, under a key of its own if it has none; gives the code of a refusal.
    pub(crate) fn command(&mut self, by: u8, kind: &str, id: &str, body: Value) -> Result<(), String> {
        self.sent += 1;
        let body = match body.get("idempotency_key") {
            Some(_) => body,
            None => with(body, "idempotency_key", json!(format!("k{}", self.sent))),
        };
        match self.send(by, kind, id, &body).verdict {
            Verdict::Accepted => Ok(()),
            Verdict::Rejected(code) => Err(code),
            other => panic!("{kind} {id} {body}: {other:?}"),
        }
    }

    pub(crate) fn register(&mut self, seed: u8, signs_for: &str) -> Result<(), String> {
        let signer = format!("signer {seed}");
        let body = json!({"for": signs_for, "key": key_hex(seed), "reason": "was shown the key", "signer": signer});
        self.command(ADMIN, "catalog.signer.registered", "new", body)
    }

    pub(crate) fn revoke(&mut self, seed: u8) -> Result<(), String> {
        self.command(ADMIN, "catalog.signer.revoked", "new", json!({"key": key_hex(seed), "reason": "lost"}))
    }

    pub(crate) fn draft(&mut self, by: u8, sku: &str, draft: &Value) -> Result<(), String> {
        let body = if by == ADMIN { with(draft.clone(), "reason", json!("the owner asked")) } else { draft.clone() };
        self.command(by, "catalog.sku.drafted", sku, body)
    }

    /// Publishes a draft that an agent owns, by the agent's own key.
    pub(crate) fn publish(&mut self, by: u8, sku: &str, version: u64, draft: &Value) -> Result<(), String> {
        let body = vouch(&manifest(draft, &principal(by), sku, version), version, by);
        self.command(by, "catalog.sku.published", sku, body)
    }

    /// Drafts and publishes.
    pub(crate) fn put(&mut self, by: u8, sku: &str, version: u64, draft: &Value) -> Result<(), String> {
        self.draft(by, sku, draft)?;
        self.publish(by, sku, version, draft)
    }

    pub(crate) fn retire(&mut self, by: u8, sku: &str) -> Result<(), String> {
        self.command(by, "catalog.sku.retired", sku, json!({"reason": "sold the shop"}))
    }

    /// The offer that the last event emitted; nothing else may have been.
    pub(crate) fn offer(&self) -> Option<&Value> {
        assert!(self.emitted.len() <= 1, "{:?}", self.emitted);
        self.emitted.first().map(|(kind, offer)| {
            assert_eq!(kind, "catalog.offer");
            offer
        })
    }

    pub(crate) fn ask_as(&mut self, caller: Option<Value>, route: &str, args: &[(&str, &str)]) -> (u64, Value) {
        let args: BTreeMap<&str, &str> = args.iter().copied().collect();
        let request = json!({"args": args, "route": route});
        let request = match caller {
            Some(caller) => with(request, "caller", caller),
            None => request,
        };
        let answer = self.host.query(canonical(&request).as_bytes());
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        (answer["status"].as_u64().expect("a status"), answer["body"].clone())
    }

    pub(crate) fn ask(&mut self, route: &str, args: &[(&str, &str)]) -> (u64, Value) {
        self.ask_as(None, route, args)
    }

    /// The SKUs of a page, and where the next one begins.
    pub(crate) fn page(&mut self, args: &[(&str, &str)]) -> (Vec<String>, Option<String>) {
        let (status, body) = self.ask("skus", args);
        assert_eq!(status, 200, "{args:?}: {body}");
        let rows = body["rows"].as_array().expect("rows");
        let skus = rows.iter().map(|row| row["sku"].as_str().expect("an id").to_owned()).collect();
        (skus, body["after"].as_str().map(str::to_owned))
    }

    /// The SKUs of all pages, in the order they came.
    pub(crate) fn pages(&mut self, args: &[(&str, &str)], limit: usize) -> Vec<String> {
        let (mut skus, mut after): (Vec<String>, Option<String>) = (Vec::new(), None);
        let limit_text = limit.to_string();
        loop {
            let mut args = args.to_vec();
            args.push(("limit", &limit_text));
            args.extend(after.as_deref().map(|after| ("after", after)));
            let (found, next) = self.page(&args);
            assert!(found.len() <= limit);
            skus.extend(found);
            match next {
                Some(next) => after = Some(next),
                None => return skus,
            }
        }
    }
}

/// How many random cases a property has.
pub(crate) fn cases(default: u32) -> u32 {
    std::env::var("TALLY_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(default)
}
