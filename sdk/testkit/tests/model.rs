//! The model against the production crates, and against the log's rules.

use core::time::Duration;

use proptest::prelude::*;
use tally_merkle::{Frontier, InclusionProof, verify_inclusion};
use tally_protocol::error::RejectCode;
use tally_protocol::hash::LeafHash;
use tally_protocol::id::{Index, Sequence, TreeSize};
use tally_protocol::time::LogTime;
use tally_testkit::{
    Expected, LogUnderTest, Placement, ReferenceLog, TestAgent, TestLedger, TestTenant, Workload, WorkloadConfig,
    check_log, event_id, naive_inclusion_path, naive_root,
};

const START: LogTime = LogTime::from_micros(1_767_225_600_000_000);

fn at(seconds: u64) -> LogTime {
    START.saturating_add(Duration::from_secs(seconds))
}

fn accepted(expected: Expected) -> Placement {
    match expected {
        Expected::Accepted(place) => place,
        other => panic!("expected acceptance, got {other:?}"),
    }
}

/// A ledger with one tenant and one agent: three entries.
fn small() -> (TestLedger, ReferenceLog, TestTenant, TestAgent) {
    let ledger = TestLedger::new("log.example/model", START);
    let mut model = ReferenceLog::new(ledger.genesis.clone());
    let tenant = TestTenant::new(1);
    let agent = tenant.agent(1);
    accepted(model.submit(&ledger.create(&tenant, event_id(1), START), START));
    accepted(model.submit(&tenant.register(&agent, event_id(1), START), START));
    (ledger, model, tenant, agent)
}

#[test]
fn sequences_count_from_one_per_stream_and_indexes_over_all() {
    let (_, mut model, tenant, agent) = small();
    for n in 0..6 {
        let stream = tenant.stream(n % 2 + 1);
        let place = accepted(model.submit(&agent.event(stream, event_id(n)).sign(), START));
        assert_eq!((place.index, place.sequence), (Index::new(n + 3), Sequence::new(n / 2 + 1)));
    }
}

#[test]
fn the_same_event_keeps_its_place_and_other_content_is_a_conflict() {
    let (_, mut model, tenant, agent) = small();
    let event = agent.event(tenant.stream(1), event_id(7)).sign();
    let first = accepted(model.submit(&event, at(1)));
    assert_eq!(model.submit(&event, at(9)), Expected::Duplicate(first));
    let other = agent.event(tenant.stream(1), event_id(7)).payload(b"[]").sign();
    assert_eq!(model.submit(&other, at(9)), Expected::Rejected(RejectCode::DuplicateEventId));
    // In another stream the id is free.
    let elsewhere = agent.event(tenant.stream(2), event_id(7)).sign();
    assert_eq!(accepted(model.submit(&elsewhere, at(9))).sequence, Sequence::new(1));
}

#[test]
fn a_revoked_key_admits_nothing_new_but_keeps_old_receipts() {
    let (_, mut model, tenant, agent) = small();
    let event = agent.event(tenant.stream(1), event_id(7)).sign();
    let first = accepted(model.submit(&event, at(1)));
    accepted(model.submit(&tenant.revoke(&agent, event_id(2), START), at(2)));
    assert_eq!(model.submit(&event, at(3)), Expected::Duplicate(first));
    let new = agent.event(tenant.stream(1), event_id(8)).sign();
    assert_eq!(model.submit(&new, at(3)), Expected::Rejected(RejectCode::AgentKeyInvalid));
    let again = tenant.revoke(&agent, event_id(3), START);
    assert_eq!(model.submit(&again, at(3)), Expected::Rejected(RejectCode::ControlRefused));
}

#[test]
fn old_and_new_key_overlap_and_then_only_the_new_one_is_good() {
    let (_, mut model, tenant, agent) = small();
    let next = agent.successor();
    accepted(model.submit(&tenant.rotate(&next, at(10), event_id(2), START), at(2)));
    let mut n = 10;
    let mut submit = |model: &mut ReferenceLog, agent: &TestAgent, seconds: u64| {
        n += 1;
        model.submit(&agent.event(tenant.stream(1), event_id(n)).sign(), at(seconds))
    };
    accepted(submit(&mut model, &agent, 9));
    accepted(submit(&mut model, &next, 9));
    assert_eq!(submit(&mut model, &agent, 10), Expected::Rejected(RejectCode::AgentKeyInvalid));
    accepted(submit(&mut model, &next, 10));
}

#[test]
fn control_streams_and_types_are_kept_apart() {
    let (ledger, mut model, tenant, agent) = small();
    let reserved = agent.event(tenant.stream(1), event_id(9)).of_type("tally.anything").sign();
    assert_eq!(model.submit(&reserved, START), Expected::Rejected(RejectCode::ReservedEventType));
    let intruder = agent.event(tally_protocol::id::Stream::control(tenant.id), event_id(9)).sign();
    assert_eq!(model.submit(&intruder, START), Expected::Rejected(RejectCode::ReservedStream));
    let twice = ledger.create(&tenant, event_id(9), START);
    assert_eq!(model.submit(&twice, START), Expected::Rejected(RejectCode::ControlRefused));
    let skipping = agent.successor().successor();
    let skip = tenant.register(&skipping, event_id(9), START);
    assert_eq!(model.submit(&skip, START), Expected::Rejected(RejectCode::ControlRefused));
}

#[test]
fn the_operator_signs_only_for_tenants_it_manages() {
    let (ledger, mut model, own, _) = small();
    let managed = TestTenant::operator_managed(2);
    accepted(model.submit(&ledger.create(&managed, event_id(2), START), START));
    let by_operator = |tenant: &TestTenant| {
        let mut tenant = tenant.clone();
        tenant.root = TestAgent { tenant: tenant.id, ..ledger.root.clone() };
        tenant.register(&tenant.agent(5), event_id(5), START)
    };
    accepted(model.submit(&by_operator(&managed), START));
    assert_eq!(model.submit(&by_operator(&own), START), Expected::Rejected(RejectCode::AgentKeyInvalid));
}

#[test]
fn created_at_may_lie_one_hour_ahead_and_no_more() {
    let (_, mut model, tenant, agent) = small();
    let event = |n, seconds| agent.event(tenant.stream(1), event_id(n)).created_at(at(seconds)).sign();
    accepted(model.submit(&event(1, 3599), START));
    accepted(model.submit(&event(2, 3600), START));
    assert_eq!(model.submit(&event(3, 3601), START), Expected::Rejected(RejectCode::CreatedAtInFuture));
}

#[test]
fn log_time_never_falls() {
    let (_, mut model, tenant, agent) = small();
    let mut submit = |n, seconds| {
        let event = agent.event(tenant.stream(1), event_id(n)).sign();
        accepted(model.submit(&event, at(seconds))).sequenced_at
    };
    assert_eq!([submit(1, 5), submit(2, 3), submit(3, 6)], [at(5), at(5), at(6)]);
}

#[test]
fn a_workload_is_the_same_each_time_and_mixes_all_fates() {
    let run = || {
        let ledger = TestLedger::new("log.example/workload", START);
        let mut workload = Workload::new(WorkloadConfig::hostile(), 42, START);
        let mut model = ReferenceLog::new(ledger.genesis.clone());
        for frame in workload.setup(&ledger) {
            accepted(model.submit(&frame, START));
        }
        let fates: Vec<Expected> = workload.frames(400).iter().map(|frame| model.submit(frame, at(1))).collect();
        (fates, model.root())
    };
    let (fates, root) = run();
    assert_eq!((&fates, root), (&run().0, run().1));
    let has = |wanted: fn(&Expected) -> bool| fates.iter().any(wanted);
    assert!(has(|fate| matches!(fate, Expected::Accepted(_))));
    assert!(has(|fate| matches!(fate, Expected::Duplicate(_))));
    for code in [
        RejectCode::InvalidSignature,
        RejectCode::DuplicateEventId,
        RejectCode::AgentKeyInvalid,
        RejectCode::InvalidPayloadHash,
    ] {
        assert!(fates.contains(&Expected::Rejected(code)), "{code:?}");
    }
}

#[test]
fn the_models_log_passes_the_audit_however_it_is_cut() {
    let ledger = TestLedger::new("log.example/cuts", START);
    let mut workload = Workload::new(WorkloadConfig::hostile(), 7, START);
    let mut model = ReferenceLog::new(ledger.genesis.clone());
    for frame in workload.setup(&ledger).into_iter().chain(workload.frames(700)) {
        model.submit(&frame, START);
    }
    for run_events in [1, 7, 256, 5000] {
        let verdict = check_log(&LogUnderTest::of(&ledger, &model, run_events, 16)).unwrap();
        assert!(verdict.clean(), "{verdict}");
        assert_eq!((verdict.root, verdict.size.get()), (model.root(), model.size() as u64));
        assert_eq!(verdict.signed, Some(verdict.size));
        assert!(verdict.tally.tiles >= 2 && verdict.tally.commitments > 10, "{verdict}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_naive_tree_agrees_with_the_frontier_and_its_paths_verify(size in 1usize..300, pick in any::<prop::sample::Index>()) {
        let leaves: Vec<LeafHash> = (0..size).map(|n| tally_protocol::hash::leaf(&n.to_be_bytes())).collect();
        let mut frontier = Frontier::new();
        leaves.iter().for_each(|leaf| frontier.append(*leaf));
        prop_assert_eq!(frontier.root(), naive_root(&leaves));
        let index = pick.index(size);
        let path = naive_inclusion_path(index, &leaves);
        let proof = InclusionProof { index: Index::new(index as u64), size: TreeSize::new(size as u64), path };
        prop_assert!(verify_inclusion(&leaves[index], &proof, &naive_root(&leaves)).is_ok());
    }
}
