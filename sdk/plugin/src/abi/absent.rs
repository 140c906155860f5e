//! No host: what a native build without the feature `test-host` has. It compiles; it cannot run.

use alloc::vec::Vec;

use crate::rows::Rows;

fn no_host() -> ! {
    panic!("there is no host here: build for wasm32, or test with the feature `test-host` of tally-plugin")
}

macro_rules! absent {
    ($($name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*) => {
        $(
            #[doc = "Stops: there is no host."]
            pub fn $name($($argument: $type),*) $(-> $result)? {
                $(let _ = $argument;)*
                no_host()
            }
        )*
    };
}

absent! {
    next() -> Option<Vec<u8>>;
    done(accepted: bool, code: &str);
    kv_get(key: &[u8]) -> Option<Vec<u8>>;
    kv_get_many(keys: &[u8]) -> Vec<u8>;
    kv_set(key: &[u8], value: &[u8]);
    kv_delete(key: &[u8]);
    kv_range(start: &[u8], end: &[u8], limit: u32, reverse: bool) -> Rows;
    emit(event_type: &str, body: &[u8]);
    effect(kind: &str, suffix: &str, body: &[u8]);
    sha256(data: &[u8]) -> [u8; 32];
    blake3(data: &[u8]) -> [u8; 32];
    ed25519_verify(public_key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool;
    id(label: &str) -> [u8; 32];
    log(level: u32, text: &str);
}
