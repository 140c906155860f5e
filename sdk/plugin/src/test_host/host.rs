//! The contract as methods: what each import does, where it may be called, and which limit it can pass.
//!
//! Takes bytes as they cross the ABI. A [`Stop`] ends the event (nothing of it stays) and the guest's entry.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Bound;

use super::crypto;
use crate::json::Json;
use crate::reject::Reject;
use crate::rows::{push_absent, push_item, split_item};

/// Longest body of an emit or effect.
const BODY_BYTES_MAX: usize = 65_536;

/// Which export is running.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// `describe`.
    Describe,
    /// `init` or `migrate`.
    Lifecycle,
    /// `run`.
    Run,
    /// `query`.
    Query,
}

/// The limits of `tally:plugin@1` that need no module, with the host's names and defaults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names say it; the host's page explains each")]
pub struct Limits {
    pub body_bytes: usize,
    pub key_bytes: usize,
    pub value_bytes: usize,
    pub writes: usize,
    pub write_bytes: usize,
    pub emits: usize,
    pub effects: usize,
    pub log_bytes: usize,
    pub range_rows: usize,
    pub range_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 65_536,
            key_bytes: 256,
            value_bytes: 65_536,
            writes: 256,
            write_bytes: 262_144,
            emits: 16,
            effects: 4,
            log_bytes: 1_024,
            range_rows: 1_000,
            range_bytes: 262_144,
        }
    }
}

/// A limit that was passed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[expect(missing_docs, reason = "named as in the host's outcome")]
pub enum LimitKind {
    EventBytes,
    KeyBytes,
    ValueBytes,
    Writes,
    WriteBytes,
    Emits,
    EmitBytes,
    Effects,
    EffectBytes,
    LabelBytes,
    ReadBytes,
}

/// Why the host ends an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// A call where it may not be made, or a pointer outside the memory.
    Trap,
    /// The contract of the loop was broken.
    BadOutput,
    /// A limit was passed.
    Limit(LimitKind),
}

/// What became of an event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It stands.
    Accepted,
    /// The plugin refused it, with this code.
    Rejected(String),
    /// The guest trapped or panicked.
    Trapped,
    /// A limit was passed.
    Limit(LimitKind),
    /// The contract of the loop was broken.
    BadOutput,
}

impl From<Stop> for Verdict {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Trap => Self::Trapped,
            Stop::BadOutput => Self::BadOutput,
            Stop::Limit(kind) => Self::Limit(kind),
        }
    }
}

/// A derived event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Emit {
    /// Its type.
    pub event_type: String,
    /// Its body.
    pub body: Vec<u8>,
}

/// A wish for a call to the outside world.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Effect {
    /// What kind of call.
    pub kind: String,
    /// What it is ordered by.
    pub suffix: String,
    /// Its parameters.
    pub body: Vec<u8>,
}

/// What one event left. Empty but for verdict and log, unless it was accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// What became of it.
    pub verdict: Verdict,
    /// Keys that were set, or deleted (nothing).
    pub writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Derived events, in order.
    pub emits: Vec<Emit>,
    /// Effects, in order.
    pub effects: Vec<Effect>,
    /// Lines for people.
    pub log: Vec<String>,
}

impl Outcome {
    fn of(verdict: Verdict) -> Self {
        Self { verdict, writes: BTreeMap::new(), emits: Vec::new(), effects: Vec::new(), log: Vec::new() }
    }
}

/// What is open between `next` and `done`, or during `init` and `migrate`.
#[derive(Clone, Debug, Default)]
struct Open {
    index: u64,
    writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    write_bytes: usize,
    emits: Vec<Emit>,
    effects: Vec<Effect>,
    ids: u32,
    log: Vec<String>,
    log_bytes: usize,
    refused: Option<String>,
}

/// A host in memory for one plugin in one stream.
#[derive(Clone, Debug)]
pub struct Host {
    /// What was committed.
    pub state: BTreeMap<Vec<u8>, Vec<u8>>,
    /// One per event that was taken.
    pub outcomes: Vec<Outcome>,
    limits: Limits,
    prefixes: Vec<String>,
    capabilities: Vec<String>,
    mode: Mode,
    waiting: VecDeque<Vec<u8>>,
    open: Option<Open>,
}

type Step<T = ()> = Result<T, Stop>;

impl Host {
    /// A host that grants prefixes and capabilities.
    #[must_use]
    pub fn new(limits: Limits, prefixes: Vec<String>, capabilities: Vec<String>) -> Self {
        Self {
            state: BTreeMap::new(),
            outcomes: Vec::new(),
            limits,
            prefixes,
            capabilities,
            mode: Mode::Describe,
            waiting: VecDeque::new(),
            open: None,
        }
    }

    /// Appends a record for `run`.
    pub fn push(&mut self, record: Vec<u8>) {
        self.waiting.push_back(record);
    }

    /// Whether events wait.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Before an export is entered.
    pub fn enter(&mut self, mode: Mode) {
        self.mode = mode;
        self.open = (mode == Mode::Lifecycle).then(Open::default);
    }

    /// After `run` returned by itself: an open event, or one that was never asked for, is a broken loop.
    pub fn returned(&mut self) {
        if self.open.is_some() {
            self.abort(Verdict::BadOutput);
        } else if self.waiting.pop_front().is_some() {
            self.outcomes.push(Outcome::of(Verdict::BadOutput));
        }
    }

    /// After the guest stopped: the open event, or the one it was about to take, ends so.
    pub fn abort(&mut self, verdict: Verdict) {
        let log = match self.open.take() {
            Some(open) => open.log,
            None if self.waiting.pop_front().is_some() => Vec::new(),
            None => return,
        };
        self.outcomes.push(Outcome { log, ..Outcome::of(verdict) });
    }

    /// After `init` or `migrate`: commits, or gives the code of the refusal.
    ///
    /// # Errors
    /// The code that the guest gave.
    pub fn close_lifecycle(&mut self, kept: bool) -> Result<(), String> {
        let open = self.open.take().unwrap_or_default();
        if kept {
            self.commit(&open.writes);
            return Ok(());
        }
        Err(open.refused.unwrap_or_default())
    }

    fn commit(&mut self, writes: &BTreeMap<Vec<u8>, Option<Vec<u8>>>) {
        for (key, value) in writes {
            match value {
                Some(value) => drop(self.state.insert(key.clone(), value.clone())),
                None => drop(self.state.remove(key)),
            }
        }
    }

    fn opened(&mut self) -> Step<&mut Open> {
        if matches!(self.mode, Mode::Run | Mode::Lifecycle) {
            self.open.as_mut().ok_or(Stop::Trap)
        } else {
            Err(Stop::Trap)
        }
    }

    fn opened_event(&mut self) -> Step<&mut Open> {
        if self.mode == Mode::Run { self.opened() } else { Err(Stop::Trap) }
    }

    /// `next`.
    ///
    /// # Errors
    /// Not in `run`, an event is open, or the body is too large.
    pub fn next_record(&mut self) -> Step<Option<Vec<u8>>> {
        if self.mode != Mode::Run {
            return Err(Stop::Trap);
        }
        if self.open.is_some() {
            return Err(Stop::BadOutput);
        }
        let Some(record) = self.waiting.pop_front() else { return Ok(None) };
        let index = record.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let body = record.get(128..132).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes);
        self.open = Some(Open { index, ..Open::default() });
        if body as usize > self.limits.body_bytes {
            return Err(Stop::Limit(LimitKind::EventBytes));
        }
        Ok(Some(record))
    }

    /// `done`.
    ///
    /// # Errors
    /// No event is open, or the code has other letters.
    pub fn done(&mut self, accepted: bool, code: &[u8]) -> Step {
        let code = if accepted && code.is_empty() { String::new() } else { read_code(code)? };
        if accepted != code.is_empty() {
            return Err(Stop::BadOutput);
        }
        if self.mode == Mode::Lifecycle {
            let open = self.opened()?;
            if accepted || open.refused.is_some() {
                return Err(Stop::BadOutput);
            }
            open.refused = Some(code);
            return Ok(());
        }
        if self.mode != Mode::Run {
            return Err(Stop::Trap);
        }
        let open = self.open.take().ok_or(Stop::BadOutput)?;
        if accepted {
            self.commit(&open.writes);
            let Open { writes, emits, effects, log, .. } = open;
            self.outcomes.push(Outcome { verdict: Verdict::Accepted, writes, emits, effects, log });
        } else {
            self.outcomes.push(Outcome { log: open.log, ..Outcome::of(Verdict::Rejected(code)) });
        }
        Ok(())
    }

    fn check_key(&self, key: &[u8]) -> Step {
        if self.mode == Mode::Describe || (self.mode != Mode::Query && self.open.is_none()) {
            return Err(Stop::Trap);
        }
        if key.is_empty() || key.len() > self.limits.key_bytes {
            return Err(Stop::Limit(LimitKind::KeyBytes));
        }
        let own = self.prefixes.iter().any(|prefix| key.starts_with(prefix.as_bytes()));
        if own { Ok(()) } else { Err(Stop::Trap) }
    }

    fn read(&self, key: &[u8]) -> Option<&[u8]> {
        match self.open.as_ref().and_then(|open| open.writes.get(key)) {
            Some(written) => written.as_deref(),
            None => self.state.get(key).map(Vec::as_slice),
        }
    }

    /// `kv_get`.
    ///
    /// # Errors
    /// A key that is not the plugin's, or not here.
    pub fn kv_get(&self, key: &[u8]) -> Step<Option<Vec<u8>>> {
        self.check_key(key)?;
        Ok(self.read(key).map(Vec::from))
    }

    /// `kv_get_many`.
    ///
    /// # Errors
    /// As [`Host::kv_get`]; a broken list; values beyond the bytes of a range.
    pub fn kv_get_many(&self, keys: &[u8]) -> Step<Vec<u8>> {
        let (mut rest, mut list) = (keys, Vec::new());
        while !rest.is_empty() {
            let whole = rest.first_chunk::<4>().map(|length| u32::from_le_bytes(*length) as usize);
            if whole.is_none_or(|length| rest.len() - 4 < length) {
                return Err(Stop::Trap);
            }
            let Some((Some(key), after)) = split_item(rest) else { return Err(Stop::Trap) };
            self.check_key(key)?;
            match self.read(key) {
                Some(value) => push_item(&mut list, value),
                None => push_absent(&mut list),
            }
            if list.len() > self.limits.range_bytes {
                return Err(Stop::Limit(LimitKind::ReadBytes));
            }
            rest = after;
        }
        Ok(list)
    }

    /// `kv_set` with a value, `kv_delete` without.
    ///
    /// # Errors
    /// A key that is not the plugin's, a value too long, too many writes, or not here.
    pub fn kv_put(&mut self, key: &[u8], value: Option<&[u8]>) -> Step {
        self.opened()?;
        self.check_key(key)?;
        let limits = self.limits;
        if value.is_some_and(|value| value.len() > limits.value_bytes) {
            return Err(Stop::Limit(LimitKind::ValueBytes));
        }
        let open = self.opened()?;
        open.write_bytes += key.len() + value.map_or(0, <[u8]>::len);
        open.writes.insert(Vec::from(key), value.map(Vec::from));
        if open.writes.len() > limits.writes {
            return Err(Stop::Limit(LimitKind::Writes));
        }
        if open.write_bytes > limits.write_bytes { Err(Stop::Limit(LimitKind::WriteBytes)) } else { Ok(()) }
    }

    /// `kv_range`: the rows as a list, and whether the page was full.
    ///
    /// # Errors
    /// Too many rows asked, or not here.
    pub fn kv_range(&self, start: &[u8], end: &[u8], limit: u32, reverse: bool) -> Step<(Vec<u8>, bool)> {
        if self.mode == Mode::Describe || (self.mode != Mode::Query && self.open.is_none()) {
            return Err(Stop::Trap);
        }
        if start.len() > self.limits.key_bytes + 1 || end.len() > self.limits.key_bytes + 1 {
            return Err(Stop::Limit(LimitKind::KeyBytes));
        }
        if limit as usize > self.limits.range_rows {
            return Err(Stop::Limit(LimitKind::ReadBytes));
        }
        if !end.is_empty() && start >= end {
            return Ok((Vec::new(), false));
        }
        let bounds = (Bound::Included(start), if end.is_empty() { Bound::Unbounded } else { Bound::Excluded(end) });
        let mut rows: BTreeMap<&[u8], &[u8]> =
            self.state.range::<[u8], _>(bounds).map(|(key, value)| (key.as_slice(), value.as_slice())).collect();
        for (key, value) in self.open.iter().flat_map(|open| open.writes.range::<[u8], _>(bounds)) {
            match value {
                Some(value) => drop(rows.insert(key, value)),
                None => drop(rows.remove(key.as_slice())),
            }
        }
        let mut ordered: Vec<_> = rows.into_iter().collect();
        if reverse {
            ordered.reverse();
        }
        let (mut list, mut bytes) = (Vec::new(), 0);
        for (key, value) in ordered.into_iter().take(limit as usize) {
            bytes += key.len() + value.len();
            if bytes > self.limits.range_bytes && !list.is_empty() {
                return Ok((list, true));
            }
            push_item(&mut list, key);
            push_item(&mut list, value);
        }
        Ok((list, false))
    }

    fn granted(&self, capability: &str) -> Step {
        if self.capabilities.iter().any(|granted| granted == capability) { Ok(()) } else { Err(Stop::Trap) }
    }

    /// `emit`.
    ///
    /// # Errors
    /// Not granted, too many, too large, or not here.
    pub fn emit(&mut self, event_type: &[u8], body: &[u8]) -> Step {
        self.opened_event()?;
        self.granted("emit")?;
        let limits = self.limits;
        if !(1..=256).contains(&event_type.len()) || body.len() > BODY_BYTES_MAX {
            return Err(Stop::Limit(LimitKind::EmitBytes));
        }
        let (event_type, body) = (read_text(event_type)?, read_body(body)?);
        let open = self.opened_event()?;
        if open.emits.len() >= limits.emits {
            return Err(Stop::Limit(LimitKind::Emits));
        }
        open.emits.push(Emit { event_type, body });
        Ok(())
    }

    /// `effect`.
    ///
    /// # Errors
    /// Not granted, too many, too large, or not here.
    pub fn effect(&mut self, kind: &[u8], suffix: &[u8], body: &[u8]) -> Step {
        self.opened_event()?;
        if !(1..=64).contains(&kind.len()) || suffix.len() > 64 || body.len() > BODY_BYTES_MAX {
            return Err(Stop::Limit(LimitKind::EffectBytes));
        }
        let (kind, suffix, body) = (read_text(kind)?, read_text(suffix)?, read_body(body)?);
        self.granted(&alloc::format!("effect:{kind}"))?;
        let limits = self.limits;
        let open = self.opened_event()?;
        if open.effects.len() >= limits.effects {
            return Err(Stop::Limit(LimitKind::Effects));
        }
        open.effects.push(Effect { kind, suffix, body });
        Ok(())
    }

    fn computes(&self) -> Step {
        if self.mode == Mode::Describe { Err(Stop::Trap) } else { Ok(()) }
    }

    /// `sha256`.
    ///
    /// # Errors
    /// Not here.
    pub fn sha256(&self, data: &[u8]) -> Step<[u8; 32]> {
        self.computes().map(|()| crypto::sha256(&[data]))
    }

    /// `blake3`.
    ///
    /// # Errors
    /// Not here.
    pub fn blake3(&self, data: &[u8]) -> Step<[u8; 32]> {
        self.computes().map(|()| crypto::blake3(data))
    }

    /// `ed25519_verify`.
    ///
    /// # Errors
    /// Not here.
    pub fn ed25519_verify(&self, public_key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Step<bool> {
        self.computes().map(|()| crypto::ed25519_verify(public_key, message, signature))
    }

    /// `id`.
    ///
    /// # Errors
    /// A label too long, or not here.
    pub fn id(&mut self, label: &[u8]) -> Step<[u8; 32]> {
        self.opened_event()?;
        if label.len() > 64 {
            return Err(Stop::Limit(LimitKind::LabelBytes));
        }
        read_text(label)?;
        let open = self.opened_event()?;
        let (index, call) = (open.index.to_be_bytes(), open.ids.to_be_bytes());
        open.ids += 1;
        Ok(crypto::sha256(&[b"TALLY_TEST_ID_V1", &index, &call, label]))
    }

    /// `log`: cut, not refused.
    pub fn log(&mut self, level: u32, text: &[u8]) {
        let left = self.limits.log_bytes.saturating_sub(self.open.as_ref().map_or(0, |open| open.log_bytes));
        let text = String::from_utf8_lossy(&text[..text.len().min(left)]).to_string();
        if let Some(open) = self.open.as_mut().filter(|_| left > 0) {
            open.log_bytes += text.len();
            open.log.push(alloc::format!("{level} {text}"));
        }
    }
}

fn read_text(bytes: &[u8]) -> Step<String> {
    core::str::from_utf8(bytes).map(Into::into).map_err(|_| Stop::BadOutput)
}

fn read_body(bytes: &[u8]) -> Step<Vec<u8>> {
    Json::parse(bytes).map(|_| Vec::from(bytes)).map_err(|_| Stop::BadOutput)
}

fn read_code(code: &[u8]) -> Step<String> {
    let letters = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.');
    let fits = (1..=Reject::BYTES_MAX).contains(&code.len()) && code.iter().all(letters);
    if fits { read_text(code) } else { Err(Stop::BadOutput) }
}
