//! Laws of the instrumenter, on an interpreter: with room enough nothing changes, and without it everything ends.

mod common;

use common::{generated, prepared, wat};
use tally_plugin_host::abi::{GAS_GLOBAL, STACK_GLOBAL};
use tally_plugin_host::gas::{BULK_SHIFT, GROW_PAGE, frame_units};
use tally_plugin_host::instrument::GAS_MEMORY_EXCEEDED;
use tally_plugin_host::limits::Limits;
use wasmi::{Config, Engine, Instance, Linker, Module, Store, Val};

/// What a call came to: results or none for a trap, the memory after it, and what is left of gas and stack.
#[derive(Debug, PartialEq, Eq)]
struct Ran {
    result: Option<Vec<i64>>,
    memory: Vec<u8>,
    gas: i64,
    stack: i32,
}

struct Guest {
    store: Store<()>,
    instance: Instance,
}

impl Guest {
    fn new(wasm: &[u8], fuel: u64) -> Self {
        let mut config = Config::default();
        config.consume_fuel(true);
        config.set_max_recursion_depth(100_000);
        config.set_max_stack_height(64 << 20);
        let engine = Engine::new(&config);
        let module = Module::new(&engine, wasm).expect("valid");
        let mut store = Store::new(&engine, ());
        store.set_fuel(fuel).expect("fuel is on");
        let instance = Linker::new(&engine).instantiate_and_start(&mut store, &module).expect("no imports");
        Self { store, instance }
    }

    fn counters(&mut self, gas: i64, stack: i32) {
        if let Some(global) = self.instance.get_global(&self.store, GAS_GLOBAL) {
            global.set(&mut self.store, Val::I64(gas)).expect("mutable");
            let global = self.instance.get_global(&self.store, STACK_GLOBAL).expect("both or none");
            global.set(&mut self.store, Val::I32(stack)).expect("mutable");
        }
    }

    fn call(&mut self, name: &str, args: &[i32]) -> Ran {
        let function = self.instance.get_func(&self.store, name).expect("exported");
        let mut results = vec![Val::I32(0); function.ty(&self.store).results().len()];
        let args: Vec<Val> = args.iter().map(|arg| Val::I32(*arg)).collect();
        let ok = function.call(&mut self.store, &args, &mut results).is_ok();
        let number = |value: &Val| match value {
            Val::I32(value) => i64::from(*value),
            Val::I64(value) => *value,
            _ => panic!("integers only"),
        };
        let memory = self.instance.get_memory(&self.store, "memory").expect("exported");
        let global = |name| self.instance.get_global(&self.store, name).map(|global| number(&global.get(&self.store)));
        Ran {
            result: ok.then(|| results.iter().map(number).collect()),
            memory: memory.data(&self.store).to_vec(),
            gas: global(GAS_GLOBAL).unwrap_or(0),
            stack: i32::try_from(global(STACK_GLOBAL).unwrap_or(0)).expect("an i32"),
        }
    }
}

const GAS: i64 = 5_000_000;
const STACK: i32 = 65_536;

fn run(wasm: &[u8], gas: i64, stack: i32, name: &str, args: &[i32]) -> Ran {
    let mut guest = Guest::new(wasm, u64::MAX);
    guest.counters(gas, stack);
    guest.call(name, args)
}

#[test]
fn with_room_enough_a_generated_module_does_what_it_did_before() {
    let limits = Limits::default();
    let (mut taken, mut ended, mut trapped) = (0, 0, 0);
    for seed in 0..2_000 {
        let Some(wasm) = generated(seed, &limits) else { continue };
        taken += 1;
        let instrumented = prepared(&wasm, &limits);
        for (name, args) in [
            ("migrate", &[3, -1, 7][..]),
            ("cabi_realloc", &[0, 5, 8, 100]),
            ("init", &[1, 2]),
            ("run", &[]),
            ("query", &[0, 65_535, 16]),
        ] {
            let counted = run(&instrumented, GAS, STACK, name, args);
            if counted.gas < 0 || counted.stack < 0 {
                continue;
            }
            let plain = {
                let mut guest = Guest::new(&wasm, 1_000_000_000);
                guest.call(name, args)
            };
            assert_eq!(counted.result, plain.result, "seed {seed}, {name}");
            assert_eq!(counted.memory, plain.memory, "seed {seed}, {name}");
            if counted.result.is_some() {
                assert_eq!(counted.stack, STACK, "every frame is given back: seed {seed}, {name}");
                ended += 1;
            } else {
                trapped += 1;
            }
        }
    }
    // Else the test would say nothing.
    assert!(taken > 300 && ended > 300 && trapped > 50, "{taken} modules, {ended} calls ended, {trapped} trapped");
}

#[test]
fn a_generated_module_ends_at_the_same_gas_whatever_the_gas_it_started_with() {
    let limits = Limits::default();
    for seed in 0..1_000 {
        let Some(wasm) = generated(seed, &limits) else { continue };
        let instrumented = prepared(&wasm, &limits);
        let full = run(&instrumented, GAS, STACK, "migrate", &[3, -1, 7]);
        if full.result.is_none() {
            continue;
        }
        let used = GAS - full.gas;
        let exact = run(&instrumented, used, STACK, "migrate", &[3, -1, 7]);
        assert_eq!((exact.gas, exact.result), (0, full.result), "seed {seed}");
        let short = run(&instrumented, used - 1, STACK, "migrate", &[3, -1, 7]);
        assert!(short.gas < 0 && short.result.is_none(), "seed {seed}");
    }
}

/// The gas of one call of `migrate`, with this function as it.
fn gas_of(body: &str) -> i64 {
    let wasm = wat(&format!("(func (export \"migrate\") (param i32 i32 i32) (result i32) {body})"));
    let ran = run(&prepared(&wasm, &Limits::default()), GAS, STACK, "migrate", &[5, 0, 0]);
    assert!(ran.result.is_some(), "{body}");
    GAS - ran.gas
}

#[test]
fn each_path_pays_for_what_it_runs() {
    // Entry 2, constant 1.
    assert_eq!(gas_of("(i32.const 1)"), 3);
    // A local costs one to zero.
    assert_eq!(gas_of("(local i32 i32 i64) (i32.const 1)"), 6);
    // Condition 1, if 1, and the arm that is taken.
    assert_eq!(gas_of("(if (result i32) (local.get 0) (then (i32.const 1)) (else (nop) (i32.const 2)))"), 5);
    assert_eq!(
        gas_of(
            "(if (result i32) (i32.eqz (local.get 0)) (then (unreachable)) (else (i32.div_u (i32.const 2) (i32.const 1))))"
        ),
        15
    );
    // What stands behind a branch that is taken costs nothing.
    assert_eq!(
        gas_of("(block (br_if 0 (local.get 0)) (drop (i64.div_u (i64.const 9) (i64.const 3)))) (i32.const 1)"),
        5
    );
    // Five turns of: get, const, sub, tee, br_if.
    assert_eq!(
        gas_of("(loop $l (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))) (i32.const 1)"),
        2 + 5 * 5 + 1
    );
    // A return leaves early and pays for no more than it ran.
    assert_eq!(gas_of("(if (local.get 0) (then (return (i32.const 1)))) (i32.div_u (i32.const 1) (i32.const 1))"), 6);
}

#[test]
fn bulk_operations_and_growth_pay_for_their_length() {
    let fill =
        |bytes: u32| gas_of(&format!("(memory.fill (i32.const 0) (i32.const 1) (i32.const {bytes})) (i32.const 1)"));
    assert_eq!(fill(65_536) - fill(0), 65_536 >> BULK_SHIFT);
    let copy =
        |bytes: u32| gas_of(&format!("(memory.copy (i32.const 0) (i32.const 8) (i32.const {bytes})) (i32.const 1)"));
    assert_eq!(copy(8_000) - copy(0), 1_000);
    let grow = |pages: u32| gas_of(&format!("(memory.grow (i32.const {pages}))"));
    assert_eq!(u64::try_from(grow(10) - grow(0)).unwrap(), 10 * GROW_PAGE);
}

#[test]
fn a_length_of_minus_one_runs_out_of_gas_before_it_runs() {
    for body in [
        "(memory.fill (i32.const 0) (i32.const 1) (i32.const -1)) (i32.const 1)",
        "(memory.copy (i32.const 0) (i32.const 1) (i32.const -1)) (i32.const 1)",
        "(memory.grow (i32.const -1))",
    ] {
        let wasm = wat(&format!("(func (export \"migrate\") (param i32 i32 i32) (result i32) {body})"));
        let ran = run(&prepared(&wasm, &Limits::default()), GAS, STACK, "migrate", &[5, 0, 0]);
        assert!(ran.result.is_none() && ran.gas < 0 && ran.gas != GAS_MEMORY_EXCEEDED, "{body}");
    }
}

#[test]
fn endless_loops_and_recursions_end() {
    for (body, by_stack) in [
        ("(func (export \"run\") (loop $l (br $l)))", false),
        ("(func (export \"run\") (loop $l (br_if $l (i32.const 1))))", false),
        ("(func (export \"run\") (loop $l (block (br_table $l $l (i32.const 0)))))", false),
        ("(func (export \"run\") (loop $l (call $f) (br $l))) (func $f)", false),
        ("(func $r (export \"run\") (call $r))", true),
        ("(func $r (export \"run\") (call $s)) (func $s (call $r))", true),
        (
            "(table 1 1 funcref) (elem (i32.const 0) $r) (type $t (func)) (func $r (export \"run\") (call_indirect (type $t) (i32.const 0)))",
            true,
        ),
        (
            "(func $f (param i64 i64) (result i32 i64) (local i64 i64 i64) (call $f (local.get 0) (i64.const 1))) (func (export \"run\") (call $f (i64.const 1) (i64.const 2)) (drop) (drop))",
            true,
        ),
    ] {
        let ran = run(&prepared(&wat(body), &Limits::default()), GAS, STACK, "run", &[]);
        assert_eq!(ran.result, None, "{body}");
        assert_eq!((ran.gas < 0, ran.stack < 0), (!by_stack, by_stack), "{body}");
    }
}

#[test]
fn a_frame_costs_its_locals_and_operands_and_the_depth_is_the_quotient() {
    // Counts its own depth in memory. Operands at most: two.
    let wasm = wat("(func $r (export \"run\") (local i64 i64)
           (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))) (call $r))");
    let ran = run(&prepared(&wasm, &Limits::default()), GAS, STACK, "run", &[]);
    let depth = u32::from_le_bytes(ran.memory[..4].try_into().unwrap());
    // The address, the loaded number, the constant: three operands; two locals.
    assert_eq!(depth, 65_536 / frame_units(2, 3));
    assert!(ran.stack < 0);
}

#[test]
fn memory_grows_to_the_limit_and_not_beyond() {
    let limits = Limits::default();
    let grow = |pages: u64| {
        let wasm = wat(&format!(
            "(func (export \"migrate\") (param i32 i32 i32) (result i32) (memory.grow (i32.const {pages})))"
        ));
        run(&prepared(&wasm, &limits), GAS, STACK, "migrate", &[0, 0, 0])
    };
    assert_eq!(grow(limits.memory_pages - 1).result, Some(vec![1]));
    let beyond = grow(limits.memory_pages);
    assert_eq!((beyond.result, beyond.gas), (None, GAS_MEMORY_EXCEEDED));
}

#[test]
fn instrumenting_twice_the_same_gives_the_same_bytes() {
    for seed in 0..200 {
        let Some(wasm) = generated(seed, &Limits::default()) else { continue };
        assert_eq!(prepared(&wasm, &Limits::default()), prepared(&wasm, &Limits::default()));
    }
}
