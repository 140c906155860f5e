//! Building event records for tests.

use alloc::string::String;
use alloc::vec::Vec;

/// An event as a test writes it down; [`TestEvent::record`] gives the bytes of `wit/v1/event.md`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TestEvent {
    /// Position in the log.
    pub index: u64,
    /// Position in the stream.
    pub sequence: u64,
    /// Log time in microseconds.
    pub sequenced_at: u64,
    /// The stream's tenant.
    pub tenant: [u8; 16],
    /// The stream's store.
    pub store: [u8; 16],
    /// The client's id.
    pub event_id: [u8; 16],
    /// The signer.
    pub agent: [u8; 16],
    /// What was signed.
    pub payload_hash: [u8; 32],
    /// Whether another plugin emitted it.
    pub derived: bool,
    /// What happened.
    pub event_type: String,
    /// To what kind of thing.
    pub entity_type: String,
    /// To which.
    pub entity_id: String,
    /// Canonical JSON.
    pub body: Vec<u8>,
}

impl TestEvent {
    /// An event of agent 1 about something; [`crate::test_host::TestHost`] numbers it when it is applied.
    #[must_use]
    pub fn new(event_type: &str, entity_type: &str, entity_id: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            index: 0,
            sequence: 0,
            sequenced_at: 0,
            tenant: [1; 16],
            store: [2; 16],
            event_id: [0; 16],
            agent: [1; 16],
            payload_hash: [3; 32],
            derived: false,
            event_type: event_type.into(),
            entity_type: entity_type.into(),
            entity_id: entity_id.into(),
            body: body.into(),
        }
    }

    /// Signed by another agent.
    #[must_use]
    pub fn by(mut self, agent: u8) -> Self {
        self.agent = [agent; 16];
        self
    }

    /// The record.
    ///
    /// # Panics
    /// If a text is longer than its length field can say.
    #[must_use]
    pub fn record(&self) -> Vec<u8> {
        let short =
            |text: &str| u16::try_from(text.len()).expect("a text of an event has 16 bits of length").to_le_bytes();
        let body = u32::try_from(self.body.len()).expect("a body has 32 bits of length").to_le_bytes();
        let parts: [&[u8]; 17] = [
            &self.index.to_le_bytes(),
            &self.sequence.to_le_bytes(),
            &self.sequenced_at.to_le_bytes(),
            &self.tenant,
            &self.store,
            &self.event_id,
            &self.agent,
            &self.payload_hash,
            &short(&self.event_type),
            &short(&self.entity_type),
            &short(&self.entity_id),
            &u16::from(self.derived).to_le_bytes(),
            &body,
            self.event_type.as_bytes(),
            self.entity_type.as_bytes(),
            self.entity_id.as_bytes(),
            &self.body,
        ];
        parts.concat()
    }
}
