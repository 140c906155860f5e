//! A real node's data at rest: exported, replayed by the binary to the node's own roots, and checked by `tally fsck`.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Output;

use bytes::Bytes;
use common::market::{Market, Node, Place, Roots, STORE, module, release_of};
use common::{run, tally};
use serde_json::Value;
use tally_protocol::frame::Frame;
use tally_protocol::id::Index;
use tally_storage::{Batch, Durability, Family, Outcomes, ScanRange};

fn orders(market: &Market, count: u64) -> Vec<Frame> {
    let order = |n: u64| {
        let name = format!("o-{}", n % 7);
        market.event("order.placed", ("order", &name), &format!("{{\"n\":{n}}}"))
    };
    (0..count).map(order).collect()
}

/// A place where a node ran two plugins, was restarted, and stopped; with its last roots.
fn traded() -> (Place, Roots) {
    let place = Place::new();
    let (node, mut market) = place.start_ready();
    for name in ["counter", "registry"] {
        node.port.put_module(module(name)).unwrap();
        node.accept(market.life(STORE, &release_of(&module(name))));
        node.accept(orders(&market, 150));
    }
    node.caught_up();
    node.stop();
    let node = place.start();
    node.accept(orders(&market, 300));
    let roots = settled(&node);
    node.stop();
    (place, roots)
}

/// The roots once everything is applied and published: what is stored in the end.
fn settled(node: &Node) -> Roots {
    let roots = node.caught_up();
    common::market::until("published", || node.reader.ladder().published == node.reader.ladder().signed);
    roots
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn export(place: &Place, out: &Path) -> Output {
    run(tally(&["export", "--data", text(place.path()), "--out", text(out), "--json"]))
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&output.stderr)))
}

fn fsck(place: &Place) -> (i32, Value) {
    let fence = place.path().join("fence");
    let output = run(tally(&["fsck", text(place.path()), "--fence", text(&fence), "--json"]));
    (output.status.code().unwrap(), json(&output))
}

#[test]
fn what_a_node_decided_replays_from_its_export_to_the_same_roots() {
    let (place, roots) = traded();
    let (code, report) = fsck(&place);
    assert_eq!((code, report["outcomes"].as_u64()), (0, Some(roots.size.get())), "{report:#}");
    let dir = tempfile::tempdir().unwrap();
    let [one, two]: [PathBuf; 2] = ["one", "two"].map(|name| dir.path().join(name));
    let written = json(&export(&place, &one));
    assert_eq!(
        (written["events"].as_u64(), written["outcomes"].as_u64()),
        (Some(roots.size.get() - 1), Some(roots.size.get()))
    );
    assert_eq!(written["modules"].as_u64(), Some(2));
    for engine in ["optimised", "baseline", "wasmi"] {
        let ledger = place.genesis.ledger_id().to_hex();
        let output = run(tally(&["replay", text(&one), "--engine", engine, "--ledger", &ledger, "--json"]));
        let said = json(&output);
        assert_eq!(said["replay"], "ok", "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(said["outcome_root"], roots.outcomes.to_hex());
        assert_eq!(said["state_root"], roots.states.to_hex());
        assert_eq!(said["state_root_signed"], true);
    }
    // Written again it is the same, and where it stands it is not written over.
    assert!(export(&place, &two).status.success());
    let run_of = |out: &Path| std::fs::read(out.join("log/00000000000000000001.run")).unwrap();
    assert_eq!(run_of(&one), run_of(&two));
    assert_eq!(export(&place, &two).status.code(), Some(2));
}

#[test]
fn a_changed_or_missing_outcome_on_the_disk_is_found_by_fsck_and_by_replay() {
    let (place, roots) = traded();
    let engine = place.open();
    let outcomes = Outcomes::new(engine.clone());
    let at = Index::new(roots.size.get() - 1);
    let honest = outcomes.get(at).unwrap().unwrap();
    let mut changed = honest.to_vec();
    // Gas of the first record: behind tag, leaf, count, name (11), module, profile, fresh and code.
    changed[50 + 11 + 32 + 32 + 2 + 7] ^= 1;
    let row = engine
        .scan(&ScanRange {
            family: Family::Outcomes,
            from: tally_storage::keys::Key::FIRST,
            to: None,
            reverse: true,
            limit: 1,
        })
        .unwrap()
        .remove(0);
    let position = row.value.windows(honest.len()).rposition(|window| window == honest).unwrap();
    let mut value = row.value.to_vec();
    value[position..position + changed.len()].copy_from_slice(&changed);
    let key = || tally_storage::keys::Key::from_slice(&row.key).unwrap();
    let mut batch = Batch::new();
    batch.put(Family::Outcomes, key(), Bytes::from(value));
    engine.write(batch, Durability::Synced).unwrap();
    drop((outcomes, engine));
    let (code, report) = fsck(&place);
    assert_eq!((code, report["first_bad"]["rule"].as_str()), (3, Some("outcome_checkpoint_root")), "{report:#}");
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("export");
    assert!(export(&place, &out).status.success(), "an export says what is stored");
    let output = run(tally(&["replay", text(&out)]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains(&format!("outcome: entry {at}: counter: gas is ")), "{said}");

    let engine = place.open();
    let mut batch = Batch::new();
    batch.delete(Family::Outcomes, key());
    engine.write(batch, Durability::Synced).unwrap();
    drop(engine);
    let (code, report) = fsck(&place);
    assert_eq!((code, report["first_bad"]["rule"].as_str()), (3, Some("outcome_missing")), "{report:#}");
    let output = export(&place, &dir.path().join("other"));
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is missing"));
}
