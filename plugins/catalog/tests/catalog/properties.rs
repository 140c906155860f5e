//! Random commands, right and wrong, against the model: verdicts, what is listed, what is found, and that nothing published
//! ever changes.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use tally_catalog::Catalog;
use tally_plugin::Plugin;
use tally_plugin::record::Reader;
use tally_plugin::test_host::{TestEvent, TestHost, Verdict};

use crate::desk::{ADMIN, Desk, PLATFORM_KEY, canonical, cases, draft, manifest, principal, vouch, with};
use crate::model::{Model, Vouch};

const SKUS: [&str; 5] = ["B.1", "a", "a-b", "a.b", "ab"];
const NAMES: [&str; 7] = ["Desk Lamp", "desk", "LAMP-2", "Übung", "übung lamp", "a b c", "x"];
const LONG: &str = "supercalifragilisticexpialidocious";
const SEARCHES: [&str; 14] = [
    "lamp",
    "desk lamp",
    "LAMP desk",
    "desk-lamp",
    "2",
    "Übung",
    "übung",
    "tools",
    "toys lamp",
    "a b c x",
    "wordy10",
    "wordy60",
    LONG,
    "supercalifragilisticexpialidoc",
];

/// What a seller may write.
pub(crate) fn drafts() -> impl Strategy<Value = Value> {
    let wordy: String = (0..70).map(|at| format!("wordy{at} ")).collect();
    let description = prop::sample::select(vec![String::new(), "for the desk".into(), format!("{LONG} lamp"), wordy]);
    let tags = prop::sample::subsequence(vec!["Red", "desk", "lamp", "old tools"], 0..=4);
    let category = prop::sample::select(vec!["tools", "toys", "Tools"]);
    let price = (prop::sample::select(vec![0_u64, 1, 10, 11, 500]), prop::sample::select(vec!["EUR", "USD"]));
    (prop::sample::select(NAMES.to_vec()), description, tags, category, price).prop_map(
        |(name, description, tags, category, (amount, currency))| {
            let members = [
                ("name", json!(name)),
                ("description", json!(description)),
                ("tags", json!(tags)),
                ("category", json!(category)),
                ("amount", json!(amount)),
                ("free", json!(amount == 0)),
                ("currency", json!(currency)),
            ];
            members.into_iter().fold(draft(), |draft, (name, member)| with(draft, name, member))
        },
    )
}

#[derive(Clone, Debug)]
enum Act {
    Draft(u8, &'static str, Value),
    /// By whom, of what, how far from the next version, with whose key, and what was signed if not what was drafted.
    Publish(u8, &'static str, i64, u8, Option<Value>),
    Retire(u8, &'static str),
    Register(u8, u8, &'static str),
    Revoke(u8, u8),
    /// One of the events before, once more.
    Again(prop::sample::Index),
}

fn acts() -> impl Strategy<Value = Act> {
    let agent = || prop::sample::select(vec![1_u8, 1, 2, 2, ADMIN]);
    let sku = || prop::sample::select(SKUS.to_vec());
    let seed = || prop::sample::select(vec![1_u8, 2, 3, PLATFORM_KEY, 60, 61]);
    let offset = prop::sample::select(vec![0_i64, 0, 0, 0, 0, 0, -1, 1]);
    let forged = prop_oneof![9 => Just(None), 1 => drafts().prop_map(Some)];
    let key = prop_oneof![6 => Just(0_u8), 1 => seed()];
    let publish = (agent(), sku(), offset, key, forged)
        .prop_map(|(by, sku, offset, seed, forged)| Act::Publish(by, sku, offset, seed, forged));
    prop_oneof![
        8 => (agent(), sku(), drafts()).prop_map(|(by, sku, draft)| Act::Draft(by, sku, draft)),
        8 => publish,
        1 => (agent(), sku()).prop_map(|(by, sku)| Act::Retire(by, sku)),
        1 => (agent(), seed(), prop::sample::select(vec!["platform", "user:x"])).prop_map(|(by, seed, whom)| Act::Register(by, seed, whom)),
        1 => (agent(), seed()).prop_map(|(by, seed)| Act::Revoke(by, seed)),
        2 => any::<prop::sample::Index>().prop_map(Act::Again),
    ]
}

/// The catalogue and the model, side by side.
struct Pair {
    desk: Desk,
    model: Model,
    /// What was sent, and whether it was accepted.
    sent: Vec<(TestEvent, bool)>,
    /// What was shown of each version when it was published.
    published: BTreeMap<(String, u64), Value>,
    ranks: BTreeMap<String, u8>,
}

impl Pair {
    fn new() -> Self {
        let owners = (1..=3).map(|seed| (seed, (principal(seed), true)));
        let keys = owners.chain([(PLATFORM_KEY, ("platform".to_owned(), true))]).collect();
        let model = Model { keys, ..Model::default() };
        Self { desk: Desk::new(), model, sent: Vec::new(), published: BTreeMap::new(), ranks: BTreeMap::new() }
    }

    fn send(&mut self, by: u8, kind: &str, id: &str, body: Value, expected: Result<(), &str>) {
        let body = with(body, "idempotency_key", json!(format!("p{}", self.sent.len())));
        let body = if body.get("reason").is_none() { with(body, "reason", json!("as asked")) } else { body };
        let event = TestEvent::new(kind, "sku", id, canonical(&body)).by(by);
        let outcome = self.desk.host.apply_one(event.clone());
        let wanted = match expected {
            Ok(()) => Verdict::Accepted,
            Err(code) => Verdict::Rejected(code.into()),
        };
        assert_eq!(outcome.verdict, wanted, "{kind} {id} {body}");
        let tells = expected.is_ok() && matches!(kind, "catalog.sku.published" | "catalog.sku.retired");
        assert_eq!(outcome.emits.len(), usize::from(tells), "{kind}");
        self.sent.push((event, expected.is_ok()));
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Draft(by, sku, draft) => {
                let expected = self.model.draft(*by, sku, draft);
                self.send(*by, "catalog.sku.drafted", sku, draft.clone(), expected);
            }
            Act::Publish(by, sku, offset, seed, forged) => self.publish(*by, sku, *offset, *seed, forged.as_ref()),
            Act::Retire(by, sku) => {
                let expected = self.model.retire(*by, sku);
                self.send(*by, "catalog.sku.retired", sku, json!({"reason": "gone"}), expected);
            }
            Act::Register(by, seed, whom) => {
                let expected = self.model.register(*by, *seed, whom);
                let body = json!({"for": whom, "key": crate::desk::key_hex(*seed), "signer": "s"});
                self.send(*by, "catalog.signer.registered", "new", body, expected);
            }
            Act::Revoke(by, seed) => {
                let expected = self.model.revoke(*by, *seed);
                let body = json!({"key": crate::desk::key_hex(*seed)});
                self.send(*by, "catalog.signer.revoked", "new", body, expected);
            }
            Act::Again(index) => {
                let accepted: Vec<_> = self.sent.iter().filter(|(_, accepted)| *accepted).collect();
                if let Some((event, _)) = (!accepted.is_empty()).then(|| accepted[index.index(accepted.len())]) {
                    let outcome = self.desk.host.apply_one(event.clone());
                    assert_eq!((outcome.verdict, outcome.emits.len()), (Verdict::Accepted, 0));
                }
            }
        }
        self.check_ranks();
    }

    fn publish(&mut self, by: u8, sku: &'static str, offset: i64, seed: u8, forged: Option<&Value>) {
        let known = self.model.skus.get(sku).cloned().unwrap_or_default();
        let version = (known.versions.len() as u64 + 1).saturating_add_signed(offset).max(1);
        let drafted = known.draft.unwrap_or_else(draft);
        let signed = forged.unwrap_or(&drafted);
        let owner = self.model.owner(sku, by);
        // The owner's key, if no other is wished for.
        let seed = if seed > 0 { seed } else { (1..=2).find(|seed| principal(*seed) == owner).unwrap_or(PLATFORM_KEY) };
        let expected = self.model.publish(by, sku, Vouch { version, seed, is_faithful: *signed == drafted });
        let body = vouch(&manifest(signed, &owner, sku, version), version, seed);
        self.send(by, "catalog.sku.published", sku, body, expected);
        if expected.is_ok() {
            let shown = self.provenance(sku, version);
            self.published.insert((sku.to_owned(), version), shown);
        }
    }

    /// What of a version never changes.
    fn provenance(&mut self, sku: &str, version: u64) -> Value {
        let (status, mut shown) = self.desk.ask("provenance", &[("id", sku), ("version", &version.to_string())]);
        assert_eq!(status, 200, "{sku} {version}");
        let members = shown.as_object_mut().expect("an object");
        members.remove("status");
        members.remove("key_revoked_at");
        shown
    }

    fn check_ranks(&mut self) {
        for (id, sku) in &self.model.skus {
            let (_, shown) =
                self.desk.ask_as(Some(json!({"principal": "x", "roles": ["admin"]})), "sku", &[("id", id)]);
            let rank = ["draft", "published", "retired"]
                .iter()
                .position(|status| shown["status"] == *status)
                .expect("a status");
            assert_eq!(rank, usize::from(sku.rank()));
            let before = self.ranks.insert(id.clone(), sku.rank()).unwrap_or(0);
            assert!(sku.rank() >= before && sku.rank() - before <= 1, "{id}");
        }
    }

    fn check_immutability(&mut self) {
        for ((sku, version), before) in self.published.clone() {
            assert_eq!(self.provenance(&sku, version), before);
            let index = usize::try_from(version).expect("a small number") - 1;
            let known = &self.model.skus[&sku];
            assert_eq!(canonical(&before["manifest"]), manifest(&known.versions[index], &known.owner, &sku, version));
        }
        for (id, sku) in &self.model.skus {
            let (status, shown) = self.desk.ask("versions", &[("id", id), ("limit", "100")]);
            let count = shown["rows"].as_array().map_or(0, Vec::len);
            assert_eq!((status, count), (if sku.versions.is_empty() { 404 } else { 200 }, sku.versions.len()), "{id}");
        }
    }

    fn check_lists(&mut self, limit: usize) {
        let Self { desk, model, .. } = self;
        assert_eq!(desk.pages(&[], limit), model.listed(|_, _| true));
        for tag in ["Red", "red", "desk", "old tools", "tools"] {
            let wanted = model.listed(|_, newest| newest["tags"].as_array().expect("tags").contains(&json!(tag)));
            assert_eq!(desk.pages(&[("tag", tag)], limit), wanted, "{tag}");
        }
        for category in ["tools", "Tools", "toys", "none"] {
            let wanted = model.listed(|_, newest| newest["category"] == category);
            assert_eq!(desk.pages(&[("category", category)], limit), wanted, "{category}");
            let wanted = model.listed(|sku, newest| newest["category"] == category && sku.owner == principal(1));
            assert_eq!(desk.pages(&[("category", category), ("owner", &principal(1))], limit), wanted, "{category}");
        }
        for (currency, min, max) in [("EUR", 0, 500), ("EUR", 10, 11), ("USD", 1, 10), ("USD", 11, 10), ("JPY", 0, 500)]
        {
            let within = |newest: &Value| {
                newest["currency"] == currency && (min..=max).contains(&newest["amount"].as_u64().expect("an amount"))
            };
            let (from, to) = (min.to_string(), max.to_string());
            let price = [("currency", currency), ("price_min", from.as_str()), ("price_max", to.as_str())];
            assert_eq!(desk.pages(&price, limit), model.listed(|_, newest| within(newest)), "{price:?}");
            let found = desk.pages(&[price.as_slice(), &[("q", "lamp")]].concat(), limit);
            let wanted = model
                .search("lamp")
                .into_iter()
                .filter(|id| within(model.skus[id].versions.last().expect("published")));
            assert_eq!(found, wanted.collect::<Vec<_>>());
        }
        for text in SEARCHES {
            assert_eq!(desk.pages(&[("q", text)], limit), model.search(text), "{text}");
            assert_eq!(desk.pages(&[("q", text)], limit), desk.pages(&[("q", text)], 100), "{text}");
        }
    }
}

/// What may never change again, of all rows: published versions with their manifests and splits, records of what was done,
/// results, the owner and age of an SKU, and all of a key but its revocation.
fn kept(state: &BTreeMap<Vec<u8>, Vec<u8>>) -> BTreeMap<&[u8], Vec<u8>> {
    let is_published =
        |key: &[u8]| state.contains_key([b"version/".as_slice(), &key[b"manifest/".len()..]].concat().as_slice());
    let mut kept = BTreeMap::new();
    for (key, row) in state {
        let front = key.iter().position(|byte| *byte == b'/').map_or(key.as_slice(), |at| &key[..=at]);
        let kept_of_row = match front {
            b"audit/" | b"once/" | b"result/" | b"version/" | b"split/" => row.clone(),
            b"manifest/" if is_published(key) => row.clone(),
            // Behind the rest, the time of the revocation.
            b"signer/" => row[..row.len() - 8].to_vec(),
            b"sku/" => {
                let mut row = Reader::new(row);
                format!("{:?}", (row.u8(), row.text(), row.u64())).into_bytes()
            }
            _ => continue,
        };
        kept.insert(key.as_slice(), kept_of_row);
    }
    kept
}

/// The events of the commands that [`Act`] has.
const COMMANDS: [&str; 5] = [
    "catalog.signer.registered",
    "catalog.signer.revoked",
    "catalog.sku.drafted",
    "catalog.sku.published",
    "catalog.sku.retired",
];

#[test]
fn the_random_runs_have_every_command_and_nothing_else_is_taken() {
    let manifest: Value = serde_json::from_slice(&Catalog::describe().to_json()).expect("JSON");
    let routes = manifest["routes"].as_array().expect("routes");
    let mut commands: Vec<&str> = routes.iter().filter_map(|route| route["event"].as_str()).collect();
    commands.sort_unstable();
    assert_eq!(commands, COMMANDS);
    let mut events: Vec<&str> =
        manifest["events"].as_array().expect("events").iter().filter_map(Value::as_str).collect();
    events.sort_unstable();
    assert_eq!(events, COMMANDS);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(64)))]

    #[test]
    fn no_command_edits_or_deletes_what_was_published_or_recorded(acts in prop::collection::vec(acts(), 0..70)) {
        let mut pair = Pair::new();
        for act in &acts {
            let before = pair.desk.host.host().state.clone();
            pair.act(act);
            let after = kept(&pair.desk.host.host().state);
            for (key, row) in kept(&before) {
                prop_assert_eq!(after.get(key), Some(&row), "{:?} {:?}", act, String::from_utf8_lossy(key));
            }
        }
    }

    #[test]
    fn verdicts_lists_and_searches_are_the_models_and_what_is_published_stays(
        acts in prop::collection::vec(acts(), 0..70), limit in 1..4_usize,
    ) {
        let mut pair = Pair::new();
        for act in &acts {
            pair.act(act);
        }
        pair.check_immutability();
        pair.check_lists(limit);
    }

    #[test]
    fn nothing_is_left_in_the_indexes_of_what_is_not_for_sale(acts in prop::collection::vec(acts(), 0..40)) {
        let mut pair = Pair::new();
        for act in &acts {
            pair.act(act);
        }
        for id in SKUS {
            if pair.model.skus.get(id).is_some_and(crate::model::Sku::is_for_sale) {
                pair.desk.retire(ADMIN, id).expect("an admin retires");
            }
        }
        let fronts = ["listed/", "words/", "word/", "tag/", "category/", "owner/"];
        let left = pair.desk.host.host().state.keys().filter(|key| fronts.iter().any(|front| key.starts_with(front.as_bytes())));
        prop_assert_eq!(left.count(), 0);
    }

    #[test]
    fn no_body_and_no_request_break_it(bytes in prop::collection::vec(any::<u8>(), 0..60), kind in 0..5_usize) {
        let kinds = ["catalog.sku.drafted", "catalog.sku.published", "catalog.sku.retired", "catalog.signer.registered", "catalog.signer.revoked"];
        let mut host = TestHost::<Catalog>::new();
        host.init(br#"{"admins":[],"gateways":[]}"#).expect("a configuration");
        let outcome = host.apply_one(TestEvent::new(kinds[kind], "sku", "a", bytes.clone()));
        prop_assert!(matches!(outcome.verdict, Verdict::Rejected(_)), "{:?}", outcome.verdict);
        prop_assert!(serde_json::from_slice::<Value>(&host.query(&bytes)).is_ok());
    }

    #[test]
    fn a_draft_with_one_hostile_byte_is_refused_or_read_as_it_is(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut body = canonical(&with(draft(), "idempotency_key", json!("k"))).into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        let mut host = TestHost::<Catalog>::new();
        host.init(br#"{"admins":[],"gateways":[]}"#).expect("a configuration");
        let outcome = host.apply_one(TestEvent::new("catalog.sku.drafted", "sku", "a", body.clone()));
        match outcome.verdict {
            Verdict::Accepted => {
                // What was kept is what was sent.
                let sent: Value = serde_json::from_slice(&body).expect("JSON");
                let request = json!({"args": {"id": "a"}, "caller": {"principal": "x", "roles": ["admin"]}, "route": "sku"});
                let shown: Value = serde_json::from_slice(&host.query(canonical(&request).as_bytes())).expect("JSON");
                for (name, member) in sent.as_object().expect("an object").iter().filter(|(name, _)| *name != "idempotency_key") {
                    prop_assert_eq!(&shown["body"][name], member);
                }
            }
            Verdict::Rejected(_) => {}
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
