//! The VES v1 receipt: the sequencer's signature under an event's place in its stream.
//!
//! ```text
//! receipt hash = SHA-256("VES_RECEIPT_V1" | tenant[16] | store[16] | event id[16] | u64 sequence | signing hash[32])
//! signature    = Ed25519(receipt key, receipt hash)
//! ```
//! Takes the event's place and a signer, gives hash and signature; takes a receipt, the place it claims and the
//! sequencer's key, says whether it holds. It promises a place; that the place is in the log is proven by the native
//! receipt's path (`docs/formats/receipt.md`). `sequenced_at` is not covered here: the log's entry covers it.

use crate::hash::{self, ReceiptHash, SigningHash};
use crate::id::{EventId, Sequence, Stream};
use crate::key::{PublicKey, Signature, Signer, SignerError, ct_eq, verify};

/// Why a VES receipt does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// The receipt hash is of another event or another place.
    #[error("receipt hash does not follow from the event and its place")]
    Hash,
    /// The signature is not the sequencer's over the hash.
    #[error("receipt signature does not verify")]
    Signature,
}

/// What a VES receipt is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VesPlace {
    /// Tenant and store.
    pub stream: Stream,
    /// The event.
    pub event_id: EventId,
    /// Its position in the stream.
    pub sequence: Sequence,
    /// What its agent signed.
    pub signing_hash: SigningHash,
}

impl VesPlace {
    /// What the sequencer signs for this place.
    #[must_use]
    pub fn receipt_hash(&self) -> ReceiptHash {
        hash::ves_receipt(&self.stream, &self.event_id, self.sequence, &self.signing_hash)
    }
}

/// A signed VES receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VesReceipt {
    /// What was signed.
    pub receipt_hash: ReceiptHash,
    /// The sequencer's signature over it.
    pub signature: Signature,
}

impl VesReceipt {
    /// Signs a receipt hash. The same hash always gets the same signature.
    ///
    /// # Errors
    /// The signer refused.
    pub fn sign(receipt_hash: ReceiptHash, signer: &dyn Signer) -> Result<Self, SignerError> {
        Ok(Self { receipt_hash, signature: signer.sign(receipt_hash.as_bytes())? })
    }

    /// Whether the sequencer with this key signed that this event has this place.
    ///
    /// # Errors
    /// `Hash` or `Signature`.
    pub fn verify(&self, place: &VesPlace, key: &PublicKey) -> Result<(), ReceiptError> {
        if !ct_eq(place.receipt_hash().as_bytes(), self.receipt_hash.as_bytes()) {
            return Err(ReceiptError::Hash);
        }
        if verify(key, self.receipt_hash.as_bytes(), &self.signature) { Ok(()) } else { Err(ReceiptError::Signature) }
    }
}

#[cfg(test)]
mod tests;
