//! `TallyAnchor` on a chain: its calls in bytes, its deployment, its answers.

use std::process::Stdio;

use serde_json::Value;
use tally_merkle::{ConsistencyProof, InclusionProof};
use tally_protocol::hash::{LeafHash, NodeHash, RootHash};

use super::{Chain, hex, tool, unhex};

/// The compiled contract as committed.
const RECORD: &str = include_str!("../../contract/artifacts/TallyAnchor.json");

/// The authority's key in tests.
const AUTHORITY_KEY: &str = "0x0000000000000000000000000000000000000000000000000000000000000a17";

/// The longest delay a test waits for.
const DELAY_SECONDS: u64 = 86_400;

/// One word of the ABI.
pub(crate) type Word = [u8; 32];

/// A number as a word.
pub(crate) fn word(number: u64) -> Word {
    let mut out = [0; 32];
    out[24..].copy_from_slice(&number.to_be_bytes());
    out
}

/// An address as a word.
pub(crate) fn address_word(address: &str) -> Word {
    let mut out = [0; 32];
    out[12..].copy_from_slice(&unhex(address));
    out
}

/// What one anchor says, before it is signed.
pub(crate) struct Anchor {
    pub(crate) log: Word,
    pub(crate) size: u64,
    pub(crate) root: RootHash,
    pub(crate) proof: Vec<NodeHash>,
    pub(crate) epoch: u32,
}

/// The contract with one account that is ADMIN and anchorer of every log it opens.
pub(crate) struct Contract<'c> {
    pub(crate) chain: &'c Chain,
    pub(crate) address: String,
    pub(crate) account: String,
    pub(crate) deploy_gas: u64,
    record: Value,
}

impl<'c> Contract<'c> {
    /// Deploys the committed bytes.
    pub(crate) fn deploy(chain: &'c Chain) -> Contract<'c> {
        let record: Value = serde_json::from_str(RECORD).unwrap();
        let account = chain.accounts[0].clone();
        let mut data = unhex(record["bytecode"].as_str().unwrap());
        let arguments = [address_word(&account), word(0), word(DELAY_SECONDS), word(1), word(0), word(192), word(0)];
        data.extend(arguments.concat());
        let receipt = chain.transact(&account, None, &data);
        let address = receipt["contractAddress"].as_str().unwrap().to_owned();
        Contract { chain, address, account, deploy_gas: super::number(&receipt["gasUsed"]), record }
    }

    /// The selector of the one function of this name, then the arguments.
    pub(crate) fn call_data(&self, name: &str, arguments: &[Word]) -> Vec<u8> {
        let methods = self.record["methods"].as_object().unwrap();
        let named = methods.iter().find(|(signature, _)| signature.split('(').next() == Some(name));
        let (_, selector) = named.unwrap_or_else(|| panic!("no function {name}"));
        [unhex(selector.as_str().unwrap()), arguments.concat()].concat()
    }

    /// Sends a call from the contract's account.
    pub(crate) fn send(&self, data: &[u8]) -> Value {
        self.chain.transact(&self.account, Some(&self.address), data)
    }

    /// The same with a call that reverts.
    pub(crate) fn send_failing(&self, data: &[u8]) -> Value {
        let receipt = self.chain.include(&self.account, Some(&self.address), data);
        assert_eq!(receipt["status"], "0x0", "a revert: {receipt}");
        receipt
    }

    /// Asks, from the contract's account.
    pub(crate) fn view(&self, data: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
        self.chain.view(&self.account, &self.address, data)
    }

    /// Opens a log under the test's authority.
    pub(crate) fn open(&self, log: Word) {
        let authority = address_word(&cast(&["wallet", "address", "--private-key", AUTHORITY_KEY]));
        self.send(&self.call_data("openLog", &[log, authority, address_word(&self.account)]));
    }

    /// The words of a signed `Anchor`.
    fn encode(&self, anchor: &Anchor) -> Vec<Word> {
        let (root, note) = (*anchor.root.as_bytes(), [0x6e; 32]);
        let said = [anchor.log, word(anchor.size), root, note, word(u64::from(anchor.epoch))];
        let digest = self.view(&self.call_data("anchorDigest", &said)).unwrap();
        let signature = unhex(&cast(&["wallet", "sign", "--no-hash", "--private-key", AUTHORITY_KEY, &hex(&digest)]));
        let (r, mut vs): (Word, Word) = (signature[..32].try_into().unwrap(), signature[32..64].try_into().unwrap());
        if signature[64] == 28 {
            vs[0] |= 0x80;
        }
        [said.to_vec(), vec![word(256), r, vs], path(&anchor.proof)].concat()
    }

    /// A call of `anchor`.
    pub(crate) fn anchor_data(&self, anchor: &Anchor) -> Vec<u8> {
        self.call_data("anchor", &[vec![word(32)], self.encode(anchor)].concat())
    }

    /// A call of `anchorMany`.
    pub(crate) fn anchor_many_data(&self, anchors: &[Anchor]) -> Vec<u8> {
        let encoded: Vec<Vec<Word>> = anchors.iter().map(|anchor| self.encode(anchor)).collect();
        let mut words = vec![word(32), word(anchors.len() as u64)];
        let mut at = anchors.len() as u64 * 32;
        for one in &encoded {
            words.push(word(at));
            at += one.len() as u64 * 32;
        }
        words.extend(encoded.concat());
        self.call_data("anchorMany", &words)
    }

    /// A call of `verifyInclusion` under an anchor.
    pub(crate) fn inclusion_data(
        &self,
        log: Word,
        seq: u64,
        root: &RootHash,
        leaf: &LeafHash,
        proof: &InclusionProof,
    ) -> Vec<u8> {
        let (size, index) = (word(proof.size.get()), word(proof.index.get()));
        let head = vec![log, word(seq), size, *root.as_bytes(), *leaf.as_bytes(), index, word(224)];
        self.call_data("verifyInclusion", &[head, path(&proof.path)].concat())
    }

    /// A call of `verifyConsistency`.
    pub(crate) fn consistency_data(&self, proof: &ConsistencyProof, old: &RootHash, new: &RootHash) -> Vec<u8> {
        let sizes = (word(proof.old.get()), word(proof.new.get()));
        let head = vec![sizes.0, *old.as_bytes(), sizes.1, *new.as_bytes(), word(160)];
        self.call_data("verifyConsistency", &[head, path(&proof.path)].concat())
    }

    /// The answer of a view that says yes or no.
    pub(crate) fn judges(&self, data: &[u8]) -> bool {
        let answer = self.view(data).unwrap_or_else(|revert| panic!("a verdict, not a revert: {}", hex(&revert)));
        assert!(answer == word(0) || answer == word(1), "a boolean");
        answer == word(1)
    }
}

fn path(hashes: &[NodeHash]) -> Vec<Word> {
    std::iter::once(word(hashes.len() as u64)).chain(hashes.iter().map(|hash| *hash.as_bytes())).collect()
}

fn cast(arguments: &[&str]) -> String {
    let mut cast = tool("TALLY_CAST", "cast");
    let output = cast.args(arguments).stdin(Stdio::null()).output();
    let output = output.expect("cast is missing: set TALLY_CAST (`cargo xtask test` does)");
    assert!(output.status.success(), "cast: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
