//! What is shown, to whom, and how it adds up: statements, exports, settlement, faults, reconciliation.

mod common;

use common::{Books, CURRENCY, EFFECT, FINANCE, Order, replay, sha256};
use proptest::prelude::*;
use serde_json::{Value, json};
use tally_market::hex;
use tally_plugin::json::Json;
use tally_plugin::test_host::{TestEvent, Verdict};
use tally_royalty::reconcile::{Code, Record, reconcile};

fn traded() -> (Books, Order) {
    let mut books = Books::new();
    let order = Order::new(1, &[("owner", 900), ("house", 100)]);
    books.sold(&order);
    books.money(&order, [1_000, 300, 0, 0]);
    books.request("owner", "owner", 50).expect("a payout");
    (books, order)
}

#[test]
fn a_statement_is_its_owners_and_the_privileged_roles() {
    let (mut books, _) = traded();
    let args = json!({"currency": CURRENCY, "ownerId": "owner"});
    for (caller, status) in [
        (None, 403),
        (Some(("house", "")), 403),
        (Some(("house", "buyer")), 403),
        (Some(("owner", "")), 200),
        (Some(("x", "admin")), 200),
        (Some(("x", "finance")), 200),
        (Some(("x", "service")), 200),
    ] {
        assert_eq!(books.ask("statement", &args, caller).0, status, "{caller:?}");
    }
    for route in ["books", "journals", "faults", "journal", "payout"] {
        let args = json!({"currency": CURRENCY, "id": "0".repeat(64)});
        assert_eq!(books.ask(route, &args, Some(("owner", ""))).0, 403, "{route}");
    }
}

#[test]
fn a_statement_opens_moves_and_closes_and_a_refund_is_a_negative_line() {
    let (mut books, order) = traded();
    let statement = books.statement("owner", &json!({}));
    let row = |at: usize| statement["rows"][at].clone();
    let kinds: Vec<Value> = (0..4).map(|at| row(at)["kind"].clone()).collect();
    assert_eq!(kinds, ["sale", "released", "refund", "payout_requested"]);
    assert_eq!(
        (&row(0)["amount"], &row(0)["gross"], &row(0)["order"]),
        (&json!(900), &json!(1_000), &json!(order.hex()))
    );
    assert_eq!(
        (&row(2)["amount"], &row(2)["gross"], &row(2)["rule"]),
        (&json!(-270), &json!(-300), &json!("reverse/cascade-1"))
    );
    assert_eq!(statement["closing"], json!({"avail": 580, "balance": 580, "held": 0, "lock": 0, "owed": 0}));
    assert_eq!(statement["totals"], json!({"corrections": 0, "fees": 70, "paid": 0, "reversals": -270, "sales": 900}));
    assert_eq!((&statement["pending"]["amount"], &statement["debt"]), (&json!(50), &json!(0)));
    // A range of the log: what was before is the opening.
    let refund = row(2)["index"].to_string();
    let part =
        books.statement("owner", &json!({"from": refund, "to": (row(2)["index"].as_u64().unwrap() + 1).to_string()}));
    assert_eq!((&part["opening"]["balance"], &part["closing"]["balance"]), (&json!(900), &json!(630)));
    assert_eq!(part["rows"], json!([row(2)]));
    assert_eq!(part["pending"], json!({"amount": 0, "payouts": []}));
}

#[test]
fn both_forms_of_a_statement_agree_to_the_cent_in_pages_of_any_size() {
    let (mut books, _) = traded();
    let whole = books.statement("owner", &json!({}));
    for limit in ["1", "2", "3", "100"] {
        let (mut rows, mut text, mut after) = (Vec::new(), String::new(), None::<Value>);
        loop {
            let mut args = json!({"limit": limit});
            if let Some(after) = after {
                args["after"] = after;
            }
            let page = books.statement("owner", &args);
            rows.extend(page["rows"].as_array().unwrap().clone());
            args["format"] = "csv".into();
            text += books.statement("owner", &args)["csv"].as_str().unwrap();
            match page.get("after") {
                Some(next) => after = Some(next.clone()),
                None => break,
            }
        }
        assert_eq!(Value::from(rows.clone()), whole["rows"], "{limit}");
        check_csv(&text, &rows, &whole);
    }
}

fn check_csv(text: &str, rows: &[Value], whole: &Value) {
    let lines: Vec<Vec<&str>> = text
        .strip_suffix("\r\n")
        .expect("a line of the export")
        .split("\r\n")
        .map(|line| line.split(',').collect())
        .collect();
    assert_eq!(lines.len(), rows.len() + 4);
    let column = |name: &str| lines[0].iter().position(|other| *other == name).expect("a line of the export");
    for (line, row) in lines[2..].iter().zip(rows) {
        for name in ["index", "at", "gross", "amount", "held", "avail", "lock", "owed", "balance"] {
            assert_eq!(line[column(name)], row[name].to_string(), "{name}");
        }
        assert_eq!(
            (line[column("kind")], line[column("rule")]),
            (row["kind"].as_str().expect("a line of the export"), row["rule"].as_str().expect("a line of the export"))
        );
    }
    let closing = &lines[rows.len() + 2];
    assert_eq!(
        (closing[column("kind")], closing[column("balance")]),
        ("closing", &*whole["closing"]["balance"].to_string())
    );
    let pending = lines.last().expect("a line of the export");
    assert_eq!(
        (pending[column("kind")], pending[column("amount")]),
        ("pending_payouts", &*whole["pending"]["amount"].to_string())
    );
    assert!(lines.iter().all(|line| line.len() == lines[0].len()));
}

#[test]
fn a_partys_name_is_no_formula_in_an_export() {
    let name = "=HYPERLINK(\"x\",1)";
    let mut books = Books::new();
    books.sold(&Order::new(1, &[(name, 5)]));
    let text = books.statement(name, &json!({"format": "csv"}))["csv"].as_str().unwrap().to_owned();
    assert!(text.contains("\"'=HYPERLINK(\"\"x\"\",1)\"") && !text.contains(",=") && !text.contains("\"="));
}

#[test]
fn statements_of_all_parties_add_up_to_the_ledger() {
    let (mut books, order) = traded();
    books.money(&order, [1_000, 300, 100, 0]);
    let balances: i64 = ["owner", "house"]
        .map(|party| {
            let closing = books.statement(party, &json!({}))["closing"].clone();
            closing["balance"].as_i64().unwrap() + closing["lock"].as_i64().unwrap()
        })
        .iter()
        .sum();
    let accounts = books.accounts();
    let clearing: i64 = accounts.iter().filter(|(name, _)| name.starts_with("clr/")).map(|(_, balance)| -balance).sum();
    assert_eq!(balances + clearing, accounts["psp"] + accounts["disp"]);
}

#[test]
fn finance_is_asked_once_for_each_sale_and_its_digest_is_of_the_content() {
    let mut books = Books::new();
    let order = Order::new(1, &[("owner", 900), ("house", 100)]);
    let outcome = books.money(&order, [1_000, 0, 0, 0]);
    let effect = &outcome.effects[0];
    assert_eq!((outcome.effects.len(), effect.kind.as_str(), &effect.suffix), (1, "finance", &order.hex()));
    let body: Value = serde_json::from_slice(&effect.body).unwrap();
    assert_eq!((&body["amount"], &body["op"], &body["order"]), (&json!(1_000), &json!("settle"), &json!(order.hex())));
    let mut content = body.clone();
    content.as_object_mut().unwrap().retain(|name, _| name != "op" && name != "proof_sha256");
    assert_eq!(body["proof_sha256"], hex::encode(&sha256(content.to_string().as_bytes())));
    let (_, journal) = books.ask("journal", &json!({"id": body["journal"]}), Some(("x", "finance")));
    assert_eq!((&journal["lines"], &journal["kind"]), (&body["lines"], &json!("sale")));
    for totals in [[1_000, 10, 0, 0], [1_000, 0, 0, 0], [1_000, 0, 0, 0]] {
        assert!(books.money(&order, totals).effects.is_empty());
    }
}

/// What Finance signs about a settlement (docs/formats/settlement.md).
fn statement_of(asked: &Value, ts: &str) -> Value {
    json!({
        "amount": asked["amount"], "currency": asked["currency"], "effect": hex::encode(&EFFECT),
        "journal": asked["journal"], "order": asked["order"], "proof_sha256": asked["proof_sha256"],
        "settlement_sha256": hex::encode(&sha256(asked.to_string().as_bytes())), "signer_kid": "finance-ed25519-1",
        "ts": ts,
    })
}

/// The connector's answer to a settlement, with a text as what was signed.
fn result_of(asked: &Value, message: &str, ts: &str) -> Value {
    json!({
        "amount": asked["amount"], "currency": asked["currency"], "journal": asked["journal"], "order": asked["order"],
        "proof": {
            "canonical_message": message, "signature": format!("{}==", "A".repeat(86)),
            "signer_kid": "finance-ed25519-1", "ts": ts,
        },
    })
}

const TS: &str = "2026-01-02T03:04:05.000000Z";

/// Two sales, and what Finance was asked for each.
fn asked() -> (Books, [Value; 2]) {
    let mut books = Books::new();
    let asked = [1, 2].map(|id| {
        let outcome = books.money(&Order::new(id, &[("owner", 900), ("house", 100)]), [1_000, 0, 0, 0]);
        serde_json::from_slice(&outcome.effects[0].body).expect("JSON")
    });
    (books, asked)
}

fn answered(books: &mut Books, asked: &Value, result: &Value) -> Verdict {
    books.answer(FINANCE, "finance", asked["order"].as_str().expect("an order"), "done", result).verdict
}

#[test]
fn a_proof_of_another_order_amount_or_content_is_refused_and_the_first_one_stays() {
    let (mut books, [asked, of_other]) = asked();
    let good = result_of(&asked, &statement_of(&asked, TS).to_string(), TS);
    for (name, wrong) in [
        ("amount", json!(999)),
        ("order", of_other["order"].clone()),
        ("journal", of_other["journal"].clone()),
        ("currency", json!("USD")),
    ] {
        let mut result = good.clone();
        result[name] = wrong;
        assert_eq!(answered(&mut books, &asked, &result), Verdict::Rejected("proof".into()), "{name}");
    }
    let foreign = result_of(&asked, &statement_of(&of_other, TS).to_string(), TS);
    assert_eq!(answered(&mut books, &asked, &foreign), Verdict::Rejected("proof".into()));
    let order = asked["order"].as_str().unwrap().to_owned();
    assert_eq!(
        books.answer(common::PAYMENT, "finance", &order, "done", &good).verdict,
        Verdict::Rejected("forbidden".into())
    );
    assert_eq!(answered(&mut books, &asked, &good), Verdict::Accepted);
    // Finance retried later: another time, the same content.
    let later = "2026-01-02T03:04:06.000000Z";
    let again = result_of(&asked, &statement_of(&asked, later).to_string(), later);
    assert_eq!(answered(&mut books, &asked, &again), Verdict::Accepted);
    let (_, journal) = books.ask("journal", &json!({"id": asked["journal"]}), Some(("x", "finance")));
    assert_eq!(journal["proof"]["proof"], good["proof"]);
}

#[test]
fn a_statement_with_one_member_wrong_absent_or_too_many_proves_nothing() {
    let (mut books, [asked, _]) = asked();
    let good = statement_of(&asked, TS);
    let mut refused = |message: &str, why: &str| {
        let verdict = answered(&mut books, &asked, &result_of(&asked, message, TS));
        assert_eq!(verdict, Verdict::Rejected("proof".into()), "{why}");
    };
    for (name, value) in good.as_object().unwrap() {
        let wrongs = match value {
            Value::Number(_) => vec![json!(1_001), json!("1000"), json!(null)],
            other => {
                let text = other.as_str().unwrap();
                let first = if text.starts_with('0') { '1' } else { '0' };
                vec![json!(format!("{first}{}", &text[1..])), json!(""), json!(7)]
            }
        };
        for wrong in wrongs {
            let mut statement = good.clone();
            statement[name] = wrong;
            refused(&statement.to_string(), name);
        }
        let mut less = good.clone();
        less.as_object_mut().unwrap().remove(name);
        refused(&less.to_string(), name);
        // The same member twice.
        let text = good.to_string();
        let member = format!("{}:{value},", json!(name));
        refused(&text.replacen('{', &format!("{{{member}"), 1), name);
    }
    let mut more = good.clone();
    more["zone"] = json!("eu");
    refused(&more.to_string(), "a member that nobody knows");
    let text = good.to_string();
    for (from, to) in [("{", "{ "), (":1000", ":1e3"), (":1000", ":1000.0"), ("EUR", "\\u0045UR")] {
        assert!(text.contains(from));
        refused(&text.replacen(from, to, 1), "not canonical");
    }
    for wrong in ["[]", "7", "not JSON", "{}"] {
        refused(wrong, "no statement");
    }
}

#[test]
fn a_proof_that_lacks_a_member_or_is_too_long_is_refused() {
    let (mut books, [asked, _]) = asked();
    let good = result_of(&asked, &statement_of(&asked, TS).to_string(), TS);
    for name in ["canonical_message", "signature", "signer_kid", "ts"] {
        for wrong in [json!(7), json!(""), json!("x".repeat(5_000))] {
            let mut result = good.clone();
            result["proof"][name] = wrong;
            assert_eq!(answered(&mut books, &asked, &result), Verdict::Rejected("malformed".into()), "{name}");
        }
        let mut result = good.clone();
        result["proof"].as_object_mut().unwrap().remove(name);
        assert_eq!(answered(&mut books, &asked, &result), Verdict::Rejected("malformed".into()), "{name}");
    }
    for (name, wrong) in [("signature", "c2ln"), ("signer_kid", "finance-ed25519-2"), ("ts", "2026-01-02T03:04:06Z")] {
        let mut result = good.clone();
        result["proof"][name] = json!(wrong);
        assert_eq!(answered(&mut books, &asked, &result), Verdict::Rejected("proof".into()), "{name}");
    }
    assert_eq!(answered(&mut books, &asked, &good), Verdict::Accepted);
}

#[test]
fn a_refund_is_a_journal_of_its_own_and_entries_are_never_edited() {
    let (mut books, order) = traded();
    let before = books.journals();
    books.money(&order, [1_000, 0, 0, 0]);
    let after = books.journals();
    assert_eq!(after[..before.len()], before);
    let [refund, back] = [&before[2], &after[before.len()]];
    assert_eq!((&refund["kind"], &back["kind"]), (&json!("refund"), &json!("refund_failed")));
    assert_eq!((&refund["gross"], &back["gross"]), (&json!(-300), &json!(300)));
    assert_eq!(replay(&after), books.accounts());
}

#[test]
fn totals_are_taken_from_checkout_alone_and_never_refused() {
    let mut books = Books::new();
    let order = Order::new(1, &[("owner", 900), ("house", 100)]);
    let good = common::money(&order, [1_000, 0, 0, 0]);
    let signed = TestEvent::new("checkout.money", "payment", "pi", good.to_string());
    assert_eq!(books.send(signed).verdict, Verdict::Rejected("forbidden".into()));
    books.money(&order, [1_000, 0, 0, 0]);
    let before = books.accounts();
    let mut count = 0;
    let mut wrong = |books: &mut Books, body: Value| {
        assert_eq!(books.emitted(&body).verdict, Verdict::Accepted, "{body}");
        count += 1;
        assert_eq!((books.accounts(), books.faults().len()), (before.clone(), count), "{body}");
    };
    for (name, value) in [
        ("captured", json!(999)),
        ("captured", json!(-1)),
        ("captured", json!("1000")),
        ("currency", json!("USD")),
        ("order", json!("00")),
        ("shares", json!([{"amount": 1_000, "party": "owner"}])),
        ("shares", json!([{"amount": 500, "party": "owner"}, {"amount": 500, "party": "owner"}])),
        ("shares", json!({})),
        ("more", json!(1)),
    ] {
        let mut body = common::money(&order, [1_000, 10, 0, 0]);
        body[name] = value;
        wrong(&mut books, body);
    }
    for body in [json!({}), json!([]), json!(null)] {
        wrong(&mut books, body);
    }
}

#[test]
fn a_sum_beyond_what_json_holds_is_a_fault_and_posts_nothing() {
    let mut books = Books::new();
    let whole = (1 << 53) - 1;
    books.money(&Order::new(1, &[("p", whole)]), [whole, 0, 0, 0]);
    let before = (books.accounts(), books.journals().len());
    books.money(&Order::new(2, &[("p", 1)]), [1, 0, 0, 0]);
    assert_eq!((books.accounts(), books.journals().len()), before);
    assert_eq!(books.faults(), ["overflow"]);
    // Once there is room, the next totals post the whole difference.
    books.money(&Order::new(1, &[("p", whole)]), [whole, whole, 0, 0]);
    books.money(&Order::new(3, &[("q", 1)]), [1, 0, 0, 0]);
    assert_eq!(books.account("psp"), 1);
}

#[test]
fn an_export_is_what_hledger_reads() {
    let (mut books, _) = traded();
    let rows = Value::from(books.journals()).to_string();
    let text = tally_royalty::hledger::transactions(Json::parse(rows.as_bytes()).unwrap()).unwrap();
    let sale = text.split("\n\n").next().unwrap();
    let lines: Vec<&str> = sale.lines().collect();
    assert!(lines[0].starts_with("2025-11-21 sale  ; journal:"), "{sale}");
    let expected = [
        "    assets:psp  1000 \"EUR minor\"",
        "    liabilities:held:owner  -900 \"EUR minor\"",
        "    liabilities:held:house  -100 \"EUR minor\"",
    ];
    assert_eq!(lines[1..], expected);
    assert_eq!(text.matches("\n\n").count(), books.journals().len());
}

/// Times are seconds; the period ends at 1,000, and the other side may take 100.
fn record(reference: &str, currency: &str, amount: i64, at: u64) -> Record {
    Record { reference: reference.into(), currency: currency.into(), amount, at }
}

fn found(provider: &[Record], ledger: &[Record]) -> Vec<(String, &'static str)> {
    reconcile(provider, ledger, 1_000, 100)
        .into_iter()
        .map(|finding| (finding.reference, finding.code.name()))
        .collect()
}

#[test]
fn reconciliation_finds_each_planted_difference_and_nothing_else() {
    let same: Vec<Record> = (0..50u64).map(|at| record(&format!("same{at}"), "EUR", 7, 10 * at)).collect();
    let (mut provider, mut ledger) = (same.clone(), same);
    assert_eq!(found(&provider, &ledger), []);
    provider.extend([
        record("amount", "EUR", 8, 5),
        record("currency", "EUR", 7, 5),
        record("ledger", "EUR", 7, 5),
        record("twice", "EUR", 7, 5),
        record("twice", "EUR", 7, 6),
        record("booked", "EUR", 7, 5),
        record("late", "EUR", 7, 5),
        record("young", "EUR", 7, 950),
    ]);
    ledger.extend([
        record("amount", "EUR", 7, 5),
        record("currency", "USD", 7, 5),
        record("provider", "EUR", 7, 5),
        record("twice", "EUR", 7, 5),
        record("booked", "EUR", 7, 5),
        record("booked", "EUR", 7, 5),
        record("late", "EUR", 7, 500),
        record("fresh", "EUR", 7, 950),
    ]);
    let expected = [
        ("amount", "AMOUNT_MISMATCH"),
        ("booked", "DUPLICATE_LEDGER"),
        ("currency", "CURRENCY_MISMATCH"),
        ("fresh", "TIMING_WINDOW"),
        ("late", "TIMING_WINDOW"),
        ("ledger", "LEDGER_MISSING"),
        ("provider", "PROVIDER_MISSING"),
        ("twice", "DUPLICATE_PROVIDER"),
        ("young", "TIMING_WINDOW"),
    ];
    assert_eq!(found(&provider, &ledger), expected.map(|(reference, code)| (reference.to_owned(), code)));
}

proptest! {
    #[test]
    fn reconciliation_has_no_findings_exactly_where_both_sides_are_one(
        sides in prop::collection::btree_map(0u8..20, (0i64..3, 0u64..3, any::<bool>(), any::<bool>()), 0..12),
    ) {
        let record = |reference: &u8, amount: i64| record(&format!("r{reference}"), "EUR", amount, 5);
        let provider: Vec<Record> = sides.iter().filter(|(_, side)| side.2).map(|(id, side)| record(id, side.0)).collect();
        let ledger: Vec<Record> = sides.iter().filter(|(_, side)| side.3).map(|(id, side)| record(id, side.1.cast_signed())).collect();
        let findings = reconcile(&provider, &ledger, 1_000, 100);
        for (id, (a, b, at_provider, in_ledger)) in &sides {
            let codes: Vec<Code> = findings.iter().filter(|finding| finding.reference == format!("r{id}")).map(|finding| finding.code).collect();
            let expected = match (at_provider, in_ledger) {
                (true, true) if *a == b.cast_signed() => vec![],
                (true, true) => vec![Code::AmountMismatch],
                (true, false) => vec![Code::LedgerMissing],
                (false, true) => vec![Code::ProviderMissing],
                (false, false) => vec![],
            };
            prop_assert_eq!(codes, expected);
        }
    }

    #[test]
    fn no_body_and_no_request_stops_the_plugin(
        bytes in prop::collection::vec(any::<u8>(), 0..60),
        kind in prop::sample::select(vec![
            "checkout.money", "market.tick", "payment.fact", "effect.answered", "royalty.payout.requested",
            "royalty.payout.approved", "royalty.payout.canceled", "royalty.party.blocked", "royalty.party.released",
            "royalty.schedule.started", "royalty.schedule.ended", "royalty.correction.proposed",
            "royalty.correction.approved", "royalty.correction.canceled",
        ]),
        agent in 1u8..4,
        derived in any::<bool>(),
    ) {
        let mut books = Books::new();
        let event = TestEvent { derived, ..TestEvent::new(kind, "payout", "new", bytes.clone()).by(agent) };
        let verdict = books.send(event).verdict;
        prop_assert!(matches!(verdict, Verdict::Accepted | Verdict::Rejected(_)), "{:?}", verdict);
        if kind == "checkout.money" && derived {
            prop_assert_eq!(verdict, Verdict::Accepted);
        }
        prop_assert!(!books.host.query(&bytes).is_empty());
    }
}
