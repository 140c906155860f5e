//! `modules`: BLAKE3 of a module → its bytes.

use tally_protocol::hash::ModuleHash;

use super::Key;

/// Key of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModuleKey(
    /// Its hash.
    pub ModuleHash,
);

impl ModuleKey {
    /// 32 bytes.
    #[must_use]
    pub fn encode(&self) -> Key {
        Key::of(&[self.0.as_bytes()])
    }

    /// Reads 32 bytes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|hash| Self(ModuleHash::from_bytes(hash)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_module_key_reads_back_as_written(hash: [u8; 32]) {
            let key = ModuleKey(ModuleHash::from_bytes(hash));
            crate::keys::check::round_trip(&key, ModuleKey::encode, ModuleKey::decode);
        }
    }
}
