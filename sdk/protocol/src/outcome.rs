//! The outcome: what the plugins decided about one event, the i-th leaf of the outcome log.
//!
//! ```text
//! outcome: "TALLY_OUTCOME_V1" | leaf hash of event i [32] | u16 count, from 1 | count * binding
//! binding: str plugin | module hash[32] | profile id[32] | u8 fresh | code | u64 gas | H(writes)[32] | H(emits)[32]
//!          | H(effects)[32]
//! code:    u8 | with 1 (rejected): str reason | with 6 (limit): u8 kind
//! ```
//! Numbers are big-endian, str = u32 byte length | bytes. An event that no plugin is bound to has the constant
//! [`EMPTY_BODY`], the tag alone, so that its leaf hash is computed once for ever. Takes and gives [`Outcome`]s;
//! decoding accepts exactly what encoding writes, and asks for the event's leaf, so that no outcome is read beside the
//! wrong event. Ids that plugins derive are here too: [`derived_id`], [`effect_id`].

use core::fmt;
use std::collections::BTreeSet;

use crate::hash::{
    self, DerivedId, EffectId, EffectsHash, EmitsHash, LeafHash, LedgerId, ModuleHash, ProfileId, WritesHash,
};
use crate::id::{Index, PluginId};
use crate::limits::{
    BINDINGS_MAX, LIMIT_NAME_BYTES_MAX, OUTCOME_BYTES_MAX, PLUGIN_ID_BYTES_MAX, PLUGIN_LIMITS_MAX,
    REJECTED_CODE_BYTES_MAX,
};

/// The tag that opens every outcome.
pub const OUTCOME_TAG: &[u8; 16] = b"TALLY_OUTCOME_V1";
/// The outcome of an event that no plugin is bound to.
pub const EMPTY_BODY: &[u8] = OUTCOME_TAG;

/// Why bytes are not an outcome, or values have no encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OutcomeError {
    /// The bytes end before the outcome does.
    #[error("outcome is cut short")]
    Truncated,
    /// Bytes follow where the outcome should end.
    #[error("outcome has surplus bytes")]
    Surplus,
    /// The outcome does not open with its tag.
    #[error("not an outcome")]
    Tag,
    /// The outcome is another event's.
    #[error("outcome of another event")]
    EventLeaf,
    /// No bindings (that is the empty body), or more than [`BINDINGS_MAX`].
    #[error("outcome has {0} bindings")]
    Count(usize),
    /// A plugin's id is not one.
    #[error("plugin id is malformed")]
    Plugin,
    /// A plugin has two bindings.
    #[error("a plugin is bound twice")]
    PluginTwice,
    /// The fresh flag is neither 0 nor 1.
    #[error("fresh flag is {0}")]
    Fresh(u8),
    /// No such code.
    #[error("unknown outcome code: {0}")]
    Code(u8),
    /// The reason of a refusal is not 1 to 32 visible ASCII characters.
    #[error("reason of a refusal is malformed")]
    Reason,
    /// No such limit.
    #[error("unknown limit: {0}")]
    Limit(u8),
    /// The keys of a write set, or the names of a profile's limits, are not in strict order.
    #[error("keys are not in strict order")]
    KeyOrder,
    /// The name of a profile's limit is malformed, or there are too many.
    #[error("limits of a profile are malformed")]
    ProfileLimits,
}

/// The code of a plugin's own refusal: 1 to 32 visible ASCII characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reason(Box<str>);

impl Reason {
    /// Reads a code as a plugin gives it.
    ///
    /// # Errors
    /// It is empty, too long, or holds anything but visible ASCII.
    pub fn new(text: &[u8]) -> Result<Self, OutcomeError> {
        let fits = (1..=REJECTED_CODE_BYTES_MAX).contains(&text.len()) && text.iter().all(u8::is_ascii_graphic);
        let text = core::str::from_utf8(text).ok().filter(|_| fits).ok_or(OutcomeError::Reason)?;
        Ok(Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

macro_rules! limit_kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// Which limit of the host a plugin broke.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum LimitKind {
            $($(#[$doc])* $name = $number,)*
        }

        impl LimitKind {
            /// Every kind, in the order of its numbers.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The number in an outcome.
            #[must_use]
            pub const fn number(self) -> u8 {
                self as u8
            }

            /// The kind as it travels: `snake_case`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

limit_kinds! {
    /// The event's body is longer than a plugin is given.
    EventBytes = 1, "event_bytes";
    /// A key is empty or too long.
    KeyBytes = 2, "key_bytes";
    /// A value is too long.
    ValueBytes = 3, "value_bytes";
    /// Too many keys written.
    Writes = 4, "writes";
    /// Too many bytes written.
    WriteBytes = 5, "write_bytes";
    /// Too many emits.
    Emits = 6, "emits";
    /// An emit's type or body is too long, or all of them are.
    EmitBytes = 7, "emit_bytes";
    /// Emits of emits of emits.
    EmitDepth = 8, "emit_depth";
    /// Too many effects.
    Effects = 9, "effects";
    /// An effect's kind, suffix or body is too long.
    EffectBytes = 10, "effect_bytes";
    /// The label of a derived id is too long.
    LabelBytes = 11, "label_bytes";
    /// Too many rows or bytes read in one call.
    ReadBytes = 12, "read_bytes";
    /// Too many calls of the host.
    HostCalls = 13, "host_calls";
    /// The plugin's state in this stream is full.
    StateBytes = 14, "state_bytes";
}

impl LimitKind {
    /// The kind of a number, if it is one.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.number() == number)
    }
}

/// How a binding's part in an event ended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OutcomeCode {
    /// What it did counts.
    Accepted,
    /// The plugin refused, with its own code.
    Rejected(Reason),
    /// The gas ran out.
    OutOfGas,
    /// The counted stack ran out.
    StackExceeded,
    /// The memory limit was met.
    MemoryExceeded,
    /// It trapped; the kind is not said, because engines differ in it.
    Trapped,
    /// It broke a limit of the host.
    Limit(LimitKind),
    /// It gave something that is not in the contract.
    BadOutput,
    /// A derived event that it emitted, or that it came from, was not accepted.
    DependencyRejected,
}

impl OutcomeCode {
    /// The number in an outcome.
    #[must_use]
    pub const fn number(&self) -> u8 {
        match self {
            Self::Accepted => 0,
            Self::Rejected(_) => 1,
            Self::OutOfGas => 2,
            Self::StackExceeded => 3,
            Self::MemoryExceeded => 4,
            Self::Trapped => 5,
            Self::Limit(_) => 6,
            Self::BadOutput => 7,
            Self::DependencyRejected => 8,
        }
    }

    /// The code as it travels: `snake_case`, without reason and kind.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected(_) => "rejected",
            Self::OutOfGas => "out_of_gas",
            Self::StackExceeded => "stack_exceeded",
            Self::MemoryExceeded => "memory_exceeded",
            Self::Trapped => "trapped",
            Self::Limit(_) => "limit",
            Self::BadOutput => "bad_output",
            Self::DependencyRejected => "dependency_rejected",
        }
    }

    /// Whether the plugin's work on the event counts.
    #[must_use]
    pub const fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted)
    }

    /// Whether the plugin failed, rather than accepted or refused in its own words; such failures lead to quarantine
    /// and charge the whole gas limit.
    #[must_use]
    pub const fn is_failure(&self) -> bool {
        !matches!(self, Self::Accepted | Self::Rejected(_) | Self::DependencyRejected)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(self.number());
        match self {
            Self::Rejected(reason) => put_str(out, reason.as_str().as_bytes()),
            Self::Limit(kind) => out.push(kind.number()),
            _ => {}
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, OutcomeError> {
        Ok(match reader.u8()? {
            0 => Self::Accepted,
            1 => Self::Rejected(Reason::new(reader.str(REJECTED_CODE_BYTES_MAX, OutcomeError::Reason)?)?),
            2 => Self::OutOfGas,
            3 => Self::StackExceeded,
            4 => Self::MemoryExceeded,
            5 => Self::Trapped,
            6 => {
                let number = reader.u8()?;
                Self::Limit(LimitKind::from_number(number).ok_or(OutcomeError::Limit(number))?)
            }
            7 => Self::BadOutput,
            8 => Self::DependencyRejected,
            number => return Err(OutcomeError::Code(number)),
        })
    }
}

impl fmt::Display for OutcomeCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(reason) => write!(f, "rejected({})", reason.as_str()),
            Self::Limit(kind) => write!(f, "limit({})", kind.as_str()),
            _ => f.write_str(self.as_str()),
        }
    }
}

/// What one plugin did at one event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BindingOutcome {
    /// The plugin.
    pub plugin: PluginId,
    /// Its module.
    pub module: ModuleHash,
    /// The rules it ran under.
    pub profile: ProfileId,
    /// Whether it ran in a new instance: a cut, which replay follows.
    pub fresh: bool,
    /// How it ended.
    pub code: OutcomeCode,
    /// The gas charged.
    pub gas: u64,
    /// What it wrote; of nothing, unless the code is accepted.
    pub writes: WritesHash,
    /// What it emitted.
    pub emits: EmitsHash,
    /// What effects it asked for.
    pub effects: EffectsHash,
}

impl BindingOutcome {
    fn write(&self, out: &mut Vec<u8>) {
        put_str(out, self.plugin.as_str().as_bytes());
        out.extend_from_slice(self.module.as_bytes());
        out.extend_from_slice(self.profile.as_bytes());
        out.push(u8::from(self.fresh));
        self.code.write(out);
        out.extend_from_slice(&self.gas.to_be_bytes());
        out.extend_from_slice(self.writes.as_bytes());
        out.extend_from_slice(self.emits.as_bytes());
        out.extend_from_slice(self.effects.as_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, OutcomeError> {
        Ok(Self {
            plugin: reader.plugin()?,
            module: ModuleHash::from_bytes(reader.array()?),
            profile: ProfileId::from_bytes(reader.array()?),
            fresh: reader.flag()?,
            code: OutcomeCode::read(reader)?,
            gas: u64::from_be_bytes(reader.array()?),
            writes: WritesHash::from_bytes(reader.array()?),
            emits: EmitsHash::from_bytes(reader.array()?),
            effects: EffectsHash::from_bytes(reader.array()?),
        })
    }
}

/// The outcome of one event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Outcome {
    /// The leaf hash of the event.
    pub event_leaf: LeafHash,
    /// What each plugin did, in install order; none if no plugin is bound to the event.
    pub bindings: Vec<BindingOutcome>,
}

impl Outcome {
    /// Whether the outcome has an encoding that reads back: at most [`BINDINGS_MAX`] bindings, each plugin once.
    ///
    /// # Errors
    /// It has not.
    pub fn check(&self) -> Result<(), OutcomeError> {
        if self.bindings.len() > BINDINGS_MAX {
            return Err(OutcomeError::Count(self.bindings.len()));
        }
        let mut seen = BTreeSet::new();
        if self.bindings.iter().all(|binding| seen.insert(&binding.plugin)) {
            Ok(())
        } else {
            Err(OutcomeError::PluginTwice)
        }
    }

    /// The outcome's bytes. Only an outcome that passes [`Outcome::check`] decodes again.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        if self.bindings.is_empty() {
            return EMPTY_BODY.to_vec();
        }
        let mut out = Vec::with_capacity(50 + 240 * self.bindings.len());
        out.extend_from_slice(OUTCOME_TAG);
        out.extend_from_slice(self.event_leaf.as_bytes());
        out.extend_from_slice(&u16::try_from(self.bindings.len()).unwrap_or(u16::MAX).to_be_bytes());
        self.bindings.iter().for_each(|binding| binding.write(&mut out));
        out
    }

    /// What the outcome log's tree holds: SHA-256(0x00 | outcome).
    #[must_use]
    pub fn leaf_hash(&self) -> LeafHash {
        hash::leaf(&self.encode())
    }

    /// Decodes the outcome of the event that has this leaf hash.
    ///
    /// # Errors
    /// The bytes are anything but what [`Outcome::encode`] writes for that event.
    pub fn decode(bytes: &[u8], event_leaf: LeafHash) -> Result<Self, OutcomeError> {
        if bytes.len() > OUTCOME_BYTES_MAX {
            return Err(OutcomeError::Surplus);
        }
        let mut reader = Reader(bytes);
        if &reader.array()? != OUTCOME_TAG {
            return Err(OutcomeError::Tag);
        }
        if reader.0.is_empty() {
            return Ok(Self { event_leaf, bindings: Vec::new() });
        }
        if LeafHash::from_bytes(reader.array()?) != event_leaf {
            return Err(OutcomeError::EventLeaf);
        }
        let count = usize::from(u16::from_be_bytes(reader.array()?));
        if !(1..=BINDINGS_MAX).contains(&count) {
            return Err(OutcomeError::Count(count));
        }
        let bindings = (0..count).map(|_| BindingOutcome::read(&mut reader)).collect::<Result<_, _>>()?;
        if !reader.0.is_empty() {
            return Err(OutcomeError::Surplus);
        }
        let outcome = Self { event_leaf, bindings };
        outcome.check()?;
        Ok(outcome)
    }
}

/// The leaf hash of [`EMPTY_BODY`].
#[must_use]
pub fn empty_leaf() -> LeafHash {
    hash::leaf(EMPTY_BODY)
}

/// The hash of a write set: each key once, in the order of its bytes, with its new value, or none if it was deleted.
///
/// # Errors
/// The keys are not in strict order.
pub fn writes_hash<'a>(
    writes: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
) -> Result<WritesHash, OutcomeError> {
    let (mut last, mut ordered) = (None, true);
    let hash = hash::writes(writes.into_iter().inspect(|(key, _)| {
        ordered &= last.is_none_or(|last: &[u8]| last < *key);
        last = Some(*key);
    }));
    if ordered { Ok(hash) } else { Err(OutcomeError::KeyOrder) }
}

/// Writes a write set behind others, for [`writes_hashes`].
///
/// # Errors
/// The keys are not in strict order; what was written is of no use.
pub fn write_set<'a>(
    writes: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    out: &mut Vec<u8>,
) -> Result<(), OutcomeError> {
    let mut last: Option<&[u8]> = None;
    for (key, value) in writes {
        if last.is_some_and(|last| last >= key) {
            return Err(OutcomeError::KeyOrder);
        }
        last = Some(key);
        put_str(out, key);
        out.push(u8::from(value.is_some()));
        if let Some(value) = value {
            put_str(out, value);
        }
    }
    Ok(())
}

/// The hashes of many sets that [`write_set`] wrote: as [`writes_hash`], and many at once.
#[must_use]
pub fn writes_hashes<'a>(sets: impl IntoIterator<Item = &'a [u8]>) -> Vec<WritesHash> {
    hash::writes_many(sets.into_iter())
}

/// What decides how a module runs, beside the module and the events. The engine is not in it: gas and stack are
/// counted by injected code, so every engine gives the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile<'a> {
    /// The version of the ABI.
    pub abi: u32,
    /// The version of the validator.
    pub validator: u32,
    /// The version of the gas table.
    pub gas_table: u32,
    /// The version of the instrumentation.
    pub instrumentation: u32,
    /// The limits by name, in the order of the names' bytes.
    pub limits: &'a [(&'a str, u64)],
}

impl Profile<'_> {
    /// The profile's id.
    ///
    /// # Errors
    /// A limit's name is malformed or not after the one before.
    pub fn id(&self) -> Result<ProfileId, OutcomeError> {
        if self.limits.len() > PLUGIN_LIMITS_MAX || !self.limits.iter().all(|(name, _)| is_limit_name(name)) {
            return Err(OutcomeError::ProfileLimits);
        }
        if !self.limits.windows(2).all(|pair| matches!(pair, [left, right] if left.0 < right.0)) {
            return Err(OutcomeError::KeyOrder);
        }
        Ok(hash::profile([self.abi, self.validator, self.gas_table, self.instrumentation], self.limits))
    }
}

/// Whether a text may name a limit: 1 to 64 of `a-z`, `0-9` and underscore.
#[must_use]
pub(crate) fn is_limit_name(name: &str) -> bool {
    let allowed = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'_');
    (1..=LIMIT_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed)
}

/// The id that a plugin gets for a label: a function of the place in the log, of nothing that a client chose.
///
/// `call` counts the plugin's calls of `id` at this event from 0, over everything it runs there.
#[must_use]
pub fn derived_id(ledger: &LedgerId, index: Index, plugin: &PluginId, call: u32, label: &[u8]) -> DerivedId {
    let (place, label) = (place(index, plugin, call), lengthened(label));
    DerivedId::from_bytes(hash::derived_id(&[ledger.as_bytes(), &place, &label]))
}

/// The id of an effect. `call` counts the plugin's calls of `effect` at this event from 0, over everything it runs
/// there; kind and suffix are the plugin's.
#[must_use]
pub fn effect_id(ledger: &LedgerId, index: Index, plugin: &PluginId, call: u32, kind: &str, suffix: &[u8]) -> EffectId {
    let place = place(index, plugin, call);
    hash::effect_id(&[ledger.as_bytes(), &place, &lengthened(kind.as_bytes()), &lengthened(suffix)])
}

fn place(index: Index, plugin: &PluginId, call: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 + plugin.as_str().len());
    out.extend_from_slice(&index.get().to_be_bytes());
    put_str(&mut out, plugin.as_str().as_bytes());
    out.extend_from_slice(&call.to_be_bytes());
    out
}

fn lengthened(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + bytes.len());
    put_str(&mut out, bytes);
    out
}

/// Bytes after their length. Nothing here comes near 4 GiB: guests have a 32-bit memory.
pub(crate) fn put_str(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// What is still to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], OutcomeError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(OutcomeError::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, OutcomeError> {
        self.array().map(|[byte]| byte)
    }

    fn flag(&mut self) -> Result<bool, OutcomeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            byte => Err(OutcomeError::Fresh(byte)),
        }
    }

    fn str(&mut self, bytes_max: usize, error: OutcomeError) -> Result<&'a [u8], OutcomeError> {
        let length = usize::try_from(u32::from_be_bytes(self.array()?)).map_err(|_| error)?;
        if length > bytes_max {
            return Err(error);
        }
        let (taken, rest) = self.0.split_at_checked(length).ok_or(OutcomeError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn plugin(&mut self) -> Result<PluginId, OutcomeError> {
        let bytes = self.str(PLUGIN_ID_BYTES_MAX, OutcomeError::Plugin)?;
        let text = core::str::from_utf8(bytes).map_err(|_| OutcomeError::Plugin)?;
        PluginId::new(text).map_err(|_| OutcomeError::Plugin)
    }
}

#[cfg(test)]
mod tests;
