//! Laws of ranges: where a range begins and where instances are cut makes no difference, emit trees are kept whole or not
//! at all, no third party vetoes another's root, and a naive model agrees with all of it.

mod common;

use common::ledger::{World, id, manifest, plugin, stream};
use common::script::{Model, body, limited, script, world};
use proptest::prelude::*;
use tally_merkle::sparse::{MemoryPages, StateChange, StateNode, tree_change, update};
use tally_plugin_host::apply::RangeCuts;
use tally_plugin_host::error::HostError;
use tally_plugin_host::memory::Memory;
use tally_protocol::hash::StatesRoot;
use tally_protocol::id::{Index, PluginId, Stream};

const ORDERS: [[usize; 3]; 3] = [[0, 1, 2], [2, 0, 1], [1, 2, 0]];

/// Events in two streams: which, to whom, and what to do.
fn events() -> impl Strategy<Value = Vec<(u8, char, String)>> {
    prop::collection::vec((1..3_u8, prop::sample::select(vec!['a', 'b', 'c', 'z']), script()), 1..40)
}

fn grown(order: [usize; 3], events: &[(u8, char, String)]) -> World {
    let mut world = world(&[stream(1), stream(2)], order);
    for (number, to, script) in events {
        world.push(stream(*number), &format!("t.{to}"), &body(script));
    }
    world
}

/// The root over all of final keys and values, made at once.
fn root_of(memory: &Memory) -> StatesRoot {
    let root = |changes: &[StateChange]| match update(&MemoryPages::new(), &StateNode::EMPTY, changes) {
        Ok(update) => update.root,
        Err(error) => panic!("{error}"),
    };
    let tree = |(stream, plugin): &(Stream, PluginId)| {
        let space = memory.space(stream, plugin);
        let rows: Vec<_> = space.iter().map(|(key, value)| (&key[..], Some(&value[..]))).collect();
        tree_change(stream, plugin, &root(&StateChange::many(&rows)))
    };
    root(&memory.places().into_iter().map(tree).collect::<Vec<_>>()).states_root()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn outcomes_and_state_are_those_of_a_naive_model(
        order in prop::sample::select(ORDERS.to_vec()),
        events in events(),
        lengths in prop::collection::vec(1..30_usize, 1..5),
    ) {
        let world = grown(order, &events);
        let run = world.run(&lengths);
        let mut models = [Model::new(order), Model::new(order)];
        let first = world.log.len() - events.len();
        for (at, (number, to, script)) in events.iter().enumerate() {
            let index = Index::new((first + at) as u64);
            let expected = models[usize::from(*number) - 1].event(index, *to, script);
            prop_assert_eq!(run.codes(index), expected, "{} to {} at {}", script, to, index);
        }
        for (number, model) in (1..).zip(&models) {
            for (name, kept) in &model.kept {
                prop_assert_eq!(run.count(stream(number), name), kept.count);
                let space = run.memory.space(&stream(number), &id(name));
                prop_assert_eq!(space.get(&b"k/id"[..]).map(|id| id.to_vec()), kept.id.map(|id| id.to_vec()));
                let asked = run.ranges.iter().flat_map(|range| &range.delta.effects);
                let own = asked.filter(|asked| asked.stream == stream(number) && asked.plugin == id(name));
                prop_assert_eq!(own.map(|asked| *asked.effect.id.as_bytes()).collect::<Vec<_>>(), kept.effects.clone());
            }
        }
    }

    #[test]
    fn where_ranges_begin_makes_no_difference_but_to_fresh(
        order in prop::sample::select(ORDERS.to_vec()),
        events in events(),
        lengths in prop::collection::vec(1..30_usize, 1..5),
    ) {
        let world = grown(order, &events);
        let (whole, split) = (world.run_whole(), world.run(&lengths));
        prop_assert_eq!(whole.uncut(), split.uncut());
        prop_assert_eq!(&whole.memory, &split.memory);
        prop_assert_eq!(whole.memory.states_root(), root_of(&whole.memory));
        let delta = &whole.ranges[0].delta;
        prop_assert!(delta.effects.is_sorted_by_key(|asked| asked.index) && delta.log.is_sorted_by_key(|line| line.index));
        let places: Vec<_> = delta.spaces.iter().map(|space| (space.stream, space.plugin.clone())).collect();
        prop_assert!(places.is_sorted());
        // And along the recorded cuts even `fresh` is the same, in one range of everything.
        let list = split.fresh_list(&world.log);
        let mut again = world.run(&[usize::MAX]);
        (again.memory, again.ranges, again.registry) = (Memory::new(), Vec::new(), world.registry());
        again.range(&world.log, RangeCuts::Recorded(&list)).expect("replays");
        prop_assert_eq!(again.outcomes(), split.outcomes());
        prop_assert_eq!(again.memory.states_root(), split.memory.states_root());
    }
}

/// The codes of one event, in a fresh world of `a`, `b`, `c`.
fn codes(to: &str, script: &str) -> Vec<String> {
    let mut world = world(&[stream(1)], [0, 1, 2]);
    let index = world.push(stream(1), &format!("t.{to}"), &body(script));
    world.run_whole().codes(index)
}

#[test]
fn an_event_nobody_hears_has_the_constant_outcome() {
    let mut world = world(&[stream(1)], [0, 1, 2]);
    let (other, nobody) = (world.push(stream(2), "t.z", &body("c")), world.push(stream(1), "u.z", &body("c")));
    let run = world.run_whole();
    for index in [Index::new(0), other, nobody] {
        let outcome = &run.outcomes()[usize::try_from(index.get()).unwrap()];
        assert_eq!(outcome.encode(), tally_protocol::outcome::EMPTY_BODY);
    }
}

#[test]
fn a_derived_step_that_fails_undoes_its_tree_and_nobody_elses() {
    assert_eq!(codes("a", "cebc"), ["a accepted", "b accepted"]);
    assert_eq!(codes("a", "cebr"), ["a dependency_rejected", "b rejected(no-stock)"]);
    assert_eq!(codes("a", "cebcect"), ["a dependency_rejected", "b dependency_rejected", "c trapped"]);
    // Of several runs of one binding the first that was not accepted counts: c's own root stands.
    let mut world = world(&[stream(1)], [0, 1, 2]);
    let index = world.push(stream(1), "t.z", &body("cfat"));
    let run = world.run_whole();
    assert_eq!(run.codes(index), ["a trapped", "b dependency_rejected", "c dependency_rejected"]);
    // a's root emits to nobody else and stands; those of b and c are vetoed by what they asked for themselves.
    assert_eq!([1, 0, 0], ["a", "b", "c"].map(|name| run.count(stream(1), name)));
}

#[test]
fn emits_in_a_circle_end_at_the_depth_limit() {
    assert_eq!(codes("a", &"cebcea".repeat(4)), ["a dependency_rejected", "b dependency_rejected"]);
    // Who takes part once says why.
    let mut world = world(&[stream(1)], [0, 1, 2]);
    let shallow = world.publish(&limited("c", "1.1.0", r#"{"emit_depth":2}"#));
    world.upgrade(stream(1), &shallow);
    let fine = world.push(stream(1), "t.a", &body("ceceacebc"));
    let deep = world.push(stream(1), "t.a", &body("cebceceac"));
    let run = world.run_whole();
    assert_eq!(run.codes(fine), ["a accepted", "b accepted", "c accepted"]);
    assert_eq!(run.codes(deep), ["a dependency_rejected", "b dependency_rejected", "c limit(emit_depth)"]);
}

#[test]
fn a_tree_that_grows_too_wide_ends_at_the_emits_limit() {
    let mut world = World::new();
    // Everyone hears everything and emits sixteen times: 16 * 9 runs, then the first of them wants as many again.
    let sixteen = r#"(func (export "run") (local $n i32)
        (loop $next_event
          (call $next (i32.const 16))
          (if (i32.load (i32.const 16))
            (then
              (local.set $n (i32.const 16))
              (loop $more
                (call $emit (i32.const 1048) (i32.const 10) (i32.const 1040) (i32.const 2))
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (br_if $more (local.get $n)))
              (call $accept) (br $next_event)))))"#;
    for name in ["p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9"] {
        let release = world.publish(&plugin(&manifest(name, "1.0.0", 1, &["thing.*"], "{}"), sixteen));
        world.install(stream(1), &release);
    }
    let index = world.push(stream(1), "thing.begun", b"{}");
    let run = world.run_whole();
    assert_eq!(run.codes(index)[..2], ["p0 dependency_rejected", "p1 limit(emits)"]);
    assert_eq!(run.memory.states_root(), StatesRoot::EMPTY);
}

#[test]
fn a_range_that_is_none_is_refused_and_changes_nothing() {
    let world = world(&[stream(1)], [0, 1, 2]);
    let mut run = world.run_whole();
    let mut gap = world.log.clone();
    gap.remove(3);
    assert!(matches!(run.range(&gap, RangeCuts::Live), Err(HostError::Range(at)) if at == Index::new(4)));
    let mut moved = world.log.clone();
    moved[2].event = world.log[3].event.clone();
    assert!(matches!(run.range(&moved, RangeCuts::Live), Err(HostError::Range(at)) if at == Index::new(2)));
}

#[test]
fn what_is_nobodys_comes_to_empty_outcomes_and_changes_nothing() {
    let mut world = world(&[stream(1)], [0, 1, 2]);
    let control = Stream::control(stream(1).tenant);
    let first = world.log.len();
    for _ in 0..5 {
        world.push(stream(2), "t.a", b"{}");
    }
    let mut run = world.run(&[first]);
    assert!(run.registry.is_nobodys(&stream(2)) && !run.registry.is_nobodys(&stream(1)));
    assert!(!run.registry.is_nobodys(&control), "installations come from there");
    let before = run.memory.states_root();
    run.ranges.clear();
    run.range(&world.log[first..], RangeCuts::Live).unwrap();
    let applied = &run.ranges[0];
    assert_eq!(applied.outcomes.len(), 5);
    assert!(applied.outcomes.iter().all(|outcome| outcome.bindings.is_empty()));
    assert!(applied.delta.spaces.is_empty() && applied.delta.standings.is_empty() && applied.delta.effects.is_empty());
    assert_eq!(run.memory.states_root(), before);
}
