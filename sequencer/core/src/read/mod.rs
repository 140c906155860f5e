//! The read door. Takes questions, gives events, receipts, proofs, tiles and checkpoints, all below `signed`: what is
//! above is not yet to be relied on, and the answer names the rung that is missing.
//!
//! Readers take a snapshot of the newest certified tree and never wait for the pipeline.

mod checkpoints;
mod events;
mod outcomes;
mod proofs;
pub(crate) mod receipts;
pub(crate) mod runs;
mod storage;
pub(crate) mod tiles;

use std::sync::Arc;

use tally_merkle::{TileError, TreeError};
use tally_protocol::entry::{EventEntry, Genesis};
use tally_protocol::frame::Frame;
use tally_protocol::hash::{self, LeafHash, LedgerId, SigningHash};
use tally_protocol::id::{AgentId, Index, KeyId, Sequence, Stream, TenantId};
use tally_protocol::key::PublicKey;
use tally_protocol::run::Record;
use tally_protocol::time::LogTime;
use tally_storage::StorageError;
use tokio::sync::watch;

use crate::control::{KeyRecord, TenantInfo};
use crate::entity_types::EntityTypes;
use crate::shared::{Shared, read};
use crate::watermarks::{Ladder, NodeState, Rung};

pub use proofs::VesProof;
pub use storage::StorageReading;

/// Who this ledger is; never changes.
#[derive(Debug, Clone)]
pub struct LedgerInfo {
    /// The leaf hash of the genesis entry.
    pub ledger_id: LedgerId,
    /// What genesis says.
    pub genesis: Genesis,
    /// The entry at index 0.
    pub genesis_entry: Vec<u8>,
}

impl LedgerInfo {
    /// From what genesis says.
    #[must_use]
    pub fn new(genesis: Genesis) -> Self {
        let genesis_entry = genesis.encode();
        let ledger_id = genesis.ledger_id();
        Self { ledger_id, genesis, genesis_entry }
    }
}

/// One event as the log holds it.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// Its position in the log.
    pub index: Index,
    /// Its position in the stream.
    pub sequence: Sequence,
    /// Its log time.
    pub sequenced_at: LogTime,
    /// The key that it was verified under.
    pub public_key: PublicKey,
    /// Its exact bytes, signature included.
    pub frame: Frame,
}

impl StoredEvent {
    /// What the log commits for it.
    #[must_use]
    pub fn entry(&self) -> EventEntry {
        self.entry_of(self.frame.signing_hash())
    }

    /// The entry's leaf hash.
    #[must_use]
    pub fn leaf_hash(&self) -> LeafHash {
        self.entry().leaf_hash()
    }

    /// [`StoredEvent::leaf_hash`] of many events, hashed together.
    #[must_use]
    pub fn leaf_hash_many(events: &[Self]) -> Vec<LeafHash> {
        let signed = hash::signing_many(events.iter().map(|event| event.frame.preimage()));
        EventEntry::leaf_hash_many(events.iter().zip(signed).map(|(event, signing_hash)| event.entry_of(signing_hash)))
    }

    fn entry_of(&self, signing_hash: SigningHash) -> EventEntry {
        EventEntry {
            stream: self.frame.stream(),
            sequence: self.sequence,
            signing_hash,
            signature: self.frame.signature(),
            public_key: self.public_key,
            sequenced_at: self.sequenced_at,
        }
    }
}

impl From<Record> for StoredEvent {
    fn from(record: Record) -> Self {
        let Record { index, sequence, sequenced_at, public_key, frame } = record;
        Self { index, sequence, sequenced_at, public_key, frame }
    }
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such thing.
    #[error("not found")]
    NotFound,
    /// It has not reached the rung that makes it readable.
    #[error("not {} yet", rung.name())]
    NotYet {
        /// The rung that is missing.
        rung: Rung,
    },
    /// The question itself is wrong.
    #[error("{0}")]
    Invalid(&'static str),
    /// The database failed.
    #[error("failed to read: {0}")]
    Storage(#[from] StorageError),
    /// A stored byte is not what it must be.
    #[error("the log is damaged at index {index}: {what}")]
    Damaged {
        /// Where.
        index: Index,
        /// What is wrong.
        what: &'static str,
    },
}

impl From<TreeError<TileError<ReadError>>> for ReadError {
    fn from(error: TreeError<TileError<Self>>) -> Self {
        match error {
            TreeError::IndexBeyondSize { .. } => Self::Invalid("the index lies outside the tree of this size"),
            TreeError::SizesReversed { .. } => Self::Invalid("the old size is larger than the new one"),
            TreeError::IndexesUnordered { .. } => Self::Invalid("the indexes do not rise"),
            TreeError::Source(TileError::Fetch(error)) => error,
            TreeError::Source(TileError::Missing { index, .. } | TileError::Malformed { index, .. }) => {
                Self::Damaged { index: Index::new(index), what: "a stored tile is missing or malformed" }
            }
            TreeError::Source(_) => Self::NotYet { rung: Rung::Signed },
        }
    }
}

/// The read door; clones share it.
#[derive(Clone)]
pub struct Reader {
    shared: Arc<Shared>,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Who this ledger is.
    #[must_use]
    pub fn ledger(&self) -> &LedgerInfo {
        &self.shared.ledger
    }

    /// All rungs.
    #[must_use]
    pub fn ladder(&self) -> Ladder {
        self.shared.watermarks.ladder()
    }

    /// Told whenever signed, acknowledged, published, applied or anchored moves, or the node's state changes.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Ladder> {
        self.shared.watermarks.subscribe()
    }

    /// Whether the node takes events, and why not.
    #[must_use]
    pub fn state(&self) -> NodeState {
        self.shared.watermarks.state()
    }

    /// A tenant whose creation is certified.
    #[must_use]
    pub fn tenant(&self, tenant: TenantId) -> Option<TenantInfo> {
        let signed = self.shared.watermarks.get(Rung::Signed);
        read(&self.shared.control).tenant(tenant).filter(|tenant| signed.holds(tenant.created_index))
    }

    /// An agent's keys whose registration is certified, oldest first.
    #[must_use]
    pub fn agent_keys(&self, tenant: TenantId, agent: AgentId) -> Vec<KeyRecord> {
        let signed = self.shared.watermarks.get(Rung::Signed);
        let control = read(&self.shared.control);
        control.keys(tenant, agent).iter().filter(|key| signed.holds(key.registered_index)).copied().collect()
    }

    /// The id that the agent's next key must have.
    #[must_use]
    pub fn next_key_id(&self, tenant: TenantId, agent: AgentId) -> KeyId {
        let keys = read(&self.shared.control).keys(tenant, agent).len();
        KeyId::new(u32::try_from(keys).unwrap_or(u32::MAX).saturating_add(1))
    }

    /// What a store takes, if it has a list: as ordering holds events against it now, which may be ahead of what is
    /// signed.
    #[must_use]
    pub fn entity_types(&self, stream: Stream) -> Option<Arc<EntityTypes>> {
        read(&self.shared.control).entity_types(&stream).cloned()
    }

    /// The newest certified sequence of a stream.
    #[must_use]
    pub fn stream_head(&self, stream: Stream) -> Option<Sequence> {
        read(&self.shared.heads).get(&stream).copied()
    }
}
