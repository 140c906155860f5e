//! `runs`: the log position of a run's first event → the stored run.

use tally_protocol::id::Index;

use super::{Key, read_u64};

/// Key of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunKey(pub Index);

impl RunKey {
    /// 8 bytes.
    #[must_use]
    pub fn encode(&self) -> Key {
        Key::of(&[&self.0.get().to_be_bytes()])
    }

    /// Reads 8 bytes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        read_u64(bytes).map(|index| Self(Index::new(index)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_run_key_reads_back_as_written(index: u64) {
            crate::keys::check::round_trip(&RunKey(Index::new(index)), RunKey::encode, RunKey::decode);
        }

        #[test]
        fn run_keys_sort_as_their_positions(a: u64, b: u64) {
            let key = |index| RunKey(Index::new(index)).encode().as_slice().to_vec();
            prop_assert_eq!(key(a).cmp(&key(b)), a.cmp(&b));
        }
    }
}
