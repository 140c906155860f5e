//! Receipts made anew: the same place as ever, with a proof to the newest certified checkpoint.

use std::sync::Arc;

use tally_merkle::inclusion_path;
use tally_protocol::hash;
use tally_protocol::id::Index;
use tally_protocol::key::SignerError;
use tally_protocol::receipt::VesReceipt;

use super::proofs::nodes;
use super::{ReadError, Reader, StoredEvent};
use crate::acknowledge::Receipt;
use crate::shared::{Certified, Shared};

/// The receipt of a certified event, at the given checkpoint.
pub(crate) fn receipt_at(shared: &Shared, certified: &Certified, index: Index) -> Result<Receipt, ReadError> {
    let record = shared.runs.record(&shared.log, index)?;
    let event = StoredEvent::from(record.ok_or(ReadError::NotFound)?);
    let entry = event.entry();
    let path = inclusion_path(&nodes(&shared.events, certified), index, certified.checkpoint.checkpoint.size)?;
    Ok(Receipt {
        event_id: event.frame.event_id(),
        stream: entry.stream,
        index,
        sequence: event.sequence,
        sequenced_at: event.sequenced_at,
        signing_hash: entry.signing_hash,
        leaf_hash: entry.leaf_hash(),
        path,
        checkpoint: Arc::clone(&certified.checkpoint),
    })
}

impl Reader {
    /// The receipt of an event, at the newest certified checkpoint.
    ///
    /// # Errors
    /// As [`Reader::event`].
    pub fn receipt(&self, index: Index) -> Result<Receipt, ReadError> {
        let certified = self.shared.events.certified.load_full();
        if !certified.checkpoint.checkpoint.size.holds(index) {
            return Err(ReadError::NotYet { rung: crate::watermarks::Rung::Signed });
        }
        if index.get() == 0 {
            return Err(ReadError::Invalid("index 0 is the genesis entry, not an event"));
        }
        receipt_at(&self.shared, &certified, index)
    }

    /// The signed VES v1 receipt for the same event.
    ///
    /// # Errors
    /// The signer refused.
    pub fn ves_receipt(&self, receipt: &Receipt) -> Result<VesReceipt, SignerError> {
        let hash = hash::ves_receipt(&receipt.stream, &receipt.event_id, receipt.sequence, &receipt.signing_hash);
        VesReceipt::sign(hash, self.shared.receipt_signer.as_ref())
    }
}
