//! Entity types that plugins bring, with modules that really run: what a manifest declares opens a store with a list for
//! as long as the plugin runs there, and an auditor comes to the same (S-003). And `tally types`, the list by hand.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod common;

use bytes::Bytes;
use common::market::{AGENT, Market, Node, Place, STORE, STREAM, id, key, release_of};
use common::{Home, code, err, json_lines};
use tally_core::{EventResult, StoredEvent};
use tally_protocol::control::ControlEvent;
use tally_protocol::error::RejectCode;
use tally_protocol::frame::Frame;
use tally_protocol::id::Index;
use tally_protocol::plugin_event::{Binding, PluginEvent};
use tally_protocol::release::{Decision, Release};
use tally_protocol::run::Record;
use tally_testkit::TestRng;
use tally_verify::LogAudit;
use tally_verify::audit::{Place as At, Rule};

/// A module that accepts every event, and says this about itself.
fn guest(version: &str, capabilities: &str) -> Bytes {
    let manifest = format!(
        r#"{{"abi":1,"capabilities":[{capabilities}],"events":["*"],"id":"shipping","limits":{{}},"prefixes":[],"routes":[],"state_version":1,"version":"{version}"}}"#
    );
    let text: String = manifest.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    let module = format!(
        r#"(module
  (import "tally:plugin/host@1" "next" (func $next (param i32)))
  (import "tally:plugin/host@1" "done" (func $done (param i32 i32 i32)))
  (memory (export "memory") 4)
  (data (i32.const 8192) "{text}")
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
        (then (call $done (i32.const 1) (i32.const 0) (i32.const 0)) (br $next_event))))))"#,
        length = manifest.len()
    );
    wat::parse_str(&module).unwrap_or_else(|error| panic!("{error}")).into()
}

/// Puts a module, submits its release and approves it.
fn approved(node: &Node, market: &mut Market, wasm: &Bytes) -> Release {
    node.port.put_module(wasm.clone()).unwrap();
    let release = release_of(wasm);
    let submitted = market.submission(&release);
    node.accept(vec![market.lawful(&submitted)]);
    let reviewed = market.review(&release, Decision::Approved);
    node.accept(vec![market.lawful(&reviewed)]);
    release
}

/// Does something with the plugin that the market's register allows.
fn change(node: &Node, market: &mut Market, event: &PluginEvent) {
    let frame = market.lawful(event);
    node.accept(vec![frame]);
}

fn parcel(market: &Market) -> Frame {
    market.event("parcel.sent", ("parcel", "p-1"), "{}")
}

/// Whether the store takes a parcel; what is refused is refused for its type.
fn takes(node: &Node, market: &Market) -> bool {
    match node.submit(vec![parcel(market)]).pop().unwrap() {
        EventResult::Accepted(_) => true,
        EventResult::Rejected(reject) => {
            assert_eq!(reject.code, RejectCode::EntityTypeUnknown, "{reject}");
            false
        }
        EventResult::Duplicate(_) => panic!("nothing was sent twice"),
    }
}

fn listed(types: &[&str]) -> ControlEvent {
    let entity_types = types.iter().map(|name| (*name).to_owned()).collect();
    ControlEvent::EntityTypesSet { store_id: STORE, entity_types }
}

fn records(node: &Node) -> Vec<Record> {
    let end = node.reader.ladder().signed.get();
    let record = |index| {
        let StoredEvent { index, sequence, sequenced_at, public_key, frame } =
            node.reader.event(Index::new(index)).unwrap();
        Record { index, sequence, sequenced_at, public_key, frame }
    };
    (1..end).map(record).collect()
}

/// What an auditor says of a log's events: where the first bad one is, and the rule that it breaks.
fn audit(place: &Place, records: &[Record]) -> Option<(At, Rule)> {
    let mut rng = TestRng::new(1);
    let mut audit = LogAudit::new(&place.genesis.encode()).unwrap();
    records.iter().for_each(|record| audit.push_event(record, &mut rng));
    let verdict = audit.finish(&mut rng);
    verdict.first_bad().map(|found| (found.place, found.rule))
}

#[test]
fn a_plugin_opens_a_store_to_the_type_that_its_manifest_declares_while_it_runs_there() {
    let place = Place::new();
    let (node, mut market) = place.start_ready();
    let plugin = || id("shipping");
    let release = approved(&node, &mut market, &guest("1.0.0", r#""entity:parcel""#));
    assert_eq!(release.permissions, ["entity:parcel".to_owned()].into());
    node.accept(vec![market.control(&listed(&["order"]))]);
    assert!(!takes(&node, &market), "an unknown type is refused, though the release is approved");
    let installed = market.installed(STORE, &release);
    change(&node, &mut market, &installed);
    assert!(takes(&node, &market), "installed");
    node.caught_up();
    let last = node.accept(vec![parcel(&market)]);
    node.caught_up();
    assert_eq!(
        node.codes(last[0].index),
        ["shipping accepted"],
        "it runs, with a capability that it can do nothing with"
    );

    let previous = market.register.head(&STREAM, &plugin());
    let stopped =
        PluginEvent::Quarantined { store_id: STORE, plugin: plugin(), reason: "looked at".to_owned(), previous };
    change(&node, &mut market, &stopped);
    assert!(!takes(&node, &market), "quarantined");
    // Another release, which does not declare it.
    let without = approved(&node, &mut market, &guest("1.1.0", ""));
    let upgraded = PluginEvent::Upgraded(market.binding(STORE, &without, "{}"));
    change(&node, &mut market, &upgraded);
    assert!(!takes(&node, &market), "upgraded to a release that does not declare it");
    let with = approved(&node, &mut market, &guest("1.2.0", r#""entity:parcel""#));
    let greedy = Binding { granted: with.permissions.clone(), ..market.binding(STORE, &without, "{}") };
    let reject = node.refuse(market.plugin_frame(&PluginEvent::Upgraded(greedy)));
    assert_eq!(reject.code, RejectCode::ControlRefused, "granted what the release does not ask for: {reject}");
    let upgraded = PluginEvent::Upgraded(market.binding(STORE, &with, "{}"));
    change(&node, &mut market, &upgraded);
    assert!(takes(&node, &market), "upgraded to one that does");
    node.stop();
    let node = place.start();
    assert!(takes(&node, &market), "a restart forgot it");
    let previous = market.register.head(&STREAM, &plugin());
    let removed = PluginEvent::Removed { store_id: STORE, plugin: plugin(), reason: "done".to_owned(), previous };
    change(&node, &mut market, &removed);
    assert!(!takes(&node, &market), "uninstalled");
    node.accept(vec![market.event("order.placed", ("order", "o-1"), "{}")]);
    node.caught_up();

    // The auditor has no quarrel with any of it, and finds what an operator lets in behind it.
    let mut records = records(&node);
    assert_eq!(audit(&place, &records), None);
    let last = records.last().unwrap().clone();
    let planted = Record {
        index: last.index.next(),
        sequence: last.sequence.next(),
        public_key: key(AGENT).public_key(),
        frame: parcel(&market),
        ..last
    };
    records.push(planted.clone());
    assert_eq!(audit(&place, &records), Some((At::Entry(planted.index), Rule::EntityTypeUnknown)));
    node.stop();
}

#[test]
fn a_list_is_set_shown_and_lifted_on_the_command_line() {
    let home = Home::new();
    let node = home.start();
    let types = |args: &[&str]| {
        let answer = home.tally(&[&["types"], args, &["--json"]].concat());
        assert_eq!(code(&answer), 0, "{}", err(&answer));
        json_lines(&answer).remove(0)
    };
    let submit = |entity_type: &str| {
        let what = ["submit", "--json", "--event-type", "thing.done", "--entity-id", "1", "--entity-type", entity_type];
        code(&home.tally(&what))
    };
    assert!(types(&["show"])["entity_types"].is_null());
    assert_eq!(submit("parcel"), 0);
    let set = types(&["set", "order", "item", "order"]);
    assert_eq!(set["entity_types"], serde_json::json!(["item", "order"]));
    let shown = types(&["show"]);
    assert_eq!((&shown["entity_types"], &shown["set_index"]), (&set["entity_types"], &set["log_index"]));
    assert_eq!(shown["plugins"], serde_json::json!([]));
    assert_ne!(submit("parcel"), 0);
    assert_eq!(submit("order"), 0);
    assert_eq!(types(&["set", "--none"])["entity_types"], serde_json::json!([]));
    assert_ne!(submit("order"), 0);
    assert!(types(&["lift"])["entity_types"].is_null());
    assert_eq!(submit("parcel"), 0);
    let long = home.tally(&["types", "set", &"x".repeat(129)]);
    assert_ne!(code(&long), 0);
    assert!(err(&long).contains("entity_types"), "{}", err(&long));
    node.stop();
    // Genesis, the tenant, its agent's key, three events, and three changes of the list.
    assert_eq!(home.fsck()["size"], 9);
}
