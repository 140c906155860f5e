//! The offline bundle: one file that proves one event, for `tally verify`, a browser or anybody else.
//!
//! ```json
//! {"format": "tally-bundle/1",
//!  "genesis_entry": base64, "verifier_keys": [vkey, ...],
//!  "frame": base64, "index": number, "sequence": number, "sequenced_at": "YYYY-MM-DDTHH:MM:SS.ffffffZ",
//!  "agent_public_key": hex, "leaf_hash": hex,
//!  "inclusion_path": [hex, ...], "checkpoint": note,
//!  "anchors": [anchor, ...]}
//! ```
//!
//! A bundle is a claim: fields are raw and nothing in it is believed before [`Bundle::verify`] checked it. Reading is
//! strict about content (every member there once, none unknown, one spelling per value) and blind to white space
//! and member order, so a bundle that went through a pretty-printer still verifies. `anchors` may be missing. Later
//! versions add cosignatures; this one refuses them as unknown instead of passing over them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tally_protocol::entry::EventEntry;
use tally_protocol::frame::Frame;
use tally_protocol::hash::{LeafHash, NodeHash};
use tally_protocol::id::{Index, Sequence};
use tally_protocol::jcs::{self, JcsError, Value};
use tally_protocol::key::{self, PublicKey};
use tally_protocol::time::LogTime;

use crate::anchor::{ANCHORS_MAX, AnchoredEvent, BundleAnchor, ProvenAnchor, TrustedChain};
use crate::ledger::{Ledger, TrustRoot};
use crate::members::Members;
use crate::receipt::{Placed, check_inclusion, check_leaf};
use crate::report::{Check, CheckFailed, Checklist, Proven, Report, integer};

/// The value of the member `format`.
pub const BUNDLE_FORMAT: &str = "tally-bundle/1";

/// A bundle holds one frame (at most 1 MiB of payload, in base64) and little else.
pub const BUNDLE_BYTES_MAX: usize = 4 << 20;

/// An inclusion path of the largest possible tree has 64 hashes.
const PATH_HASHES_MAX: usize = 64;
/// Genesis names two keys; room for rotations is a later format's.
const VERIFIER_KEYS_MAX: usize = 16;

const MEMBERS: &[&str] = &[
    "format",
    "genesis_entry",
    "verifier_keys",
    "frame",
    "index",
    "sequence",
    "sequenced_at",
    "agent_public_key",
    "leaf_hash",
    "inclusion_path",
    "checkpoint",
    "anchors",
];

/// Why a text is not a bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Longer than [`BUNDLE_BYTES_MAX`].
    #[error("bundle is longer than {BUNDLE_BYTES_MAX} bytes")]
    TooLong,
    /// Not JSON, or JSON without an unambiguous meaning.
    #[error("bundle is not unambiguous JSON: {0}")]
    Json(JcsError),
    /// Not a JSON object.
    #[error("bundle is not a JSON object")]
    NotAnObject,
    /// The member `format` is not the one this version reads.
    #[error("bundle format is not {BUNDLE_FORMAT}")]
    Format,
    /// A member that this version does not know; it cannot be passed over, because it may say more than was checked.
    #[error("bundle has an unknown member")]
    Unknown,
    /// A member is missing.
    #[error("bundle lacks the member {0}")]
    Missing(&'static str),
    /// A member is not written as it must be.
    #[error("bundle member {0} is malformed")]
    Malformed(&'static str),
}

/// One event with all that is needed to check it offline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// The ledger's entry at index 0.
    pub genesis_entry: Vec<u8>,
    /// The keys that sign for the ledger, as vkeys; redundant to genesis, for tools that do not read it.
    pub verifier_keys: Vec<String>,
    /// The event as the agent sent it.
    pub frame: Bytes,
    /// Position in the log.
    pub index: Index,
    /// Position in the stream.
    pub sequence: Sequence,
    /// Log time.
    pub sequenced_at: LogTime,
    /// The agent key that was checked at sequencing.
    pub agent_public_key: PublicKey,
    /// The log's leaf for this event; redundant, so that a wrong place is told from a wrong path.
    pub leaf_hash: LeafHash,
    /// Siblings from the leaf upwards, at the checkpoint's size.
    pub inclusion_path: Vec<NodeHash>,
    /// A signed checkpoint that holds the event.
    pub checkpoint: String,
    /// Where the event is anchored, one a chain; may be empty.
    pub anchors: Vec<BundleAnchor>,
}

impl Bundle {
    /// Puts a bundle together; the redundant members are derived. Nothing is checked.
    #[must_use]
    pub fn assemble(ledger: &Ledger, frame: &Frame, placed: &Placed, path: Vec<NodeHash>, checkpoint: String) -> Self {
        Self {
            genesis_entry: ledger.genesis_entry().to_vec(),
            verifier_keys: ledger.verifier_keys().iter().map(ToString::to_string).collect(),
            frame: frame.bytes().clone(),
            index: placed.index,
            sequence: placed.sequence,
            sequenced_at: placed.sequenced_at,
            agent_public_key: placed.public_key,
            leaf_hash: placed.entry_of(frame).leaf_hash(),
            inclusion_path: path,
            checkpoint,
            anchors: Vec::new(),
        }
    }

    /// The bundle with these anchors (at most 8). Nothing is checked.
    #[must_use]
    pub fn anchored(self, anchors: Vec<BundleAnchor>) -> Self {
        Self { anchors, ..self }
    }

    /// The bundle as canonical JSON (RFC 8785).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let text = |text: &str| Value::String(text.to_owned());
        let keys = self.verifier_keys.iter().map(|key| text(key)).collect();
        let path = self.inclusion_path.iter().map(|hash| text(&hash.to_hex())).collect();
        let mut members = vec![
            ("format", text(BUNDLE_FORMAT)),
            ("genesis_entry", text(&STANDARD.encode(&self.genesis_entry))),
            ("verifier_keys", Value::Array(keys)),
            ("frame", text(&STANDARD.encode(&self.frame))),
            ("index", integer(self.index.get())),
            ("sequence", integer(self.sequence.get())),
            ("sequenced_at", text(&self.sequenced_at.to_rfc3339())),
            ("agent_public_key", text(&self.agent_public_key.to_hex())),
            ("leaf_hash", text(&self.leaf_hash.to_hex())),
            ("inclusion_path", Value::Array(path)),
            ("checkpoint", text(&self.checkpoint)),
        ];
        if !self.anchors.is_empty() {
            members.push(("anchors", Value::Array(self.anchors.iter().map(BundleAnchor::to_json).collect())));
        }
        jcs::to_canonical(&Value::object(members))
    }

    /// Reads a bundle.
    ///
    /// # Errors
    /// The text is not a bundle; see [`BundleError`].
    pub fn decode(text: &[u8]) -> Result<Self, BundleError> {
        if text.len() > BUNDLE_BYTES_MAX {
            return Err(BundleError::TooLong);
        }
        let value = jcs::parse(text).map_err(BundleError::Json)?;
        if value.as_object().is_none() {
            return Err(BundleError::NotAnObject);
        }
        if value.get("format").and_then(Value::as_str) != Some(BUNDLE_FORMAT) {
            return Err(BundleError::Format);
        }
        let members = Members::of(&value, "format", MEMBERS)?;
        Ok(Self {
            genesis_entry: members.base64("genesis_entry")?,
            verifier_keys: members.texts("verifier_keys", VERIFIER_KEYS_MAX, |key| Some(key.to_owned()))?,
            frame: members.base64("frame")?.into(),
            index: Index::new(members.number("index")?),
            sequence: Sequence::new(members.number("sequence")?),
            sequenced_at: members.text_as("sequenced_at", |text| LogTime::parse_canonical(text).ok())?,
            agent_public_key: members.text_as("agent_public_key", |text| PublicKey::from_hex(text).ok())?,
            leaf_hash: members.text_as("leaf_hash", |text| LeafHash::from_hex(text).ok())?,
            inclusion_path: members.texts("inclusion_path", PATH_HASHES_MAX, |hash| NodeHash::from_hex(hash).ok())?,
            checkpoint: members.text_as("checkpoint", |text| Some(text.to_owned()))?,
            anchors: members.optional("anchors").map(read_anchors).transpose()?.unwrap_or_default(),
        })
    }

    /// Checks everything the bundle claims, offline.
    #[must_use]
    pub fn verify(&self, trust: &TrustRoot) -> Report {
        let of_anchors = self.anchors.iter().flat_map(BundleAnchor::planned);
        let mut list = Checklist::new(Check::OF_AN_EVENT.iter().copied().chain(of_anchors));
        let result = self.check(trust, &mut list);
        list.close(result)
    }

    fn check(&self, trust: &TrustRoot, list: &mut Checklist) -> Result<Proven, CheckFailed> {
        let ledger = self.check_ledger(trust, list)?;
        let frame = self.check_event(list)?;
        let leaf_hash = check_leaf(&frame, &self.placed(), &self.leaf_hash)?;
        list.passed(
            Check::Leaf,
            format!("entry of sequence {} at {} hashes to {leaf_hash}", self.sequence, self.sequenced_at),
        );
        let keys = trust.keys_or(ledger.verifier_keys());
        let checkpoint = ledger.open_checkpoint_with(&self.checkpoint, keys)?;
        list.passed(
            Check::CheckpointSignature,
            format!("{} signed size {} with root {}", checkpoint.origin, checkpoint.size, checkpoint.root),
        );
        check_inclusion(&leaf_hash, self.index, &self.inclusion_path, &checkpoint)?;
        list.passed(
            Check::Inclusion,
            format!("index {} is in that tree ({} hashes)", self.index, self.inclusion_path.len()),
        );
        list.caveat("that the key was registered for the agent is recorded in the log; this file does not prove it");
        let event = AnchoredEvent { leaf: &leaf_hash, index: self.index, checkpoint: &checkpoint };
        let anchors = self.check_anchors(&ledger, trust, &event, list)?;
        Ok(Proven {
            ledger_id: Some(ledger.id()),
            origin: checkpoint.origin,
            index: self.index,
            leaf_hash,
            size: checkpoint.size,
            root: checkpoint.root,
            anchors,
        })
    }

    /// Every anchor holds, and there is one on each chain that the caller trusts: a bundle whose anchors were taken out
    /// must not pass for one that was anchored.
    fn check_anchors(
        &self,
        ledger: &Ledger,
        trust: &TrustRoot,
        event: &AnchoredEvent<'_>,
        list: &mut Checklist,
    ) -> Result<Vec<ProvenAnchor>, CheckFailed> {
        let missing = |trusted: &&TrustedChain| !self.anchors.iter().any(|a| a.chain_id == trusted.chain_id);
        if let Some(missing) = trust.chains.iter().find(missing) {
            let why = format!("the bundle has no anchor on chain {}, where one was asked for", missing.chain_id);
            return Err(CheckFailed::new(Check::AnchorTransaction, why));
        }
        self.anchors.iter().map(|anchor| anchor.check(ledger, trust, event, list)).collect()
    }

    fn check_ledger(&self, trust: &TrustRoot, list: &mut Checklist) -> Result<Ledger, CheckFailed> {
        let ledger = Ledger::from_genesis(&self.genesis_entry)?;
        list.passed(Check::Genesis, format!("{} since {}", ledger.genesis().origin, ledger.genesis().created_at));
        ledger.check_trust(trust)?;
        match trust.ledger_id {
            Some(_) => list.passed(Check::LedgerId, format!("{}, as trusted", ledger.id())),
            None => {
                list.passed(Check::LedgerId, format!("{} (from the bundle itself)", ledger.id()));
                if trust.verifier_keys.is_empty() {
                    list.caveat("no ledger id or key was given to trust: compare the ledger id with one you know");
                }
            }
        }
        let derived: Vec<String> = ledger.verifier_keys().iter().map(ToString::to_string).collect();
        if self.verifier_keys != derived {
            return Err(CheckFailed::new(Check::VerifierKeys, "these are not the keys that genesis names"));
        }
        list.passed(Check::VerifierKeys, format!("the {} that genesis names", derived.len()));
        Ok(ledger)
    }

    fn check_event(&self, list: &mut Checklist) -> Result<Frame, CheckFailed> {
        let frame = Frame::decode(self.frame.clone()).map_err(|error| CheckFailed::new(Check::Frame, error))?;
        list.passed(Check::Frame, format!("event {} of stream {}", frame.event_id(), frame.stream()));
        frame.check_payload().map_err(|error| CheckFailed::new(Check::PayloadHash, error))?;
        list.passed(Check::PayloadHash, format!("{} bytes of payload, as signed", frame.payload().len()));
        if !key::verify(&self.agent_public_key, frame.signing_hash().as_bytes(), &frame.signature()) {
            return Err(CheckFailed::new(Check::AgentSignature, "the signature is not this key's over this event"));
        }
        list.passed(
            Check::AgentSignature,
            format!("agent {} by key {} ({})", frame.agent_id(), frame.key_id(), self.agent_public_key),
        );
        Ok(frame)
    }

    /// The event's place as the bundle claims it.
    #[must_use]
    pub const fn placed(&self) -> Placed {
        Placed {
            index: self.index,
            sequence: self.sequence,
            sequenced_at: self.sequenced_at,
            public_key: self.agent_public_key,
        }
    }

    /// The entry as the bundle claims it.
    ///
    /// # Errors
    /// The frame does not decode.
    pub fn entry(&self) -> Result<EventEntry, CheckFailed> {
        let frame = Frame::decode(self.frame.clone()).map_err(|error| CheckFailed::new(Check::Frame, error))?;
        Ok(self.placed().entry_of(&frame))
    }
}

fn read_anchors(value: &Value) -> Result<Vec<BundleAnchor>, BundleError> {
    match value {
        Value::Array(items) if (1..=ANCHORS_MAX).contains(&items.len()) => {
            items.iter().map(BundleAnchor::from_json).collect()
        }
        _ => Err(BundleError::Malformed("anchors")),
    }
}
