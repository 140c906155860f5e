//! What no text of this repository holds: words of the list, home folders, a TODO without an issue.
//!
//! Takes every text. The list of words is for names that must not be published; it is empty, because what must not be
//! named must not be named here either: a checkout may keep its own in the untracked file `.forbidden-words`.

use super::Finding;
use crate::shell::root;
use crate::tree::Tree;

/// Words that no file may hold, in lower case.
const WORDS: &[&str] = &[];

/// Where a person's or a machine's own folders start.
const HOMES: &[&str] = &["/home/", "/Users/", "/root/"];

/// Every forbidden word and every TODO that names no issue.
#[must_use]
pub fn check(tree: &Tree) -> Vec<Finding> {
    let own = std::fs::read_to_string(root().join(".forbidden-words")).unwrap_or_default();
    let own = own.lines().map(str::trim).filter(|word| !word.is_empty()).map(str::to_lowercase);
    check_with(tree, &WORDS.iter().map(|word| (*word).to_owned()).chain(own).collect::<Vec<_>>())
}

/// [`check`] with another list of words, in lower case.
#[must_use]
pub fn check_with(tree: &Tree, words: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    // This file and its tests must spell what they look for.
    let spells = |file: &str| file.starts_with("xtask/") || file == "Cargo.lock" || file == ".forbidden-words";
    for (file, text) in tree.texts().filter(|(file, _)| !spells(file)) {
        for (number, line) in text.lines().enumerate() {
            let lower = line.to_lowercase();
            if let Some(word) = words.iter().find(|word| lower.contains(word.as_str())) {
                findings.push(Finding::new(file, number + 1, format!("holds the forbidden word `{word}`")));
            }
            if let Some(home) = HOMES.iter().find(|home| line.contains(**home)) {
                findings.push(Finding::new(file, number + 1, format!("names a folder below `{home}` of one machine")));
            }
            if is_loose_todo(line) {
                findings.push(Finding::new(file, number + 1, "a TODO names its issue, `TODO(#12)`, or does not land"));
            }
        }
    }
    findings
}

fn is_loose_todo(line: &str) -> bool {
    ["TODO", "FIXME", "XXX:"].iter().any(|mark| {
        line.match_indices(mark).any(|(at, _)| {
            let quoted = line[..at].ends_with('`') || line[..at].ends_with("a ") || line[..at].ends_with('"');
            !quoted && !line[at + mark.len()..].starts_with("(#")
        })
    })
}
