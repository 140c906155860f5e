//! Laws of bindings: a lifecycle event takes effect at its own index; what begins is what `init` or `migrate` accepted, else
//! what ran goes on; failures stop a binding by the log alone; and what cannot be known halts.

mod common;

use bytes::Bytes;
use common::ledger::{Run, World, id, manifest, plugin, release, stream};
use common::script::{body, scripted, world};
use tally_plugin_host::apply::{Logged, RangeCuts};
use tally_plugin_host::error::HostError;
use tally_plugin_host::memory::Memory;
use tally_plugin_host::registry::{QUARANTINE_FAILURES, Registry, Standing, Status};
use tally_protocol::hash::{ProfileId, StatesRoot};
use tally_protocol::plugin_event::PluginEvent;
use tally_protocol::release::Decision;

/// A guest that counts events; its `init` and `migrate` are given.
fn counting(version: &str, state_version: u32, entries: &str) -> Vec<u8> {
    let run = r#"(func (export "run")
        (loop $next_event
          (call $next (i32.const 16))
          (if (i32.load (i32.const 16)) (then (call $add_to_count) (call $accept) (br $next_event)))))"#;
    plugin(&manifest("p", version, state_version, &["thing.*"], "{}"), &format!("{run} {entries}"))
}

const REFUSE: &str = "(call $done (i32.const 0) (i32.const 1072) (i32.const 8)) (i32.const 1)";

fn init(work: &str) -> String {
    format!(r#"(func (export "init") (param i32 i32) (result i32) {work})"#)
}

fn migrate(work: &str) -> String {
    format!(r#"(func (export "migrate") (param i32 i32 i32) (result i32) {work})"#)
}

/// Refuses every configuration but one of more than two bytes.
fn init_wants_more() -> String {
    init(&format!("(if (i32.gt_u (local.get 1) (i32.const 2)) (then (return (i32.const 0)))) {REFUSE}"))
}

fn thing(world: &mut World) -> tally_protocol::id::Index {
    world.push(stream(1), "thing.done", b"{}")
}

fn push_many(world: &mut World, count: usize, script: &str) {
    for _ in 0..count {
        world.push(stream(1), "t.a", &body(script));
    }
}

/// The run, which must be the same however ranges are split.
fn run(world: &World) -> Run {
    let whole = world.run_whole();
    for lengths in [&[1][..], &[2, 3], &[5]] {
        let split = world.run(lengths);
        assert_eq!(whole.uncut(), split.uncut());
        assert_eq!(whole.memory, split.memory);
    }
    whole
}

fn status(run: &Run) -> Option<(Status, String)> {
    let bound = run.registry.bindings(&stream(1)).first()?;
    Some((bound.standing().status, bound.standing().binding.version.to_string()))
}

fn stands(run: &Run, wanted: Status, version: &str) {
    assert_eq!(status(run), Some((wanted, version.to_owned())));
}

#[test]
fn a_plugin_runs_from_the_event_behind_its_installation() {
    let mut world = World::new();
    let release = world.publish(&counting("1.0.0", 1, ""));
    let before = thing(&mut world);
    let installed = world.install(stream(1), &release);
    let after = thing(&mut world);
    let run = run(&world);
    assert!(run.codes(before).is_empty());
    assert_eq!(run.codes(installed), ["p accepted"]);
    assert_eq!(run.codes(after), ["p accepted"]);
    assert_eq!(run.count(stream(1), "p"), 1);
    assert_ne!(run.memory.states_root(), StatesRoot::EMPTY);
}

#[test]
fn init_that_refuses_leaves_nothing_until_a_configuration_is_accepted() {
    let mut world = World::new();
    let release = world.publish(&counting("1.0.0", 1, &init_wants_more()));
    let installed = world.install(stream(1), &release);
    let (ignored, again) = (thing(&mut world), world.configure(stream(1), "p", "{}", false));
    let (accepted, counted) = (world.configure(stream(1), "p", "{\"a\":1}", false), thing(&mut world));
    // A configuration that is refused changes nothing.
    let (refused, still) = (world.configure(stream(1), "p", "{}", false), thing(&mut world));
    let run = run(&world);
    assert_eq!(run.codes(installed), ["p rejected(no-stock)"]);
    assert!(run.codes(ignored).is_empty());
    assert_eq!(run.codes(again), ["p rejected(no-stock)"]);
    assert_eq!(run.codes(accepted), ["p accepted"]);
    assert_eq!(run.codes(refused), ["p rejected(no-stock)"]);
    assert_eq!((run.codes(counted), run.codes(still)), (vec!["p accepted".to_owned()], vec!["p accepted".to_owned()]));
    assert_eq!(run.count(stream(1), "p"), 2);
    assert_eq!(run.registry.bindings(&stream(1))[0].standing().binding.config.as_bytes(), b"{\"a\":1}");
}

#[test]
fn an_upgrade_migrates_in_as_many_calls_as_it_takes_with_gas_of_its_own_for_each() {
    let mut world = World::new();
    // Adds one at each call until the count is five.
    let work = "(call $add_to_count) (if (result i32) (i64.lt_u (i64.load (i32.const 48)) (i64.const 5))
        (then (i32.const 2)) (else (i32.const 0)))";
    let (one, two) = (world.publish(&counting("1.0.0", 1, "")), world.publish(&counting("1.1.0", 2, &migrate(work))));
    world.install(stream(1), &one);
    thing(&mut world);
    let upgraded = world.upgrade(stream(1), &two);
    thing(&mut world);
    let run = run(&world);
    assert_eq!(run.codes(upgraded), ["p accepted"]);
    assert_eq!(run.count(stream(1), "p"), 6);
    stands(&run, Status::Running, "1.1.0");
    let outcomes = run.outcomes();
    let record = &outcomes[usize::try_from(upgraded.get()).unwrap()].bindings[0];
    assert!(record.fresh && record.gas > 4 * 300 && record.module == two.module, "{record:?}");
}

#[test]
fn a_migration_that_fails_leaves_nothing_and_the_old_version_goes_on() {
    // Refuses, traps, never ends; each after it has written.
    for (end, code, charged) in [
        (REFUSE, "p rejected(no-stock)", false),
        ("(unreachable)", "p trapped", true),
        ("(i32.const 2)", "p out_of_gas", false),
    ] {
        let mut world = World::new();
        let one = world.publish(&counting("1.0.0", 1, ""));
        let two = world.publish(&counting("1.1.0", 2, &migrate(&format!("(call $add_to_count) {end}"))));
        world.install(stream(1), &one);
        thing(&mut world);
        let upgraded = world.upgrade(stream(1), &two);
        let after = thing(&mut world);
        let run = world.run_whole();
        assert_eq!(run.memory, world.run(&[4]).memory);
        assert_eq!((run.codes(upgraded), run.codes(after)), (vec![code.to_owned()], vec!["p accepted".to_owned()]));
        assert_eq!(run.count(stream(1), "p"), 2, "{code}");
        stands(&run, Status::Running, "1.0.0");
        let outcomes = run.outcomes();
        let (tried, ran) = (&outcomes[outcomes.len() - 2].bindings[0], &outcomes[outcomes.len() - 1].bindings[0]);
        assert_eq!((tried.module, ran.module), (two.module, one.module));
        assert_eq!(
            tried.gas == run.registry.bindings(&stream(1))[0].contract().unwrap().grant.limits.lifecycle_gas,
            charged
        );
    }
}

#[test]
fn a_rollback_is_an_upgrade_to_the_older_release() {
    let mut world = World::new();
    let (one, two) = (world.publish(&counting("1.0.0", 1, "")), world.publish(&counting("1.1.0", 1, "")));
    world.install(stream(1), &one);
    world.upgrade(stream(1), &two);
    thing(&mut world);
    let back = world.upgrade(stream(1), &one);
    thing(&mut world);
    let run = run(&world);
    assert_eq!(run.codes(back), ["p accepted"]);
    assert_eq!(run.count(stream(1), "p"), 2);
    stands(&run, Status::Running, "1.0.0");
}

#[test]
fn what_is_removed_loses_its_state_and_begins_with_nothing_when_it_comes_back() {
    let mut world = World::new();
    let release = world.publish(&counting("1.0.0", 1, ""));
    world.install(stream(1), &release);
    thing(&mut world);
    let removed = world.stop(stream(1), "p", true);
    let unseen = thing(&mut world);
    let gone = run(&world);
    assert!(gone.codes(removed).is_empty() && gone.codes(unseen).is_empty());
    assert_eq!((gone.memory.states_root(), gone.memory.places().len()), (StatesRoot::EMPTY, 0));
    assert!(gone.memory.standings().is_empty());
    world.install(stream(1), &release);
    thing(&mut world);
    assert_eq!(run(&world).count(stream(1), "p"), 1);
}

#[test]
fn what_is_quarantined_is_given_nothing_until_it_resumes() {
    let mut world = World::new();
    let release = world.publish(&counting("1.0.0", 1, ""));
    world.install(stream(1), &release);
    world.stop(stream(1), "p", false);
    let unseen = thing(&mut world);
    world.configure(stream(1), "p", "{}", true);
    let seen = thing(&mut world);
    let run = run(&world);
    assert!(run.codes(unseen).is_empty());
    assert_eq!(run.codes(seen), ["p accepted"]);
}

#[test]
fn a_revocation_stops_the_release_that_runs_even_where_an_upgrade_from_it_was_tried() {
    let mut world = World::new();
    let one = world.publish(&counting("1.0.0", 1, ""));
    let two = world.publish(&counting("1.1.0", 2, &migrate("(unreachable)")));
    world.install(stream(1), &one);
    world.upgrade(stream(1), &two);
    let still = thing(&mut world);
    // The register believes that 1.1.0 runs; 1.0.0 does.
    world.review(&one, Decision::Revoked);
    let stopped = thing(&mut world);
    let configured = world.configure(stream(1), "p", "{}", false);
    let run = run(&world);
    assert_eq!(run.codes(still), ["p accepted"]);
    assert!(run.codes(stopped).is_empty());
    assert_eq!(run.codes(configured), ["p bad_output"]);
    stands(&run, Status::Quarantined, "1.0.0");
}

#[test]
fn sixteen_failures_in_a_row_stop_a_binding_by_the_log_alone() {
    let mut world = world(&[stream(1)], [0, 1, 2]);
    let near = QUARANTINE_FAILURES - 1;
    push_many(&mut world, near, "t");
    let saved = world.push(stream(1), "t.a", &body("c"));
    push_many(&mut world, near, "ct");
    // A refusal of its own is no failure.
    world.push(stream(1), "t.a", &body("r"));
    push_many(&mut world, near, "ct");
    // The last one comes by an emit, and counts the same.
    let last = world.push(stream(1), "t.b", &body("ceat"));
    let (unheard, others) = (world.push(stream(1), "t.a", &body("c")), world.push(stream(1), "t.z", &body("c")));
    let derived = world.push(stream(1), "t.b", &body("ceac"));
    world.configure(stream(1), "a", "{}", false);
    let resumed = world.push(stream(1), "t.a", &body("c"));
    let run = run(&world);
    assert_eq!(run.codes(saved), ["a accepted"]);
    assert_eq!(run.codes(last), ["a trapped", "b dependency_rejected"]);
    assert!(run.codes(unheard).is_empty());
    assert_eq!(run.codes(others), ["b accepted", "c accepted"]);
    assert_eq!(run.codes(derived), ["b accepted"]);
    assert_eq!(run.codes(resumed), ["a accepted"]);
    assert_eq!(run.count(stream(1), "a"), 2);
}

/// Applies a log and gives why the host stopped.
fn halts(world: &World) -> HostError {
    let mut run = Run { memory: Memory::new(), ranges: Vec::new(), registry: world.registry() };
    let error = run.range(&world.log, RangeCuts::Live).expect_err("it halts");
    assert!(matches!(run.range(&[], RangeCuts::Live), Err(HostError::Halted)));
    error
}

#[test]
fn a_module_that_is_missing_or_another_halts_and_is_named() {
    let mut world = World::new();
    let release = world.publish(&counting("1.0.0", 1, ""));
    world.install(stream(1), &release);
    let good = world.modules[&release.module].clone();
    for at in [0, good.len() / 2, good.len() - 1] {
        let mut flipped = good.to_vec();
        flipped[at] ^= 1;
        world.modules.insert(release.module, Bytes::from(flipped));
        assert!(
            matches!(halts(&world), HostError::ModuleDiffers { plugin, module } if plugin == id("p") && module == release.module)
        );
    }
    world.modules.clear();
    assert!(matches!(halts(&world), HostError::ModuleMissing { plugin, .. } if plugin == id("p")));
}

#[test]
fn a_profile_that_this_host_does_not_know_halts() {
    let mut world = World::new();
    let release = world.publish(&counting("1.0.0", 1, ""));
    let binding = world.binding(stream(1), &release, "{}");
    let unknown = ProfileId::from_bytes([8; 32]);
    assert!(world.run_whole().registry.vet(&stream(1), &binding).is_ok());
    world.control(&PluginEvent::Installed(tally_protocol::plugin_event::Binding { profile: unknown, ..binding }));
    assert!(matches!(halts(&world), HostError::UnknownProfile { profile, .. } if profile == unknown));
}

#[test]
fn a_module_that_no_host_may_run_is_an_outcome_and_not_a_halt() {
    let wasm = counting("1.0.0", 1, "");
    let says = manifest("p", "1.0.0", 1, &["thing.*"], "{}");
    // No module at all, and a release that claims another manifest than the module has.
    for (wasm, says) in [(b"\0asm\x01\0\0\0".to_vec(), says.clone()), (wasm, says.replace("thing", "think"))] {
        let mut world = World::new();
        let release = world.publish_as(&wasm, release(&wasm, says.as_bytes()));
        let installed = world.install(stream(1), &release);
        let unseen = thing(&mut world);
        let run = run(&world);
        assert_eq!(run.codes(installed), ["p bad_output"]);
        assert!(run.codes(unseen).is_empty());
        stands(&run, Status::Failed, "1.0.0");
    }
}

#[test]
fn a_plugin_event_that_the_state_does_not_allow_changes_nothing() {
    let mut world = World::new();
    let release = world.publish(&counting("1.0.0", 1, ""));
    let installed = world.install(stream(1), &release);
    let again = world.log[usize::try_from(installed.get()).unwrap()].event.clone().unwrap();
    let refused = world.push(again.stream, &again.event_type, &again.body);
    thing(&mut world);
    let run = run(&world);
    assert!(run.codes(refused).is_empty());
    assert_eq!(run.ranges[0].delta.refused.len(), 1);
    assert_eq!(run.count(stream(1), "p"), 1);
}

/// Writes a row of 14 bytes at each event; 40 bytes of state, if it says nothing else.
fn filling(version: &str, limits: &str) -> Vec<u8> {
    let run = r#"
      (func (export "run")
        (loop $next_event
          (call $next (i32.const 16))
          (if (i32.load (i32.const 16)) (then
            (i32.store16 (i32.const 2050) (call $sequence))
            (call $kv_set (i32.const 2048) (i32.const 4) (i32.const 4096) (i32.const 10))
            (call $accept) (br $next_event)))))"#;
    plugin(&manifest("p", version, 1, &["thing.*"], limits), run)
}

#[test]
fn state_grows_to_its_limit_and_no_further_until_the_limit_rises_or_the_state_goes() {
    let mut world = World::new();
    let (small, large) = (filling("1.0.0", r#"{"state_bytes":40}"#), filling("1.1.0", r#"{"state_bytes":60}"#));
    let (small, large) = (world.publish(&small), world.publish(&large));
    world.install(stream(1), &small);
    let first: Vec<_> = (0..4).map(|_| thing(&mut world)).collect();
    world.upgrade(stream(1), &large);
    let second: Vec<_> = (0..3).map(|_| thing(&mut world)).collect();
    world.stop(stream(1), "p", true);
    world.install(stream(1), &large);
    let third: Vec<_> = (0..5).map(|_| thing(&mut world)).collect();
    let run = run(&world);
    let codes = |indexes: &[tally_protocol::id::Index]| -> Vec<String> {
        indexes.iter().flat_map(|index| run.codes(*index)).collect()
    };
    let (accepted, full) = ("p accepted", "p limit(state_bytes)");
    assert_eq!(codes(&first), [accepted, accepted, full, full]);
    assert_eq!(codes(&second), [accepted, accepted, full]);
    assert_eq!(codes(&third), [accepted, accepted, accepted, accepted, full]);
    assert_eq!(run.registry.bindings(&stream(1))[0].standing().state_bytes, 56);
}

#[test]
fn a_restart_from_standings_goes_on_as_if_there_had_been_none() {
    let mut world = world(&[stream(1), stream(2)], [2, 0, 1]);
    push_many(&mut world, 10, "ct");
    let (cut, register) = (world.log.len(), world.register.clone());
    push_many(&mut world, 10, "ct");
    world.push(stream(1), "t.z", &body("cfac"));
    let (first, rest): (&[Logged], &[Logged]) = world.log.split_at(cut);
    let mut run = Run { memory: Memory::new(), ranges: Vec::new(), registry: world.registry() };
    run.range(first, RangeCuts::Live).unwrap();
    let standings = run.memory.standings().into_iter().map(|(stream, standing)| {
        let bytes = standing.encode();
        assert!((0..bytes.len()).all(|end| Standing::decode(&bytes[..end]).is_err()));
        (stream, Standing::decode(&bytes).unwrap())
    });
    run.registry = Registry::restore(world.registry(), register, standings.collect::<Vec<_>>()).unwrap();
    run.range(rest, RangeCuts::Live).unwrap();
    let whole = world.run_whole();
    assert_eq!(run.uncut(), whole.uncut());
    assert_eq!(run.memory, whole.memory);
}

#[test]
fn a_newer_release_of_a_scripted_plugin_takes_over_between_two_events() {
    let mut world = world(&[stream(1)], [0, 1, 2]);
    let newer = world.publish(&scripted("a", "1.1.0"));
    let before = world.push(stream(1), "t.a", &body("c"));
    world.upgrade(stream(1), &newer);
    let after = world.push(stream(1), "t.a", &body("c"));
    let outcomes = run(&world).outcomes();
    let module = |index: tally_protocol::id::Index| outcomes[usize::try_from(index.get()).unwrap()].bindings[0].module;
    assert_ne!(module(before), module(after));
    assert_eq!(module(after), newer.module);
    assert!(outcomes.last().unwrap().bindings[0].fresh);
}
