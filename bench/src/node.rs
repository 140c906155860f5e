//! The node under load: the real `tally` binary in a folder of its own, with real syncs.
//!
//! Gives its address, its API keys, and what the kernel counted for its process. Fails when it does not come up; it is
//! killed and its folder removed when this is dropped.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tally_protocol::id::{AgentId, StoreId, TenantId};
use tally_protocol::key::PublicKey;

use crate::Failure;
use crate::http::{Answer, Connection, request};
use crate::proc::Proc;

/// A running node.
pub struct Node {
    child: Child,
    folder: PathBuf,
    /// Where it listens.
    pub address: SocketAddr,
    /// The development tenant.
    pub tenant: TenantId,
    /// The development store.
    pub store: StoreId,
    /// The genesis entry as `/v1/ledger` serves it, base64.
    pub genesis_entry: String,
    /// A credential that submits for every agent of the tenant.
    pub api_key: String,
    operator_key: String,
}

impl Node {
    /// Starts the binary on a free port, with its data below `parent`.
    ///
    /// # Errors
    /// If the binary does not start or does not get ready.
    pub fn start(binary: &Path, parent: &Path) -> Result<Self, Failure> {
        let folder = parent.join(format!("bench-http-{}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(|error| format!("failed to make {}: {error}", folder.display()))?;
        let log = std::fs::File::create(folder.join("node.log")).map_err(|error| error.to_string())?;
        let mut child = Command::new(binary)
            .args(["dev", "--json", "--listen", "127.0.0.1:0", "--data"])
            .arg(folder.join("data"))
            .env("TALLY_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("failed to start {}: {error}", binary.display()))?;
        let ready = read_ready(&mut child);
        let mut node = Self {
            child,
            folder,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            tenant: TenantId::NIL,
            store: StoreId::NIL,
            genesis_entry: String::new(),
            api_key: String::new(),
            operator_key: String::new(),
        };
        let ready = ready.map_err(|why| node.with_log(&why))?;
        node.take(&ready)?;
        Ok(node)
    }

    fn take(&mut self, ready: &Value) -> Result<(), Failure> {
        let text = |name: &str| ready[name].as_str().ok_or_else(|| format!("the node's ready object has no {name}"));
        let address = text("url")?.trim_start_matches("http://").parse();
        self.address = address.map_err(|_| "the node's address is none".to_owned())?;
        self.tenant = text("tenant_id")?.parse().map_err(|_| "the node's tenant is none".to_owned())?;
        self.store = text("store_id")?.parse().map_err(|_| "the node's store is none".to_owned())?;
        let key = std::fs::read_to_string(text("operator_api_key_file")?).map_err(|error| error.to_string())?;
        key.trim().clone_into(&mut self.operator_key);
        let made = json!({"tenant_id": self.tenant.to_string(), "roles": ["admin"], "label": "bench"});
        let made = self.call("POST", "/v1/api-keys", Some(&made))?;
        made["api_key"].as_str().unwrap_or_default().clone_into(&mut self.api_key);
        let ledger = self.call("GET", "/v1/ledger", None)?;
        ledger["genesis_entry"].as_str().unwrap_or_default().clone_into(&mut self.genesis_entry);
        Ok(())
    }

    /// Registers an agent's first key.
    ///
    /// # Errors
    /// If the node refuses.
    pub fn register(&self, agent: AgentId, key: &PublicKey) -> Result<(), Failure> {
        let (tenant, agent) = (self.tenant.to_string(), agent.to_string());
        let body = json!({"tenantId": tenant, "agentId": agent, "keyId": 1, "publicKey": key.to_hex()});
        self.call("POST", "/api/v1/agents/keys", Some(&body)).map(drop)
    }

    /// One call with the operator's credential.
    ///
    /// # Errors
    /// If the answer is not a success with a JSON body.
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request(method, path, &self.operator_key, "application/json", body.as_bytes());
        let mut answer = Answer::default();
        let sent = Connection::open(self.address).and_then(|mut connection| connection.send(&request, &mut answer));
        sent.map_err(|error| self.with_log(&format!("{method} {path} failed: {error}")))?;
        if !(200..300).contains(&answer.status) {
            let said = String::from_utf8_lossy(&answer.body).into_owned();
            return Err(format!("{method} {path} was answered {}: {said}", answer.status));
        }
        serde_json::from_slice(&answer.body)
            .map_err(|error| format!("{method} {path} was not answered in JSON: {error}"))
    }

    fn with_log(&self, why: &str) -> Failure {
        let log = std::fs::read_to_string(self.folder.join("node.log")).unwrap_or_default();
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
        folder_bytes(&self.folder.join("data"))
    }

    /// A sync of 64 KiB on the disk that holds the data: p50 and p99 in microseconds of 100 tries.
    ///
    /// # Errors
    /// If the disk cannot be written.
    pub fn sync_micros(&self) -> Result<(u64, u64), Failure> {
        let probe = || -> std::io::Result<Vec<u64>> {
            let mut file = std::fs::File::create(self.folder.join("probe"))?;
            (0..100)
                .map(|_| {
                    file.write_all(&[0x5a; 64 << 10])?;
                    let start = Instant::now();
                    file.sync_data()?;
                    Ok(start.elapsed().as_micros() as u64)
                })
                .collect()
        };
        let mut times = probe().map_err(|error| format!("failed to probe the disk: {error}"))?;
        times.sort_unstable();
        Ok((times[50], times[99]))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
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
    let line = receiver.recv_timeout(Duration::from_secs(60)).map_err(|_| "the node did not get ready".to_owned())?;
    serde_json::from_str(&line).map_err(|error| format!("the node's first line is not JSON: {error}"))
}
