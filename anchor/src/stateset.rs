//! The call of the VES reference's `StateSetAnchor`, for its users to move.
//!
//! Takes a VES commitment, gives call data. That contract protects against little: it links no batch to the one before, checks
//! neither gaps nor order nor the event count against the range, takes any root, and its owner may let anybody write. What it
//! stores is a note with a time, not a log that cannot fork; the logs themselves are anchored in `TallyAnchor`.

use tally_protocol::batch::Commitment;

use crate::ethereum::stateset as call;

/// The call data of `anchor` for a commitment: ids in the first 16 bytes of their words, as the reference writes them.
#[must_use]
pub fn anchor_call(commitment: &Commitment) -> Vec<u8> {
    let stream = commitment.stream.to_bytes();
    let (tenant, store) = stream.split_at(16);
    call::encode(
        [word(&commitment.batch_id), word(tenant), word(store)],
        *commitment.merkle_root.as_bytes(),
        *commitment.new_state_root.as_bytes(),
        [commitment.sequence_start.get(), commitment.sequence_end.get()],
        commitment.leaf_count,
    )
}

/// The call data of `isAnchored`: whether the batch is in the contract already. To be asked before each call of
/// [`anchor_call`], which reverts the second time.
#[must_use]
pub fn is_anchored_call(commitment: &Commitment) -> Vec<u8> {
    call::encode_is_anchored(word(&commitment.batch_id))
}

fn word(id: &[u8]) -> [u8; 32] {
    let mut word = [0; 32];
    word[..id.len()].copy_from_slice(id);
    word
}

#[cfg(test)]
mod tests {
    use tally_protocol::hash::{LedgerId, StateRoot, VesNode};
    use tally_protocol::id::{Sequence, Stream};
    use tally_protocol::time::LogTime;

    use super::*;
    use crate::ethereum::abi::keccak;

    #[test]
    fn the_call_is_the_references_eight_words_behind_its_selector() {
        let stream = Stream::from_bytes(&core::array::from_fn(|at| at as u8));
        let (root, before) = (VesNode::from_bytes([9; 32]), StateRoot::ZERO);
        let ledger = LedgerId::from_bytes([1; 32]);
        let at = LogTime::default();
        let commitment = Commitment::new(&ledger, stream, Sequence::new(5), 3, root, before, at).unwrap();
        let call = anchor_call(&commitment);
        let signature = b"anchor(bytes32,bytes32,bytes32,bytes32,bytes32,uint64,uint64,uint32)";
        assert_eq!(call[..4], keccak(signature).0[..4]);
        let word = |at: usize| &call[4 + 32 * at..36 + 32 * at];
        assert_eq!(call.len(), 4 + 8 * 32);
        assert_eq!((&word(0)[..16], &word(0)[16..]), (&commitment.batch_id[..], &[0; 16][..]));
        assert_eq!((&word(1)[..16], &word(2)[..16]), (&stream.to_bytes()[..16], &stream.to_bytes()[16..]));
        assert_eq!((word(3), word(4)), (&[9; 32][..], &commitment.new_state_root.as_bytes()[..]));
        assert_eq!((word(5)[31], word(6)[31], word(7)[31]), (5, 7, 3));
        assert_eq!(is_anchored_call(&commitment)[..4], keccak(b"isAnchored(bytes32)").0[..4]);
    }
}
