//! Laws of replay: an honest log replays to its own roots, and the first thing that is claimed otherwise is named.

mod common;
#[path = "../../../sdk/plugin/check/tests/common/mod.rs"]
#[allow(dead_code, reason = "the events, not the files")]
mod market;

use std::sync::Arc;

use bytes::Bytes;
use common::ledger::{Known, Run, World, id, stream};
use common::script::{body, script, world};
use proptest::prelude::*;
use tally_plugin_host::apply::Logged;
use tally_plugin_host::error::HostError;
use tally_plugin_host::memory::Memory;
use tally_plugin_host::replay::{Difference, Field, Replay, ReplayError};
use tally_plugin_host::session::Event;
use tally_protocol::hash::{EffectsHash, EmitsHash, LeafHash, ModuleHash, ProfileId, StatesRoot, WritesHash};
use tally_protocol::id::Index;
use tally_protocol::outcome::{BindingOutcome, Outcome, OutcomeCode};

/// What is claimed about a log.
#[derive(Clone)]
struct Claim {
    world: World,
    outcomes: Vec<Outcome>,
    roots: Vec<(Index, StatesRoot)>,
}

fn claim(world: &World, lengths: &[usize]) -> (Claim, Run) {
    let run = world.run(lengths);
    let mut memory = Memory::new();
    let mut roots = Vec::new();
    for applied in &run.ranges {
        let states = applied.delta.trees(&memory).expect("reads");
        memory.take(&applied.delta, &states);
        let first = applied.delta.first.expect("not empty").get();
        roots.push((Index::new(first + applied.delta.entries as u64), states.root));
    }
    (Claim { world: world.clone(), outcomes: run.outcomes(), roots }, run)
}

fn replay(claim: &Claim) -> Result<Memory, ReplayError> {
    let mut replay = Replay::new(claim.world.registry(), Known);
    claim.roots.iter().for_each(|(before, root)| replay.claim_root(*before, *root));
    for (entry, outcome) in claim.world.log.iter().zip(&claim.outcomes) {
        replay.push(entry.clone(), outcome.clone())?;
    }
    replay.finish()
}

fn difference(claim: &Claim) -> Difference {
    match replay(claim) {
        Err(ReplayError::Differs(difference)) => difference,
        Err(ReplayError::Host(error)) => panic!("the host stopped: {error}"),
        Ok(_) => panic!("it replays"),
    }
}

type Lie = fn(&mut BindingOutcome);

fn some_world() -> (World, Index) {
    let mut world = world(&[stream(1), stream(2)], [0, 1, 2]);
    for script in ["c", "cx", "cebc", "cebr", "ct", "ci"] {
        world.push(stream(1), "t.a", &body(script));
        world.push(stream(2), "t.z", &body(script));
    }
    let at = world.push(stream(1), "t.a", &body("cxfbc"));
    world.push(stream(1), "t.z", &body("c"));
    (world, at)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn an_honest_log_replays_to_its_own_state_wherever_it_was_cut(
        scripts in prop::collection::vec((1..3_u8, script()), 1..40),
        lengths in prop::collection::vec(1..30_usize, 1..5),
    ) {
        let mut world = world(&[stream(1), stream(2)], [1, 0, 2]);
        for (number, script) in &scripts {
            world.push(stream(*number), "t.z", &body(script));
        }
        let (claim, run) = claim(&world, &lengths);
        prop_assert_eq!(replay(&claim).expect("replays"), run.memory);
    }

    #[test]
    fn the_committed_modules_replay_to_their_own_state_wherever_they_were_cut(
        given in prop::collection::vec(market::events(), 1..60),
        lengths in prop::collection::vec(1..30_usize, 1..5),
    ) {
        let world = market_world(&given);
        let (claim, run) = claim(&world, &lengths);
        let replayed = replay(&claim).expect("replays");
        prop_assert_eq!(replayed.states_root(), run.memory.states_root());
        prop_assert_eq!(&replayed, &run.memory);
        // Real guests keep nothing between events but what they write: any other cut comes to the same state.
        let whole = world.run_whole();
        prop_assert_eq!(whole.memory.states_root(), run.memory.states_root());
        for (one, other) in whole.outcomes().iter().zip(&run.outcomes()) {
            let said = |outcome: &Outcome| -> Vec<_> {
                outcome.bindings.iter().map(|b| (b.plugin.clone(), b.code.clone(), b.writes)).collect()
            };
            prop_assert_eq!(said(one), said(other));
        }
    }
}

fn market_world(given: &[tally_plugin::test_host::TestEvent]) -> World {
    let mut world = World::new();
    for name in ["counter", "registry"] {
        let file = format!("{}/../{name}/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
        let release = world.publish(&std::fs::read(&file).unwrap_or_else(|error| panic!("{file}: {error}")));
        world.install(stream(1), &release);
    }
    for event in given {
        world.push_about(stream(1), &event.event_type, (&event.entity_type, &event.entity_id), &event.body);
    }
    world
}

#[test]
fn a_flipped_field_of_a_record_is_named() {
    let (world, at) = some_world();
    let (honest, _) = claim(&world, &[7, 5]);
    assert!(replay(&honest).is_ok());
    let lies: [(Field, Lie); 7] = [
        (Field::Module, |b| b.module = ModuleHash::from_bytes([1; 32])),
        (Field::Profile, |b| b.profile = ProfileId::from_bytes([1; 32])),
        (Field::Code, |b| b.code = OutcomeCode::Trapped),
        (Field::Gas, |b| b.gas ^= 1),
        (Field::Writes, |b| b.writes = WritesHash::from_bytes([1; 32])),
        (Field::Emits, |b| b.emits = EmitsHash::from_bytes([1; 32])),
        (Field::Effects, |b| b.effects = EffectsHash::from_bytes([1; 32])),
    ];
    for (field, lie) in lies {
        let mut claim = honest.clone();
        lie(&mut claim.outcomes[usize::try_from(at.get()).unwrap()].bindings[0]);
        match difference(&claim) {
            Difference::Record { index, plugin, field: found, .. } => {
                assert_eq!((index, plugin, found), (at, id("a"), field));
            }
            other => panic!("{field}: {other}"),
        }
    }
}

#[test]
fn an_instance_that_is_claimed_to_survive_its_trap_is_named() {
    let (world, _) = some_world();
    let (mut claim, _) = claim(&world, &[100]);
    let trapped = |outcome: &Outcome| outcome.bindings.first().is_some_and(|b| b.code == OutcomeCode::Trapped);
    let at = claim.outcomes.iter().position(trapped).expect("one traps");
    let next = (at + 1..).find(|next| claim.outcomes[*next].bindings.len() == 1).expect("a goes on");
    assert!(claim.outcomes[next].bindings[0].fresh);
    claim.outcomes[next].bindings[0].fresh = false;
    assert!(matches!(difference(&claim), Difference::Record { index, plugin, field: Field::Fresh, .. }
        if index.get() == next as u64 && plugin == id("a")));
}

#[test]
fn of_two_lies_the_first_in_the_log_is_named_whatever_stream_it_is_in() {
    let (world, _) = some_world();
    let (mut claim, _) = claim(&world, &[100]);
    let traps: Vec<usize> = (0..claim.outcomes.len())
        .filter(|at| claim.outcomes[*at].bindings.first().is_some_and(|b| b.code == OutcomeCode::Trapped))
        .collect();
    let [one, two] = traps[..] else { panic!("one in each stream: {traps:?}") };
    assert_eq!(two, one + 1);
    // The instance of stream 1 is claimed to survive, which stops the run; stream 2 has less gas, one event before that.
    claim.outcomes[one + 2].bindings[0].fresh = false;
    claim.outcomes[two].bindings[0].gas = 7;
    assert!(
        matches!(difference(&claim), Difference::Record { index, field: Field::Gas, .. } if index.get() == two as u64)
    );
}

#[test]
fn a_record_too_few_or_too_many_and_another_leaf_are_named() {
    let (world, at) = some_world();
    let (honest, _) = claim(&world, &[100]);
    let position = usize::try_from(at.get()).unwrap();
    let mut claim = honest.clone();
    let taken = claim.outcomes[position].bindings.pop().expect("b took part");
    assert_eq!(difference(&claim), Difference::Missing { index: at, plugin: taken.plugin.clone() });
    let mut claim = honest.clone();
    claim.outcomes[position].bindings.push(BindingOutcome { plugin: id("z"), ..taken });
    assert_eq!(difference(&claim), Difference::Surplus { index: at, plugin: id("z") });
    let mut claim = honest;
    claim.outcomes[position].event_leaf = LeafHash::from_bytes([1; 32]);
    assert_eq!(difference(&claim), Difference::Leaf { index: at });
}

#[test]
fn a_flipped_byte_of_an_event_is_found_at_that_event() {
    let (world, at) = some_world();
    let (mut claim, _) = claim(&world, &[9]);
    let entry: &mut Logged = &mut claim.world.log[usize::try_from(at.get()).unwrap()];
    let event = entry.event.clone().expect("an event");
    // `c` into `b`, which is no operation.
    let mut flipped = event.body.to_vec();
    flipped[1] ^= 1;
    entry.event = Some(Arc::new(Event { body: Bytes::from(flipped), ..Event::clone(&event) }));
    assert!(matches!(difference(&claim), Difference::Record { index, plugin, field: Field::Gas, .. }
        if index == at && plugin == id("a")));
}

#[test]
fn a_flipped_byte_of_a_module_is_found_by_its_plugin_and_hash() {
    let (world, _) = some_world();
    let (mut claim, run) = claim(&world, &[100]);
    let module = run.registry.bindings(&stream(1))[1].standing().binding.module;
    let mut flipped = claim.world.modules[&module].to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    claim.world.modules.insert(module, Bytes::from(flipped));
    match replay(&claim) {
        Err(ReplayError::Host(HostError::ModuleDiffers { plugin, module: named })) => {
            assert_eq!((plugin, named), (id("b"), module));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_wrong_root_is_named_with_its_place() {
    let (world, _) = some_world();
    let (mut claim, _) = claim(&world, &[9]);
    let (before, root) = claim.roots[1];
    claim.roots[1].1 = StatesRoot::EMPTY;
    assert_eq!(
        difference(&claim),
        Difference::StatesRoot { index: before, claimed: StatesRoot::EMPTY, computed: root }
    );
    // One between two cuts is none that anybody signed.
    let last = claim.world.log.len() as u64 - 1;
    claim.roots = vec![(Index::new(last), root)];
    claim.outcomes[usize::try_from(last).unwrap()].bindings[0].fresh = false;
    assert_eq!(difference(&claim), Difference::NoCut { index: Index::new(last) });
}

#[test]
fn a_log_longer_than_the_look_ahead_replays() {
    let mut world = world(&[stream(1)], [0, 1, 2]);
    for number in 0..13_000_u32 {
        world.push(
            stream(1),
            if number % 50 == 0 { "t.b" } else { "t.a" },
            &body(if number % 501 == 0 { "cebc" } else { "c" }),
        );
    }
    let (claim, run) = claim(&world, &[4_096, 1_000]);
    assert_eq!(replay(&claim).expect("replays"), run.memory);
}

/// An event too long to be shown says nothing about instances, also where it is the first of a range.
#[test]
fn a_range_may_begin_with_an_event_that_nobody_is_shown() {
    let long = tally_plugin::test_host::TestEvent::new("something.else", "thing", "one", vec![0xff; 70_000]);
    let short = tally_plugin::test_host::TestEvent::new("something.else", "thing", "one", *b"{}");
    let world = market_world(&[short.clone(), long.clone(), long, short]);
    let installed = world.log.len() - 4;
    for first in 1..4 {
        let (claim, run) = claim(&world, &[installed + first]);
        assert_eq!(replay(&claim).expect("replays"), run.memory, "{first}");
    }
}
