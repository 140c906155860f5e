//! The foreign scripts with their packages, installed once per set of pins into the user's cache folder.
//!
//! Needs Python 3.9 or newer with pip, Node.js 20.19 or newer with npm, and a package registry at the first run. Gives
//! the scripts as commands; what is missing is one line that says what to install. A set is installed beside its place
//! and moved there whole, so that neither a broken installation nor another test at the same time leaves a half one.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use serde_json::Value;
use tally::profile::Profile;

use crate::common::Node;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign");

/// One installation at a time in this process.
static INSTALLING: Mutex<()> = Mutex::new(());

/// The scripts, ready to run.
pub struct Tools {
    python_packages: PathBuf,
    agent: PathBuf,
}

impl Tools {
    /// Installs what is not installed yet.
    ///
    /// # Errors
    /// One line that names what is missing.
    pub fn installed() -> Result<Self, String> {
        let _alone = INSTALLING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let cache = cache_dir()?;
        let python = install(&cache, "python", &["requirements.txt"], install_python)?;
        let node = install(&cache, "node", &["package.json", "package-lock.json"], install_node)?;
        // Node finds packages beside the script, not beside the working directory.
        let agent = node.join("agent.mjs");
        std::fs::copy(Path::new(SCRIPTS).join("agent.mjs"), &agent).map_err(|error| format!("{agent:?}: {error}"))?;
        Ok(Self { python_packages: python, agent })
    }

    /// `auditor.py` on a node, whose ledger id is trusted.
    pub fn auditor(&self, node: &Node, profile: &Profile, extra: &[&OsStr]) -> Command {
        let mut command = Command::new("python3");
        command.env("PYTHONPATH", &self.python_packages).env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null());
        command.arg(Path::new(SCRIPTS).join("auditor.py"));
        command.args(["--url", node.url(), "--ledger-id", &profile.ledger_id.to_hex(), "--api-key-file"]);
        command.arg(&profile.operator_api_key_file).args(extra);
        command
    }

    /// Runs `auditor.py`, which must find everything in order; gives its report.
    pub fn audit(&self, node: &Node, profile: &Profile, extra: &[&OsStr]) -> Value {
        report(self.auditor(node, profile, extra))
    }

    /// Runs `agent.mjs` with so many events over the VES surface; gives its report. The answers go into a file.
    pub fn agent(&self, node: &Node, profile: &Profile, count: u32, answers: &Path) -> Value {
        let mut command = Command::new("node");
        command.stdin(Stdio::null()).arg(&self.agent);
        command.args(["--url", node.url(), "--ledger-id", &profile.ledger_id.to_hex(), "--count", &count.to_string()]);
        command.args(["--tenant", &profile.tenant_id.to_string(), "--store", &profile.store_id.to_string()]);
        command.arg("--operator-key-file").arg(&profile.operator_api_key_file).arg("--out").arg(answers);
        report(command)
    }
}

fn report(mut command: Command) -> Value {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("no report ({error}): {said}"))
}

/// `$XDG_CACHE_HOME/tally/foreign`, or below `~/.cache`.
fn cache_dir() -> Result<PathBuf, String> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    Ok(base.ok_or("neither XDG_CACHE_HOME nor HOME says where packages may be cached")?.join("tally").join("foreign"))
}

/// The folder of a set of packages, installed unless it is there with exactly these pins.
fn install(
    cache: &Path,
    name: &str,
    pins: &[&str],
    into: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let place = cache.join(name);
    let same = |pin: &&str| {
        let read = |folder: &Path| std::fs::read(folder.join(pin)).ok();
        read(&place).is_some_and(|installed| Some(installed) == read(Path::new(SCRIPTS)))
    };
    if pins.iter().all(same) {
        return Ok(place);
    }
    let failed = |error: std::io::Error| format!("failed to install packages in {}: {error}", cache.display());
    std::fs::create_dir_all(cache).map_err(failed)?;
    let fresh = tempfile::Builder::new().prefix(name).tempdir_in(cache).map_err(failed)?;
    for pin in pins {
        std::fs::copy(Path::new(SCRIPTS).join(pin), fresh.path().join(pin)).map_err(failed)?;
    }
    into(fresh.path())?;
    let _ = std::fs::remove_dir_all(&place);
    match std::fs::rename(fresh.keep(), &place) {
        // Another process was quicker, with the same pins.
        Err(_) if pins.iter().all(same) => Ok(place),
        result => result.map_err(failed).map(|()| place),
    }
}

fn install_python(folder: &Path) -> Result<(), String> {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--target"]);
    pip.arg(folder).arg("--requirement").arg(folder.join("requirements.txt"));
    run(pip, "Python 3.9 or newer with pip (Debian: python3 and python3-pip) and a package index")
}

fn install_node(folder: &Path) -> Result<(), String> {
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]).current_dir(folder);
    run(npm, "Node.js 20.19 or newer with npm and a package registry")
}

fn run(mut command: Command, needed: &str) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let missing = |why: &str| format!("the foreign verifiers need {needed}; {program} says: {why}");
    let output = command.stdin(Stdio::null()).output().map_err(|error| missing(&error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().find(|line| line.to_lowercase().contains("error")).or_else(|| said.lines().next());
    Err(missing(line.unwrap_or("nothing")))
}
