//! The versions of the ABI, side by side for ever, and the contract's names.
//!
//! Every argument and result is an `i32`, so a signature is two numbers. An engine joins in by [`v1::Guest`]: three small
//! doors to memory, counters and the guest's allocator; everything else is the same code for every engine.

pub mod v1;

/// A function of the contract: how many `i32` it takes, and how many it gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// Its name.
    pub name: &'static str,
    /// Parameters.
    pub params: usize,
    /// Results.
    pub results: usize,
}

const fn function(name: &'static str, params: usize, results: usize) -> Signature {
    Signature { name, params, results }
}

/// The module that a guest imports from.
pub const IMPORT_MODULE: &str = "tally:plugin/host@1";

/// What a guest may import.
pub const IMPORTS: &[Signature] = &[
    function("next", 1, 0),
    function("done", 3, 0),
    function("kv_get", 3, 0),
    function("kv_get_many", 3, 0),
    function("kv_set", 4, 0),
    function("kv_delete", 2, 0),
    function("kv_range", 7, 0),
    function("emit", 4, 0),
    function("effect", 6, 0),
    function("sha256", 3, 0),
    function("blake3", 3, 0),
    function("ed25519_verify", 4, 1),
    function("id", 3, 0),
    function("log", 3, 0),
];

/// What a guest must export beside its memory.
pub const EXPORTS: &[Signature] = &[
    function("cabi_realloc", 4, 1),
    function("describe", 1, 0),
    function("init", 2, 1),
    function("migrate", 3, 1),
    function("run", 0, 0),
    function("query", 3, 0),
];

/// The exported memory.
pub const EXPORT_MEMORY: &str = "memory";

/// Constants that linkers export unasked; they are harmless, and left out of what is run.
pub const LINKER_EXPORTS: &[&str] = &["__data_end", "__heap_base"];

/// The injected global with the gas that remains (`i64`).
pub const GAS_GLOBAL: &str = "tally_gas";

/// The injected global with the stack units that remain (`i32`).
pub const STACK_GLOBAL: &str = "tally_stack";
