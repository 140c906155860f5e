//! Driving a native plugin: the same functions that a module exports, against [`Host`], with panics as traps.
//!
//! One host per thread is in reach of the imports while an export runs; it is put back before the call returns.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::host::{Host, Limits, Mode, Outcome, Stop, Verdict};
use super::record::TestEvent;
use crate::abi;
use crate::guest::Plugin;
use crate::json::Json;

/// What the imports throw to leave the guest.
pub(crate) struct Stopped(pub(crate) Stop);

/// A plugin on a host in memory.
#[derive(Debug)]
pub struct TestHost<P> {
    host: Host,
    applied: u64,
    plugin: PhantomData<P>,
}

impl<P: Plugin> Default for TestHost<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: Plugin> TestHost<P> {
    /// A plugin with an empty state; everything its manifest wishes is granted.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    /// The same with other limits.
    ///
    /// # Panics
    /// If the manifest is not canonical JSON.
    #[must_use]
    pub fn with_limits(limits: Limits) -> Self {
        let manifest = crate::describe::<P>();
        let json = Json::parse(&manifest).expect("a manifest is canonical JSON");
        let texts = |name: &str| -> Vec<String> {
            let list = json.get(name).into_iter().flat_map(Json::items);
            list.filter_map(|text| Some(text.text()?.to_string())).collect()
        };
        let host = Host::new(limits, texts("prefixes"), texts("capabilities"));
        Self { host, applied: 0, plugin: PhantomData }
    }

    /// The host: its state and every outcome so far.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The host, to prepare a state.
    pub fn host_mut(&mut self) -> &mut Host {
        &mut self.host
    }

    /// Calls `init`.
    ///
    /// # Errors
    /// The code of a refusal; empty if the plugin panicked.
    pub fn init(&mut self, config: &[u8]) -> Result<(), String> {
        self.lifecycle(|| crate::init::<P>(config)).map(drop)
    }

    /// Calls `migrate` until it is finished, and gives how many calls it took.
    ///
    /// # Errors
    /// The code of a refusal; empty if the plugin panicked.
    pub fn migrate(&mut self, from: u32, config: &[u8]) -> Result<u32, String> {
        let before = self.host.state.clone();
        let mut calls = 0;
        loop {
            calls += 1;
            match self.lifecycle(|| crate::migrate::<P>(from, config)) {
                Ok(0) => return Ok(calls),
                Ok(_) => {}
                Err(code) => {
                    self.host.state = before;
                    return Err(code);
                }
            }
        }
    }

    fn lifecycle(&mut self, call: impl FnOnce() -> u32) -> Result<u32, String> {
        self.host.enter(Mode::Lifecycle);
        let end = self.enter(call).unwrap_or(1);
        self.host.close_lifecycle(end != 1).map(|()| end)
    }

    /// Applies events, numbered on from the last one; gives their outcomes.
    pub fn apply(&mut self, events: impl IntoIterator<Item = TestEvent>) -> Vec<Outcome> {
        let before = self.host.outcomes.len();
        for mut event in events {
            event.index = self.applied;
            event.sequence = self.applied + 1;
            event.sequenced_at = 1_700_000_000_000_000 + self.applied * 1_000;
            self.applied += 1;
            self.host.push(event.record());
        }
        self.run();
        self.host.outcomes[before..].to_vec()
    }

    /// Applies one event.
    pub fn apply_one(&mut self, event: TestEvent) -> Outcome {
        let mut outcomes = self.apply([event]);
        outcomes.pop().expect("every event has an outcome")
    }

    /// Enters `run` until no event waits; a stopped guest loses its event and is entered anew.
    pub fn run(&mut self) {
        while self.host.has_waiting() {
            self.host.enter(Mode::Run);
            match self.enter(crate::run::<P>) {
                Ok(()) => self.host.returned(),
                Err(verdict) => self.host.abort(verdict),
            }
        }
    }

    /// Calls `query`.
    ///
    /// # Panics
    /// If the plugin panicked or made a call that a query may not make.
    #[must_use]
    pub fn query(&mut self, request: &[u8]) -> Vec<u8> {
        self.host.enter(Mode::Query);
        self.enter(|| crate::query::<P>(request)).expect("a query does not stop")
    }

    /// Puts the host in reach, calls, and takes the host back.
    fn enter<T>(&mut self, call: impl FnOnce() -> T) -> Result<T, Verdict> {
        let empty = Host::new(Limits::default(), Vec::new(), Vec::new());
        abi::with(|slot| *slot = Some(core::mem::replace(&mut self.host, empty)));
        let end = catch_unwind(AssertUnwindSafe(call));
        if let Some(host) = abi::with(Option::take) {
            self.host = host;
        }
        end.map_err(|panic: Box<dyn core::any::Any + Send>| {
            panic.downcast_ref::<Stopped>().map_or(Verdict::Trapped, |stopped| stopped.0.into())
        })
    }
}
