//! The chain over journals: a verifier that has nothing but an answer's entries and roots, and every change it must notice.

mod common;

use common::{Books, Order, line, sha256};
use proptest::prelude::*;
use serde_json::{Value, json};
use tally_market::hex;

/// A market with journals of every sort.
fn traded() -> Books {
    let mut books = Books::new();
    let order = Order::new(1, &[("owner", 900), ("house", 100)]);
    books.sold(&order);
    books.money(&order, [1_000, 300, 0, 0]);
    books.money(&order, [1_000, 300, 200, 0]);
    books.money(&order, [1_000, 300, 0, 200]);
    let payout = books.request("owner", "owner", 50).expect("a payout");
    books.fact(&payout, 50, "paid");
    books.fact(&payout, 50, "failed");
    books.tick();
    let id =
        books.propose("root", &json!([line("debit", "psp_fees", 3), line("credit", "psp", 3)])).expect("a proposal");
    books.confirm("ann", &id).expect("an approval");
    books.money(&Order::new(2, &[("owner", 7)]), [7, 0, 0, 0]);
    books
}

/// The root after entries, from the root before them; from the page of the formats alone.
fn root_after(before: &str, rows: &[Value]) -> String {
    let mut root: [u8; 32] = hex::decode(before).expect("a root");
    for row in rows {
        let text = row.to_string();
        root = sha256(&[b"TALLY_JOURNALS_V1".as_slice(), &root, text.as_bytes()].concat());
    }
    hex::encode(&root)
}

fn range(books: &mut Books, from: u64, to: u64) -> (String, Vec<Value>, String) {
    let args = json!({"from": from.to_string(), "limit": "100", "to": to.to_string()});
    let (status, body) = books.ask("journals", &args, Some(("auditor", "finance")));
    assert_eq!(status, 200, "{body}");
    let text = |name: &str| body[name].as_str().expect("a root").to_owned();
    (text("before"), body["rows"].as_array().expect("rows").clone(), text("root"))
}

/// Every entry that can differ, and stays JSON: each value of each member, at any depth, in another form.
fn changes(value: &Value) -> Vec<Value> {
    match value {
        Value::Number(number) => vec![json!(number.as_i64().expect("an integer") + 1)],
        Value::String(text) => {
            let last = if text.ends_with('0') { "1" } else { "0" };
            vec![json!(format!("{}{last}", &text[..text.len() - 1]))]
        }
        Value::Array(items) => {
            let less = json!(items[1..]);
            let mut all: Vec<Value> = vec![less];
            for (at, item) in items.iter().enumerate() {
                for other in changes(item) {
                    let mut whole = items.clone();
                    whole[at] = other;
                    all.push(whole.into());
                }
            }
            all
        }
        Value::Object(members) => {
            let mut all = Vec::new();
            for (name, member) in members {
                let mut less = members.clone();
                less.remove(name);
                all.push(less.into());
                for other in changes(member) {
                    let mut whole = members.clone();
                    whole[name] = other;
                    all.push(whole.into());
                }
            }
            all
        }
        _ => Vec::new(),
    }
}

#[test]
fn a_range_proves_every_entry_and_any_change_of_any_one_is_noticed() {
    let mut books = traded();
    let end = books.index;
    let (before, rows, root) = range(&mut books, 0, end);
    assert_eq!((before.as_str(), rows.len()), ("0".repeat(64).as_str(), 11));
    assert_eq!(root_after(&before, &rows), root);
    let (_, head) = books.ask("ledger", &json!({}), Some(("auditor", "finance")));
    assert_eq!(head, json!({"count": rows.len(), "root": root}));
    let mut count = 0;
    for at in 0..rows.len() {
        for changed in changes(&rows[at]) {
            let mut other = rows.clone();
            other[at] = changed;
            assert_ne!(root_after(&before, &other), root, "entry {at}");
            count += 1;
        }
        let mut less = rows.clone();
        less.remove(at);
        assert_ne!(root_after(&before, &less), root, "entry {at} left out");
        let mut twice = rows.clone();
        twice.insert(at, rows[at].clone());
        assert_ne!(root_after(&before, &twice), root, "entry {at} twice");
        if at > 0 {
            let mut swapped = rows.clone();
            swapped.swap(at, at - 1);
            assert_ne!(root_after(&before, &swapped), root, "entry {at} and the one before");
        }
    }
    assert!(count > 20 * rows.len(), "changes of every member: {count}");
}

#[test]
fn ranges_and_pages_meet_at_their_roots() {
    let mut books = traded();
    let end = books.index;
    let (_, all, root) = range(&mut books, 0, end);
    for cut in 0..=end {
        let (first, second) = (range(&mut books, 0, cut), range(&mut books, cut, end));
        assert_eq!((&first.2, &second.2), (&second.0, &root), "cut at {cut}");
        assert_eq!(root_after(&first.0, &first.1), first.2);
        assert_eq!(root_after(&second.0, &second.1), second.2);
        let empty = range(&mut books, cut, cut);
        assert_eq!((&empty.0, &empty.1, &empty.2), (&first.2, &Vec::new(), &first.2));
    }
    for limit in 1..=all.len() {
        let (mut last, mut rows, mut after) = ("0".repeat(64), Vec::new(), None::<Value>);
        loop {
            let mut args = json!({"limit": limit.to_string()});
            if let Some(after) = after {
                args["after"] = after;
            }
            let (_, page) = books.ask("journals", &args, Some(("auditor", "finance")));
            assert_eq!(page["before"], json!(last), "a page begins where the one before ends");
            rows.extend(page["rows"].as_array().expect("rows").clone());
            last = page["root"].as_str().expect("a root").into();
            match page.get("after") {
                Some(next) => after = Some(next.clone()),
                None => break,
            }
        }
        assert_eq!((&last, &rows), (&root, &all), "pages of {limit}");
    }
    // One journal alone names the root after it.
    let (_, one) = books.ask("journal", &json!({"id": all[4]["id"]}), Some(("auditor", "finance")));
    let (before, rows, _) = range(&mut books, 0, all[4]["index"].as_u64().expect("an index") + 1);
    assert_eq!(one["root"], json!(root_after(&before, &rows[..=4])));
    for caller in [None, Some(("owner", ""))] {
        assert_eq!(books.ask("ledger", &json!({}), caller).0, 403);
    }
}

#[test]
fn a_stored_entry_that_changes_no_longer_fits_its_root() {
    let mut books = traded();
    let end = books.index;
    let keys: Vec<Vec<u8>> =
        books.host.host().state.keys().filter(|key| key.starts_with(b"journal/")).cloned().collect();
    assert_eq!(keys.len(), 11);
    for key in keys {
        let state = &mut books.host.host_mut().state;
        let good = state[&key].clone();
        let mut wrong = good.clone();
        // The last field of a row is a line's weight, the one before it an amount.
        let amount = wrong.len() - 16;
        wrong[amount] ^= 1;
        state.insert(key.clone(), wrong);
        let (before, rows, root) = range(&mut books, 0, end);
        assert_ne!(root_after(&before, &rows), root);
        books.host.host_mut().state.insert(key, good);
    }
    let (before, rows, root) = range(&mut books, 0, end);
    assert_eq!(root_after(&before, &rows), root);
}

proptest! {
    #[test]
    fn roots_are_of_the_entries_and_of_nothing_else(
        amounts in prop::collection::vec(1u64..500, 1..20),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut books = Books::new();
        for (id, amount) in (1..).zip(&amounts) {
            books.money(&Order::new(id, &[("p", *amount)]), [*amount, 0, 0, 0]);
        }
        let end = books.index;
        let from = cut.index(usize::try_from(end).expect("few")) as u64;
        let (before, rows, root) = range(&mut books, from, end);
        prop_assert_eq!(root_after(&before, &rows), root);
    }
}
