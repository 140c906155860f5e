//! The events of one stream, one after the other, through its bindings: roots, emit trees, records, quarantine.
//!
//! Each subscriber of an event is the root of a tree of its own: its step, and the steps of the events it emits, and
//! theirs. A tree is kept whole or not at all; the other subscribers' trees do not hang on it.

use std::sync::Arc;

use tally_protocol::id::Stream;
use tally_protocol::outcome::{LimitKind, OutcomeCode};

use super::record::{Part, WriteSets, record};
use super::runner::Runner;
use super::{Made, RangeCuts, Records, TREE_RUNS_MAX};
use crate::delta::Asked;
use crate::error::HostError;
use crate::instance::Machine;
use crate::session::{BindingStep, Emit, Event};

pub(super) struct StreamRun<'e, 'r, M> {
    stream: Stream,
    events: Vec<&'e Arc<Event>>,
    /// In install order.
    runners: Vec<Runner<'e, M>>,
    cuts: RangeCuts<'r>,
    /// What ran at the open event, in the order in which it ran.
    parts: Vec<Part>,
}

impl<'e, 'r, M: Machine> StreamRun<'e, 'r, M> {
    pub(super) const fn new(
        stream: Stream,
        events: Vec<&'e Arc<Event>>,
        runners: Vec<Runner<'e, M>>,
        cuts: RangeCuts<'r>,
    ) -> Self {
        Self { stream, events, runners, cuts, parts: Vec::new() }
    }

    pub(super) fn into_runners(self) -> Vec<Runner<'e, M>> {
        self.runners
    }

    /// The next event through every subscriber. The records' write sets are hashed later.
    pub(super) fn event(&mut self, at: usize, made: &mut Made, sets: &mut WriteSets) -> Result<Records, HostError> {
        for runner in 0..self.runners.len() {
            if self.runners[runner].is_next(at) {
                let step = self.runners[runner].step(self.cuts)?;
                self.root(at, runner, step, made)?;
            }
        }
        self.ask(at, made);
        let records = self.records(at, sets)?;
        Ok(records)
    }

    fn root(&mut self, at: usize, runner: usize, step: BindingStep, made: &mut Made) -> Result<(), HostError> {
        if self.targets(runner, &step.emits).is_empty() {
            self.runners[runner].keep(&step.writes, step.grown)?;
            self.part(runner, step, made);
            return Ok(());
        }
        let first = self.parts.len();
        let mut planned = 0;
        let kept = self.grow(at, runner, 0, step, &mut planned, made)?;
        let mut took_part: Vec<usize> = self.parts[first..].iter().map(|part| part.runner).collect();
        took_part.sort_unstable();
        took_part.dedup();
        for runner in took_part {
            self.runners[runner].settle(kept)?;
        }
        if !kept {
            self.parts[first..].iter_mut().for_each(Part::undo);
        }
        Ok(())
    }

    /// Puts a step into the tree, and the steps of its emits behind it, depth first. Gives whether all were accepted; the
    /// first that was not ends it.
    fn grow(
        &mut self,
        at: usize,
        runner: usize,
        depth: u8,
        mut step: BindingStep,
        planned: &mut usize,
        made: &mut Made,
    ) -> Result<bool, HostError> {
        let targets = self.targets(runner, &step.emits);
        *planned += targets.len();
        if *planned > TREE_RUNS_MAX {
            step.code = OutcomeCode::Limit(LimitKind::Emits);
            step.gas = self.runners[runner].gas_limit();
        }
        let accepted = step.code.is_accepted();
        let emits = step.emits.clone();
        if accepted {
            self.runners[runner].hold(&step.writes, step.grown)?;
        }
        self.part(runner, step, made);
        if !accepted {
            return Ok(false);
        }
        let root = Arc::clone(self.events[at]);
        for (emit, target) in targets {
            let step = self.runners[target].derived(&root, &emits[emit], depth + 1)?;
            if !self.grow(at, target, depth + 1, step, planned, made)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Who hears which emit: every other running binding, in install order, emit by emit.
    fn targets(&self, from: usize, emits: &[Emit]) -> Vec<(usize, usize)> {
        let mut targets = Vec::new();
        for (at, emit) in emits.iter().enumerate() {
            for (runner, target) in self.runners.iter().enumerate() {
                if runner != from && target.hears(&emit.event_type) {
                    targets.push((at, runner));
                }
            }
        }
        targets
    }

    fn part(&mut self, runner: usize, step: BindingStep, made: &mut Made) {
        let BindingStep { index, fresh, code, gas, writes, emits, effects, log, .. } = step;
        if !log.is_empty() {
            made.lines(index, self.stream, &self.runners[runner].name.plugin, log);
        }
        self.parts.push(Part { runner, fresh, code, gas, writes, emits, effects });
    }

    /// The effects that are kept, in the order of the runs.
    fn ask(&self, at: usize, made: &mut Made) {
        for part in &self.parts {
            for effect in &part.effects {
                made.effects.push(Asked {
                    index: self.events[at].index,
                    stream: self.stream,
                    plugin: self.runners[part.runner].name.plugin.clone(),
                    effect: effect.clone(),
                });
            }
        }
    }

    fn records(&mut self, at: usize, sets: &mut WriteSets) -> Result<Records, HostError> {
        let mut parts = core::mem::take(&mut self.parts);
        // Stable: a binding's parts stay in the order in which they ran.
        parts.sort_by_key(|part| part.runner);
        let event = self.events[at];
        let mut records = Vec::with_capacity(self.runners.len().min(parts.len()));
        for parts in parts.chunk_by(|one, next| one.runner == next.runner) {
            let Some(runner) = parts.first().and_then(|part| self.runners.get_mut(part.runner)) else { continue };
            let record = record(&runner.name, parts, (at, records.len()), sets);
            if let RangeCuts::Recorded(list) = self.cuts
                && list.has(event.index, &record.plugin) != record.fresh
            {
                return Err(HostError::Recorded { index: event.index, plugin: record.plugin });
            }
            runner.count(event.sequence, record.code.is_failure());
            records.push(record);
        }
        parts.clear();
        self.parts = parts;
        Ok(records)
    }
}
