//! Who did what and why: the reasons that are asked for, and the list that admins are shown.

use serde_json::{Value, json};

use crate::desk::{ADMIN, Desk, draft, hex, key_hex, manifest, principal, sha256, vouch, with};

fn malformed() -> Result<(), String> {
    Err("malformed".into())
}

fn dearer() -> Value {
    with(with(draft(), "amount", json!(2_995)), "currency", json!("USD"))
}

fn admin() -> Option<Value> {
    Some(json!({"principal": principal(ADMIN), "roles": ["admin"]}))
}

/// All records, page by page; `between` happens after each page.
fn records(desk: &mut Desk, limit: usize, mut between: impl FnMut(&mut Desk)) -> Vec<Value> {
    let (mut records, mut after, limit_text): (_, Option<String>, _) = (Vec::new(), None, limit.to_string());
    loop {
        let mut args = vec![("limit", limit_text.as_str())];
        args.extend(after.as_deref().map(|after| ("after", after)));
        let (status, body) = desk.ask_as(admin(), "audit", &args);
        assert_eq!(status, 200, "{body}");
        let rows = body["rows"].as_array().expect("rows");
        assert!(rows.len() <= limit);
        records.extend(rows.iter().cloned());
        between(desk);
        match body["after"].as_u64() {
            Some(index) => after = Some(index.to_string()),
            None => return records,
        }
    }
}

#[test]
fn whoever_acts_for_the_owner_or_the_platform_says_why() {
    let mut desk = Desk::new();
    desk.draft(1, "lamp", &draft()).expect("an owner need not");
    let digest = manifest(&draft(), &principal(1), "lamp", 1);
    let key = key_hex(70);
    for (kind, id, body) in [
        ("catalog.sku.drafted", "lamp", draft()),
        ("catalog.sku.published", "lamp", vouch(&digest, 1, 1)),
        ("catalog.signer.registered", "new", json!({"for": "platform", "key": key, "signer": "s"})),
        ("catalog.signer.revoked", "new", json!({"key": key_hex(3)})),
    ] {
        let before = desk.host.host().state.clone();
        assert_eq!(desk.command(ADMIN, kind, id, body.clone()), malformed(), "{kind}");
        for reason in [json!(""), json!("x".repeat(201)), json!(1), json!("a\u{0}b")] {
            assert_eq!(desk.command(ADMIN, kind, id, with(body.clone(), "reason", reason)), malformed(), "{kind}");
        }
        assert_eq!(desk.host.host().state, before, "{kind}");
        let longest = with(body, "reason", json!("x".repeat(200)));
        assert_eq!(desk.command(ADMIN, kind, id, longest), Ok(()), "{kind}");
    }
    for by in [1, ADMIN] {
        assert_eq!(desk.command(by, "catalog.sku.retired", "lamp", json!({})), malformed());
    }
    assert_eq!(desk.draft(1, "mine", &with(draft(), "reason", json!(""))), malformed(), "nothing is no reason");
}

#[test]
fn every_command_that_was_accepted_is_listed_with_actor_and_reason_and_no_other() {
    let mut desk = Desk::new();
    let from = desk.host.host().outcomes.len();
    desk.put(1, "lamp", 1, &draft()).expect("published");
    desk.draft(2, "lamp", &draft()).expect_err("not theirs");
    desk.draft(ADMIN, "lamp", &dearer()).expect("drafted");
    let signed = manifest(&dearer(), &principal(1), "lamp", 2);
    let vouched = vouch(&signed, 2, 1);
    let body = with(vouched, "reason", json!("prices are in dollars now"));
    desk.command(ADMIN, "catalog.sku.published", "lamp", body).expect("published");
    desk.command(ADMIN, "catalog.sku.retired", "lamp", json!({"reason": "recalled"})).expect("retired");
    desk.revoke(1).expect("revoked");
    let shown = records(&mut desk, 100, |_| {});
    let (first, second) = (sha256(manifest(&draft(), &principal(1), "lamp", 1).as_bytes()), sha256(signed.as_bytes()));
    let (owner, actor) = (principal(1), principal(ADMIN));
    let expected = [
        json!({"action": "catalog.sku.drafted", "actor": owner, "amount": 1_995, "currency": "EUR", "entity": "lamp",
               "manifest_sha256": hex(&first), "version": 1}),
        json!({"action": "catalog.sku.published", "actor": owner, "amount": 1_995, "currency": "EUR", "entity": "lamp",
               "manifest_sha256": hex(&first), "version": 1}),
        json!({"action": "catalog.sku.drafted", "actor": actor, "amount": 2_995, "currency": "USD", "entity": "lamp",
               "manifest_sha256": hex(&second), "reason": "the owner asked", "version": 2}),
        json!({"action": "catalog.sku.published", "actor": actor, "amount": 2_995, "amount_before": 1_995, "currency": "USD",
               "currency_before": "EUR", "entity": "lamp", "manifest_sha256": hex(&second),
               "reason": "prices are in dollars now", "version": 2}),
        json!({"action": "catalog.sku.retired", "actor": actor, "entity": "lamp", "reason": "recalled", "version": 2}),
        json!({"action": "catalog.signer.revoked", "actor": actor, "entity": "new", "for": owner, "key": key_hex(1),
               "reason": "lost", "signer": "signer 1"}),
    ];
    assert_eq!(shown.len(), from + expected.len(), "the keys' registrations, and these");
    for (row, expected) in shown[from..].iter().zip(expected) {
        let mut row = row.clone();
        let row = row.as_object_mut().expect("an object");
        assert!(row.remove("at").is_some_and(|at| at.is_u64()));
        assert!(row.remove("index").is_some_and(|index| index.is_u64()));
        assert_eq!(Value::Object(row.clone()), expected);
    }
    let places: Vec<u64> = shown.iter().map(|row| row["index"].as_u64().expect("an index")).collect();
    assert!(places.is_sorted_by(|before, after| before < after));
    assert_eq!(shown[0]["reason"], json!("was shown the key"));
}

#[test]
fn a_record_is_on_one_page_whatever_is_done_meanwhile_and_only_admins_read() {
    let mut desk = Desk::new();
    for number in 0..9 {
        desk.draft(1, &format!("lamp-{number}"), &draft()).expect("drafted");
    }
    let first = records(&mut desk, 100, |_| {});
    for limit in [1, 2, 5, 100] {
        let mut more = 3;
        let seen = records(&mut desk, limit, |desk| {
            if more > 0 {
                more -= 1;
                desk.draft(1, "lamp-0", &draft()).expect("drafted");
            }
        });
        assert_eq!(seen[..first.len()], first[..]);
        let mut places: Vec<u64> = seen.iter().map(|row| row["index"].as_u64().expect("an index")).collect();
        let count = places.len();
        places.dedup();
        assert_eq!(places.len(), count);
    }
    let caller = |roles: &[&str]| Some(json!({"principal": principal(1), "roles": roles}));
    for caller in [None, caller(&[]), caller(&["finance"])] {
        assert_eq!(desk.ask_as(caller, "audit", &[]), (403, json!({"error": "forbidden"})));
    }
    for args in [[("limit", "0")], [("limit", "101")], [("after", "x")], [("limit", "-1")]] {
        assert_eq!(desk.ask_as(admin(), "audit", &args).0, 400, "{args:?}");
    }
}
