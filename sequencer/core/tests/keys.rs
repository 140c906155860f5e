//! Laws of control state: tenants and keys are what the log says, judged at sequencing time.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod common;

use std::time::Duration;

use common::{
    AGENT, AGENT_KEY, OPERATOR, OPERATOR_KEY, STREAM, TENANT, TENANT_KEY, TENANT_ROOT, World, duplicate, key,
};
use tally_core::{EventResult, Lane};
use tally_protocol::control::ControlEvent;
use tally_protocol::error::RejectCode;
use tally_protocol::id::{AgentId, KeyId, Sequence, Stream, TenantId};
use tally_protocol::time::LogTime;

const NEW_KEY: u8 = 103;

fn at(micros: u64) -> LogTime {
    LogTime::from_micros(common::START_MICROS + micros)
}

#[test]
fn key_ids_are_the_last_one_plus_one() {
    let world = World::new();
    let node = world.start_ready();
    for (id, seed) in [(1, NEW_KEY), (3, NEW_KEY), (0, NEW_KEY)] {
        let code = node.refuse_code(world.key_registered(AGENT, id.max(1), seed));
        assert_eq!(code, RejectCode::ControlRefused, "{id}");
    }
    node.accept_one(world.key_registered(AGENT, 2, NEW_KEY));
    let ids: Vec<u32> = node.reader.agent_keys(TENANT, AGENT).iter().map(|key| key.key_id.get()).collect();
    assert_eq!(ids, [1, 2]);
    node.stop();
}

#[test]
fn concurrent_registrations_of_one_key_id_have_one_winner() {
    let world = World::new();
    let node = world.start_ready();
    let tickets: Vec<_> = (0..40u8)
        .map(|n| node.submitter.submit(Lane(u64::from(n)), vec![world.key_registered(AGENT, 2, n + 1)]).unwrap())
        .collect();
    let results: Vec<_> =
        tickets.into_iter().map(|ticket| ticket.wait().unwrap().into_results().pop().unwrap()).collect();
    let accepted = results.iter().filter(|result| matches!(result, EventResult::Accepted(_))).count();
    let refused = results
        .iter()
        .filter(|result| matches!(result, EventResult::Rejected(reject) if reject.code == RejectCode::ControlRefused))
        .count();
    assert_eq!((accepted, refused), (1, 39));
    assert_eq!(node.reader.agent_keys(TENANT, AGENT).len(), 2);
    node.stop();
}

#[test]
fn rotation_accepts_both_keys_in_the_overlap_and_only_the_new_one_after_it() {
    let world = World::new();
    let node = world.start_ready();
    let old = |payload: &str| world.event_of(STREAM, (AGENT, 1, AGENT_KEY), world.event_id(), payload);
    let new = |payload: &str| world.event_of(STREAM, (AGENT, 2, NEW_KEY), world.event_id(), payload);
    node.accept_one(old("1"));
    assert_eq!(node.refuse_code(new("1")), RejectCode::AgentKeyInvalid);
    node.accept_one(world.tenant_control(&ControlEvent::AgentKeyRotated {
        agent_id: AGENT,
        key_id: KeyId::new(2),
        public_key: key(NEW_KEY).public_key(),
        previous_valid_to: at(3_600_000_000),
        valid_to: None,
    }));
    world.clock.advance(Duration::from_secs(1));
    node.accept(vec![old("2"), new("2")]);
    world.clock.advance(Duration::from_micros(3_598_999_999));
    node.accept(vec![old("3"), new("3")]);
    world.clock.advance(Duration::from_micros(1));
    assert_eq!(node.refuse_code(old("4")), RejectCode::AgentKeyInvalid);
    node.accept_one(new("4"));
    node.stop();
}

#[test]
fn validity_windows_are_half_open_and_judged_at_sequencing_time() {
    let world = World::new();
    let node = world.start_ready();
    node.accept_one(world.tenant_control(&ControlEvent::AgentKeyRegistered {
        agent_id: AGENT,
        key_id: KeyId::new(2),
        public_key: key(NEW_KEY).public_key(),
        valid_from: Some(at(10_000_000)),
        valid_to: Some(at(20_000_000)),
    }));
    let event = |payload: &str| world.event_of(STREAM, (AGENT, 2, NEW_KEY), world.event_id(), payload);
    world.clock.advance(Duration::from_micros(9_999_999));
    assert_eq!(node.refuse_code(event("1")), RejectCode::AgentKeyInvalid);
    world.clock.advance(Duration::from_micros(1));
    node.accept_one(event("2"));
    world.clock.advance(Duration::from_micros(9_999_999));
    node.accept_one(event("3"));
    world.clock.advance(Duration::from_micros(1));
    // Back-dating does not help: created_at is not what counts.
    assert_eq!(node.refuse_code(event("4")), RejectCode::AgentKeyInvalid);
    node.stop();
}

#[test]
fn an_expiry_only_moves_earlier() {
    let world = World::new();
    let node = world.start_ready();
    let expire = |micros: u64| {
        world.tenant_control(&ControlEvent::AgentKeyExpired {
            agent_id: AGENT,
            key_id: KeyId::new(1),
            valid_to: at(micros),
        })
    };
    node.accept_one(expire(10_000_000));
    assert_eq!(node.refuse_code(expire(11_000_000)), RejectCode::ControlRefused);
    node.accept_one(expire(5_000_000));
    world.clock.advance(Duration::from_secs(5));
    assert_eq!(node.refuse_code(world.event("1")), RejectCode::AgentKeyInvalid);
    node.stop();
}

#[test]
fn a_revoked_key_admits_nothing_but_an_honest_retry_still_gets_its_receipt() {
    let world = World::new();
    let node = world.start_ready();
    let before = world.event("{\"before\":true}");
    let first = node.accept_one(before.clone());
    node.accept_one(world.key_revoked(AGENT, 1));
    assert_eq!(node.refuse_code(world.event("{\"after\":true}")), RejectCode::AgentKeyInvalid);
    let again = duplicate(node.submit_one(before));
    assert_eq!((again.index, again.leaf_hash), (first.index, first.leaf_hash));
    assert_eq!(node.refuse_code(world.key_revoked(AGENT, 1)), RejectCode::ControlRefused);
    // Also within one submission, and in one run.
    node.accept_one(world.key_registered(AGENT, 2, NEW_KEY));
    let with_new = world.event_of(STREAM, (AGENT, 2, NEW_KEY), world.event_id(), "1");
    let after = world.event_of(STREAM, (AGENT, 2, NEW_KEY), world.event_id(), "2");
    let results = node.submit(vec![with_new, world.key_revoked(AGENT, 2), after]);
    assert!(matches!(results[0], EventResult::Accepted(_)));
    assert!(matches!(results[1], EventResult::Accepted(_)));
    assert!(matches!(&results[2], EventResult::Rejected(reject) if reject.code == RejectCode::AgentKeyInvalid));
    node.stop();
}

#[test]
fn after_a_revocation_is_acknowledged_nothing_is_admitted_under_full_load() {
    let world = World::new();
    let node = world.start_ready();
    let frames: Vec<_> = (0..4000).map(|n| world.event(&format!("{{\"n\":{n}}}"))).collect();
    let revoke = world.key_revoked(AGENT, 1);
    let (revoked_at, results) = std::thread::scope(|scope| {
        let workers: Vec<_> = frames
            .chunks(1000)
            .enumerate()
            .map(|(lane, frames)| {
                let submitter = node.submitter.clone();
                scope.spawn(move || {
                    let mut results = Vec::new();
                    for chunk in frames.chunks(20) {
                        results.extend(submitter.submit(Lane(lane as u64), chunk.to_vec()).unwrap().wait().unwrap());
                    }
                    results
                })
            })
            .collect();
        std::thread::yield_now();
        let revoked = node.accept_one(revoke);
        // Whatever starts after the acknowledgement is refused, on every path.
        for _ in 0..50 {
            assert_eq!(node.refuse_code(world.event("{\"late\":1}")), RejectCode::AgentKeyInvalid);
        }
        let results: Vec<_> = workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
        (revoked.index, results)
    });
    let mut refused = 0;
    for result in results {
        match result {
            EventResult::Accepted(receipt) => assert!(receipt.index < revoked_at),
            EventResult::Rejected(reject) => {
                assert_eq!(reject.code, RejectCode::AgentKeyInvalid);
                refused += 1;
            }
            EventResult::Duplicate(_) => panic!("nothing was sent twice"),
        }
    }
    let admitted = node.reader.stream_head(STREAM).map_or(0, Sequence::get);
    assert_eq!(admitted + refused, 4000);
    node.stop();
}

#[test]
fn only_the_roots_write_control_events() {
    let world = World::new();
    let node = world.start_ready();
    let register = ControlEvent::AgentKeyRegistered {
        agent_id: AGENT,
        key_id: KeyId::new(2),
        public_key: key(NEW_KEY).public_key(),
        valid_from: None,
        valid_to: None,
    };
    // An ordinary agent may not write to its tenant's control stream.
    let by_agent = world.control(Stream::control(TENANT), (AGENT, 1, AGENT_KEY), &register);
    assert_eq!(node.refuse_code(by_agent), RejectCode::ReservedStream);
    // Nor the tenant's root to the ledger's.
    let tenant = ControlEvent::TenantCreated {
        tenant_id: TenantId::from_bytes([0x77; 16]),
        root_agent_id: TENANT_ROOT,
        root_public_key: key(TENANT_KEY).public_key(),
        operator_managed: false,
    };
    let by_tenant = world.control(Stream::LEDGER, (TENANT_ROOT, 1, TENANT_KEY), &tenant);
    assert_eq!(node.refuse_code(by_tenant), RejectCode::AgentKeyInvalid);
    // Control types outside control streams, and other types inside them.
    let misplaced = world.control(STREAM, (AGENT, 1, AGENT_KEY), &register);
    assert_eq!(node.refuse_code(misplaced), RejectCode::ReservedEventType);
    let ordinary = world.event_of(Stream::control(TENANT), (TENANT_ROOT, 1, TENANT_KEY), world.event_id(), "{}");
    assert!(matches!(node.submit_one(ordinary), EventResult::Rejected(_)));
    // The operator may, for a tenant that it manages.
    node.accept_one(world.control(Stream::control(TENANT), (OPERATOR, 1, OPERATOR_KEY), &register));
    // And not for one that it does not.
    let own = TenantId::from_bytes([0x78; 16]);
    node.accept_one(world.tenant_created(own, false));
    let by_operator = world.control(Stream::control(own), (OPERATOR, 1, OPERATOR_KEY), &register);
    assert_eq!(node.refuse_code(by_operator), RejectCode::AgentKeyInvalid);
    node.stop();
}

#[test]
fn control_state_is_the_same_after_a_restart() {
    let world = World::new();
    let node = world.start_ready();
    node.accept_one(world.key_registered(AGENT, 2, NEW_KEY));
    node.accept_one(world.key_revoked(AGENT, 1));
    let before = node.reader.agent_keys(TENANT, AGENT);
    node.stop();
    let node = world.start();
    assert_eq!(node.reader.agent_keys(TENANT, AGENT), before);
    assert_eq!(node.refuse_code(world.event("1")), RejectCode::AgentKeyInvalid);
    node.accept_one(world.event_of(STREAM, (AGENT, 2, NEW_KEY), world.event_id(), "1"));
    assert_eq!(node.reader.next_key_id(TENANT, AGENT), KeyId::new(3));
    assert!(node.reader.tenant(TENANT).is_some());
    let _ = AgentId::NIL;
    node.stop();
}
