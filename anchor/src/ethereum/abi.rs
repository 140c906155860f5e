//! Calls, answers, events and errors of the contracts (Solidity ABI), and the digest an authority signs.

use alloy_primitives::{B256, U256, keccak256};
use alloy_sol_types::{SolCall as _, SolError as _, SolEvent as _, SolValue as _, sol};
use tally_protocol::hash::{LogId, NodeHash, RootHash, hex};
use tally_protocol::id::TreeSize;

use crate::chain::{Hash32, LogHead, Wei};
use crate::error::Revert;
use crate::signer::{Address, Signature};

sol! {
    struct Head { uint64 size; uint64 seq; uint64 blockTime; uint32 epoch; bytes32 root; }
    struct Anchor { bytes32 logId; uint64 size; bytes32 root; bytes32 noteHash; uint32 epoch; bytes32[] proof; bytes32 r; bytes32 vs; }
    struct Start { bytes32 logId; uint64 seq; uint64 size; bytes32 root; address authority; address anchorer; }

    function anchorMany(Anchor[] calldata many) external;
    function headOf(bytes32 logId) external view returns (Head memory);
    function endOf(bytes32 logId) external view returns (uint64 seq, uint64 size, bytes32 root);
    function isKnown(bytes32 logId, uint64 seq, uint64 size, bytes32 root) external view returns (bool);
    function verifyInclusion(bytes32 logId, uint64 seq, uint64 size, bytes32 root, bytes32 leafHash, uint64 index, bytes32[] calldata proof) external view returns (bool);
    function knowsLog(bytes32 logId) external view returns (bool);
    function openLog(bytes32 logId, address authority, address anchorer) external;
    function setAnchorer(bytes32 logId, address anchorer, bool active) external;
    function setAuthority(bytes32 logId, address authority, bool active) external;
    function transferAdmin(address next) external;
    function pause() external;
    function unpause() external;

    // The OP Stack's gas price oracle (Fjord).
    function getL1FeeUpperBound(uint256 unsignedTxSize) external view returns (uint256);

    event Anchored(bytes32 indexed logId, uint64 indexed seq, uint64 size, bytes32 root, uint64 prevSize, bytes32 prevRoot, bytes32 noteHash, uint32 epoch);

    error NotAdmin();
    error NotAnchorer();
    error NotGuardian();
    error Paused();
    error NothingGiven();
    error UnknownLog(bytes32 logId);
    error LogExists(bytes32 logId);
    error LogEnded(bytes32 logId);
    error SizeNotGrowing(uint64 head, uint64 given);
    error EpochFell(uint32 head, uint32 given);
    error BadConsistency();
    error BadAuthority();
    error ProofTooLong(uint256 length);
}

/// One log's part of an anchor call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnchorPart {
    /// Which log.
    pub log_id: LogId,
    /// New size.
    pub size: TreeSize,
    /// New root.
    pub root: RootHash,
    /// SHA-256 of the signed note.
    pub note_hash: [u8; 32],
    /// The worker's epoch.
    pub epoch: u32,
    /// Consistency proof from the contract's head; empty for the first anchor.
    pub proof: Vec<NodeHash>,
    /// The authority's signature over [`authority_digest`].
    pub authority: Signature,
}

/// What an authority signs: Keccak-256 of the ABI encoding of tag, chain, contract, log, size, root, note and epoch. No EIP-191
/// prefix.
#[must_use]
pub fn authority_digest(
    chain_id: u64,
    contract: Address,
    log_id: &LogId,
    size: TreeSize,
    root: &RootHash,
    note_hash: &[u8; 32],
    epoch: u32,
) -> [u8; 32] {
    let tag = keccak256("TALLY_ANCHOR_V1");
    let words = (
        tag,
        U256::from(chain_id),
        foreign(contract),
        B256::from(*log_id.as_bytes()),
        size.get(),
        B256::from(*root.as_bytes()),
        B256::from(*note_hash),
        epoch,
    );
    keccak256(words.abi_encode()).0
}

/// The call data of `anchorMany`.
#[must_use]
pub fn anchor_many(parts: &[AnchorPart]) -> Vec<u8> {
    let many = parts.iter().map(to_anchor).collect();
    anchorManyCall { many }.abi_encode()
}

fn to_anchor(part: &AnchorPart) -> Anchor {
    // EIP-2098: the parity takes the highest bit of s, which is free in the low form.
    let mut vs = part.authority.s;
    vs[0] |= u8::from(part.authority.odd_y) << 7;
    Anchor {
        logId: B256::from(*part.log_id.as_bytes()),
        size: part.size.get(),
        root: B256::from(*part.root.as_bytes()),
        noteHash: B256::from(part.note_hash),
        epoch: part.epoch,
        proof: part.proof.iter().map(|node| B256::from(*node.as_bytes())).collect(),
        r: B256::from(part.authority.r),
        vs: B256::from(vs),
    }
}

/// Reads the call data of `anchorMany` back; `None` if it is another call.
#[must_use]
pub fn read_anchor_many(input: &[u8]) -> Option<Vec<AnchorPart>> {
    let call = anchorManyCall::abi_decode_validate(input).ok()?;
    let part = |anchor: Anchor| {
        let mut s = anchor.vs.0;
        let odd_y = s[0] >> 7 == 1;
        s[0] &= 0x7f;
        AnchorPart {
            log_id: LogId::from_bytes(anchor.logId.0),
            size: TreeSize::new(anchor.size),
            root: RootHash::from_bytes(anchor.root.0),
            note_hash: anchor.noteHash.0,
            epoch: anchor.epoch,
            proof: anchor.proof.iter().map(|node| NodeHash::from_bytes(node.0)).collect(),
            authority: Signature { r: anchor.r.0, s, odd_y },
        }
    };
    Some(call.many.into_iter().map(part).collect())
}

/// The call data of `headOf`.
#[must_use]
pub fn head_of(log_id: &LogId) -> Vec<u8> {
    headOfCall { logId: B256::from(*log_id.as_bytes()) }.abi_encode()
}

/// Reads the answer of `headOf`.
#[must_use]
pub fn read_head(answer: &[u8]) -> Option<LogHead> {
    let head = headOfCall::abi_decode_returns_validate(answer).ok()?;
    Some(LogHead {
        size: TreeSize::new(head.size),
        seq: head.seq,
        block_time: head.blockTime,
        epoch: head.epoch,
        root: RootHash::from_bytes(head.root.0),
    })
}

/// The call data of `endOf`.
#[must_use]
pub fn end_of(log_id: &LogId) -> Vec<u8> {
    endOfCall { logId: B256::from(*log_id.as_bytes()) }.abi_encode()
}

/// Reads the answer of `endOf`: the last anchor that counts, 0 for a log that goes on.
#[must_use]
pub fn read_end(answer: &[u8]) -> Option<u64> {
    endOfCall::abi_decode_returns_validate(answer).ok().map(|end| end.seq)
}

/// The call data of `verifyInclusion`.
#[must_use]
pub fn verify_inclusion(
    log_id: &LogId,
    seq: u64,
    size: TreeSize,
    root: &RootHash,
    leaf: &[u8; 32],
    index: u64,
    path: &[NodeHash],
) -> Vec<u8> {
    verifyInclusionCall {
        logId: B256::from(*log_id.as_bytes()),
        seq,
        size: size.get(),
        root: B256::from(*root.as_bytes()),
        leafHash: B256::from(*leaf),
        index,
        proof: path.iter().map(|node| B256::from(*node.as_bytes())).collect(),
    }
    .abi_encode()
}

/// Reads an answer that is one `bool`.
#[must_use]
pub fn read_bool(answer: &[u8]) -> Option<bool> {
    bool::abi_decode_validate(answer).ok()
}

/// The call data of `isKnown`.
#[must_use]
pub fn is_known(log_id: &LogId, seq: u64, size: TreeSize, root: &RootHash) -> Vec<u8> {
    let (log_id, root) = (B256::from(*log_id.as_bytes()), B256::from(*root.as_bytes()));
    isKnownCall { logId: log_id, seq, size: size.get(), root }.abi_encode()
}

/// The call data of `knowsLog`.
#[must_use]
pub fn knows_log(log_id: &LogId) -> Vec<u8> {
    knowsLogCall { logId: B256::from(*log_id.as_bytes()) }.abi_encode()
}

/// The call data of `openLog`.
#[must_use]
pub fn open_log(log_id: &LogId, authority: Address, anchorer: Address) -> Vec<u8> {
    openLogCall { logId: B256::from(*log_id.as_bytes()), authority: foreign(authority), anchorer: foreign(anchorer) }
        .abi_encode()
}

/// The call data of `setAnchorer` or `setAuthority`.
#[must_use]
pub fn set_key(log_id: &LogId, authority: bool, key: Address, active: bool) -> Vec<u8> {
    let (log_id, key) = (B256::from(*log_id.as_bytes()), foreign(key));
    if authority {
        setAuthorityCall { logId: log_id, authority: key, active }.abi_encode()
    } else {
        setAnchorerCall { logId: log_id, anchorer: key, active }.abi_encode()
    }
}

/// The call data of `pause`, or of `unpause`.
#[must_use]
pub fn pause(on: bool) -> Vec<u8> {
    if on { pauseCall {}.abi_encode() } else { unpauseCall {}.abi_encode() }
}

/// The call data of `transferAdmin`: the new admin must accept.
#[must_use]
pub fn transfer_admin(next: Address) -> Vec<u8> {
    transferAdminCall { next: foreign(next) }.abi_encode()
}

/// The contract's creation code with its constructor's arguments: admin, guardian, delay of supersession in seconds, that
/// consistency is required, and no predecessor.
#[must_use]
pub fn creation(bytecode: &[u8], admin: Address, guardian: Address, delay: u64, require_consistency: bool) -> Vec<u8> {
    let none = alloy_primitives::Address::ZERO;
    let starts: Vec<Start> = Vec::new();
    let arguments = (foreign(admin), foreign(guardian), delay, require_consistency, none, starts);
    [bytecode, &arguments.abi_encode_params()].concat()
}

/// Where CREATE2 puts a contract (EIP-1014).
#[must_use]
pub fn create2_address(deployer: Address, salt: [u8; 32], creation: &[u8]) -> Address {
    Address(foreign(deployer).create2(salt, keccak256(creation)).into_array())
}

/// Where CREATE puts a contract.
#[must_use]
pub fn create_address(deployer: Address, nonce: u64) -> Address {
    Address(foreign(deployer).create(nonce).into_array())
}

/// The call data of the OP Stack oracle's bound for a transaction of so many bytes.
#[must_use]
pub fn data_fee_bound(tx_bytes: u64) -> Vec<u8> {
    getL1FeeUpperBoundCall { unsignedTxSize: U256::from(tx_bytes) }.abi_encode()
}

/// Reads an answer that is one amount.
#[must_use]
pub fn read_wei(answer: &[u8]) -> Option<Wei> {
    U256::abi_decode_validate(answer).ok()?.try_into().ok()
}

/// The first topic of the contract's `Anchored` event.
#[must_use]
pub fn anchored_topic() -> [u8; 32] {
    Anchored::SIGNATURE_HASH.0
}

/// What an `Anchored` event says: log, seq, size, root, former size, former root, note hash, epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AnchoredWords {
    pub(crate) log_id: LogId,
    pub(crate) seq: u64,
    pub(crate) size: TreeSize,
    pub(crate) root: RootHash,
    pub(crate) prev_size: TreeSize,
    pub(crate) prev_root: RootHash,
    pub(crate) note_hash: [u8; 32],
    pub(crate) epoch: u32,
}

/// Reads an `Anchored` event.
pub(crate) fn read_anchored(topics: &[[u8; 32]], data: &[u8]) -> Option<AnchoredWords> {
    let event = Anchored::decode_raw_log_validate(topics.iter().map(|topic| B256::from(*topic)), data).ok()?;
    Some(AnchoredWords {
        log_id: LogId::from_bytes(event.logId.0),
        seq: event.seq,
        size: TreeSize::new(event.size),
        root: RootHash::from_bytes(event.root.0),
        prev_size: TreeSize::new(event.prevSize),
        prev_root: RootHash::from_bytes(event.prevRoot.0),
        note_hash: event.noteHash.0,
        epoch: event.epoch,
    })
}

/// The contract's error in a revert's data.
#[must_use]
pub fn read_revert(data: &[u8]) -> Revert {
    let Some(selector) = data.first_chunk::<4>() else { return Revert::Unknown(String::new()) };
    match *selector {
        SizeNotGrowing::SELECTOR => Revert::SizeNotGrowing,
        EpochFell::SELECTOR => Revert::EpochFell,
        Paused::SELECTOR => Revert::Paused,
        NotAdmin::SELECTOR => Revert::Named("NotAdmin"),
        NotAnchorer::SELECTOR => Revert::Named("NotAnchorer"),
        NotGuardian::SELECTOR => Revert::Named("NotGuardian"),
        NothingGiven::SELECTOR => Revert::Named("NothingGiven"),
        UnknownLog::SELECTOR => Revert::Named("UnknownLog"),
        LogExists::SELECTOR => Revert::Named("LogExists"),
        LogEnded::SELECTOR => Revert::Named("LogEnded"),
        BadConsistency::SELECTOR => Revert::Named("BadConsistency"),
        BadAuthority::SELECTOR => Revert::Named("BadAuthority"),
        ProofTooLong::SELECTOR => Revert::Named("ProofTooLong"),
        _ => Revert::Unknown(hex(data.get(..256).unwrap_or(data))),
    }
}

/// Keccak-256.
#[must_use]
pub fn keccak(bytes: &[u8]) -> Hash32 {
    Hash32(keccak256(bytes).0)
}

fn foreign(address: Address) -> alloy_primitives::Address {
    alloy_primitives::Address::from(address.0)
}
