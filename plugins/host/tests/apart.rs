//! Compiling apart: a child process compiles first, within bounds that the system holds.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod common;

use std::fmt::Write;

use common::host::{at_second, guest};
use tally_plugin_host::apart::{Apart, ApartError, Bounds, child};
use tally_plugin_host::engine::{Engine, Optimisation};
use tally_plugin_host::error::HostError;
use tally_plugin_host::limits::Limits;
use tally_plugin_host::registry::Loader;

/// What the parent starts: this test of this binary.
#[test]
#[ignore = "the child of the other tests"]
fn a_child_of_these_tests() {
    child(&mut std::io::stdin(), &mut std::io::stdout()).unwrap();
}

fn apart(bounds: Bounds) -> Apart {
    let program = std::env::current_exe().unwrap().into_os_string();
    let arguments = ["a_child_of_these_tests", "--exact", "--ignored", "--nocapture"].map(Into::into).to_vec();
    Apart::new(Engine::new(1, Optimisation::Speed).unwrap(), program, arguments, bounds)
}

/// Some hundred milliseconds of compiling.
fn large() -> Vec<u8> {
    let mut functions = String::new();
    for function in 0..10 {
        write!(functions, "(func $f{function} (param i32) (result i32) (local $a i32)").unwrap();
        for step in 0..1_000 {
            write!(
                functions,
                "(if (i32.and (local.get 0) (i32.const {step})) (then (local.set $a (i32.mul (local.get $a) (i32.const 7)))))"
            )
            .unwrap();
        }
        functions.push_str("(local.get $a))");
    }
    guest(&functions)
}

#[test]
fn what_a_child_compiles_is_compiled_here_and_what_the_validator_refuses_is_refused_as_everywhere() {
    // Machines of tests are busy; what is too long is for the next test.
    let apart = apart(Bounds { wall_ms: 120_000, cpu_seconds: 120, ..Bounds::DEFAULT });
    apart.try_compile(&at_second("(nop)"), &Limits::default()).unwrap();
    assert!(apart.load(&at_second("(nop)"), &Limits::default()).is_ok());
    assert!(apart.load(&large(), &Limits::default()).is_ok());
    // A fact of the module, which every host of the profile states.
    let greedy = Limits { memory_pages: 1, ..Limits::default() };
    assert!(matches!(apart.load(&at_second("(nop)"), &greedy), Err(HostError::Module(_))));
    assert!(matches!(apart.load(b"\0asm", &Limits::default()), Err(HostError::Module(_))));
}

#[test]
fn a_module_that_takes_too_long_is_killed_and_is_no_fact_of_the_module() {
    let (large, limits) = (large(), Limits::default());
    for bounds in [Bounds { wall_ms: 30, ..Bounds::DEFAULT }, Bounds { memory_bytes: 32 << 20, ..Bounds::DEFAULT }] {
        let apart = apart(bounds);
        assert!(matches!(apart.try_compile(&large, &limits), Err(ApartError::Stopped(_))), "{bounds:?}");
        // It halts, or is refused at the door; never an outcome.
        assert!(matches!(apart.load(&large, &limits), Err(HostError::Apart(ApartError::Stopped(_)))), "{bounds:?}");
    }
}

#[test]
fn a_child_that_cannot_be_run_or_says_nothing_compiles_nothing() {
    let (wasm, limits) = (at_second("(nop)"), Limits::default());
    for (program, arguments) in
        [("/nowhere/tally", vec![]), ("/bin/true", vec![]), ("/bin/echo", vec!["compiled".into()])]
    {
        let engine = Engine::new(1, Optimisation::Speed).unwrap();
        let apart = Apart::new(engine, program.into(), arguments, Bounds::DEFAULT);
        assert!(matches!(apart.load(&wasm, &limits), Err(HostError::Apart(_))), "{program}");
    }
}

#[test]
fn a_child_reads_no_more_than_a_module_may_have_and_answers_one_line() {
    let answer = |input: &[u8]| {
        let mut output = Vec::new();
        child(&mut &*input, &mut output).unwrap();
        String::from_utf8(output).unwrap()
    };
    assert_eq!(answer(b"short"), "tally-compile: the question is malformed\n");
    let mut input: Vec<u8> = Limits::default().entries().iter().flat_map(|(_, value)| value.to_be_bytes()).collect();
    let head = input.len();
    input.extend(at_second("(nop)"));
    assert_eq!(answer(&input), "tally-compile: compiled\n");
    input.truncate(head);
    input.resize(head + (1 << 20), 0);
    assert_eq!(answer(&input), "tally-compile: refused\n");
    input[..8].fill(0);
    assert_eq!(answer(&input), "tally-compile: no such limit: gas\n");
}
