//! How a command ends: the exit codes, and the failure that carries one.
//!
//! Takes errors of the rooms; gives one line for people or one JSON object for scripts, and a code that a script can
//! tell apart without reading text. The table is also in `tally --help` and `docs/operating/cli.md`; a test holds the
//! three together.

use std::fmt;
use std::process::ExitCode;

/// What an exit code means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// Done.
    Done,
    /// Something failed that has no code of its own: a file, a database, a server fault.
    Failed,
    /// The command line or the configuration is refused; nothing was done.
    Usage,
    /// A proof, a signature or a log is wrong.
    Invalid,
    /// The node refused a request or an event by a rule; retrying unchanged is useless.
    Rejected,
    /// The node did not answer, or takes no writes now; retrying unchanged is safe.
    Unavailable,
    /// Another process holds the data directory or the fence.
    InUse,
}

impl Exit {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 7] =
        [Self::Done, Self::Failed, Self::Usage, Self::Invalid, Self::Rejected, Self::Unavailable, Self::InUse];

    /// The process's exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// One word for `--json`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Invalid => "invalid",
            Self::Rejected => "rejected",
            Self::Unavailable => "unavailable",
            Self::InUse => "in_use",
        }
    }

    /// What it means, for `--help` and the docs.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "something failed: a file, a database, a server fault",
            Self::Usage => "the command line or the configuration is refused; nothing was done",
            Self::Invalid => "a proof, a signature or a log is wrong",
            Self::Rejected => "the node refused a request or an event; retrying unchanged is useless",
            Self::Unavailable => "the node did not answer or takes no writes now; retrying is safe",
            Self::InUse => "another process holds the data directory, the fence or the address",
        }
    }
}

/// The table of exit codes as `--help` shows it.
#[must_use]
pub fn table() -> String {
    let rows: Vec<String> = Exit::ALL.iter().map(|exit| format!("  {}  {}", exit.code(), exit.meaning())).collect();
    format!("Exit codes:\n{}", rows.join("\n"))
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// A command that did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What happened, one line, lower case, no secrets.
    pub message: String,
    /// What to do about it, if that is known.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure with a code of its own.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
    }

    /// A failure without a code of its own.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// A command line or configuration that is refused.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A proof, a signature or a log that is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Exit::Invalid, message)
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A file that could not be used: `what` is a verb in the infinitive ("read", "create").
    pub fn file(what: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::failed(format!("failed to {what} {}: {error}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_count_up_from_zero_and_are_all_in_the_table() {
        for (at, exit) in Exit::ALL.iter().enumerate() {
            assert_eq!(usize::from(exit.code()), at);
            assert!(table().contains(exit.meaning()));
        }
    }

    #[test]
    fn the_operators_page_has_the_same_table() {
        let page = include_str!("../../../docs/operating/cli.md");
        for exit in Exit::ALL {
            let row = format!("| {} | `{}` | {} |", exit.code(), exit.name(), exit.meaning());
            assert!(page.contains(&row), "{row}");
        }
    }
}
