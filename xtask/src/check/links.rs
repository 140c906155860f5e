//! No page links to a file, a folder or a heading that is not there.
//!
//! Takes every Markdown page; links to other sites are left alone, because a check must not need a network.

use super::Finding;
use crate::markdown::{anchors, links};
use crate::tree::Tree;

/// Every dead link.
#[must_use]
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (page, text) in tree.texts().filter(|(name, _)| name.ends_with(".md")) {
        for (line, target) in links(text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file = if path.is_empty() { page.to_owned() } else { resolve(page, path) };
            if !tree.exists(&file) {
                findings.push(Finding::new(page, line, format!("dead link: there is no {file}")));
            } else if !anchor.is_empty()
                && !tree.text(&file).is_some_and(|text| anchors(text).iter().any(|a| a == anchor))
            {
                findings.push(Finding::new(page, line, format!("dead link: {file} has no heading #{anchor}")));
            }
        }
    }
    findings
}

fn resolve(page: &str, target: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in target.trim_end_matches('/').split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}
