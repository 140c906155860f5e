//! `credentials`: 32 bytes (the hash of a secret) → a record only the gateway reads.

use super::Key;

/// Key of a caller's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CredentialKey(pub [u8; 32]);

impl CredentialKey {
    /// 32 bytes.
    #[must_use]
    pub fn encode(&self) -> Key {
        Key::of(&[&self.0])
    }

    /// Reads 32 bytes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_credential_key_reads_back_as_written(bytes: [u8; 32]) {
            crate::keys::check::round_trip(&CredentialKey(bytes), CredentialKey::encode, CredentialKey::decode);
        }
    }
}
