//! What fsck says: the audit's verdict and its own findings, by place.

use core::fmt;

use serde::Serialize;
use tally_protocol::id::{Index, TreeSize};
use tally_verify::{Finding, Ledger, Place, Verdict};

/// How many problems are kept; a log with more is bad enough.
const PROBLEMS_MAX: usize = 256;

/// One broken rule at one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Problem {
    /// The entry, or the first of a range; none for what is no entry.
    pub(super) index: Option<u64>,
    /// Behind the last of a range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<u64>,
    /// The rule's stable name.
    pub(super) rule: String,
    /// In words.
    pub(super) why: String,
}

impl Problem {
    /// About one entry.
    pub(super) fn at(index: Index, rule: &str, why: &str) -> Self {
        Self { index: Some(index.get()), to: None, rule: rule.to_owned(), why: why.to_owned() }
    }

    /// About some entry of `from..to`.
    pub(super) fn range(from: Index, to: Index, rule: &str, why: &str) -> Self {
        Self { to: Some(to.get()), ..Self::at(from, rule, why) }
    }

    /// About something stored that is no entry.
    pub(super) fn stored(rule: &str, why: &str) -> Self {
        Self { index: None, to: None, rule: rule.to_owned(), why: why.to_owned() }
    }

    fn of(finding: &Finding) -> Self {
        let (rule, why) = (finding.rule.as_str(), finding.why.as_str());
        match finding.place {
            Place::Entry(at) => Self::at(at, rule, why),
            Place::Range(from, to) => Self::range(from, to, rule, why),
            Place::Commitment(..) => Self::stored(rule, &format!("{}: {why}", finding.place)),
        }
    }

    /// The same about an outcome.
    pub(super) fn of_outcome(finding: &Finding) -> Self {
        let problem = Self::of(finding);
        let rule = problem.rule.strip_prefix("outcome_").unwrap_or(&problem.rule);
        Self { rule: format!("outcome_{rule}"), ..problem }
    }

    /// Entries come before what is no entry, single entries before the ranges they are in.
    fn order(&self) -> (u64, u64) {
        (self.index.unwrap_or(u64::MAX), self.to.unwrap_or(0))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.index, self.to) {
            (Some(from), Some(to)) => write!(f, "entries {from}..{to}: ")?,
            (Some(at), None) => write!(f, "entry {at}: ")?,
            (None, _) => {}
        }
        write!(f, "{} ({})", self.why, self.rule)
    }
}

/// The report.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    ok: bool,
    first_bad: Option<Problem>,
    problems: Vec<Problem>,
    problems_dropped: u64,
    ledger_id: String,
    origin: String,
    size: u64,
    root: String,
    signed_size: Option<u64>,
    runs: u64,
    events: u64,
    streams: u64,
    signatures: u64,
    checkpoints: u64,
    tiles: u64,
    commitments: u64,
    index_rows: u64,
    /// Outcomes, that of genesis included; 0 if nothing was applied.
    pub(super) outcomes: u64,
    pub(super) published_note: Option<String>,
    pub(super) fence_checked: bool,
    pub(super) fence_size: Option<u64>,
    #[serde(skip)]
    pub(super) tiles_stored: u64,
}

impl Report {
    pub(super) fn new(ledger: &Ledger) -> Self {
        Self {
            ok: false,
            first_bad: None,
            problems: Vec::new(),
            problems_dropped: 0,
            ledger_id: ledger.id().to_hex(),
            origin: ledger.genesis().origin.clone(),
            size: 0,
            root: String::new(),
            signed_size: None,
            runs: 0,
            events: 0,
            streams: 0,
            signatures: 0,
            checkpoints: 0,
            tiles: 0,
            commitments: 0,
            index_rows: 0,
            outcomes: 0,
            published_note: None,
            fence_checked: false,
            fence_size: None,
            tiles_stored: 0,
        }
    }

    /// Joins what the audit found with what fsck found.
    pub(super) fn close(&mut self, verdict: &Verdict, index_rows: u64, own: Vec<Problem>) {
        // The audit says best which entry is bad, where it can.
        self.first_bad = verdict.first_bad().map(Problem::of);
        let mut problems: Vec<Problem> = verdict.findings.iter().map(Problem::of).chain(own).collect();
        problems.sort_by_key(Problem::order);
        if self.first_bad.is_none() {
            self.first_bad = problems.first().cloned();
        }
        self.problems_dropped = verdict.dropped + problems.len().saturating_sub(PROBLEMS_MAX) as u64;
        problems.truncate(PROBLEMS_MAX);
        self.ok = problems.is_empty();
        self.problems = problems;
        let tally = &verdict.tally;
        (self.size, self.root) = (verdict.size.get(), verdict.root.to_hex());
        self.signed_size = verdict.signed.map(TreeSize::get);
        (self.runs, self.events, self.streams) = (tally.runs, tally.events, tally.streams);
        (self.signatures, self.checkpoints) = (tally.signatures, tally.checkpoints);
        (self.tiles, self.commitments, self.index_rows) = (tally.tiles, tally.commitments, index_rows);
    }

    pub(super) const fn first_bad(&self) -> Option<&Problem> {
        self.first_bad.as_ref()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "ledger {} ({})", self.ledger_id, self.origin)?;
        writeln!(
            f,
            "  re-derived {} events of {} streams in {} runs, {} agent signatures",
            self.events, self.streams, self.runs, self.signatures
        )?;
        writeln!(
            f,
            "  compared {} checkpoints, {} tiles, {} commitments, {} index rows",
            self.checkpoints, self.tiles, self.commitments, self.index_rows
        )?;
        if self.outcomes > 0 {
            writeln!(f, "  compared {} outcomes with their events, tiles and checkpoints", self.outcomes)?;
        }
        match (self.fence_checked, self.fence_size) {
            (true, Some(size)) => writeln!(f, "  the fence holds the root of size {size}")?,
            (true, None) => writeln!(f, "  the fence was read")?,
            (false, _) => writeln!(f, "  the fence was not checked: name it with --fence")?,
        }
        for problem in &self.problems {
            writeln!(f, "  BAD  {problem}")?;
        }
        if self.problems_dropped > 0 {
            writeln!(f, "  BAD  and {} more", self.problems_dropped)?;
        }
        match &self.first_bad {
            Some(first) => write!(f, "first bad: {first}"),
            None => write!(f, "fsck ok: size {}, root {}", self.size, self.root),
        }
    }
}
