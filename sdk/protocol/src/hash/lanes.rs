//! SHA-256 of many independent messages at once, one message in each lane of the processor's vectors; and SHA-512 of
//! many that are one block long, as the challenges of signatures are.
//!
//! Takes messages (each behind the same prefix), gives their digests in the same order. A lane takes the next message
//! as soon as its own is done, so messages need not be of one length. When too few lanes are still at work the rest is
//! finished one by one, so no mix of lengths costs more than hashing singly. Which lanes there are is found at run
//! time; without them, or where the processor hashes by itself (SHA-NI) and its vectors are narrow, each message goes
//! to `sha2` alone.

#[cfg(target_arch = "x86_64")]
mod fill;
#[cfg(target_arch = "x86_64")]
mod x86;

use sha2::{Digest, Sha256, Sha512};

/// How to hash here.
#[derive(Clone, Copy)]
enum Engine {
    /// One message at a time.
    Single,
    /// Eight lanes.
    #[cfg(target_arch = "x86_64")]
    Avx2(x86::Avx2),
    /// Sixteen lanes.
    #[cfg(target_arch = "x86_64")]
    Avx512(x86::Avx512),
}

impl Engine {
    /// The fastest one this processor has. The detection is remembered by those who do it.
    fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(lanes) = x86::avx512() {
                return Self::Avx512(lanes);
            }
            // SHA-NI alone is about as fast as eight lanes, and needs no company.
            if let (Some(lanes), false) = (x86::avx2(), std::arch::is_x86_feature_detected!("sha")) {
                return Self::Avx2(lanes);
            }
        }
        Self::Single
    }

    fn run(self, prefix: &[u8], messages: &mut dyn Iterator<Item = &[u8]>, out: &mut Vec<[u8; 32]>) {
        match self {
            Self::Single => out.extend(messages.map(|message| single(prefix, message))),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(lanes) => fill::narrow::<8>(|s, b| x86::compress8(lanes, s, b), prefix, messages, out),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(lanes) => fill::narrow::<16>(|s, b| x86::compress16(lanes, s, b), prefix, messages, out),
        }
    }
}

/// SHA-512 of messages of 96 bytes, each in three parts: one block with its padding.
pub(super) fn sha512_many_of_96<'a>(messages: impl Iterator<Item = [&'a [u8; 32]; 3]>) -> Vec<[u8; 64]> {
    wide_run(Engine::best(), messages)
}

fn wide_run<'a>(engine: Engine, messages: impl Iterator<Item = [&'a [u8; 32]; 3]>) -> Vec<[u8; 64]> {
    match engine {
        Engine::Single => messages
            .map(|[a, b, c]| Sha512::new().chain_update(a).chain_update(b).chain_update(c).finalize().into())
            .collect(),
        #[cfg(target_arch = "x86_64")]
        Engine::Avx2(lanes) => fill::wide::<4>(|s, b| x86::wide_compress4(lanes, s, b), messages),
        #[cfg(target_arch = "x86_64")]
        Engine::Avx512(lanes) => fill::wide::<8>(|s, b| x86::wide_compress8(lanes, s, b), messages),
    }
}

/// The digests of `prefix | message` for each message, in order.
pub(super) fn sha256_many<'a>(prefix: &[u8], mut messages: impl Iterator<Item = &'a [u8]>) -> Vec<[u8; 32]> {
    let mut out = Vec::with_capacity(messages.size_hint().0);
    // One alone needs no lanes, and none at all, which small trees often ask for, needs nothing.
    let Some(first) = messages.next() else { return out };
    match messages.next() {
        None => out.push(single(prefix, first)),
        Some(second) => {
            Engine::best().run(prefix, &mut [first, second].into_iter().chain(messages), &mut out);
        }
    }
    out
}

fn single(prefix: &[u8], message: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(prefix).chain_update(message).finalize().into()
}

#[cfg(test)]
mod tests;
