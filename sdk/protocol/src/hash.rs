//! Every hash call of the protocol, each under its domain tag.
//!
//! SHA-256 where a format says so (RFC 6962 tree, VES v1), BLAKE3 for content addresses of our own (design D17).
//! A tag is plain ASCII without terminator; no tag is a prefix of another (S-033), so no preimage of one kind is a
//! preimage of another.

mod foreign;
mod keccak;
mod lanes;
mod log_id;
mod lookup;

use core::fmt;

use sha2::{Digest, Sha256};

use crate::id::{AgentId, EventId, KeyId, PluginId, Sequence, Stream};
use crate::key::PublicKey;
use crate::time::LogTime;

pub use foreign::{ObjectHasher, aws_request, flat_proof, hmac_sha256, object};
pub use keccak::{
    Address, BlockHash, EcdsaDigest, TransactionHash, abi_signature, address, anchor_statement, anchor_tag,
    bytes_of_hex_0x, hex_0x, transaction, transaction_signing,
};
pub use log_id::{LogKind, log_id};
pub use lookup::LookupKey;

// The domain tags. `tags()` is the table the prefix-free law is tested on: a new tag goes there too.
const RFC6962_LEAF: &[u8] = &[0];
const RFC6962_NODE: &[u8] = &[1];
const VES_PAYLOAD_PLAIN: &[u8] = b"VES_PAYLOAD_PLAIN_V1";
const VES_PAYLOAD_AAD: &[u8] = b"VES_PAYLOAD_AAD_V1";
const VES_PAYLOAD_CIPHER: &[u8] = b"VES_PAYLOAD_CIPHER_V1";
const VES_RECIPIENTS: &[u8] = b"VES_RECIPIENTS_V1";
const VES_EVENTSIG: &[u8] = crate::frame::PREIMAGE_TAG;
const VES_LEAF: &[u8] = b"VES_LEAF_V1";
const VES_PAD_LEAF: &[u8] = b"VES_PAD_LEAF_V1";
const VES_NODE: &[u8] = b"VES_NODE_V1";
const VES_STREAM: &[u8] = b"VES_STREAM_V1";
const VES_STATE_ROOT: &[u8] = b"VES_STATE_ROOT_V1";
const VES_RECEIPT: &[u8] = b"VES_RECEIPT_V1";
const VES_POP: &[u8] = b"VES_POP_V1";
const TALLY_ENTRY: &[u8] = crate::entry::ENTRY_TAG;
const TALLY_LOG: &[u8] = b"TALLY_LOG_V1";
const TALLY_ID: &[u8] = b"TALLY_ID_V1";
const TALLY_STATE_KEY: &[u8] = b"TALLY_STATE_KEY_V1";
const TALLY_STATE_VALUE: &[u8] = b"TALLY_STATE_VALUE_V1";
const TALLY_STATE_LEAF: &[u8] = b"TALLY_STATE_LEAF_V1";
const TALLY_STATE_NODE: &[u8] = b"TALLY_STATE_NODE_V1";
const TALLY_STATE_EMPTY: &[u8] = b"TALLY_STATE_EMPTY_V1";
const TALLY_STATE_TREE: &[u8] = b"TALLY_STATE_TREE_V1";
const TALLY_EFFECT: &[u8] = b"TALLY_EFFECT_V1";
const TALLY_ANSWER: &[u8] = b"TALLY_ANSWER_V1";
const TALLY_OUTCOME: &[u8] = crate::outcome::OUTCOME_TAG;
const TALLY_WRITES: &[u8] = b"TALLY_WRITES_V1";
const TALLY_EMITS: &[u8] = b"TALLY_EMITS_V1";
const TALLY_REQUESTS: &[u8] = b"TALLY_REQUESTS_V1";
const TALLY_PROFILE: &[u8] = b"TALLY_PROFILE_V1";
const TALLY_MANIFEST: &[u8] = b"TALLY_MANIFEST_V1";
const TALLY_SCHEMA: &[u8] = b"TALLY_SCHEMA_V1";
const TALLY_RELEASE: &[u8] = b"TALLY_RELEASE_V1";
const TALLY_ATTEST: &[u8] = b"TALLY_ATTEST_V1";
const TALLY_REVIEW: &[u8] = b"TALLY_REVIEW_V1";
const TALLY_LIFE: &[u8] = b"TALLY_LIFE_V1";
const TALLY_REPORT: &[u8] = b"TALLY_REPORT_V1";
const TALLY_TEMPLATE: &[u8] = b"TALLY_TEMPLATE_V1";
const TALLY_TEMPLATE_SEAL: &[u8] = b"TALLY_TEMPLATE_SEAL_V1";
const TALLY_COMMAND: &[u8] = b"TALLY_COMMAND_V1";
const TALLY_FACT: &[u8] = b"TALLY_FACT_V1";

/// Every domain tag of this crate (SHA-256's, and the one of Keccak-256): what it is for, and its bytes. `TALLY_ENTRY_V1` and `TALLY_OUTCOME_V1` open
/// an entry and an outcome and come after the leaf's 0x00; they are listed because these are hashed nowhere else.
#[must_use]
pub const fn tags() -> [(&'static str, &'static [u8]); 42] {
    [
        ("leaf of the log", RFC6962_LEAF),
        ("node of the log", RFC6962_NODE),
        ("plain payload", VES_PAYLOAD_PLAIN),
        ("associated data of an encrypted payload", VES_PAYLOAD_AAD),
        ("encrypted payload", VES_PAYLOAD_CIPHER),
        ("recipients of an encrypted payload", VES_RECIPIENTS),
        ("event signature", VES_EVENTSIG),
        ("leaf of a commitment", VES_LEAF),
        ("padding of a commitment", VES_PAD_LEAF),
        ("node of a commitment", VES_NODE),
        ("stream", VES_STREAM),
        ("state root of a commitment", VES_STATE_ROOT),
        ("receipt", VES_RECEIPT),
        ("proof of possession", VES_POP),
        ("entry of the log", TALLY_ENTRY),
        ("log on chain", TALLY_LOG),
        ("anchor on chain", keccak::TALLY_ANCHOR),
        ("derived id", TALLY_ID),
        ("key of a plugin's state", TALLY_STATE_KEY),
        ("value of a plugin's state", TALLY_STATE_VALUE),
        ("leaf of a state tree", TALLY_STATE_LEAF),
        ("node of a state tree", TALLY_STATE_NODE),
        ("empty state tree", TALLY_STATE_EMPTY),
        ("place of a plugin's tree among all", TALLY_STATE_TREE),
        ("effect id", TALLY_EFFECT),
        ("event id of an effect's answer", TALLY_ANSWER),
        ("outcome", TALLY_OUTCOME),
        ("writes of a plugin", TALLY_WRITES),
        ("emits of a plugin", TALLY_EMITS),
        ("effect requests of a plugin", TALLY_REQUESTS),
        ("profile", TALLY_PROFILE),
        ("manifest of a plugin", TALLY_MANIFEST),
        ("schema of an event type", TALLY_SCHEMA),
        ("release of a plugin", TALLY_RELEASE),
        ("publisher's signature", TALLY_ATTEST),
        ("reviewer's signature", TALLY_REVIEW),
        ("life of a plugin", TALLY_LIFE),
        ("report about a release", TALLY_REPORT),
        ("template", TALLY_TEMPLATE),
        ("seal of a template", TALLY_TEMPLATE_SEAL),
        ("event of a command", TALLY_COMMAND),
        ("event of a fact", TALLY_FACT),
    ]
}

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
    /// What binds an encrypted payload to its event.
    PayloadAad;
    /// The recipients of an encrypted payload.
    RecipientsHash;
    /// The VES key proof-of-possession hash.
    PopHash;
    /// The keyed hash under which an API key is kept.
    ApiKeyHash;
    /// The ledger's identity: the leaf hash of its genesis entry.
    LedgerId;
    /// A log's identity on chain.
    LogId;
    /// SHA-256 of a signed note, as it was published.
    NoteHash;
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
    /// A key's path through a state tree: the hash of the key, or of a plugin and stream.
    StateKey;
    /// What a leaf of a state tree holds: the hash of a value, or the root of a plugin's tree.
    StateValue;
    /// A leaf, node or root of a state tree.
    StateNode;
    /// The root over the state trees of all plugins and streams.
    StatesRoot;
    /// An id that a plugin asked for: a function of the place in the log.
    DerivedId;
    /// The id of one effect, and the idempotency key of its connector.
    EffectId;
    /// SHA-256 of an object's bytes: its name in an object store, and what a SKU's manifest says of an artifact.
    ObjectHash;
    /// BLAKE3 of a plugin's module.
    ModuleHash;
    /// The rules a module ran under: ABI, validator, gas table, instrumentation, limits.
    ProfileId;
    /// What a plugin wrote for one event.
    WritesHash;
    /// What a plugin emitted for one event.
    EmitsHash;
    /// What effects a plugin asked for at one event.
    EffectsHash;
    /// A plugin's manifest, as canonical JSON.
    ManifestHash;
    /// A declared schema, as canonical JSON.
    SchemaHash;
    /// What a lint and compliance run said about a release; the report itself is kept elsewhere.
    ReportHash;
    /// What to install of a release, and how.
    TemplateHash;
    /// Everything a release of a plugin claims.
    ReleaseHash;
    /// What a publisher signs.
    AttestationHash;
    /// What a reviewer signs.
    ReviewHash;
    /// The head of a plugin's life in one place: each of its events names the one before.
    LifeHash;
}

impl StateNode {
    /// The subtree without a leaf: SHA-256 of its tag alone.
    pub const EMPTY: Self = Self([
        0xfc, 0x4d, 0x18, 0x2f, 0x65, 0x22, 0x53, 0xce, 0x21, 0xd1, 0xff, 0x71, 0x09, 0x44, 0x63, 0x7c, 0x43, 0x49,
        0xef, 0x14, 0xcf, 0x2c, 0xe2, 0x92, 0x57, 0x12, 0x77, 0x5c, 0x63, 0x56, 0x38, 0xbf,
    ]);

    /// The node as the root over all plugins' trees.
    #[must_use]
    pub const fn states_root(self) -> StatesRoot {
        StatesRoot(self.0)
    }

    /// The root of a plugin's tree as it stands in the tree over all.
    #[must_use]
    pub const fn value(self) -> StateValue {
        StateValue(self.0)
    }
}

impl StatesRoot {
    /// No plugin has state.
    pub const EMPTY: Self = Self(StateNode::EMPTY.0);

    /// The root as a node of the tree over all.
    #[must_use]
    pub const fn node(self) -> StateNode {
        StateNode(self.0)
    }
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

/// Hashes of one kind; the vector's memory is kept.
fn wrap<T>(digests: Vec<[u8; 32]>, kind: fn([u8; 32]) -> T) -> Vec<T> {
    digests.into_iter().map(kind).collect()
}

/// RFC 6962 leaf: SHA-256(0x00 | entry).
#[must_use]
pub fn leaf(entry: &[u8]) -> LeafHash {
    LeafHash(sha256(&[RFC6962_LEAF, entry]))
}

/// RFC 6962 inner node: SHA-256(0x01 | left | right).
#[must_use]
pub fn node(left: &NodeHash, right: &NodeHash) -> NodeHash {
    let mut preimage = [1u8; 65];
    preimage[1..33].copy_from_slice(&left.0);
    preimage[33..].copy_from_slice(&right.0);
    NodeHash(sha256(&[&preimage]))
}

/// [`leaf`] of many entries.
#[must_use]
pub fn leaf_many<'a>(entries: impl Iterator<Item = &'a [u8]>) -> Vec<LeafHash> {
    wrap(lanes::sha256_many(RFC6962_LEAF, entries), LeafHash)
}

/// [`node`] of many pairs; each is left, right.
#[must_use]
pub fn node_many<'a>(pairs: impl Iterator<Item = (&'a NodeHash, &'a NodeHash)>) -> Vec<NodeHash> {
    wrap(pairs_many(RFC6962_NODE, pairs.map(|(left, right)| (&left.0, &right.0))), NodeHash)
}

fn pairs_many<'a>(tag: &[u8], pairs: impl Iterator<Item = (&'a [u8; 32], &'a [u8; 32])>) -> Vec<[u8; 32]> {
    let children: Vec<[u8; 64]> = pairs
        .map(|(left, right)| {
            let mut both = [0; 64];
            both[..32].copy_from_slice(left);
            both[32..].copy_from_slice(right);
            both
        })
        .collect();
    lanes::sha256_many(tag, children.iter().map(|both| &both[..]))
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

/// [`signing`] of many preimages.
#[must_use]
pub fn signing_many<'a>(preimages: impl Iterator<Item = &'a [u8]>) -> Vec<SigningHash> {
    wrap(lanes::sha256_many(&[], preimages), SigningHash)
}

/// [`payload_plain`] of many payloads.
#[must_use]
pub fn payload_plain_many<'a>(payloads: impl Iterator<Item = &'a [u8]>) -> Vec<PayloadHash> {
    wrap(lanes::sha256_many(VES_PAYLOAD_PLAIN, payloads), PayloadHash)
}

/// The hash of a plain payload: tag, canonical JSON.
#[must_use]
pub fn payload_plain(payload: &[u8]) -> PayloadHash {
    PayloadHash(sha256(&[VES_PAYLOAD_PLAIN, payload]))
}

/// The plain hash of an encrypted payload: tag, salt, canonical JSON.
#[must_use]
pub fn payload_plain_salted(salt: &[u8; 16], payload: &[u8]) -> PayloadHash {
    PayloadHash(sha256(&[VES_PAYLOAD_PLAIN, salt, payload]))
}

/// The associated data of an encrypted payload: tag, the signing preimage's bytes from the tenant to `created_at`,
/// plain hash.
#[must_use]
pub fn payload_aad(context: &[u8], plain: &PayloadHash) -> PayloadAad {
    PayloadAad(sha256(&[VES_PAYLOAD_AAD, context, &plain.0]))
}

/// The recipients of an encrypted payload: tag, then of each its key id, encapsulated key and wrapped key, each with
/// its length.
#[must_use]
pub fn recipients(entries: &[(u32, [u8; 32], [u8; 48])]) -> RecipientsHash {
    let mut state = Sha256::new();
    state.update(VES_RECIPIENTS);
    for (kid, enc, ct) in entries {
        state.update(kid.to_be_bytes());
        state.update(32u32.to_be_bytes());
        state.update(enc);
        state.update(48u32.to_be_bytes());
        state.update(ct);
    }
    RecipientsHash(state.finalize().into())
}

/// The hash of an encrypted payload: tag, version 1, nonce, associated data, ciphertext with its length, tag of the
/// cipher, recipients.
#[must_use]
pub fn payload_cipher(
    nonce: &[u8; 12],
    aad: &PayloadAad,
    ciphertext: &[u8],
    tag: &[u8; 16],
    recipients: &RecipientsHash,
) -> CipherHash {
    // A payload slot is far shorter than 4 GiB.
    let length = u32::try_from(ciphertext.len()).unwrap_or(u32::MAX);
    CipherHash(sha256(&[
        VES_PAYLOAD_CIPHER,
        &1u32.to_be_bytes(),
        nonce,
        &aad.0,
        &length.to_be_bytes(),
        ciphertext,
        tag,
        &recipients.0,
    ]))
}

/// VES leaf: tag, tenant, store, sequence, signing hash, agent signature.
#[must_use]
pub fn ves_leaf(stream: &Stream, sequence: Sequence, signing: &SigningHash, signature: &[u8; 64]) -> VesLeaf {
    VesLeaf(sha256(&[
        VES_LEAF,
        stream.tenant.as_bytes(),
        stream.store.as_bytes(),
        &sequence.get().to_be_bytes(),
        &signing.0,
        signature,
    ]))
}

/// [`ves_leaf`] of many events of one stream: sequence, signing hash and signature of each.
#[must_use]
pub fn ves_leaf_many<'a>(
    stream: &Stream,
    events: impl Iterator<Item = (Sequence, &'a SigningHash, &'a [u8; 64])>,
) -> Vec<VesLeaf> {
    let preimages: Vec<[u8; 136]> = events
        .map(|(sequence, signing, signature)| {
            let mut out = [0; 136];
            out[..16].copy_from_slice(stream.tenant.as_bytes());
            out[16..32].copy_from_slice(stream.store.as_bytes());
            out[32..40].copy_from_slice(&sequence.get().to_be_bytes());
            out[40..72].copy_from_slice(&signing.0);
            out[72..].copy_from_slice(signature);
            out
        })
        .collect();
    wrap(lanes::sha256_many(VES_LEAF, preimages.iter().map(|preimage| &preimage[..])), VesLeaf)
}

/// VES node: tag, left, right.
#[must_use]
pub fn ves_node(left: &VesNode, right: &VesNode) -> VesNode {
    VesNode(sha256(&[VES_NODE, &left.0, &right.0]))
}

/// [`ves_node`] of many pairs; each is left, right.
#[must_use]
pub fn ves_node_many<'a>(pairs: impl Iterator<Item = (&'a VesNode, &'a VesNode)>) -> Vec<VesNode> {
    wrap(pairs_many(VES_NODE, pairs.map(|(left, right)| (&left.0, &right.0))), VesNode)
}

/// The leaf that fills a VES tree up to the next power of two.
#[must_use]
pub fn ves_pad() -> VesNode {
    VesNode(sha256(&[VES_PAD_LEAF]))
}

/// VES stream id: tag, tenant, store.
#[must_use]
pub fn ves_stream(stream: &Stream) -> VesStreamId {
    VesStreamId(sha256(&[VES_STREAM, stream.tenant.as_bytes(), stream.store.as_bytes()]))
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
        VES_STATE_ROOT,
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
        VES_RECEIPT,
        stream.tenant.as_bytes(),
        stream.store.as_bytes(),
        event.as_bytes(),
        &sequence.get().to_be_bytes(),
        &signing.0,
    ]))
}

/// VES key proof-of-possession: tag, key bytes.
#[must_use]
pub fn ves_pop(key: &[u8]) -> PopHash {
    PopHash(sha256(&[VES_POP, key]))
}

/// The challenges of many Ed25519 signatures: SHA-512(R | A | M), as RFC 8032 has it, without a tag.
pub(crate) fn challenge_many<'a>(parts: impl Iterator<Item = [&'a [u8; 32]; 3]>) -> Vec<[u8; 64]> {
    lanes::sha512_many_of_96(parts)
}

/// The hash under which an API key is kept: keyed BLAKE3 under the node's secret, so that a stolen database alone does
/// not let anyone test guesses.
#[must_use]
pub fn api_key(secret: &[u8; 32], key: &[u8]) -> ApiKeyHash {
    let under = blake3::derive_key("tally api keys at rest v1", secret);
    ApiKeyHash(*blake3::keyed_hash(&under, key).as_bytes())
}

/// A derived id (design section 2): tag, then the parts the kind of id names, which must be unambiguous together.
#[must_use]
pub fn derived_id(parts: &[&[u8]]) -> [u8; 32] {
    tagged(TALLY_ID, parts)
}

/// The id of an effect: tag, then parts that are unambiguous together ([`crate::outcome::effect_id`]).
#[must_use]
pub fn effect_id(parts: &[&[u8]]) -> EffectId {
    EffectId(tagged(TALLY_EFFECT, parts))
}

/// The id of the event that answers an effect: the first 16 bytes of tag, effect id and number, marked as a UUID of
/// version 8 (RFC 9562 section 5.8). `number` counts the ids before it that others took, from 0.
#[must_use]
pub fn answer_event_id(effect: &EffectId, number: u32) -> EventId {
    event_id_of(tagged(TALLY_ANSWER, &[&effect.0, &number.to_be_bytes()]))
}

/// The id of the event that a gateway signs for a command (docs/formats/market-api.md): the same caller's same key is the
/// same event, also after a restart and from another gateway.
#[must_use]
pub fn command_event(stream: &Stream, principal: &str, event_type: &str, entity_id: &str, key: &str) -> EventId {
    event_of(
        TALLY_COMMAND,
        stream,
        &[principal.as_bytes(), event_type.as_bytes(), entity_id.as_bytes(), key.as_bytes()],
    )
}

/// The id of the event of a fact that a provider reported (docs/formats/market-api.md): the same fact is the same event,
/// however often and in however many messages it comes.
#[must_use]
pub fn fact_event(stream: &Stream, event_type: &str, entity_id: &str, payload: &[u8]) -> EventId {
    event_of(TALLY_FACT, stream, &[event_type.as_bytes(), entity_id.as_bytes(), payload])
}

/// Named by tag, stream and parts with their lengths.
fn event_of(tag: &[u8], stream: &Stream, parts: &[&[u8]]) -> EventId {
    let mut state = Sha256::new();
    state.update(tag);
    state.update(stream.to_bytes());
    for part in parts {
        update_str(&mut state, part);
    }
    event_id_of(state.finalize().into())
}

/// A UUID of version 8 (RFC 9562 section 5.8): the first 16 bytes of a hash, six bits set.
fn event_id_of(hash: [u8; 32]) -> EventId {
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    id[6] = (id[6] & 0x0f) | 0x80;
    id[8] = (id[8] & 0x3f) | 0x80;
    EventId::from_bytes(id)
}

/// SHA-256 of a tag and parts that are unambiguous together.
fn tagged(tag: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut state = Sha256::new();
    state.update(tag);
    for part in parts {
        state.update(part);
    }
    state.finalize().into()
}

/// The path of a plugin's key through its state tree.
#[must_use]
pub fn state_key(key: &[u8]) -> StateKey {
    StateKey(sha256(&[TALLY_STATE_KEY, key]))
}

/// [`state_key`] of many keys.
#[must_use]
pub fn state_key_many<'a>(keys: impl Iterator<Item = &'a [u8]>) -> Vec<StateKey> {
    wrap(lanes::sha256_many(TALLY_STATE_KEY, keys), StateKey)
}

/// What the leaf of a plugin's value holds.
#[must_use]
pub fn state_value(value: &[u8]) -> StateValue {
    StateValue(sha256(&[TALLY_STATE_VALUE, value]))
}

/// [`state_value`] of many values.
#[must_use]
pub fn state_value_many<'a>(values: impl Iterator<Item = &'a [u8]>) -> Vec<StateValue> {
    wrap(lanes::sha256_many(TALLY_STATE_VALUE, values), StateValue)
}

/// The path of a plugin's tree through the tree over all: tag, tenant, store, the plugin's id.
#[must_use]
pub fn state_tree(stream: &Stream, plugin: &PluginId) -> StateKey {
    StateKey(sha256(&[TALLY_STATE_TREE, stream.tenant.as_bytes(), stream.store.as_bytes(), plugin.as_str().as_bytes()]))
}

/// A leaf of a state tree: tag, the whole path, the value's hash.
#[must_use]
pub fn state_leaf(key: &StateKey, value: &StateValue) -> StateNode {
    StateNode(sha256(&[TALLY_STATE_LEAF, &key.0, &value.0]))
}

/// [`state_leaf`] of many pairs.
#[must_use]
pub fn state_leaf_many<'a>(leaves: impl Iterator<Item = (&'a StateKey, &'a StateValue)>) -> Vec<StateNode> {
    wrap(pairs_many(TALLY_STATE_LEAF, leaves.map(|(key, value)| (&key.0, &value.0))), StateNode)
}

/// A node of a state tree: tag, left, right.
#[must_use]
pub fn state_node(left: &StateNode, right: &StateNode) -> StateNode {
    StateNode(sha256(&[TALLY_STATE_NODE, &left.0, &right.0]))
}

/// [`state_node`] of many pairs; each is left, right.
#[must_use]
pub fn state_node_many<'a>(pairs: impl Iterator<Item = (&'a StateNode, &'a StateNode)>) -> Vec<StateNode> {
    wrap(pairs_many(TALLY_STATE_NODE, pairs.map(|(left, right)| (&left.0, &right.0))), StateNode)
}

/// Bytes after their length, as every variable part of a preimage of ours is written.
fn update_str(state: &mut Sha256, bytes: &[u8]) {
    // A guest has a 32-bit memory; nothing longer comes from there.
    state.update(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    state.update(bytes);
}

/// What a plugin wrote: tag, then of each key, in order, the key with its length and 0 if it was deleted, or 1 and the
/// value with its length. The order is the caller's duty ([`crate::outcome::writes_hash`]).
pub(crate) fn writes<'a>(writes: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> WritesHash {
    let mut state = Sha256::new();
    state.update(TALLY_WRITES);
    for (key, value) in writes {
        update_str(&mut state, key);
        state.update([u8::from(value.is_some())]);
        if let Some(value) = value {
            update_str(&mut state, value);
        }
    }
    WritesHash(state.finalize().into())
}

/// [`writes`] of many sets, from what stands behind the tag ([`crate::outcome::write_set`] writes it), in lanes.
pub(crate) fn writes_many<'a>(sets: impl Iterator<Item = &'a [u8]>) -> Vec<WritesHash> {
    wrap(lanes::sha256_many(TALLY_WRITES, sets), WritesHash)
}

/// What a plugin emitted: tag, then of each emit, in the order of the calls, event type and body with their lengths.
#[must_use]
pub fn emits<'a>(emits: impl Iterator<Item = (&'a str, &'a [u8])>) -> EmitsHash {
    let mut state = Sha256::new();
    state.update(TALLY_EMITS);
    for (event_type, body) in emits {
        update_str(&mut state, event_type.as_bytes());
        update_str(&mut state, body);
    }
    EmitsHash(state.finalize().into())
}

/// What effects a plugin asked for: tag, then of each, in the order of the calls, its id, and kind and body with their
/// lengths. The idempotency suffix is in the id.
#[must_use]
pub fn effects<'a>(effects: impl Iterator<Item = (&'a EffectId, &'a str, &'a [u8])>) -> EffectsHash {
    let mut state = Sha256::new();
    state.update(TALLY_REQUESTS);
    for (id, kind, body) in effects {
        state.update(id.0);
        update_str(&mut state, kind.as_bytes());
        update_str(&mut state, body);
    }
    EffectsHash(state.finalize().into())
}

/// A profile: tag, four versions, then each limit's name with its length and its value.
pub(crate) fn profile(versions: [u32; 4], limits: &[(&str, u64)]) -> ProfileId {
    let mut state = Sha256::new();
    state.update(TALLY_PROFILE);
    for version in versions {
        state.update(version.to_be_bytes());
    }
    for (name, value) in limits {
        update_str(&mut state, name.as_bytes());
        state.update(value.to_be_bytes());
    }
    ProfileId(state.finalize().into())
}

/// A plugin's manifest: tag, canonical JSON.
#[must_use]
pub fn manifest(json: &[u8]) -> ManifestHash {
    ManifestHash(tagged(TALLY_MANIFEST, &[json]))
}

/// A declared schema: tag, canonical JSON.
#[must_use]
pub fn schema(json: &[u8]) -> SchemaHash {
    SchemaHash(tagged(TALLY_SCHEMA, &[json]))
}

/// A release: tag, its fields ([`crate::release::Release`] writes them).
pub(crate) fn release(fields: &[u8]) -> ReleaseHash {
    ReleaseHash(tagged(TALLY_RELEASE, &[fields]))
}

/// What a publisher signs: tag, release, agent, key id, time.
#[must_use]
pub fn attestation(release: &ReleaseHash, agent: &AgentId, key_id: KeyId, at: LogTime) -> AttestationHash {
    let (key_id, at) = (key_id.get().to_be_bytes(), at.micros().to_be_bytes());
    AttestationHash(tagged(TALLY_ATTEST, &[&release.0, agent.as_bytes(), &key_id, &at]))
}

/// What a lint and compliance run said about a release: tag, canonical JSON.
#[must_use]
pub fn report(json: &[u8]) -> ReportHash {
    ReportHash(tagged(TALLY_REPORT, &[json]))
}

/// A template: tag, canonical JSON.
#[must_use]
pub fn template(json: &[u8]) -> TemplateHash {
    TemplateHash(tagged(TALLY_TEMPLATE, &[json]))
}

/// What the publisher of a template signs: tag, template, agent, key id, time.
#[must_use]
pub fn template_seal(template: &TemplateHash, agent: &AgentId, key_id: KeyId, at: LogTime) -> AttestationHash {
    let (key_id, at) = (key_id.get().to_be_bytes(), at.micros().to_be_bytes());
    AttestationHash(tagged(TALLY_TEMPLATE_SEAL, &[&template.0, agent.as_bytes(), &key_id, &at]))
}

/// What a reviewer signs: tag, its fields ([`crate::release::Review`] writes them).
pub(crate) fn review(fields: &[u8]) -> ReviewHash {
    ReviewHash(tagged(TALLY_REVIEW, &[fields]))
}

/// The head that a plugin's life in one place starts from: tag, 0, ledger, tenant, store, plugin.
#[must_use]
pub fn life_start(ledger: &LedgerId, stream: &Stream, plugin: &PluginId) -> LifeHash {
    LifeHash(tagged(TALLY_LIFE, &[&[0], &ledger.0, &stream.to_bytes(), plugin.as_str().as_bytes()]))
}

/// The head after an event: tag, 1, the head before, the event type with its length, the payload.
#[must_use]
pub fn life_next(head: &LifeHash, event_type: &str, payload: &[u8]) -> LifeHash {
    let length = u32::try_from(event_type.len()).unwrap_or(u32::MAX).to_be_bytes();
    LifeHash(tagged(TALLY_LIFE, &[&[1], &head.0, &length, event_type.as_bytes(), payload]))
}

/// The content address of a plugin's module: BLAKE3 of its bytes.
#[must_use]
pub fn module(bytes: &[u8]) -> ModuleHash {
    ModuleHash(*blake3::hash(bytes).as_bytes())
}

/// The key id of a note's key (C2SP signed-note, Signatures): the first four bytes of
/// SHA-256(name | newline | signature type | public key). The format gives it no tag; it identifies and proves nothing.
#[must_use]
pub fn note_key_id(name: &str, signature_type: u8, key: &PublicKey) -> [u8; 4] {
    let [a, b, c, d, ..] = sha256(&[name.as_bytes(), b"\n", &[signature_type], key.as_bytes()]);
    [a, b, c, d]
}

/// The hash of a signed note's bytes, for a chain. A contract hashes nothing before it, so it has no tag; it stands only
/// where a note's hash is asked for.
#[must_use]
pub fn note(note: &str) -> NoteHash {
    NoteHash(sha256(&[note.as_bytes()]))
}

/// The content address of a stored run's bytes.
#[must_use]
pub fn run(bytes: &[u8]) -> RunHash {
    RunHash(*blake3::hash(bytes).as_bytes())
}

/// What a plugin asks its host to hash with SHA-256. The guest's own bytes, so without a tag: it proves nothing here.
#[must_use]
pub fn for_guest_sha256(bytes: &[u8]) -> [u8; 32] {
    sha256(&[bytes])
}

/// What a plugin asks its host to hash with BLAKE3; see [`for_guest_sha256`].
#[must_use]
pub fn for_guest_blake3(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}
