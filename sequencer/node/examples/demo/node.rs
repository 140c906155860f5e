//! The node under the demo: the real `tally` binary as a child process.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a node may take to end after SIGTERM.
const END_MAX: Duration = Duration::from_secs(60);

/// The binary beside this example: `target/release/tally`.
pub(crate) fn binary() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| format!("failed to find this program: {error}"))?;
    let beside = own.parent().and_then(Path::parent).map(|folder| folder.join("tally"));
    match beside {
        Some(path) if path.is_file() => Ok(path),
        Some(path) => Err(format!("there is no {}; build it with `cargo build --release -p tally`", path.display())),
        None => Err("this program lies at the root of the disk".to_owned()),
    }
}

/// Runs a command of the binary to its end.
pub(crate) fn tally(binary: &Path, args: &[&str]) -> Result<Output, String> {
    Command::new(binary)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("failed to run {}: {error}", binary.display()))
}

/// A running node. Killed when dropped.
pub(crate) struct Node {
    child: Child,
    /// What it said when it was ready.
    pub(crate) ready: Value,
}

impl Node {
    /// Starts `tally dev` and waits until it takes events. With a file of chains it watches them.
    pub(crate) fn start(binary: &Path, data: &Path, listen: SocketAddr, watch: Option<&Path>) -> Result<Self, String> {
        let option = watch.map(|file| ["--watch-chains".as_ref(), file.as_os_str()]);
        Self::start_with(binary, data, listen, option, &[])
    }

    /// The same with one more option and its value, and with these in the environment.
    pub(crate) fn start_with(
        binary: &Path,
        data: &Path,
        listen: SocketAddr,
        option: Option<[&OsStr; 2]>,
        environment: &[(&str, &str)],
    ) -> Result<Self, String> {
        let mut child = Command::new(binary)
            .args(["dev", "--json", "--listen", &listen.to_string(), "--data"])
            .arg(data)
            .args(option.into_iter().flatten())
            .env("TALLY_LOG", "warn")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("failed to run {}: {error}", binary.display()))?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("the node has no standard output")?;
        BufReader::new(stdout)
            .read_line(&mut line)
            .map_err(|error| format!("failed to read from the node: {error}"))?;
        let Ok(ready) = serde_json::from_str::<Value>(&line) else {
            let status = child.wait().map_err(|error| error.to_string())?;
            return Err(format!("the node did not start ({status}); its reason is above"));
        };
        let node = Self { child, ready };
        match node.text("state") {
            "running" => Ok(node),
            other => Err(format!("the node is {other}: {}", node.text("why"))),
        }
    }

    /// A field of the ready line.
    pub(crate) fn text(&self, field: &str) -> &str {
        self.ready.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// SIGKILL, whatever it is doing.
    pub(crate) fn shoot(&self) -> Result<(), String> {
        let pid = rustix::process::Pid::from_child(&self.child);
        let sent = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        sent.map_err(|error| format!("failed to kill the node: {error}"))
    }

    /// SIGKILL. Gives how it ended: one that had ended before keeps its own end.
    pub(crate) fn kill(mut self) -> Result<ExitStatus, String> {
        self.shoot()?;
        self.child.wait().map_err(|error| format!("failed to wait for the node: {error}"))
    }

    /// SIGTERM, and waits for the drain.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .map_err(|error| format!("failed to signal the node: {error}"))?;
        let deadline = Instant::now() + END_MAX;
        while Instant::now() < deadline {
            match self.child.try_wait().map_err(|error| error.to_string())? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("the node ended with {status}")),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        Err("the node did not drain".to_owned())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
