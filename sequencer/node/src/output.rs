//! Standard output: lines for people, or one JSON object per line for scripts. A closed pipe ends the command quietly.
//!
//! Takes values and sentences; gives lines. Everything else (logs, progress, errors) goes to standard error.

use std::io::Write as _;

use serde::Serialize;

use crate::exit::Failure;

/// Where a command's result goes.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
}

impl Output {
    /// Lines for people, or JSON.
    #[must_use]
    pub const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether scripts read this.
    #[must_use]
    pub const fn is_json(self) -> bool {
        self.json
    }

    /// One result, in both forms; `text` is only made if people read it.
    ///
    /// # Errors
    /// Standard output is closed or cannot be written.
    pub fn result(self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.json {
            let line = serde_json::to_string(value)
                .map_err(|error| Failure::failed(format!("failed to write JSON: {error}")))?;
            write(&line)
        } else {
            write(&text())
        }
    }

    /// A line that only people need.
    ///
    /// # Errors
    /// See [`Self::result`].
    pub fn say(self, text: &str) -> Result<(), Failure> {
        if self.json { Ok(()) } else { write(text) }
    }
}

/// One line on standard output, whoever reads it.
///
/// # Errors
/// See [`Output::result`].
pub fn write(line: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|error| Failure::failed(format!("failed to write to standard output: {error}")))
}

/// The last word of a command that failed, on standard error.
pub fn report(failure: &Failure, json: bool) {
    let mut err = std::io::stderr().lock();
    // Nobody is left to tell if standard error is closed.
    let _ = if json {
        let detail = serde_json::json!({
            "error": { "code": failure.exit.name(), "exit": failure.exit.code(), "message": failure.message,
                       "hint": failure.hint },
        });
        writeln!(err, "{detail}")
    } else {
        writeln!(err, "error: {failure}")
    };
}
