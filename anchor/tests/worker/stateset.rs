//! The reference's contract is fed by the adapter: its stand-in takes the call and knows the batch afterwards.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tally_anchor::stateset::{anchor_call, is_anchored_call};
use tally_protocol::batch::Commitment;
use tally_protocol::hash::{LedgerId, StateRoot, VesNode, hex};
use tally_protocol::id::{Sequence, Stream};
use tally_protocol::time::LogTime;

use crate::anvil::Anvil;
use crate::world::PATIENCE;

const STAND_IN: &str = include_str!("../../contract/artifacts/StateSetStandIn.json");

/// Anvil answers a sent transaction before its block is there.
async fn receipt(anvil: &Anvil, tx: &Value) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        let receipt = anvil.call("eth_getTransactionReceipt", json!([tx])).await;
        if !receipt.is_null() {
            return receipt;
        }
        assert!(Instant::now() < until, "no receipt");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ves_commitment_is_anchored_in_the_references_contract_once() {
    let anvil = Anvil::start(1_337, &[]).await;
    let from = anvil.call("eth_accounts", json!([])).await[0].clone();
    let artifact: Value = serde_json::from_str(STAND_IN).unwrap();
    // The constructor's argument: only the owner may write.
    let creation = format!("{}{:064x}", artifact["bytecode"].as_str().unwrap(), 0);
    let tx = anvil.call("eth_sendTransaction", json!([{ "from": from, "data": creation }])).await;
    let contract = receipt(&anvil, &tx).await["contractAddress"].clone();
    let stream = Stream::from_bytes(&[3; 32]);
    let (ledger, root) = (LedgerId::from_bytes([1; 32]), VesNode::from_bytes([9; 32]));
    let commitment =
        Commitment::new(&ledger, stream, Sequence::new(5), 3, root, StateRoot::ZERO, LogTime::default()).unwrap();
    let call = |data: Vec<u8>| json!([{ "from": from, "to": contract, "data": format!("0x{}", hex(&data)) }]);
    let is_anchored = async || {
        let answer = anvil.call("eth_call", call(is_anchored_call(&commitment))).await;
        answer.as_str().unwrap().ends_with('1')
    };
    assert!(!is_anchored().await);
    let tx = anvil.call("eth_sendTransaction", call(anchor_call(&commitment))).await;
    assert_eq!(receipt(&anvil, &tx).await["status"], "0x1");
    assert!(is_anchored().await);
    assert!(anvil.try_call("eth_estimateGas", call(anchor_call(&commitment))).await.is_err(), "not a second time");
}
