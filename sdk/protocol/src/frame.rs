//! The frame: one event's bytes, the same on the wire and (but for the payload slot) on disk.
//!
//! ```text
//! u32 length (of what follows) | signing preimage | u32 payload length | payload | agent signature [64]
//! preimage: "VES_EVENTSIG_V1" | u32 version = 1 | tenant[16] | store[16] | event id[16] | agent[16] | u32 key id
//!           | str entity_type | str entity_id | str event_type | str created_at | u32 payload kind
//!           | plain hash[32] | cipher hash[32]          with str = u32 byte length | UTF-8 bytes
//! ```
//! Numbers are big-endian. Takes received bytes or an event's fields, gives a [`Frame`] whose shape is valid: decoding
//! checks every length against its bound before using it, and accepts exactly what building writes. What decoding does
//! not look at is the payload ([`Frame::check_payload`]), the signature ([`crate::key`]) and `created_at` as a time.

mod fields;

use bytes::Bytes;

use crate::encrypted::{EncryptedError, EncryptedPayload};
use crate::error::{Reject, RejectCode};
use crate::hash::{self, CipherHash, PayloadAad, PayloadHash, SigningHash};
use crate::id::{AgentId, EventId, KeyId, StoreId, Stream, TenantId};
use crate::jcs::{self, JcsError};
use crate::key::Signature;
use crate::limits::{
    CREATED_AT_BYTES_MAX, ENTITY_ID_BYTES_MAX, ENTITY_TYPE_BYTES_MAX, EVENT_TYPE_BYTES_MAX, FRAME_BYTES_MAX,
    FRAME_FIXED_BYTES, PAYLOAD_BYTES_MAX, PREIMAGE_FIXED_BYTES,
};
use crate::time::{LogTime, TimeError};

pub use fields::EventFields;
use fields::{check_string, push_bytes};

/// The tag that opens a signing preimage.
pub const PREIMAGE_TAG: &[u8; 15] = b"VES_EVENTSIG_V1";
/// The one version of the VES envelope there is.
pub const VES_VERSION: u32 = 1;

// Offsets from the start of the frame; all before the first string are fixed.
const TAG_AT: usize = 4;
const VERSION_AT: usize = TAG_AT + PREIMAGE_TAG.len();
const STREAM_AT: usize = VERSION_AT + 4;
const EVENT_AT: usize = STREAM_AT + 32;
const AGENT_AT: usize = EVENT_AT + 16;
const KEY_AT: usize = AGENT_AT + 16;
const STRINGS_AT: usize = KEY_AT + 4;

/// The four strings in their order: the field's name and its bound.
const STRINGS: [(&str, usize); 4] = [
    ("entity_type", ENTITY_TYPE_BYTES_MAX),
    ("entity_id", ENTITY_ID_BYTES_MAX),
    ("event_type", EVENT_TYPE_BYTES_MAX),
    ("created_at", CREATED_AT_BYTES_MAX),
];

/// What the payload slot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PayloadKind {
    /// Canonical JSON.
    Plain = 0,
    /// A VES-ENC-1 object as canonical JSON.
    Encrypted = 1,
}

impl PayloadKind {
    /// The kind as the envelope's number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The kind of a number, if it is one.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Plain),
            1 => Some(Self::Encrypted),
            _ => None,
        }
    }
}

/// Why bytes or fields are not a frame, or a frame's payload does not fit its hashes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length field promises less than the shortest or more than the longest frame.
    #[error("frame length {0} is outside the bounds")]
    Length(u64),
    /// The bytes end before the frame does.
    #[error("frame is cut short")]
    Truncated,
    /// A length within the frame runs over the frame's end.
    #[error("a length within the frame runs over its end")]
    Overrun,
    /// Bytes follow where the frame should end.
    #[error("frame has surplus bytes")]
    Surplus,
    /// The signing preimage does not open with its tag.
    #[error("frame does not hold a signing preimage")]
    Tag,
    /// Not version 1.
    #[error("ves_version must be 1")]
    Version(u32),
    /// A string is empty.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// A string is longer than its bound.
    #[error("{0} is longer than {1} bytes")]
    TooLong(&'static str, usize),
    /// A string is not UTF-8.
    #[error("{0} is not UTF-8")]
    Utf8(&'static str),
    /// A string holds U+0000.
    #[error("{0} contains U+0000")]
    Nul(&'static str),
    /// Neither 0 nor 1.
    #[error("payload_kind must be 0 or 1")]
    Kind(u32),
    /// The payload is longer than its bound.
    #[error("payload is longer than {PAYLOAD_BYTES_MAX} bytes")]
    PayloadTooLong,
    /// The payload is not canonical JSON.
    #[error("payload is not canonical JSON: {0}")]
    PayloadForm(#[from] JcsError),
    /// `payload_plain_hash` is not the payload's.
    #[error("payload_plain_hash is not the hash of the payload")]
    PlainHash,
    /// `payload_cipher_hash` is not the encrypted payload's.
    #[error("payload_cipher_hash is not the hash of the encrypted payload")]
    CipherHash,
    /// `payload_cipher_hash` of a plain payload is not zero.
    #[error("payload_cipher_hash of a plain payload must be zero")]
    CipherHashNotZero,
    /// The encrypted payload is not a VES-ENC-1 object.
    #[error("payload_encrypted: {0}")]
    Encrypted(#[from] EncryptedError),
}

impl FrameError {
    /// Whether the position of the next frame is lost. If not, [`Frame::decode_prefix`] has stepped over the bad frame
    /// and its neighbours can still be read.
    #[must_use]
    pub const fn loses_framing(&self) -> bool {
        matches!(self, Self::Length(_) | Self::Truncated)
    }

    /// The refusal a client is told.
    #[must_use]
    pub fn reject(&self) -> Reject {
        let (code, field) = match self {
            Self::Length(_) | Self::Truncated | Self::Overrun | Self::Surplus | Self::Tag => {
                (RejectCode::SchemaValidation, None)
            }
            Self::Version(_) => (RejectCode::UnsupportedVersion, Some("ves_version")),
            Self::Empty(field) | Self::TooLong(field, _) | Self::Utf8(field) | Self::Nul(field) => {
                (RejectCode::SchemaValidation, Some(*field))
            }
            Self::Kind(_) => (RejectCode::SchemaValidation, Some("payload_kind")),
            Self::PayloadTooLong => (RejectCode::EventTooLarge, Some("payload")),
            Self::PayloadForm(_) => (RejectCode::PayloadNotCanonical, Some("payload")),
            Self::PlainHash => (RejectCode::InvalidPayloadHash, Some("payload_plain_hash")),
            Self::CipherHash | Self::CipherHashNotZero => (RejectCode::InvalidCipherHash, Some("payload_cipher_hash")),
            Self::Encrypted(_) => (RejectCode::SchemaValidation, Some("payload_encrypted")),
        };
        Reject { code, message: self.to_string(), field }
    }
}

/// One event of valid shape. Cheap to clone: the bytes are shared.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    bytes: Bytes,
    // Byte lengths of the four strings; every other offset follows from them.
    lengths: [u16; 4],
    kind: PayloadKind,
}

impl Frame {
    /// Decodes exactly one frame.
    ///
    /// # Errors
    /// The bytes are not one frame, or more than one.
    pub fn decode(bytes: Bytes) -> Result<Self, FrameError> {
        let length = read_u32(&bytes, 0).ok_or(FrameError::Truncated)?;
        let total = frame_bytes(length)?;
        match bytes.len() {
            have if have < total => Err(FrameError::Truncated),
            have if have > total => Err(FrameError::Surplus),
            _ => Self::decode_exact(bytes),
        }
    }

    /// Takes one frame off the front of `bytes`; `None` if it has not arrived whole, and then nothing is taken.
    ///
    /// # Errors
    /// A bad frame is taken off too, so that the next one can be read, unless the error
    /// [loses the framing](FrameError::loses_framing).
    pub fn decode_prefix(bytes: &mut Bytes) -> Result<Option<Self>, FrameError> {
        let Some(length) = read_u32(bytes, 0) else { return Ok(None) };
        let total = frame_bytes(length)?;
        if bytes.len() < total {
            return Ok(None);
        }
        Self::decode_exact(bytes.split_to(total)).map(Some)
    }

    /// Builds and signs a frame. The payload must already fit the fields' hashes.
    ///
    /// # Errors
    /// A bound is broken, the payload is not canonical, or a hash is not its own; nothing is signed then.
    pub fn build(
        fields: &EventFields,
        payload: &[u8],
        sign: impl FnOnce(&SigningHash) -> Signature,
    ) -> Result<Self, FrameError> {
        let unsigned = Self::from_parts(fields, payload, Signature::from_bytes([0; 64]))?;
        unsigned.check_payload()?;
        let signature = sign(&unsigned.signing_hash());
        Self::from_parts(fields, payload, signature)
    }

    /// Puts together a frame whose signature exists already. The payload's form and hashes are not looked at; see
    /// [`Frame::check_payload`].
    ///
    /// # Errors
    /// A bound is broken.
    pub fn from_parts(fields: &EventFields, payload: &[u8], signature: Signature) -> Result<Self, FrameError> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(FrameError::PayloadTooLong);
        }
        let strings = fields.strings();
        let total = FRAME_FIXED_BYTES + strings.iter().map(|text| text.len()).sum::<usize>() + payload.len();
        let mut out = Vec::with_capacity(total);
        out.extend_from_slice(&[0; 4]);
        fields.write_preimage(&mut out)?;
        push_bytes(&mut out, payload);
        out.extend_from_slice(signature.as_bytes());
        let length = u32::try_from(out.len() - 4).map_err(|_| FrameError::PayloadTooLong)?;
        out[..4].copy_from_slice(&length.to_be_bytes());
        // The bounds were checked while writing.
        let lengths = strings.map(|text| text.len() as u16);
        Ok(Self { bytes: out.into(), lengths, kind: fields.payload_kind })
    }

    fn decode_exact(bytes: Bytes) -> Result<Self, FrameError> {
        if bytes.get(TAG_AT..VERSION_AT) != Some(PREIMAGE_TAG) {
            return Err(FrameError::Tag);
        }
        let version = read_u32(&bytes, VERSION_AT).ok_or(FrameError::Overrun)?;
        if version != VES_VERSION {
            return Err(FrameError::Version(version));
        }
        let mut at = STRINGS_AT;
        let mut lengths = [0u16; 4];
        for (length, (field, bytes_max)) in lengths.iter_mut().zip(STRINGS) {
            let text = read_bytes(&bytes, at, |length| {
                if length > bytes_max { Err(FrameError::TooLong(field, bytes_max)) } else { Ok(()) }
            })?;
            check_string(text, field, bytes_max)?;
            at += 4 + text.len();
            *length = text.len() as u16;
        }
        let kind = read_u32(&bytes, at).ok_or(FrameError::Overrun)?;
        let kind = PayloadKind::from_number(kind).ok_or(FrameError::Kind(kind))?;
        at += 4 + 64;
        let payload =
            read_bytes(
                &bytes,
                at,
                |length| {
                    if length > PAYLOAD_BYTES_MAX { Err(FrameError::PayloadTooLong) } else { Ok(()) }
                },
            )?;
        match (at + 4 + payload.len() + 64).cmp(&bytes.len()) {
            core::cmp::Ordering::Less => Err(FrameError::Surplus),
            core::cmp::Ordering::Greater => Err(FrameError::Overrun),
            core::cmp::Ordering::Equal => Ok(Self { bytes, lengths, kind }),
        }
    }

    /// The whole frame, its length field included.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Everything the agent signed: the bytes whose SHA-256 is the signing hash.
    #[must_use]
    pub fn preimage(&self) -> &[u8] {
        &self.bytes[TAG_AT..self.payload_at()]
    }

    /// What the agent signed; hashes the preimage at each call.
    #[must_use]
    pub fn signing_hash(&self) -> SigningHash {
        hash::signing(self.preimage())
    }

    /// Tenant and store.
    #[must_use]
    pub fn stream(&self) -> Stream {
        Stream::from_bytes(&self.array(STREAM_AT))
    }

    /// The tenant.
    #[must_use]
    pub fn tenant_id(&self) -> TenantId {
        self.stream().tenant
    }

    /// The store.
    #[must_use]
    pub fn store_id(&self) -> StoreId {
        self.stream().store
    }

    /// The event's id.
    #[must_use]
    pub fn event_id(&self) -> EventId {
        EventId::from_bytes(self.array(EVENT_AT))
    }

    /// Who signed.
    #[must_use]
    pub fn agent_id(&self) -> AgentId {
        AgentId::from_bytes(self.array(AGENT_AT))
    }

    /// With which of its keys.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        KeyId::new(u32::from_be_bytes(self.array(KEY_AT)))
    }

    /// The entity's type.
    #[must_use]
    pub fn entity_type(&self) -> &str {
        self.string(0)
    }

    /// The entity's id.
    #[must_use]
    pub fn entity_id(&self) -> &str {
        self.string(1)
    }

    /// The event's type.
    #[must_use]
    pub fn event_type(&self) -> &str {
        self.string(2)
    }

    /// When the agent says it made the event, as written.
    #[must_use]
    pub fn created_at(&self) -> &str {
        self.string(3)
    }

    /// `created_at` as a time.
    ///
    /// # Errors
    /// The text is not RFC 3339 as `time` reads it.
    pub fn created_at_time(&self) -> Result<LogTime, TimeError> {
        LogTime::parse_rfc3339(self.created_at())
    }

    /// What the payload slot holds.
    #[must_use]
    pub const fn payload_kind(&self) -> PayloadKind {
        self.kind
    }

    /// Hash of the plain payload (with its salt, if it is encrypted), as signed.
    #[must_use]
    pub fn payload_plain_hash(&self) -> PayloadHash {
        PayloadHash::from_bytes(self.array(self.payload_at() - 64))
    }

    /// Hash of the encrypted payload, as signed.
    #[must_use]
    pub fn payload_cipher_hash(&self) -> CipherHash {
        CipherHash::from_bytes(self.array(self.payload_at() - 32))
    }

    /// The payload slot: canonical JSON.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.payload_at() + 4..self.bytes.len() - 64]
    }

    /// The agent's signature over the signing hash.
    #[must_use]
    pub fn signature(&self) -> Signature {
        Signature::from_bytes(self.array(self.bytes.len() - 64))
    }

    /// The signed fields, copied out.
    #[must_use]
    pub fn fields(&self) -> EventFields {
        EventFields {
            stream: self.stream(),
            event_id: self.event_id(),
            agent_id: self.agent_id(),
            key_id: self.key_id(),
            entity_type: self.entity_type().to_owned(),
            entity_id: self.entity_id().to_owned(),
            event_type: self.event_type().to_owned(),
            created_at: self.created_at().to_owned(),
            payload_kind: self.kind,
            payload_plain_hash: self.payload_plain_hash(),
            payload_cipher_hash: self.payload_cipher_hash(),
        }
    }

    /// What binds an encrypted payload to this event.
    #[must_use]
    pub fn payload_aad(&self) -> PayloadAad {
        // The associated data is the preimage from the stream to `created_at`, then the plain hash: the signing
        // preimage without its version, kind and cipher hash.
        let strings_end = self.payload_at() - 64 - 4;
        hash::payload_aad(&self.bytes[STREAM_AT..strings_end], &self.payload_plain_hash())
    }

    /// Whether the payload is canonical JSON and the hashes are its own. A plain payload: plain hash equal, cipher
    /// hash zero. An encrypted one: VES-ENC-1 shape and cipher hash equal; the plain hash cannot be checked without a
    /// recipient's key.
    ///
    /// # Errors
    /// Which of these does not hold.
    pub fn check_payload(&self) -> Result<(), FrameError> {
        match self.kind {
            PayloadKind::Plain => {
                if self.payload_cipher_hash() != CipherHash::ZERO {
                    return Err(FrameError::CipherHashNotZero);
                }
                jcs::is_canonical(self.payload())?;
                if hash::payload_plain(self.payload()) == self.payload_plain_hash() {
                    Ok(())
                } else {
                    Err(FrameError::PlainHash)
                }
            }
            PayloadKind::Encrypted => {
                let encrypted = EncryptedPayload::decode(self.payload())?;
                if encrypted.cipher_hash(&self.payload_aad()) == self.payload_cipher_hash() {
                    Ok(())
                } else {
                    Err(FrameError::CipherHash)
                }
            }
        }
    }

    /// Where the payload's length field stands; the preimage ends there.
    fn payload_at(&self) -> usize {
        4 + PREIMAGE_FIXED_BYTES + self.lengths.iter().copied().map(usize::from).sum::<usize>()
    }

    fn string(&self, which: usize) -> &str {
        let before: usize = self.lengths[..which].iter().copied().map(usize::from).sum();
        let start = STRINGS_AT + before + 4 * (which + 1);
        let text = &self.bytes[start..start + usize::from(self.lengths[which])];
        core::str::from_utf8(text).expect("checked when the frame was made")
    }

    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        self.bytes[at..at + N].try_into().expect("the slice has the array's length")
    }
}

impl core::fmt::Debug for Frame {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // Never the payload: this text ends up in logs.
        write!(f, "Frame({} {} {} bytes)", self.stream(), self.event_id(), self.bytes.len())
    }
}

/// The size of a frame whose length field says `length`.
pub(crate) fn frame_bytes(length: u32) -> Result<usize, FrameError> {
    let total = u64::from(length) + 4;
    // Every string has at least one byte.
    let shortest = FRAME_FIXED_BYTES + STRINGS.len();
    match usize::try_from(total) {
        Ok(total) if (shortest..=FRAME_BYTES_MAX).contains(&total) => Ok(total),
        _ => Err(FrameError::Length(length.into())),
    }
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Bytes with a length before them; the length is checked before it is used.
fn read_bytes(
    bytes: &[u8],
    at: usize,
    check: impl FnOnce(usize) -> Result<(), FrameError>,
) -> Result<&[u8], FrameError> {
    let length = read_u32(bytes, at).ok_or(FrameError::Overrun)?;
    let length = usize::try_from(length).map_err(|_| FrameError::Overrun)?;
    check(length)?;
    bytes.get(at + 4..).and_then(|rest| rest.get(..length)).ok_or(FrameError::Overrun)
}
