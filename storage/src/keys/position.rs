//! `positions`: a stream and the first of its sequences in a run → the run's first index.
//!
//! One row per stream and run, not per event: the run that holds sequence `s` is that of the greatest row with a
//! first sequence of at most `s`.

use tally_protocol::id::{Sequence, Stream};

use super::{Key, read_u64, split};

/// Key of a stream's place in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PositionKey {
    /// The stream.
    pub stream: Stream,
    /// Its first sequence in the run.
    pub first: Sequence,
}

impl PositionKey {
    /// 40 bytes.
    #[must_use]
    pub fn encode(&self) -> Key {
        Key::of(&[&self.stream.to_bytes(), &self.first.get().to_be_bytes()])
    }

    /// Reads 40 bytes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (stream, first) = split::<32>(bytes)?;
        Some(Self { stream: Stream::from_bytes(stream), first: Sequence::new(read_u64(first)?) })
    }

    /// What all rows of a stream start with.
    #[must_use]
    pub fn prefix(stream: &Stream) -> Key {
        Key::of(&[&stream.to_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_position_key_reads_back_as_written(stream: [u8; 32], first: u64) {
            let key = PositionKey { stream: Stream::from_bytes(&stream), first: Sequence::new(first) };
            prop_assert!(key.encode().as_slice().starts_with(PositionKey::prefix(&key.stream).as_slice()));
            crate::keys::check::round_trip(&key, PositionKey::encode, PositionKey::decode);
        }
    }
}
