//! A module in wasmi: the flat ABI of `sdk/plugin/wit/v1/abi.md`, glued to the host in memory.
//!
//! Takes a module's bytes and event records; gives the outcomes and the state that [`Host`] collects. An instance is
//! cut after a number of events that the caller chooses, and after every trap: no result may depend on it.

use tally_plugin::json::Json;
use tally_plugin::test_host::{Host, Limits, Mode, Stop, Verdict};
use wasmi::{Caller, Config, Engine, Error, Extern, Instance, Linker, Memory, Module, Store, TypedFunc};

/// The module that imports come from.
const IMPORTS: &str = "tally:plugin/host@1";

/// What a module must export, beside `memory`.
const EXPORTS: [&str; 6] = ["cabi_realloc", "describe", "init", "migrate", "query", "run"];

/// What linkers export unasked.
const LINKER_EXPORTS: [&str; 2] = ["__data_end", "__heap_base"];

/// Why a module cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The engine refuses it.
    #[error("failed to load the module: {0}")]
    Engine(#[from] Error),
    /// It imports from elsewhere.
    #[error("an import that is not the host's")]
    Import,
    /// It exports too much or too little.
    #[error("the exports are not those of the contract")]
    Export,
    /// `describe` gave no manifest.
    #[error("no manifest")]
    Manifest,
}

/// A stop on its way through the engine.
#[derive(Debug)]
struct Stopped(Stop);

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl wasmi::errors::HostError for Stopped {}

fn stop(stop: Stop) -> Error {
    Error::host(Stopped(stop))
}

/// What the imports work on.
struct Data {
    host: Host,
    /// Inside `cabi_realloc`, where no import may be called.
    placing: bool,
}

/// A module on a host in memory.
#[derive(Debug)]
pub struct ModuleHost {
    engine: Engine,
    module: Module,
    host: Host,
    manifest: Vec<u8>,
    events_per_instance: usize,
}

struct Live {
    store: Store<Data>,
    instance: Instance,
}

impl ModuleHost {
    /// Loads a module and asks who it is; everything it wishes is granted.
    ///
    /// # Errors
    /// The module is not one of the contract.
    pub fn load(wasm: &[u8], limits: Limits) -> Result<Self, LoadError> {
        let mut config = Config::default();
        config.floats(false).wasm_tail_call(false).wasm_multi_memory(false);
        let engine = Engine::new(&config);
        let module = Module::new(&engine, wasm)?;
        if module.imports().any(|import| import.module() != IMPORTS) {
            return Err(LoadError::Import);
        }
        let exports: Vec<&str> = module.exports().map(|export| export.name()).collect();
        let known = |name: &&str| *name == "memory" || EXPORTS.contains(name) || LINKER_EXPORTS.contains(name);
        if !exports.iter().all(known) || !EXPORTS.iter().all(|name| exports.contains(name)) {
            return Err(LoadError::Export);
        }
        let none = Host::new(limits, Vec::new(), Vec::new());
        let mut loaded = Self { engine, module, host: none, manifest: Vec::new(), events_per_instance: 4_096 };
        loaded.manifest = loaded.bytes_of(Mode::Describe, "describe", None)?;
        let json = Json::parse(&loaded.manifest).map_err(|_| LoadError::Manifest)?;
        let texts = |name: &str| -> Vec<String> {
            let list = json.get(name).into_iter().flat_map(Json::items);
            list.filter_map(|text| Some(text.text()?.into_owned())).collect()
        };
        loaded.host = Host::new(limits, texts("prefixes"), texts("capabilities"));
        Ok(loaded)
    }

    /// Cuts instances after so many events; at least one.
    #[must_use]
    pub fn cut_after(mut self, events: usize) -> Self {
        self.events_per_instance = events.max(1);
        self
    }

    /// What `describe` gave.
    #[must_use]
    pub fn manifest(&self) -> &[u8] {
        &self.manifest
    }

    /// State and outcomes.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The host, to prepare a state.
    pub fn host_mut(&mut self) -> &mut Host {
        &mut self.host
    }

    /// Applies records, in instances cut as chosen.
    ///
    /// # Errors
    /// The module cannot be instantiated.
    pub fn apply(&mut self, records: &[Vec<u8>]) -> Result<(), LoadError> {
        for chunk in records.chunks(self.events_per_instance) {
            chunk.iter().for_each(|record| self.host.push(record.clone()));
            while self.host.has_waiting() {
                let mut live = self.enter(Mode::Run)?;
                let run: TypedFunc<(), ()> = live.instance.get_typed_func(&live.store, "run")?;
                let end = run.call(&mut live.store, ());
                self.host = live.store.into_data().host;
                match end {
                    Ok(()) => self.host.returned(),
                    Err(error) => self.host.abort(verdict(&error)),
                }
            }
        }
        Ok(())
    }

    /// Calls `init`.
    ///
    /// # Errors
    /// The module cannot be instantiated; the inner error is the code of a refusal, empty after a trap.
    pub fn init(&mut self, config: &[u8]) -> Result<Result<(), String>, LoadError> {
        let mut live = self.enter(Mode::Lifecycle)?;
        let (at, len) = place(&mut live.store, &live.instance, config)?;
        let init: TypedFunc<(i32, i32), i32> = live.instance.get_typed_func(&live.store, "init")?;
        let end = init.call(&mut live.store, (at, len)).unwrap_or(1);
        self.host = live.store.into_data().host;
        Ok(self.host.close_lifecycle(end == 0))
    }

    /// Calls `migrate` until it is finished; gives how many calls it took.
    ///
    /// # Errors
    /// As [`ModuleHost::init`].
    pub fn migrate(&mut self, from: i32, config: &[u8]) -> Result<Result<u32, String>, LoadError> {
        let before = self.host.state.clone();
        for calls in 1.. {
            let mut live = self.enter(Mode::Lifecycle)?;
            let (at, len) = place(&mut live.store, &live.instance, config)?;
            let migrate: TypedFunc<(i32, i32, i32), i32> = live.instance.get_typed_func(&live.store, "migrate")?;
            let end = migrate.call(&mut live.store, (from, at, len)).unwrap_or(1);
            self.host = live.store.into_data().host;
            match (self.host.close_lifecycle(end == 0 || end == 2), end) {
                (Ok(()), 0) => return Ok(Ok(calls)),
                (Ok(()), _) => {}
                (Err(code), _) => {
                    self.host.state = before;
                    return Ok(Err(code));
                }
            }
        }
        Err(LoadError::Manifest)
    }

    /// Calls `query`.
    ///
    /// # Errors
    /// The module cannot be instantiated, or trapped.
    pub fn query(&mut self, request: &[u8]) -> Result<Vec<u8>, LoadError> {
        self.bytes_of(Mode::Query, "query", Some(request))
    }

    /// An export that gives bytes.
    fn bytes_of(&mut self, mode: Mode, name: &str, argument: Option<&[u8]>) -> Result<Vec<u8>, LoadError> {
        let mut live = self.enter(mode)?;
        let Live { store, instance } = &mut live;
        let ret = block(store, instance, 4, 8)?;
        if let Some(argument) = argument {
            let (at, len) = place(store, instance, argument)?;
            instance.get_typed_func::<(i32, i32, i32), ()>(&*store, name)?.call(&mut *store, (at, len, ret))?;
        } else {
            instance.get_typed_func::<i32, ()>(&*store, name)?.call(&mut *store, ret)?;
        }
        let memory = memory_of(store, instance)?;
        let pair = span(memory.data(&*store), ret, 8).map_err(stop)?;
        let word = |at: usize| pair.get(at..at + 4).and_then(|word| word.try_into().ok()).map_or(0, i32::from_le_bytes);
        let bytes = span(memory.data(&*store), word(0), word(4)).map_err(stop)?.to_vec();
        self.host = live.store.into_data().host;
        Ok(bytes)
    }

    /// A fresh instance that owns the host until it is taken back.
    fn enter(&mut self, mode: Mode) -> Result<Live, LoadError> {
        let mut host = self.host.clone();
        host.enter(mode);
        let mut store = Store::new(&self.engine, Data { host, placing: false });
        let mut linker = Linker::new(&self.engine);
        link(&mut linker)?;
        let instance = linker.instantiate_and_start(&mut store, &self.module)?;
        Ok(Live { store, instance })
    }
}

fn verdict(error: &Error) -> Verdict {
    error.downcast_ref::<Stopped>().map_or(Verdict::Trapped, |stopped| stopped.0.into())
}

fn memory_of(store: &Store<Data>, instance: &Instance) -> Result<Memory, LoadError> {
    instance.get_memory(store, "memory").ok_or(LoadError::Export)
}

/// A block from the guest's allocator.
fn block(store: &mut Store<Data>, instance: &Instance, align: i32, len: i32) -> Result<i32, LoadError> {
    let realloc: TypedFunc<(i32, i32, i32, i32), i32> = instance.get_typed_func(&*store, "cabi_realloc")?;
    Ok(realloc.call(store, (0, 0, align, len))?)
}

/// Hands bytes to the guest, before an export is called.
fn place(store: &mut Store<Data>, instance: &Instance, bytes: &[u8]) -> Result<(i32, i32), LoadError> {
    let len = i32::try_from(bytes.len()).map_err(|_| stop(Stop::Trap))?;
    if bytes.is_empty() {
        return Ok((1, 0));
    }
    let at = block(store, instance, 1, len)?;
    let memory = memory_of(store, instance)?;
    span_mut(memory.data_mut(store), at, len).map_err(stop)?.copy_from_slice(bytes);
    Ok((at, len))
}

fn bounds(memory: usize, at: i32, len: i32) -> Result<std::ops::Range<usize>, Stop> {
    let (at, len) = (at.cast_unsigned() as usize, len.cast_unsigned() as usize);
    let end = at.checked_add(len).filter(|end| *end <= memory).ok_or(Stop::Trap)?;
    Ok(at..end)
}

fn span(memory: &[u8], at: i32, len: i32) -> Result<&[u8], Stop> {
    Ok(&memory[bounds(memory.len(), at, len)?])
}

fn span_mut(memory: &mut [u8], at: i32, len: i32) -> Result<&mut [u8], Stop> {
    let range = bounds(memory.len(), at, len)?;
    Ok(&mut memory[range])
}

/// The caller's memory, if imports may be called now.
fn memory(caller: &Caller<'_, Data>) -> Result<Memory, Error> {
    if caller.data().placing {
        return Err(stop(Stop::Trap));
    }
    caller.get_export("memory").and_then(Extern::into_memory).ok_or_else(|| stop(Stop::Trap))
}

/// Calls the host with byte arguments from the guest's memory.
fn with<const N: usize, T>(
    caller: &mut Caller<'_, Data>,
    spans: [(i32, i32); N],
    call: impl FnOnce(&mut Host, [&[u8]; N]) -> Result<T, Stop>,
) -> Result<T, Error> {
    let memory = memory(caller)?;
    let (bytes, data) = memory.data_and_store_mut(caller);
    let mut arguments: [&[u8]; N] = [&[]; N];
    for (argument, (at, len)) in arguments.iter_mut().zip(spans) {
        *argument = span(bytes, at, len).map_err(stop)?;
    }
    call(&mut data.host, arguments).map_err(stop)
}

fn write(caller: &mut Caller<'_, Data>, at: i32, bytes: &[u8]) -> Result<(), Error> {
    let memory = memory(caller)?;
    let len = i32::try_from(bytes.len()).map_err(|_| stop(Stop::Trap))?;
    span_mut(memory.data_mut(caller), at, len).map_err(stop)?.copy_from_slice(bytes);
    Ok(())
}

/// Gives a result record, its bytes in a block of the guest's.
fn give(caller: &mut Caller<'_, Data>, ret: i32, present: u32, bytes: &[u8]) -> Result<(), Error> {
    let len = i32::try_from(bytes.len()).map_err(|_| stop(Stop::Trap))?;
    let mut at = i32::from(present != 0);
    if len > 0 {
        let realloc = caller.get_export("cabi_realloc").and_then(Extern::into_func).ok_or_else(|| stop(Stop::Trap))?;
        let realloc = realloc.typed::<(i32, i32, i32, i32), i32>(&*caller)?;
        caller.data_mut().placing = true;
        at = realloc.call(&mut *caller, (0, 0, 1, len))?;
        caller.data_mut().placing = false;
        write(caller, at, bytes)?;
    }
    let record = [present.to_le_bytes(), at.to_le_bytes(), len.to_le_bytes()].concat();
    write(caller, ret, &record)
}

type Call<'a> = Caller<'a, Data>;

fn link(linker: &mut Linker<Data>) -> Result<(), Error> {
    link_loop(linker)?;
    link_state(linker)?;
    link_wishes(linker)?;
    link_crypto(linker)
}

fn link_loop(linker: &mut Linker<Data>) -> Result<(), Error> {
    linker.func_wrap(IMPORTS, "next", |mut caller: Call<'_>, ret: i32| {
        let record = with(&mut caller, [], |host, []| host.next_record())?;
        give(&mut caller, ret, u32::from(record.is_some()), &record.unwrap_or_default())
    })?;
    linker.func_wrap(IMPORTS, "done", |mut caller: Call<'_>, accepted: i32, at: i32, len: i32| {
        with(&mut caller, [(at, len)], |host, [code]| host.done(accepted == 1, code))
    })?;
    linker.func_wrap(IMPORTS, "log", |mut caller: Call<'_>, level: i32, at: i32, len: i32| {
        with(&mut caller, [(at, len)], |host, [text]| {
            host.log(level.cast_unsigned(), text);
            Ok(())
        })
    })?;
    Ok(())
}

fn link_state(linker: &mut Linker<Data>) -> Result<(), Error> {
    linker.func_wrap(IMPORTS, "kv_get", |mut caller: Call<'_>, at: i32, len: i32, ret: i32| {
        let value = with(&mut caller, [(at, len)], |host, [key]| host.kv_get(key))?;
        give(&mut caller, ret, u32::from(value.is_some()), &value.unwrap_or_default())
    })?;
    linker.func_wrap(IMPORTS, "kv_get_many", |mut caller: Call<'_>, at: i32, len: i32, ret: i32| {
        let list = with(&mut caller, [(at, len)], |host, [keys]| host.kv_get_many(keys))?;
        give(&mut caller, ret, 1, &list)
    })?;
    linker.func_wrap(IMPORTS, "kv_set", |mut caller: Call<'_>, at: i32, len: i32, value: i32, value_len: i32| {
        with(&mut caller, [(at, len), (value, value_len)], |host, [key, value]| host.kv_put(key, Some(value)))
    })?;
    linker.func_wrap(IMPORTS, "kv_delete", |mut caller: Call<'_>, at: i32, len: i32| {
        with(&mut caller, [(at, len)], |host, [key]| host.kv_put(key, None))
    })?;
    linker.func_wrap(
        IMPORTS,
        "kv_range",
        |mut caller: Call<'_>,
         start: i32,
         start_len: i32,
         end: i32,
         end_len: i32,
         limit: i32,
         reverse: i32,
         ret: i32| {
            let spans = [(start, start_len), (end, end_len)];
            let (list, full) = with(&mut caller, spans, |host, [start, end]| {
                host.kv_range(start, end, limit.cast_unsigned(), reverse != 0)
            })?;
            give(&mut caller, ret, if full { 2 } else { 1 }, &list)
        },
    )?;
    Ok(())
}

fn link_wishes(linker: &mut Linker<Data>) -> Result<(), Error> {
    linker.func_wrap(IMPORTS, "emit", |mut caller: Call<'_>, at: i32, len: i32, body: i32, body_len: i32| {
        with(&mut caller, [(at, len), (body, body_len)], |host, [event_type, body]| host.emit(event_type, body))
    })?;
    linker.func_wrap(
        IMPORTS,
        "effect",
        |mut caller: Call<'_>, kind: i32, kind_len: i32, suffix: i32, suffix_len: i32, body: i32, body_len: i32| {
            let spans = [(kind, kind_len), (suffix, suffix_len), (body, body_len)];
            with(&mut caller, spans, |host, [kind, suffix, body]| host.effect(kind, suffix, body))
        },
    )?;
    linker.func_wrap(IMPORTS, "id", |mut caller: Call<'_>, at: i32, len: i32, out: i32| {
        let id = with(&mut caller, [(at, len)], |host, [label]| host.id(label))?;
        write(&mut caller, out, &id)
    })?;
    Ok(())
}

fn link_crypto(linker: &mut Linker<Data>) -> Result<(), Error> {
    linker.func_wrap(IMPORTS, "sha256", |mut caller: Call<'_>, at: i32, len: i32, out: i32| {
        let hash = with(&mut caller, [(at, len)], |host, [data]| host.sha256(data))?;
        write(&mut caller, out, &hash)
    })?;
    linker.func_wrap(IMPORTS, "blake3", |mut caller: Call<'_>, at: i32, len: i32, out: i32| {
        let hash = with(&mut caller, [(at, len)], |host, [data]| host.blake3(data))?;
        write(&mut caller, out, &hash)
    })?;
    linker.func_wrap(
        IMPORTS,
        "ed25519_verify",
        |mut caller: Call<'_>, key: i32, message: i32, len: i32, signature: i32| {
            with(&mut caller, [(key, 32), (message, len), (signature, 64)], |host, [key, message, signature]| {
                let (Ok(key), Ok(signature)) = (key.try_into(), signature.try_into()) else { return Err(Stop::Trap) };
                Ok(i32::from(host.ed25519_verify(key, message, signature)?))
            })
        },
    )?;
    Ok(())
}
