//! A binding in a stream while a range goes through it: its state, its instances, how far it ran ahead.
//!
//! Entering an instance costs far more than an event, so a runner is given many events at once and hands out their steps
//! one by one. That is speculation: a derived event that comes in between, or a step that is undone, makes what lies ahead
//! void, and it runs anew from there in a fresh instance. So that a plugin that is disturbed often does not run everything
//! twice, the reach begins at one event after a disturbance and doubles.

use std::collections::VecDeque;
use std::sync::Arc;

use tally_protocol::hash::PayloadHash;
use tally_protocol::id::{Index, PluginId, Sequence};

use super::record::Name;
use super::{FreshList, RANGE_ENTRIES_MAX, RangeCuts, writable};
use crate::error::HostError;
use crate::instance::{Cuts, Instance, Machine};
use crate::manifest::Capability;
use crate::overlay::{Overlay, Write};
use crate::registry::{Contract, Counted, QUARANTINE_FAILURES, Ready, Standing, Status, count_failure};
use crate::session::{BindingStep, Emit, Event};

/// How far a runner runs ahead at first: so much of a hostile guest's gas can be burned for nothing in a range.
const FIRST_REACH: usize = 64;

/// Whether its steps may have derived events.
pub(super) fn may_emit(contract: &Contract) -> bool {
    contract.grant.capabilities.contains(&Capability::Emit)
}

pub(super) struct Runner<'e, M> {
    pub(super) name: Name,
    instance: Instance<M>,
    contract: Arc<Contract>,
    overlay: Arc<Overlay>,
    /// The events that it hears, by their place among the stream's.
    own: Vec<(usize, &'e Arc<Event>)>,
    /// How many of them have their step.
    given: usize,
    /// Steps of those that follow, as long as nothing disturbs.
    ahead: VecDeque<BindingStep>,
    reach: usize,
    /// Where it ran last, and its calls of `id` and `effect` there.
    ran: Option<(Index, (u32, u32))>,
    failures: Vec<Sequence>,
    /// Bytes of its state before the range.
    state_bytes: u64,
    quarantined: bool,
    changed: bool,
}

/// What a runner leaves.
pub(super) struct End {
    pub(super) plugin: PluginId,
    pub(super) overlay: Arc<Overlay>,
    /// If it changed.
    pub(super) standing: Option<Counted>,
}

impl<'e, M: Machine> Runner<'e, M> {
    pub(super) fn new(ready: Ready<M>, standing: &Standing, overlay: Arc<Overlay>, events: &[&'e Arc<Event>]) -> Self {
        let Ready { instance, contract } = ready;
        let heard = |(_, event): &(usize, &'e Arc<Event>)| contract.hears(&event.event_type);
        let own = events.iter().copied().enumerate().filter(heard).collect();
        let binding = &standing.binding;
        Self {
            name: Name { plugin: binding.plugin.clone(), module: binding.module, profile: binding.profile },
            instance,
            overlay,
            own,
            given: 0,
            ahead: VecDeque::new(),
            reach: FIRST_REACH,
            ran: None,
            failures: standing.failures.clone(),
            state_bytes: standing.state_bytes,
            quarantined: false,
            changed: false,
            contract,
        }
    }

    pub(super) fn end(mut self) -> Result<End, HostError> {
        let state_bytes = writable(&mut self.overlay)?.bytes()?;
        let status = if self.quarantined { Status::Quarantined } else { Status::Running };
        let changed = self.changed || state_bytes != self.state_bytes;
        let standing = changed.then_some(Counted { status, failures: self.failures, state_bytes });
        Ok(End { plugin: self.name.plugin, overlay: self.overlay, standing })
    }

    /// Whether the stream's event at this place is its next.
    pub(super) fn is_next(&self, at: usize) -> bool {
        !self.quarantined && self.own.get(self.given).is_some_and(|(place, _)| *place == at)
    }

    pub(super) fn hears(&self, event_type: &str) -> bool {
        !self.quarantined && self.contract.hears(event_type)
    }

    pub(super) fn gas_limit(&self) -> u64 {
        self.contract.grant.limits.gas
    }

    /// The step of its next event.
    pub(super) fn step(&mut self, cuts: RangeCuts<'_>) -> Result<BindingStep, HostError> {
        if self.ahead.is_empty() {
            self.ahead = match cuts {
                RangeCuts::Live => self.run_live()?,
                RangeCuts::Recorded(list) => self.run_recorded(list)?,
            };
        }
        self.given += 1;
        let step = self.ahead.pop_front().ok_or_else(|| HostError::Engine("an event without a step".to_owned()))?;
        self.ran = Some((step.index, step.calls));
        Ok(step)
    }

    fn run_live(&mut self) -> Result<VecDeque<BindingStep>, HostError> {
        let count = self.reach.min(self.own.len() - self.given);
        self.reach = self.reach.saturating_mul(2).min(RANGE_ENTRIES_MAX);
        self.run(count, Cuts::Live)
    }

    /// One instance's life as it is recorded. Never more: what a later one does may hang on derived events in between.
    fn run_recorded(&mut self, list: &FreshList) -> Result<VecDeque<BindingStep>, HostError> {
        let plugin = self.name.plugin.clone();
        let rest = &self.own[self.given..];
        let mut fresh: Vec<bool> = rest.iter().map(|(_, event)| list.has(event.index, &plugin)).collect();
        let life = fresh.iter().skip(1).position(|fresh| *fresh).map_or(rest.len(), |at| at + 1);
        fresh.truncate(life);
        let first = rest[0].1.index;
        if let Some(late) = rest[..life].iter().find(|(_, event)| is_late(first, event.index)) {
            return Err(HostError::Recorded { index: late.1.index, plugin });
        }
        if life as u64 > self.contract.grant.limits.events_per_instance {
            return Err(HostError::Recorded { index: first, plugin });
        }
        if self.ran.is_some_and(|(index, _)| index == first) {
            // The record is of the first run here, and this one follows it: fresh, unless the guest is not shown it.
            fresh[0] = rest[0].1.body.len() as u64 <= self.contract.grant.limits.body_bytes;
        }
        self.run(life, Cuts::Recorded(&fresh)).map_err(|error| match error {
            HostError::Cut { index } => HostError::Recorded { index: Index::new(index), plugin },
            error => error,
        })
    }

    fn run(&self, count: usize, cuts: Cuts<'_>) -> Result<VecDeque<BindingStep>, HostError> {
        let next = &self.own[self.given..self.given + count];
        let mut events: Vec<Arc<Event>> = next.iter().map(|(_, event)| Arc::clone(event)).collect();
        if let (Some(first), Some((index, calls))) = (events.first_mut(), self.ran)
            && first.index == index
            && calls != (0, 0)
        {
            *first = Arc::new(Event { calls_before: calls, ..Event::clone(first) });
        }
        let steps = self.instance.apply_shared(events, self.view(), cuts)?;
        Ok(steps.into())
    }

    fn view(&self) -> Arc<Overlay> {
        Arc::clone(&self.overlay)
    }

    /// The step of a derived event, in an instance of its own.
    pub(super) fn derived(&mut self, root: &Event, emit: &Emit, depth: u8) -> Result<BindingStep, HostError> {
        self.disturb();
        let calls = self.ran.filter(|(index, _)| *index == root.index).map_or((0, 0), |(_, calls)| calls);
        let event = Event {
            event_type: emit.event_type.clone(),
            body: emit.body.clone(),
            payload_hash: PayloadHash::ZERO,
            depth,
            calls_before: calls,
            ..root.clone()
        };
        let steps = self.instance.apply_shared(vec![Arc::new(event)], self.view(), Cuts::Live)?;
        let step = steps.into_iter().next();
        let step = step.ok_or_else(|| HostError::Engine("an event without a step".to_owned()))?;
        self.ran = Some((step.index, step.calls));
        Ok(step)
    }

    /// What it ran ahead of is not as it was taken to be.
    pub(super) fn disturb(&mut self) {
        self.ahead.clear();
        self.reach = 1;
    }

    /// Keeps writes for good.
    pub(super) fn keep(&mut self, writes: &[Write], grown: i64) -> Result<(), HostError> {
        if !writes.is_empty() {
            writable(&mut self.overlay)?.absorb(writes, grown);
        }
        Ok(())
    }

    /// Keeps writes until their tree is settled.
    pub(super) fn hold(&mut self, writes: &[Write], grown: i64) -> Result<(), HostError> {
        if !writes.is_empty() {
            writable(&mut self.overlay)?.extend(writes, grown);
        }
        Ok(())
    }

    /// Settles what was held.
    pub(super) fn settle(&mut self, keep: bool) -> Result<(), HostError> {
        let overlay = writable(&mut self.overlay)?;
        if keep {
            overlay.commit();
        } else {
            overlay.rollback();
            self.disturb();
        }
        Ok(())
    }

    /// Counts its record of an event.
    pub(super) fn count(&mut self, sequence: Sequence, failed: bool) {
        if !failed && self.failures.is_empty() {
            return;
        }
        self.changed = true;
        if failed {
            // It may be stopped soon; what lies ahead of that would be for nothing.
            self.reach = self.reach.min(QUARANTINE_FAILURES);
        }
        if count_failure(&mut self.failures, sequence, failed) {
            self.quarantined = true;
            self.ahead.clear();
        }
    }
}

/// Whether an event lies further from the first of its instance than any instance lives.
fn is_late(first: Index, index: Index) -> bool {
    index.get() - first.get() >= RANGE_ENTRIES_MAX as u64
}
