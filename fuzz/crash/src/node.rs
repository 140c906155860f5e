//! The node as a child process on a data directory that outlives it.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Failure;

/// How long a node may take to come up or to end, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A folder with a node's data, its log and its address.
#[derive(Debug, Clone)]
pub struct Home {
    /// The binary.
    pub binary: PathBuf,
    /// The folder.
    pub folder: PathBuf,
    /// Fixed over restarts, so that clients find the node again.
    pub address: SocketAddr,
}

impl Home {
    /// A new folder below `parent`.
    ///
    /// # Errors
    /// The folder cannot be made or there is no free port.
    pub fn new(binary: &Path, parent: &Path, name: &str) -> Result<Self, Failure> {
        let folder = parent.join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(|error| format!("failed to make {}: {error}", folder.display()))?;
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = address.map_err(|error| format!("there is no free port: {error}"))?;
        Ok(Self { binary: binary.to_owned(), folder, address })
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Starts a node; it is not ready yet.
    ///
    /// # Errors
    /// The binary does not start.
    pub fn spawn(&self) -> Result<Node, Failure> {
        let said = |error: std::io::Error| format!("failed to start {}: {error}", self.binary.display());
        let log = std::fs::File::options().create(true).append(true).open(self.folder.join("node.log"));
        let mut child = Command::new(&self.binary)
            .args(["dev", "--json", "--listen", &self.address.to_string(), "--data"])
            .arg(self.data())
            .env("TALLY_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.map_err(said)?)
            .spawn()
            .map_err(said)?;
        let out = child.stdout.take().ok_or("the node has no output")?;
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Ok(Node { child, lines, began: Instant::now() })
    }

    /// `tally fsck` on the data directory.
    ///
    /// # Errors
    /// It found something, or could not run.
    pub fn fsck(&self) -> Result<Value, Failure> {
        let mut fsck = Command::new(&self.binary);
        let output = fsck.arg("fsck").arg(self.data()).arg("--json").output().map_err(|error| error.to_string())?;
        let report: Value = serde_json::from_slice(&output.stdout)
            .map_err(|_| format!("fsck gave no report: {}", String::from_utf8_lossy(&output.stderr)))?;
        if output.status.success() { Ok(report) } else { Err(format!("fsck found: {report}")) }
    }

    /// The end of what the node wrote to its log.
    #[must_use]
    pub fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.folder.join("node.log")).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(6).collect();
        tail.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

/// A node's process. Killed when dropped.
#[derive(Debug)]
pub struct Node {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
    began: Instant,
}

impl Node {
    /// Waits until it says that it is ready; gives what it says and how long it took.
    ///
    /// # Errors
    /// It ended, took too long, or does not take events.
    pub fn ready(&mut self) -> Result<(Value, Duration), Failure> {
        let line = self.lines.recv_timeout(PATIENCE).map_err(|_| "the node did not get ready".to_owned())?;
        let took = self.began.elapsed();
        let ready: Value = serde_json::from_str(&line).map_err(|error| format!("{error} in {line}"))?;
        if ready["state"] != "running" {
            return Err(format!("the node came up {}: {}", ready["state"], ready["why"]));
        }
        Ok((ready, took))
    }

    /// SIGKILL: what a power cut is to a process. Waits until it is gone.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM: it drains and must end by itself, with 0.
    ///
    /// # Errors
    /// It does not.
    pub fn stop(mut self) -> Result<(), Failure> {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().map_err(|error| format!("failed to run kill: {error}"))?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(format!("the node drained with {status}")),
                _ => std::thread::sleep(Duration::from_millis(10)),
            }
        }
        Err("the node did not drain".to_owned())
    }

    /// The memory it has now, in KiB (`VmRSS`).
    #[must_use]
    pub fn rss_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
