//! Chance as a value: a seeded generator (SplitMix64) for tests only.
//!
//! It claims to be a `CryptoRng` so that batch verification takes it; it is not one, which is why it lives here.

use core::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};

/// A seeded generator; the same seed gives the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestRng(u64);

impl TestRng {
    /// From a seed; every seed is good.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound` (which must not be 0); the slight bias does not matter to tests.
    pub const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True once in `n` times, on average.
    pub const fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

impl TryRng for TestRng {
    type Error = Infallible;

    #[expect(clippy::cast_possible_truncation, reason = "the low half is wanted")]
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.next() as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.next())
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for chunk in out.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for TestRng {}
