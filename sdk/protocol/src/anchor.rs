//! What is written on an EVM chain for a log (`docs/formats/anchor.md`): the contract's calls and its event.
//!
//! Takes and gives values and the bytes of Solidity's ABI. Reading is strict: one encoding per value, bounds before
//! allocation, nothing behind the end; a contract reads more than that, but nothing of ours writes it. What an
//! authority signs is [`AnchorStatement`]; the transaction around a call is [`transaction`]. Whether a root is the log's
//! and whether a chain has the transaction is not said here.

mod abi;
mod rlp;
pub mod transaction;

use crate::hash::{self, Address, EcdsaDigest, LeafHash, LogId, NodeHash, NoteHash, RootHash};
use crate::id::{Index, TreeSize};
use crate::key::secp256k1::{RecoverableSignature, SignatureError};
use crate::limits::{ANCHORS_MAX, CONSISTENCY_PATH_MAX, INCLUSION_PATH_MAX};
use abi::{Reader, Writer};

/// The function that moves one log's head.
pub const ANCHOR: &str = "anchor((bytes32,uint64,bytes32,bytes32,uint32,bytes32[],bytes32,bytes32))";
/// The function that moves several logs' heads, all or none.
pub const ANCHOR_MANY: &str = "anchorMany((bytes32,uint64,bytes32,bytes32,uint32,bytes32[],bytes32,bytes32)[])";
/// The view that says whether a leaf is under a head that the contract knows.
pub const VERIFY_INCLUSION: &str = "verifyInclusion(bytes32,uint64,uint64,bytes32,bytes32,uint64,bytes32[])";
/// The event of a moved head.
pub const ANCHORED: &str = "Anchored(bytes32,uint64,uint64,bytes32,uint64,bytes32,bytes32,uint32)";

/// Words of an [`Anchor`] before its proof's length.
const ANCHOR_WORDS: usize = 8;

/// Why bytes are no call, answer or event of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnchorError {
    /// The first four bytes select another function, or the first topic is another event's.
    #[error("not the expected function or event")]
    Selector,
    /// They end before what they announce.
    #[error("call or event is cut short")]
    Truncated,
    /// Something follows the end.
    #[error("call or event has surplus bytes")]
    Surplus,
    /// An offset points elsewhere than where the one encoding has the part.
    #[error("an offset of the call is not where the part is")]
    Offset,
    /// A number does not fit the member's type.
    #[error("a number of the call or event does not fit its type")]
    Number,
    /// No log in a call for several, more than [`ANCHORS_MAX`], or a path longer than any proof.
    #[error("a count of the call is out of bounds")]
    Count,
    /// The authority's signature is none.
    #[error("authority's signature: {0}")]
    Signature(#[from] SignatureError),
}

/// What a log's authority says by its signature: this is the root of this log at this size, for this contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnchorStatement {
    /// The chain (EIP-155).
    pub chain_id: u64,
    /// The contract on it.
    pub contract: Address,
    /// The log.
    pub log_id: LogId,
    /// Its size.
    pub size: TreeSize,
    /// Its root at this size.
    pub root: RootHash,
    /// SHA-256 of the signed checkpoint.
    pub note_hash: NoteHash,
    /// Raised when a signer or worker takes over, and never falls.
    pub epoch: u32,
}

impl AnchorStatement {
    /// What is signed: Keccak-256 of `abi.encode(keccak256("TALLY_ANCHOR_V1"), ...)`, without any other prefix.
    #[must_use]
    pub fn digest(&self) -> EcdsaDigest {
        hash::anchor_statement(&[
            abi::number(self.chain_id),
            abi::address(&self.contract),
            *self.log_id.as_bytes(),
            abi::number(self.size.get()),
            *self.root.as_bytes(),
            *self.note_hash.as_bytes(),
            abi::number(self.epoch.into()),
        ])
    }
}

/// One log's part of a call: where its head moves, and by whose word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The log.
    pub log_id: LogId,
    /// Its new size.
    pub size: TreeSize,
    /// Its root at this size.
    pub root: RootHash,
    /// SHA-256 of the signed checkpoint.
    pub note_hash: NoteHash,
    /// The epoch of whoever anchors.
    pub epoch: u32,
    /// That the contract's head is a prefix (RFC 6962 section 2.1.2); empty for a log's first.
    pub proof: Vec<NodeHash>,
    /// The authority's signature over the [`AnchorStatement`].
    pub signature: RecoverableSignature,
}

impl Anchor {
    /// What was signed, if it was signed for this contract.
    #[must_use]
    pub const fn statement(&self, chain_id: u64, contract: Address) -> AnchorStatement {
        AnchorStatement {
            chain_id,
            contract,
            log_id: self.log_id,
            size: self.size,
            root: self.root,
            note_hash: self.note_hash,
            epoch: self.epoch,
        }
    }

    /// Who signed it, if it was signed for this contract.
    ///
    /// # Errors
    /// No key signed it.
    pub fn authority(&self, chain_id: u64, contract: Address) -> Result<Address, SignatureError> {
        self.signature.signer(&self.statement(chain_id, contract).digest())
    }

    fn write(&self, out: &mut Writer) {
        let (r, vs) = self.signature.to_compact();
        out.word(*self.log_id.as_bytes());
        out.number(self.size.get());
        out.word(*self.root.as_bytes());
        out.word(*self.note_hash.as_bytes());
        out.number(self.epoch.into());
        out.number((ANCHOR_WORDS * 32) as u64);
        out.word(r);
        out.word(vs);
        out.hashes(&self.proof);
    }

    fn read(words: &mut Reader<'_>) -> Result<Self, AnchorError> {
        let log_id = LogId::from_bytes(words.word()?);
        let size = TreeSize::new(words.number()?);
        let root = RootHash::from_bytes(words.word()?);
        let note_hash = NoteHash::from_bytes(words.word()?);
        let epoch = u32::try_from(words.number()?).map_err(|_| AnchorError::Number)?;
        words.offset(ANCHOR_WORDS)?;
        let signature = RecoverableSignature::from_compact(words.word()?, words.word()?)?;
        let proof = words.hashes(CONSISTENCY_PATH_MAX)?;
        Ok(Self { log_id, size, root, note_hash, epoch, proof, signature })
    }

    /// Words of its encoding.
    fn words(&self) -> usize {
        ANCHOR_WORDS + 1 + self.proof.len()
    }
}

/// A call that moves heads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnchorCall {
    /// `anchor`: one log.
    One(Anchor),
    /// `anchorMany`: several logs, all or none; 1 to [`ANCHORS_MAX`].
    Many(Vec<Anchor>),
}

impl AnchorCall {
    /// The logs' parts, in the order of the call.
    #[must_use]
    pub fn anchors(&self) -> &[Anchor] {
        match self {
            Self::One(anchor) => core::slice::from_ref(anchor),
            Self::Many(anchors) => anchors,
        }
    }

    /// The call data: selector and arguments.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::One(anchor) => {
                let mut out = Writer::call(ANCHOR);
                out.number(32);
                anchor.write(&mut out);
                out.finish()
            }
            Self::Many(anchors) => {
                let mut out = Writer::call(ANCHOR_MANY);
                out.number(32);
                out.number(anchors.len() as u64);
                let mut at = anchors.len();
                for anchor in anchors {
                    out.number((at * 32) as u64);
                    at += anchor.words();
                }
                anchors.iter().for_each(|anchor| anchor.write(&mut out));
                out.finish()
            }
        }
    }

    /// Reads call data.
    ///
    /// # Errors
    /// See [`AnchorError`].
    pub fn decode(data: &[u8]) -> Result<Self, AnchorError> {
        if let Ok(mut words) = Reader::call(ANCHOR, data) {
            words.offset(1)?;
            let anchor = Anchor::read(&mut words)?;
            words.end()?;
            return Ok(Self::One(anchor));
        }
        let mut words = Reader::call(ANCHOR_MANY, data)?;
        words.offset(1)?;
        let count = words.count(ANCHORS_MAX)?;
        if count == 0 {
            return Err(AnchorError::Count);
        }
        let offsets = (0..count).map(|_| words.number()).collect::<Result<Vec<_>, _>>()?;
        let mut at = count;
        let mut anchors = Vec::with_capacity(count);
        for offset in offsets {
            if offset != (at * 32) as u64 {
                return Err(AnchorError::Offset);
            }
            let anchor = Anchor::read(&mut words)?;
            at += anchor.words();
            anchors.push(anchor);
        }
        words.end()?;
        Ok(Self::Many(anchors))
    }
}

/// The question to the contract whether a leaf is under a head that it knows (`verifyInclusion`, a view).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InclusionQuery {
    /// The log.
    pub log_id: LogId,
    /// Which of its anchors, from 1.
    pub seq: u64,
    /// The size at this anchor.
    pub size: TreeSize,
    /// The root at this anchor.
    pub root: RootHash,
    /// The leaf.
    pub leaf: LeafHash,
    /// Its position.
    pub index: Index,
    /// From the leaf upward (RFC 6962 section 2.1.1).
    pub path: Vec<NodeHash>,
}

impl InclusionQuery {
    /// Words before the path's length.
    const WORDS: usize = 7;

    /// The call data.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::call(VERIFY_INCLUSION);
        out.word(*self.log_id.as_bytes());
        out.number(self.seq);
        out.number(self.size.get());
        out.word(*self.root.as_bytes());
        out.word(*self.leaf.as_bytes());
        out.number(self.index.get());
        out.number((Self::WORDS * 32) as u64);
        out.hashes(&self.path);
        out.finish()
    }

    /// Reads call data.
    ///
    /// # Errors
    /// See [`AnchorError`].
    pub fn decode(data: &[u8]) -> Result<Self, AnchorError> {
        let mut words = Reader::call(VERIFY_INCLUSION, data)?;
        let log_id = LogId::from_bytes(words.word()?);
        let (seq, size) = (words.number()?, TreeSize::new(words.number()?));
        let root = RootHash::from_bytes(words.word()?);
        let leaf = LeafHash::from_bytes(words.word()?);
        let index = Index::new(words.number()?);
        words.offset(Self::WORDS)?;
        let path = words.hashes(INCLUSION_PATH_MAX)?;
        words.end()?;
        Ok(Self { log_id, seq, size, root, leaf, index, path })
    }
}

/// The contract's event: a log's head moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchored {
    /// The log; a topic.
    pub log_id: LogId,
    /// Which of its anchors, from 1; a topic.
    pub seq: u64,
    /// The size it moved to.
    pub size: TreeSize,
    /// The root it moved to.
    pub root: RootHash,
    /// The size it moved from; 0 for the first.
    pub prev_size: TreeSize,
    /// The root it moved from; zeros for the first.
    pub prev_root: RootHash,
    /// SHA-256 of the signed checkpoint.
    pub note_hash: NoteHash,
    /// The epoch of whoever anchored.
    pub epoch: u32,
}

impl Anchored {
    /// The event's first topic.
    #[must_use]
    pub fn topic() -> [u8; 32] {
        hash::abi_signature(ANCHORED)
    }

    /// The topics: the event's own, the log, the anchor's number.
    #[must_use]
    pub fn topics(&self) -> [[u8; 32]; 3] {
        [Self::topic(), *self.log_id.as_bytes(), abi::number(self.seq)]
    }

    /// The data behind the topics.
    #[must_use]
    pub fn data(&self) -> Vec<u8> {
        let mut out = Writer::data();
        out.number(self.size.get());
        out.word(*self.root.as_bytes());
        out.number(self.prev_size.get());
        out.word(*self.prev_root.as_bytes());
        out.word(*self.note_hash.as_bytes());
        out.number(self.epoch.into());
        out.finish()
    }

    /// Reads an entry of a receipt's logs. Whether the right contract emitted it is the caller's to check.
    ///
    /// # Errors
    /// See [`AnchorError`].
    pub fn decode(topics: &[[u8; 32]], data: &[u8]) -> Result<Self, AnchorError> {
        let [event, log_id, seq] = topics else { return Err(AnchorError::Selector) };
        if *event != Self::topic() {
            return Err(AnchorError::Selector);
        }
        let seq = abi::read_number(seq)?;
        let mut words = Reader::data(data);
        let (size, root) = (TreeSize::new(words.number()?), RootHash::from_bytes(words.word()?));
        let (prev_size, prev_root) = (TreeSize::new(words.number()?), RootHash::from_bytes(words.word()?));
        let note_hash = NoteHash::from_bytes(words.word()?);
        let epoch = u32::try_from(words.number()?).map_err(|_| AnchorError::Number)?;
        words.end()?;
        Ok(Self { log_id: LogId::from_bytes(*log_id), seq, size, root, prev_size, prev_root, note_hash, epoch })
    }
}
