//! `commitments`: a stream and first sequence → a VES commitment; a batch id → the key of the former.

use tally_protocol::id::{Sequence, Stream};

use super::{Key, read_u64, split};

const RANGE: u8 = 0;
const BATCH: u8 = 1;

/// Key of a commitment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitmentKey {
    /// By the range it covers.
    Range {
        /// The stream.
        stream: Stream,
        /// The range's first sequence.
        first: Sequence,
    },
    /// By its batch id.
    Batch([u8; 16]),
}

impl CommitmentKey {
    /// 41 or 17 bytes.
    #[must_use]
    pub fn encode(&self) -> Key {
        match self {
            Self::Range { stream, first } => Key::of(&[&[RANGE], &stream.to_bytes(), &first.get().to_be_bytes()]),
            Self::Batch(id) => Key::of(&[&[BATCH], id]),
        }
    }

    /// Reads 41 or 17 bytes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (&RANGE, rest) => {
                let (stream, first) = split::<32>(rest)?;
                Some(Self::Range { stream: Stream::from_bytes(stream), first: Sequence::new(read_u64(first)?) })
            }
            (&BATCH, id) => Some(Self::Batch(id.try_into().ok()?)),
            _ => None,
        }
    }

    /// What all ranges of a stream start with.
    #[must_use]
    pub fn of_stream(stream: &Stream) -> Key {
        Key::of(&[&[RANGE], &stream.to_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_range_key_reads_back_as_written(stream: [u8; 32], first: u64) {
            let stream = Stream::from_bytes(&stream);
            let key = CommitmentKey::Range { stream, first: Sequence::new(first) };
            prop_assert!(key.encode().as_slice().starts_with(CommitmentKey::of_stream(&stream).as_slice()));
            crate::keys::check::round_trip(&key, CommitmentKey::encode, CommitmentKey::decode);
        }

        #[test]
        fn a_batch_key_reads_back_as_written(id: [u8; 16]) {
            crate::keys::check::round_trip(&CommitmentKey::Batch(id), CommitmentKey::encode, CommitmentKey::decode);
        }
    }
}
