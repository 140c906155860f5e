//! What is shown, and to whom.

use serde_json::{Value, json};

use crate::desk::{ADMIN, Desk, canonical, draft, hex, key, key_hex, manifest, principal, sha256, with};

fn owner() -> Option<Value> {
    Some(json!({"principal": principal(1), "roles": []}))
}

fn admin() -> Option<Value> {
    Some(json!({"principal": "user:root", "roles": ["admin"]}))
}

fn strangers() -> [Option<Value>; 4] {
    [
        None,
        Some(json!({"principal": principal(2), "roles": ["finance", "service"]})),
        Some(json!({"principal": "", "roles": []})),
        Some(json!({"principal": ADMIN, "roles": "admin"})),
    ]
}

#[test]
fn the_private_part_and_the_drafts_are_for_owner_and_admins() {
    let mut desk = Desk::new();
    let secret = with(draft(), "private", json!({"cost": 77}));
    desk.put(1, "lamp", 1, &secret).expect("published");
    desk.draft(1, "lamp", &with(secret.clone(), "name", json!("Draft Lamp"))).expect("a draft");
    for caller in strangers() {
        for (route, args) in [
            ("sku", vec![("id", "lamp")]),
            ("provenance", vec![("id", "lamp"), ("version", "1")]),
            ("versions", vec![("id", "lamp")]),
            ("skus", vec![]),
        ] {
            let (status, body) = desk.ask_as(caller.clone(), route, &args);
            let text = body.to_string();
            assert_eq!(status, 200, "{route} {caller:?}");
            assert!(!text.contains("77") || !text.contains("cost"), "{route} {caller:?}");
            assert!(!text.contains("cost") && !text.contains("Draft Lamp") && !text.contains("published_by"), "{text}");
        }
    }
    for caller in [owner(), admin()] {
        let (_, shown) = desk.ask_as(caller.clone(), "sku", &[("id", "lamp")]);
        assert_eq!(shown["private"], json!({"cost": 77}));
        assert_eq!((&shown["name"], &shown["draft"]["manifest"]["name"]), (&json!("Desk Lamp"), &json!("Draft Lamp")));
        assert_eq!(shown["draft"]["private"], json!({"cost": 77}));
        let (_, shown) = desk.ask_as(caller, "provenance", &[("id", "lamp"), ("version", "1")]);
        assert_eq!((&shown["private"], &shown["published_by"]), (&json!({"cost": 77}), &json!(principal(1))));
    }
}

#[test]
fn a_caller_in_the_arguments_is_nobody() {
    let mut desk = Desk::new();
    desk.put(1, "lamp", 1, &with(draft(), "private", json!({"cost": 77}))).expect("published");
    let (_, shown) = desk.ask("sku", &[("id", "lamp"), ("caller", &principal(1)), ("roles", "admin")]);
    assert_eq!(shown.get("private"), None);
}

#[test]
fn what_nobody_published_is_not_found_but_by_its_owner() {
    let mut desk = Desk::new();
    desk.draft(1, "lamp", &draft()).expect("a draft");
    for caller in strangers() {
        for route in ["sku", "versions"] {
            assert_eq!(desk.ask_as(caller.clone(), route, &[("id", "lamp")]), (404, json!({"error": "not_found"})));
        }
        assert_eq!(desk.ask_as(caller, "provenance", &[("id", "lamp"), ("version", "1")]).0, 404);
    }
    let (status, shown) = desk.ask_as(owner(), "sku", &[("id", "lamp")]);
    assert_eq!((status, &shown["status"], &shown["version"]), (200, &json!("draft"), &json!(1)));
    assert_eq!(desk.ask_as(owner(), "provenance", &[("id", "lamp"), ("version", "1")]).0, 404, "nothing is signed yet");
    for id in ["none", "", "a/b", &"x".repeat(600)] {
        assert_eq!(desk.ask_as(admin(), "sku", &[("id", id)]), (404, json!({"error": "not_found"})), "{id}");
    }
}

#[test]
fn an_sku_is_shown_with_everything_that_is_pinned() {
    let mut desk = Desk::new();
    let body = with(draft(), "stock", json!(12));
    desk.put(1, "lamp", 1, &body).expect("published");
    let offer = desk.offer().expect("an offer").clone();
    let (_, shown) = desk.ask("sku", &[("id", "lamp")]);
    for (name, member) in body.as_object().expect("an object") {
        assert_eq!(&shown[name], member, "{name}");
    }
    for (name, member) in [
        ("owner", json!(principal(1))),
        ("sku", json!("lamp")),
        ("status", json!("published")),
        ("version", json!(1)),
        ("signer", json!("signer 1")),
        ("key", json!(key_hex(1))),
        ("manifest_sha256", json!(hex(&sha256(manifest(&body, &principal(1), "lamp", 1).as_bytes())))),
        ("manifest_signature_id", offer["manifest_signature_id"].clone()),
    ] {
        assert_eq!(shown[name], member, "{name}");
    }
    assert!(shown["created_at"].as_u64() < shown["published_at"].as_u64());
    let (row, _) = (desk.ask("skus", &[]).1["rows"][0].clone(), ());
    for name in
        ["amount", "category", "currency", "free", "licence_policy", "name", "owner", "preview", "sku", "stock", "tags"]
    {
        assert_eq!(row[name], shown[name], "{name}");
    }
}

#[test]
fn provenance_can_be_checked_without_the_catalogue() {
    let mut desk = Desk::new();
    desk.put(1, "lamp", 1, &draft()).expect("published");
    desk.put(1, "lamp", 2, &with(draft(), "amount", json!(5))).expect("published");
    let (_, shown) = desk.ask("provenance", &[("id", "lamp"), ("version", "1")]);
    let bytes = canonical(&shown["manifest"]);
    let digest = sha256(bytes.as_bytes());
    assert_eq!(shown["manifest_sha256"], json!(hex(&digest)));
    assert_eq!(shown["artifacts"], draft()["artifacts"]);
    let public = tally_protocol::key::PublicKey::from_hex(shown["key"].as_str().expect("a key")).expect("a key");
    let signature = shown["signature"].as_str().expect("a signature");
    let signature = tally_protocol::key::Signature::from_hex(signature).expect("a signature");
    assert_eq!(public.to_hex(), key(1).public_key().to_hex());
    let message = [b"TALLY_SKU_MANIFEST_V1".as_slice(), &digest].concat();
    assert!(tally_protocol::key::verify(&public, &message, &signature));
    for version in ["0", "3", "-1", "one", ""] {
        assert_eq!(desk.ask("provenance", &[("id", "lamp"), ("version", version)]).0, 404, "{version}");
    }
}

#[test]
fn an_offer_pins_price_split_licence_and_signature() {
    let mut desk = Desk::new();
    let body = with(draft(), "stock", json!(3));
    desk.put(1, "lamp", 1, &body).expect("published");
    let offer = desk.offer().expect("an offer").clone();
    let expected = json!({
        "amount": 1_995,
        "artifacts_sha256": hex(&sha256(canonical(&body["artifacts"]).as_bytes())),
        "base": "net",
        "category": "tools",
        "currency": "EUR",
        "licence_policy": "perpetual",
        "manifest_sha256": hex(&sha256(manifest(&body, &principal(1), "lamp", 1).as_bytes())),
        "manifest_signature_id": offer["manifest_signature_id"],
        "owner": principal(1),
        "parties": [{"party": "agent:owner", "weight": 9_000}, {"party": "platform", "weight": 1_000}],
        "sku": "lamp",
        "status": "published",
        "stock": 3,
        "version": 1,
    });
    assert_eq!(offer, expected);
    assert_eq!(offer["manifest_signature_id"].as_str().map(str::len), Some(64));
    desk.retire(1, "lamp").expect("retired");
    assert_eq!(desk.offer().expect("an offer"), &with(expected, "status", json!("retired")));
}

#[test]
fn a_retired_sku_is_in_no_list_and_says_why_where_it_is_asked_for() {
    let mut desk = Desk::new();
    desk.put(1, "lamp", 1, &draft()).expect("published");
    desk.command(ADMIN, "catalog.sku.retired", "lamp", json!({"reason": "recalled"})).expect("retired");
    for args in [
        vec![],
        vec![("q", "lamp")],
        vec![("tag", "desk")],
        vec![("category", "tools")],
        vec![("owner", principal(1).leak() as &str)],
    ] {
        assert_eq!(desk.page(&args), (vec![], None), "{args:?}");
    }
    let (status, shown) = desk.ask("sku", &[("id", "lamp")]);
    assert_eq!((status, &shown["status"], &shown["retired"]["reason"]), (200, &json!("retired"), &json!("recalled")));
    assert_eq!(shown["retired"].get("by"), None);
    let (_, shown) = desk.ask_as(admin(), "sku", &[("id", "lamp")]);
    assert_eq!(shown["retired"]["by"], json!(principal(ADMIN)));
    assert_eq!(desk.ask("versions", &[("id", "lamp")]).1["rows"].as_array().map(Vec::len), Some(1));
}

#[test]
fn versions_come_in_order_page_by_page() {
    let mut desk = Desk::new();
    for version in 1..=7 {
        desk.put(1, "lamp", version, &with(draft(), "amount", json!(version))).expect("published");
        desk.put(1, "lamp2", version, &draft()).expect("published");
    }
    let (mut found, mut after) = (Vec::new(), String::from("0"));
    loop {
        let (status, page) = desk.ask("versions", &[("id", "lamp"), ("limit", "3"), ("after", &after)]);
        assert_eq!(status, 200);
        let rows = page["rows"].as_array().expect("rows").clone();
        found.extend(rows.iter().map(|row| (row["version"].as_u64(), row["amount"].as_u64())));
        match page["after"].as_u64() {
            Some(next) => after = next.to_string(),
            None => break,
        }
    }
    assert_eq!(found, (1..=7).map(|version| (Some(version), Some(version))).collect::<Vec<_>>());
}

#[test]
fn what_is_asked_wrongly_is_told() {
    let mut desk = Desk::new();
    desk.put(1, "lamp", 1, &draft()).expect("published");
    let long = "w".repeat(257);
    for (route, args, status) in [
        ("skus", vec![("limit", "0")], 400),
        ("skus", vec![("limit", "101")], 400),
        ("skus", vec![("limit", "many")], 400),
        ("skus", vec![("limit", "100")], 200),
        ("skus", vec![("after", "xyz")], 400),
        ("skus", vec![("after", "00")], 400),
        ("skus", vec![("after", "")], 400),
        ("skus", vec![("price_min", "1")], 400),
        ("skus", vec![("price_min", "1"), ("currency", "EUR")], 200),
        ("skus", vec![("price_max", "1.5"), ("currency", "EUR")], 400),
        ("skus", vec![("currency", "euro")], 400),
        ("skus", vec![("q", "")], 400),
        ("skus", vec![("q", "?!")], 400),
        ("skus", vec![("q", &long)], 400),
        ("skus", vec![("q", "a b c d e f g h")], 200),
        ("skus", vec![("q", "a b c d e f g h i")], 400),
        ("skus", vec![("tag", "")], 400),
        ("skus", vec![("tag", "0123456789012345678901234567890123")], 400),
        ("skus", vec![("owner", "no body")], 400),
        ("versions", vec![("id", "lamp"), ("limit", "101")], 400),
        ("versions", vec![("id", "lamp"), ("after", "x")], 400),
        ("result", vec![("index", "99")], 404),
        ("result", vec![("index", "x")], 404),
        ("nothing", vec![], 404),
    ] {
        assert_eq!(desk.ask(route, &args).0, status, "{route} {args:?}");
    }
}
