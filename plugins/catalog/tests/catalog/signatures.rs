//! Whose word counts for a manifest.

use serde_json::json;

use crate::desk::{ADMIN, Desk, PLATFORM_KEY, draft, hex, key, key_hex, manifest, principal, sha256, vouch, with};

const INVALID: Result<&(), &str> = Err("invalid_manifest");

fn publish(desk: &mut Desk, sku: &str, body: &serde_json::Value) -> Result<(), String> {
    desk.command(1, "catalog.sku.published", sku, body.clone())
}

/// A catalogue where agent 1 has a draft of `lamp`.
fn drafted() -> (Desk, String) {
    let mut desk = Desk::new();
    desk.draft(1, "lamp", &draft()).expect("a draft");
    (desk, manifest(&draft(), &principal(1), "lamp", 1))
}

#[test]
fn the_owners_key_and_the_platforms_vouch() {
    for seed in [1, PLATFORM_KEY] {
        let (mut desk, manifest) = drafted();
        assert_eq!(publish(&mut desk, "lamp", &vouch(&manifest, 1, seed)), Ok(()), "{seed}");
        let (_, shown) = desk.ask("sku", &[("id", "lamp")]);
        assert_eq!(shown["signer"], json!(format!("signer {seed}")));
        assert_eq!(shown["key"], json!(key_hex(seed)));
    }
}

#[test]
fn no_other_key_vouches() {
    let (mut desk, manifest) = drafted();
    // Another owner's, nobody's, and the admin's own who is no signer.
    for seed in [2, 55, ADMIN] {
        assert_eq!(publish(&mut desk, "lamp", &vouch(&manifest, 1, seed)).as_ref().map_err(String::as_str), INVALID);
    }
    // A registered key beside another key's signature.
    let mixed = with(vouch(&manifest, 1, 55), "key", json!(key_hex(1)));
    assert_eq!(publish(&mut desk, "lamp", &mixed).as_ref().map_err(String::as_str), INVALID);
}

#[test]
fn a_revoked_key_vouches_no_more_and_what_it_signed_stays() {
    let (mut desk, first) = drafted();
    publish(&mut desk, "lamp", &vouch(&first, 1, 1)).expect("published");
    desk.revoke(1).expect("revoked");
    desk.draft(1, "lamp", &draft()).expect("a draft");
    let second = manifest(&draft(), &principal(1), "lamp", 2);
    assert_eq!(publish(&mut desk, "lamp", &vouch(&second, 2, 1)).as_ref().map_err(String::as_str), INVALID);
    let (status, provenance) = desk.ask("provenance", &[("id", "lamp"), ("version", "1")]);
    assert_eq!(status, 200);
    assert!(provenance["key_revoked_at"].as_u64() > provenance["published_at"].as_u64());
    assert_eq!(publish(&mut desk, "lamp", &vouch(&second, 2, PLATFORM_KEY)), Ok(()));
    let (_, provenance) = desk.ask("provenance", &[("id", "lamp"), ("version", "2")]);
    assert_eq!(provenance.get("key_revoked_at"), None);
}

#[test]
fn an_altered_manifest_is_refused() {
    let (mut desk, signed) = drafted();
    let vouched = vouch(&signed, 1, 1);
    // Each member altered in the draft after it was signed.
    for (name, member) in [
        ("amount", json!(1)),
        (
            "artifacts",
            json!([{"media_type": "application/gzip", "name": "lamp.tar.gz", "sha256": "ac".repeat(32), "size": 5}]),
        ),
        ("category", json!("toys")),
        ("currency", json!("USD")),
        ("description", json!("A lamp for desks!")),
        ("licence_policy", json!("rent")),
        ("name", json!("Desk lamp")),
        ("preview", json!("none")),
        ("split", crate::desk::split(&[("agent:owner", 8_999, "owner"), ("platform", 1_001, "platform")], &[])),
        ("stock", json!(7)),
        ("tags", json!(["desk"])),
    ] {
        desk.draft(1, "lamp", &with(draft(), name, member)).expect("a draft");
        assert_eq!(publish(&mut desk, "lamp", &vouched).as_ref().map_err(String::as_str), INVALID, "{name}");
    }
    // What is private is not signed.
    desk.draft(1, "lamp", &with(draft(), "private", json!({"cost": 3}))).expect("a draft");
    assert_eq!(publish(&mut desk, "lamp", &vouched), Ok(()));
}

#[test]
fn a_signature_for_another_sku_version_or_owner_is_refused() {
    let (mut desk, right) = drafted();
    for (owner, sku, version) in [(1, "lamp2", 1), (1, "lamp", 2), (2, "lamp", 1)] {
        let other = vouch(&manifest(&draft(), &principal(owner), sku, version), 1, 1);
        assert_eq!(publish(&mut desk, "lamp", &other).as_ref().map_err(String::as_str), INVALID, "{sku} {version}");
        // Also where the digest is the right one.
        let digest = hex(&sha256(right.as_bytes()));
        let other = with(other, "manifest_sha256", json!(digest));
        assert_eq!(publish(&mut desk, "lamp", &other).as_ref().map_err(String::as_str), INVALID, "{sku} {version}");
    }
    assert_eq!(publish(&mut desk, "lamp", &vouch(&right, 1, 1)), Ok(()));
}

#[test]
fn a_signature_over_other_bytes_than_tag_and_digest_is_refused() {
    let (mut desk, right) = drafted();
    let digest = sha256(right.as_bytes());
    let tagged = [b"TALLY_SKU_MANIFEST_V1".as_slice(), &digest].concat();
    for message in [right.as_bytes(), &digest, &tagged[1..], &[b"TALLY_SKU_MANIFEST_V2".as_slice(), &digest].concat()] {
        let body = with(vouch(&right, 1, 1), "signature", json!(key(1).sign(message).to_hex()));
        assert_eq!(publish(&mut desk, "lamp", &body).as_ref().map_err(String::as_str), INVALID);
    }
}

#[test]
fn a_flipped_bit_anywhere_in_signature_digest_or_key_is_refused() {
    let (mut desk, right) = drafted();
    let vouched = vouch(&right, 1, 1);
    for name in ["signature", "manifest_sha256", "key"] {
        let text = vouched[name].as_str().expect("a text");
        for at in 0..text.len() {
            let mut digits = text.as_bytes().to_vec();
            digits[at] = if digits[at] == b'0' { b'1' } else { b'0' };
            let flipped = with(vouched.clone(), name, json!(String::from_utf8(digits).expect("digits")));
            // A card number may have come about in the digits: another refusal, and none the less one.
            let refused = publish(&mut desk, "lamp", &flipped);
            assert!(
                matches!(refused.as_ref().map_err(String::as_str), Err("invalid_manifest" | "card_data")),
                "{name} {at}: {refused:?}"
            );
        }
    }
    assert_eq!(publish(&mut desk, "lamp", &vouched), Ok(()));
}

#[test]
fn keys_for_which_everybody_can_sign_are_not_registered() {
    // The points whose order divides 8 (RFC 7748, section 7; the list of the Ed25519 papers), canonical and not.
    let mut desk = Desk::new();
    for key in [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ] {
        let body = json!({"for": "platform", "key": key, "reason": "asked", "signer": "anybody"});
        let refused = desk.command(ADMIN, "catalog.signer.registered", "new", body);
        assert_eq!(refused, Err("malformed".into()), "{key}");
    }
}
