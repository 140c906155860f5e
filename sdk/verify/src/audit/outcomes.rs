//! The audit of the log of outcomes beside the log of events.
//!
//! Takes the ledger, then (before their outcomes) the signed checkpoints, then every outcome in order with the leaf
//! hash of its event, which the audit of events derives; gives an [`OutcomeVerdict`]. Checked per outcome: the bytes
//! are one, and of that event; per checkpoint: signature, name, root, and that it says what plugins hold and nothing
//! else. Whether an outcome is what the plugins decide, only re-execution shows.

use core::fmt;
use std::collections::BTreeMap;

use tally_merkle::Frontier;
use tally_protocol::checkpoint::Checkpoint;
use tally_protocol::hash::{self, LeafHash, RootHash, StatesRoot};
use tally_protocol::id::{Index, TreeSize};
use tally_protocol::outcome::Outcome;
use tally_protocol::outcome_log;

use super::checkpoints::{Expected, Signed};
use super::finding::{Finding, Findings, Place, Rule, Tally, Verdict};
use crate::ledger::{Ledger, Log};

/// A running audit of outcomes.
#[derive(Debug)]
pub struct OutcomeAudit {
    ledger: Ledger,
    expected: Expected,
    findings: Findings,
    frontier: Frontier,
    /// What was signed about plugins' state, by size.
    states: BTreeMap<TreeSize, Option<StatesRoot>>,
    bindings: u64,
}

impl OutcomeAudit {
    /// Starts at the outcome of the genesis entry.
    #[must_use]
    pub fn new(ledger: Ledger) -> Self {
        Self {
            ledger,
            expected: Expected::of(Log::Outcomes),
            findings: Findings::default(),
            frontier: Frontier::new(),
            states: BTreeMap::new(),
            bindings: 0,
        }
    }

    /// How many outcomes were taken in, that of genesis included.
    #[must_use]
    pub fn size(&self) -> TreeSize {
        self.frontier.size()
    }

    /// Names a signed checkpoint that the outcomes must meet, and gives it with the root over all that it claims. Must
    /// come before the outcomes reach its size.
    pub fn expect_checkpoint(&mut self, note: &str, signed: Signed) -> Option<(Checkpoint, Option<StatesRoot>)> {
        let checkpoint = self.expected.add(&self.ledger, note, signed, self.size(), &mut self.findings)?;
        match outcome_log::states_root(&checkpoint) {
            Ok(states) => {
                let size = checkpoint.size;
                if *self.states.entry(size).or_insert(states) != states {
                    let place = Place::Range(Index::new(0), Index::new(size.get()));
                    self.findings.add(place, Rule::TwoRoots, format!("two state roots were signed for size {size}"));
                }
                Some((checkpoint, states))
            }
            Err(error) => {
                let place = Place::Range(Index::new(0), Index::new(checkpoint.size.get()));
                self.findings.add(place, Rule::CheckpointSignature, error);
                None
            }
        }
    }

    /// Takes in the next outcome, of the event that has this leaf hash; gives it, unless its bytes are none.
    pub fn push(&mut self, event: LeafHash, body: &[u8]) -> Option<Outcome> {
        let index = Index::new(self.size().get());
        self.frontier.append(hash::leaf(body));
        let outcome = match Outcome::decode(body, event) {
            Ok(outcome) => {
                self.bindings += outcome.bindings.len() as u64;
                Some(outcome)
            }
            Err(error) => {
                self.findings.add(Place::Entry(index), Rule::OutcomeBytes, format!("the outcome is none: {error}"));
                None
            }
        };
        let size = self.size();
        if self.expected.next() == Some(size) {
            self.expected.reach(size, self.frontier.root(), &mut self.findings);
        }
        outcome
    }

    /// Ends the audit: there are no more outcomes.
    #[must_use]
    pub fn finish(mut self) -> OutcomeVerdict {
        let size = self.size();
        self.expected.end(size, &mut self.findings);
        let (met, checkpoints) = self.expected.met();
        let tally = Tally { checkpoints, ..Tally::default() };
        let verdict = Verdict::new(self.findings, size, self.frontier.root(), met, tally);
        OutcomeVerdict { verdict, bindings: self.bindings }
    }
}

/// The result of an audit of outcomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutcomeVerdict {
    verdict: Verdict,
    /// How many records of plugins the outcomes hold.
    pub bindings: u64,
}

impl OutcomeVerdict {
    /// Whether no rule is broken.
    #[must_use]
    pub const fn clean(&self) -> bool {
        self.verdict.clean()
    }

    /// The broken rules, by place.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.verdict.findings
    }

    /// The first bad outcome, as [`Verdict::first_bad`].
    #[must_use]
    pub fn first_bad(&self) -> Option<&Finding> {
        self.verdict.first_bad()
    }

    /// How many outcomes there are, that of genesis included.
    #[must_use]
    pub const fn size(&self) -> TreeSize {
        self.verdict.size
    }

    /// The root of these outcomes, derived again.
    #[must_use]
    pub const fn root(&self) -> RootHash {
        self.verdict.root
    }

    /// The largest size whose signed root was derived again: what is proven.
    #[must_use]
    pub const fn signed(&self) -> Option<TreeSize> {
        self.verdict.signed
    }
}

impl fmt::Display for OutcomeVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict { findings, dropped, size, root, signed, tally } = &self.verdict;
        writeln!(f, "re-derived {size} outcomes with {} records: {} checkpoints", self.bindings, tally.checkpoints)?;
        for finding in findings {
            writeln!(f, "  BAD  {finding}")?;
        }
        if *dropped > 0 {
            writeln!(f, "  BAD  and {dropped} more")?;
        }
        match (self.first_bad(), signed) {
            (Some(first), _) => write!(f, "first bad outcome: {first}"),
            (None, Some(signed)) => write!(f, "clean: {size} outcomes, root {root}; signed up to size {signed}"),
            (None, None) => write!(f, "clean: {size} outcomes, root {root}; no signed checkpoint was given"),
        }
    }
}
