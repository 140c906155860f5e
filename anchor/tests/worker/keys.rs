//! Keys of the tests, in memory, which can be taken away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use k256::ecdsa::SigningKey;
use tally_anchor::ethereum::envelope::address_of;
use tally_anchor::signer::{Address, Purpose, Signature, Signer, SignerError, Signing};

pub(crate) struct Key {
    key: SigningKey,
    away: AtomicBool,
    refuses: AtomicBool,
    pub(crate) uses: AtomicU64,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Key({})", self.address())
    }
}

impl Key {
    pub(crate) fn new(number: u8) -> Arc<Self> {
        let key = SigningKey::from_slice(&[number; 32]).unwrap();
        Arc::new(Self { key, away: AtomicBool::new(false), refuses: AtomicBool::new(false), uses: AtomicU64::new(0) })
    }

    pub(crate) fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    pub(crate) fn set_refuses(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::SeqCst);
    }
}

impl Signer for Key {
    fn address(&self) -> Address {
        let point = self.key.verifying_key().to_encoded_point(false);
        address_of(point.as_bytes()[1..].try_into().unwrap())
    }

    fn describe(&self) -> String {
        "a key of the tests".to_owned()
    }

    fn sign(&self, _purpose: Purpose, digest: [u8; 32]) -> Signing<'_> {
        Box::pin(async move {
            if self.away.load(Ordering::SeqCst) {
                return Err(SignerError::Unreachable("it is away".to_owned()));
            }
            if self.refuses.load(Ordering::SeqCst) {
                return Err(SignerError::Refused("the key is disabled".to_owned()));
            }
            self.uses.fetch_add(1, Ordering::SeqCst);
            let (signature, recovery) = self.key.sign_prehash_recoverable(&digest).unwrap();
            let (r, s) = signature.split_bytes();
            Ok(Signature { r: r.into(), s: s.into(), odd_y: recovery.is_y_odd() })
        })
    }
}
