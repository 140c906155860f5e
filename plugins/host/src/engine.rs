//! The one room of wasmtime: how it is configured, how a module is compiled, how the host functions are linked.
//!
//! Takes bytes an author shipped and a profile; gives a [`Program`] that runs any number of instances, each in a store of
//! its own from the pool. Everything the profile leaves out is off here a second time. Fuel and native stack are a second wall:
//! they are wide enough that the counted ones stand first, and if they do not, the host stops rather than decides.
//! So it is with time: no clock is read here, but a node that has one calls [`Ticker::tick`] evenly, and a guest that one
//! event or call keeps busy for [`DEADLINE_TICKS`] of them stops the host. Time never decides an outcome.

use std::sync::Arc;

use tally_protocol::hash::{self, ModuleHash};
use wasmtime::{
    AsContextMut, Caller, Config, Engine as Wasmtime, Error, Extern, Global, InstanceAllocationStrategy, InstancePre,
    Linker, Memory, Module, OptLevel, PoolingAllocationConfig, ResourceLimiter, Store, Strategy, Trap, TypedFunc, Val,
    WasmFeatures,
};

use crate::abi::v1::{self, Answer, Entry, Guest};
use crate::abi::{EXPORT_MEMORY, GAS_GLOBAL, IMPORT_MODULE, STACK_GLOBAL};
use crate::error::HostError;
use crate::instance::Machine;
use crate::instrument::instrument;
use crate::limits::{Limits, PAGE_BYTES, SHAPE};
use crate::session::{Session, Stop};
use crate::validate::{FEATURES, validate, validate_again};

/// Fuel behind each unit of gas. The injected code is counted too: the cheapest loop costs one gas and eleven fuel.
const FUEL_PER_GAS: u64 = 16;
/// Fuel beside that: entering a function before its first gas is taken.
const FUEL_SLACK: u64 = 10_000;
/// Native stack: eight times the largest counted stack.
const NATIVE_STACK_BYTES: usize = 1024 * 1024;

/// Ticks that one event, or one call of any other export, may last. A node ticks every 200 ms, so it is ten seconds: five
/// hundred times what the largest gas limit takes.
pub const DEADLINE_TICKS: u64 = 50;

/// How code is compiled. Makes no difference to any outcome, which a test holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Optimisation {
    /// For work.
    Speed,
    /// None: the quickest to compile, and another engine to compare with.
    None,
}

/// The engine: one for the process.
#[derive(Clone)]
pub struct Engine {
    wasmtime: Wasmtime,
    linker: Arc<Linker<Room>>,
    deadline_ticks: u64,
}

/// What the guard of wall time counts by. Whoever owns a clock holds one and calls it evenly, from a thread of its own:
/// an engine that nobody ticks for has no deadline.
#[derive(Clone)]
pub struct Ticker(Wasmtime);

impl Ticker {
    /// Time goes on.
    pub fn tick(&self) {
        self.0.increment_epoch();
    }
}

impl Engine {
    /// An engine with room for so many instances at once.
    ///
    /// # Errors
    /// The machine cannot give the pool.
    pub fn new(instances: u32, optimisation: Optimisation) -> Result<Self, HostError> {
        Self::with_deadline(instances, optimisation, DEADLINE_TICKS)
    }

    /// [`Engine::new`] with another deadline.
    ///
    /// # Errors
    /// As there.
    pub fn with_deadline(instances: u32, optimisation: Optimisation, deadline_ticks: u64) -> Result<Self, HostError> {
        let wasmtime = Wasmtime::new(&config(instances, optimisation)).map_err(engine)?;
        let mut linker = Linker::new(&wasmtime);
        link(&mut linker).map_err(engine)?;
        Ok(Self { wasmtime, linker: Arc::new(linker), deadline_ticks })
    }

    /// The hand of its clock.
    #[must_use]
    pub fn ticker(&self) -> Ticker {
        Ticker(self.wasmtime.clone())
    }

    /// Validates, instruments, validates again, compiles.
    ///
    /// # Errors
    /// The module may not run here, or the engine fails on it.
    pub fn load(&self, wasm: &[u8], limits: &Limits) -> Result<Program, HostError> {
        let valid = validate(wasm, limits)?;
        let instrumented = instrument(&valid, limits)?;
        validate_again(&instrumented)?;
        let module = Module::from_binary(&self.wasmtime, &instrumented).map_err(engine)?;
        let instance = self.linker.instantiate_pre(&module).map_err(engine)?;
        let (wasmtime, deadline_ticks) = (self.wasmtime.clone(), self.deadline_ticks);
        Ok(Program { wasmtime, instance, module: hash::module(wasm), deadline_ticks })
    }
}

/// Compiles a module as an engine for work would, and keeps nothing: without a pool, so that it runs in little memory.
///
/// # Errors
/// As [`Engine::load`].
pub(crate) fn compile_only(wasm: &[u8], limits: &Limits) -> Result<(), HostError> {
    let valid = validate(wasm, limits)?;
    let instrumented = instrument(&valid, limits)?;
    validate_again(&instrumented)?;
    let compiler = Wasmtime::new(&code_config(Optimisation::Speed)).map_err(engine)?;
    compiler.precompile_module(&instrumented).map(drop).map_err(engine)
}

fn config(instances: u32, optimisation: Optimisation) -> Config {
    let mut config = code_config(optimisation);
    let memory_bytes = usize::try_from(Limits::CAPS.memory_pages * PAGE_BYTES).unwrap_or(usize::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(instances);
    pool.total_memories(instances);
    pool.total_tables(instances);
    pool.max_memories_per_module(1);
    pool.max_tables_per_module(1);
    pool.max_memory_size(memory_bytes);
    pool.table_elements(usize::try_from(SHAPE.table_entries).unwrap_or(usize::MAX));
    // A reference for each function that a table can name, and the globals: the largest shape needs a third of it.
    pool.max_core_instance_size(1024 * 1024);
    // What a small guest touches stays mapped between instances; it is zeroed, not given back.
    pool.linear_memory_keep_resident(256 * 1024);
    pool.table_keep_resident(16 * 1024);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// What decides the code that is made.
fn code_config(optimisation: Optimisation) -> Config {
    let mut config = Config::new();
    config.strategy(Strategy::Cranelift);
    config.cranelift_opt_level(match optimisation {
        Optimisation::Speed => OptLevel::Speed,
        Optimisation::None => OptLevel::None,
    });
    config.cranelift_nan_canonicalization(true);
    config.wasm_features(WasmFeatures::all(), false);
    config.wasm_features(FEATURES, true);
    config.consume_fuel(true);
    config.epoch_interruption(true);
    config.max_wasm_stack(NATIVE_STACK_BYTES);
    config.memory_init_cow(true);
    config
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of `map_err`")]
fn engine(error: Error) -> HostError {
    HostError::Engine(format!("{error:?}"))
}

/// A compiled module.
#[derive(Clone)]
pub struct Program {
    wasmtime: Wasmtime,
    instance: InstancePre<Room>,
    module: ModuleHash,
    deadline_ticks: u64,
}

impl Machine for Program {
    fn module(&self) -> ModuleHash {
        self.module
    }

    fn enter(&self, session: Session, entry: Entry<'_>) -> (Session, Result<Answer, Stop>) {
        let deadline_ticks = self.deadline_ticks;
        let room = Room {
            session,
            doors: None,
            allocate: None,
            deadline_ticks,
            host_memory_failed: false,
            growth_allowed: false,
        };
        let mut store = Store::new(&self.wasmtime, room);
        store.limiter(|room| room);
        let answer = self.enter_store(&mut store, entry);
        (store.into_data().session, answer)
    }
}

impl Program {
    fn enter_store(&self, store: &mut Store<Room>, entry: Entry<'_>) -> Result<Answer, Stop> {
        let failed = |error| Stop::Host(engine(error));
        // A module of this profile runs no code and can fail no check while it is instantiated.
        store.set_fuel(FUEL_SLACK).map_err(failed)?;
        let instance = self.instance.instantiate(&mut *store).map_err(failed)?;
        let missing = || Stop::Host(HostError::Engine("an export of the contract is missing".to_owned()));
        let doors = Doors {
            memory: instance.get_memory(&mut *store, EXPORT_MEMORY).ok_or_else(missing)?,
            gas: instance.get_global(&mut *store, GAS_GLOBAL).ok_or_else(missing)?,
            stack: instance.get_global(&mut *store, STACK_GLOBAL).ok_or_else(missing)?,
        };
        let allocate = instance.get_typed_func(&mut *store, "cabi_realloc").map_err(failed)?;
        let room = store.data_mut();
        (room.doors, room.allocate) = (Some(doors), Some(allocate));
        let mut outside = Outside { store, instance, doors };
        v1::enter(&mut outside, entry)
    }
}

/// What a store holds: the guest's dealings, and the doors to its instance.
struct Room {
    session: Session,
    doors: Option<Doors>,
    /// Its allocator; lent while it runs.
    allocate: Option<Allocate>,
    deadline_ticks: u64,
    host_memory_failed: bool,
    growth_allowed: bool,
}

#[derive(Clone, Copy)]
struct Doors {
    memory: Memory,
    gas: Global,
    stack: Global,
}

type Allocate = TypedFunc<(i32, i32, i32, i32), i32>;

impl ResourceLimiter for Room {
    fn memory_growing(&mut self, _: usize, desired: usize, maximum: Option<usize>) -> Result<bool, Error> {
        self.growth_allowed = maximum.is_none_or(|maximum| desired <= maximum);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _: Error) -> Result<(), Error> {
        // Within the limit the host must give it: failing here would be an outcome that depends on the machine.
        self.host_memory_failed |= self.growth_allowed;
        if self.growth_allowed { Err(Error::msg("the host has no memory for a guest")) } else { Ok(()) }
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool, Error> {
        Ok(true)
    }
}

/// Why the engine gave up on a guest: the reason a host function left, else what the injected code left in the counters.
fn stopped(room: &mut Room, gas: i64, stack: i32, error: &Error) -> Stop {
    if let Some(stop) = room.session.take_stop() {
        return stop;
    }
    if room.host_memory_failed {
        return Stop::Host(HostError::HostMemory);
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => Stop::Host(HostError::SecondWall("fuel")),
        Some(Trap::StackOverflow) => Stop::Host(HostError::SecondWall("native stack")),
        Some(Trap::Interrupt) => Stop::Host(HostError::Deadline),
        Some(_) => Stop::Code(v1::trapped(gas, stack)),
        None => Stop::Host(HostError::Engine(format!("{error:?}"))),
    }
}

/// An instance, from outside.
struct Outside<'s> {
    store: &'s mut Store<Room>,
    instance: wasmtime::Instance,
    doors: Doors,
}

/// An instance, from inside a host function.
struct Inside<'c, 'i> {
    caller: &'c mut Caller<'i, Room>,
    doors: Doors,
}

macro_rules! common_doors {
    ($field:ident) => {
        fn split(&mut self) -> (&mut [u8], &mut Session) {
            let (memory, room) = self.doors.memory.data_and_store_mut(&mut *self.$field);
            (memory, &mut room.session)
        }

        fn session(&mut self) -> &mut Session {
            &mut self.$field.data_mut().session
        }

        fn gas(&mut self) -> i64 {
            self.doors.gas.get(&mut *self.$field).i64().unwrap_or(-1)
        }

        fn set_gas(&mut self, gas: i64) {
            // A mutable i64 of this store: the instrumenter made it.
            let set = self.doors.gas.set(&mut *self.$field, Val::I64(gas));
            debug_assert!(set.is_ok());
        }

        fn set_stack(&mut self, units: i32) {
            let set = self.doors.stack.set(&mut *self.$field, Val::I32(units));
            debug_assert!(set.is_ok());
        }

        fn refill(&mut self, gas: i64) -> Result<(), Stop> {
            self.set_gas(gas);
            let ticks = self.$field.data().deadline_ticks;
            self.$field.as_context_mut().set_epoch_deadline(ticks);
            let fuel = u64::try_from(gas).unwrap_or(0).saturating_mul(FUEL_PER_GAS).saturating_add(FUEL_SLACK);
            self.$field.set_fuel(fuel).map_err(|error| Stop::Host(engine(error)))
        }

        fn allocate(&mut self, align: i32, bytes: i32) -> Result<i32, Stop> {
            let Some(allocate) = self.$field.data_mut().allocate.take() else {
                return Err(Stop::Host(HostError::Engine("a host call before the instance".to_owned())));
            };
            let called = allocate.call(&mut *self.$field, (0, 0, align, bytes));
            self.$field.data_mut().allocate = Some(allocate);
            called.map_err(|error| self.why(&error))
        }
    };
}

impl Outside<'_> {
    fn why(&mut self, error: &Error) -> Stop {
        let (gas, stack) = (self.gas(), self.doors.stack.get(&mut *self.store).i32().unwrap_or(-1));
        stopped(self.store.data_mut(), gas, stack, error)
    }
}

impl Guest for Outside<'_> {
    common_doors!(store);

    fn call(&mut self, export: &'static str, args: &[i32]) -> Result<i32, Stop> {
        let Some(function) = self.instance.get_func(&mut *self.store, export) else {
            return Err(Stop::Host(HostError::Engine("an export of the contract is missing".to_owned())));
        };
        let args: Vec<Val> = args.iter().copied().map(Val::I32).collect();
        let mut results = vec![Val::I32(0); function.ty(&*self.store).results().len()];
        match function.call(&mut *self.store, &args, &mut results) {
            Ok(()) => Ok(results.first().and_then(Val::i32).unwrap_or(0)),
            Err(error) => Err(self.why(&error)),
        }
    }
}

impl Inside<'_, '_> {
    fn why(&mut self, error: &Error) -> Stop {
        let (gas, stack) = (self.gas(), self.doors.stack.get(&mut *self.caller).i32().unwrap_or(-1));
        stopped(self.caller.data_mut(), gas, stack, error)
    }
}

impl Guest for Inside<'_, '_> {
    common_doors!(caller);

    fn call(&mut self, export: &'static str, args: &[i32]) -> Result<i32, Stop> {
        let Some(Extern::Func(function)) = self.caller.get_export(export) else {
            return Err(Stop::Host(HostError::Engine("an export of the contract is missing".to_owned())));
        };
        let args: Vec<Val> = args.iter().copied().map(Val::I32).collect();
        let mut results = vec![Val::I32(0); function.ty(&*self.caller).results().len()];
        match function.call(&mut *self.caller, &args, &mut results) {
            Ok(()) => Ok(results.first().and_then(Val::i32).unwrap_or(0)),
            Err(error) => Err(self.why(&error)),
        }
    }
}

/// Runs a host function; a stop is left in the session, for who catches the trap.
fn within<R>(
    mut caller: Caller<'_, Room>,
    function: impl FnOnce(&mut Inside<'_, '_>) -> Result<R, Stop>,
) -> Result<R, Error> {
    let Some(doors) = caller.data().doors else {
        return Err(Error::msg("a host call before the instance"));
    };
    let mut inside = Inside { caller: &mut caller, doors };
    function(&mut inside).map_err(|stop| {
        inside.session().leave_stop(stop);
        Error::msg("stopped by the host")
    })
}

fn link(linker: &mut Linker<Room>) -> Result<(), Error> {
    type C<'c> = Caller<'c, Room>;
    let m = IMPORT_MODULE;
    linker.func_wrap(m, "next", |c: C<'_>, ret: i32| within(c, |g| v1::next(g, ret)))?;
    linker.func_wrap(m, "done", |c: C<'_>, ok: i32, p: i32, l: i32| within(c, |g| v1::done(g, ok, p, l)))?;
    linker.func_wrap(m, "kv_get", |c: C<'_>, p: i32, l: i32, ret: i32| within(c, |g| v1::kv_get(g, p, l, ret)))?;
    linker.func_wrap(m, "kv_get_many", |c: C<'_>, p: i32, l: i32, ret: i32| {
        within(c, |g| v1::kv_get_many(g, p, l, ret))
    })?;
    linker.func_wrap(m, "kv_set", |c: C<'_>, kp: i32, kl: i32, vp: i32, vl: i32| {
        within(c, |g| v1::kv_set(g, kp, kl, vp, vl))
    })?;
    linker.func_wrap(m, "kv_delete", |c: C<'_>, p: i32, l: i32| within(c, |g| v1::kv_delete(g, p, l)))?;
    linker.func_wrap(
        m,
        "kv_range",
        |c: C<'_>, sp: i32, sl: i32, ep: i32, el: i32, limit: i32, rev: i32, ret: i32| {
            within(c, |g| v1::kv_range(g, [sp, sl, ep, el], limit, rev, ret))
        },
    )?;
    linker.func_wrap(m, "emit", |c: C<'_>, tp: i32, tl: i32, bp: i32, bl: i32| {
        within(c, |g| v1::emit(g, tp, tl, bp, bl))
    })?;
    linker.func_wrap(m, "effect", |c: C<'_>, kp: i32, kl: i32, sp: i32, sl: i32, bp: i32, bl: i32| {
        within(c, |g| v1::effect(g, [kp, kl, sp, sl, bp, bl]))
    })?;
    linker
        .func_wrap(m, "sha256", |c: C<'_>, p: i32, l: i32, out: i32| within(c, |g| v1::digest_sha256(g, p, l, out)))?;
    linker.func_wrap(m, "blake3", |c: C<'_>, p: i32, l: i32, out: i32| within(c, |g| v1::digest_b3(g, p, l, out)))?;
    linker.func_wrap(m, "ed25519_verify", |c: C<'_>, key: i32, p: i32, l: i32, sig: i32| {
        within(c, |g| v1::ed25519_verify(g, key, p, l, sig))
    })?;
    linker.func_wrap(m, "id", |c: C<'_>, p: i32, l: i32, out: i32| within(c, |g| v1::id(g, p, l, out)))?;
    linker.func_wrap(m, "log", |c: C<'_>, level: i32, p: i32, l: i32| within(c, |g| v1::log(g, level, p, l)))?;
    Ok(())
}
