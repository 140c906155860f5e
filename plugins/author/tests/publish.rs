//! Packages and the events of a plugin's life: what is packed comes back, what was changed is found, and what the events
//! say is what the log's register lets pass.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod common;

use std::collections::BTreeMap;

use common::{committed, on_first};
use tally_plugin_author::package::{Package, Terms};
use tally_plugin_author::publish::{Happened, Keys, Past, Verdict, Who, Wish, sign, signers};
use tally_protocol::hash::{LedgerId, ReportHash};
use tally_protocol::id::{AgentId, Index, KeyId, PluginId, StoreId, Stream, TenantId};
use tally_protocol::key::SigningKey;
use tally_protocol::plugin_event::{Config, PluginEvent, Registry};
use tally_protocol::plugin_life::Moment;
use tally_protocol::release::{Decision, Price, PricePer, Version};
use tally_protocol::time::LogTime;

const LEDGER: LedgerId = LedgerId::from_bytes([9; 32]);
const TENANT: TenantId = TenantId::from_bytes([1; 16]);
const PUBLISHER: AgentId = AgentId::from_bytes([2; 16]);
const REVIEWER: AgentId = AgentId::from_bytes([3; 16]);

fn store() -> Stream {
    Stream::new(TENANT, StoreId::from_bytes([7; 16]))
}

fn key(agent: AgentId) -> SigningKey {
    SigningKey::from_seed([agent.as_bytes()[0]; 32])
}

fn now(micros: u64) -> LogTime {
    LogTime::from_micros(1_735_689_600_000_000 + micros)
}

fn terms() -> Terms {
    Terms { price: Price { amount: 0, currency: *b"EUR", per: PricePer::Month }, schemas: BTreeMap::new() }
}

fn packed(name: &str) -> Package {
    let wasm = committed(name);
    let fixtures = BTreeMap::from([("a.json".to_owned(), b"{\"events\":[]}\n".to_vec())]);
    Package::new(&on_first(&wasm), wasm, fixtures, terms()).unwrap()
}

fn signed(name: &str) -> Package {
    let mut package = packed(name);
    let signer = key(PUBLISHER);
    sign(&mut package, &Who { agent: PUBLISHER, key_id: KeyId::new(1), now: now(0), signer: &signer }).unwrap();
    package
}

#[test]
fn a_package_comes_back_and_is_the_same_bytes_every_time() {
    let (package, signed) = (packed("counter"), signed("counter"));
    let bytes = package.encode();
    assert_eq!(bytes, packed("counter").encode());
    assert_eq!(Package::decode(&bytes).unwrap(), package);
    assert_eq!(Package::decode(&signed.encode()).unwrap(), signed);
    assert!(signed.is_signed_by(&key(PUBLISHER).public_key()));
    assert!(!signed.is_signed_by(&key(REVIEWER).public_key()) && !package.is_signed_by(&key(PUBLISHER).public_key()));
}

#[test]
fn a_package_is_a_tar_of_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("counter.tallypkg");
    signed("counter").save(&file).unwrap();
    let listed = std::process::Command::new("tar").arg("-tf").arg(&file).output().unwrap();
    assert!(listed.status.success());
    let names = String::from_utf8(listed.stdout).unwrap();
    let expected = ["attestation.json", "fixtures/a.json", "manifest.json", "plugin.wasm", "release.json"];
    assert_eq!(names.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn no_changed_byte_of_a_package_passes() {
    let bytes = signed("counter").encode();
    let key = key(PUBLISHER).public_key();
    let step = 97;
    for at in (0..bytes.len()).step_by(step) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        // Fixtures and signature are not covered by the release: the one may be others, the other does not verify.
        let passes = Package::decode(&changed)
            .is_ok_and(|package| package.is_signed_by(&key) && package.fixtures == signed("counter").fixtures);
        assert!(!passes, "byte {at}");
    }
    for end in (0..bytes.len()).step_by(step) {
        assert!(Package::decode(&bytes[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn a_package_says_what_its_manifest_says() {
    let mut package = packed("counter");
    package.wasm = committed("registry");
    assert!(Package::decode(&package.encode()).is_err(), "another module");
    let mut package = packed("counter");
    package.release.state_version = 2;
    assert!(Package::decode(&package.encode()).is_err(), "another state version");
    let wasm = committed("counter");
    for name in ["../a.json", "a", ".json", "a/b.json", &format!("{}.json", "a".repeat(100))] {
        let fixtures = BTreeMap::from([(name.to_owned(), Vec::new())]);
        assert!(Package::new(&on_first(&wasm), wasm.clone(), fixtures, terms()).is_err(), "{name}");
    }
}

/// A log of control events, as a node would give it.
#[derive(Default)]
struct Log(Vec<Happened>);

impl Log {
    fn past(&self) -> Past {
        let mut keys = Keys::default();
        for (tenant, agent) in signers(&self.0) {
            keys.add(tenant, agent, KeyId::new(1), key(agent).public_key());
        }
        Past::of(LEDGER, self.0.clone(), keys).unwrap()
    }

    fn push(&mut self, event: &PluginEvent) {
        let at = self.0.len() as u64 + 1;
        let moment = Moment { stream: Stream::control(TENANT), actor: PUBLISHER, index: Index::new(at), now: now(at) };
        let agent = match event {
            PluginEvent::Submitted(submission) => Some(submission.publisher.agent_id),
            PluginEvent::Reviewed { reviewer, .. } => Some(reviewer.agent_id),
            _ => None,
        };
        let own = agent.map(|agent| (agent, KeyId::new(1), key(agent).public_key()));
        self.past().check(event, moment.stream, moment.now, own).unwrap_or_else(|error| panic!("{error}"));
        let (event_type, payload) = (event.event_type().to_owned(), event.payload());
        self.0.push(Happened { at: moment, event_type, payload });
    }
}

fn verdict(decision: Decision) -> Verdict {
    let report = ReportHash::from_bytes([4; 32]);
    Verdict { decision, overrides: false, report, blocking: 0, reason: "read it".to_owned() }
}

fn wish(version: Version) -> Wish {
    Wish {
        plugin: PluginId::new("counter").unwrap(),
        version,
        registry: Registry::Tenant,
        granted: None,
        limits: BTreeMap::new(),
        config: Config::empty(),
    }
}

#[test]
fn a_plugin_goes_from_its_package_to_its_end() {
    let registry = Stream::control(TENANT);
    let (id, version) = (PluginId::new("counter").unwrap(), Version::new(1, 0, 0));
    let mut log = Log::default();
    assert!(log.past().submit(registry, &packed("counter")).is_err(), "not signed");
    log.push(&log.past().submit(registry, &signed("counter")).unwrap());

    let reviewer = key(REVIEWER);
    let who = Who { agent: REVIEWER, key_id: KeyId::new(1), now: now(2), signer: &reviewer };
    assert!(log.past().review(registry, &id, Version::new(2, 0, 0), &verdict(Decision::Approved), &who).is_err());
    let own = key(PUBLISHER);
    let by_publisher = Who { agent: PUBLISHER, key_id: KeyId::new(1), now: now(2), signer: &own };
    let review = log.past().review(registry, &id, version, &verdict(Decision::Approved), &by_publisher).unwrap();
    let its_key = Some((PUBLISHER, KeyId::new(1), own.public_key()));
    assert!(log.past().check(&review, registry, now(2), its_key).is_err(), "nobody approves their own");
    log.push(&log.past().review(registry, &id, version, &verdict(Decision::Approved), &who).unwrap());

    let install = log.past().bind(store(), &wish(version)).unwrap();
    assert_eq!(install.event_type(), "tally.plugin.installed");
    log.push(&install);
    let config = Config::new(br#"{"a":1}"#).unwrap();
    log.push(&log.past().configure(store(), &id, config));
    assert_eq!(log.past().bind(store(), &wish(version)).unwrap().event_type(), "tally.plugin.upgraded");
    let again = log.past().bind(store(), &wish(version)).unwrap();
    assert!(log.past().check(&again, registry, now(9), None).is_err(), "what runs is no upgrade");
    log.push(&log.past().remove(store(), &id, "no more"));
    assert!(log.past().register().installed(&store(), &id).is_none());

    // A list with a gap is no history.
    let mut gap = Log(log.0.clone());
    gap.0.remove(1);
    let mut keys = Keys::default();
    keys.add(TENANT, PUBLISHER, KeyId::new(1), key(PUBLISHER).public_key());
    assert!(Past::of(LEDGER, gap.0, keys).is_err());
}

#[test]
fn nothing_is_granted_that_was_not_asked_for() {
    let registry = Stream::control(TENANT);
    let mut log = Log::default();
    log.push(&log.past().submit(registry, &signed("counter")).unwrap());
    let base = wish(Version::new(1, 0, 0));
    let grant = Wish { granted: Some(["emit".to_owned()].into()), ..base.clone() };
    assert!(log.past().bind(store(), &grant).is_err());
    let limit = Wish { limits: BTreeMap::from([("gas".to_owned(), 1)]), ..base.clone() };
    assert!(log.past().bind(store(), &limit).is_err());
    assert!(log.past().bind(store(), &base).is_ok());
}
