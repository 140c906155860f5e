//! What a crash leaves of a node that runs plugins: the same state as without one, every event applied once, and roots
//! that a rebuild from nothing comes to again.
//!
//! The node that dies is this test's own program, started again as a process of its own ([`child`]). With the feature
//! `failpoints` it aborts at each named point of applying; without, it is killed at arbitrary moments.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod common;

use std::process::{Child, Command, Stdio};

use common::market::{Market, Node, Place, Roots, STORE, STREAM, id, module, release_of};
use tally_protocol::id::Index;
use tally_storage::{Batch, Durability, Family};

const PLACE: &str = "TALLY_TEST_PLACE";

/// Runs in a process of its own: a node under load, until it is gone.
#[test]
#[ignore = "a process that the others start and kill"]
fn child() {
    let Ok(dir) = std::env::var(PLACE) else { return };
    let mut place = Place::at(dir.as_ref());
    // Pages are written every few ranges.
    place.bounds.noted_keys_max = 50;
    let node = place.start();
    let market = Market::new(place.genesis.ledger_id());
    println!("ready");
    for _ in 0..2_000 {
        node.accept(orders(&market));
    }
}

fn orders(market: &Market) -> Vec<tally_protocol::frame::Frame> {
    (0..20).map(|n| market.event("order.placed", ("order", &format!("o-{n}")), "{}")).collect()
}

fn spawn(place: &Place, failpoint: Option<&str>) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--ignored", "--nocapture"]).env(PLACE, place.path());
    if let Some(point) = failpoint {
        command.env("TALLY_FAILPOINT", point);
    }
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// A ledger on which `counter` runs, stopped.
fn prepared() -> Place {
    let place = Place::new();
    let (node, mut market) = place.start_ready();
    node.port.put_module(module("counter")).unwrap();
    node.accept(market.life(STORE, &release_of(&module("counter"))));
    node.caught_up();
    node.stop();
    place
}

/// Every event since the installation is counted once.
fn check_counts(node: &Node) {
    let mut events = 0_u64;
    let mut from = Index::new(1);
    loop {
        let page = node.reader.events_of_log(from, 1_000).unwrap();
        let Some(last) = page.last() else { break };
        from = last.index.next();
        events += page.iter().filter(|event| event.frame.entity_id() == "o-7").count() as u64;
    }
    let request = br#"{"args":{"id":"o-7","type":"order"},"route":"count"}"#;
    let answer = node.port.query(&STREAM, &id("counter"), request).unwrap();
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["body"]["count"], events);
    // Verified against the root: the pages are of it.
    let key = [&b"count/order"[..], &[0, 1], b"o-7", &[0, 1]].concat();
    let value = node.port.state(&STREAM, &id("counter"), &key).unwrap().value;
    assert_eq!(value.map_or(0, |value| u64::from_le_bytes(value[..].try_into().unwrap())), events);
}

fn check_restart(place: &Place) -> Roots {
    let node = place.start();
    let roots = node.caught_up();
    check_counts(&node);
    node.stop();
    roots
}

/// Deletes what was applied; with its cuts and checkpoints it is as if the log had never been applied.
fn forget(place: &Place, cuts_too: bool) {
    let engine = place.open();
    tally_storage::clear_applied(engine.as_ref()).unwrap();
    if cuts_too {
        let mut batch = Batch::new();
        batch.clear(Family::Cuts);
        batch.clear(Family::OutcomeCheckpoints);
        engine.write(batch, Durability::Synced).unwrap();
    }
}

/// A rebuild comes to the same roots, and a run without crashes to the same state.
fn check_rebuilds(place: &Place, roots: Roots) {
    forget(place, false);
    assert_eq!(check_restart(place), roots);
    forget(place, true);
    let uncrashed = check_restart(place);
    assert_eq!((uncrashed.size, uncrashed.states), (roots.size, roots.states));
}

#[cfg(not(feature = "failpoints"))]
#[test]
fn a_node_that_is_killed_goes_on_with_the_state_of_one_that_was_not() {
    let place = prepared();
    let mut before = check_restart(&place);
    for round in 0..6 {
        let mut child = spawn(&place, None);
        let moment = 400 + 130 * round + u64::from(tally::random::bytes::<1>().unwrap()[0]);
        std::thread::sleep(std::time::Duration::from_millis(moment));
        child.kill().unwrap();
        child.wait().unwrap();
        let after = check_restart(&place);
        assert!(after.size >= before.size);
        before = after;
    }
    assert!(before.size.get() > 100, "nothing was under way: {}", before.size);
    check_rebuilds(&place, before);
}

#[cfg(feature = "failpoints")]
#[test]
fn a_crash_at_any_point_of_applying_leaves_the_roots_of_a_run_without_it() {
    use std::os::unix::process::ExitStatusExt as _;

    const SIGABRT: i32 = 6;
    let place = prepared();
    let mut last = None;
    for point in tally_core::APPLY_FAIL_POINTS {
        let nth = match *point {
            "apply.cleared" => {
                forget(&place, false);
                1
            }
            "apply.opened" => 1,
            _ => 4,
        };
        let status = spawn(&place, Some(&format!("{point}:{nth}"))).wait().unwrap();
        assert_eq!(status.signal(), Some(SIGABRT), "{point} was never passed");
        let roots = check_restart(&place);
        forget(&place, false);
        assert_eq!(check_restart(&place), roots, "rebuilt behind {point}");
        last = Some(roots);
    }
    check_rebuilds(&place, last.unwrap());
}
