//! One event as the host hands it over: a view over its record (`wit/v1/event.md`).
//!
//! Takes the record's bytes; gives its fields without decoding what is not asked for. The body stays bytes until
//! [`Event::json`] is called. A record that breaks the page is the host's fault and stops the guest.

use alloc::vec::Vec;

use crate::json::{self, Json};

/// Bytes of the fixed header.
pub const HEADER_BYTES: usize = 132;

/// An event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    record: Vec<u8>,
    /// Where the entity type, the entity id and the body begin.
    starts: [usize; 3],
}

impl Event {
    /// A view over a record; nothing if the record is not one.
    #[must_use]
    pub fn new(record: Vec<u8>) -> Option<Self> {
        if record.len() < HEADER_BYTES {
            return None;
        }
        let short = |at: usize| usize::from(u16::from_le_bytes([record[at], record[at + 1]]));
        let entity_type = HEADER_BYTES + short(120);
        let entity_id = entity_type + short(122);
        let body = entity_id + short(124);
        let body_len = u32::from_le_bytes([record[128], record[129], record[130], record[131]]);
        let fits = body.checked_add(usize::try_from(body_len).ok()?)? == record.len();
        let flags_known = short(126) <= 1;
        (fits && flags_known).then_some(Self { record, starts: [entity_type, entity_id, body] })
    }

    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut array = [0; N];
        array.copy_from_slice(&self.record[at..at + N]);
        array
    }

    fn text(&self, from: usize, to: usize) -> &str {
        // The log holds no text that is not UTF-8; a host that says otherwise gets no answer.
        core::str::from_utf8(&self.record[from..to]).unwrap_or_else(|_| panic!("the record holds no UTF-8"))
    }

    /// Position in the log, from 0.
    #[must_use]
    pub fn index(&self) -> u64 {
        u64::from_le_bytes(self.array(0))
    }

    /// Position in the stream, from 1.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        u64::from_le_bytes(self.array(8))
    }

    /// Log time in microseconds since 1970: the only time there is.
    #[must_use]
    pub fn sequenced_at(&self) -> u64 {
        u64::from_le_bytes(self.array(16))
    }

    /// The tenant's UUID.
    #[must_use]
    pub fn tenant(&self) -> [u8; 16] {
        self.array(24)
    }

    /// The store's UUID.
    #[must_use]
    pub fn store(&self) -> [u8; 16] {
        self.array(40)
    }

    /// The client's own id of the event. Ids of things come from [`crate::Step::id`], never from this.
    #[must_use]
    pub fn event_id(&self) -> [u8; 16] {
        self.array(56)
    }

    /// The signer's UUID.
    #[must_use]
    pub fn agent(&self) -> [u8; 16] {
        self.array(72)
    }

    /// The payload hash that was signed; zeros for a derived event.
    #[must_use]
    pub fn payload_hash(&self) -> [u8; 32] {
        self.array(88)
    }

    /// Whether another plugin emitted this in the same step; then nobody signed the body.
    #[must_use]
    pub fn is_derived(&self) -> bool {
        self.record[126] & 1 == 1
    }

    /// What happened, such as `order.placed`.
    #[must_use]
    pub fn event_type(&self) -> &str {
        self.text(HEADER_BYTES, self.starts[0])
    }

    /// The kind of thing it happened to.
    #[must_use]
    pub fn entity_type(&self) -> &str {
        self.text(self.starts[0], self.starts[1])
    }

    /// The thing it happened to.
    #[must_use]
    pub fn entity_id(&self) -> &str {
        self.text(self.starts[1], self.starts[2])
    }

    /// The payload as the log holds it.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.record[self.starts[2]..]
    }

    /// The payload as JSON, checked once.
    ///
    /// # Errors
    /// If it is not canonical: possible only where another plugin emitted it.
    pub fn json(&self) -> Result<Json<'_>, json::Malformed> {
        Json::parse(self.body())
    }
}
