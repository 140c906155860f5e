//! What a verification says: every check by name, in words, in the order it was made.
//!
//! Takes the outcome of one check after the other, gives a [`Report`]. The first failure ends a report, because what
//! follows would rest on something that does not hold; the checks that were therefore not made are listed as such.
//! A report never claims more than was checked: what nobody told the verifier to trust is said as a caveat.

use core::fmt;

use tally_protocol::hash::{LeafHash, LedgerId, RootHash};
use tally_protocol::id::{Index, TreeSize};
use tally_protocol::jcs::Value;

use crate::anchor::ProvenAnchor;

/// A check that a verification makes, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// The genesis entry decodes and its keys may be used.
    Genesis,
    /// The ledger is the one the caller trusts.
    LedgerId,
    /// The verifier keys are those that genesis names (or the caller gave).
    VerifierKeys,
    /// The event's frame decodes.
    Frame,
    /// The payload is canonical and hashes to what the agent signed.
    PayloadHash,
    /// The agent's signature holds over the event.
    AgentSignature,
    /// The log's entry, re-derived from the event and its place, has the stated leaf hash.
    Leaf,
    /// The checkpoint is of this ledger and carries a signature by one of its keys.
    CheckpointSignature,
    /// The path leads from the leaf to the checkpoint's root.
    Inclusion,
    /// A newer checkpoint extends an older one.
    Consistency,
    /// The bytes are the outcome of the event that has this leaf.
    Outcome,
    /// The checkpoint of outcomes says what plugins hold, and nothing else, behind its tree head.
    StateRoot,
    /// The raw transaction decodes, is for the stated chain and contract, and names its sender.
    AnchorTransaction,
    /// Its call moves the ledger's log, once.
    AnchorCall,
    /// The log's authority signed this size and root for this contract.
    AnchorAuthority,
    /// The anchored checkpoint is the ledger's, and of the size, root and bytes that were anchored.
    AnchorCheckpoint,
    /// The path leads from the leaf to the anchored root.
    AnchorInclusion,
    /// The call data asks the contract for just this.
    AnchorQuery,
    /// The event's outcome is under the root of the log of outcomes that was anchored with it.
    AnchorOutcome,
}

impl Check {
    /// The checks of one event's bundle, in order.
    pub const OF_AN_EVENT: &[Self] = &[
        Self::Genesis,
        Self::LedgerId,
        Self::VerifierKeys,
        Self::Frame,
        Self::PayloadHash,
        Self::AgentSignature,
        Self::Leaf,
        Self::CheckpointSignature,
        Self::Inclusion,
    ];

    /// The checks of one anchor, in order; [`Check::AnchorOutcome`] follows if it has the outcome.
    pub const OF_AN_ANCHOR: &[Self] = &[
        Self::AnchorTransaction,
        Self::AnchorCall,
        Self::AnchorAuthority,
        Self::AnchorCheckpoint,
        Self::AnchorInclusion,
        Self::AnchorQuery,
    ];

    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Genesis => "genesis",
            Self::LedgerId => "ledger_id",
            Self::VerifierKeys => "verifier_keys",
            Self::Frame => "frame",
            Self::PayloadHash => "payload_hash",
            Self::AgentSignature => "agent_signature",
            Self::Leaf => "leaf",
            Self::CheckpointSignature => "checkpoint_signature",
            Self::Inclusion => "inclusion",
            Self::Consistency => "consistency",
            Self::Outcome => "outcome",
            Self::StateRoot => "state_root",
            Self::AnchorTransaction => "anchor_transaction",
            Self::AnchorCall => "anchor_call",
            Self::AnchorAuthority => "anchor_authority",
            Self::AnchorCheckpoint => "anchor_checkpoint",
            Self::AnchorInclusion => "anchor_inclusion",
            Self::AnchorQuery => "anchor_query",
            Self::AnchorOutcome => "anchor_outcome",
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A check that did not hold: which, and why, in words without payload content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{check}: {why}")]
pub struct CheckFailed {
    /// Which check.
    pub check: Check,
    /// Why it failed.
    pub why: String,
}

impl CheckFailed {
    pub(crate) fn new(check: Check, why: impl fmt::Display) -> Self {
        Self { check, why: why.to_string() }
    }
}

/// How one check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It holds; the text says what exactly was found.
    Passed(String),
    /// It does not hold; the text says why.
    Failed(String),
    /// It was not made, because an earlier one failed.
    NotMade,
}

/// One line of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Which check.
    pub check: Check,
    /// How it ended.
    pub outcome: Outcome,
}

/// What is proven when every check passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// The ledger.
    pub ledger_id: Option<LedgerId>,
    /// The log's name.
    pub origin: String,
    /// The event's position in the log.
    pub index: Index,
    /// Its leaf hash.
    pub leaf_hash: LeafHash,
    /// Size of the tree it is proven to be in.
    pub size: TreeSize,
    /// Root of that tree.
    pub root: RootHash,
    /// Where it is anchored, as far as bytes alone can show.
    pub anchors: Vec<ProvenAnchor>,
}

fn anchor_json(anchor: &ProvenAnchor) -> Value {
    let text = |text: String| Value::String(text);
    Value::object([
        ("authority", text(anchor.authority.to_hex())),
        ("chain_id", integer(anchor.chain_id)),
        ("contract", text(anchor.contract.to_hex())),
        ("log_id", text(anchor.log_id.to_hex())),
        ("outcome", Value::Bool(anchor.outcome)),
        ("pinned", Value::Bool(anchor.pinned)),
        ("root", text(anchor.root.to_hex())),
        ("sender", text(anchor.sender.to_hex())),
        ("size", integer(anchor.size.get())),
        ("transaction", text(anchor.transaction.to_hex())),
    ])
}

/// Every check that was made, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    lines: Vec<Line>,
    caveats: Vec<String>,
    proven: Option<Proven>,
}

impl Report {
    /// Whether every check was made and holds.
    #[must_use]
    pub const fn verified(&self) -> bool {
        self.proven.is_some()
    }

    /// The check that failed, if one did.
    #[must_use]
    pub fn first_failure(&self) -> Option<CheckFailed> {
        self.lines.iter().find_map(|line| match &line.outcome {
            Outcome::Failed(why) => Some(CheckFailed { check: line.check, why: why.clone() }),
            Outcome::Passed(_) | Outcome::NotMade => None,
        })
    }

    /// All checks, in order.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// What the checks cannot say, in words.
    #[must_use]
    pub fn caveats(&self) -> &[String] {
        &self.caveats
    }

    /// What is proven; nothing if a check failed.
    #[must_use]
    pub const fn proven(&self) -> Option<&Proven> {
        self.proven.as_ref()
    }

    /// The report for scripts: `{"verified", "checks": [{"name", "outcome", "words"}], "caveats", "proven"}`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let text = |text: &str| Value::String(text.to_owned());
        let checks = self.lines.iter().map(|line| {
            let (outcome, words) = match &line.outcome {
                Outcome::Passed(words) => ("passed", words.as_str()),
                Outcome::Failed(words) => ("failed", words.as_str()),
                Outcome::NotMade => ("not_made", ""),
            };
            Value::object([("name", text(line.check.as_str())), ("outcome", text(outcome)), ("words", text(words))])
        });
        let proven = self.proven.as_ref().map_or(Value::Null, |proven| {
            Value::object([
                ("anchors", Value::Array(proven.anchors.iter().map(anchor_json).collect())),
                ("index", integer(proven.index.get())),
                ("leaf_hash", text(&proven.leaf_hash.to_hex())),
                ("ledger_id", proven.ledger_id.map_or(Value::Null, |id| text(&id.to_hex()))),
                ("origin", text(&proven.origin)),
                ("root", text(&proven.root.to_hex())),
                ("size", integer(proven.size.get())),
            ])
        });
        Value::object([
            ("verified", Value::Bool(self.verified())),
            ("checks", Value::Array(checks.collect())),
            ("caveats", Value::Array(self.caveats.iter().map(|caveat| text(caveat)).collect())),
            ("proven", proven),
        ])
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            match &line.outcome {
                Outcome::Passed(words) => writeln!(f, "  ok    {:<21} {words}", line.check.as_str())?,
                Outcome::Failed(words) => writeln!(f, "  FAIL  {:<21} {words}", line.check.as_str())?,
                Outcome::NotMade => writeln!(f, "  -     {:<21} not checked", line.check.as_str())?,
            }
        }
        for caveat in &self.caveats {
            writeln!(f, "  note  {caveat}")?;
        }
        match self.first_failure() {
            None => write!(f, "verified"),
            Some(failed) => write!(f, "NOT VERIFIED: {failed}"),
        }
    }
}

/// Collects the lines of a report while checks are made.
pub(crate) struct Checklist {
    planned: Vec<Check>,
    lines: Vec<Line>,
    caveats: Vec<String>,
}

impl Checklist {
    /// A report that is going to make these checks, in order; one may come several times.
    pub(crate) fn new(planned: impl IntoIterator<Item = Check>) -> Self {
        let planned: Vec<Check> = planned.into_iter().collect();
        Self { lines: Vec::with_capacity(planned.len()), planned, caveats: Vec::new() }
    }

    /// The check holds; `words` say what was found.
    pub(crate) fn passed(&mut self, check: Check, words: impl Into<String>) {
        self.lines.push(Line { check, outcome: Outcome::Passed(words.into()) });
    }

    pub(crate) fn caveat(&mut self, words: impl Into<String>) {
        self.caveats.push(words.into());
    }

    /// Ends the report.
    pub(crate) fn close(mut self, result: Result<Proven, CheckFailed>) -> Report {
        let proven = match result {
            Ok(proven) => Some(proven),
            Err(failed) => {
                self.lines.push(Line { check: failed.check, outcome: Outcome::Failed(failed.why) });
                for line in &self.lines {
                    if let Some(at) = self.planned.iter().position(|check| *check == line.check) {
                        self.planned.remove(at);
                    }
                }
                self.lines.extend(self.planned.iter().map(|&check| Line { check, outcome: Outcome::NotMade }));
                None
            }
        };
        Report { lines: self.lines, caveats: self.caveats, proven }
    }
}

/// A whole number; positions beyond 2^53 have no exact JSON number and do not occur.
pub(crate) fn integer(value: u64) -> Value {
    Value::integer(value).unwrap_or(Value::Null)
}
