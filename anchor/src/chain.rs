//! The seam to a chain: what is read from it, and what is sent to it.
//!
//! Takes questions at one of three tags and raw signed transactions; gives answers that enough providers agree on. It never
//! signs and never decides. A read that providers do not agree on is an error, and what is not agreed is not final.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use serde::{Deserialize, Serialize};
use tally_protocol::hash::{LogId, RootHash, hex};
use tally_protocol::id::TreeSize;

use crate::error::ChainError;
use crate::signer::Address;

/// An amount in wei, or a price in wei per gas.
pub type Wei = u128;

/// Thirty-two bytes of the chain: a block's or a transaction's hash (Keccak-256).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hash32(pub [u8; 32]);

impl fmt::Display for Hash32 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "0x{}", hex(&self.0))
    }
}

impl fmt::Debug for Hash32 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// How sure a chain is of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The sequencer of the chain promises it.
    Latest,
    /// Derived from data on the layer below; goes away only with a reorganisation there.
    Safe,
    /// The layer below has finalized that data.
    Finalized,
}

impl Level {
    /// The name as the block tag of JSON-RPC.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Latest => "latest",
            Self::Safe => "safe",
            Self::Finalized => "finalized",
        }
    }
}

/// A block: number, hash, and its time in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockRef {
    /// Its height.
    pub number: u64,
    /// Its hash.
    #[serde(with = "crate::files::hash32")]
    pub hash: Hash32,
    /// Its time in seconds. Two blocks with one transaction may differ: not to be kept before finality.
    pub time: u64,
}

/// A log's head in the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogHead {
    /// Leaves; 0 when nothing is anchored yet.
    pub size: TreeSize,
    /// How many anchors the log has had.
    pub seq: u64,
    /// Time of the block that anchored it, in seconds.
    pub block_time: u64,
    /// The worker's epoch; the contract lets it never fall.
    pub epoch: u32,
    /// The root.
    pub root: RootHash,
}

/// What the chain says at one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The block that was read.
    pub block: BlockRef,
    /// Transactions of the asked account up to this block.
    pub nonce: u64,
    /// The heads, in the order they were asked for.
    pub heads: Vec<LogHead>,
}

/// What this chain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// EIP-155.
    pub chain_id: u64,
    /// Keccak-256 of the contract's code; `None` where there is none.
    pub code_hash: Option<Hash32>,
}

/// Prices now, in wei per gas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prices {
    /// Base fee of the next block (EIP-1559).
    pub base: Wei,
    /// A tip that blocks of late have taken.
    pub tip: Wei,
}

/// A transaction in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The block.
    pub block: BlockRef,
    /// Whether it did what it says; a reverted one pays and changes nothing.
    pub succeeded: bool,
    /// What it cost in all: gas times price, and the layer below's data fee where the receipt says one.
    pub cost: Wei,
    /// Gas used.
    pub gas_used: u64,
}

/// An anchor event of the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnchoredEvent {
    /// Which log.
    pub log_id: LogId,
    /// Counts the anchors of the log, from 1.
    pub seq: u64,
    /// Anchored size.
    pub size: TreeSize,
    /// Anchored root.
    pub root: RootHash,
    /// Size before.
    pub prev_size: TreeSize,
    /// Root before.
    pub prev_root: RootHash,
    /// SHA-256 of the signed note.
    pub note_hash: [u8; 32],
    /// The worker's epoch.
    pub epoch: u32,
    /// The block that holds it.
    pub block_number: u64,
    /// That block's hash.
    pub block_hash: Hash32,
    /// The transaction.
    pub tx_hash: Hash32,
    /// Place among the block's events.
    pub log_index: u64,
}

/// Answer of a chain.
pub type Reading<'a, T> = Pin<Box<dyn Future<Output = Result<T, ChainError>> + Send + 'a>>;

/// A chain with the anchor contract, by enough providers.
pub trait Chain: Send + Sync {
    /// Chain id and contract code, of every provider that answers; they must agree.
    fn identity(&self) -> Reading<'_, Identity>;

    /// Account nonce and heads at a tag. For `Safe` and `Finalized` the configured minimum of providers agreed on the
    /// block's hash and on what was read there.
    fn view(&self, level: Level, account: Address, logs: Vec<LogId>) -> Reading<'_, View>;

    /// The transaction's receipt, if the chain has it in a block now; for more than `Latest` as many providers agree.
    fn receipt(&self, tx: Hash32, level: Level) -> Reading<'_, Option<Receipt>>;

    /// Whether a provider knows the transaction, in its pool or in a block.
    fn knows(&self, tx: Hash32) -> Reading<'_, bool>;

    /// The balance in wei at `latest`.
    fn balance(&self, account: Address) -> Reading<'_, Wei>;

    /// Prices now.
    fn prices(&self) -> Reading<'_, Prices>;

    /// Bound of the fee for a transaction's bytes on the layer below; 0 where the chain has none.
    fn data_fee(&self, tx_bytes: u64) -> Reading<'_, Wei>;

    /// Gas a call of the contract would take at `latest`.
    ///
    /// A revert is [`ChainError::Refused`] with the contract's reason.
    fn estimate(&self, from: Address, call: Vec<u8>) -> Reading<'_, u64>;

    /// Gives the transaction to every provider. `Ok` when at least one has it, now or already.
    fn send(&self, raw: Vec<u8>) -> Reading<'_, ()>;

    /// Anchor events of these logs in the blocks `from..=to`, in chain order.
    fn events(&self, logs: Vec<LogId>, from: u64, to: u64) -> Reading<'_, Vec<AnchoredEvent>>;

    /// The block at a height, if there is one.
    fn block(&self, number: u64) -> Reading<'_, Option<BlockRef>>;

    /// The raw signed bytes of a transaction, where a provider gives them out.
    fn raw(&self, tx: Hash32) -> Reading<'_, Option<Vec<u8>>>;
}
