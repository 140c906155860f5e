//! The README's commands are executed as they are written, and the demo ends with its promised line.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod common;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::{TALLY, free_address};

/// The commands of all `sh` blocks, continuation lines joined, comments at the end of a line cut.
fn readme_commands() -> Vec<String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let text = std::fs::read_to_string(&readme).unwrap_or_else(|error| panic!("{}: {error}", readme.display()));
    let mut commands = Vec::new();
    let mut inside = false;
    let mut pending = String::new();
    for line in text.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            _ if inside => {
                let line = line.split("  #").next().unwrap_or_default().trim();
                if let Some(head) = line.strip_suffix('\\') {
                    pending.push_str(head);
                } else if !line.is_empty() {
                    commands.push(std::mem::take(&mut pending) + line);
                }
            }
            _ => {}
        }
    }
    assert!(pending.is_empty());
    commands
}

/// A clone as a stranger has it after `cargo build --release`, but for the sources.
struct Clone {
    dir: tempfile::TempDir,
    port: u16,
    node: Option<Child>,
}

impl Clone {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("target/release")).unwrap();
        std::os::unix::fs::symlink(TALLY, dir.path().join("target/release/tally")).unwrap();
        Self { dir, port: free_address().port(), node: None }
    }

    /// The command in a shell, on a free port instead of 8080: other tests run beside this one.
    fn shell(&self, command: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-ec", &command.replace("8080", &self.port.to_string())]).current_dir(self.dir.path());
        shell.env("TALLY_LISTEN", format!("127.0.0.1:{}", self.port)).stdin(Stdio::null());
        shell
    }

    fn run(&self, command: &str) {
        let output = self.shell(command).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{command}\n{out}{err}");
    }

    fn start(&mut self, command: &str) {
        let mut node =
            self.shell(&format!("exec {command}")).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(node.stdout.take().unwrap()).lines();
        let ready = lines.map_while(Result::ok).any(|line| line.starts_with("running on"));
        assert!(ready, "{command} did not start");
        self.node = Some(node);
    }

    fn stop(&mut self) {
        if let Some(mut node) = self.node.take() {
            let pid = rustix::process::Pid::from_child(&node);
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
            assert!(node.wait().unwrap().success());
        }
    }
}

impl Drop for Clone {
    fn drop(&mut self) {
        if let Some(node) = &mut self.node {
            let _ = node.kill();
            let _ = node.wait();
        }
    }
}

#[test]
fn every_readme_command_works_as_written() {
    let mut clone = Clone::new();
    let mut run = 0;
    for command in readme_commands() {
        // Built and tested by whoever runs this.
        if command.starts_with("cargo ") {
            let known = ["cargo xtask demo", "cargo xtask test", "cargo build --release"];
            assert!(known.contains(&command.as_str()), "nobody executes `{command}`");
        } else if command.ends_with("tally dev") {
            clone.start(&command);
            run += 1;
        } else {
            if command.contains(" fsck ") {
                clone.stop();
            }
            clone.run(&command);
            run += 1;
        }
    }
    assert!(run >= 5, "the README has lost its commands");
}

#[test]
fn the_demo_ends_with_its_promised_line() {
    let demo = Path::new(TALLY).parent().unwrap().join("examples/demo");
    if !demo.is_file() {
        println!("skipped: {} was not built (cargo builds it with all targets)", demo.display());
        return;
    }
    let output = Command::new(demo).args(["--events", "1500", "--buyers", "10"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let last = text.trim_end().lines().last().unwrap();
    let words: Vec<&str> = last.split(' ').collect();
    let ["demo", "ok:", events, "events,", receipts, "receipts", "verified,", "size", size, "root", root] = words[..]
    else {
        panic!("{last}");
    };
    assert_eq!(events, receipts);
    assert!(size.trim_end_matches(',').parse::<u64>().unwrap() > events.parse().unwrap());
    assert_eq!(root.len(), 64);
}
