//! ARCHITECTURE.md held against the workspace: every crate on the map, every law with a test that exists.
//!
//! Takes the numbered items under the heading "Laws". A law names its tests as code spans `crate::file::test`: the
//! crate by its package name, the file in `tests/` or `src/` (folders as further segments), the test by its function.
//! A law whose subject is not built yet says *Not built yet* instead.

use super::Finding;
use crate::markdown::{code_spans, prose};
use crate::source::{Source, TestKind};
use crate::tree::{Package, Tree};

const PAGE: &str = "ARCHITECTURE.md";

/// How many laws there are.
const LAWS: usize = 12;

/// Every crate that the map does not name with its folder.
#[must_use]
pub fn map(tree: &Tree) -> Vec<Finding> {
    let page = tree.text(PAGE).unwrap_or_default();
    let missing = |package: &Package| {
        let named = page.contains(&format!("`{}`", package.manifest.name));
        let placed = page.contains(&format!("`{}/`", package.folder));
        !(named && placed)
    };
    let packages = tree.packages();
    let finding =
        |p: &Package| Finding::new(PAGE, 0, format!("`{}` in `{}/` is not on the map", p.manifest.name, p.folder));
    packages.iter().filter(|package| missing(package)).map(finding).collect()
}

/// Every law without a test, and every named test that does not exist.
#[must_use]
pub fn check(tree: &Tree) -> Vec<Finding> {
    let laws = laws(tree.text(PAGE).unwrap_or_default());
    let packages = tree.packages();
    let mut findings = Vec::new();
    for number in 1..=LAWS {
        if !laws.iter().any(|law| law.number == number) {
            findings.push(Finding::new(PAGE, 0, format!("law {number} is missing")));
        }
    }
    for law in &laws {
        let tests: Vec<&str> = code_spans(&law.text).into_iter().filter(|span| is_test_name(span, &packages)).collect();
        if tests.is_empty() && !law.text.contains("Not built yet") {
            findings.push(Finding::new(PAGE, law.line, format!("law {} names no test", law.number)));
        }
        let broken = tests.into_iter().filter(|test| !exists(tree, &packages, test));
        findings.extend(broken.map(|test| {
            Finding::new(PAGE, law.line, format!("law {} names `{test}`, which does not exist", law.number))
        }));
    }
    findings
}

struct Law {
    number: usize,
    line: usize,
    text: String,
}

fn laws(page: &str) -> Vec<Law> {
    let mut laws: Vec<Law> = Vec::new();
    let mut inside = false;
    for (number, line) in prose(page).iter().enumerate() {
        if line.starts_with('#') {
            inside = line.trim_start_matches('#').trim() == "Laws";
            continue;
        }
        let item = line.split_once(". ").and_then(|(digits, rest)| Some((digits.parse().ok()?, rest)));
        match item.filter(|_| inside) {
            Some((law, text)) => laws.push(Law { number: law, line: number + 1, text: text.to_owned() }),
            None if inside => {
                if let Some(law) = laws.last_mut() {
                    law.text.push(' ');
                    law.text.push_str(line);
                }
            }
            None => {}
        }
    }
    laws
}

fn is_test_name(span: &str, packages: &[Package]) -> bool {
    let (crate_name, rest) = span.split_once("::").unwrap_or((span, ""));
    rest.contains("::") && packages.iter().any(|package| package.manifest.name == crate_name)
}

fn exists(tree: &Tree, packages: &[Package], name: &str) -> bool {
    let segments: Vec<&str> = name.split("::").collect();
    let [crate_name, path @ .., test] = segments.as_slice() else { return false };
    let Some(package) = packages.iter().find(|package| package.manifest.name == *crate_name) else { return false };
    let (folder, path) = (&package.folder, path.join("/"));
    [
        format!("{folder}/tests/{path}.rs"),
        format!("{folder}/tests/{path}/main.rs"),
        format!("{folder}/src/{path}.rs"),
        format!("{folder}/src/{path}/mod.rs"),
        format!("{folder}/src/{path}/tests.rs"),
    ]
    .iter()
    .filter_map(|file| Some((file, tree.text(file)?)))
    .any(|(file, text)| Source::parse(file, text).tests().get(*test) == Some(&TestKind::Runs))
}
