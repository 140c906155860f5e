//! `cargo xtask check`: the house rules, one function a rule, then the gates that cargo itself holds.
//!
//! Takes the names of rules (none: all; `--fast`: all that need no compiler). Gives one line a rule and every finding
//! below it. Fails when there is a finding or a gate does not pass.

use std::fmt;

use crate::requirements;
use crate::shell::{Failure, Outcome, fail, root, say};
use crate::tree::Tree;

pub mod floors;
pub mod gates;
pub mod hashes;
pub mod laws;
pub mod links;
pub mod prose;
pub mod random;
pub mod rooms;
pub mod secrets;
pub mod shape;
pub mod sql;
pub mod weak;

/// One place that breaks a rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The file, relative to the top.
    pub file: String,
    /// The line from 1; 0 when the finding is about the whole file.
    pub line: usize,
    /// What is wrong, and what to do instead.
    pub text: String,
}

impl Finding {
    /// A finding.
    #[must_use]
    pub fn new(file: impl Into<String>, line: usize, text: impl Into<String>) -> Finding {
        Finding { file: file.into(), line, text: text.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "  {}: {}", self.file, self.text),
            line => write!(f, "  {}:{line}: {}", self.file, self.text),
        }
    }
}

/// A rule over the files alone.
struct Rule {
    name: &'static str,
    about: &'static str,
    check: fn(&Tree) -> Vec<Finding>,
}

const RULES: &[Rule] = &[
    Rule { name: "floors", about: "who may depend on whom", check: floors::check },
    Rule { name: "rooms", about: "one room per outside dependency, and none unused", check: rooms::check },
    Rule { name: "hashes", about: "hash calls only in sdk/protocol/src/hash.rs", check: hashes::check },
    Rule { name: "random", about: "randomness only from the operating system (S-015)", check: random::check },
    Rule { name: "secrets", about: "secrets are compared in constant time (S-040)", check: secrets::check },
    Rule { name: "sql", about: "no SQL, so none built from strings (S-010)", check: sql::check },
    Rule { name: "weak", about: "no weak algorithm in Cargo.lock or in the code (S-041)", check: weak::check },
    Rule { name: "shape", about: "heads, names and lengths of files", check: shape::check },
    Rule { name: "map", about: "every crate is on the map of ARCHITECTURE.md", check: laws::map },
    Rule { name: "laws", about: "every law names a test that exists", check: laws::check },
    Rule { name: "requirements", about: "every proven row names a test that runs", check: requirements::check },
    Rule { name: "links", about: "no dead link in a page", check: links::check },
    Rule { name: "prose", about: "no word of the list, no TODO without an issue", check: prose::check },
];

/// Runs the task.
///
/// # Errors
/// If the tree cannot be read, a name is unknown, there is a finding, or a gate does not pass.
pub fn run(arguments: &[String]) -> Outcome {
    let fast = arguments.iter().any(|argument| argument == "--fast");
    let chosen: Vec<&String> = arguments.iter().filter(|argument| *argument != "--fast").collect();
    for name in &chosen {
        if !RULES.iter().any(|rule| rule.name == *name) && !gates::GATES.iter().any(|gate| gate.name == *name) {
            return fail(format!("there is no rule `{name}`; there are {}", names().join(", ")));
        }
    }
    let wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|chosen| *chosen == name);
    let tree = Tree::read(&root())?;
    let mut broken = Vec::new();
    for rule in RULES.iter().filter(|rule| wanted(rule.name)) {
        let findings = (rule.check)(&tree);
        let verdict = if findings.is_empty() { "ok".to_owned() } else { format!("{} findings", findings.len()) };
        say!("{:<14} {verdict:<12} {}", rule.name, rule.about);
        findings.iter().for_each(|finding| say!("{finding}"));
        broken.extend((!findings.is_empty()).then_some(rule.name));
    }
    say!("{}", requirements::sums(&tree));
    say!("{}", shape::report(&tree));
    if !fast {
        broken.extend(gates::run(&wanted)?);
    }
    if broken.is_empty() { Ok(()) } else { Err(Failure(format!("these do not hold: {}", broken.join(", ")))) }
}

fn names() -> Vec<&'static str> {
    RULES.iter().map(|rule| rule.name).chain(gates::GATES.iter().map(|gate| gate.name)).collect()
}
