//! The chain: a real EVM node with the contract, the process that anchors, and what happens to both.
//!
//! While events flow, the worker is killed between signing a transaction and sending it; later the chain takes three blocks
//! back. At the end the contract itself is asked whether one of the demo's events is in the log.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use tally::anchoring::development::{CHAIN_ID, DevAnchors, DevChain, NAME};
use tally::profile::Profile;
use tally_anchor::config::{ChainConfig, Provider};
use tally_anchor::ethereum::{Ethereum, abi};
use tally_anchor::signer::Address;
use tally_client::{Client, ProvenReceipt};
use tally_protocol::hash;
use tally_protocol::id::{Index, TreeSize};
use tally_verify::TrustedChain;

use crate::gate::Gate;
use crate::{describe, node, say};

/// How long anything on the chain may take: blocks come every second, finality is four of them away.
const WAIT_MAX: Duration = Duration::from_secs(120);
/// Blocks that the chain takes back.
const REORG_BLOCKS: u32 = 3;

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// The chain and its worker. Both are killed when this is dropped.
pub(crate) struct Chain {
    worker: Worker,
    /// Between the worker and the chain.
    gate: Gate,
    chain: DevChain,
    anchors: DevAnchors,
}

struct Worker {
    child: Child,
    binary: PathBuf,
    log: PathBuf,
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Worker {
    fn start(binary: &Path, anchors: &DevAnchors) -> Result<Self, String> {
        let log = anchors.config.with_file_name("worker.log");
        let child = spawn(binary, anchors, &log)?;
        Ok(Self { child, binary: binary.to_owned(), log })
    }

    fn kill(&mut self) -> Result<(), String> {
        self.child.kill().and_then(|()| self.child.wait()).map_err(words).map(|_| ())
    }

    fn restart(&mut self, anchors: &DevAnchors) -> Result<(), String> {
        self.child = spawn(&self.binary, anchors, &self.log)?;
        Ok(())
    }
}

fn spawn(binary: &Path, anchors: &DevAnchors, log: &Path) -> Result<Child, String> {
    let log = std::fs::File::options().create(true).append(true).open(log).map_err(words)?;
    let mut command = anchors.worker(binary);
    command.env("TALLY_LOG", "warn").stdout(Stdio::null()).stderr(log).spawn().map_err(words)
}

impl Chain {
    /// Starts the chain, deploys, and lets the worker begin.
    pub(crate) fn start(binary: &Path, folder: &Path, profile: &Profile) -> Result<Self, String> {
        let began = Instant::now();
        let chain = DevChain::start(&folder.join("chain")).map_err(|failure| failure.to_string())?;
        let deployed = chain.deploy(binary, &profile.url, profile.ledger_id);
        let anchors = deployed.map_err(|failure| failure.to_string())?;
        let gate = Gate::before(address(&chain.rpc())?)?;
        lead_through(&gate, &chain.rpc(), &anchors.config)?;
        let worker = Worker::start(binary, &anchors)?;
        say(&format!(
            "chain  an EVM node with chain id {CHAIN_ID}, the contract at {}, in {:.1} s",
            anchors.contract,
            began.elapsed().as_secs_f64()
        ));
        Ok(Self { worker, gate, chain, anchors })
    }

    /// The file that makes a node watch this chain.
    pub(crate) fn watch_file(&self) -> &Path {
        &self.anchors.watch_file
    }

    /// From now on what the worker signs stays on its disk.
    pub(crate) fn hold_transactions(&self) {
        self.gate.close();
    }

    /// Kills the worker with a signed transaction on its disk that nobody has been sent; then lets transactions pass.
    pub(crate) fn kill_between_signing_and_sending(&mut self) -> Result<(), String> {
        if !self.gate.wait_for_transaction(WAIT_MAX) {
            return Err(format!("the worker signs nothing; see {}", self.worker.log.display()));
        }
        self.worker.kill()?;
        let slots = self.anchors.config.with_file_name("journal").join(NAME).join("slots");
        if newest_state(&slots) != Some(true) {
            return Err(format!("a transaction was to be sent that is not on the disk of {}", slots.display()));
        }
        self.gate.open();
        self.worker.restart(&self.anchors)?;
        say("chain  the worker was killed between signing and sending, and started again");
        Ok(())
    }

    /// Takes blocks back, with every transaction in them.
    pub(crate) fn reorganise(&self) -> Result<(), String> {
        self.ask("anvil_reorg", &format!("[{REORG_BLOCKS}, []]"))?;
        say(&format!("chain  a reorganisation took {REORG_BLOCKS} blocks back"));
        Ok(())
    }

    /// Waits until the newest block of the chain holds this much.
    pub(crate) async fn included_at(&self, client: &Client, size: TreeSize) -> Result<(), String> {
        let began = Instant::now();
        loop {
            let status = client.anchors().await.map_err(|error| describe(&error))?;
            let latest = status.chains.first().and_then(|chain| chain.events.latest);
            if let Some(head) = latest.filter(|head| head.size >= size) {
                say(&format!(
                    "chain  {} entries are in block {}, which is not final yet",
                    head.size, head.block.number
                ));
                return Ok(());
            }
            if began.elapsed() > WAIT_MAX {
                return Err(format!("{size} entries come into no block: {status:?}"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the node says that chains hold this much for good.
    pub(crate) async fn final_at(&self, client: &Client, size: TreeSize) -> Result<(), String> {
        let began = Instant::now();
        loop {
            let ladder = client.ladder().await.map_err(|error| describe(&error))?;
            if ladder.anchored >= size {
                say(&format!(
                    "chain  {} entries are anchored for good, after {:.1} s",
                    ladder.anchored,
                    began.elapsed().as_secs_f64()
                ));
                return Ok(());
            }
            if began.elapsed() > WAIT_MAX {
                let status = client.anchors().await.map_err(|error| describe(&error))?;
                return Err(format!("{} of {size} entries are anchored: {status:?}", ladder.anchored));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// One event, from its receipt to the contract; gives the promised line.
    pub(crate) async fn prove(
        &self,
        binary: &Path,
        client: &Client,
        profile: &Profile,
        receipts: &[ProvenReceipt],
        folder: &Path,
    ) -> Result<String, String> {
        let receipt = receipts.get(receipts.len() / 2).ok_or("no receipt")?;
        let index = receipt.placed.index;
        let bundle = client.anchored_bundle(index, &[self.trusted()?]).await.map_err(|error| describe(&error))?;
        let file = folder.join(format!("{index}.anchored.json"));
        std::fs::write(&file, bundle.encode()).map_err(words)?;
        self.verify_by_command(binary, &file, profile)?;
        let anchor = bundle.anchors.first().ok_or("the bundle has no anchor")?;
        let block = anchor.block.ok_or("the anchor names no block")?;
        let (size, gas) = self.ask_contract(&anchor.event.call, index).await?;
        let id = receipt.frame.event_id();
        Ok(format!("on-chain ok: {id} in {size} at block {}, {gas} gas", block.number))
    }

    fn trusted(&self) -> Result<TrustedChain, String> {
        let address = |text: &str| {
            let address = Address::parse(text).ok_or_else(|| format!("{text} is no address"))?;
            Ok::<_, String>(hash::Address::from_bytes(address.0))
        };
        Ok(TrustedChain {
            chain_id: CHAIN_ID,
            contract: address(&self.anchors.contract)?,
            authorities: vec![address(&self.anchors.authority)?],
        })
    }

    /// The binary's own check of the bundle: offline, and against the chain.
    fn verify_by_command(&self, binary: &Path, file: &Path, profile: &Profile) -> Result<(), String> {
        let chain = format!("{CHAIN_ID}:{}:{}", self.anchors.contract, self.anchors.authority);
        let (file, ledger, rpc) = (file.to_string_lossy(), profile.ledger_id.to_hex(), self.chain.rpc());
        let offline = ["verify", &file, "--ledger", &ledger, "--chain", &chain];
        for arguments in [&offline[..], &[&offline[..], &["--rpc", &rpc]].concat()] {
            let output = node::tally(binary, arguments)?;
            if !output.status.success() {
                return Err(format!("tally {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr)));
            }
            let said = String::from_utf8_lossy(&output.stdout);
            let last = said.lines().last().unwrap_or_default();
            say(&format!("chain  {last}"));
        }
        Ok(())
    }

    /// Asks the contract itself; gives the size that it answered about, and the gas of asking in a transaction.
    async fn ask_contract(&self, call: &[u8], index: Index) -> Result<(TreeSize, u64), String> {
        let query = tally_protocol::anchor::InclusionQuery::decode(call).map_err(words)?;
        let contract = Address::parse(&self.anchors.contract).ok_or("no contract")?;
        let provider = Provider { name: "anvil".to_owned(), url: self.chain.rpc() };
        let config = ChainConfig::reading(NAME, CHAIN_ID, contract, vec![provider]);
        let chain = Ethereum::unchecked(&config).map_err(words)?;
        let answer = chain.call(contract, call).await.map_err(words)?;
        if abi::read_bool(&answer) != Some(true) {
            return Err(format!("the contract denies event {index}"));
        }
        // Another leaf in its place: the contract must deny it.
        let forged = tally_protocol::anchor::InclusionQuery { leaf: hash::leaf(b"another event"), ..query.clone() };
        let answer = chain.call(contract, &forged.encode()).await.map_err(words)?;
        if abi::read_bool(&answer) != Some(false) {
            return Err("the contract takes an event that is not in the log".to_owned());
        }
        let gas = chain.estimate_any(Address([0; 20]), Some(contract), call).await.map_err(words)?;
        Ok((query.size, gas))
    }

    /// One JSON-RPC call to the chain.
    fn ask(&self, method: &str, params: &str) -> Result<String, String> {
        let body = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{method}\",\"params\":{params}}}");
        let host = self.chain.rpc().trim_start_matches("http://").to_owned();
        let mut stream = TcpStream::connect(&host).map_err(words)?;
        let head = "Content-Type: application/json\r\nConnection: close";
        write!(stream, "POST / HTTP/1.1\r\nHost: {host}\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            .map_err(words)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(words)?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        if body.contains("\"error\"") { Err(format!("{method}: {body}")) } else { Ok(body.to_owned()) }
    }
}

fn address(url: &str) -> Result<SocketAddr, String> {
    url.trim_start_matches("http://").parse().map_err(|error| format!("{url}: {error}"))
}

/// Lets the worker's file name the gate where it named the chain.
fn lead_through(gate: &Gate, rpc: &str, config: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(config).map_err(words)?;
    let led = text.replace(rpc, &format!("http://{}", gate.address()));
    if led == text {
        return Err(format!("{} does not name {rpc}", config.display()));
    }
    std::fs::write(config, led).map_err(words)
}

/// Whether the newest slot of the worker's journal is signed and nothing more; nothing if there is no slot.
fn newest_state(slots: &Path) -> Option<bool> {
    let files = std::fs::read_dir(slots).ok()?.flatten().map(|entry| entry.path());
    // Slots are named by their nonce; what is being written has another name.
    let number = |path: &PathBuf| path.file_stem()?.to_str()?.parse::<u64>().ok();
    let newest = files.filter_map(|path| Some((number(&path)?, path))).max()?;
    let text = std::fs::read_to_string(newest.1).ok()?;
    Some(text.contains("\"state\":\"signed\""))
}
