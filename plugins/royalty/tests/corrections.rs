//! Journals that people make: they balance or leave nothing, need other eyes, and never touch what facts decide.

mod common;

use common::{APPROVAL_S, Books, CURRENCY, Order, SECOND, line, replay};
use serde_json::{Value, json};
use tally_plugin::test_host::{TestEvent, Verdict};
use tally_royalty::mutation::{self, Mutation};

fn books() -> Books {
    let mut books = Books::new();
    books.sold(&Order::new(1, &[("owner", 5_000), ("house", 500)]));
    books
}

/// The provider keeps so much.
fn fee(amount: u64) -> Value {
    json!([line("debit", "psp_fees", amount), line("credit", "psp", amount)])
}

#[test]
fn an_unbalanced_journal_is_ledger_imbalance_and_nothing_is_written() {
    let mut books = books();
    let before = books.host.host().state.clone();
    for lines in [
        json!([line("debit", "psp_fees", 30), line("credit", "psp", 29)]),
        json!([line("debit", "psp_fees", 30), line("credit", "psp", 31)]),
        json!([line("debit", "psp_fees", 30), line("debit", "psp", 30)]),
        json!([line("credit", "psp", 1), line("credit", "loss", 1)]),
        json!([line("debit", "psp_fees", 5), line("credit", "psp", 5), line("debit", "loss", 1)]),
        json!([line("debit", "loss", (1 << 53) - 1), line("debit", "psp", 1), line("credit", "psp_fees", 7)]),
    ] {
        assert_eq!(books.propose("root", &lines).unwrap_err(), "ledger_imbalance", "{lines}");
        assert!(before == books.host.host().state, "{lines}");
    }
    // Behind that door the ledger itself stops what does not balance.
    mutation::set(Some(Mutation::UnbalancedCorrection));
    let lines = json!([line("debit", "psp_fees", 30), line("credit", "psp", 29)]);
    let body = json!({
        "actor": "root", "currency": CURRENCY, "idempotency_key": "k", "lines": lines, "reason": "a mistake",
    });
    let event = TestEvent::new("royalty.correction.proposed", "payout", "new", body.to_string()).by(common::GATEWAY);
    let verdict = books.send(event).verdict;
    mutation::set(None);
    assert!(!matches!(verdict, Verdict::Accepted | Verdict::Rejected(_)), "{verdict:?}");
    assert!(before == books.host.host().state);
}

#[test]
fn a_correction_is_posted_by_the_last_of_other_eyes_and_once() {
    let mut books = books();
    let before = books.accounts();
    let id = books.propose("root", &fee(60)).expect("a proposal");
    assert_eq!(books.result(), json!({"approvals": 0, "correction": id, "needed": 1, "state": "proposed"}));
    assert_eq!(books.accounts(), before, "a proposal moves nothing");
    for who in ["root", "eve", "owner"] {
        assert_eq!(books.confirm(who, &id).unwrap_err(), "forbidden", "{who}");
    }
    books.confirm("ann", &id).expect("an approval");
    assert_eq!(books.confirm("bob", &id).unwrap_err(), "state");
    assert_eq!(books.withdraw("root", &id).unwrap_err(), "state");
    assert_eq!((books.account("psp_fees"), books.account("psp")), (60, before["psp"] - 60));
    let journals = books.journals();
    let posted = journals.last().expect("a journal");
    assert_eq!(
        (&posted["kind"], &posted["correction"], &posted["rule"]),
        (&json!("corrected"), &json!(id), &json!("correct/admin-1"))
    );
    assert_eq!(replay(&journals), books.accounts());
    let (status, shown) = books.ask("correction", &json!({"id": id}), Some(("x", "finance")));
    assert_eq!((status, &shown["state"], &shown["reason"]), (200, &json!("posted"), &json!("a fee of the provider")));
    assert_eq!(shown["lines"], posted["lines"]);
    assert_eq!(books.ask("correction", &json!({"id": id}), Some(("owner", ""))).0, 403);
}

#[test]
fn a_large_correction_needs_two_fresh_approvals_and_none_of_whom_it_is_about() {
    let mut books = books();
    let lines = json!([line("debit", "loss", 2_000), line("credit", "avail/bob", 2_000)]);
    let id = books.propose("root", &lines).expect("a proposal");
    assert_eq!(books.result()["needed"], 2);
    assert_eq!(books.confirm("bob", &id).unwrap_err(), "forbidden", "it is bob's account");
    books.confirm("ann", &id).expect("an approval");
    assert_eq!(books.confirm("ann", &id).unwrap_err(), "state", "one person counts once");
    books.now += (APPROVAL_S + 1) * SECOND;
    books.confirm("fin", &id).expect("an approval");
    assert_eq!(books.account("avail/bob"), 0, "the first has grown stale");
    books.confirm("ann", &id).expect("an approval");
    assert_eq!(books.account("avail/bob"), -2_000);
}

#[test]
fn only_an_admin_proposes_and_withdraws() {
    let mut books = books();
    for who in ["fin", "ann", "owner", "eve"] {
        assert_eq!(books.propose(who, &fee(60)).unwrap_err(), "forbidden", "{who}");
    }
    let id = books.propose("root", &fee(60)).expect("a proposal");
    assert_eq!(books.withdraw("fin", &id).unwrap_err(), "forbidden");
    books.withdraw("root", &id).expect("an end");
    assert_eq!(books.confirm("ann", &id).unwrap_err(), "state");
    assert_eq!(books.confirm("ann", &"0".repeat(64)).unwrap_err(), "not_found");
    assert_eq!(books.account("psp_fees"), 0);
    let keyed = |books: &mut Books, amount| {
        let body = json!({"currency": CURRENCY, "lines": fee(amount), "reason": "a fee"});
        books.keyed("root", "royalty.correction.proposed", "new", body, "once").map(drop)
    };
    assert_eq!(keyed(&mut books, 7), Ok(()));
    let first = books.index - 1;
    assert_eq!((keyed(&mut books, 7), books.result()), (Ok(()), json!({"repeats": first})));
    assert_eq!(keyed(&mut books, 8), Err("idempotency_conflict".into()));
}

#[test]
fn what_facts_decide_takes_no_correction_and_lines_are_strict() {
    let mut books = books();
    let id = books.request("owner", "owner", 10).expect("a payout");
    for account in ["held/owner", "lock/owner", "disp", &format!("clr/{id}"), "avail/", "avail", "owed/a b", "bank", ""]
    {
        let lines = json!([line("debit", account, 5), line("credit", "psp", 5)]);
        assert_eq!(books.propose("root", &lines).unwrap_err(), "malformed", "{account}");
    }
    let more: Vec<Value> = (0..33).map(|at| line("debit", &format!("owed/p{at}"), 1)).collect();
    for lines in [
        json!([]),
        json!([line("debit", "psp", 5)]),
        json!({}),
        json!([line("debit", "psp", 5), line("credit", "psp", 5)]),
        json!([line("debit", "loss", 0), line("credit", "psp", 0)]),
        json!([{"account": "loss", "amount": -5, "side": "debit"}, line("credit", "psp", 5)]),
        json!([{"account": "loss", "amount": 5.5, "side": "debit"}, line("credit", "psp", 5)]),
        json!([{"account": "loss", "amount": 1u64 << 53, "side": "debit"}, line("credit", "psp", 5)]),
        json!([line("debit", "loss", 5), line("both", "psp", 5)]),
        json!([{"account": "loss", "amount": 5, "side": "debit", "weight": 1}, line("credit", "psp", 5)]),
        json!(more),
    ] {
        assert_eq!(books.propose("root", &lines).unwrap_err(), "malformed", "{lines}");
    }
    let whole = (1u64 << 53) - 1;
    let lines = json!([
        line("debit", "loss", whole),
        line("debit", "psp_fees", 1),
        line("credit", "psp", whole),
        line("credit", "avail/a", 1),
    ]);
    assert_eq!(books.propose("root", &lines).unwrap_err(), "overflow");
}

#[test]
fn a_pocket_never_falls_below_zero_and_nobody_owes_who_has() {
    let mut books = books();
    let take = |amount| json!([line("debit", "avail/owner", amount), line("credit", "loss", amount)]);
    assert_eq!(books.propose("root", &take(5_001)).unwrap_err(), "exceeds");
    let id = books.propose("root", &take(90)).expect("a proposal");
    // Meanwhile the money goes elsewhere.
    books.request("owner", "owner", 4_950).expect("a payout");
    assert_eq!(books.confirm("ann", &id).unwrap_err(), "exceeds");
    let owes = json!([line("debit", "owed/owner", 10), line("credit", "loss", 10)]);
    assert_eq!(books.propose("root", &owes).unwrap_err(), "owes", "it has something available");
    let repaid = json!([line("debit", "loss", 10), line("credit", "owed/owner", 10)]);
    assert_eq!(books.propose("root", &repaid).unwrap_err(), "exceeds", "it owes nothing");
    let debt = json!([line("debit", "avail/owner", 50), line("debit", "owed/owner", 20), line("credit", "loss", 70)]);
    let id = books.propose("root", &debt).expect("a proposal");
    books.confirm("ann", &id).expect("an approval");
    assert_eq!((books.account("owed/owner"), books.account("avail/owner")), (20, 0));
    let statement = books.statement("owner", &json!({}));
    assert_eq!(statement["totals"]["corrections"], -70);
    assert_eq!(books.request("owner", "owner", 1).unwrap_err(), "owes");
    // What comes in repays it first.
    books.money(&Order::new(2, &[("owner", 30)]), [30, 0, 0, 0]);
    assert_eq!((books.account("owed/owner"), books.account("held/owner")), (0, -10));
    assert_eq!(replay(&books.journals()), books.accounts());
}
