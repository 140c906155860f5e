//! Modules for the tests: the committed ones, and guests written here.
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use tally_plugin_author::engines::{EngineName, Engines, Plugin};
use tally_plugin_author::fixture::{Fixture, LEDGER};
use tally_plugin_author::play::Track;

pub(crate) static ENGINES: LazyLock<Engines> = LazyLock::new(|| Engines::new(LEDGER).expect("engines"));

/// A committed module.
pub(crate) fn committed(name: &str) -> Vec<u8> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../{name}/{name}.wasm"));
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

pub(crate) fn on_all(wasm: &[u8]) -> Plugin {
    ENGINES.load(wasm).unwrap_or_else(|error| panic!("{error}: {error:?}"))
}

pub(crate) fn on_first(wasm: &[u8]) -> Plugin {
    ENGINES.load_on(wasm, &EngineName::ALL[..1]).unwrap_or_else(|error| panic!("{error}: {error:?}"))
}

/// A fixture as a file.
pub(crate) fn write(folder: &Path, name: &str, json: &str) -> PathBuf {
    let file = folder.join(name);
    std::fs::write(&file, json).expect("written");
    file
}

/// A fixture's events.
pub(crate) fn track(json: &str) -> Track {
    let fixture: Fixture = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}"));
    fixture.track(Path::new("fixtures/given.json")).unwrap_or_else(|error| panic!("{error}"))
}

/// So many events about three things.
pub(crate) fn events(count: usize) -> Track {
    let event = |at: usize| format!(r#"{{"type":"thing.made","entity_type":"thing","entity_id":"t{}"}}"#, at % 3);
    let events: Vec<String> = (0..count).map(event).collect();
    track(&format!(r#"{{"events":[{}]}}"#, events.join(",")))
}

/// A guest with a manifest that does this at each event, which lies at address 16, and then accepts. Keys begin with `k/`.
/// Its allocator gives the same places over and over, so that nothing of an instance's past shows unless `work` shows it.
pub(crate) fn guest(version: &str, limits: &str, work: &str) -> Vec<u8> {
    let manifest = format!(
        r#"{{"abi":1,"capabilities":[],"events":["*"],"id":"planted","limits":{limits},"prefixes":["k/"],"routes":[],"state_version":1,"version":"{version}"}}"#
    );
    let text: String = manifest.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    let module = format!(
        r#"(module
  (import "tally:plugin/host@1" "next" (func $next (param i32)))
  (import "tally:plugin/host@1" "done" (func $done (param i32 i32 i32)))
  (import "tally:plugin/host@1" "kv_set" (func $kv_set (param i32 i32 i32 i32)))
  (memory (export "memory") 4)
  (global $counter (mut i32) (i32.const 0))
  (data (i32.const 1024) "k/count")
  (data (i32.const 1040) "odd-one")
  (data (i32.const 8192) "{text}")
  (func $sequence (result i32) (i32.load offset=8 (i32.load (i32.const 20))))
  (func (export "describe") (param i32)
    (i32.store (local.get 0) (i32.const 8192))
    (i32.store offset=4 (local.get 0) (i32.const {length})))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (if (i32.gt_u (local.get 3) (i32.const 60000)) (then unreachable))
    (if (result i32) (i32.lt_u (local.get 3) (i32.const 100))
      (then (i32.const 16384)) (else (i32.const 131072))))
  (func (export "init") (param i32 i32) (result i32) (i32.const 0))
  (func (export "migrate") (param i32 i32 i32) (result i32) (i32.const 0))
  (func (export "query") (param i32 i32 i32))
  (func (export "run")
    (loop $next_event
      (call $next (i32.const 16))
      (if (i32.load (i32.const 16))
        (then {work} (call $done (i32.const 1) (i32.const 0) (i32.const 0)) (br $next_event))))))"#,
        length = manifest.len()
    );
    wat::parse_str(&module).unwrap_or_else(|error| panic!("{error}"))
}

/// Writes the number of the event in its stream under one key.
pub(crate) const PURE: &str = "(i32.store (i32.const 64) (call $sequence))
    (call $kv_set (i32.const 1024) (i32.const 7) (i32.const 64) (i32.const 4))";

/// Writes how many events this instance has seen: a static counter.
pub(crate) const IMPURE: &str = "(global.set $counter (i32.add (global.get $counter) (i32.const 1)))
    (i32.store (i32.const 64) (global.get $counter))
    (call $kv_set (i32.const 1024) (i32.const 7) (i32.const 64) (i32.const 4))";
