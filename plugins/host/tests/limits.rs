//! Each limit has a guest that obeys and a guest that breaks it by one, on three engines: exact code, full charge,
//! neighbours untouched.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::host::{
    State, Trio, at_second, codes, event, events, fails_alone, fresh, grant, guest, looped, passes, steps_of,
};
use tally_plugin_host::engine::{Engine, Optimisation, Ticker};
use tally_plugin_host::error::HostError;
use tally_plugin_host::instance::{Cuts, Instance};
use tally_plugin_host::limits::Limits;
use tally_plugin_host::state::{Row, StateError, StateView};

/// Sets `count` keys of three bytes to nothing.
fn sets(count: u32, value_bytes: u32) -> String {
    format!(
        "(local.set $i (i32.const 0))
         (loop $l
           (i32.store16 (i32.const 2050) (local.get $i))
           (call $kv_set (i32.const 2048) (i32.const 4) (i32.const 4096) (i32.const {value_bytes}))
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br_if $l (i32.lt_u (local.get $i) (i32.const {count}))))"
    )
}

fn repeat(count: u32, work: &str) -> String {
    format!(
        "(local.set $i (i32.const {count}))
         (loop $l {work} (br_if $l (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))"
    )
}

#[test]
fn gas() {
    passes(&repeat(100_000, "(nop)"));
    fails_alone("(loop $l (br $l))", "out_of_gas");
    fails_alone(&repeat(10_000_000, "(call $sha256 (i32.const 0) (i32.const 0) (i32.const 64))"), "out_of_gas");
}

#[test]
fn stack() {
    // A frame of one local and two operands.
    let depth = 65_536 / (64 + 3 * 8);
    passes(&format!("(call $recurse (i32.const {}))", depth - 10));
    fails_alone(&format!("(call $recurse (i32.const {}))", depth + 1), "stack_exceeded");
}

#[test]
fn memory() {
    passes("(drop (memory.grow (i32.const 252)))");
    fails_alone("(drop (memory.grow (i32.const 253)))", "memory_exceeded");
    fails_alone("(drop (memory.grow (i32.const -1)))", "out_of_gas");
}

#[test]
fn key_bytes() {
    passes("(call $kv_set (i32.const 2048) (i32.const 256) (i32.const 0) (i32.const 0))");
    fails_alone("(call $kv_set (i32.const 2048) (i32.const 257) (i32.const 0) (i32.const 0))", "limit(key_bytes)");
    fails_alone("(call $kv_set (i32.const 2048) (i32.const 0) (i32.const 0) (i32.const 0))", "limit(key_bytes)");
    fails_alone("(call $kv_delete (i32.const 2048) (i32.const 257))", "limit(key_bytes)");
    fails_alone("(call $kv_get (i32.const 2048) (i32.const 0) (i32.const 64))", "limit(key_bytes)");
}

#[test]
fn key_prefix() {
    for call in [
        "(call $kv_set (i32.const 1088) (i32.const 7) (i32.const 0) (i32.const 0))",
        "(call $kv_delete (i32.const 1088) (i32.const 7))",
        "(call $kv_get (i32.const 1088) (i32.const 7) (i32.const 64))",
        // The prefix cut short is another key.
        "(call $kv_get (i32.const 2048) (i32.const 1) (i32.const 64))",
    ] {
        fails_alone(call, "trapped");
    }
}

#[test]
fn value_bytes() {
    passes("(call $kv_set (i32.const 1104) (i32.const 4) (i32.const 0) (i32.const 65536))");
    fails_alone("(call $kv_set (i32.const 1104) (i32.const 4) (i32.const 0) (i32.const 65537))", "limit(value_bytes)");
}

#[test]
fn writes() {
    // One key is the count.
    assert_eq!(passes(&sets(255, 0)).writes.len(), 256);
    fails_alone(&sets(256, 0), "limit(writes)");
    // The same key again is not another one.
    let again = "(call $kv_set (i32.const 1104) (i32.const 4) (i32.const 0) (i32.const 0))";
    assert_eq!(passes(&repeat(500, again)).writes.len(), 2);
}

#[test]
fn write_bytes() {
    // 15 for the count; 4 x (4 + 65,528) + 15 is one less than the limit.
    passes(&sets(4, 65_528));
    fails_alone(&sets(4, 65_530), "limit(write_bytes)");
}

#[test]
fn emits() {
    let emit = "(call $emit (i32.const 1048) (i32.const 10) (i32.const 1040) (i32.const 2))";
    let step = passes(&repeat(16, emit));
    assert_eq!(
        (step.emits.len(), step.emits[0].event_type.as_str(), &step.emits[0].body[..]),
        (16, "thing.done", &b"{}"[..])
    );
    fails_alone(&repeat(17, emit), "limit(emits)");
    fails_alone("(call $emit (i32.const 1048) (i32.const 257) (i32.const 1040) (i32.const 2))", "limit(emit_bytes)");
    fails_alone("(call $emit (i32.const 1048) (i32.const 0) (i32.const 1040) (i32.const 2))", "limit(emit_bytes)");
    fails_alone("(call $emit (i32.const 1048) (i32.const 10) (i32.const 1040) (i32.const 65537))", "limit(emit_bytes)");
    // Not canonical JSON.
    fails_alone("(call $emit (i32.const 1048) (i32.const 10) (i32.const 1040) (i32.const 1))", "bad_output");
}

#[test]
fn emit_depth() {
    let wasm = looped("(call $emit (i32.const 1048) (i32.const 10) (i32.const 1040) (i32.const 2))");
    let mut given = events(6);
    for (event, depth) in given.iter_mut().zip(0..) {
        event.depth = depth;
    }
    let steps = Trio::new(&wasm, Limits::default()).apply(given, &State::new(), Cuts::Live).unwrap();
    let expected = ["accepted", "accepted", "accepted", "accepted", "limit(emit_depth)", "limit(emit_depth)"];
    assert_eq!(codes(&steps), expected);
}

#[test]
fn effects() {
    let effect =
        "(call $effect (i32.const 1064) (i32.const 4) (i32.const 1072) (i32.const 8) (i32.const 1040) (i32.const 2))";
    let step = passes(&repeat(4, effect));
    assert_eq!(step.effects.iter().map(|effect| effect.call).collect::<Vec<_>>(), [0, 1, 2, 3]);
    fails_alone(&repeat(5, effect), "limit(effects)");
    let long =
        "(call $effect (i32.const 1064) (i32.const 4) (i32.const 1072) (i32.const 65) (i32.const 1040) (i32.const 2))";
    fails_alone(long, "limit(effect_bytes)");
    // A kind that was not granted.
    let other =
        "(call $effect (i32.const 1064) (i32.const 3) (i32.const 1072) (i32.const 8) (i32.const 1040) (i32.const 2))";
    fails_alone(other, "trapped");
}

#[test]
fn label_bytes() {
    passes("(call $id (i32.const 1024) (i32.const 64) (i32.const 64))");
    fails_alone("(call $id (i32.const 1024) (i32.const 65) (i32.const 64))", "limit(label_bytes)");
}

#[test]
fn rows_of_a_range() {
    let range = |limit: u32| {
        format!(
            "(call $kv_range (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const {limit}) (i32.const 0) (i32.const 64))"
        )
    };
    passes(&range(1_000));
    fails_alone(&range(1_001), "limit(read_bytes)");
}

#[test]
fn the_body_of_an_event() {
    let limits = Limits::default();
    let mut given = events(3);
    given[1].body = vec![b'1'; usize::try_from(limits.body_bytes).unwrap() + 1].into();
    let steps = Trio::new(&at_second("(unreachable)"), limits).apply(given, &State::new(), Cuts::Live).unwrap();
    // The guest never saw it, so its instance goes on.
    assert_eq!(codes(&steps), ["accepted", "limit(event_bytes)", "accepted"]);
    assert_eq!(fresh(&steps), [true, false, false]);
}

#[test]
fn a_long_log_is_cut_and_is_no_failure() {
    let step = passes(
        "(call $log (i32.const 1) (i32.const 4096) (i32.const 1000)) (call $log (i32.const 1) (i32.const 4096) (i32.const 1000)) (call $log (i32.const 0) (i32.const 4096) (i32.const 10))",
    );
    let lines: Vec<usize> = step.log.iter().map(|line| line.text.chars().count()).collect();
    assert_eq!(lines, [1_000, 24]);
    // What a terminal would obey is not passed on.
    assert!(step.log.iter().all(|line| !line.text.chars().any(char::is_control)));
    fails_alone("(call $log (i32.const 4) (i32.const 0) (i32.const 0))", "bad_output");
}

#[test]
fn host_calls() {
    // Counting and accepting are three calls; `next` is none.
    let log = "(call $log (i32.const 1) (i32.const 0) (i32.const 0))";
    passes(&repeat(16_384 - 3, log));
    fails_alone(&repeat(16_384 - 2, log), "limit(host_calls)");
    // Each event, and each call of `init`, has all of them.
    let limits = Limits { host_calls: 4, ..Limits::default() };
    let steps = Trio::new(&looped("(call $add_to_count)"), limits).apply(events(9), &State::new(), Cuts::Live).unwrap();
    assert_eq!(codes(&steps), ["accepted"; 9]);
    for (calls, code) in [(4, "accepted"), (5, "limit(host_calls)")] {
        let init = format!(
            "(func (export \"init\") (param i32 i32) (result i32) (local $i i32) {} (i32.const 0))",
            repeat(calls, log)
        );
        let none: Arc<dyn StateView> = Arc::new(State::new());
        let trio = Trio::new(&guest(&init), limits);
        let chunk = trio.each(
            |speed| speed.init(b"{}", Arc::clone(&none)).unwrap(),
            |second| second.init(b"{}", Arc::clone(&none)).unwrap(),
        );
        assert_eq!(chunk.code.to_string(), code);
    }
}

#[test]
fn state_bytes() {
    // The count has 15 bytes; a value of 81 under a key of four makes a hundred.
    let set =
        |bytes: u32| format!("(call $kv_set (i32.const 1104) (i32.const 4) (i32.const 4096) (i32.const {bytes}))");
    let delete = "(call $kv_delete (i32.const 1104) (i32.const 4))";
    let limits = Limits { state_bytes: 100, ..Limits::default() };
    let run = |work: &str, state: &State| {
        let steps = Trio::new(&at_second(work), limits).apply(events(3), state, Cuts::Live).unwrap();
        (codes(&steps)[1].clone(), steps[1].grown)
    };
    let empty = State::new();
    assert_eq!(run(&set(81), &empty), ("accepted".to_owned(), 85));
    assert_eq!(run(&set(82), &empty), ("limit(state_bytes)".to_owned(), 0));
    // What is written over or deleted does not count, and what was there before does.
    assert_eq!(run(&format!("{} {}", set(81), set(81)), &empty), ("accepted".to_owned(), 85));
    assert_eq!(run(&format!("{} {delete} {}", set(81), set(80)), &empty), ("accepted".to_owned(), 84));
    let held: State = [(Bytes::from_static(b"k/\0\xff"), Bytes::from(vec![0; 80]))].into();
    assert_eq!(run(&set(81), &held), ("accepted".to_owned(), 1));
    assert_eq!(run(&set(82), &held), ("limit(state_bytes)".to_owned(), 0));
    let other: State = [(Bytes::from_static(b"k/o"), Bytes::new())].into();
    assert_eq!(run(&set(79), &other), ("limit(state_bytes)".to_owned(), 0));
    // Over the limit already, as after an upgrade with a lower one: what does not grow is still written.
    let over: State =
        [(Bytes::from_static(b"k/\0\xff"), Bytes::from(vec![0; 500])), (b"k/count".to_vec().into(), vec![0; 8].into())]
            .into();
    assert_eq!(run(&set(500), &over), ("accepted".to_owned(), 0));
    assert_eq!(run(&set(400), &over), ("accepted".to_owned(), -100));
    assert_eq!(run(delete, &over), ("accepted".to_owned(), -504));
    assert_eq!(run(&set(501), &over), ("limit(state_bytes)".to_owned(), 0));
}

/// Time is no limit: it stops the host, and nothing is decided.
#[test]
fn the_guard_of_wall_time_halts_and_decides_nothing() {
    let engine = Engine::with_deadline(1, Optimisation::Speed, 2).unwrap();
    let endless = Limits { gas: 1 << 58, lifecycle_gas: 1 << 58, host_calls: u64::MAX, ..Limits::default() };
    let run = |work: &str, ticks: bool| {
        let instance = Instance::new(engine.load(&at_second(work), &endless).unwrap(), grant(endless));
        let done = AtomicBool::new(false);
        let ticker = engine.ticker();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while ticks && !done.load(Ordering::Relaxed) {
                    ticker.tick();
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            let applied = instance.apply(events(3), Arc::new(State::new()), Cuts::Live);
            done.store(true, Ordering::Relaxed);
            applied
        })
    };
    for work in ["(loop $l (br $l))", "(loop $l (call $log (i32.const 1) (i32.const 0) (i32.const 0)) (br $l))"] {
        assert!(matches!(run(work, true), Err(HostError::Deadline)), "{work}");
    }
    // A guest that would run for long meets no deadline where nobody ticks; and each event has the whole of it.
    assert_eq!(codes(&run(&repeat(3_000_000, "(nop)"), false).unwrap()), ["accepted"; 3]);
    ticks_between_events(&engine, endless);
}

/// One tick at each event, far more than the deadline in all.
fn ticks_between_events(engine: &Engine, limits: Limits) {
    struct Ticking(Ticker);
    impl StateView for Ticking {
        fn get(&self, _: &[u8]) -> Result<Option<Bytes>, StateError> {
            self.0.tick();
            Ok(None)
        }

        fn range(&self, _: &[u8], _: Option<&[u8]>, _: usize, _: bool) -> Result<Vec<Row>, StateError> {
            Ok(Vec::new())
        }
    }
    let read = looped("(call $kv_get (i32.const 1104) (i32.const 4) (i32.const 64))");
    let instance = Instance::new(engine.load(&read, &limits).expect("loads"), grant(limits));
    let steps = instance.apply(events(20), Arc::new(Ticking(engine.ticker())), Cuts::Live).expect("the host goes on");
    assert_eq!(codes(&steps), ["accepted"; 20]);
}

#[test]
fn events_of_an_instance() {
    let limits = Limits { events_per_instance: 3, ..Limits::default() };
    let trio = Trio::new(&looped("(call $add_to_count)"), limits);
    let steps = trio.apply(events(8), &State::new(), Cuts::Live).unwrap();
    assert_eq!(fresh(&steps), [true, false, false, true, false, false, true, false]);
    assert_eq!(common::host::count(&steps[7]), 8);
}

#[test]
fn an_event_of_the_largest_body_is_taken() {
    let mut body = vec![b'1'; 65_536];
    body[0] = b'"';
    body[65_535] = b'"';
    let steps = Trio::new(&looped("(call $add_to_count)"), Limits::default())
        .apply(vec![event(1, &body)], &State::new(), Cuts::Live)
        .unwrap();
    // The stub's allocator has 32 KiB: it hands out a block that does not hold it, inside the memory.
    assert_eq!(codes(&steps), ["accepted"]);
    assert_eq!(steps_of(&looped(""), 1)[0].code.to_string(), "accepted");
}
