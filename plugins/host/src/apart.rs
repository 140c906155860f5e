//! Compiling apart: before this process compiles a module, a child process does, with bounds on its time and memory.
//!
//! Compilers answer pathological input with time and memory, and wasmtime says that this is no fault of theirs. So a module
//! is tried first by a child that the system stops: processor time and address space by the shell's `ulimit`, wall time by
//! `timeout`, both set between fork and exec without a line of unsafe code. The child does exactly what
//! [`Engine::load`] does and answers one line. What the child came through with is compiled here again: no compiled code is
//! taken from a file or a pipe, so there is none to forge (`docs/decisions/0018-compiled-apart.md`).
//!
//! Takes a program that calls [`child`]; gives [`Apart`], a [`Loader`]. A module that meets a bound is no outcome, because
//! another machine might have come through: the door refuses it before it is in the log, and behind the door apply halts.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use crate::engine::{Engine, Program, compile_only};
use crate::error::HostError;
use crate::limits::{Limits, SHAPE};
use crate::registry::Loader;

/// Opens the child's answer; what else it prints is not read.
const ANSWER: &str = "tally-compile: ";
/// Its answer when the module compiles.
const COMPILED: &str = "compiled";
/// And when the validator refuses it, which is this process's to say.
const REFUSED: &str = "refused";

/// What a child may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Wall time, in milliseconds.
    pub wall_ms: u64,
    /// Processor time, in seconds.
    pub cpu_seconds: u64,
    /// Address space.
    pub memory_bytes: u64,
}

impl Bounds {
    /// Ten seconds and a gigabyte: the largest module of the shape takes about a tenth of either.
    pub const DEFAULT: Self = Self { wall_ms: 10_000, cpu_seconds: 10, memory_bytes: 1 << 30 };
}

/// Why a module did not come back compiled.
#[derive(Debug, thiserror::Error)]
pub enum ApartError {
    /// The child could not be started or spoken to.
    #[error("failed to run the compiling process")]
    Io(#[from] std::io::Error),
    /// It was stopped by its bounds, or died: it gave no answer.
    #[error("the compiling process was stopped, or died ({0})")]
    Stopped(String),
    /// It answered that the engine failed.
    #[error("the compiling process failed: {0}")]
    Failed(String),
}

/// An engine that compiles nothing that a child process has not compiled before.
#[derive(Clone)]
pub struct Apart {
    engine: Engine,
    program: OsString,
    arguments: Vec<OsString>,
    bounds: Bounds,
}

impl Apart {
    /// With the program, and its arguments, that calls [`child`]: the node names itself and a hidden subcommand.
    #[must_use]
    pub const fn new(engine: Engine, program: OsString, arguments: Vec<OsString>, bounds: Bounds) -> Self {
        Self { engine, program, arguments, bounds }
    }

    /// Has a child compile a module. A module that the validator refuses is fine here: nothing compiles it.
    ///
    /// # Errors
    /// The child met a bound, died, or could not be run.
    pub fn try_compile(&self, wasm: &[u8], limits: &Limits) -> Result<(), ApartError> {
        let mut child = self.command().spawn()?;
        let sent = child.stdin.take().map(|mut input| input.write_all(&question(wasm, limits)));
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        match text.lines().find_map(|line| line.strip_prefix(ANSWER)) {
            Some(COMPILED | REFUSED) => Ok(()),
            Some(why) => Err(ApartError::Failed(why.to_owned())),
            None if sent.is_some_and(|sent| sent.is_err()) || !output.status.success() => {
                Err(ApartError::Stopped(output.status.to_string()))
            }
            None => Err(ApartError::Stopped("no answer".to_owned())),
        }
    }

    fn command(&self) -> Command {
        let Bounds { wall_ms, cpu_seconds, memory_bytes } = self.bounds;
        let (kibibytes, seconds) = (memory_bytes / 1024, format!("{}.{:03}", wall_ms / 1000, wall_ms % 1000));
        // Numbers of ours only; program and arguments are passed, not pasted.
        let script =
            format!("ulimit -t {cpu_seconds} && ulimit -v {kibibytes} && exec timeout -s KILL {seconds} \"$0\" \"$@\"");
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script).arg(&self.program).args(&self.arguments);
        // Nothing of this process's environment is the child's business, secrets least of all.
        command.env_clear().env("PATH", "/usr/bin:/bin");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        command
    }
}

impl Loader for Apart {
    type Machine = Program;

    fn load(&self, wasm: &[u8], limits: &Limits) -> Result<Program, HostError> {
        // Cheap, bounded, and decides outcomes: so here, and first.
        crate::validate::validate(wasm, limits)?;
        self.try_compile(wasm, limits)?;
        self.engine.load(wasm, limits)
    }
}

/// What the parent sends: each limit, then the module.
fn question(wasm: &[u8], limits: &Limits) -> Vec<u8> {
    let mut out = Vec::with_capacity(wasm.len() + 8 * Limits::NAMES.len());
    for (_, value) in limits.entries() {
        out.extend_from_slice(&value.to_be_bytes());
    }
    out.extend_from_slice(wasm);
    out
}

/// The child: reads a module and its limits to the end of its input, compiles it, answers in one line.
///
/// # Errors
/// Input or output failed.
pub fn child(input: &mut dyn Read, output: &mut dyn Write) -> std::io::Result<()> {
    let head = 8 * Limits::NAMES.len();
    let mut bytes = Vec::new();
    input.take((head + SHAPE.module_bytes + 1) as u64).read_to_end(&mut bytes)?;
    let answer = match bytes.split_at_checked(head) {
        None => "the question is malformed".to_owned(),
        Some((values, wasm)) => compile(values, wasm),
    };
    // An engine's text may have lines.
    writeln!(output, "{ANSWER}{}", answer.replace(['\n', '\r'], " "))?;
    output.flush()
}

fn compile(values: &[u8], wasm: &[u8]) -> String {
    let mut limits = Limits::default();
    for (name, value) in Limits::NAMES.iter().zip(values.chunks_exact(8)) {
        let value = value.try_into().map_or(0, u64::from_be_bytes);
        if limits.set(name, value).is_err() {
            return format!("no such limit: {name}");
        }
    }
    match compile_only(wasm, &limits) {
        Ok(()) => COMPILED.to_owned(),
        Err(HostError::Module(_)) => REFUSED.to_owned(),
        Err(error) => format!("{error}"),
    }
}
