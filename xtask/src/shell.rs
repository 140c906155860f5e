//! Running programs and saying what happens.
//!
//! Takes commands, gives their exit as an [`Outcome`]; everything printed by this crate goes through [`say!`].
//! Fails when a program cannot be started or ends with a code other than zero; the message names the command.

use std::ffi::OsStr;
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Why a task failed, in one line for a person.
#[derive(Debug)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a task ends.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Shorthand for a failed [`Outcome`].
///
/// # Errors
/// Always.
pub fn fail<T>(message: impl Into<String>) -> Outcome<T> {
    Err(Failure(message.into()))
}

/// Prints one line at once, also when the output is a pipe.
pub fn line(text: fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    // A closed pipe (`| head`) is the reader's choice, not an error of the task.
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}

/// Prints one formatted line to standard output.
#[macro_export]
macro_rules! say {
    ($($argument:tt)*) => { $crate::shell::line(format_args!($($argument)*)) };
}
pub use crate::say;

/// The top folder of this checkout.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The binary may have been built in another clone that shares the build directory: trust the caller's place first.
    let start = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| here.to_path_buf(), PathBuf::from);
    start.parent().map_or(start.clone(), Path::to_path_buf)
}

/// The folder for what tasks and tests install: `$XDG_CACHE_HOME/tally`, else `~/.cache/tally`.
#[must_use]
pub fn cache_dir() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || std::env::var_os("HOME").map_or_else(std::env::temp_dir, |home| PathBuf::from(home).join(".cache"));
    base.unwrap_or_else(home).join("tally")
}

/// A command in the top folder, without standard input.
#[must_use]
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// The cargo that started this task.
///
/// What `cargo run` says about this package stays here: build scripts of dependencies ask for variables of the same names,
/// and whoever calls cargo by hand next would compile those and all above them again.
#[must_use]
pub fn cargo() -> Command {
    let mut command = command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(name);
        }
    }
    command
}

fn shown(command: &Command) -> String {
    let name = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let arguments = command.get_args().map(|a| a.to_string_lossy().into_owned());
    std::iter::once(name.to_string_lossy().into_owned()).chain(arguments).collect::<Vec<_>>().join(" ")
}

/// Runs a command with its output shown.
///
/// # Errors
/// If the program cannot be started or ends with another code than zero.
pub fn run(command: &mut Command) -> Outcome {
    let shown = shown(command);
    say!("$ {shown}");
    let status = command.status().map_err(|error| Failure(format!("failed to start `{shown}`: {error}")))?;
    if status.success() { Ok(()) } else { fail(format!("`{shown}` ended with {status}")) }
}

/// The same, with the command named on standard error: standard output is the command's alone.
///
/// # Errors
/// As [`run`].
#[expect(clippy::print_stderr, reason = "standard output belongs to the command")]
pub fn run_aside(command: &mut Command) -> Outcome {
    let shown = shown(command);
    eprintln!("$ {shown}");
    let status = command.status().map_err(|error| Failure(format!("failed to start `{shown}`: {error}")))?;
    if status.success() { Ok(()) } else { fail(format!("`{shown}` ended with {status}")) }
}

/// Runs a command and gives what it wrote to standard output.
///
/// # Errors
/// If the program cannot be started or ends with another code than zero.
pub fn output(command: &mut Command) -> Outcome<String> {
    let shown = shown(command);
    let output = command
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| Failure(format!("failed to start `{shown}`: {error}")))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return fail(format!("`{shown}` ended with {}: {}", output.status, complaint.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command with both outputs in one stream, in order, handing each line to `on_line`.
/// Gives whether it ended with zero.
///
/// # Errors
/// If the program cannot be started or its output cannot be read.
pub fn follow(command: &mut Command, mut on_line: impl FnMut(&str)) -> Outcome<bool> {
    let shown = shown(command);
    let broken = |error: std::io::Error| Failure(format!("failed to run `{shown}`: {error}"));
    let (reader, writer) = std::io::pipe().map_err(broken)?;
    let errors = writer.try_clone().map_err(broken)?;
    let mut child = command.stdout(writer).stderr(errors).spawn().map_err(broken)?;
    // The command holds the other writing ends; without this the stream would never end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut reader = BufReader::new(reader);
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes).map_err(broken)? > 0 {
        on_line(String::from_utf8_lossy(&bytes).trim_end());
        bytes.clear();
    }
    Ok(child.wait().map_err(broken)?.success())
}

/// Whether a program can be found on the search path.
#[must_use]
pub fn on_path(program: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else { return false };
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
