//! The node under load: the real `tally` binary in a folder of its own, with real syncs.
//!
//! Gives its doors, its API keys, what the kernel counted for its process and what it says of itself. Can be killed and
//! started again on the same data. Fails when it does not come up; it is killed when this is dropped, and a temporary
//! folder goes with it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tally_protocol::id::{AgentId, TenantId};
use tally_protocol::key::PublicKey;

use crate::Failure;
use crate::events::Agent;
use crate::http::{Answer, Connection, request};
use crate::proc::Proc;
use crate::quic::QuicDoor;

/// Where a node lives.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    kept: bool,
}

impl Folder {
    /// A new folder below `parent`, removed with the node.
    #[must_use]
    pub fn temporary(parent: &Path, name: &str) -> Self {
        Self { path: parent.join(format!("{name}-{}", std::process::id())), kept: false }
    }

    /// A folder that stays, and may hold an earlier node's data.
    #[must_use]
    pub fn kept(path: &Path) -> Self {
        Self { path: path.to_owned(), kept: true }
    }
}

/// A running node.
pub struct Node {
    child: Child,
    binary: PathBuf,
    folder: Folder,
    plugins: bool,
    /// Where it listens for HTTP.
    pub address: SocketAddr,
    /// Where it listens for QUIC, if it does.
    pub quic: Option<QuicDoor>,
    /// The development tenant.
    pub tenant: TenantId,
    /// The genesis entry as `/v1/ledger` serves it, base64.
    pub genesis_entry: String,
    /// A credential that submits for every agent of the development tenant.
    pub api_key: String,
    operator_key: String,
}

impl Node {
    /// Starts the binary on free ports.
    ///
    /// # Errors
    /// If the binary does not start or does not get ready.
    pub fn start(binary: &Path, folder: &Folder) -> Result<Self, Failure> {
        Self::start_as(binary, folder, true)
    }

    /// The same, with plugins or without.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub fn start_as(binary: &Path, folder: &Folder, plugins: bool) -> Result<Self, Failure> {
        let path = &folder.path;
        std::fs::create_dir_all(path).map_err(|error| format!("failed to make {}: {error}", path.display()))?;
        let mut node = Self {
            child: spawn(binary, path, plugins)?,
            binary: binary.to_owned(),
            folder: folder.clone(),
            plugins,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            quic: None,
            tenant: TenantId::NIL,
            genesis_entry: String::new(),
            api_key: String::new(),
            operator_key: String::new(),
        };
        node.take()?;
        node.api_key = node.new_api_key(node.tenant)?;
        Ok(node)
    }

    /// Kills the node and starts it again on the same data; gives the seconds until it says that it is ready.
    ///
    /// # Errors
    /// If it does not come up again.
    pub fn kill_and_restart(&mut self) -> Result<f64, Failure> {
        self.child.kill().and_then(|()| self.child.wait()).map_err(|error| format!("failed to kill: {error}"))?;
        let start = Instant::now();
        self.child = spawn(&self.binary, &self.folder.path, self.plugins)?;
        self.take()?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// Reads what the node says when it is ready.
    fn take(&mut self) -> Result<(), Failure> {
        let ready = read_ready(&mut self.child).map_err(|why| self.with_log(&why))?;
        let text = |name: &str| ready[name].as_str().ok_or_else(|| format!("the node's ready object has no {name}"));
        let address = text("url")?.trim_start_matches("http://").parse();
        self.address = address.map_err(|_| "the node's address is none".to_owned())?;
        self.quic = quic_door(&ready)?;
        self.tenant = text("tenant_id")?.parse().map_err(|_| "the node's tenant is none".to_owned())?;
        let key = std::fs::read_to_string(text("operator_api_key_file")?).map_err(|error| error.to_string())?;
        key.trim().clone_into(&mut self.operator_key);
        let ledger = self.call("GET", "/v1/ledger", None)?;
        ledger["genesis_entry"].as_str().unwrap_or_default().clone_into(&mut self.genesis_entry);
        Ok(())
    }

    /// Runs the binary's own tools against the node, as its operator does; gives the last object that they print.
    ///
    /// # Errors
    /// If a tool does not end well.
    pub fn tool(&self, arguments: &[&str]) -> Result<Value, Failure> {
        let mut tool = Command::new(&self.binary);
        tool.args(arguments).env("TALLY_PROFILE", self.folder.path.join("data/dev/profile.json")).stdin(Stdio::null());
        let output = tool.output().map_err(|error| format!("failed to run {}: {error}", self.binary.display()))?;
        if !output.status.success() {
            return Err(format!(
                "tally {}: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr).trim_end()
            ));
        }
        let said = String::from_utf8_lossy(&output.stdout);
        Ok(said.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or(Value::Null))
    }

    /// A new credential that submits for every agent of a tenant: one more caller.
    ///
    /// # Errors
    /// If the node refuses.
    pub fn new_api_key(&self, tenant: TenantId) -> Result<String, Failure> {
        let made = json!({"tenant_id": tenant.to_string(), "roles": ["admin"], "label": "bench"});
        let made = self.call("POST", "/v1/api-keys", Some(&made))?;
        made["api_key"].as_str().map(str::to_owned).ok_or_else(|| "the node made no API key".to_owned())
    }

    /// One more tenant, whose keys the operator manages.
    ///
    /// # Errors
    /// If the node refuses.
    pub fn new_tenant(&self) -> Result<TenantId, Failure> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|error| format!("failed to draw random bytes: {error}"))?;
        let (tenant, root) = (TenantId::from_bytes(id), Agent::of_seed(u64::from(id[0]), 1));
        let body = json!({
            "tenant_id": tenant.to_string(),
            "root_agent_id": root.id.to_string(),
            "root_public_key": root.key.public_key().to_hex(),
            "operator_managed": true,
        });
        self.call("POST", "/v1/tenants", Some(&body))?;
        Ok(tenant)
    }

    /// Registers an agent's first key.
    ///
    /// # Errors
    /// If the node refuses.
    pub fn register(&self, tenant: TenantId, agent: AgentId, key: &PublicKey) -> Result<(), Failure> {
        let (tenant, agent) = (tenant.to_string(), agent.to_string());
        let body = json!({"tenantId": tenant, "agentId": agent, "keyId": 1, "publicKey": key.to_hex()});
        self.call("POST", "/api/v1/agents/keys", Some(&body)).map(drop)
    }

    /// One call with the operator's credential.
    ///
    /// # Errors
    /// If the answer is not a success with a JSON body.
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let answer = self.ask(method, path, &body)?;
        serde_json::from_slice(&answer).map_err(|error| format!("{method} {path} was not answered in JSON: {error}"))
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Result<Vec<u8>, Failure> {
        let request = request(method, path, &self.operator_key, "application/json", body.as_bytes());
        let mut answer = Answer::default();
        let sent = Connection::open(self.address).and_then(|mut connection| connection.send(&request, &mut answer));
        sent.map_err(|error| self.with_log(&format!("{method} {path} failed: {error}")))?;
        if !(200..300).contains(&answer.status) {
            let said = String::from_utf8_lossy(&answer.body).into_owned();
            return Err(format!("{method} {path} was answered {}: {said}", answer.status));
        }
        Ok(answer.body)
    }

    /// What the node measures of itself: every plain number of `/metrics`, histograms as `_sum` and `_count`.
    ///
    /// # Errors
    /// If the node does not serve them.
    pub fn metrics(&self) -> Result<BTreeMap<String, f64>, Failure> {
        let text = String::from_utf8_lossy(&self.ask("GET", "/metrics", "")?).into_owned();
        let line = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            (!line.starts_with('#')).then(|| Some((name.to_owned(), value.parse().ok()?)))?
        };
        Ok(text.lines().filter_map(line).collect())
    }

    fn with_log(&self, why: &str) -> Failure {
        let log = std::fs::read_to_string(self.folder.path.join("node.log")).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(5).collect();
        format!("{why}\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"))
    }

    /// What the kernel counts for the node's process.
    #[must_use]
    pub fn proc(&self) -> Proc {
        Proc::of(self.child.id())
    }

    /// Bytes of the data directory.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        folder_bytes(&self.folder.path.join("data"))
    }

    /// A sync of 64 KiB on the disk that holds the data: p50 and p99 in microseconds of 100 tries.
    ///
    /// # Errors
    /// If the disk cannot be written.
    pub fn sync_micros(&self) -> Result<(u64, u64), Failure> {
        sync_micros(&self.folder.path)
    }
}

/// A sync of 64 KiB in a folder: p50 and p99 in microseconds of 100 tries.
///
/// # Errors
/// If the disk cannot be written.
pub fn sync_micros(folder: &Path) -> Result<(u64, u64), Failure> {
    let path = folder.join("probe");
    let probe = || -> std::io::Result<Vec<u64>> {
        let mut file = std::fs::File::create(&path)?;
        let times = (0..100)
            .map(|_| {
                file.write_all(&[0x5a; 64 << 10])?;
                let start = Instant::now();
                file.sync_data()?;
                Ok(start.elapsed().as_micros() as u64)
            })
            .collect();
        std::fs::remove_file(&path)?;
        times
    };
    let mut times = probe().map_err(|error| format!("failed to probe the disk: {error}"))?;
    times.sort_unstable();
    Ok((times[50], times[99]))
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !self.folder.kept {
            let _ = std::fs::remove_dir_all(&self.folder.path);
        }
    }
}

fn spawn(binary: &Path, folder: &Path, plugins: bool) -> Result<Child, Failure> {
    let log = std::fs::File::options().create(true).append(true).open(folder.join("node.log"));
    Command::new(binary)
        .args(["dev", "--json", "--listen", "127.0.0.1:0", "--data"])
        .arg(folder.join("data"))
        .args((!plugins).then_some("--no-plugins"))
        .env("TALLY_LOG", "warn")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log.map_err(|error| error.to_string())?)
        .spawn()
        .map_err(|error| format!("failed to start {}: {error}", binary.display()))
}

/// The QUIC door out of the ready object; none if the node names none.
fn quic_door(ready: &Value) -> Result<Option<QuicDoor>, Failure> {
    let (Some(address), Some(authority)) = (ready["quic"].as_str(), ready["quic_certificate_file"].as_str()) else {
        return Ok(None);
    };
    let address = address.parse().map_err(|_| format!("the node's QUIC address {address} is none"))?;
    Ok(Some(QuicDoor { address, name: "localhost".to_owned(), authority: authority.into() }))
}

fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let bytes = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.flatten().map(bytes).sum()
}

/// The first line of standard output; whatever follows is read away, so that the node never waits for us.
fn read_ready(child: &mut Child) -> Result<Value, Failure> {
    let out = child.stdout.take().ok_or("the node has no output")?;
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let line = receiver.recv_timeout(Duration::from_secs(120)).map_err(|_| "the node did not get ready".to_owned())?;
    serde_json::from_str(&line).map_err(|error| format!("the node's first line is not JSON: {error}"))
}
