//! A chain on the loopback, for development: a real EVM node (anvil) with the contract deployed for one ledger.
//!
//! Takes a folder, which it empties; starts the node there on a free port, writes keys of its funded accounts and an
//! `anchor.toml`, and deploys with the same command as an operator. The chain lives as long as this does and ends with it,
//! so whoever starts again begins with an empty chain. Fails if anvil is not installed, and says how it is.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tally_anchor::files::from_hex;
use tally_anchor::signer::file;
use tally_protocol::hash::LedgerId;
use zeroize::Zeroizing;

use crate::config::AnchorSection;
use crate::exit::Failure;

/// The chain's EIP-155 number.
pub const CHAIN_ID: u64 = 84_532_001;
/// Its name in `anchor.toml`.
pub const NAME: &str = "dev";
/// The accounts, in the order in which the node makes them.
const KEYS: [&str; 4] = ["admin", "gas", "authority", "guardian"];
/// How long the node may take to start.
const START_MAX: Duration = Duration::from_secs(30);

/// The running chain.
pub struct DevChain {
    child: Child,
    folder: PathBuf,
    address: SocketAddr,
}

impl Drop for DevChain {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is deployed on it.
#[derive(Debug, Clone)]
pub struct DevAnchors {
    /// The worker's configuration.
    pub config: PathBuf,
    /// What a node watches.
    pub watch: AnchorSection,
    /// The same as a file, for `tally dev --watch-chains`.
    pub watch_file: PathBuf,
    /// Who speaks for the logs, `0x..`.
    pub authority: String,
    /// The contract, `0x..`.
    pub contract: String,
}

/// The program: `TALLY_ANVIL`, or `anvil` on the path.
fn anvil() -> Result<PathBuf, Failure> {
    if let Some(given) = std::env::var_os("TALLY_ANVIL") {
        return Ok(given.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("anvil")).find(|file| file.is_file());
    found.ok_or_else(|| {
        Failure::usage("anvil, the EVM node of a development chain, is not installed")
            .hint("npm install -g @foundry-rs/anvil, or set TALLY_ANVIL to its binary")
    })
}

fn failed(what: &str) -> impl Fn(std::io::Error) -> Failure + '_ {
    move |error| Failure::failed(format!("failed to {what}: {error}"))
}

impl DevChain {
    /// Starts the chain in a folder, with a block every second; two blocks make an epoch, so that finality is seconds away.
    ///
    /// # Errors
    /// anvil is missing or does not start.
    pub fn start(folder: &Path) -> Result<Self, Failure> {
        let program = anvil()?;
        if folder.exists() {
            std::fs::remove_dir_all(folder).map_err(|error| Failure::file("empty", folder, &error))?;
        }
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| Failure::file("create", folder, &error))?;
        let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|socket| socket.local_addr());
        let address = free.map_err(failed("find a free port"))?;
        let accounts = folder.join("accounts.json");
        let mut command = Command::new(&program);
        command.args(["--host", "127.0.0.1", "--port", &address.port().to_string(), "--silent"]);
        command.args(["--chain-id", &CHAIN_ID.to_string(), "--block-time", "1", "--slots-in-an-epoch", "2"]);
        command.arg("--config-out").arg(&accounts);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(failed(&format!("start {}", program.display())))?;
        let mut chain = Self { child, folder: folder.to_owned(), address };
        chain.wait(&accounts)?;
        chain.write_keys(&accounts)?;
        Ok(chain)
    }

    /// Where it answers.
    #[must_use]
    pub fn rpc(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Until it has written its accounts, all of them, and answers.
    fn wait(&mut self, accounts: &Path) -> Result<(), Failure> {
        let began = Instant::now();
        let written = || std::fs::read(accounts).is_ok_and(|text| serde_json::from_slice::<Value>(&text).is_ok());
        while !written() || TcpStream::connect(self.address).is_err() {
            if let Some(status) = self.child.try_wait().map_err(failed("look after anvil"))? {
                return Err(Failure::failed(format!("anvil ended with {status}")));
            }
            if began.elapsed() > START_MAX {
                return Err(Failure::failed("anvil does not answer"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The funded accounts as key files.
    fn write_keys(&self, accounts: &Path) -> Result<(), Failure> {
        let text = std::fs::read(accounts).map_err(|error| Failure::file("read", accounts, &error))?;
        let value: Value = serde_json::from_slice(&text).unwrap_or(Value::Null);
        let strange = || Failure::failed(format!("{} does not hold anvil's accounts", accounts.display()));
        for (at, name) in KEYS.iter().enumerate() {
            let secret = value["private_keys"][at].as_str().and_then(from_hex).map(Zeroizing::new);
            let secret: Zeroizing<[u8; 32]> =
                Zeroizing::new(secret.and_then(|secret| secret.as_slice().try_into().ok()).ok_or_else(strange)?);
            let file = self.folder.join(format!("{name}.key"));
            file::create(&file, &secret).map_err(|error| Failure::failed(error.to_string()))?;
        }
        std::fs::remove_file(accounts).map_err(|error| Failure::file("delete", accounts, &error))
    }

    /// Deploys the contract for a ledger, with the operator's own command.
    ///
    /// # Errors
    /// What the command says.
    pub fn deploy(&self, binary: &Path, node: &str, ledger: LedgerId) -> Result<DevAnchors, Failure> {
        let config = self.folder.join("anchor.toml");
        let write = |contract: &str, code_hash: &str| {
            let text = self.worker_config(node, ledger, contract, code_hash);
            std::fs::write(&config, text).map_err(|error| Failure::file("write", &config, &error))
        };
        write(&format!("0x{}", "00".repeat(20)), &format!("0x{}", "00".repeat(32)))?;
        let output = Command::new(binary)
            .args(["anchor", "deploy", "--json", "--chain", NAME, "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .output()
            .map_err(failed("run tally anchor deploy"))?;
        if !output.status.success() {
            return Err(Failure::failed(String::from_utf8_lossy(&output.stderr).trim_end().to_owned()));
        }
        let told: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
        write(&text("contract"), &text("code_hash"))?;
        let watch = self.watch_config(&text("contract"), &text("code_hash"), told["from_block"].as_u64().unwrap_or(0));
        let watch_file = self.folder.join("watch.toml");
        std::fs::write(&watch_file, &watch).map_err(|error| Failure::file("write", &watch_file, &error))?;
        let watch = toml::from_str(&watch).map_err(|error| Failure::failed(format!("a section of ours: {error}")))?;
        Ok(DevAnchors { config, watch, watch_file, authority: text("authority"), contract: text("contract") })
    }

    fn provider(&self) -> String {
        format!("{{ name = \"anvil\", url = \"{}\" }}", self.rpc())
    }

    fn worker_config(&self, node: &str, ledger: LedgerId, contract: &str, code_hash: &str) -> String {
        let key = |name: &str| format!("{{ kind = \"file\", development = true, path = \"{name}.key\" }}");
        format!(
            "journal = \"journal\"\n\n[node]\nurl = \"{node}\"\nledger = \"{ledger}\"\n\n\
             [keys]\ngas = {}\nauthority = {}\nadmin = {}\nguardian = {}\n\n\
             [[chain]]\nname = \"{NAME}\"\nchain_id = {CHAIN_ID}\ncontract = \"{contract}\"\ncode_hash = \"{code_hash}\"\n\
             providers = [{}]\nproviders_agree_min = 1\ntrust_one_provider = true\nepoch = 1\n\
             request_timeout_ms = 5000\nprovider_lag_max_ms = 60000\n\
             interval_ms = 2000\nsize_trigger = 5000\npoll_ms = 250\nreconcile_ms = 5000\n\
             replace_after_ms = 20000\nrebroadcast_after_ms = 2000\nunfinal_slots_max = 16\n\n\
             [chain.fees]\ncap_max_wei = 1000000000000\ntip_min_wei = 1000000\ntarget_ms = 5000\n\
             budget_gwei_per_day = 1000000000\nbalance_floor_gwei = 1000000\ngas_max = 1000000\nop_data_fee = false\n",
            key("gas"),
            key("authority"),
            key("admin"),
            key("guardian"),
            self.provider(),
        )
    }

    fn watch_config(&self, contract: &str, code_hash: &str, from_block: u64) -> String {
        format!(
            "chains_needed = 1\nlevel = \"finalized\"\n\n[[chain]]\nname = \"{NAME}\"\nchain_id = {CHAIN_ID}\n\
             contract = \"{contract}\"\ncode_hash = \"{code_hash}\"\nfrom_block = {from_block}\npoll_ms = 250\n\
             request_timeout_ms = 5000\nprovider_lag_max_ms = 60000\nproviders = [{}]\n\
             providers_agree_min = 1\ntrust_one_provider = true\n",
            self.provider(),
        )
    }
}

impl DevAnchors {
    /// The worker: `tally anchor run`, ready to be started.
    #[must_use]
    pub fn worker(&self, binary: &Path) -> Command {
        let mut command = Command::new(binary);
        command.args(["anchor", "run", "--json", "--config"]).arg(&self.config).stdin(Stdio::null());
        command
    }
}
