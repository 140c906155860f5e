//! A real anvil, the compiled contract on it, and trees of any size: what the tests of the contract stand on.
//!
//! Takes `TALLY_ANVIL` and `TALLY_CAST` (else the search path); a tool that is missing fails the test with its name.
//! JSON-RPC over a plain socket and an ABI encoder of a dozen lines, so that the contract is not judged through the library that
//! the worker uses. Leaves signing to `cast` and sending to anvil's own unlocked accounts.

#![allow(dead_code, reason = "each test binary uses a part")]

pub(crate) mod contract;
pub(crate) mod tree;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

/// A tool by its variable, else by its name on the search path.
pub(crate) fn tool(variable: &str, name: &str) -> Command {
    let path = std::env::var_os(variable).unwrap_or_else(|| name.into());
    Command::new(path)
}

/// An anvil of its own, ended with the value.
pub(crate) struct Chain {
    child: Child,
    port: u16,
    /// The first unlocked accounts, `0x` hexadecimal.
    pub(crate) accounts: Vec<String>,
}

impl Drop for Chain {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Chain {
    /// Starts anvil with the rules of a hard fork, at a fixed time, on a free port.
    pub(crate) fn start(hardfork: &str) -> Chain {
        let mut anvil = tool("TALLY_ANVIL", "anvil");
        anvil.args(["--host", "127.0.0.1", "--port", "0", "--hardfork", hardfork, "--timestamp", "1750000000"]);
        anvil.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = anvil.spawn().expect("anvil is missing: set TALLY_ANVIL (`cargo xtask test` does)");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let listening = lines.find_map(|line| {
            let line = line.expect("anvil's output can be read");
            line.strip_prefix("Listening on 127.0.0.1:").map(|port| port.trim().parse::<u16>().unwrap())
        });
        // Anvil must not stop at a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let port = listening.expect("anvil ended before it listened");
        let mut chain = Chain { child, port, accounts: Vec::new() };
        let accounts = chain.ask("eth_accounts", &json!([]));
        chain.accounts = accounts.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect();
        chain
    }

    /// Where it answers.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// One JSON-RPC call: its result, or its error object.
    pub(crate) fn try_ask(&self, method: &str, params: &Value) -> Result<Value, Value> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("anvil listens");
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        let mut value: Value = serde_json::from_str(body).expect("a JSON answer");
        match value.get_mut("result") {
            Some(result) => Ok(result.take()),
            None => Err(value["error"].take()),
        }
    }

    /// The same where an error would be the test's own fault.
    pub(crate) fn ask(&self, method: &str, params: &Value) -> Value {
        self.try_ask(method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Sends a transaction from an unlocked account and gives its receipt; panics when it reverts.
    pub(crate) fn transact(&self, from: &str, to: Option<&str>, data: &[u8]) -> Value {
        let receipt = self.include(from, to, data);
        assert_eq!(receipt["status"], "0x1", "reverted: {receipt}");
        receipt
    }

    /// Sends a transaction from an unlocked account and gives its receipt, whether it succeeded or reverted.
    pub(crate) fn include(&self, from: &str, to: Option<&str>, data: &[u8]) -> Value {
        let mut fields = json!({"from": from, "data": hex(data), "gas": "0xf42400"});
        if let Some(to) = to {
            fields["to"] = json!(to);
        }
        let hash = self.ask("eth_sendTransaction", &json!([fields]));
        // Anvil answers before it has mined; it mines at once.
        loop {
            let receipt = self.ask("eth_getTransactionReceipt", &json!([hash]));
            if !receipt.is_null() {
                break receipt;
            }
            std::thread::yield_now();
        }
    }

    /// Calls without sending: the returned bytes, or the data of the revert.
    pub(crate) fn view(&self, from: &str, to: &str, data: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
        let call = json!([{"from": from, "to": to, "data": hex(data), "gas": "0xf42400"}, "latest"]);
        match self.try_ask("eth_call", &call) {
            Ok(value) => Ok(unhex(value.as_str().unwrap())),
            Err(error) => Err(unhex(error["data"].as_str().unwrap_or_else(|| panic!("no revert: {error}")))),
        }
    }
}

/// A JSON number in hexadecimal.
pub(crate) fn number(value: &Value) -> u64 {
    u64::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

/// `0x` and two digits a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// Bytes of hexadecimal with or without `0x`.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits = text.trim().trim_start_matches("0x");
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}
