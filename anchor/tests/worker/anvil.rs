//! A real anvil on a free port, and the few calls with which a test moves its chain.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tally_anchor::signer::Address;

pub(crate) struct Anvil {
    child: Child,
    pub(crate) url: String,
    pub(crate) chain_id: u64,
    client: reqwest::Client,
}

/// The binary named by the variable, or on PATH; without it nothing here can be shown, so that is a failure.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("TALLY_ANVIL") {
        return path.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("anvil")).find(|file| file.is_file());
    found.expect("anvil is missing: set TALLY_ANVIL or put it on PATH (`cargo xtask test` installs it)")
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Anvil {
    pub(crate) async fn start(chain_id: u64, more: &[&str]) -> Self {
        Self::start_at(free_port(), chain_id, more).await
    }

    pub(crate) async fn start_at(port: u16, chain_id: u64, more: &[&str]) -> Self {
        let child = Command::new(binary())
            .args(["--host", "127.0.0.1", "--port", &port.to_string(), "--chain-id", &chain_id.to_string()])
            .args(["--slots-in-an-epoch", "2", "--silent"])
            .args(more)
            .stdout(Stdio::null())
            .spawn()
            .expect("anvil starts");
        let client = reqwest_client();
        let anvil = Self { child, url: format!("http://127.0.0.1:{port}"), chain_id, client };
        for _ in 0..600 {
            if anvil.try_call("eth_chainId", json!([])).await.is_ok() {
                return anvil;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("anvil does not answer");
    }

    pub(crate) async fn try_call(&self, method: &str, params: Value) -> Result<Value, String> {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = self.client.post(&self.url).json(&request).send().await.map_err(|error| error.to_string())?;
        let answer: Value = answer.json().await.map_err(|error| error.to_string())?;
        match answer.get("error") {
            Some(error) => Err(error.to_string()),
            None => Ok(answer["result"].clone()),
        }
    }

    pub(crate) async fn call(&self, method: &str, params: Value) -> Value {
        self.try_call(method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    pub(crate) async fn mine(&self, blocks: u64) {
        self.call("anvil_mine", json!([format!("0x{blocks:x}")])).await;
    }

    /// Replaces the newest blocks with empty ones, or with transactions at a place.
    pub(crate) async fn reorg(&self, depth: u64, transactions: Value) {
        self.call("anvil_reorg", json!([depth, transactions])).await;
    }

    pub(crate) async fn automine(&self, on: bool) {
        self.call("evm_setAutomine", json!([on])).await;
    }

    pub(crate) async fn set_balance(&self, account: Address, wei: u128) {
        self.call("anvil_setBalance", json!([account.to_string(), format!("0x{wei:x}")])).await;
    }

    pub(crate) async fn number(&self) -> u64 {
        number(&self.call("eth_blockNumber", json!([])).await)
    }

    pub(crate) async fn nonce(&self, account: Address) -> u64 {
        number(&self.call("eth_getTransactionCount", json!([account.to_string(), "latest"])).await)
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn number(value: &Value) -> u64 {
    u64::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

/// A client for http alone; rustls wants its provider named even so.
pub(crate) fn reqwest_client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().timeout(Duration::from_secs(20)).build().unwrap()
}
