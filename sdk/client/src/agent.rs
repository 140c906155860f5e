//! An agent as a client holds it: names, a key, and the events it signs.

use tally_protocol::frame::{EventFields, Frame};
use tally_protocol::id::{AgentId, EventId, KeyId, StoreId, Stream, TenantId};
use tally_protocol::jcs;
use tally_protocol::key::{PublicKey, SigningKey};

use crate::error::ClientError;

/// An agent with one of its keys.
#[derive(Debug, Clone)]
pub struct Agent {
    tenant: TenantId,
    id: AgentId,
    key_id: KeyId,
    key: SigningKey,
}

/// An event before it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventDraft {
    /// The store; with the agent's tenant, the stream.
    pub store: StoreId,
    /// Unique in the stream. Keep it until the receipt is in: a retry must bear the same one.
    pub event_id: EventId,
    /// 1 to 128 bytes.
    pub entity_type: String,
    /// 1 to 512 bytes; must not be personal data.
    pub entity_id: String,
    /// 1 to 256 bytes.
    pub event_type: String,
    /// RFC 3339, by the agent's clock.
    pub created_at: String,
    /// JSON; it is brought into canonical form (RFC 8785) before it is signed.
    pub payload: Vec<u8>,
}

impl Agent {
    /// An agent by its names and the key that is registered under `key_id`.
    #[must_use]
    pub const fn new(tenant: TenantId, id: AgentId, key_id: u32, key: SigningKey) -> Self {
        Self { tenant, id, key_id: KeyId::new(key_id), key }
    }

    /// The agent's tenant.
    #[must_use]
    pub const fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// The agent.
    #[must_use]
    pub const fn id(&self) -> AgentId {
        self.id
    }

    /// Which of its keys this is.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The public half of the key.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.key.public_key()
    }

    /// Signs an event with a plain payload.
    ///
    /// # Errors
    /// The payload has no canonical form, or a string breaks its bound.
    pub fn sign(&self, draft: &EventDraft) -> Result<Frame, ClientError> {
        let payload = jcs::canonicalize(&draft.payload).map_err(tally_protocol::frame::FrameError::from)?;
        let fields = EventFields::plain(
            Stream::new(self.tenant, draft.store),
            draft.event_id,
            (self.id, self.key_id),
            (&draft.entity_type, &draft.entity_id),
            &draft.event_type,
            &draft.created_at,
            &payload,
        );
        Ok(Frame::build(&fields, &payload, |hash| self.key.sign(hash.as_bytes()))?)
    }
}

/// A random event id (a version 4 UUID).
///
/// # Errors
/// The operating system gives no random bytes.
pub fn new_event_id() -> Result<EventId, ClientError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| ClientError::Random)?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Ok(EventId::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_is_signed_in_canonical_form() {
        let agent =
            Agent::new(TenantId::from_bytes([1; 16]), AgentId::from_bytes([2; 16]), 1, SigningKey::from_seed([3; 32]));
        let draft = EventDraft {
            store: StoreId::from_bytes([4; 16]),
            event_id: new_event_id().unwrap(),
            entity_type: "Order".to_owned(),
            entity_id: "ORD-1".to_owned(),
            event_type: "order.created".to_owned(),
            created_at: "2026-01-01T00:00:00Z".to_owned(),
            payload: br#"{ "b": 1.0, "a": [] }"#.to_vec(),
        };
        let frame = agent.sign(&draft).unwrap();
        assert_eq!(frame.payload(), br#"{"a":[],"b":1}"#);
        let hash = frame.signing_hash();
        assert!(tally_protocol::key::verify(&agent.public_key(), hash.as_bytes(), &frame.signature()));
        let twice = EventDraft { payload: br#"{"a":1,"a":2}"#.to_vec(), ..draft };
        assert!(agent.sign(&twice).is_err());
    }

    #[test]
    fn event_ids_differ_and_are_version_4() {
        let (one, two) = (new_event_id().unwrap(), new_event_id().unwrap());
        assert_ne!(one, two);
        assert_eq!((one.as_bytes()[6] >> 4, one.as_bytes()[8] >> 6), (4, 2));
    }
}
