//! There is no SQL in Tally, so none can be built from strings (S-010).
//!
//! Takes Cargo.lock (no SQL client, not even of a dependency) and the string literals of production code (no
//! statement). If SQL ever comes, this rule is replaced by one that wants every statement constant.

use super::Finding;
use crate::tree::Tree;

const PACKAGES: &[&str] = &[
    "sqlx",
    "sqlx-core",
    "rusqlite",
    "libsqlite3-sys",
    "postgres",
    "tokio-postgres",
    "diesel",
    "mysql",
    "mysql_async",
    "sea-orm",
    "libsql",
    "duckdb",
    "tiberius",
];

/// Pairs of words that open a statement, with at least one word between or after.
const STATEMENTS: &[(&str, &str)] = &[
    ("SELECT ", " FROM "),
    ("INSERT INTO ", ""),
    ("UPDATE ", " SET "),
    ("DELETE FROM ", ""),
    ("CREATE TABLE ", ""),
    ("ALTER TABLE ", ""),
    ("DROP TABLE ", ""),
    ("TRUNCATE TABLE ", ""),
];

/// Every SQL client and every statement.
#[must_use]
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = locked(tree, PACKAGES, "is a SQL client: Tally has no SQL (S-010)");
    for (file, source) in tree.sources().filter(|(file, _)| !file.starts_with("xtask/")) {
        for (line, literal) in source.literals() {
            let text = literal.to_ascii_uppercase();
            if STATEMENTS.iter().any(|(first, second)| text.trim_start().starts_with(first) && text.contains(second)) {
                findings.push(Finding::new(file, line, "a SQL statement: Tally has no SQL (S-010)"));
            }
        }
    }
    findings
}

/// Every package of the lock file that a list forbids.
#[must_use]
pub fn locked(tree: &Tree, forbidden: &[&str], why: &str) -> Vec<Finding> {
    let lock = tree.text("Cargo.lock").unwrap_or_default();
    let names = lock.lines().enumerate().filter_map(|(number, line)| {
        let name = line.strip_prefix("name = \"")?.strip_suffix('"')?;
        forbidden.contains(&name).then(|| Finding::new("Cargo.lock", number + 1, format!("{name} {why}")))
    });
    names.collect()
}
