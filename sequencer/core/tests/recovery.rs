//! Laws of starting: starting is recovering, derived state rebuilds to the same roots, and a log that does not extend
//! what was signed is never extended again.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod common;

use std::sync::Arc;

use common::{STREAM, TENANT, World, check_receipt, duplicate};
use tally_core::{Lane, NodeState, Receipt, Refused, StartError};
use tally_merkle::{TileTree, verify_inclusion};
use tally_protocol::hash::RootHash;
use tally_protocol::id::{Index, Sequence, TreeSize};
use tally_storage::keys::TileKey;
use tally_storage::memory::Crash;
use tally_storage::{Batch, Durability, Engine, Family, StoredTile, TileStore};

fn root(receipt: &Receipt) -> (TreeSize, RootHash) {
    (receipt.checkpoint.checkpoint.size, receipt.checkpoint.checkpoint.root)
}

#[test]
fn a_restart_keeps_every_receipt_and_signs_the_same_root() {
    let world = World::new();
    let node = world.start_ready();
    let frames: Vec<_> = (0..700).map(|n| world.event(&format!("{{\"n\":{n}}}"))).collect();
    let mut receipts = Vec::new();
    for chunk in frames.chunks(37) {
        receipts.extend(node.accept(chunk.to_vec()));
    }
    let last = node.reader.checkpoint();
    node.stop();
    let node = world.start();
    let again = node.reader.checkpoint();
    assert_eq!(again.checkpoint, last.checkpoint);
    for (frame, receipt) in frames.iter().zip(&receipts) {
        let found = duplicate(node.submit_one(frame.clone()));
        assert_eq!(
            (found.index, found.sequence, found.leaf_hash),
            (receipt.index, receipt.sequence, receipt.leaf_hash)
        );
        check_receipt(&world, &found);
        check_receipt(&world, receipt);
    }
    assert_eq!(node.accept_one(world.event("{}")).sequence, Sequence::new(701));
    node.stop();
}

#[test]
fn deleting_all_derived_families_gives_the_same_roots() {
    let world = World::new();
    let node = world.start_ready();
    for n in 0..40 {
        node.accept((0..25).map(|m| world.event(&format!("{{\"m\":{m},\"n\":{n}}}"))).collect());
    }
    let before = node.reader.checkpoint();
    let keys = node.reader.agent_keys(TENANT, common::AGENT);
    let tile = node.reader.tile(tally_protocol::tile::TileId::parse("tile/0/000").unwrap()).unwrap();
    node.stop();
    tally_storage::clear_derived(world.engine.as_ref()).unwrap();
    let node = world.start();
    assert_eq!(node.reader.checkpoint().checkpoint, before.checkpoint);
    assert_eq!(node.reader.agent_keys(TENANT, common::AGENT), keys);
    assert_eq!(node.reader.tile(tally_protocol::tile::TileId::parse("tile/0/000").unwrap()).unwrap(), tile);
    assert_eq!(node.reader.stream_head(STREAM), Some(Sequence::new(1000)));
    check_receipt(&world, &node.accept_one(world.event("{}")));
    node.stop();
}

/// Every proof of a log of some tiles holds.
fn check_proofs(node: &common::Node) {
    let checkpoint = node.reader.checkpoint().checkpoint.clone();
    for index in (1..checkpoint.size.get()).map(Index::new) {
        let proof = node.reader.inclusion(index, checkpoint.size).unwrap();
        let leaf = node.reader.event(index).unwrap().leaf_hash();
        verify_inclusion(&leaf, &proof, &checkpoint.root).unwrap();
    }
}

/// A stopped node's log of four full tiles, whose stored tiles are then changed.
fn with_changed_tiles(change: impl Fn(u64, StoredTile) -> Vec<u8>) -> World {
    let world = World::new();
    let node = world.start_ready();
    for n in 0..40 {
        node.accept((0..30).map(|m| world.event(&format!("{{\"m\":{m},\"n\":{n}}}"))).collect());
    }
    check_proofs(&node);
    node.stop();
    let engine: Arc<dyn Engine> = Arc::clone(&world.engine) as Arc<dyn Engine>;
    let tiles = TileStore::new(Arc::clone(&engine));
    let mut batch = Batch::new();
    for index in 0..4 {
        let stored = tiles.get(0, index).unwrap().unwrap();
        assert_eq!(stored.value().len(), 8704);
        batch.put(Family::Tiles, TileKey { level: 0, index }.encode(), change(index, stored));
    }
    engine.write(batch, Durability::Synced).unwrap();
    world
}

#[test]
fn tiles_of_an_older_node_without_middle_rows_are_read_as_they_are() {
    let world = with_changed_tiles(|_, stored| stored.hashes().to_vec());
    let node = world.start();
    check_proofs(&node);
    node.accept_one(world.event("{}"));
    node.stop();
    // They were good: nothing was folded or written again.
    let tiles = TileStore::new(Arc::clone(&world.engine) as Arc<dyn Engine>);
    assert!((0..4).all(|index| tiles.get(0, index).unwrap().unwrap().middle_row().is_none()));
}

#[test]
fn a_wrong_middle_row_is_found_by_the_next_start_and_derived_again() {
    let world = with_changed_tiles(|index, stored| {
        let mut value = stored.value().to_vec();
        value[8192 + 32 * index as usize] ^= 1;
        value
    });
    let node = world.start();
    check_proofs(&node);
    node.accept_one(world.event("{}"));
    check_proofs(&node);
    node.stop();
    let tiles = TileStore::new(Arc::clone(&world.engine) as Arc<dyn Engine>);
    for index in 0..4 {
        let tile = tiles.get(0, index).unwrap().unwrap();
        assert_eq!(tile.middle_row().unwrap(), TileTree::new(&tile.hashes()).unwrap().middle_row());
    }
}

#[test]
fn a_crash_loses_nothing_that_was_acknowledged() {
    for crash_after in [1, 2, 5, 30] {
        let mut world = World::new();
        let node = world.start_ready();
        let mut kept = Vec::new();
        for n in 0..crash_after {
            let frames: Vec<_> = (0..20).map(|m| world.event(&format!("{{\"m\":{m},\"n\":{n}}}"))).collect();
            kept.extend(frames.clone().into_iter().zip(node.accept(frames)));
        }
        // Only what was synced survives.
        let after = world.engine.crash(Crash::System);
        drop(node);
        world.engine = Arc::new(after);
        let node = world.start();
        assert_eq!(node.reader.state(), NodeState::Running);
        for (frame, receipt) in kept {
            let found = duplicate(node.submit_one(frame));
            assert_eq!((found.index, found.leaf_hash), (receipt.index, receipt.leaf_hash));
            check_receipt(&world, &found);
        }
        node.stop();
    }
}

/// Runs a world to some size and keeps a copy of its data directory from half way.
fn with_copy() -> (World, Arc<tally_storage::memory::MemoryEngine>) {
    let world = World::new();
    let node = world.start_ready();
    node.accept((0..10).map(|n| world.event(&format!("{{\"n\":{n}}}"))).collect());
    node.stop();
    let copy = Arc::new(world.engine.crash(Crash::System));
    let node = world.start();
    node.accept((0..10).map(|n| world.event(&format!("{{\"m\":{n}}}"))).collect());
    node.stop();
    (world, copy)
}

#[test]
fn a_restored_backup_is_served_read_only_and_says_what_is_missing() {
    let (mut world, copy) = with_copy();
    world.engine = copy;
    let node = world.start();
    let NodeState::ReadOnly(why) = node.reader.state() else { panic!("{:?}", node.reader.state()) };
    assert!(why.contains("size 13") && why.contains("size 23"), "{why}");
    assert!(matches!(node.submitter.submit(Lane(1), vec![world.event("{}")]), Err(Refused::ReadOnly(_))));
    // What was published before is still served, under its own signature.
    let old = node.reader.checkpoint();
    assert_eq!(old.checkpoint.size, TreeSize::new(13));
    assert!(node.reader.event(Index::new(12)).is_ok());
    node.stop();
}

#[test]
fn a_fork_is_never_signed() {
    let (mut world, copy) = with_copy();
    let original = Arc::clone(&world.engine);
    let fence = world.fence.clone();
    // The copy runs behind another fence, as if the operator had lost the first, and adopts it.
    world.engine = copy;
    world.fence = common::TestFence::default();
    let node = world.start();
    assert!(matches!(node.reader.state(), NodeState::ReadOnly(why) if why.contains("fence")));
    node.stop();
    world.config.adopt_fence = true;
    let node = world.start();
    let forked: Vec<_> = node.accept((0..12).map(|n| world.event(&format!("{{\"f\":{n}}}"))).collect());
    node.stop();
    // Back behind the true fence the fork is found out.
    world.config.adopt_fence = false;
    let fork = Arc::clone(&world.engine);
    world.fence = fence.clone();
    let node = world.start();
    assert!(matches!(node.reader.state(), NodeState::ReadOnly(why) if why.contains("fork")));
    node.stop();
    // And the original goes on.
    world.engine = original;
    let node = world.start();
    assert_eq!(node.reader.state(), NodeState::Running);
    let true_root = root(&node.accept_one(world.event("{}")));
    assert_ne!(true_root, root(&forked[0]));
    drop(fork);
    node.stop();
}

#[test]
fn one_log_key_signs_one_ledger() {
    let world = World::new();
    world.start_ready().stop();
    let mut other = World::new();
    other.genesis.nonce = [8; 16];
    other.fence = world.fence.clone();
    let node = other.start();
    assert!(matches!(node.reader.state(), NodeState::ReadOnly(why) if why.contains("one key signs one ledger")));
    node.stop();
}

#[test]
fn another_ledger_or_another_key_does_not_start() {
    let mut world = World::new();
    world.start_ready().stop();
    world.genesis.nonce = [8; 16];
    assert!(matches!(world.try_start(), Err(StartError::OtherLedger { .. })));
    let world = World::new();
    let mut parts = world.parts();
    parts.receipt_signer = Arc::new(common::key(99));
    let result = tally_core::Sequencer::start(world.config.clone(), parts);
    assert!(matches!(result, Err(StartError::OtherKey { which: "receipt", .. })));
}

#[test]
fn a_start_that_stopped_before_the_fence_was_set_is_a_first_start_still() {
    let world = World::new();
    world.start_ready().stop();
    // As a crash between genesis and fence leaves it: genesis, the mark, no fence.
    let fresh = World::new();
    fresh.fence.fail.store(true, std::sync::atomic::Ordering::SeqCst);
    assert!(matches!(fresh.try_start(), Err(StartError::Fence(_))));
    fresh.fence.fail.store(false, std::sync::atomic::Ordering::SeqCst);
    let node = fresh.start_ready();
    assert_eq!(node.reader.state(), NodeState::Running);
    node.stop();
}
