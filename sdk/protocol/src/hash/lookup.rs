//! Short keys of a ledger's look-up indexes.
//!
//! Takes ids and names; gives places. They find, and prove nothing: what is found is compared with what was asked for.

use super::LedgerId;
use crate::id::{EventId, Stream};

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
