//! The imports of `tally:plugin@1` as safe functions: the host's in a module, the test host's elsewhere.
//!
//! Takes and gives bytes; every limit is the host's, which ends the event and never returns. Public for the macro only.

#[cfg(target_arch = "wasm32")]
mod wasm;
#[cfg(target_arch = "wasm32")]
pub use wasm::{
    Allocator, blake3, cabi_realloc, done, ed25519_verify, effect, emit, give, id, kv_delete, kv_get, kv_get_many,
    kv_range, kv_set, log, next, sha256, stop, take,
};

#[cfg(all(not(target_arch = "wasm32"), feature = "test-host"))]
mod native;
#[cfg(all(not(target_arch = "wasm32"), feature = "test-host"))]
pub(crate) use native::with;
#[cfg(all(not(target_arch = "wasm32"), feature = "test-host"))]
pub use native::{
    blake3, done, ed25519_verify, effect, emit, id, kv_delete, kv_get, kv_get_many, kv_range, kv_set, log, next, sha256,
};

#[cfg(all(not(target_arch = "wasm32"), not(feature = "test-host")))]
mod absent;
#[cfg(all(not(target_arch = "wasm32"), not(feature = "test-host")))]
pub use absent::{
    blake3, done, ed25519_verify, effect, emit, id, kv_delete, kv_get, kv_get_many, kv_range, kv_set, log, next, sha256,
};
