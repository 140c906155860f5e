//! A node as a child process, driven through its real binary: what the tests of this crate share.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(unreachable_pub, reason = "shared by test files")]

pub mod load;
pub mod market;
pub mod provider;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tally::profile::Profile;

/// How long a node may take to come up or to end, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The `tally` binary under test.
pub const TALLY: &str = env!("CARGO_BIN_EXE_tally");

/// A folder for one node's data, gone at the end.
pub struct Home {
    dir: tempfile::TempDir,
    /// Fixed over restarts, so that clients find the node again.
    pub listen: SocketAddr,
}

impl Home {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), listen: free_address() }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn fence(&self) -> PathBuf {
        self.dir.path().join("data.fence")
    }

    pub fn profile_path(&self) -> PathBuf {
        self.data().join("dev/profile.json")
    }

    pub fn profile(&self) -> Profile {
        Profile::load(&self.profile_path()).unwrap().unwrap()
    }

    /// The command line of `tally dev` on this folder.
    pub fn dev(&self) -> Command {
        dev_on(&self.data(), self.listen)
    }

    pub fn start(&self) -> Node {
        Node::start(self.dev()).unwrap_or_else(|ended| panic!("the node did not start: {ended}"))
    }

    /// A command that talks to this folder's node.
    pub fn tally(&self, args: &[&str]) -> Output {
        run(self.command(args))
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = tally(args);
        command.env("TALLY_PROFILE", self.profile_path());
        command
    }

    /// `tally fsck` on this folder, which must be clean.
    pub fn fsck(&self) -> Value {
        let (code, report) = self.fsck_report();
        assert_eq!(code, 0, "{report:#}");
        assert_eq!(report["fence_checked"], true);
        report
    }

    /// `tally fsck` as it comes.
    pub fn fsck_report(&self) -> (i32, Value) {
        let data = self.data();
        let out = run(tally(&["fsck", data.to_str().unwrap(), "--json"]));
        let report = serde_json::from_slice(&out.stdout)
            .unwrap_or_else(|_| panic!("no report: {}", String::from_utf8_lossy(&out.stderr)));
        (out.status.code().unwrap(), report)
    }
}

pub fn dev_on(data: &Path, listen: SocketAddr) -> Command {
    let mut command = tally(&["dev", "--json", "--data", data.to_str().unwrap(), "--listen", &listen.to_string()]);
    command.env("TALLY_LOG", "warn");
    command
}

/// An address that is free now; a node may take it a moment later.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The binary with arguments, cut off from this process's environment.
pub fn tally(args: &[&str]) -> Command {
    let mut command = Command::new(TALLY);
    command.args(args).stdin(Stdio::null());
    for name in ["TALLY_URL", "TALLY_PROFILE", "TALLY_API_KEY", "TALLY_API_KEY_FILE", "TALLY_DATA", "TALLY_FAILPOINT"] {
        command.env_remove(name);
    }
    command
}

/// Runs a command to its end.
pub fn run(mut command: Command) -> Output {
    command.output().unwrap()
}

/// Runs a command with text on its standard input.
pub fn run_with_input(mut command: Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || {
        // A command that ended before it read all is judged by its exit code.
        let _ = stdin.write_all(input.as_bytes());
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

/// The JSON lines of a command's standard output.
pub fn json_lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"))).collect()
}

pub fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("ended by a signal: {}", err(output)))
}

pub fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A running node. Killed when dropped.
pub struct Node {
    child: Child,
    /// What it said when it was ready.
    pub ready: Value,
    stderr: std::thread::JoinHandle<String>,
}

/// A node that ended instead of getting ready.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stderr: String,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.status, self.stderr)
    }
}

impl Node {
    /// Starts a node and waits until it says that it is ready.
    pub fn start(mut command: Command) -> Result<Self, Ended> {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stderr.take().unwrap();
        let stderr = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = pipe.read_to_string(&mut text);
            text
        });
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        match serde_json::from_str(&line) {
            Ok(ready) => Ok(Self { child, ready, stderr }),
            Err(_) => {
                let status = child.wait().unwrap();
                Err(Ended { status, stderr: stderr.join().unwrap() })
            }
        }
    }

    pub fn url(&self) -> &str {
        self.ready["url"].as_str().unwrap()
    }

    pub fn state(&self) -> &str {
        self.ready["state"].as_str().unwrap()
    }

    pub fn why(&self) -> &str {
        self.ready["why"].as_str().unwrap_or_default()
    }

    /// SIGKILL: what a power cut is to a process.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until it ends by itself.
    pub fn wait_for_end(&mut self) -> Option<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// SIGTERM: drains. The node must end by itself, with 0.
    pub fn stop(mut self) {
        self.signal(rustix::process::Signal::TERM);
        let status = self.wait_for_end();
        assert!(status.is_some_and(|status| status.success()), "{status:?}");
    }

    /// SIGTERM, and what became of it.
    pub fn end(mut self) -> (Option<ExitStatus>, String) {
        self.signal(rustix::process::Signal::TERM);
        let status = self.wait_for_end();
        let _ = self.child.kill();
        let stderr = std::mem::replace(&mut self.stderr, std::thread::spawn(String::new));
        (status, stderr.join().unwrap())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Copies a folder with everything in it.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// `count` events as JSON lines for `tally submit`.
pub fn event_lines(label: &str, count: usize) -> String {
    (0..count)
        .map(|n| {
            format!(
                "{{\"entity_type\":\"order\",\"entity_id\":\"{label}-{}\",\"event_type\":\"order.placed\",\
                 \"payload\":{{\"label\":\"{label}\",\"n\":{n}}}}}\n",
                n % 7
            )
        })
        .collect()
}

/// Submits events through the binary; gives their receipts.
pub fn submit_lines(home: &Home, lines: &str) -> Vec<Value> {
    let output = run_with_input(home.command(&["submit", "--json"]), lines);
    assert_eq!(code(&output), 0, "{}", err(&output));
    json_lines(&output)
}
