//! Modules for the tests: the contract as WAT around what a test is about, and generated ones.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod host;
pub(crate) mod ledger;
pub(crate) mod script;

use tally_plugin_host::instrument::instrument;
use tally_plugin_host::limits::Limits;
use tally_plugin_host::validate::{validate, validate_again};

/// Exports of the contract that a test does not write itself.
pub(crate) const STUBS: &[(&str, &str)] = &[
    ("(export \"memory\")", "(memory (export \"memory\") 1)"),
    (
        "(export \"cabi_realloc\")",
        // A bump allocator that starts over at each run.
        "(global $bump (mut i32) (i32.const 32768))
         (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32)
           (local $at i32)
           (local.set $at (i32.and (i32.add (global.get $bump) (i32.const 7)) (i32.const -8)))
           (global.set $bump (i32.add (local.get $at) (local.get 3)))
           (if (i32.gt_u (global.get $bump) (i32.const 65536))
             (then (local.set $at (i32.const 32768))
                   (global.set $bump (i32.add (i32.const 32768) (local.get 3)))))
           (local.get $at))",
    ),
    ("(export \"describe\")", "(func (export \"describe\") (param i32))"),
    ("(export \"init\")", "(func (export \"init\") (param i32 i32) (result i32) (i32.const 0))"),
    ("(export \"migrate\")", "(func (export \"migrate\") (param i32 i32 i32) (result i32) (i32.const 0))"),
    ("(export \"run\")", "(func (export \"run\"))"),
    ("(export \"query\")", "(func (export \"query\") (param i32 i32 i32))"),
];

/// A module of the contract: what is given, and stubs for the exports it does not write.
pub(crate) fn wat(body: &str) -> Vec<u8> {
    let mut text = format!("(module {body}");
    for (export, stub) in STUBS {
        if !body.contains(export) {
            text.push_str(stub);
        }
    }
    text.push(')');
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"))
}

/// Validates and instruments.
pub(crate) fn prepared(wasm: &[u8], limits: &Limits) -> Vec<u8> {
    let valid = validate(wasm, limits).unwrap_or_else(|error| panic!("{error}"));
    let instrumented = instrument(&valid, limits).expect("the instrumenter takes what is valid");
    validate_again(&instrumented).expect("the instrumenter writes what is valid");
    instrumented
}

/// Bytes from a seed, for generators.
pub(crate) fn noise(mut seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(seed ^ (seed >> 29)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A generated module of the contract, if these bytes give one that the validator takes.
pub(crate) fn generated(seed: u64, limits: &Limits) -> Option<Vec<u8>> {
    let bytes = noise(seed, 8_192);
    let module = wasm_smith::Module::new(config(), &mut arbitrary::Unstructured::new(&bytes)).ok()?;
    let wasm = module.to_bytes();
    if validate(&wasm, limits).is_ok() { Some(wasm) } else { None }
}

#[allow(clippy::field_reassign_with_default, reason = "what is left out, a line each")]
fn config() -> wasm_smith::Config {
    let mut config = wasm_smith::Config::default();
    config.exports = Some(wat(""));
    config.allow_floats = false;
    config.simd_enabled = false;
    config.relaxed_simd_enabled = false;
    config.reference_types_enabled = false;
    config.gc_enabled = false;
    config.threads_enabled = false;
    config.tail_call_enabled = false;
    config.exceptions_enabled = false;
    config.memory64_enabled = false;
    config.extended_const_enabled = false;
    config.wide_arithmetic_enabled = false;
    config.custom_page_sizes_enabled = false;
    config.bulk_memory_enabled = true;
    config.multi_value_enabled = true;
    config.sign_extension_ops_enabled = true;
    config.allow_start_export = false;
    config.max_imports = 0;
    config.min_memories = 0;
    config.max_memories = 1;
    config.max_memory32_bytes = 4 * 65_536;
    config.max_tables = 1;
    config.max_table_elements = 2;
    config.table_max_size_required = true;
    config.min_funcs = 6;
    config.max_funcs = 20;
    config.max_instructions = 200;
    config.max_element_segments = 0;
    config.max_data_segments = 4;
    config
}
