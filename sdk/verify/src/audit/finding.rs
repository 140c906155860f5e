//! What an audit found, and where exactly.

use core::fmt;

use tally_protocol::hash::RootHash;
use tally_protocol::id::{Index, Sequence, Stream, TreeSize};

/// Where something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// One entry.
    Entry(Index),
    /// Some entry of `from..to` (half-open): which one, nothing at hand can tell.
    Range(Index, Index),
    /// Not an entry: a commitment of a stream (its first sequence).
    Commitment(Stream, Sequence),
}

impl Place {
    fn start(&self) -> Index {
        match self {
            Self::Entry(at) | Self::Range(at, _) => *at,
            Self::Commitment(..) => Index::new(u64::MAX),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry(at) => write!(f, "entry {at}"),
            Self::Range(from, to) => write!(f, "entries {from}..{to}"),
            Self::Commitment(stream, sequence) => write!(f, "commitment of {stream} from sequence {sequence}"),
        }
    }
}

/// Which rule is broken. In order of how much a finding explains: of several at one place the first is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// A run's bytes are those that were written.
    RunBytes,
    /// A run names the ledger.
    RunLedger,
    /// A run names the hash of the run before it.
    RunChain,
    /// The writer's epoch never falls.
    RunEpoch,
    /// Indexes follow each other without gap or repetition.
    IndexGap,
    /// Sequences of a stream follow each other without gap or repetition.
    SequenceGap,
    /// An event id occurs once in its stream.
    EventIdRepeated,
    /// Log time never falls.
    TimeFalls,
    /// An event is not dated further ahead of log time than the rule allows.
    CreatedAhead,
    /// The payload hashes to what was signed.
    PayloadHash,
    /// The key was registered for the agent and valid at that log time, and the signer had the right to write there.
    KeyNotValid,
    /// The signature is the key's over the event.
    AgentSignature,
    /// A control event is one that the state before it allows.
    ControlRefused,
    /// The entity type is on the store's list, or a plugin that runs there was granted it.
    EntityTypeUnknown,
    /// An outcome's bytes are one, and of the event at its place.
    OutcomeBytes,
    /// The entry's leaf is the one that the stored tile holds.
    TileDiffers,
    /// The stored tile does not hold the nodes of the log, and a signed root shows that the entries are good; or its
    /// middle row does not follow from its hashes.
    TileDamaged,
    /// The stored tile exists.
    TileMissing,
    /// A checkpoint is signed by the key that must have signed it.
    CheckpointSignature,
    /// The entries give the root that was signed.
    CheckpointRoot,
    /// There is one signed root per size.
    TwoRoots,
    /// The log is as long as its signed checkpoints say.
    Truncated,
    /// Commitments of a stream chain: contiguous ranges from sequence 1, each naming the state root before it.
    CommitmentChain,
    /// A commitment's root is that of its events.
    CommitmentRoot,
}

impl Rule {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RunBytes => "run_bytes",
            Self::RunLedger => "run_ledger",
            Self::RunChain => "run_chain",
            Self::RunEpoch => "run_epoch",
            Self::IndexGap => "index_gap",
            Self::SequenceGap => "sequence_gap",
            Self::EventIdRepeated => "event_id_repeated",
            Self::TimeFalls => "time_falls",
            Self::CreatedAhead => "created_ahead",
            Self::PayloadHash => "payload_hash",
            Self::AgentSignature => "agent_signature",
            Self::KeyNotValid => "key_not_valid",
            Self::ControlRefused => "control_refused",
            Self::EntityTypeUnknown => "entity_type_unknown",
            Self::OutcomeBytes => "outcome_bytes",
            Self::TileDiffers => "tile_differs",
            Self::TileDamaged => "tile_damaged",
            Self::TileMissing => "tile_missing",
            Self::CheckpointSignature => "checkpoint_signature",
            Self::CheckpointRoot => "checkpoint_root",
            Self::TwoRoots => "two_roots",
            Self::Truncated => "truncated",
            Self::CommitmentChain => "commitment_chain",
            Self::CommitmentRoot => "commitment_root",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One broken rule at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub place: Place,
    /// Which rule.
    pub rule: Rule,
    /// In words; never payload content.
    pub why: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.place, self.why, self.rule)
    }
}

/// How many findings are kept; a log with more is bad enough.
const FINDINGS_MAX: usize = 256;

/// Findings while an audit runs.
#[derive(Debug, Default)]
pub(super) struct Findings {
    list: Vec<Finding>,
    dropped: u64,
}

impl Findings {
    pub(super) fn add(&mut self, place: Place, rule: Rule, why: impl fmt::Display) {
        if self.list.len() < FINDINGS_MAX {
            self.list.push(Finding { place, rule, why: why.to_string() });
        } else {
            self.dropped += 1;
        }
    }

    /// A signed root over everything below `size` agrees with the entries: tiles that disagree with them are damaged.
    pub(super) fn entries_proven_below(&mut self, size: TreeSize) {
        for finding in &mut self.list {
            if finding.rule == Rule::TileDiffers && size.holds(finding.place.start()) {
                finding.rule = Rule::TileDamaged;
            }
        }
    }
}

/// What was audited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Runs read.
    pub runs: u64,
    /// Events re-derived.
    pub events: u64,
    /// Streams seen.
    pub streams: u64,
    /// Agent signatures checked.
    pub signatures: u64,
    /// Signed checkpoints whose root was re-derived.
    pub checkpoints: u64,
    /// Tiles compared.
    pub tiles: u64,
    /// Commitments whose root was re-derived.
    pub commitments: u64,
}

/// The result of an audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Every broken rule that was found, by place; at most 256.
    pub findings: Vec<Finding>,
    /// How many more there were.
    pub dropped: u64,
    /// How many entries the log has, genesis included, as far as the audit came.
    pub size: TreeSize,
    /// The root of these entries, re-derived.
    pub root: RootHash,
    /// The largest size whose signed root was re-derived: what is proven. Entries past it are covered by no signature.
    pub signed: Option<TreeSize>,
    /// What was done.
    pub tally: Tally,
}

impl Verdict {
    pub(super) fn new(
        mut findings: Findings,
        size: TreeSize,
        root: RootHash,
        signed: Option<TreeSize>,
        tally: Tally,
    ) -> Self {
        findings.list.sort_by_key(|finding| (finding.place.start(), finding.rule));
        Self { findings: findings.list, dropped: findings.dropped, size, root, signed, tally }
    }

    /// Whether no rule is broken.
    #[must_use]
    pub const fn clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// The first bad entry: the finding at the lowest place; where that is a range, the first finding that names an
    /// entry inside it.
    #[must_use]
    pub fn first_bad(&self) -> Option<&Finding> {
        let first = self.findings.first()?;
        let Place::Range(from, to) = first.place else {
            return Some(first);
        };
        let inside = |finding: &&Finding| matches!(finding.place, Place::Entry(at) if (from..to).contains(&at));
        Some(self.findings.iter().find(inside).unwrap_or(first))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tally = &self.tally;
        writeln!(
            f,
            "re-derived {} events of {} streams in {} runs: {} signatures, {} checkpoints, {} tiles, {} commitments",
            tally.events,
            tally.streams,
            tally.runs,
            tally.signatures,
            tally.checkpoints,
            tally.tiles,
            tally.commitments
        )?;
        for finding in &self.findings {
            writeln!(f, "  BAD  {finding}")?;
        }
        if self.dropped > 0 {
            writeln!(f, "  BAD  and {} more", self.dropped)?;
        }
        match (self.first_bad(), self.signed) {
            (Some(first), _) => write!(f, "first bad: {first}"),
            (None, Some(signed)) if signed == self.size => write!(f, "clean: size {}, root {}", self.size, self.root),
            (None, Some(signed)) => {
                write!(f, "clean: size {}, root {}; signed up to size {signed}", self.size, self.root)
            }
            (None, None) => write!(f, "clean: size {}, root {}; no signed checkpoint was given", self.size, self.root),
        }
    }
}
