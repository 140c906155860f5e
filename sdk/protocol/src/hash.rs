//! Every hash call of the protocol, each under its domain tag.
//!
//! SHA-256 where a format says so (RFC 6962 tree, VES v1), BLAKE3 for content addresses of our own (design D17).
//! A tag is plain ASCII without terminator; no tag is a prefix of another (S-033), so no preimage of one kind is a
//! preimage of another.

use core::fmt;

use sha2::{Digest, Sha256};

use crate::id::{EventId, Sequence, Stream};

/// A text that is not a hash: 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a hash (64 lower-case hexadecimal digits)")]
pub struct HashError;

fn from_hex_32(text: &str) -> Result<[u8; 32], HashError> {
    let text = text.as_bytes();
    if text.len() != 64 {
        return Err(HashError);
    }
    let mut out = [0u8; 32];
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        for &c in pair {
            let digit = match c {
                b'0'..=b'9' => c - b'0',
                b'a'..=b'f' => c - b'a' + 10,
                _ => return Err(HashError),
            };
            *byte = (*byte << 4) | digit;
        }
    }
    Ok(out)
}

/// Lower-case hexadecimal of any bytes.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    out
}

macro_rules! hash_type {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Thirty-two zero bytes.
            pub const ZERO: Self = Self([0; 32]);

            /// From 32 raw bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 raw bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// 64 lower-case hexadecimal digits.
            #[must_use]
            pub fn to_hex(&self) -> String {
                hex(&self.0)
            }

            /// Reads 64 lower-case hexadecimal digits.
            ///
            /// # Errors
            /// Anything else.
            pub fn from_hex(text: &str) -> Result<Self, HashError> {
                from_hex_32(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_hex())
            }
        }
    )*};
}

hash_type! {
    /// SHA-256(0x00 | entry): what the log commits for one entry (RFC 6962 section 2.1).
    LeafHash;
    /// A node of the log's tree: a leaf, or SHA-256(0x01 | left | right).
    NodeHash;
    /// The root of the log's tree at some size.
    RootHash;
    /// The VES event signing hash: what the agent signed.
    SigningHash;
    /// The VES payload hash (plain text).
    PayloadHash;
    /// The VES payload hash (cipher text); zero for a plain payload.
    CipherHash;
    /// The ledger's identity: the leaf hash of its genesis entry.
    LedgerId;
    /// A log's identity on chain.
    LogId;
    /// BLAKE3 of a stored run; the next run names it.
    RunHash;
    /// A leaf of a VES commitment.
    VesLeaf;
    /// A node or the root of a VES commitment's padded tree.
    VesNode;
    /// The VES stream id.
    VesStreamId;
    /// The VES commitment chain's state root.
    StateRoot;
    /// The VES receipt hash: what the sequencer signs.
    ReceiptHash;
}

impl LeafHash {
    /// The leaf as a node of level 0.
    #[must_use]
    pub const fn node(self) -> NodeHash {
        NodeHash(self.0)
    }

    /// The genesis entry's leaf hash is the ledger's identity.
    #[must_use]
    pub const fn ledger_id(self) -> LedgerId {
        LedgerId(self.0)
    }
}

impl NodeHash {
    /// The node as the root of the tree it spans.
    #[must_use]
    pub const fn root(self) -> RootHash {
        RootHash(self.0)
    }
}

impl VesLeaf {
    /// The leaf as a node of the padded tree.
    #[must_use]
    pub const fn node(self) -> VesNode {
        VesNode(self.0)
    }
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut state = Sha256::new();
    for part in parts {
        state.update(part);
    }
    state.finalize().into()
}

/// RFC 6962 leaf: SHA-256(0x00 | entry).
#[must_use]
pub fn leaf(entry: &[u8]) -> LeafHash {
    LeafHash(sha256(&[&[0], entry]))
}

/// RFC 6962 inner node: SHA-256(0x01 | left | right).
#[must_use]
pub fn node(left: &NodeHash, right: &NodeHash) -> NodeHash {
    let mut preimage = [1u8; 65];
    preimage[1..33].copy_from_slice(&left.0);
    preimage[33..].copy_from_slice(&right.0);
    NodeHash(sha256(&[&preimage]))
}

/// The root of the empty tree: SHA-256 of nothing.
#[must_use]
pub fn empty_root() -> RootHash {
    RootHash(sha256(&[]))
}

/// The VES event signing hash of a preimage that starts with its tag (`VES_EVENTSIG_V1`).
#[must_use]
pub fn signing(preimage: &[u8]) -> SigningHash {
    SigningHash(sha256(&[preimage]))
}

/// VES leaf: tag, tenant, store, sequence, signing hash, agent signature.
#[must_use]
pub fn ves_leaf(stream: &Stream, sequence: Sequence, signing: &SigningHash, signature: &[u8; 64]) -> VesLeaf {
    VesLeaf(sha256(&[
        b"VES_LEAF_V1",
        stream.tenant.as_bytes(),
        stream.store.as_bytes(),
        &sequence.get().to_be_bytes(),
        &signing.0,
        signature,
    ]))
}

/// VES node: tag, left, right.
#[must_use]
pub fn ves_node(left: &VesNode, right: &VesNode) -> VesNode {
    VesNode(sha256(&[b"VES_NODE_V1", &left.0, &right.0]))
}

/// The leaf that fills a VES tree up to the next power of two.
#[must_use]
pub fn ves_pad() -> VesNode {
    VesNode(sha256(&[b"VES_PAD_LEAF_V1"]))
}

/// VES stream id: tag, tenant, store.
#[must_use]
pub fn ves_stream(stream: &Stream) -> VesStreamId {
    VesStreamId(sha256(&[b"VES_STREAM_V1", stream.tenant.as_bytes(), stream.store.as_bytes()]))
}

/// The VES commitment chain: the state root after a commitment of `count` leaves, sequences `first..=last`.
#[must_use]
pub fn ves_state_root(
    stream: &VesStreamId,
    previous: &StateRoot,
    root: &VesNode,
    first: Sequence,
    last: Sequence,
    count: u32,
) -> StateRoot {
    StateRoot(sha256(&[
        b"VES_STATE_ROOT_V1",
        &stream.0,
        &previous.0,
        &root.0,
        &first.get().to_be_bytes(),
        &last.get().to_be_bytes(),
        &count.to_be_bytes(),
    ]))
}

/// VES receipt hash: tag, tenant, store, event id, sequence, signing hash.
#[must_use]
pub fn ves_receipt(stream: &Stream, event: &EventId, sequence: Sequence, signing: &SigningHash) -> ReceiptHash {
    ReceiptHash(sha256(&[
        b"VES_RECEIPT_V1",
        stream.tenant.as_bytes(),
        stream.store.as_bytes(),
        event.as_bytes(),
        &sequence.get().to_be_bytes(),
        &signing.0,
    ]))
}

/// Makes the short keys of a ledger's look-up indexes: keyed BLAKE3, 16 bytes.
///
/// The key is derived from the ledger's identity, so the same event has unrelated places in two ledgers. It is not a
/// secret: whoever looks a key up must compare what is found with what was asked for (128 bits; finding two inputs
/// with one key takes about 2^64 hash calls).
#[derive(Clone, Debug)]
pub struct LookupKey([u8; 32]);

impl LookupKey {
    /// The key of this ledger's indexes.
    #[must_use]
    pub fn new(ledger: &LedgerId) -> Self {
        Self(blake3::derive_key("tally storage look-up indexes v1", &ledger.0))
    }

    fn short(&self, kind: u8, parts: &[&[u8]]) -> [u8; 16] {
        let mut state = blake3::Hasher::new_keyed(&self.0);
        state.update(&[kind]);
        for part in parts {
            state.update(part);
        }
        let mut out = [0; 16];
        out.copy_from_slice(&state.finalize().as_bytes()[..16]);
        out
    }

    /// The place of an event id within its stream.
    #[must_use]
    pub fn event(&self, stream: &Stream, event: &EventId) -> [u8; 16] {
        self.short(0, &[&stream.to_bytes(), event.as_bytes()])
    }

    /// The place of an entity within its stream.
    #[must_use]
    pub fn entity(&self, stream: &Stream, entity_type: &str, entity_id: &str) -> [u8; 16] {
        let type_bytes = (entity_type.len() as u64).to_be_bytes();
        self.short(1, &[&stream.to_bytes(), &type_bytes, entity_type.as_bytes(), entity_id.as_bytes()])
    }
}

/// The content address of a stored run's bytes.
#[must_use]
pub fn run(bytes: &[u8]) -> RunHash {
    RunHash(*blake3::hash(bytes).as_bytes())
}
