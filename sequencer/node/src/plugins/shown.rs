//! What is shown of plugins while events are applied: releases and bindings, the newest log lines, the size it is as of.
//!
//! The follower writes, whoever asks reads. Everything here is of the newest stored range: it changes when that is
//! stored, not when it is computed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tally_plugin_host::delta::{Line, Place};
use tally_plugin_host::registry::{Contract, Standing};
use tally_protocol::id::{Index, Stream, TreeSize};
use tally_protocol::plugin_life::PluginRegister;

/// A binding as it stands.
#[derive(Debug, Clone)]
pub(super) struct ShownBinding {
    pub(super) standing: Standing,
    /// None unless it ran since the node started.
    pub(super) contract: Option<Contract>,
}

/// Releases and bindings at one position of the log.
#[derive(Debug)]
pub(super) struct Bindings {
    pub(super) register: PluginRegister,
    /// By stream, in install order.
    pub(super) bound: BTreeMap<Stream, Vec<ShownBinding>>,
}

/// A line that a guest logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LoggedLine {
    pub(super) index: Index,
    pub(super) level: u8,
    pub(super) text: String,
}

#[derive(Default)]
struct Inner {
    bindings: Option<(TreeSize, Arc<Bindings>)>,
    logs: BTreeMap<Place, VecDeque<LoggedLine>>,
}

/// What is shown.
pub(super) struct Shown {
    inner: Mutex<Inner>,
    log_lines_max: usize,
}

impl Shown {
    pub(super) fn new(log_lines_max: usize) -> Self {
        Self { inner: Mutex::default(), log_lines_max }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Releases and bindings, with the size they are as of; none before the follower has started.
    pub(super) fn bindings(&self) -> Option<(TreeSize, Arc<Bindings>)> {
        self.lock().bindings.clone()
    }

    /// Everything below this size is stored. Without bindings they are as before.
    pub(super) fn show(&self, size: TreeSize, bindings: Option<Arc<Bindings>>, lines: Vec<Line>) {
        let mut inner = self.lock();
        let bindings = bindings.or_else(|| inner.bindings.take().map(|(_, bindings)| bindings));
        inner.bindings = bindings.map(|bindings| (size, bindings));
        for Line { index, stream, plugin, line } in lines {
            let ring = inner.logs.entry((stream, plugin)).or_default();
            if ring.len() >= self.log_lines_max {
                ring.pop_front();
            }
            if self.log_lines_max > 0 {
                ring.push_back(LoggedLine { index, level: line.level, text: line.text });
            }
        }
    }

    /// A plugin's newest lines behind an event, oldest first: the newest of them, if there are more than `limit`.
    pub(super) fn lines(&self, place: &Place, after: Option<Index>, limit: usize) -> Vec<LoggedLine> {
        let inner = self.lock();
        let lines = inner.logs.get(place).into_iter().flatten();
        let behind: Vec<_> = lines.filter(|line| after.is_none_or(|after| line.index > after)).cloned().collect();
        let surplus = if after.is_some() { 0 } else { behind.len().saturating_sub(limit) };
        behind.into_iter().skip(surplus).take(limit).collect()
    }
}
