//! A chain of its own for each test, and the transactions that are sent to it: legacy ones (EIP-155), encoded here.

use std::process::Command;

use serde_json::{Value, json};
use sha3::{Digest as _, Keccak256};
use tally_anchor::signer::{Address, Signature};

use crate::process::{Running, client, free_port, post, program, until_up};

pub(crate) const CHAIN_ID: u64 = 31_337;

/// Fifty requests are one message.
const BATCH: usize = 50;

pub(crate) struct Anvil {
    _running: Running,
    client: reqwest::Client,
    url: String,
}

impl Anvil {
    pub(crate) async fn start() -> Self {
        let client = client();
        loop {
            let port = free_port();
            let url = format!("http://127.0.0.1:{port}");
            let mut command = Command::new(program("TALLY_ANVIL", "anvil"));
            // Blocks are made when a test asks for one: a transaction that arrives while one is made can be lost.
            let port = port.to_string();
            command.args(["--host", "127.0.0.1", "--chain-id", "31337", "--silent", "--no-mining", "--port", &port]);
            let mut running = Running::start(&mut command);
            let ask = || async { ask(&client, &url, "eth_chainId", json!([])).await.is_some() };
            if until_up(&mut running, ask).await {
                return Self { _running: running, client, url };
            }
        }
    }

    pub(crate) async fn call(&self, method: &str, parameters: Value) -> Value {
        let answer = ask(&self.client, &self.url, method, parameters).await.unwrap();
        answer.get("result").cloned().unwrap_or_else(|| panic!("{method}: {answer}"))
    }

    /// Many calls, in their order.
    async fn calls(&self, method: &str, parameters: &[Value]) -> Vec<Value> {
        let mut results = Vec::new();
        for some in parameters.chunks(BATCH) {
            let some = some.iter().enumerate();
            let batch: Vec<_> = some
                .map(|(id, parameters)| json!({"jsonrpc": "2.0", "id": id, "method": method, "params": parameters}))
                .collect();
            let mut answers = post(&self.client, &self.url, &batch.into()).await.unwrap().as_array().unwrap().clone();
            answers.sort_by_key(|answer| answer["id"].as_u64());
            results.extend(
                answers
                    .iter()
                    .map(|answer| answer.get("result").cloned().unwrap_or_else(|| panic!("{method}: {answer}"))),
            );
        }
        results
    }

    pub(crate) async fn fund(&self, address: Address) {
        self.call("anvil_setBalance", json!([address.to_string(), "0x3635c9adc5dea00000"])).await;
    }

    /// Who signed these digests, by the chain's own precompile (yellow paper, appendix E.1).
    pub(crate) async fn recover(&self, signed: &[([u8; 32], Signature)]) -> Vec<Address> {
        let calls: Vec<_> = signed.iter().map(|(digest, signature)| recover_call(digest, signature)).collect();
        let answers = self.calls("eth_call", &calls).await;
        let address = |word: &Value| Address::parse(&format!("0x{}", &word.as_str().unwrap()[26..])).unwrap();
        answers.iter().map(address).collect()
    }

    /// Sends transactions and gives their senders, once every one is in a block.
    pub(crate) async fn send(&self, raw: &[Vec<u8>]) -> Vec<Address> {
        let calls: Vec<_> = raw.iter().map(|raw| json!([hex(raw)])).collect();
        let hashes: Vec<_> =
            self.calls("eth_sendRawTransaction", &calls).await.iter().map(|hash| json!([hash])).collect();
        let began = std::time::Instant::now();
        let mut receipts = Vec::new();
        while receipts.is_empty() || receipts.iter().any(Value::is_null) {
            // As every sender must: what is in no block is sent again, for a node may forget it.
            for (call, _) in calls.iter().zip(&receipts).filter(|(_, receipt)| receipt.is_null()) {
                let again = ask(&self.client, &self.url, "eth_sendRawTransaction", call.clone()).await;
                assert!(again.is_some(), "the node has gone");
            }
            if began.elapsed() > std::time::Duration::from_secs(120) {
                panic!("transactions came into no block: {}", self.call("txpool_status", json!([])).await);
            }
            self.call("evm_mine", json!([])).await;
            receipts = self.calls("eth_getTransactionReceipt", &hashes).await;
        }
        let sender = |receipt: &Value| {
            assert_eq!(receipt["status"], "0x1", "{receipt}");
            Address::parse(receipt["from"].as_str().unwrap()).unwrap()
        };
        receipts.iter().map(sender).collect()
    }
}

fn recover_call(digest: &[u8; 32], signature: &Signature) -> Value {
    let mut v = [0; 32];
    v[31] = 27 + u8::from(signature.odd_y);
    let data = hex(&[digest, &v, &signature.r, &signature.s].map(|word| &word[..]).concat());
    json!([{"to": "0x0000000000000000000000000000000000000001", "data": data}, "latest"])
}

async fn ask(client: &reqwest::Client, url: &str, method: &str, parameters: Value) -> Option<Value> {
    post(client, url, &json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters})).await
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("0x{digits}")
}

/// A transfer of nothing to nobody.
pub(crate) struct Transfer {
    pub(crate) nonce: u64,
}

impl Transfer {
    fn fields(&self) -> Vec<Vec<u8>> {
        let numbers = [self.nonce, 10_000_000_000, 21_000].map(|number| rlp_number(&number.to_be_bytes()));
        let mut fields = numbers.to_vec();
        fields.extend([rlp_bytes(&[0xee; 20]), rlp_number(&[]), rlp_bytes(&[])]);
        fields
    }

    /// What is signed (EIP-155).
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut fields = self.fields();
        fields.extend([rlp_number(&CHAIN_ID.to_be_bytes()), rlp_number(&[]), rlp_number(&[])]);
        Keccak256::digest(rlp_list(&fields)).into()
    }

    pub(crate) fn signed(&self, signature: &Signature) -> Vec<u8> {
        let mut fields = self.fields();
        let v = CHAIN_ID * 2 + 35 + u64::from(signature.odd_y);
        fields.extend([rlp_number(&v.to_be_bytes()), rlp_number(&signature.r), rlp_number(&signature.s)]);
        rlp_list(&fields)
    }
}

/// A number has no leading zeros.
fn rlp_number(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    rlp_bytes(&bytes[zeros..])
}

fn rlp_bytes(bytes: &[u8]) -> Vec<u8> {
    match bytes {
        [byte] if *byte < 0x80 => vec![*byte],
        _ => [&rlp_head(0x80, bytes.len())[..], bytes].concat(),
    }
}

fn rlp_list(fields: &[Vec<u8>]) -> Vec<u8> {
    let body = fields.concat();
    [rlp_head(0xc0, body.len()), body].concat()
}

fn rlp_head(base: u8, length: usize) -> Vec<u8> {
    let length = u8::try_from(length).unwrap();
    if length < 56 { vec![base + length] } else { vec![base + 56, length] }
}
