//! Every code, and what leads to it.

use serde_json::{Value, json};
use tally_catalog::Catalog;
use tally_plugin::test_host::{TestEvent, TestHost, Verdict};

use crate::desk::{
    ADMIN, Desk, GATEWAY, PLATFORM_KEY, canonical, draft, key_hex, manifest, principal, split, vouch, with, without,
};

fn refused<T>(code: &str) -> Result<T, String> {
    Err(code.to_owned())
}

#[test]
fn a_draft_that_is_not_as_drawn_is_malformed() {
    let long = |bytes: usize| json!("x".repeat(bytes));
    let artifact = &draft()["artifacts"][0];
    let mut wrong: Vec<Value> =
        draft().as_object().expect("an object").keys().map(|name| without(draft(), name)).collect();
    for name in draft().as_object().expect("an object").keys() {
        wrong.push(with(draft(), name, Value::Null));
        wrong.push(with(draft(), name, json!({"x": 1})));
    }
    for (name, member) in [
        ("more", json!(1)),
        ("name", json!("")),
        ("name", long(201)),
        ("description", long(4_001)),
        ("category", json!("")),
        ("category", long(65)),
        ("licence_policy", long(65)),
        ("amount", json!(-1)),
        ("amount", json!(1_u64 << 53)),
        ("amount", json!("1995")),
        ("currency", json!("eur")),
        ("currency", json!("EURO")),
        ("preview", json!("trailer")),
        ("tags", json!(["lamp", "desk"])),
        ("tags", json!(["desk", "desk"])),
        ("tags", json!([""])),
        ("tags", json!(["x".repeat(33)])),
        ("tags", json!([1])),
        ("tags", json!((0..17).map(|tag| format!("{tag:02}")).collect::<Vec<_>>())),
        ("artifacts", json!([])),
        ("artifacts", json!(vec![artifact.clone(); 33])),
        ("artifacts", json!([without(artifact.clone(), "sha256")])),
        ("artifacts", json!([with(artifact.clone(), "sha256", json!("ab".repeat(31)))])),
        ("artifacts", json!([with(artifact.clone(), "sha256", json!("AB".repeat(32)))])),
        ("artifacts", json!([with(artifact.clone(), "url", json!("x"))])),
        ("artifacts", json!([with(artifact.clone(), "size", json!("5"))])),
        ("stock", json!("many")),
        ("private", json!("text")),
        ("split", json!([])),
        ("split", with(draft()["split"].clone(), "base", json!("half"))),
        ("split", split(&[("platform", 10_000, "king")], &[])),
        ("split", split(&[("two words", 9_000, "owner"), ("platform", 1_000, "platform")], &[])),
        ("split", split(&[("o", 9_000, "owner"), ("platform", 500, "platform")], &[("no id", 1, 500)])),
    ] {
        wrong.push(with(draft(), name, member));
    }
    let mut desk = Desk::new();
    for body in &wrong {
        assert_eq!(desk.draft(1, "lamp", body), refused("malformed"), "{body}");
    }
    for id in ["", "a b", "a/b", "é", &"x".repeat(65)] {
        assert_eq!(desk.draft(1, id, &draft()), refused("malformed"), "{id}");
    }
    assert_eq!(
        desk.ask_as(Some(json!({"principal": principal(1), "roles": ["admin"]})), "sku", &[("id", "lamp")]).0,
        404
    );
}

#[test]
fn the_largest_draft_that_is_drawn_is_accepted_and_published() {
    let many = |count: usize, text: &str| (0..count).map(|at| format!("{text}{at:02}")).collect::<Vec<_>>();
    let artifacts: Vec<_> = many(32, "file ")
        .iter()
        .map(|name| json!({"media_type": "m".repeat(128), "name": format!("{name}{}", "n".repeat(240)), "sha256": "00".repeat(32), "size": (1_u64 << 53) - 1}))
        .collect();
    let parties: Vec<_> = many(31, &"p".repeat(94)).into_iter().map(|party| (party, 322)).collect();
    let mut parties: Vec<_> = parties.iter().map(|(party, bps)| (party.as_str(), *bps, "owner")).collect();
    parties.push(("platform", 10_000 - 31 * 322, "platform"));
    let mut body = draft();
    for (name, member) in [
        ("amount", json!((1_u64 << 53) - 1)),
        ("artifacts", json!(artifacts)),
        ("category", json!("\u{1}".repeat(64))),
        ("description", json!("\u{1}a ".repeat(1_333))),
        ("licence_policy", json!("\u{1}".repeat(64))),
        ("name", json!("\u{1}".repeat(200))),
        ("private", json!({"notes": "n".repeat(8_000)})),
        ("split", split(&parties, &[])),
        ("stock", json!(0)),
        ("tags", json!(many(16, &"\u{1}".repeat(30)))),
    ] {
        body = with(body, name, member);
    }
    let mut desk = Desk::new();
    let id = "X".repeat(64);
    assert_eq!(desk.put(1, &id, 1, &body), Ok(()));
    assert_eq!(desk.page(&[]).0, [id]);
}

#[test]
fn commands_without_a_usable_key_are_refused() {
    let mut desk = Desk::new();
    for (kind, id, body) in commands() {
        let verdict = desk.send(ADMIN, kind, id, &body).verdict;
        assert_eq!(verdict, Verdict::Rejected("idempotency_key_required".into()), "{kind}");
        for key in [String::new(), "two words".into(), "k".repeat(256)] {
            let body = with(body.clone(), "idempotency_key", json!(key));
            assert_eq!(desk.command(ADMIN, kind, id, body), refused("malformed"), "{kind} {key}");
        }
    }
}

/// One command of each kind, for the SKU `lamp`.
fn commands() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("catalog.sku.drafted", "lamp", with(draft(), "reason", json!("asked"))),
        ("catalog.sku.published", "lamp", with(published(), "reason", json!("asked"))),
        ("catalog.sku.retired", "lamp", json!({"reason": "none"})),
        (
            "catalog.signer.registered",
            "new",
            json!({"for": "platform", "key": key_hex(50), "reason": "asked", "signer": "s"}),
        ),
        ("catalog.signer.revoked", "new", json!({"key": key_hex(2), "reason": "asked"})),
    ]
}

/// Publishes the first version of agent 1's SKU `lamp`.
fn published() -> Value {
    vouch(&manifest(&draft(), &principal(1), "lamp", 1), 1, 1)
}

#[test]
fn a_member_more_or_less_is_malformed_in_every_command() {
    let mut desk = Desk::new();
    desk.draft(1, "lamp", &draft()).expect("a draft");
    for (kind, id, body) in commands() {
        assert_eq!(desk.command(1, kind, id, with(body.clone(), "more", json!(1))), refused("malformed"), "{kind}");
        let names: Vec<_> = body.as_object().expect("an object").keys().cloned().collect();
        for name in names {
            assert_eq!(
                desk.command(ADMIN, kind, id, without(body.clone(), &name)),
                refused("malformed"),
                "{kind} {name}"
            );
        }
        let other = TestEvent::new(kind, "order", id, canonical(&with(body, "idempotency_key", json!("x")))).by(ADMIN);
        assert_eq!(desk.host.apply_one(other).verdict, Verdict::Rejected("malformed".into()), "{kind}");
    }
}

#[test]
fn a_card_number_in_any_text_is_refused_and_leaves_nothing() {
    let mut desk = Desk::new();
    let before = desk.host.host().state.clone();
    let card = "4242 4242 4242 4242";
    let mut bodies: Vec<Value> = ["name", "description", "category", "licence_policy"]
        .map(|name| with(draft(), name, json!(format!("call {card} now"))))
        .into();
    bodies.push(with(draft(), "tags", json!([card])));
    bodies.push(with(draft(), "private", json!({"deep": [{"er": card}]})));
    bodies.push(with(draft(), "private", json!({ card: 1 })));
    bodies.push(with(draft(), "stock", json!(4_242_424_242_424_242_u64)));
    bodies.push(with(draft(), "idempotency_key", json!("4242424242424242")));
    for body in bodies {
        assert_eq!(desk.draft(1, "lamp", &body), refused("card_data"), "{body}");
    }
    assert_eq!(desk.draft(1, "4242-4242-4242-4242", &draft()), refused("card_data"));
    assert_eq!(desk.command(1, "catalog.sku.retired", "lamp", json!({"reason": card})), refused("card_data"));
    assert_eq!(desk.host.host().state, before);
    assert!(desk.host.host().outcomes.iter().all(|outcome| outcome.log.is_empty()));
}

#[test]
fn only_the_owner_or_an_admin_edits_publishes_and_retires() {
    let mut desk = Desk::new();
    desk.draft(1, "lamp", &draft()).expect("whoever is first owns it");
    let vouched = with(published(), "reason", json!("the owner is away"));
    assert_eq!(desk.draft(2, "lamp", &draft()), refused("forbidden"));
    assert_eq!(desk.command(2, "catalog.sku.published", "lamp", vouched.clone()), refused("forbidden"));
    assert_eq!(desk.command(ADMIN, "catalog.sku.published", "lamp", vouched), Ok(()));
    assert_eq!(desk.retire(2, "lamp"), refused("forbidden"));
    let dearer = with(draft(), "amount", json!(2_995));
    assert_eq!(desk.draft(ADMIN, "lamp", &dearer), Ok(()));
    assert_eq!(desk.offer(), None, "a draft is for nobody");
    assert_eq!(desk.publish(1, "lamp", 2, &dearer), Ok(()));
    assert_eq!(desk.offer().expect("an offer")["owner"], json!(principal(1)), "an admin's draft is still the owner's");
    assert_eq!(desk.retire(ADMIN, "lamp"), Ok(()));
}

#[test]
fn only_admins_register_and_revoke_keys() {
    let mut desk = Desk::new();
    for (kind, id, body) in commands().split_off(3) {
        assert_eq!(desk.command(1, kind, id, body.clone()), refused("forbidden"), "{kind}");
        assert_eq!(desk.command(ADMIN, kind, "lamp", body.clone()), refused("malformed"), "{kind}");
        assert_eq!(desk.command(ADMIN, kind, id, body), Ok(()), "{kind}");
    }
    assert_eq!(desk.register(50, "platform"), refused("state"), "a key is registered once");
    assert_eq!(desk.revoke(2), refused("state"), "a key is revoked once");
    assert_eq!(desk.register(2, &principal(2)), refused("state"), "and for ever");
    assert_eq!(desk.revoke(77), refused("not_found"));
}

#[test]
fn a_gateway_speaks_for_whom_it_names_and_nobody_else_does() {
    let mut desk = Desk::new();
    assert_eq!(desk.draft(GATEWAY, "lamp", &draft()), refused("forbidden"), "a gateway names somebody");
    assert_eq!(desk.draft(1, "lamp", &with(draft(), "actor", json!("user:anna"))), refused("forbidden"));
    assert_eq!(desk.draft(ADMIN, "lamp", &with(draft(), "actor", json!("user:anna"))), refused("forbidden"));
    assert_eq!(desk.draft(GATEWAY, "lamp", &with(draft(), "actor", json!("no body"))), refused("malformed"));
    assert_eq!(desk.draft(GATEWAY, "lamp", &with(draft(), "actor", json!("user:anna"))), Ok(()));
    assert_eq!(desk.draft(GATEWAY, "lamp", &with(draft(), "actor", json!("user:ben"))), refused("forbidden"));
    let by_admin = with(with(draft(), "actor", json!("user:root")), "reason", json!("asked"));
    assert_eq!(desk.draft(GATEWAY, "lamp", &by_admin), Ok(()), "an admin");
    let vouched = vouch(&manifest(&draft(), "user:anna", "lamp", 1), 1, PLATFORM_KEY);
    let publish = |actor: &str| with(vouched.clone(), "actor", json!(actor));
    assert_eq!(desk.command(GATEWAY, "catalog.sku.published", "lamp", publish("user:ben")), refused("forbidden"));
    assert_eq!(desk.command(GATEWAY, "catalog.sku.published", "lamp", publish("user:anna")), Ok(()));
}

#[test]
fn what_another_plugin_emits_commands_nothing() {
    let mut desk = Desk::new();
    for (kind, id, body) in commands() {
        let body = canonical(&with(body, "idempotency_key", json!("k")));
        let derived = TestEvent { derived: true, ..TestEvent::new(kind, "sku", id, body).by(ADMIN) };
        assert_eq!(desk.host.apply_one(derived).verdict, Verdict::Rejected("forbidden".into()), "{kind}");
    }
}

#[test]
fn what_is_not_there_is_not_found() {
    let mut desk = Desk::new();
    assert_eq!(desk.publish(1, "lamp", 1, &draft()), refused("not_found"));
    assert_eq!(desk.retire(1, "lamp"), refused("not_found"));
}

#[test]
fn a_published_version_is_immutable() {
    let mut desk = Desk::new();
    desk.put(1, "lamp", 1, &draft()).expect("published");
    let other = with(draft(), "amount", json!(1));
    assert_eq!(desk.publish(1, "lamp", 1, &draft()), refused("immutable"));
    assert_eq!(desk.publish(1, "lamp", 1, &other), refused("immutable"));
    desk.draft(1, "lamp", &other).expect("a draft of the next version");
    assert_eq!(desk.publish(1, "lamp", 1, &other), refused("immutable"), "also with a draft at hand");
    let (_, first) = desk.ask("provenance", &[("id", "lamp"), ("version", "1")]);
    assert_eq!(canonical(&first["manifest"]), manifest(&draft(), &principal(1), "lamp", 1));
}

#[test]
fn nothing_happens_out_of_its_state() {
    let mut desk = Desk::new();
    desk.draft(1, "lamp", &draft()).expect("a draft");
    assert_eq!(desk.retire(1, "lamp"), refused("state"), "a draft is not for sale");
    assert_eq!(desk.publish(1, "lamp", 2, &draft()), refused("state"), "not the next version");
    assert_eq!(desk.publish(1, "lamp", 0, &draft()), refused("malformed"), "no version at all");
    assert_eq!(desk.publish(1, "lamp", 1, &draft()), Ok(()));
    assert_eq!(desk.publish(1, "lamp", 2, &draft()), refused("state"), "nothing is drafted");
    desk.draft(1, "lamp", &draft()).expect("a draft");
    assert_eq!(desk.retire(1, "lamp"), Ok(()));
    assert_eq!(desk.retire(1, "lamp"), refused("state"));
    assert_eq!(desk.draft(1, "lamp", &draft()), refused("state"));
    assert_eq!(desk.publish(1, "lamp", 2, &draft()), refused("state"));
    assert_eq!(desk.draft(ADMIN, "lamp", &draft()), refused("state"), "nobody brings it back");
}

#[test]
fn free_is_said_and_is_exactly_what_costs_nothing() {
    let mut desk = Desk::new();
    let priced = |amount: u64, free: bool| with(with(draft(), "amount", json!(amount)), "free", json!(free));
    assert_eq!(desk.draft(1, "lamp", &priced(0, false)), refused("invalid_manifest"));
    assert_eq!(desk.draft(1, "lamp", &priced(1, true)), refused("invalid_manifest"));
    assert_eq!(desk.put(1, "lamp", 1, &priced(0, true)), Ok(()));
    assert_eq!(desk.offer().expect("an offer")["amount"], json!(0));
}

#[test]
fn the_same_command_again_changes_nothing_and_another_under_its_key_is_refused() {
    let mut desk = Desk::new();
    let first = with(draft(), "idempotency_key", json!("once"));
    desk.draft(1, "lamp", &first).expect("a draft");
    let vouched = with(vouch(&manifest(&draft(), &principal(1), "lamp", 1), 1, 1), "idempotency_key", json!("once"));
    desk.command(1, "catalog.sku.published", "lamp", vouched.clone()).expect("published; the operation is another");
    assert!(desk.offer().is_some());
    desk.command(1, "catalog.sku.published", "lamp", vouched.clone()).expect("again");
    assert!(desk.offer().is_none(), "told once");
    desk.draft(1, "lamp", &first).expect("again");
    let (_, shown) = desk.ask_as(Some(json!({"principal": principal(1), "roles": []})), "sku", &[("id", "lamp")]);
    assert_eq!(shown.get("draft"), None, "a repetition drafts nothing");
    let other = with(first.clone(), "amount", json!(5));
    assert_eq!(desk.draft(1, "lamp", &other), refused("idempotency_conflict"));
    assert_eq!(desk.draft(1, "other", &first), refused("idempotency_conflict"), "the SKU is part of what is said");
    assert_eq!(desk.draft(2, "other", &first), Ok(()), "another principal has keys of its own");
    let results = |desk: &mut Desk, index: u64| desk.ask("result", &[("index", &index.to_string())]);
    let (status, result) = results(&mut desk, 4);
    assert_eq!((status, &result["status"]), (200, &json!("draft")));
    assert_eq!(results(&mut desk, 6), (200, json!({"repeats": 5})));
}

#[test]
fn a_refused_command_leaves_its_key() {
    let mut desk = Desk::new();
    let body = with(json!({"reason": "gone"}), "idempotency_key", json!("retry"));
    assert_eq!(desk.command(1, "catalog.sku.retired", "lamp", body.clone()), refused("not_found"));
    desk.put(1, "lamp", 1, &draft()).expect("published");
    assert_eq!(desk.command(1, "catalog.sku.retired", "lamp", body), Ok(()));
    assert_eq!(desk.offer().expect("an offer")["status"], json!("retired"));
}

#[test]
fn a_configuration_is_whole_or_refused() {
    let lists = json!({"admins": [], "gateways": []});
    for (config, fits) in [
        (lists.clone(), true),
        (without(lists.clone(), "admins"), false),
        (without(lists.clone(), "gateways"), false),
        (with(lists.clone(), "finance", json!([])), false),
        (with(lists.clone(), "admins", json!("all")), false),
        (with(lists, "gateways", json!(["here"])), false),
        (json!([]), false),
    ] {
        let mut host = TestHost::<Catalog>::new();
        assert_eq!(host.init(canonical(&config).as_bytes()).is_ok(), fits, "{config}");
    }
}
