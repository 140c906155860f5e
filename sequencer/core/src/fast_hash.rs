//! The hash of the maps that every event passes: keys of 16 to 48 bytes, several look-ups for each event.

use std::hash::BuildHasher;
use std::sync::LazyLock;

use foldhash::SharedSeed;
use foldhash::quality::{FoldHasher, SeedableRandomState};

static SHARED: LazyLock<SharedSeed> = LazyLock::new(|| SharedSeed::from_u64(seed()));

/// Much faster than SipHash on short keys. The seed comes from the operating system, so that nobody outside can aim at
/// one bucket.
#[derive(Clone, Debug)]
pub(crate) struct FastHash(SeedableRandomState);

impl Default for FastHash {
    fn default() -> Self {
        Self(SeedableRandomState::with_seed(seed(), &SHARED))
    }
}

impl BuildHasher for FastHash {
    type Hasher = FoldHasher<'static>;

    #[inline]
    fn build_hasher(&self) -> FoldHasher<'static> {
        self.0.build_hasher()
    }
}

fn seed() -> u64 {
    getrandom::u64().expect("the operating system gives random bytes")
}
