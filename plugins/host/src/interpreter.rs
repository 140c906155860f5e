//! A second engine, by other people: wasmi, an interpreter. Slow, small, and what an auditor may believe who does not
//! believe a compiler.
//!
//! Takes what [`Engine`](crate::engine::Engine) takes and gives the same outcomes, which the tests hold; it is the only
//! room of wasmi. Gas and stack are counted by the injected code, as everywhere; behind them stands wasmi's own stack,
//! wide enough that the counted one ends first, and if it does not, the host stops rather than decides.

use std::sync::Arc;

use tally_protocol::hash::{self, ModuleHash};
use wasmi::{
    AsContext, AsContextMut, Caller, Config, Engine, Error, Global, Instance, Linker, Memory, Module, Store, Val,
};

use crate::abi::v1::{self, Answer, Entry, Guest};
use crate::abi::{EXPORT_MEMORY, GAS_GLOBAL, IMPORT_MODULE, STACK_GLOBAL};
use crate::error::HostError;
use crate::instance::Machine;
use crate::instrument::instrument;
use crate::limits::Limits;
use crate::registry::Loader;
use crate::session::{Session, Stop};
use crate::validate::{validate, validate_again};

/// Calls within calls, and bytes of values: more than the largest counted stack.
const RECURSION_MAX: usize = 100_000;
const STACK_BYTES_MAX: usize = 64 << 20;

/// The interpreter.
#[derive(Clone)]
pub struct Interpreter {
    engine: Engine,
    linker: Arc<Linker<Room>>,
}

impl Interpreter {
    /// An interpreter.
    ///
    /// # Errors
    /// A function of the ABI is linked twice: a bug.
    pub fn new() -> Result<Self, HostError> {
        let mut config = Config::default();
        config.set_max_recursion_depth(RECURSION_MAX);
        config.set_max_stack_height(STACK_BYTES_MAX);
        let engine = Engine::new(&config);
        let mut linker = Linker::new(&engine);
        link(&mut linker).map_err(|error| HostError::Engine(error.to_string()))?;
        Ok(Self { engine, linker: Arc::new(linker) })
    }
}

impl Loader for Interpreter {
    type Machine = Interpreted;

    fn load(&self, wasm: &[u8], limits: &Limits) -> Result<Interpreted, HostError> {
        let valid = validate(wasm, limits)?;
        let instrumented = instrument(&valid, limits)?;
        validate_again(&instrumented)?;
        let module = Module::new(&self.engine, &instrumented).map_err(|error| engine_failed(&error))?;
        Ok(Interpreted { module, hash: hash::module(wasm), linker: Arc::clone(&self.linker) })
    }
}

/// A module on the interpreter.
#[derive(Clone)]
pub struct Interpreted {
    module: Module,
    hash: ModuleHash,
    linker: Arc<Linker<Room>>,
}

struct Room {
    session: Session,
    doors: Option<Doors>,
}

fn engine_failed(error: &Error) -> HostError {
    HostError::Engine(error.to_string())
}

fn missing() -> Stop {
    Stop::Host(HostError::Engine("an export of the contract is missing".to_owned()))
}

#[derive(Clone, Copy)]
struct Doors {
    instance: Instance,
    memory: Memory,
    gas: Global,
    stack: Global,
}

impl Machine for Interpreted {
    fn module(&self) -> ModuleHash {
        self.hash
    }

    fn enter(&self, session: Session, entry: Entry<'_>) -> (Session, Result<Answer, Stop>) {
        let mut store = Store::new(self.module.engine(), Room { session, doors: None });
        let answer = self.enter_store(&mut store, entry);
        (store.into_data().session, answer)
    }
}

impl Interpreted {
    fn enter_store(&self, store: &mut Store<Room>, entry: Entry<'_>) -> Result<Answer, Stop> {
        let failed = |error: Error| Stop::Host(engine_failed(&error));
        // A module of this profile runs no code and can fail no check while it is instantiated.
        let instance = self.linker.instantiate_and_start(&mut *store, &self.module).map_err(failed)?;
        let doors = Doors {
            instance,
            memory: instance.get_memory(&*store, EXPORT_MEMORY).ok_or_else(missing)?,
            gas: instance.get_global(&*store, GAS_GLOBAL).ok_or_else(missing)?,
            stack: instance.get_global(&*store, STACK_GLOBAL).ok_or_else(missing)?,
        };
        store.data_mut().doors = Some(doors);
        v1::enter(&mut Inner { context: store, doors }, entry)
    }
}

struct Inner<'c, C> {
    context: &'c mut C,
    doors: Doors,
}

impl<C: AsContextMut<Data = Room>> Guest for Inner<'_, C> {
    fn split(&mut self) -> (&mut [u8], &mut Session) {
        let (memory, room) = self.doors.memory.data_and_store_mut(&mut *self.context);
        (memory, &mut room.session)
    }

    fn gas(&mut self) -> i64 {
        self.doors.gas.get(self.context.as_context()).i64().unwrap_or(-1)
    }

    fn set_gas(&mut self, gas: i64) {
        // A mutable i64 of this store: the instrumenter made it.
        let set = self.doors.gas.set(&mut *self.context, Val::I64(gas));
        debug_assert!(set.is_ok());
    }

    fn refill(&mut self, gas: i64) -> Result<(), Stop> {
        self.set_gas(gas);
        Ok(())
    }

    fn set_stack(&mut self, units: i32) {
        let set = self.doors.stack.set(&mut *self.context, Val::I32(units));
        debug_assert!(set.is_ok());
    }

    fn allocate(&mut self, align: i32, bytes: i32) -> Result<i32, Stop> {
        self.call("cabi_realloc", &[0, 0, align, bytes])
    }

    fn call(&mut self, export: &'static str, args: &[i32]) -> Result<i32, Stop> {
        let function = self.doors.instance.get_func(self.context.as_context(), export).ok_or_else(missing)?;
        let mut results = vec![Val::I32(0); function.ty(self.context.as_context()).results().len()];
        let args: Vec<Val> = args.iter().map(|arg| Val::I32(*arg)).collect();
        match function.call(&mut *self.context, &args, &mut results) {
            Ok(()) => Ok(results.first().and_then(Val::i32).unwrap_or(0)),
            Err(error) => Err(self.why(&error)),
        }
    }
}

impl<C: AsContextMut<Data = Room>> Inner<'_, C> {
    fn why(&mut self, error: &Error) -> Stop {
        if let Some(stop) = self.session().take_stop() {
            return stop;
        }
        let stack = self.doors.stack.get(self.context.as_context()).i32().unwrap_or(-1);
        match error.as_trap_code() {
            Some(wasmi::TrapCode::StackOverflow) => Stop::Host(HostError::SecondWall("interpreter's stack")),
            Some(_) => Stop::Code(v1::trapped(self.gas(), stack)),
            None => Stop::Host(HostError::Engine(error.to_string())),
        }
    }
}

type C<'c> = Caller<'c, Room>;

fn within<R>(mut caller: C<'_>, function: impl FnOnce(&mut Inner<'_, C<'_>>) -> Result<R, Stop>) -> Result<R, Error> {
    let Some(doors) = caller.data().doors else {
        return Err(Error::new("a host call before the instance"));
    };
    // The caller's own lifetime is invariant; the guest only lives for this call.
    let mut inner = Inner { context: &mut caller, doors };
    function(&mut inner).map_err(|stop| {
        inner.session().leave_stop(stop);
        Error::new("stopped by the host")
    })
}

fn link(l: &mut Linker<Room>) -> Result<(), wasmi::errors::LinkerError> {
    let m = IMPORT_MODULE;
    l.func_wrap(m, "next", |c: C<'_>, ret: i32| within(c, |g| v1::next(g, ret)))?;
    l.func_wrap(m, "done", |c: C<'_>, a: i32, b: i32, d: i32| within(c, |g| v1::done(g, a, b, d)))?;
    l.func_wrap(m, "kv_get", |c: C<'_>, a: i32, b: i32, d: i32| within(c, |g| v1::kv_get(g, a, b, d)))?;
    l.func_wrap(m, "kv_get_many", |c: C<'_>, a: i32, b: i32, d: i32| within(c, |g| v1::kv_get_many(g, a, b, d)))?;
    l.func_wrap(m, "kv_set", |c: C<'_>, a: i32, b: i32, d: i32, e: i32| within(c, |g| v1::kv_set(g, a, b, d, e)))?;
    l.func_wrap(m, "kv_delete", |c: C<'_>, a: i32, b: i32| within(c, |g| v1::kv_delete(g, a, b)))?;
    l.func_wrap(m, "kv_range", |c: C<'_>, a: i32, b: i32, d: i32, e: i32, limit: i32, reverse: i32, ret: i32| {
        within(c, |g| v1::kv_range(g, [a, b, d, e], limit, reverse, ret))
    })?;
    l.func_wrap(m, "emit", |c: C<'_>, a: i32, b: i32, d: i32, e: i32| within(c, |g| v1::emit(g, a, b, d, e)))?;
    l.func_wrap(m, "effect", |c: C<'_>, a: i32, b: i32, d: i32, e: i32, f: i32, h: i32| {
        within(c, |g| v1::effect(g, [a, b, d, e, f, h]))
    })?;
    l.func_wrap(m, "sha256", |c: C<'_>, a: i32, b: i32, d: i32| within(c, |g| v1::digest_sha256(g, a, b, d)))?;
    l.func_wrap(m, "blake3", |c: C<'_>, a: i32, b: i32, d: i32| within(c, |g| v1::digest_b3(g, a, b, d)))?;
    l.func_wrap(m, "ed25519_verify", |c: C<'_>, a: i32, b: i32, d: i32, e: i32| {
        within(c, |g| v1::ed25519_verify(g, a, b, d, e))
    })?;
    l.func_wrap(m, "id", |c: C<'_>, a: i32, b: i32, d: i32| within(c, |g| v1::id(g, a, b, d)))?;
    l.func_wrap(m, "log", |c: C<'_>, a: i32, b: i32, d: i32| within(c, |g| v1::log(g, a, b, d)))?;
    Ok(())
}
