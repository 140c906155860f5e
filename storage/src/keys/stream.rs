//! `streams`: a stream → its newest sequence.

use tally_protocol::id::Stream;

use super::Key;

/// Key of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamKey(pub Stream);

impl StreamKey {
    /// 32 bytes.
    #[must_use]
    pub fn encode(&self) -> Key {
        Key::of(&[&self.0.to_bytes()])
    }

    /// Reads 32 bytes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; 32] = bytes.try_into().ok()?;
        Some(Self(Stream::from_bytes(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_stream_key_reads_back_as_written(stream: [u8; 32]) {
            crate::keys::check::round_trip(&StreamKey(Stream::from_bytes(&stream)), StreamKey::encode, StreamKey::decode);
        }
    }
}
