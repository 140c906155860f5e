//! The golden vectors of outcomes, derived ids, releases, and plugin events (`outcome.json`, `plugins.json`), made by an
//! implementation of its own (`vectors/make.py`). Most of them are one mutation that must fail or must change a hash.

#![expect(clippy::unwrap_used, reason = "a test's helper panics as the test does")]

use std::collections::BTreeSet;

use serde_json::Value as Json;
use tally_protocol::hash::{
    self, EffectId, LeafHash, LedgerId, LifeHash, ManifestHash, ReleaseHash, hmac_sha256, life_next, life_start,
};
use tally_protocol::id::{Index, KeyId, PluginId, Stream};
use tally_protocol::key::{PublicKey, Signature, ct_eq};
use tally_protocol::outcome::{EMPTY_BODY, Outcome, Profile, derived_id, effect_id, empty_leaf, writes_hash};
use tally_protocol::plugin_event::PluginEvent;
use tally_protocol::release::{Release, ReleaseError, ReleaseMac, Signed, attestation_holds};
use tally_protocol::time::LogTime;

fn section(file: &str, name: &str) -> Vec<Json> {
    let path = format!("{}/tests/vectors/{file}.json", env!("CARGO_MANIFEST_DIR"));
    let all: Json = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases = all[name].as_array().unwrap().clone();
    assert!(!cases.is_empty());
    cases
}

fn text<'a>(case: &'a Json, field: &str) -> &'a str {
    case[field].as_str().unwrap_or_else(|| panic!("{field} of {case}"))
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn bytes(case: &Json, field: &str) -> Vec<u8> {
    unhex(text(case, field))
}

fn array<const N: usize>(case: &Json, field: &str) -> [u8; N] {
    bytes(case, field).try_into().unwrap()
}

fn call(case: &Json) -> u32 {
    case["call"].as_u64().unwrap().try_into().unwrap()
}

/// "ok" or the variant's name.
fn verdict<T, E: core::fmt::Debug>(result: &Result<T, E>) -> String {
    let debug = result.as_ref().err().map_or_else(|| "ok".to_owned(), |error| format!("{error:?}"));
    debug.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

/// Pairs of hexadecimal texts; the second may be absent.
fn pairs(case: &Json, field: &str) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let pair = |pair: &Json| (unhex(pair[0].as_str().unwrap()), pair[1].as_str().map(unhex));
    case[field].as_array().unwrap().iter().map(pair).collect()
}

#[test]
fn outcomes_decode_or_fail_as_they_should_and_every_mutation_changes_the_leaf() {
    let mut seen = BTreeSet::new();
    for case in section("outcome", "outcomes") {
        let (outcome, leaf) = (bytes(&case, "outcome"), LeafHash::from_bytes(array(&case, "event_leaf")));
        let decoded = Outcome::decode(&outcome, leaf);
        assert_eq!(verdict(&decoded), text(&case, "decode"), "{}", case["name"]);
        let Ok(decoded) = decoded else { continue };
        assert_eq!(decoded.encode(), outcome, "{}", case["name"]);
        assert_eq!(decoded.leaf_hash().to_hex(), text(&case, "leaf_hash"), "{}", case["name"]);
        assert!(seen.insert(decoded.leaf_hash()), "{}", case["name"]);
        if let Some(code) = case["code"].as_str() {
            assert_eq!(decoded.bindings[0].code.as_str(), code);
        }
        if let Some(limit) = case["limit"].as_str() {
            assert_eq!(decoded.bindings[0].code.to_string(), format!("limit({limit})"));
        }
    }
}

#[test]
fn an_event_without_plugins_has_one_outcome_whatever_it_is() {
    for byte in [0, 1, 0xff] {
        let event_leaf = LeafHash::from_bytes([byte; 32]);
        let outcome = Outcome { event_leaf, bindings: Vec::new() };
        assert_eq!(outcome.encode(), EMPTY_BODY);
        assert_eq!(outcome.leaf_hash(), empty_leaf());
        assert_eq!(Outcome::decode(EMPTY_BODY, event_leaf), Ok(outcome));
    }
}

#[test]
fn write_sets_hash_as_they_should_and_only_in_order() {
    let (mut seen, mut sets, mut hashes) = (BTreeSet::new(), Vec::new(), Vec::new());
    for case in section("outcome", "writes") {
        let writes = pairs(&case, "writes");
        let (mut set, slices) = (Vec::new(), writes.iter().map(|(key, value)| (&key[..], value.as_deref())));
        match tally_protocol::outcome::write_set(slices, &mut set) {
            Ok(()) => {
                sets.push(set);
                hashes.push(text(&case, "hash").to_owned());
            }
            Err(error) => assert_eq!(format!("{error:?}"), text(&case, "hash"), "{case}"),
        }
        match writes_hash(writes.iter().map(|(key, value)| (&key[..], value.as_deref()))) {
            Ok(hash) => {
                assert_eq!(hash.to_hex(), text(&case, "hash"), "{case}");
                assert!(seen.insert(hash), "{case}");
            }
            Err(error) => assert_eq!(format!("{error:?}"), text(&case, "hash"), "{case}"),
        }
    }
    // Many at once are as each alone.
    let many = tally_protocol::outcome::writes_hashes(sets.iter().map(Vec::as_slice));
    assert_eq!(many.iter().map(hash::WritesHash::to_hex).collect::<Vec<_>>(), hashes);
}

#[test]
fn emits_and_effects_hash_as_they_should() {
    let mut seen = BTreeSet::new();
    for case in section("outcome", "emits") {
        let list = case["emits"].as_array().unwrap();
        let list: Vec<_> =
            list.iter().map(|emit| (emit[0].as_str().unwrap(), unhex(emit[1].as_str().unwrap()))).collect();
        let hash = hash::emits(list.iter().map(|(event_type, body)| (*event_type, &body[..])));
        assert_eq!(hash.to_hex(), text(&case, "hash"), "{case}");
        assert!(seen.insert(*hash.as_bytes()), "{case}");
    }
    for case in section("outcome", "effects") {
        let list = case["effects"].as_array().unwrap();
        let one = |call: &Json| {
            let id = EffectId::from_hex(call[0].as_str().unwrap()).unwrap();
            (id, call[1].as_str().unwrap().to_owned(), unhex(call[2].as_str().unwrap()))
        };
        let list: Vec<_> = list.iter().map(one).collect();
        let hash = hash::effects(list.iter().map(|(id, kind, body)| (id, &kind[..], &body[..])));
        assert_eq!(hash.to_hex(), text(&case, "hash"), "{case}");
        assert!(seen.insert(*hash.as_bytes()), "{case}");
    }
}

#[test]
fn derived_ids_are_functions_of_the_place_and_of_every_part_of_it() {
    let mut seen = BTreeSet::new();
    for case in section("outcome", "derived_ids") {
        let (ledger, plugin) = (LedgerId::from_bytes(array(&case, "ledger")), text(&case, "plugin").parse().unwrap());
        let index = Index::new(text(&case, "index").parse().unwrap());
        let id = derived_id(&ledger, index, &plugin, call(&case), &bytes(&case, "label"));
        assert_eq!(id.to_hex(), text(&case, "id"), "{case}");
        assert!(seen.insert(*id.as_bytes()), "{case}");
    }
    for case in section("outcome", "effect_ids") {
        let (ledger, plugin) = (LedgerId::from_bytes(array(&case, "ledger")), text(&case, "plugin").parse().unwrap());
        let index = Index::new(text(&case, "index").parse().unwrap());
        let id = effect_id(&ledger, index, &plugin, call(&case), text(&case, "kind"), &bytes(&case, "suffix"));
        assert_eq!(id.to_hex(), text(&case, "id"), "{case}");
        assert!(seen.insert(*id.as_bytes()), "{case}");
    }
}

#[test]
fn profiles_and_modules_have_the_ids_they_should() {
    let mut seen = BTreeSet::new();
    for case in section("outcome", "profiles") {
        let limits: Vec<(&str, u64)> = case["limits"]
            .as_array()
            .unwrap()
            .iter()
            .map(|limit| (limit[0].as_str().unwrap(), limit[1].as_str().unwrap().parse().unwrap()))
            .collect();
        let version = |at: usize| u32::try_from(case["versions"][at].as_u64().unwrap()).unwrap();
        let (abi, validator, gas_table, instrumentation) = (version(0), version(1), version(2), version(3));
        match (Profile { abi, validator, gas_table, instrumentation, limits: &limits }).id() {
            Ok(id) => {
                assert_eq!(id.to_hex(), text(&case, "id"), "{case}");
                assert!(seen.insert(id), "{case}");
            }
            Err(error) => assert_eq!(format!("{error:?}"), text(&case, "id"), "{case}"),
        }
    }
    for case in section("outcome", "modules") {
        let module: Vec<u8> = (0..case["length"].as_u64().unwrap()).map(|at| (at % 251) as u8).collect();
        assert_eq!(hash::module(&module).to_hex(), text(&case, "hash"), "{case}");
    }
}

/// A release from its JSON, by way of a submission.
fn release(json: &str) -> Release {
    let event = section("plugins", "events").into_iter().find(|case| case["name"] == "plugin.submitted").unwrap();
    let mut payload: Json = serde_json::from_str(text(&event, "payload")).unwrap();
    payload["release"] = serde_json::from_str(json).unwrap();
    let payload = tally_protocol::jcs::canonicalize(payload.to_string().as_bytes()).unwrap();
    match PluginEvent::decode("tally.plugin.submitted", &payload).unwrap() {
        PluginEvent::Submitted(submission) => submission.release,
        _ => unreachable!(),
    }
}

#[test]
fn releases_hash_as_they_should_and_every_mutation_changes_the_hash() {
    let mut seen = BTreeSet::new();
    for case in section("plugins", "releases") {
        let hash = release(text(&case, "release")).hash();
        assert_eq!(hash.to_hex(), text(&case, "hash"), "{}", case["name"]);
        assert!(seen.insert(hash), "{}", case["name"]);
    }
}

#[test]
fn a_publisher_s_signature_and_mac_hold_for_what_was_signed_and_nothing_else() {
    let secret = b"a shared secret";
    let mut macs: Vec<[u8; 32]> = Vec::new();
    for case in section("plugins", "attestations") {
        let release = ReleaseHash::from_bytes(array(&case, "release"));
        let key_id = KeyId::new(u32::try_from(case["key_id"].as_u64().unwrap()).unwrap());
        let signed = Signed {
            agent_id: text(&case, "agent_id").parse().unwrap(),
            key_id,
            signed_at: LogTime::parse_canonical(text(&case, "signed_at")).unwrap(),
            signature: Signature::from_bytes(array(&case, "signature")),
        };
        let hash = hash::attestation(&release, &signed.agent_id, key_id, signed.signed_at);
        assert_eq!(hash.to_hex(), text(&case, "hash"), "{case}");
        let key = PublicKey::from_bytes(array(&case, "public_key"));
        assert_eq!(attestation_holds(&release, &signed, &key), case["holds"].as_bool().unwrap(), "{case}");
        let made = ReleaseMac::new(secret, &hash);
        assert!(ct_eq(made.as_bytes(), &bytes(&case, "mac")), "{case}");
        assert!(made.holds(secret, &hash));
        assert!(!made.holds(b"another secret", &hash) && !ReleaseMac::new(b"", &hash).holds(b"", &hash));
        // A MAC of one attestation is no other's, and no flipped bit passes.
        assert!(macs.iter().all(|other| !ReleaseMac::from_bytes(*other).holds(secret, &hash)));
        for bit in 0..256 {
            let mut flipped = *made.as_bytes();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!ReleaseMac::from_bytes(flipped).holds(secret, &hash));
        }
        macs.push(*made.as_bytes());
    }
}

#[test]
fn hmac_sha256_is_that_of_rfc_4231() {
    for case in section("plugins", "macs") {
        assert!(ct_eq(&hmac_sha256(&bytes(&case, "key"), &bytes(&case, "message")), &bytes(&case, "mac")), "{case}");
    }
}

#[test]
fn a_reviewer_s_signature_holds_for_what_was_signed_and_nothing_else() {
    for case in section("plugins", "reviews") {
        let event = PluginEvent::decode("tally.plugin.reviewed", text(&case, "payload").as_bytes()).unwrap();
        let PluginEvent::Reviewed { review, reviewer } = event else { unreachable!() };
        let hash = review.hash(&reviewer.agent_id, reviewer.key_id, reviewer.signed_at);
        assert_eq!(hash.to_hex(), text(&case, "hash"), "{case}");
        let key = PublicKey::from_bytes(array(&case, "public_key"));
        assert_eq!(review.signature_holds(&reviewer, &key), case["holds"].as_bool().unwrap(), "{case}");
    }
}

#[test]
fn a_manifest_is_the_release_s_by_its_hash_and_in_every_member() {
    let releases = section("plugins", "releases");
    let release = release(text(&releases[0], "release"));
    for case in section("plugins", "manifests") {
        let manifest = text(&case, "manifest").as_bytes();
        let mut release = release.clone();
        if case["rehashed"] == true {
            release.manifest = hash::manifest(manifest);
        }
        assert_eq!(verdict(&release.check_manifest(manifest)), text(&case, "verdict"), "{case}");
    }
    let manifest = section("plugins", "manifests").remove(0);
    for at in 0..text(&manifest, "manifest").len() {
        let mut changed = text(&manifest, "manifest").as_bytes().to_vec();
        changed[at] ^= 1;
        assert_eq!(release.check_manifest(&changed), Err(ReleaseError::ManifestHash));
    }
    assert_ne!(release.manifest, ManifestHash::ZERO);
}

#[test]
fn a_module_is_the_release_s_to_the_last_bit() {
    let releases = section("plugins", "releases");
    let (release, module) = (release(text(&releases[0], "release")), *b"\0asm\x01\0\0\0");
    assert_eq!(release.check_module(&module), Ok(()));
    for bit in 0..64 {
        let mut swapped = module;
        swapped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(release.check_module(&swapped), Err(ReleaseError::Module));
    }
}

#[test]
fn heads_of_lives_are_as_they_should_be() {
    let mut seen = BTreeSet::new();
    for case in section("plugins", "lives") {
        let head = if let Some(previous) = case["previous"].as_str() {
            let previous = LifeHash::from_hex(previous).unwrap();
            life_next(&previous, text(&case, "event_type"), text(&case, "payload").as_bytes())
        } else {
            let stream =
                Stream::new(text(&case, "tenant_id").parse().unwrap(), text(&case, "store_id").parse().unwrap());
            let plugin = PluginId::new(text(&case, "plugin_id")).unwrap();
            life_start(&LedgerId::from_bytes(array(&case, "ledger")), &stream, &plugin)
        };
        assert_eq!(head.to_hex(), text(&case, "head"), "{case}");
        assert!(seen.insert(head), "{case}");
    }
}

#[test]
fn plugin_events_decode_or_fail_as_they_should() {
    for case in section("plugins", "events") {
        let (event_type, payload) = (text(&case, "event_type"), text(&case, "payload"));
        let decoded = PluginEvent::decode(event_type, payload.as_bytes());
        assert_eq!(verdict(&decoded), text(&case, "decode"), "{}", case["name"]);
        if let Ok(decoded) = decoded {
            assert_eq!(decoded.payload(), payload.as_bytes(), "{}", case["name"]);
            assert_eq!(decoded.event_type(), event_type, "{}", case["name"]);
        }
    }
}
