//! Guests that lie, break the loop, or work against their host: the exact code, on three engines, the full charge, and
//! the neighbours untouched.

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::host::{State, Trio, at_second, codes, count, events, fails_alone, fresh, guest, looped, passes, steps_of};
use tally_plugin_host::error::HostError;
use tally_plugin_host::instance::{AskError, Chunk, Cuts};
use tally_plugin_host::limits::Limits;
use tally_plugin_host::session::BindingStep;
use tally_plugin_host::state::{Row, StateError, StateView};
use tally_protocol::outcome::OutcomeCode;

fn empty() -> Arc<dyn StateView> {
    Arc::new(State::new())
}

/// Every event ends with this code, each in an instance of its own, at full charge.
fn always(wasm: &[u8], code: &str) {
    let steps = steps_of(wasm, 3);
    assert_eq!(codes(&steps), [code; 3]);
    assert_eq!(fresh(&steps), [true; 3]);
    assert!(steps.iter().all(|step| step.gas == Limits::default().gas && step.writes.is_empty()));
}

#[test]
fn a_refusal_keeps_nothing_charges_what_was_used_and_the_instance_goes_on() {
    let work = "(call $done (i32.const 0) (i32.const 1072) (i32.const 8)) (br $next_event)";
    let steps = steps_of(&at_second(work), 3);
    assert_eq!(codes(&steps), ["accepted", "rejected(no-stock)", "accepted"]);
    assert_eq!(fresh(&steps), [true, false, false]);
    assert!(steps[1].writes.is_empty() && steps[1].gas < 100_000 && steps[1].gas > 1_000);
    assert_eq!((count(&steps[0]), count(&steps[2])), (1, 2));
}

#[test]
fn a_verdict_is_given_once_in_the_contract_s_letters() {
    let done = |accepted: i32, at: u32, len: u32| {
        format!("(call $done (i32.const {accepted}) (i32.const {at}) (i32.const {len})) (br $next_event)")
    };
    fails_alone("(call $accept)", "bad_output");
    fails_alone(&done(0, 1072, 0), "bad_output");
    // 33 bytes, then letters that are none.
    fails_alone(&done(0, 1024, 33), "bad_output");
    fails_alone(&done(0, 1040, 2), "bad_output");
    fails_alone(&done(1, 1072, 8), "bad_output");
    fails_alone(&done(2, 0, 0), "bad_output");
    fails_alone(&done(-1, 0, 0), "bad_output");
    fails_alone(&done(0, 262_140, 8), "trapped");
}

#[test]
fn a_broken_loop_ends_its_event_alone() {
    fails_alone("(call $next (i32.const 16))", "bad_output");
    fails_alone("(return)", "bad_output");
    fails_alone("(unreachable)", "trapped");
    // Decided is decided.
    fails_alone(
        "(call $accept) (call $kv_set (i32.const 1104) (i32.const 4) (i32.const 0) (i32.const 0)) (br $next_event)",
        "trapped",
    );
    // What comes after `done` is still this event's.
    fails_alone("(call $accept) (loop $l (br $l))", "out_of_gas");
    fails_alone("(call $accept) (unreachable)", "trapped");
}

#[test]
fn a_guest_that_asks_for_nothing_or_leaves_early_accepts_nothing() {
    always(&guest("(func (export \"run\"))"), "bad_output");
    always(&guest("(func (export \"run\") (loop $l (br $l)))"), "out_of_gas");
    always(&guest("(func (export \"run\") (call $next (i32.const 16)) (call $accept))"), "bad_output");
    always(&guest("(func (export \"run\") (call $accept))"), "bad_output");
    always(
        &guest("(func (export \"run\") (call $kv_set (i32.const 1104) (i32.const 4) (i32.const 0) (i32.const 0)))"),
        "trapped",
    );
}

#[test]
fn what_a_guest_does_after_the_last_event_is_nobody_s() {
    for after in ["(call $next (i32.const 16))", "(unreachable)", "(loop $l (br $l))", "(call $accept)"] {
        let wasm = guest(&format!(
            "(func (export \"run\")
               (loop $next_event
                 (call $next (i32.const 16))
                 (if (i32.load (i32.const 16)) (then (call $add_to_count) (call $accept) (br $next_event))))
               {after})"
        ));
        let steps = steps_of(&wasm, 3);
        assert_eq!(codes(&steps), ["accepted"; 3], "{after}");
        assert_eq!(count(&steps[2]), 3, "{after}");
    }
}

#[test]
fn a_pointer_that_leaves_the_memory_traps() {
    // Four pages end at 262,144.
    for lie in [
        "(call $kv_get (i32.const 262143) (i32.const 2) (i32.const 64))",
        "(call $kv_get (i32.const 1024) (i32.const 7) (i32.const 262133))",
        "(call $kv_get (i32.const 1024) (i32.const -1) (i32.const 64))",
        "(call $kv_get (i32.const -1) (i32.const -1) (i32.const 64))",
        "(call $kv_get_many (i32.const 262141) (i32.const 4) (i32.const 64))",
        "(call $kv_set (i32.const 1024) (i32.const 7) (i32.const 0) (i32.const -1))",
        "(call $kv_set (i32.const 1024) (i32.const 7) (i32.const 262144) (i32.const 1))",
        "(call $kv_delete (i32.const -7) (i32.const 7))",
        "(call $kv_range (i32.const 0) (i32.const -1) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 64))",
        "(call $emit (i32.const 1048) (i32.const 10) (i32.const 262143) (i32.const 2))",
        "(call $effect (i32.const 1064) (i32.const 4) (i32.const 262144) (i32.const 1) (i32.const 1040) (i32.const 2))",
        "(call $sha256 (i32.const 0) (i32.const 262145) (i32.const 64))",
        "(call $sha256 (i32.const 0) (i32.const 8) (i32.const 262113))",
        "(call $blake3 (i32.const 0) (i32.const 8) (i32.const -32))",
        "(drop (call $verify (i32.const 262113) (i32.const 0) (i32.const 0) (i32.const 0)))",
        "(drop (call $verify (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 262081)))",
        "(call $id (i32.const 1024) (i32.const 4) (i32.const 262113))",
        "(call $log (i32.const 1) (i32.const 262144) (i32.const 1))",
        "(i32.store (i32.const 262141) (i32.const 1))",
    ] {
        fails_alone(lie, "trapped");
    }
    // To the last byte is inside.
    passes("(call $sha256 (i32.const 0) (i32.const 262144) (i32.const 262112))");
    passes("(call $kv_get (i32.const 1024) (i32.const 7) (i32.const 262132))");
}

#[test]
fn lists_of_keys_are_read_strictly() {
    let many = |bytes: u32| format!("(call $kv_get_many (i32.const 4096) (i32.const {bytes}) (i32.const 64))");
    passes(&many(0));
    // Half a length; a length without its bytes; an empty key.
    fails_alone(&many(3), "bad_output");
    fails_alone(&format!("(i32.store (i32.const 4096) (i32.const 9)) {}", many(8)), "bad_output");
    fails_alone(&format!("(i32.store (i32.const 4096) (i32.const -1)) {}", many(8)), "bad_output");
    fails_alone(&many(4), "limit(key_bytes)");
}

#[test]
fn an_allocator_that_lies_fails_its_own_events() {
    for (body, code) in [
        ("(i32.const -1)", "trapped"),
        ("(i32.const 262144)", "trapped"),
        ("(i32.sub (i32.const 262145) (local.get 3))", "trapped"),
        ("(unreachable)", "trapped"),
        ("(loop $l (br $l)) (i32.const 0)", "out_of_gas"),
        ("(call $recurse (i32.const 100000)) (i32.const 0)", "stack_exceeded"),
        ("(drop (memory.grow (i32.const 253))) (i32.const 0)", "memory_exceeded"),
        // No import may be called from there, not even a pure one.
        ("(call $sha256 (i32.const 0) (i32.const 0) (i32.const 64)) (i32.const 4096)", "trapped"),
        ("(call $next (i32.const 16)) (i32.const 4096)", "trapped"),
        ("(call $log (i32.const 1) (i32.const 0) (i32.const 0)) (i32.const 4096)", "trapped"),
    ] {
        let wasm = guest(&format!(
            "(func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) {body})
             (func (export \"run\")
               (loop $next_event
                 (call $next (i32.const 16))
                 (if (i32.load (i32.const 16)) (then (call $accept) (br $next_event)))))"
        ));
        always(&wasm, code);
    }
}

#[test]
fn endless_host_calls_and_bulk_storms_run_out_of_gas() {
    for call in [
        "(call $kv_get (i32.const 1024) (i32.const 7) (i32.const 64))",
        "(call $kv_delete (i32.const 1104) (i32.const 4))",
        "(call $sha256 (i32.const 0) (i32.const 0) (i32.const 64))",
        "(call $id (i32.const 1024) (i32.const 4) (i32.const 64))",
        "(drop (call $verify (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))",
        "(memory.fill (i32.const 8192) (i32.const 1) (i32.const 200000))",
        "(memory.copy (i32.const 8192) (i32.const 9000) (i32.const 200000))",
    ] {
        fails_alone(&format!("(loop $l {call} (br $l))"), "out_of_gas");
    }
    // The cheapest call meets the count of calls first.
    fails_alone("(loop $l (call $log (i32.const 1) (i32.const 0) (i32.const 0)) (br $l))", "limit(host_calls)");
    fails_alone("(loop $l (drop (memory.grow (i32.const 1))) (br $l))", "memory_exceeded");
    fails_alone("(loop $l (drop (memory.grow (i32.const 0))) (br $l))", "out_of_gas");
}

#[test]
fn two_hundred_greedy_instances_leave_room_for_the_next() {
    // Far more than the engine's pool has slots.
    let greedy = Trio::new(&looped("(drop (memory.grow (i32.const 252))) (unreachable)"), Limits::default());
    let steps = greedy.apply(events(200), &State::new(), Cuts::Live).unwrap();
    assert!(steps.iter().all(|step| step.code == OutcomeCode::Trapped && step.fresh));
    assert_eq!(codes(&steps_of(&looped("(call $add_to_count)"), 2)), ["accepted", "accepted"]);
}

#[test]
fn a_neighbour_s_steps_do_not_know_of_a_hostile_guest() {
    let good = Trio::new(&looped("(call $add_to_count)"), Limits::default());
    let alone = good.apply(events(5), &State::new(), Cuts::Live).unwrap();
    for work in [
        "(unreachable)",
        "(loop $l (br $l))",
        "(call $recurse (i32.const 100000))",
        "(drop (memory.grow (i32.const 253)))",
    ] {
        let hostile = Trio::new(&looped(work), Limits::default());
        assert!(hostile.apply(events(5), &State::new(), Cuts::Live).unwrap().iter().all(|step| step.code.is_failure()));
        assert_eq!(good.apply(events(5), &State::new(), Cuts::Live).unwrap(), alone, "{work}");
    }
}

fn init_of(body: &str) -> Chunk {
    let trio =
        Trio::new(&guest(&format!("(func (export \"init\") (param i32 i32) (result i32) {body})")), Limits::default());
    trio.each(
        |i| i.init(b"{}", empty()).expect("the host goes on"),
        |i| i.init(b"{}", empty()).expect("the host goes on"),
    )
}

#[test]
fn init_and_migrate_keep_what_they_wrote_only_if_they_finish() {
    let set = "(call $kv_set (i32.const 1104) (i32.const 4) (i32.const 0) (i32.const 3))";
    let done = "(call $done (i32.const 0) (i32.const 1072) (i32.const 8))";
    for (body, code, writes) in [
        (format!("{set} (i32.const 0)"), "accepted", 1),
        (format!("{set} {done} (i32.const 1)"), "rejected(no-stock)", 0),
        (format!("{set} (i32.const 1)"), "bad_output", 0),
        (format!("{set} {done} (i32.const 0)"), "bad_output", 0),
        (format!("{set} (i32.const 2)"), "bad_output", 0),
        (format!("{set} (call $accept) (i32.const 0)"), "bad_output", 0),
        (format!("{set} (loop $l (br $l)) (i32.const 0)"), "out_of_gas", 0),
        (format!("{set} (unreachable)"), "trapped", 0),
        (format!("{set} (call $next (i32.const 16)) (i32.const 0)"), "trapped", 0),
        (format!("{set} (call $id (i32.const 0) (i32.const 0) (i32.const 64)) (i32.const 0)"), "trapped", 0),
        (
            format!("{set} (call $emit (i32.const 1048) (i32.const 10) (i32.const 1040) (i32.const 2)) (i32.const 0)"),
            "trapped",
            0,
        ),
        (format!("{set} (call $recurse (i32.const 100000)) (i32.const 0)"), "stack_exceeded", 0),
    ] {
        let chunk = init_of(&body);
        assert_eq!((chunk.code.to_string().as_str(), chunk.writes.len(), chunk.again), (code, writes, false), "{body}");
    }
}

/// The end of a description, or of a query.
fn asked(export: &str, params: &str, body: &str) -> String {
    let trio = Trio::new(&guest(&format!("(func (export \"{export}\") {params} {body})")), Limits::default());
    let end = |found: Result<Vec<u8>, AskError>| match found {
        Ok(bytes) => format!("{} bytes", bytes.len()),
        Err(AskError::Guest(code)) => code.to_string(),
        Err(AskError::Manifest(_)) => "no manifest".to_owned(),
        Err(AskError::Host(error)) => panic!("{error}"),
    };
    if export == "query" {
        return trio.each(
            |i| end(i.query(b"{}", empty()).map(|(bytes, _)| bytes)),
            |i| end(i.query(b"{}", empty()).map(|(bytes, _)| bytes)),
        );
    }
    trio.each(|i| end(i.describe().map(|_| Vec::new())), |i| end(i.describe().map(|_| Vec::new())))
}

#[test]
fn a_query_changes_nothing_and_ends() {
    let query = |body: &str| asked("query", "(param i32 i32 i32)", body);
    let answer = |ptr: i32, len: i32| {
        format!("(i32.store (local.get 2) (i32.const {ptr})) (i32.store offset=4 (local.get 2) (i32.const {len}))")
    };
    assert_eq!(query(&answer(1_024, 7)), "7 bytes");
    assert_eq!(query(&answer(0, 262_144)), "262144 bytes");
    assert_eq!(query(&answer(1, 262_144)), "trapped");
    assert_eq!(query(&answer(0, 1_048_577)), "bad_output");
    assert_eq!(query(&answer(0, -1)), "bad_output");
    for call in [
        "(call $kv_set (i32.const 1104) (i32.const 4) (i32.const 0) (i32.const 0))",
        "(call $kv_delete (i32.const 1104) (i32.const 4))",
        "(call $emit (i32.const 1048) (i32.const 10) (i32.const 1040) (i32.const 2))",
        "(call $effect (i32.const 1064) (i32.const 4) (i32.const 1072) (i32.const 8) (i32.const 1040) (i32.const 2))",
        "(call $next (i32.const 16))",
        "(call $accept)",
        "(call $id (i32.const 0) (i32.const 0) (i32.const 64))",
    ] {
        assert_eq!(query(call), "trapped", "{call}");
    }
    assert_eq!(query("(loop $l (br $l))"), "out_of_gas");
}

#[test]
fn a_description_reads_nothing_and_ends() {
    let describe = |body: &str| asked("describe", "(param i32)", body);
    assert_eq!(
        describe("(i32.store (local.get 0) (i32.const 1040)) (i32.store offset=4 (local.get 0) (i32.const 2))"),
        "no manifest"
    );
    assert_eq!(describe("(call $kv_get (i32.const 1024) (i32.const 7) (i32.const 64))"), "trapped");
    assert_eq!(describe("(call $sha256 (i32.const 0) (i32.const 0) (i32.const 64))"), "trapped");
    assert_eq!(describe("(loop $l (br $l))"), "out_of_gas");
    assert_eq!(describe("(unreachable)"), "trapped");
}

struct Broken;

impl StateView for Broken {
    fn get(&self, _: &[u8]) -> Result<Option<Bytes>, StateError> {
        Err(StateError("disk".to_owned()))
    }

    fn range(&self, _: &[u8], _: Option<&[u8]>, _: usize, _: bool) -> Result<Vec<Row>, StateError> {
        Err(StateError("disk".to_owned()))
    }
}

#[test]
fn a_state_that_cannot_be_read_is_no_outcome() {
    let trio = Trio::new(&looped("(call $add_to_count)"), Limits::default());
    let end = trio.each(
        |i| i.apply(events(3), Arc::new(Broken), Cuts::Live).map_err(|error| format!("{error:?}")),
        |i| i.apply(events(3), Arc::new(Broken), Cuts::Live).map_err(|error| format!("{error:?}")),
    );
    assert!(end.unwrap_err().starts_with("State"));
}

#[test]
fn a_record_that_does_not_fit_what_happens_is_found() {
    let trio = Trio::new(&at_second("(unreachable)"), Limits::default());
    let steps: Vec<BindingStep> = trio.apply(events(4), &State::new(), Cuts::Live).unwrap();
    assert_eq!(fresh(&steps), [true, false, true, false]);
    assert_eq!(trio.apply(events(4), &State::new(), Cuts::Recorded(&fresh(&steps))).unwrap(), steps);
    // More cuts than happened give the same but for the marks; a cut that must be there and is not is found.
    let more = trio.apply(events(4), &State::new(), Cuts::Recorded(&[true, true, true, true])).unwrap();
    assert_eq!(codes(&more), codes(&steps));
    let found = trio.apply(events(4), &State::new(), Cuts::Recorded(&[true, false, false, false]));
    assert!(matches!(found, Err(HostError::Cut { index: 103 })), "{found:?}");
}

#[test]
fn the_stack_ends_at_the_same_depth_on_every_engine() {
    // A frame of `$recurse` costs 88; `run` has the first one, of one local and a few operands.
    let about = 65_536 / 88;
    let code = |depth: i32| {
        let wasm = looped(&format!("(call $recurse (i32.const {depth}))"));
        codes(&steps_of(&wasm, 1)).remove(0)
    };
    let ends: Vec<String> = (about - 5..=about + 1).map(code).collect();
    let passed = ends.iter().take_while(|code| *code == "accepted").count();
    assert!((1..ends.len()).contains(&passed), "{ends:?}");
    assert!(ends[passed..].iter().all(|code| code == "stack_exceeded"), "{ends:?}");
}

#[test]
fn the_counted_walls_stand_before_the_engine_s_own_at_the_largest_limits() {
    let mut wide = String::from("(func $wide (param i32) (local ");
    wide.push_str(&"i64 ".repeat(2_000));
    wide.push_str(") (call $wide (local.get 0)))");
    for (more, work, code) in [
        ("", "(call $recurse (i32.const 1000000))", "stack_exceeded"),
        ("(func $plain (call $plain))", "(call $plain)", "stack_exceeded"),
        (wide.as_str(), "(call $wide (i32.const 0))", "stack_exceeded"),
        ("", "(loop $l (br $l))", "out_of_gas"),
        ("", "(loop $l (br_if $l (i32.const 1)))", "out_of_gas"),
        ("(func $f)", "(loop $l (call $f) (br $l))", "out_of_gas"),
        ("(func $g (local i64 i64 i64 i64))", "(loop $l (call $g) (br $l))", "out_of_gas"),
        ("", "(loop $l (block (block (block (br_table 0 1 2 (i32.const 1))))) (br $l))", "out_of_gas"),
        ("", "(loop $l (if (i32.const 0) (then) (else (nop))) (br $l))", "out_of_gas"),
        ("", "(loop $l (memory.fill (i32.const 8192) (i32.const 1) (i32.const 7)) (br $l))", "out_of_gas"),
        ("", "(loop $l (drop (memory.grow (i32.const 0))) (br $l))", "out_of_gas"),
    ] {
        let limits = Limits { gas: Limits::CAPS.gas, stack_units: Limits::CAPS.stack_units, ..Limits::default() };
        let wasm = guest(&format!(
            "{more} (func (export \"run\") (local $i i32) (call $next (i32.const 16)) {work} (call $accept))"
        ));
        let steps = Trio::new(&wasm, limits).apply(events(1), &State::new(), Cuts::Live).unwrap();
        assert_eq!(codes(&steps), [code], "{work}");
    }
}

#[test]
fn the_largest_shape_that_validates_loads_and_runs() {
    let functions = "(func)".repeat(9_990);
    let named: String = (14..9_990).map(|function| format!("{function} ")).collect();
    let globals = "(global (mut i64) (i64.const 0))".repeat(1_000);
    let wasm = guest(&format!(
        "{globals} (table 16384 16384 funcref) (elem (i32.const 0) func {named}) {functions}
         (func (export \"run\")
           (loop $next_event
             (call $next (i32.const 16))
             (if (i32.load (i32.const 16)) (then (call $add_to_count) (call $accept) (br $next_event)))))"
    ));
    assert_eq!(codes(&steps_of(&wasm, 2)), ["accepted", "accepted"]);
}
