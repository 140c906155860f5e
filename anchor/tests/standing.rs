//! What a chain says of an anchor of long ago, on a real chain: remembered, forgotten by age, disowned, and never made.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod chain;

use chain::contract::{Anchor, Contract, Word, word};
use chain::tree::Tree;
use chain::{Chain, unhex};
use serde_json::{Value, json};
use tally_anchor::chain::Hash32;
use tally_anchor::config::{ChainConfig, Provider};
use tally_anchor::ethereum::Ethereum;
use tally_anchor::ethereum::standing::{Claimed, RING, Standing};
use tally_anchor::signer::Address;
use tally_protocol::hash::LogId;
use tally_protocol::id::TreeSize;

const LOG: Word = [0x11; 32];

struct Log<'c> {
    contract: Contract<'c>,
    tree: Tree,
    /// The transaction of each anchor; anchor `n` is at `n - 1` and of size `n`.
    made: Vec<Hash32>,
}

impl<'c> Log<'c> {
    fn open(chain: &'c Chain) -> Self {
        let contract = Contract::deploy(chain);
        contract.open(LOG);
        Self { contract, tree: Tree::new(1, (0..=RING + 4).collect()), made: Vec::new() }
    }

    fn grow_to(&mut self, size: u64) {
        for new in self.made.len() as u64 + 1..=size {
            let (root, proof) = (self.tree.root(new), self.tree.consistency(new - 1, new).path);
            let anchor = Anchor { log: LOG, size: new, root, proof, epoch: 0 };
            self.made.push(transaction(&self.contract.send(&self.contract.anchor_data(&anchor))));
        }
    }

    /// Anchor `seq` as it was, asked about its first leaf.
    fn standing(&self, seq: u64) -> Standing {
        self.asked(seq, self.made[seq as usize - 1], 0)
    }

    fn asked(&self, seq: u64, tx: Hash32, leaf: u64) -> Standing {
        let root = self.tree.root(seq);
        let proof = self.tree.inclusion(0, seq);
        let question = self.contract.inclusion_data(LOG, seq, &root, &self.tree.leaf(leaf), &proof);
        let (log_id, size) = (LogId::from_bytes(LOG), TreeSize::new(seq));
        let claimed = Claimed { tx, log_id, seq, size, root, question: &question };
        let provider = Provider { name: "anvil".to_owned(), url: self.contract.chain.url() };
        let contract = Address(unhex(&self.contract.address).try_into().unwrap());
        let chain = Ethereum::new(&ChainConfig::reading("dev", 31_337, contract, vec![provider])).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(chain.standing(&claimed)).unwrap().0
    }
}

fn transaction(receipt: &Value) -> Hash32 {
    Hash32(unhex(receipt["transactionHash"].as_str().unwrap()).try_into().unwrap())
}

#[test]
fn an_anchor_that_the_contract_forgot_by_age_is_borne_out_by_its_transaction() {
    let chain = Chain::start("prague");
    let mut log = Log::open(&chain);
    log.grow_to(RING + 1);
    assert_eq!(log.standing(2), Standing::Borne, "the oldest of the ring");
    log.grow_to(RING + 2);
    assert_eq!(log.standing(2), Standing::Forgotten { newest: RING + 2 });
    assert_eq!(log.standing(1), Standing::Borne, "the first of its day is kept for ever");
    assert_eq!(log.standing(RING + 2), Standing::Borne);
    // Old or not, another leaf, another transaction and one that was never sent bear nothing out.
    assert_eq!(log.asked(3, log.made[2], 1), Standing::Denied, "another leaf");
    assert_eq!(log.asked(2, log.made[2], 0), Standing::Other, "the transaction of the next anchor");
    assert_eq!(log.asked(2, Hash32([7; 32]), 0), Standing::Missing);
}

#[test]
fn an_anchor_after_the_end_of_a_superseded_log_is_disowned() {
    let chain = Chain::start("prague");
    let mut log = Log::open(&chain);
    log.grow_to(4);
    let contract = &log.contract;
    let end = [LOG, word(2), word(2), *log.tree.root(2).as_bytes()];
    contract.send(&contract.call_data("proposeSupersession", &end));
    chain.ask("evm_increaseTime", &json!([86_401]));
    chain.ask("evm_mine", &json!([]));
    assert_eq!(log.standing(4), Standing::Borne, "until it is done");
    contract.send(&contract.call_data("supersede", &[LOG]));
    assert_eq!(log.standing(3), Standing::Disowned { end: 2 });
    assert_eq!(log.standing(4), Standing::Disowned { end: 2 });
    assert_eq!(log.standing(2), Standing::Borne);
}

#[test]
fn a_transaction_that_failed_bears_nothing_out() {
    let chain = Chain::start("prague");
    let mut log = Log::open(&chain);
    log.grow_to(2);
    let again = Anchor { log: LOG, size: 2, root: log.tree.root(2), proof: Vec::new(), epoch: 0 };
    let failed = log.contract.send_failing(&log.contract.anchor_data(&again));
    assert_eq!(log.asked(2, transaction(&failed), 0), Standing::Reverted);
}
