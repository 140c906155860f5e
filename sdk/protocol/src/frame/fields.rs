//! An event's signed fields, and their one encoding: the signing preimage.
//!
//! Every string has its length before it and every number its width, so two different events never have one preimage
//! (S-036); the decoder in `frame` is its inverse.

use super::{FrameError, PREIMAGE_TAG, PayloadKind, STREAM_AT, STRINGS, TAG_AT, VES_VERSION};
use crate::hash::{self, CipherHash, PayloadAad, PayloadHash, SigningHash};
use crate::id::{AgentId, EventId, KeyId, Stream};
use crate::limits::PREIMAGE_FIXED_BYTES;

/// The signed fields of an event, all of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EventFields {
    /// Tenant and store.
    pub stream: Stream,
    /// Chosen by the agent, unique in the stream.
    pub event_id: EventId,
    /// Who signs.
    pub agent_id: AgentId,
    /// With which of its keys.
    pub key_id: KeyId,
    /// 1 to 128 bytes.
    pub entity_type: String,
    /// 1 to 512 bytes; must not be personal data.
    pub entity_id: String,
    /// 1 to 256 bytes.
    pub event_type: String,
    /// RFC 3339, 1 to 64 bytes, kept as written.
    pub created_at: String,
    /// What the payload slot holds.
    pub payload_kind: PayloadKind,
    /// Hash of the plain payload; of salt and payload for an encrypted one.
    pub payload_plain_hash: PayloadHash,
    /// Hash of the encrypted payload; zero for a plain one.
    pub payload_cipher_hash: CipherHash,
}

impl EventFields {
    /// The fields of an event with a plain payload, which is hashed here. `entity` is its type and id.
    #[must_use]
    pub fn plain(
        stream: Stream,
        event_id: EventId,
        agent: (AgentId, KeyId),
        entity: (&str, &str),
        event_type: &str,
        created_at: &str,
        payload: &[u8],
    ) -> Self {
        Self {
            stream,
            event_id,
            agent_id: agent.0,
            key_id: agent.1,
            entity_type: entity.0.to_owned(),
            entity_id: entity.1.to_owned(),
            event_type: event_type.to_owned(),
            created_at: created_at.to_owned(),
            payload_kind: PayloadKind::Plain,
            payload_plain_hash: hash::payload_plain(payload),
            payload_cipher_hash: CipherHash::ZERO,
        }
    }

    pub(super) fn strings(&self) -> [&str; 4] {
        [&self.entity_type, &self.entity_id, &self.event_type, &self.created_at]
    }

    /// The bytes whose SHA-256 the agent signs.
    ///
    /// # Errors
    /// A string is empty, too long or contains U+0000.
    pub fn preimage(&self) -> Result<Vec<u8>, FrameError> {
        let mut out = Vec::with_capacity(PREIMAGE_FIXED_BYTES + self.strings().iter().map(|s| s.len()).sum::<usize>());
        self.write_preimage(&mut out)?;
        Ok(out)
    }

    /// What the agent signs.
    ///
    /// # Errors
    /// As [`EventFields::preimage`].
    pub fn signing_hash(&self) -> Result<SigningHash, FrameError> {
        self.preimage().map(|preimage| hash::signing(&preimage))
    }

    /// What binds an encrypted payload to this event; see [`crate::encrypted`].
    ///
    /// # Errors
    /// As [`EventFields::preimage`].
    pub fn payload_aad(&self) -> Result<PayloadAad, FrameError> {
        let preimage = self.preimage()?;
        Ok(hash::payload_aad(&preimage[STREAM_AT - TAG_AT..preimage.len() - 68], &self.payload_plain_hash))
    }

    pub(super) fn write_preimage(&self, out: &mut Vec<u8>) -> Result<(), FrameError> {
        out.extend_from_slice(PREIMAGE_TAG);
        out.extend_from_slice(&VES_VERSION.to_be_bytes());
        out.extend_from_slice(&self.stream.to_bytes());
        out.extend_from_slice(self.event_id.as_bytes());
        out.extend_from_slice(self.agent_id.as_bytes());
        out.extend_from_slice(&self.key_id.get().to_be_bytes());
        for (text, (field, bytes_max)) in self.strings().into_iter().zip(STRINGS) {
            check_string(text.as_bytes(), field, bytes_max)?;
            push_bytes(out, text.as_bytes());
        }
        out.extend_from_slice(&self.payload_kind.number().to_be_bytes());
        out.extend_from_slice(self.payload_plain_hash.as_bytes());
        out.extend_from_slice(self.payload_cipher_hash.as_bytes());
        Ok(())
    }
}

pub(super) fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    // No caller comes near 4 GiB: every length was checked against its bound.
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

pub(super) fn check_string(text: &[u8], field: &'static str, bytes_max: usize) -> Result<(), FrameError> {
    if text.is_empty() {
        return Err(FrameError::Empty(field));
    }
    if text.len() > bytes_max {
        return Err(FrameError::TooLong(field, bytes_max));
    }
    if core::str::from_utf8(text).is_err() {
        return Err(FrameError::Utf8(field));
    }
    if text.contains(&0) {
        return Err(FrameError::Nul(field));
    }
    Ok(())
}
