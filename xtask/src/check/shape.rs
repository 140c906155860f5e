//! The shape of files: each opens with its head, has a name that says what it holds, and keeps to one idea.
//!
//! Takes every source. A missing head, an empty name and a file far too long are findings; a file past the house's
//! measure is only reported, because a second idea is found by reading, not by counting.

use super::Finding;
use crate::source::Source;
use crate::tree::Tree;

/// Names that say nothing about what a file holds.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "misc", "helpers", "helper", "tmp", "stuff"];

/// Past this many production lines, look for the second idea.
const LINES_REPORTED: usize = 600;

/// Past this many production lines, the second idea is there.
const LINES_MAX: usize = 900;

/// Every file out of shape.
#[must_use]
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, text) in tree.texts().filter(|(file, _)| file.ends_with(".rs")) {
        let head = text.lines().take_while(|line| line.starts_with("//!") || line.starts_with("#!")).count();
        // A `tests.rs` beside its subject is what its name says.
        if head == 0 && !file.ends_with("/tests.rs") {
            findings.push(Finding::new(
                file,
                1,
                "the file does not open with a `//!` head: what it takes, gives, fails on",
            ));
        }
        // `tests/common/` is how cargo shares code between integration tests.
        let shared = file.contains("/tests/") && (file.ends_with("/common.rs") || file.contains("/common/"));
        if let Some(part) = file.trim_end_matches(".rs").split('/').find(|part| EMPTY_NAMES.contains(part) && !shared) {
            findings.push(Finding::new(file, 0, format!("`{part}` says nothing: name the file for what it holds")));
        }
        let lines = Source::parse(file, text).production().count();
        if lines > LINES_MAX {
            findings.push(Finding::new(file, 0, format!("{lines} lines; more than {LINES_MAX} hold a second idea")));
        }
    }
    findings
}

/// One line on how long files are.
#[must_use]
pub fn report(tree: &Tree) -> String {
    let lengths: Vec<(usize, &str)> = tree
        .sources()
        .map(|(file, source)| (source.production().count(), file))
        .filter(|(lines, _)| *lines > 0)
        .collect();
    let total: usize = lengths.iter().map(|(lines, _)| lines).sum();
    let mut long: Vec<_> = lengths.iter().filter(|(lines, _)| *lines > LINES_REPORTED).collect();
    long.sort_unstable();
    let long: Vec<String> = long.iter().rev().map(|(lines, file)| format!("{file} ({lines})")).collect();
    let past = if long.is_empty() { "none".to_owned() } else { long.join(", ") };
    format!("lengths: {} files, {total} production lines; past {LINES_REPORTED}: {past}", lengths.len())
}
