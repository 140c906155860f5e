//! Laws of proofs: every receipt proves inclusion, sizes are consistent, cuts leave no trace, commitments chain.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod common;

use std::time::Duration;

use common::{STREAM, World, check_receipt};
use proptest::prelude::*;
use tally_core::ReadError;
use tally_merkle::{verify_consistency, verify_inclusion};
use tally_protocol::hash::{RootHash, StateRoot};
use tally_protocol::id::{Index, Sequence, StoreId, Stream, TreeSize};

#[test]
fn every_receipt_proves_its_event_and_every_flipped_bit_is_refused() {
    let world = World::new();
    let node = world.start_ready();
    let receipts = node.accept((0..300).map(|n| world.event(&format!("{{\"n\":{n}}}"))).collect());
    for receipt in &receipts {
        check_receipt(&world, receipt);
        let stored = node.reader.event(receipt.index).unwrap();
        assert_eq!(stored.leaf_hash(), receipt.leaf_hash);
        let again = node.reader.receipt(receipt.index).unwrap();
        check_receipt(&world, &again);
    }
    let receipt = &receipts[123];
    let checkpoint = &receipt.checkpoint.checkpoint;
    let proof = tally_protocol::proof::InclusionProof {
        index: receipt.index,
        size: checkpoint.size,
        path: receipt.path.clone(),
    };
    for at in 0..proof.path.len() {
        for bit in [0, 100, 255] {
            let mut bytes = *proof.path[at].as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let mut bent = proof.clone();
            bent.path[at] = tally_protocol::hash::NodeHash::from_bytes(bytes);
            assert!(verify_inclusion(&receipt.leaf_hash, &bent, &checkpoint.root).is_err());
        }
    }
    node.stop();
}

#[test]
fn any_two_sizes_are_consistent_and_any_entry_is_in_any_larger_tree() {
    let world = World::new();
    let node = world.start_ready();
    let mut roots = vec![(node.reader.checkpoint().checkpoint.size, node.reader.checkpoint().checkpoint.root)];
    for n in 0..40 {
        let receipt = node.accept((0..=n).map(|m| world.event(&format!("{{\"m\":{m},\"n\":{n}}}"))).collect());
        let checkpoint = &receipt[0].checkpoint.checkpoint;
        roots.push((checkpoint.size, checkpoint.root));
    }
    for (old_size, old_root) in &roots {
        for (new_size, new_root) in roots.iter().filter(|(size, _)| size >= old_size).step_by(5) {
            let proof = node.reader.consistency(*old_size, *new_size).unwrap();
            verify_consistency(&proof, old_root, new_root).unwrap();
        }
        for index in [1, 2, old_size.get() / 2, old_size.get() - 1] {
            let event = node.reader.event(Index::new(index)).unwrap();
            let proof = node.reader.inclusion(Index::new(index), *old_size).unwrap();
            verify_inclusion(&event.leaf_hash(), &proof, old_root).unwrap();
        }
    }
    let (size, _) = roots[roots.len() - 1];
    let beyond = TreeSize::new(size.get() + 1);
    assert!(matches!(node.reader.inclusion(Index::new(1), beyond), Err(ReadError::NotYet { .. })));
    assert!(matches!(node.reader.consistency(size, beyond), Err(ReadError::NotYet { .. })));
    assert!(matches!(node.reader.inclusion(size.last().unwrap().next(), size), Err(ReadError::Invalid(_))));
    node.stop();
}

/// Submits the same events in the given chunks and returns the root and the tiles.
fn run_cut(chunks: &[usize]) -> (TreeSize, RootHash, Vec<u8>, StateRoot) {
    let world = World::new();
    let node = world.start();
    let mut frames =
        vec![world.tenant_created(common::TENANT, true), world.key_registered(common::AGENT, 1, common::AGENT_KEY)];
    frames.extend((0..598).map(|n| world.event(&format!("{{\"n\":{n}}}"))));
    // The control events first, one by one, so that the keys are known.
    for frame in frames.drain(..2) {
        node.accept_one(frame);
    }
    let mut rest = frames.as_slice();
    let mut chunks = chunks.iter().copied().cycle();
    while !rest.is_empty() {
        let take = chunks.next().unwrap_or(1).min(rest.len());
        node.accept(rest[..take].to_vec());
        rest = &rest[take..];
    }
    let checkpoint = node.reader.checkpoint();
    let mut tiles = node.reader.tile(tally_protocol::tile::TileId::parse("tile/0/000").unwrap()).unwrap();
    tiles.extend(node.reader.tile(tally_protocol::tile::TileId::parse("tile/0/001").unwrap()).unwrap());
    let commitment = node.reader.commit_now(STREAM).unwrap().unwrap();
    node.stop();
    (checkpoint.checkpoint.size, checkpoint.checkpoint.root, tiles, commitment.new_state_root)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn cutting_the_same_events_into_other_runs_gives_the_same_roots(chunks in prop::collection::vec(1usize..300, 1..6)) {
        prop_assert_eq!(run_cut(&chunks), run_cut(&[100]));
    }
}

#[test]
fn large_events_are_cut_into_several_stored_runs_and_stay_one_submission() {
    let mut world = World::new();
    world.config.inflight_bytes_per_lane_max = 32 << 20;
    let node = world.start_ready();
    let big = "x".repeat(900_000);
    let frames: Vec<_> = (0..24).map(|n| world.event(&format!("{{\"big\":\"{big}\",\"n\":{n}}}"))).collect();
    let receipts = node.accept(frames.clone());
    for (frame, receipt) in frames.iter().zip(&receipts) {
        check_receipt(&world, receipt);
        assert_eq!(node.reader.event(receipt.index).unwrap().frame, *frame);
        let in_stream = node.reader.event_in_stream(STREAM, receipt.sequence).unwrap();
        assert_eq!(in_stream.frame, *frame);
    }
    node.stop();
    let node = world.start();
    assert_eq!(node.reader.events_of_stream(STREAM, Sequence::new(1), 100).unwrap().len(), 24);
    node.stop();
}

#[test]
fn commitments_are_contiguous_from_one_and_chain_by_state_root() {
    let world = World::new();
    let node = world.start_ready();
    let other = Stream::new(common::TENANT, StoreId::from_bytes([9; 16]));
    for n in 0..10 {
        node.accept((0..n + 1).map(|m| world.event(&format!("{{\"m\":{m},\"n\":{n}}}"))).collect());
        node.accept_one(world.event_of(other, (common::AGENT, 1, common::AGENT_KEY), world.event_id(), "{}"));
        assert!(node.reader.commit_now(STREAM).unwrap().is_some());
        assert!(node.reader.commit_now(STREAM).unwrap().is_none());
    }
    for (stream, count) in [(STREAM, 55), (other, 10)] {
        let commitments = node.reader.commitments(stream, None, 100).unwrap();
        let (mut next, mut state) = (Sequence::new(1), StateRoot::ZERO);
        for commitment in &commitments {
            assert_eq!(commitment.sequence_start, next);
            assert_eq!(commitment.prev_state_root, state);
            let id = tally_protocol::hash::ves_stream(&stream);
            let expected = tally_protocol::hash::ves_state_root(
                &id,
                &state,
                &commitment.merkle_root,
                commitment.sequence_start,
                commitment.sequence_end,
                commitment.leaf_count,
            );
            assert_eq!(commitment.new_state_root, expected);
            for sequence in commitment.sequence_start.get()..=commitment.sequence_end.get() {
                let proof = node.reader.ves_proof(commitment, Sequence::new(sequence)).unwrap();
                tally_merkle::verify_ves_path(
                    &proof.leaf,
                    u64::from(proof.leaf_index),
                    u64::from(commitment.leaf_count),
                    &proof.path,
                    &commitment.merkle_root,
                )
                .unwrap();
            }
            (next, state) = (commitment.sequence_end.next(), commitment.new_state_root);
            assert_eq!(node.reader.commitment(commitment.batch_id).unwrap(), *commitment);
        }
        assert_eq!(next, Sequence::new(count + 1));
    }
    node.stop();
}

#[test]
fn events_are_found_by_index_stream_id_and_entity() {
    let world = World::new();
    let node = world.start_ready();
    let frames: Vec<_> = (0..50).map(|n| world.event(&format!("{{\"n\":{n}}}"))).collect();
    let receipts = node.accept(frames.clone());
    for (frame, receipt) in frames.iter().zip(&receipts) {
        assert_eq!(node.reader.event_by_id(STREAM, frame.event_id()).unwrap().index, receipt.index);
        assert_eq!(node.reader.event_in_stream(STREAM, receipt.sequence).unwrap().frame, *frame);
    }
    let mut after = None;
    let mut found = Vec::new();
    loop {
        let page = node.reader.events_of_entity(STREAM, "order", "o-1", after, 7).unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.index);
        found.extend(page.iter().map(|event| event.index));
    }
    assert_eq!(found, receipts.iter().map(|receipt| receipt.index).collect::<Vec<_>>());
    assert!(node.reader.events_of_entity(STREAM, "order", "o-2", None, 7).unwrap().is_empty());
    assert!(matches!(node.reader.event_by_id(STREAM, world.event_id()), Err(ReadError::NotFound)));
    assert!(matches!(node.reader.event(Index::new(1000)), Err(ReadError::NotYet { .. })));
    assert_eq!(node.reader.events_of_log(Index::new(0), 1000).unwrap().len(), 52);
    node.stop();
}

#[test]
fn the_published_checkpoint_follows_and_both_keys_sign_it() {
    let world = World::new();
    let node = world.start_ready();
    let receipt = node.accept_one(world.event("{}"));
    let mut published = None;
    for _ in 0..400 {
        published = node.reader.published().filter(|at| {
            at.checkpoint.size > receipt.index.size_after().min(at.checkpoint.size)
                || at.checkpoint.size.holds(receipt.index)
        });
        if published.is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let published = published.expect("published within two seconds");
    let log_key = tally_protocol::note::VerifierKey::new(&world.genesis.origin, world.genesis.checkpoint_key).unwrap();
    for key in [log_key, world.receipt_key()] {
        let opened = tally_protocol::checkpoint::SignedCheckpoint::open(&published.note, &[key]).unwrap();
        assert_eq!(opened.checkpoint, published.checkpoint);
    }
    node.stop();
}
