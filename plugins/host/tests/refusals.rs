//! Each rule of the validator has a module that obeys it to the last, and one that breaks it: the exact refusal.

mod common;

use common::wat;
use tally_plugin_host::abi::EXPORTS;
use tally_plugin_host::error::Refusal;
use tally_plugin_host::limits::{Limits, SHAPE};
use tally_plugin_host::validate::validate;

fn verdict(wasm: &[u8]) -> Result<(), Refusal> {
    validate(wasm, &Limits::default()).map(|_| ()).map_err(|error| error.refusal)
}

fn refused(body: &str) -> Refusal {
    verdict(&wat(body)).expect_err(body)
}

fn accepted(body: &str) {
    assert_eq!(verdict(&wat(body)), Ok(()));
}

fn too_many(body: &str, what: &str, count: u64, max: u64) {
    match refused(body) {
        Refusal::TooMany { what: found, count: counted, max: bound } => {
            assert_eq!((found, counted, bound), (what, count, max));
        }
        other => panic!("{other}"),
    }
}

fn repeated(text: &str, count: usize) -> String {
    text.repeat(count)
}

#[test]
fn the_smallest_module_of_the_contract_is_taken() {
    accepted("");
    accepted("(import \"tally:plugin/host@1\" \"next\" (func (param i32)))");
    // What linkers export unasked.
    accepted("(global (export \"__heap_base\") i32 (i32.const 9)) (global (export \"__data_end\") i32 (i32.const 9))");
}

#[test]
fn instructions_and_types_outside_the_profile_are_invalid() {
    for body in [
        "(func (param f32))",
        "(func (result f64) (f64.const 0))",
        "(func (drop (f32.convert_i32_s (i32.const 1))))",
        "(func (param v128))",
        "(func (drop (i32x4.splat (i32.const 1))))",
        "(func (drop (i32.atomic.load (i32.const 0))))",
        "(func $f (return_call $f))",
        "(func (param externref))",
        "(func (drop (ref.null func)))",
        "(type (struct))",
        "(tag)",
        "(func (drop (i64.add128 (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0))) (drop))",
        "(global i32 (i32.add (i32.const 1) (i32.const 2)))",
        "(func (i32.add (i32.const 1)) (drop))",
    ] {
        assert!(matches!(refused(body), Refusal::Invalid(_)), "{body}: {}", refused(body));
    }
    for memory in ["(memory (export \"memory\") i64 1)", "(memory (export \"memory\") 1 1 shared)"] {
        assert!(matches!(refused(memory), Refusal::Invalid(_)), "{memory}");
    }
}

#[test]
fn no_part_of_a_module_is_one_and_no_component_is() {
    let good = wat("(func (drop (i32.const 7)))");
    assert_eq!(verdict(&good), Ok(()));
    // Cut off before the names that end it, it is whole; anywhere else it is not.
    assert_eq!((0..good.len()).filter(|end| verdict(&good[..*end]).is_ok()).count(), 1);
    let component = [&b"\0asm"[..], &[0x0d, 0, 1, 0]].concat();
    assert!(matches!(verdict(&component), Err(Refusal::NotACoreModule | Refusal::Invalid(_))));
    assert!(verdict(b"").is_err());
}

#[test]
fn a_flipped_bit_never_panics_the_validator_or_the_instrumenter() {
    let good = wat("(func $f (param i32) (result i32) (block (br_table 0 0 (local.get 0))) (i32.const 1))
        (table 2 2 funcref) (elem (i32.const 0) $f $f) (data (i32.const 8) \"abc\")");
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            if validate(&bad, &Limits::default()).is_ok() {
                common::prepared(&bad, &Limits::default());
            }
        }
    }
}

#[test]
fn a_module_has_so_many_bytes() {
    let padded = |bytes: usize| {
        let mut wasm = wat("");
        // A custom section of exactly what is missing; its length takes three bytes.
        let body = bytes - wasm.len() - 1 - 3;
        let length = [body as u8 & 0x7f | 0x80, (body >> 7) as u8 & 0x7f | 0x80, (body >> 14) as u8];
        wasm.extend_from_slice(&[0]);
        wasm.extend_from_slice(&length);
        wasm.extend(core::iter::repeat_n(0, body));
        assert_eq!(wasm.len(), bytes);
        wasm
    };
    let max = SHAPE.module_bytes;
    assert_eq!(verdict(&padded(max)), Ok(()));
    assert_eq!(verdict(&padded(max + 1)), Err(Refusal::ModuleBytes { bytes: max + 1, max }));
}

#[test]
fn imports_are_the_host_s_functions_each_once_and_as_written() {
    for module in ["env", "wasi_snapshot_preview1", "tally:plugin/host", "tally:plugin/host@2", ""] {
        let body = format!("(import \"{module}\" \"next\" (func (param i32)))");
        assert_eq!(refused(&body), Refusal::ForeignImport { import: 0 });
    }
    for name in ["nexts", "Next", "", "fd_write", "clock"] {
        let body = format!("(import \"tally:plugin/host@1\" \"{name}\" (func (param i32)))");
        assert_eq!(refused(&body), Refusal::UnknownImport { import: 0 });
    }
    for ty in ["(func)", "(func (param i64))", "(func (param i32 i32))", "(func (param i32) (result i32))"] {
        let body = format!("(import \"tally:plugin/host@1\" \"next\" {ty})");
        assert_eq!(refused(&body), Refusal::ImportSignature { import: 0 }, "{ty}");
    }
    for ty in ["(global i32)", "(table 1 1 funcref)"] {
        let body = format!("(import \"tally:plugin/host@1\" \"next\" {ty})");
        assert_eq!(refused(&body), Refusal::ImportSignature { import: 0 }, "{ty}");
    }
    let next = "(import \"tally:plugin/host@1\" \"next\" (func (param i32)))";
    assert_eq!(refused(&repeated(next, 2)), Refusal::ImportTwice { import: 1 });
    too_many(&repeated(next, 15), "imports", 15, 14);
}

#[test]
fn exports_are_the_contract_s_all_of_them_and_no_other() {
    assert_eq!(refused("(func (export \"start\"))"), Refusal::UnknownExport { export: 0 });
    assert_eq!(refused("(func (export \"_initialize\"))"), Refusal::UnknownExport { export: 0 });
    assert_eq!(refused("(func (export \"__heap_base\"))"), Refusal::UnknownExport { export: 0 });
    assert_eq!(refused("(global (export \"memory\") i32 (i32.const 0))"), Refusal::ExportType { name: "memory" });
    assert_eq!(refused("(func (export \"run\") (param i32))"), Refusal::ExportType { name: "run" });
    assert_eq!(refused("(func (export \"run\") (result i32) (i32.const 0))"), Refusal::ExportType { name: "run" });
    assert_eq!(
        refused("(func (export \"init\") (param i64 i32) (result i32) (i32.const 0))"),
        Refusal::ExportType { name: "init" }
    );
    for known in EXPORTS {
        // A comment keeps the stub away.
        let body = format!("(; (export \"{}\") ;)", known.name);
        assert_eq!(refused(&body), Refusal::ExportMissing { name: known.name });
    }
    assert_eq!(refused("(; (export \"memory\") ;) (memory 1)"), Refusal::ExportMissing { name: "memory" });
}

#[test]
fn nothing_runs_by_being_instantiated() {
    assert_eq!(refused("(func $f) (start $f)"), Refusal::Start);
}

#[test]
fn there_is_one_memory_within_the_limit() {
    assert_eq!(refused("(; (export \"memory\") ;)"), Refusal::Memories);
    assert_eq!(refused("(memory (export \"memory\") 1) (memory 1)"), Refusal::Memories);
    accepted("(memory (export \"memory\") 256)");
    assert_eq!(refused("(memory (export \"memory\") 257)"), Refusal::MemoryPages { pages: 257, max: 256 });
}

#[test]
fn there_is_at_most_one_table_of_a_fixed_size() {
    accepted("(table 2 2 funcref)");
    assert_eq!(refused("(table 1 1 funcref) (table 1 1 funcref)"), Refusal::Tables);
    assert_eq!(refused("(table 1 2 funcref)"), Refusal::TableGrows);
    assert_eq!(refused("(table 1 funcref)"), Refusal::TableGrows);
    let max = SHAPE.table_entries;
    accepted(&format!("(table {max} {max} funcref)"));
    too_many(&format!("(table {0} {0} funcref)", max + 1), "table entries", max + 1, max);
    let table = "(table 1 1 funcref) (func $f) (elem (i32.const 0) $f)";
    accepted(table);
    for work in ["(elem.drop 0)", "(table.copy (i32.const 0) (i32.const 0) (i32.const 0))"] {
        assert_eq!(refused(&format!("{table} (func {work})")), Refusal::TableInstruction, "{work}");
    }
    assert_eq!(refused("(table 1 1 funcref) (func $f) (elem func $f)"), Refusal::ElementKind { segment: 0 });
}

#[test]
fn segments_lie_where_they_belong() {
    accepted("(data (i32.const 65535) \"a\")");
    assert_eq!(refused("(data (i32.const 65536) \"a\")"), Refusal::SegmentBounds { segment: 0 });
    assert_eq!(
        refused("(data (i32.const 0) \"a\") (data (i32.const -1) \"a\")"),
        Refusal::SegmentBounds { segment: 1 }
    );
    accepted("(table 2 2 funcref) (func $f) (elem (i32.const 1) $f)");
    assert_eq!(
        refused("(table 2 2 funcref) (func $f) (elem (i32.const 1) $f $f)"),
        Refusal::SegmentBounds { segment: 0 }
    );
}

#[test]
fn the_shape_of_a_module_is_bounded() {
    let types = |count: usize| {
        // Each another type: its number in unary bits of i32 and i64.
        let name = |n: usize| (0..12).map(|bit| if n >> bit & 1 == 1 { "i64 " } else { "i32 " }).collect::<String>();
        (0..count).map(|n| format!("(type (func (param {})))", name(n))).collect::<String>()
    };
    // The contract's own exports need a few.
    too_many(&types(2_049), "types", 2_055, SHAPE.types.into());
    accepted(&types(2_000));
    let contract = u64::from(SHAPE.functions) - EXPORTS.len() as u64;
    accepted(&repeated("(func)", usize::try_from(contract).unwrap()));
    let over = usize::try_from(contract).unwrap() + 1;
    too_many(&repeated("(func)", over), "functions", u64::from(SHAPE.functions) + 1, SHAPE.functions.into());
    accepted(&format!("(func (param {}))", repeated("i32 ", SHAPE.params)));
    too_many(&format!("(func (param {}))", repeated("i32 ", SHAPE.params + 1)), "parameters", 65, 64);
    let results =
        |count: usize| format!("(func (result {}) {})", repeated("i32 ", count), repeated("(i32.const 0)", count));
    accepted(&results(SHAPE.results));
    too_many(&results(SHAPE.results + 1), "results", 17, 16);
    // The stub's allocator has one.
    accepted(&repeated("(global i32 (i32.const 0))", 1_023));
    too_many(&repeated("(global i32 (i32.const 0))", 1_024), "globals", 1_025, 1_024);
    accepted(&repeated("(data (i32.const 0) \"a\")", 4_096));
    too_many(&repeated("(data (i32.const 0) \"a\")", 4_097), "data segments", 4_097, 4_096);
    let elements = |count| format!("(table 1 1 funcref) (func $f) {}", repeated("(elem (i32.const 0) $f)", count));
    accepted(&elements(256));
    too_many(&elements(257), "element segments", 257, 256);
}

#[test]
fn the_shape_of_a_function_is_bounded() {
    let locals = |count| format!("(func (param i32) (local {}))", repeated("i64 ", count));
    accepted(&locals(2_047));
    too_many(&locals(2_048), "locals", 2_049, 2_048);
    // Two bytes beside the instructions: no locals, the end.
    let long = |count| format!("(func {})", repeated("nop ", count));
    accepted(&long(128 * 1_024 - 2));
    too_many(&long(128 * 1_024 - 1), "bytes of a function", 131_073, 131_072);
    // The function itself is one block.
    let nested = |count| format!("(func {} {})", repeated("block ", count), repeated("end ", count));
    accepted(&nested(255));
    too_many(&nested(256), "blocks within blocks", 257, 256);
    let targets = |count| format!("(func (br_table {} 0 (i32.const 0)))", repeated("0 ", count));
    accepted(&targets(4_096));
    too_many(&targets(4_097), "targets of a br_table", 4_097, 4_096);
    // 64 and 8 for each of 2,048 locals and 2,040 operands.
    let frame = |operands: usize| {
        let (push, pop) = (repeated("i32.const 0 ", operands), repeated("drop ", operands));
        format!("(func (local {}) {push} {pop})", repeated("i32 ", 2_048))
    };
    accepted(&frame(2_040));
    too_many(&frame(2_041), "stack units of a frame", 32_776, 32_768);
}
