//! Laws of durability: no receipt before sync, fold and signature; a failed write, fence or signature poisons the node
//! and loses nothing that was acknowledged.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{World, check_receipt, duplicate};
use tally_core::{Lane, NodeState, Refused};
use tally_protocol::id::TreeSize;
use tally_storage::memory::Crash;

#[test]
fn a_failed_sync_poisons_the_node_and_a_restart_recovers() {
    let mut world = World::new();
    // The sync that fails is the submission's, not one of a publication.
    world.config.publish_interval = Duration::from_secs(3600);
    let node = world.start_ready();
    let kept = world.event("{\"kept\":1}");
    let receipt = node.accept_one(kept.clone());
    world.engine.faults().fail_sync(1);
    let lost = world.event("{\"lost\":1}");
    let ticket = node.submitter.submit(Lane(1), vec![lost.clone()]).unwrap();
    assert!(ticket.wait().is_err(), "no receipt without a sync");
    assert!(matches!(node.reader.state(), NodeState::Poisoned(_)));
    assert!(matches!(node.submitter.submit(Lane(1), vec![lost.clone()]), Err(Refused::Poisoned(_))));
    let after = world.engine.crash(Crash::System);
    drop(node);
    world.engine = Arc::new(after);
    let node = world.start();
    assert_eq!(duplicate(node.submit_one(kept)).index, receipt.index);
    // The retry has one outcome, whatever became of the first try.
    node.submit_one(lost.clone());
    check_receipt(&world, &duplicate(node.submit_one(lost)));
    node.stop();
}

#[test]
fn a_fence_that_fails_lets_nothing_be_signed() {
    let world = World::new();
    let node = world.start_ready();
    let before = node.reader.checkpoint();
    world.fence.fail.store(true, Ordering::SeqCst);
    let ticket = node.submitter.submit(Lane(1), vec![world.event("{}")]).unwrap();
    assert!(ticket.wait().is_err());
    assert!(matches!(node.reader.state(), NodeState::Poisoned(_)));
    assert_eq!(node.reader.checkpoint().checkpoint, before.checkpoint);
    drop(node);
    world.fence.fail.store(false, Ordering::SeqCst);
    let node = world.start();
    assert_eq!(node.reader.checkpoint().checkpoint.size, TreeSize::new(before.checkpoint.size.get() + 1));
    node.stop();
}

#[test]
fn the_fence_is_never_behind_a_receipt() {
    let world = World::new();
    let node = world.start_ready();
    for n in 0..50 {
        let receipt = node.accept_one(world.event(&format!("{{\"n\":{n}}}")));
        let fenced = world.fence.record.lock().unwrap().unwrap();
        assert!(fenced.size >= receipt.checkpoint.checkpoint.size);
    }
    node.stop();
}

#[test]
fn the_ladder_is_ordered_at_every_reading() {
    let world = World::new();
    let node = world.start_ready();
    let reader = node.reader.clone();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let watcher = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            let mut last = reader.ladder();
            while !stop.load(Ordering::Relaxed) {
                let now = reader.ladder();
                assert!(now.ordered >= now.durable, "{now:?}");
                assert!(now.durable >= now.folded, "{now:?}");
                assert!(now.folded >= now.signed, "{now:?}");
                assert!(now.signed >= now.acknowledged, "{now:?}");
                assert!(now.signed >= now.published && now.published >= now.anchored, "{now:?}");
                assert!(now.signed >= last.signed && now.published >= last.published, "a rung fell");
                assert!(now.anchored >= last.anchored, "a rung fell");
                last = now;
            }
        })
    };
    let mut mark = node.sequencer.anchored();
    for n in 0..100 {
        node.accept((0..20).map(|m| world.event(&format!("{{\"m\":{m},\"n\":{n}}}"))).collect());
        let ladder = node.reader.ladder();
        assert!(mark.reach(ladder.published), "what was published may be anchored");
        assert!(!mark.reach(TreeSize::new(ladder.ordered.get() + 1_000)), "nothing above what was published");
        assert!(mark.reach(TreeSize::new(0)), "an older head changes nothing");
        assert!(node.reader.ladder().anchored >= ladder.published);
    }
    stop.store(true, Ordering::Relaxed);
    watcher.join().unwrap();
    node.stop();
}

#[test]
fn what_is_inside_at_drain_gets_its_receipts() {
    let world = World::new();
    let node = world.start_ready();
    let tickets: Vec<_> = (0..50)
        .map(|n| node.submitter.submit(Lane(n), vec![world.event(&format!("{{\"n\":{n}}}"))]).unwrap())
        .collect();
    let reader = node.reader.clone();
    node.stop();
    for ticket in tickets {
        for result in ticket.wait().unwrap() {
            check_receipt(&world, &common::accepted(result));
        }
    }
    let ladder = reader.ladder();
    assert_eq!((ladder.acknowledged, ladder.published), (ladder.ordered, ladder.ordered));
}

#[test]
fn the_door_is_bounded_in_bytes_over_all_and_for_each_caller() {
    let mut world = World::new();
    let one = world.event("{}").bytes().len();
    world.config.inflight_bytes_per_lane_max = one * 3;
    world.config.inflight_bytes_max = one * 5;
    let node = world.start_ready();
    let too_many = (0..4).map(|_| world.event("{}")).collect();
    assert!(matches!(node.submitter.submit(Lane(1), too_many), Err(Refused::TooLarge { .. })));
    assert!(matches!(node.submitter.submit(Lane(1), Vec::new()), Err(Refused::Count { .. })));
    // While the disk is slow, one caller fills its share and then waits; another one still gets in.
    world.engine.faults().slow_sync(Duration::from_millis(300));
    let first = node.submitter.submit(Lane(1), vec![world.event("{}"), world.event("{}")]).unwrap();
    let busy = node.submitter.submit(Lane(1), vec![world.event("{}"), world.event("{}")]);
    assert!(matches!(busy, Err(Refused::Busy { .. })), "{busy:?}");
    let other = node.submitter.submit(Lane(2), vec![world.event("{}"), world.event("{}")]).unwrap();
    assert!(matches!(
        node.submitter.submit(Lane(3), vec![world.event("{}"), world.event("{}")]),
        Err(Refused::Busy { .. })
    ));
    first.wait().unwrap();
    other.wait().unwrap();
    world.engine.faults().slow_sync(Duration::ZERO);
    node.accept(vec![world.event("{}"), world.event("{}")]);
    node.stop();
}
