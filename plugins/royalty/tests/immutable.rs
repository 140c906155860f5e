//! What is written stays: whatever admins, finance and approvers do, no journal, line, movement, proof, result, payout or
//! correction is changed or deleted. Only the tables that are named here may change, and only as they are named.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{Books, CURRENCY, EVERY_S, FINANCE, Order, SECOND, line, sha256};
use proptest::prelude::*;
use serde_json::{Value, json};
use tally_market::hex;
use tally_plugin::json::Json;
use tally_plugin::{Manifest, Plugin as _};
use tally_royalty::Royalty;

type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// Written once: a row that is there stays, byte for byte.
const WRITTEN_ONCE: [&str; 10] =
    ["fault/", "journal/", "move/", "once/", "payee/", "place/", "proof/", "result/", "roles/", "settings/"];
/// A row changes, and is never deleted.
const KEPT: [&str; 6] = ["correction/", "count/", "party/", "payout/", "sale/", "system/"];
/// Rows come and go: what is on its way, what waits, and who is blocked.
const PASSING: [&str; 5] = ["blocked/", "clr/", "due/", "hold/", "plan/"];

/// Whoever may do something, and somebody who may not.
const ACTORS: [&str; 6] = ["root", "fin", "ann", "bob", "payee", "eve"];

fn prefixes() -> BTreeSet<String> {
    let manifest: Manifest = Royalty::describe();
    let manifest = manifest.to_json();
    let json = Json::parse(&manifest).expect("JSON");
    json.get("prefixes").expect("prefixes").items().map(|prefix| prefix.text().expect("a text").into_owned()).collect()
}

#[test]
fn every_table_is_declared_written_once_kept_or_passing() {
    let named: BTreeSet<String> = WRITTEN_ONCE.iter().chain(&KEPT).chain(&PASSING).map(|name| (*name).into()).collect();
    assert_eq!(named, prefixes());
}

#[test]
fn every_route_has_a_name_of_its_own() {
    let manifest = Royalty::describe().to_json();
    let json = Json::parse(&manifest).expect("JSON");
    let routes = json.get("routes").expect("routes").items();
    let names: Vec<String> = routes.filter_map(|route| Some(route.get("name")?.text()?.into_owned())).collect();
    assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "a host takes no others: {names:?}");
}

/// Every command that the manifest declares, by its event's type.
fn commands() -> Vec<String> {
    let manifest = Royalty::describe().to_json();
    let json = Json::parse(&manifest).expect("JSON");
    let routes = json.get("routes").expect("routes").items();
    let mut commands: Vec<String> = routes.filter_map(|route| Some(route.get("event")?.text()?.into_owned())).collect();
    commands.sort();
    commands
}

/// A command: which, by whom, about what, and a number for whatever it needs.
#[derive(Clone, Debug)]
struct Act {
    command: usize,
    actor: usize,
    subject: usize,
    number: u64,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    // Admins most of all.
    let actor = prop_oneof![4 => Just(0usize), 3 => 0usize..ACTORS.len()];
    let act = (0usize..64, actor, any::<usize>(), 0u64..2_500).prop_map(|(command, actor, subject, number)| Act {
        command,
        actor,
        subject,
        number,
    });
    prop::collection::vec(act, 1..50)
}

/// What commands are about: payouts and corrections that exist.
fn subjects(state: &State) -> Vec<String> {
    let of = |prefix: &'static [u8]| {
        state.keys().filter_map(move |key| key.strip_prefix(prefix)).map(hex::encode).collect::<Vec<_>>()
    };
    [of(b"payout/"), of(b"correction/")].concat()
}

fn body_of(command: &str, number: u64) -> Value {
    let party = if number.is_multiple_of(2) { "payee" } else { "house" };
    match command {
        "royalty.payout.requested" => {
            json!({"account": "acct_1", "amount": number.max(1), "currency": CURRENCY, "party": party})
        }
        "royalty.payout.approved" | "royalty.correction.approved" => json!({}),
        "royalty.payout.canceled" | "royalty.correction.canceled" => json!({"reason": "because"}),
        "royalty.party.blocked" | "royalty.party.released" => json!({"party": party, "reason": "because"}),
        "royalty.schedule.started" => json!({"account": "acct_1", "currency": CURRENCY, "party": party}),
        "royalty.schedule.ended" => json!({"currency": CURRENCY, "party": party, "reason": "because"}),
        "royalty.correction.proposed" => {
            let amount = number / 3 + 1;
            let lines = match number % 3 {
                0 => json!([line("debit", "psp_fees", amount), line("credit", "psp", amount)]),
                1 => json!([line("debit", "loss", amount), line("credit", &format!("avail/{party}"), amount)]),
                _ => json!([line("debit", &format!("avail/{party}"), amount), line("credit", "loss", amount)]),
            };
            json!({"currency": CURRENCY, "lines": lines, "reason": "because"})
        }
        other => panic!("{other} is a command that this test does not know: add it"),
    }
}

/// A market in which everything has happened once: sales, a refund, a dispute, payouts, a proof.
fn market() -> Books {
    let mut books = Books::new();
    for id in 1..=3 {
        let order = Order::new(id, &[("payee", 2_000), ("house", 500)]);
        let asked: Value = {
            let outcome = books.money(&order, [2_500, 0, 0, 0]);
            serde_json::from_slice(&outcome.effects[0].body).expect("JSON")
        };
        let statement = json!({
            "amount": asked["amount"], "currency": asked["currency"], "effect": hex::encode(&common::EFFECT),
            "journal": asked["journal"], "order": asked["order"], "proof_sha256": asked["proof_sha256"],
            "settlement_sha256": hex::encode(&sha256(asked.to_string().as_bytes())), "signer_kid": "k", "ts": "t",
        });
        let proof = json!({
            "canonical_message": statement.to_string(), "signature": "A".repeat(88), "signer_kid": "k", "ts": "t",
        });
        let result = json!({
            "amount": asked["amount"], "currency": asked["currency"], "journal": asked["journal"],
            "order": asked["order"], "proof": proof,
        });
        books.answer(FINANCE, "finance", &order.hex(), "done", &result);
    }
    books.now += common::HOLD_S * SECOND;
    books.tick();
    let first = Order::new(1, &[("payee", 2_000), ("house", 500)]);
    books.money(&first, [2_500, 300, 0, 0]);
    books.money(&first, [2_500, 300, 500, 0]);
    let paid = books.request("payee", "payee", 60).expect("a payout");
    books.fact(&paid, 60, "paid");
    books.fact(&"0".repeat(64), 60, "paid");
    books
}

fn prefix_of(key: &[u8]) -> &str {
    let end = key.iter().position(|byte| *byte == b'/').expect("a table's key");
    std::str::from_utf8(&key[..=end]).expect("ASCII")
}

/// What may not have happened between two states.
fn check(before: &State, after: &State) -> Result<(), TestCaseError> {
    for (key, row) in before {
        let prefix = prefix_of(key);
        let now = after.get(key);
        if WRITTEN_ONCE.contains(&prefix) {
            prop_assert!(now == Some(row), "a row of {} was changed or deleted", prefix);
        } else if KEPT.contains(&prefix) {
            prop_assert!(now.is_some(), "a row of {} was deleted", prefix);
        } else {
            prop_assert!(PASSING.contains(&prefix), "a table that nobody declared: {}", prefix);
        }
    }
    Ok(())
}

/// What a payout or a correction says of itself for ever.
fn pinned(books: &mut Books) -> BTreeMap<String, Value> {
    let state = books.host.host().state.clone();
    let mut all = BTreeMap::new();
    for id in subjects(&state) {
        for (route, lasting) in [
            (
                "payout",
                ["account", "amount", "currency", "initiator", "needed", "party", "payout", "requested"].as_slice(),
            ),
            ("correction", ["correction", "currency", "lines", "needed", "proposed", "proposer", "reason"].as_slice()),
        ] {
            let (status, shown) = books.ask(route, &json!({"id": id}), Some(("x", "admin")));
            if status == 200 {
                let kept: Vec<Value> = lasting.iter().map(|name| shown[*name].clone()).collect();
                all.insert(format!("{route} {id}"), json!(kept));
            }
        }
    }
    all
}

/// How often each command was accepted, over all runs.
fn run(acts: &[Act], accepted: &mut BTreeMap<String, u64>) -> Result<(), TestCaseError> {
    let (commands, mut books) = (commands(), market());
    for act in acts {
        let command = &commands[act.command % commands.len()];
        let before = books.host.host().state.clone();
        let (known, journals) = (pinned(&mut books), books.journals());
        let subjects = subjects(&before);
        let of_one = [".approved", ".canceled"].iter().any(|end| command.ends_with(end));
        let id = if of_one { subjects[act.subject % subjects.len()].as_str() } else { "new" };
        let end = books.command(ACTORS[act.actor], command, id, body_of(command, act.number));
        if end.is_ok() {
            *accepted.entry(command.clone()).or_default() += 1;
        } else {
            prop_assert!(before == books.host.host().state, "a refused command left something");
        }
        check(&before, &books.host.host().state)?;
        // And what the clock makes of it.
        let before = books.host.host().state.clone();
        books.now += EVERY_S * SECOND / 3;
        books.tick();
        check(&before, &books.host.host().state)?;
        let after = books.journals();
        prop_assert_eq!(&after[..journals.len()], journals.as_slice(), "a journal's lines have changed");
        let now = pinned(&mut books);
        for (id, was) in &known {
            prop_assert_eq!(now.get(id), Some(was), "{} has changed or is gone", id);
        }
    }
    Ok(())
}

#[test]
fn no_command_of_any_role_changes_or_deletes_what_is_written() {
    use proptest::test_runner::{Config, TestRunner};
    let accepted = std::cell::RefCell::new(BTreeMap::new());
    let config = Config { cases: common::cases(200), failure_persistence: None, ..Config::default() };
    let end = TestRunner::new(config).run(&acts(), |acts| run(&acts, &mut accepted.borrow_mut()));
    end.expect("what is written stays");
    // A law about commands that were all refused would say nothing.
    let accepted: Vec<String> = accepted.into_inner().into_keys().collect();
    assert_eq!(accepted, commands());
}

#[test]
fn a_row_that_changes_or_goes_is_noticed() {
    let books = market();
    let before = books.host.host().state.clone();
    for prefix in WRITTEN_ONCE {
        let Some(key) = before.keys().find(|key| prefix_of(key) == prefix) else {
            panic!("the market of this test has no row of {prefix}");
        };
        let mut other = before.clone();
        other.get_mut(key).expect("a row").push(0);
        assert!(check(&before, &other).is_err(), "{prefix}");
        other.remove(key);
        assert!(check(&before, &other).is_err(), "{prefix}");
    }
    for prefix in KEPT.iter().filter(|prefix| **prefix != "correction/") {
        let key = before.keys().find(|key| prefix_of(key) == *prefix).expect("a row");
        let mut other = before.clone();
        other.remove(key);
        assert!(check(&before, &other).is_err(), "{prefix}");
    }
}
