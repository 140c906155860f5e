//! What the contract costs, as receipts say, and that no limit is passed.
//!
//! `TALLY_GAS_TABLE=write` (set by `cargo xtask contract gas`) puts the table between the markers of
//! `anchor/contract/README.md`; otherwise the committed table must be the measured one. Everything is fixed (compiler, time,
//! keys, trees), so the numbers are exact. The rules are Prague's for transactions, with its floor for call data; execution
//! gas is measured under Cancun's, where a receipt is the sum of 21,000, call data and execution.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod chain;

use std::path::Path;

use chain::contract::{Anchor, Contract, Word};
use chain::tree::Tree;
use chain::{Chain, number};

const LOG: Word = [0x11; 32];
const OTHER_LOG: Word = [0x22; 32];
const BEGIN: &str = "<!-- gas: begin; written by `cargo xtask contract gas` -->\n";
const END: &str = "<!-- gas: end -->";

/// Anchors before measuring: every place of the ring was written once.
const WARM: u64 = 257;

/// Leaves as a power of two; most gas for one anchor, for an anchor of two logs, for the execution of an inclusion check.
const LIMITS: [(u32, u64, u64, u64); 4] = [
    (10, 75_000, 130_000, 12_000),
    (20, 90_000, 150_000, 18_000),
    (30, 100_000, 180_000, 27_000),
    (36, 105_000, 190_000, 30_000),
];

#[derive(Clone)]
struct Row {
    what: String,
    gas: u64,
    limit: u64,
}

#[test]
fn no_call_costs_more_gas_than_its_limit_and_the_readme_says_what_each_costs() {
    let rows = [anchors(), inclusions()].concat();
    let table = table(&rows);
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("contract/README.md");
    let text = std::fs::read_to_string(&readme).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the table's first marker");
    let (committed, after) = rest.split_once(END).expect("the table's last marker");
    if std::env::var("TALLY_GAS_TABLE").is_ok_and(|value| value == "write") {
        std::fs::write(&readme, [before, BEGIN, &table, END, after].concat()).unwrap();
    } else {
        assert_eq!(committed, table, "`cargo xtask contract gas` writes it anew");
    }
    for row in &rows {
        assert!(row.gas <= row.limit, "{}: {} gas, limit {}", row.what, row.gas, row.limit);
    }
}

/// A step with the most hashes there are at 2^k leaves: all ones to a size with one more bit.
fn worst_step(k: u32) -> (u64, u64) {
    ((1 << k) - 1, 3 << (k - 1))
}

fn tree() -> Tree {
    let near = LIMITS.iter().flat_map(|(k, ..)| (0..*k).map(move |bit| (1u64 << k) - (1 << bit)));
    Tree::new(30, (0..2 * WARM).chain(near).collect())
}

fn step(tree: &Tree, log: Word, old: u64, new: u64) -> Anchor {
    Anchor { log, size: new, root: tree.root(new), proof: tree.consistency(old, new).path, epoch: 1 }
}

fn warm(contract: &Contract, tree: &Tree, logs: &[Word]) {
    for old in 0..WARM {
        let steps: Vec<Anchor> = logs.iter().map(|log| step(tree, *log, old, old + 1)).collect();
        contract.send(&contract.anchor_many_data(&steps));
    }
}

fn anchors() -> Vec<Row> {
    let chain = Chain::start("prague");
    let contract = Contract::deploy(&chain);
    let tree = tree();
    let gas = |data: &[u8]| number(&contract.send(data)["gasUsed"]);
    let mut rows = vec![row("deployment", contract.deploy_gas, 4_000_000)];
    [LOG, OTHER_LOG].into_iter().for_each(|log| contract.open(log));
    warm(&contract, &tree, &[LOG, OTHER_LOG]);
    let mut head = WARM;
    for (k, one, two, _) in LIMITS {
        let (old, new) = worst_step(k);
        let both = |from, to| [LOG, OTHER_LOG].map(|log| step(&tree, log, from, to));
        gas(&contract.anchor_many_data(&both(head, old)));
        // The same step alone first, then taken back.
        let before = chain.ask("evm_snapshot", &serde_json::json!([]));
        let cost = gas(&contract.anchor_data(&step(&tree, LOG, old, new)));
        rows.push(row(&format!("`anchor`, 2^{k} leaves"), cost, one));
        assert_eq!(chain.ask("evm_revert", &serde_json::json!([before])), true);
        let cost = gas(&contract.anchor_many_data(&both(old, new)));
        rows.push(row(&format!("`anchorMany`, two logs, 2^{k} leaves"), cost, two));
        head = new;
    }
    let (old, new) = worst_step(37);
    gas(&contract.anchor_data(&step(&tree, LOG, head, old)));
    chain.ask("evm_increaseTime", &serde_json::json!([86_400]));
    let cost = gas(&contract.anchor_data(&step(&tree, LOG, old, new)));
    rows.push(row("`anchor`, 2^37 leaves, first of a day (kept for ever)", cost, 130_000));
    rows
}

fn inclusions() -> Vec<Row> {
    let chain = Chain::start("cancun");
    let contract = Contract::deploy(&chain);
    let tree = tree();
    contract.open(LOG);
    let mut head = 0;
    let mut rows = Vec::new();
    for (seq, (k, _, _, limit)) in (1..).zip(LIMITS) {
        let size = 1 << k;
        contract.send(&contract.anchor_data(&step(&tree, LOG, head, size)));
        head = size;
        let index = size - 1;
        let data = contract.inclusion_data(LOG, seq, &tree.root(size), &tree.leaf(index), &tree.inclusion(index, size));
        assert!(contract.judges(&data));
        let used = number(&contract.send(&data)["gasUsed"]);
        let call_data: u64 = data.iter().map(|byte| if *byte == 0 { 4 } else { 16 }).sum();
        let execution = used - 21_000 - call_data;
        rows.push(row(&format!("`verifyInclusion`, 2^{k} leaves, execution"), execution, limit));
    }
    rows
}

fn row(what: &str, gas: u64, limit: u64) -> Row {
    Row { what: what.to_owned(), gas, limit }
}

fn table(rows: &[Row]) -> String {
    let head = "| call | gas | limit |\n|---|---:|---:|\n".to_owned();
    rows.iter()
        .fold(head, |text, row| text + &format!("| {} | {} | {} |\n", row.what, grouped(row.gas), grouped(row.limit)))
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let groups = digits.as_bytes()[first..].chunks(3).map(|group| String::from_utf8_lossy(group).into_owned());
    let head = (first > 0).then(|| digits[..first].to_owned());
    head.into_iter().chain(groups).collect::<Vec<_>>().join(",")
}
