//! Anchors: how far each chain holds the logs (`GET /v1/anchors`), and the proof from one event to the chains
//! (`GET /v1/events/{index}/anchor`).
//!
//! The first is the server's word about what it reads from its providers. The second is checked like a bundle's member
//! `anchors`, which has the same JSON (`docs/formats/bundle.md`): all but whether the chain has the transaction, which
//! the chain itself answers. Things of a chain are `0x` and lower-case hex; wei do not occur here.

use serde::{Deserialize, Serialize};
use tally_protocol::hash::{Address, BlockHash, LeafHash, LogId, NodeHash, RootHash, TransactionHash};
use tally_protocol::id::{Index, TreeSize};
use tally_protocol::time::LogTime;

use crate::text;

/// How final a chain's word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnchorLevel {
    /// In the newest block: the chain's sequencer said so, and may still say otherwise.
    Latest,
    /// Derived from data that the underlying chain has.
    Safe,
    /// The underlying chain has finalized it.
    Finalized,
}

/// How far the chains hold the logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnchorStatus {
    /// When an event counts as anchored.
    pub policy: AnchorPolicy,
    /// How many entries of the log of events are anchored by this policy.
    #[serde(with = "text::number")]
    pub anchored: TreeSize,
    /// The chains, in the order of the configuration; none if the node watches none.
    pub chains: Vec<ChainAnchors>,
}

/// When an event counts as anchored: on `k` of `n` chains, at this level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnchorPolicy {
    /// How many chains must hold it.
    pub k: u32,
    /// Of how many.
    pub n: u32,
    /// How final each of them must be.
    pub level: AnchorLevel,
}

/// One chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainAnchors {
    /// The chain (EIP-155).
    pub chain_id: u64,
    /// The operator's name for it.
    pub name: String,
    /// The contract.
    #[serde(with = "text::hex_0x")]
    pub contract: Address,
    /// The log of events.
    pub events: LogHeads,
    /// The log of outcomes; absent where there are no plugins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcomes: Option<LogHeads>,
    /// How many signed entries of the log of events the chain's latest head does not hold.
    pub lag_events: u64,
    /// For how many seconds the oldest of them waits; 0 if there are none.
    pub lag_seconds: u64,
    /// Why nothing is anchored there until an operator acts; absent while all is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halted: Option<String>,
}

/// A log's head in one contract, at each level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogHeads {
    /// The log's identity on chain.
    #[serde(with = "text::hex")]
    pub log_id: LogId,
    /// At the newest block; absent before the log's first anchor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<AnchorHead>,
    /// At the safe block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safe: Option<AnchorHead>,
    /// At the finalized block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finalized: Option<AnchorHead>,
}

/// A head, and where it was moved there. Below `finalized`, block and time may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnchorHead {
    /// Which of the log's anchors, from 1.
    pub seq: u64,
    /// The anchored size.
    #[serde(with = "text::number")]
    pub size: TreeSize,
    /// The anchored root.
    #[serde(with = "text::hex")]
    pub root: RootHash,
    /// The epoch of whoever anchored.
    pub epoch: u32,
    /// The transaction that moved it.
    #[serde(with = "text::hex_0x")]
    pub transaction: TransactionHash,
    /// Its block.
    pub block: Block,
}

/// A block of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Its number.
    pub number: u64,
    /// Its hash.
    #[serde(with = "text::hex_0x")]
    pub hash: BlockHash,
    /// Its time, in whole seconds.
    #[serde(with = "text::time")]
    pub time: LogTime,
}

/// The proofs from one event to the chains that hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventAnchors {
    /// Position of the event.
    #[serde(with = "text::number")]
    pub index: Index,
    /// Its leaf hash.
    #[serde(with = "text::hex")]
    pub leaf_hash: LeafHash,
    /// One a chain; none if no chain holds the event yet.
    pub anchors: Vec<AnchorProof>,
}

/// A bundle's member of `anchors`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnchorProof {
    /// The chain (EIP-155).
    pub chain_id: u64,
    /// The contract.
    #[serde(with = "text::hex_0x")]
    pub contract: Address,
    /// Who signed for the log.
    #[serde(with = "text::hex_0x")]
    pub authority: Address,
    /// The raw signed transaction.
    #[serde(with = "text::bytes_0x")]
    pub transaction: Vec<u8>,
    /// Where the chain has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<Block>,
    /// The event in its log.
    pub event: AnchorLeaf,
    /// The event's outcome, if its log was anchored too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<AnchorOutcome>,
}

/// One leaf under an anchored checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnchorLeaf {
    /// The log's identity on chain.
    #[serde(with = "text::hex")]
    pub log_id: LogId,
    /// Which of the log's anchors, from 1.
    pub seq: u64,
    /// The anchored checkpoint, verbatim.
    pub checkpoint: String,
    /// From the leaf upward, at the anchored size.
    #[serde(with = "text::hex_list")]
    pub inclusion_path: Vec<NodeHash>,
    /// The call data of `verifyInclusion`.
    #[serde(with = "text::bytes_0x")]
    pub call: Vec<u8>,
}

/// An event's outcome under an anchored checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnchorOutcome {
    /// The outcome's bytes, base64.
    #[serde(with = "text::base64_bytes")]
    pub body: Vec<u8>,
    /// Its leaf.
    #[serde(flatten)]
    pub leaf: AnchorLeaf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_reads_back_as_written_and_says_nothing_of_what_is_not_there() {
        let block = Block { number: 41, hash: BlockHash::from_bytes([7; 32]), time: LogTime::from_micros(3_000_000) };
        let head = AnchorHead {
            seq: 2,
            size: TreeSize::new(9),
            root: RootHash::from_bytes([1; 32]),
            epoch: 3,
            transaction: TransactionHash::from_bytes([2; 32]),
            block,
        };
        let log_id = LogId::from_bytes([4; 32]);
        let chain = ChainAnchors {
            chain_id: 8453,
            name: "base".to_owned(),
            contract: Address::from_bytes([5; 20]),
            events: LogHeads { log_id, latest: Some(head), safe: Some(head), finalized: None },
            outcomes: None,
            lag_events: 3,
            lag_seconds: 12,
            halted: None,
        };
        let policy = AnchorPolicy { k: 1, n: 1, level: AnchorLevel::Finalized };
        let status = AnchorStatus { policy, anchored: TreeSize::new(0), chains: vec![chain] };
        let text = serde_json::to_string(&status).expect("it can be written");
        assert_eq!(serde_json::from_str::<AnchorStatus>(&text).ok(), Some(status));
        assert!(!text.contains("null") && !text.contains("halted") && !text.contains("\"finalized\":{"), "{text}");
        assert!(text.contains("\"contract\":\"0x0505") && text.contains("\"time\":\"1970-01-01T00:00:03.000000Z\""));
        let upper = text.replace("0x0505", "0X0505");
        assert!(serde_json::from_str::<AnchorStatus>(&upper).is_err());
    }
}
