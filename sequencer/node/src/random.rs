//! Secrets and ids from the operating system's random source, and from nothing else (S-015).
//!
//! There is no generator with a seed in this crate: each call asks the kernel. Fails if the kernel has no answer; then
//! nothing is created.

use std::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};
use tally_protocol::id::{AgentId, EventId, StoreId, TenantId};
use tally_protocol::key::SigningKey;
use zeroize::Zeroizing;

use crate::exit::Failure;

/// Random bytes of the operating system.
///
/// # Errors
/// The operating system gave none.
pub fn bytes<const N: usize>() -> Result<Zeroizing<[u8; N]>, Failure> {
    let mut out = Zeroizing::new([0; N]);
    getrandom::fill(out.as_mut_slice())
        .map_err(|error| Failure::failed(format!("failed to read the operating system's random source: {error}")))?;
    Ok(out)
}

/// A new private key.
///
/// # Errors
/// See [`bytes()`].
pub fn signing_key() -> Result<SigningKey, Failure> {
    Ok(SigningKey::from_seed(*bytes::<32>()?))
}

/// Random UUID bytes (version 4, RFC 9562 section 5.4).
fn uuid() -> Result<[u8; 16], Failure> {
    let mut id = *bytes::<16>()?;
    id[6] = (id[6] & 0x0f) | 0x40;
    id[8] = (id[8] & 0x3f) | 0x80;
    Ok(id)
}

/// A new event id.
///
/// # Errors
/// See [`bytes()`].
pub fn event_id() -> Result<EventId, Failure> {
    uuid().map(EventId::from_bytes)
}

/// A new agent id.
///
/// # Errors
/// See [`bytes()`].
pub fn agent_id() -> Result<AgentId, Failure> {
    uuid().map(AgentId::from_bytes)
}

/// A new tenant id.
///
/// # Errors
/// See [`bytes()`].
pub fn tenant_id() -> Result<TenantId, Failure> {
    uuid().map(TenantId::from_bytes)
}

/// A new store id.
///
/// # Errors
/// See [`bytes()`].
pub fn store_id() -> Result<StoreId, Failure> {
    uuid().map(StoreId::from_bytes)
}

const BUFFER_BYTES: usize = 4096;

/// The operating system's random bytes as a source for batch verification, drawn a page at a time.
#[derive(Debug)]
pub struct SystemRandom {
    buffer: Box<[u8; BUFFER_BYTES]>,
    used: usize,
}

impl SystemRandom {
    /// A source that has drawn nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { buffer: Box::new([0; BUFFER_BYTES]), used: BUFFER_BYTES }
    }
}

impl Default for SystemRandom {
    fn default() -> Self {
        Self::new()
    }
}

impl TryRng for SystemRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut out = [0; 4];
        self.try_fill_bytes(&mut out)?;
        Ok(u32::from_le_bytes(out))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut out = [0; 8];
        self.try_fill_bytes(&mut out)?;
        Ok(u64::from_le_bytes(out))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for byte in out {
            if self.used == BUFFER_BYTES {
                // Without randomness a forger could aim at the batch equation: the audit must not go on.
                getrandom::fill(&mut self.buffer[..]).expect("the operating system gives random bytes");
                self.used = 0;
            }
            *byte = core::mem::take(&mut self.buffer[self.used]);
            self.used += 1;
        }
        Ok(())
    }
}

impl TryCryptoRng for SystemRandom {}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ten_thousand_keys_are_all_different() {
        let keys: HashSet<_> = (0..10_000).map(|_| *signing_key().unwrap().public_key().as_bytes()).collect();
        assert_eq!(keys.len(), 10_000);
    }

    #[test]
    fn ids_are_uuids_of_version_4() {
        let id = event_id().unwrap().to_string();
        assert_eq!(&id[14..15], "4");
        assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"));
    }
}
