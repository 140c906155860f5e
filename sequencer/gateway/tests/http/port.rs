//! A port for the door's own behaviour: routing, limits, scopes, errors. It runs nothing; its state is that of the test's
//! follower, its other answers are what a test puts in.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use crate::common::follower::{Counting, counter};
use bytes::Bytes;
use serde_json::{Value, json};
use tally_gateway::plugins::{
    EffectInfo, LogLineInfo, PluginInfo, PluginPort, PluginPortError, PluginRoute, QueryAnswer, ReportInfo, StateRead,
};
use tally_protocol::hash::{self, ModuleHash, ReportHash};
use tally_protocol::id::{Index, PluginId, Stream, TreeSize};
use tally_protocol::release::Release;

/// What the port calls too large, as a validator would.
pub const REFUSED_MODULE: &[u8] = b"not wasm";

/// What a test answers to a request.
pub type Script = dyn Fn(&Value) -> Option<Value> + Send + Sync;

pub struct TestPort {
    counting: Arc<Counting>,
    pub modules: Mutex<BTreeMap<ModuleHash, Bytes>>,
    pub installed: Mutex<Vec<(Stream, PluginInfo)>>,
    pub effects: Mutex<Vec<EffectInfo>>,
    pub lines: Mutex<Vec<LogLineInfo>>,
    /// What queries were asked.
    pub asked: Mutex<Vec<Vec<u8>>>,
    /// What queries answer.
    pub answer: Mutex<Result<Vec<u8>, PluginPortError>>,
    /// What is answered instead, if it answers.
    pub script: Mutex<Option<Box<Script>>>,
    held: Mutex<bool>,
    released: Condvar,
    pub running: AtomicUsize,
}

pub fn route(name: &str, method: &str, path: &str, event: Option<&str>) -> PluginRoute {
    let own = str::to_owned;
    PluginRoute { name: own(name), method: own(method), path: own(path), event: event.map(own) }
}

pub fn plugin(id: PluginId, module: ModuleHash) -> PluginInfo {
    PluginInfo {
        plugin: id,
        status: "running",
        version: "1.2.3".to_owned(),
        module,
        installed: Index::new(7),
        record: json!({"binding": {"granted": []}}),
        routes: vec![
            route("count", "GET", "/count/{entity}", None),
            route("sneaky", "GET", "/sneaky", Some("order.created")),
            route("total", "GET", "/count/all", None),
            route("place", "POST", "/orders", Some("order.created")),
            route("change", "PUT", "/orders/{id}", Some("order.changed")),
        ],
    }
}

impl TestPort {
    pub fn new(counting: &Arc<Counting>) -> Arc<Self> {
        Arc::new(Self {
            counting: Arc::clone(counting),
            modules: Mutex::default(),
            installed: Mutex::default(),
            effects: Mutex::default(),
            lines: Mutex::default(),
            asked: Mutex::default(),
            answer: Mutex::new(Ok(br#"{"body":{"n":1},"status":200}"#.to_vec())),
            script: Mutex::default(),
            held: Mutex::new(false),
            released: Condvar::new(),
            running: AtomicUsize::new(0),
        })
    }

    pub fn install(&self, stream: Stream, module: ModuleHash) {
        self.installed.lock().unwrap().push((stream, plugin(counter(), module)));
    }

    pub fn answers(&self, answer: Result<&str, PluginPortError>) {
        *self.answer.lock().unwrap() = answer.map(|answer| answer.as_bytes().to_vec());
    }

    pub fn last_asked(&self) -> String {
        String::from_utf8(self.asked.lock().unwrap().last().unwrap().clone()).unwrap()
    }

    /// Queries run until they are released.
    pub fn hold(&self) {
        *self.held.lock().unwrap() = true;
    }

    pub fn release(&self) {
        *self.held.lock().unwrap() = false;
        self.released.notify_all();
    }

    fn applied(&self) -> TreeSize {
        self.counting.state().applied
    }
}

impl PluginPort for TestPort {
    fn put_module(&self, wasm: Bytes) -> Result<ModuleHash, PluginPortError> {
        if wasm == REFUSED_MODULE {
            return Err(PluginPortError::Refused("no magic number".to_owned()));
        }
        let hash = hash::module(&wasm);
        self.modules.lock().unwrap().insert(hash, wasm);
        Ok(hash)
    }

    fn module(&self, hash: ModuleHash) -> Result<Bytes, PluginPortError> {
        let found = self.modules.lock().unwrap().get(&hash).cloned();
        found.ok_or_else(|| PluginPortError::NotFound("no such module".to_owned()))
    }

    fn report(&self, release: &Release) -> Result<ReportInfo, PluginPortError> {
        let hash = ReportHash::from_bytes(*release.hash().as_bytes());
        Ok(ReportInfo { hash, blocking: 0, report: serde_json::json!({ "blocking": 0 }) })
    }

    fn plugins(&self, stream: &Stream) -> Result<(TreeSize, Vec<PluginInfo>), PluginPortError> {
        let installed = self.installed.lock().unwrap();
        let plugins = installed.iter().filter(|(of, _)| of == stream).map(|(_, plugin)| plugin.clone()).collect();
        Ok((self.applied(), plugins))
    }

    fn query(&self, _: &Stream, _: &PluginId, request: &[u8]) -> Result<QueryAnswer, PluginPortError> {
        self.running.fetch_add(1, Ordering::SeqCst);
        self.asked.lock().unwrap().push(request.to_vec());
        let held = self.held.lock().unwrap();
        drop(self.released.wait_while(held, |held| *held).unwrap());
        self.running.fetch_sub(1, Ordering::SeqCst);
        let scripted = self.script.lock().unwrap().as_ref().and_then(|script| {
            script(&serde_json::from_slice(request).unwrap()).map(|answer| answer.to_string().into_bytes())
        });
        let body = match scripted {
            Some(body) => body,
            None => self.answer.lock().unwrap().clone()?,
        };
        Ok(QueryAnswer { applied: self.applied(), body, logs: vec!["asked".to_owned()] })
    }

    fn state(&self, stream: &Stream, plugin: &PluginId, key: &[u8]) -> Result<StateRead, PluginPortError> {
        let state = self.counting.state();
        let (value, answer) = state.read(*stream, plugin, key);
        Ok(StateRead { applied: state.applied, root: state.root(), value, answer })
    }

    fn effects(&self, after: Option<(Index, u32)>, limit: usize) -> Result<Vec<EffectInfo>, PluginPortError> {
        let effects = self.effects.lock().unwrap();
        let behind = effects.iter().filter(|effect| after.is_none_or(|after| (effect.index, effect.number) > after));
        Ok(behind.take(limit).cloned().collect())
    }

    fn logs(
        &self,
        _: &Stream,
        _: &PluginId,
        after: Option<Index>,
        limit: usize,
    ) -> Result<Vec<LogLineInfo>, PluginPortError> {
        let lines = self.lines.lock().unwrap();
        let behind: Vec<_> = lines.iter().filter(|line| after.is_none_or(|after| line.index > after)).collect();
        Ok(behind[behind.len().saturating_sub(limit)..].iter().map(|line| (*line).clone()).collect())
    }
}
