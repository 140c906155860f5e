//! `docs/requirements.md` held against the tests it names.
//!
//! Takes the table (number, requirement, status, proof); gives a finding for every required number that is missing,
//! every proven row whose test does not exist, does not run or is not named, and every open row that does not say
//! what is missing.

use std::collections::BTreeMap;

use crate::check::Finding;
use crate::markdown::{cells, code_spans};
use crate::shell::{Outcome, fail, root, say};
use crate::source::{Source, TestKind};
use crate::tree::Tree;

/// The page this module reads.
pub const PAGE: &str = "docs/requirements.md";

/// The numbers that must have a row, as inclusive ranges.
const REQUIRED: &[(u16, u16)] = &[
    (1, 2),
    (4, 12),
    (14, 17),
    (20, 21),
    (29, 29),
    (33, 37),
    (39, 41),
    (65, 66),
    (72, 72),
    (79, 80),
    (130, 132),
    (134, 134),
    (136, 137),
];

/// One row of the table.
#[derive(Debug)]
struct Row {
    line: usize,
    proven: Option<bool>,
    proof: String,
}

/// Runs the task: prints the sums and every finding.
///
/// # Errors
/// If the tree cannot be read or there is a finding.
pub fn run(_arguments: &[String]) -> Outcome {
    let tree = Tree::read(&root())?;
    let findings = check(&tree);
    for finding in &findings {
        say!("{finding}");
    }
    say!("{}", sums(&tree));
    if findings.is_empty() { Ok(()) } else { fail(format!("{} rows do not hold", findings.len())) }
}

/// One line: how many rows are proven and open.
#[must_use]
pub fn sums(tree: &Tree) -> String {
    let rows = rows(tree.text(PAGE).unwrap_or_default());
    let proven = rows.values().filter(|row| row.proven == Some(true)).count();
    format!("requirements: {proven} proven, {} open", rows.len() - proven)
}

/// Every way in which the page does not hold.
#[must_use]
pub fn check(tree: &Tree) -> Vec<Finding> {
    let Some(page) = tree.text(PAGE) else {
        return vec![Finding::new(PAGE, 0, "the page of requirements is missing")];
    };
    let rows = rows(page);
    let mut findings = Vec::new();
    for number in REQUIRED.iter().flat_map(|(from, to)| *from..=*to) {
        let name = format!("S-{number:03}");
        if !rows.contains_key(&name) {
            findings.push(Finding::new(PAGE, 0, format!("{name} has no row")));
        }
    }
    for (name, row) in &rows {
        let told = complaints(tree, row).into_iter().map(|text| Finding::new(PAGE, row.line, format!("{name} {text}")));
        findings.extend(told);
    }
    findings
}

fn rows(page: &str) -> BTreeMap<String, Row> {
    let mut rows = BTreeMap::new();
    for (number, line) in page.lines().enumerate() {
        let is_row = |cells: &Vec<&str>| cells.len() == 4 && (cells[0].starts_with("S-") || cells[0].starts_with("M-"));
        let Some(cells) = cells(line).filter(is_row) else { continue };
        let proven = match cells[2] {
            "proven" => Some(true),
            "open" => Some(false),
            _ => None,
        };
        rows.insert(cells[0].to_owned(), Row { line: number + 1, proven, proof: cells[3].to_owned() });
    }
    rows
}

fn complaints(tree: &Tree, row: &Row) -> Vec<String> {
    let tests: Vec<&str> = code_spans(&row.proof).into_iter().filter(|span| span.contains(".rs::")).collect();
    match row.proven {
        None => vec!["has a status that is neither `proven` nor `open`".to_owned()],
        Some(true) if tests.is_empty() => vec!["is proven but names no test (`folder/tests/file.rs::name`)".to_owned()],
        Some(false) if !row.proof.contains("issing") => vec!["is open but does not say what is missing".to_owned()],
        // An open row may already name some of its tests; they must exist as well.
        Some(_) => tests.into_iter().filter_map(|test| missing(tree, test)).collect(),
    }
}

/// Why a named test does not prove anything, if so.
fn missing(tree: &Tree, test: &str) -> Option<String> {
    let (file, name) = test.rsplit_once("::")?;
    let Some(text) = tree.text(file) else { return Some(format!("names `{test}`, but there is no such file")) };
    let name = name.rsplit("::").next().unwrap_or(name);
    match Source::parse(file, text).tests().get(name) {
        Some(TestKind::Runs) => None,
        Some(TestKind::Ignored) => Some(format!("names `{test}`, which is ignored")),
        None => Some(format!("names `{test}`, but the file has no such test")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(row: &str) -> Vec<String> {
        let table: String = REQUIRED
            .iter()
            .flat_map(|(from, to)| *from..=*to)
            .filter(|number| *number != 1)
            .map(|number| format!("| S-{number:03} | x | open | missing: y |\n"))
            .collect();
        let page = format!("{table}{row}\n");
        let test = "#[test]\nfn holds() {}\n#[test]\n#[ignore]\nfn sleeps() {}\nfn helper() {}\n";
        check(&Tree::of(&[(PAGE, &page), ("a/tests/b.rs", test)])).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_proven_row_with_a_running_test_holds() {
        assert!(findings("| S-001 | x | proven | `a/tests/b.rs::holds` |").is_empty());
    }

    #[test]
    fn a_proven_row_fails_without_its_test() {
        for (row, words) in [
            ("| S-001 | x | proven | `a/tests/b.rs::gone` |", "has no such test"),
            ("| S-001 | x | proven | `a/tests/b.rs::helper` |", "has no such test"),
            ("| S-001 | x | proven | `a/tests/b.rs::sleeps` |", "is ignored"),
            ("| S-001 | x | proven | `a/tests/c.rs::holds` |", "no such file"),
            ("| S-001 | x | proven | believe me |", "names no test"),
            ("| S-001 | x | mostly | `a/tests/b.rs::holds` |", "neither"),
            ("| S-001 | x | open | later |", "what is missing"),
            ("", "S-001 has no row"),
        ] {
            let found = findings(row);
            assert!(found.len() == 1 && found[0].contains(words), "{row}: {found:?}");
        }
    }
}
