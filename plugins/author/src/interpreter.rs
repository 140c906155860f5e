//! The interpreter as a second engine: wasmi. Nothing of the host's own but its ABI decides here, so where it agrees with
//! the compiler, an auditor without one agrees too.

use std::sync::Arc;

use tally_plugin_host::abi::v1::{self, Answer, Entry, Guest};
use tally_plugin_host::abi::{EXPORT_MEMORY, GAS_GLOBAL, IMPORT_MODULE, STACK_GLOBAL};
use tally_plugin_host::error::HostError;
use tally_plugin_host::instance::Machine;
use tally_plugin_host::instrument::instrument;
use tally_plugin_host::limits::Limits;
use tally_plugin_host::session::{Session, Stop};
use tally_plugin_host::validate::{validate, validate_again};
use tally_protocol::hash::{self, ModuleHash};
use wasmi::{
    AsContext, AsContextMut, Caller, Config, Engine, Error, Global, Instance, Linker, Memory, Module, Store, Val,
};

/// A module on the interpreter.
pub(crate) struct Interpreted {
    module: Module,
    hash: ModuleHash,
    linker: Arc<Linker<Room>>,
}

pub(crate) struct Room {
    session: Session,
    doors: Option<Doors>,
}

#[derive(Clone, Copy)]
struct Doors {
    instance: Instance,
    memory: Memory,
    gas: Global,
    stack: Global,
}

fn failed(error: impl core::fmt::Display) -> HostError {
    HostError::Engine(error.to_string())
}

fn missing() -> HostError {
    HostError::Engine("an export of the contract is missing".to_owned())
}

impl Interpreted {
    /// Validates, instruments, validates again, translates.
    pub(crate) fn new(wasm: &[u8], limits: &Limits) -> Result<Self, HostError> {
        let valid = validate(wasm, limits)?;
        let instrumented = instrument(&valid, limits)?;
        validate_again(&instrumented)?;
        let mut config = Config::default();
        // Far above the counted stack, which stands first.
        config.set_max_recursion_depth(100_000);
        config.set_max_stack_height(64 << 20);
        let engine = Engine::new(&config);
        let module = Module::new(&engine, &instrumented).map_err(failed)?;
        let mut linker = Linker::new(&engine);
        link(&mut linker).map_err(failed)?;
        Ok(Self { module, hash: hash::module(wasm), linker: Arc::new(linker) })
    }

    fn open(&self, store: &mut Store<Room>) -> Result<Doors, HostError> {
        let instance = self.linker.instantiate_and_start(&mut *store, &self.module).map_err(failed)?;
        Ok(Doors {
            instance,
            memory: instance.get_memory(&*store, EXPORT_MEMORY).ok_or_else(missing)?,
            gas: instance.get_global(&*store, GAS_GLOBAL).ok_or_else(missing)?,
            stack: instance.get_global(&*store, STACK_GLOBAL).ok_or_else(missing)?,
        })
    }
}

impl Machine for Interpreted {
    fn module(&self) -> ModuleHash {
        self.hash
    }

    fn enter(&self, session: Session, entry: Entry<'_>) -> (Session, Result<Answer, Stop>) {
        let mut store = Store::new(self.module.engine(), Room { session, doors: None });
        let answer = match self.open(&mut store) {
            Ok(doors) => {
                store.data_mut().doors = Some(doors);
                v1::enter(&mut Inner { context: &mut store, doors }, entry)
            }
            Err(error) => Err(Stop::Host(error)),
        };
        (store.into_data().session, answer)
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
        let Some(function) = self.doors.instance.get_func(self.context.as_context(), export) else {
            return Err(Stop::Host(missing()));
        };
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
            None => Stop::Host(failed(error)),
        }
    }
}

type C<'c> = Caller<'c, Room>;

fn within<R>(mut caller: C<'_>, function: impl FnOnce(&mut Inner<'_, C<'_>>) -> Result<R, Stop>) -> Result<R, Error> {
    let Some(doors) = caller.data().doors else {
        return Err(Error::new("a host call before the instance"));
    };
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
