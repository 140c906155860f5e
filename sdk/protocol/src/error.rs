//! Why an event was refused: a code for machines, a sentence for people, the field if there is one.
//!
//! Given by admission, verification and ordering, carried unchanged to the client. A message names the field and the
//! rule, and never repeats what the client sent (S-011). The codes the reference implementation has keep its words.

use core::fmt;

/// The kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RejectCode {
    /// The event id is taken in this stream by other content.
    DuplicateEventId,
    /// `payload_plain_hash` is not the hash of the payload.
    InvalidPayloadHash,
    /// `payload_cipher_hash` is not the hash of the encrypted payload, or not zero for a plain one.
    InvalidCipherHash,
    /// The agent's signature does not verify.
    InvalidSignature,
    /// The agent's key is unknown, revoked, expired or not yet valid.
    AgentKeyInvalid,
    /// `ves_version` is not 1.
    UnsupportedVersion,
    /// A field has the wrong shape, length or content.
    SchemaValidation,
    /// `created_at` lies too far ahead of the log's clock.
    CreatedAtInFuture,
    /// The payload is not canonical JSON (RFC 8785), or has no canonical form.
    PayloadNotCanonical,
    /// The event is longer than a frame may be.
    EventTooLarge,
    /// The stream is reserved for control events.
    ReservedStream,
    /// The event type is reserved for control events.
    ReservedEventType,
    /// A control event that the control state does not allow.
    ControlRefused,
    /// `command_id` is not covered by the agent's signature and was sent all the same.
    UnsignedCommandId,
    /// `base_version` is not covered by the agent's signature and was sent all the same.
    UnsignedBaseVersion,
    /// No such tenant.
    TenantUnknown,
    /// The store's list does not name the entity type, and no plugin that runs there brings it.
    EntityTypeUnknown,
}

impl RejectCode {
    /// Every code, in the order of declaration.
    pub const ALL: [Self; 17] = [
        Self::DuplicateEventId,
        Self::InvalidPayloadHash,
        Self::InvalidCipherHash,
        Self::InvalidSignature,
        Self::AgentKeyInvalid,
        Self::UnsupportedVersion,
        Self::SchemaValidation,
        Self::CreatedAtInFuture,
        Self::PayloadNotCanonical,
        Self::EventTooLarge,
        Self::ReservedStream,
        Self::ReservedEventType,
        Self::ControlRefused,
        Self::UnsignedCommandId,
        Self::UnsignedBaseVersion,
        Self::TenantUnknown,
        Self::EntityTypeUnknown,
    ];

    /// The code as it travels: `snake_case`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DuplicateEventId => "duplicate_event_id",
            Self::InvalidPayloadHash => "invalid_payload_hash",
            Self::InvalidCipherHash => "invalid_cipher_hash",
            Self::InvalidSignature => "invalid_signature",
            Self::AgentKeyInvalid => "agent_key_invalid",
            Self::UnsupportedVersion => "unsupported_version",
            Self::SchemaValidation => "schema_validation",
            Self::CreatedAtInFuture => "created_at_in_future",
            Self::PayloadNotCanonical => "payload_not_canonical",
            Self::EventTooLarge => "event_too_large",
            Self::ReservedStream => "reserved_stream",
            Self::ReservedEventType => "reserved_event_type",
            Self::ControlRefused => "control_refused",
            Self::UnsignedCommandId => "unsigned_command_id",
            Self::UnsignedBaseVersion => "unsigned_base_version",
            Self::TenantUnknown => "tenant_unknown",
            Self::EntityTypeUnknown => "entity_type_unknown",
        }
    }

    /// The code of a text, if it is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }
}

impl fmt::Display for RejectCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The refusal of one event. Nothing was written and no sequence number was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The kind, for machines.
    pub code: RejectCode,
    /// One sentence for people, without anything the client sent.
    pub message: String,
    /// The envelope's field the refusal is about.
    pub field: Option<&'static str>,
}

impl Reject {
    /// A refusal about the event as a whole.
    #[must_use]
    pub fn new(code: RejectCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: None }
    }

    /// A refusal about one field of the envelope.
    #[must_use]
    pub fn of_field(code: RejectCode, field: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: Some(field) }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl core::error::Error for Reject {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_as_written_and_no_two_are_alike() {
        for (at, code) in RejectCode::ALL.into_iter().enumerate() {
            assert_eq!(RejectCode::parse(code.as_str()), Some(code));
            assert!(RejectCode::ALL[..at].iter().all(|other| other.as_str() != code.as_str()));
        }
        assert_eq!(RejectCode::parse("Duplicate_event_id"), None);
    }
}
