//! The entry: what the log commits for one event, and the genesis entry at index 0.
//!
//! ```text
//! event:   "TALLY_ENTRY_V1" | u8 kind = 1 | tenant[16] | store[16] | u64 sequence | signing hash[32]
//!          | agent signature[64] | agent public key[32] | u64 sequenced_at (µs)             191 bytes
//! genesis: "TALLY_ENTRY_V1" | u8 kind = 0 | str origin | str profile | u64 created_at (µs) | nonce[16]
//!          | checkpoint key[32] | receipt key[32] | root agent[16] | root key[32]
//! ```
//! Numbers are big-endian, str = u32 byte length | UTF-8 bytes. The leaf hash of an entry is SHA-256(0x00 | entry),
//! and the genesis entry's is the ledger's identity. Decoding accepts exactly what encoding writes.

use crate::frame::Frame;
use crate::hash::{self, LeafHash, LedgerId, SigningHash, VesLeaf};
use crate::id::{AgentId, Sequence, Stream};
use crate::key::{KeyError, PublicKey, Signature, check_registration};
use crate::limits::{ENTRY_BYTES_MAX, EVENT_ENTRY_BYTES, ORIGIN_BYTES_MAX, PROFILE_BYTES_MAX};
use crate::time::LogTime;

/// The tag that opens every entry.
pub const ENTRY_TAG: &[u8; 14] = b"TALLY_ENTRY_V1";
/// The profile this version writes into genesis: which rules hold until an event says otherwise.
pub const PROFILE: &str = "tally/1";

const KIND_GENESIS: u8 = 0;
const KIND_EVENT: u8 = 1;

/// Why bytes are not an entry, or a genesis is not one that may open a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The bytes end before the entry does.
    #[error("entry is cut short")]
    Truncated,
    /// Bytes follow where the entry should end.
    #[error("entry has surplus bytes")]
    Surplus,
    /// The entry does not open with its tag.
    #[error("not an entry")]
    Tag,
    /// Neither genesis nor event.
    #[error("unknown kind of entry: {0}")]
    Kind(u8),
    /// Sequences start at 1.
    #[error("sequence is zero")]
    SequenceZero,
    /// An origin is a line of 1 to 255 visible characters without blanks and plus signs.
    #[error("origin is not a valid log name")]
    Origin,
    /// A profile is 1 to 64 visible ASCII characters.
    #[error("profile is not a valid name")]
    Profile,
    /// A time later than 9999.
    #[error("time outside 1970 to 9999")]
    Time,
    /// A key that may not be registered may not open a ledger either.
    #[error("{0}: {1}")]
    Key(&'static str, KeyError),
    /// The root agent's id is nil.
    #[error("root agent is nil")]
    RootAgent,
}

/// What the log commits for one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventEntry {
    /// Tenant and store.
    pub stream: Stream,
    /// Position in the stream, from 1.
    pub sequence: Sequence,
    /// What the agent signed.
    pub signing_hash: SigningHash,
    /// The agent's signature.
    pub signature: Signature,
    /// The key it was checked with.
    pub public_key: PublicKey,
    /// Log time.
    pub sequenced_at: LogTime,
}

impl EventEntry {
    /// The entry of a frame at its place. `signing_hash` must be the frame's; it is passed so that nobody hashes
    /// twice.
    #[must_use]
    pub fn of_frame(
        frame: &Frame,
        signing_hash: SigningHash,
        sequence: Sequence,
        public_key: PublicKey,
        sequenced_at: LogTime,
    ) -> Self {
        let (stream, signature) = (frame.stream(), frame.signature());
        Self { stream, sequence, signing_hash, signature, public_key, sequenced_at }
    }

    /// The entry's 191 bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; EVENT_ENTRY_BYTES] {
        let mut out = [0; EVENT_ENTRY_BYTES];
        out[..14].copy_from_slice(ENTRY_TAG);
        out[14] = KIND_EVENT;
        out[15..47].copy_from_slice(&self.stream.to_bytes());
        out[47..55].copy_from_slice(&self.sequence.get().to_be_bytes());
        out[55..87].copy_from_slice(self.signing_hash.as_bytes());
        out[87..151].copy_from_slice(self.signature.as_bytes());
        out[151..183].copy_from_slice(self.public_key.as_bytes());
        out[183..].copy_from_slice(&self.sequenced_at.micros().to_be_bytes());
        out
    }

    /// What the log's tree holds for this entry.
    #[must_use]
    pub fn leaf_hash(&self) -> LeafHash {
        hash::leaf(&self.encode())
    }

    /// [`EventEntry::leaf_hash`] of many entries, hashed together.
    #[must_use]
    pub fn leaf_hash_many(entries: impl Iterator<Item = Self>) -> Vec<LeafHash> {
        let entries: Vec<[u8; EVENT_ENTRY_BYTES]> = entries.map(|entry| entry.encode()).collect();
        hash::leaf_many(entries.iter().map(|entry| &entry[..]))
    }

    /// What a VES commitment's tree holds for this entry.
    #[must_use]
    pub fn ves_leaf(&self) -> VesLeaf {
        hash::ves_leaf(&self.stream, self.sequence, &self.signing_hash, self.signature.as_bytes())
    }

    /// Decodes an event entry.
    ///
    /// # Errors
    /// The bytes are anything but what [`EventEntry::encode`] writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        match Entry::decode(bytes)? {
            Entry::Event(entry) => Ok(entry),
            Entry::Genesis(_) => Err(EntryError::Kind(KIND_GENESIS)),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, EntryError> {
        let entry = Self {
            stream: Stream::from_bytes(&reader.array()?),
            sequence: Sequence::new(reader.u64()?),
            signing_hash: SigningHash::from_bytes(reader.array()?),
            signature: Signature::from_bytes(reader.array()?),
            public_key: PublicKey::from_bytes(reader.array()?),
            sequenced_at: LogTime::from_micros(reader.u64()?),
        };
        if entry.sequence.get() == 0 {
            return Err(EntryError::SequenceZero);
        }
        Ok(entry)
    }
}

/// The entry at index 0: who this ledger is and which keys it starts with. It has no stream and no sequence.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Genesis {
    /// The log's name: the first line of its checkpoints and the name of its keys.
    pub origin: String,
    /// Which rules hold; [`PROFILE`] for a ledger made by this version.
    pub profile: String,
    /// When the ledger was made.
    pub created_at: LogTime,
    /// Sixteen random bytes: two ledgers with one name are still two.
    pub nonce: [u8; 16],
    /// Signs the published checkpoints.
    pub checkpoint_key: PublicKey,
    /// The online key: signs the receipts' checkpoints and the VES receipts.
    pub receipt_key: PublicKey,
    /// The agent that signs the ledger's control events.
    pub root_agent: AgentId,
    /// Its first key (key id 1).
    pub root_key: PublicKey,
}

impl Genesis {
    /// Whether this genesis may open a ledger; decoding refuses one that may not.
    ///
    /// # Errors
    /// The first field that breaks its rule.
    pub fn check(&self) -> Result<(), EntryError> {
        let visible = |c: char| !c.is_whitespace() && !c.is_control() && c != '+';
        if !(1..=ORIGIN_BYTES_MAX).contains(&self.origin.len()) || !self.origin.chars().all(visible) {
            return Err(EntryError::Origin);
        }
        let profile = self.profile.as_bytes();
        if !(1..=PROFILE_BYTES_MAX).contains(&profile.len()) || !profile.iter().all(u8::is_ascii_graphic) {
            return Err(EntryError::Profile);
        }
        if self.created_at > LogTime::MAX {
            return Err(EntryError::Time);
        }
        if self.root_agent.is_nil() {
            return Err(EntryError::RootAgent);
        }
        let keys = [
            ("checkpoint key", &self.checkpoint_key),
            ("receipt key", &self.receipt_key),
            ("root key", &self.root_key),
        ];
        keys.iter().try_for_each(|(name, key)| check_registration(key).map_err(|error| EntryError::Key(name, error)))
    }

    /// The entry's bytes. Only a genesis that passes [`Genesis::check`] decodes again.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(ENTRY_TAG);
        out.push(KIND_GENESIS);
        for text in [&self.origin, &self.profile] {
            out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        out.extend_from_slice(&self.created_at.micros().to_be_bytes());
        out.extend_from_slice(&self.nonce);
        out.extend_from_slice(self.checkpoint_key.as_bytes());
        out.extend_from_slice(self.receipt_key.as_bytes());
        out.extend_from_slice(self.root_agent.as_bytes());
        out.extend_from_slice(self.root_key.as_bytes());
        out
    }

    /// Decodes a genesis entry.
    ///
    /// # Errors
    /// The bytes are anything but what [`Genesis::encode`] writes for a genesis that may open a ledger.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        match Entry::decode(bytes)? {
            Entry::Genesis(genesis) => Ok(genesis),
            Entry::Event(_) => Err(EntryError::Kind(KIND_EVENT)),
        }
    }

    /// The leaf hash at index 0.
    #[must_use]
    pub fn leaf_hash(&self) -> LeafHash {
        hash::leaf(&self.encode())
    }

    /// The ledger's identity.
    #[must_use]
    pub fn ledger_id(&self) -> LedgerId {
        self.leaf_hash().ledger_id()
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, EntryError> {
        let genesis = Self {
            origin: reader.text(ORIGIN_BYTES_MAX, EntryError::Origin)?,
            profile: reader.text(PROFILE_BYTES_MAX, EntryError::Profile)?,
            created_at: LogTime::from_micros(reader.u64()?),
            nonce: reader.array()?,
            checkpoint_key: PublicKey::from_bytes(reader.array()?),
            receipt_key: PublicKey::from_bytes(reader.array()?),
            root_agent: AgentId::from_bytes(reader.array()?),
            root_key: PublicKey::from_bytes(reader.array()?),
        };
        genesis.check()?;
        Ok(genesis)
    }
}

/// Any entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Entry {
    /// Index 0.
    Genesis(Genesis),
    /// Every other index.
    Event(EventEntry),
}

impl Entry {
    /// The entry's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Genesis(genesis) => genesis.encode(),
            Self::Event(entry) => entry.encode().to_vec(),
        }
    }

    /// What the log's tree holds for this entry.
    #[must_use]
    pub fn leaf_hash(&self) -> LeafHash {
        match self {
            Self::Genesis(genesis) => genesis.leaf_hash(),
            Self::Event(entry) => entry.leaf_hash(),
        }
    }

    /// Decodes any entry.
    ///
    /// # Errors
    /// The bytes are anything but what [`Entry::encode`] writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(EntryError::Surplus);
        }
        let mut reader = Reader(bytes);
        if &reader.array::<14>()? != ENTRY_TAG {
            return Err(EntryError::Tag);
        }
        let [kind] = reader.array()?;
        let entry = match kind {
            KIND_GENESIS => Self::Genesis(Genesis::read(&mut reader)?),
            KIND_EVENT => Self::Event(EventEntry::read(&mut reader)?),
            _ => return Err(EntryError::Kind(kind)),
        };
        if reader.0.is_empty() { Ok(entry) } else { Err(EntryError::Surplus) }
    }
}

/// What is still to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], EntryError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(EntryError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], EntryError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(EntryError::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u64(&mut self) -> Result<u64, EntryError> {
        self.array().map(u64::from_be_bytes)
    }

    fn text(&mut self, bytes_max: usize, error: EntryError) -> Result<String, EntryError> {
        let length = usize::try_from(u32::from_be_bytes(self.array()?)).map_err(|_| error)?;
        if length > bytes_max {
            return Err(error);
        }
        let text = core::str::from_utf8(self.take(length)?).map_err(|_| error)?;
        Ok(text.to_owned())
    }
}
