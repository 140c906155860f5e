//! What became of one event at one binding. A stand-in in the shape of the contract until the protocol's own lands.

use core::fmt;

/// Longest code text of a rejection.
pub const CODE_BYTES_MAX: usize = 32;

/// A guest's own reason to reject: 1 to 32 characters of `[a-z0-9_.-]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reason(Box<str>);

impl Reason {
    /// Reads a code, strictly.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let fits = (1..=CODE_BYTES_MAX).contains(&bytes.len())
            && bytes.iter().all(|c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-'));
        fits.then(|| Self(bytes.iter().copied().map(char::from).collect()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which limit of the host a guest broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LimitKind {
    /// The event's body is longer than a plugin is given.
    EventBytes,
    /// A key is empty or too long.
    KeyBytes,
    /// A key begins with none of the manifest's prefixes.
    KeyPrefix,
    /// A value is too long.
    ValueBytes,
    /// Too many keys written.
    Writes,
    /// Too many bytes written.
    WriteBytes,
    /// Too many emits.
    Emits,
    /// An emit's type or body is too long.
    EmitBytes,
    /// Emits of emits of emits.
    EmitDepth,
    /// Too many effects.
    Effects,
    /// An effect's kind, suffix or body is too long.
    EffectBytes,
    /// The label of a derived id is too long.
    LabelBytes,
    /// Too many rows or bytes read in one call.
    ReadBytes,
}

/// What became of one event at one binding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OutcomeCode {
    /// The guest accepted; writes, emits and effects stand.
    Accepted,
    /// The guest rejected, with its reason; nothing stands.
    Rejected(Reason),
    /// Gas ran out.
    OutOfGas,
    /// The counted stack ran out.
    StackExceeded,
    /// Memory was to grow beyond the limit.
    MemoryExceeded,
    /// The guest trapped; the kind of trap is no part of the outcome, because engines disagree about it.
    Trapped,
    /// A host-call limit was passed.
    Limit(LimitKind),
    /// The guest broke the contract: a pointer out of bounds, no verdict, two verdicts, a call out of turn.
    BadOutput,
    /// A derived event was not accepted downstream.
    DependencyRejected,
}

impl OutcomeCode {
    /// Whether the event's own gas stands, rather than the full limit.
    #[must_use]
    pub const fn charges_what_was_used(&self) -> bool {
        matches!(self, Self::Accepted | Self::Rejected(_))
    }

    /// Whether the instance may go on to the next event.
    #[must_use]
    pub const fn keeps_the_instance(&self) -> bool {
        matches!(self, Self::Accepted | Self::Rejected(_))
    }
}

impl fmt::Display for OutcomeCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted => f.write_str("accepted"),
            Self::Rejected(code) => write!(f, "rejected({})", code.as_str()),
            Self::OutOfGas => f.write_str("out-of-gas"),
            Self::StackExceeded => f.write_str("stack-exceeded"),
            Self::MemoryExceeded => f.write_str("memory-exceeded"),
            Self::Trapped => f.write_str("trapped"),
            Self::Limit(kind) => write!(f, "limit({kind:?})"),
            Self::BadOutput => f.write_str("bad-output"),
            Self::DependencyRejected => f.write_str("dependency-rejected"),
        }
    }
}
