//! Laws of ordering: gap-free sequences, strict idempotency, log time, and the fate of neighbours.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod common;

use common::{AGENT, AGENT_KEY, STREAM, World, accepted, check_receipt, duplicate, key, sign};
use tally_core::{EventResult, Lane, NodeState};
use tally_protocol::error::RejectCode;
use tally_protocol::frame::Frame;
use tally_protocol::id::{AgentId, KeyId, Sequence, StoreId, Stream, TenantId};
use tally_protocol::key::Signature;

#[test]
fn sequences_have_no_gaps_whatever_is_refused_between() {
    let world = World::new();
    let node = world.start_ready();
    let mut expected = 0;
    for round in 0..20 {
        let good = world.event(&format!("{{\"n\":{round}}}"));
        let bad = forged(&world.event("{}"));
        let results = node.submit(vec![bad.clone(), good, bad]);
        assert!(matches!(&results[0], EventResult::Rejected(reject) if reject.code == RejectCode::InvalidSignature));
        assert!(matches!(&results[2], EventResult::Rejected(reject) if reject.code == RejectCode::InvalidSignature));
        expected += 1;
        assert_eq!(accepted(results[1].clone()).sequence, Sequence::new(expected));
    }
    assert_eq!(node.reader.stream_head(STREAM), Some(Sequence::new(expected)));
    node.stop();
}

/// The same event with one bit of its signature flipped.
fn forged(frame: &Frame) -> Frame {
    let mut signature = *frame.signature().as_bytes();
    signature[5] ^= 4;
    Frame::from_parts(&frame.fields(), frame.payload(), Signature::from_bytes(signature)).unwrap()
}

#[test]
fn every_flipped_bit_of_the_signature_is_refused_and_uses_no_sequence() {
    let world = World::new();
    let node = world.start_ready();
    let frame = world.event("{\"a\":1}");
    let good = *frame.signature().as_bytes();
    for bits in (0..512).collect::<Vec<usize>>().chunks(256) {
        let frames = bits
            .iter()
            .map(|bit| {
                let mut signature = good;
                signature[bit / 8] ^= 1 << (bit % 8);
                Frame::from_parts(&frame.fields(), frame.payload(), Signature::from_bytes(signature)).unwrap()
            })
            .collect();
        for result in node.submit(frames) {
            assert!(matches!(result, EventResult::Rejected(reject) if reject.code == RejectCode::InvalidSignature));
        }
    }
    assert_eq!(node.reader.stream_head(STREAM), None);
    assert_eq!(node.accept_one(frame).sequence, Sequence::new(1));
    node.stop();
}

#[test]
fn every_changed_field_is_refused_under_the_old_signature() {
    let world = World::new();
    let node = world.start_ready();
    let other_tenant = TenantId::from_bytes([5; 16]);
    node.accept(vec![
        world.tenant_created(other_tenant, true),
        world.key_registered(AgentId::from_bytes([4; 16]), 1, AGENT_KEY),
    ]);
    let frame = world.event("{\"a\":1}");
    let original = frame.fields();
    let mut changed = Vec::new();
    let mut change = |edit: &dyn Fn(&mut tally_protocol::frame::EventFields)| {
        let mut fields = original.clone();
        edit(&mut fields);
        changed.push(Frame::from_parts(&fields, frame.payload(), frame.signature()).unwrap());
    };
    change(&|fields| fields.stream = Stream::new(fields.stream.tenant, StoreId::from_bytes([8; 16])));
    change(&|fields| fields.event_id = world.event_id());
    change(&|fields| fields.agent_id = AgentId::from_bytes([4; 16]));
    change(&|fields| fields.entity_type.push('x'));
    change(&|fields| fields.entity_id.push('x'));
    change(&|fields| fields.event_type.push('x'));
    change(&|fields| fields.created_at = "2026-01-01T00:00:00.000001Z".to_owned());
    for result in node.submit(changed) {
        assert!(
            matches!(&result, EventResult::Rejected(reject) if reject.code == RejectCode::InvalidSignature),
            "{result:?}"
        );
    }
    node.stop();
}

#[test]
fn a_payload_that_is_not_its_hash_is_refused() {
    let world = World::new();
    let node = world.start_ready();
    let frame = world.event("{\"a\":1}");
    let other = Frame::from_parts(&frame.fields(), b"{\"a\":2}", frame.signature()).unwrap();
    assert_eq!(node.refuse_code(other), RejectCode::InvalidPayloadHash);
    let spaced = Frame::from_parts(&frame.fields(), b"{\"a\": 1}", frame.signature()).unwrap();
    assert_eq!(node.refuse_code(spaced), RejectCode::PayloadNotCanonical);
    node.stop();
}

#[test]
fn the_same_event_gets_the_same_receipt_and_another_one_with_its_id_is_a_conflict() {
    let world = World::new();
    let node = world.start_ready();
    let frame = world.event("{\"a\":1}");
    let first = node.accept_one(frame.clone());
    node.accept((0..50).map(|n| world.event(&format!("{{\"n\":{n}}}"))).collect());
    let again = duplicate(node.submit_one(frame.clone()));
    assert_eq!(
        (again.index, again.sequence, again.sequenced_at, again.leaf_hash, again.signing_hash),
        (first.index, first.sequence, first.sequenced_at, first.leaf_hash, first.signing_hash)
    );
    check_receipt(&world, &again);
    let (one, two) = (node.reader.ves_receipt(&first).unwrap(), node.reader.ves_receipt(&again).unwrap());
    assert_eq!(one.receipt_hash, two.receipt_hash);
    let other = world.event_of(STREAM, (AGENT, 1, AGENT_KEY), frame.event_id(), "{\"a\":2}");
    assert_eq!(node.refuse_code(other), RejectCode::DuplicateEventId);
    // The id says nothing in another stream.
    let elsewhere = Stream::new(common::TENANT, StoreId::from_bytes([7; 16]));
    let free = world.event_of(elsewhere, (AGENT, 1, AGENT_KEY), frame.event_id(), "{\"a\":2}");
    assert_eq!(node.accept_one(free).sequence, Sequence::new(1));
    node.stop();
}

#[test]
fn duplicates_within_one_submission_and_in_flight_join_the_first() {
    let world = World::new();
    let node = world.start_ready();
    let frame = world.event("{\"a\":1}");
    let other = world.event_of(STREAM, (AGENT, 1, AGENT_KEY), frame.event_id(), "{\"a\":2}");
    let tickets: Vec<_> = (0..50)
        .map(|_| node.submitter.submit(Lane(1), vec![frame.clone(), frame.clone(), other.clone()]).unwrap())
        .collect();
    let (mut accepted_count, mut indexes) = (0, Vec::new());
    for ticket in tickets {
        for (at, result) in ticket.wait().unwrap().into_iter().enumerate() {
            match result {
                EventResult::Accepted(receipt) => {
                    accepted_count += 1;
                    check_receipt(&world, &receipt);
                    indexes.push(receipt.index);
                }
                EventResult::Duplicate(receipt) => {
                    check_receipt(&world, &receipt);
                    indexes.push(receipt.index);
                }
                EventResult::Rejected(reject) => {
                    assert_eq!((at, reject.code), (2, RejectCode::DuplicateEventId));
                }
            }
        }
    }
    assert_eq!(accepted_count, 1);
    assert_eq!(indexes.len(), 100);
    assert!(indexes.iter().all(|index| *index == indexes[0]));
    node.stop();
}

#[test]
fn ten_thousand_concurrent_resubmissions_get_one_sequence_each() {
    let world = World::new();
    let node = world.start_ready();
    let frames: Vec<Frame> = (0..2500).map(|n| world.event(&format!("{{\"n\":{n}}}"))).collect();
    let all: Vec<Vec<EventResult>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4u64)
            .map(|lane| {
                let (submitter, frames) = (node.submitter.clone(), &frames);
                scope.spawn(move || {
                    let mut results = Vec::new();
                    for chunk in frames.chunks(100) {
                        results.extend(submitter.submit(Lane(lane), chunk.to_vec()).unwrap().wait().unwrap());
                    }
                    results
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let mut accepted_count = 0;
    let mut sequences = std::collections::BTreeSet::new();
    for at in 0..frames.len() {
        let mut places = Vec::new();
        for results in &all {
            match &results[at] {
                EventResult::Accepted(receipt) => {
                    accepted_count += 1;
                    places.push((receipt.index, receipt.sequence, receipt.leaf_hash));
                }
                EventResult::Duplicate(receipt) => places.push((receipt.index, receipt.sequence, receipt.leaf_hash)),
                EventResult::Rejected(reject) => panic!("refused: {reject}"),
            }
        }
        assert!(places.iter().all(|place| *place == places[0]));
        sequences.insert(places[0].1);
    }
    assert_eq!(accepted_count, frames.len());
    assert_eq!(sequences.len(), frames.len());
    assert_eq!(node.reader.stream_head(STREAM), Some(Sequence::new(frames.len() as u64)));
    node.stop();
}

/// Submissions of very different sizes, so that workers overtake each other: without their turns the order breaks.
#[test]
fn a_caller_s_submissions_are_ordered_as_they_were_submitted() {
    let world = World::new();
    let node = world.start_ready();
    let size = |n: usize| if n.is_multiple_of(7) { 60 } else { 1 };
    let submissions: Vec<Vec<Frame>> =
        (0..300).map(|n| (0..size(n)).map(|at| world.event(&format!("[{n},{at}]"))).collect()).collect();
    let tickets: Vec<_> =
        submissions.into_iter().map(|frames| node.submitter.submit(Lane(1), frames).unwrap()).collect();
    let mut last = 0;
    for ticket in tickets {
        for result in ticket.wait().unwrap() {
            let sequence = accepted(result).sequence.get();
            assert_eq!(sequence, last + 1);
            last = sequence;
        }
    }
    node.stop();
}

#[test]
fn created_at_may_be_one_hour_ahead_and_not_a_microsecond_more() {
    let world = World::new();
    let node = world.start_ready();
    let ahead = |micros: u64| {
        let at = tally_protocol::time::LogTime::from_micros(common::START_MICROS + micros).to_rfc3339();
        let mut fields = world.event("{}").fields();
        fields.created_at = at;
        sign(&fields, b"{}", AGENT_KEY)
    };
    let hour = 3_600_000_000;
    node.accept(vec![ahead(hour - 1_000_000), ahead(hour)]);
    assert_eq!(node.refuse_code(ahead(hour + 1)), RejectCode::CreatedAtInFuture);
    assert_eq!(node.refuse_code(ahead(hour + 1_000_000)), RejectCode::CreatedAtInFuture);
    // The past is not judged: an agent may have been offline.
    let mut fields = world.event("{}").fields();
    fields.created_at = "1970-01-01T00:00:00Z".to_owned();
    node.accept_one(sign(&fields, b"{}", AGENT_KEY));
    node.stop();
}

#[test]
fn log_time_never_falls_and_a_stepped_wall_clock_stops_ordering() {
    let world = World::new();
    let node = world.start_ready();
    let mut last = node.accept_one(world.event("{}")).sequenced_at;
    // A small step back: log time stands still.
    world.clock.step_wall(-2_000_000);
    for _ in 0..3 {
        let receipt = node.accept_one(world.event("{}"));
        assert!(receipt.sequenced_at >= last);
        last = receipt.sequenced_at;
    }
    world.clock.step_wall(10_000_000);
    let ticket = node.submitter.submit(Lane(1), vec![world.event("{}")]).unwrap();
    assert!(ticket.wait().is_err());
    assert!(matches!(node.reader.state(), NodeState::Poisoned(why) if why.contains("clock")));
    drop(node);
    // A restart takes the clock as it is now.
    let node = world.start();
    assert!(node.accept_one(world.event("{}")).sequenced_at >= last);
    node.stop();
}

#[test]
fn unknown_keys_agents_and_tenants_are_refused_alike() {
    let world = World::new();
    let node = world.start_ready();
    let stranger = AgentId::from_bytes([0x55; 16]);
    let id = world.event_id();
    let unknown_agent = world.event_of(STREAM, (stranger, 1, AGENT_KEY), id, "{}");
    let unknown_key = world.event_of(STREAM, (AGENT, 2, AGENT_KEY), id, "{}");
    let no_tenant = Stream::new(TenantId::from_bytes([0x66; 16]), common::STORE);
    let unknown_tenant = world.event_of(no_tenant, (AGENT, 1, AGENT_KEY), id, "{}");
    let zero_key = world.event_of(STREAM, (AGENT, 0, AGENT_KEY), id, "{}");
    let reasons: Vec<_> =
        [unknown_agent, unknown_key, unknown_tenant, zero_key].into_iter().map(|frame| node.refuse(frame)).collect();
    assert!(reasons.iter().all(|reject| *reject == reasons[0] && reject.code == RejectCode::AgentKeyInvalid));
    let _ = (key(1), KeyId::new(1));
    node.stop();
}
