//! One guest's dealings with the host, whatever engine runs it: what it may do now, the open event, what is settled.
//!
//! Takes events in order; gives a [`BindingStep`] for each. An event is open from `next` to the following `next` (or the
//! return of `run`), and only then settled: so whatever the guest does after `done` is still its own, and where the host
//! cuts makes no difference. An instance enters `run` once; the first event it is given is marked `fresh`.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tally_protocol::frame::Frame;
use tally_protocol::hash::{self, EffectId, LedgerId, ModuleHash, PayloadHash, ProfileId};
use tally_protocol::id::{AgentId, EventId, Index, PluginId, Sequence, Stream};
use tally_protocol::outcome::{BindingOutcome, LimitKind, OutcomeCode, Reason, derived_id, writes_hash};
use tally_protocol::time::LogTime;

use crate::error::HostError;
use crate::limits::Limits;
use crate::manifest::{Capability, Manifest};
use crate::overlay::{Overlay, Write};
use crate::state::StateView;

/// An event as a guest gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its place in the log.
    pub index: Index,
    /// Its place in its stream.
    pub sequence: Sequence,
    /// Log time.
    pub sequenced_at: LogTime,
    /// Its stream.
    pub stream: Stream,
    /// Its id, chosen by the client.
    pub event_id: EventId,
    /// Its signer.
    pub agent: AgentId,
    /// The payload hash that was signed; zero for a derived event.
    pub payload_hash: PayloadHash,
    /// Its type.
    pub event_type: String,
    /// Its entity's type.
    pub entity_type: String,
    /// Its entity's id.
    pub entity_id: String,
    /// How many emits it is away from the log: 0 for the log's own.
    pub depth: u8,
    /// The plugin's calls of `id` and of `effect` at this index before this step.
    pub calls_before: (u32, u32),
    /// Its payload, canonical JSON.
    pub body: Bytes,
}

impl Event {
    /// An event of the log, at its place; shares the frame's bytes.
    #[must_use]
    pub fn logged(index: Index, sequence: Sequence, sequenced_at: LogTime, frame: &Frame) -> Self {
        Self {
            index,
            sequence,
            sequenced_at,
            stream: frame.stream(),
            event_id: frame.event_id(),
            agent: frame.agent_id(),
            payload_hash: frame.payload_plain_hash(),
            event_type: frame.event_type().to_owned(),
            entity_type: frame.entity_type().to_owned(),
            entity_id: frame.entity_id().to_owned(),
            depth: 0,
            calls_before: (0, 0),
            body: frame.bytes().slice_ref(frame.payload()),
        }
    }
}

/// Who runs, and what it may do.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The ledger.
    pub ledger: LedgerId,
    /// The plugin's id.
    pub plugin: PluginId,
    /// Its limits.
    pub limits: Limits,
    /// The prefixes of its keys.
    pub prefixes: Vec<String>,
    /// What it wants and was granted.
    pub capabilities: Vec<Capability>,
}

impl Grant {
    /// Everything that a manifest asks for, under its own id.
    #[must_use]
    pub fn all(ledger: LedgerId, manifest: &Manifest) -> Self {
        Self {
            ledger,
            plugin: manifest.id.clone(),
            limits: manifest.limits,
            prefixes: manifest.prefixes.clone(),
            capabilities: manifest.capabilities.clone(),
        }
    }

    /// Nothing: enough to ask a module who it is.
    #[must_use]
    pub fn nothing(ledger: LedgerId, plugin: PluginId) -> Self {
        Self { ledger, plugin, limits: Limits::default(), prefixes: Vec::new(), capabilities: Vec::new() }
    }

    /// Whether a key lies in the plugin's space.
    #[must_use]
    pub fn holds(&self, key: &[u8]) -> bool {
        self.prefixes.iter().any(|prefix| key.starts_with(prefix.as_bytes()))
    }
}

/// A derived event that a guest asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emit {
    /// Its type.
    pub event_type: String,
    /// Its body.
    pub body: Bytes,
}

/// An effect that a guest asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// Its id, which its connector uses as idempotency key.
    pub id: EffectId,
    /// Which of the plugin's effects at this event, from 0.
    pub call: u32,
    /// The connector it is for.
    pub kind: String,
    /// What orders effects of one subject.
    pub suffix: String,
    /// Its body.
    pub body: Bytes,
}

/// A line for people; never part of state or outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// 0 error, 1 warning, 2 information, 3 detail.
    pub level: u8,
    /// Text without control characters.
    pub text: String,
}

/// What one event came to at one binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingStep {
    /// The event's place in the log.
    pub index: Index,
    /// Whether it was the first of a new instance.
    pub fresh: bool,
    /// How it ended.
    pub code: OutcomeCode,
    /// The gas charged.
    pub gas: u64,
    /// What it wrote, each key once, in order; empty unless accepted.
    pub writes: Vec<Write>,
    /// By how many bytes that let the plugin's state grow.
    pub grown: i64,
    /// Its derived events; empty unless accepted.
    pub emits: Vec<Emit>,
    /// Its effects; empty unless accepted.
    pub effects: Vec<Effect>,
    /// Its log lines, whatever it came to.
    pub log: Vec<LogLine>,
    /// The plugin's calls of `id` and of `effect` at this index so far, whatever it came to.
    pub calls: (u32, u32),
}

impl BindingStep {
    /// The step as it stands in the event's outcome.
    #[must_use]
    pub fn binding(&self, plugin: &PluginId, module: ModuleHash, profile: ProfileId) -> BindingOutcome {
        let writes = self.writes.iter().map(|(key, value)| (&key[..], value.as_deref()));
        BindingOutcome {
            plugin: plugin.clone(),
            module,
            profile,
            fresh: self.fresh,
            code: self.code.clone(),
            gas: self.gas,
            writes: writes_hash(writes).expect("the keys of a journal are in order"),
            emits: hash::emits(self.emits.iter().map(|emit| (emit.event_type.as_str(), &emit.body[..]))),
            effects: hash::effects(
                self.effects.iter().map(|effect| (&effect.id, effect.kind.as_str(), &effect.body[..])),
            ),
        }
    }
}

/// Why a guest was stopped.
#[derive(Debug)]
pub enum Stop {
    /// By the contract; the open event ends with this code.
    Code(OutcomeCode),
    /// By the host's own failure; no event may end with it.
    Host(HostError),
}

impl Stop {
    /// A call where it may not be made, or a pointer that leaves the memory.
    pub(crate) const TRAPPED: Self = Self::Code(OutcomeCode::Trapped);
    pub(crate) const BAD_OUTPUT: Self = Self::Code(OutcomeCode::BadOutput);

    pub(crate) const fn limit(kind: LimitKind) -> Self {
        Self::Code(OutcomeCode::Limit(kind))
    }
}

impl From<crate::state::StateError> for Stop {
    fn from(error: crate::state::StateError) -> Self {
        Self::Host(error.into())
    }
}

/// Which export the guest runs in: it decides which imports may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `run`
    Run,
    /// `init`, or one call of `migrate`
    Lifecycle,
    /// `query`
    Query,
    /// `describe`
    Describe,
}

/// What a guest said about the open event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted,
    Rejected(Reason),
}

/// An event, or a call of `init` or `migrate`, while the guest works on it.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) index: Index,
    fresh: bool,
    pub(crate) depth: u8,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) write_bytes: u64,
    pub(crate) ids: u32,
    pub(crate) effect_calls: u32,
    pub(crate) emits: Vec<Emit>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) log: Vec<LogLine>,
    log_left: u64,
}

impl Open {
    fn new(index: Index, fresh: bool, depth: u8, calls: (u32, u32), log_left: u64) -> Self {
        Self {
            index,
            fresh,
            depth,
            verdict: None,
            write_bytes: 0,
            ids: calls.0,
            effect_calls: calls.1,
            emits: Vec::new(),
            effects: Vec::new(),
            log: Vec::new(),
            log_left,
        }
    }
}

/// One guest's dealings with the host.
pub struct Session {
    pub(crate) grant: Arc<Grant>,
    pub(crate) mode: Mode,
    pub(crate) overlay: Overlay,
    pub(crate) open: Option<Open>,
    /// The guest's allocator runs within a host call: every import traps.
    pub(crate) allocating: bool,
    /// Why the guest was stopped, for who catches the engine's trap.
    stop: Option<Stop>,
    events: VecDeque<Arc<Event>>,
    settled: Vec<BindingStep>,
    /// How many more events this instance is given.
    room: u64,
    fresh: bool,
    /// `next` said that there is none.
    pub(crate) ended: bool,
    /// What `init` or `migrate` left of its gas.
    pub(crate) gas_left: i64,
    /// Calls of the host since the gas was filled.
    pub(crate) host_calls: u64,
}

impl Session {
    /// A guest over a state, in a mode, without events.
    #[must_use]
    pub fn new(grant: Arc<Grant>, mode: Mode, state: Arc<dyn StateView>) -> Self {
        Self {
            grant,
            mode,
            overlay: Overlay::new(state),
            open: None,
            allocating: false,
            stop: None,
            events: VecDeque::new(),
            settled: Vec::new(),
            room: 0,
            fresh: false,
            ended: false,
            gas_left: 0,
            host_calls: 0,
        }
    }

    /// Leaves the reason, before an engine is made to trap by a host function.
    pub fn leave_stop(&mut self, stop: Stop) {
        self.stop = Some(stop);
    }

    /// The reason that a host function left, for who catches the engine's trap.
    pub fn take_stop(&mut self) -> Option<Stop> {
        self.stop.take()
    }

    pub(crate) fn give(&mut self, events: Vec<Arc<Event>>) {
        self.settled.reserve(events.len());
        self.events = events.into();
    }

    pub(crate) fn waiting(&self) -> Option<&Event> {
        self.events.front().map(Arc::as_ref)
    }

    pub(crate) fn waiting_count(&self) -> usize {
        self.events.len()
    }

    /// The reason that a call of `init` or `migrate` gave by `done`.
    pub(crate) fn refusal(&self) -> Option<Reason> {
        match self.open.as_ref().and_then(|open| open.verdict.clone()) {
            Some(Verdict::Rejected(reason)) => Some(reason),
            _ => None,
        }
    }

    pub(crate) fn into_settled(self) -> Vec<BindingStep> {
        self.settled
    }

    /// The gas this mode has: for an event, or for the whole call.
    pub(crate) fn gas_limit(&self) -> u64 {
        match self.mode {
            Mode::Run => self.grant.limits.gas,
            Mode::Lifecycle => self.grant.limits.lifecycle_gas,
            Mode::Query | Mode::Describe => self.grant.limits.query_gas,
        }
    }

    /// A new instance begins, and is given at most this many events.
    pub(crate) fn begin_instance(&mut self, room: u64) {
        (self.room, self.fresh, self.ended, self.allocating, self.stop) = (room, true, false, false, None);
    }

    /// Opens a call of `init` or `migrate`, or a query, for its log and its writes.
    pub(crate) fn open_call(&mut self) {
        self.begin_instance(0);
        self.overlay.begin();
        self.open = Some(Open::new(Index::new(0), true, 0, (0, 0), self.grant.limits.log_bytes));
    }

    /// The next event, opened; none when this instance gets no more.
    pub(crate) fn open_next(&mut self) -> Option<Arc<Event>> {
        loop {
            if self.room == 0 {
                return None;
            }
            let event = self.events.pop_front()?;
            self.room -= 1;
            if event.body.len() as u64 > self.grant.limits.body_bytes {
                // Never shown to the guest, so the instance is none the wiser.
                let open = Open::new(event.index, false, event.depth, event.calls_before, 0);
                self.settle_as(open, OutcomeCode::Limit(LimitKind::EventBytes), 0);
                continue;
            }
            self.overlay.begin();
            let fresh = core::mem::take(&mut self.fresh);
            let log_left = self.grant.limits.log_bytes;
            self.open = Some(Open::new(event.index, fresh, event.depth, event.calls_before, log_left));
            return Some(event);
        }
    }

    /// Settles the open event by its verdict.
    pub(crate) fn settle(&mut self, gas_left: i64) -> Result<(), Stop> {
        let Some(open) = self.open.take_if(|open| open.verdict.is_some()) else {
            return if self.open.is_some() { Err(Stop::BAD_OUTPUT) } else { Ok(()) };
        };
        let code = match &open.verdict {
            Some(Verdict::Rejected(reason)) => OutcomeCode::Rejected(reason.clone()),
            _ => OutcomeCode::Accepted,
        };
        let used = self.gas_limit().saturating_sub(u64::try_from(gas_left).unwrap_or(0));
        self.settle_as(open, code, used);
        Ok(())
    }

    fn settle_as(&mut self, open: Open, code: OutcomeCode, used: u64) {
        let keeps = code == OutcomeCode::Accepted;
        let gas = if code.is_failure() { self.gas_limit() } else { used };
        let (writes, grown) = self.close_savepoint(keeps);
        let (emits, effects) = if keeps { (open.emits, open.effects) } else { (Vec::new(), Vec::new()) };
        let (index, fresh, log, calls) = (open.index, open.fresh, open.log, (open.ids, open.effect_calls));
        self.settled.push(BindingStep { index, fresh, code, gas, writes, grown, emits, effects, log, calls });
    }

    /// What the open event wrote, if it is kept, and by how many bytes that let the state grow.
    fn close_savepoint(&mut self, keep: bool) -> (Vec<Write>, i64) {
        let kept = if keep { (self.overlay.growth(), self.overlay.commit()) } else { (0, Vec::new()) };
        self.overlay.rollback();
        (kept.1, kept.0)
    }

    /// The instance came to its end: `run` returned, or it was stopped.
    pub(crate) fn end_instance(&mut self, end: Result<(), Stop>) -> Result<(), HostError> {
        let code = match end {
            Err(Stop::Host(error)) => return Err(error),
            Err(Stop::Code(code)) => code,
            Ok(()) if self.ended => return Ok(()),
            // It returned before `next` said that there is none.
            Ok(()) => OutcomeCode::BadOutput,
        };
        if self.open.is_none() && !self.ended {
            // Not even one event was asked for: the one that waits is the one that failed.
            self.open_next();
        }
        if let Some(open) = self.open.take() {
            self.settle_as(open, code, 0);
        }
        Ok(())
    }

    /// The gas that a call of `init` or `migrate` is charged.
    pub(crate) fn call_gas(&self, code: &OutcomeCode) -> u64 {
        let limit = self.gas_limit();
        if code.is_failure() { limit } else { limit.saturating_sub(u64::try_from(self.gas_left).unwrap_or(0)) }
    }

    /// Ends a call of `init` or `migrate`: what it wrote if it is kept, by how much its state grew, and its log.
    pub(crate) fn close_call(&mut self, keep: bool) -> (Vec<Write>, i64, Vec<LogLine>) {
        let (writes, grown) = self.close_savepoint(keep);
        (writes, grown, self.open.take().map(|open| open.log).unwrap_or_default())
    }

    /// Adds a line to the log, cut where its room ends, without control characters.
    pub(crate) fn log(&mut self, level: u8, text: &[u8]) {
        let Some(open) = &mut self.open else { return };
        let room = usize::try_from(open.log_left).unwrap_or(usize::MAX).min(text.len());
        let Some(text) = text.get(..room).filter(|text| !text.is_empty()) else { return };
        open.log_left -= room as u64;
        let shown = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
        let text = String::from_utf8_lossy(text).chars().map(shown).collect();
        open.log.push(LogLine { level, text });
    }

    /// The id for a label, at the open event.
    pub(crate) fn derive_id(&mut self, label: &[u8]) -> Option<[u8; 32]> {
        let open = self.open.as_mut()?;
        let call = open.ids;
        open.ids = open.ids.saturating_add(1);
        Some(*derived_id(&self.grant.ledger, open.index, &self.grant.plugin, call, label).as_bytes())
    }
}

fn len_u32(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// Bytes of a record before its texts.
const RECORD_HEAD_BYTES: usize = 3 * 8 + 4 * 16 + 32 + 4 * 2 + 4;

/// Bytes of an event's record.
pub(crate) fn record_bytes(event: &Event) -> usize {
    let texts = event.event_type.len() + event.entity_type.len() + event.entity_id.len();
    RECORD_HEAD_BYTES + texts + event.body.len()
}

/// Writes the record of version 1: fixed little-endian fields, then the texts, then the body.
pub(crate) fn write_record(event: &Event, out: &mut [u8]) {
    let mut rest = out;
    let mut put = |bytes: &[u8]| {
        let Some((place, after)) = core::mem::take(&mut rest).split_at_mut_checked(bytes.len()) else { return };
        place.copy_from_slice(bytes);
        rest = after;
    };
    put(&event.index.get().to_le_bytes());
    put(&event.sequence.get().to_le_bytes());
    put(&event.sequenced_at.micros().to_le_bytes());
    put(event.stream.tenant.as_bytes());
    put(event.stream.store.as_bytes());
    put(event.event_id.as_bytes());
    put(event.agent.as_bytes());
    put(event.payload_hash.as_bytes());
    let texts = [&event.event_type, &event.entity_type, &event.entity_id];
    for text in texts {
        put(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
    }
    put(&u16::from(event.depth > 0).to_le_bytes());
    put(&len_u32(&event.body).to_le_bytes());
    for text in texts {
        put(text.as_bytes());
    }
    put(&event.body);
}
